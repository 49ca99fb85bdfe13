//! A guard's end is not its programs' end: it is killed, they run on, and the next guard goes on with them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rustix::process::{Pid, WaitOptions};
use serde_json::Value;
use std::time::{Duration, Instant};
use tutela_it::faults::{from_outside, line_numbers, no_line_lost};
use tutela_it::processes::{free_port, kill, lives};
use tutela_it::{BOUND, Container, Guard, Instance, Stage, wait_until};

/// How soon a new guard has to tell the truth about all that it took back.
const TRUE_WITHIN: Duration = Duration::from_secs(1);

fn safe_pids(stage: &Stage) -> Vec<u32> {
    let is_its = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"--keep-open-for"[..]) && words.get(2) == Some(&stage.name().as_bytes())
    };
    tutela_it::processes::all().into_iter().filter(is_its).collect()
}

/// What must be the same after a guard's death as before it.
fn lasting(instance: &Instance) -> (String, Option<u32>, u64, Value, Value) {
    let Instance { state, pid, restarts, raw, .. } = instance;
    (state.clone(), *pid, *restarts, raw["since"].clone(), raw["last_exit"].clone())
}

#[test]
fn programs_run_on_and_the_next_guard_has_them_as_they_were() {
    for container in Container::ALL {
        let port = free_port();
        let stage = Stage::new();
        stage.write_spec(&format!(
            "[services.web]\ncommand = [\"understudy\", \"stray=grandchild\", \"tcp={port}\", \"hang\"]\nready.tcp = \"127.0.0.1:{port}\"\n\
             [services.told]\ncommand = [\"understudy\", \"notify=READY=1\", \"hang\"]\nready.notify = true\ninstances = 2\n\
             [services.loop]\ncommand = [\"understudy\", \"exit=3\"]\nrestart = {{ delay = \"0s\", burst = 2, cooldown = \"1h\" }}\n\
             [services.once]\ncommand = [\"understudy\", \"exit=0\"]\nrestart.when = \"on-failure\"\n\
             [services.down]\ncommand = [\"understudy\", \"hang\"]\n\
             [services.after]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"web\"]\n"
        ));
        let mut guard = stage.start(container);
        let ids = ["web", "told:0", "told:1", "loop", "once", "down", "after"];
        guard.cli_ok(&["stop", &format!("{}/down", guard.name())]);
        for (id, state) in ids.iter().zip(["running", "running", "running", "cooldown", "done", "stopped", "running"]) {
            guard.wait_state(id, state);
        }
        let first = guard.wait_state("web", "running");
        kill(first.pid.unwrap(), "KILL");
        guard.wait_for("web", "runs again", |web| web.state == "running" && web.restarts == 1);
        guard.wait_state("after", "running");
        let grandchild = guard.written_pid("grandchild");
        let before: Vec<_> = ids.iter().map(|id| lasting(&guard.instance(id))).collect();
        for round in 0..3 {
            guard = guard.crash().start(container);
            let began = Instant::now();
            for (id, before) in ids.iter().zip(&before) {
                assert_eq!(&lasting(&guard.instance(id)), before, "{container:?}, round {round}: {id}");
            }
            assert!(began.elapsed() < TRUE_WITHIN);
            assert!(lives(grandchild));
        }
        let taken: Vec<Value> = guard.events_of("taken_back");
        // Events of a guard that was killed within milliseconds are not all written down.
        assert!(taken.len() >= ids.len(), "{:?}", guard.messages());
        assert!(guard.events_of("trouble").is_empty(), "{:?}", guard.messages());
        // And it can do with them what it could with its own.
        guard.cli_ok(&["stop", &format!("{}/told", guard.name())]);
        assert_eq!(guard.instance("told:1").state, "stopped");
        let web = guard.instance("web").pid.unwrap();
        kill(web, "KILL");
        guard.wait_for("web", "runs again", |web| web.state == "running" && web.restarts == 2);
        assert!(!lives(grandchild), "{container:?}: the tree of a program that was taken back was left");
        let safe = safe_pids(&guard);
        assert_eq!(safe.len(), 1);
        let stage = guard.close();
        wait_until(BOUND, "the safe ends with its guard", || safe_pids(&stage).is_empty().then_some(()));
    }
}

/// Collects an orphan that has ended and that this process has adopted.
fn collect(orphan: u32) {
    let pid = Pid::from_raw(i32::try_from(orphan).unwrap());
    wait_until(BOUND, "it can be collected", || rustix::process::waitpid(pid, WaitOptions::NOHANG).unwrap());
}

#[test]
fn what_ends_while_no_guard_is_there_is_noticed_with_its_code() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"await=end\", \"exit=7\"]\nrestart = { delay = \"0s\", burst = 0 }\n\
         [services.b]\ncommand = [\"understudy\", \"hang\"]\nrestart.when = \"never\"\n",
    );
    let guard = stage.start(Container::ControlGroup);
    let a = guard.wait_state("a", "running").pid.unwrap();
    let b = guard.wait_state("b", "running").pid.unwrap();
    // Who adopts orphans on this computer may take longer to collect them than a guard waits for it: this test does.
    rustix::process::set_child_subreaper(Some(Pid::INIT)).unwrap();
    let stage = guard.crash();
    stage.write("end", "");
    wait_until(BOUND, "a ends", || (!lives(a)).then_some(()));
    kill(b, "KILL");
    wait_until(BOUND, "b ends", || (!lives(b)).then_some(()));
    std::fs::remove_file(stage.path("end")).unwrap();
    // How they ended is known only then.
    for orphan in [a, b] {
        collect(orphan);
    }
    rustix::process::set_child_subreaper(None).unwrap();
    let guard = stage.start(Container::ControlGroup);
    let again = guard.wait_for("a", "runs again", |it| it.state == "running" && it.restarts == 1);
    assert_eq!(guard.wait_state("b", "failed").pid, None);
    // Kernels since 6.15 tell how a process ended to whoever had it open; older ones do not.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> =
        release.split(|sign: char| !sign.is_ascii_digit()).map_while(|it| it.parse().ok()).take(2).collect();
    assert_eq!(version.len(), 2, "{release}");
    let tells = version >= vec![6, 15];
    let exits = guard.events_of("exited");
    let codes: Vec<&Value> = exits.iter().map(|event| &event["data"]["code"]).collect();
    if tells {
        assert_eq!(again.last_code, Some(7), "{codes:?}");
        assert_eq!(guard.instance("b").last_signal.as_deref(), Some("KILL"), "{exits:?}");
    }
}

#[test]
fn a_program_is_not_stopped_by_the_death_and_writes_into_its_log_as_if_nothing_had_been() {
    for form in ["raw", "stamped", "json"] {
        let stage = Stage::new();
        let logs =
            if form == "json" { "logs.format = \"json\"" } else { &format!("logs.timestamps = {}", form == "stamped") };
        stage.write_spec(&format!(
            "[services.a]\ncommand = [\"understudy\", \"lines=5\", \"await=more\", \"lines=5..2000\", \"await=last\", \"lines=2000..2010\", \"hang\"]\n\
             {logs}\n"
        ));
        let guard = stage.start(Container::ControlGroup);
        let a = guard.wait_state("a", "running").pid.unwrap();
        let holds = |stage: &Stage, count: usize| {
            let text = String::from_utf8_lossy(&stage.log("a-0.log")).into_owned();
            (text.lines().count() >= count).then_some(text)
        };
        wait_until(BOUND, "the first lines are there", || holds(&guard, 5));
        let stage = guard.crash();
        // While nobody reads, it fills the pipe and goes on.
        stage.write("more", "");
        let guard = stage.start(Container::ControlGroup);
        wait_until(BOUND, "what it wrote meanwhile is there", || holds(&guard, 2000));
        guard.write("last", "");
        let text = wait_until(BOUND, "the last lines are there", || holds(&guard, 2010));
        assert_eq!(guard.instance("a").pid, Some(a));
        assert_eq!(text.lines().count(), 2010, "{form}");
        for number in [0, 4, 5, 1999, 2000, 2009] {
            assert!(text.lines().nth(number).unwrap().contains(&number.to_string()), "{form}: line {number}");
        }
    }
}

#[test]
fn a_stop_that_was_under_way_goes_on_where_it_was() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"ignore=TERM\", \"notify=READY=1\", \"hang\"]\nready.notify = true\n\
         stop.ladder = [{ signal = \"TERM\", wait = \"3s\" }, { kill = true }]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    let a = guard.wait_state("a", "running").pid.unwrap();
    let began = Instant::now();
    guard.api("POST", "/v1/services/a/stop?wait=false", 202);
    guard.wait_state("a", "stopping");
    let guard = guard.crash().start(Container::ControlGroup);
    assert_eq!(guard.instance("a").state, "stopping");
    assert!(lives(a));
    guard.wait_state("a", "stopped");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_900), "the step had its time: {took:?}");
    assert!(took < Duration::from_millis(5_500), "and no second one: {took:?}");
    let stage = guard.crash();
    let guard = stage.start(Container::ControlGroup);
    assert_eq!(guard.instance("a").state, "stopped", "what an operator stopped stays stopped");
}

#[test]
fn what_the_spec_says_otherwise_by_now_goes_by_the_rules_of_a_reload() {
    let stage = Stage::new();
    let kept = "[services.same]\ncommand = [\"understudy\", \"hang\"]\n";
    stage.write_spec(&format!(
        "{kept}[services.other]\ncommand = [\"understudy\", \"hang\"]\n\
         [services.gone]\ncommand = [\"understudy\", \"hang\"]\n\
         [services.fewer]\ncommand = [\"understudy\", \"hang\"]\ninstances = 2\n"
    ));
    let guard = stage.start(Container::ControlGroup);
    let pid = |guard: &Guard, id: &str| guard.wait_state(id, "running").pid.unwrap();
    let before = ["same", "other", "gone", "fewer:0", "fewer:1"].map(|id| pid(&guard, id));
    let stage = guard.crash();
    stage.write_spec(&format!(
        "{kept}description = \"the same, with other words\"\n[services.other]\ncommand = [\"understudy\", \"say=new\", \"hang\"]\n\
         [services.fewer]\ncommand = [\"understudy\", \"hang\"]\n[services.new]\ncommand = [\"understudy\", \"hang\"]\n"
    ));
    let guard = stage.start(Container::ControlGroup);
    guard.wait_for("other", "runs anew", |it| it.state == "running" && it.pid != Some(before[1]));
    assert_eq!((pid(&guard, "same"), pid(&guard, "fewer:0")), (before[0], before[3]));
    pid(&guard, "new");
    for gone in [before[1], before[2], before[4]] {
        wait_until(BOUND, "what is not wanted any more has ended", || (!lives(gone)).then_some(()));
    }
    wait_until(BOUND, "it is gone from the status", || {
        let services = guard.status()["services"].as_array().unwrap().clone();
        services.iter().all(|service| service["name"] != "gone").then_some(())
    });
}

#[test]
fn a_safe_that_was_killed_is_replaced_before_it_is_needed() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\ninstances = 3\n");
    let guard = stage.start(Container::ControlGroup);
    let pids = |guard: &Guard| ["a:0", "a:1", "a:2"].map(|id| guard.wait_state(id, "running").pid.unwrap());
    let before = pids(&guard);
    let safe = safe_pids(&guard);
    safe.iter().for_each(|pid| kill(*pid, "KILL"));
    let told = |event: &Value| event["message"].as_str().unwrap().contains("there is another one");
    guard.wait_event("trouble", told);
    assert_ne!(safe_pids(&guard), safe);
    let guard = guard.crash().start(Container::ControlGroup);
    assert_eq!(pids(&guard), before);
}

#[test]
fn where_the_spec_does_not_want_it_what_is_left_is_ended_before_anything_starts() {
    for container in Container::ALL {
        let stage = Stage::new();
        stage.write_spec("survive = false\n[services.a]\ncommand = [\"understudy\", \"stray=grandchild\", \"hang\"]\n");
        let guard = stage.start(container);
        let (a, before) = (guard.wait_state("a", "running").pid.unwrap(), guard.pid());
        let grandchild = guard.written_pid("grandchild");
        assert!(safe_pids(&guard).is_empty());
        let guard = guard.crash().start(container);
        let told = |event: &Value| event["message"].as_str().unwrap().contains("ended without stopping");
        let message = guard.wait_event("trouble", told)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("pid {before}")) && message.contains(&grandchild.to_string()), "{message}");
        assert!(!lives(a) && !lives(grandchild));
        assert_ne!(guard.wait_state("a", "running").pid, Some(a));
    }
}

#[test]
fn who_no_longer_wants_it_ends_what_had_outlived_a_guard() {
    let stage = Stage::new();
    let services = "[services.a]\ncommand = [\"understudy\", \"hang\"]\n";
    stage.write_spec(services);
    let guard = stage.start(Container::ControlGroup);
    let a = guard.wait_state("a", "running").pid.unwrap();
    let stage = guard.crash();
    stage.write_spec(&format!("survive = false\n{services}"));
    let guard = stage.start(Container::ControlGroup);
    assert!(!lives(a));
    assert_ne!(guard.wait_state("a", "running").pid, Some(a));
    wait_until(BOUND, "the safe is gone", || safe_pids(&guard).is_empty().then_some(()));
}

#[test]
fn what_is_said_while_no_guard_is_there_is_heard_by_the_next() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"await=go\", \"notify=READY=1\", \"pid=said\", \"hang\"]\nready.notify = true\n");
    let guard = stage.start(Container::ControlGroup);
    let a = guard.wait_for("a", "has a program", |it| it.state == "starting" && it.pid.is_some()).pid;
    let stage = guard.crash();
    stage.write("go", "");
    stage.written_pid("said");
    let guard = stage.start(Container::ControlGroup);
    assert_eq!(guard.wait_state("a", "running").pid, a);
}

#[test]
fn of_an_instance_that_is_gone_for_good_nothing_is_kept() {
    let stage = Stage::new();
    let stays = "[services.stays]\ncommand = [\"understudy\", \"hang\"]\n";
    stage.write_spec(&format!("{stays}[services.goes]\ncommand = [\"understudy\", \"hang\"]\n"));
    let guard = stage.start(Container::ControlGroup);
    let kept = || std::fs::read_dir(format!("/proc/{}/fd", safe_pids(&guard)[0])).unwrap().count();
    for id in ["stays", "goes"] {
        guard.wait_state(id, "running");
    }
    let is_socket =
        |it: &std::path::Path| std::fs::read_link(it).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    let sockets = |fds: std::fs::ReadDir| fds.flatten().filter(|it| is_socket(&it.path())).count();
    // Where it listens, twice, its guard, and that on which programs speak, which is deposited without a wait.
    wait_until(BOUND, "the safe has what is the guard's own", || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", safe_pids(&guard)[0])).unwrap();
        (sockets(fds) == 4).then_some(())
    });
    let both = kept();
    guard.write_spec(stays);
    guard.cli_ok(&["reload", guard.name()]);
    // Its process, its tray, and a pipe with its chamber for each stream.
    wait_until(BOUND, "the safe has one program", || (kept() == both - 6).then_some(()));
    guard.wait_state("stays", "running");
}

/// A number from outside, for longer runs than every change needs.
/// While programs run, log, crash and are reloaded, their guard is killed at moments of chance. `TUTELA_FAULT_KILLS` and
/// `TUTELA_FAULT_SERVICES` make it longer.
#[test]
fn whenever_a_guard_is_killed_no_program_restarts_and_no_line_is_lost() {
    let (kills, services) = (from_outside("TUTELA_FAULT_KILLS", 12), from_outside("TUTELA_FAULT_SERVICES", 10));
    let mut chance = from_outside("TUTELA_FAULT_SEED", 20_261_121);
    let steady = services * 3 / 5;
    for container in Container::ALL {
        let stage = Stage::new();
        let spec = |round: u64| {
            let mut text = String::new();
            for number in 0..steady {
                let logs = ["format = \"json\"", "timestamps = true", "timestamps = false"][number as usize % 3];
                text += &format!(
                    "[services.s{number}]\ndescription = \"round {round}\"\ncommand = [\"understudy\", \"drip=3\", \"hang\"]\n\
                     logs = {{ {logs}, rotate_size = \"16KiB\", keep = 10000 }}\n"
                );
            }
            for number in steady..services {
                text += &format!(
                    "[services.c{number}]\ncommand = [\"understudy\", \"say=up\", \"wait={}\", \"exit=1\"]\n\
                     restart = {{ delay = \"20ms\", max_delay = \"20ms\", burst = 0, jitter = 0.0 }}\n",
                    40 + number * 7
                );
            }
            text
        };
        stage.write_spec(&spec(0));
        let mut guard = stage.start(container);
        let names: Vec<String> = (0..steady).map(|number| format!("s{number}")).collect();
        let pids: Vec<u32> = names.iter().map(|name| guard.wait_state(name, "running").pid.unwrap()).collect();
        let crashing = format!("c{steady}");
        let mut restarts = 0;
        let mut slowest = Duration::ZERO;
        for round in 1..=kills {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_micros((chance >> 33) % 150_000));
            if round % 4 == 0 {
                guard.write_spec(&spec(round));
                let socket = guard.socket();
                // It may be killed within the reload.
                std::thread::spawn(move || tutela_it::http::ask(&socket, "POST", "/v1/reload"));
                std::thread::sleep(Duration::from_micros((chance >> 40) % 30_000));
            }
            let stage = guard.crash();
            let began = Instant::now();
            guard = stage.start(container);
            let status = guard.status();
            slowest = slowest.max(began.elapsed());
            for (name, pid) in names.iter().zip(&pids) {
                let it = Instance::find(&status, name).unwrap();
                assert_eq!(
                    (it.state.as_str(), it.pid, it.restarts),
                    ("running", Some(*pid), 0),
                    "{container:?}, kill {round}: {name}"
                );
            }
            let now = guard.instance(&crashing).restarts;
            assert!(now >= restarts, "{container:?}, kill {round}: {now} restarts after {restarts}");
            restarts = now;
            // Kills that follow each other too closely would find nothing that crashes.
            if round % 3 == 0 {
                restarts = guard.wait_for(&crashing, "crashes again", |it| it.restarts > restarts).restarts;
            }
        }
        println!(
            "{container:?}: {kills} kills among {services} services, {slowest:?} at most from the start to a true status"
        );
        no_line_lost(&guard, &names);
        for name in &names {
            let lines = line_numbers(&guard, name).len();
            assert!(lines as u64 > kills, "{container:?}: {name} wrote {lines} lines");
        }
    }
}
