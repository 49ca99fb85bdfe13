//! What one instance's news mean for the others: needs, pending stops, replacements, deadlines.

use super::{Event, Guard};
use crate::names::{InstanceKey, ServiceName};
use crate::order;
use crate::service::{Cause, StateName};
use crate::spec::StartMode;
use crate::time::Moment;
use std::collections::BTreeSet;

impl Guard {
    /// Brings everything up to date after an instance was touched. Instances that are touched by this in
    /// turn are settled too; a worklist instead of recursion, since chains of needs can be long.
    pub(super) fn settle(&mut self, now: Moment, key: InstanceKey) {
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            self.settle_one(now, key, &mut open);
        }
    }

    fn settle_one(&mut self, now: Moment, key: InstanceKey, open: &mut Vec<InstanceKey>) {
        self.finish_rest(key);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        while let Some(action) = slot.service.poll_action() {
            self.actions.push_back((key, action));
        }
        while let Some(event) = slot.service.poll_event() {
            self.events.push_back(Event::Instance { key, id: slot.id.clone(), event });
        }
        let deadline = slot.service.poll_timeout();
        if slot.deadline != deadline {
            if let Some(old) = std::mem::replace(&mut slot.deadline, deadline) {
                self.deadlines.remove(&(old, key));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, key));
            }
        }
        let serves = slot.service.serves();
        let serves_changed = std::mem::replace(&mut slot.served, serves) != serves;
        let at_rest = slot.service.is_at_rest();
        let service = slot.id.service.clone();
        if serves_changed {
            self.tell_dependents(now, &service, open);
        }
        if at_rest {
            self.release_pending_stops(now, &service, open);
            self.restart_group_if_at_rest(now, open);
        }
    }

    fn tell_dependents(&mut self, now: Moment, service: &ServiceName, open: &mut Vec<InstanceKey>) {
        let dependents = self.needed_by.get(service).cloned().unwrap_or_default();
        for dependent in dependents {
            for key in self.keys_of(&dependent).to_vec() {
                self.refresh_needs(now, key);
                open.push(key);
            }
        }
    }

    /// Tells an instance which of its needs are not served.
    pub(super) fn refresh_needs(&mut self, now: Moment, key: InstanceKey) {
        let Some(slot) = self.slots.get(&key) else { return };
        let needs = self.needs.get(&slot.id.service).map(Vec::as_slice).unwrap_or_default();
        let waits_for: Vec<ServiceName> = needs.iter().filter(|need| !self.all_serve(need)).cloned().collect();
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.service.handle_needs(now, waits_for);
        }
    }

    fn all_serve(&self, service: &ServiceName) -> bool {
        let keys = self.keys_of(service);
        !keys.is_empty() && keys.iter().all(|key| self.slots.get(key).is_some_and(|slot| slot.service.serves()))
    }

    /// A need that waits to stop may do so once nothing that needs it lives.
    fn release_pending_stops(&mut self, now: Moment, service: &ServiceName, open: &mut Vec<InstanceKey>) {
        let needs = self.needs.get(service).cloned().unwrap_or_default();
        for need in needs {
            if self.dependents_live(&need) {
                continue;
            }
            for key in self.keys_of(&need).to_vec() {
                let Some(slot) = self.slots.get_mut(&key) else { continue };
                if let Some(cause) = slot.pending_stop.take() {
                    slot.service.handle_stop(now, cause);
                    open.push(key);
                }
            }
        }
    }

    pub(super) fn dependents_live(&self, service: &ServiceName) -> bool {
        let dependents = self.needed_by.get(service).map(Vec::as_slice).unwrap_or_default();
        dependents
            .iter()
            .flat_map(|dependent| self.keys_of(dependent))
            .any(|key| self.slots.get(key).is_some_and(|slot| !slot.service.is_at_rest()))
    }

    fn restart_group_if_at_rest(&mut self, now: Moment, open: &mut Vec<InstanceKey>) {
        let Some((keys, _)) = &self.restarting else { return };
        let stopped =
            |key: &InstanceKey| self.slots.get(key).is_none_or(|slot| slot.service.state_name() == StateName::Stopped);
        if !keys.iter().all(stopped) {
            return;
        }
        let Some((keys, cause)) = self.restarting.take() else { return };
        if self.ending {
            return;
        }
        for key in &keys {
            self.refresh_needs(now, *key);
        }
        for key in keys {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.service.handle_start(now, cause.clone(), true);
                open.push(key);
            }
        }
    }

    /// What waits for an instance to be at rest: its removal.
    fn finish_rest(&mut self, key: InstanceKey) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if !slot.service.is_at_rest() {
            return;
        }
        if slot.retired {
            let slot = self.slots.remove(&key);
            if let Some(mut slot) = slot {
                while let Some(event) = slot.service.poll_event() {
                    self.events.push_back(Event::Instance { key, id: slot.id.clone(), event });
                }
                while let Some(action) = slot.service.poll_action() {
                    self.actions.push_back((key, action));
                }
                if let Some(at) = slot.deadline {
                    self.deadlines.remove(&(at, key));
                }
                if let Some(keys) = self.by_service.get_mut(&slot.id.service) {
                    keys.retain(|kept| *kept != key);
                    if keys.is_empty() {
                        self.by_service.remove(&slot.id.service);
                    }
                }
                self.events.push_back(Event::Removed { key, id: slot.id });
            }
        }
    }

    /// Services with a delayed start begin when all that start at once have settled, or when they have
    /// waited long enough.
    pub(super) fn start_delayed_if_due(&mut self, now: Moment) {
        let Some(until) = self.delayed_until else { return };
        let settled = self
            .slots
            .values()
            .filter(|slot| slot.service.spec().start == StartMode::Auto)
            .all(|slot| slot.service.has_settled());
        if now < until && !settled {
            return;
        }
        self.delayed_until = None;
        let wanted: BTreeSet<ServiceName> = order::needed_by_all(&self.needs, &self.services_with(StartMode::Delayed));
        let keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        for key in keys {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let starts = wanted.contains(&slot.id.service) && slot.service.spec().start != StartMode::Disabled;
            if starts && !slot.service.is_wanted_up() && !self.ending {
                slot.service.handle_start(now, Cause::Delayed, false);
                self.settle(now, key);
            }
        }
    }
}
