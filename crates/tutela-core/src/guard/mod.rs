//! The machine that owns everything one guard keeps: its instances, their order, their deadlines.
//!
//! Commands come in through [`Guard::handle_command`], which answers at once whom they concern; what
//! happened in the world comes in through [`Guard::handle`]. After each call the conductor drains
//! [`Guard::poll_action`] and [`Guard::poll_event`] and sleeps until [`Guard::poll_timeout`].
//!
//! Invariants, checked by the simulator:
//! - an instance is started only while everything it needs serves, and stopped only after everything that
//!   needs it is at rest;
//! - of an instance there is never a second living tree;
//! - whatever is asked, every wait that follows has a deadline or names whom it waits for.
//!
//! Deliberately absent: what an action does, and when the conductor gets to it.

mod command;
mod settle;
#[cfg(test)]
mod tests;

pub use command::{Command, Refusal, Target};

use crate::chance::Chance;
use crate::names::{InstanceId, InstanceKey, RunId, ServiceName};
use crate::order;
use crate::probe::Outcome;
use crate::reload;
use crate::service::{self, Action, Cause, Exit, History, HookOutcome, Notice, ProbeSlot, Service, Survivor};
use crate::spec::{GuardSpec, ServiceSpec, StartMode};
use crate::time::Moment;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Services with `start = "delayed"` start at the latest this long after the guard, as Windows has it.
pub const DELAYED_START: Duration = Duration::from_secs(120);

/// What happened to one instance. Sent by the hands.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The program was started.
    Spawned {
        /// The run.
        run: RunId,
        /// Its process.
        pid: u32,
    },
    /// The program could not be started.
    SpawnFailed {
        /// The run.
        run: RunId,
        /// Why, in words.
        reason: String,
    },
    /// The main process ended.
    Exited {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
    },
    /// Nothing of the tree is left.
    TreeEmpty {
        /// The run.
        run: RunId,
    },
    /// The main process left these behind.
    TreeLeft {
        /// The run.
        run: RunId,
        /// Who.
        left: Vec<Survivor>,
    },
    /// The tree was ended by force; these were in it.
    TreeKilled {
        /// The run.
        run: RunId,
        /// Who.
        survivors: Vec<Survivor>,
    },
    /// A hook ended.
    HookDone {
        /// The run.
        run: RunId,
        /// What became of it.
        outcome: HookOutcome,
    },
    /// A probe was answered.
    Answer {
        /// The run.
        run: RunId,
        /// Which probe.
        slot: ProbeSlot,
        /// Which question.
        attempt: u64,
        /// The answer.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
    /// A line of output matched a probe's pattern.
    LogMatch {
        /// The run.
        run: RunId,
        /// Which probe.
        slot: ProbeSlot,
    },
    /// The program said something over its notify socket.
    Notice {
        /// The run.
        run: RunId,
        /// What.
        notice: Notice,
    },
}

/// A fact to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// About one instance.
    Instance {
        /// Which.
        key: InstanceKey,
        /// Its name.
        id: InstanceId,
        /// What.
        event: service::Event,
    },
    /// A command was accepted.
    Commanded {
        /// What, in words: `stop api`.
        what: String,
        /// Who asked.
        by: String,
    },
    /// A spec was taken over.
    Reloaded {
        /// What changed.
        changes: Vec<(ServiceName, reload::Change)>,
    },
    /// An instance is there from this moment on.
    Added {
        /// Which.
        key: InstanceKey,
        /// Its name.
        id: InstanceId,
    },
    /// An instance is gone for good.
    Removed {
        /// Which.
        key: InstanceKey,
        /// Its name.
        id: InstanceId,
    },
}

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Guard {
    spec: Arc<GuardSpec>,
    needs: order::Needs,
    /// Who needs a service directly.
    needed_by: BTreeMap<ServiceName, Vec<ServiceName>>,
    slots: BTreeMap<InstanceKey, Slot>,
    by_service: BTreeMap<ServiceName, Vec<InstanceKey>>,
    deadlines: BTreeSet<(Moment, InstanceKey)>,
    delayed_until: Option<Moment>,
    restarting: Option<(BTreeSet<InstanceKey>, Cause)>,
    ending: bool,
    chance: Chance,
    next_key: u32,
    actions: VecDeque<(InstanceKey, Action)>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Slot {
    id: InstanceId,
    service: Service,
    deadline: Option<Moment>,
    served: bool,
    /// It is to stop as soon as nothing that needs it lives.
    pending_stop: Option<Cause>,
    /// It is to go once it is at rest.
    retired: bool,
}

impl Guard {
    /// A guard with every instance stopped. The spec has to be validated: its needs exist and have no cycle.
    pub fn new(now: Moment, spec: GuardSpec, seed: u64) -> Self {
        let mut guard = Guard {
            needs: order::Needs::new(),
            needed_by: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_service: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            delayed_until: None,
            restarting: None,
            ending: false,
            chance: Chance::from_seed(seed),
            next_key: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            spec: Arc::new(spec),
        };
        guard.index_needs();
        let services: Vec<Arc<ServiceSpec>> = guard.spec.services.values().cloned().map(Arc::new).collect();
        for service in services {
            for index in 0..service.instances {
                guard.add(now, service.clone(), index);
            }
        }
        guard
    }

    /// Takes back what an earlier guard knew of an instance. To be called before [`Guard::begin`]. An
    /// instance that is not in the spec any more is ignored.
    pub fn restore(&mut self, id: &InstanceId, history: History, last_exit: Option<(Exit, Moment)>) {
        if let Some(slot) = self.key(id).and_then(|key| self.slots.get_mut(&key)) {
            slot.service.restore(history, last_exit);
        }
    }

    /// Starts what the spec says to start. Instances of `kept_down` were stopped by an operator of the guard
    /// before this one and stay so.
    pub fn begin(&mut self, now: Moment, kept_down: &BTreeSet<InstanceId>) {
        let auto: BTreeSet<ServiceName> = self.services_with(StartMode::Auto);
        let wanted = order::needed_by_all(&self.needs, &auto);
        if !self.services_with(StartMode::Delayed).is_empty() {
            self.delayed_until = Some(now + DELAYED_START);
        }
        let keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        for key in &keys {
            self.refresh_needs(now, *key);
        }
        for key in keys {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let starts = wanted.contains(&slot.id.service)
                && slot.service.spec().start != StartMode::Disabled
                && !kept_down.contains(&slot.id);
            if starts {
                slot.service.handle_start(now, Cause::GuardStarted, false);
                self.settle(now, key);
            }
        }
        self.start_delayed_if_due(now);
    }

    /// Takes what happened to an instance. News of instances that are gone are ignored.
    pub fn handle(&mut self, now: Moment, key: InstanceKey, input: Input) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let service = &mut slot.service;
        match input {
            Input::Spawned { run, pid } => service.handle_spawned(now, run, pid),
            Input::SpawnFailed { run, reason } => service.handle_spawn_failed(now, run, reason),
            Input::Exited { run, exit } => service.handle_exited(now, run, exit),
            Input::TreeEmpty { run } => service.handle_tree_empty(now, run),
            Input::TreeLeft { run, left } => service.handle_tree_left(now, run, left),
            Input::TreeKilled { run, survivors } => service.handle_tree_killed(run, survivors),
            Input::HookDone { run, outcome } => service.handle_hook_done(now, run, outcome),
            Input::Answer { run, slot, attempt, outcome, took } => {
                service.handle_answer(now, run, slot, attempt, outcome, took);
            }
            Input::LogMatch { run, slot } => service.handle_log_match(now, run, slot),
            Input::Notice { run, notice } => service.handle_notice(now, run, notice),
        }
        self.settle(now, key);
    }

    /// Acts on every deadline that has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        // Each at most once a call, whatever deadline it answers with: a machine that asks for the past
        // must not hold up the others.
        let due: Vec<(Moment, InstanceKey)> = self.deadlines.range(..=(now, InstanceKey(u32::MAX))).copied().collect();
        for (at, key) in due {
            if let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.deadline == Some(at)) {
                self.deadlines.remove(&(at, key));
                slot.deadline = None;
                slot.service.handle_timeout(now);
                self.settle(now, key);
            }
        }
        self.start_delayed_if_due(now);
    }

    /// The computer slept for `slept`.
    pub fn handle_suspended(&mut self, now: Moment, slept: Duration) {
        let keys: Vec<InstanceKey> = self.slots.keys().copied().collect();
        for key in keys {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.service.handle_suspended(slept);
                self.settle(now, key);
            }
        }
    }

    /// The next thing to do, and for whom.
    pub fn poll_action(&mut self) -> Option<(InstanceKey, Action)> {
        self.actions.pop_front()
    }

    /// The next fact to publish.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next moment at which [`Guard::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        first.into_iter().chain(self.delayed_until).min()
    }

    // ---- what it knows ----

    /// The spec in force.
    pub fn spec(&self) -> &Arc<GuardSpec> {
        &self.spec
    }

    /// Every instance, by service and number.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceKey, &InstanceId, &Service)> {
        self.by_service
            .values()
            .flatten()
            .filter_map(|key| self.slots.get(key).map(|slot| (*key, &slot.id, &slot.service)))
    }

    /// The instances of one service, by number.
    pub fn instances_of(&self, service: &ServiceName) -> impl Iterator<Item = (InstanceKey, &InstanceId, &Service)> {
        self.keys_of(service).iter().filter_map(|key| self.slots.get(key).map(|slot| (*key, &slot.id, &slot.service)))
    }

    /// One instance.
    pub fn instance(&self, key: InstanceKey) -> Option<(&InstanceId, &Service)> {
        self.slots.get(&key).map(|slot| (&slot.id, &slot.service))
    }

    /// The key of an instance.
    pub fn key(&self, id: &InstanceId) -> Option<InstanceKey> {
        self.keys_of(&id.service).iter().copied().find(|key| self.slots.get(key).is_some_and(|slot| slot.id == *id))
    }

    /// Whether it is ending and nothing of it lives any more.
    pub fn is_finished(&self) -> bool {
        self.ending && self.slots.values().all(|slot| slot.service.is_at_rest())
    }

    /// Whether it is ending.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    // ---- shared by the parts ----

    fn keys_of(&self, service: &ServiceName) -> &[InstanceKey] {
        self.by_service.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    fn services_with(&self, mode: StartMode) -> BTreeSet<ServiceName> {
        self.spec
            .services
            .values()
            .filter(|service| service.start == mode)
            .map(|service| service.name.clone())
            .collect()
    }

    fn add(&mut self, now: Moment, spec: Arc<ServiceSpec>, index: u16) -> InstanceKey {
        let key = InstanceKey(self.next_key);
        self.next_key += 1;
        let id = InstanceId { service: spec.name.clone(), index };
        let cause = match spec.start {
            StartMode::Auto | StartMode::Manual => Cause::Manual,
            StartMode::Delayed => Cause::Delayed,
            StartMode::Disabled => Cause::Disabled,
        };
        let chance = Chance::from_seed(self.chance.next_u64());
        let service = Service::new(now, spec, index, cause, chance);
        self.by_service.entry(id.service.clone()).or_default().push(key);
        self.events.push_back(Event::Added { key, id: id.clone() });
        let slot = Slot { id, service, deadline: None, served: false, pending_stop: None, retired: false };
        self.slots.insert(key, slot);
        key
    }

    fn index_needs(&mut self) {
        self.needs = self.spec.services.values().map(|service| (service.name.clone(), service.needs.clone())).collect();
        self.needed_by.clear();
        for (name, needs) in &self.needs {
            for need in needs {
                self.needed_by.entry(need.clone()).or_default().push(name.clone());
            }
        }
    }
}
