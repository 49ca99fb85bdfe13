//! How long to wait for a receiver that does not take what it is sent: each wait twice as long as the one before, up to a
//! bound, and a part of it left to chance.
//!
//! Used by sinks, by OTLP and by alerts. Restarts of programs have a policy of their own, in the core.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_secs(1);

/// The part of a wait that is left to chance, so that many guards do not come back to a receiver in one instant.
const JITTER: f64 = 0.2;

/// More doublings than any bound has room for: 18 hours.
const DOUBLINGS_MAX: u32 = 16;

/// The wait after so many failures in a row, at least one of them; never longer than `most`.
pub fn wait(failures: u32, most: Duration) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS_MAX)).min(most)
}

/// The same, shortened by up to a fifth. `chance` is from 0 to 1.
pub fn spread(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_are_shortened_by_a_fifth_at_most() {
        let most = Duration::from_secs(300);
        let waits: Vec<u64> = (1..=11).map(|failures| wait(failures, most).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!((wait(0, most), wait(u32::MAX, Duration::MAX)), (FIRST, Duration::from_secs(65_536)));
        let spread = [0.0, 0.5, 1.0, 7.0].map(|chance| super::spread(Duration::from_secs(10), chance).as_millis());
        assert_eq!(spread, [10_000, 9_000, 8_000, 8_000]);
    }
}
