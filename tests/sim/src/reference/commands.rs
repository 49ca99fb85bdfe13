//! Who is wanted up after an operator's words, and which words are refused.

use super::{Model, Reference, StopWay};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tutela_core::guard::{Command, Target};
use tutela_core::names::{InstanceId, ServiceName};
use tutela_core::reload::watchdog_interval;
use tutela_core::service::StateName;
use tutela_core::spec::{GuardSpec, ServiceSpec, StartMode};
use tutela_core::time::Moment;

/// What the model says to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The guard has to take it.
    Accepted,
    /// The guard has to refuse it.
    Refused,
}

impl Reference {
    /// Takes an operator's words.
    pub fn command(&mut self, now: Moment, command: &Command) -> Order {
        self.now = now;
        if self.ending && !matches!(command, Command::End | Command::Hurry) {
            return Order::Refused;
        }
        match command {
            Command::Start(target) => self.start(target),
            Command::Stop(target) => self.stop(target),
            Command::Restart(target) => self.restart(target),
            Command::Pause(target) => {
                let running = |id: &InstanceId| self.models[id].state == StateName::Running;
                match self.targets(target) {
                    Some(ids) if ids.iter().any(running) => Order::Accepted,
                    Some(_) | None => Order::Refused,
                }
            }
            Command::Resume(target) => self.targets(target).map_or(Order::Refused, |_| Order::Accepted),
            Command::Reload(spec) => {
                self.reloading = true;
                let order = self.reload(spec);
                self.reloading = false;
                order
            }
            Command::End => {
                self.ending = true;
                self.group.clear();
                self.delayed = None;
                for id in self.ids() {
                    self.want_down(&id, StopWay::InOrder);
                }
                Order::Accepted
            }
            Command::Hurry => {
                for model in self.models.values_mut() {
                    // Whoever is to stop and has not begun to does so without regard for the order.
                    if !model.wanted {
                        model.stop_way = StopWay::AtOnce;
                    }
                    model.hurried |= model.state == StateName::Stopping || (!model.wanted && !model.is_at_rest());
                }
                Order::Accepted
            }
        }
    }

    fn targets(&self, target: &Target) -> Option<Vec<InstanceId>> {
        let meant = |id: &InstanceId| match target {
            Target::All => true,
            Target::Service(name) => id.service == *name,
            Target::Instance(wanted) => id == wanted,
        };
        let ids: Vec<InstanceId> =
            self.models.iter().filter(|(id, model)| meant(id) && !model.retired).map(|(id, _)| id.clone()).collect();
        (!ids.is_empty() || *target == Target::All).then_some(ids)
    }

    // ---- up ----

    fn start(&mut self, target: &Target) -> Order {
        let Some(mut ids) = self.targets(target) else { return Order::Refused };
        match target {
            Target::All => ids.retain(|id| {
                let mode = self.spec.services.get(&id.service).map(|spec| spec.start);
                matches!(mode, Some(StartMode::Auto | StartMode::Delayed)) || self.is_wanted(id)
            }),
            Target::Service(service) | Target::Instance(InstanceId { service, .. }) => {
                if self.is_disabled(service) {
                    return Order::Refused;
                }
            }
        }
        let roots = ids.iter().map(|id| id.service.clone()).collect();
        self.pull(&roots);
        for id in ids {
            self.want_up(&id);
        }
        Order::Accepted
    }

    fn restart(&mut self, target: &Target) -> Order {
        let Some(ids) = self.targets(target) else { return Order::Refused };
        let service = match target {
            Target::All => {
                for id in ids.into_iter().filter(|id| self.is_wanted(id)).collect::<Vec<_>>() {
                    self.group.insert(id);
                }
                for id in self.group.clone() {
                    self.want_down(&id, StopWay::InOrder);
                }
                return Order::Accepted;
            }
            Target::Service(service) | Target::Instance(InstanceId { service, .. }) => service.clone(),
        };
        if self.is_disabled(&service) {
            return Order::Refused;
        }
        if ids.iter().any(|id| !self.is_wanted(id)) {
            self.pull(&BTreeSet::from([service]));
        }
        for id in ids {
            self.want_up(&id);
            self.must_begin_anew(&id);
        }
        Order::Accepted
    }

    /// Whoever is needed and would not come by itself is wanted up too.
    fn pull(&mut self, roots: &BTreeSet<ServiceName>) {
        for name in self.needed_by(roots) {
            if roots.contains(&name) || self.is_disabled(&name) {
                continue;
            }
            let ids = self.ids_of(&name);
            let any_wanted = ids.iter().any(|id| self.is_wanted(id));
            let to_restart: BTreeSet<InstanceId> = ids.iter().filter(|id| self.group.contains(*id)).cloned().collect();
            for id in ids {
                let down = !any_wanted && (to_restart.is_empty() || to_restart.contains(&id));
                if down || self.models[&id].state == StateName::Failed {
                    self.want_up(&id);
                }
            }
        }
    }

    pub(super) fn want_up(&mut self, id: &InstanceId) {
        let was_to_restart = self.group.remove(id);
        if let Some(delayed) = &mut self.delayed {
            delayed.kept_down.remove(id);
        }
        let Some(model) = self.models.get_mut(id).filter(|model| !model.retired) else { return };
        model.torn = model.stopped_now || (was_to_restart && self.reloading);
        model.wanted = true;
        model.asked_down = false;
        model.kicked = true;
        model.forgive();
        match model.state {
            StateName::Stopping => model.again = true,
            StateName::Starting | StateName::Running if model.outdated => {
                model.again = true;
                model.must_end = true;
            }
            StateName::Stopped
            | StateName::Waiting
            | StateName::Starting
            | StateName::Running
            | StateName::Backoff
            | StateName::Cooldown
            | StateName::Failed
            | StateName::Done => {}
        }
    }

    fn must_begin_anew(&mut self, id: &InstanceId) {
        let Some(model) = self.models.get_mut(id) else { return };
        if matches!(model.state, StateName::Starting | StateName::Running) {
            model.again = true;
            model.must_end = true;
        }
    }

    // ---- down ----

    fn stop(&mut self, target: &Target) -> Order {
        let Some(ids) = self.targets(target) else { return Order::Refused };
        self.keep_down(&ids);
        for id in &ids {
            if let Some(model) = self.models.get_mut(id) {
                model.asked_down = true;
            }
        }
        match target {
            Target::All => ids.iter().for_each(|id| self.want_down(id, StopWay::InOrder)),
            Target::Service(name) => self.stop_service(name),
            Target::Instance(_) => ids.iter().for_each(|id| self.want_down(id, StopWay::AtOnce)),
        }
        Order::Accepted
    }

    pub(super) fn stop_service(&mut self, name: &ServiceName) {
        for dependent in self.dependents_of(name) {
            let ids = self.ids_of(&dependent);
            self.keep_down(&ids);
            for id in ids.into_iter().filter(|id| self.is_wanted(id)).collect::<Vec<_>>() {
                self.want_down(&id, StopWay::InOrder);
                if let Some(model) = self.models.get_mut(&id) {
                    model.asked_down = true;
                }
            }
        }
        for id in self.ids_of(name) {
            self.want_down(&id, StopWay::InOrder);
        }
    }

    fn want_down(&mut self, id: &InstanceId, way: StopWay) {
        let ending = self.ending;
        let Some(model) = self.models.get_mut(id) else { return };
        model.stopped_now = model.wanted;
        model.wanted = false;
        model.again = false;
        model.stop_way = way;
        if !ending {
            model.forgive();
        }
    }

    fn keep_down(&mut self, ids: &[InstanceId]) {
        for id in ids {
            self.group.remove(id);
            if let Some(delayed) = &mut self.delayed {
                delayed.kept_down.insert(id.clone());
            }
        }
    }

    // ---- another spec ----

    fn reload(&mut self, new: &GuardSpec) -> Order {
        if new.name != self.spec.name {
            return Order::Refused;
        }
        let old = std::mem::replace(&mut self.spec, new.clone());
        let changed: Vec<ServiceName> = (old.services.keys().chain(new.services.keys()))
            .filter(|name| old.services.get(*name) != new.services.get(*name))
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let mut anew = BTreeSet::new();
        for (id, model) in self.models.iter_mut().filter(|(id, _)| changed.contains(&id.service)) {
            let Some(service) = new.services.get(&id.service) else { continue };
            if needs_new_start(&model.spec, service) {
                anew.insert(id.clone());
                model.outdated = !model.is_at_rest();
            }
            model.ladder_holds &= model.spec.stop == service.stop;
            model.spec = service.clone();
        }
        self.take_down(&changed, &old);
        self.bring_up(&changed, &old, &anew);
        Order::Accepted
    }

    fn take_down(&mut self, changed: &[ServiceName], old: &GuardSpec) {
        let mut ways: BTreeMap<InstanceId, StopWay> = BTreeMap::new();
        for (id, model) in self.models.iter_mut().filter(|(id, _)| changed.contains(&id.service)) {
            let way = match self.spec.services.get(&id.service) {
                None => StopWay::InOrder,
                Some(service) if id.index >= service.instances => StopWay::AtOnce,
                Some(_) => continue,
            };
            model.retired = true;
            model.asked_down = false;
            ways.insert(id.clone(), way);
        }
        for (id, way) in ways {
            self.group.remove(&id);
            self.want_down(&id, way);
        }
        for name in changed {
            let was_on = old.services.get(name).is_some_and(|service| service.start != StartMode::Disabled);
            let is_off = self.spec.services.get(name).is_some_and(|service| service.start == StartMode::Disabled);
            if was_on && is_off {
                let ids = self.ids_of(name);
                self.keep_down(&ids);
                let stopped = self.models.iter_mut().filter(|(id, _)| ids.contains(id));
                stopped.for_each(|(_, model)| model.asked_down = false);
                // Instances that are going as well do so at once.
                let surplus: Vec<InstanceId> = ids.into_iter().filter(|id| self.models[id].retired).collect();
                self.stop_service(name);
                surplus.iter().for_each(|id| self.want_down(id, StopWay::AtOnce));
            }
        }
    }

    fn bring_up(&mut self, changed: &[ServiceName], old: &GuardSpec, anew: &BTreeSet<InstanceId>) {
        let mut up: Vec<InstanceId> = Vec::new();
        let mut again: Vec<InstanceId> = Vec::new();
        let mut pulls: BTreeSet<ServiceName> = BTreeSet::new();
        for name in changed {
            let Some(service) = self.spec.services.get(name).cloned() else { continue };
            let was = old.services.get(name).map(Arc::as_ref);
            let by_itself = self.starts_by_itself_from_here_on(&service, was);
            let kept = |reference: &Reference| -> Vec<InstanceId> {
                reference.ids_of(name).into_iter().filter(|id| !reference.models[id].retired).collect()
            };
            let others_up = kept(self).iter().any(|id| self.is_wanted(id));
            let others_in_group = kept(self).iter().any(|id| self.group.contains(id));
            for index in 0..service.instances {
                let id = InstanceId { service: name.clone(), index };
                match self.models.get_mut(&id) {
                    Some(model) if model.retired => model.retired = false,
                    Some(_) => continue,
                    None => drop(self.models.insert(id.clone(), Model::new(self.now, service.clone()))),
                }
                if by_itself || others_up {
                    up.push(id);
                } else if others_in_group {
                    self.group.insert(id);
                }
            }
            if by_itself {
                let kept_down = |id: &InstanceId| self.delayed.as_ref().is_some_and(|it| it.kept_down.contains(id));
                up.extend(kept(self).into_iter().filter(|id| !self.is_wanted(id) && !kept_down(id)));
            }
            if was.is_some_and(|was| was.needs != service.needs) && (others_up || others_in_group) {
                pulls.insert(name.clone());
            }
            again.extend(kept(self).into_iter().filter(|id| anew.contains(id) && self.is_wanted(id)));
        }
        pulls.extend(up.iter().map(|id| id.service.clone()));
        for name in pulls {
            self.pull(&BTreeSet::from([name]));
        }
        for id in up.into_iter().chain(again) {
            self.want_up(&id);
        }
    }

    fn starts_by_itself_from_here_on(&self, new: &ServiceSpec, was: Option<&ServiceSpec>) -> bool {
        let slept = was.is_none_or(|was| matches!(was.start, StartMode::Manual | StartMode::Disabled));
        match new.start {
            StartMode::Auto => {
                slept || (self.delayed.is_some() && was.is_some_and(|was| was.start == StartMode::Delayed))
            }
            StartMode::Delayed => slept && self.delayed.is_none(),
            StartMode::Manual | StartMode::Disabled => false,
        }
    }
}

/// What a program is given at its start differs.
pub(super) fn needs_new_start(old: &ServiceSpec, new: &ServiceSpec) -> bool {
    old.launch != new.launch || watchdog_interval(old) != watchdog_interval(new)
}
