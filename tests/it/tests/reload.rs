//! A reload: what is not different goes on undisturbed, and a spec that is refused changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::collections::BTreeMap;
use tutela_it::processes::{kill, lives};
use tutela_it::{BOUND, Guard, wait_until};

/// Two services that nothing ever happens to.
const OTHERS: &str = "[services.b]\ncommand = [\"understudy\", \"hang\"]\n[services.c]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"b\"]\n";

fn service(keys: &str) -> String {
    format!("{OTHERS}[services.a]\ncommand = [\"understudy\", \"hang\"]\n{keys}\n")
}

/// The process of every instance.
fn pids(guard: &Guard) -> BTreeMap<String, Option<u64>> {
    let status = guard.status();
    let instances = status["services"].as_array().unwrap().iter().flat_map(|it| it["instances"].as_array().unwrap());
    instances.map(|it| (it["id"].as_str().unwrap().to_owned(), it["pid"].as_u64())).collect()
}

/// Reloads what was written, which must be accepted; what the command says of it.
fn reload(guard: &Guard) -> Value {
    let ended = guard.cli(["reload", guard.name(), "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn names(reply: &Value, key: &str) -> Vec<String> {
    reply[key].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn started(spec: &str) -> Guard {
    let guard = Guard::start(spec);
    for id in ["a", "b", "c"] {
        guard.wait_state(id, "running");
    }
    guard
}

#[test]
fn only_what_changed_restarts() {
    let guard = started(&service(""));
    let before = pids(&guard);
    guard.write_spec(&service("env = { COLOUR = \"blue\" }"));
    let reply = reload(&guard);
    assert_eq!(names(&reply, "restarted"), ["a"]);
    assert_eq!(names(&reply, "unchanged"), ["b", "c"]);
    let after = pids(&guard);
    assert_ne!(after["a:0"], before["a:0"]);
    assert_eq!((after["b:0"], after["c:0"]), (before["b:0"], before["c:0"]));
    assert_eq!(guard.instance("a").state, "running");
    // Restarts after an end count; one that somebody asked for is none.
    assert_eq!(guard.instance("a").restarts, 0);
}

#[test]
fn the_same_spec_again_changes_nothing() {
    let guard = started(&service(""));
    let before = pids(&guard);
    guard.write_spec(&format!("# another look\n{}", service("")));
    let reply = reload(&guard);
    assert_eq!(names(&reply, "unchanged"), ["a", "b", "c"]);
    assert_eq!(pids(&guard), before);
}

#[test]
fn a_refused_spec_changes_nothing_and_says_where_it_is_wrong() {
    let guard = started(&service(""));
    let before = pids(&guard);
    for (bad, line, code) in [
        (service("instnaces = 2"), 9, "unknown-key"),
        (service("env = { A = \"1\" }\nneeds = [\"nobody\"]"), 10, "missing-need"),
        (service("").replace("\"understudy\", \"hang\"]\n\n", "\"./no-such-program\"]\n"), 8, "program-missing"),
        ("not = [toml".to_owned(), 2, "syntax"),
    ] {
        guard.write_spec(&bad);
        let ended = guard.cli(["reload", guard.name()]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("tutela.toml:{line}:")), "{}", ended.stderr);
        assert!(ended.stderr.contains("nothing was changed"), "{}", ended.stderr);
        let told = guard.wait_event("reload_refused", |event| event["data"]["diagnostics"][0]["code"] == code);
        assert_eq!(told["data"]["diagnostics"][0]["line"], line, "{told}");
        assert_eq!(pids(&guard), before);
    }
    std::fs::remove_file(guard.spec_path()).unwrap();
    assert_eq!(guard.cli(["reload", guard.name()]).code, 2);
    assert_eq!(pids(&guard), before);
    assert!(guard.events_of("reloaded").is_empty());
}

#[test]
fn another_name_is_refused() {
    let guard = started(&service(""));
    let before = pids(&guard);
    guard.write("tutela.toml", &format!("name = \"another\"\n{}", service("")));
    let ended = guard.cli(["reload", guard.name()]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("another"), "{}", ended.stderr);
    assert_eq!(pids(&guard), before);
}

#[test]
fn a_probes_interval_changes_while_the_program_runs() {
    let probe = |every: &str| {
        format!("live = {{ exec = [\"understudy\", \"stamp=asked\"], every = \"{every}\", delay = \"0s\" }}\n")
    };
    let guard = started(&service(&probe("1h")));
    let before = pids(&guard);
    guard.write_spec(&service(&probe("20ms")));
    let reply = reload(&guard);
    assert_eq!(names(&reply, "adjusted"), ["a"]);
    wait_until(BOUND, "the probe asks ten times", || (guard.read("asked").lines().count() > 10).then_some(()));
    assert_eq!(pids(&guard), before);
}

#[test]
fn a_restart_policy_changes_while_the_program_runs() {
    let guard = started(&service("restart = { delay = \"1h\", max_delay = \"1h\" }"));
    let before = pids(&guard);
    guard.write_spec(&service("restart = { delay = \"0s\" }"));
    assert_eq!(names(&reload(&guard), "adjusted"), ["a"]);
    assert_eq!(pids(&guard), before);
    kill(u32::try_from(before["a:0"].unwrap()).unwrap(), "KILL");
    let again = guard.wait_for("a", "runs again", |a| a.state == "running" && a.restarts == 1);
    assert_ne!(again.pid.map(u64::from), before["a:0"]);
}

#[test]
fn a_wait_under_way_goes_on_over_a_reload_and_ends_with_a_start() {
    let spec = |delay: &str| {
        format!(
            "{OTHERS}[services.a]\ncommand = [\"understudy\", \"once=first\", \"exit=1\", \"hang\"]\nrestart = {{ delay = \"{delay}\", max_delay = \"1h\" }}\n"
        )
    };
    let guard = Guard::start(&spec("1h"));
    guard.wait_state("a", "backoff");
    guard.write_spec(&spec("10ms"));
    assert_eq!(names(&reload(&guard), "adjusted"), ["a"]);
    assert_eq!(guard.instance("a").state, "backoff");
    guard.cli_ok(&["start", &format!("{}/a", guard.name())]);
    assert_eq!(guard.instance("a").state, "running");
}

#[test]
fn a_limit_changes_while_the_program_runs() {
    let guard = started(&service("limits.processes = 100"));
    let before = pids(&guard);
    let pid = u32::try_from(before["a:0"].unwrap()).unwrap();
    let limit = || {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let mut found = Vec::new();
        for line in groups.lines() {
            let (controllers, group) = line.split_once(':').unwrap().1.split_once(':').unwrap();
            let root = if controllers.is_empty() {
                "/sys/fs/cgroup".to_owned()
            } else {
                format!("/sys/fs/cgroup/{controllers}")
            };
            found.extend(std::fs::read_to_string(format!("{root}{group}/pids.max")).ok());
        }
        found.join("").trim().to_owned()
    };
    let held = limit();
    guard.write_spec(&service("limits.processes = 77"));
    assert_eq!(names(&reload(&guard), "adjusted"), ["a"]);
    assert_eq!(pids(&guard), before);
    if held == "100" {
        assert_eq!(limit(), "77");
    } else {
        // No such controller is handed to us here: that has to have been said.
        let told = guard.events_of("unsupported");
        assert!(told.iter().any(|event| event["service"] == "a"), "limit {held:?}, told {told:?}");
    }
}

#[test]
fn services_are_added_and_removed() {
    let guard = started(&service(""));
    let before = pids(&guard);
    let gone = u32::try_from(before["a:0"].unwrap()).unwrap();
    guard.write_spec(&format!("{OTHERS}[services.d]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"c\"]\n"));
    let reply = reload(&guard);
    assert_eq!((names(&reply, "added"), names(&reply, "removed")), (vec!["d".to_owned()], vec!["a".to_owned()]));
    let after = pids(&guard);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["b:0", "c:0", "d:0"]);
    assert_eq!((after["b:0"], after["c:0"]), (before["b:0"], before["c:0"]));
    assert!(!lives(gone));
    assert_eq!(guard.cli(["status", &format!("{}/a", guard.name())]).code, 4);
}

#[test]
fn instances_go_up_and_down_and_the_others_stay() {
    let guard = started(&service(""));
    let before = pids(&guard);
    guard.write_spec(&service("instances = 3"));
    reload(&guard);
    guard.wait_state("a:2", "running");
    let more = pids(&guard);
    assert_eq!(more.len(), 5);
    assert!(before.iter().all(|(id, pid)| more[id] == *pid), "{before:?} {more:?}");
    guard.write_spec(&service("instances = 2"));
    reload(&guard);
    let fewer = pids(&guard);
    assert_eq!(fewer.len(), 4);
    assert!(fewer.iter().all(|(id, pid)| more[id] == *pid), "{more:?} {fewer:?}");
    assert!(!lives(u32::try_from(more["a:2"].unwrap()).unwrap()));
}

#[test]
fn a_service_that_somebody_stopped_stays_stopped() {
    let guard = started(&service(""));
    guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
    guard.write_spec(&service("env = { COLOUR = \"blue\" }"));
    reload(&guard);
    assert_eq!(guard.instance("a").state, "stopped");
    guard.cli_ok(&["start", &format!("{}/a", guard.name())]);
    let pid = guard.instance("a").pid.unwrap();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.split(|byte| *byte == 0).any(|it| it == b"COLOUR=blue"), "it was started with the former spec");
}

#[test]
fn a_hang_up_signal_reloads() {
    let guard = started(&service(""));
    let before = pids(&guard);
    guard.write_spec(&service("env = { COLOUR = \"blue\" }"));
    kill(guard.pid(), "HUP");
    guard.wait_for("a", "runs anew", |a| a.state == "running" && a.pid.map(u64::from) != before["a:0"]);
    let told = guard.wait_event("reloaded", |_| true);
    assert_eq!(told["data"]["restarted"][0], "a", "{told}");
    guard.write_spec("broken");
    kill(guard.pid(), "HUP");
    guard.wait_event("reload_refused", |_| true);
    assert_eq!(pids(&guard)["b:0"], before["b:0"]);
}
