//! What became of everything, and what of it is told when.

use super::Passed;
use std::time::Duration;
use tutela_core::time::Moment;

/// So many deliveries in a row have failed before it is told: one that breaks with its connection is no news.
const TELL_AFTER_TRIES: u32 = 2;

/// The pause between two events of a kind: a receiver that comes and goes fills no ledger.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What became of everything. Kept with the positions, so that both survive a guard together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records that the receiver took.
    pub records: u64,
    /// Bytes of their messages and fields.
    pub bytes: u64,
    /// Records that the sink's rules left out.
    pub left_out: u64,
    /// Lines that were dropped because the sink was too far behind.
    pub overflowed: u64,
    /// Lines that retention had removed before they could be read.
    pub lost: u64,
    /// Records that the receiver refused for good.
    pub refused: u64,
}

impl Counts {
    /// What did not arrive and should have.
    pub fn dropped(&self) -> u64 {
        self.overflowed + self.lost + self.refused
    }

    pub(super) fn pass(&mut self, passed: Passed) {
        self.left_out += passed.left_out;
        self.overflowed += passed.overflowed;
        self.lost += passed.lost;
    }
}

/// A receiver that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Moment,
    /// Failed deliveries in a row.
    pub tries: u32,
    told: bool,
}

/// What somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwarderEvent {
    /// The receiver does not take what it is sent.
    Failing {
        /// What happened.
        error: String,
    },
    /// It does again.
    Recovered {
        /// How long it did not.
        after: Duration,
    },
    /// Something was dropped since the last time that this was told.
    Dropped {
        /// What, since then.
        counts: Counts,
        /// What the receiver said, where it refused.
        error: Option<String>,
    },
}

/// Counts, and what of them is still to be told.
#[derive(Debug)]
pub(super) struct Telling {
    /// Of what is behind the positions that are written down with it.
    pub(super) counts: Counts,
    /// Of everything: what is dropped while a receiver is away is told then, and not when it is back.
    pub(super) seen: Counts,
    pub(super) failing: Option<Failing>,
    pub(super) last_error: Option<String>,
    pub(super) last_delivery: Option<Moment>,
    told_drops: Counts,
    drops_told_at: Option<Moment>,
    failing_told_at: Option<Moment>,
    recovered: Option<Duration>,
}

impl Telling {
    pub(super) fn new(counts: Counts) -> Self {
        Telling {
            counts,
            seen: counts,
            failing: None,
            last_error: None,
            last_delivery: None,
            told_drops: counts,
            drops_told_at: None,
            failing_told_at: None,
            recovered: None,
        }
    }

    /// Something went wrong that is no reason to wait.
    pub(super) fn error(&mut self, error: String) {
        self.last_error = Some(error);
    }

    /// A delivery failed; answers how many in a row.
    pub(super) fn failed(&mut self, error: String, now: Moment) -> u32 {
        self.last_error = Some(error);
        let failing = self.failing.get_or_insert(Failing { since: now, tries: 0, told: false });
        failing.tries = failing.tries.saturating_add(1);
        failing.tries
    }

    /// A delivery was answered: the receiver is there.
    pub(super) fn taken(&mut self, records: u64, bytes: u64, refused: u64, now: Moment) {
        for counts in [&mut self.counts, &mut self.seen] {
            counts.records += records - refused;
            counts.bytes += bytes;
            counts.refused += refused;
        }
        if refused < records {
            self.last_delivery = Some(now);
        }
        if let Some(failing) = self.failing.take()
            && failing.told
        {
            self.recovered = Some(now.since(failing.since));
        }
        if refused == 0 {
            self.last_error = None;
        }
    }

    /// When something is to be told that nothing else brings up.
    pub(super) fn due(&self) -> Option<Moment> {
        let drops = (self.seen.dropped() > self.told_drops.dropped()).then(|| next(self.drops_told_at));
        let failing = self.failing.as_ref().filter(|it| !it.told && it.tries >= TELL_AFTER_TRIES);
        drops.into_iter().chain(failing.map(|_| next(self.failing_told_at))).min()
    }

    pub(super) fn poll(&mut self, now: Moment) -> Option<ForwarderEvent> {
        if let Some(after) = self.recovered.take() {
            return Some(ForwarderEvent::Recovered { after });
        }
        if let Some(failing) = &mut self.failing
            && !failing.told
            && failing.tries >= TELL_AFTER_TRIES
            && next(self.failing_told_at) <= now
        {
            failing.told = true;
            self.failing_told_at = Some(now);
            return Some(ForwarderEvent::Failing { error: self.last_error.clone().unwrap_or_default() });
        }
        if self.seen.dropped() > self.told_drops.dropped() && next(self.drops_told_at) <= now {
            self.drops_told_at = Some(now);
            let told = std::mem::replace(&mut self.told_drops, self.seen);
            let counts = Counts {
                overflowed: self.seen.overflowed - told.overflowed,
                lost: self.seen.lost - told.lost,
                refused: self.seen.refused - told.refused,
                ..Counts::default()
            };
            let error = self.last_error.clone().filter(|_| counts.refused > 0);
            return Some(ForwarderEvent::Dropped { counts, error });
        }
        None
    }
}

fn next(told: Option<Moment>) -> Moment {
    told.map_or(Moment::ZERO, |told| told + TELL_EVERY)
}
