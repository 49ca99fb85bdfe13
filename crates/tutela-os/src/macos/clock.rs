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
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec of ours, which is all the call writes to.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(answer, 0, "both clocks exist on every macOS");
    let (seconds, rest) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
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

/// It does not say in a way that an ordinary account could ask.
pub(crate) fn is_synchronised() -> Option<bool> {
    None
}
