//! A guard as process 1 of a container, and a guard of a single program. Needs root for the namespace.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use tutela_it::processes::{children, kill, names_like, state};
use tutela_it::{BOUND, Container, Guard, Stage, run_within, wait_until};

/// A guard that is process 1 of a process namespace of its own.
fn process_one(stage: Stage, container: Container) -> Guard {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(tutela_it::program::tutela()).arg("run");
    if container == Container::Walk {
        command.arg("--force-walk");
    }
    command.arg(stage.spec_path());
    stage.dress(&mut command);
    let mut guard = stage.start_command(command);
    let outer = guard.pid();
    let inner = wait_until(BOUND, "unshare has its child", || children(outer).first().copied());
    guard.is_process(inner);
    guard
}

#[test]
fn process_one_reaps_strangers_passes_signals_on_and_stops_in_order() {
    for container in Container::ALL {
        let stage = Stage::new();
        stage.write_spec(
            "[services.db]\ncommand = [\"understudy\", \"record=signals\", \"pid=db\", \"hang\"]\n\
             hooks.after_exit = [\"sh -c 'echo db >> order'\"]\n\
             [services.api]\ncommand = [\"understudy\", \"record=others\", \"stray=stray\", \"pid=api\", \"hang\"]\nneeds = [\"db\"]\n\
             hooks.after_exit = [\"sh -c 'echo api >> order'\"]\n\
             stop.ladder = [{ signal = \"TERM\", wait = \"300ms\" }, { kill = true }]\n",
        );
        let mut guard = process_one(stage, container);
        guard.written("api");
        guard.wait_state("api", "running");
        let status = guard.status();
        assert_eq!((status["pid"].as_u64(), status["host"].as_str()), (Some(1), Some("init")), "{status}");

        // A process that somebody else put into the namespace and left there.
        let mut stranger = Command::new("nsenter");
        guard.dress(&mut stranger);
        stranger.args(["--target", &guard.pid().to_string(), "--pid", "sh", "-c", "understudy await=leave exit=9 &"]);
        assert_eq!(run_within(BOUND, stranger).code, 0);
        let stranger = wait_until(BOUND, "process 1 is the stranger's parent", || {
            names_like(&children(guard.pid()), "await=leave").first().copied()
        });
        guard.write("leave", "");
        wait_until(BOUND, "the stranger is reaped", || state(stranger).is_none().then_some(()));

        kill(guard.pid(), "USR1");
        for file in ["signals", "others"] {
            wait_until(BOUND, "the signal was passed on", || (guard.read(file) == "USR1\n").then_some(()));
        }
        kill(guard.pid(), "HUP");
        guard.wait_event("reloaded", |_| true);
        assert_eq!(guard.read("signals"), "USR1\n", "a reload is the guard's own business");
        assert_eq!(guard.instance("db").restarts, 0);

        assert_eq!(guard.end(), 0);
        assert_eq!(guard.read("order"), "api\ndb\n", "{container:?}");
    }
}

/// `tutela run -- PROGRAM`, with a program of the stage's own name, because the guard is named after it.
fn guard_of_one(cues: &[&str]) -> Guard {
    let stage = Stage::new();
    let program = stage.path(stage.name());
    std::fs::copy(tutela_it::program::folder().join("understudy"), &program).unwrap();
    stage.start_with(Container::ControlGroup, |command| {
        command.arg("--").arg(program).args(cues);
    })
}

#[test]
fn a_single_program_is_kept_without_a_file() {
    let mut guard = guard_of_one(&["stamp=starts", "once=ended", "exit=3", "record=signals", "pid=up", "hang"]);
    guard.written("up");
    let name = guard.name().to_owned();
    let instance = guard.wait_for(&name, "runs again", |it| it.state == "running" && it.restarts == 1);
    assert_eq!(instance.last_code, Some(3));
    assert_eq!(guard.written("starts").lines().count(), 2);
    kill(guard.pid(), "USR2");
    wait_until(BOUND, "the signal was passed on", || (guard.read("signals") == "USR2\n").then_some(()));
    // There is no spec to be read again, so this one means the program too.
    kill(guard.pid(), "HUP");
    wait_until(BOUND, "the signal was passed on", || (guard.read("signals") == "USR2\nHUP\n").then_some(()));
    assert!(guard.console().contains("exited with code 3"), "{}", guard.console());
    assert_eq!(guard.end(), 0);
}

#[test]
fn a_second_interrupt_hurries() {
    let mut guard = guard_of_one(&["ignore=TERM", "ignore=INT", "pid=up", "hang"]);
    guard.written("up");
    kill(guard.pid(), "INT");
    let name = guard.name().to_owned();
    guard.wait_state(&name, "stopping");
    let began = std::time::Instant::now();
    kill(guard.pid(), "INT");
    guard.wait();
    // The ladder alone would take ten seconds.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
