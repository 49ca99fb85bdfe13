//! Another spec: only what changed is touched, nothing starts twice, nothing is forgotten.

use super::*;

fn other_command(spec: &mut GuardSpec, word: &str) {
    edit(spec, word).launch.command.words.push("--new".into());
}

#[test]
fn a_reload_of_the_same_spec_touches_nothing() {
    let mut s = Scenario::running(spec("api: db; db:"));
    let concerned = s.command(Command::Reload(Box::new(spec("api: db; db:"))));
    assert_eq!(concerned, Ok(Vec::new()));
    s.does("");
}

#[test]
fn a_spec_of_another_guard_is_refused_and_nothing_changes() {
    let mut s = Scenario::running(spec("api:"));
    let mut other = spec("db:");
    other.name = name("store");
    let refusal = s.command(Command::Reload(Box::new(other))).expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "refused: this guard is shop, the spec says store; a guard keeps its name, start another one for store"
    );
    s.does("");
    assert!(s.has("api") && !s.has("db"));
}

#[test]
fn an_added_service_starts_with_what_it_needs() {
    let mut s = Scenario::running(spec("other:"));
    let mut new = spec("api: db; db:; other:; tool:");
    edit(&mut new, "db").start = StartMode::Manual;
    edit(&mut new, "tool").start = StartMode::Manual;
    s.reload(new);
    s.does("spawn db, spawn api");
    s.is("tool", StateName::Stopped);
}

#[test]
fn a_removed_service_is_stopped_and_forgotten() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.slow(&["api"]);
    s.reload(spec("other:"));
    s.does("ask api");
    assert!(s.has("api"));
    assert_eq!(s.command(Command::Start(the("api"))), Err(Refusal::Unknown(the("api"))));
    s.command(Command::Start(Target::All)).expect("accepted");
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.ends("api", 0);
    assert!(!s.has("api"));
    s.does("ask other, spawn other");
    assert_eq!(s.guard.instances().count(), 1);
}

#[test]
fn a_removed_chain_stops_in_order() {
    let mut s = Scenario::running(spec("web: api; api: db; db:; other:"));
    s.reload(spec("other:"));
    s.does("ask web, ask api, ask db");
    assert_eq!(s.guard.instances().count(), 1);
}

#[test]
fn a_removed_service_that_is_at_rest_is_gone_at_once() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.ends("api", 1);
    s.reload(spec("other:"));
    assert!(!s.has("api"));
    s.advance(secs(1_000));
    s.does("");
}

#[test]
fn the_end_waits_for_the_remains_of_a_removed_service() {
    let mut s = Scenario::running(spec("api: db; db:; other:"));
    s.slow(&["api"]);
    s.reload(spec("db:; other:"));
    s.command(Command::End).expect("accepted");
    s.ends("api", 0);
    s.obey();
    assert!(s.guard.is_finished());
}

#[test]
fn another_command_restarts_that_service_alone() {
    let mut s = Scenario::running(spec("web: api; api: db; db:"));
    s.change(|spec| other_command(spec, "api"));
    s.does("ask api, spawn api");
    assert_eq!(s.guard.spec().services[&name("api")].launch.command.words.len(), 2);
}

#[test]
fn another_command_ends_a_backoff_and_leaves_down_what_is_down() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.ends("api", 1);
    s.stop("other");
    s.does("ask other");
    s.change(|spec| {
        other_command(spec, "api");
        other_command(spec, "other");
    });
    s.does("spawn api");
    s.start("other");
    s.does("spawn other");
}

#[test]
fn a_live_change_touches_no_program() {
    let mut s = Scenario::running(spec("api:"));
    s.change(|spec| {
        let api = edit(spec, "api");
        api.restart.delay = secs(7);
        api.live = Some(probe(ProbeTarget::Tcp("127.0.0.1:1".into())));
        api.limits.memory = Some(1 << 30);
    });
    s.does("limit api");
    s.ends("api", 1);
    s.advance(secs(7) - Duration::from_nanos(1));
    s.does("");
    s.advance(Duration::from_nanos(1));
    s.does("spawn api");
}

#[test]
fn more_instances_start_and_fewer_stop() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.change(|spec| edit(spec, "api").instances = 3);
    s.does("spawn api:1, spawn api:2");
    let order: Vec<u16> = s.guard.instances_of(&name("api")).map(|(_, id, _)| id.index).collect();
    assert_eq!(order, [0, 1, 2]);
    s.change(|spec| edit(spec, "api").instances = 1);
    s.does("ask api:1, ask api:2");
    assert!(!s.has("api:1") && !s.has("api:2"));
    s.is("api", StateName::Running);
}

#[test]
fn an_instance_that_comes_during_a_restart_of_everything_starts_with_the_others() {
    let mut s = Scenario::running(spec("api:"));
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.change(|spec| edit(spec, "api").instances = 2);
    s.does("ask api");
    s.ends("api", 0);
    s.does("spawn api, spawn api:1");
}

#[test]
fn an_instance_that_comes_back_while_it_still_ends_has_no_second_tree() {
    let mut s = Scenario::running(spec("api:"));
    s.change(|spec| edit(spec, "api").instances = 2);
    s.slow(&["api:1"]);
    s.spawned("api:1");
    s.does("spawn api:1");
    s.spawned("api:1");
    s.change(|spec| edit(spec, "api").instances = 1);
    s.does("ask api:1");
    s.change(|spec| edit(spec, "api").instances = 2);
    s.does("");
    assert_eq!(s.guard.instances_of(&name("api")).count(), 2);
    s.ends("api:1", 0);
    s.does("spawn api:1");
}

#[test]
fn a_service_that_comes_back_while_it_still_ends_comes_back_with_its_new_command() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.slow(&["api"]);
    s.reload(spec("other:"));
    let mut new = spec("api:; other:");
    other_command(&mut new, "api");
    s.reload(new);
    s.ends("api", 0);
    s.does("ask api, spawn api");
    let (_, _, api) = s.guard.instances_of(&name("api")).next().expect("an instance");
    assert_eq!(api.spec().launch.command.words.len(), 2);
}

#[test]
fn who_waits_for_a_need_goes_on_when_its_failing_instance_is_removed() {
    let mut two = spec("api: db; db:");
    edit(&mut two, "db").instances = 2;
    let mut s = Scenario::running(two);
    s.slow(&["db:1"]);
    s.ends("db:1", 1);
    s.ends("api", 1);
    s.advance(secs(1));
    s.does("spawn db:1");
    s.is("api", StateName::Waiting);
    s.change(|spec| edit(spec, "db").instances = 1);
    s.does("spawn api");
    s.feed("db:1", |run| Input::SpawnFailed { run, reason: "gone".into() });
    assert!(!s.has("db:1"));
}

#[test]
fn a_need_that_is_gone_lets_go_and_one_that_came_is_waited_for() {
    let mut s = Scenario::running(spec("api: db; db:; cache:"));
    s.slow(&["db", "cache"]);
    s.ends("db", 1);
    s.ends("api", 1);
    s.ends("cache", 1);
    s.advance(secs(1));
    s.does("spawn cache, spawn db");
    s.is("api", StateName::Waiting);
    s.change(|spec| edit(spec, "api").needs = vec![name("cache")]);
    s.is("api", StateName::Waiting);
    assert_eq!(s.cause("api"), "waits for cache");
    s.change(|spec| edit(spec, "api").needs = Vec::new());
    s.does("spawn api");
}

#[test]
fn a_need_that_came_is_brought_up_where_it_starts_when_asked() {
    let mut manual = spec("api:; cache:");
    edit(&mut manual, "cache").start = StartMode::Manual;
    let mut s = Scenario::running(manual);
    s.change(|spec| edit(spec, "api").needs = vec![name("cache")]);
    s.does("spawn cache");
}

#[test]
fn a_stop_that_waits_for_a_dependent_goes_on_when_that_needs_it_no_longer() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.stop("db");
    s.does("ask api");
    s.change(|spec| edit(spec, "api").needs = Vec::new());
    s.does("ask db");
}

#[test]
fn another_command_and_other_needs_at_once_start_it_once() {
    let mut s = Scenario::running(spec("api: db; db:; cache:"));
    s.slow(&["db"]);
    s.ends("db", 1);
    s.ends("api", 1);
    s.advance(secs(1));
    s.is("api", StateName::Waiting);
    s.does("spawn db");
    s.change(|spec| {
        other_command(spec, "api");
        edit(spec, "api").needs = vec![name("cache")];
    });
    s.does("spawn api");
}

#[test]
fn another_command_and_a_need_that_is_down_wait_for_it() {
    let mut s = Scenario::running(spec("api:; cache:"));
    s.slow(&["cache"]);
    s.ends("cache", 1);
    s.ends("api", 1);
    s.change(|spec| {
        other_command(spec, "api");
        edit(spec, "api").needs = vec![name("cache")];
    });
    s.is("api", StateName::Waiting);
    s.does("");
}

#[test]
fn a_service_that_is_disabled_stops_after_what_needs_it() {
    let mut s = Scenario::running(spec("web: api; api: db; db:"));
    s.change(|spec| edit(spec, "api").start = StartMode::Disabled);
    s.does("ask web, ask api");
    assert_eq!(s.cause("api"), "disabled in the spec");
    s.is("db", StateName::Running);
    s.advance(secs(100_000));
    s.does("");
}

#[test]
fn a_service_that_is_disabled_with_more_instances_starts_none() {
    let mut s = Scenario::running(spec("api:"));
    s.change(|spec| {
        edit(spec, "api").start = StartMode::Disabled;
        edit(spec, "api").instances = 3;
    });
    s.does("ask api");
}

#[test]
fn a_service_that_is_to_start_by_itself_does_so_also_with_another_command() {
    for with_command in [false, true] {
        let mut manual = spec("api: db; db:");
        edit(&mut manual, "api").start = StartMode::Manual;
        edit(&mut manual, "db").start = StartMode::Disabled;
        let mut s = Scenario::running(manual);
        s.change(|spec| {
            edit(spec, "api").start = StartMode::Auto;
            edit(spec, "db").start = StartMode::Manual;
            if with_command {
                other_command(spec, "api");
            }
        });
        s.does("spawn db, spawn api");
    }
}

#[test]
fn another_way_to_start_by_itself_does_not_undo_a_stop() {
    let mut s = Scenario::running(spec("api:; other:"));
    s.stop("api");
    s.obey();
    s.told.clear();
    s.change(|spec| edit(spec, "api").start = StartMode::Delayed);
    s.change(|spec| edit(spec, "api").start = StartMode::Auto);
    s.change(|spec| edit(spec, "api").start = StartMode::Manual);
    s.advance(secs(100_000));
    s.does("");
}

#[test]
fn a_service_that_becomes_manual_goes_on() {
    let mut s = Scenario::running(spec("api:"));
    s.change(|spec| edit(spec, "api").start = StartMode::Manual);
    s.ends("api", 1);
    s.advance(secs(1));
    s.does("spawn api");
}

#[test]
fn a_reload_before_the_delayed_start_neither_hastens_nor_forgets_it() {
    let mut delayed = spec("api:; report:");
    edit(&mut delayed, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(delayed);
    s.slow(&["api"]);
    s.begin();
    s.change(|spec| {
        edit(spec, "report").instances = 2;
        let mut extra = service("extra", &[]);
        extra.start = StartMode::Delayed;
        spec.services.insert(name("extra"), Arc::new(extra));
    });
    s.does("spawn api");
    s.spawned("api");
    s.does("spawn report, spawn extra, spawn report:1");
}

#[test]
fn a_reload_tells_what_it_changed() {
    let mut s = Scenario::running(spec("api:; db:; gone:"));
    s.events();
    let mut new = spec("api:; db:; new:");
    other_command(&mut new, "api");
    edit(&mut new, "db").description = "other".into();
    s.reload(new);
    let changes: Vec<String> = s
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Reloaded { changes, .. } = event { Some(changes) } else { None })
        .flatten()
        .map(|(service, change)| format!("{service}: {change}"))
        .collect();
    assert_eq!(
        changes,
        ["api: restarted for command", "db: changed while running: description", "gone: removed", "new: added"]
    );
}

#[test]
fn fifty_reloads_in_a_row_leave_what_the_last_one_says() {
    let mut s = Scenario::running(spec("api: db; db:"));
    for round in 0..50u16 {
        s.change(|spec| {
            edit(spec, "api").instances = 1 + round % 4;
            other_command(spec, "db");
        });
    }
    s.advance(secs(60));
    s.told.clear();
    assert_eq!(s.guard.instances().count(), 3);
    s.is("api api:1 db", StateName::Running);
    let (_, _, db) = s.guard.instances_of(&name("db")).next().expect("an instance");
    assert_eq!(db.spec().launch.command.words.len(), 51);
}

#[test]
fn who_is_added_waits_for_a_need_that_begins_anew_in_the_same_reload() {
    let mut s = Scenario::running(spec("web:"));
    s.slow(&["web"]);
    s.change(|spec| {
        other_command(spec, "web");
        spec.services.insert(name("api"), Arc::new(service("api", &["web"])));
    });
    s.does("ask web");
    s.is("api", StateName::Waiting);
    s.ends("web", 0);
    s.does("spawn web");
    s.spawned("web");
    s.does("spawn api");
}

#[test]
fn a_need_that_comes_during_a_restart_of_everything_is_brought_up_too() {
    let mut manual = spec("api:; cache:");
    edit(&mut manual, "cache").start = StartMode::Manual;
    let mut s = Scenario::running(manual);
    s.slow(&["api"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    s.change(|spec| edit(spec, "api").needs = vec![name("cache")]);
    s.does("ask api, spawn cache");
    s.ends("api", 0);
    s.does("spawn api");
}

#[test]
fn a_delayed_service_that_goes_and_comes_before_its_turn_still_has_it() {
    let mut delayed = spec("api:; report:");
    edit(&mut delayed, "report").start = StartMode::Delayed;
    let mut s = Scenario::of(delayed.clone());
    s.slow(&["api", "report"]);
    s.begin();
    s.start("report");
    s.spawned("report");
    s.reload(spec("api:"));
    s.does("spawn api, spawn report, ask report");
    s.reload(delayed);
    s.ends("report", 0);
    s.is("report", StateName::Stopped);
    s.spawned("api");
    s.does("spawn report");
}
