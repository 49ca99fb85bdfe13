//! Looks at everybody after each step: is each instance where it belongs, does every wait end, is nothing left.

use super::watch::{Law, law};
use super::{Model, Reference, StopWay, Told, WISHED};
use crate::world::World;
use std::collections::BTreeSet;
use std::time::Duration;
use tutela_core::guard::Guard;
use tutela_core::names::{InstanceId, InstanceKey};
use tutela_core::service::{ProbeRole, RestartCause, Service, StateName};

impl Reference {
    /// Judges where everybody stands.
    ///
    /// # Errors
    /// The law that somebody breaks.
    pub fn step_over(&mut self, told: Told<'_>, world: &World, guard: &Guard) -> Law {
        law(guard.instances().count() == self.models.len(), || {
            "the guard has other instances than the spec".to_owned()
        })?;
        if let Some(delayed) = &self.delayed
            && !matches!(told, Told::Sleep(_))
            && (delayed.until <= self.now || self.all_settled())
        {
            // Who still ends starts after that; whoever could have started has said so.
            let forgotten = self.delayed_to_start().into_iter().find(|id| self.models[id].state == StateName::Stopped);
            law(forgotten.is_none(), || format!("the delayed start of {forgotten:?} is forgotten"))?;
            self.start_delayed();
        }
        for (id, model) in &self.models {
            let Some((key, service)) = model.key.and_then(|key| Some((key, guard.instance(key)?.1))) else {
                return Err(format!("{id} is missing"));
            };
            model.agrees(id, service)?;
            self.is_where_it_belongs(id, model, guard)?;
            waits_for_something(id, key, model, service, world)?;
            if let Some(at) = service.poll_timeout() {
                let armed = guard.poll_timeout().is_some_and(|first| first <= at);
                law(armed, || format!("{id} has a deadline that the guard does not know"))?;
            }
            if model.is_at_rest() {
                let left = world.living_trees(id);
                law(left == 0, || format!("{id} is {} and something of it lives", model.state.word()))?;
            }
        }
        let all_stopped = self.group.iter().all(|id| self.models[id].state == StateName::Stopped);
        law(self.group.is_empty() || !all_stopped, || "a common restart does not go on".to_owned())?;
        let finished = self.ending && self.models.values().all(Model::is_at_rest);
        law(guard.is_finished() == finished, || "the guard is wrong about being finished".to_owned())?;
        for model in self.models.values_mut() {
            if std::mem::take(&mut model.adopts)
                && let Some((_, service)) = model.key.and_then(|key| guard.instance(key))
            {
                let history = service.history();
                (model.in_a_row, model.half_open) = (history.in_a_row, history.half_open);
                (model.cooldown_until, model.recent) =
                    (history.cooldown_until, history.recent.iter().copied().collect());
            }
            model.not_ready = model.says_not_ready(guard);
            (model.kicked, model.begun, model.torn, model.stopped_now) = (false, false, false, false);
        }
        Ok(())
    }

    fn is_where_it_belongs(&self, id: &InstanceId, model: &Model, guard: &Guard) -> Law {
        let word = model.state.word();
        law(!(model.retired && model.is_at_rest()), || format!("{id} was taken away and is still there, {word}"))?;
        law(!model.must_end, || format!("{id} was to begin anew and is {word}"))?;
        law(!model.again || model.state == StateName::Stopping, || format!("{id} was to start after its end, {word}"))?;
        let lost_hurry = model.hurried && model.state == StateName::Stopping && model.program && !model.killed;
        law(!lost_hurry, || format!("{id} was to hurry and was not killed"))?;
        law(!model.unheard, || format!("nobody heard that {id} was asked to end, and the next step did not follow"))?;
        let late = model.recovers_at.is_some_and(|at| at + Duration::from_secs(60) < self.now);
        law(!late, || format!("{id} has held for long and did not recover"))?;
        if model.wanted {
            law(model.state != StateName::Stopped, || format!("{id} is wanted up and stopped"))?;
            let resting =
                matches!(model.state, StateName::Failed | StateName::Done | StateName::Backoff | StateName::Cooldown);
            law(!model.kicked || !resting, || format!("{id} was started and is {word}"))?;
        } else {
            match model.state {
                StateName::Stopped | StateName::Stopping => {}
                StateName::Starting | StateName::Running => {
                    let waits = model.stop_way == StopWay::InOrder && model.program;
                    law(waits && self.has_living_dependents(&id.service), || {
                        format!("the stop of {id} was lost, {word}")
                    })?;
                }
                StateName::Waiting | StateName::Backoff | StateName::Cooldown | StateName::Failed | StateName::Done => {
                    return Err(format!("{id} is wanted down and {word}"));
                }
            }
        }
        if model.state == StateName::Waiting {
            let needs = &self.spec.services[&id.service].needs;
            let open = needs.iter().any(|need| !self.is_served(need, guard, true));
            law(open, || format!("{id} waits and all that it needs serves"))?;
        }
        Ok(())
    }

    /// Who is not where it should come to rest, once everybody behaves.
    pub fn unsettled(&self, guard: &Guard) -> Option<String> {
        if self.delayed.is_some() {
            return Some("the delayed start is still to come".to_owned());
        }
        let mut stuck: BTreeSet<&InstanceId> = BTreeSet::new();
        loop {
            let more = self.models.iter().find(|(id, model)| !stuck.contains(id) && self.may_wait(id, model, &stuck));
            let Some((id, _)) = more else { break };
            stuck.insert(id);
        }
        let wrong = self.models.iter().find(|(id, model)| {
            let settled = if model.wanted {
                match model.state {
                    StateName::Running => model.serves(guard),
                    StateName::Done | StateName::Failed => true,
                    StateName::Waiting => stuck.contains(id),
                    StateName::Stopped
                    | StateName::Starting
                    | StateName::Stopping
                    | StateName::Backoff
                    | StateName::Cooldown => false,
                }
            } else {
                model.state == StateName::Stopped
            };
            !settled
        });
        wrong.map(|(id, model)| {
            let wanted = if model.wanted { "up" } else { "down" };
            format!("{id} is wanted {wanted} and {}", model.state.word())
        })
    }

    /// Whether an instance waits for something that will not come by itself: a need that is down on purpose, gave
    /// up, or waits for ever itself.
    fn may_wait(&self, id: &InstanceId, model: &Model, stuck: &BTreeSet<&InstanceId>) -> bool {
        if model.state != StateName::Waiting {
            return false;
        }
        let needs = &self.spec.services[&id.service].needs;
        needs.iter().any(|need| {
            let wanted: Vec<(&InstanceId, &Model)> =
                self.models.iter().filter(|(id, model)| id.service == *need && model.wanted).collect();
            wanted.is_empty() || wanted.iter().any(|(id, model)| model.state == StateName::Failed || stuck.contains(id))
        })
    }
}

/// Every wait ends: a deadline, an answer that the hands owe, or a program that is waited for on purpose.
fn waits_for_something(id: &InstanceId, key: InstanceKey, model: &Model, service: &Service, world: &World) -> Law {
    let owed = world.owes_spawn(key) || world.owes_hook(key);
    let deadline = service.poll_timeout().is_some();
    let holds = match model.state {
        StateName::Starting => deadline || owed || is_told_of_readiness(service),
        StateName::Stopping => deadline || owed,
        StateName::Backoff | StateName::Cooldown => deadline,
        StateName::Waiting => service.next().is_some(),
        StateName::Running | StateName::Stopped | StateName::Failed | StateName::Done => true,
    };
    law(holds, || format!("{id} is {} and waits for nothing", model.state.word()))?;
    law(!owed || !model.is_at_rest(), || format!("{id} is {} and the hands owe it an answer", model.state.word()))
}

/// Without a time limit a start waits for ever for what its program says.
fn is_told_of_readiness(service: &Service) -> bool {
    service.spec().start_timeout.is_none()
        && service.probes().any(|(_, role, _, probe)| {
            matches!(role, ProbeRole::Startup | ProbeRole::Ready) && probe.spec().target.is_passive()
        })
}

impl Model {
    /// The guard's own figures are the model's.
    fn agrees(&self, id: &InstanceId, service: &Service) -> Law {
        law(service.state_name() == self.state, || format!("{id} changed its state and did not say so"))?;
        law(service.run() == self.run, || format!("{id} is at {:?}, not {:?}", service.run(), self.run))?;
        law(service.pid().is_some() == self.program, || format!("{id} is wrong about its program"))?;
        law(service.is_wanted_up() == self.wanted, || format!("{id} does not know whether it is wanted"))?;
        law(service.is_paused() == self.paused, || format!("{id} does not know whether it is paused"))?;
        let history = service.history();
        law(history.restarts == self.restarts, || {
            format!("{id} counts {} restarts, not {}", history.restarts, self.restarts)
        })?;
        let judged = RestartCause::ALL.into_iter().filter(|cause| !WISHED.contains(cause));
        let by_cause: u64 = judged.map(|cause| history.by_cause.of(cause)).sum();
        law(by_cause == self.restarts - self.restarts_before, || {
            format!("{id} knows the causes of {by_cause} restarts, not of {}", self.restarts - self.restarts_before)
        })?;
        if !self.wanted || self.adopts {
            return Ok(());
        }
        law(history.in_a_row == self.in_a_row, || {
            format!("{id} counts {} restarts in a row, not {}", history.in_a_row, self.in_a_row)
        })?;
        law(history.half_open == self.half_open, || format!("{id} is wrong about its half-open try"))?;
        law(history.cooldown_until == self.cooldown_until, || format!("{id} is wrong about its cool-down"))
    }
}
