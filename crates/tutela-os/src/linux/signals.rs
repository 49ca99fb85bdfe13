//! The guard's own signals.

use super::bell;
use super::watch::Watched;
use crate::Error;
use crate::process::Signal;
use crate::signals::Sender;
use std::sync::atomic::{AtomicBool, Ordering};

const TAKEN_OVER: [i32; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

static OPENED: AtomicBool = AtomicBool::new(false);

/// The stream of them.
#[derive(Debug)]
pub(crate) struct Signals(Watched);

impl Signals {
    pub(crate) fn open() -> Result<Signals, Error> {
        if OPENED.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused(
                "the guard's signals are taken over already, and one stream has them all".into(),
            ));
        }
        let rung = bell::guard(&TAKEN_OVER)?;
        // A guard that took another's place was started with them held; what came meanwhile comes now.
        Calm::begin().release();
        Watched::reading(rung).map(Signals)
    }

    pub(crate) async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = bell::take_pending().and_then(Signal::from_number) {
                return Ok(signal);
            }
            // A signal that comes before this line has rung, so the wait ends at once.
            let heard = self.0.when_readable(bell::silence).await;
            heard.map_err(|source| Error::io("wait for a signal", source))?;
        }
    }

    pub(crate) fn sender(&self, signal: Signal) -> Option<Sender> {
        bell::sender_of(signal.number())
    }
}

/// It was the only stream.
impl Drop for Signals {
    fn drop(&mut self) {
        OPENED.store(false, Ordering::Release);
    }
}

/// The mask that the thread had before.
#[derive(Debug)]
pub(crate) struct Calm {
    before: libc::sigset_t,
}

impl Calm {
    pub(crate) fn begin() -> Calm {
        let held = set_of(TAKEN_OVER.into_iter().chain([libc::SIGCHLD]));
        let mut before = held;
        // SAFETY: both sets are whole and of this frame; only the calling thread's mask changes.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before) };
        Calm { before }
    }

    /// Lets them through, whatever was held before.
    fn release(mut self) {
        for signal in TAKEN_OVER.into_iter().chain([libc::SIGCHLD]) {
            // SAFETY: the set is a whole one, the number is a signal of this OS.
            unsafe { libc::sigdelset(&raw mut self.before, signal) };
        }
    }
}

/// A set of these signals.
fn set_of(signals: impl Iterator<Item = i32>) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to room for a set, which the call fills.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call above has filled it.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is a whole one, the numbers are signals of this OS.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Takes one of these signals, if it was sent and is held.
pub(super) fn take_waiting(signals: &[Signal]) -> Option<Signal> {
    let held = set_of(signals.iter().map(|signal| signal.number()));
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set and the time are whole and of this frame; no room is asked for who sent it.
    let taken = unsafe { libc::sigtimedwait(&raw const held, std::ptr::null_mut(), &raw const at_once) };
    Signal::from_number(taken)
}

impl Drop for Calm {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the thread had; no room is asked for the one it has.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
