//! Random specs, and random changes of them: what operators write on a bad day, kept valid.

use crate::dice::Dice;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::names::{Name, ServiceName};
use tutela_core::spec::{
    Command, DependencyCheck, Env, GuardSpec, Hook, Hooks, LadderStep, Launch, Limits, LogPolicy, ProbeSpec,
    ProbeTarget, RestartPolicy, RestartWhen, Security, ServiceSpec, StartMode, StopStep,
};
use tutela_core::template::Template;

/// Every name that a service can have in a run. A service needs only services of lower ranks, so that needs
/// have no cycle, whatever a reload changes.
const NAMES: [&str; 8] = ["api", "cache", "db", "jobs", "mail", "queue", "web", "worker"];

/// Makes the specs of one run.
#[derive(Debug)]
pub struct Author {
    dice: Dice,
    /// Names from the lowest rank to the highest.
    ranks: Vec<ServiceName>,
}

/// The name of every guard here.
///
/// # Panics
/// Never: it is a name.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("written in this crate as a valid name")
}

impl Author {
    /// An author for one run.
    pub fn new(mut dice: Dice) -> Self {
        let mut ranks: Vec<ServiceName> = NAMES.iter().map(|text| name(text)).collect();
        for end in (1..ranks.len()).rev() {
            let other = usize::try_from(dice.below(end as u64 + 1)).unwrap_or(0);
            ranks.swap(end, other);
        }
        Author { dice, ranks }
    }

    /// The spec that the guard begins with.
    pub fn first(&mut self) -> GuardSpec {
        let mut spec = GuardSpec::of(name("shop"), BTreeMap::new());
        for _ in 0..self.dice.between(1, 6) {
            self.add(&mut spec);
        }
        spec
    }

    /// Another spec of the same guard, one to four changes away. Seldom one of another guard, which has to be
    /// refused.
    pub fn next(&mut self, spec: &GuardSpec) -> GuardSpec {
        let mut spec = spec.clone();
        if self.dice.percent(3) {
            spec.name = name("store");
        }
        for _ in 0..self.dice.between(1, 4) {
            match self.dice.below(10) {
                0 => self.add(&mut spec),
                1 => self.remove(&mut spec),
                _ => self.change(&mut spec),
            }
        }
        spec
    }

    fn some_name(&mut self, spec: &GuardSpec) -> Option<ServiceName> {
        let names: Vec<ServiceName> = spec.services.keys().cloned().collect();
        (!names.is_empty()).then(|| self.dice.pick(&names))
    }

    fn add(&mut self, spec: &mut GuardSpec) {
        let name = self.dice.pick(&self.ranks);
        if spec.services.contains_key(&name) {
            return;
        }
        let service = self.service(spec, name.clone());
        spec.services.insert(name, Arc::new(service));
    }

    fn remove(&mut self, spec: &mut GuardSpec) {
        let Some(gone) = self.some_name(spec) else { return };
        if self.dice.percent(30) {
            // A whole branch, as when a part of a product goes.
            let branch: Vec<ServiceName> =
                spec.services.values().filter(|it| it.needs.contains(&gone)).map(|it| it.name.clone()).collect();
            spec.services.retain(|name, _| !branch.contains(name));
        }
        spec.services.remove(&gone);
        let left: Vec<ServiceName> = spec.services.keys().cloned().collect();
        for service in spec.services.values_mut() {
            Arc::make_mut(service).needs.retain(|need| left.contains(need));
        }
    }

    fn change(&mut self, spec: &mut GuardSpec) {
        let Some(name) = self.some_name(spec) else { return };
        let Some(mut service) = spec.services.get(&name).map(|service| (**service).clone()) else { return };
        let fresh = self.service(spec, name.clone());
        match self.dice.below(12) {
            0 | 1 => service.launch = fresh.launch,
            2 => service.instances = fresh.instances,
            3 => service.needs = fresh.needs,
            4 => service.start = fresh.start,
            5 => service.restart = fresh.restart,
            6 => service.stop = fresh.stop,
            7 => (service.startup, service.ready) = (fresh.startup, fresh.ready),
            8 => (service.live, service.dependencies) = (fresh.live, fresh.dependencies),
            9 => service.hooks = fresh.hooks,
            10 => service.limits.memory = Some(self.dice.between(1, 9)),
            _ => service.start_timeout = fresh.start_timeout,
        }
        leave_time_to_start(&mut service);
        spec.services.insert(name, Arc::new(service));
    }

    fn service(&mut self, spec: &GuardSpec, name: ServiceName) -> ServiceSpec {
        let start = match self.dice.below(20) {
            0..=12 => StartMode::Auto,
            13..=14 => StartMode::Delayed,
            15..=18 => StartMode::Manual,
            _ => StartMode::Disabled,
        };
        let mut service = ServiceSpec {
            description: String::new(),
            launch: Launch {
                command: command(&format!("{name}-v{}", self.dice.below(1_000))),
                cwd: "/".into(),
                env: Env::default(),
                secrets: BTreeMap::new(),
                user: None,
                group: None,
                umask: None,
                security: Security::default(),
            },
            needs: self.needs(spec, &name),
            instances: self.dice.pick(&[1, 1, 1, 1, 2, 2, 3]),
            start,
            start_timeout: self.dice.percent(70).then(|| self.dice.millis(1_000, 20_000)),
            restart: self.restart(),
            stop: self.stop(),
            startup: self.probe(15),
            ready: self.probe(35),
            live: self.live(),
            dependencies: self.dependencies(),
            hooks: Hooks {
                before_start: self.hooks(),
                after_ready: self.hooks(),
                before_stop: self.hooks(),
                after_exit: self.hooks(),
            },
            limits: Limits::default(),
            logs: LogPolicy::of(tutela_core::spec::LogForm::Raw),
            name,
        };
        leave_time_to_start(&mut service);
        service
    }

    fn needs(&mut self, spec: &GuardSpec, name: &ServiceName) -> Vec<ServiceName> {
        let rank = self.ranks.iter().position(|ranked| ranked == name).unwrap_or(0);
        let dice = &mut self.dice;
        self.ranks[..rank]
            .iter()
            .filter(|need| spec.services.contains_key(*need) && dice.percent(40))
            .cloned()
            .collect()
    }

    fn restart(&mut self) -> RestartPolicy {
        let dice = &mut self.dice;
        let delay = if dice.percent(25) { Duration::ZERO } else { dice.millis(50, 3_000) };
        RestartPolicy {
            when: dice.pick(&[
                RestartWhen::Always,
                RestartWhen::Always,
                RestartWhen::Always,
                RestartWhen::OnFailure,
                RestartWhen::OnFailure,
                RestartWhen::Never,
            ]),
            success_codes: dice.pick(&[vec![0], vec![0], vec![0, 3], vec![]]),
            delay,
            factor: dice.pick(&[1.0, 1.5, 2.0, 2.0, 10.0]),
            max_delay: delay + dice.millis(0, 10_000),
            jitter: dice.pick(&[0.0, 0.1, 0.1, 0.5, 1.0]),
            reset_after: if dice.percent(10) { Duration::ZERO } else { dice.millis(1_000, 60_000) },
            burst: dice.pick(&[0, 1, 2, 3, 3, 5]),
            within: dice.millis(1_000, 60_000),
            cooldown: dice.millis(1_000, 60_000),
        }
    }

    fn stop(&mut self) -> Vec<LadderStep> {
        let dice = &mut self.dice;
        let mut ladder = Vec::new();
        for _ in 0..dice.below(3) {
            let step = match dice.below(6) {
                0 => StopStep::Command(command("bye")),
                1 => StopStep::CtrlC,
                2 => StopStep::Signal("INT".into()),
                _ => StopStep::Signal("TERM".into()),
            };
            ladder.push(LadderStep { step, wait: dice.millis(0, 5_000) });
        }
        if dice.percent(70) {
            ladder.push(LadderStep { step: StopStep::Kill, wait: Duration::ZERO });
        }
        ladder
    }

    fn probe(&mut self, percent: u64) -> Option<ProbeSpec> {
        let dice = &mut self.dice;
        if !dice.percent(percent) {
            return None;
        }
        let target = match dice.below(4) {
            0 => ProbeTarget::Notify,
            1 => ProbeTarget::Log(format!("pattern {}", dice.below(3))),
            _ => ProbeTarget::Tcp(Template::fixed(format!("127.0.0.1:{}", dice.between(1, 3)))),
        };
        let every = dice.millis(500, 10_000);
        Some(ProbeSpec {
            target,
            delay: dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(1)]),
            every,
            timeout: Duration::from_millis(dice.between(100, 2_000)).min(every),
            failures: u32::try_from(dice.between(1, 3)).unwrap_or(1),
            successes: u32::try_from(dice.between(1, 2)).unwrap_or(1),
        })
    }

    fn live(&mut self) -> Option<ProbeSpec> {
        let mut probe = self.probe(30)?;
        probe.target = match probe.target {
            ProbeTarget::Log(_) => ProbeTarget::Tcp("127.0.0.1:1".into()),
            other => other,
        };
        // A program cannot be asked to feed its watchdog many times a second.
        probe.every = probe.every.max(Duration::from_secs(2));
        Some(probe)
    }

    fn dependencies(&mut self) -> Vec<DependencyCheck> {
        let checks = (0..self.dice.below(3)).filter_map(|number| {
            let probe = self.probe(25)?;
            let target = ProbeTarget::Tcp("10.0.0.1:5432".into());
            Some(DependencyCheck { name: format!("remote_{number}"), probe: ProbeSpec { target, ..probe } })
        });
        checks.collect()
    }

    fn hooks(&mut self) -> Vec<Hook> {
        if !self.dice.percent(15) {
            return Vec::new();
        }
        let dice = &mut self.dice;
        (0..dice.between(1, 2)).map(|_| Hook { command: command("hook"), timeout: dice.millis(100, 5_000) }).collect()
    }
}

/// What a service is whose spec nobody has any more: something to stop.
pub fn gone(service: &ServiceName) -> ServiceSpec {
    let mut author = Author::new(Dice::new(0, 0));
    let mut spec = author.service(&GuardSpec::of(name("shop"), BTreeMap::new()), service.clone());
    let term = LadderStep { step: StopStep::Signal("TERM".into()), wait: Duration::from_secs(10) };
    spec.stop = vec![term, LadderStep { step: StopStep::Kill, wait: Duration::ZERO }];
    (spec.needs, spec.start) = (Vec::new(), StartMode::Manual);
    (spec.startup, spec.ready, spec.live, spec.dependencies) = (None, None, None, Vec::new());
    spec.hooks = Hooks::default();
    spec.restart = RestartPolicy::default();
    spec
}

/// A start that cannot be ready in time, however well its program behaves, would never come to rest.
fn leave_time_to_start(service: &mut ServiceSpec) {
    let probes = [&service.startup, &service.ready].into_iter().flatten();
    let needed: Duration = probes.map(|probe| probe.delay + probe.every * (probe.successes + 1)).sum();
    service.start_timeout = service.start_timeout.map(|limit| limit.max(needed + Duration::from_secs(2)));
}

fn command(word: &str) -> Command {
    Command { words: vec![Template::fixed(word)] }
}
