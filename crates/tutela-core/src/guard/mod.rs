//! The machine that owns everything one guard keeps: its instances, their order, their deadlines.
//!
//! Commands come in through [`Guard::handle_command`], which answers at once whom they concern; what
//! happened in the world comes in through [`Guard::handle`]. After each call the conductor drains
//! [`Guard::poll_action`] and [`Guard::poll_event`] and sleeps until [`Guard::poll_timeout`].
//!
//! Invariants, checked by the simulator:
//! - an instance is started only while everything it needs serves, and a service is stopped only after
//!   everything that needs it is at rest (to restart a service or to stop one instance concerns it alone);
//! - of an instance there is never a second living tree;
//! - whatever is asked, every wait that follows has a deadline or names whom it waits for.
//!
//! Deliberately absent: what an action does, and when the conductor gets to it.

mod begin;
mod command;
mod heirs;
mod reload;
mod settle;
mod tally;
#[cfg(test)]
mod tests;

pub use command::{Command, Refusal, Target};
pub use heirs::is_heir;
pub use tally::Tally;

use crate::chance::Chance;
use crate::names::{InstanceId, InstanceKey, RunId, ServiceName};
use crate::order;
use crate::probe::Outcome;
use crate::reload::Change;
use crate::service::{self, Action, Cause, Exit, HookOutcome, Notice, ProbeSlot, Service, StateName, Survivor};
use crate::spec::{GuardSpec, ServiceSpec, StartMode, StopStep};
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
    /// A request to end reached nobody, and that is certain: the next one follows at once.
    Undelivered {
        /// The run.
        run: RunId,
        /// Which rung of the ladder it was.
        rung: usize,
        /// How it was asked.
        step: StopStep,
        /// Why nobody heard it, in words.
        reason: String,
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
        changes: Vec<(ServiceName, Change)>,
        /// What changed of the API over the network, in words.
        api: Vec<String>,
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
    /// By the spec in force; of a service that it has no longer, as long as anything of it lives, by the last
    /// one that had it.
    needs: order::Needs,
    /// Who needs a service directly.
    needed_by: BTreeMap<ServiceName, Vec<ServiceName>>,
    slots: BTreeMap<InstanceKey, Slot>,
    by_service: BTreeMap<ServiceName, Vec<InstanceKey>>,
    deadlines: BTreeSet<(Moment, InstanceKey)>,
    delayed: Option<Delayed>,
    restarting: Option<Restarting>,
    /// What was taken back of an earlier guard, until this one begins.
    taken: BTreeMap<InstanceKey, begin::Taken>,
    ending: bool,
    chance: Chance,
    next_key: u32,
    /// Whose estate may be another one than when it was last asked for.
    touched: BTreeSet<InstanceKey>,
    actions: VecDeque<(InstanceKey, Action)>,
    events: VecDeque<Event>,
}

/// The start of services with `start = "delayed"` that is still to come.
#[derive(Debug)]
struct Delayed {
    until: Moment,
    /// Who was stopped by an operator and is not to start with them.
    kept_down: BTreeSet<InstanceKey>,
}

/// All of these are stopped; once they are, all of them start.
#[derive(Debug)]
struct Restarting {
    keys: BTreeSet<InstanceKey>,
    cause: Cause,
}

/// What of an instance matters to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    /// To those that need it.
    serves: bool,
    wanted_up: bool,
    /// To those that it needs and that are to stop: it lives, and not in order to stay. Who is to stay up holds up
    /// nobody: there is another instance for it, or it was started though its need is disabled.
    holds_needs: bool,
}

impl Standing {
    fn of(service: &Service) -> Self {
        let wanted_up = service.is_wanted_up();
        let stays = wanted_up && service.state_name() != StateName::Stopping;
        Standing { serves: service.serves(), wanted_up, holds_needs: !service.is_at_rest() && !stays }
    }
}

#[derive(Debug)]
struct Slot {
    id: InstanceId,
    service: Service,
    deadline: Option<Moment>,
    /// What others were told last.
    standing: Standing,
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
            delayed: None,
            restarting: None,
            taken: BTreeMap::new(),
            ending: false,
            chance: Chance::from_seed(seed),
            next_key: 0,
            touched: BTreeSet::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            spec: Arc::new(spec),
        };
        guard.index_needs();
        let services: Vec<Arc<ServiceSpec>> = guard.spec.services.values().cloned().collect();
        for service in services {
            for index in 0..service.instances {
                guard.add(now, service.clone(), index);
            }
        }
        guard
    }

    /// Takes what happened to an instance. News of instances that are gone are ignored.
    pub fn handle(&mut self, now: Moment, key: InstanceKey, input: Input) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if matches!(input, Input::Notice { .. } | Input::LogMatch { .. }) {
            // What a program says once is remembered, also where nothing follows from it yet.
            self.touched.insert(key);
        }
        let service = &mut slot.service;
        match input {
            Input::Spawned { run, pid } => service.handle_spawned(now, run, pid),
            Input::SpawnFailed { run, reason } => service.handle_spawn_failed(now, run, reason),
            Input::Exited { run, exit } => service.handle_exited(now, run, exit),
            Input::TreeEmpty { run } => service.handle_tree_empty(now, run),
            Input::TreeLeft { run, left } => service.handle_tree_left(now, run, left),
            Input::Undelivered { run, rung, step, reason } => {
                service.handle_undelivered(now, run, rung, step, reason);
            }
            Input::TreeKilled { run, survivors } => service.handle_tree_killed(run, survivors),
            Input::HookDone { run, outcome } => service.handle_hook_done(now, run, outcome),
            Input::Answer { run, slot, attempt, outcome, took } => {
                service.handle_answer(now, run, slot, attempt, outcome, took);
            }
            Input::LogMatch { run, slot } => service.handle_log_match(now, run, slot),
            Input::Notice { run, notice } => service.handle_notice(now, run, notice),
        }
        self.settle(now, key);
        self.start_delayed_if_due(now);
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
        self.touch_all();
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
        first.into_iter().chain(self.delayed.as_ref().map(|delayed| delayed.until)).min()
    }

    /// Whose [`Guard::estate`] is to be noted down: all those of which it may be another one than at the last call.
    pub fn take_touched(&mut self) -> BTreeSet<InstanceKey> {
        std::mem::take(&mut self.touched)
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

    /// Whether an instance waits for others to stop, to be started again with them.
    pub fn awaits_restart(&self, key: InstanceKey) -> bool {
        self.restarting.as_ref().is_some_and(|group| group.keys.contains(&key))
    }

    /// Whether it is ending.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    // ---- shared by the parts ----

    fn keys_of(&self, service: &ServiceName) -> &[InstanceKey] {
        self.by_service.get(service).map(Vec::as_slice).unwrap_or_default()
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
        let slots = &self.slots;
        let keys = self.by_service.entry(id.service.clone()).or_default();
        let at = keys.partition_point(|key| slots.get(key).is_some_and(|slot| slot.id.index < index));
        keys.insert(at, key);
        self.events.push_back(Event::Added { key, id: id.clone() });
        let standing = Standing::default();
        self.slots.insert(key, Slot { id, service, deadline: None, standing, pending_stop: None, retired: false });
        key
    }

    /// What a command, a reload or a sleep changes, nobody says of each instance.
    fn touch_all(&mut self) {
        self.touched.extend(self.slots.keys());
    }

    fn remove(&mut self, key: InstanceKey) {
        let Some(slot) = self.slots.remove(&key) else { return };
        self.touched.remove(&key);
        if let Some(at) = slot.deadline {
            self.deadlines.remove(&(at, key));
        }
        if let Some(keys) = self.by_service.get_mut(&slot.id.service) {
            keys.retain(|kept| *kept != key);
            if keys.is_empty() {
                self.by_service.remove(&slot.id.service);
                if !self.spec.services.contains_key(&slot.id.service) {
                    self.forget_needs(&slot.id.service);
                }
            }
        }
        self.events.push_back(Event::Removed { key, id: slot.id });
    }

    fn index_needs(&mut self) {
        let mut needs: order::Needs =
            self.spec.services.values().map(|service| (service.name.clone(), service.needs.clone())).collect();
        for (name, former) in std::mem::take(&mut self.needs) {
            if self.by_service.contains_key(&name) {
                needs.entry(name).or_insert(former);
            }
        }
        self.needs = needs;
        self.needed_by.clear();
        for (name, needs) in &self.needs {
            for need in needs {
                self.needed_by.entry(need.clone()).or_default().push(name.clone());
            }
        }
    }

    fn forget_needs(&mut self, service: &ServiceName) {
        for need in self.needs.remove(service).unwrap_or_default() {
            if let Some(dependents) = self.needed_by.get_mut(&need) {
                dependents.retain(|dependent| dependent != service);
            }
        }
    }
}
