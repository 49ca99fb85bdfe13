//! From what the guard's parts know to one snapshot.

use super::{Families, Pushes};
use crate::api::measure;
use crate::conductor::{FiguresAnswer, Inbox, Input, Request};
use crate::hands::ledger::Ledger;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tutela_os::blocking;
use tutela_os::usage::OwnUsage;
use tutela_schema::api::ErrorReply;

/// A part of the guard that counts for itself.
pub trait Collect: Send + Sync {
    /// Adds its families. Called at each look, on a thread that may block for a moment; reads, and changes nothing.
    fn collect<'a>(&'a self, out: &mut Families<'a>);
}

/// Where figures come from.
pub struct Source {
    inbox: Inbox,
    ledger: Arc<Ledger>,
    pushes: Pushes,
    more: Mutex<Vec<Arc<dyn Collect>>>,
}

impl Source {
    /// Of this guard.
    pub fn new(inbox: Inbox, ledger: Arc<Ledger>) -> Self {
        Source { inbox, ledger, pushes: Pushes::default(), more: Mutex::default() }
    }

    /// Asks this part too, from here on and for as long as the guard runs.
    pub fn register(&self, part: Arc<dyn Collect>) {
        self.more.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    /// What came of sending figures.
    pub(super) fn pushes(&self) -> &Pushes {
        &self.pushes
    }

    /// The way to the conductor.
    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// What is known at this moment. Trees are measured off the caller's thread.
    ///
    /// # Errors
    /// The guard is ending.
    pub async fn gather(&self) -> Result<Snapshot, ErrorReply> {
        let (reply, answer) = oneshot::channel();
        let ended = crate::api::ended;
        self.inbox.send(Input::Request(Request::Figures(reply))).await.map_err(|_| ended())?;
        let mut answer = answer.await.map_err(|_| ended())??;
        let (answer, own) = blocking::files()
            .start(move || {
                measure(&mut answer.status);
                (answer, tutela_os::usage::own().unwrap_or_default())
            })
            .await
            .map_err(|_| ended())?;
        let figures = self.ledger.figures();
        Ok(Snapshot {
            at: crate::conductor::wall_now().unix_millis(),
            answer,
            own,
            events_dropped: figures.dropped.load(Ordering::Relaxed),
            commits: figures.commits.load(Ordering::Relaxed),
            commits_failed: figures.failed.load(Ordering::Relaxed),
            commit_micros: figures.last_commit_micros.load(Ordering::Relaxed),
            pushes: self.pushes.clone(),
            more: self.more.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }
}

/// Figures of one moment.
pub struct Snapshot {
    /// When, in milliseconds since 1970.
    pub(super) at: i64,
    pub(super) answer: FiguresAnswer,
    pub(super) own: OwnUsage,
    pub(super) events_dropped: u64,
    pub(super) commits: u64,
    pub(super) commits_failed: u64,
    pub(super) commit_micros: u64,
    pub(super) pushes: Pushes,
    pub(super) more: Vec<Arc<dyn Collect>>,
}
