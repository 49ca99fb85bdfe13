//! Children that do everything to block or bloat a guard. Throughout, it answers, stays small and loses nothing.
//!
//! One after the other, because each has a bound in time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tutela_it::processes::{lives, names_like, ticks};
use tutela_it::witness::{Seen, Witness};
use tutela_it::{Container, Guard, wait_until};

/// The slowest answer that is allowed.
const ANSWER: Duration = Duration::from_millis(50);

/// How much larger the guard may become.
const GROWTH: u64 = 16 << 20;

/// What a hundred megabytes through a pipe onto a disk may take on a slow machine with other work.
const LONG: Duration = Duration::from_secs(60);

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(what: &str, seen: Seen) {
    let Seen { asked, slowest, slowest_seen, growth } = seen;
    println!("{what}: {asked} answers, the slowest after {slowest_seen:?}, {slowest:?} without waits for the computer");
    println!("{what}: {} KiB larger", growth >> 10);
    assert!(seen.slowest < ANSWER, "{what}: {seen:?}");
    assert!(seen.growth < GROWTH, "{what}: {seen:?}");
}

/// Logs as bytes in one file, so that they can be compared with what was written.
const RAW: &str = "logs = { timestamps = false, rotate_size = \"0\" }";

/// A guard with one hostile child that begins when the file `go` is written, and hangs once it is through.
fn hostile(container: Container, cues: &[&str]) -> Guard {
    hostile_with(RAW, container, cues)
}

fn hostile_with(logs: &str, container: Container, cues: &[&str]) -> Guard {
    let cues: Vec<String> = cues.iter().map(|cue| format!("\"{cue}\"")).collect();
    Guard::start_in(
        container,
        &format!(
            "[services.hostile]\ncommand = [\"understudy\", \"await=go\", {}, \"pid=through\", \"hang\"]\n\
             {logs}\nrestart.when = \"never\"\n\
             stop.ladder = [{{ signal = \"TERM\", wait = \"300ms\" }}, {{ kill = true }}]\n\
             [services.other]\ncommand = [\"understudy\", \"hang\"]\n",
            cues.join(", ")
        ),
    )
}

/// Lets it do its worst while somebody watches, until `through`.
fn provoke(what: &str, guard: &Guard, mut through: impl FnMut() -> bool) {
    guard.wait_state("hostile", "running");
    let witness = Witness::begin(guard, guard.pid());
    guard.write("go", "");
    wait_until(LONG, what, || through().then_some(()));
    judge(what, witness.end());
}

fn log_len(guard: &Guard) -> u64 {
    std::fs::metadata(guard.log_dir().join("hostile-0.log")).map_or(0, |file| file.len())
}

#[test]
fn a_hundred_megabytes_without_a_newline_are_kept_byte_for_byte() {
    let _alone = alone();
    const BYTES: u64 = 100_000_000;
    let guard = hostile(Container::ControlGroup, &[&format!("bytes={BYTES}")]);
    provoke("100 MB without a newline", &guard, || log_len(&guard) >= BYTES);
    let log = guard.log("hostile-0.log");
    assert_eq!(log.len() as u64, BYTES);
    let pattern = b"0123456789abcdefghijklmnopqrstuvwxyz.";
    let wrong = log.iter().zip(pattern.iter().cycle()).position(|(is, should)| is != should);
    assert_eq!(wrong, None);
}

/// Everything that is kept of `hostile`, put together again from the files with timestamps, oldest first.
fn put_together(guard: &Guard) -> Vec<u8> {
    let files = std::fs::read_dir(guard.log_dir()).unwrap().flatten().map(|file| file.path());
    let mut files: Vec<_> = files
        .filter(|file| file.to_string_lossy().contains("hostile-0.") && file.extension() == Some("log".as_ref()))
        .collect();
    // The one that is written to has no stamp in its name, so it sorts last.
    files.sort_by_key(|file| file.file_name().unwrap().to_string_lossy().replace("hostile-0.log", "hostile-0.~"));
    let mut text = Vec::new();
    for file in files {
        // A line that is just being written has no end yet, and perhaps not even its time.
        for line in std::fs::read(file).unwrap().split_inclusive(|byte| *byte == b'\n').filter(|it| it.ends_with(b"\n"))
        {
            let rest = line.get(28..).unwrap();
            if let Some(part) = rest.strip_prefix(b"out+ ") {
                text.extend_from_slice(&part[..part.len() - 1]);
            } else if let Some(whole) = rest.strip_prefix(b"out ") {
                text.extend_from_slice(whole);
            } else {
                panic!("an entry of another kind: {:?}", String::from_utf8_lossy(line));
            }
        }
    }
    text
}

#[test]
fn by_default_a_hundred_megabytes_are_kept_across_rotations_and_can_be_put_together_again() {
    let _alone = alone();
    const BYTES: usize = 100_000_000;
    let guard = hostile_with("", Container::ControlGroup, &[&format!("bytes={BYTES}"), "say="]);
    provoke("100 MB with timestamps", &guard, || !guard.read("through").is_empty());
    // The last piece is in the file once the line's end is.
    wait_until(LONG, "everything is on the disk", || guard.log("hostile-0.log").ends_with(b"\n").then_some(()));
    let pattern = b"0123456789abcdefghijklmnopqrstuvwxyz.";
    let text = wait_until(LONG, "all bytes are there", || Some(put_together(&guard)).filter(|it| it.len() > BYTES));
    assert_eq!(text.len(), BYTES + 1);
    let wrong = text[..BYTES].iter().zip(pattern.iter().cycle()).position(|(is, should)| is != should);
    assert_eq!(wrong, None);
    assert!(std::fs::read_dir(guard.log_dir()).unwrap().count() >= 2, "nothing was rotated");
}

#[test]
fn a_million_lines_at_once_are_kept_in_order() {
    let _alone = alone();
    const LINES: usize = 1_000_000;
    let guard = hostile(Container::ControlGroup, &[&format!("lines={LINES}")]);
    let bytes: usize = (0..LINES).map(|line| format!("line {line}\n").len()).sum();
    provoke("a million lines", &guard, || log_len(&guard) >= bytes as u64);
    let log = String::from_utf8(guard.log("hostile-0.log")).unwrap();
    assert_eq!(log.len(), bytes);
    assert!(log.lines().enumerate().all(|(number, line)| line == format!("line {number}")));
}

#[test]
fn output_that_is_no_utf_8_is_kept_as_it_is_and_can_be_shown() {
    let _alone = alone();
    let guard = hostile(Container::ControlGroup, &["garbage=700000"]);
    provoke("invalid UTF-8", &guard, || log_len(&guard) >= 700_000);
    let pattern = [0xff, 0xfe, 0xc3, 0x28, 0x00, 0x80, b'\n'];
    assert!(guard.log("hostile-0.log").iter().zip(pattern.iter().cycle()).all(|(is, should)| is == should));
    let target = format!("{}/hostile", guard.name());
    let shown = guard.cli_ok(&["logs", &target, "--json", "-n", "5"]);
    let lines: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{shown}");
}

#[test]
fn a_child_that_closed_its_output_costs_nothing() {
    let _alone = alone();
    let guard = hostile(Container::ControlGroup, &["close", "wait=50", "pid=closed", "wait=500"]);
    guard.wait_state("hostile", "running");
    guard.write("go", "");
    guard.written("closed");
    let before = ticks(guard.pid());
    guard.written("through");
    let used = ticks(guard.pid()) - before;
    // Half a second of a loop would be fifty ticks.
    assert!(used < 20, "{used} ticks for nothing");
    assert_eq!(guard.instance("hostile").state, "running");
}

#[test]
fn a_child_that_never_stops_writing_can_be_stopped() {
    let _alone = alone();
    for container in Container::ALL {
        let guard = hostile(container, &["flood"]);
        let mut asked = Vec::new();
        provoke("a flood", &guard, || {
            let began = std::time::Instant::now();
            guard.cli_ok(&["status", guard.name(), "--json"]);
            asked.push(began.elapsed());
            log_len(&guard) > 20_000_000 && asked.len() >= 20
        });
        asked.sort_unstable();
        println!("tutela status as a program, in a flood: {:?} at the median, {:?} at the most", asked[10], asked[19]);
        // How long is only told: the start of twenty processes on a machine that the flood keeps busy is in it, and what
        // the guard itself takes for an answer is judged by the witness.
        let began = std::time::Instant::now();
        guard.cli_ok(&["stop", &format!("{}/hostile", guard.name())]);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(guard.instance("hostile").state, "stopped");
    }
}

#[test]
fn a_thousand_forks_are_seen_and_ended() {
    let _alone = alone();
    for container in Container::ALL {
        let guard = hostile(container, &["fork=1000"]);
        provoke(&format!("1,000 forks, {container:?}"), &guard, || !guard.read("through").is_empty());
        assert!(guard.living().len() > 1000);
        let witness = Witness::begin(&guard, guard.pid());
        guard.cli_ok(&["stop", &format!("{}/hostile", guard.name())]);
        judge(&format!("the stop of 1,000 forks, {container:?}"), witness.end());
        let left = names_like(&guard.living(), "await=go");
        assert!(left.is_empty(), "{container:?}: {left:?}");
    }
}

#[test]
fn children_that_are_born_and_die_all_the_time_disturb_nobody() {
    let _alone = alone();
    for container in Container::ALL {
        let guard = hostile(container, &["breed=2000"]);
        provoke(&format!("2,000 short lives, {container:?}"), &guard, || !guard.read("through").is_empty());
    }
}

#[test]
fn a_double_fork_and_a_pipe_that_outlives_its_owner_block_nobody() {
    let _alone = alone();
    for container in Container::ALL {
        let guard = hostile(container, &["say=first", "stray=stray", "exit=3"]);
        provoke(&format!("a pipe held by a stranger, {container:?}"), &guard, || {
            guard.instance("hostile").state == "failed"
        });
        assert!(!lives(guard.written_pid("stray")));
        assert_eq!(guard.log("hostile-0.log"), b"first\n");
    }
}
