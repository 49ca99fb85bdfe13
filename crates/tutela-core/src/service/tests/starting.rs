//! From the wish to run to running: needs, hooks, the start, readiness, time limits.

use super::*;

#[test]
fn a_program_without_probes_runs_when_it_is_started() {
    let mut s = Scenario::of(spec());
    s.is(StateName::Stopped);
    s.start();
    s.is(StateName::Starting);
    s.does(&[spawn(1)]);
    s.spawned();
    s.is(StateName::Running);
    assert_eq!(s.service.pid(), Some(PID));
    assert_eq!(s.cause(), "its program runs");
    let starting = Event::State { from: StateName::Stopped, to: StateName::Starting, cause: asked() };
    let running =
        Event::State { from: StateName::Starting, to: StateName::Running, cause: Cause::Ready("its program runs") };
    assert_eq!(s.events(), [starting, Event::Started { run: RunId(1), pid: PID }, running]);
}

#[test]
fn an_instance_waits_for_its_needs_and_names_them() {
    let mut s = Scenario::of(spec());
    s.needs(&["cache", "db"]);
    s.start();
    s.is(StateName::Waiting);
    assert_eq!(s.cause(), "waits for cache, db");
    assert_eq!(s.service.next().expect("a next").what, "start once ready: cache, db");
    s.needs(&["db"]);
    assert_eq!(s.cause(), "waits for db");
    s.does(&[]);
    s.needs(&[]);
    s.is(StateName::Starting);
    assert_eq!(s.cause(), "asked by test");
    s.does(&[spawn(1)]);
}

#[test]
fn an_instance_whose_backoff_is_over_waits_for_needs_that_went() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.needs(&["db"]);
    s.forget();
    s.advance(secs(1));
    s.is(StateName::Waiting);
    s.does(&[]);
    s.needs(&[]);
    s.does(&[spawn(2)]);
    assert_eq!(s.cause(), "restarted after its wait");
}

#[test]
fn needs_that_go_do_not_touch_what_runs() {
    let mut s = Scenario::running(spec());
    s.needs(&["db"]);
    s.is(StateName::Running);
    s.does(&[]);
}

#[test]
fn hooks_before_the_start_run_one_after_the_other() {
    let mut spec = spec();
    spec.hooks.before_start = vec![hook("one"), hook("two")];
    let mut s = Scenario::of(spec);
    s.start();
    s.does(&[run_hook(1, HookKind::BeforeStart, 0)]);
    s.hook_done(HookOutcome::Success);
    s.does(&[run_hook(1, HookKind::BeforeStart, 1)]);
    s.hook_done(HookOutcome::Success);
    s.does(&[spawn(1)]);
}

#[test]
fn a_failing_hook_before_the_start_fails_the_start_and_says_so() {
    let mut spec = spec();
    spec.hooks.before_start = vec![hook("one"), hook("two")];
    spec.hooks.after_exit = vec![hook("report")];
    let mut s = Scenario::of(spec);
    s.start();
    s.hook_done(HookOutcome::TimedOut);
    s.is(StateName::Backoff);
    s.does(&[run_hook(1, HookKind::BeforeStart, 0), release(1)]);
    assert_eq!(s.cause(), "its before_start hook took too long and was ended");
    let failed = Event::HookFailed { kind: HookKind::BeforeStart, outcome: HookOutcome::TimedOut };
    assert!(s.events().contains(&failed));
    assert_eq!(s.service.history().restarts, 1);
}

#[test]
fn a_stop_cancels_the_hook_that_runs_and_waits_for_its_end() {
    let mut spec = spec();
    spec.hooks.before_start = vec![hook("one"), hook("two")];
    let mut s = Scenario::of(spec);
    s.start();
    s.stop();
    s.hurry();
    s.does(&[run_hook(1, HookKind::BeforeStart, 0), cancel_hook(1)]);
    s.is(StateName::Stopping);
    s.hook_done(HookOutcome::Cancelled);
    s.is(StateName::Stopped);
    s.does(&[release(1)]);
}

#[test]
fn hooks_around_a_life_run_in_their_order() {
    let mut spec = spec();
    spec.hooks.before_start = vec![hook("migrate")];
    spec.hooks.after_ready = vec![hook("announce"), hook("warm")];
    spec.hooks.before_stop = vec![hook("drain"), hook("leave")];
    spec.hooks.after_exit = vec![hook("report"), hook("clean")];
    let mut s = Scenario::of(spec);
    s.start();
    s.hook_done(HookOutcome::Success);
    s.spawned();
    s.hook_done(HookOutcome::Success);
    s.hook_done(HookOutcome::Success);
    s.stop();
    s.hook_done(HookOutcome::Success);
    s.hook_done(HookOutcome::Failed("exited with code 1".into()));
    s.ends(0);
    s.hook_done(HookOutcome::Success);
    s.is(StateName::Stopping);
    s.hook_done(HookOutcome::Success);
    s.is(StateName::Stopped);
    s.does(&[
        run_hook(1, HookKind::BeforeStart, 0),
        spawn(1),
        run_hook(1, HookKind::AfterReady, 0),
        run_hook(1, HookKind::AfterReady, 1),
        run_hook(1, HookKind::BeforeStop, 0),
        run_hook(1, HookKind::BeforeStop, 1),
        term(1),
        sweep(1),
        release(1),
        run_hook(1, HookKind::AfterExit, 0),
        run_hook(1, HookKind::AfterExit, 1),
    ]);
}

#[test]
fn a_crash_skips_the_hooks_before_a_stop_and_runs_those_after_an_end() {
    let mut spec = spec();
    spec.hooks.before_stop = vec![hook("drain")];
    spec.hooks.after_exit = vec![hook("report")];
    let mut s = Scenario::running(spec);
    s.ends(1);
    s.does(&[sweep(1), release(1), run_hook(1, HookKind::AfterExit, 0)]);
    s.hook_done(HookOutcome::Success);
    s.is(StateName::Backoff);
}

#[test]
fn a_program_that_ends_during_the_hook_before_its_stop_ends_the_hook() {
    let mut spec = spec();
    spec.hooks.before_stop = vec![hook("drain")];
    let mut s = Scenario::running(spec);
    s.stop();
    s.does(&[run_hook(1, HookKind::BeforeStop, 0)]);
    s.exits(0);
    s.does(&[cancel_hook(1), sweep(1)]);
    s.empty();
    s.is(StateName::Stopping);
    s.hook_done(HookOutcome::Cancelled);
    s.is(StateName::Stopped);
}

#[test]
fn a_hook_after_ready_is_ended_before_the_program_is_asked() {
    let mut spec = spec();
    spec.hooks.after_ready = vec![hook("announce")];
    let mut s = Scenario::running(spec);
    s.stop();
    s.does(&[cancel_hook(1)]);
    s.hook_done(HookOutcome::Cancelled);
    s.does(&[term(1)]);
}

#[test]
fn a_hurry_during_the_hooks_after_an_end_ends_them() {
    let mut spec = spec();
    spec.hooks.after_exit = vec![hook("report"), hook("clean")];
    let mut s = Scenario::running(spec);
    s.stop();
    s.ends(0);
    s.forget();
    s.hurry();
    s.does(&[cancel_hook(1)]);
    s.hook_done(HookOutcome::Cancelled);
    s.is(StateName::Stopped);
    s.does(&[]);
}

#[test]
fn a_program_that_cannot_be_started_says_why_and_is_tried_again() {
    let mut s = Scenario::of(spec());
    s.start();
    s.spawn_fails();
    s.is(StateName::Backoff);
    s.does(&[spawn(1), release(1)]);
    assert_eq!(s.cause(), "could not be started: no such file");
    assert!(s.events().contains(&Event::StartFailed { run: RunId(1), reason: "no such file".into() }));
    s.advance(secs(1));
    s.does(&[spawn(2)]);
}

#[test]
fn a_start_that_takes_too_long_is_ended_and_counts_as_a_failure() {
    let mut spec = spec();
    spec.ready = Some(tcp());
    spec.start_timeout = Some(secs(20));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.next_in(secs(20));
    s.forget();
    s.advance(secs(20));
    s.is(StateName::Stopping);
    assert_eq!(s.cause(), "not ready within 20s");
    assert!(s.actions().contains(&term(1)));
    s.ends(0);
    s.is(StateName::Backoff);
    assert_eq!(s.service.history().restarts, 1);
}

#[test]
fn hooks_and_the_spawn_are_part_of_the_time_that_a_start_has() {
    let mut spec = spec();
    spec.hooks.before_start = vec![hook("migrate")];
    spec.start_timeout = Some(secs(20));
    let mut s = Scenario::of(spec);
    s.start();
    s.advance(secs(20));
    s.does(&[run_hook(1, HookKind::BeforeStart, 0), cancel_hook(1)]);
    s.hook_done(HookOutcome::Cancelled);
    s.is(StateName::Backoff);
    s.advance(secs(1));
    s.hook_done(HookOutcome::Success);
    s.advance(secs(20));
    s.is(StateName::Stopping);
    s.forget();
    s.spawned();
    s.does(&[term(2)]);
}

#[test]
fn a_program_that_needs_longer_to_start_may_say_so_but_not_for_ever() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Notify));
    spec.start_timeout = Some(secs(20));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::ExtendTimeout(secs(90)));
    s.next_in(secs(90));
    s.notice(Notice::ExtendTimeout(secs(5)));
    s.next_in(secs(90));
    s.notice(Notice::ExtendTimeout(Duration::MAX));
    s.next_in(super::super::starting::EXTENSION_MAX);
}

#[test]
fn a_reload_does_not_take_back_time_that_a_start_was_given() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Notify));
    spec.start_timeout = Some(secs(20));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.notice(Notice::ExtendTimeout(secs(90)));
    s.new_spec(|spec| spec.description = "other".into());
    s.next_in(secs(90));
    s.new_spec(|spec| spec.start_timeout = Some(secs(30)));
    s.next_in(secs(30));
    s.new_spec(|spec| spec.start_timeout = None);
    assert_eq!(s.service.poll_timeout(), None);
}

#[test]
fn a_suspended_computer_does_not_shorten_a_start() {
    let mut spec = spec();
    spec.ready = Some(told(ProbeTarget::Notify));
    spec.start_timeout = Some(secs(20));
    let mut s = Scenario::of(spec);
    s.start();
    s.spawned();
    s.now = s.now + secs(3_600);
    s.service.handle_suspended(secs(3_600));
    s.service.handle_timeout(s.now);
    s.is(StateName::Starting);
    s.next_in(secs(20));
}

#[test]
fn news_of_an_earlier_run_are_ignored() {
    let mut s = Scenario::running(spec());
    let old = s.run();
    s.ends(1);
    s.advance(secs(1));
    s.spawned();
    s.forget();
    s.service.handle_exited(s.now, old, Exit::Code(9));
    s.service.handle_tree_empty(s.now, old);
    s.service.handle_tree_left(s.now, old, vec![survivor(1)]);
    s.service.handle_tree_killed(old, vec![survivor(1)]);
    s.service.handle_spawned(s.now, old, 1);
    s.service.handle_spawn_failed(s.now, old, "late".into());
    s.service.handle_hook_done(s.now, old, HookOutcome::Success);
    s.service.handle_notice(s.now, old, Notice::WatchdogTrigger);
    s.service.handle_log_match(s.now, old, ProbeSlot(0));
    s.service.handle_answer(s.now, old, ProbeSlot(0), 1, failed(), Duration::ZERO);
    s.is(StateName::Running);
    assert_eq!(s.service.pid(), Some(PID));
    s.does(&[]);
    assert_eq!(s.events(), []);
}

#[test]
fn the_same_news_twice_are_one() {
    let mut s = Scenario::running(spec());
    s.service.handle_spawned(s.now, s.run(), 99);
    s.spawn_fails();
    assert_eq!(s.service.pid(), Some(PID));
    s.exits(1);
    s.exits(2);
    s.empty();
    s.empty();
    s.is(StateName::Backoff);
    assert_eq!(s.cause(), "exited with code 1");
    assert_eq!(s.service.history().restarts, 1);
    s.does(&[sweep(1), release(1)]);
}

#[test]
fn runs_are_numbered_upwards_for_ever() {
    let mut s = Scenario::running(spec());
    for run in 1..50 {
        assert_eq!(s.run(), RunId(run));
        s.stop();
        s.ends(0);
        s.start();
        s.spawned();
    }
}
