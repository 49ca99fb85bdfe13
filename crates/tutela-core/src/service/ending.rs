//! From living to nothing left: hooks, the ladder, the sweep of what the main process left behind.

use super::hooks::Running;
use super::{Action, Afterwards, Cause, Event, Exit, HookKind, RestartCause, Service, State, Survivor, Wanted};
use crate::spec::StopStep;
use crate::time::Moment;
use std::time::Duration;

/// What the main process leaves behind is asked to end and gets this long. Worker processes of a crashed
/// master end in milliseconds; whoever needs longer is not going to.
pub const SWEEP_GRACE: Duration = Duration::from_secs(2);

/// How often a tree that outlives a kill is killed again: processes stuck in the kernel die when it lets go.
pub const KILL_AGAIN: Duration = Duration::from_secs(1);

/// A tree that outlives its kill this long is told to be unkillable. The wait for it goes on: a second tree
/// beside it is worse than none.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What happens once nothing is left.
#[derive(Debug, Clone)]
pub(super) enum After {
    /// Nothing.
    Stop,
    /// It starts again, whatever the policy says.
    Restart(Cause),
    /// The policy judges this end. `Exit::Unknown` stands for the main process's own end, still to come.
    Policy(Exit),
}

#[derive(Debug)]
pub(super) struct Ending {
    after: After,
    step: Step,
    /// Somebody asked for the shortest way.
    hurried: bool,
    /// Something of the tree was asked to end, so that who has to be ended by force has resisted.
    asked: bool,
    /// Those whose resistance was told.
    told: Vec<Survivor>,
    /// Why it ends, while the cause that is shown is that it cannot be ended.
    real_cause: Option<Cause>,
    released: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The hands are just starting the program: it has to be there before it can be ended.
    AwaitSpawn,
    /// A hook of the start is being ended.
    AwaitHook,
    /// Hooks before the stop.
    Hooks,
    /// The main process was asked. Whether it had been asked before is kept for the case that nobody hears it.
    Ladder { rung: usize, until: Moment, asked_before: bool },
    /// The main process is gone, the hands look for the rest.
    Look { until: Moment },
    /// The rest was asked.
    Sweep { until: Moment },
    /// The tree was ended by force.
    Kill { since: Moment, again: Moment },
    /// Nothing is left; hooks after the end.
    ExitHooks,
}

impl Ending {
    fn new(after: After, step: Step) -> Self {
        Ending { after, step, hurried: false, asked: false, told: Vec::new(), real_cause: None, released: false }
    }

    /// An end that an earlier guard had begun: what is left is looked for, unless the main process lives.
    pub fn looking(now: Moment, after: After) -> Self {
        let mut ending = Ending::new(after, Step::Look { until: now + SWEEP_GRACE });
        ending.asked = true;
        ending
    }

    /// An earlier guard had asked for this rung.
    pub fn stands_on(&mut self, rung: usize, until: Moment) {
        self.step = Step::Ladder { rung, until, asked_before: rung > 0 };
    }

    pub fn afterwards(&self) -> Afterwards {
        match &self.after {
            After::Stop => Afterwards::Stop,
            After::Restart(_) => Afterwards::Restart,
            After::Policy(exit) => Afterwards::Judge(exit.clone()),
        }
    }

    /// Where it is on a ladder of `rungs`; one that is ended by force is behind its end.
    pub fn kept_rung(&self, rungs: usize) -> Option<(usize, Moment)> {
        match self.step {
            Step::Ladder { rung, until, .. } => Some((rung, until)),
            Step::Kill { again, .. } => Some((rungs, again)),
            Step::AwaitSpawn
            | Step::AwaitHook
            | Step::Hooks
            | Step::Look { .. }
            | Step::Sweep { .. }
            | Step::ExitHooks => None,
        }
    }

    /// Why it ends, also while `shown` is that it cannot be ended.
    pub fn lasting_cause<'a>(&'a self, shown: &'a Cause) -> &'a Cause {
        self.real_cause.as_ref().unwrap_or(shown)
    }

    /// Whether it ends in order to stay down.
    pub fn is_for_good(&self) -> bool {
        matches!(self.after, After::Stop)
    }

    pub fn want(&mut self, after: After) {
        self.after = after;
    }

    /// It ends for another reason from this moment on. Answers the reason to show.
    pub fn because(&mut self, cause: Cause, shown: &Cause) -> Cause {
        match &mut self.real_cause {
            None => cause,
            Some(real) => {
                *real = cause;
                shown.clone()
            }
        }
    }

    pub fn is_wanted(&self) -> bool {
        match self.after {
            After::Stop | After::Restart(_) => true,
            After::Policy(_) => false,
        }
    }

    pub fn poll_timeout(&self) -> Option<Moment> {
        match self.step {
            Step::AwaitSpawn | Step::AwaitHook | Step::Hooks | Step::ExitHooks => None,
            Step::Ladder { until, .. } | Step::Look { until } | Step::Sweep { until } => Some(until),
            Step::Kill { again, .. } => Some(again),
        }
    }

    pub fn handle_suspended(&mut self, slept: Duration) {
        match &mut self.step {
            Step::AwaitSpawn | Step::AwaitHook | Step::Hooks | Step::ExitHooks => {}
            Step::Ladder { until, .. } | Step::Look { until } | Step::Sweep { until } => *until = *until + slept,
            Step::Kill { since, again } => {
                *since = *since + slept;
                *again = *again + slept;
            }
        }
    }

    pub fn extend(&mut self, now: Moment, by: Duration) {
        if let Step::Ladder { until, .. } = &mut self.step {
            *until = (*until).max(now + by);
        }
    }

    /// Whether these resisted and nobody was told yet. Each is told once, however often the tree is killed.
    pub fn resisted(&mut self, survivors: &[Survivor]) -> bool {
        if !self.asked || survivors.iter().all(|survivor| self.told.contains(survivor)) {
            return false;
        }
        self.told = survivors.to_vec();
        true
    }

    pub fn awaits_spawn(&self) -> bool {
        self.step == Step::AwaitSpawn
    }

    pub fn words(&self) -> &'static str {
        match self.step {
            Step::AwaitSpawn => "answer of the start under way",
            Step::AwaitHook => "end of a hook",
            Step::Hooks => "before_stop hooks",
            Step::Ladder { .. } => "next stop step",
            Step::Look { .. } => "look for what is left",
            Step::Sweep { .. } => "end of what is left, by force",
            Step::Kill { .. } => "another kill",
            Step::ExitHooks => "after_exit hooks",
        }
    }
}

impl Service {
    /// Ends whatever there is of the instance: a hook, a start under way, a program.
    pub(super) fn begin_ending(&mut self, now: Moment, after: After, cause: Cause) {
        let spawning = matches!(&self.state, State::Starting(starting) if starting.is_spawning());
        self.thaw();
        self.questions.end_all();
        self.survivors.clear();
        let step = if spawning { Step::AwaitSpawn } else { Step::AwaitHook };
        self.set_state(now, State::Stopping(Ending::new(after, step)), cause);
        if !spawning && !self.cancel_hook() {
            self.ask_to_end(now);
        }
    }

    fn ask_to_end(&mut self, now: Moment) {
        let wanted = matches!(&self.state, State::Stopping(ending) if ending.is_wanted());
        if self.pid.is_none() {
            self.nothing_left(now);
        } else if wanted && self.run_hook(HookKind::BeforeStop, 0) {
            self.set_ending(Step::Hooks);
        } else {
            self.climb(now, 0);
        }
    }

    /// The main process is gone by itself: only the rest has to go.
    pub(super) fn begin_sweep(&mut self, now: Moment, after: After, cause: Cause) {
        self.thaw();
        self.questions.end_all();
        self.survivors.clear();
        self.cancel_hook();
        let mut ending = Ending::new(after, Step::Look { until: now + SWEEP_GRACE });
        // The end of the main process is what the rest of its tree was to follow.
        ending.asked = true;
        self.set_state(now, State::Stopping(ending), cause);
        self.actions.push_back(Action::Sweep { run: self.run });
    }

    pub(super) fn spawned_while_ending(&mut self, now: Moment) {
        match &self.state {
            State::Stopping(Ending { step: Step::AwaitSpawn, hurried: true, .. }) => self.end_by_force(now),
            State::Stopping(Ending { step: Step::AwaitSpawn, .. }) => self.climb(now, 0),
            State::Stopping(_)
            | State::Stopped
            | State::Waiting
            | State::Starting(_)
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Cooldown { .. }
            | State::Failed
            | State::Done => {}
        }
    }

    pub(super) fn exited_while_ending(&mut self, now: Moment) {
        let State::Stopping(ending) = &self.state else { return };
        let until = match ending.step {
            // What is left of the step's time, so that a stop answers within its ladder.
            Step::Ladder { until, .. } => until.min(now + SWEEP_GRACE),
            Step::Kill { .. } => {
                self.actions.push_back(Action::Sweep { run: self.run });
                return;
            }
            Step::AwaitSpawn | Step::AwaitHook | Step::Hooks | Step::Look { .. } | Step::Sweep { .. } => {
                now + SWEEP_GRACE
            }
            Step::ExitHooks => return,
        };
        self.cancel_hook();
        self.mark_asked();
        self.set_ending(Step::Look { until });
        self.actions.push_back(Action::Sweep { run: self.run });
    }

    pub(super) fn left_behind(&mut self, now: Moment, left: Vec<Survivor>) {
        let State::Stopping(ending) = &self.state else { return };
        if let Step::Look { until } = ending.step {
            self.survivors = left;
            self.actions.push_back(Action::AskTree { run: self.run });
            self.set_ending(Step::Sweep { until: until.max(now) });
        }
    }

    /// The shortest way from here: hooks are ended, the tree is killed. What is not there yet (a start that the
    /// hands still owe an answer for) is killed when it is.
    pub(super) fn hurry(&mut self, now: Moment) {
        let State::Stopping(ending) = &mut self.state else { return };
        ending.hurried = true;
        match ending.step {
            Step::Hooks | Step::Ladder { .. } | Step::Look { .. } | Step::Sweep { .. } => self.end_by_force(now),
            Step::AwaitHook if self.pid.is_some() => self.end_by_force(now),
            Step::AwaitSpawn | Step::AwaitHook | Step::Kill { .. } | Step::ExitHooks => {
                self.cancel_hook();
            }
        }
    }

    pub(super) fn end_by_force(&mut self, now: Moment) {
        self.cancel_hook();
        self.set_ending(Step::Kill { since: now, again: now + KILL_AGAIN });
        self.actions.push_back(Action::EndTree { run: self.run });
        if self.pid.is_none() {
            self.actions.push_back(Action::Sweep { run: self.run });
        }
    }

    /// Nothing of the tree is left: hooks, then what is to come after.
    pub(super) fn nothing_left(&mut self, now: Moment) {
        let State::Stopping(ending) = &mut self.state else { return };
        match ending.step {
            Step::ExitHooks => return,
            // Who was asked and went has not resisted.
            Step::Sweep { .. } => self.survivors.clear(),
            Step::AwaitSpawn
            | Step::AwaitHook
            | Step::Hooks
            | Step::Ladder { .. }
            | Step::Look { .. }
            | Step::Kill { .. } => {}
        }
        if !std::mem::replace(&mut ending.released, true) {
            self.actions.push_back(Action::Release { run: self.run });
        }
        // A hurry was about the tree; the hooks after its end get their time, and can be hurried again.
        ending.hurried = false;
        if self.hook.is_some() {
            // The cancelled hook still owes its end; only then do the hooks after the end have their turn.
            self.set_ending(Step::AwaitHook);
        } else if self.ran && self.run_hook(HookKind::AfterExit, 0) {
            self.set_ending(Step::ExitHooks);
        } else {
            self.ended(now);
        }
    }

    pub(super) fn hook_ended_while_ending(&mut self, now: Moment, hook: Running) {
        let State::Stopping(ending) = &self.state else { return };
        let hurried = ending.hurried;
        match (ending.step, hook.kind) {
            (Step::AwaitHook, _) => self.ask_to_end(now),
            (Step::Hooks, HookKind::BeforeStop) => {
                if !self.run_hook(HookKind::BeforeStop, hook.index + 1) {
                    self.climb(now, 0);
                }
            }
            (Step::ExitHooks, HookKind::AfterExit) => {
                if hurried || !self.run_hook(HookKind::AfterExit, hook.index + 1) {
                    self.ended(now);
                }
            }
            (
                Step::AwaitSpawn
                | Step::Hooks
                | Step::Ladder { .. }
                | Step::Look { .. }
                | Step::Sweep { .. }
                | Step::Kill { .. }
                | Step::ExitHooks,
                _,
            ) => {}
        }
    }

    pub(super) fn ending_timeout(&mut self, now: Moment) {
        let State::Stopping(ending) = &mut self.state else { return };
        match ending.step {
            Step::Ladder { rung, until, .. } if until <= now => self.climb(now, rung + 1),
            Step::Look { until } | Step::Sweep { until } if until <= now => self.end_by_force(now),
            Step::Kill { since, again } if again <= now => {
                ending.step = Step::Kill { since, again: now + KILL_AGAIN };
                if now.since(since) >= KILL_PATIENCE {
                    let shown = std::mem::replace(&mut self.cause, Cause::Unkillable(self.survivors.clone()));
                    ending.real_cause.get_or_insert(shown);
                }
                self.actions.push_back(Action::EndTree { run: self.run });
                if self.pid.is_none() {
                    self.actions.push_back(Action::Sweep { run: self.run });
                }
            }
            Step::AwaitSpawn
            | Step::AwaitHook
            | Step::Hooks
            | Step::Ladder { .. }
            | Step::Look { .. }
            | Step::Sweep { .. }
            | Step::Kill { .. }
            | Step::ExitHooks => {}
        }
    }

    /// Nobody heard that rung, so there is nothing to wait for. News of a rung that is behind are told all the same.
    pub(super) fn undelivered(&mut self, now: Moment, rung: usize, step: StopStep, reason: String) {
        let State::Stopping(ending) = &mut self.state else { return };
        self.events.push_back(Event::Undelivered { step, reason });
        if let Step::Ladder { rung: asked, asked_before, .. } = ending.step
            && asked == rung
        {
            ending.asked = asked_before;
            self.climb(now, rung + 1);
        }
    }

    pub(super) fn climb(&mut self, now: Moment, rung: usize) {
        match self.spec.stop.get(rung) {
            None => self.end_by_force(now),
            Some(step) if step.step == StopStep::Kill => self.end_by_force(now),
            Some(step) => {
                let (step, until) = (step.step.clone(), now + step.wait);
                if let State::Stopping(ending) = &mut self.state {
                    let asked_before = std::mem::replace(&mut ending.asked, true);
                    ending.step = Step::Ladder { rung, until, asked_before };
                }
                self.actions.push_back(Action::Ask { run: self.run, rung, step });
            }
        }
    }

    fn ended(&mut self, now: Moment) {
        let State::Stopping(ending) = &self.state else { return };
        let after = ending.after.clone();
        let cause = ending.real_cause.as_ref().unwrap_or(&self.cause).clone();
        self.take_next_spec();
        match after {
            After::Stop => self.set_state(now, State::Stopped, cause),
            After::Restart(why) if self.wanted == Wanted::Up => {
                // Who comes back with the next guard was not restarted by anybody's wish.
                if why != Cause::GuardStarted {
                    self.history.by_cause.count(RestartCause::of_wish(&why));
                }
                self.try_start(now, why);
            }
            After::Restart(_) => self.set_state(now, State::Stopped, cause),
            After::Policy(exit) => self.judge(now, &exit, cause),
        }
    }

    fn mark_asked(&mut self) {
        if let State::Stopping(ending) = &mut self.state {
            ending.asked = true;
        }
    }

    fn set_ending(&mut self, step: Step) {
        if let State::Stopping(ending) = &mut self.state {
            ending.step = step;
        }
    }
}
