//! How a guard begins: with what the spec says, with what an earlier guard remembered in its state, and with what
//! an earlier guard that was killed left alive.
//!
//! Those that are taken back go on as they were. What they are to others is known before anything of them moves:
//! so nothing starts on the strength of a need that is about to end, and nothing ends before those that need it.

use super::{Delayed, Guard, Restarting, Standing};
use crate::names::{InstanceId, InstanceKey, RunId, ServiceName};
use crate::order;
use crate::service::{Cause, Estate, Exit, History, StateName, Then};
use crate::spec::{ServiceSpec, StartMode};
use crate::time::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One that was taken back.
#[derive(Debug)]
pub(super) struct Taken {
    /// It is to start if this guard starts such a one.
    begins: bool,
    /// What of its spec needs a new start.
    changed: Vec<&'static str>,
}

impl Guard {
    /// Takes back what an earlier guard knew of an instance. To be called before [`Guard::begin`]. An
    /// instance that is not in the spec any more is ignored.
    pub fn restore(&mut self, id: &InstanceId, run: RunId, history: History, last_exit: Option<(Exit, Moment)>) {
        if let Some(slot) = self.key(id).and_then(|key| self.slots.get_mut(&key)) {
            slot.service.restore(run, history, last_exit);
        }
    }

    /// What the next guard needs to go on with an instance. `None` when there is no such instance.
    pub fn estate(&self, key: InstanceKey) -> Option<Estate> {
        let slot = self.slots.get(&key)?;
        let mut estate = slot.service.estate();
        estate.asked_down = self.is_asked_down(key);
        let mut because = slot.pending_stop.as_ref();
        estate.then = if slot.retired {
            Then::Remove
        } else if (self.ending && !estate.asked_down) || self.awaits_delayed_start(key) {
            Then::Begin
        } else if let Some(group) = self.restarting.as_ref().filter(|group| group.keys.contains(&key)) {
            because = Some(&group.cause);
            Then::Restart
        } else {
            Then::Keep
        };
        estate.then_because = because.map(ToString::to_string).unwrap_or_default();
        Some(estate)
    }

    /// Whether an instance is down, or is going down, because somebody asked for that.
    pub fn is_asked_down(&self, key: InstanceKey) -> bool {
        let Some(slot) = self.slots.get(&key) else { return false };
        let service = &slot.service;
        // Of one that waits to stop, its own cause is why it runs, or is held still.
        let asked = match &slot.pending_stop {
            Some(cause) => !service.is_wanted_up() && service.is_asked_by(cause),
            None => service.is_asked_down(),
        };
        asked && !self.awaits_restart(key)
    }

    /// Whether it is down only because the delayed start is still to come.
    fn awaits_delayed_start(&self, key: InstanceKey) -> bool {
        let (Some(delayed), Some(slot)) = (&self.delayed, self.slots.get(&key)) else { return false };
        slot.service.state_name() == StateName::Stopped
            && !delayed.kept_down.contains(&key)
            && !self.awaits_restart(key)
            && self.starting_with(StartMode::Delayed, &delayed.kept_down).contains(&slot.id.service)
    }

    /// Goes on with an instance where an earlier guard was. To be called after [`Guard::new`] and before
    /// [`Guard::begin`], once for each. `changed` names the keys of its spec that need a new start and are not as
    /// the running program was started with: it is ended and started anew. `None` when there is no such instance.
    pub fn take_back(
        &mut self,
        now: Moment,
        id: &InstanceId,
        estate: Estate,
        changed: Vec<&'static str>,
    ) -> Option<InstanceKey> {
        let key = self.key(id)?;
        if self.taken.contains_key(&key) {
            return Some(key);
        }
        // One that was to go and is in the spec again is as one that the spec brings.
        let begins = matches!(estate.then, Then::Begin | Then::Remove);
        let because = match estate.then {
            // What the end of a guard stops is not forgiven by it.
            Then::Begin | Then::Remove => Cause::GuardEnding,
            Then::Keep | Then::Restart if estate.then_because.is_empty() => Cause::Kept(estate.cause.clone()),
            Then::Keep | Then::Restart => Cause::Kept(estate.then_because.clone()),
        };
        if estate.then == Then::Restart {
            let cause = because.clone();
            self.restarting.get_or_insert(Restarting { keys: BTreeSet::new(), cause }).keys.insert(key);
        }
        self.hand_over(now, key, estate, because);
        if let Some(slot) = self.slots.get_mut(&key).filter(|_| !changed.is_empty()) {
            let spec = slot.service.spec().clone();
            slot.service.handle_replacement(spec);
        }
        self.taken.insert(key, Taken { begins, changed });
        Some(key)
    }

    /// Takes over an instance that lives and is not in the spec any more: it is stopped as `spec` says, then it is
    /// gone. To be called where [`Guard::take_back`] answers `None`; one that is in the spec goes on.
    pub fn take_back_retired(
        &mut self,
        now: Moment,
        id: &InstanceId,
        estate: Estate,
        spec: Arc<ServiceSpec>,
    ) -> InstanceKey {
        if let Some(key) = self.take_back(now, id, estate.clone(), Vec::new()) {
            return key;
        }
        let removed = !self.spec.services.contains_key(&id.service);
        let spec = if spec.name == id.service {
            spec
        } else {
            Arc::new(ServiceSpec { name: id.service.clone(), ..(*spec).clone() })
        };
        let needs = spec.needs.clone();
        let key = self.add(now, spec, id.index);
        if removed {
            self.adopt_needs(&id.service, needs);
        }
        let gone = Cause::Reloaded("removed".to_owned());
        self.hand_over(now, key, Estate { then: Then::Remove, ..estate }, gone);
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.retired = true;
            // One instance less concerns nobody else, a service less may have to wait for others.
            if let Some(cause) = slot.pending_stop.take_if(|_| !removed) {
                slot.service.handle_stop(now, cause);
                slot.standing = Standing::of(&slot.service);
            }
        }
        self.taken.insert(key, Taken { begins: false, changed: Vec::new() });
        key
    }

    fn hand_over(&mut self, now: Moment, key: InstanceKey, mut estate: Estate, because: Cause) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        estate.wanted_up &= estate.then == Then::Keep;
        slot.service.take_back(now, estate);
        slot.pending_stop = slot.service.awaits_stop().then_some(because);
        // Nothing of it is news to the others: who needs it is told when this guard begins.
        slot.standing = Standing::of(&slot.service);
        self.publish(key);
    }

    /// What a service that is not in the spec any more had needed. Needs that would go round are nobody's.
    fn adopt_needs(&mut self, service: &ServiceName, needs: Vec<ServiceName>) {
        self.needs.insert(service.clone(), needs);
        self.index_needs();
        if order::start_waves(&self.needs).is_err() {
            self.needs.insert(service.clone(), Vec::new());
            self.index_needs();
        }
    }

    /// Starts what the spec says to start. Instances of `kept_down` were stopped by an operator of the guard
    /// before this one and stay so. What was taken back goes on as it was.
    pub fn begin(&mut self, now: Moment, kept_down: &BTreeSet<InstanceId>) {
        let taken = std::mem::take(&mut self.taken);
        let goes_on = |key: &InstanceKey| taken.get(key).is_some_and(|taken| !taken.begins);
        let down = |key: &InstanceKey| goes_on(key) && !self.is_wanted_up(*key) && !self.awaits_restart(*key);
        let kept = self.slots.iter().filter(|(key, slot)| {
            let named = kept_down.contains(&slot.id) && !goes_on(key);
            named || down(key)
        });
        let kept_down: BTreeSet<InstanceKey> = kept.map(|(key, _)| *key).collect();
        let wanted = self.starting_with(StartMode::Auto, &kept_down);
        if self.spec.services.values().any(|service| service.start == StartMode::Delayed) {
            self.delayed = Some(Delayed { until: now + super::DELAYED_START, kept_down: kept_down.clone() });
        }
        let mut keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        if !taken.is_empty() {
            let waves = self.waves();
            keys.sort_by_key(|key| waves.get(key).copied());
        }
        for key in keys.iter().filter(|key| !goes_on(key)) {
            self.refresh_needs(now, *key);
        }
        let begins = |key: &InstanceKey| {
            !goes_on(key)
                && !kept_down.contains(key)
                && self.slots.get(key).is_some_and(|slot| {
                    wanted.contains(&slot.id.service) && slot.service.spec().start != StartMode::Disabled
                })
        };
        let begins: BTreeSet<InstanceKey> = keys.iter().copied().filter(begins).collect();
        for key in &begins {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.pending_stop = None;
            }
        }
        self.stop_disabled(now, &taken);
        // A common restart that is complete already goes on when everybody else is where they belong.
        let group = self.restarting.take();
        for key in &keys {
            if begins.contains(key) {
                self.refresh_needs(now, *key);
            }
            let Some(slot) = self.slots.get_mut(key) else { continue };
            let changed = taken.get(key).map(|taken| taken.changed.as_slice()).unwrap_or_default();
            if begins.contains(key) {
                slot.service.handle_start(now, Cause::GuardStarted, false);
                self.settle(now, *key);
            } else if goes_on(key) {
                let anew = slot.service.is_wanted_up() && !changed.is_empty();
                self.refresh_needs(now, *key);
                if let Some(slot) = self.slots.get_mut(key).filter(|_| anew) {
                    slot.service.handle_start(now, Cause::Reloaded(changed.join(", ")), true);
                }
                self.settle(now, *key);
            }
        }
        self.restarting = group;
        if !taken.is_empty() {
            self.settle_taken(now, keys);
        }
        self.start_delayed_if_due(now);
        self.touch_all();
    }

    /// What is disabled in the spec of this guard stops, and what needs it, as after a reload.
    fn stop_disabled(&mut self, now: Moment, taken: &BTreeMap<InstanceKey, Taken>) {
        let up = taken.keys().filter(|key| self.is_wanted_up(**key));
        let services = up.filter_map(|key| self.slots.get(key)).map(|slot| slot.id.service.clone());
        let disabled: BTreeSet<ServiceName> = services.filter(|service| self.is_disabled(service)).collect();
        let mut stops = Vec::new();
        for service in disabled {
            stops.extend(self.stops_of(&service, &Cause::Disabled));
        }
        self.stop_in_order(now, stops);
    }

    /// Everybody learns what it needs; who waited only for others to be at rest goes on.
    fn settle_taken(&mut self, now: Moment, keys: Vec<InstanceKey>) {
        for key in keys {
            self.refresh_needs(now, key);
            self.settle(now, key);
        }
        let mut open = Vec::new();
        self.restart_group_if_at_rest(now, &mut open);
        self.settle_all(now, open);
    }
}
