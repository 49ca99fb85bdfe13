//! Nothing is left behind: whole trees end, whatever their members want, and who resisted is named.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::time::{Duration, Instant};
use tutela_it::processes::{children, kill, lives, set_mode, state};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// What an answer may take beyond the waits that the spec names, on a machine with other work.
const MARGIN: Duration = Duration::from_secs(2);

/// Stops a service by the command line: how long that took, and what it said of the first instance.
fn stop(guard: &Guard, service: &str) -> (Duration, Value) {
    let began = Instant::now();
    let said = guard.cli_ok(&["stop", &format!("{}/{service}", guard.name()), "--json"]);
    let took = began.elapsed();
    let reply: Value = serde_json::from_str(&said).unwrap();
    let of_service = |instance: &&Value| instance["id"] == format!("{service}:0");
    (took, reply["instances"].as_array().unwrap().iter().find(of_service).unwrap().clone())
}

fn survivors(outcome: &Value) -> Vec<u64> {
    outcome["survivors"].as_array().unwrap().iter().map(|survivor| survivor["pid"].as_u64().unwrap()).collect()
}

#[test]
fn a_grandchild_in_its_own_session_that_ignores_term_is_gone_after_a_stop_which_names_it() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"stray=stray\", \"on-term=0\", \"hang\"]\n\
             stop.ladder = [{ signal = \"TERM\", wait = \"500ms\" }, { kill = true }]\n",
        );
        let stray = guard.written_pid("stray");
        guard.wait_state("a", "running");
        let (took, outcome) = stop(&guard, "a");
        assert!(!lives(stray), "{container:?}: {stray} lives; {outcome}");
        assert!(took < Duration::from_millis(500) + MARGIN, "{container:?}: {took:?}");
        assert_eq!(outcome["state"], "stopped", "{outcome}");
        assert_eq!(survivors(&outcome), [u64::from(stray)], "{outcome}");
        assert_eq!(outcome["survivors"][0]["name"], "understudy", "{outcome}");
        let told = guard.wait_event("resisted", |_| true);
        assert_eq!(told["data"]["survivors"][0]["pid"], stray, "{told}");
    }
}

#[test]
fn a_grandchild_whose_parents_are_all_dead_is_gone_before_the_next_start() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"once=first\", \"stray=stray\", \"stamp=starts\", \"hang\"]\n\
             restart.delay = \"0s\"\n",
        );
        let stray = guard.written_pid("stray");
        let first = guard.wait_state("a", "running").pid.unwrap();
        guard.written("starts");
        kill(first, "KILL");
        wait_until(BOUND, "the second life begins", || (guard.read("starts").lines().count() == 2).then_some(()));
        assert!(!lives(stray), "{container:?}: two trees at once");
        guard.wait_state("a", "running");
        let told = guard.wait_event("resisted", |_| true);
        assert_eq!(told["data"]["survivors"][0]["pid"], stray, "{told}");
    }
}

#[test]
fn a_grandchild_that_outlived_a_program_that_is_done_is_gone_when_it_is() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"stray=stray\", \"exit=0\"]\nrestart.when = \"never\"\n\
             [services.b]\ncommand = [\"understudy\", \"hang\"]\n",
        );
        let stray = guard.written_pid("stray");
        guard.wait_state("a", "done");
        assert!(!lives(stray), "{container:?}");
    }
}

#[test]
fn a_stop_climbs_its_ladder_and_names_a_main_process_that_ignores_it() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.deaf]\ncommand = [\"understudy\", \"ignore=TERM\", \"ignore=INT\", \"pid=deaf\", \"hang\"]\n\
             stop.ladder = [{ signal = \"TERM\", wait = \"200ms\" }, { signal = \"INT\", wait = \"200ms\" }, { kill = true }]\n",
        );
        let deaf = guard.written_pid("deaf");
        guard.wait_state("deaf", "running");
        let (took, outcome) = stop(&guard, "deaf");
        assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(400) + MARGIN, "{took:?}");
        assert_eq!(survivors(&outcome), [u64::from(deaf)], "{outcome}");
        assert!(!lives(deaf));
        assert_eq!(guard.instance("deaf").last_signal.as_deref(), Some("KILL"));
    }
}

#[test]
fn a_step_of_a_stop_that_reaches_nobody_is_told_and_not_waited_for() {
    let stage = Stage::new();
    set_mode(&stage.write("ask", "#!/bin/sh\n"), 0o755);
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"on-term=0\", \"pid=ready\", \"hang\"]\n\
         stop.ladder = [{ command = [\"./ask\", \"a-secret\"], wait = \"10m\" }, { signal = \"TERM\" }]\n",
    );
    let guard = stage.start(Container::ALL[0]);
    guard.written("ready");
    guard.wait_state("a", "running");
    // It was there when the guard looked whether everything is.
    std::fs::remove_file(guard.path("ask")).unwrap();
    let (_, outcome) = stop(&guard, "a");
    assert_eq!(survivors(&outcome), [0_u64; 0], "{outcome}");
    assert_eq!(guard.instance("a").last_code, Some(0));
    let told = guard.events_of("stop_step_failed");
    assert_eq!(told.len(), 1, "{told:?}");
    let text = told[0]["message"].as_str().unwrap();
    let ask = guard.path("ask").display().to_string();
    assert!(text.starts_with(&format!("command {ask} reached nobody: it could not be started: ")), "{text}");
    assert!(!text.contains("a-secret"), "{text}");
}

#[test]
fn a_stop_of_a_program_that_obeys_is_quick_and_accuses_nobody() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"fork=5\", \"on-term=0\", \"pid=ready\", \"hang\"]\n",
        );
        guard.written("ready");
        guard.wait_state("a", "running");
        let (took, outcome) = stop(&guard, "a");
        assert!(took < MARGIN, "{container:?}: {took:?}");
        assert_eq!(survivors(&outcome), [0_u64; 0], "{outcome}");
        assert_eq!(guard.instance("a").last_code, Some(0));
        assert!(guard.events_of("resisted").is_empty());
    }
}

#[test]
fn orphans_that_end_are_reaped() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"orphan=one\", \"orphan=two\", \"orphan=three\", \"hang\"]\n",
        );
        let orphan = guard.written_pid("three");
        wait_until(BOUND, "the last orphan is reaped", || state(orphan).is_none().then_some(()));
        let is_zombie = |pid: &u32| state(*pid) == Some('Z');
        wait_until(BOUND, "no zombie is left", || {
            children(guard.pid()).iter().all(|pid| !is_zombie(pid)).then_some(())
        });
        guard.wait_state("a", "running");
    }
}

#[test]
fn a_guard_that_is_asked_to_end_ends_its_services_after_those_that_need_them() {
    for container in Container::ALL {
        let mut guard = Guard::start_in(
            container,
            "[services.db]\ncommand = [\"understudy\", \"stray=stray\", \"pid=db\", \"hang\"]\n\
             hooks.after_exit = [\"sh -c 'echo db >> order'\"]\n\
             stop.ladder = [{ signal = \"TERM\", wait = \"300ms\" }, { kill = true }]\n\
             [services.api]\ncommand = [\"understudy\", \"on-term-slowly=200\", \"pid=api\", \"hang\"]\nneeds = [\"db\"]\n\
             hooks.after_exit = [\"sh -c 'echo api >> order'\"]\n",
        );
        let stray = guard.written_pid("stray");
        guard.written("api");
        guard.wait_state("api", "running");
        assert_eq!(guard.end(), 0);
        assert_eq!(guard.read("order"), "api\ndb\n", "{container:?}");
        assert!(!lives(stray), "{container:?}");
    }
}
