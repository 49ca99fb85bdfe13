//! A guard that stands still: it is stopped, it is frozen alone, it is frozen with its programs as a paused container is.
//! Nothing that programs had to do meanwhile is held against them, and everything goes on where it was.
//!
//! A computer that sleeps is not among them: no test can put one to sleep. There the boot clock goes on and the monotonic
//! one does not, by which the guard knows how long it was (`tutela-core` has the scenarios). Here both go on, and the guard
//! knows it by a deadline that it hears late.

use serde_json::Value;
use std::time::{Duration, Instant};
use tutela_it::faults::{Freezer, no_line_lost};
use tutela_it::processes::{free_port, kill, lives};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// Longer than any bound of these specs, by far.
const STILL: Duration = Duration::from_secs(6);

/// A program whose watchdog bites after 0.6 s, one that is asked twice a second and may fail once only, and one that talks.
fn spec(port: u16) -> String {
    format!(
        "[services.fed]\ncommand = [\"understudy\", \"notify=READY=1\", \"notify-every=100,WATCHDOG=1\", \"hang\"]\n\
         instances = 3\nready.notify = true\nlive = {{ notify = true, every = \"200ms\", failures = 3 }}\n\
         [services.asked]\ncommand = [\"understudy\", \"http={port},answer\", \"hang\"]\n\
         [services.asked.live]\nhttp = \"http://127.0.0.1:{port}/\"\nevery = \"500ms\"\ntimeout = \"2s\"\nfailures = 1\n\
         [services.talks]\ncommand = [\"understudy\", \"drip=5\", \"hang\"]\n"
    )
}

const IDS: [&str; 5] = ["fed:0", "fed:1", "fed:2", "asked", "talks"];

fn started(container: Container) -> Guard {
    let stage = Stage::new();
    stage.write_spec(&spec(free_port()));
    let guard = stage.start(container);
    for id in IDS {
        guard.wait_state(id, "running");
    }
    guard.wait_for("asked", "is alive", |it| it.verdict("live") == "pass");
    guard
}

fn lasting(guard: &Guard) -> Vec<(String, Option<u32>, u64)> {
    IDS.iter().map(|id| guard.instance(id)).map(|it| (it.state.clone(), it.pid, it.restarts)).collect()
}

/// The questions that a probe has asked so far.
fn asked(guard: &Guard) -> u64 {
    let text = tutela_it::http::ask(&guard.socket(), "GET", "/metrics").unwrap().text();
    let lines =
        text.lines().filter(|line| line.starts_with("tutela_probe_results_total{") && line.contains("\"asked\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// Three seconds of going on after it: time for every bound to be missed once more.
fn goes_on(guard: &Guard, before: &[(String, Option<u32>, u64)], what: &str) {
    let (at, began) = (asked(guard), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lasting(guard), before, "{what}: {:?}", guard.messages());
    let questions = asked(guard) - at;
    // None of those is made up for that were due while nobody asked.
    let due = u64::try_from(began.elapsed().as_millis()).unwrap() / 500;
    assert!(
        (1..=due + 2).contains(&questions),
        "{what}: {questions} questions, of one every 500 ms, while {due} were due"
    );
    let told = |event: &Value| event["message"].as_str().unwrap().contains("stood still");
    guard.wait_event("trouble", told);
    no_line_lost(guard, &["talks"]);
}

#[test]
fn a_guard_that_was_stopped_holds_nothing_against_programs_that_went_on() {
    for container in Container::ALL {
        let guard = started(container);
        let before = lasting(&guard);
        kill(guard.pid(), "STOP");
        std::thread::sleep(STILL);
        assert!(before.iter().all(|(_, pid, _)| lives(pid.unwrap())));
        kill(guard.pid(), "CONT");
        goes_on(&guard, &before, &format!("{container:?}, stopped"));
    }
}

#[test]
fn a_paused_container_goes_on_as_if_nothing_had_been() {
    // Programs of a walked guard are in whichever group it is in; those of control groups it would move out of it.
    let stage = Stage::new();
    stage.write_spec(&format!(
        "{}[services.ends]\ncommand = [\"understudy\", \"on-term-slowly=700\", \"say=up\", \"hang\"]\n\
         stop.ladder = [{{ signal = \"TERM\", wait = \"2s\" }}, {{ kill = true }}]\n",
        spec(free_port())
    ));
    let freezer = Freezer::make(stage.name());
    let guard = stage.start(Container::Walk);
    for id in IDS.iter().chain(&["ends"]) {
        guard.wait_state(id, "running");
    }
    guard.wait_for("asked", "is alive", |it| it.verdict("live") == "pass");
    wait_until(BOUND, "it can be asked to end", || (!guard.log("ends-0.log").is_empty()).then_some(()));
    let before = lasting(&guard);
    for pid in guard.living().into_iter().chain([guard.pid()]) {
        freezer.take(pid);
    }
    guard.api("POST", "/v1/services/ends/stop?wait=false", 202);
    guard.wait_state("ends", "stopping");
    freezer.freeze();
    std::thread::sleep(STILL);
    freezer.thaw();
    let ended = guard.wait_state("ends", "stopped");
    assert_eq!(
        (ended.last_code, ended.last_signal),
        (Some(0), None),
        "its time to end passed while it could not use it"
    );
    goes_on(&guard, &before, "frozen");
}

#[test]
fn a_safe_that_was_stopped_keeps_nobody_waiting_and_is_there_for_the_next_guard() {
    let guard = started(Container::ControlGroup);
    let before = lasting(&guard);
    let is_safe = |pid: &u32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains("--keep-open-for") && words.contains(guard.name())
    };
    let safe = tutela_it::processes::all().into_iter().find(is_safe).unwrap();
    kill(safe, "STOP");
    let began = Instant::now();
    guard.cli_ok(&["restart", &format!("{}/fed", guard.name())]);
    assert!(began.elapsed() < Duration::from_secs(15), "a restart took {:?}", began.elapsed());
    for id in IDS {
        guard.wait_state(id, "running");
    }
    kill(safe, "CONT");
    assert_eq!(lasting(&guard)[3..], before[3..]);
    no_line_lost(&guard, &["talks"]);
    let now = lasting(&guard);
    let guard = guard.crash().start(Container::ControlGroup);
    assert_eq!(lasting(&guard)[3..], now[3..], "{:?}", guard.messages());
    no_line_lost(&guard, &["talks"]);
}
