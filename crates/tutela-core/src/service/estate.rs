//! What one guard leaves behind of an instance, so that the next one goes on with the program that lives on.
//!
//! [`Service::estate`] tells all of it in plain values; [`Service::take_back`] makes a machine of them that goes
//! on where the former one was: same run, same process, same state, same deadlines. Called by [`crate::guard`].
//!
//! An estate comes from outside and may be nonsense: every moment in it is bounded by the spec, a run without a
//! process is looked after, a process without a run is ended. Deliberately absent: how an estate is written, and
//! whether its process still lives. One that ended meanwhile is told by `Exited`, as always.

use super::ending::{After, Ending};
use super::starting::{EXTENSION_MAX, Starting};
use super::{Action, Cause, Event, Exit, History, ProbeRole, Service, State, Wanted};
use crate::names::RunId;
use crate::probe::Verdict;
use crate::spec::{RestartPolicy, ServiceSpec, StopStep};
use crate::time::Moment;

/// No estate brings a higher run: a computer that starts a program a thousand times a second gets there in 8,900
/// years, and from there runs can still grow.
pub const RUN_MAX: RunId = RunId(1 << 48);

/// Everything of an instance that the next guard needs to go on with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Estate {
    /// The run under way, or the last one.
    pub run: RunId,
    /// Whether it is wanted up. A living one that is not waits for its turn to stop.
    pub wanted_up: bool,
    /// Somebody asked for it to be down: a computer that boots is no reason to start it.
    pub asked_down: bool,
    /// The state.
    pub phase: Phase,
    /// Since when the state holds.
    pub since: Moment,
    /// Why, in the words that were shown.
    pub cause: String,
    /// The main process, where it was not known to have ended.
    pub pid: Option<u32>,
    /// When the program of this run started.
    pub started: Moment,
    /// Whether this run's program ever ran.
    pub ran: bool,
    /// Whether it is held still.
    pub paused: bool,
    /// What is remembered of its ends.
    pub history: History,
    /// The last end, and when it was.
    pub last_exit: Option<(Exit, Moment)>,
    /// What the program last said of itself.
    pub status_text: String,
    /// What its probes amount to.
    pub verdicts: Vec<KeptVerdict>,
    /// What its guard had in mind with it.
    pub then: Then,
    /// Why it is to stop or to start again, where it still waits for that; else empty.
    pub then_because: String,
}

/// The state of an instance, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Down, as wanted.
    Stopped,
    /// What it needs is not ready.
    Waiting,
    /// Being started.
    Starting {
        /// When the start has taken too long.
        until: Option<Moment>,
        /// How far it is.
        step: StartStep,
    },
    /// Its program runs.
    Running {
        /// When the single try after a cool-down has held.
        half_open_until: Option<Moment>,
    },
    /// Something of it may live and is to end.
    Stopping {
        /// What comes once nothing is left.
        after: Afterwards,
        /// Which rung of the ladder it is on, and how long that one may work. At or behind the last rung: it is
        /// ended by force. None: nothing was asked of the main process, or it is gone.
        rung: Option<(usize, Moment)>,
    },
    /// Waits before the next start.
    Backoff {
        /// When that is due.
        until: Moment,
    },
    /// Waits after a crash loop.
    Cooldown {
        /// When the half-open try is due.
        until: Moment,
    },
    /// Ended badly, and the policy says never again.
    Failed,
    /// Ended well, and that was all.
    Done,
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartStep {
    /// Hooks before the start.
    Hooks,
    /// The program is being started.
    Spawning,
    /// Its startup probe has not passed.
    Startup,
    /// Its ready probe has not passed.
    Ready,
}

/// What comes once nothing of a tree is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Stop,
    /// It starts again, whatever the policy says.
    Restart,
    /// The policy judges this end.
    Judge(Exit),
}

/// What a guard had in mind with an instance, beyond the instance's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Then {
    /// It goes on as it is.
    #[default]
    Keep,
    /// It is down, or being stopped, only because its guard ended or had not got to it: the next guard starts it if
    /// it starts such a one.
    Begin,
    /// It is stopped together with others, and starts with them once all are.
    Restart,
    /// It is to go for good.
    Remove,
}

/// What one probe amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVerdict {
    /// What the probe is for.
    pub role: ProbeRole,
    /// Its name: the role's word, or the dependency's name.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Since when.
    pub since: Moment,
    /// The last failure's reason, or empty.
    pub reason: String,
    /// Its yes was told before anybody listened.
    pub told_early: bool,
}

impl Service {
    /// What the next guard needs to go on with it.
    pub fn estate(&self) -> Estate {
        Estate {
            run: self.run,
            wanted_up: self.wanted == Wanted::Up,
            asked_down: self.is_asked_down(),
            phase: self.phase(),
            since: self.since,
            cause: self.lasting_cause().to_string(),
            pid: self.pid,
            started: self.started,
            ran: self.ran,
            paused: self.paused,
            history: self.history.clone(),
            last_exit: self.last_exit.clone(),
            status_text: self.status_text.clone(),
            verdicts: self.questions.kept(),
            then: Then::Keep,
            then_because: String::new(),
        }
    }

    /// The cause without what the next guard finds out itself: whom it waits for, that it cannot be ended.
    pub(super) fn lasting_cause(&self) -> Cause {
        match &self.state {
            State::Stopping(ending) => ending.lasting_cause(&self.cause).clone(),
            State::Stopped
            | State::Waiting
            | State::Starting(_)
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => self.cause.clone().resumed(),
        }
    }

    fn phase(&self) -> Phase {
        match &self.state {
            State::Stopped => Phase::Stopped,
            State::Waiting => Phase::Waiting,
            State::Starting(starting) => Phase::Starting { until: starting.until, step: starting.kept_step() },
            State::Running { half_open_until } => Phase::Running { half_open_until: *half_open_until },
            State::Stopping(ending) => {
                Phase::Stopping { after: ending.afterwards(), rung: ending.kept_rung(self.spec.stop.len()) }
            }
            State::Backoff { until } => Phase::Backoff { until: *until },
            State::Cooldown { until } => Phase::Cooldown { until: *until },
            State::Failed => Phase::Failed,
            State::Done => Phase::Done,
        }
    }

    /// Goes on where an earlier guard was. To be called before anything else, and to be followed by
    /// [`Service::handle_needs`]: until then it takes its needs for not ready.
    pub fn take_back(&mut self, now: Moment, estate: Estate) {
        self.run = estate.run.min(RUN_MAX);
        self.wanted = if estate.wanted_up { Wanted::Up } else { Wanted::Down };
        self.asked_down = estate.asked_down;
        self.since = estate.since.min(now);
        self.cause = Cause::Kept(estate.cause);
        self.pid = estate.pid;
        self.started = estate.started.min(now);
        self.ran = estate.ran || estate.pid.is_some();
        self.history = bounded(now, estate.history, &estate.phase, &self.spec.restart);
        self.last_exit = estate.last_exit.map(|(exit, at)| (exit, at.min(now)));
        self.status_text = estate.status_text;
        self.needs_ready = false;
        let verdicts = &estate.verdicts;
        match estate.phase {
            Phase::Starting { until, step } if self.pid.is_some() => {
                self.take_back_starting(now, until, step, verdicts);
            }
            Phase::Starting { .. } if self.wanted == Wanted::Up => {
                // Its start is begun anew, once what it needs is known to be ready.
                self.state = State::Waiting;
                self.taken_back();
            }
            // It was to stop: what was being started, if anything, goes.
            Phase::Starting { .. } => self.take_back_stopping(now, Afterwards::Stop, None, verdicts),
            Phase::Running { half_open_until } => {
                let paused = estate.paused && self.pid.is_some();
                self.take_back_running(now, half_open_until, paused, verdicts);
            }
            Phase::Stopping { after, rung } => self.take_back_stopping(now, after, rung, verdicts),
            at_rest @ (Phase::Stopped
            | Phase::Waiting
            | Phase::Backoff { .. }
            | Phase::Cooldown { .. }
            | Phase::Failed
            | Phase::Done) => {
                if self.pid.is_some() {
                    self.take_back_stray(now, &at_rest);
                } else {
                    self.take_back_at_rest(now, &at_rest, verdicts);
                }
            }
        }
    }

    fn taken_back(&mut self) {
        let event = Event::TakenBack { run: self.run, pid: self.pid, state: self.state_name() };
        self.events.push_back(event);
    }

    fn take_back_starting(&mut self, now: Moment, until: Option<Moment>, step: StartStep, verdicts: &[KeptVerdict]) {
        let startup = match step {
            StartStep::Hooks | StartStep::Spawning | StartStep::Startup => self.questions.has(ProbeRole::Startup),
            StartStep::Ready => false,
        };
        let until = match (self.spec.start_timeout, until) {
            (None, _) => None,
            (Some(limit), Some(until)) => Some(until.min(now + limit.max(EXTENSION_MAX))),
            (Some(limit), None) => Some(self.since + limit),
        };
        self.state = State::Starting(Starting::taken_back(until, startup));
        let asked = if startup { ProbeRole::Startup } else { ProbeRole::Ready };
        self.questions.take_back(now, verdicts, |role| role == asked, || 0.0);
        self.taken_back();
        self.starting_goes_on(now);
    }

    fn take_back_running(
        &mut self,
        now: Moment,
        half_open_until: Option<Moment>,
        paused: bool,
        verdicts: &[KeptVerdict],
    ) {
        let latest = now + self.spec.restart.within;
        let half_open_until = match half_open_until {
            Some(until) => Some(until.min(latest)),
            None => self.history.half_open.then_some(latest),
        };
        self.paused = paused;
        self.state = State::Running { half_open_until };
        let chance = &mut self.chance;
        let asked = |role| role != ProbeRole::Startup && !paused;
        self.questions.take_back(now, verdicts, asked, || chance.fraction());
        self.taken_back();
        if self.pid.is_some() {
            // Its guard can have died between a pause, or its end, and the note of it.
            let run = self.run;
            self.actions.push_back(if paused { Action::Freeze { run } } else { Action::Thaw { run } });
        }
        if self.pid.is_none() {
            self.last_exit = Some((Exit::Unknown, now));
            self.begin_sweep(now, After::Policy(Exit::Unknown), Cause::Ended(Exit::Unknown));
        }
    }

    fn take_back_stopping(
        &mut self,
        now: Moment,
        after: Afterwards,
        rung: Option<(usize, Moment)>,
        verdicts: &[KeptVerdict],
    ) {
        let after = match after {
            Afterwards::Stop => {
                self.wanted = Wanted::Down;
                After::Stop
            }
            Afterwards::Restart => After::Restart(self.cause.clone()),
            Afterwards::Judge(exit) => After::Policy(exit),
        };
        self.questions.take_back(now, verdicts, |_| false, || 0.0);
        self.state = State::Stopping(Ending::looking(now, after));
        self.taken_back();
        let step = rung.map(|(rung, until)| (rung, until, asks(&self.spec, rung)));
        match step {
            Some((rung, until, Some(wait))) if self.pid.is_some() => {
                let until = until.min(now + wait.max(EXTENSION_MAX));
                if let State::Stopping(ending) = &mut self.state {
                    ending.stands_on(rung, until);
                }
            }
            Some((_, _, None)) => self.end_by_force(now),
            None if self.pid.is_some() => self.climb(now, 0),
            Some(_) | None => self.actions.push_back(Action::Sweep { run: self.run }),
        }
    }

    /// A process where there should be none.
    fn take_back_stray(&mut self, now: Moment, phase: &Phase) {
        let comes_again = matches!(phase, Phase::Waiting | Phase::Backoff { .. } | Phase::Cooldown { .. });
        self.state = State::Running { half_open_until: None };
        self.taken_back();
        if comes_again && self.wanted == Wanted::Up {
            let cause = self.cause.clone();
            self.begin_ending(now, After::Policy(Exit::Unknown), cause);
        } else {
            self.wanted = Wanted::Down;
        }
    }

    fn take_back_at_rest(&mut self, now: Moment, phase: &Phase, verdicts: &[KeptVerdict]) {
        let policy = &self.spec.restart;
        self.state = match phase {
            _ if self.wanted == Wanted::Down => State::Stopped,
            Phase::Waiting => State::Waiting,
            Phase::Backoff { until } => State::Backoff { until: (*until).min(now + policy.max_delay) },
            Phase::Cooldown { until } => State::Cooldown { until: (*until).min(now + policy.cooldown) },
            Phase::Failed => State::Failed,
            Phase::Done => State::Done,
            Phase::Stopped | Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => State::Stopped,
        };
        if let State::Stopped = self.state {
            self.wanted = Wanted::Down;
        }
        self.questions.take_back(now, verdicts, |_| false, || 0.0);
        self.taken_back();
    }

    /// Whether it lives, is not to stay, and nobody has asked it to stop for good yet.
    pub(crate) fn awaits_stop(&self) -> bool {
        let stops = matches!(&self.state, State::Stopping(ending) if ending.is_for_good());
        self.wanted == Wanted::Down && !self.is_at_rest() && !stops
    }
}

/// How long this rung of the ladder may work; `None` where the tree is ended by force.
fn asks(spec: &ServiceSpec, rung: usize) -> Option<std::time::Duration> {
    spec.stop.get(rung).filter(|step| step.step != StopStep::Kill).map(|step| step.wait)
}

/// A history in which nothing lies further in the future, or is more, than this policy could have made of it.
fn bounded(now: Moment, mut history: History, phase: &Phase, policy: &RestartPolicy) -> History {
    let latest = now + policy.cooldown;
    history.cooldown_until = match phase {
        Phase::Cooldown { until } => Some((*until).min(latest)),
        // The end of a guard forgets no cool-down; the next start goes on with it.
        Phase::Stopped => history.cooldown_until.map(|until| until.min(latest)),
        Phase::Waiting
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed
        | Phase::Done => None,
    };
    let kept = usize::try_from(policy.burst).unwrap_or(usize::MAX);
    let surplus = history.recent.len().saturating_sub(kept);
    history.recent.drain(..surplus);
    history.recent.iter_mut().for_each(|at| *at = (*at).min(now));
    history
}
