//! Whether the pump makes progress, asked from another thread: a disk that does not answer stops the pump, and then
//! no output of any program is read.
//!
//! Written by the pump with one store a turn of a stream; the rest is done by who asks. Deliberately absent: a clock
//! on each write.

use super::{Command, PumpHandle, PumpRefusal, send};
use crate::count::Count;
use crate::writer::StatusCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The pump did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// For how long at least.
    pub since: Duration,
    /// Whose output it had in hand last.
    pub label: Option<Arc<str>>,
    /// The file of that output, as far as it came to one.
    pub file: Option<PathBuf>,
}

/// A capture's label and what became of it.
type Known = (Arc<str>, Arc<StatusCell>);

/// What the pump leaves for those who ask.
#[derive(Default)]
pub(super) struct Pulse {
    /// Since when a question is in the pump's queue. One at a time, so that asking for hours fills no queue.
    asked: Mutex<Option<Instant>>,
    answered: Notify,
    /// The capture whose turn it is, counted from one; zero: none yet.
    turn: AtomicU64,
    captures: Mutex<HashMap<u64, Known>>,
    /// Those that are not over yet, from the moment that they were put into the queue.
    open: Mutex<HashMap<u64, Arc<str>>>,
    files: Count,
    /// It is finishing and takes no questions.
    ending: AtomicBool,
}

impl Pulse {
    /// The turn of a capture begins.
    pub(super) fn turn(&self, capture: u64) {
        self.turn.store(capture + 1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self, capture: u64, label: &Arc<str>, status: &Arc<StatusCell>) {
        locked(&self.captures).insert(capture, (label.clone(), status.clone()));
    }

    /// A capture is on its way to the pump.
    pub(super) fn attached(&self, capture: u64, label: &Arc<str>) {
        locked(&self.open).insert(capture, label.clone());
    }

    /// What the pump counts its open files in.
    pub(super) fn files(&self) -> Count {
        self.files.clone()
    }

    pub(super) fn closed(&self, capture: u64) {
        locked(&self.open).remove(&capture);
        locked(&self.captures).remove(&capture);
    }

    /// The question's turn came.
    pub(super) fn answer(&self) {
        *locked(&self.asked) = None;
        self.answered.notify_waiters();
    }

    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    fn stall(&self, since: Duration) -> Option<Stall> {
        if self.ending.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.turn.load(Ordering::Relaxed);
        let known = turn.checked_sub(1).and_then(|capture| locked(&self.captures).get(&capture).cloned());
        let (label, status) = known.unzip();
        Some(Stall { since, label, file: status.and_then(|status| status.read().file) })
    }
}

impl PumpHandle {
    /// Whether the pump is stuck: it did not answer for `limit`. Waits for it at most that long. A pump that ended, or
    /// is about to, is not stuck.
    pub async fn stall(&self, limit: Duration) -> Option<Stall> {
        let mut answered = std::pin::pin!(self.pulse.answered.notified());
        // From here on, so that an answer between the question and the wait is not missed.
        answered.as_mut().enable();
        let asked = match self.put_question() {
            Ok(asked) => asked,
            Err(PumpRefusal::Busy) => return self.pulse.stall(Duration::ZERO),
            Err(_) => return None,
        };
        let left = limit.saturating_sub(asked.elapsed());
        match tokio::time::timeout(left, answered).await {
            Ok(()) => None,
            Err(_) if self.commands.is_closed() => None,
            Err(_) => self.pulse.stall(asked.elapsed()),
        }
    }

    /// Puts the question of [`PumpHandle::stall`] already, so that several pumps are asked at the same time.
    pub(super) fn ask(&self) {
        // Who waits for the answer finds out why it could not be put.
        let _ = self.put_question();
    }

    /// Whether a capture of this label is open here, or about to be.
    pub(super) fn has_open(&self, label: &str) -> bool {
        locked(&self.pulse.open).values().any(|of| **of == *label)
    }

    /// How many captures have no file open yet. Each opens one with its first byte.
    pub(super) fn unopened(&self) -> usize {
        locked(&self.pulse.open).len().saturating_sub(self.pulse.files.now())
    }

    /// Since when the question waits. There is one at a time.
    fn put_question(&self) -> Result<Instant, PumpRefusal> {
        let mut asked = locked(&self.pulse.asked);
        if let Some(earlier) = *asked {
            return Ok(earlier);
        }
        send(&self.commands, Command::Answer)?;
        Ok(*asked.insert(Instant::now()))
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
