//! Any life at all, through any number of guards: each is killed at a moment that chance picks, and the next one
//! takes back what it left. The programs live in a [`World`] that goes on; its hands die with their guard.

use super::*;
use crate::probe::Verdict;
use crate::reload;
use crate::service::{self, Afterwards, Estate, KeptVerdict, Phase, ProbeRole, RestartTally, StartStep, Then};
use crate::spec::{Hook, Hooks};
use proptest::collection::{vec, vec_deque};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Steps until everything has settled. A thousand seconds with a probe every five, of four instances, take about
/// 2,000; ten times that is a guard that turns round and round.
const STEPS_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy)]
struct Tree {
    run: RunId,
    main: bool,
    rest: bool,
}

impl Tree {
    fn lives(self) -> bool {
        self.main || self.rest
    }
}

/// What the hands owe.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Job {
    Spawn,
    Ask,
    AskTree,
    EndTree,
    Sweep { told: bool },
    Hook,
    Probe { slot: ProbeSlot, attempt: u64 },
    TellExit,
}

struct World {
    guard: Guard,
    now: Moment,
    trees: BTreeMap<InstanceId, Tree>,
    jobs: Vec<(InstanceId, RunId, Job)>,
    pids: u32,
}

/// Four specs of one guard: as it is, one instance more, one service less, one command changed.
fn variant(number: u8) -> GuardSpec {
    let mut it = if number % 4 == 2 { spec("api: db; db:; late:") } else { spec("web: api; api: db; db:; late:") };
    let hook = || vec![Hook { command: service("hook", &[]).launch.command, timeout: secs(30) }];
    edit(&mut it, "api").hooks =
        Hooks { before_start: hook(), after_ready: hook(), before_stop: hook(), after_exit: hook() };
    let db = edit(&mut it, "db");
    db.ready = Some(probe(ProbeTarget::Tcp("127.0.0.1:1".into())));
    db.start_timeout = Some(secs(30));
    edit(&mut it, "late").start = StartMode::Delayed;
    match number % 4 {
        1 => edit(&mut it, "db").instances = 2,
        3 => edit(&mut it, "api").launch.cwd = "/elsewhere".into(),
        _ => {}
    }
    it
}

impl World {
    fn of(guard: Guard, now: Moment) -> Self {
        World { guard, now, trees: BTreeMap::new(), jobs: Vec::new(), pids: 100 }
    }

    fn feed(&mut self, id: &InstanceId, input: Input) {
        if let Some(key) = self.guard.key(id) {
            self.guard.handle(self.now, key, input);
        }
    }

    fn run_of(&self, id: &InstanceId) -> Option<RunId> {
        let key = self.guard.key(id)?;
        self.guard.instance(key).map(|(_, service)| service.run())
    }

    /// The hands hear what they are to do. This is where a second tree would begin.
    fn hear(&mut self) {
        self.law_of_starts(|guard, need| guard.instances_of(need).any(|(_, _, service)| service.serves()));
        while let Some((key, action)) = self.guard.poll_action() {
            let Some(id) = self.guard.instance(key).map(|(id, _)| id.clone()) else { continue };
            let (run, job) = match action {
                Action::Spawn { run } => {
                    let living = self.trees.get(&id).is_some_and(|tree| tree.lives());
                    assert!(!living, "a second tree of {id}: {:?}", self.trees[&id]);
                    (run, Job::Spawn)
                }
                Action::Release { run } => {
                    let living = self.trees.get(&id).is_some_and(|tree| tree.run == run && tree.lives());
                    assert!(!living, "{id} is forgotten while it lives");
                    continue;
                }
                Action::Ask { run, .. } => (run, Job::Ask),
                Action::AskTree { run } => (run, Job::AskTree),
                Action::EndTree { run } => (run, Job::EndTree),
                Action::Sweep { run } => {
                    // To look twice is to look once.
                    self.jobs.retain(|job| !(job.0 == id && matches!(job.2, Job::Sweep { .. })));
                    (run, Job::Sweep { told: false })
                }
                Action::RunHook { run, .. } => (run, Job::Hook),
                Action::Probe { run, slot, attempt, .. } => (run, Job::Probe { slot, attempt }),
                Action::CancelHook { .. }
                | Action::Freeze { .. }
                | Action::Thaw { .. }
                | Action::ApplyLimits { .. } => {
                    continue;
                }
            };
            self.jobs.push((id, run, job));
        }
    }

    /// Nobody was started in this turn for whom a need is not `there`.
    fn law_of_starts(&mut self, there: impl Fn(&Guard, &ServiceName) -> bool) {
        while let Some(event) = self.guard.poll_event() {
            let Event::Instance { id, event: service::Event::State { to: StateName::Starting, cause, .. }, .. } = event
            else {
                continue;
            };
            for need in self.guard.needs.get(&id.service).into_iter().flatten() {
                assert!(there(&self.guard, need), "{id} starts without {need}, because {cause}");
            }
        }
    }

    fn begin(&mut self) {
        self.guard.begin(self.now, &BTreeSet::new());
        // Among those that begin together, no instance of a need may be left out.
        self.law_of_starts(Guard::is_served);
    }

    /// The main process ends, and the guard hears of it.
    fn exit(&mut self, id: &InstanceId, code: i32, rest: bool) {
        let Some(tree) = self.trees.get_mut(id).filter(|tree| tree.main) else { return };
        tree.main = false;
        tree.rest &= rest;
        let run = tree.run;
        self.feed(id, Input::Exited { run, exit: Exit::Code(code) });
    }

    /// Whether there is something to answer.
    fn is_due(&self, (id, _, job): &(InstanceId, RunId, Job)) -> bool {
        let lives = self.trees.get(id).is_some_and(|tree| tree.lives());
        !(matches!(job, Job::Sweep { told: true }) && lives)
    }

    fn carry_out(&mut self, at: usize, well: bool) {
        let (id, run, job) = self.jobs.remove(at);
        let tree = self.trees.get(&id).copied().filter(|tree| tree.run == run);
        match job {
            Job::Spawn if well => {
                self.pids += 1;
                let pid = self.pids;
                self.trees.insert(id.clone(), Tree { run, main: true, rest: true });
                self.feed(&id, Input::Spawned { run, pid });
            }
            Job::Spawn => self.feed(&id, Input::SpawnFailed { run, reason: "no such file".to_owned() }),
            Job::Ask => {
                if well && tree.is_some() {
                    self.exit(&id, 0, false);
                }
            }
            Job::AskTree => {
                if let Some(tree) = self.trees.get_mut(&id).filter(|tree| well && tree.run == run) {
                    tree.rest = false;
                }
            }
            Job::EndTree => {
                if tree.is_some() {
                    self.exit(&id, 137, false);
                }
                if let Some(tree) = self.trees.get_mut(&id).filter(|tree| tree.run == run) {
                    tree.rest = false;
                }
                self.feed(&id, Input::TreeKilled { run, survivors: Vec::new() });
            }
            Job::Sweep { told } => {
                if tree.is_some_and(Tree::lives) {
                    self.jobs.push((id.clone(), run, Job::Sweep { told: true }));
                    if !told {
                        self.feed(&id, Input::TreeLeft { run, left: Vec::new() });
                    }
                } else {
                    self.feed(&id, Input::TreeEmpty { run });
                }
            }
            Job::Hook => {
                let outcome = if well { HookOutcome::Success } else { HookOutcome::TimedOut };
                self.feed(&id, Input::HookDone { run, outcome });
            }
            Job::Probe { slot, attempt } => {
                let outcome = if well { Outcome::Pass } else { Outcome::Failed("no".to_owned()) };
                self.feed(&id, Input::Answer { run, slot, attempt, outcome, took: Duration::ZERO });
            }
            Job::TellExit => self.feed(&id, Input::Exited { run, exit: Exit::Unknown }),
        }
    }

    /// The guard is killed, its hands with it; the next one begins with this spec.
    fn dies(&mut self, next: GuardSpec) {
        self.hear();
        let keys: Vec<InstanceKey> = self.guard.instances().map(|(key, ..)| key).collect();
        let left: Vec<(InstanceId, Estate, Arc<ServiceSpec>)> = keys
            .into_iter()
            .filter_map(|key| {
                let (id, service) = self.guard.instance(key)?;
                Some((id.clone(), self.guard.estate(key)?, service.spec().clone()))
            })
            .collect();
        self.jobs.clear();
        self.guard = Guard::new(self.now, next, u64::from(self.pids));
        let mut undisturbed = Vec::new();
        for (id, estate, was) in left {
            let new = self.guard.spec().services.get(&id.service).filter(|new| id.index < new.instances).cloned();
            let changed = match new.as_ref().and_then(|new| reload::compare(&was, new)) {
                Some(Change::Restart(keys)) => keys,
                _ => Vec::new(),
            };
            let runs = matches!(estate.phase, Phase::Running { .. }) && estate.wanted_up && estate.then == Then::Keep;
            if runs && changed.is_empty() && new.is_some() {
                undisturbed.push((id.clone(), estate.clone()));
            }
            if self.guard.take_back(self.now, &id, estate.clone(), changed).is_none() {
                self.guard.take_back_retired(self.now, &id, estate.clone(), was);
            }
            if let Some(tree) = self.trees.get(&id).filter(|tree| estate.pid.is_some() && !tree.main) {
                self.jobs.push((id, tree.run, Job::TellExit));
            }
        }
        self.begin();
        for (id, estate) in undisturbed {
            let key = self.guard.key(&id).expect("it is in the spec");
            let mut goes_on = self.guard.estate(key).expect("it is there");
            // A probe that the spec brought or took away is no reason.
            goes_on.verdicts.clone_from(&estate.verdicts);
            assert_eq!(goes_on, estate, "{id} does not go on as it was");
        }
    }

    fn step(&mut self, what: u8, which: u8) {
        self.hear();
        match what % 16 {
            0..=5 if !self.jobs.is_empty() => {
                let at = usize::from(which) % self.jobs.len();
                self.carry_out(at, which < 200);
            }
            0..=5 => {}
            6 | 7 => {
                let ids: Vec<InstanceId> = self.trees.keys().cloned().collect();
                if let Some(id) = ids.get(usize::from(which) % ids.len().max(1)) {
                    self.exit(id, i32::from(which % 3), which < 128);
                }
            }
            8 => self.passes(secs(u64::from(which % 8))),
            9 => {
                let next = self.guard.poll_timeout().map_or(Duration::ZERO, |at| at.since(self.now));
                self.passes(next.min(secs(600)));
            }
            10 | 11 => {
                let target = match which % 5 {
                    0 => Target::All,
                    1 => the("web"),
                    2 => the("api"),
                    3 => the("db"),
                    _ => the("late"),
                };
                let command = match which / 5 % 6 {
                    0 => Command::Start(target),
                    1 => Command::Stop(target),
                    2 => Command::Restart(target),
                    3 => Command::Pause(target),
                    4 => Command::Resume(target),
                    _ if which >= 200 => Command::End,
                    _ => Command::Reload(Box::new(variant(which))),
                };
                // Refused or not: an operator may ask for anything.
                let _refused = self.guard.handle_command(self.now, command, "test").is_err();
            }
            12 => {
                // It ends while nobody is there to see it.
                let ids: Vec<InstanceId> = self.trees.keys().cloned().collect();
                if let Some(tree) = ids.get(usize::from(which) % ids.len().max(1)).and_then(|id| self.trees.get_mut(id))
                {
                    tree.main = false;
                    self.dies((**self.guard.spec()).clone());
                }
            }
            13 | 14 => self.dies((**self.guard.spec()).clone()),
            _ => self.dies(variant(which)),
        }
    }

    fn passes(&mut self, span: Duration) {
        self.now = self.now + span;
        self.guard.handle_timeout(self.now);
    }

    /// Hands and programs behave, for long enough that every wait is over.
    fn settles(&mut self) {
        let end = self.now + secs(1000);
        for _ in 0..STEPS_MAX {
            self.hear();
            if let Some(at) = self.jobs.iter().position(|job| self.is_due(job)) {
                self.carry_out(at, true);
                continue;
            }
            match self.guard.poll_timeout() {
                Some(at) if at <= end => self.passes(at.since(self.now)),
                _ => return self.is_settled(),
            }
        }
        panic!("nothing settles: {:?}", self.guard);
    }

    fn is_settled(&self) {
        for (_, id, service) in self.guard.instances() {
            let main = self.trees.get(id).is_some_and(|tree| tree.main && tree.run == service.run());
            let state = service.state_name();
            let told = || format!("{id} is {}, because {}", state.word(), service.cause());
            let wanted = match state {
                StateName::Stopped => false,
                StateName::Running | StateName::Waiting | StateName::Done | StateName::Failed => true,
                StateName::Starting | StateName::Stopping | StateName::Backoff | StateName::Cooldown => {
                    panic!("{} after all that time", told())
                }
            };
            assert_eq!(service.is_wanted_up(), wanted, "{}", told());
            assert_eq!(main, state == StateName::Running, "{}: {:?}", told(), self.trees.get(id));
            let unserved = service.spec().needs.iter().any(|need| !self.guard.is_served(need));
            assert!(state != StateName::Waiting || unserved, "{}", told());
        }
        for (id, tree) in &self.trees {
            let kept = self.guard.key(id).is_some_and(|_| self.run_of(id) == Some(tree.run));
            assert!(kept || !tree.lives(), "{id} lives on and is nobody's: {tree:?}");
        }
    }
}

// ---- estates that nobody ever left ----

fn moments() -> impl Strategy<Value = Moment> {
    let near = (0u64..1_200).prop_map(|second| Moment::ZERO + secs(second));
    prop_oneof![4 => near, 1 => any::<u64>().prop_map(Moment::from_nanos), 1 => Just(Moment::from_nanos(u64::MAX))]
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![any::<i32>().prop_map(Exit::Code), Just(Exit::Unknown), Just(Exit::NotStarted("no".to_owned()))]
}

fn phases() -> impl Strategy<Value = Phase> {
    let steps = select(vec![StartStep::Hooks, StartStep::Spawning, StartStep::Startup, StartStep::Ready]);
    let after = prop_oneof![Just(Afterwards::Stop), Just(Afterwards::Restart), exits().prop_map(Afterwards::Judge)];
    let rungs = prop_oneof![0usize..4, Just(usize::MAX)];
    prop_oneof![
        Just(Phase::Stopped),
        Just(Phase::Waiting),
        (option::of(moments()), steps).prop_map(|(until, step)| Phase::Starting { until, step }),
        option::of(moments()).prop_map(|half_open_until| Phase::Running { half_open_until }),
        (after, option::of((rungs, moments()))).prop_map(|(after, rung)| Phase::Stopping { after, rung }),
        moments().prop_map(|until| Phase::Backoff { until }),
        moments().prop_map(|until| Phase::Cooldown { until }),
        Just(Phase::Failed),
        Just(Phase::Done),
    ]
}

fn histories() -> impl Strategy<Value = History> {
    (any::<u64>(), any::<u32>(), vec_deque(moments(), 0..9), option::of(moments()), any::<bool>()).prop_map(
        |(restarts, in_a_row, recent, cooldown_until, half_open)| History {
            restarts,
            by_cause: RestartTally::default(),
            in_a_row,
            recent,
            cooldown_until,
            half_open,
        },
    )
}

fn verdicts() -> impl Strategy<Value = KeptVerdict> {
    let roles = vec![ProbeRole::Startup, ProbeRole::Ready, ProbeRole::Live, ProbeRole::Dependency];
    let verdicts = vec![Verdict::Unknown, Verdict::Pass, Verdict::Fail];
    (select(roles), select(verdicts), moments(), any::<bool>()).prop_map(|(role, verdict, since, told_early)| {
        let name = role.word().to_owned();
        KeptVerdict { role, name, verdict, since, reason: String::new(), told_early }
    })
}

fn estates() -> impl Strategy<Value = Estate> {
    let runs = prop_oneof![0u64..5, Just(u64::MAX)];
    let flags = any::<[bool; 3]>();
    let thens = select(vec![Then::Keep, Then::Begin, Then::Restart, Then::Remove]);
    let times = [moments(), moments(), moments()];
    let ends = (option::of(any::<u32>()), option::of(exits()));
    (runs, flags, phases(), times, ends, histories(), vec(verdicts(), 0..5), thens).prop_map(
        |(run, [wanted_up, ran, paused], phase, [since, started, at], (pid, exit), history, verdicts, then)| Estate {
            run: RunId(run),
            wanted_up,
            asked_down: !wanted_up,
            phase,
            since,
            cause: "nonsense".to_owned(),
            pid,
            started,
            ran,
            paused,
            history,
            last_exit: exit.map(|exit| (exit, at)),
            status_text: String::new(),
            verdicts,
            then,
            then_because: String::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_outlive_any_number_of_guards(steps in vec(any::<(u8, u8)>(), 0..150)) {
        let now = Moment::ZERO + secs(600);
        let mut world = World::of(Guard::new(now, variant(0), 7), now);
        world.begin();
        for (what, which) in steps {
            world.step(what, which);
        }
        world.settles();
    }

    #[test]
    fn nonsense_settles_too(left in vec(estates(), 6), number in any::<u8>()) {
        let now = Moment::ZERO + secs(600);
        let mut world = World::of(Guard::new(now, variant(number), 7), now);
        for (word, estate) in ["web", "api", "db", "db:1", "late", "gone"].into_iter().zip(left) {
            let id = id(word);
            let pid = estate.pid;
            let changed = if number > 128 { vec!["command"] } else { Vec::new() };
            let retired = || Arc::new(service(id.service.as_str(), &["db"]));
            if world.guard.take_back(now, &id, estate.clone(), changed).is_none() {
                world.guard.take_back_retired(now, &id, estate, retired());
            }
            if let Some(run) = world.run_of(&id).filter(|_| pid.is_some()) {
                world.trees.insert(id, Tree { run, main: true, rest: true });
            }
        }
        world.guard.begin(now, &BTreeSet::new());
        world.settles();
    }
}
