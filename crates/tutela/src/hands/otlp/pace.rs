//! When to try again: doubling waits with some chance in them, never sooner than the receiver asked for.

use super::SendError;
use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// No wait is longer, whatever a receiver asks for: one that is back should not be left alone for an hour because
/// of a header it once sent.
const MAX: Duration = Duration::from_secs(300);

/// The part of a wait that is left to chance, so that a thousand guards do not come back in one instant.
const JITTER: f64 = 0.2;

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
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        let spread = doubled.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0));
        spread.max(error.retry_after().unwrap_or_default()).min(MAX)
    }
}
