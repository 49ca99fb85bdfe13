//! Restarts by their cause: what a figure is broken down by, so a closed list of words that keep their meaning.

use super::{Cause, Exit};

/// Why an instance was started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartCause {
    /// Its program ended as it should, and the policy says `always`.
    Success,
    /// It ended with another code.
    Failure,
    /// A signal ended it.
    Signal,
    /// The kernel ended it for want of memory.
    Oom,
    /// It could not be started, or a hook before its start failed.
    NotStarted,
    /// It was not ready in time.
    StartTimeout,
    /// Its startup probe failed.
    StartupProbe,
    /// Its live probe failed, or it triggered its watchdog.
    Unhealthy,
    /// It ended, the OS does not tell how.
    Unknown,
    /// The single try after a cool-down.
    HalfOpen,
    /// Somebody asked for it.
    Asked,
    /// The spec changed.
    Reloaded,
}

impl RestartCause {
    /// Every cause.
    pub const ALL: [RestartCause; 12] = [
        RestartCause::Success,
        RestartCause::Failure,
        RestartCause::Signal,
        RestartCause::Oom,
        RestartCause::NotStarted,
        RestartCause::StartTimeout,
        RestartCause::StartupProbe,
        RestartCause::Unhealthy,
        RestartCause::Unknown,
        RestartCause::HalfOpen,
        RestartCause::Asked,
        RestartCause::Reloaded,
    ];

    /// The word in figures and saved states.
    pub const fn word(self) -> &'static str {
        match self {
            RestartCause::Success => "success",
            RestartCause::Failure => "failure",
            RestartCause::Signal => "signal",
            RestartCause::Oom => "oom",
            RestartCause::NotStarted => "not_started",
            RestartCause::StartTimeout => "start_timeout",
            RestartCause::StartupProbe => "startup_probe",
            RestartCause::Unhealthy => "unhealthy",
            RestartCause::Unknown => "unknown",
            RestartCause::HalfOpen => "half_open",
            RestartCause::Asked => "asked",
            RestartCause::Reloaded => "reloaded",
        }
    }

    /// Of an end that the policy judged: why it ended, and whether that was a success.
    pub(super) fn of_end(cause: &Cause, exit: &Exit, success: bool) -> Self {
        match cause {
            Cause::StartTimeout(_) => RestartCause::StartTimeout,
            Cause::StartupFailed(_) => RestartCause::StartupProbe,
            Cause::Unhealthy(_) => RestartCause::Unhealthy,
            Cause::GuardStarted
            | Cause::GuardEnding
            | Cause::Manual
            | Cause::Delayed
            | Cause::Disabled
            | Cause::Asked { .. }
            | Cause::Because(_)
            | Cause::Needs { .. }
            | Cause::Ended(_)
            | Cause::Hook { .. }
            | Cause::Ready(_)
            | Cause::BackoffOver
            | Cause::CrashLoop { .. }
            | Cause::HalfOpen
            | Cause::HalfOpenFailed(_)
            | Cause::KeptCooldown
            | Cause::Reloaded(_)
            | Cause::Unkillable(_)
            | Cause::Kept(_) => match exit {
                Exit::Code(_) if success => RestartCause::Success,
                Exit::Code(_) => RestartCause::Failure,
                Exit::Signal { oom: true, .. } => RestartCause::Oom,
                Exit::Signal { .. } => RestartCause::Signal,
                Exit::NotStarted(_) => RestartCause::NotStarted,
                Exit::Unknown => RestartCause::Unknown,
            },
        }
    }

    /// Of a restart that somebody wished.
    pub(super) fn of_wish(why: &Cause) -> Self {
        if let Cause::Reloaded(_) = why { RestartCause::Reloaded } else { RestartCause::Asked }
    }
}

/// How many restarts there were, by cause. Each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestartTally([u64; RestartCause::ALL.len()]);

impl RestartTally {
    /// How many there were for this cause.
    pub fn of(&self, cause: RestartCause) -> u64 {
        self.0[cause as usize]
    }

    /// What an earlier guard had counted.
    pub fn restore(&mut self, cause: RestartCause, count: u64) {
        self.0[cause as usize] = count;
    }

    pub(super) fn count(&mut self, cause: RestartCause) {
        let count = &mut self.0[cause as usize];
        *count = count.saturating_add(1);
    }
}
