//! What somebody wants of an instance: restart, pause, another spec.

use super::*;

#[test]
fn a_restart_ends_it_properly_and_starts_it_without_a_wait() {
    let mut s = Scenario::running(spec());
    s.restart();
    s.does(&[term(1)]);
    s.ends(0);
    s.is(StateName::Starting);
    s.does(&[sweep(1), release(1), spawn(2)]);
    assert_eq!(s.service.history().restarts, 0, "a wanted restart is not counted");
}

#[test]
fn a_restart_of_what_is_down_is_a_start() {
    let mut s = Scenario::of(spec());
    s.restart();
    s.does(&[spawn(1)]);
    s.spawned();
    s.ends(1);
    s.is(StateName::Backoff);
    s.forget();
    s.restart();
    s.does(&[spawn(2)]);
}

#[test]
fn two_restarts_at_once_are_one() {
    let mut s = Scenario::running(spec());
    s.restart();
    s.restart();
    s.ends(0);
    s.spawned();
    s.is(StateName::Running);
    s.does(&[term(1), sweep(1), release(1), spawn(2)]);
}

#[test]
fn a_restart_while_it_is_being_started_starts_it_once_more() {
    let mut s = Scenario::of(spec());
    s.start();
    s.restart();
    s.spawned();
    s.ends(0);
    s.does(&[spawn(1), term(1), sweep(1), release(1), spawn(2)]);
}

#[test]
fn a_stop_during_a_restart_keeps_it_down() {
    let mut s = Scenario::running(spec());
    s.restart();
    s.stop();
    s.ends(0);
    s.is(StateName::Stopped);
    s.forget();
    s.advance(secs(100_000));
    s.does(&[]);
}

#[test]
fn a_stop_that_has_to_wait_keeps_a_crashed_program_down() {
    let mut s = Scenario::running(spec());
    s.service.handle_stop_later();
    s.is(StateName::Running);
    s.does(&[]);
    s.ends(1);
    s.is(StateName::Stopped);
}

#[test]
fn a_start_of_what_is_up_changes_nothing() {
    let mut s = Scenario::running(spec());
    s.start();
    s.is(StateName::Running);
    s.does(&[]);
    assert_eq!(s.events(), []);
}

#[test]
fn a_paused_program_is_held_not_asked_and_out_of_service() {
    let mut spec = spec();
    spec.live = Some(ProbeSpec { failures: 1, ..tcp() });
    let mut s = Scenario::running(spec);
    s.answer_next(ProbeRole::Live, Outcome::Pass);
    s.service.handle_pause(asked());
    s.service.handle_pause(asked());
    s.does(&[Action::Freeze { run: RunId(1) }]);
    assert!(s.service.is_paused() && !s.service.serves());
    assert_eq!(s.service.health(), Health::OutOfService);
    s.advance(secs(1_000));
    s.is(StateName::Running);
    s.does(&[]);
    s.service.handle_resume(s.now, asked());
    s.service.handle_resume(s.now, asked());
    s.does(&[Action::Thaw { run: RunId(1) }]);
    assert!(s.service.serves());
    s.advance(secs(5));
    assert!(s.question(ProbeRole::Live).is_some());
    assert_eq!(s.events().iter().filter(|event| **event == Event::Paused).count(), 1);
}

#[test]
fn a_paused_program_is_let_go_before_it_is_asked_to_end() {
    let mut s = Scenario::running(spec());
    s.service.handle_pause(asked());
    s.stop();
    s.does(&[Action::Freeze { run: RunId(1) }, Action::Thaw { run: RunId(1) }, term(1)]);
    assert!(!s.service.is_paused());
}

#[test]
fn a_paused_program_that_is_killed_is_restarted_like_any_other() {
    let mut s = Scenario::running(spec());
    s.service.handle_pause(asked());
    s.ends(137);
    s.is(StateName::Backoff);
    s.advance(secs(1));
    s.spawned();
    assert!(!s.service.is_paused());
}

#[test]
fn only_what_runs_can_be_paused() {
    let mut spec = spec();
    spec.ready = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.forget();
    s.service.handle_pause(asked());
    assert!(!s.service.is_paused());
    s.does(&[]);
}

#[test]
fn a_live_change_of_the_policy_holds_for_the_next_end() {
    let mut s = Scenario::running(spec());
    s.new_spec(|spec| spec.restart.delay = secs(7));
    s.does(&[]);
    s.ends(1);
    s.next_in(secs(7));
}

#[test]
fn changed_limits_are_put_on_the_living_tree() {
    let mut s = Scenario::running(spec());
    s.new_spec(|spec| spec.limits.memory = Some(1 << 30));
    s.does(&[Action::ApplyLimits { run: RunId(1) }]);
    s.new_spec(|spec| spec.description = "other".into());
    s.does(&[]);
}

#[test]
fn limits_that_change_while_the_program_is_being_started_reach_it() {
    let mut s = Scenario::of(spec());
    s.start();
    s.new_spec(|spec| spec.limits.memory = Some(1 << 30));
    s.does(&[spawn(1)]);
    s.spawned();
    s.does(&[Action::ApplyLimits { run: RunId(1) }]);
    s.ends(1);
    s.new_spec(|spec| spec.limits.memory = Some(1 << 31));
    s.advance(secs(1));
    s.forget();
    s.spawned();
    s.does(&[]);
}

fn other() -> Arc<ServiceSpec> {
    let mut other = spec();
    other.launch.command = command("./api2");
    Arc::new(other)
}

#[test]
fn a_replacement_is_in_force_from_the_next_start_on() {
    let mut s = Scenario::running(spec());
    s.service.handle_replacement(other());
    s.is(StateName::Running);
    assert_eq!(s.service.spec().launch.command, command("./api"));
    s.restart();
    s.ends(0);
    assert_eq!(s.service.spec().launch.command, command("./api2"));
}

#[test]
fn a_start_that_takes_back_a_stop_brings_the_replacement_that_came_meanwhile() {
    let mut s = Scenario::running(spec());
    s.service.handle_stop_later();
    s.service.handle_replacement(other());
    s.start();
    s.ends(0);
    s.does(&[term(1), sweep(1), release(1), spawn(2)]);
    assert_eq!(s.service.spec().launch.command, command("./api2"));
}

#[test]
fn a_replacement_is_in_force_at_once_at_rest() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.is(StateName::Backoff);
    s.service.handle_replacement(other());
    assert_eq!(s.service.spec().launch.command, command("./api2"));
}

#[test]
fn a_replacement_is_in_force_as_soon_as_nothing_of_the_old_one_lives() {
    let mut s = Scenario::running(spec());
    s.service.handle_replacement(other());
    s.ends(1);
    s.is(StateName::Backoff);
    assert_eq!(s.service.spec().launch.command, command("./api2"));
}

#[test]
fn the_newest_of_several_changes_counts() {
    let mut s = Scenario::running(spec());
    s.service.handle_replacement(other());
    s.new_spec(|spec| spec.restart.delay = secs(9));
    s.restart();
    s.ends(0);
    assert_eq!(s.service.spec().launch.command, command("./api2"));
    assert_eq!(s.service.spec().restart.delay, secs(9));
}
