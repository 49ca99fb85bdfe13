//! What the machine goes by, and what it wants done.

use std::time::Duration;
use tutela_core::spec::{Overflow, SinkSpec};

/// What the spec says about when and how much.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub(super) batch: usize,
    pub(super) linger: Duration,
    pub(super) retry_max: Duration,
    pub(super) buffer: u64,
    pub(super) overflow: Overflow,
}

impl Pace {
    /// The spec's.
    pub fn of(spec: &SinkSpec) -> Self {
        let batch = usize::try_from(spec.batch.max(1)).unwrap_or(1);
        let SinkSpec { linger, retry_max, buffer, overflow, .. } = *spec;
        Pace { batch, linger, retry_max, buffer, overflow }
    }
}

/// A label by its place in the machine's list. Given once, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(pub usize);

/// What the hand is to do, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Measure how far behind these labels are: [`super::Forwarder::handle_backlog`] for each of [`super::Forwarder::behind`], then
    /// [`super::Forwarder::handle_looked`].
    Look,
    /// Jump ahead in a label's files so that this much is left: [`super::Forwarder::handle_skipped`].
    Skip {
        /// Whose.
        label: LabelKey,
        /// Bytes.
        leave: u64,
    },
    /// Read a label's files on: [`super::Forwarder::handle_record`] for each record, then [`super::Forwarder::handle_read`].
    Read {
        /// Whose.
        label: LabelKey,
        /// Bytes, about.
        most: u64,
    },
    /// Deliver the first so many of [`super::Forwarder::records`]: [`super::Forwarder::handle_result`].
    Deliver {
        /// How many.
        records: usize,
    },
    /// Write down [`super::Forwarder::positions`] and [`super::Forwarder::counts`]: [`super::Forwarder::handle_saved`].
    Save,
}
