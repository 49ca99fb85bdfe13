//! What has to be: a model of a guard that is simple because it decides nothing.
//!
//! It is told the operator's words and the news, and watches what the real guard says and does. From the words
//! it knows who is wanted up (`commands`), from the ends it computes what has to come next (`policy`), from both
//! it judges every transition, start and stop (`watch`) and, after each step, everybody (`standing`). It has no
//! timers, no ladder and no worklist, and shares no code with the guard but the names of things.

mod commands;
mod lives;
mod policy;
mod standing;
mod watch;

pub use commands::Order;
pub use lives::Legacy;
pub use watch::Told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::{DELAYED_START, Guard};
use tutela_core::names::{InstanceId, InstanceKey, RunId, ServiceName};
use tutela_core::probe::Verdict;
use tutela_core::service::{Exit, History, ProbeRole, ProbeSlot, RestartCause, StateName};
use tutela_core::spec::{GuardSpec, ServiceSpec, StartMode};
use tutela_core::time::Moment;

/// Restarts for these reasons somebody wished.
const WISHED: [RestartCause; 2] = [RestartCause::Asked, RestartCause::Reloaded];

/// How an instance's run came to its end, as far as the policy asks.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// Its program ended by itself.
    Exited(Exit),
    /// It could not be started, was unhealthy, was late.
    Failed,
}

/// How a stop has to go about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopWay {
    /// After everything that needs it.
    InOrder,
    /// At once.
    AtOnce,
}

/// What is known and wanted of one instance.
#[derive(Debug, Clone)]
struct Model {
    key: Option<InstanceKey>,
    spec: Arc<ServiceSpec>,
    wanted: bool,
    /// A start or restart came that its end under way has to be followed by.
    again: bool,
    retired: bool,
    stop_way: StopWay,
    /// Its program runs with a spec that was replaced meanwhile.
    outdated: bool,
    /// Asked for in this step: by when the step is over it has to be on its way.
    kicked: bool,
    /// Has to be on its way down by when the step is over, though it is wanted up.
    must_end: bool,
    /// What is remembered of its ends is as its guard says: an end of everything came over a stop that had not begun,
    /// and whether that was forgiven before is not to be seen from here.
    adopts: bool,
    /// An operator stopped it, and nobody has wanted anything else since.
    asked_down: bool,
    /// Its run began in this step.
    begun: bool,
    /// A reload takes it down (it needs what is disabled, or its turn in a restart of everything has come) and up
    /// again (what is added needs it).
    torn: bool,
    /// It was wanted up until this step.
    stopped_now: bool,
    state: StateName,
    /// The deadline that the state had when it began.
    until: Option<Moment>,
    run: RunId,
    program: bool,
    started: Moment,
    ended: Moment,
    ran: bool,
    paused: bool,
    /// Its ready probe said no.
    not_ready: bool,
    hurried: bool,
    killed: bool,
    end: Option<End>,
    /// When the main process was last asked to end, which rung that was, and what of the time since then the
    /// computer slept.
    asked: Option<(Moment, usize, Duration)>,
    /// In this step it was told that nobody heard the last request: the next one has to follow at once.
    unheard: bool,
    /// The ladder at the beginning of the stop, while nothing changed it.
    ladder_holds: bool,
    /// Probes that said yes in this run.
    yes: BTreeSet<ProbeSlot>,
    said_ready: bool,
    /// Its ready probe heard a yes under an earlier guard.
    said_before: bool,
    restarts: u64,
    /// Those of them that an earlier guard counted, which had no causes.
    restarts_before: u64,
    in_a_row: u32,
    recent: Vec<Moment>,
    cooldown_until: Option<Moment>,
    half_open: bool,
    recovers_at: Option<Moment>,
    /// Until when an event said that a cool-down holds.
    cooldown_told: Option<Moment>,
}

/// The start of delayed services, while it is still to come.
#[derive(Debug)]
struct Delayed {
    until: Moment,
    kept_down: BTreeSet<InstanceId>,
}

/// The model. See the module's text.
#[derive(Debug)]
pub struct Reference {
    now: Moment,
    spec: GuardSpec,
    models: BTreeMap<InstanceId, Model>,
    group: BTreeSet<InstanceId>,
    delayed: Option<Delayed>,
    ending: bool,
    /// Words of a reload are being heard.
    reloading: bool,
    /// What the next guard has to know.
    noted: BTreeMap<InstanceId, lives::Noted>,
    stamped: BTreeMap<InstanceId, Arc<ServiceSpec>>,
    /// What is on the disk, and what is on its way there and when it arrives.
    saved: BTreeMap<InstanceId, lives::Saved>,
    saves: VecDeque<(Moment, InstanceId, Option<lives::Saved>)>,
}

impl Model {
    fn new(now: Moment, spec: Arc<ServiceSpec>) -> Self {
        Model {
            key: None,
            spec,
            wanted: false,
            again: false,
            retired: false,
            stop_way: StopWay::InOrder,
            outdated: false,
            kicked: false,
            must_end: false,
            adopts: false,
            asked_down: false,
            begun: false,
            torn: false,
            stopped_now: false,
            state: StateName::Stopped,
            until: None,
            run: RunId(0),
            program: false,
            started: now,
            ended: now,
            ran: false,
            paused: false,
            not_ready: false,
            hurried: false,
            killed: false,
            end: None,
            asked: None,
            unheard: false,
            ladder_holds: true,
            yes: BTreeSet::new(),
            said_ready: false,
            said_before: false,
            restarts: 0,
            restarts_before: 0,
            in_a_row: 0,
            recent: Vec::new(),
            cooldown_until: None,
            half_open: false,
            recovers_at: None,
            cooldown_told: None,
        }
    }

    fn is_at_rest(&self) -> bool {
        !matches!(self.state, StateName::Starting | StateName::Running | StateName::Stopping)
    }

    /// Whether who needs it can go on; the word of its ready probe is the guard's.
    fn serves(&self, guard: &Guard) -> bool {
        match self.state {
            StateName::Done => true,
            // An event can be older than the guard's verdict, and a probe that begins anew changes it in silence.
            StateName::Running if self.not_ready => !self.paused && !self.says_not_ready(guard),
            StateName::Running => !self.paused,
            StateName::Stopped
            | StateName::Waiting
            | StateName::Starting
            | StateName::Stopping
            | StateName::Backoff
            | StateName::Cooldown
            | StateName::Failed => false,
        }
    }

    fn says_not_ready(&self, guard: &Guard) -> bool {
        let service = self.key.and_then(|key| guard.instance(key));
        service.is_some_and(|(_, service)| {
            service.probes().any(|(_, role, _, probe)| role == ProbeRole::Ready && probe.verdict() == Verdict::Fail)
        })
    }
}

impl Reference {
    /// The model of a guard that has not begun.
    pub fn new(now: Moment, spec: GuardSpec) -> Self {
        let mut models = BTreeMap::new();
        for service in spec.services.values() {
            for index in 0..service.instances {
                let id = InstanceId { service: service.name.clone(), index };
                models.insert(id, Model::new(now, service.clone()));
            }
        }
        Reference {
            now,
            spec,
            models,
            group: BTreeSet::new(),
            delayed: None,
            ending: false,
            reloading: false,
            noted: BTreeMap::new(),
            stamped: BTreeMap::new(),
            saved: BTreeMap::new(),
            saves: VecDeque::new(),
        }
    }

    /// An earlier guard knew this of an instance.
    pub fn restore(&mut self, id: &InstanceId, run: RunId, history: &History) {
        if let Some(model) = self.models.get_mut(id) {
            model.run = run;
            model.restarts = history.restarts;
            let told = RestartCause::ALL.into_iter().filter(|cause| !WISHED.contains(cause));
            let known: u64 = told.map(|cause| history.by_cause.of(cause)).sum();
            model.restarts_before = history.restarts - known;
            model.in_a_row = history.in_a_row;
            model.recent = history.recent.iter().copied().collect();
            model.cooldown_until = history.cooldown_until;
            model.half_open = history.half_open;
        }
    }

    /// The guard begins.
    pub fn begin(&mut self, now: Moment, kept_down: &BTreeSet<InstanceId>) {
        self.now = now;
        let wanted = self.starting_with(StartMode::Auto, kept_down);
        if self.spec.services.values().any(|service| service.start == StartMode::Delayed) {
            let kept_down = kept_down.iter().filter(|id| self.models.contains_key(*id)).cloned().collect();
            self.delayed = Some(Delayed { until: now + DELAYED_START, kept_down });
        }
        for id in self.ids() {
            let starts = wanted.contains(&id.service) && !self.is_disabled(&id.service) && !kept_down.contains(&id);
            if starts && let Some(model) = self.models.get_mut(&id) {
                model.wanted = true;
            }
        }
    }

    /// The spec that operators believe to be in force.
    pub fn spec(&self) -> &GuardSpec {
        &self.spec
    }

    /// Every instance that operators may know of, those that are going included.
    pub fn ids(&self) -> Vec<InstanceId> {
        self.models.keys().cloned().collect()
    }

    /// Whether the guard was asked to end.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    fn ids_of(&self, service: &ServiceName) -> Vec<InstanceId> {
        self.models.keys().filter(|id| id.service == *service).cloned().collect()
    }

    fn is_disabled(&self, service: &ServiceName) -> bool {
        self.spec.services.get(service).is_none_or(|spec| spec.start == StartMode::Disabled)
    }

    fn is_wanted(&self, id: &InstanceId) -> bool {
        self.models.get(id).is_some_and(|model| model.wanted)
    }

    /// What a service needs, by the spec; of one that is going, by the last spec that had it.
    fn needs_of(&self, service: &ServiceName) -> Vec<ServiceName> {
        match self.spec.services.get(service) {
            Some(spec) => spec.needs.clone(),
            None => self
                .models
                .iter()
                .find(|(id, _)| id.service == *service)
                .map_or(Vec::new(), |(_, model)| model.spec.needs.clone()),
        }
    }

    /// What `roots` need, they themselves included.
    fn needed_by(&self, roots: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let mut all = roots.clone();
        loop {
            let more: Vec<ServiceName> =
                all.iter().flat_map(|name| self.needs_of(name)).filter(|need| !all.contains(need)).collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// What needs `service`, directly or not, it itself excluded.
    fn dependents_of(&self, service: &ServiceName) -> BTreeSet<ServiceName> {
        let names: BTreeSet<ServiceName> = self.models.keys().map(|id| id.service.clone()).collect();
        names
            .into_iter()
            .filter(|name| name != service && self.needed_by(&BTreeSet::from([name.clone()])).contains(service))
            .collect()
    }

    fn starting_with(&self, mode: StartMode, kept_down: &BTreeSet<InstanceId>) -> BTreeSet<ServiceName> {
        let starts =
            |name: &ServiceName| self.ids_of(name).iter().any(|id| !kept_down.contains(id) && !self.models[id].retired);
        let services = self.spec.services.values().filter(|service| service.start == mode);
        let roots = services.map(|service| service.name.clone()).filter(starts).collect();
        self.needed_by(&roots)
    }

    /// Whether a need is there. `strictly`: who was asked for in this very step counts even before it serves.
    fn is_served(&self, service: &ServiceName, guard: &Guard, strictly: bool) -> bool {
        let mut any = false;
        for (id, model) in &self.models {
            if id.service == *service && model.wanted && !model.retired {
                let serves = model.serves(guard);
                if !serves && (strictly || !model.kicked) {
                    return false;
                }
                any |= serves;
            }
        }
        any
    }

    /// Whether something lives that needs `service` and would be left without it.
    fn has_living_dependents(&self, service: &ServiceName) -> bool {
        // What is disabled stops, though somebody who needs it was started meanwhile.
        let stays = self.models.iter().any(|(id, model)| id.service == *service && model.wanted);
        let stays = stays || self.is_disabled(service);
        self.models.iter().any(|(id, model)| {
            let does_without = stays && model.wanted && model.state != StateName::Stopping;
            !model.is_at_rest() && !does_without && self.needs_of(&id.service).contains(service)
        })
    }
}
