//! What outlives the guard: its events, what is known of each instance, alerts that have not arrived.
//!
//! One embedded store in one file, written by one thread ([`writer`]). Operations are gathered for a moment and
//! committed together, each commit whole or not at all, also when the computer loses power. The conductor
//! never waits: where the disk is so slow that [`OPERATIONS_MAX`] wait, events are dropped and counted
//! (states are not: a later state of an instance replaces an earlier one).
//!
//! A store that cannot be read is moved aside, never deleted, and the guard begins a new one and says so. One
//! that cannot be written, because the disk is full or takes no writes, is replaced by one in memory, and that
//! is said too: programs are kept alive all the same.
//! Deliberately absent: what an event means; logs.

use super::queue::{Sender, queue};
mod open;
mod writer;

pub use open::read_offline;

use redb::TableDefinition;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use tutela_schema::events::EventRecord;
use tutela_schema::saved::SavedInstance;
use tutela_schema::wall::WallTime;
use writer::Writer;

/// Operations of one commit, so that a flood does not make one that takes seconds.
const COMMIT_OPERATIONS_MAX: usize = 8192;

/// Operations that may wait for the disk: a start of 10,000 instances has three events for each.
const OPERATIONS_MAX: usize = 65_536;

/// Events that are kept; the oldest go first. About 30 MB.
const EVENTS_MAX: u64 = 100_000;

/// The store's own buffer. The default of 1 GiB is for databases; this holds some thousand events.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const INSTANCES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("instances");
const ALERTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("alerts");
const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("marks");

/// Set while no guard works on the store and the last one ended in order.
const CLEAN: &str = "ended_in_order";

/// The file's name in the state folder.
pub const FILE_NAME: &str = "ledger.redb";

/// What an earlier guard left.
#[derive(Debug, Default)]
pub struct Kept {
    /// The number of the next event.
    pub next_seq: u64,
    /// What it knew of instances.
    pub instances: Vec<SavedInstance>,
    /// Alerts that had not arrived, by their number.
    pub alerts: Vec<(String, Vec<u8>)>,
    /// Whether it stopped everything before it ended.
    pub ended_in_order: bool,
    /// Whether nothing can be written, and all of it is in memory alone.
    pub in_memory: bool,
    /// What could not be read, in words.
    pub troubles: Vec<String>,
}

/// Which events are asked for.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// The last so many.
    pub last: Option<u64>,
    /// From then on.
    pub since: Option<WallTime>,
    /// Those with a larger number.
    pub after: Option<u64>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this copy of it.
    pub instance: Option<u16>,
    /// Of all these no more than the first so many at a time; fewer are all that there are.
    pub page: Option<usize>,
}

impl EventFilter {
    /// How many at the most: the newest of those that are admitted.
    fn most(&self) -> usize {
        let bounded = self.since.is_some() || self.after.is_some();
        usize::try_from(self.last.unwrap_or(if bounded { EVENTS_MAX } else { 100 })).unwrap_or(usize::MAX)
    }

    /// Whether `record` is asked for.
    pub fn admits(&self, record: &EventRecord) -> bool {
        self.since.is_none_or(|since| record.at >= since)
            && self.after.is_none_or(|after| record.seq > after)
            && self.service.as_ref().is_none_or(|service| record.service.as_ref() == Some(service))
            && self.instance.is_none_or(|instance| record.instance == Some(instance))
    }
}

/// Answers with the events, or why they cannot be read.
type EventsReply = oneshot::Sender<Result<Vec<EventRecord>, String>>;

enum Operation {
    Event(Arc<EventRecord>),
    PutAlert { id: String, bytes: Vec<u8>, stored: oneshot::Sender<()> },
    DropAlert(String),
    Read { filter: EventFilter, reply: EventsReply },
    Sync(oneshot::Sender<()>),
    Flush(oneshot::Sender<()>),
    End { in_order: bool },
}

/// The guard's side of the store. Dropping it commits what waits and ends the thread.
#[derive(Debug)]
pub struct Ledger {
    operations: Sender<Operation>,
    /// The newest state of each instance that is not committed yet.
    states: Arc<Mutex<BTreeMap<String, Option<SavedInstance>>>>,
    figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

/// How the ledger does.
#[derive(Debug, Default)]
pub struct Figures {
    /// Events that were dropped because the disk was too slow.
    pub dropped: AtomicU64,
    /// Commits that failed.
    pub failed: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
    /// How long the last commit took, in microseconds.
    pub last_commit_micros: AtomicU64,
    /// Whether the last commit failed.
    pub failing: AtomicBool,
    /// The last failure, if commits fail; empty when they do not.
    pub last_error: Mutex<String>,
    /// A new store was begun in place of one that turned out to be damaged: what is to be told of it, until somebody has.
    pub replaced: Mutex<Option<String>>,
}

impl Ledger {
    /// Opens the store in `dir`, which has to exist, and reads what an earlier guard left.
    ///
    /// # Errors
    /// Another process has the store open.
    pub fn open(dir: &Path) -> Result<(Ledger, Kept), String> {
        let path = dir.join(FILE_NAME);
        let (database, kept) = open::open(&path)
            .map_err(|error| format!("failed to open the event ledger {}: {error}", path.display()))?;
        let (operations, inbox) = queue(OPERATIONS_MAX);
        let states: Arc<Mutex<BTreeMap<String, Option<SavedInstance>>>> = Arc::default();
        let figures: Arc<Figures> = Arc::default();
        let in_file = !kept.in_memory;
        let place = in_file.then(|| path.clone());
        let (states_too, figures_too) = (states.clone(), figures.clone());
        let writer = Writer { database: Some(database), place, inbox, states: states_too, figures: figures_too };
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .stack_size(512 * 1024)
            .spawn(move || writer.work())
            .map_err(|error| format!("failed to start the ledger's thread: {error}"))?;
        Ok((Ledger { operations, states, figures, thread: Some(thread) }, kept))
    }

    /// Writes an event down, soon. Never waits.
    pub fn record(&self, event: Arc<EventRecord>) {
        if self.operations.push(Operation::Event(event)).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes down what is known of an instance, in place of what was, soon. Never waits.
    pub fn save(&self, saved: SavedInstance) {
        self.put_state(format!("{}:{}", saved.service, saved.instance), Some(saved));
    }

    /// Forgets an instance that is gone for good. Never waits.
    pub fn forget(&self, id: String) {
        self.put_state(id, None);
    }

    fn put_state(&self, id: String, state: Option<SavedInstance>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let first = states.is_empty();
        states.insert(id, state);
        drop(states);
        if first {
            // Only a wake-up: when the queue is full the thread is awake anyway.
            let (done, _) = oneshot::channel();
            let _ = self.operations.push(Operation::Sync(done));
        }
    }

    /// Keeps an alert until it is dropped. The answer comes when it is on the disk.
    pub fn put_alert(&self, id: String, bytes: Vec<u8>) -> oneshot::Receiver<()> {
        let (stored, answer) = oneshot::channel();
        if self.operations.push_urgent(Operation::PutAlert { id, bytes, stored }).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Forgets an alert that arrived or was given up.
    pub fn drop_alert(&self, id: String) {
        if self.operations.push(Operation::DropAlert(id)).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads events. The answer may take as long as the disk does.
    pub fn read(&self, filter: EventFilter) -> oneshot::Receiver<Result<Vec<EventRecord>, String>> {
        let (reply, answer) = oneshot::channel();
        if let Err(Operation::Read { reply, .. }) = self.operations.push_urgent(Operation::Read { filter, reply }) {
            let _ = reply.send(Err("the ledger's disk does not keep up; try again later".into()));
        }
        answer
    }

    /// Commits what waits, at once. The answer comes when it is on the disk, or could not be written.
    pub fn flush(&self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        // A full queue drops the question, and that answers it.
        let _ = self.operations.push_urgent(Operation::Flush(done));
        answer
    }

    /// How the ledger does.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// Commits what waits and ends. `in_order`: everything was stopped before.
    pub fn end(mut self, in_order: bool) {
        self.operations.push_last(Operation::End { in_order });
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tutela_schema::events::EventKind;

    fn event(seq: u64) -> Arc<EventRecord> {
        Arc::new(EventRecord::new(seq, WallTime::from_unix_millis(seq as i64), EventKind::Started, "started"))
    }

    fn wait<T>(answer: oneshot::Receiver<T>) -> T {
        answer.blocking_recv().unwrap()
    }

    #[test]
    fn what_was_written_is_there_for_the_next_guard() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, kept) = Ledger::open(dir.path()).unwrap();
        assert_eq!((kept.next_seq, kept.ended_in_order), (1, false));
        for seq in 1..=10 {
            ledger.record(event(seq));
        }
        let mut saved = SavedInstance::new("api", 0);
        saved.restarts = 7;
        ledger.save(saved.clone());
        wait(ledger.put_alert("a1".into(), b"body".to_vec()));
        assert_eq!(wait(ledger.read(EventFilter { last: Some(3), ..EventFilter::default() })).unwrap().len(), 3);
        ledger.end(true);
        let (ledger, kept) = Ledger::open(dir.path()).unwrap();
        assert_eq!((kept.next_seq, kept.ended_in_order), (11, true));
        assert_eq!(kept.instances, [saved]);
        assert_eq!(kept.alerts, [("a1".to_owned(), b"body".to_vec())]);
        ledger.drop_alert("a1".into());
        ledger.forget("api:0".into());
        ledger.end(false);
        let (_ledger, kept) = Ledger::open(dir.path()).unwrap();
        assert!(kept.alerts.is_empty() && kept.instances.is_empty() && !kept.ended_in_order);
    }

    #[test]
    fn a_damaged_store_is_moved_aside_and_said_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), vec![7u8; 8192]).unwrap();
        let (_ledger, kept) = Ledger::open(dir.path()).unwrap();
        assert_eq!(kept.troubles.len(), 1, "{:?}", kept.troubles);
        let names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(names.iter().any(|name| name.contains("damaged")), "{names:?}");
    }

    #[test]
    fn a_store_that_cannot_be_written_is_replaced_by_one_in_memory_and_said_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FILE_NAME)).unwrap();
        let (ledger, kept) = Ledger::open(dir.path()).unwrap();
        assert!(kept.troubles[0].contains("in memory"), "{:?}", kept.troubles);
        ledger.record(event(1));
        assert_eq!(wait(ledger.read(EventFilter::default())).unwrap().len(), 1);
        assert!(read_offline(dir.path(), &EventFilter::default()).is_err());
    }

    #[test]
    fn what_was_flushed_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path()).unwrap();
        ledger.save(SavedInstance::new("api", 0));
        wait(ledger.flush());
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
        let (_ledger, kept) = Ledger::open(copy.path()).unwrap();
        assert_eq!(kept.instances.len(), 1);
    }

    #[test]
    fn while_nothing_can_be_written_what_was_and_what_waits_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path()).unwrap();
        for seq in 1..=3 {
            ledger.record(event(seq));
        }
        ledger.end(false);
        let (_operations, inbox) = queue(OPERATIONS_MAX);
        let place = Some(dir.path().join(FILE_NAME));
        let mut writer = Writer { database: None, place, inbox, states: Arc::default(), figures: Arc::default() };
        // The last one of the store waits too, as after a commit of which nobody knows whether it arrived.
        let batch: Vec<Operation> = (3..=5).map(|seq| Operation::Event(event(seq))).collect();
        let read = |writer: &mut Writer, filter: &EventFilter, batch: &[Operation]| {
            writer.read(filter, batch).map(|events| events.iter().map(|event| event.seq).collect::<Vec<_>>())
        };
        assert_eq!(read(&mut writer, &EventFilter::default(), &batch).unwrap(), [1, 2, 3, 4, 5]);
        let last = EventFilter { last: Some(2), ..EventFilter::default() };
        assert_eq!(read(&mut writer, &last, &batch).unwrap(), [4, 5]);
        let after = EventFilter { after: Some(4), ..EventFilter::default() };
        assert_eq!(read(&mut writer, &after, &batch).unwrap(), [5]);
        // Without a store that can be read, what waits is still there; without both it is an error.
        writer.place = Some(dir.path().join("gone"));
        assert_eq!(read(&mut writer, &EventFilter::default(), &batch).unwrap(), [3, 4, 5]);
        assert!(read(&mut writer, &EventFilter::default(), &[]).unwrap_err().contains("cannot be used"));
    }

    #[test]
    fn a_store_that_is_damaged_under_way_makes_room_for_a_new_one_with_what_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path()).unwrap();
        let mut saved = SavedInstance::new("api", 0);
        saved.restarts = 7;
        ledger.save(saved);
        (1..=400).for_each(|seq| ledger.record(event(seq)));
        wait(ledger.flush());
        ledger.end(true);
        let path = dir.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        let (mut gone_on, mut replaced) = (0, 0);
        // How many entries a page has: of some it is found to be damaged only when they are needed.
        for page in 1..whole.len().min(64 * 4096) / 4096 {
            let mut bytes = whole.clone();
            bytes[page * 4096 + 2] ^= 0xff;
            std::fs::remove_dir_all(dir.path()).unwrap();
            std::fs::create_dir(dir.path()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let (ledger, kept) = Ledger::open(dir.path()).unwrap();
            let all = EventFilter { last: Some(1000), ..EventFilter::default() };
            let before = wait(ledger.read(all.clone())).unwrap();
            ledger.record(event(1000));
            wait(ledger.flush());
            let after = wait(ledger.read(all)).unwrap();
            assert_eq!(after.last().map(|event| event.seq), Some(1000), "page {page}");
            assert!(after.is_sorted_by_key(|event| event.seq), "page {page}");
            let told = ledger.figures().replaced.lock().unwrap().take();
            if let Some(told) = told {
                assert!(told.contains("a new one was begun"), "{told}");
                replaced += 1;
                // One page of them is lost, and no other.
                gone_on += usize::from(before.len() > 350 && kept.instances.len() == 1);
            }
            ledger.end(true);
        }
        assert!(replaced > 0 && gone_on > 0, "{replaced} replaced, {gone_on} with events");
    }

    #[test]
    fn pages_give_every_event_once_and_the_last_ones_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path()).unwrap();
        (1..=25).for_each(|seq| ledger.record(event(seq)));
        for last in [0, 5, 10, 22, 100] {
            let mut filter = EventFilter { last: Some(last), page: Some(10), ..EventFilter::default() };
            let mut seen = Vec::new();
            loop {
                let page = wait(ledger.read(filter.clone())).unwrap();
                assert!(page.len() <= 10);
                seen.extend(page.iter().map(|event| event.seq));
                if page.len() < 10 {
                    break;
                }
                (filter.last, filter.after) = (None, seen.last().copied());
            }
            assert_eq!(seen, (26 - last.min(25)..=25).collect::<Vec<_>>(), "the last {last}");
        }
    }

    #[test]
    fn a_second_process_or_handle_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_ledger, _) = Ledger::open(dir.path()).unwrap();
        assert!(Ledger::open(dir.path()).is_err());
    }
}
