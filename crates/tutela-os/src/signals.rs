//! What is asked of the guard itself: to stop, to reload, to look at the terminal's size again.
//!
//! Opened once by the guard, before it tells anybody that it runs. Until then the OS's own reaction to a
//! signal holds (mostly: the process ends).

use crate::process::Signal;
use crate::{Error, platform};

/// Who sent a signal, by the word of the OS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The user, by number; [`crate::accounts::user_name`] finds the name.
    pub uid: u32,
    /// The process; it may have ended since.
    pub pid: u32,
}

/// The guard's own signals, one after the other.
#[derive(Debug)]
pub struct Signals(platform::signals::Signals);

impl Signals {
    /// Takes TERM, INT, HUP, QUIT, USR1, USR2 and WINCH over from the OS's default reaction, for the rest
    /// of the process's life. Call it once, within a tokio runtime with IO enabled. Programs that are
    /// started get the default reactions back.
    ///
    /// # Errors
    /// The OS gave no way to wait for them, or they were taken over already.
    pub fn open() -> Result<Self, Error> {
        platform::signals::Signals::open().map(Signals)
    }

    /// The next signal. Several of the same kind that arrive before this is called are one. May be
    /// dropped and called again without losing a signal.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn next(&mut self) -> Result<Signal, Error> {
        self.0.next().await
    }

    /// Who sent this signal when it last came. `None`: no process did, as when somebody presses Ctrl-C at the
    /// terminal, or the OS does not say.
    pub fn sender(&self, signal: Signal) -> Option<Sender> {
        self.0.sender(signal)
    }
}

/// While it lives, threads that the current one starts are never interrupted by ended children or by the
/// guard's signals: the thread that waits for them is woken at once, instead of by way of another one.
/// Dropping it gives the current thread its own readiness back; threads that were started keep theirs.
///
/// It changes how soon something is heard, not whether, so where an OS has no signals there is nothing to do.
#[derive(Debug)]
pub struct Calm(#[allow(dead_code, reason = "what matters is its drop")] platform::signals::Calm);

impl Calm {
    /// Ends it here, as a drop does.
    pub fn end(self) {}
}

/// Begins a [`Calm`].
pub fn calm() -> Calm {
    Calm(platform::signals::Calm::begin())
}
