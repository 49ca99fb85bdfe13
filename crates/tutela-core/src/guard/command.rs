//! What an operator can ask of a guard, and whom it concerns.

use super::{Event, Guard, Restarting};
use crate::names::{InstanceId, InstanceKey, Name, ServiceName};
use crate::order;
use crate::reload;
use crate::service::{Cause, StateName};
use crate::spec::{GuardSpec, StartMode};
use crate::time::Moment;
use std::collections::BTreeSet;

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

impl Target {
    /// Reads `api` or `api:0`.
    pub fn parse(text: &str) -> Option<Target> {
        match text.contains(':') {
            true => InstanceId::parse(text).map(Target::Instance),
            false => Name::new(text).map(Target::Service).ok(),
        }
    }
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
        self.touch_all();
        // Those that left a common restart may have been the last that it waited for.
        let mut open = Vec::new();
        self.restart_group_if_at_rest(now, &mut open);
        self.settle_all(now, open);
        self.start_delayed_if_due(now);
        Ok(keys)
    }

    /// Whom a target means. Those that a reload took away cannot be addressed any more.
    fn targets(&self, target: &Target) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys: Vec<InstanceKey> = match target {
            Target::All => self.slots.keys().copied().collect(),
            Target::Service(name) => self.keys_of(name).to_vec(),
            Target::Instance(id) => self.key(id).into_iter().collect(),
        };
        keys.retain(|key| self.slots.get(key).is_some_and(|slot| !slot.retired));
        if keys.is_empty() && *target != Target::All { Err(Refusal::Unknown(target.clone())) } else { Ok(keys) }
    }

    fn service_of(&self, target: &Target) -> Option<ServiceName> {
        match target {
            Target::All => None,
            Target::Service(name) => Some(name.clone()),
            Target::Instance(id) => Some(id.service.clone()),
        }
    }

    pub(super) fn is_disabled(&self, service: &ServiceName) -> bool {
        self.spec.services.get(service).is_none_or(|spec| spec.start == StartMode::Disabled)
    }

    pub(super) fn is_wanted_up(&self, key: InstanceKey) -> bool {
        self.slots.get(&key).is_some_and(|slot| slot.service.is_wanted_up())
    }

    fn start(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys = self.targets(target)?;
        match self.service_of(target) {
            None => keys.retain(|key| {
                self.slots.get(key).is_some_and(|slot| {
                    let mode = self.spec.services.get(&slot.id.service).map(|spec| spec.start);
                    matches!(mode, Some(StartMode::Auto | StartMode::Delayed)) || slot.service.is_wanted_up()
                })
            }),
            Some(service) if self.is_disabled(&service) => return Err(Refusal::Disabled(service)),
            Some(_) => {}
        }
        let roots: BTreeSet<ServiceName> =
            keys.iter().filter_map(|key| self.slots.get(key)).map(|slot| slot.id.service.clone()).collect();
        let because = self.service_of(target).map_or(cause.clone(), Cause::Because);
        let mut starts = self.needs_to_pull(&roots, &because);
        starts.extend(keys.iter().map(|key| (*key, cause.clone())));
        self.start_all(now, starts);
        Ok(keys)
    }

    /// What has to start because `roots` need it and it would not come by itself: services of which nothing is
    /// wanted up, and instances that gave up. One instance that an operator stopped beside others stays as it is.
    pub(super) fn needs_to_pull(&self, roots: &BTreeSet<ServiceName>, because: &Cause) -> Vec<(InstanceKey, Cause)> {
        let mut needed = order::needed_by_all(&self.needs, roots);
        needed.retain(|name| !roots.contains(name) && !self.is_disabled(name));
        let mut pulled = Vec::new();
        for name in needed {
            let keys = self.keys_of(&name);
            let any_wanted = keys.iter().any(|key| self.is_wanted_up(*key));
            let gave_up = |key: &&InstanceKey| {
                self.slots.get(key).is_some_and(|slot| slot.service.state_name() == StateName::Failed)
            };
            // Of one that is stopped only to start with everything, those that would: the others were stopped before.
            let any_in_group = keys.iter().any(|key| self.awaits_restart(*key));
            let down = |key: &&InstanceKey| !any_wanted && (!any_in_group || self.awaits_restart(**key));
            pulled.extend(keys.iter().filter(|key| down(key) || gave_up(key)).map(|key| (*key, because.clone())));
        }
        pulled
    }

    pub(super) fn start_all(&mut self, now: Moment, starts: Vec<(InstanceKey, Cause)>) {
        self.make_way(&starts);
        for (key, cause) in starts {
            self.refresh_needs(now, key);
            if let Some(slot) = self.slots.get_mut(&key).filter(|slot| !slot.retired) {
                slot.service.handle_start(now, cause, true);
                self.settle(now, key);
            }
        }
    }

    /// Whatever was to keep these down no longer does. For all of them before any of them starts: the news of
    /// one could carry out the pending stop of another, or end a common restart that another was part of.
    fn make_way(&mut self, starts: &[(InstanceKey, Cause)]) {
        for (key, _) in starts {
            self.leave_group(&[*key]);
            if let Some(delayed) = &mut self.delayed {
                delayed.kept_down.remove(key);
            }
            if let Some(slot) = self.slots.get_mut(key).filter(|slot| !slot.retired) {
                slot.pending_stop = None;
            }
        }
    }

    fn stop(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let mut keys = self.targets(target)?;
        self.keep_down(&keys);
        match target {
            Target::All => self.stop_in_order(now, keys.iter().map(|key| (*key, cause.clone())).collect()),
            Target::Service(name) => {
                let stops = self.stops_of(name, &cause);
                keys = stops.iter().map(|(key, _)| *key).collect();
                self.stop_in_order(now, stops);
            }
            Target::Instance(_) => {
                for key in &keys {
                    self.stop_one(now, *key, cause.clone());
                }
            }
        }
        Ok(keys)
    }

    /// Who has to stop with a service: it, and what needs it, which cannot do without it.
    pub(super) fn stops_of(&mut self, name: &ServiceName, cause: &Cause) -> Vec<(InstanceKey, Cause)> {
        let mut stops = Vec::new();
        for dependent in order::dependents_of(&self.needs, &BTreeSet::from([name.clone()])) {
            if dependent == *name {
                continue;
            }
            let keys = self.keys_of(&dependent).to_vec();
            self.keep_down(&keys);
            let up = keys.into_iter().filter(|key| self.is_wanted_up(*key));
            stops.extend(up.map(|key| (key, Cause::Because(name.clone()))));
        }
        let keys = self.keys_of(name).to_vec();
        self.keep_down(&keys);
        stops.extend(keys.into_iter().map(|key| (key, cause.clone())));
        stops
    }

    /// Stops instances, each at once or when nothing that needs it lives any more.
    pub(super) fn stop_in_order(&mut self, now: Moment, stops: Vec<(InstanceKey, Cause)>) {
        let at_rest =
            |(key, _): &(InstanceKey, Cause)| self.slots.get(key).is_some_and(|slot| slot.service.is_at_rest());
        let (waiting, living): (Vec<_>, Vec<_>) = stops.into_iter().partition(at_rest);
        // Waits between runs end first and together, so that the stop of one cannot turn the wait of another one
        // into a start.
        let keys: Vec<InstanceKey> = waiting.iter().map(|(key, _)| *key).collect();
        for (key, cause) in waiting {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.pending_stop = None;
                slot.service.handle_stop(now, cause);
            }
            self.publish(key);
        }
        self.settle_all(now, keys);
        let keys: Vec<InstanceKey> = living.iter().map(|(key, _)| *key).collect();
        for (key, cause) in living {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.pending_stop = Some(cause);
                slot.service.handle_stop_later();
            }
        }
        for key in keys {
            self.settle(now, key);
        }
    }

    /// Stops an instance at once.
    pub(super) fn stop_one(&mut self, now: Moment, key: InstanceKey, cause: Cause) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.pending_stop = None;
            slot.service.handle_stop(now, cause);
            self.settle(now, key);
        }
    }

    /// Neither a common restart nor the delayed start brings these back.
    pub(super) fn keep_down(&mut self, keys: &[InstanceKey]) {
        self.leave_group(keys);
        if let Some(delayed) = &mut self.delayed {
            delayed.kept_down.extend(keys);
        }
    }

    pub(super) fn leave_group(&mut self, keys: &[InstanceKey]) {
        if let Some(group) = &mut self.restarting {
            group.keys.retain(|key| !keys.contains(key));
        }
    }

    fn restart(&mut self, now: Moment, target: &Target, cause: Cause) -> Result<Vec<InstanceKey>, Refusal> {
        let keys = self.targets(target)?;
        let Some(service) = self.service_of(target) else { return Ok(self.restart_all(now, keys, &cause)) };
        if self.is_disabled(&service) {
            return Err(Refusal::Disabled(service));
        }
        let restarts: Vec<(InstanceKey, Cause)> = keys.iter().map(|key| (*key, cause.clone())).collect();
        self.make_way(&restarts);
        // What is at rest by now only starts: a need that is brought up may have done that by the time it is looked at.
        let rests = |(key, _): &(InstanceKey, Cause)| self.slots.get(key).is_none_or(|slot| slot.service.is_at_rest());
        let (at_rest, living): (Vec<_>, Vec<_>) = restarts.into_iter().partition(rests);
        if keys.iter().any(|key| !self.is_wanted_up(*key)) {
            let pulled = self.needs_to_pull(&BTreeSet::from([service.clone()]), &Cause::Because(service));
            self.start_all(now, pulled);
        }
        for (key, cause) in living {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.service.handle_restart(now, cause);
                self.settle(now, key);
            }
        }
        self.start_all(now, at_rest);
        Ok(keys)
    }

    fn restart_all(&mut self, now: Moment, keys: Vec<InstanceKey>, cause: &Cause) -> Vec<InstanceKey> {
        let mut group: BTreeSet<InstanceKey> = keys.into_iter().filter(|key| self.is_wanted_up(*key)).collect();
        // Those of a restart under way are not wanted up at the moment; they still are to come back.
        group.extend(self.restarting.take().map(|former| former.keys).unwrap_or_default());
        self.restarting = Some(Restarting { keys: group.clone(), cause: cause.clone() });
        self.stop_in_order(now, group.iter().map(|key| (*key, cause.clone())).collect());
        group.into_iter().collect()
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
        // Whoever is down by somebody's wish, or on the way there, stays so under the next guard.
        let others: Vec<InstanceKey> = self.slots.keys().copied().filter(|key| !self.is_asked_down(*key)).collect();
        self.ending = true;
        self.restarting = None;
        self.delayed = None;
        self.stop_in_order(now, others.into_iter().map(|key| (key, Cause::GuardEnding)).collect());
        self.slots.keys().copied().collect()
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
}
