//! When to try again: doubling waits with some chance in them, never sooner than the receiver asked for.

use super::SendError;
use crate::hands::backoff;
use std::time::Duration;

/// No wait is longer, whatever a receiver asks for: one that is back should not be left alone for an hour because
/// of a header it once sent.
const MAX: Duration = Duration::from_secs(300);

/// Failures in a row, as waits.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// How many attempts failed since the last one that worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt worked.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed: how long to wait. `chance` is from 0 to 1.
    pub fn failed(&mut self, error: &SendError, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::spread(backoff::wait(self.failures, MAX), chance);
        wait.max(error.retry_after().unwrap_or_default()).min(MAX)
    }
}
