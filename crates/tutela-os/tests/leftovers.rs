//! A guard that was killed, and the one that comes after it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::{GUARD, eventually, runs, shell};
use tutela_os::process::{Nursery, NurseryOptions};

/// Tells the guard that is to die which kind of container it takes; its value is `walk` or `group`.
const KIND: &str = "TUTELA_TEST_KIND";

#[test]
fn the_programs_of_a_killed_guard_are_found_and_ended_by_the_next() {
    for kind in ["walk", "group"] {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_guard_that_is_killed", "--nocapture"])
            .env(KIND, kind)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(victim.stdout.take().unwrap());
        let number =
            output.lines().map_while(Result::ok).find_map(|line| line.strip_prefix("pid ")?.parse::<u32>().ok());
        let (program, guard) = (number.unwrap(), victim.id());
        let nursery = Nursery::open(GUARD, &options(kind)).unwrap();
        assert_eq!(of_guard(&nursery, guard), None, "a guard that lives leaves nothing");
        victim.kill().unwrap();
        victim.wait().unwrap();
        let leftover = of_guard(&nursery, guard).unwrap();
        assert_eq!((leftover.label.as_str(), leftover.pids.contains(&program)), ("left", true), "{leftover:?}");
        assert!(runs(program));
        nursery.end_leftover(&leftover).unwrap();
        eventually("it is gone", || !runs(program));
        assert_eq!(of_guard(&nursery, guard), None);
    }
}

/// The other side of the test above, which starts it; by itself it does nothing.
#[test]
fn a_guard_that_is_killed() {
    let Ok(kind) = std::env::var(KIND) else { return };
    let nursery = Nursery::open(GUARD, &options(&kind)).unwrap();
    let child = nursery.spawn(&shell("left", "setsid sleep 1000 & wait")).unwrap();
    println!("\npid {}", child.pid());
    loop {
        std::thread::park();
    }
}

fn options(kind: &str) -> NurseryOptions {
    NurseryOptions { force_walk: kind == "walk", scope: "leftovers".into() }
}

fn of_guard(nursery: &Nursery, pid: u32) -> Option<tutela_os::process::Leftover> {
    nursery.leftovers().unwrap().into_iter().find(|leftover| leftover.guard_pid == pid)
}
