//! What an operator can ask of a guard, and whom it concerns.

use super::{Event, Guard};
use crate::names::{InstanceId, InstanceKey, ServiceName};
use crate::order;
use crate::reload::{self, Change};
use crate::service::{Cause, StateName};
use crate::spec::{GuardSpec, ServiceSpec, StartMode};
use crate::time::Moment;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every service.
    All,
    /// Every instance of one service.
    Service(ServiceName),
    /// One instance.
    Instance(InstanceId),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::All => f.write_str("everything"),
            Target::Service(name) => name.fmt(f),
            Target::Instance(id) => id.fmt(f),
        }
    }
}

/// What an operator can ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Up, with what it needs. Clears backoff and cool-down.
    Start(Target),
    /// Down, after what needs it.
    Stop(Target),
    /// Down and up again. Of everything: all down in order, then all up in order. Of one service: it alone.
    Restart(Target),
    /// Held still.
    Pause(Target),
    /// Let go on.
    Resume(Target),
    /// Another spec. What is not different goes on undisturbed.
    Reload(Box<GuardSpec>),
    /// Everything down in order, for good.
    End,
    /// What is being stopped is ended by force.
    Hurry,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such service or instance.
    #[error("refused: there is no {0} here")]
    Unknown(Target),
    /// It is disabled.
    #[error("refused: {0} is disabled in the spec; set start = \"manual\" or \"auto\" and reload")]
    Disabled(ServiceName),
    /// The guard is ending.
    #[error("refused: this guard is ending")]
    Ending,
    /// It does not run.
    #[error("refused: {0} is not running")]
    NotRunning(Target),
    /// The spec is of another guard.
    #[error(transparent)]
    OtherName(#[from] reload::OtherName),
}

impl Guard {
    /// Takes a command and answers which instances it concerns.
    ///
    /// # Errors
    /// The reason, when it is refused; then nothing has changed.
    pub fn handle_command(&mut self, now: Moment, command: Command, by: &str) -> Result<Vec<InstanceKey>, Refusal> {
        if self.ending && !matches!(command, Command::End | Command::Hurry) {
            return Err(Refusal::Ending);
        }
        let cause = Cause::Asked { by: by.to_owned() };
        let (what, keys) = match command {
            Command::Start(target) => (format!("start {target}"), self.start(now, &target, cause)?),
            Command::Stop(target) => (format!("stop {target}"), self.stop(now, &target, cause)?),
            Command::Restart(target) => (format!("restart {target}"), self.restart(now, &target, cause)?),
            Command::Pause(target) => (format!("pause {target}"), self.pause(now, &target, cause)?),
            Command::Resume(target) => (format!("resume {target}"), self.resume(now, &target, cause)?),
            Command::Reload(spec) => ("reload".to_owned(), self.reload(now, *spec)?),
            Command::End => ("end".to_owned(), self.end(now)),
            Command::Hurry => ("hurry".to_owned(), self.hurry(now)),
        };
        self.events.push_back(Event::Commanded { what, by: by.to_owned() });
        Ok(keys)
    }

    fn targets(&self, target: &Target) -> Result<Vec<InstanceKey>, Refusal> {
        let keys = match target {
            Target::All => self.slots.keys().copied().collect(),
            Target::Service(name) => self.keys_of(name).to_vec(),
            Target::Instance(id) => self.key(id).into_iter().collect(),
        };
        if keys.is_empty() { Err(Refusal::Unknown(target.clone())) } else { Ok(keys) }
    }

    fn service_of(&self, target: &Target) -> Option<ServiceName> {
        match target {
            Target::All => None,
            Target::Service(name) => Some(name.clone()),
            Target::Instance(id) => Some(id.service.clone()),
        }
    }

    fn start(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys = self.targets(target)?;
        match self.service_of(target) {
            None => keys.retain(|key| {
                self.slots.get(key).is_some_and(|slot| {
                    matches!(slot.service.spec().start, StartMode::Auto | StartMode::Delayed)
                        || slot.service.is_wanted_up()
                })
            }),
            Some(service) => {
                let mode = self.spec.services.get(&service).map_or(StartMode::Disabled, |spec| spec.start);
                if mode == StartMode::Disabled {
                    return Err(Refusal::Disabled(service));
                }
            }
        }
        let roots: BTreeSet<ServiceName> =
            keys.iter().filter_map(|key| self.slots.get(key)).map(|slot| slot.id.service.clone()).collect();
        let mut needed = order::needed_by_all(&self.needs, &roots);
        needed.retain(|name| !roots.contains(name));
        let because = self.service_of(target).map_or(cause.clone(), Cause::Because);
        for name in needed {
            for key in self.keys_of(&name).to_vec() {
                let Some(slot) = self.slots.get_mut(&key) else { continue };
                if !slot.service.is_wanted_up() && slot.service.spec().start != StartMode::Disabled {
                    slot.pending_stop = None;
                    self.refresh_needs(now, key);
                    self.start_one(now, key, because.clone());
                }
            }
        }
        for key in &keys {
            self.refresh_needs(now, *key);
            self.start_one(now, *key, cause.clone());
        }
        Ok(keys)
    }

    fn start_one(&mut self, now: Moment, key: InstanceKey, cause: Cause) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.pending_stop = None;
            slot.service.handle_start(now, cause, true);
            self.settle(now, key);
        }
    }

    fn stop(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys = self.targets(target)?;
        self.forget_restarting(&keys);
        if let Target::Service(name) = target {
            // What needs it cannot do without it, so it goes first.
            let dependents = order::dependents_of(&self.needs, &BTreeSet::from([name.clone()]));
            for dependent in dependents.iter().filter(|dependent| *dependent != name) {
                for key in self.keys_of(dependent).to_vec() {
                    if self.slots.get(&key).is_some_and(|slot| slot.service.is_wanted_up()) {
                        self.stop_in_order(now, key, Cause::Because(name.clone()));
                        keys.push(key);
                    }
                }
            }
        }
        for key in self.targets(target)? {
            if let Target::Instance(_) = target {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.service.handle_stop(now, cause.clone());
                    self.settle(now, key);
                }
            } else {
                self.stop_in_order(now, key, cause.clone());
            }
        }
        Ok(keys)
    }

    /// Stops an instance, at once or when nothing that needs it lives any more.
    fn stop_in_order(&mut self, now: Moment, key: InstanceKey, cause: Cause) {
        let Some(slot) = self.slots.get(&key) else { return };
        let wait = !slot.service.is_at_rest() && self.dependents_live(&slot.id.service.clone());
        if let Some(slot) = self.slots.get_mut(&key) {
            if wait {
                slot.pending_stop = Some(cause);
                slot.service.handle_stop_later();
            } else {
                slot.pending_stop = None;
                slot.service.handle_stop(now, cause);
            }
        }
        self.settle(now, key);
    }

    fn restart(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let keys = self.targets(target)?;
        match self.service_of(target) {
            Some(service) => {
                if self.spec.services.get(&service).is_some_and(|spec| spec.start == StartMode::Disabled) {
                    return Err(Refusal::Disabled(service));
                }
                let (running, down): (Vec<InstanceKey>, Vec<InstanceKey>) =
                    keys.iter().partition(|key| self.slots.get(key).is_some_and(|slot| slot.service.is_wanted_up()));
                for key in running {
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.pending_stop = None;
                        slot.service.handle_restart(now, cause.clone());
                        self.settle(now, key);
                    }
                }
                if !down.is_empty() {
                    self.start(now, target, cause)?;
                }
                Ok(keys)
            }
            None => {
                let group: BTreeSet<InstanceKey> = keys
                    .into_iter()
                    .filter(|key| self.slots.get(key).is_some_and(|slot| slot.service.is_wanted_up()))
                    .collect();
                self.restarting = Some((group.clone(), cause.clone()));
                for key in &group {
                    self.stop_in_order(now, *key, cause.clone());
                }
                Ok(group.into_iter().collect())
            }
        }
    }

    fn forget_restarting(&mut self, keys: &[InstanceKey]) {
        if let Some((group, _)) = &mut self.restarting {
            group.retain(|key| !keys.contains(key));
        }
    }

    fn pause(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys = self.targets(target)?;
        keys.retain(|key| self.slots.get(key).is_some_and(|slot| slot.service.state_name() == StateName::Running));
        if keys.is_empty() {
            return Err(Refusal::NotRunning(target.clone()));
        }
        for key in &keys {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.service.handle_pause(cause.clone());
                self.settle(now, *key);
            }
        }
        Ok(keys)
    }

    fn resume(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let keys = self.targets(target)?;
        for key in &keys {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.service.handle_resume(now, cause.clone());
                self.settle(now, *key);
            }
        }
        Ok(keys)
    }

    fn end(&mut self, now: Moment) -> Vec<InstanceKey> {
        self.ending = true;
        self.restarting = None;
        self.delayed_until = None;
        let keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        // Waits between runs end first, so that none of them turns into a start while others stop.
        for rest in [true, false] {
            for key in &keys {
                if self.slots.get(key).is_some_and(|slot| slot.service.is_at_rest() == rest) {
                    self.stop_in_order(now, *key, Cause::GuardEnding);
                }
            }
        }
        keys
    }

    fn hurry(&mut self, now: Moment) -> Vec<InstanceKey> {
        let keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        for key in &keys {
            if let Some(slot) = self.slots.get_mut(key) {
                if let Some(cause) = slot.pending_stop.take() {
                    slot.service.handle_stop(now, cause);
                }
                slot.service.handle_hurry(now);
                self.settle(now, *key);
            }
        }
        keys
    }

    fn reload(&mut self, now: Moment, spec: GuardSpec) -> Result<Vec<InstanceKey>, Refusal> {
        let changes = reload::plan(&self.spec, &spec)?;
        let old = std::mem::replace(&mut self.spec, Arc::new(spec));
        self.index_needs();
        let mut touched = Vec::new();
        for (name, change) in &changes {
            let new = self.spec.services.get(name).cloned().map(Arc::new);
            match (change, new) {
                (Change::Add, Some(new)) => touched.extend(self.adjust_instances(now, &new)),
                (Change::Remove, _) | (_, None) => touched.extend(self.retire(now, name, 0)),
                (Change::Restart(keys), Some(new)) => {
                    self.replace(now, &new, &keys.join(", "));
                    touched.extend(self.adjust_instances(now, &new));
                }
                (Change::Live(_), Some(new)) => {
                    for key in self.keys_of(name).to_vec() {
                        if let Some(slot) = self.slots.get_mut(&key) {
                            slot.service.handle_spec(now, new.clone());
                        }
                    }
                    touched.extend(self.adjust_instances(now, &new));
                    let was = old.services.get(name).map(|old| old.start);
                    self.start_mode_changed(now, &new, was);
                }
            }
            touched.extend(self.keys_of(name));
        }
        let all: Vec<InstanceKey> = self.slots.keys().copied().collect();
        for key in all {
            self.refresh_needs(now, key);
            self.settle(now, key);
        }
        self.events.push_back(Event::Reloaded { changes });
        touched.sort();
        touched.dedup();
        Ok(touched)
    }

    fn replace(&mut self, now: Moment, new: &Arc<ServiceSpec>, why: &str) {
        for key in self.keys_of(&new.name).to_vec() {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let cause = Cause::Reloaded(why.to_owned());
            slot.service.handle_replacement(new.clone());
            if new.start == StartMode::Disabled {
                slot.service.handle_stop(now, Cause::Disabled);
            } else if slot.service.is_wanted_up() {
                slot.service.handle_restart(now, cause);
            }
            self.settle(now, key);
        }
    }

    /// Adds or retires instances until there are as many as the spec says.
    fn adjust_instances(&mut self, now: Moment, new: &Arc<ServiceSpec>) -> Vec<InstanceKey> {
        let mut touched = self.retire(now, &new.name, new.instances);
        let there: BTreeSet<u16> = self
            .keys_of(&new.name)
            .iter()
            .filter_map(|key| self.slots.get(key))
            .filter(|slot| !slot.retired)
            .map(|slot| slot.id.index)
            .collect();
        let up = there.is_empty()
            || self
                .keys_of(&new.name)
                .iter()
                .any(|key| self.slots.get(key).is_some_and(|slot| slot.service.is_wanted_up()));
        let by_itself = matches!(new.start, StartMode::Auto | StartMode::Delayed);
        for index in (0..new.instances).filter(|index| !there.contains(index)) {
            let key = self.add(now, new.clone(), index);
            self.refresh_needs(now, key);
            if up && (by_itself || !there.is_empty()) {
                self.start_one(now, key, Cause::Reloaded("instances".to_owned()));
            }
            touched.push(key);
        }
        touched
    }

    /// Stops and forgets the instances of a service from number `from` on.
    fn retire(&mut self, now: Moment, service: &ServiceName, from: u16) -> Vec<InstanceKey> {
        let keys: Vec<InstanceKey> = self
            .keys_of(service)
            .iter()
            .copied()
            .filter(|key| self.slots.get(key).is_some_and(|slot| slot.id.index >= from))
            .collect();
        for key in &keys {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.retired = true;
                slot.service.handle_stop(now, Cause::Reloaded("removed".to_owned()));
                self.settle(now, *key);
            }
        }
        keys
    }

    fn start_mode_changed(&mut self, now: Moment, new: &Arc<ServiceSpec>, was: Option<StartMode>) {
        if was == Some(new.start) {
            return;
        }
        for key in self.keys_of(&new.name).to_vec() {
            match new.start {
                StartMode::Disabled => {
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.service.handle_stop(now, Cause::Disabled);
                        self.settle(now, key);
                    }
                }
                StartMode::Auto | StartMode::Delayed => {
                    self.refresh_needs(now, key);
                    self.start_one(now, key, Cause::Reloaded("start".to_owned()));
                }
                StartMode::Manual => {}
            }
        }
    }
}
