//! The time of day is set, an hour ahead and a day back: no deadline moves, no program is touched, no line and no event is
//! lost, and what is written down stays readable in order.

use std::time::Duration;
use tutela_it::faults::{WallClock, line_numbers, no_line_lost};
use tutela_it::processes::kill;
use tutela_it::{BOUND, Container, Guard, Stage, standstill, wait_until};

const HOUR: i64 = 3_600;

/// Two days back, so that the day of log files and records changes too.
const BACK: i64 = -48 * HOUR;

/// As long as a slow, busy computer may need until what takes half a second falls into a wait of three.
const PATIENCE: Duration = Duration::from_secs(120);

/// The jumps of a test, each as an offset to the right time.
const JUMPS: [i64; 4] = [HOUR, BACK, 400 * 24 * HOUR, 0];

fn started(stage: Stage, clock: &WallClock) -> Guard {
    let mut command = stage.command();
    clock.rule(&mut command);
    command.arg("run").arg(stage.spec_path());
    stage.start_command(command)
}

fn pause() {
    std::thread::sleep(Duration::from_millis(400));
}

#[test]
fn a_clock_that_jumps_moves_no_deadline_and_loses_no_line_and_no_event() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.stamped]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\n\
         logs = { rotate_size = \"8KiB\", rotate_every = \"1h\", keep = 10000 }\n\
         [services.json]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\n\
         logs = { format = \"json\", rotate_size = \"8KiB\", rotate_every = \"1h\", keep = 10000 }\n\
         [services.fed]\ncommand = [\"understudy\", \"notify=READY=1\", \"notify-every=100,WATCHDOG=1\", \"hang\"]\n\
         ready.notify = true\nlive = { notify = true, every = \"300ms\", failures = 3 }\n\
         [services.loops]\ncommand = [\"understudy\", \"exit=3\"]\n\
         restart = { delay = \"0s\", burst = 1, within = \"10m\", cooldown = \"20m\" }\n\
         [services.waits]\ncommand = [\"understudy\", \"stamp=lives\", \"exit=3\"]\n\
         restart = { delay = \"3s\", factor = 1.0, jitter = 0.0, burst = 0 }\n",
    );
    let clock = WallClock::make(&stage);
    let guard = started(stage, &clock);
    let steady = ["stamped", "json", "fed"];
    let pids = |guard: &Guard| steady.map(|id| (guard.instance(id).pid, guard.instance(id).restarts));
    for id in steady {
        guard.wait_state(id, "running");
    }
    guard.wait_state("loops", "cooldown");
    let before = pids(&guard);
    let mut seqs = Vec::new();
    let mut restarts = guard.instance("loops").restarts;
    for offset in JUMPS {
        clock.set(offset);
        pause();
        assert_eq!(pids(&guard), before, "set by {offset} s: {:?}", guard.messages());
        let loops = guard.instance("loops");
        assert_eq!(
            (loops.state.as_str(), loops.restarts),
            ("cooldown", restarts),
            "set by {offset} s: its cool-down moved"
        );
        // What is told now is told with the time of now, and found by it.
        guard.api("POST", "/v1/services/loops/restart?wait=false", 202);
        restarts = guard.wait_for("loops", "loops", |it| it.state == "cooldown" && it.restarts > restarts).restarts;
        seqs.push(guard.events_of("cooldown").last().unwrap()["seq"].as_u64().unwrap());
    }
    // Three seconds are three seconds, whatever the clock says meanwhile.
    let lives = || -> Vec<Duration> {
        let stamp = |line: &str| Duration::from_nanos(line.split_once(' ').unwrap().0.parse().unwrap());
        guard.read("lives").split_inclusive('\n').filter(|line| line.ends_with('\n')).map(stamp).collect()
    };
    let apart = wait_until(PATIENCE, "the clock was set twice between two lives", || {
        let count = lives().len();
        wait_until(BOUND, "it is tried again", || (lives().len() > count).then_some(()));
        clock.set(HOUR);
        pause();
        clock.set(BACK);
        let set = standstill::now();
        // A deadline that had moved with the clock would be days away.
        wait_until(BOUND, "it is tried once more", || (lives().len() > count + 1).then_some(()));
        let (from, to) = (lives()[count], lives()[count + 1]);
        (to > set).then_some(to - from)
    });
    assert!(apart >= Duration::from_secs(3), "{apart:?} instead of 3 s");
    // Every event is there once, in the order in which it happened.
    let all: Vec<u64> = guard.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(all, (all[0]..all[0] + all.len() as u64).collect::<Vec<_>>());
    assert!(seqs.is_sorted() && seqs.iter().all(|seq| all.contains(seq)));
    assert!(guard.events_of("trouble").is_empty(), "{:?}", guard.messages());
    no_line_lost(&guard, &["stamped", "json"]);
    for id in steady {
        assert_eq!(guard.instance(id).restarts, 0, "{id}");
    }
    let report: serde_json::Value =
        serde_json::from_str(&guard.cli_ok(&["audit", "verify", guard.name(), "--json"])).unwrap();
    assert_eq!(report["whole"], true, "the record of who did what: {report}");
}

#[test]
fn a_guard_whose_clock_is_years_behind_takes_over_all_that_was_left_with_a_later_one() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.talks]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\nlogs = { rotate_size = \"8KiB\", keep = 10000 }\n\
         [services.loops]\ncommand = [\"understudy\", \"exit=3\"]\n\
         restart = { delay = \"0s\", burst = 1, within = \"10m\", cooldown = \"20m\" }\n",
    );
    let clock = WallClock::make(&stage);
    let guard = started(stage, &clock);
    let talks = guard.wait_state("talks", "running").pid;
    guard.wait_state("loops", "cooldown");
    pause();
    let last = guard.events().last().unwrap()["seq"].as_u64().unwrap();
    let written = line_numbers(&guard, "talks").len();
    // A board without a battery wakes up in 2021.
    for offset in [-5 * 365 * 24 * HOUR, 5 * 365 * 24 * HOUR, 0] {
        clock.set(offset);
    }
    clock.set(-5 * 365 * 24 * HOUR);
    let guard = started(guard.crash(), &clock);
    assert_eq!(guard.wait_state("talks", "running").pid, talks);
    let loops = guard.wait_state("loops", "cooldown");
    assert_eq!(loops.restarts, 1);
    pause();
    wait_until(BOUND, "it goes on writing", || (line_numbers(&guard, "talks").len() > written).then_some(()));
    let events = guard.events();
    assert!(events.last().unwrap()["seq"].as_u64().unwrap() > last, "numbers of events go on");
    no_line_lost(&guard, &["talks"]);
    // And one that ends in order leaves what the next one reads, by a clock that is right again.
    let stage = guard.close();
    clock.set(0);
    let guard = stage.start(Container::ControlGroup);
    kill(guard.wait_state("talks", "running").pid.unwrap(), "KILL");
    guard.wait_for("talks", "runs again", |it| it.state == "running" && it.restarts >= 1);
    assert!(guard.events().len() > events.len());
}
