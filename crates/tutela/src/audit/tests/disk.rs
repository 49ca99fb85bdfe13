//! The thread that writes, on a real disk: over ends and crashes, days, and disks that refuse.

use super::whole;
use crate::audit::auditor::Auditor;
use crate::audit::chain::{Link, open, seal};
use crate::audit::shelf::{self, FOLDER, HEAD};
use crate::audit::verify::{Head, Report, Wrong};
use crate::conductor::wall_now;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tutela_schema::audit::{AuditEntry, AuditResult};
use tutela_schema::wall::WallTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Anything may take this long before a test fails.
const BOUND: Duration = Duration::from_secs(20);

fn entry(command: &str) -> AuditEntry {
    AuditEntry { at: wall_now(), ..super::entry(command) }
}

struct Place {
    dir: tempfile::TempDir,
    told: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), told: Arc::default() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn start(&self, keep_for: Duration) -> Auditor {
        let told = self.told.clone();
        let tell = move |text| told.lock().unwrap().push(text);
        Auditor::start("shop", self.path().to_owned(), keep_for, tell).unwrap()
    }

    /// A guard's life with these entries.
    fn live(&self, entries: impl IntoIterator<Item = AuditEntry>) {
        let auditor = self.start(180 * DAY);
        entries.into_iter().for_each(|entry| auditor.note(entry));
        auditor.end();
        assert_eq!(auditor.figures().failure(), None);
    }

    fn verify(&self) -> Report {
        shelf::verify(self.path(), &[]).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        shelf::volumes(self.path()).unwrap().into_iter().map(|volume| volume.path).collect()
    }

    fn commands(&self) -> Vec<String> {
        self.entries().into_iter().map(|entry| entry.command).collect()
    }

    fn entries(&self) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        for file in self.files() {
            shelf::each_line(&file, |line| {
                entries.extend(serde_json::from_slice::<AuditEntry>(line.text).ok());
                true
            })
            .unwrap();
        }
        entries
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    /// Writes files as a guard of that time would have.
    fn lay(&self, days: &[(WallTime, usize)]) -> Link {
        std::fs::create_dir_all(self.path().join(FOLDER)).unwrap();
        let mut last = Link::NONE;
        for (at, count) in days {
            let day: String = at.to_string().chars().take(10).collect();
            let mut bytes = Vec::new();
            let first = last.seq + 1;
            for _ in 0..*count {
                let (line, link) = seal(AuditEntry { at: *at, ..entry("stop") }, last);
                bytes.extend_from_slice(&line);
                last = link;
            }
            let name = format!("{day}-{first:012}.jsonl");
            std::fs::write(self.path().join(FOLDER).join(name), bytes).unwrap();
        }
        shelf::write_head(self.path(), last).unwrap();
        last
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < BOUND, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn whole_report(report: &Report) -> bool {
    report.is_whole() && report.notes.is_empty()
}

#[test]
fn the_next_guard_goes_on_where_the_one_before_ended() {
    let place = Place::new();
    place.live(["start", "stop"].map(entry));
    place.live([]);
    place.live(["restart"].map(entry));
    let report = place.verify();
    assert!(whole_report(&report), "{report:#?}");
    assert_eq!((report.entries, place.commands()), (3, vec!["start".into(), "stop".into(), "restart".into()]));
    assert_eq!(place.files().len(), 1);
    assert_eq!(place.told(), "");
}

#[test]
fn an_outcome_names_the_entry_of_its_command() {
    let place = Place::new();
    let auditor = place.start(180 * DAY);
    let (first, second) = (auditor.note_begun(entry("start")), auditor.note_begun(entry("stop")));
    auditor.note_outcome(entry("stop"), second);
    auditor.note_outcome(entry("start"), first);
    auditor.note_outcome(entry("start"), 12_345);
    auditor.end();
    let of: Vec<_> = place.entries().into_iter().map(|entry| entry.of).collect();
    assert_eq!(of, [None, None, Some(2), Some(1), None]);
}

#[test]
fn a_crash_at_any_byte_of_a_write_is_recovered_and_accuses_nobody() {
    let (lines, last) = whole(3);
    let (_, head) = whole(2);
    let confirmed = lines[0].len() + lines[1].len();
    let all = lines.concat();
    // Every byte is looked at without a disk; each of these is a life of a guard.
    for keep in (confirmed..all.len()).step_by(13).chain(all.len() - 3..=all.len()) {
        let place = Place::new();
        place.lay(&[(wall_now(), 0)]);
        let file = place.files().remove(0);
        std::fs::write(&file, &all[..keep]).unwrap();
        shelf::write_head(place.path(), head).unwrap();
        place.live(["start"].map(entry));
        let report = place.verify();
        assert!(report.is_whole(), "{keep}: {report:#?}");
        let commands = place.commands();
        let whole = keep + 1 >= all.len();
        assert_eq!(commands.iter().any(|command| command == "recover"), keep > confirmed && !whole, "{commands:?}");
        assert_eq!(report.last.map(|link| link.seq > last.seq || !whole), Some(true));
        assert_eq!(place.told(), "", "a crash is no tampering");
    }
}

#[test]
fn zeros_that_a_power_cut_left_in_place_of_a_write_are_passed_over() {
    let place = Place::new();
    let head = place.lay(&[(wall_now(), 2)]);
    let file = place.files().remove(0);
    let (later, _) = super::lines_behind(head, 3);
    // The second of two pages came to the disk, the first did not.
    let torn = [vec![0; later[0].len() + 9], later[1][9..].to_vec(), later[2].clone()].concat();
    let bytes = [std::fs::read(&file).unwrap(), torn].concat();
    std::fs::write(&file, bytes).unwrap();
    assert!(place.verify().is_whole(), "{:#?}", place.verify());
    place.live(["start"].map(entry));
    let report = place.verify();
    // The last of the lines is whole but follows nothing that is there, so it cannot be gone on from.
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.last.map(|link| link.seq), Some(4));
    assert_eq!(place.told(), "");
}

#[test]
fn entries_that_were_cut_off_the_end_are_told_at_the_next_start_and_stay_visible() {
    let place = Place::new();
    place.live((0..5).map(|_| entry("stop")));
    let file = place.files().remove(0);
    let text = std::fs::read(&file).unwrap();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&file, lines[..3].concat()).unwrap();
    assert_eq!(super::kinds(&place.verify()), [Wrong::Missing]);
    place.live(["start"].map(entry));
    assert!(place.told().contains("not all of the entries 4 to 5 are as they were written"), "{}", place.told());
    let report = place.verify();
    assert_eq!(super::kinds(&report), [Wrong::Missing, Wrong::Missing]);
    assert_eq!(report.last.map(|link| link.seq), Some(7));
}

#[test]
fn a_head_or_a_folder_that_went_away_is_told_and_stays_visible() {
    for what in [HEAD, FOLDER] {
        let place = Place::new();
        place.live(["start", "stop"].map(entry));
        let path = place.path().join(what);
        if what == HEAD {
            std::fs::remove_file(path).unwrap()
        } else {
            std::fs::remove_dir_all(path).unwrap()
        }
        assert!(!place.verify().is_whole(), "{what}");
        place.live(["restart"].map(entry));
        assert!(place.told().contains("the audit record was changed"), "{}", place.told());
        assert!(!place.verify().is_whole(), "{what}");
    }
}

#[test]
fn a_folder_that_went_away_under_a_guard_is_told_and_what_comes_is_written_again() {
    let place = Place::new();
    let auditor = place.start(180 * DAY);
    auditor.note(entry("start"));
    wait_until("the first entry", || place.commands() == ["start"]);
    std::fs::remove_dir_all(place.path().join(FOLDER)).unwrap();
    auditor.note(entry("stop"));
    auditor.end();
    assert!(place.told().contains("the audit record was changed"), "{}", place.told());
    assert!(place.commands().contains(&"stop".to_owned()), "{:?}", place.commands());
    assert!(!place.verify().is_whole());
}

#[test]
fn what_is_older_than_it_is_kept_goes_as_whole_files_and_the_chain_says_so() {
    let place = Place::new();
    let ago = |days: u32| wall_now().minus(days * DAY);
    let days = [(ago(400), 3), (ago(200), 2), (ago(100), 4), (ago(1), 1)];
    place.lay(&days);
    place.live(["start"].map(entry));
    let report = place.verify();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!((report.first, place.files().len()), (Some(6), 3));
    assert!(report.notes.iter().any(|note| note.contains("entries 1 to 5 were removed by retention")), "{report:#?}");
    // A shorter time, by a reload.
    let auditor = place.start(180 * DAY);
    auditor.keep_for(30 * DAY);
    auditor.end();
    let report = place.verify();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!((report.first, place.files().len()), (Some(10), 2));
    // Somebody helps it along.
    std::fs::remove_file(place.files().remove(0)).unwrap();
    assert_eq!(super::kinds(&place.verify()), [Wrong::Missing]);
}

#[test]
fn another_day_begins_another_file_and_a_clock_that_goes_back_does_not_shuffle_entries() {
    let place = Place::new();
    let at = |days: i64| AuditEntry {
        at: WallTime::from_unix_millis(wall_now().unix_millis() + days * 86_400_000),
        ..entry("stop")
    };
    place.live([at(0), at(1), at(1), at(-3), at(2)]);
    let report = place.verify();
    assert!(whole_report(&report), "{report:#?}");
    assert_eq!((report.entries, place.files().len()), (5, 4));
}

#[test]
fn a_disk_that_refuses_is_told_and_what_was_asked_meanwhile_is_written_later() {
    let place = Place::new();
    std::fs::write(place.path().join(FOLDER), "in the way").unwrap();
    let auditor = place.start(180 * DAY);
    auditor.note(entry("start"));
    wait_until("it is told", || auditor.figures().failure().is_some());
    assert!(place.told().contains("the audit record cannot be written"), "{}", place.told());
    // Nobody waits for it.
    let began = Instant::now();
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(auditor.settled());
    assert!(began.elapsed() < BOUND);
    std::fs::remove_file(place.path().join(FOLDER)).unwrap();
    auditor.note(entry("stop"));
    wait_until("it is written", || auditor.figures().failure().is_none());
    auditor.end();
    assert!(place.told().contains("is written again; nothing of it is lost"), "{}", place.told());
    assert_eq!(place.commands(), ["start", "stop"]);
    assert!(whole_report(&place.verify()));
}

#[test]
fn entries_that_no_room_is_left_for_are_counted_and_the_next_one_says_how_many() {
    let place = Place::new();
    std::fs::write(place.path().join(FOLDER), "in the way").unwrap();
    let auditor = place.start(180 * DAY);
    for _ in 0..20_000 {
        auditor.note(entry("stop"));
    }
    let lost = auditor.figures().lost.load(std::sync::atomic::Ordering::Relaxed);
    assert!((20_000 - 2 * 4096 - 1..20_000).contains(&lost), "{lost}");
    std::fs::remove_file(place.path().join(FOLDER)).unwrap();
    wait_until("all is written", || {
        auditor.figures().written.load(std::sync::atomic::Ordering::Relaxed) + lost >= 20_000
    });
    auditor.note(entry("start"));
    auditor.end();
    let entries = place.entries();
    let told: u64 = entries.iter().map(|entry| entry.lost).sum();
    assert_eq!((entries.len() as u64 + lost, told), (20_001, lost));
    assert!(whole_report(&place.verify()));
}

#[test]
fn strangers_that_knock_without_end_get_some_entries_and_a_count() {
    let place = Place::new();
    let auditor = place.start(180 * DAY);
    for _ in 0..1000 {
        auditor.note_stranger(AuditEntry { result: AuditResult::Refused, ..entry("stop") });
    }
    auditor.note(entry("start"));
    auditor.end();
    let entries = place.entries();
    assert!(entries.len() <= 62, "{}", entries.len());
    let omitted: u64 = entries.iter().map(|entry| entry.omitted).sum();
    assert_eq!(entries.len() as u64 - 1 + omitted, 1000);
}

#[test]
fn a_look_while_it_is_written_accuses_nobody() {
    let place = Place::new();
    let auditor = Arc::new(place.start(180 * DAY));
    let writer = {
        let auditor = auditor.clone();
        std::thread::spawn(move || {
            for _ in 0..300 {
                auditor.note(entry("stop"));
                std::thread::yield_now();
            }
            auditor.end();
        })
    };
    while !writer.is_finished() {
        let report = place.verify();
        assert!(report.is_whole(), "{report:#?}");
    }
    writer.join().unwrap();
    assert_eq!(place.verify().entries, 300);
}

#[test]
fn every_line_on_the_disk_opens_and_the_head_names_the_last() {
    let place = Place::new();
    place.live((0..10).map(|_| entry("stop")));
    let mut last = None;
    shelf::each_line(&place.files()[0], |line| {
        last = Some(open(line.text).unwrap().link);
        true
    })
    .unwrap();
    assert_eq!(shelf::read_head(place.path()).unwrap(), Head::At(last.unwrap()));
}
