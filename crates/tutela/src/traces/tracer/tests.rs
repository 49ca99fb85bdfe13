//! A guard's machine and a tracer beside it, shown what the conductor shows; and what spans come of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::hands::otlp::messages::KeyValue;
use crate::hands::otlp::messages::any_value::Value;
use crate::hands::otlp::messages::traces::StatusCode;
use crate::traces::context::Anchor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;
use tutela_core::guard::{Command, Guard, Input, Target};
use tutela_core::names::RunId;
use tutela_core::probe::Outcome;
use tutela_core::service::{Exit, Survivor};
use tutela_schema::spec::{Os, Sources};

/// Chance that counts, and a clock that begins in 1970.
struct Counted(u64);

impl Edge for Counted {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        self.0 += 1;
        let (_, tail) = bytes.split_at_mut(bytes.len() - 8);
        tail.copy_from_slice(&self.0.to_be_bytes());
        true
    }

    fn anchor(&mut self) -> Anchor {
        Anchor::new(Moment::ZERO, SystemTime::UNIX_EPOCH)
    }
}

/// A guard and its tracer at a moment.
struct Scene {
    guard: Guard,
    tracer: Tracer,
    now: Moment,
    /// What the guard wants done and nobody has done.
    wanted: VecDeque<(InstanceKey, Action)>,
    spans: Vec<Span>,
}

impl Scene {
    fn new(services: &str) -> Scene {
        let mut scene = Scene::unstarted(services, 1.0);
        scene.tracer.boot(scene.now, 7);
        scene.guard.begin(scene.now, &BTreeSet::new());
        scene.witness();
        scene.tracer.booted(scene.now);
        scene.settle();
        scene
    }

    fn unstarted(services: &str, sample: f64) -> Scene {
        let text = format!("name = \"shop\"\n{services}").into_bytes();
        let files = BTreeMap::from([(PathBuf::from("/srv/shop.toml"), text)]);
        let spec = tutela_schema::spec::read(&Sources {
            path: "shop.toml".into(),
            cwd: "/srv".into(),
            profile: None,
            env: BTreeMap::new(),
            env_left_out: Vec::new(),
            os: Os::Linux,
            files: &files,
        })
        .unwrap_or_else(|refused| panic!("{refused}"));
        let now = Moment::from_millis(1_000);
        let tracer = Tracer::new(Box::new(Counted(0)), sample);
        Scene { guard: Guard::new(now, spec.spec, 1), tracer, now, wanted: VecDeque::new(), spans: Vec::new() }
    }

    fn witness(&mut self) {
        while let Some(event) = self.guard.poll_event() {
            self.tracer.event(self.now, &event);
        }
    }

    /// As the conductor's turn ends.
    fn settle(&mut self) {
        self.witness();
        while let Some((key, action)) = self.guard.poll_action() {
            self.tracer.action(self.now, key, &action);
            // A hand that looks for what is left finds nothing.
            if let Action::Sweep { run } = action {
                self.guard.handle(self.now, key, Input::TreeEmpty { run });
            }
            self.witness();
            self.wanted.push_back((key, action));
        }
        while let Some(span) = self.tracer.poll_span() {
            self.spans.push(span);
        }
    }

    fn after(&mut self, millis: u64) -> &mut Scene {
        self.now = self.now + Duration::from_millis(millis);
        self.guard.handle_timeout(self.now);
        self.settle();
        self
    }

    fn key(&self, id: &str) -> InstanceKey {
        self.guard.key(&InstanceId::parse(id).unwrap()).unwrap()
    }

    fn run(&self, key: InstanceKey) -> RunId {
        self.guard.instance(key).unwrap().1.run()
    }

    fn tell(&mut self, id: &str, input: impl FnOnce(RunId) -> Input) -> &mut Scene {
        let key = self.key(id);
        let input = input(self.run(key));
        if let Input::HookDone { outcome, .. } = &input {
            self.tracer.hook_done(self.now, key, outcome);
        }
        self.guard.handle(self.now, key, input);
        self.settle();
        self
    }

    fn spawned(&mut self, id: &str) -> &mut Scene {
        self.tell(id, |run| Input::Spawned { run, pid: 42 })
    }

    fn exited(&mut self, id: &str, exit: Exit) -> &mut Scene {
        self.tell(id, |run| Input::Exited { run, exit })
    }

    fn hook(&mut self, id: &str, outcome: HookOutcome) -> &mut Scene {
        self.tell(id, |run| Input::HookDone { run, outcome })
    }

    /// The last question is answered.
    fn answer(&mut self, id: &str, outcome: Outcome) -> &mut Scene {
        let asked = self.wanted.iter().rev().find_map(|(_, action)| match action {
            Action::Probe { slot, attempt, .. } => Some((*slot, *attempt)),
            _ => None,
        });
        let (slot, attempt) = asked.unwrap();
        self.tell(id, |run| Input::Answer { run, slot, attempt, outcome, took: Duration::ZERO })
    }

    /// A command of somebody with a trace of their own. Answers with where it stands.
    fn command(&mut self, command: Command) -> Context {
        let context = Context::root(&mut Counted(1_000_000 + self.now.as_nanos()), 1.0);
        self.tracer.ask(&context, "root");
        let keys = self.guard.handle_command(self.now, command, "root").unwrap();
        self.witness();
        self.tracer.asked(&keys);
        self.settle();
        context
    }

    fn named(&self, name: &str) -> &Span {
        let found: Vec<&Span> = self.spans.iter().filter(|span| span.name == name).collect();
        let [span] = found.as_slice() else { panic!("{} of {name} in {}", found.len(), self.picture()) };
        span
    }

    /// Every span, for people.
    fn picture(&self) -> String {
        self.spans.iter().map(|span| format!("\n{} {span:?}", span.name)).collect()
    }

    /// Names of spans in the order in which they ended, each with that of its parent.
    fn family(&self) -> Vec<(&str, &str)> {
        let parent = |span: &Span| self.spans.iter().find(|other| other.span_id == span.parent_span_id);
        self.spans.iter().map(|span| (&*span.name, parent(span).map_or("", |parent| &*parent.name))).collect()
    }
}

fn said<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|it| it.key == name).and_then(|it| it.value.as_ref()?.value.as_ref())
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    match said(&span.attributes, name) {
        Some(Value::Text(text)) => text,
        other => panic!("{name} of {} is {other:?}", span.name),
    }
}

fn millis(span: &Span) -> (u64, u64) {
    (span.start_time_unix_nano / 1_000_000, span.end_time_unix_nano / 1_000_000)
}

fn failure(span: &Span) -> Option<(&str, &str)> {
    let status = span.status.as_ref()?;
    assert_eq!(status.code, i32::from(StatusCode::Error));
    Some((text(span, "error.type"), &status.message))
}

fn events(span: &Span) -> Vec<&str> {
    span.events.iter().map(|event| event.name.as_str()).collect()
}

const API: &str = "[services.api]\ncommand = \"api\"\nrestart = { delay = \"1s\", jitter = 0.0, burst = 2, within = \
                   \"60s\", cooldown = \"5m\" }\nstop.ladder = [{ signal = \"TERM\", wait = \"2s\" }, { signal = \
                   \"INT\", wait = \"1s\" }, { kill = true }]\n";

fn service(keys: &str) -> String {
    format!("{API}{keys}\n")
}

#[test]
fn the_start_of_a_guard_is_one_trace_of_everything_that_starts_with_it() {
    let mut scene = Scene::new(&format!(
        "{}[services.db]\ncommand = \"db\"\nready.tcp = \"127.0.0.1:1\"\n",
        service("needs = [\"db\"]\nhooks.before_start = [\"migrate\"]")
    ));
    scene.after(10).spawned("db:0").after(20).answer("db:0", Outcome::Pass);
    scene.after(30).hook("api:0", HookOutcome::Success);
    assert!(scene.spans.iter().all(|span| span.name != "guard.start"), "{}", scene.picture());
    scene.after(5).spawned("api:0");
    assert_eq!(
        scene.family(),
        [
            ("spawn", "service.start db"),
            ("ready", "service.start db"),
            ("service.start db", "guard.start"),
            ("needs", "service.start api"),
            ("hook before_start", "service.start api"),
            ("spawn", "service.start api"),
            ("service.start api", "guard.start"),
            ("guard.start", ""),
        ]
    );
    assert_eq!(scene.spans.iter().map(|span| &span.trace_id).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(millis(scene.named("guard.start")), (1000, 1065));
    assert_eq!(millis(scene.named("needs")), (1000, 1030));
    assert_eq!(millis(scene.named("ready")), (1010, 1030));
    assert_eq!(millis(scene.named("hook before_start")), (1030, 1060));
    let start = scene.named("service.start api");
    assert_eq!((text(start, "tutela.service"), text(start, "tutela.cause")), ("api", "the guard started"));
    assert_eq!(said(&start.attributes, "process.pid"), Some(&Value::Int(42)));
    assert_eq!(said(&start.attributes, "tutela.run"), Some(&Value::Int(1)));
    assert_eq!(failure(start), None);
    let ready = scene.named("ready");
    assert_eq!(events(ready), ["probe_changed"]);
    assert_eq!(said(&ready.events[0].attributes, "tutela.probe.verdict"), Some(&Value::Text("pass".into())));
}

#[test]
fn a_crash_is_a_trace_with_its_wait_and_the_next_start() {
    let mut scene = Scene::new(&service(""));
    scene.spawned("api:0");
    scene.spans.clear();
    scene.after(500).exited("api:0", Exit::Code(3));
    scene.after(1_000).after(4).spawned("api:0");
    assert_eq!(
        scene.family(),
        [
            ("backoff", "service.restart api"),
            ("spawn", "service.start api"),
            ("service.start api", "service.restart api"),
            ("service.restart api", ""),
        ]
    );
    let restart = scene.named("service.restart api");
    assert_eq!(millis(restart), (1500, 2504));
    assert_eq!(millis(scene.named("backoff")), (1500, 2500));
    assert_eq!(failure(restart), Some(("failure", "exited with code 3")));
    assert_eq!(events(restart), ["exited"]);
    assert_eq!(said(&restart.events[0].attributes, "process.exit.code"), Some(&Value::Int(3)));
    assert_eq!(said(&restart.events[0].attributes, "tutela.ran_ms"), Some(&Value::Int(500)));
    assert_eq!(text(scene.named("service.start api"), "tutela.cause"), "restarted after its wait");
    assert!(restart.links.is_empty());
}

#[test]
fn a_crash_loop_ends_in_a_failure_and_the_single_try_goes_on_from_it() {
    let mut scene = Scene::new(&service(""));
    scene.spawned("api:0");
    for wait in [1_000, 2_000] {
        scene.after(10).exited("api:0", Exit::Code(3)).after(wait).spawned("api:0");
    }
    scene.spans.clear();
    scene.after(10).exited("api:0", Exit::Code(3));
    let exit = scene.named("service.exit api").clone();
    assert_eq!(failure(&exit).unwrap().0, "crash_loop");
    assert_eq!((text(&exit, "tutela.state"), events(&exit)), ("cooldown", vec!["exited", "cooldown"]));
    scene.after(300_000).spawned("api:0");
    let start = scene.named("service.start api");
    assert_eq!(text(start, "tutela.cause"), "half-open try after a cool-down");
    assert_eq!((start.parent_span_id.len(), start.links.len()), (0, 1));
    assert_eq!((&start.links[0].trace_id, &start.links[0].span_id), (&exit.trace_id, &exit.span_id));
    assert_ne!(start.trace_id, exit.trace_id);
}

#[test]
fn a_start_that_fails_ends_its_try_and_the_next_try_is_linked_to_it() {
    let mut scene = Scene::new(&service("start_timeout = \"3s\"\nready.tcp = \"127.0.0.1:1\""));
    scene.spawned("api:0").after(3_000);
    let start = scene.named("service.start api").clone();
    assert_eq!(failure(&start), Some(("start_timeout", "not ready within 3s")));
    scene.after(5).exited("api:0", Exit::Code(0));
    scene.after(1_000).tell("api:0", |run| Input::SpawnFailed { run, reason: "no such file".into() });
    let restart = scene.named("service.restart api").clone();
    assert_eq!(restart.links[0].span_id, start.span_id);
    assert_eq!((text(&restart, "tutela.outcome"), failure(&restart).unwrap().0), ("failed", "start_timeout"));
    // The guard ended it, so there is a stop with its steps.
    let stop = scene.named("service.stop api");
    assert_eq!((&stop.parent_span_id, events(stop)), (&restart.span_id, vec!["exited"]));
    assert_eq!(scene.named("step signal TERM").parent_span_id, stop.span_id);
    let failed: Vec<_> = scene.spans.iter().filter(|it| it.name == "spawn").filter_map(failure).collect();
    assert_eq!(failed, [("not_started", "no such file")]);
    scene.after(2_000).spawned("api:0").answer("api:0", Outcome::Pass);
    let last = scene.spans.iter().rfind(|it| it.name == "service.restart api").unwrap();
    assert_eq!(last.links[0].span_id, restart.span_id);
    assert_eq!(failure(last).unwrap().0, "not_started");
}

#[test]
fn a_stop_has_a_span_for_each_step_of_its_ladder_and_belongs_to_its_command() {
    let mut scene = Scene::new(&service("hooks.before_stop = [\"drain\"]"));
    scene.spawned("api:0");
    scene.spans.clear();
    scene.after(100);
    let asked = scene.command(Command::Stop(Target::Service("api".parse_name())));
    scene.after(50).hook("api:0", HookOutcome::Failed("ended with code 1".into()));
    scene.after(2_000).after(1_000);
    let left = vec![Survivor { pid: 42, name: "api".into() }];
    scene.tell("api:0", |run| Input::TreeKilled { run, survivors: left });
    let killed = Exit::Signal { number: 9, name: "SIGKILL".into(), core_dumped: false, oom: false };
    scene.after(1).exited("api:0", killed);
    let stop = scene.named("service.stop api").clone();
    assert_eq!((&stop.trace_id[..], &stop.parent_span_id[..]), (&asked.trace[..], &asked.span[..]));
    assert_eq!(text(&stop, "tutela.cause"), "asked by root");
    assert_eq!(failure(&stop), Some(("resisted", "ended by force: api (pid 42)")));
    assert_eq!(events(&stop), ["resisted", "exited"]);
    let parts = ["hook before_stop", "step signal TERM", "step signal INT", "kill"];
    for part in parts {
        assert_eq!(scene.named(part).parent_span_id, stop.span_id, "{part}");
    }
    let times: Vec<_> = parts.iter().map(|part| millis(scene.named(part))).collect();
    assert_eq!(times, [(1100, 1150), (1150, 3150), (3150, 4150), (4150, 4151)]);
    assert_eq!(failure(scene.named("hook before_stop")), Some(("failure", "ended with code 1")));
    assert_eq!(scene.spans.len(), 5, "{}", scene.picture());
}

#[test]
fn a_step_that_nobody_heard_fails_and_the_next_one_follows_at_once() {
    let mut scene = Scene::new(&service(""));
    scene.spawned("api:0");
    scene.command(Command::Stop(Target::All));
    let step = tutela_core::spec::StopStep::Signal("TERM".into());
    scene.after(1).tell("api:0", |run| Input::Undelivered { run, rung: 0, step, reason: "not allowed".into() });
    scene.after(1).exited("api:0", Exit::Code(0));
    assert_eq!(failure(scene.named("step signal TERM")), Some(("undelivered", "not allowed")));
    let heard = scene.named("step signal INT");
    assert_eq!((failure(heard), text(heard, "tutela.outcome"), millis(heard)), (None, "exited", (1001, 1002)));
}

#[test]
fn what_a_command_brings_about_for_others_is_its_doing_and_what_comes_later_is_not() {
    let mut scene = Scene::new(&format!(
        "{}[services.db]\ncommand = \"db\"\nrestart = {{ delay = \"1s\", jitter = 0.0 }}\n",
        service("needs = [\"db\"]")
    ));
    scene.spawned("db:0").spawned("api:0");
    scene.spans.clear();
    let asked = scene.command(Command::Stop(Target::Service("db".parse_name())));
    // The need ends once what needs it has ended.
    scene.after(10).exited("api:0", Exit::Code(0));
    scene.after(10).exited("db:0", Exit::Code(0));
    for stop in ["service.stop api", "service.stop db"] {
        assert_eq!(scene.named(stop).parent_span_id, asked.span, "{stop}");
    }
    assert_eq!(text(scene.named("service.stop api"), "tutela.cause"), "because of db");
    scene.spans.clear();
    // A start pulls its need, which the command does not name.
    let asked = scene.command(Command::Start(Target::Service("api".parse_name())));
    scene.after(10).spawned("db:0").after(10).spawned("api:0");
    for start in ["service.start api", "service.start db"] {
        assert_eq!(scene.named(start).parent_span_id, asked.span, "{start}");
    }
    scene.spans.clear();
    scene.after(10).exited("api:0", Exit::Code(1)).after(1_000).spawned("api:0");
    assert_ne!(scene.named("service.restart api").trace_id, asked.trace);
    scene.spans.clear();
    let asked = scene.command(Command::Restart(Target::Service("api".parse_name())));
    scene.after(10).exited("api:0", Exit::Code(0)).spawned("api:0");
    assert_eq!(scene.named("service.stop api").parent_span_id, asked.span);
    assert_eq!(scene.named("service.start api").parent_span_id, asked.span);
}

#[test]
fn a_command_takes_the_place_of_the_guards_own_try() {
    let mut scene = Scene::new(&service(""));
    scene.spawned("api:0").exited("api:0", Exit::Code(3));
    scene.spans.clear();
    let asked = scene.after(10).command(Command::Start(Target::All));
    scene.after(10).spawned("api:0");
    let restart = scene.named("service.restart api");
    assert_eq!((text(restart, "tutela.outcome"), millis(restart)), ("superseded", (1000, 1010)));
    assert_eq!(scene.named("service.start api").parent_span_id, asked.span);
    scene.exited("api:0", Exit::Code(3));
    scene.spans.clear();
    scene.after(10).command(Command::Stop(Target::All));
    assert_eq!(text(scene.named("service.exit api"), "tutela.state"), "stopped");
}

#[test]
fn what_ends_well_and_stays_down_is_no_failure() {
    let mut scene = Scene::new("[services.job]\ncommand = \"job\"\nrestart.when = \"on-failure\"\n");
    scene.spawned("job:0").after(5).exited("job:0", Exit::Code(0));
    let exit = scene.named("service.exit job");
    assert_eq!((failure(exit), text(exit, "tutela.state"), millis(exit)), (None, "done", (1005, 1005)));
}

#[test]
fn the_end_of_the_guard_is_a_trace_of_every_stop() {
    let mut scene = Scene::new(&service("instances = 2"));
    scene.spawned("api:0").spawned("api:1");
    scene.spans.clear();
    scene.tracer.shutdown(scene.now, "signal SIGTERM", false);
    let keys = scene.guard.handle_command(scene.now, Command::End, "signal SIGTERM").unwrap();
    scene.witness();
    scene.tracer.asked(&keys);
    scene.settle();
    scene.after(10).exited("api:0", Exit::Code(0));
    scene.tracer.shutdown(scene.now, "signal SIGTERM", true);
    let keys = scene.guard.handle_command(scene.now, Command::Hurry, "signal SIGTERM").unwrap();
    scene.witness();
    scene.tracer.asked(&keys);
    scene.settle();
    scene.after(10).exited("api:1", Exit::Code(0));
    assert!(scene.guard.is_finished());
    scene.tracer.finish(scene.now);
    scene.settle();
    let end = scene.named("guard.shutdown");
    assert_eq!((millis(end), events(end)), ((1000, 1020), vec!["hurry"]));
    let stops: Vec<_> = scene.spans.iter().filter(|span| span.name == "service.stop api").collect();
    assert!(stops.len() == 2 && stops.iter().all(|stop| stop.parent_span_id == end.span_id), "{}", scene.picture());
}

#[test]
fn of_traces_that_are_not_made_and_of_what_began_before_there_is_nothing() {
    let mut scene = Scene::unstarted(&service(""), 0.0);
    scene.tracer.boot(scene.now, 7);
    scene.guard.begin(scene.now, &BTreeSet::new());
    scene.settle();
    scene.tracer.booted(scene.now);
    scene.spawned("api:0");
    let asked = scene.after(5).command(Command::Restart(Target::All));
    scene.after(5).exited("api:0", Exit::Code(0)).spawned("api:0");
    assert!(scene.spans.iter().all(|span| span.trace_id == asked.trace), "{}", scene.picture());
    assert!(!scene.spans.is_empty());

    // A tracer that comes in the middle of a stop.
    let mut scene = Scene::new(&service(""));
    scene.spawned("api:0");
    scene.command(Command::Restart(Target::All));
    scene.tracer = Tracer::new(Box::new(Counted(9)), 1.0);
    scene.spans.clear();
    scene.after(2_000).exited("api:0", Exit::Code(0)).after(3).spawned("api:0");
    assert_eq!(scene.family(), [("spawn", "service.start api"), ("service.start api", "")]);
}

#[test]
fn a_start_that_waits_for_somebody_does_not_hold_up_the_span_of_the_guards_start() {
    let mut scene = Scene::new(&format!(
        "{}[services.db]\ncommand = \"db\"\nready.tcp = \"127.0.0.1:1\"\nstart_timeout = \"0s\"\n",
        service("needs = [\"db\"]")
    ));
    scene.spawned("db:0").after(BOOT_MAX.as_millis() as u64);
    scene.tracer.tend(scene.now);
    scene.settle();
    assert_eq!(text(scene.named("guard.start"), "tutela.outcome"), "unsettled");
    scene.answer("db:0", Outcome::Pass).spawned("api:0");
    assert_eq!(scene.named("service.start api").parent_span_id, scene.named("guard.start").span_id);
}

/// Names, as specs have them.
trait ParseName {
    fn parse_name(&self) -> tutela_core::names::ServiceName;
}

impl ParseName for str {
    fn parse_name(&self) -> tutela_core::names::ServiceName {
        tutela_core::names::Name::new(self).unwrap()
    }
}
