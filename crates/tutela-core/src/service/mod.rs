//! The machine that keeps one instance of a service alive.
//!
//! ```text
//!                 start            needs ready        hooks, spawn, probes pass
//!   [stopped] ----------> [waiting] ----------> [starting] ----------------> [running]
//!       ^                                            |                           |
//!       |                                            | ended, failed, too late   | ended, unhealthy,
//!       |                                            v                           v stop, restart
//!       +-------------- wanted down ------------ [stopping]  <-------------------+
//!                                                    |
//!        ended and empty: what does the policy say?  |
//!       +-----------------+----------------+---------+--------+
//!       v                 v                v                  v
//!    [done]           [failed]         [backoff]         [cooldown]
//!                                          |  wait over      |  wait over: half-open try
//!                                          +--> [waiting] <--+
//! ```
//!
//! - `stopping` holds as long as anything of the tree may live: after the main process ended too. So no
//!   start can meet a living tree, whatever the order in which news arrive.
//! - News of an earlier run are known by their [`RunId`] and ignored.
//! - Every wait has a deadline, and [`Service::next`] tells it.
//!
//! Its one caller is [`crate::guard`]. Deliberately absent: order among services, processes, time.

mod cause;
mod ending;
mod estate;
mod exchange;
mod hooks;
mod questions;
mod restart;
mod starting;
mod status;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

pub use cause::{Cause, Exit, Survivor};
pub use estate::{Afterwards, Estate, KeptVerdict, Phase, RUN_MAX, StartStep, Then};
pub use exchange::{Action, Event, Notice};
pub use hooks::{HookKind, HookOutcome};
pub use questions::{ProbeRole, ProbeSlot};
pub use restart::History;
pub use status::{Health, Next, StateName};
pub use tally::{RestartCause, RestartTally};

use crate::chance::Chance;
use crate::names::{RunId, ServiceName};
use crate::probe::{Outcome, Strictness};
use crate::spec::{ProbeKind, ServiceSpec, StopStep};
use crate::time::Moment;
use ending::{After, Ending};
use questions::Questions;
use starting::Starting;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Service {
    spec: Arc<ServiceSpec>,
    /// What the next start begins with.
    next_spec: Option<Arc<ServiceSpec>>,
    index: u16,
    wanted: Wanted,
    /// Under an earlier guard somebody asked for it to be down. Means something as long as the cause is that guard's.
    asked_down: bool,
    state: State,
    since: Moment,
    cause: Cause,
    run: RunId,
    pid: Option<u32>,
    started: Moment,
    /// Whether this run's program ever ran.
    ran: bool,
    /// Whether the limits changed while the hands were starting the program with the former ones.
    limits_stale: bool,
    paused: bool,
    needs_ready: bool,
    waits_for: Vec<ServiceName>,
    history: History,
    questions: Questions,
    hook: Option<hooks::Running>,
    last_exit: Option<(Exit, Moment)>,
    status_text: String,
    survivors: Vec<Survivor>,
    chance: Chance,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Up,
    Down,
}

#[derive(Debug)]
enum State {
    Stopped,
    Waiting,
    Starting(Starting),
    Running { half_open_until: Option<Moment> },
    Stopping(Ending),
    Backoff { until: Moment },
    Cooldown { until: Moment },
    Failed,
    Done,
}

impl Service {
    /// Instance `index` of a service, stopped. `cause` says why it is not started; `chance` spreads its waits.
    pub fn new(now: Moment, spec: Arc<ServiceSpec>, index: u16, cause: Cause, chance: Chance) -> Self {
        Service {
            questions: Questions::new(&spec),
            spec,
            next_spec: None,
            index,
            wanted: Wanted::Down,
            asked_down: false,
            state: State::Stopped,
            since: now,
            cause,
            run: RunId(0),
            pid: None,
            started: now,
            ran: false,
            limits_stale: false,
            paused: false,
            needs_ready: true,
            waits_for: Vec::new(),
            history: History::default(),
            hook: None,
            last_exit: None,
            status_text: String::new(),
            survivors: Vec::new(),
            chance,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes back what an earlier guard knew. To be called before anything else.
    pub fn restore(&mut self, run: RunId, history: History, last_exit: Option<(Exit, Moment)>) {
        self.run = run;
        self.history = history;
        self.last_exit = last_exit;
    }

    // ---- inputs: what is wanted ----

    /// Wants it up. A start that somebody asked for by hand (`fresh`) forgets backoff and cool-down; one
    /// after the guard's own restart goes on where the last guard was.
    pub fn handle_start(&mut self, now: Moment, cause: Cause, fresh: bool) {
        self.wanted = Wanted::Up;
        if fresh {
            self.history.forgive();
        }
        match &mut self.state {
            State::Stopped | State::Failed | State::Done => match self.history.cooldown_until {
                Some(until) if until > now => self.set_state(now, State::Cooldown { until }, Cause::KeptCooldown),
                // It ran out while no guard was there; what it is followed by is a single try all the same.
                Some(_) => self.try_half_open(now),
                None => self.try_start(now, cause),
            },
            State::Backoff { .. } | State::Cooldown { .. } if fresh => self.try_start(now, cause),
            State::Stopping(ending) => ending.want(After::Restart(cause)),
            // It was left alone with the former spec because it was to stop.
            State::Starting(_) | State::Running { .. } if self.next_spec.is_some() => {
                self.begin_ending(now, After::Restart(cause.clone()), cause);
            }
            State::Waiting
            | State::Starting(_)
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. } => {}
        }
    }

    /// Wants it down. What speaks against it is forgotten, unless it stops because the guard ends: the next
    /// guard goes on with it.
    pub fn handle_stop(&mut self, now: Moment, cause: Cause) {
        self.wanted = Wanted::Down;
        if cause != Cause::GuardEnding {
            self.history.forgive();
        }
        match &mut self.state {
            // It is down already; from here on it is so for this reason.
            State::Stopped => self.cause = cause,
            State::Waiting | State::Backoff { .. } | State::Cooldown { .. } | State::Failed | State::Done => {
                self.set_state(now, State::Stopped, cause);
            }
            State::Stopping(ending) => {
                ending.want(After::Stop);
                self.cause = ending.because(cause, &self.cause);
            }
            State::Starting(_) | State::Running { .. } => self.begin_ending(now, After::Stop, cause),
        }
    }

    /// Wants it down, but not yet: others need it while they end. It is not started again.
    pub fn handle_stop_later(&mut self) {
        self.wanted = Wanted::Down;
    }

    /// Wants it ended and started again.
    pub fn handle_restart(&mut self, now: Moment, cause: Cause) {
        match &mut self.state {
            State::Starting(_) | State::Running { .. } => {
                self.wanted = Wanted::Up;
                self.history.forgive();
                self.begin_ending(now, After::Restart(cause.clone()), cause);
            }
            State::Stopped
            | State::Waiting
            | State::Stopping(_)
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => self.handle_start(now, cause, true),
        }
    }

    /// A stop that is under way is to take the shortest way.
    pub fn handle_hurry(&mut self, now: Moment) {
        self.hurry(now);
    }

    /// Holds the running program still.
    pub fn handle_pause(&mut self, cause: Cause) {
        if matches!(self.state, State::Running { .. }) && !self.paused {
            self.paused = true;
            self.cause = cause;
            self.questions.end_all();
            self.actions.push_back(Action::Freeze { run: self.run });
            self.events.push_back(Event::Paused);
        }
    }

    /// Lets a paused program go on.
    pub fn handle_resume(&mut self, now: Moment, cause: Cause) {
        if self.paused {
            self.thaw();
            self.cause = cause;
            self.begin_running_questions(now);
        }
    }

    /// What it needs became ready, or not; `waits_for` names what is not.
    pub fn handle_needs(&mut self, now: Moment, waits_for: Vec<ServiceName>) {
        self.needs_ready = waits_for.is_empty();
        self.waits_for = waits_for;
        if let State::Waiting = self.state {
            if self.needs_ready {
                let cause = self.cause.clone().resumed();
                self.begin_starting(now, cause);
            } else {
                self.cause =
                    Cause::Needs { names: self.waits_for.clone(), then: Box::new(self.cause.clone().resumed()) };
            }
        }
    }

    /// Takes another spec of which nothing needs a new start. What is running takes it over at once.
    pub fn handle_spec(&mut self, now: Moment, spec: Arc<ServiceSpec>) {
        if self.next_spec.is_some() {
            self.next_spec = Some(spec);
            return;
        }
        let limits_changed = spec.limits != self.spec.limits;
        let start_timeout_changed = spec.start_timeout != self.spec.start_timeout;
        self.spec = spec;
        let running = matches!(self.state, State::Running { .. }) && !self.paused;
        self.questions.handle_spec(now, &mut self.chance, &self.spec, running);
        if limits_changed && self.pid.is_some() {
            self.actions.push_back(Action::ApplyLimits { run: self.run });
        } else if limits_changed {
            self.limits_stale = true;
        }
        if let State::Starting(_) = self.state {
            self.starting_progress(now, start_timeout_changed);
        }
        self.ask_questions(now);
    }

    /// Takes a spec that needs a new start. It is in force from the next start on, at rest from now on; the
    /// caller asks for that start.
    pub fn handle_replacement(&mut self, spec: Arc<ServiceSpec>) {
        self.next_spec = Some(spec);
        if self.is_at_rest() {
            self.take_next_spec();
        }
    }

    // ---- inputs: what happened ----

    /// The program was started.
    pub fn handle_spawned(&mut self, now: Moment, run: RunId, pid: u32) {
        if run != self.run || !self.awaits_spawn() {
            return;
        }
        self.pid = Some(pid);
        self.started = now;
        self.ran = true;
        self.events.push_back(Event::Started { run, pid });
        if std::mem::take(&mut self.limits_stale) {
            self.actions.push_back(Action::ApplyLimits { run });
        }
        if let State::Starting(_) = self.state {
            self.spawned_while_starting(now);
        } else {
            self.spawned_while_ending(now);
        }
    }

    /// The program could not be started.
    pub fn handle_spawn_failed(&mut self, now: Moment, run: RunId, reason: String) {
        if run != self.run || !self.awaits_spawn() {
            return;
        }
        self.events.push_back(Event::StartFailed { run, reason: reason.clone() });
        let exit = Exit::NotStarted(reason);
        self.last_exit = Some((exit.clone(), now));
        if let State::Starting(_) = self.state {
            let cause = Cause::Ended(exit.clone());
            self.begin_ending(now, After::Policy(exit), cause);
        }
        self.nothing_left(now);
    }

    /// The main process ended.
    pub fn handle_exited(&mut self, now: Moment, run: RunId, exit: Exit) {
        if run != self.run || self.pid.is_none() {
            return;
        }
        self.pid = None;
        self.last_exit = Some((exit.clone(), now));
        let wanted = matches!(&self.state, State::Stopping(ending) if ending.is_wanted());
        let ran = now.since(self.started);
        self.events.push_back(Event::Exited { run, exit: exit.clone(), ran, wanted });
        match &mut self.state {
            State::Starting(_) | State::Running { .. } => {
                let cause = Cause::Ended(exit.clone());
                self.begin_sweep(now, After::Policy(exit), cause);
            }
            State::Stopping(_) => self.exited_while_ending(now),
            State::Stopped
            | State::Waiting
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
    }

    /// Nothing of the run's tree is left.
    pub fn handle_tree_empty(&mut self, now: Moment, run: RunId) {
        // A tree cannot be empty while its main process has not been reaped; such news is of a slower clock.
        if run == self.run && self.pid.is_none() && matches!(self.state, State::Stopping(_)) {
            self.nothing_left(now);
        }
    }

    /// The main process ended and left these behind.
    pub fn handle_tree_left(&mut self, now: Moment, run: RunId, left: Vec<Survivor>) {
        if run == self.run {
            self.left_behind(now, left);
        }
    }

    /// A request to end reached nobody: rung `rung` of the ladder, which was `step`.
    pub fn handle_undelivered(&mut self, now: Moment, run: RunId, rung: usize, step: StopStep, reason: String) {
        if run == self.run {
            self.undelivered(now, rung, step, reason);
        }
    }

    /// The tree was ended by force; these were in it.
    pub fn handle_tree_killed(&mut self, run: RunId, survivors: Vec<Survivor>) {
        if run != self.run || survivors.is_empty() {
            return;
        }
        if let State::Stopping(ending) = &mut self.state {
            if ending.resisted(&survivors) {
                self.events.push_back(Event::Resisted { survivors: survivors.clone() });
            }
            self.survivors = survivors;
        }
    }

    /// A hook ended.
    pub fn handle_hook_done(&mut self, now: Moment, run: RunId, outcome: HookOutcome) {
        let Some(hook) = self.hook.take_if(|hook| hook.run == run) else { return };
        if !outcome.is_success() {
            self.events.push_back(Event::HookFailed { kind: hook.kind, outcome: outcome.clone() });
        }
        self.hook_ended(now, hook, outcome);
    }

    /// A probe's answer.
    pub fn handle_answer(
        &mut self,
        now: Moment,
        run: RunId,
        slot: ProbeSlot,
        attempt: u64,
        outcome: Outcome,
        took: Duration,
    ) {
        if run != self.run {
            return;
        }
        let strictness = self.strictness(now, slot);
        let change = self.questions.handle_answer(now, slot, attempt, outcome, took, strictness);
        self.verdict_changed(now, slot, change);
    }

    /// A line of output matched the pattern of a probe.
    pub fn handle_log_match(&mut self, now: Moment, run: RunId, slot: ProbeSlot) {
        // A reload may have put another question in the place of the pattern that matched.
        if run == self.run && self.questions.kind(slot) == Some(ProbeKind::Log) {
            let change = self.questions.handle_told(now, slot);
            self.verdict_changed(now, slot, change);
        }
    }

    /// The program said something over its notify socket. A quick program is heard before the hands have told
    /// that it was started.
    pub fn handle_notice(&mut self, now: Moment, run: RunId, notice: Notice) {
        if run != self.run || (self.pid.is_none() && !self.awaits_spawn()) {
            return;
        }
        match notice {
            Notice::Ready => {
                for slot in self.questions.notify_slots(&[ProbeRole::Startup, ProbeRole::Ready]) {
                    let change = self.questions.handle_told(now, slot);
                    self.verdict_changed(now, slot, change);
                }
            }
            Notice::Watchdog => {
                for slot in self.questions.notify_slots(&[ProbeRole::Live]) {
                    let change = self.questions.handle_told(now, slot);
                    self.verdict_changed(now, slot, change);
                }
            }
            Notice::WatchdogTrigger => self.unhealthy(now, "the program itself triggered its watchdog".into()),
            Notice::Status(text) => self.status_text = text,
            Notice::Stopping => self.status_text = "stopping by itself".into(),
            Notice::Reloading => self.status_text = "reloading".into(),
            Notice::ExtendTimeout(by) => self.extend(now, by),
        }
    }

    /// The computer slept for `slept`. Waits that are about a program getting processor time are moved.
    pub fn handle_suspended(&mut self, slept: Duration) {
        self.questions.handle_suspended(slept);
        match &mut self.state {
            State::Starting(starting) => starting.handle_suspended(slept),
            State::Stopping(ending) => ending.handle_suspended(slept),
            State::Running { half_open_until: Some(until) } => *until = *until + slept,
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
    }

    /// Acts on every deadline that has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.state {
            State::Backoff { until } if *until <= now => self.try_start(now, Cause::BackoffOver),
            State::Cooldown { until } if *until <= now => self.try_half_open(now),
            State::Running { half_open_until } if half_open_until.is_some_and(|until| until <= now) => {
                *half_open_until = None;
                self.history.forgive();
                self.events.push_back(Event::Recovered);
            }
            State::Starting(_) => self.starting_timeout(now),
            State::Stopping(_) => self.ending_timeout(now),
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
        for slot in self.questions.slots() {
            let strictness = self.strictness(now, slot);
            let change = self.questions.handle_timeout(now, slot, strictness);
            self.verdict_changed(now, slot, change);
        }
        self.ask_questions(now);
    }

    // ---- outputs ----

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next fact to publish.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next moment at which [`Service::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let own = match &self.state {
            State::Backoff { until } | State::Cooldown { until } => Some(*until),
            State::Running { half_open_until } => *half_open_until,
            State::Starting(starting) => starting.poll_timeout(),
            State::Stopping(ending) => ending.poll_timeout(),
            State::Stopped | State::Waiting | State::Failed | State::Done => None,
        };
        own.into_iter().chain(self.questions.poll_timeout()).min()
    }

    // ---- shared by the parts ----

    /// Whether the hands owe the answer to a start.
    fn awaits_spawn(&self) -> bool {
        match &self.state {
            State::Starting(starting) => starting.is_spawning(),
            State::Stopping(ending) => ending.awaits_spawn(),
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => false,
        }
    }

    fn take_next_spec(&mut self) {
        if let Some(spec) = self.next_spec.take() {
            self.questions = Questions::new(&spec);
            self.spec = spec;
        }
    }

    fn set_state(&mut self, now: Moment, state: State, cause: Cause) {
        let from = self.state_name();
        self.state = state;
        let to = self.state_name();
        self.cause = cause;
        if from != to {
            self.since = now;
            self.events.push_back(Event::State { from, to, cause: self.cause.clone() });
        }
    }

    fn thaw(&mut self) {
        if self.paused {
            self.paused = false;
            self.actions.push_back(Action::Thaw { run: self.run });
            self.events.push_back(Event::Resumed);
        }
    }

    fn strictness(&self, now: Moment, slot: ProbeSlot) -> Strictness {
        match (&self.state, self.questions.role(slot)) {
            (State::Starting(_), Some(ProbeRole::Startup | ProbeRole::Ready)) => Strictness::Starting,
            (State::Running { .. }, Some(ProbeRole::Live)) if self.may_still_come_up(now, slot) => Strictness::Starting,
            _ => Strictness::Strict,
        }
    }

    /// Whether a live probe speaks of a program that nothing else was asked about while it started, that has
    /// not answered yet, and that has time left to.
    fn may_still_come_up(&self, now: Moment, slot: ProbeSlot) -> bool {
        let asked_before = self.questions.has(ProbeRole::Startup) || self.questions.has(ProbeRole::Ready);
        let in_time = self.spec.start_timeout.is_none_or(|limit| now < self.started + limit);
        !asked_before && in_time && !self.questions.has_passed(slot)
    }

    fn ask_questions(&mut self, now: Moment) {
        while let Some((slot, ask)) = self.questions.poll_ask(now) {
            let run = self.run;
            self.actions.push_back(Action::Probe { run, slot, attempt: ask.attempt, timeout: ask.timeout });
        }
    }
}
