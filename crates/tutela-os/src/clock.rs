//! The one clock: moments since boot, suspension included, and an alarm that keeps to it.
//!
//! Wall-clock time appears in two functions and only for people and files; deadlines never use it, so a
//! stepped or skewed wall clock moves no deadline.

use crate::{Error, platform};
use std::time::{Duration, SystemTime};
use tutela_core::time::Moment;

/// The current moment.
pub fn now() -> Moment {
    platform::clock::now()
}

/// How long the computer was suspended in total since it booted. A growth between two readings is the
/// length of the suspension between them (readings differ by microseconds without one).
pub fn suspended_total() -> Duration {
    platform::clock::suspended_total()
}

/// What tells this boot from every other one of this computer; a [`Moment`] means nothing across boots.
/// `None` where the OS does not say.
pub fn boot_id() -> Option<String> {
    platform::clock::boot_id()
}

/// Whether a time service keeps the wall clock; `None` where the OS does not say.
pub fn is_synchronised() -> Option<bool> {
    platform::clock::is_synchronised()
}

/// The wall-clock time of `moment`, by the wall clock as it is set at this call.
pub fn wall_time(moment: Moment) -> SystemTime {
    let (now, wall) = (now(), SystemTime::now());
    let shifted = if moment >= now { wall.checked_add(moment.since(now)) } else { wall.checked_sub(now.since(moment)) };
    shifted.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The moment of a wall-clock time, by the wall clock as it is set at this call. Saturates at boot.
pub fn moment_of(time: SystemTime) -> Moment {
    let (now, wall) = (now(), SystemTime::now());
    match time.duration_since(wall) {
        Ok(ahead) => now + ahead,
        Err(behind) => now - behind.duration(),
    }
}

/// One deadline on the clock of [`now`]. It also fires when the deadline passed during a suspension,
/// as soon as the computer is awake. Dropping it disarms it.
#[derive(Debug)]
pub struct Alarm(platform::clock::Alarm);

impl Alarm {
    /// An alarm that is not armed. Call it within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// The OS gave no timer.
    pub fn new() -> Result<Self, Error> {
        platform::clock::Alarm::new().map(Alarm)
    }

    /// Arms the alarm for `deadline`, in place of an earlier one; `None` disarms it. A deadline that has
    /// passed fires at once. Arming it for the deadline that it has already costs nothing.
    ///
    /// # Errors
    /// The OS refused the deadline.
    pub fn arm(&mut self, deadline: Option<Moment>) -> Result<(), Error> {
        self.0.arm(deadline)
    }

    /// Waits until the deadline is reached; for ever when there is none. May be dropped and called again
    /// without losing a firing. Having fired, the alarm is disarmed.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn fired(&mut self) -> Result<(), Error> {
        self.0.fired().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_way_to_wall_time_and_back() {
        for offset in [Duration::ZERO, Duration::from_secs(5)] {
            let began = std::time::Instant::now();
            let moment = now() + offset;
            let back = moment_of(wall_time(moment));
            let apart = back.since(moment).max(moment.since(back));
            // The two clocks are read one after the other, and the machine may stand still in between.
            let bound = began.elapsed() + Duration::from_millis(20);
            assert!(apart < bound, "{apart:?}, at most {bound:?}");
        }
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut last = now();
        for _ in 0..1_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        assert!(last.as_nanos() > 0);
    }
}
