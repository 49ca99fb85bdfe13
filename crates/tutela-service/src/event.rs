//! What a service is asked and told besides its work: why it stops, what it may be asked, what happens around it.

use std::fmt;
use std::time::SystemTime;
pub use tutela_os::host::{PowerChange, SessionChange};

/// Why the service stops.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// Somebody wants it stopped: `sc stop`, `systemctl stop`, Ctrl-C, a guard. The text says who, as far as the host
    /// tells.
    Asked(String),
    /// The computer goes down. There is less time than usual, and no second try.
    Shutdown,
    /// The program ended by itself, or called [`crate::Context::end`].
    Ended,
    /// Something failed, and the text says what: [`crate::Context::fail`], a panic in tracked work, an error or a
    /// panic of the program.
    Failed(String),
    /// The program was not ready in time.
    NotReady,
}

/// A short line for people: `asked by Ctrl-C`.
impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Asked(who) => write!(f, "asked by {who}"),
            StopReason::Shutdown => f.write_str("the computer goes down"),
            StopReason::Ended => f.write_str("the program ended by itself"),
            StopReason::Failed(what) => write!(f, "failed: {what}"),
            StopReason::NotReady => f.write_str("it was not ready in time"),
        }
    }
}

/// Something that happened around the service, for those who want to know. Only the SCM tells of power, sessions and
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// About the computer's power. After [`PowerChange::Suspending`] there are about two seconds.
    Power(PowerChange),
    /// A session of a user changed.
    Session {
        /// What happened to it.
        change: SessionChange,
        /// Which one, as the OS counts them.
        session: u32,
    },
    /// The wall clock was set.
    TimeChanged {
        /// What it said.
        from: SystemTime,
        /// What it says.
        to: SystemTime,
    },
    /// A code of one's own: `sc control NAME 130` on Windows (128 to 255), and on Unix 1 and 2 for the signals USR1
    /// and USR2.
    User(u32),
}

/// What a program can be asked while it runs, besides to stop. What is not among it is refused for the program, and the
/// SCM shows no such button.
///
/// ```
/// use tutela_service::Controls;
///
/// let controls = Controls::NONE.reload().pause();
/// assert!(controls.hears_reload());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controls {
    pause: bool,
    reload: bool,
    events: bool,
}

impl Controls {
    /// Nothing but to stop.
    pub const NONE: Controls = Controls { pause: false, reload: false, events: false };

    /// Also to hold still and to go on.
    pub const fn pause(self) -> Controls {
        Controls { pause: true, ..self }
    }

    /// Also to read its configuration again.
    pub const fn reload(self) -> Controls {
        Controls { reload: true, ..self }
    }

    /// Also what happens around it: [`Event`].
    pub const fn events(self) -> Controls {
        Controls { events: true, ..self }
    }

    /// Whether it can be held still.
    pub const fn hears_pause(self) -> bool {
        self.pause
    }

    /// Whether it reloads.
    pub const fn hears_reload(self) -> bool {
        self.reload
    }

    /// Whether it wants to hear of events.
    pub const fn hears_events(self) -> bool {
        self.events
    }

    /// Both.
    pub(crate) const fn and(self, other: Controls) -> Controls {
        Controls {
            pause: self.pause || other.pause,
            reload: self.reload || other.reload,
            events: self.events || other.events,
        }
    }
}
