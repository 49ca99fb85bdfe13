//! What the next guard has to know, and where everybody has to be when it begins.
//!
//! The model keeps a copy of each instance at the moment of each whole note. When the guard is killed, that is what can
//! be known of it, together with what lives. It reads no estate: whether the real notes say as much is what is judged.

use super::commands::needs_new_start;
use super::watch::{Law, law};
use super::{Delayed, End, Model, Reference, StopWay};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::{DELAYED_START, Guard};
use tutela_core::names::{InstanceId, RunId, ServiceName};
use tutela_core::service::{Exit, History, ProbeRole, StateName, Then};
use tutela_core::spec::{GuardSpec, ServiceSpec, StartMode};
use tutela_core::time::Moment;

/// What was noted of an instance.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    model: Model,
    then: Then,
}

/// What the ledger has to know of an instance.
#[derive(Debug)]
pub(super) struct Saved {
    run: RunId,
    restarts: u64,
    /// Of one that is to stop, when it is forgiven is the guard's.
    in_a_row: Option<u32>,
    asked_down: bool,
}

/// What the next guard has before it.
#[derive(Debug)]
pub struct Legacy<'a> {
    /// The spec that it reads.
    pub spec: GuardSpec,
    /// Programs in the safe: whose, and which run.
    pub programs: &'a [(InstanceId, RunId)],
    /// What the ledger remembers.
    pub ledger: &'a BTreeMap<InstanceId, (RunId, History)>,
    /// Whom the ledger knows to be stopped by an operator.
    pub kept_down: &'a BTreeSet<InstanceId>,
    /// How one is stopped whose spec nobody has any more.
    pub gone: fn(&ServiceName) -> ServiceSpec,
}

impl Reference {
    /// What follows from the last step was noted of these, and what programs are started with of those that are `stamped`.
    pub fn note(&mut self, ids: &BTreeSet<InstanceId>, stamped: &BTreeSet<InstanceId>, guard: &Guard) {
        for id in stamped {
            let Some((_, service)) = guard.key(id).and_then(|key| guard.instance(key)) else { continue };
            self.stamped.insert(id.clone(), service.spec().clone());
        }
        for id in ids {
            let Some(model) = self.models.get(id) else { continue };
            let mut model = model.clone();
            if let Some((_, service)) = model.key.and_then(|key| guard.instance(key)) {
                model.said_before |= service.probes().any(|(slot, role, ..)| {
                    role == ProbeRole::Ready && (model.yes.contains(&slot) || model.said_ready)
                });
                let noted = Noted { then: self.then_of(id, &model), model };
                self.noted.insert(id.clone(), noted);
            }
        }
    }

    /// It was noted that an instance is gone.
    pub fn note_gone(&mut self, id: &InstanceId) {
        self.noted.remove(id);
        self.stamped.remove(id);
    }

    /// Nothing that was noted is left.
    pub fn lose_notes(&mut self) {
        self.noted.clear();
        self.stamped.clear();
    }

    /// The ledger was told of these, and has it on the disk `by` then.
    pub fn save(&mut self, by: Moment, ids: &[InstanceId]) {
        self.reach_disk(self.now);
        for id in ids {
            let Some(model) = self.models.get(id) else { continue };
            let &Model { run, restarts, asked_down, .. } = model;
            let in_a_row = model.wanted.then_some(model.in_a_row);
            self.saves.push_back((by, id.clone(), Some(Saved { run, restarts, in_a_row, asked_down })));
        }
    }

    /// The ledger was told that an instance is gone.
    pub fn save_gone(&mut self, by: Moment, id: &InstanceId) {
        self.saves.push_back((by, id.clone(), None));
    }

    /// The guard is dead: what is not on the disk by now never will be.
    pub fn guard_dies(&mut self, now: Moment) {
        self.reach_disk(now);
        self.saves.clear();
    }

    fn reach_disk(&mut self, now: Moment) {
        while let Some((_, id, saved)) = self.saves.pop_front_if(|(by, ..)| *by <= now) {
            match saved {
                Some(saved) => drop(self.saved.insert(id, saved)),
                None => drop(self.saved.remove(&id)),
            }
        }
    }

    /// Of whom something is noted.
    pub fn noted_ids(&self) -> BTreeSet<InstanceId> {
        self.noted.keys().cloned().collect()
    }

    fn then_of(&self, id: &InstanceId, model: &Model) -> Then {
        let awaits_delayed = |delayed: &Delayed| {
            model.state == StateName::Stopped
                && !delayed.kept_down.contains(id)
                && !self.group.contains(id)
                && self.starting_with(StartMode::Delayed, &delayed.kept_down).contains(&id.service)
        };
        if model.retired {
            Then::Remove
        } else if (self.ending && !model.asked_down) || self.delayed.as_ref().is_some_and(awaits_delayed) {
            Then::Begin
        } else if self.group.contains(id) {
            Then::Restart
        } else {
            Then::Keep
        }
    }

    /// What the ledger remembers is what was, and an operator's stop is among it.
    ///
    /// # Errors
    /// A counter went back, or a stop is forgotten.
    pub fn lives_are_remembered(
        &self,
        ledger: &BTreeMap<InstanceId, (RunId, History)>,
        kept_down: &BTreeSet<InstanceId>,
    ) -> Law {
        for (id, saved) in &self.saved {
            let Some((run, history)) = ledger.get(id) else {
                return Err(format!("the ledger has forgotten {id}"));
            };
            law(run.0 > saved.run.0, || format!("the next run of {id} would be {run:?}, and {:?} was", saved.run))?;
            law(history.restarts >= saved.restarts, || format!("{id} counted {} restarts", saved.restarts))?;
            law(saved.in_a_row.is_none_or(|count| count == history.in_a_row), || {
                format!("{id} was restarted {:?} times in a row, not {}", saved.in_a_row, history.in_a_row)
            })?;
            law(!saved.asked_down || kept_down.contains(id), || format!("the ledger forgot that {id} was stopped"))?;
        }
        Ok(())
    }

    /// Another guard begins, and goes on where the last one was killed. Answers which programs it has to take back.
    pub fn live_again(&mut self, now: Moment, legacy: &Legacy<'_>) -> BTreeMap<InstanceId, RunId> {
        // Until this guard notes anything itself, what is noted stays.
        let former = std::mem::replace(self, Reference::new(now, legacy.spec.clone()));
        (self.noted, self.stamped, self.saved) = (former.noted.clone(), former.stamped, former.saved);
        let noted = former.noted;
        for (id, (run, history)) in legacy.ledger {
            self.restore(id, *run, history);
        }
        let (mut goes_on, mut changed, mut heirs) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        for (id, Noted { model, then }) in noted {
            let runs = legacy.programs.iter().filter(|(whose, run)| *whose == id && model.is_its_own(*run));
            let heir = runs.map(|(_, run)| *run).max();
            heirs.extend(heir.map(|run| (id.clone(), run)));
            let spec = match self.models.get(&id) {
                Some(fresh) => Some(fresh.spec.clone()),
                None if heir.is_some() => None,
                None => continue,
            };
            let is_gone = spec.is_none();
            let removed = !self.spec.services.contains_key(&id.service);
            let spec = spec.unwrap_or_else(|| Arc::new((legacy.gone)(&id.service)));
            let started_with = self.stamped.get(&id).filter(|_| !is_gone && heir.is_some());
            let differs = started_with.is_some_and(|started_with| needs_new_start(started_with, &spec));
            let then = if is_gone { Then::Remove } else { then };
            let mut model = model.taken_back(now, spec, heir, then);
            model.retired = is_gone;
            // Nobody's wish is kept for one that is to go.
            model.asked_down &= !is_gone;
            model.outdated = differs && !model.is_at_rest();
            if is_gone && !removed {
                model.stop_way = StopWay::AtOnce;
            }
            if is_gone || matches!(then, Then::Keep | Then::Restart) {
                goes_on.insert(id.clone());
            }
            if then == Then::Restart {
                self.group.insert(id.clone());
            }
            if differs {
                changed.push(id.clone());
            }
            self.models.insert(id, model);
        }
        self.begin_again(&goes_on, &changed, legacy.kept_down);
        heirs
    }

    fn begin_again(
        &mut self,
        goes_on: &BTreeSet<InstanceId>,
        changed: &[InstanceId],
        stopped_before: &BTreeSet<InstanceId>,
    ) {
        let down = goes_on.iter().filter(|id| !self.is_wanted(id) && !self.group.contains(*id));
        let named = stopped_before.iter().filter(|id| !goes_on.contains(*id) && self.models.contains_key(*id));
        let kept_down: BTreeSet<InstanceId> = down.chain(named).cloned().collect();
        let wanted = self.starting_with(StartMode::Auto, &kept_down);
        let begins = |id: &InstanceId| {
            !goes_on.contains(id)
                && !kept_down.contains(id)
                && wanted.contains(&id.service)
                && !self.is_disabled(&id.service)
        };
        let begins: Vec<InstanceId> = self.models.keys().filter(|id| begins(id)).cloned().collect();
        if self.spec.services.values().any(|service| service.start == StartMode::Delayed) {
            self.delayed = Some(Delayed { until: self.now + DELAYED_START, kept_down });
        }
        let up = goes_on.iter().filter(|id| self.is_wanted(id) && self.is_disabled(&id.service));
        for service in up.map(|id| id.service.clone()).collect::<BTreeSet<_>>() {
            self.stop_service(&service);
        }
        for id in &begins {
            let Some(model) = self.models.get_mut(id) else { continue };
            model.wanted = true;
            model.again |= model.state == StateName::Stopping;
            if model.outdated && matches!(model.state, StateName::Starting | StateName::Running) {
                (model.again, model.must_end) = (true, true);
            }
        }
        for id in changed.iter().filter(|id| goes_on.contains(*id)) {
            if self.is_wanted(id) {
                self.want_up(id);
            }
        }
    }

    /// Whoever is shown with a program has one. In a calm world, where all news have arrived.
    ///
    /// # Errors
    /// Somebody has none.
    pub fn are_alive(&self, world: &World) -> Law {
        let dead = self
            .models
            .iter()
            .find(|(_, model)| model.program && model.key.is_some_and(|key| !world.is_alive(key, model.run)));
        law(dead.is_none(), || format!("{:?} is shown with a program that is gone", dead.map(|(id, _)| id)))
    }

    /// A stop that was under way goes on where it was: nobody gets longer for a rung than the ladder says.
    ///
    /// # Errors
    /// Somebody does.
    pub fn ladders_go_on(&self, guard: &Guard) -> Law {
        for (id, model) in &self.models {
            let Some((asked, rung, slept)) = model.asked.filter(|_| model.state == StateName::Stopping) else {
                continue;
            };
            let service = model.key.and_then(|key| guard.instance(key)).map(|(_, service)| service);
            if !model.program || model.killed || !model.ladder_holds {
                continue;
            }
            let wait = model.spec.stop.get(rung).map_or(Duration::ZERO, |rung| rung.wait);
            let latest = (asked + slept + wait).max(self.now);
            let until = service.and_then(|service| service.poll_timeout());
            law(until.is_some_and(|until| until <= latest), || {
                format!("{id} has until {until:?} for rung {rung}, not {latest:?}")
            })?;
        }
        Ok(())
    }
}

impl Model {
    /// Whether a program is this instance's as it was noted, or a later one that it was to have.
    fn is_its_own(&self, run: RunId) -> bool {
        let lives =
            self.program || matches!(self.state, StateName::Starting | StateName::Running | StateName::Stopping);
        (run == self.run && lives) || (run > self.run && self.wanted)
    }

    /// Where it goes on.
    fn taken_back(mut self, now: Moment, spec: Arc<ServiceSpec>, heir: Option<RunId>, then: Then) -> Model {
        self.ladder_holds &= !self.outdated && self.spec.stop == spec.stop;
        self.key = None;
        self.spec = spec;
        self.adopts = matches!(then, Then::Begin | Then::Remove);
        self.wanted &= then == Then::Keep;
        self.again &= self.wanted;
        self.stop_way = StopWay::InOrder;
        (self.kicked, self.must_end, self.begun, self.torn, self.stopped_now) = (false, false, false, false, false);
        (self.hurried, self.unheard, self.cooldown_told) = (false, false, None);
        self.yes.clear();
        let unheard_of = heir.is_some_and(|run| run != self.run || (!self.program && !self.ran));
        match heir {
            Some(run) if unheard_of && !(run == self.run && self.state == StateName::Stopping) => {
                if self.state == StateName::Cooldown {
                    (self.half_open, self.cooldown_until) = (true, None);
                    self.restarts += 1;
                }
                (self.state, self.until, self.run) = (StateName::Starting, None, run);
                (self.program, self.ran, self.started) = (true, true, now);
                (self.end, self.asked, self.killed, self.again) = (None, None, false, false);
                (self.said_ready, self.said_before, self.ladder_holds) = (false, false, true);
                self.recovers_at = None;
            }
            Some(_) if unheard_of => {
                (self.program, self.ran, self.started, self.asked) = (true, true, now, None);
            }
            Some(_) => {}
            None => self.is_without_program(now),
        }
        self.paused &= self.state == StateName::Running && self.program;
        if self.is_at_rest() && !self.wanted {
            self.state = StateName::Stopped;
        }
        self.is_bounded(now);
        self
    }

    fn is_without_program(&mut self, now: Moment) {
        self.program = false;
        match self.state {
            StateName::Starting if self.wanted => self.state = StateName::Waiting,
            StateName::Starting => self.state = StateName::Stopping,
            StateName::Running => (self.end, self.ended) = (Some(End::Exited(Exit::Unknown)), now),
            StateName::Stopped
            | StateName::Waiting
            | StateName::Stopping
            | StateName::Backoff
            | StateName::Cooldown
            | StateName::Failed
            | StateName::Done => {}
        }
    }

    /// No wait is longer, and nothing more is remembered, than the policy in force could have made of it.
    fn is_bounded(&mut self, now: Moment) {
        let policy = &self.spec.restart;
        let surplus = self.recent.len().saturating_sub(policy.burst as usize);
        self.recent.drain(..surplus);
        self.cooldown_until = match self.state {
            StateName::Cooldown | StateName::Stopped => self.cooldown_until.map(|at| at.min(now + policy.cooldown)),
            _ => None,
        };
        self.until = match self.state {
            StateName::Backoff => self.until.map(|at| at.min(now + policy.max_delay)),
            StateName::Cooldown => self.until.map(|at| at.min(now + policy.cooldown)),
            _ => self.until,
        };
        self.recovers_at = match (self.state, self.recovers_at) {
            // It may have been due before there was a guard to say so.
            (StateName::Running, Some(at)) => Some(at.min(now + policy.within).max(now)),
            (StateName::Running, None) if self.half_open => Some(now + policy.within),
            _ => None,
        };
    }
}
