//! A disk on which every write stands still: the guard answers, restarts and stops go on, programs wait at most at their
//! pipes, and when the disk goes on each line and each event is there.

use std::path::Path;
use std::time::{Duration, Instant};
use tutela_it::faults::{HaltingDisk, no_line_lost};
use tutela_it::processes::{kill, lives};
use tutela_it::witness::Witness;
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// Four times as long as anything of the guard waits for a disk.
const HALT: Duration = Duration::from_secs(2);

/// The slowest answer that is allowed meanwhile.
const ANSWER: Duration = Duration::from_millis(100);

/// Services of which one has its log on the disk that stands still and one has not.
fn services(logs: &str) -> String {
    format!(
        "[services.talks]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\nlogs = {{ {logs}timestamps = true }}\n\
         [services.falls]\ncommand = [\"understudy\", \"hang\"]\nlogs = {{ {logs}timestamps = true }}\n\
         restart = {{ delay = \"50ms\", factor = 1.0, burst = 0 }}\n\
         [services.elsewhere]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\n\
         [services.stops]\ncommand = [\"understudy\", \"drip=2\", \"hang\"]\nlogs = {{ {logs}timestamps = true }}\n"
    )
}

const IDS: [&str; 4] = ["talks", "falls", "elsewhere", "stops"];

/// Halts the disk while the guard works, and shows that it goes on working. `written`: a file there that grows otherwise.
fn halted(guard: &Guard, disk: &mut HaltingDisk, written: &Path, what: &str) {
    for id in IDS {
        guard.wait_state(id, "running");
    }
    wait_until(BOUND, "they talk", || (guard.log("elsewhere-0.log").len() > 200).then_some(()));
    let talks = guard.instance("talks").pid;
    disk.halt();
    let changed = || std::fs::metadata(written).unwrap().modified().unwrap();
    let at_the_halt = changed();
    let began = Instant::now();
    let witness = Witness::begin(guard, guard.pid());
    let mut falls = 0;
    while began.elapsed() < HALT {
        let it = guard.wait_for("falls", "is started again", |it| it.state == "running" && it.restarts == falls);
        kill(it.pid.unwrap(), "KILL");
        falls += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    // Said and done, though nobody can write it down.
    let stopped = guard.instance("stops").pid.unwrap();
    let asked = Instant::now();
    guard.api("POST", "/v1/services/stops/stop?wait=false", 202);
    let answered = asked.elapsed();
    wait_until(BOUND, "it is stopped", || (!lives(stopped)).then_some(()));
    let took = asked.elapsed();
    let seen = witness.end();
    println!("{what}: {falls} restarts, {seen:?}; a stop was answered after {answered:?}, done after {took:?}");
    assert!(falls >= 4, "{what}: {falls} restarts");
    assert!(seen.slowest < ANSWER, "{what}: {seen:?}");
    assert!(answered < Duration::from_secs(2) && took < Duration::from_secs(4), "{what}: {answered:?}, {took:?}");
    assert_eq!(changed(), at_the_halt, "{what}: the disk did not stand still, so this shows nothing");
    disk.go_on();
    wait_until(BOUND, "what waited is written", || (changed() != at_the_halt).then_some(()));
    guard.wait_for("falls", "runs", |it| it.state == "running" && it.restarts == falls);
    assert_eq!(guard.instance("talks").pid, talks, "{what}");
    assert_eq!(guard.instance("talks").restarts, 0, "{what}");
    assert_eq!(guard.wait_state("stops", "stopped").restarts, 0);
    let ends = || guard.events_of("exited").iter().filter(|event| event["service"] == "falls").count() as u64;
    wait_until(BOUND, "every end is written down", || (ends() == falls).then_some(()));
    no_line_lost(guard, &["talks", "elsewhere"]);
    let dropped = guard.events_of("log_dropped");
    assert!(dropped.is_empty(), "{what}: a disk that is slow refuses nothing: {dropped:?}");
}

#[test]
fn while_the_disk_of_the_logs_stands_still_only_what_writes_there_waits() {
    let mut disk = HaltingDisk::mount();
    let stage = Stage::new();
    stage.write_spec(&services(&format!("dir = \"{}\", ", disk.path("logs").display())));
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "its logs are on that disk", || disk.path("logs/talks-0.log").exists().then_some(()));
    // Who writes elsewhere does not wait.
    let before = guard.log("elsewhere-0.log").len();
    let written = disk.path("logs/talks-0.log");
    halted(&guard, &mut disk, &written, "logs");
    assert!(guard.log("elsewhere-0.log").len() > before);
    drop(guard);
}

#[test]
fn while_the_disk_of_the_state_stands_still_services_are_kept_all_the_same() {
    let mut disk = HaltingDisk::mount();
    let stage = Stage::new();
    std::fs::create_dir_all(stage.home()).unwrap();
    std::fs::create_dir(disk.path("state")).unwrap();
    std::os::unix::fs::symlink(disk.path("state"), stage.home().join("state")).unwrap();
    stage.write_spec(&services(""));
    let guard = stage.start(Container::ControlGroup);
    let written = disk.path("state").join(guard.name()).join("ledger.redb");
    halted(&guard, &mut disk, &written, "state");
    drop(guard);
}

#[test]
fn a_guard_that_is_killed_while_its_disk_stands_still_loses_no_program_and_no_line() {
    let mut disk = HaltingDisk::mount();
    let stage = Stage::new();
    stage.write_spec(&services(&format!("dir = \"{}\", ", disk.path("logs").display())));
    let guard = stage.start(Container::ControlGroup);
    for id in IDS {
        guard.wait_state(id, "running");
    }
    let pids = IDS.map(|id| guard.instance(id).pid);
    wait_until(BOUND, "it talks", || {
        disk.path("logs/talks-0.log").metadata().is_ok_and(|it| it.len() > 200).then_some(())
    });
    disk.halt();
    std::thread::sleep(Duration::from_millis(500));
    // A thread that waits for the disk ends only with it.
    kill(guard.pid(), "KILL");
    disk.go_on();
    let guard = guard.crash().start(Container::ControlGroup);
    assert_eq!(IDS.map(|id| guard.instance(id).pid), pids);
    no_line_lost(&guard, &["talks", "elsewhere", "stops"]);
    drop(guard);
}
