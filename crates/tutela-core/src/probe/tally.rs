//! The answers of a probe, counted: what a figure is made of. Bounded: a probe has one, of a fixed size.

use std::time::Duration;

/// The upper bounds of the buckets that answers are counted in by how long they took; one more bucket is without
/// bound. From a program on the same computer, which answers within a millisecond, to one that is about to be given
/// up; steps of about 2.5 tell a slow answer from a quick one, and more would only be more to keep.
pub const LATENCY_BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
];

/// What came of a probe's questions since the guard began, or since its service got another spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Answers that were good, and yeses that were told.
    pub passes: u64,
    /// Answers that were not, questions that nobody answered, watchdogs that nobody fed.
    pub failures: u64,
    /// Connections that were refused.
    pub refusals: u64,
    /// Answers by how long they took; not added up. The last is for those over every bound.
    pub buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// How long all of them took together.
    pub took: Duration,
}

impl Tally {
    /// Counts how long an answer took.
    pub(super) fn took(&mut self, took: Duration) {
        let bucket = LATENCY_BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        self.buckets[bucket] += 1;
        self.took = self.took.saturating_add(took);
    }
}
