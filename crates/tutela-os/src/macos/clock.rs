//! Time since boot, suspensions included. Alarms: not here yet.

use crate::Error;
use crate::absent::absent;
use std::time::Duration;
use tutela_core::time::Moment;

pub(crate) fn now() -> Moment {
    // On macOS the monotonic clock goes on while the computer sleeps.
    Moment::from_nanos(nanoseconds(libc::CLOCK_MONOTONIC))
}

pub(crate) fn suspended_total() -> Duration {
    Duration::from_nanos(nanoseconds(libc::CLOCK_MONOTONIC)).saturating_sub(monotonic())
}

/// Time since boot without suspensions.
pub(crate) fn monotonic() -> Duration {
    Duration::from_nanos(nanoseconds(libc::CLOCK_UPTIME_RAW))
}

pub(crate) fn boot_id() -> Option<String> {
    None
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    // SAFETY: takes a number and touches no memory of ours; it answers 0 for a clock that is not there.
    unsafe { libc::clock_gettime_nsec_np(clock) }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Alarm {}

impl Alarm {
    pub(crate) fn new() -> Result<Alarm, Error> {
        Err(absent("alarms"))
    }

    pub(crate) fn arm(&mut self, _deadline: Option<Moment>) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) async fn fired(&mut self) -> Result<(), Error> {
        match *self {}
    }
}
