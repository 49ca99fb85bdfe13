//! The one door between the world and the real guard, and the place where a bug can be planted.
//!
//! Without a [`Mutation`] it passes everything on. With one it is a guard with a bug, as far as anybody behind
//! the door can tell: the reference model hears the true words and news.

use crate::dice::Dice;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::{Command, Event, Guard, Input, Refusal, Target, is_heir};
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::{Action, Estate, Exit, History, Phase, Then};
use tutela_core::spec::{GuardSpec, LadderStep, ServiceSpec, StopStep};
use tutela_core::time::Moment;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A tree counts as empty as soon as its main process is gone.
    EarlyTreeEmpty,
    /// A stop is accepted and forgotten.
    DroppedStop,
    /// A program is started twice.
    DoubleSpawn,
    /// The first need of every service is not waited for.
    SkippedNeed,
    /// A deadline passes and nobody acts.
    SwallowedDeadline,
    /// The wait before a restart is half as long as it should be.
    ShortBackoff,
    /// A crash loop is not noticed.
    EndlessBurst,
    /// A service is stopped without those that need it.
    StopOutOfOrder,
    /// News of a run are taken for news of the next one.
    NewsOfTheWrongRun,
    /// A hurry is accepted and forgotten.
    DroppedHurry,
    /// The end of a hook is forgotten.
    LostHookEnd,
    /// Time in which the computer slept counts against a program's grace.
    UncountedSleep,
    /// A success is taken for a failure.
    SuccessMisjudged,
    /// A ladder's waits are skipped.
    ImpatientLadder,
    /// That nobody heard a request to end is not noticed.
    UnnoticedSilence,
    /// How an instance stands is not noted down.
    ForgottenNote,
    /// A program that outlived its guard is not taken back.
    LostHeir,
    /// What nobody takes back is not ended.
    SparedLeftover,
    /// The next guard knows nothing of crash loops.
    ForgottenLimits,
    /// The death of a guard counts as a restart of its programs.
    CountedDeath,
    /// A stop begins its ladder again with the next guard.
    LadderFromBelow,
    /// A rung lasts longer with the next guard.
    LongerRung,
    /// The next guard starts what was stopped.
    ForgottenWish,
    /// A spec that changed between two guards is not noticed.
    IgnoredStamps,
    /// Programs are started anew for a spec that did not change.
    RestartedHeirs,
    /// The end of a program between two guards is not noticed.
    LostEnd,
    /// What an operator stopped is not saved as that.
    UnsavedWish,
}

impl Mutation {
    /// Every bug that can be planted.
    pub const ALL: [Mutation; 27] = [
        Mutation::EarlyTreeEmpty,
        Mutation::DroppedStop,
        Mutation::DoubleSpawn,
        Mutation::SkippedNeed,
        Mutation::SwallowedDeadline,
        Mutation::ShortBackoff,
        Mutation::EndlessBurst,
        Mutation::StopOutOfOrder,
        Mutation::NewsOfTheWrongRun,
        Mutation::DroppedHurry,
        Mutation::LostHookEnd,
        Mutation::UncountedSleep,
        Mutation::SuccessMisjudged,
        Mutation::ImpatientLadder,
        Mutation::UnnoticedSilence,
        Mutation::ForgottenNote,
        Mutation::LostHeir,
        Mutation::SparedLeftover,
        Mutation::ForgottenLimits,
        Mutation::CountedDeath,
        Mutation::LadderFromBelow,
        Mutation::LongerRung,
        Mutation::ForgottenWish,
        Mutation::IgnoredStamps,
        Mutation::RestartedHeirs,
        Mutation::LostEnd,
        Mutation::UnsavedWish,
    ];

    /// Its name on the command line.
    pub fn word(self) -> String {
        format!("{self:?}")
    }
}

/// The real guard behind its door.
#[derive(Debug)]
pub struct Link {
    guard: Guard,
    mutation: Option<Mutation>,
    dice: Dice,
    doubled: Option<(InstanceKey, Action)>,
    swallowed: bool,
}

impl Link {
    /// A guard with this spec, perhaps with a bug.
    pub fn new(now: Moment, spec: GuardSpec, mut dice: Dice, mutation: Option<Mutation>) -> Self {
        let seed = dice.seed();
        let guard = Guard::new(now, planted(mutation, spec), seed);
        Link { guard, mutation, dice, doubled: None, swallowed: false }
    }

    /// To look at.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// [`Guard::restore`].
    pub fn restore(&mut self, id: &InstanceId, run: RunId, history: History) {
        self.guard.restore(id, run, history, None);
    }

    /// [`Guard::begin`].
    pub fn begin(&mut self, now: Moment, kept_down: &BTreeSet<InstanceId>) {
        self.guard.begin(now, kept_down);
    }

    /// [`Guard::handle_command`].
    ///
    /// # Errors
    /// Its refusal.
    pub fn command(&mut self, now: Moment, command: Command) -> Result<Vec<InstanceKey>, Refusal> {
        let command = match (self.mutation, command) {
            (Some(Mutation::DroppedStop), Command::Stop(target)) if self.is_known(&target) && self.dice.percent(50) => {
                return Ok(Vec::new());
            }
            (Some(Mutation::DroppedHurry), Command::Hurry) => return Ok(Vec::new()),
            (Some(Mutation::StopOutOfOrder), Command::Stop(Target::Service(name))) if self.is_known_service(&name) => {
                let ids: Vec<InstanceId> = self.guard.instances_of(&name).map(|(_, id, _)| id.clone()).collect();
                let mut keys = Vec::new();
                for id in ids {
                    keys.extend(self.guard.handle_command(now, Command::Stop(Target::Instance(id)), "sim")?);
                }
                return Ok(keys);
            }
            (mutation, Command::Reload(spec)) => Command::Reload(Box::new(planted(mutation, *spec))),
            (_, command) => command,
        };
        self.guard.handle_command(now, command, "sim")
    }

    /// [`Guard::handle`].
    pub fn handle(&mut self, now: Moment, key: InstanceKey, input: Input) {
        let input = match (self.mutation, input) {
            (Some(Mutation::EarlyTreeEmpty), Input::TreeLeft { run, .. }) => Input::TreeEmpty { run },
            (Some(Mutation::NewsOfTheWrongRun), Input::Exited { run, exit }) if self.dice.percent(20) => {
                Input::Exited { run: RunId(run.0 + 1), exit }
            }
            (Some(Mutation::UnnoticedSilence), Input::Undelivered { .. }) => return,
            (Some(Mutation::LostHookEnd), Input::HookDone { .. }) if self.dice.percent(30) => return,
            (Some(Mutation::SuccessMisjudged), Input::Exited { run, exit: Exit::Code(0) }) => {
                Input::Exited { run, exit: Exit::Code(77) }
            }
            (_, input) => input,
        };
        self.guard.handle(now, key, input);
    }

    /// [`Guard::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Moment) {
        self.guard.handle_timeout(now);
    }

    /// [`Guard::handle_suspended`].
    pub fn handle_suspended(&mut self, now: Moment, slept: Duration) {
        if self.mutation != Some(Mutation::UncountedSleep) {
            self.guard.handle_suspended(now, slept);
        }
    }

    /// [`Guard::poll_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Moment> {
        if self.mutation == Some(Mutation::SwallowedDeadline) {
            self.swallowed |= self.dice.below(500) == 0;
            if self.swallowed {
                return None;
            }
        }
        self.guard.poll_timeout()
    }

    /// [`Guard::poll_action`].
    pub fn poll_action(&mut self) -> Option<(InstanceKey, Action)> {
        if let Some(doubled) = self.doubled.take() {
            return Some(doubled);
        }
        let (key, action) = self.guard.poll_action()?;
        if self.mutation == Some(Mutation::DoubleSpawn)
            && matches!(action, Action::Spawn { .. })
            && self.dice.percent(5)
        {
            self.doubled = Some((key, action.clone()));
        }
        Some((key, action))
    }

    /// [`Guard::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.guard.poll_event()
    }

    // ---- from guard to guard ----

    /// [`Guard::estate`], of everybody in `touched`, to be noted down.
    pub fn estate(&self, key: InstanceKey) -> Option<Estate> {
        let forgets = self.mutation == Some(Mutation::ForgottenNote);
        self.guard.estate(key).filter(|estate| !forgets || estate.run.0 % 4 != 3)
    }

    /// Whether an operator's stop is saved as that.
    pub fn is_asked_down(&self, key: InstanceKey) -> bool {
        self.mutation != Some(Mutation::UnsavedWish) && self.guard.is_asked_down(key)
    }

    /// [`Guard::take_touched`].
    pub fn take_touched(&mut self) -> BTreeSet<InstanceKey> {
        self.guard.take_touched()
    }

    /// [`is_heir`].
    pub fn is_heir(&self, estate: &Estate, run: RunId) -> bool {
        self.mutation != Some(Mutation::LostHeir) && is_heir(estate, run)
    }

    /// Whether what nobody takes back is left alive.
    pub fn spares_leftovers(&self) -> bool {
        self.mutation == Some(Mutation::SparedLeftover)
    }

    /// Whether nobody hears how a program ended that an earlier guard had started.
    pub fn loses_ends(&self) -> bool {
        self.mutation == Some(Mutation::LostEnd)
    }

    /// [`Guard::inherit`].
    pub fn inherit(
        &mut self,
        now: Moment,
        id: &InstanceId,
        mut estate: Estate,
        heir: Option<(RunId, u32)>,
        differing: impl FnOnce(&ServiceSpec) -> Vec<&'static str>,
        gone: impl FnOnce() -> ServiceSpec,
    ) -> Option<InstanceKey> {
        let history = &mut estate.history;
        match (self.mutation, &mut estate.phase) {
            (Some(Mutation::CountedDeath), _) if heir.is_some() => history.restarts += 1,
            (Some(Mutation::ForgottenLimits), _) => {
                let (restarts, by_cause) = (history.restarts, history.by_cause);
                *history = History { restarts, by_cause, ..History::default() };
            }
            (Some(Mutation::LadderFromBelow), Phase::Stopping { rung, .. }) => *rung = None,
            (Some(Mutation::LongerRung), Phase::Stopping { rung: Some((_, until)), .. }) => {
                *until = *until + Duration::from_secs(1);
            }
            (Some(Mutation::ForgottenWish), Phase::Stopped) => estate.then = Then::Begin,
            _ => {}
        }
        let mutation = self.mutation;
        let differing = |spec: &ServiceSpec| match mutation {
            Some(Mutation::IgnoredStamps) => Vec::new(),
            Some(Mutation::RestartedHeirs) => vec!["command"],
            _ => differing(spec),
        };
        self.guard.inherit(now, id, estate, heir, differing, gone)
    }

    fn is_known(&self, target: &Target) -> bool {
        match target {
            Target::All => true,
            Target::Service(name) => self.is_known_service(name),
            Target::Instance(id) => self.is_known_service(&id.service) && self.guard.key(id).is_some(),
        }
    }

    fn is_known_service(&self, name: &tutela_core::names::ServiceName) -> bool {
        !self.guard.is_ending() && self.guard.spec().services.contains_key(name)
    }
}

/// The spec as a guard with this bug understands it.
fn planted(mutation: Option<Mutation>, mut spec: GuardSpec) -> GuardSpec {
    let change: fn(&mut ServiceSpec) = match mutation {
        Some(Mutation::SkippedNeed) => |service| drop(service.needs.pop()),
        Some(Mutation::ShortBackoff) => |service| {
            service.restart.delay /= 2;
            service.restart.max_delay /= 2;
        },
        Some(Mutation::EndlessBurst) => |service| service.restart.burst = 0,
        Some(Mutation::ImpatientLadder) => |service| {
            let no_wait = |rung: &LadderStep| LadderStep { step: rung.step.clone(), wait: Duration::ZERO };
            service.stop = service.stop.iter().map(no_wait).filter(|rung| rung.step != StopStep::Kill).collect();
        },
        Some(_) | None => return spec,
    };
    spec.services.values_mut().for_each(|service| change(Arc::make_mut(service)));
    spec
}
