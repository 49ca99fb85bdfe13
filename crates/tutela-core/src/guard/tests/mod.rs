//! Scenarios of a whole guard, through one door: feed, advance, expect.
//!
//! A guard is written as its needs (`web: api; api: db; db:`). [`Scenario::obey`] plays hands whose programs
//! behave; whoever is named in `slow` is left to the test. What the hands are told is kept as one line of text
//! per start, question to end and kill.

mod commands;
mod estates;
mod heirs;
mod lives;
mod order;
mod reload;
mod tally;

use super::*;
use crate::service::{History, StateName, tests};
use crate::spec::{ProbeSpec, ProbeTarget, RestartWhen};

struct Scenario {
    guard: Guard,
    now: Moment,
    /// Starts, questions to end and kills, since the last look.
    told: Vec<String>,
    /// Whose programs take their time: the test starts and ends them.
    slow: BTreeSet<String>,
    pids: u32,
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn service(word: &str, needs: &[&str]) -> ServiceSpec {
    ServiceSpec { name: name(word), needs: needs.iter().map(|need| name(need)).collect(), ..tests::spec() }
}

/// `web: api; api: db; db:`
fn spec(text: &str) -> GuardSpec {
    let services = text.split(';').map(|entry| {
        let (word, needs) = entry.split_once(':').expect("a service and its needs");
        let service = service(word.trim(), &needs.split_whitespace().collect::<Vec<_>>());
        (service.name.clone(), Arc::new(service))
    });
    GuardSpec::of(name("shop"), services.collect())
}

fn edit<'a>(spec: &'a mut GuardSpec, word: &str) -> &'a mut ServiceSpec {
    Arc::make_mut(spec.services.get_mut(&name(word)).expect("a service"))
}

/// `api` is `api:0`.
fn id(text: &str) -> InstanceId {
    let (service, index) = text.split_once(':').unwrap_or((text, "0"));
    InstanceId { service: name(service), index: index.parse().expect("a number") }
}

fn text(id: &InstanceId) -> String {
    if id.index == 0 { id.service.to_string() } else { id.to_string() }
}

fn the(word: &str) -> Target {
    Target::Service(name(word))
}

impl Scenario {
    /// A guard that has not begun.
    fn of(spec: GuardSpec) -> Self {
        let now = Moment::ZERO + secs(600);
        let guard = Guard::new(now, spec, 7);
        Scenario { guard, now, told: Vec::new(), slow: BTreeSet::new(), pids: 100 }
    }

    /// One whose services all run.
    fn running(spec: GuardSpec) -> Self {
        let mut s = Self::of(spec);
        s.begin();
        s.obey();
        s.told.clear();
        s
    }

    // ---- feed ----

    fn begin(&mut self) {
        self.guard.begin(self.now, &BTreeSet::new());
    }

    fn command(&mut self, command: Command) -> Result<Vec<String>, Refusal> {
        let keys = self.guard.handle_command(self.now, command, "test")?;
        let ids = keys.into_iter().filter_map(|key| self.guard.instance(key).map(|(id, _)| text(id)));
        Ok(ids.collect())
    }

    #[track_caller]
    fn start(&mut self, word: &str) {
        self.command(Command::Start(the(word))).expect("accepted");
    }

    #[track_caller]
    fn stop(&mut self, word: &str) {
        self.command(Command::Stop(the(word))).expect("accepted");
    }

    #[track_caller]
    fn restart(&mut self, word: &str) {
        self.command(Command::Restart(the(word))).expect("accepted");
    }

    #[track_caller]
    fn reload(&mut self, spec: GuardSpec) {
        self.command(Command::Reload(Box::new(spec))).expect("accepted");
    }

    /// Reloads the spec in force with a change.
    #[track_caller]
    fn change(&mut self, change: impl FnOnce(&mut GuardSpec)) {
        let mut spec = (**self.guard.spec()).clone();
        change(&mut spec);
        self.reload(spec);
    }

    fn slow(&mut self, words: &[&str]) {
        self.slow.extend(words.iter().map(|word| (*word).to_owned()));
    }

    fn feed(&mut self, word: &str, input: impl FnOnce(RunId) -> Input) {
        let key = self.guard.key(&id(word)).unwrap_or_else(|| panic!("there is no {word}"));
        let run = self.guard.instance(key).map(|(_, service)| service.run()).expect("an instance");
        self.guard.handle(self.now, key, input(run));
    }

    fn spawned(&mut self, word: &str) {
        self.pids += 1;
        let pid = self.pids;
        self.feed(word, |run| Input::Spawned { run, pid });
    }

    /// Its program and everything of it is gone.
    fn ends(&mut self, word: &str, code: i32) {
        self.feed(word, |run| Input::Exited { run, exit: Exit::Code(code) });
        self.feed(word, |run| Input::TreeEmpty { run });
    }

    /// The hands do what they were told, programs behave, until nothing is left to do. No time passes.
    fn obey(&mut self) {
        while let Some((key, action)) = self.guard.poll_action() {
            let Some((id, _)) = self.guard.instance(key) else { continue };
            let word = text(id);
            let slow = self.slow.contains(&word);
            match action {
                Action::Spawn { .. } => {
                    self.told.push(format!("spawn {word}"));
                    if !slow {
                        self.spawned(&word);
                    }
                }
                Action::Ask { .. } => {
                    self.told.push(format!("ask {word}"));
                    if !slow {
                        self.ends(&word, 0);
                    }
                }
                Action::EndTree { .. } => {
                    self.told.push(format!("kill {word}"));
                    if !slow {
                        self.ends(&word, 137);
                    }
                }
                Action::Freeze { .. } => self.told.push(format!("freeze {word}")),
                Action::Thaw { .. } => self.told.push(format!("thaw {word}")),
                Action::ApplyLimits { .. } => self.told.push(format!("limit {word}")),
                Action::Sweep { .. }
                | Action::AskTree { .. }
                | Action::RunHook { .. }
                | Action::CancelHook { .. }
                | Action::Probe { .. }
                | Action::Release { .. } => {}
            }
        }
    }

    // ---- advance ----

    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            self.obey();
            match self.guard.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.guard.handle_timeout(self.now);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the guard asks for the past for ever");
    }

    // ---- expect ----

    /// Exactly these starts, questions to end and kills, since the last look.
    #[track_caller]
    fn does(&mut self, expected: &str) {
        self.obey();
        assert_eq!(self.told.join(", "), expected);
        self.told.clear();
    }

    #[track_caller]
    fn is(&self, words: &str, state: StateName) {
        for word in words.split_whitespace() {
            let key = self.guard.key(&id(word)).unwrap_or_else(|| panic!("there is no {word}"));
            let (_, service) = self.guard.instance(key).expect("an instance");
            assert_eq!(service.state_name(), state, "{word}, because {}", service.cause());
        }
    }

    fn cause(&self, word: &str) -> String {
        let key = self.guard.key(&id(word)).expect("an instance");
        self.guard.instance(key).map(|(_, service)| service.cause().to_string()).expect("an instance")
    }

    fn has(&self, word: &str) -> bool {
        self.guard.key(&id(word)).is_some()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.guard.poll_event()).collect()
    }
}

fn probe(target: ProbeTarget) -> ProbeSpec {
    ProbeSpec { target, delay: Duration::ZERO, every: secs(5), timeout: secs(2), failures: 3, successes: 1 }
}
