//! Who waits for whom: waves on start and stop, modes of starting, crashes among needs.

use super::*;
use crate::order;

#[test]
fn a_chain_starts_from_its_need_and_stops_from_its_end() {
    let mut s = Scenario::of(spec("a: b; b: c; c:"));
    s.begin();
    s.does("spawn c, spawn b, spawn a");
    s.is("a b c", StateName::Running);
    s.command(Command::End).expect("accepted");
    s.does("ask a, ask b, ask c");
    assert!(s.guard.is_finished());
}

#[test]
fn a_diamond_starts_its_top_after_both_sides_and_stops_its_foot_after_both() {
    let mut s = Scenario::of(spec("top: left right; left: foot; right: foot; foot:"));
    s.slow(&["left", "right"]);
    s.begin();
    s.does("spawn foot, spawn right, spawn left");
    s.spawned("left");
    s.does("");
    s.is("top", StateName::Waiting);
    assert_eq!(s.cause("top"), "waits for right");
    s.spawned("right");
    s.does("spawn top");
    s.command(Command::End).expect("accepted");
    s.does("ask top, ask right, ask left");
    s.ends("left", 0);
    s.does("");
    s.is("foot", StateName::Running);
    s.ends("right", 0);
    s.does("ask foot");
}

#[test]
fn a_need_serves_when_it_is_ready_not_when_it_runs() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").ready = Some(probe(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.begin();
    s.does("spawn db");
    s.is("api", StateName::Waiting);
    s.feed("db", |run| Input::Notice { run, notice: Notice::Ready });
    s.does("spawn api");
}

#[test]
fn a_need_of_two_instances_serves_when_both_do() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").instances = 2;
    let mut s = Scenario::of(spec);
    s.slow(&["db:1"]);
    s.begin();
    s.does("spawn db, spawn db:1");
    s.spawned("db:1");
    s.does("spawn api");
}

#[test]
fn a_need_that_is_done_serves() {
    let mut spec = spec("api: migrate; migrate:");
    edit(&mut spec, "migrate").restart.when = RestartWhen::OnFailure;
    let mut s = Scenario::of(spec);
    s.slow(&["api"]);
    s.begin();
    s.does("spawn migrate, spawn api");
    s.ends("migrate", 0);
    s.spawned("api");
    s.ends("api", 1);
    s.advance(secs(1));
    s.does("spawn api");
    s.is("migrate", StateName::Done);
}

#[test]
fn a_crash_of_a_need_stops_nobody_and_holds_up_whoever_starts() {
    let mut s = Scenario::running(spec("api: db; web: db; db:"));
    s.ends("db", 1);
    s.does("");
    s.is("api web", StateName::Running);
    s.ends("api", 1);
    s.slow(&["db"]);
    s.advance(secs(1));
    s.does("spawn db");
    s.is("api", StateName::Waiting);
    s.is("web", StateName::Running);
    s.spawned("db");
    s.does("spawn api");
}

#[test]
fn a_service_that_starts_when_asked_waits_for_that() {
    let mut spec = spec("api:; tool:");
    edit(&mut spec, "tool").start = StartMode::Manual;
    let mut s = Scenario::of(spec);
    s.begin();
    s.does("spawn api");
    assert_eq!(s.cause("tool"), "starts when asked");
    s.start("tool");
    s.does("spawn tool");
}

#[test]
fn a_need_that_starts_when_asked_is_started_for_who_needs_it() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").start = StartMode::Manual;
    let mut s = Scenario::of(spec);
    s.begin();
    s.does("spawn db, spawn api");
}

#[test]
fn a_disabled_service_never_starts_and_says_how_to_change_that() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").start = StartMode::Disabled;
    let mut s = Scenario::of(spec);
    s.begin();
    s.does("");
    assert_eq!(s.cause("api"), "waits for db");
    let refusal = Refusal::Disabled(name("db"));
    assert_eq!(s.command(Command::Start(the("db"))), Err(refusal.clone()));
    assert_eq!(s.command(Command::Restart(the("db"))), Err(refusal.clone()));
    assert!(refusal.to_string().contains("set start ="));
    s.command(Command::Start(Target::All)).expect("accepted");
    s.does("");
}

#[test]
fn delayed_services_start_once_the_others_have_settled() {
    let mut spec = spec("api:; report:");
    edit(&mut spec, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(spec);
    s.slow(&["api"]);
    s.begin();
    s.does("spawn api");
    assert_eq!(s.cause("report"), "starts after the others");
    s.spawned("api");
    s.does("spawn report");
}

#[test]
fn delayed_services_wait_for_the_others_only_so_long() {
    let mut spec = spec("api:; report:");
    edit(&mut spec, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(spec);
    s.slow(&["api"]);
    s.begin();
    s.advance(DELAYED_START - Duration::from_nanos(1));
    s.does("spawn api");
    s.advance(Duration::from_nanos(1));
    s.does("spawn report");
}

#[test]
fn delayed_services_start_at_once_where_nothing_else_does() {
    let mut spec = spec("report:");
    edit(&mut spec, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(spec);
    s.begin();
    s.does("spawn report");
}

#[test]
fn an_operator_s_stop_outlives_the_guard_for_auto_and_delayed_services() {
    let mut spec = spec("api:; report:; web:");
    edit(&mut spec, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(spec);
    s.guard.begin(s.now, &BTreeSet::from([id("api"), id("report")]));
    s.advance(secs(1_000));
    s.does("spawn web");
}

#[test]
fn a_delayed_service_that_is_stopped_before_its_turn_stays_down() {
    let mut spec = spec("api:; report: db; db:");
    edit(&mut spec, "report").start = StartMode::Delayed;
    edit(&mut spec, "db").start = StartMode::Manual;
    for word in ["report", "db"] {
        let mut s = Scenario::of(spec.clone());
        s.slow(&["api"]);
        s.begin();
        s.stop(word);
        s.spawned("api");
        s.advance(secs(1_000));
        s.does("spawn api");
    }
    let mut s = Scenario::of(spec);
    s.slow(&["api"]);
    s.begin();
    s.stop("report");
    s.start("report");
    s.does("spawn api, spawn db, spawn report");
}

#[test]
fn a_chain_of_a_thousand_starts_and_stops_in_order() {
    let word = |number: usize| format!("s{number:04}");
    let text: Vec<String> = (0..1_000)
        .map(|number| if number == 0 { "s0000:".to_owned() } else { format!("{}: {}", word(number), word(number - 1)) })
        .collect();
    let spec = spec(&text.join(";"));
    let needs = spec.services.values().map(|service| (service.name.clone(), service.needs.clone())).collect();
    assert_eq!(order::start_waves(&needs).expect("no cycle").len(), 1_000);
    let mut s = Scenario::of(spec);
    s.begin();
    s.obey();
    let starts: Vec<String> = (0..1_000).map(|number| format!("spawn {}", word(number))).collect();
    assert_eq!(std::mem::take(&mut s.told), starts);
    s.stop("s0000");
    s.obey();
    let stops: Vec<String> = (0..1_000).rev().map(|number| format!("ask {}", word(number))).collect();
    assert_eq!(std::mem::take(&mut s.told), stops);
    s.start("s0999");
    s.obey();
    assert_eq!(std::mem::take(&mut s.told), starts);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.obey();
    assert_eq!(std::mem::take(&mut s.told), [stops, starts].concat());
    s.command(Command::End).expect("accepted");
    s.obey();
    assert!(s.guard.is_finished());
}

#[test]
fn what_an_earlier_guard_knew_comes_back_and_what_is_not_in_the_spec_is_ignored() {
    let mut s = Scenario::of(spec("api:"));
    let history = History { restarts: 5, cooldown_until: Some(s.now + secs(60)), ..History::default() };
    s.guard.restore(&id("api"), RunId(6), history.clone(), None);
    s.guard.restore(&id("gone"), RunId(1), history, None);
    s.begin();
    s.does("");
    s.is("api", StateName::Cooldown);
    s.advance(secs(60));
    s.does("spawn api");
    assert_eq!(s.guard.instance(s.guard.key(&id("api")).expect("there")).expect("there").1.run(), RunId(7));
}

#[test]
fn a_suspended_computer_moves_the_ladders_of_everybody() {
    let mut s = Scenario::running(spec("a:; b:"));
    s.slow(&["a", "b"]);
    s.command(Command::End).expect("accepted");
    s.does("ask a, ask b");
    s.now = s.now + secs(3_600);
    s.guard.handle_suspended(s.now, secs(3_600));
    s.guard.handle_timeout(s.now);
    s.does("");
    assert_eq!(s.guard.poll_timeout(), Some(s.now + secs(10)));
    s.advance(secs(10));
    s.does("kill a, kill b");
}

#[test]
fn news_of_an_instance_that_is_gone_are_ignored() {
    let mut s = Scenario::running(spec("a:"));
    s.guard.handle(s.now, InstanceKey(99), Input::TreeEmpty { run: RunId(1) });
    s.is("a", StateName::Running);
}

#[test]
fn delayed_services_wait_for_all_of_a_need_that_starts_with_them() {
    let mut spec = spec("api:; web: worker; worker:");
    edit(&mut spec, "web").start = StartMode::Delayed;
    edit(&mut spec, "worker").start = StartMode::Delayed;
    edit(&mut spec, "worker").instances = 2;
    let mut s = Scenario::of(spec);
    s.slow(&["api", "worker:1"]);
    s.begin();
    s.command(Command::Start(Target::Instance(id("worker")))).expect("accepted");
    s.does("spawn api, spawn worker");
    s.spawned("api");
    s.does("spawn worker:1");
    s.spawned("worker:1");
    s.does("spawn web");
}
