//! Whole services under the service control manager, driven by `sc` and by the controls of an operator.
//!
//! These tests are for Windows, or for Wine's SCM (`cargo xtask windows`), as an administrator. Other OSes have no SCM:
//! there none of them runs, and none is counted; that a service lives in the foreground is proved by `hosts.rs`.
//! One after the other, because Wine has one SCM and little patience.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use std::io::{Read, Seek};
use std::process::Command;
use std::time::Instant;
use tutela_os::Os;
use tutela_os::host::{Control, ask};
use tutela_service::{FAILED, NOT_READY, PANICKED};

/// A registration of the understudy that is removed when this is dropped.
struct Registered {
    name: String,
}

/// What `sc query` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    state: String,
    code: u32,
    own_code: u32,
    checkpoint: u32,
}

/// Calls `sc`; its exit code and its text, which goes through a file because a pipe loses it under Wine.
fn sc(words: &[&str]) -> (Option<i32>, String) {
    let mut file = tempfile::tempfile().unwrap();
    let status = Command::new("sc.exe").args(words).stdout(file.try_clone().unwrap()).status().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    (status.code(), text)
}

impl Registered {
    /// Registers the understudy with a script.
    fn new(test: &str, script: &str) -> Registered {
        let name = format!("tutela-sdk-{test}-{}", std::process::id());
        let path = format!("\"{}\" {script}", stage::example("understudy").display());
        let (code, text) = sc(&["create", &name, "binPath=", &path]);
        assert_eq!(code, Some(0), "{text}");
        Registered { name }
    }

    fn start(&self) {
        let (code, text) = sc(&["start", &self.name]);
        assert_eq!(code, Some(0), "{text}");
    }

    fn ask(&self, control: Control) {
        ask(&self.name, control).unwrap();
    }

    fn shown(&self) -> Shown {
        let (_, text) = sc(&["query", &self.name]);
        let value = |key: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let first = |key: &str| value(key).split(' ').next().unwrap_or_default().to_owned();
        let checkpoint = first("CHECKPOINT");
        Shown {
            state: value("STATE").split_whitespace().nth(1).unwrap_or_default().to_owned(),
            code: first("WIN32_EXIT_CODE").parse().unwrap_or(u32::MAX),
            own_code: first("SERVICE_EXIT_CODE").parse().unwrap_or(u32::MAX),
            checkpoint: u32::from_str_radix(checkpoint.trim_start_matches("0x"), 16).unwrap_or(u32::MAX),
        }
    }

    /// Waits for a state.
    fn until(&self, state: &str) -> Shown {
        self.until_shown(state, |shown| shown.state == state)
    }

    fn until_shown(&self, what: &str, wanted: impl Fn(&Shown) -> bool) -> Shown {
        let began = Instant::now();
        loop {
            let shown = self.shown();
            if wanted(&shown) {
                return shown;
            }
            assert!(began.elapsed() < stage::BOUND, "no {what}; it stays {shown:?}");
        }
    }

    /// Waits for its end; Windows' exit code and its own.
    fn end(&self) -> (u32, u32) {
        let shown = self.until("STOPPED");
        (shown.code, shown.own_code)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = ask(&self.name, Control::Stop);
        let _ = sc(&["delete", &self.name]);
    }
}

/// Every test, by its name.
const TESTS: [(&str, fn()); 4] = [
    ("a_service_runs_pauses_goes_on_and_stops_as_it_is_asked", a_service_runs_pauses_goes_on_and_stops_as_it_is_asked),
    (
        "a_start_is_pending_with_rising_checkpoints_until_the_program_is_ready",
        a_start_is_pending_with_rising_checkpoints_until_the_program_is_ready,
    ),
    (
        "failures_panics_and_late_starts_and_stops_have_their_own_codes",
        failures_panics_and_late_starts_and_stops_have_their_own_codes,
    ),
    ("a_pause_that_the_program_refuses_leaves_it_running", a_pause_that_the_program_refuses_leaves_it_running),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.into_iter().filter(|(name, _)| Os::CURRENT == Os::Windows && name.contains(&wanted)) {
        let began = Instant::now();
        let well = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {} ({:?})", if well { "ok" } else { "FAILED" }, began.elapsed());
        *(if well { &mut passed } else { &mut failed }) += 1;
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    std::process::exit(i32::from(failed > 0));
}

/// Windows' code for "it has a code of its own".
const SPECIFIC: u32 = 1066;

fn a_service_runs_pauses_goes_on_and_stops_as_it_is_asked() {
    for (test, script) in
        [("life", "pause=1 ready wait"), ("value", "form=program"), ("async-value", "form=async-program")]
    {
        lives(&Registered::new(test, script));
    }
}

fn lives(service: &Registered) {
    service.start();
    service.until("RUNNING");
    service.ask(Control::Pause);
    service.until("PAUSED");
    service.ask(Control::Continue);
    service.until("RUNNING");
    service.ask(Control::User(130));
    let (code, text) = sc(&["stop", &service.name]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(service.end(), (0, 0));
}

fn a_start_is_pending_with_rising_checkpoints_until_the_program_is_ready() {
    let service = Registered::new("pending", "pace 6000 ready wait");
    service.start();
    let first = service.until("START_PENDING");
    service.until_shown("higher checkpoint", |shown| {
        shown.state == "START_PENDING" && shown.checkpoint > first.checkpoint
    });
    assert_eq!(service.until("RUNNING").checkpoint, 0);
    service.ask(Control::Stop);
    assert_eq!(service.end(), (0, 0));
}

fn failures_panics_and_late_starts_and_stops_have_their_own_codes() {
    for (test, script, own) in [
        ("exit", "ready exit 70000", 70_000),
        ("fail", "fail paper", FAILED),
        ("panic", "ready panic", PANICKED),
        ("task", "form=async ready task-panic wait", PANICKED),
        ("late", "start=200 wait", NOT_READY),
    ] {
        let service = Registered::new(test, script);
        service.start();
        assert_eq!(service.end(), (SPECIFIC, own), "{script}");
    }
    let service = Registered::new("hang", "stop=200 ready hang");
    service.start();
    service.until("RUNNING");
    service.ask(Control::Stop);
    // Another code would have the SCM start again what was to be stopped.
    assert_eq!(service.end(), (0, 0));
}

fn a_pause_that_the_program_refuses_leaves_it_running() {
    for (test, script) in [("refuse", "pause=fail ready wait"), ("refuse-value", "form=async-program pause-fails")] {
        let service = Registered::new(test, script);
        service.start();
        service.until("RUNNING");
        service.ask(Control::Pause);
        service.until("RUNNING");
        service.ask(Control::Stop);
        assert_eq!(service.end(), (0, 0));
    }
}
