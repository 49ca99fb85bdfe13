//! Commands around a program's life, one at a time.

use super::{Action, Service};
use crate::names::RunId;
use crate::spec::Hook;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// Before each start.
    BeforeStart,
    /// After it became ready.
    AfterReady,
    /// Before a wanted stop.
    BeforeStop,
    /// After each end.
    AfterExit,
}

impl HookKind {
    /// The word in spec files.
    pub const fn word(self) -> &'static str {
        match self {
            HookKind::BeforeStart => "before_start",
            HookKind::AfterReady => "after_ready",
            HookKind::BeforeStop => "before_stop",
            HookKind::AfterExit => "after_exit",
        }
    }
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutcome {
    /// It exited 0.
    Success,
    /// It did not; in words that follow "its … hook".
    Failed(String),
    /// It took longer than it may and was ended.
    TimedOut,
    /// It was ended because a stop came.
    Cancelled,
}

impl HookOutcome {
    /// Whether it did what it was to do.
    pub fn is_success(&self) -> bool {
        *self == HookOutcome::Success
    }
}

impl std::fmt::Display for HookOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HookOutcome::Success => f.write_str("succeeded"),
            HookOutcome::Failed(how) => f.write_str(how),
            HookOutcome::TimedOut => f.write_str("took too long and was ended"),
            HookOutcome::Cancelled => f.write_str("was ended by a stop"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub run: RunId,
    pub kind: HookKind,
    pub index: usize,
    /// Whether the hands were asked to end it.
    pub cancelled: bool,
}

impl Service {
    pub(super) fn hooks_of(&self, kind: HookKind) -> &[Hook] {
        match kind {
            HookKind::BeforeStart => &self.spec.hooks.before_start,
            HookKind::AfterReady => &self.spec.hooks.after_ready,
            HookKind::BeforeStop => &self.spec.hooks.before_stop,
            HookKind::AfterExit => &self.spec.hooks.after_exit,
        }
    }

    /// Runs hook `index` of `kind`; says whether there is one.
    pub(super) fn run_hook(&mut self, kind: HookKind, index: usize) -> bool {
        let Some(timeout) = self.hooks_of(kind).get(index).map(|hook| hook.timeout) else { return false };
        let run = self.run;
        self.hook = Some(Running { run, kind, index, cancelled: false });
        self.actions.push_back(Action::RunHook { run, kind, index, timeout });
        true
    }

    /// Asks the hands to end the hook that runs, once; says whether one runs.
    pub(super) fn cancel_hook(&mut self) -> bool {
        let Some(hook) = &mut self.hook else { return false };
        if !hook.cancelled {
            hook.cancelled = true;
            self.actions.push_back(Action::CancelHook { run: hook.run });
        }
        true
    }
}
