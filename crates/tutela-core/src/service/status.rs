//! The state explains itself: which, since when, because of what, what comes next.

use super::{Cause, Exit, History, ProbeRole, ProbeSlot, Service, State, Survivor};
use crate::names::RunId;
use crate::probe::{Probe, Verdict};
use crate::spec::ServiceSpec;
use crate::time::Moment;
use std::sync::Arc;

pub use crate::health::Health;

/// The states by their names. DESIGN fixes the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    /// Down, as wanted.
    Stopped,
    /// Wanted up; what it needs is not ready.
    Waiting,
    /// Being started; not ready.
    Starting,
    /// Its program runs and answered, where it is asked.
    Running,
    /// Something of it may live and is to end.
    Stopping,
    /// Waits before the next start.
    Backoff,
    /// Waits after a crash loop.
    Cooldown,
    /// Ended badly, and the policy says never again.
    Failed,
    /// Ended well, and that was all.
    Done,
}

impl StateName {
    /// Every state, in the order of a life.
    pub const ALL: [StateName; 9] = [
        StateName::Stopped,
        StateName::Waiting,
        StateName::Starting,
        StateName::Running,
        StateName::Stopping,
        StateName::Backoff,
        StateName::Cooldown,
        StateName::Failed,
        StateName::Done,
    ];

    /// The word in status and events.
    pub const fn word(self) -> &'static str {
        match self {
            StateName::Stopped => "stopped",
            StateName::Waiting => "waiting",
            StateName::Starting => "starting",
            StateName::Running => "running",
            StateName::Stopping => "stopping",
            StateName::Backoff => "backoff",
            StateName::Cooldown => "cooldown",
            StateName::Failed => "failed",
            StateName::Done => "done",
        }
    }
}

/// What comes next by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// What.
    pub what: String,
    /// When at the latest; `None` where it depends on others.
    pub at: Option<Moment>,
}

impl Service {
    /// Whether it is down, or is going down, because somebody asked for that.
    pub fn is_asked_down(&self) -> bool {
        !self.is_wanted_up() && self.is_asked_by(&self.lasting_cause())
    }

    /// Whether this reason is somebody's wish.
    pub(crate) fn is_asked_by(&self, cause: &Cause) -> bool {
        match cause {
            Cause::Asked { .. } | Cause::Because(_) => true,
            Cause::Kept(_) => self.asked_down,
            Cause::GuardStarted
            | Cause::GuardEnding
            | Cause::Manual
            | Cause::Delayed
            | Cause::Disabled
            | Cause::Needs { .. }
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
            | Cause::Unkillable(_) => false,
        }
    }

    /// The state's name.
    pub fn state_name(&self) -> StateName {
        match &self.state {
            State::Stopped => StateName::Stopped,
            State::Waiting => StateName::Waiting,
            State::Starting(_) => StateName::Starting,
            State::Running { .. } => StateName::Running,
            State::Stopping(_) => StateName::Stopping,
            State::Backoff { .. } => StateName::Backoff,
            State::Cooldown { .. } => StateName::Cooldown,
            State::Failed => StateName::Failed,
            State::Done => StateName::Done,
        }
    }

    /// Since when the state holds.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What comes next by itself.
    pub fn next(&self) -> Option<Next> {
        let next = |what: &str, at: Option<Moment>| Some(Next { what: what.to_owned(), at });
        match &self.state {
            State::Stopped | State::Failed | State::Done => None,
            State::Waiting => {
                let names: Vec<String> = self.waits_for.iter().map(ToString::to_string).collect();
                next(&format!("start once ready: {}", names.join(", ")), None)
            }
            State::Starting(starting) => next(&format!("give up: {}", starting.words()), starting.until),
            State::Running { half_open_until: Some(until) } => next("recovered", Some(*until)),
            State::Running { half_open_until: None } => None,
            State::Stopping(ending) => next(ending.words(), ending.poll_timeout()),
            State::Backoff { until } => next("restart", Some(*until)),
            State::Cooldown { until } => next("half-open try", Some(*until)),
        }
    }

    /// Its health as one word.
    pub fn health(&self) -> Health {
        match &self.state {
            State::Stopped => Health::OutOfService,
            State::Waiting | State::Starting(_) => Health::Unknown,
            State::Running { .. } if self.paused => Health::OutOfService,
            State::Running { .. } => self.health_of_running(),
            State::Stopping(ending) if ending.is_wanted() => Health::OutOfService,
            State::Stopping(_) | State::Backoff { .. } | State::Cooldown { .. } | State::Failed => Health::Down,
            State::Done => Health::Up,
        }
    }

    fn health_of_running(&self) -> Health {
        if self.questions.verdict(ProbeRole::Live) == Verdict::Fail {
            Health::Down
        } else if self.questions.verdict(ProbeRole::Ready) == Verdict::Fail {
            Health::OutOfService
        } else if self.questions.failing_dependencies().next().is_some() {
            Health::Degraded
        } else {
            Health::Up
        }
    }

    /// Whether others that need it may start: it runs and its ready probe does not say no, or it is done.
    pub fn serves(&self) -> bool {
        match &self.state {
            State::Running { .. } => !self.paused && self.questions.verdict(ProbeRole::Ready) != Verdict::Fail,
            State::Done => true,
            State::Stopped
            | State::Waiting
            | State::Starting(_)
            | State::Stopping(_)
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed => false,
        }
    }

    /// Whether nothing of it lives and nothing of it is being started.
    pub fn is_at_rest(&self) -> bool {
        match &self.state {
            State::Stopped
            | State::Waiting
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => true,
            State::Starting(_) | State::Running { .. } | State::Stopping(_) => false,
        }
    }

    /// Whether a start that was asked for has come to a result: it serves, or it will not soon.
    pub fn has_settled(&self) -> bool {
        match &self.state {
            State::Stopped | State::Running { .. } | State::Backoff { .. } | State::Cooldown { .. } => true,
            State::Failed | State::Done => true,
            State::Waiting | State::Starting(_) | State::Stopping(_) => false,
        }
    }

    /// Whether it is held still.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it is wanted up.
    pub fn is_wanted_up(&self) -> bool {
        self.wanted == super::Wanted::Up
    }

    /// The main process, while it lives.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// When the program of this run started.
    pub fn started(&self) -> Moment {
        self.started
    }

    /// The run under way, or the last one.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// What is remembered of its ends.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The last end, and when it was.
    pub fn last_exit(&self) -> Option<&(Exit, Moment)> {
        self.last_exit.as_ref()
    }

    /// What the program last said of itself over the notify socket.
    pub fn status_text(&self) -> &str {
        &self.status_text
    }

    /// Those of the run's tree that had to be ended by force, or are being asked.
    pub fn survivors(&self) -> &[Survivor] {
        &self.survivors
    }

    /// Its spec.
    pub fn spec(&self) -> &Arc<ServiceSpec> {
        &self.spec
    }

    /// The spec that the next start begins with: its spec, or what replaces it.
    pub(crate) fn newest_spec(&self) -> &ServiceSpec {
        self.next_spec.as_ref().unwrap_or(&self.spec)
    }

    /// Which copy of its service it is.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Its probes: which, for what, by which name.
    pub fn probes(&self) -> impl Iterator<Item = (ProbeSlot, ProbeRole, &str, &Probe)> {
        self.questions.all()
    }

    /// Dependency checks that fail, with the reason.
    pub fn failing_dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.questions.failing_dependencies()
    }
}
