//! What an operator can ask: start, stop, restart, pause, end, hurry; and all of them on top of each other.

use super::*;

const CHAIN: &str = "web: api; api: db; db:; other:";

#[test]
fn a_stop_takes_what_needs_it_down_first_and_nothing_else() {
    let mut s = Scenario::running(spec(CHAIN));
    let concerned = s.command(Command::Stop(the("db"))).expect("accepted");
    assert_eq!(concerned.into_iter().collect::<BTreeSet<_>>().len(), 3);
    s.does("ask web, ask api, ask db");
    s.is("web api db", StateName::Stopped);
    s.is("other", StateName::Running);
    assert_eq!(s.cause("web"), "because of db");
    assert_eq!(s.cause("db"), "asked by test");
    s.advance(secs(100_000));
    s.does("");
}

#[test]
fn a_start_brings_up_what_it_needs_first() {
    let mut s = Scenario::running(spec(CHAIN));
    s.stop("db");
    s.obey();
    s.told.clear();
    s.start("web");
    s.does("spawn db, spawn api, spawn web");
    assert_eq!(s.cause("db"), "its program runs");
}

#[test]
fn a_start_brings_up_a_need_that_gave_up() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").restart.when = RestartWhen::Never;
    let mut s = Scenario::running(spec);
    s.ends("db", 1);
    s.is("db", StateName::Failed);
    s.ends("api", 1);
    s.advance(secs(10));
    s.is("api", StateName::Waiting);
    s.start("api");
    s.does("spawn db, spawn api");
}

#[test]
fn everything_is_stopped_and_started_in_order() {
    let mut s = Scenario::running(spec(CHAIN));
    s.command(Command::Stop(Target::All)).expect("accepted");
    s.does("ask web, ask other, ask api, ask db");
    s.command(Command::Start(Target::All)).expect("accepted");
    s.does("spawn db, spawn other, spawn api, spawn web");
}

#[test]
fn a_start_during_a_pending_stop_takes_the_stop_back() {
    let mut s = Scenario::running(spec(CHAIN));
    s.slow(&["web"]);
    s.stop("db");
    s.does("ask web");
    s.is("db api", StateName::Running);
    s.start("api");
    s.ends("web", 0);
    s.does("");
    s.is("api db", StateName::Running);
    s.is("web", StateName::Stopped);
    s.advance(secs(100_000));
    s.is("api db", StateName::Running);
}

#[test]
fn a_start_during_a_stop_starts_it_again_after_it() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.stop("api");
    s.start("api");
    s.stop("api");
    s.start("api");
    s.ends("api", 0);
    s.does("ask api, spawn api");
}

#[test]
fn a_stop_of_a_need_after_a_start_of_its_dependent_wins() {
    let mut s = Scenario::of(spec("api: db; db:"));
    s.slow(&["db"]);
    s.begin();
    s.does("spawn db");
    s.stop("db");
    s.spawned("db");
    s.does("ask db");
    s.ends("db", 0);
    s.advance(secs(100_000));
    s.is("api db", StateName::Stopped);
    s.does("");
}

#[test]
fn a_stop_of_one_instance_concerns_it_alone() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").instances = 2;
    let mut s = Scenario::running(spec);
    assert_eq!(s.command(Command::Stop(Target::Instance(id("db:1")))), Ok(vec!["db:1".to_owned()]));
    s.does("ask db:1");
    s.is("api db", StateName::Running);
    // One that was stopped on purpose does not hold up who needs the service.
    s.ends("api", 1);
    s.advance(secs(1));
    s.does("spawn api");
    s.start("api");
    s.does("");
    s.is("db:1", StateName::Stopped);
    s.command(Command::Start(Target::Instance(id("db:1")))).expect("accepted");
    s.does("spawn db:1");
}

#[test]
fn a_stop_of_one_instance_takes_over_a_stop_that_waits() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.stop("db");
    s.does("ask api");
    s.command(Command::Stop(Target::Instance(id("db")))).expect("accepted");
    s.does("ask db");
}

#[test]
fn a_restart_of_one_service_concerns_it_alone() {
    let mut s = Scenario::running(spec(CHAIN));
    s.restart("db");
    s.does("ask db, spawn db");
    s.is("web api other", StateName::Running);
}

#[test]
fn a_restart_of_a_service_whose_stop_waits_restarts_it() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.stop("db");
    s.restart("db");
    s.does("ask api, ask db, spawn db");
}

#[test]
fn a_restart_of_what_is_down_brings_up_what_it_needs() {
    let mut s = Scenario::running(spec(CHAIN));
    s.stop("db");
    s.obey();
    s.told.clear();
    s.restart("api");
    s.does("spawn db, spawn api");
}

#[test]
fn a_restart_of_everything_stops_all_in_order_then_starts_all_in_order() {
    let mut s = Scenario::running(spec(CHAIN));
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask web, ask other, ask api, ask db, spawn db, spawn other, spawn api, spawn web");
}

#[test]
fn a_restart_of_everything_leaves_down_what_is_down() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.stop("other");
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask other, ask api, spawn api");
}

#[test]
fn a_second_restart_of_everything_forgets_nobody_of_the_first() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask api");
    s.ends("api", 0);
    s.does("ask db, spawn db, spawn api");
}

#[test]
fn a_start_during_a_restart_of_everything_does_not_hold_up_the_others() {
    let mut s = Scenario::running(spec("api: db; db:; other:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask api, ask other");
    s.start("api");
    s.does("spawn other");
    s.ends("api", 0);
    s.does("spawn api");
    s.is("db other", StateName::Running);
}

#[test]
fn a_restart_of_one_during_a_restart_of_everything_does_not_hold_up_the_others() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.restart("api");
    s.does("ask api, ask other, spawn other");
    s.ends("api", 0);
    s.does("spawn api");
}

#[test]
fn a_stop_during_a_restart_of_everything_keeps_it_and_what_needs_it_down() {
    let mut s = Scenario::running(spec("api: db; db:; other:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.stop("db");
    s.ends("api", 0);
    s.does("ask api, ask other, ask db, spawn other");
    s.advance(secs(100_000));
    s.is("api db", StateName::Stopped);
}

#[test]
fn a_removal_during_a_restart_of_everything_does_not_hold_up_the_others() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.reload(spec("other:"));
    s.does("ask api, ask other, spawn other");
    s.ends("api", 0);
    assert!(!s.has("api"));
}

#[test]
fn the_end_during_a_restart_of_everything_ends_everything() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.command(Command::End).expect("accepted");
    s.ends("api", 0);
    s.does("ask api, ask db");
    assert!(s.guard.is_finished());
}

#[test]
fn commands_while_the_guard_ends_are_refused() {
    let mut s = Scenario::running(spec("api:"));
    s.slow(&["api"]);
    s.command(Command::End).expect("accepted");
    let reload = Command::Reload(Box::new(spec("api:")));
    for command in [
        Command::Start(Target::All),
        Command::Stop(the("api")),
        Command::Restart(the("api")),
        Command::Pause(the("api")),
        Command::Resume(the("api")),
        reload,
    ] {
        assert_eq!(s.command(command), Err(Refusal::Ending));
    }
    s.command(Command::End).expect("accepted");
    s.ends("api", 0);
    assert!(s.guard.is_finished() && s.guard.is_ending());
}

#[test]
fn the_end_reaches_every_state() {
    let mut spec = spec("backoff:; done:; failed:; manual:; starting:; stopping:; waiting: failed");
    edit(&mut spec, "done").restart.when = RestartWhen::Never;
    edit(&mut spec, "failed").restart.when = RestartWhen::Never;
    edit(&mut spec, "manual").start = StartMode::Manual;
    let mut s = Scenario::of(spec);
    s.slow(&["failed", "starting", "stopping"]);
    s.begin();
    s.obey();
    s.spawned("stopping");
    s.ends("backoff", 1);
    s.ends("done", 0);
    s.spawned("failed");
    s.obey();
    s.ends("failed", 1);
    s.ends("waiting", 1);
    s.stop("stopping");
    s.told.clear();
    s.obey();
    s.advance(secs(1));
    s.is("waiting", StateName::Waiting);
    s.ends("backoff", 1);
    s.is("backoff", StateName::Backoff);
    s.is("starting", StateName::Starting);
    s.command(Command::End).expect("accepted");
    assert!(!s.guard.is_finished());
    s.spawned("starting");
    s.obey();
    s.ends("starting", 0);
    s.ends("stopping", 0);
    s.obey();
    assert!(s.guard.is_finished());
    assert_eq!(s.guard.poll_timeout(), None);
}

#[test]
fn a_hurry_kills_all_that_stops_or_waits_to_stop() {
    let mut s = Scenario::running(spec("api: db; db:; other:"));
    s.slow(&["api", "db", "other"]);
    s.stop("db");
    s.does("ask api");
    s.command(Command::Hurry).expect("accepted");
    s.does("kill api, ask db, kill db");
    s.ends("api", 137);
    s.ends("db", 137);
    s.is("api db", StateName::Stopped);
    s.is("other", StateName::Running);
}

#[test]
fn a_hurry_at_the_end_finishes_the_guard_at_once() {
    let mut s = Scenario::running(spec(CHAIN));
    s.slow(&["web", "api", "db", "other"]);
    s.command(Command::End).expect("accepted");
    s.command(Command::Hurry).expect("accepted");
    s.slow.clear();
    s.obey();
    assert!(s.guard.is_finished());
}

#[test]
fn a_pause_holds_it_and_holds_up_who_needs_it() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.command(Command::Pause(the("db"))).expect("accepted");
    s.does("freeze db");
    s.ends("api", 1);
    s.advance(secs(10));
    s.is("api", StateName::Waiting);
    s.command(Command::Resume(the("db"))).expect("accepted");
    s.does("thaw db, spawn api");
    s.stop("api");
    s.does("ask api");
    assert_eq!(s.command(Command::Pause(the("api"))), Err(Refusal::NotRunning(the("api"))));
}

#[test]
fn whom_nobody_knows_is_refused_and_nothing_changes() {
    let mut s = Scenario::running(spec("api:"));
    s.events();
    let nobody = [the("nobody"), Target::Instance(id("nobody")), Target::Instance(id("api:1"))];
    for target in nobody {
        let refusal = Err(Refusal::Unknown(target.clone()));
        assert_eq!(s.command(Command::Start(target.clone())), refusal);
        assert_eq!(s.command(Command::Stop(target.clone())), refusal);
        assert_eq!(s.command(Command::Restart(target.clone())), refusal);
        assert_eq!(s.command(Command::Pause(target.clone())), refusal);
        assert_eq!(s.command(Command::Resume(target)), refusal);
    }
    s.does("");
    assert_eq!(s.events(), []);
    assert_eq!(Refusal::Unknown(the("nobody")).to_string(), "refused: there is no nobody here");
}

#[test]
fn an_accepted_command_is_an_event_with_its_asker() {
    let mut s = Scenario::running(spec("api:"));
    s.events();
    s.stop("api");
    let commanded = Event::Commanded { what: "stop api".into(), by: "test".into() };
    assert!(s.events().contains(&commanded));
}

#[test]
fn a_stop_of_everything_starts_nobody_on_the_way() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").instances = 2;
    edit(&mut spec, "db").restart.delay = secs(30);
    for stop_all in [true, false] {
        let mut s = Scenario::running(spec.clone());
        // One of two needs is down: once it does not count, the other one would do for who waits.
        s.ends("db", 1);
        s.ends("api", 1);
        s.advance(secs(1));
        s.is("api", StateName::Waiting);
        if stop_all {
            s.command(Command::Stop(Target::All)).expect("accepted");
        } else {
            s.stop("db");
        }
        s.does("ask db:1");
        s.is("api db db:1", StateName::Stopped);
    }
}

#[test]
fn a_restart_of_several_instances_during_a_restart_of_everything_starts_each_once() {
    let mut spec = spec("api:");
    edit(&mut spec, "api").instances = 3;
    let mut s = Scenario::running(spec);
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask api, ask api:1, ask api:2");
    s.restart("api");
    s.does("spawn api:1, spawn api:2");
    s.ends("api", 0);
    s.does("spawn api");
}

#[test]
fn a_start_takes_back_all_its_pending_stops_before_it_touches_anybody() {
    let mut spec = spec("api: db; db:; web:");
    edit(&mut spec, "db").instances = 2;
    let mut s = Scenario::running(spec);
    s.slow(&["api"]);
    s.stop("db");
    s.does("ask api");
    let mut new = (**s.guard.spec()).clone();
    edit(&mut new, "api").needs = Vec::new();
    new.services.insert(name("front"), Arc::new(service("front", &["db"])));
    s.reload(new);
    s.does("spawn front");
    s.is("db db:1", StateName::Running);
}

#[test]
fn one_that_stays_up_during_a_restart_of_everything_does_not_hold_up_the_instances_of_its_need() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").instances = 2;
    let mut s = Scenario::running(spec);
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.command(Command::Start(Target::Instance(id("db")))).expect("accepted");
    s.does("ask api");
    s.restart("api");
    s.does("");
    s.ends("api", 0);
    s.does("spawn api, ask db:1, spawn db:1");
    s.is("db db:1", StateName::Running);
}

#[test]
fn who_is_started_during_a_restart_of_everything_brings_up_what_comes_back_and_not_what_was_stopped_before() {
    let mut spec = spec("api: db; db:; other:");
    edit(&mut spec, "db").instances = 2;
    edit(&mut spec, "api").start = StartMode::Manual;
    let mut s = Scenario::running(spec);
    s.slow(&["other"]);
    s.command(Command::Stop(Target::Instance(id("db:1")))).expect("accepted");
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.does("ask db:1, ask db, ask other");
    s.start("api");
    s.does("spawn db, spawn api");
    s.is("db:1", StateName::Stopped);
}

#[test]
fn a_restart_starts_once_what_waited_for_a_need_that_it_brings_up() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "api").instances = 2;
    let mut s = Scenario::running(spec);
    s.command(Command::Stop(Target::Instance(id("db")))).expect("accepted");
    s.command(Command::Stop(Target::Instance(id("api:1")))).expect("accepted");
    s.ends("api", 1);
    s.advance(secs(1));
    s.is("api", StateName::Waiting);
    s.told.clear();
    s.restart("api");
    // Each once. Which of two instances of one service is first is nobody's business.
    s.does("spawn db, spawn api:1, spawn api");
}
