//! Time since boot, suspensions included, to the tenth of a microsecond; and alarms that look at it.

use crate::Error;
use std::time::Duration;
use tutela_core::time::Moment;
use windows_sys::Win32::System::WindowsProgramming::{QueryInterruptTimePrecise, QueryUnbiasedInterruptTimePrecise};

pub(crate) fn now() -> Moment {
    Moment::from_nanos(u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX))
}

/// The clock without suspensions is read first: a pause between the two readings is then counted as suspension
/// of its length instead of being lost, and never makes the difference negative.
pub(crate) fn suspended_total() -> Duration {
    let awake = monotonic();
    since_boot().saturating_sub(awake)
}

/// Time since boot without suspensions.
pub(crate) fn monotonic() -> Duration {
    let mut hundred_nanoseconds = 0_u64;
    // SAFETY: the pointer is to a live number of ours, which is all the call writes to. It cannot fail.
    unsafe { QueryUnbiasedInterruptTimePrecise(&raw mut hundred_nanoseconds) };
    Duration::from_nanos(hundred_nanoseconds.saturating_mul(100))
}

fn since_boot() -> Duration {
    let mut hundred_nanoseconds = 0_u64;
    // SAFETY: as above.
    unsafe { QueryInterruptTimePrecise(&raw mut hundred_nanoseconds) };
    Duration::from_nanos(hundred_nanoseconds.saturating_mul(100))
}

/// The number of the boot, which the kernel shows to every process; `None` where it does not count.
pub(crate) fn boot_id() -> Option<String> {
    /// `KUSER_SHARED_DATA.BootId`, at a place that is part of the system's interface.
    const BOOT_ID: usize = 0x7ffe_0000 + 0x2c4;
    let place: *const u32 = std::ptr::with_exposed_provenance(BOOT_ID);
    // SAFETY: the kernel maps this page into every process, for reading, at this place.
    let number = unsafe { place.read_volatile() };
    (number != 0).then(|| number.to_string())
}

/// A deadline that is looked at again and again: the timers of the runtime stand still while the computer is
/// suspended, and this clock does not.
#[derive(Debug)]
pub(crate) struct Alarm {
    armed: Option<Moment>,
}

/// How late an alarm may be that fell into a suspension. A look costs some microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Alarm {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere the OS has to give a timer")]
    pub(crate) fn new() -> Result<Alarm, Error> {
        Ok(Alarm { armed: None })
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere the OS can refuse it")]
    pub(crate) fn arm(&mut self, deadline: Option<Moment>) -> Result<(), Error> {
        self.armed = deadline;
        Ok(())
    }

    pub(crate) async fn fired(&mut self) -> Result<(), Error> {
        let Some(deadline) = self.armed else { return std::future::pending().await };
        loop {
            let left = deadline.since(now());
            if left.is_zero() {
                self.armed = None;
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

/// It does not say in a way that an ordinary account could ask.
pub(crate) fn is_synchronised() -> Option<bool> {
    None
}
