//! Why an instance is in its state, in words that an operator reads.

use crate::names::ServiceName;
use crate::probe::Seconds;
use std::fmt;
use std::time::Duration;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By a signal.
    Signal {
        /// The OS's number.
        number: i32,
        /// The OS's name, such as `SIGKILL`.
        name: String,
        /// Whether the OS wrote a core file.
        core_dumped: bool,
        /// Whether the kernel ended it for want of memory.
        oom: bool,
    },
    /// It never ran: why.
    NotStarted(String),
    /// It ended, the OS does not tell how.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal { name, oom: true, .. } => write!(f, "killed by {name}: out of memory"),
            Exit::Signal { name, core_dumped: true, .. } => write!(f, "killed by {name}, core dumped"),
            Exit::Signal { name, .. } => write!(f, "killed by {name}"),
            Exit::NotStarted(reason) => write!(f, "could not be started: {reason}"),
            Exit::Unknown => f.write_str("ended, nobody knows how"),
        }
    }
}

/// A process that had to be ended by force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Survivor {
    /// Its number.
    pub pid: u32,
    /// Its name, as the OS has it.
    pub name: String,
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Why an instance is in its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The guard started and the spec says so.
    GuardStarted,
    /// The guard is ending.
    GuardEnding,
    /// Its start mode is `manual` and nobody asked.
    Manual,
    /// Its start mode is `delayed`; it waits for the others to settle.
    Delayed,
    /// Its start mode is `disabled`.
    Disabled,
    /// Somebody asked.
    Asked {
        /// Who: an account, or `the guard's terminal`.
        by: String,
    },
    /// A service that needs it was started, or one that it needs was stopped.
    Because(ServiceName),
    /// What it needs is not ready.
    Needs {
        /// Which of them.
        names: Vec<ServiceName>,
        /// Why it is to start, once they are.
        then: Box<Cause>,
    },
    /// The program ended.
    Ended(Exit),
    /// A hook failed.
    Hook {
        /// Which, in words.
        hook: &'static str,
        /// What became of it.
        outcome: String,
    },
    /// It was not ready in time.
    StartTimeout(Duration),
    /// Its startup probe said no.
    StartupFailed(String),
    /// Its live probe said no.
    Unhealthy(String),
    /// It became ready.
    Ready(&'static str),
    /// The wait after its end is over.
    BackoffOver,
    /// It ended too often.
    CrashLoop {
        /// Restarts within the window.
        restarts: u32,
        /// The window.
        within: Duration,
        /// The last reason.
        last: Box<Cause>,
    },
    /// The single try after a cool-down.
    HalfOpen,
    /// The single try after a cool-down failed.
    HalfOpenFailed(Box<Cause>),
    /// A cool-down that an earlier guard began still holds.
    KeptCooldown,
    /// The spec changed.
    Reloaded(String),
    /// Its processes cannot be ended.
    Unkillable(Vec<Survivor>),
    /// What an earlier guard gave as the reason, in its words.
    Kept(String),
}

impl Cause {
    /// The reason behind a wait for needs; of others, they themselves.
    pub(super) fn resumed(self) -> Cause {
        match self {
            Cause::Needs { then, .. } => *then,
            other @ (Cause::GuardStarted
            | Cause::GuardEnding
            | Cause::Manual
            | Cause::Delayed
            | Cause::Disabled
            | Cause::Asked { .. }
            | Cause::Because(_)
            | Cause::Ended(_)
            | Cause::Hook { .. }
            | Cause::StartTimeout(_)
            | Cause::StartupFailed(_)
            | Cause::Unhealthy(_)
            | Cause::Ready(_)
            | Cause::BackoffOver
            | Cause::CrashLoop { .. }
            | Cause::HalfOpen
            | Cause::HalfOpenFailed(_)
            | Cause::KeptCooldown
            | Cause::Reloaded(_)
            | Cause::Unkillable(_)
            | Cause::Kept(_)) => other,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::GuardStarted => f.write_str("the guard started"),
            Cause::GuardEnding => f.write_str("the guard is ending"),
            Cause::Manual => f.write_str("starts when asked"),
            Cause::Delayed => f.write_str("starts after the others"),
            Cause::Disabled => f.write_str("disabled in the spec"),
            Cause::Asked { by } => write!(f, "asked by {by}"),
            Cause::Because(service) => write!(f, "because of {service}"),
            Cause::Needs { names, .. } => write!(f, "waits for {}", Listed(names)),
            Cause::Ended(exit) => exit.fmt(f),
            Cause::Hook { hook, outcome } => write!(f, "its {hook} hook {outcome}"),
            Cause::StartTimeout(limit) => write!(f, "not ready within {}", Seconds(*limit)),
            Cause::StartupFailed(reason) => write!(f, "startup probe failed: {reason}"),
            Cause::Unhealthy(reason) => write!(f, "live probe failed: {reason}"),
            Cause::Ready(how) => f.write_str(how),
            Cause::BackoffOver => f.write_str("restarted after its wait"),
            Cause::CrashLoop { restarts, within, last } => {
                write!(f, "{restarts} restarts within {}, at last: {last}", Seconds(*within))
            }
            Cause::HalfOpen => f.write_str("half-open try after a cool-down"),
            Cause::HalfOpenFailed(why) => write!(f, "the half-open try failed: {why}"),
            Cause::KeptCooldown => f.write_str("a cool-down that an earlier guard began"),
            Cause::Reloaded(what) => write!(f, "the spec changed: {what}"),
            Cause::Unkillable(survivors) if survivors.is_empty() => f.write_str("its processes cannot be ended"),
            Cause::Unkillable(survivors) => write!(f, "cannot be ended: {}", Listed(survivors)),
            Cause::Kept(words) => f.write_str(words),
        }
    }
}

struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
