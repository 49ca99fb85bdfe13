//! What the machine knows, as the API tells it.

use super::{Conductor, Live, StatusAnswer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tutela_core::guard::Target;
use tutela_core::health::{Health, roll_up};
use tutela_core::names::InstanceKey;
use tutela_core::probe::Verdict;
use tutela_core::service::{Exit, ProbeRole, Service, StateName};
use tutela_core::spec::ServiceSpec;
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_schema::api;
use tutela_schema::wall::WallTime;

/// Who this guard is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// The program's version.
    pub version: &'static str,
    /// The computer's name.
    pub computer: String,
    /// The account that it runs as.
    pub account: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub since: WallTime,
    /// What started it.
    pub host: api::Host,
    /// Which guarantees hold.
    pub capabilities: Vec<api::CapabilityStatus>,
    /// What it keeps, for people: the spec's path, or a command line.
    pub spec: String,
    /// The last upgrade that it knows of.
    pub upgrade: LastUpgrade,
}

/// The upgrade by which a guard came to run, or the last one that was tried on it and did not come to pass. Cheap to
/// clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct LastUpgrade(Arc<Mutex<Option<api::UpgradeInfo>>>);

impl LastUpgrade {
    /// What became of it; `None`: there was none.
    pub fn get(&self) -> Option<api::UpgradeInfo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one has come to its end.
    pub fn set(&self, upgrade: api::UpgradeInfo) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }
}

/// One pair of clock readings, by which moments become times of day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub now: Moment,
    wall: WallTime,
}

impl Dial {
    pub fn read() -> Dial {
        let now = clock::now();
        Dial { now, wall: wall_now() }
    }

    pub fn wall(&self, moment: Moment) -> WallTime {
        if moment >= self.now {
            self.wall.plus(moment.since(self.now))
        } else {
            self.wall.minus(self.now.since(moment))
        }
    }
}

/// The time of day.
pub fn wall_now() -> WallTime {
    jiff::Timestamp::try_from(SystemTime::now()).map_or_else(|_| WallTime::from_unix_millis(0), WallTime::from)
}

impl Conductor {
    pub(super) fn status_of(&self, target: &Target) -> Option<StatusAnswer> {
        let answer = self.status_of_any(target);
        let empty = answer.status.services.iter().all(|service| service.instances.is_empty());
        (!empty || *target == Target::All).then_some(answer)
    }

    /// The same; of a target that is not there, it has no instances.
    pub(super) fn status_of_any(&self, target: &Target) -> StatusAnswer {
        let dial = Dial::read();
        let wanted = |spec: &ServiceSpec| match target {
            Target::All => true,
            Target::Service(name) => spec.name == *name,
            Target::Instance(id) => spec.name == id.service,
        };
        let mut services = Vec::new();
        let mut trees = Vec::new();
        for spec in self.guard.spec().services.values().filter(|spec| wanted(spec)) {
            let mut instances = Vec::new();
            let mut healths = Vec::new();
            let mut states = Vec::new();
            for (key, id, service) in self.guard.instances_of(&spec.name) {
                healths.push(service.health());
                states.push(service.state_name());
                if matches!(target, Target::Instance(wanted) if wanted != id) {
                    continue;
                }
                if let (Some(live), Some(_)) = (self.live_of(key), service.pid()) {
                    trees.push((services.len(), instances.len(), live.child.tree().clone()));
                }
                instances.push(instance_status(&dial, &id.to_string(), service));
            }
            services.push(api::ServiceStatus {
                name: spec.name.to_string(),
                state: state(service_state(&states)),
                health: health(roll_up(healths)),
                instances,
                description: spec.description.clone(),
                needs: spec.needs.iter().map(ToString::to_string).collect(),
            });
        }
        let identity = &self.identity;
        let status = api::GuardStatus {
            name: identity.name.clone(),
            version: identity.version.to_owned(),
            pid: identity.pid,
            since: identity.since,
            host: identity.host,
            capabilities: identity.capabilities.clone(),
            services,
            sinks: if *target == Target::All { self.sinks.status() } else { Vec::new() },
        };
        StatusAnswer { status, trees }
    }

    pub(super) fn live_of(&self, key: InstanceKey) -> Option<&Live> {
        self.live.get(&key)
    }
}

/// The state of a service of several instances: the one that most wants to be looked at.
fn service_state(states: &[StateName]) -> StateName {
    const BY_NEED: [StateName; 9] = [
        StateName::Failed,
        StateName::Cooldown,
        StateName::Backoff,
        StateName::Stopping,
        StateName::Starting,
        StateName::Waiting,
        StateName::Running,
        StateName::Done,
        StateName::Stopped,
    ];
    BY_NEED.into_iter().find(|state| states.contains(state)).unwrap_or(StateName::Stopped)
}

pub(super) fn instance_status(dial: &Dial, id: &str, service: &Service) -> api::InstanceStatus {
    let next = service.next().map(|next| api::NextStep { what: next.what, at: next.at.map(|at| dial.wall(at)) });
    let text = service.status_text();
    let probes = service.probes().map(|(_, its_role, name, probe)| api::ProbeStatus {
        name: name.to_owned(),
        role: role(its_role),
        verdict: verdict(probe.verdict()),
        since: (probe.verdict() != Verdict::Unknown).then(|| dial.wall(probe.since())),
        last_error: (!probe.last_failure().is_empty()).then(|| probe.last_failure().to_owned()),
        latency_ms: probe.last_latency().map(|took| took.as_secs_f64() * 1000.0),
    });
    api::InstanceStatus {
        id: id.to_owned(),
        state: state(service.state_name()),
        health: health(service.health()),
        pid: service.pid(),
        since: dial.wall(service.since()),
        restarts: service.history().restarts,
        cause: cause(service),
        next,
        last_exit: service.last_exit().map(|(exit, at)| last_exit(exit, dial.wall(*at))),
        status_text: (!text.is_empty()).then(|| text.to_owned()),
        usage: None,
        probes: probes.collect(),
    }
}

/// Why an instance is as it is, for people.
pub(super) fn cause(service: &Service) -> String {
    if service.is_paused() { format!("paused, {}", service.cause()) } else { service.cause().to_string() }
}

fn last_exit(exit: &Exit, at: WallTime) -> api::LastExit {
    let (code, signal) = code_and_signal(exit);
    api::LastExit { code, signal, at }
}

/// An end as the two fields that programs read. The signal is named without `SIG`.
pub(super) fn code_and_signal(exit: &Exit) -> (Option<i32>, Option<String>) {
    match exit {
        Exit::Code(code) => (Some(*code), None),
        Exit::Signal { name, .. } => (None, Some(name.strip_prefix("SIG").unwrap_or(name).to_owned())),
        Exit::NotStarted(_) | Exit::Unknown => (None, None),
    }
}

/// A state's word of the API.
pub(super) fn state(state: StateName) -> api::State {
    match state {
        StateName::Stopped => api::State::Stopped,
        StateName::Waiting => api::State::Waiting,
        StateName::Starting => api::State::Starting,
        StateName::Running => api::State::Running,
        StateName::Stopping => api::State::Stopping,
        StateName::Backoff => api::State::Backoff,
        StateName::Cooldown => api::State::Cooldown,
        StateName::Failed => api::State::Failed,
        StateName::Done => api::State::Done,
    }
}

fn health(health: Health) -> api::Health {
    match health {
        Health::Up => api::Health::Up,
        Health::Unknown => api::Health::Unknown,
        Health::OutOfService => api::Health::OutOfService,
        Health::Degraded => api::Health::Degraded,
        Health::Down => api::Health::Down,
    }
}

fn role(role: ProbeRole) -> api::ProbeRole {
    match role {
        ProbeRole::Startup => api::ProbeRole::Startup,
        ProbeRole::Ready => api::ProbeRole::Ready,
        ProbeRole::Live => api::ProbeRole::Live,
        ProbeRole::Dependency => api::ProbeRole::Dependency,
    }
}

fn verdict(verdict: Verdict) -> api::Verdict {
    match verdict {
        Verdict::Pass => api::Verdict::Pass,
        Verdict::Fail => api::Verdict::Fail,
        Verdict::Unknown => api::Verdict::Unknown,
    }
}
