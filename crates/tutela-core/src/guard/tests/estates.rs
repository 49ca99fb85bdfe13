//! A guard is killed and another one takes its place.

use super::*;
use crate::service::{self, Estate, Then};

impl Scenario {
    fn estates(&self) -> Vec<(InstanceId, Estate)> {
        let keys: Vec<InstanceKey> = self.guard.instances().map(|(key, ..)| key).collect();
        let estate = |key| Some((self.guard.instance(key)?.0.clone(), self.guard.estate(key)?));
        keys.into_iter().filter_map(estate).collect()
    }

    /// The guard is killed, the hands with it; the next one begins with the same spec.
    fn survives(&mut self) {
        let spec = (**self.guard.spec()).clone();
        self.survives_with(spec, &[]);
    }

    /// The next one begins with another spec; `changed` are those that need a new start for that.
    fn survives_with(&mut self, spec: GuardSpec, changed: &[&str]) {
        let estates = self.estates();
        let specs: BTreeMap<InstanceId, Arc<ServiceSpec>> =
            self.guard.instances().map(|(_, id, service)| (id.clone(), service.spec().clone())).collect();
        self.guard = Guard::new(self.now, spec, 8);
        self.told.clear();
        for (id, estate) in estates {
            let keys = if changed.contains(&text(&id).as_str()) { vec!["command"] } else { Vec::new() };
            if self.guard.take_back(self.now, &id, estate.clone(), keys).is_none() {
                self.guard.take_back_retired(self.now, &id, estate, specs[&id].clone());
            }
        }
        self.begin();
        // Whatever runs is told to: it does already.
        self.guard.actions.retain(|(_, action)| !matches!(action, Action::Thaw { .. }));
    }

    #[track_caller]
    fn pid(&self, word: &str) -> Option<u32> {
        let key = self.guard.key(&id(word)).unwrap_or_else(|| panic!("there is no {word}"));
        self.guard.instance(key).and_then(|(_, service)| service.pid())
    }
}

fn shop() -> GuardSpec {
    spec("web: api; api: db; db:")
}

#[test]
fn programs_run_on_as_if_nothing_had_been() {
    let mut s = Scenario::running(shop());
    let before = s.estates();
    s.survives();
    assert_eq!(s.estates(), before);
    s.does("");
    s.is("web api db", StateName::Running);
    let taken = s
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::Instance { event: service::Event::TakenBack { pid: Some(_), .. }, .. }));
    assert_eq!(taken.count(), 3);
    // They are as well kept as before.
    s.ends("db", 1);
    s.advance(secs(1));
    s.does("spawn db");
    s.stop("db");
    s.does("ask web, ask api, ask db");
}

#[test]
fn what_was_not_left_is_started_and_who_waits_for_it_waits_on() {
    let mut s = Scenario::of(spec("a: z; z:"));
    s.slow(&["z"]);
    s.begin();
    s.does("spawn z");
    s.is("a", StateName::Waiting);
    s.survives();
    s.is("a", StateName::Waiting);
    s.does("spawn z");
    s.spawned("z");
    s.does("spawn a");
}

#[test]
fn who_waits_starts_when_its_need_was_left_serving() {
    let mut s = Scenario::running(spec("a: z; z:"));
    s.slow(&["z"]);
    s.ends("z", 1);
    s.ends("a", 1);
    s.advance(secs(1));
    s.is("a", StateName::Waiting);
    s.spawned("z");
    let mut estates = s.estates();
    // As if the guard had been killed before it came to start what waits.
    for (id, estate) in &mut estates {
        if id.service.as_str() == "a" {
            estate.phase = service::Phase::Waiting;
            estate.pid = None;
        }
    }
    s.guard = Guard::new(s.now, spec("a: z; z:"), 8);
    s.told.clear();
    for (id, estate) in estates {
        s.guard.take_back(s.now, &id, estate, Vec::new());
    }
    s.begin();
    s.does("thaw z, spawn a");
}

#[test]
fn nobody_starts_on_the_strength_of_half_a_need() {
    let mut two = spec("a: z; z:");
    edit(&mut two, "z").instances = 2;
    let mut s = Scenario::of(spec("a: z; z:"));
    s.slow(&["z", "z:1"]);
    s.begin();
    s.obey();
    let mut estates = s.estates();
    for (id, estate) in &mut estates {
        if id.service.as_str() == "z" {
            estate.phase = service::Phase::Running { half_open_until: None };
            estate.pid = Some(7);
        }
    }
    s.guard = Guard::new(s.now, two, 8);
    s.told.clear();
    for (id, estate) in estates {
        s.guard.take_back(s.now, &id, estate, Vec::new());
    }
    s.begin();
    s.does("thaw z, spawn z:1");
    s.is("a", StateName::Waiting);
    s.spawned("z:1");
    s.does("spawn a");
}

#[test]
fn who_was_stopped_stays_down_and_drags_nobody_up() {
    let mut s = Scenario::running(shop());
    s.stop("api");
    s.does("ask web, ask api");
    s.survives();
    s.does("");
    s.is("web api", StateName::Stopped);
    s.is("db", StateName::Running);
    s.start("web");
    s.does("spawn api, spawn web");
}

#[test]
fn an_ordered_stop_goes_on_in_its_order() {
    let mut s = Scenario::running(shop());
    s.slow(&["web", "api", "db"]);
    s.stop("db");
    s.does("ask web");
    s.survives();
    s.does("");
    s.is("web", StateName::Stopping);
    s.is("api db", StateName::Running);
    s.ends("web", 0);
    s.does("ask api");
    s.ends("api", 0);
    s.does("ask db");
    s.ends("db", 0);
    s.is("web api db", StateName::Stopped);
    assert_eq!(s.cause("db"), "asked by test");
}

#[test]
fn a_common_restart_goes_on() {
    let mut s = Scenario::running(shop());
    s.slow(&["web", "api", "db"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask web");
    s.ends("web", 0);
    s.does("ask api");
    s.survives();
    s.does("");
    s.ends("api", 0);
    s.does("ask db");
    s.is("web api", StateName::Stopped);
    s.ends("db", 0);
    s.does("spawn db");
    assert_eq!(s.cause("db"), "asked by test");
    s.spawned("db");
    s.does("spawn api");
    s.spawned("api");
    s.does("spawn web");
}

#[test]
fn the_end_of_a_guard_that_was_killed_meanwhile_is_followed_by_a_beginning() {
    let mut manual = spec("web: api; api: db; db:; hand:");
    edit(&mut manual, "hand").start = StartMode::Manual;
    let mut s = Scenario::running(manual);
    s.start("hand");
    s.obey();
    s.slow(&["web", "api", "db", "hand"]);
    s.told.clear();
    s.command(Command::End).expect("accepted");
    s.does("ask web, ask hand");
    assert!(s.estates().iter().all(|(_, estate)| estate.then == Then::Begin));
    let db = s.pid("db");
    s.survives();
    assert!(!s.guard.is_ending());
    s.does("");
    // Whose turn had not come goes on; who was asked to end ends, and starts again if it starts with the guard.
    s.is("api db", StateName::Running);
    assert_eq!(s.pid("db"), db);
    s.ends("web", 0);
    s.ends("hand", 0);
    s.does("spawn web");
    s.is("hand", StateName::Stopped);
}

#[test]
fn an_end_that_had_nothing_to_start_again_is_carried_through_in_order() {
    let mut manual = spec("b: a; a:");
    edit(&mut manual, "a").start = StartMode::Manual;
    edit(&mut manual, "b").start = StartMode::Manual;
    let mut s = Scenario::of(manual);
    s.begin();
    s.start("b");
    s.does("spawn a, spawn b");
    s.slow(&["a", "b"]);
    s.command(Command::End).expect("accepted");
    s.does("ask b");
    s.survives();
    s.does("");
    s.ends("b", 0);
    s.does("ask a");
    s.ends("a", 0);
    s.is("a b", StateName::Stopped);
}

#[test]
fn a_changed_spec_is_followed_by_a_new_start_of_that_one() {
    let mut s = Scenario::running(shop());
    s.survives_with(shop(), &["api"]);
    s.is("api", StateName::Stopping);
    assert_eq!(s.cause("api"), "the spec changed: command");
    s.does("ask api, spawn api");
    s.is("web api db", StateName::Running);
    let key = s.guard.key(&id("api")).expect("an instance");
    assert_eq!(s.guard.instance(key).map(|(_, service)| service.run()), Some(RunId(2)));
}

#[test]
fn a_changed_spec_ends_no_wait_that_is_no_run() {
    let mut s = Scenario::running(shop());
    s.stop("web");
    s.obey();
    s.survives_with(shop(), &["web", "db"]);
    s.does("ask db, spawn db");
    s.is("web", StateName::Stopped);
}

#[test]
fn a_service_that_is_gone_is_stopped_before_what_it_needed() {
    let mut s = Scenario::running(shop());
    s.slow(&["web", "api", "db"]);
    s.survives_with(spec("db:"), &[]);
    s.does("ask web");
    assert_eq!(s.cause("web"), "the spec changed: removed");
    s.ends("web", 0);
    s.does("ask api");
    assert!(!s.has("web"));
    s.ends("api", 0);
    s.does("");
    assert!(!s.has("api"));
    s.is("db", StateName::Running);
}

#[test]
fn an_instance_that_is_gone_is_stopped_and_removed() {
    let mut two = shop();
    edit(&mut two, "db").instances = 2;
    let mut s = Scenario::running(two);
    s.survives_with(shop(), &[]);
    s.does("ask db:1");
    assert!(!s.has("db:1"));
    s.is("web api db", StateName::Running);
}

#[test]
fn what_is_gone_and_at_rest_is_not_there_at_all() {
    let mut s = Scenario::running(shop());
    s.ends("web", 1);
    s.is("web", StateName::Backoff);
    s.survives_with(spec("api: db; db:"), &[]);
    s.does("");
    assert!(!s.has("web"));
}

#[test]
fn who_was_to_go_and_is_in_the_spec_again_begins() {
    let mut s = Scenario::running(spec("a:; b:"));
    s.slow(&["b"]);
    s.reload(spec("a:"));
    s.does("ask b");
    s.survives_with(spec("a:; b:"), &[]);
    s.does("");
    s.ends("b", 0);
    s.does("spawn b");
}

#[test]
fn what_is_disabled_meanwhile_stops() {
    let mut s = Scenario::running(shop());
    let mut off = shop();
    edit(&mut off, "api").start = StartMode::Disabled;
    s.survives_with(off, &[]);
    s.does("ask web, ask api");
    s.is("db", StateName::Running);
}

#[test]
fn the_delayed_start_still_comes() {
    let mut late = spec("a:; late:; stopped:");
    edit(&mut late, "late").start = StartMode::Delayed;
    edit(&mut late, "stopped").start = StartMode::Delayed;
    let mut s = Scenario::of(late);
    s.slow(&["a"]);
    s.begin();
    s.does("spawn a");
    s.stop("stopped");
    s.survives();
    s.does("spawn a");
    s.spawned("a");
    s.does("spawn late");
    s.is("stopped", StateName::Stopped);
}

#[test]
fn an_unknown_instance_is_nobodys() {
    let s = Scenario::running(shop());
    let (_, estate) = s.estates().remove(0);
    let mut guard = Guard::new(s.now, spec("db:"), 8);
    assert_eq!(guard.take_back(s.now, &id("web"), estate.clone(), Vec::new()), None);
    // And nobody is there twice.
    let db = guard.take_back(s.now, &id("db"), estate.clone(), Vec::new());
    assert_eq!(guard.take_back(s.now, &id("db"), estate, Vec::new()), db);
}

#[test]
fn needs_of_services_that_are_gone_cannot_go_round() {
    let s = Scenario::running(spec("a: b; b:"));
    let estates = s.estates();
    let mut guard = Guard::new(s.now, spec("c:"), 8);
    for (id, estate) in estates {
        let needs = if id.service.as_str() == "a" { ["b"] } else { ["a"] };
        let spec = Arc::new(service(id.service.as_str(), &needs));
        guard.take_back_retired(s.now, &id, estate, spec);
    }
    guard.begin(s.now, &BTreeSet::new());
    let asked = std::iter::from_fn(|| guard.poll_action()).any(|(_, action)| matches!(action, Action::Ask { .. }));
    assert!(asked);
}
