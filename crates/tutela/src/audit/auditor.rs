//! The way in to the record: a bounded queue, from those who may not wait to the thread that writes.
//!
//! Past [`QUEUE_MAX`] entries are lost and counted, and the next one that is written says how many. Refusals of strangers
//! are bounded before that.

use super::keeper::Keeper;
use crate::hands::queue::{Sender, queue};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tutela_schema::audit::AuditEntry;

/// Entries that may wait in the queue: an operator's script that commands each of a thousand instances, four times.
const QUEUE_MAX: usize = 4096;

/// How long the answer to a command waits for its entry to be on the disk. It takes some milliseconds.
const KEPT_LIMIT: Duration = Duration::from_millis(500);

/// How long the end of the guard waits for the disk.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Refusals of accounts that may not control the guard that get an entry within [`STRANGERS_WINDOW`]: anybody may
/// knock, and must not be able to fill the disk by it. The others are counted in the next entry.
const STRANGERS_MAX: u32 = 30;

const STRANGERS_WINDOW: Duration = Duration::from_secs(60);

/// Names of accounts are looked up by libraries of the OS, which take more than our own code does.
const STACK_BYTES: usize = 512 * 1024;

/// An entry on its way.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) entry: AuditEntry,
    /// What came of it will be told under this number.
    pub(super) opens: Option<u64>,
    /// It is what came of the one with this number.
    pub(super) closes: Option<u64>,
}

pub(super) enum Operation {
    Entry(Box<Draft>),
    Flush(oneshot::Sender<()>),
    KeepFor(Duration),
    End,
}

/// How the record does.
#[derive(Debug, Default)]
pub struct Figures {
    /// Entries that are on the disk.
    pub written: AtomicU64,
    /// Entries that were lost because the disk took nothing for long.
    pub lost: AtomicU64,
    /// Whether the last try to write failed.
    pub failing: AtomicBool,
    /// Why, while it does; empty when it does not.
    pub last_error: Mutex<String>,
}

impl Figures {
    /// Why entries cannot be written, while they cannot.
    pub fn failure(&self) -> Option<String> {
        let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!error.is_empty()).then_some(error)
    }
}

#[derive(Debug)]
struct Strangers {
    since: Instant,
    admitted: u32,
}

/// The guard's side of the record. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct Auditor {
    operations: Sender<Operation>,
    figures: Arc<Figures>,
    unsaid: Arc<Unsaid>,
    strangers: Mutex<Strangers>,
    next: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the next entry has to say of those that are not there.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    pub(super) lost: AtomicU64,
    pub(super) omitted: AtomicU64,
}

impl Auditor {
    /// Begins to keep the record of a guard in its state folder. `tell` is given troubles, in words, and must not wait.
    ///
    /// # Errors
    /// The OS gave no thread. That the disk refuses is no error: it is told, and tried again.
    pub fn start(
        guard: &str,
        state_dir: PathBuf,
        keep_for: Duration,
        tell: impl Fn(String) + Send + 'static,
    ) -> io::Result<Auditor> {
        let (operations, inbox) = queue(QUEUE_MAX);
        let figures: Arc<Figures> = Arc::default();
        let unsaid: Arc<Unsaid> = Arc::default();
        let keeper = Keeper::new(guard, state_dir, keep_for, Box::new(tell), inbox, figures.clone(), unsaid.clone());
        let thread =
            std::thread::Builder::new().name("audit".into()).stack_size(STACK_BYTES).spawn(move || keeper.work())?;
        Ok(Auditor {
            operations,
            figures,
            unsaid,
            strangers: Mutex::new(Strangers { since: Instant::now(), admitted: 0 }),
            next: AtomicU64::new(1),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes an entry down, soon, behind those before it. Never waits.
    pub fn note(&self, entry: AuditEntry) {
        self.put(Draft { entry, opens: None, closes: None });
    }

    /// The same for a command whose outcome is told later, by [`Auditor::note_outcome`] with the number that this
    /// answers with.
    pub fn note_begun(&self, entry: AuditEntry) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.put(Draft { entry, opens: Some(number), closes: None });
        number
    }

    /// What came of the command that was noted with this number.
    pub fn note_outcome(&self, entry: AuditEntry, number: u64) {
        self.put(Draft { entry, opens: None, closes: Some(number) });
    }

    /// A refusal of somebody who may not control the guard. Of those that come too fast only the count is kept.
    pub fn note_stranger(&self, entry: AuditEntry) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.since.elapsed() >= STRANGERS_WINDOW {
            *strangers = Strangers { since: Instant::now(), admitted: 0 };
        }
        strangers.admitted = strangers.admitted.saturating_add(1);
        let admitted = strangers.admitted <= STRANGERS_MAX;
        drop(strangers);
        if admitted {
            self.note(entry);
        } else {
            self.unsaid.omitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn put(&self, draft: Draft) {
        if self.operations.push_urgent(Operation::Entry(Box::new(draft))).is_err() {
            self.figures.lost.fetch_add(1, Ordering::Relaxed);
            self.unsaid.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps entries for that long from here on.
    pub fn keep_for(&self, span: Duration) {
        // A full queue is one whose disk takes nothing, which removes nothing either; the next reload says it again.
        let _ = self.operations.push_urgent(Operation::KeepFor(span));
    }

    /// Waits until what was noted is on the disk or is known not to get there; not longer than half a second, for a
    /// disk that hangs must not keep operators from being answered.
    pub async fn settled(&self) {
        let (done, answer) = oneshot::channel();
        if self.operations.push_urgent(Operation::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(KEPT_LIMIT, answer).await;
        }
    }

    /// How the record does.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Writes what waits and ends. A disk that hangs is waited for no longer than two seconds.
    pub fn end(&self) {
        self.operations.push_last(Operation::End);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let until = Instant::now() + LAST_WAIT;
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
