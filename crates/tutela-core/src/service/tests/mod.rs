//! Scenarios of one instance, through one door: feed, advance, expect.
//!
//! A [`Scenario`] holds the machine and the moment. Everything the machine wants done has to be expected in
//! full and in order (`does`), so that no test can overlook an action.

mod ending;
mod estates;
mod policy;
mod probes;
mod starting;
mod status;
mod wishes;

use super::*;
use crate::spec::{
    Command, Hook, LadderStep, Launch, Limits, LogPolicy, ProbeSpec, ProbeTarget, RestartPolicy, RestartWhen,
    StartMode, StopStep,
};
use crate::template::Template;
use std::collections::BTreeMap;

const PID: u32 = 4_711;

struct Scenario {
    service: Service,
    now: Moment,
}

/// A service without probes and hooks, and without chance: TERM, 10 s, kill; 1 s, 2 s, 4 s … between runs.
pub(crate) fn spec() -> ServiceSpec {
    let command = command("./api");
    ServiceSpec {
        name: name("api"),
        description: String::new(),
        launch: Launch {
            command,
            cwd: "/".into(),
            env: crate::spec::Env::default(),
            secrets: BTreeMap::new(),
            user: None,
            group: None,
            umask: None,
            security: crate::spec::Security::default(),
        },
        needs: Vec::new(),
        instances: 1,
        start: StartMode::Auto,
        start_timeout: None,
        restart: RestartPolicy { jitter: 0.0, ..RestartPolicy::default() },
        stop: vec![rung("TERM", 10), LadderStep { step: StopStep::Kill, wait: Duration::ZERO }],
        startup: None,
        ready: None,
        live: None,
        dependencies: Vec::new(),
        hooks: crate::spec::Hooks::default(),
        limits: Limits::default(),
        logs: LogPolicy::of(crate::spec::LogForm::Raw),
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

fn command(word: &str) -> Command {
    Command { words: vec![Template::fixed(word)] }
}

fn rung(signal: &str, seconds: u64) -> LadderStep {
    LadderStep { step: StopStep::Signal(signal.to_owned()), wait: secs(seconds) }
}

fn hook(word: &str) -> Hook {
    Hook { command: command(word), timeout: secs(30) }
}

fn tcp() -> ProbeSpec {
    ProbeSpec {
        target: ProbeTarget::Tcp("127.0.0.1:1".into()),
        delay: Duration::ZERO,
        every: secs(5),
        timeout: secs(2),
        failures: 3,
        successes: 1,
    }
}

fn told(target: ProbeTarget) -> ProbeSpec {
    ProbeSpec { target, ..tcp() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn asked() -> Cause {
    Cause::Asked { by: "test".to_owned() }
}

fn survivor(pid: u32) -> Survivor {
    Survivor { pid, name: "worker".to_owned() }
}

fn term(run: u64) -> Action {
    ask(run, 0, "TERM")
}

fn ask(run: u64, rung: usize, signal: &str) -> Action {
    Action::Ask { run: RunId(run), rung, step: StopStep::Signal(signal.to_owned()) }
}

fn spawn(run: u64) -> Action {
    Action::Spawn { run: RunId(run) }
}

fn sweep(run: u64) -> Action {
    Action::Sweep { run: RunId(run) }
}

fn ask_tree(run: u64) -> Action {
    Action::AskTree { run: RunId(run) }
}

fn end_tree(run: u64) -> Action {
    Action::EndTree { run: RunId(run) }
}

fn release(run: u64) -> Action {
    Action::Release { run: RunId(run) }
}

fn run_hook(run: u64, kind: HookKind, index: usize) -> Action {
    Action::RunHook { run: RunId(run), kind, index, timeout: secs(30) }
}

fn cancel_hook(run: u64) -> Action {
    Action::CancelHook { run: RunId(run) }
}

impl Scenario {
    /// A stopped instance, ten minutes after boot.
    fn of(spec: ServiceSpec) -> Self {
        let now = Moment::ZERO + secs(600);
        Scenario { service: Service::new(now, Arc::new(spec), 0, Cause::Manual, Chance::from_seed(1)), now }
    }

    /// One that was started and has its program.
    fn running(spec: ServiceSpec) -> Self {
        let mut s = Self::of(spec);
        s.start();
        s.spawned();
        s.is(StateName::Running);
        s.forget();
        s
    }

    // ---- feed ----

    fn start(&mut self) {
        self.service.handle_start(self.now, asked(), true);
    }

    fn start_by_guard(&mut self) {
        self.service.handle_start(self.now, Cause::GuardStarted, false);
    }

    fn stop(&mut self) {
        self.service.handle_stop(self.now, asked());
    }

    fn restart(&mut self) {
        self.service.handle_restart(self.now, asked());
    }

    fn hurry(&mut self) {
        self.service.handle_hurry(self.now);
    }

    fn run(&self) -> RunId {
        self.service.run()
    }

    fn spawned(&mut self) {
        self.service.handle_spawned(self.now, self.run(), PID);
    }

    fn spawn_fails(&mut self) {
        self.service.handle_spawn_failed(self.now, self.run(), "no such file".to_owned());
    }

    fn exits(&mut self, code: i32) {
        self.service.handle_exited(self.now, self.run(), Exit::Code(code));
    }

    fn empty(&mut self) {
        self.service.handle_tree_empty(self.now, self.run());
    }

    fn left(&mut self, pids: &[u32]) {
        self.service.handle_tree_left(self.now, self.run(), pids.iter().map(|pid| survivor(*pid)).collect());
    }

    /// Nobody heard that rung.
    fn undelivered(&mut self, rung: usize, signal: &str) {
        let step = StopStep::Signal(signal.to_owned());
        self.service.handle_undelivered(self.now, self.run(), rung, step, "nobody there".to_owned());
    }

    fn killed(&mut self, pids: &[u32]) {
        self.service.handle_tree_killed(self.run(), pids.iter().map(|pid| survivor(*pid)).collect());
    }

    /// The whole program ends with `code`, nothing of it is left.
    fn ends(&mut self, code: i32) {
        self.exits(code);
        self.empty();
    }

    fn hook_done(&mut self, outcome: HookOutcome) {
        self.service.handle_hook_done(self.now, self.run(), outcome);
    }

    fn notice(&mut self, notice: Notice) {
        self.service.handle_notice(self.now, self.run(), notice);
    }

    fn needs(&mut self, missing: &[&str]) {
        self.service.handle_needs(self.now, missing.iter().map(|word| name(word)).collect());
    }

    fn new_spec(&mut self, change: impl FnOnce(&mut ServiceSpec)) {
        let mut spec = self.service.newest_spec().clone();
        change(&mut spec);
        self.service.handle_spec(self.now, Arc::new(spec));
    }

    /// Answers the question of `role` that is open, which the machine must have asked.
    fn answer(&mut self, role: ProbeRole, outcome: Outcome) {
        let (slot, attempt) = self.question(role).unwrap_or_else(|| panic!("no {} question is open", role.word()));
        self.service.handle_answer(self.now, self.run(), slot, attempt, outcome, Duration::ZERO);
    }

    /// Advances to the next question of `role` and answers it.
    fn answer_next(&mut self, role: ProbeRole, outcome: Outcome) {
        for _ in 0..100 {
            if self.question(role).is_some() {
                self.answer(role, outcome);
                return self.forget();
            }
            let next = self.service.poll_timeout().expect("a deadline");
            self.advance(next.since(self.now));
        }
        panic!("{} is never asked", role.word());
    }

    // ---- advance ----

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..10_000 {
            match self.service.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.service.handle_timeout(self.now);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the machine asks for the past for ever: {:?}", self.service);
    }

    // ---- expect ----

    #[track_caller]
    fn is(&self, state: StateName) {
        assert_eq!(self.service.state_name(), state, "because {}", self.service.cause());
    }

    /// Exactly these, since the last look.
    #[track_caller]
    fn does(&mut self, expected: &[Action]) {
        assert_eq!(self.actions(), expected);
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.service.poll_action()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.service.poll_event()).collect()
    }

    fn forget(&mut self) {
        self.actions();
        self.events();
    }

    #[track_caller]
    fn next_in(&self, span: Duration) {
        assert_eq!(self.service.next().and_then(|next| next.at), Some(self.now + span));
    }

    fn cause(&self) -> String {
        self.service.cause().to_string()
    }

    /// The newest question of `role` among the actions that nobody took yet.
    fn question(&self, role: ProbeRole) -> Option<(ProbeSlot, u64)> {
        self.service.actions.iter().rev().find_map(|action| {
            let Action::Probe { slot, attempt, .. } = action else { return None };
            (self.service.questions.role(*slot) == Some(role)).then_some((*slot, *attempt))
        })
    }
}

fn refused() -> Outcome {
    Outcome::Refused("connection refused".to_owned())
}

fn failed() -> Outcome {
    Outcome::Failed("status 500".to_owned())
}
