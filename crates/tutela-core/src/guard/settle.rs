//! What one instance's news mean for the others: needs, pending stops, removals, deadlines.

use super::{Event, Guard, Slot, Standing};
use crate::names::{InstanceKey, ServiceName};
use crate::order;
use crate::service::{Cause, StateName};
use crate::spec::StartMode;
use crate::time::Moment;
use std::collections::{BTreeMap, BTreeSet};

impl Guard {
    /// Brings everything up to date after an instance was touched. Instances that are touched by this in
    /// turn are settled too; a worklist instead of recursion, since chains of needs can be long.
    pub(super) fn settle(&mut self, now: Moment, key: InstanceKey) {
        self.settle_all(now, vec![key]);
    }

    pub(super) fn settle_all(&mut self, now: Moment, mut open: Vec<InstanceKey>) {
        while let Some(key) = open.pop() {
            self.settle_one(now, key, &mut open);
        }
    }

    /// Hands on what an instance wants done and told, and takes its deadline.
    pub(super) fn publish(&mut self, key: InstanceKey) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        while let Some(action) = slot.service.poll_action() {
            self.touched.insert(key);
            self.actions.push_back((key, action));
        }
        while let Some(event) = slot.service.poll_event() {
            self.touched.insert(key);
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
    }

    fn settle_one(&mut self, now: Moment, key: InstanceKey, open: &mut Vec<InstanceKey>) {
        self.publish(key);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let standing = Standing::of(&slot.service);
        let before = std::mem::replace(&mut slot.standing, standing);
        let at_rest = slot.service.is_at_rest();
        let gone = at_rest && slot.retired;
        let service = slot.id.service.clone();
        if before.holds_needs && !standing.holds_needs {
            self.reopen_pending_stops(&service, open);
        }
        if gone {
            self.remove(key);
        }
        if (before.serves, before.wanted_up) != (standing.serves, standing.wanted_up) {
            self.tell_dependents(now, &service, open);
        }
        if at_rest {
            self.restart_group_if_at_rest(now, open);
        }
        self.stop_if_due(now, key, open);
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
        let waits_for: Vec<ServiceName> = needs.iter().filter(|need| !self.is_served(need)).cloned().collect();
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.service.handle_needs(now, waits_for);
        }
    }

    /// Whether a need is there: every instance of it that is wanted up serves, and there is one.
    pub(super) fn is_served(&self, service: &ServiceName) -> bool {
        let wanted = |slot: &&Slot| !slot.retired && slot.service.is_wanted_up();
        let mut slots = self.keys_of(service).iter().filter_map(|key| self.slots.get(key)).filter(wanted).peekable();
        slots.peek().is_some() && slots.all(|slot| slot.service.serves())
    }

    /// An instance that came to rest, or is to stay up after all, may be what a stop has waited for.
    fn reopen_pending_stops(&self, service: &ServiceName, open: &mut Vec<InstanceKey>) {
        for need in self.needs.get(service).map(Vec::as_slice).unwrap_or_default() {
            let pending = |key: &&InstanceKey| self.slots.get(key).is_some_and(|slot| slot.pending_stop.is_some());
            open.extend(self.keys_of(need).iter().filter(pending));
        }
    }

    /// Whether the stop of an instance has to wait: its program lives, and so does something that needs it.
    fn stop_has_to_wait(&self, key: InstanceKey) -> bool {
        let Some(slot) = self.slots.get(&key) else { return false };
        let dependents = self.needed_by.get(&slot.id.service).map(Vec::as_slice).unwrap_or_default();
        slot.service.pid().is_some()
            && dependents
                .iter()
                .flat_map(|dependent| self.keys_of(dependent))
                .filter_map(|key| self.slots.get(key))
                .any(|slot| Standing::of(&slot.service).holds_needs)
    }

    fn stop_if_due(&mut self, now: Moment, key: InstanceKey, open: &mut Vec<InstanceKey>) {
        let pending = self.slots.get(&key).is_some_and(|slot| slot.pending_stop.is_some());
        if !pending || self.stop_has_to_wait(key) {
            return;
        }
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if let Some(cause) = slot.pending_stop.take() {
            slot.service.handle_stop(now, cause);
            // One that ends already does so for another reason from here on, and says nothing.
            self.touched.insert(key);
            open.push(key);
        }
    }

    /// When everything that is restarted together is stopped, all of it starts, in the order of needs.
    pub(super) fn restart_group_if_at_rest(&mut self, now: Moment, open: &mut Vec<InstanceKey>) {
        let stopped =
            |key: &InstanceKey| self.slots.get(key).is_none_or(|slot| slot.service.state_name() == StateName::Stopped);
        let Some(group) = self.restarting.take_if(|group| group.keys.iter().all(stopped)) else { return };
        // Needs first, so that nobody starts on the strength of an instance beside those that are about to.
        let waves = self.waves();
        let mut keys: Vec<InstanceKey> = group.keys.into_iter().collect();
        keys.sort_by_key(|key| waves.get(key).copied());
        for key in &keys {
            self.refresh_needs(now, *key);
            if let Some(slot) = self.slots.get_mut(key) {
                slot.service.handle_start(now, group.cause.clone(), true);
            }
        }
        // The worklist is taken from its end.
        open.extend(keys.into_iter().rev());
    }

    /// The services that start by themselves in this mode, and what they need. Who has no instance to start
    /// needs nothing.
    pub(super) fn starting_with(&self, mode: StartMode, kept_down: &BTreeSet<InstanceKey>) -> BTreeSet<ServiceName> {
        let starts = |name: &&ServiceName| {
            self.keys_of(name)
                .iter()
                .any(|key| !kept_down.contains(key) && self.slots.get(key).is_some_and(|slot| !slot.retired))
        };
        let services = self.spec.services.values().filter(|service| service.start == mode);
        let roots = services.map(|service| &service.name).filter(starts).cloned().collect();
        order::needed_by_all(&self.needs, &roots)
    }

    /// In which wave each instance starts. Several that are started in one go start in this order, so that nobody
    /// does so on the strength of a need that is about to begin, or to begin anew.
    pub(super) fn waves(&self) -> BTreeMap<InstanceKey, usize> {
        let waves = order::start_waves(&self.needs).unwrap_or_default();
        let services = waves.iter().enumerate().flat_map(|(wave, names)| names.iter().map(move |name| (name, wave)));
        services.flat_map(|(name, wave)| self.keys_of(name).iter().map(move |key| (*key, wave))).collect()
    }

    /// Services with a delayed start begin when all that start at once have settled, or when they have
    /// waited long enough.
    pub(super) fn start_delayed_if_due(&mut self, now: Moment) {
        let Some(delayed) = &self.delayed else { return };
        let starts_at_once = |slot: &&Slot| {
            let mode = self.spec.services.get(&slot.id.service).map(|service| service.start);
            !slot.retired && mode == Some(StartMode::Auto)
        };
        let settled = || self.slots.values().filter(starts_at_once).all(|slot| slot.service.has_settled());
        if now < delayed.until && !settled() {
            return;
        }
        let Some(delayed) = self.delayed.take() else { return };
        // Whoever waited for it no longer does, whether it starts or not.
        self.touch_all();
        let wanted = self.starting_with(StartMode::Delayed, &delayed.kept_down);
        let waves = self.waves();
        let mut keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        keys.sort_by_key(|key| waves.get(key).copied());
        for key in keys {
            let Some(slot) = self.slots.get(&key) else { continue };
            let starts = wanted.contains(&slot.id.service)
                && !self.is_disabled(&slot.id.service)
                && !slot.retired
                && !slot.service.is_wanted_up()
                && !self.restarting.as_ref().is_some_and(|group| group.keys.contains(&key))
                && !delayed.kept_down.contains(&key);
            if let Some(slot) = self.slots.get_mut(&key).filter(|_| starts) {
                slot.service.handle_start(now, Cause::Delayed, false);
                self.settle(now, key);
            }
        }
    }
}
