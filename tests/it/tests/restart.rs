//! What is known survives the guard: counters, cool-downs and wishes over its crash; and a crash loop, step by step.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::path::PathBuf;
use tutela_it::processes::{free_port, kill, lives};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// Ends with 1 until there is a file `good`, and then stays.
const UNTIL_GOOD: &str = "command = [\"understudy\", \"unless=good\", \"exit=1\", \"hang\"]";

fn started(stage: Stage) -> Guard {
    stage.start(Container::ControlGroup)
}

/// The milliseconds from one time of day to another, over midnight too.
fn between(from: &str, to: &str) -> i64 {
    // 2026-11-20T22:42:48.516Z: the tests last no day.
    let at = |time: &str| {
        let clock = time.split_once('T').unwrap().1;
        let part = |range: std::ops::Range<usize>| clock[range].parse::<i64>().unwrap();
        ((part(0..2) * 60 + part(3..5)) * 60 + part(6..8)) * 1000 + part(9..12)
    };
    (at(to) - at(from)).rem_euclid(24 * 3600 * 1000)
}

/// What the guard plans to wait when it tells of it. A busy computer tells of it late, and the plan is the shorter then:
/// it shows that no wait is too long, and [`lives_apart`] that none is too short.
fn planned(event: &Value) -> i64 {
    let until = event["data"]["until"].as_str().or_else(|| {
        let told = event["message"].as_str().unwrap().strip_prefix("restarts at ")?;
        Some(told.split_once("Z: ").unwrap().0)
    });
    between(event["at"].as_str().unwrap(), until.unwrap())
}

/// The microseconds from the beginning of each life of `a` to that of the next, by its own clock. It ends as soon as it has
/// begun, so each has the whole wait in it.
fn lives_apart(guard: &Guard) -> Vec<u128> {
    let text = guard.written("lives");
    let stamps: Vec<u128> = text.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    stamps.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect()
}

/// What was planned for each restart after a wait.
fn plans(events: &[Value]) -> Vec<i64> {
    let waits = |event: &&Value| event["message"].as_str().unwrap().starts_with("restarts at ");
    events.iter().filter(waits).map(planned).collect()
}

/// That `a` waited as long as its policy says for each restart, and no longer. Times of day are told in whole
/// milliseconds, so a plan may seem to be one longer than it is.
fn assert_waits(guard: &Guard, plans: &[i64], shortest: &[i64], longest: &[i64]) {
    let apart = lives_apart(guard);
    println!("planned {plans:?} ms, by policy {shortest:?} to {longest:?} ms; lives were {apart:?} \u{b5}s apart");
    assert_eq!(plans.len(), longest.len());
    for (plan, longest) in plans.iter().zip(longest) {
        assert!(plan <= &(longest + 1), "planned {plans:?} ms, by policy {longest} at the most");
    }
    for (apart, shortest) in apart.iter().zip(shortest) {
        assert!(*apart >= u128::try_from(shortest * 1000).unwrap(), "lives were {apart:?} \u{b5}s apart");
    }
}

fn ledger(stage: &Stage) -> PathBuf {
    stage.home().join("state").join(stage.name()).join("ledger.redb")
}

#[test]
fn a_guard_that_was_killed_leaves_counters_wishes_and_nothing_running_beside_the_next() {
    for container in Container::ALL {
        let port = free_port();
        let stage = Stage::new();
        stage.write_spec(&format!(
            "survive = false\n[services.a]\ncommand = [\"understudy\", \"stray=grandchild\", \"tcp={port}\", \"hang\"]\nready.tcp = \"127.0.0.1:{port}\"\nrestart = {{ delay = \"0s\", burst = 0 }}\n\
             [services.down]\ncommand = [\"understudy\", \"hang\"]\n\
             [services.up]\ncommand = [\"understudy\", \"hang\"]\nstart = \"manual\"\n"
        ));
        let guard = stage.start(container);
        for round in 1..=2 {
            let a = guard.wait_for("a", "runs", |a| a.state == "running" && a.restarts == round - 1);
            kill(a.pid.unwrap(), "KILL");
        }
        let a = guard.wait_for("a", "runs", |a| a.state == "running" && a.restarts == 2);
        let (old, grandchild) = (a.pid.unwrap(), guard.written_pid("grandchild"));
        let run = guard.events_of("started").last().unwrap()["run"].as_u64().unwrap();
        guard.cli_ok(&["stop", &format!("{}/down", guard.name())]);
        // At once after the answer: a wish that was answered is kept.
        let before = guard.pid();
        let stage = guard.crash();
        assert!(lives(grandchild), "{container:?}: the crash alone ended the tree, so this shows nothing");

        let guard = stage.start(container);
        let told =
            guard.wait_event("trouble", |event| event["message"].as_str().unwrap().contains("ended without stopping"));
        let message = told["message"].as_str().unwrap();
        assert!(message.contains(&format!("pid {before}")) && message.contains(&grandchild.to_string()), "{message}");
        let a = guard.wait_state("a", "running");
        assert!(!lives(old) && !lives(grandchild), "{container:?}: two trees lived at once");
        let first = guard.events_of("started").into_iter().find(|event| event["seq"].as_u64() > told["seq"].as_u64());
        assert!(first.unwrap()["run"].as_u64().unwrap() > run, "{container:?}: a run has an earlier one's number");
        assert_eq!(a.restarts, 2, "{container:?}");
        let ends = guard.events_of("exited").into_iter().filter(|event| event["seq"].as_u64() > told["seq"].as_u64());
        assert_eq!(ends.count(), 0, "{container:?}: the port was still in use when the next program came");
        assert_eq!(guard.instance("down").state, "stopped", "{container:?}");
        guard.cli_ok(&["start", &format!("{}/down", guard.name())]);
        assert_eq!(guard.instance("down").state, "running");
    }
}

#[test]
fn a_cooldown_outlives_the_guard_and_ends_with_one_try() {
    let stage = Stage::new();
    stage.write_spec(&format!(
        "[services.a]\n{UNTIL_GOOD}\nrestart = {{ delay = \"0s\", burst = 2, cooldown = \"1h\" }}\n"
    ));
    let guard = started(stage);
    let held = guard.wait_state("a", "cooldown");
    let saved = wait_until(BOUND, "the ledger has it", || Some(guard.events_of("cooldown").first()?.clone()));
    let guard = started(guard.crash());
    let again = guard.wait_state("a", "cooldown");
    assert_eq!(again.restarts, 2);
    // The same moment, as far as two readings of two clocks go.
    let until = |instance: &tutela_it::Instance| instance.raw["next"]["at"].as_str().unwrap().to_owned();
    let drift = between(&until(&held), &until(&again)).min(between(&until(&again), &until(&held)));
    assert!(drift <= 50, "the cool-down moved by {drift} ms, {saved}");
    assert_eq!(again.next, "half-open try");
    assert_eq!(guard.events_of("started").len(), 3);
}

#[test]
fn a_try_that_a_crash_of_the_guard_interrupts_stays_the_only_one() {
    let stage = Stage::new();
    stage.write_spec(&format!(
        "survive = false\n[services.a]\n{UNTIL_GOOD}\nrestart = {{ delay = \"0s\", burst = 2, cooldown = \"300ms\", reset_after = \"1h\" }}\n"
    ));
    let guard = started(stage);
    guard.wait_state("a", "cooldown");
    guard.write("good", "");
    let tried = guard.wait_state("a", "running");
    guard.wait_for("a", "is saved", |_| {
        guard.events_of("ready").last().is_some_and(|event| event["run"].as_u64() > Some(3))
    });
    let guard = started(guard.crash());
    let again = guard.wait_state("a", "running");
    assert_ne!(tried.pid, again.pid);
    assert!(again.cause.contains("runs"), "{}", again.cause);
    std::fs::remove_file(guard.path("good")).unwrap();
    kill(again.pid.unwrap(), "KILL");
    guard.wait_event("half_open_failed", |_| true);
}

#[test]
fn after_an_end_in_order_everything_starts_again() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
    let guard = started(stage);
    guard.wait_state("a", "running");
    guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
    let guard = started(guard.close());
    guard.wait_state("a", "running");
    assert!(guard.events_of("trouble").is_empty(), "{:?}", guard.events_of("trouble"));
}

#[test]
fn a_ledger_that_is_damaged_is_kept_aside_and_never_stops_the_guard() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 6] = [
        ("emptied", Vec::clear),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("cut within its head", |bytes| bytes.truncate(100)),
        ("another file", |bytes| *bytes = b"this is no ledger, it is a letter\n".repeat(500)),
        ("overwritten behind its head", |bytes| bytes[4096..].fill(0xa5)),
        ("overwritten by zeros", |bytes| bytes[512..].fill(0)),
    ];
    for (what, damage) in damages {
        let stage = Stage::new();
        stage.write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
        let guard = started(stage);
        guard.wait_state("a", "running");
        let stage = guard.close();
        let mut bytes = std::fs::read(ledger(&stage)).unwrap();
        damage(&mut bytes);
        std::fs::write(ledger(&stage), &bytes).unwrap();
        let guard = started(stage);
        guard.wait_state("a", "running");
        let folder = guard.home().join("state").join(guard.name());
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|it| it.file_name().into_string().unwrap());
        let aside: Vec<String> = files.filter(|name| name.contains("damaged")).collect();
        if what == "emptied" {
            // There is nothing in it to be kept.
            assert!(aside.len() <= 1, "{what}: {aside:?}");
            continue;
        }
        assert_eq!(aside.len(), 1, "{what}: {aside:?}");
        let told = guard.wait_event("trouble", |event| event["message"].as_str().unwrap().contains("ledger"));
        assert!(told["message"].as_str().unwrap().contains(&aside[0]), "{what}: {told}");
        assert!(!guard.console().contains("panicked"), "{what}: {}", guard.console());
        assert_eq!(guard.close().read("nothing"), "");
    }
}

#[test]
fn a_crash_loop_waits_as_its_policy_says_and_cools_down_right_after_the_burst() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"stamp=lives\", \"exit=7\"]\n\
         restart = { delay = \"100ms\", factor = 2.0, max_delay = \"300ms\", jitter = 0.0, burst = 4, within = \"1m\", cooldown = \"700ms\" }\n",
    );
    let cooldown = guard.wait_event("cooldown", |_| true);
    let failed = guard.wait_event("half_open_failed", |_| true);
    let second = guard.wait_event("half_open_failed", |event| event["seq"] != failed["seq"]);
    let events = guard.events();
    let before = |event: &&Value| event["seq"].as_u64() < cooldown["seq"].as_u64();
    let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    let starts = of("started");
    assert_eq!(starts.iter().copied().filter(before).count(), 5, "a first start and a burst of 4 restarts");
    assert_eq!(cooldown["data"]["restarts"], 4);
    let waits = [plans(&events), vec![planned(&cooldown), planned(&failed)]].concat();
    let policy = [100, 200, 300, 300, 700, 700];
    assert_waits(&guard, &waits, &policy, &policy);
    // One try after the cool-down, and then the next cool-down at once.
    for (from, to) in [(&cooldown, &failed), (&failed, &second)] {
        let tries = starts.iter().filter(|it| {
            let seq = it["seq"].as_u64();
            seq > from["seq"].as_u64() && seq < to["seq"].as_u64()
        });
        assert_eq!(tries.count(), 1, "a half-open try is a single one");
    }
    assert_eq!(guard.instance("a").last_code, Some(7));
}

#[test]
fn jitter_stays_within_its_part() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"stamp=lives\", \"exit=7\"]\n\
         restart = { delay = \"200ms\", factor = 1.0, jitter = 0.5, burst = 6, within = \"1m\", cooldown = \"1h\" }\n",
    );
    guard.wait_event("cooldown", |_| true);
    let waits = plans(&guard.events());
    assert_waits(&guard, &waits, &[100; 6], &[300; 6]);
    assert!(waits.iter().any(|wait| (wait - waits[0]).abs() > 5), "no chance in it: {waits:?}");
}

#[test]
fn a_try_that_holds_ends_the_crash_loop_and_forgives() {
    let guard = Guard::start(&format!(
        "[services.a]\n{UNTIL_GOOD}\nrestart = {{ delay = \"0s\", burst = 2, within = \"2s\", cooldown = \"200ms\" }}\n"
    ));
    let cooldown = guard.wait_event("cooldown", |_| true);
    guard.write("good", "");
    // From one reading of the clocks, so the guard's plan is seen as it is.
    let tried = guard.wait_for("a", "is tried", |it| it.state == "running" && it.next == "recovered");
    let moment = |value: &Value| value.as_str().unwrap().to_owned();
    let (since, until) = (moment(&tried.raw["since"]), moment(&tried.raw["next"]["at"]));
    assert!((1999..=2001).contains(&between(&since, &until)), "{tried:?}");
    let recovered = guard.wait_event("recovered", |_| true);
    let before = |kind: &str| {
        let earlier = |event: &Value| event["seq"].as_u64() < recovered["seq"].as_u64();
        guard.events_of(kind).into_iter().rfind(earlier).unwrap()
    };
    assert!(before("started")["seq"].as_u64() > cooldown["seq"].as_u64());
    // The try is told of before it begins.
    let held = between(&moment(&before("half_open")["at"]), &moment(&recovered["at"]));
    println!("recovered {held} ms after the try was told of, by policy 2000 ms after its start");
    assert!(held >= 1999, "{held}");
    let a = guard.instance("a");
    assert_eq!((a.state.as_str(), a.health.as_str()), ("running", "up"));
    // Forgiven: it takes a whole new burst until the next cool-down.
    kill(a.pid.unwrap(), "KILL");
    let again = guard.wait_for("a", "runs again", |it| it.state == "running" && it.pid != a.pid);
    assert_eq!(guard.events_of("cooldown").len(), 1);
    assert_eq!(again.restarts, a.restarts + 1);
}

#[test]
fn a_run_that_lasts_clears_the_window() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"wait=1500\", \"exit=1\"]\n\
         restart = { delay = \"0s\", burst = 1, within = \"1h\", reset_after = \"200ms\", cooldown = \"1h\" }\n",
    );
    guard.wait_for("a", "was restarted four times", |a| a.restarts >= 4);
    assert!(guard.events_of("cooldown").is_empty());
}
