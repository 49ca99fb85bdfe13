//! What a guard kept, cut off at each byte and changed at each byte: the next guard comes up with every service, says what
//! is lost, and keeps what is whole.
//!
//! The ledger alone is opened here without a guard, because a guard takes a tenth of a second for each. `./test --faults`
//! sets `TUTELA_FAULT_BYTES` and `TUTELA_FAULT_DAMAGES`, and leaves nothing out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela::hands::ledger::{EventFilter, FILE_NAME, Ledger};
use tutela_it::disk::SmallDisk;
use tutela_it::faults::{files_in, from_outside, line_numbers};
use tutela_it::{Container, Guard, Stage};
use tutela_schema::events::{EventKind, EventRecord};
use tutela_schema::saved::SavedInstance;
use tutela_schema::wall::WallTime;

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Flip,
    Zero,
}

const DAMAGES: [Damage; 3] = [Damage::Cut, Damage::Flip, Damage::Zero];

fn damaged(bytes: &[u8], at: usize, how: Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match how {
        Damage::Cut => bytes.truncate(at),
        Damage::Flip => bytes[at] ^= 0xff,
        Damage::Zero => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
    }
    bytes
}

/// At most `count` places in a file: those where something stands, evenly spread.
fn places(bytes: &[u8], count: usize) -> Vec<usize> {
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let step = used.len().div_ceil(count.max(1)).max(1);
    used.into_iter().step_by(step).collect()
}

fn event(seq: u64) -> Arc<EventRecord> {
    let at = WallTime::from_unix_millis(i64::try_from(seq).unwrap());
    Arc::new(EventRecord::new(seq, at, EventKind::Started, "started"))
}

#[test]
fn a_ledger_damaged_at_any_byte_is_opened_and_goes_on() {
    const EVENTS: u64 = 40;
    let count = usize::try_from(from_outside("TUTELA_FAULT_BYTES", 250)).unwrap();
    let disk = SmallDisk::mount(64 << 20);
    let dir = disk.path("state");
    std::fs::create_dir(&dir).unwrap();
    let (ledger, _) = Ledger::open(&dir).unwrap();
    (1..=EVENTS).for_each(|seq| ledger.record(event(seq)));
    for index in 0..4 {
        let mut saved = SavedInstance::new("api", index);
        saved.restarts = 7;
        ledger.save(saved);
    }
    ledger.flush().blocking_recv().unwrap();
    let file = dir.join(FILE_NAME);
    // Both of a guard that was killed and of one that ended in order.
    let amid = std::fs::read(&file).unwrap();
    ledger.end(true);
    let ended = std::fs::read(&file).unwrap();
    let (mut kept_all, mut told, mut silently, mut opened) = (0, 0, 0, 0);
    for (bytes, what) in [(&amid, "killed"), (&ended, "ended")] {
        for at in places(bytes, count) {
            for how in DAMAGES {
                std::fs::remove_dir_all(&dir).unwrap();
                std::fs::create_dir(&dir).unwrap();
                std::fs::write(&file, damaged(bytes, at, how)).unwrap();
                let case = || format!("{what}, {how:?} at {at} of {}", bytes.len());
                let (ledger, kept) = Ledger::open(&dir).unwrap_or_else(|why| panic!("{}: {why}", case()));
                opened += 1;
                let read = || {
                    let filter = EventFilter { last: Some(1000), ..EventFilter::default() };
                    ledger.read(filter).blocking_recv().unwrap()
                };
                let before = read();
                // Whatever became of the old ones, what happens from here on is written down and there the next time.
                let next = kept.next_seq.max(EVENTS + 1);
                ledger.record(event(next));
                ledger.flush().blocking_recv().unwrap_or_else(|_| panic!("{}: it cannot be written", case()));
                let after = read().unwrap_or_else(|why| panic!("{}: {why}", case()));
                assert!(after.iter().any(|event| event.seq == next), "{}", case());
                let replaced = ledger.figures().replaced.lock().unwrap().take();
                let is_told = !kept.troubles.is_empty() || replaced.is_some();
                ledger.end(true);
                let events = before.as_ref().map_or(0, |events| events.len() as u64);
                let whole = kept.instances.len() == 4 && events == EVENTS;
                kept_all += u32::from(whole);
                told += u32::from(is_told);
                let aside = files_in(&dir).iter().filter(|name| name.contains("damaged")).count();
                assert!(aside == 0 || is_told, "{}: moved aside without a word", case());
                // What was cut off is told. Records have no checksum of their own, so one that was changed within may be
                // passed over when it is read, or a commit before it be taken for the last one.
                let silent = !whole && !is_told;
                assert!(!silent || !matches!(how, Damage::Cut), "{}: {events} events are left, without a word", case());
                silently += u32::from(silent);
                let (ledger, again) = Ledger::open(&dir).unwrap();
                assert!(again.troubles.is_empty() || aside == 0, "{}: {:?}", case(), again.troubles);
                ledger.end(true);
            }
        }
    }
    println!(
        "{opened} damaged ledgers: {kept_all} with all that was in them, {told} with words about what is lost, \
         {silently} with less and no words"
    );
    assert!(kept_all > 0 && told > 0, "the damages show nothing");
}

/// Every file that a guard of this stage left, but for its lock.
fn left(stage: &Stage) -> Vec<PathBuf> {
    let mut open = vec![stage.home().join("state"), stage.home().join("logs")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

fn comes_up(stage: Stage, case: &str) -> Guard {
    let guard = stage.start(Container::ControlGroup);
    guard.wait_state("talks", "running");
    guard.wait_state("manual", "stopped");
    assert!(!guard.console().contains("panicked"), "{case}: {}", guard.console());
    guard
}

#[test]
fn a_guard_comes_up_whatever_became_of_its_files() {
    const LINES: usize = 400;
    let count = usize::try_from(from_outside("TUTELA_FAULT_DAMAGES", 8)).unwrap();
    let mut stage = Stage::new();
    // Nobody listens there, so that a cursor is kept that is behind.
    let port = tutela_it::processes::free_port();
    stage.write_spec(&format!(
        "[services.talks]\ncommand = [\"understudy\", \"once=talked\", \"lines={LINES}\", \"hang\"]\n\
         logs = {{ rotate_size = \"4KiB\", keep = 100, compress = \"gzip\" }}\n\
         [services.manual]\ncommand = [\"understudy\", \"hang\"]\nstart = \"manual\"\n\
         [sinks.away]\nretry_max = \"1s\"\nhttp = \"http://127.0.0.1:{port}/\"\n"
    ));
    let guard = comes_up(stage, "before");
    tutela_it::wait_until(tutela_it::BOUND, "everything is written", || {
        (line_numbers(&guard, "talks").len() == LINES).then_some(())
    });
    tutela_it::wait_until(tutela_it::BOUND, "one is compressed", || {
        left(&guard).iter().any(|path| path.to_string_lossy().ends_with(".log.gz")).then_some(())
    });
    stage = guard.close();
    let files: Vec<(PathBuf, Vec<u8>)> =
        left(&stage).into_iter().map(|it| (it.clone(), std::fs::read(it).unwrap())).collect();
    for kind in ["ledger.redb", "audit.head", ".jsonl", ".log", ".log.index", ".log.gz"] {
        assert!(files.iter().any(|(path, _)| path.to_string_lossy().ends_with(kind)), "no {kind} among {files:?}");
    }
    for round in 0..count {
        for how in DAMAGES {
            // All of them at once, each at its own place.
            for (number, (path, bytes)) in files.iter().enumerate() {
                let used = places(bytes, usize::MAX);
                let at = used.get((round * 2 + number) * used.len() / (count * 2 + files.len())).copied();
                std::fs::write(path, at.map_or_else(|| bytes.clone(), |at| damaged(bytes, at, how))).unwrap();
            }
            let case = format!("round {round}, {how:?}");
            let guard = comes_up(stage, &case);
            let found = line_numbers(&guard, "talks");
            assert!(found.iter().all(|number| *number < LINES as u64 * 10), "{case}: {found:?}");
            for (method, path) in [("GET", "/v1/status"), ("GET", "/v1/events?n=1000"), ("GET", "/metrics")] {
                assert_eq!(tutela_it::http::ask(&guard.socket(), method, path).unwrap().status, 200, "{case}: {path}");
            }
            guard.cli_ok(&["restart", &format!("{}/talks", guard.name())]);
            stage = guard.close();
            forget(&stage, &files);
        }
    }
}

/// Takes away what a guard added, so that the next one finds nothing but the damage.
fn forget(stage: &Stage, files: &[(PathBuf, Vec<u8>)]) {
    for path in left(stage) {
        if !files.iter().any(|(known, _)| *known == path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(Path::new(&files[0].0).exists());
}

#[test]
fn a_log_damaged_at_any_byte_gives_every_line_that_is_whole() {
    const LINES: u64 = 60;
    let guard = Guard::start(&format!(
        "[services.stamped]\ncommand = [\"understudy\", \"lines={LINES}\", \"hang\"]\n\
         [services.json]\ncommand = [\"understudy\", \"lines={LINES}\", \"hang\"]\nlogs.format = \"json\"\n"
    ));
    let services = ["stamped", "json"];
    for id in services {
        tutela_it::wait_until(tutela_it::BOUND, "everything is written", || {
            (line_numbers(&guard, id).len() as u64 == LINES).then_some(())
        });
    }
    let count = usize::try_from(from_outside("TUTELA_FAULT_DAMAGES", 8)).unwrap() * 2;
    let stage = guard.close();
    for id in services {
        let path = stage.log_dir().join(format!("{id}-0.log"));
        let bytes = std::fs::read(&path).unwrap();
        for at in places(&bytes, count) {
            for how in [Damage::Cut, Damage::Flip] {
                std::fs::write(&path, damaged(&bytes, at, how)).unwrap();
                let found = line_numbers(&stage, id);
                let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
                // The line that was hit, and the one that it may run into.
                let spared = |number: &u64| match how {
                    Damage::Cut => *number < line,
                    Damage::Flip | Damage::Zero => *number != line && *number != line + 1,
                };
                let missing: Vec<u64> = (0..LINES).filter(spared).filter(|number| !found.contains(number)).collect();
                assert!(missing.is_empty(), "{id}, {how:?} at {at}: {missing:?} are missing of {found:?}");
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
}
