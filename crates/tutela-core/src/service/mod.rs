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
mod hooks;
mod questions;
mod restart;
mod starting;
mod status;
#[cfg(test)]
mod tests;

pub use cause::{Cause, Exit, Survivor};
pub use hooks::{HookKind, HookOutcome};
pub use questions::{ProbeRole, ProbeSlot};
pub use restart::History;
pub use status::{Health, Next, StateName};

use crate::chance::Chance;
use crate::names::{RunId, ServiceName};
use crate::probe::{Outcome, Strictness};
use crate::spec::{ServiceSpec, StopStep};
use crate::time::Moment;
use ending::{After, Ending};
use questions::Questions;
use starting::Starting;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What the hands are to do for an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start the program. Answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// The run that begins.
        run: RunId,
    },
    /// Ask the main process to end. No answer is owed.
    Ask {
        /// Whom.
        run: RunId,
        /// How. Never [`StopStep::Kill`].
        step: StopStep,
    },
    /// Tell when nothing of the run's tree is left (`TreeEmpty`), or who is (`TreeLeft`, once).
    Sweep {
        /// Whose tree.
        run: RunId,
    },
    /// Ask what is left of the tree, all of it, to end.
    AskTree {
        /// Whose tree.
        run: RunId,
    },
    /// End the whole tree by force. Answer `TreeKilled` with those who were there, then `TreeEmpty`.
    EndTree {
        /// Whose tree.
        run: RunId,
    },
    /// Run a hook. Answer with `HookDone`, whatever happens.
    RunHook {
        /// The run it belongs to.
        run: RunId,
        /// Which.
        kind: HookKind,
        /// Which of that kind.
        index: usize,
        /// It is ended when it takes longer.
        timeout: Duration,
    },
    /// End the hook that runs. Its `HookDone` is still owed.
    CancelHook {
        /// The run it belongs to.
        run: RunId,
    },
    /// Ask a probe's question. Answer with `Answer` within its timeout.
    Probe {
        /// The run it belongs to.
        run: RunId,
        /// Which probe.
        slot: ProbeSlot,
        /// Which question.
        attempt: u64,
        /// How long the answer may take.
        timeout: Duration,
    },
    /// Hold every process of the tree still.
    Freeze {
        /// Whose tree.
        run: RunId,
    },
    /// Let them go on.
    Thaw {
        /// Whose tree.
        run: RunId,
    },
    /// Put the spec's limits on the living tree.
    ApplyLimits {
        /// Whose tree.
        run: RunId,
    },
    /// The run is over: forget its tree and close its output.
    Release {
        /// Which run.
        run: RunId,
    },
}

/// A fact to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The state changed.
    State {
        /// From.
        from: StateName,
        /// To.
        to: StateName,
        /// Why.
        cause: Cause,
    },
    /// The program started.
    Started {
        /// The run.
        run: RunId,
        /// Its process.
        pid: u32,
    },
    /// The program ended.
    Exited {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// How long it had run.
        ran: Duration,
        /// Whether somebody wanted it.
        wanted: bool,
    },
    /// Processes had to be ended by force.
    Resisted {
        /// Who.
        survivors: Vec<Survivor>,
    },
    /// A probe changed its mind.
    Probe {
        /// What the probe is for.
        role: ProbeRole,
        /// Its name: the role's word, or the dependency's name.
        name: String,
        /// Whether it passes.
        passes: bool,
        /// The failure's reason, or empty.
        reason: String,
    },
    /// A hook did not succeed.
    HookFailed {
        /// Which.
        kind: HookKind,
        /// What became of it.
        outcome: HookOutcome,
    },
    /// A crash loop was stopped.
    Cooldown {
        /// Restarts within the window.
        restarts: u32,
        /// When the half-open try is due.
        until: Moment,
    },
    /// The half-open try failed.
    HalfOpenFailed {
        /// When the next one is due.
        until: Moment,
    },
    /// The half-open try held for the whole window.
    Recovered,
    /// The tree was held still.
    Paused,
    /// It goes on.
    Resumed,
}

/// What the program can say over its notify socket, as far as it concerns the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `READY=1`.
    Ready,
    /// `STATUS=…`.
    Status(String),
    /// `STOPPING=1`.
    Stopping,
    /// `RELOADING=1`.
    Reloading,
    /// `WATCHDOG=1`.
    Watchdog,
    /// `WATCHDOG=trigger`.
    WatchdogTrigger,
    /// `EXTEND_TIMEOUT_USEC=…`.
    ExtendTimeout(Duration),
}

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Service {
    spec: Arc<ServiceSpec>,
    /// What the next start begins with.
    next_spec: Option<Arc<ServiceSpec>>,
    index: u16,
    wanted: Wanted,
    state: State,
    since: Moment,
    cause: Cause,
    run: RunId,
    pid: Option<u32>,
    started: Moment,
    /// Whether this run's program ever ran.
    ran: bool,
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
            state: State::Stopped,
            since: now,
            cause,
            run: RunId(0),
            pid: None,
            started: now,
            ran: false,
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
    pub fn restore(&mut self, history: History, last_exit: Option<(Exit, Moment)>) {
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
            State::Stopped | State::Failed | State::Done => match self.history.cooldown_left(now) {
                Some(until) if !fresh => {
                    self.set_state(now, State::Cooldown { until }, Cause::KeptCooldown);
                }
                _ => self.try_start(now, cause),
            },
            State::Backoff { .. } | State::Cooldown { .. } if fresh => self.try_start(now, cause),
            State::Stopping(ending) => ending.want(After::Restart(cause)),
            State::Waiting
            | State::Starting(_)
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. } => {}
        }
    }

    /// Wants it down.
    pub fn handle_stop(&mut self, now: Moment, cause: Cause) {
        self.wanted = Wanted::Down;
        self.history.forgive();
        match &mut self.state {
            State::Stopped => {}
            State::Waiting | State::Backoff { .. } | State::Cooldown { .. } | State::Failed | State::Done => {
                self.set_state(now, State::Stopped, cause);
            }
            State::Stopping(ending) => {
                ending.want(After::Stop);
                self.cause = cause;
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
        if matches!(self.state, State::Stopping(_)) {
            self.kill_tree(now);
        }
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
            self.questions.begin_running(now, &mut self.chance);
            self.ask_questions(now);
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
        self.spec = spec;
        let running = matches!(self.state, State::Running { .. }) && !self.paused;
        self.questions.handle_spec(now, &mut self.chance, &self.spec, running);
        if limits_changed && self.pid.is_some() {
            self.actions.push_back(Action::ApplyLimits { run: self.run });
        }
        if let State::Starting(_) = self.state {
            self.starting_progress(now);
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
        if run != self.run {
            return;
        }
        self.pid = Some(pid);
        self.started = now;
        self.ran = true;
        self.events.push_back(Event::Started { run, pid });
        match &mut self.state {
            State::Starting(_) => self.spawned_while_starting(now),
            State::Stopping(_) => self.spawned_while_ending(now),
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
    }

    /// The program could not be started.
    pub fn handle_spawn_failed(&mut self, now: Moment, run: RunId, reason: String) {
        if run != self.run {
            return;
        }
        let exit = Exit::NotStarted(reason);
        self.last_exit = Some((exit.clone(), now));
        match &mut self.state {
            State::Starting(_) => {
                let cause = Cause::Ended(exit.clone());
                self.begin_ending(now, After::Policy(exit), cause);
                self.nothing_left(now);
            }
            State::Stopping(_) => self.nothing_left(now),
            State::Stopped
            | State::Waiting
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
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

    /// The tree was ended by force; these were in it.
    pub fn handle_tree_killed(&mut self, run: RunId, survivors: Vec<Survivor>) {
        if run == self.run && !survivors.is_empty() && matches!(self.state, State::Stopping(_)) {
            self.survivors = survivors.clone();
            self.events.push_back(Event::Resisted { survivors });
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
        let strictness = self.strictness(slot);
        let change = self.questions.handle_answer(now, slot, attempt, outcome, took, strictness);
        self.verdict_changed(now, slot, change);
    }

    /// A line of output matched the pattern of a probe.
    pub fn handle_log_match(&mut self, now: Moment, run: RunId, slot: ProbeSlot) {
        if run == self.run {
            let change = self.questions.handle_told(now, slot);
            self.verdict_changed(now, slot, change);
        }
    }

    /// The program said something over its notify socket.
    pub fn handle_notice(&mut self, now: Moment, run: RunId, notice: Notice) {
        if run != self.run || self.pid.is_none() {
            return;
        }
        match notice {
            Notice::Ready => {
                for slot in self.questions.notify_slots([ProbeRole::Startup, ProbeRole::Ready]) {
                    let change = self.questions.handle_told(now, slot);
                    self.verdict_changed(now, slot, change);
                }
            }
            Notice::Watchdog => {
                for slot in self.questions.notify_slots([ProbeRole::Live, ProbeRole::Live]) {
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
            State::Cooldown { until } if *until <= now => {
                self.history.begin_half_open();
                self.try_start(now, Cause::HalfOpen);
            }
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
            let strictness = self.strictness(slot);
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

    fn strictness(&self, slot: ProbeSlot) -> Strictness {
        match (&self.state, self.questions.role(slot)) {
            (State::Starting(_), Some(ProbeRole::Startup | ProbeRole::Ready)) => Strictness::Starting,
            // A program that never answered its live probe has not come up yet; one that once did has gone.
            (State::Running { .. }, Some(ProbeRole::Live)) if !self.questions.ever_passed(slot) => Strictness::Starting,
            _ => Strictness::Strict,
        }
    }

    fn ask_questions(&mut self, now: Moment) {
        while let Some((slot, ask)) = self.questions.poll_ask(now) {
            let run = self.run;
            self.actions.push_back(Action::Probe { run, slot, attempt: ask.attempt, timeout: ask.timeout });
        }
    }
}
