//! Programs that end or hang, and what the policy makes of it: the state, the cause and the events.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tutela_it::processes::{free_port, kill, lives};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// Ways to end, with the code or signal that is told, and its words.
const ENDS: [(&str, &str, Result<i64, &str>, &str); 6] = [
    ("zero", "exit=0", Ok(0), "exited with code 0"),
    ("code", "exit=3", Ok(3), "exited with code 3"),
    ("abort", "abort", Err("ABRT"), "killed by SIGABRT"),
    ("segv", "segv", Err("SEGV"), "killed by SIGSEGV"),
    ("killed", "raise=KILL", Err("KILL"), "killed by SIGKILL"),
    ("hangup", "raise=HUP", Err("HUP"), "killed by SIGHUP"),
];

/// A service for each way to end: it ends once, and hangs in its second life.
fn every_end_under(policy: &str) -> Guard {
    let mut spec = String::new();
    for (name, cue, _, _) in ENDS {
        spec += &format!(
            "[services.{name}]\n\
             command = [\"understudy\", \"stamp={name}.starts\", \"once={name}.ended\", \"{cue}\", \"hang\"]\n\
             restart = {{ when = \"{policy}\", delay = \"10ms\" }}\n"
        );
    }
    // A guard with nothing left to do would end.
    spec += "[services.other]\ncommand = [\"understudy\", \"hang\"]\n";
    Guard::start(&spec)
}

fn assert_end_is_told(guard: &Guard, name: &str, end: Result<i64, &str>, words: &str) {
    let instance = guard.instance(name);
    assert_eq!(instance.last_code, end.ok(), "{name}");
    assert_eq!(instance.last_signal.as_deref(), end.err(), "{name}");
    let exited = guard.wait_event("exited", |event| event["service"] == name);
    assert!(exited["message"].as_str().unwrap().starts_with(words), "{exited}");
    assert_eq!(exited["data"]["code"].as_i64(), end.ok(), "{exited}");
    assert_eq!(exited["data"]["signal"].as_str(), end.err(), "{exited}");
    assert_eq!(exited["data"]["wanted"], false, "{exited}");
}

fn starts(guard: &Guard, name: &str) -> usize {
    guard.read(&format!("{name}.starts")).lines().count()
}

#[test]
fn under_always_every_end_brings_a_restart_and_is_told() {
    let guard = every_end_under("always");
    for (name, _, end, words) in ENDS {
        let instance = guard.wait_for(name, "runs again", |it| it.restarts == 1 && it.state == "running");
        assert!(instance.pid.is_some(), "{instance:?}");
        assert_end_is_told(&guard, name, end, words);
        wait_until(BOUND, "it started twice", || (starts(&guard, name) == 2).then_some(()));
    }
}

#[test]
fn under_on_failure_only_a_good_end_is_final() {
    let guard = every_end_under("on-failure");
    for (name, _, end, words) in ENDS {
        if end == Ok(0) {
            let done = guard.wait_state(name, "done");
            assert_eq!((done.cause.as_str(), done.health.as_str(), done.pid, done.restarts), (words, "up", None, 0));
            assert_eq!(done.next, "");
        } else {
            guard.wait_for(name, "runs again", |it| it.restarts == 1 && it.state == "running");
        }
        assert_end_is_told(&guard, name, end, words);
    }
    assert_eq!(starts(&guard, "zero"), 1);
}

#[test]
fn under_never_a_good_end_is_done_and_every_other_has_failed() {
    let guard = every_end_under("never");
    for (name, _, end, words) in ENDS {
        let (state, health) = if end == Ok(0) { ("done", "up") } else { ("failed", "down") };
        let instance = guard.wait_state(name, state);
        assert!(instance.cause.starts_with(words), "{instance:?}");
        assert_eq!((instance.health.as_str(), instance.pid, instance.restarts), (health, None, 0));
        assert_end_is_told(&guard, name, end, words);
        assert_eq!(starts(&guard, name), 1);
    }
}

#[test]
fn codes_that_the_spec_calls_a_success_are_one() {
    let guard = Guard::start(
        "[services.seven]\ncommand = [\"understudy\", \"exit=7\"]\n\
         restart = { when = \"on-failure\", success_codes = [0, 7] }\n\
         [services.other]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    assert_eq!(guard.wait_state("seven", "done").cause, "exited with code 7");
}

#[test]
fn a_program_that_exits_at_once_waits_and_says_how_long() {
    let guard = Guard::start(
        "[services.hasty]\ncommand = [\"understudy\", \"stamp=starts\", \"exit=1\"]\n\
         restart = { delay = \"30s\", jitter = 0 }\n",
    );
    let hasty = guard.wait_state("hasty", "backoff");
    assert_eq!((hasty.cause.as_str(), hasty.next.as_str()), ("exited with code 1", "restart"));
    assert!(hasty.raw["next"]["at"].is_string(), "{hasty:?}");
    assert_eq!((hasty.health.as_str(), hasty.pid), ("down", None));
    let status = guard.cli(["status", guard.name()]);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.stdout.contains("exited with code 1"), "{status:?}");
}

#[test]
fn a_guard_whose_every_service_is_done_ends_and_says_how_well() {
    for (end, code) in [("exit=0", 0), ("exit=1", 1)] {
        let stage = Stage::new();
        stage.write_spec(&format!(
            "[services.once]\ncommand = [\"understudy\", \"await=go\", \"{end}\"]\nrestart.when = \"never\"\n"
        ));
        let mut guard = stage.start(Container::ControlGroup);
        guard.write("go", "");
        assert_eq!(guard.wait(), code);
    }
}

#[test]
fn a_program_that_vanished_is_no_crash_of_the_guard() {
    let stage = Stage::new();
    std::fs::copy(tutela_it::program::folder().join("understudy"), stage.path("program")).unwrap();
    stage.write_spec("[services.a]\ncommand = [\"./program\", \"hang\"]\nrestart = { delay = \"10ms\", burst = 0, max_delay = \"20ms\" }\n");
    let guard = stage.start(Container::ControlGroup);
    let pid = guard.wait_state("a", "running").pid.unwrap();
    std::fs::rename(guard.path("program"), guard.path("away")).unwrap();
    kill(pid, "KILL");
    let waits = guard.wait_for("a", "could not be started", |it| it.cause.starts_with("could not be started: "));
    assert!(waits.cause.contains("there is no file"), "{waits:?}");
    let failed = guard.wait_event("start_failed", |event| event["service"] == "a");
    assert!(failed["data"]["error"].as_str().unwrap().contains("there is no file"), "{failed}");
    std::fs::rename(guard.path("away"), guard.path("program")).unwrap();
    guard.wait_for("a", "runs again", |it| it.state == "running" && it.pid.is_some_and(|new| new != pid));
}

#[test]
fn a_program_that_hangs_is_restarted_once_its_live_probe_says_so() {
    for container in Container::ALL {
        let port = free_port();
        let guard = Guard::start_in(
            container,
            &format!(
                "[services.web]\ncommand = [\"understudy\", \"http={port},status\", \"hang\"]\n\
                 restart.delay = \"10ms\"\nstop.ladder = [{{ signal = \"TERM\", wait = \"200ms\" }}, {{ kill = true }}]\n\
                 [services.web.live]\nhttp = \"http://127.0.0.1:{port}/\"\nevery = \"50ms\"\ntimeout = \"1s\"\nfailures = 2\n"
            ),
        );
        let first = guard.wait_for("web", "lives", |it| it.verdict("live") == "pass").pid.unwrap();
        kill(first, "STOP");
        let second = guard.wait_for("web", "runs again", |it| {
            it.state == "running" && it.verdict("live") == "pass" && it.pid.is_some_and(|pid| pid != first)
        });
        assert_eq!(second.restarts, 1);
        assert!(!lives(first));
        let told = guard.wait_event("unhealthy", |event| event["service"] == "web");
        assert_eq!(told["data"]["probe"], "live", "{told}");
        assert!(told["data"]["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
    }
}
