//! Whole services as processes, under a host that speaks `sd_notify` and signals: systemd, or a guard of Tutela.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use stage::Stage;
use std::time::Duration;
use tutela_service::{FAILED, NOT_READY, NOT_STOPPED, PANICKED};

fn code(code: u32) -> Option<i32> {
    i32::try_from(code).ok()
}

#[test]
fn ready_is_told_when_the_program_says_so_and_stopping_before_it_ends() {
    for form in ["form=thread", "form=async"] {
        let mut stage = Stage::play(&[form, "status", "loading", "ready", "wait", "reason"]);
        stage.hear("STATUS=loading");
        stage.hear("READY=1");
        stage.signal("TERM");
        stage.hear("STOPPING=1");
        stage.hear("EXTEND_TIMEOUT_USEC=");
        let end = stage.end();
        assert_eq!(end.code, Some(0), "{}", end.text);
        assert!(end.heard.iter().any(|line| line.contains("reason: Some(Asked(")), "{:?}", end.heard);
        assert!(end.text.contains("understudy: stopping: asked by SIGTERM\n"), "{}", end.text);
    }
}

#[test]
fn a_program_as_a_value_is_ready_when_its_start_returns_and_its_methods_are_called() {
    for form in ["form=program", "form=async-program"] {
        let mut stage = Stage::play(&[form, "status", "starting"]);
        stage.hear("STATUS=starting");
        stage.hear("READY=1");
        stage.signal("HUP");
        stage.hear("RELOADING=1");
        stage.hear("STATUS=reload");
        stage.hear("READY=1");
        stage.signal("TERM");
        stage.hear("STOPPING=1");
        stage.hear("STATUS=stop: asked by SIGTERM");
        let end = stage.end();
        assert_eq!(end.code, Some(0), "{form}: {}", end.text);

        let mut stage = Stage::play(&[form, "reload-fails", "stop-fails"]);
        stage.hear("READY=1");
        stage.signal("HUP");
        let told = stage.hear("STATUS=reload failed: ");
        assert!(told.contains("reload fails, as the script says"), "{told}");
        stage.signal("TERM");
        assert_eq!(stage.end().code, code(FAILED), "{form}");

        // What could not start is not stopped, and was never ready.
        let end = Stage::play(&[form, "fail", "paper"]).end();
        assert_eq!(end.code, code(FAILED), "{form}: {}", end.text);
        assert!(
            !end.heard.iter().any(|line| line == "READY=1" || line.starts_with("STATUS=stop: ")),
            "{:?}",
            end.heard
        );
        let mut stage = Stage::play(&[form, "stop=300", "status", "starting", "hang"]);
        stage.hear("STATUS=starting");
        stage.signal("TERM");
        stage.hear("STOPPING=1");
        assert_eq!(stage.end().code, code(NOT_STOPPED), "{form}");
    }
}

#[test]
fn a_start_that_needs_longer_asks_the_host_for_time() {
    let mut stage = Stage::play(&["start=60000", "checkpoint", "600000", "wait"]);
    assert_eq!(stage.hear("EXTEND_TIMEOUT_USEC=").len(), "60000000".len());
    assert!(stage.hear("EXTEND_TIMEOUT_USEC=").parse::<u64>().unwrap() > 500_000_000);
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn a_ready_that_never_comes_is_a_failure_that_tells_the_last_status() {
    let mut stage = Stage::play(&["start=300", "status", "waiting for Godot", "wait"]);
    let told = stage.hear("STATUS=not ready within ");
    assert!(told.contains("waiting for Godot"), "{told}");
    let end = stage.end();
    assert_eq!(end.code, code(NOT_READY));
    assert!(!end.heard.iter().any(|line| line == "READY=1"));
    assert!(end.text.contains("error: failed to become ready within 300.0ms"), "{}", end.text);
}

#[test]
fn a_failure_has_its_code_and_its_message() {
    let end = Stage::play(&["ready", "exit", "42"]).end();
    assert_eq!(end.code, Some(42));
    assert!(end.text.contains("ended with exit code 42: as the script says"), "{}", end.text);
    assert_eq!(Stage::play(&["fail", "no paper"]).end().code, code(FAILED));
    assert_eq!(Stage::play(&["ready", "exit", "70000"]).end().code, Some(255));
}

#[test]
fn a_panic_ends_the_service_with_its_message_whereever_it_happens() {
    for script in [
        &["ready", "panic"][..],
        &["form=async", "ready", "panic"],
        &["ready", "task-panic", "wait"],
        &["form=async", "task-panic", "wait"],
    ] {
        let mut stage = Stage::play(script);
        stage.hear("STOPPING=1");
        let end = stage.end();
        assert_eq!(end.code, code(PANICKED), "{}", end.text);
        assert!(end.text.contains("panicked: out of cues (") && end.text.contains("understudy.rs:"), "{}", end.text);
    }
}

#[test]
fn a_stop_waits_for_tracked_work_and_names_what_it_could_not_wait_for() {
    let mut stage = Stage::play(&["ready", "work", "200", "wait", "drain", "60000"]);
    stage.hear("READY=1");
    stage.signal("TERM");
    stage.hear("STATUS=everything finished within ");
    assert_eq!(stage.end().code, Some(0));

    let mut stage = Stage::play(&["stop=300", "ready", "work", "for ever", "work", "for ever", "wait"]);
    stage.hear("READY=1");
    stage.signal("TERM");
    let end = stage.end();
    assert_eq!(end.code, code(NOT_STOPPED));
    assert!(end.text.contains("failed to finish all tracked work in time (unfinished: 2 x work)"), "{}", end.text);
}

#[test]
fn a_program_that_does_not_stop_is_not_waited_for_for_ever() {
    for form in ["form=thread", "form=async"] {
        let mut stage = Stage::play(&[form, "stop=300", "ready", "hang"]);
        stage.hear("READY=1");
        stage.signal("TERM");
        let end = stage.end();
        assert_eq!(end.code, code(NOT_STOPPED));
        assert!(end.text.contains("failed to stop in time: the program has not returned"), "{}", end.text);
    }
}

#[test]
fn a_second_interrupt_hurries_and_a_third_one_does_not_wait() {
    let mut stage = Stage::play(&["ready", "wait", "drain", "60000", "hurried", "status", "hurried"]);
    stage.hear("READY=1");
    stage.signal("INT");
    stage.hear("STOPPING=1");
    stage.signal("INT");
    stage.hear("STATUS=hurried");
    assert_eq!(stage.end().code, Some(0));

    let mut stage = Stage::play(&["ready", "hang"]);
    stage.hear("READY=1");
    stage.signal("INT");
    stage.hear("STOPPING=1");
    // Signals of one kind that come together are one, so the next one is sent until it has ended.
    let began = std::time::Instant::now();
    while !stage.has_ended() {
        assert!(began.elapsed() < stage::BOUND);
        stage.signal("INT");
    }
    assert_eq!(stage.end().code, code(NOT_STOPPED));
}

#[test]
fn a_reload_reads_the_file_again_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    std::fs::write(&path, "1").unwrap();
    let config = format!("config={}", path.display());
    let mut stage = Stage::play(&[&config, "ready", "wait"]);
    stage.hear("READY=1");
    std::fs::write(&path, "2").unwrap();
    stage.signal("HUP");
    stage.hear("RELOADING=1");
    stage.hear("MONOTONIC_USEC=");
    stage.hear("STATUS=number 2");
    stage.hear("READY=1");

    std::fs::write(&path, "two").unwrap();
    stage.signal("HUP");
    stage.hear("RELOADING=1");
    stage.hear("READY=1");
    let told = stage.hear("STATUS=reload failed: ");
    assert!(told.contains("number: invalid digit") && told.ends_with("nothing was changed"), "{told}");

    stage.signal("TERM");
    let end = stage.end();
    assert_eq!(end.code, Some(0));
    assert!(end.text.contains("error: failed to reload: "), "{}", end.text);
}

#[test]
fn a_reload_of_a_program_that_has_none_is_refused_and_harmless() {
    let mut stage = Stage::play(&["ready", "wait"]);
    stage.hear("READY=1");
    stage.signal("HUP");
    stage.hear("READY=1");
    stage.signal("TERM");
    let end = stage.end();
    assert_eq!(end.code, Some(0));
    assert!(end.text.contains("refused: this program does not reload"), "{}", end.text);
}

#[test]
fn signals_of_ones_own_are_events() {
    let mut stage = Stage::play(&["ready", "wait"]);
    stage.hear("READY=1");
    stage.signal("USR1");
    stage.hear("STATUS=code 1");
    stage.signal("USR2");
    stage.hear("STATUS=code 2");
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn the_watchdog_is_fed_while_the_program_lives_and_no_longer() {
    let watched = |words: &[&str]| {
        Stage::play_with(words, |command| {
            command.env("WATCHDOG_USEC", "400000");
        })
    };
    let mut stage = watched(&["form=async", "ready", "wait"]);
    for _ in 0..3 {
        stage.hear("WATCHDOG=1");
    }
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));

    // It never gives a sign of life, so what was fed at first is not fed for ever.
    let mut stage = watched(&["alive=100", "ready", "wait"]);
    stage.hear("READY=1");
    let began = std::time::Instant::now();
    let mut last = 0;
    loop {
        let fed = stage.all_heard().iter().filter(|line| *line == "WATCHDOG=1").count();
        if fed == last && began.elapsed() > Duration::from_secs(1) {
            break;
        }
        assert!(began.elapsed() < stage::BOUND, "a hung program is fed for ever");
        last = fed;
        stage.pause(Duration::from_millis(500));
    }
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn a_program_may_end_by_itself_and_that_is_well() {
    let end = Stage::play(&["ready", "end", "wait"]).end();
    assert_eq!(end.code, Some(0));
    assert!(end.text.contains("stopping: the program ended by itself"), "{}", end.text);
}

#[test]
fn lines_of_the_program_go_where_those_of_the_service_go() {
    let end = Stage::play(&["ready", "log"]).end();
    assert!(end.text.contains("understudy: warning: a line of the program cue=7\n"), "{}", end.text);
}

#[test]
fn under_a_guard_lines_have_no_time_of_ours() {
    let end = Stage::play_with(&["ready"], |command| {
        command.env("TUTELA_SERVICE", "api");
    })
    .end();
    assert!(end.text.starts_with("understudy: ready after "), "{}", end.text);
}
