//! What answers mean for a life: readiness, startup before the others, live failures, dependencies, watchdogs.

use super::*;
use crate::spec::DependencyCheck;

#[test]
fn it_runs_when_its_ready_probe_passes_and_not_before() {
    let mut spec = spec();
    spec.ready = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.is(StateName::Starting);
    s.answer_next(ProbeRole::Ready, refused());
    s.answer_next(ProbeRole::Ready, failed());
    s.is(StateName::Starting);
    assert_eq!(s.service.health(), Health::Unknown);
    s.answer_next(ProbeRole::Ready, Outcome::Pass);
    s.is(StateName::Running);
    assert_eq!(s.cause(), "its ready probe passed");
    assert_eq!(s.service.health(), Health::Up);
}

#[test]
fn it_runs_when_it_says_ready() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Watchdog);
    s.notice(Notice::Status("warming up".into()));
    s.is(StateName::Starting);
    assert_eq!(s.service.status_text(), "warming up");
    s.notice(Notice::Ready);
    s.is(StateName::Running);
}

#[test]
fn it_runs_when_its_log_says_so() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Log("listening".into())));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Ready);
    s.is(StateName::Starting);
    s.service.handle_log_match(s.now, s.run(), ProbeSlot(0));
    s.is(StateName::Running);
}

#[test]
fn a_ready_that_comes_before_the_news_of_the_start_is_not_lost() {
    for target in [ProbeTarget::Notify, ProbeTarget::Log("listening".into())] {
        let notify = target == ProbeTarget::Notify;
        let mut spec = spec();
        spec.ready = Some(told(target));
        let mut s = Scenario::of(spec);
        s.start();
        if notify {
            s.notice(Notice::Ready);
        } else {
            s.service.handle_log_match(s.now, s.run(), ProbeSlot(0));
        }
        s.is(StateName::Starting);
        s.spawned();
        s.is(StateName::Running);
    }
}

#[test]
fn a_ready_that_comes_while_the_startup_probe_still_asks_is_not_lost() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Ready);
    s.is(StateName::Starting);
    s.answer_next(ProbeRole::Startup, Outcome::Pass);
    s.is(StateName::Running);
}

#[test]
fn a_ready_of_the_last_run_says_nothing_about_this_one() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.notice(Notice::Ready);
    s.spawn_fails();
    s.advance(secs(1));
    s.spawned();
    s.is(StateName::Starting);
    s.notice(Notice::Ready);
    s.is(StateName::Running);
}

#[test]
fn one_ready_answers_startup_and_ready() {
    let mut spec = spec();
    spec.startup = Some(told(ProbeTarget::Notify));
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Ready);
    s.is(StateName::Running);
}

#[test]
fn the_other_probes_wait_for_the_startup_probe() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    spec.ready = Some(tcp());
    spec.live = Some(tcp());
    spec.dependencies = vec![DependencyCheck { name: "database".into(), probe: tcp() }];
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    for _ in 0..10 {
        s.answer_next(ProbeRole::Startup, refused());
        let next = s.service.poll_timeout().expect("a deadline");
        s.advance(next.since(s.now));
        assert!(s.question(ProbeRole::Startup).is_some());
        for role in [ProbeRole::Ready, ProbeRole::Live, ProbeRole::Dependency] {
            assert_eq!(s.question(role), None, "{}", role.word());
        }
    }
    s.answer(ProbeRole::Startup, Outcome::Pass);
    assert!(s.question(ProbeRole::Ready).is_some());
    assert_eq!(s.question(ProbeRole::Live), None);
    s.answer(ProbeRole::Ready, Outcome::Pass);
    s.is(StateName::Running);
    s.forget();
    s.advance(secs(5));
    assert!(s.question(ProbeRole::Live).is_some());
    assert!(s.question(ProbeRole::Dependency).is_some());
    assert_eq!(s.question(ProbeRole::Startup), None);
}

#[test]
fn refused_while_it_starts_is_no_failure() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    for _ in 0..50 {
        s.answer_next(ProbeRole::Startup, refused());
    }
    s.is(StateName::Starting);
}

#[test]
fn a_startup_probe_that_says_no_ends_the_start() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    for _ in 0..3 {
        s.is(StateName::Starting);
        s.answer_next(ProbeRole::Startup, failed());
    }
    s.is(StateName::Stopping);
    assert_eq!(s.cause(), "startup probe failed: status 500");
    s.ends(0);
    s.is(StateName::Backoff);
}

#[test]
fn a_live_failure_restarts_and_counts() {
    let mut spec = spec();
    spec.live = Some(tcp());
    spec.hooks.before_stop = vec![hook("drain")];
    let mut s = Scenario::running(spec);
    s.answer_next(ProbeRole::Live, Outcome::Pass);
    for _ in 0..2 {
        s.answer_next(ProbeRole::Live, failed());
        s.is(StateName::Running);
    }
    s.advance(secs(5));
    s.answer(ProbeRole::Live, refused());
    s.is(StateName::Stopping);
    assert_eq!(s.service.health(), Health::Down);
    assert_eq!(s.cause(), "live probe failed: connection refused");
    let actions = s.actions();
    assert_eq!(actions.last(), Some(&term(1)), "no hook is run for one that does not live");
    s.ends(0);
    s.is(StateName::Backoff);
    assert_eq!(s.service.history().restarts, 1);
    s.advance(secs(1));
    s.does(&[sweep(1), release(1), spawn(2)]);
}

#[test]
fn a_live_probe_that_nobody_answers_is_a_failure() {
    let mut spec = spec();
    spec.live = Some(tcp());
    let mut s = Scenario::running(spec);
    s.answer_next(ProbeRole::Live, Outcome::Pass);
    s.advance(secs(18));
    s.is(StateName::Stopping);
    assert_eq!(s.cause(), "live probe failed: no answer within 2s");
}

#[test]
fn a_program_that_nothing_else_was_asked_about_has_its_start_timeout_to_answer_its_live_probe() {
    let mut spec = spec();
    spec.live = Some(tcp());
    spec.start_timeout = Some(secs(30));
    let mut s = Scenario::running(spec);
    let started = s.now;
    while s.now.since(started) < secs(25) {
        s.answer_next(ProbeRole::Live, refused());
        s.is(StateName::Running);
    }
    for _ in 0..20 {
        if s.service.state_name() == StateName::Running {
            s.answer_next(ProbeRole::Live, refused());
        }
    }
    s.is(StateName::Stopping);
}

#[test]
fn a_refused_live_probe_counts_at_once_when_another_probe_has_said_that_it_is_up() {
    let mut spec = spec();
    spec.live = Some(tcp());
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Ready);
    s.forget();
    for _ in 0..3 {
        s.is(StateName::Running);
        s.answer_next(ProbeRole::Live, refused());
    }
    s.is(StateName::Stopping);
}

#[test]
fn a_failing_dependency_degrades_and_restarts_nothing() {
    let mut spec = spec();
    spec.dependencies = vec![DependencyCheck { name: "database".into(), probe: tcp() }];
    let mut s = Scenario::running(spec);
    s.advance(secs(5));
    for _ in 0..3 {
        s.answer_next(ProbeRole::Dependency, refused());
    }
    s.is(StateName::Running);
    assert_eq!(s.service.health(), Health::Degraded);
    assert!(s.service.serves());
    assert_eq!(s.service.failing_dependencies().collect::<Vec<_>>(), [("database", "connection refused")]);
    s.answer_next(ProbeRole::Dependency, Outcome::Pass);
    assert_eq!(s.service.health(), Health::Up);
}

#[test]
fn a_ready_probe_that_says_no_later_takes_it_out_of_service_and_restarts_nothing() {
    let mut spec = spec();
    spec.ready = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.answer_next(ProbeRole::Ready, Outcome::Pass);
    for _ in 0..3 {
        assert!(s.service.serves());
        s.answer_next(ProbeRole::Ready, failed());
    }
    s.is(StateName::Running);
    assert!(!s.service.serves());
    assert_eq!(s.service.health(), Health::OutOfService);
    s.answer_next(ProbeRole::Ready, Outcome::Pass);
    assert!(s.service.serves());
}

#[test]
fn a_watchdog_that_is_not_fed_restarts() {
    let mut spec = spec();
    spec.live = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::running(spec);
    for _ in 0..10 {
        s.advance(secs(14));
        s.notice(Notice::Watchdog);
    }
    s.is(StateName::Running);
    s.advance(secs(15));
    s.is(StateName::Stopping);
    assert_eq!(s.cause(), "live probe failed: no WATCHDOG=1 for 15s");
}

#[test]
fn a_program_can_trigger_its_watchdog_itself() {
    let mut s = Scenario::running(spec());
    s.notice(Notice::WatchdogTrigger);
    s.is(StateName::Stopping);
    s.ends(0);
    s.is(StateName::Backoff);
    assert_eq!(s.cause(), "live probe failed: the program itself triggered its watchdog");
}

#[test]
fn a_suspended_computer_feeds_no_watchdog_and_starves_none() {
    let mut spec = spec();
    spec.live = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::running(spec);
    s.now = s.now + secs(3_600);
    s.service.handle_suspended(secs(3_600));
    s.service.handle_timeout(s.now);
    s.is(StateName::Running);
    s.advance(secs(15));
    s.is(StateName::Stopping);
}

#[test]
fn an_answer_never_reaches_another_probe_than_the_one_that_was_asked() {
    let mut spec = spec();
    spec.ready = Some(tcp());
    spec.live = Some(ProbeSpec { failures: 1, ..tcp() });
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.answer_next(ProbeRole::Ready, Outcome::Pass);
    s.advance(secs(5));
    let (ready, attempt) = s.question(ProbeRole::Ready).expect("asked");
    let (live, _) = s.question(ProbeRole::Live).expect("asked");
    // The ready probe goes; the live probe must not inherit its place.
    s.new_spec(|spec| spec.ready = None);
    s.service.handle_answer(s.now, s.run(), ready, attempt, failed(), Duration::ZERO);
    s.service.handle_answer(s.now, s.run(), ready, 1, failed(), Duration::ZERO);
    s.is(StateName::Running);
    assert_ne!(ready, live);
    assert_eq!(s.service.probes().map(|(slot, ..)| slot).collect::<Vec<_>>(), [live]);
}

#[test]
fn a_reload_that_takes_away_the_probe_that_was_waited_for_lets_it_run() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    spec.ready = Some(tcp());
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.new_spec(|spec| spec.startup = None);
    s.is(StateName::Starting);
    assert!(s.question(ProbeRole::Ready).is_some());
    s.new_spec(|spec| spec.ready = None);
    s.is(StateName::Running);
}

#[test]
fn a_ready_that_was_told_early_does_not_answer_another_probe_that_a_reload_puts_in_its_place() {
    let mut spec = spec();
    spec.startup = Some(tcp());
    spec.ready = Some(told(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::Ready);
    s.new_spec(|spec| spec.ready = Some(told(ProbeTarget::Log("listening".into()))));
    s.answer_next(ProbeRole::Startup, Outcome::Pass);
    s.is(StateName::Starting);
}

#[test]
fn a_line_that_matched_does_not_answer_another_probe_that_a_reload_puts_in_its_place() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Log("listening".into())));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.new_spec(|spec| spec.ready = Some(told(ProbeTarget::Notify)));
    s.service.handle_log_match(s.now, s.run(), ProbeSlot(0));
    s.is(StateName::Starting);
}
