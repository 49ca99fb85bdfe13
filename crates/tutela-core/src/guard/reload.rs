//! Another spec while the guard runs: what it means for each instance, in an order in which nothing is started
//! that is about to stop, and nothing is started twice.
//!
//! First every instance gets its spec, then what has to go goes, then what is to begin (or begin anew) does,
//! needs first, then everybody learns what it needs.

use super::{Event, Guard, Refusal};
use crate::names::{InstanceId, InstanceKey, ServiceName};
use crate::reload::{self, Change};
use crate::service::Cause;
use crate::spec::{GuardSpec, ServiceSpec, StartMode};
use crate::time::Moment;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Guard {
    pub(super) fn reload(&mut self, now: Moment, spec: GuardSpec) -> Result<Vec<InstanceKey>, Refusal> {
        let changes = reload::plan(&self.spec, &spec)?;
        let old = std::mem::replace(&mut self.spec, Arc::new(spec));
        self.index_needs();
        let mut touched = Vec::new();
        for (name, _) in &changes {
            touched.extend(self.keys_of(name));
        }
        let replaced = self.hand_over_specs(now, &changes);
        touched.extend(self.take_down(now, &changes, &old));
        touched.extend(self.bring_up(now, &changes, &old, &replaced));
        for key in self.slots.keys().copied().collect::<Vec<_>>() {
            self.refresh_needs(now, key);
            self.settle(now, key);
        }
        let api = reload::api(&old.api, &self.spec.api);
        self.events.push_back(Event::Reloaded { changes, api });
        touched.sort();
        touched.dedup();
        Ok(touched)
    }

    /// Answers whose program has to be started anew for its spec.
    fn hand_over_specs(&mut self, now: Moment, changes: &[(ServiceName, Change)]) -> BTreeSet<InstanceKey> {
        let mut replaced = BTreeSet::new();
        for (name, _) in changes {
            let Some(new) = self.spec.services.get(name).cloned() else { continue };
            for key in self.keys_of(name).to_vec() {
                let Some(slot) = self.slots.get_mut(&key) else { continue };
                // Compared with what this instance has, not with the former spec: one that a reload took away
                // and another one brings back has missed what was between.
                match reload::compare(slot.service.newest_spec(), &new) {
                    Some(Change::Restart(_)) => {
                        replaced.insert(key);
                        slot.service.handle_replacement(new.clone());
                    }
                    Some(Change::Live(_)) => slot.service.handle_spec(now, new.clone()),
                    Some(Change::Add | Change::Remove) | None => {}
                }
                self.publish(key);
            }
        }
        replaced
    }

    /// Stops what is no longer in the spec, or disabled by it. Answers whom else that concerns.
    fn take_down(&mut self, now: Moment, changes: &[(ServiceName, Change)], old: &GuardSpec) -> Vec<InstanceKey> {
        let gone = Cause::Reloaded("removed".to_owned());
        let mut stops = Vec::new();
        let mut surplus = Vec::new();
        for (name, _) in changes {
            let instances = self.spec.services.get(name).map(|new| new.instances);
            for key in self.keys_of(name).to_vec() {
                let Some(slot) = self.slots.get_mut(&key) else { continue };
                if instances.is_some_and(|instances| slot.id.index < instances) {
                    continue;
                }
                slot.retired = true;
                self.leave_group(&[key]);
                // One instance less concerns nobody else, a service less may have to wait for others.
                if instances.is_some() { &mut surplus } else { &mut stops }.push((key, gone.clone()));
            }
        }
        for (name, _) in changes {
            let is_on = |spec: &GuardSpec| spec.services.get(name).map(|it| it.start != StartMode::Disabled);
            if is_on(old) == Some(true) && is_on(&self.spec) == Some(false) {
                stops.extend(self.stops_of(name, &Cause::Disabled));
            }
        }
        let also = stops.iter().map(|(key, _)| *key).collect();
        let at_rest = |(key, _): &(InstanceKey, Cause)| self.slots.get(key).is_some_and(|it| it.service.is_at_rest());
        let (waiting, living): (Vec<_>, Vec<_>) = surplus.into_iter().partition(at_rest);
        stops.extend(waiting);
        self.stop_in_order(now, stops);
        for (key, cause) in living {
            self.stop_one(now, key, cause);
        }
        also
    }

    /// Starts what the spec brings, awakens or changes. Answers whom that concerns.
    fn bring_up(
        &mut self,
        now: Moment,
        changes: &[(ServiceName, Change)],
        old: &GuardSpec,
        replaced: &BTreeSet<InstanceKey>,
    ) -> Vec<InstanceKey> {
        let mut touched = Vec::new();
        let mut begin: Vec<(InstanceKey, Cause)> = Vec::new();
        let mut anew: Vec<(InstanceKey, Cause)> = Vec::new();
        let mut need: BTreeSet<ServiceName> = BTreeSet::new();
        for (name, change) in changes {
            let Some(new) = self.spec.services.get(name).cloned() else { continue };
            let was = old.services.get(name).map(Arc::as_ref);
            let awake = self.awakened(&new, was);
            let others_up = self.kept_keys_of(name).into_iter().any(|key| self.is_wanted_up(key));
            for key in self.complete_instances(now, &new) {
                touched.push(key);
                if awake || others_up {
                    begin.push((key, Cause::Reloaded("instances".to_owned())));
                } else {
                    self.join_group(key, name);
                }
            }
            for key in self.kept_keys_of(name) {
                if awake && !self.is_wanted_up(key) && !self.is_kept_down(key) {
                    begin.push((key, Cause::Reloaded("start".to_owned())));
                }
            }
            let comes_back = others_up || self.keys_of(name).iter().any(|key| self.awaits_restart(*key));
            if was.is_some_and(|was| was.needs != new.needs) && comes_back {
                need.insert(name.clone());
            }
            if let Change::Restart(keys) = change {
                for key in self.kept_keys_of(name) {
                    if replaced.contains(&key) && self.is_wanted_up(key) {
                        anew.push((key, Cause::Reloaded(keys.join(", "))));
                    }
                }
            }
        }
        need.extend(begin.iter().filter_map(|(key, _)| self.slots.get(key)).map(|slot| slot.id.service.clone()));
        for name in need {
            begin.extend(self.needs_to_pull(&BTreeSet::from([name.clone()]), &Cause::Because(name)));
        }
        begin.extend(anew);
        let waves = self.waves();
        begin.sort_by_key(|(key, _)| waves.get(key).copied());
        self.start_all(now, begin);
        touched
    }

    /// Whether a service starts by itself under this spec and did not under the former one.
    fn awakened(&self, new: &ServiceSpec, was: Option<&ServiceSpec>) -> bool {
        match (was.map(|was| was.start), new.start) {
            (_, StartMode::Manual | StartMode::Disabled) => false,
            // While the delayed start is still to come, it comes for this one too.
            (None | Some(StartMode::Manual | StartMode::Disabled), StartMode::Delayed) => self.delayed.is_none(),
            (Some(StartMode::Delayed), StartMode::Auto) => self.delayed.is_some(),
            (None | Some(StartMode::Manual | StartMode::Disabled), StartMode::Auto) => true,
            (Some(StartMode::Auto | StartMode::Delayed), StartMode::Delayed) => false,
            (Some(StartMode::Auto), StartMode::Auto) => false,
        }
    }

    /// An instance that comes while its service is restarted together with everything starts with it.
    fn join_group(&mut self, key: InstanceKey, service: &ServiceName) {
        if self.keys_of(service).iter().any(|key| self.awaits_restart(*key))
            && let Some(group) = &mut self.restarting
        {
            group.keys.insert(key);
        }
    }

    fn is_kept_down(&self, key: InstanceKey) -> bool {
        self.delayed.as_ref().is_some_and(|delayed| delayed.kept_down.contains(&key))
    }

    fn kept_keys_of(&self, service: &ServiceName) -> Vec<InstanceKey> {
        let kept = |key: &&InstanceKey| self.slots.get(key).is_some_and(|slot| !slot.retired);
        self.keys_of(service).iter().filter(kept).copied().collect()
    }

    /// Adds the instances that the spec has and the guard has not. One that was taken away and is still ending
    /// is taken back: a second one of its name beside it would be a second tree of one instance.
    fn complete_instances(&mut self, now: Moment, new: &Arc<ServiceSpec>) -> Vec<InstanceKey> {
        let mut fresh = Vec::new();
        for index in 0..new.instances {
            let key = self.key(&InstanceId { service: new.name.clone(), index });
            match key.and_then(|key| Some((key, self.slots.get_mut(&key)?))) {
                None => fresh.push(self.add(now, new.clone(), index)),
                Some((key, slot)) if slot.retired => {
                    slot.retired = false;
                    fresh.push(key);
                }
                Some(_) => {}
            }
        }
        fresh
    }
}
