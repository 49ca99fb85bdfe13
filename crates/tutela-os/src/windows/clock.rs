//! Time since boot, suspensions included, at the resolution of the system tick. Alarms: not here yet.

use crate::Error;
use crate::absent::absent;
use std::time::Duration;
use tutela_core::time::Moment;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::WindowsProgramming::QueryUnbiasedInterruptTime;

pub(crate) fn now() -> Moment {
    Moment::from_millis(tick())
}

pub(crate) fn suspended_total() -> Duration {
    Duration::from_millis(tick()).saturating_sub(monotonic())
}

/// Time since boot without suspensions.
pub(crate) fn monotonic() -> Duration {
    let mut hundred_nanoseconds = 0_u64;
    // SAFETY: the pointer is to a live u64 of ours, which is all the call writes to. It fails only for a
    // null pointer, so there is nothing to check.
    unsafe { QueryUnbiasedInterruptTime(&raw mut hundred_nanoseconds) };
    Duration::from_nanos(hundred_nanoseconds.saturating_mul(100))
}

pub(crate) fn boot_id() -> Option<String> {
    None
}

fn tick() -> u64 {
    // SAFETY: takes nothing, touches no memory of ours and cannot fail.
    unsafe { GetTickCount64() }
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
