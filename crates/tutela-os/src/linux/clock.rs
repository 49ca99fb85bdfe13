//! The boot clock and timer descriptors on it.

use super::watch::Watched;
use crate::Error;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::time::Duration;
use tutela_core::time::Moment;

pub(crate) fn now() -> Moment {
    Moment::from_nanos(u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX))
}

/// The monotonic clock is read first: a pause between the two readings is then counted as suspension of
/// its length instead of being lost, and never makes the difference negative.
pub(crate) fn suspended_total() -> Duration {
    let awake = monotonic();
    since_boot().saturating_sub(awake)
}

/// Time since boot without suspensions.
pub(crate) fn monotonic() -> Duration {
    span(clock_gettime(ClockId::Monotonic))
}

pub(crate) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// The kernel forgets that the clock is kept some hours after a time service last said so.
pub(crate) fn is_synchronised() -> Option<bool> {
    // SAFETY: the struct is plain numbers, for which zero is a value; zero modes only reads.
    let mut about: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole struct of this frame.
    let state = unsafe { libc::adjtimex(&raw mut about) };
    (state >= 0).then_some(about.status & libc::STA_UNSYNC == 0)
}

fn since_boot() -> Duration {
    span(clock_gettime(ClockId::Boottime))
}

fn span(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A timer descriptor and what it is armed for.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: Watched,
    armed: Option<Moment>,
}

impl Alarm {
    pub(crate) fn new() -> Result<Alarm, Error> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("make a timer", errno))?;
        Ok(Alarm { timer: Watched::reading(timer)?, armed: None })
    }

    pub(crate) fn arm(&mut self, deadline: Option<Moment>) -> Result<(), Error> {
        if deadline == self.armed {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero disarms, so a deadline at boot itself is armed a nanosecond later.
        let at = deadline.map_or(zero, |moment| {
            let nanos = moment.as_nanos().max(1);
            Timespec {
                tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
            }
        });
        let once = Itimerspec { it_interval: zero, it_value: at };
        timerfd_settime(self.timer.fd(), TimerfdTimerFlags::ABSTIME, &once)
            .map_err(|errno| Error::io("arm a timer", errno))?;
        self.armed = deadline;
        Ok(())
    }

    pub(crate) async fn fired(&mut self) -> Result<(), Error> {
        self.timer
            .when_readable(|timer| {
                let mut count = [0_u8; 8];
                rustix::io::read(timer, &mut count).map_err(std::io::Error::from)
            })
            .await
            .map_err(|source| Error::io("wait for a timer", source))?;
        self.armed = None;
        Ok(())
    }
}
