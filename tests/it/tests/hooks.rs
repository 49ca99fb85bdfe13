//! Commands around a program's life: in their order, with their deadline, and with nothing left of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use tutela_it::processes::lives;
use tutela_it::{BOUND, Container, Guard, wait_until};

fn note(word: &str) -> String {
    format!("\"sh -c 'echo {word} >> order'\"")
}

fn variables(text: &str) -> HashMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
}

#[test]
fn hooks_run_in_the_order_of_a_life() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            &format!(
                "[services.a]\ncommand = [\"sh\", \"-c\", \"echo main >> order; exec understudy hang\"]\n\
                 [services.a.ready]\nexec = [\"grep\", \"-q\", \"main\", \"order\"]\nevery = \"30ms\"\n\
                 [services.a.hooks]\nbefore_start = [{}, {}]\nafter_ready = [{}]\nbefore_stop = [{}]\nafter_exit = [{}, {}]\n",
                note("first"),
                note("second"),
                note("ready"),
                note("stopping"),
                note("over"),
                note("last"),
            ),
        );
        wait_until(BOUND, "it is ready", || guard.read("order").contains("ready").then_some(()));
        guard.wait_state("a", "running");
        guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
        assert_eq!(guard.read("order"), "first\nsecond\nmain\nready\nstopping\nover\nlast\n", "{container:?}");
    }
}

#[test]
fn a_hook_that_fails_before_the_start_stops_it_and_says_why() {
    let guard = Guard::start(&format!(
        "[services.a]\ncommand = [\"understudy\", \"stamp=started\", \"hang\"]\nrestart.when = \"never\"\n\
         hooks.before_start = [\"understudy exit=4\", {}]\n\
         [services.b]\ncommand = [\"understudy\", \"hang\"]\n",
        note("second")
    ));
    let failed = guard.wait_state("a", "failed");
    assert_eq!(failed.cause, "its before_start hook ended with exit code 4");
    assert_eq!((guard.read("started"), guard.read("order")), (String::new(), String::new()));
    let told = guard.wait_event("hook_ran", |event| event["service"] == "a");
    assert_eq!(told["data"]["hook"], "before_start", "{told}");
}

#[test]
fn a_failing_hook_before_the_start_is_tried_again_as_the_policy_says() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"stamp=started\", \"hang\"]\nrestart.delay = \"10ms\"\n\
         hooks.before_start = [\"understudy once=tried exit=4\"]\n",
    );
    let up = guard.wait_state("a", "running");
    assert_eq!(up.restarts, 1);
    assert_eq!(guard.written("started").lines().count(), 1);
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_everything_it_started() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"stamp=started\", \"hang\"]\nrestart.when = \"never\"\n\
             hooks.before_start = [{ command = [\"understudy\", \"ignore=TERM\", \"stray=stray\", \"pid=hook\", \"hang\"], timeout = \"3s\" }]\n\
             [services.b]\ncommand = [\"understudy\", \"hang\"]\n",
        );
        let (stray, hook) = (guard.written_pid("stray"), guard.written_pid("hook"));
        let failed = guard.wait_state("a", "failed");
        assert_eq!(failed.cause, "its before_start hook took too long and was ended");
        for pid in [stray, hook] {
            wait_until(BOUND, "it is gone", || (!lives(pid)).then_some(()));
        }
        assert_eq!(guard.read("started"), "", "{container:?}");
    }
}

#[test]
fn what_a_hook_leaves_behind_is_ended_with_it() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"hang\"]\nhooks.before_start = [\"understudy stray=stray\"]\n",
        );
        let stray = guard.written_pid("stray");
        guard.wait_state("a", "running");
        assert!(!lives(stray), "{container:?}");
    }
}

#[test]
fn a_hook_after_the_end_knows_how_it_was() {
    let guard = Guard::start(
        "[services.coded]\ncommand = [\"understudy\", \"exit=3\"]\nrestart.when = \"never\"\nenv = { COLOUR = \"red\" }\n\
         hooks.after_exit = [\"understudy env=coded.env\"]\n\
         [services.killed]\ncommand = [\"understudy\", \"raise=KILL\"]\nrestart.when = \"never\"\n\
         hooks.after_exit = [\"understudy env=killed.env\"]\n\
         [services.other]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    let coded = variables(&guard.written("coded.env"));
    let has = |key: &str| coded.get(key).map_or("", String::as_str);
    assert_eq!((has("TUTELA_EXIT_CODE"), has("TUTELA_HOOK"), has("COLOUR")), ("3", "after_exit", "red"), "{coded:?}");
    assert_eq!((has("TUTELA_SERVICE"), has("TUTELA_INSTANCE")), ("coded", "0"));
    assert!(!coded.contains_key("TUTELA_EXIT_SIGNAL"));
    let killed = variables(&guard.written("killed.env"));
    let signal = killed.get("TUTELA_EXIT_SIGNAL").map_or("", String::as_str);
    assert_eq!(signal.trim_start_matches("SIG"), "KILL", "{killed:?}");
    assert!(!killed.contains_key("TUTELA_EXIT_CODE"));
}
