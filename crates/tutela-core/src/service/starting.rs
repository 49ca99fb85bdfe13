//! From the wish to run to running: needs, hooks, the start itself, readiness.

use super::hooks::Running;
use super::{Action, Cause, HookKind, HookOutcome, ProbeRole, Service, StartStep, State};
use crate::names::RunId;
use crate::probe::Verdict;
use crate::service::Exit;
use crate::service::ending::After;
use crate::time::Moment;
use std::time::Duration;

/// A program puts off its deadline by at most this much with one word. Who needs longer says so again, which
/// a program that hangs cannot; so no single word holds up a start or a stop for ever.
pub const EXTENSION_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Starting {
    step: Step,
    /// When the start has taken too long.
    pub until: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Hooks before the start.
    Hooks,
    /// The hands start the program.
    Spawning,
    /// It runs, its startup probe has not passed.
    Startup,
    /// It runs, its ready probe has not passed.
    Ready,
}

impl Starting {
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.until
    }

    pub fn handle_suspended(&mut self, slept: Duration) {
        self.until = self.until.map(|until| until + slept);
    }

    pub fn words(&self) -> &'static str {
        match self.step {
            Step::Hooks => "before_start hooks",
            Step::Spawning => "start of the program",
            Step::Startup => "startup probe",
            Step::Ready => "ready probe",
        }
    }

    /// A start of which the program runs already.
    pub fn taken_back(until: Option<Moment>, startup: bool) -> Self {
        Starting { step: if startup { Step::Startup } else { Step::Ready }, until }
    }

    pub fn kept_step(&self) -> StartStep {
        match self.step {
            Step::Hooks => StartStep::Hooks,
            Step::Spawning => StartStep::Spawning,
            Step::Startup => StartStep::Startup,
            Step::Ready => StartStep::Ready,
        }
    }

    pub fn is_spawning(&self) -> bool {
        self.step == Step::Spawning
    }
}

impl Service {
    /// Starts if what it needs is ready, else waits for that.
    pub(super) fn try_start(&mut self, now: Moment, cause: Cause) {
        if self.needs_ready {
            self.begin_starting(now, cause);
        } else {
            let cause = Cause::Needs { names: self.waits_for.clone(), then: Box::new(cause.resumed()) };
            self.set_state(now, State::Waiting, cause);
        }
    }

    /// The single try after a cool-down.
    pub(super) fn try_half_open(&mut self, now: Moment) {
        self.history.begin_half_open();
        self.try_start(now, Cause::HalfOpen);
    }

    pub(super) fn begin_starting(&mut self, now: Moment, cause: Cause) {
        self.take_next_spec();
        self.questions.begin_run(now);
        self.run = RunId(self.run.0 + 1);
        self.ran = false;
        self.status_text.clear();
        self.survivors.clear();
        let until = self.spec.start_timeout.map(|limit| now + limit);
        self.set_state(now, State::Starting(Starting { step: Step::Hooks, until }), cause);
        if !self.run_hook(HookKind::BeforeStart, 0) {
            self.spawn();
        }
    }

    pub(super) fn hook_ended(&mut self, now: Moment, hook: Running, outcome: HookOutcome) {
        match (hook.kind, &self.state) {
            (HookKind::BeforeStart, State::Starting(_)) => {
                if outcome.is_success() {
                    if !self.run_hook(HookKind::BeforeStart, hook.index + 1) {
                        self.spawn();
                    }
                } else {
                    let exit = Exit::NotStarted(format!("its before_start hook {outcome}"));
                    let cause = Cause::Hook { hook: HookKind::BeforeStart.word(), outcome: outcome.to_string() };
                    self.begin_ending(now, After::Policy(exit), cause);
                }
            }
            (HookKind::AfterReady, State::Running { .. }) => {
                self.run_hook(HookKind::AfterReady, hook.index + 1);
            }
            (_, State::Stopping(_)) => self.hook_ended_while_ending(now, hook),
            (
                HookKind::BeforeStart | HookKind::AfterReady | HookKind::BeforeStop | HookKind::AfterExit,
                State::Stopped
                | State::Waiting
                | State::Starting(_)
                | State::Running { .. }
                | State::Backoff { .. }
                | State::Cooldown { .. }
                | State::Failed
                | State::Done,
            ) => {}
        }
    }

    fn spawn(&mut self) {
        if let State::Starting(starting) = &mut self.state {
            starting.step = Step::Spawning;
            self.limits_stale = false;
            self.actions.push_back(Action::Spawn { run: self.run });
        }
    }

    pub(super) fn spawned_while_starting(&mut self, now: Moment) {
        let next = if self.questions.has(ProbeRole::Startup) { Step::Startup } else { Step::Ready };
        self.begin_step(now, next);
        self.become_running_if_ready(now);
    }

    fn begin_step(&mut self, now: Moment, step: Step) {
        let State::Starting(starting) = &mut self.state else { return };
        starting.step = step;
        let told = match step {
            Step::Startup => self.questions.begin_role(now, ProbeRole::Startup, 0.0),
            Step::Ready => self.questions.begin_role(now, ProbeRole::Ready, 0.0),
            Step::Hooks | Step::Spawning => Vec::new(),
        };
        self.ask_questions(now);
        for (slot, change) in told {
            self.verdict_changed(now, slot, Some(change));
        }
    }

    pub(super) fn starting_answered(&mut self, now: Moment, role: ProbeRole) {
        let State::Starting(starting) = &self.state else { return };
        match (starting.step, role) {
            (Step::Startup, ProbeRole::Startup) => {
                self.questions.end_role(ProbeRole::Startup);
                self.begin_step(now, Step::Ready);
                self.become_running_if_ready(now);
            }
            (Step::Ready, ProbeRole::Ready) => self.become_running(now, "its ready probe passed"),
            (
                Step::Hooks | Step::Spawning | Step::Startup | Step::Ready,
                ProbeRole::Startup | ProbeRole::Ready | ProbeRole::Live | ProbeRole::Dependency,
            ) => {}
        }
    }

    /// A spec change may have taken away the probe that was waited for, or changed the time it has.
    pub(super) fn starting_progress(&mut self, now: Moment, timeout_changed: bool) {
        let since = self.since;
        let limit = self.spec.start_timeout;
        if let State::Starting(starting) = &mut self.state {
            if timeout_changed {
                starting.until = limit.map(|limit| since + limit);
            }
            let lacks_startup = starting.step == Step::Startup && !self.questions.has(ProbeRole::Startup);
            let lacks_ready = starting.step == Step::Ready && !self.questions.has(ProbeRole::Ready);
            if lacks_startup || lacks_ready {
                self.begin_step(now, Step::Ready);
                self.become_running_if_ready(now);
            }
        }
    }

    /// A start that was taken back may have all the answers that it waits for.
    pub(super) fn starting_goes_on(&mut self, now: Moment) {
        let State::Starting(starting) = &self.state else { return };
        if starting.step == Step::Startup && self.questions.verdict(ProbeRole::Startup) == Verdict::Pass {
            self.starting_answered(now, ProbeRole::Startup);
        } else {
            self.become_running_if_ready(now);
        }
    }

    fn become_running_if_ready(&mut self, now: Moment) {
        if let State::Starting(Starting { step: Step::Ready, .. }) = self.state {
            if !self.questions.has(ProbeRole::Ready) {
                let how = if self.questions.has(ProbeRole::Startup) {
                    "its startup probe passed"
                } else {
                    "its program runs"
                };
                self.become_running(now, how);
            } else if self.questions.verdict(ProbeRole::Ready) == Verdict::Pass {
                self.become_running(now, "its ready probe passed");
            }
        }
    }

    fn become_running(&mut self, now: Moment, how: &'static str) {
        let half_open_until = self.history.half_open.then(|| now + self.spec.restart.within);
        self.set_state(now, State::Running { half_open_until }, Cause::Ready(how));
        self.run_hook(HookKind::AfterReady, 0);
        self.begin_running_questions(now);
    }

    pub(super) fn begin_running_questions(&mut self, now: Moment) {
        let told = self.questions.begin_running(now, &mut self.chance);
        self.ask_questions(now);
        for (slot, change) in told {
            self.verdict_changed(now, slot, Some(change));
        }
    }

    pub(super) fn starting_timeout(&mut self, now: Moment) {
        let State::Starting(starting) = &self.state else { return };
        if starting.until.is_none_or(|until| until > now) {
            return;
        }
        let limit = self.spec.start_timeout.unwrap_or_default();
        self.end_for(now, Cause::StartTimeout(limit));
    }

    /// `EXTEND_TIMEOUT_USEC`: the deadline under way is put off until `by` from this moment, never nearer.
    pub(super) fn extend(&mut self, now: Moment, by: Duration) {
        let by = by.min(EXTENSION_MAX);
        match &mut self.state {
            State::Starting(starting) => starting.until = starting.until.map(|until| until.max(now + by)),
            State::Stopping(ending) => ending.extend(now, by),
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
    }
}
