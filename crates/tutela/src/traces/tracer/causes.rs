//! What a cause means for spans: whether somebody wished it, and its kind in a word that keeps its meaning.

use tutela_core::service::{Cause, Exit};

/// Why an instance ends.
pub(super) struct Why<'a> {
    /// In words.
    pub cause: &'a Cause,
    /// Somebody or something wished it; it is no failure of the program.
    pub wished: bool,
    /// The guard has a program to end; else it ended by itself.
    pub by_guard: bool,
    /// The failure's kind, as figures name the causes of restarts; `None`: it is none.
    pub failure: Option<&'static str>,
}

impl<'a> Why<'a> {
    pub fn of(cause: &'a Cause) -> Self {
        let wished = is_wish(cause);
        let by_guard = !matches!(cause, Cause::Ended(_) | Cause::Hook { .. });
        Why { cause, wished, by_guard, failure: failure(cause) }
    }
}

/// The reason behind a wait for needs; of others, they themselves.
pub(super) fn plain(mut cause: &Cause) -> &Cause {
    while let Cause::Needs { then, .. } = cause {
        cause = then;
    }
    cause
}

fn is_wish(cause: &Cause) -> bool {
    matches!(cause, Cause::Asked { .. } | Cause::Because(_) | Cause::GuardEnding | Cause::Reloaded(_) | Cause::Disabled)
}

/// The kind of a failure.
pub(super) fn failure(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::Ended(exit) => match exit {
            Exit::Code(0) => None,
            Exit::Code(_) => Some("failure"),
            Exit::Signal { oom: true, .. } => Some("oom"),
            Exit::Signal { .. } => Some("signal"),
            Exit::NotStarted(_) => Some("not_started"),
            Exit::Unknown => Some("unknown"),
        },
        Cause::Hook { .. } => Some("not_started"),
        Cause::StartTimeout(_) => Some("start_timeout"),
        Cause::StartupFailed(_) => Some("startup_probe"),
        Cause::Unhealthy(_) => Some("unhealthy"),
        Cause::CrashLoop { .. } => Some("crash_loop"),
        Cause::HalfOpenFailed(_) => Some("half_open"),
        Cause::Unkillable(_) => Some("unkillable"),
        Cause::GuardStarted
        | Cause::GuardEnding
        | Cause::Manual
        | Cause::Delayed
        | Cause::Disabled
        | Cause::Asked { .. }
        | Cause::Because(_)
        | Cause::Needs { .. }
        | Cause::Ready(_)
        | Cause::BackoffOver
        | Cause::HalfOpen
        | Cause::KeptCooldown
        | Cause::Reloaded(_)
        | Cause::Kept(_) => None,
    }
}
