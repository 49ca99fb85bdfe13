//! From living to nothing left: the ladder, leftovers, resistance, hurry, stops at every step.

use super::*;

fn three_rungs() -> ServiceSpec {
    let mut spec = spec();
    spec.stop = vec![rung("INT", 2), rung("TERM", 5), LadderStep { step: StopStep::Kill, wait: Duration::ZERO }];
    spec
}

#[test]
fn a_stop_asks_sweeps_and_releases() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.is(StateName::Stopping);
    s.does(&[term(1)]);
    s.exits(0);
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
    s.does(&[release(1)]);
    assert_eq!(s.cause(), "asked by test");
    assert_eq!(s.service.pid(), None);
}

#[test]
fn a_program_that_ignores_its_signals_climbs_the_ladder_and_is_killed() {
    let mut s = Scenario::running(three_rungs());
    s.stop();
    s.does(&[ask(1, 0, "INT")]);
    s.next_in(secs(2));
    s.advance(secs(2));
    s.does(&[ask(1, 1, "TERM")]);
    s.advance(secs(5) - Duration::from_nanos(1));
    s.does(&[]);
    s.advance(Duration::from_nanos(1));
    s.does(&[end_tree(1)]);
    s.killed(&[PID]);
    s.exits(137);
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
    assert_eq!(s.service.survivors(), [survivor(PID)]);
    assert!(s.events().contains(&Event::Resisted { survivors: vec![survivor(PID)] }));
}

#[test]
fn a_ladder_without_a_last_kill_ends_in_one_all_the_same() {
    let mut spec = spec();
    spec.stop = vec![rung("TERM", 3)];
    let mut s = Scenario::running(spec);
    s.stop();
    s.advance(secs(3));
    s.does(&[term(1), end_tree(1)]);
    let mut spec = self::spec();
    spec.stop = Vec::new();
    let mut s = Scenario::running(spec);
    s.stop();
    s.does(&[end_tree(1)]);
}

#[test]
fn a_stop_command_is_a_rung_like_a_signal() {
    let mut spec = spec();
    let step = StopStep::Command(command("redis-cli"));
    spec.stop = vec![LadderStep { step: step.clone(), wait: secs(4) }, rung("TERM", 5)];
    let mut s = Scenario::running(spec);
    s.stop();
    s.does(&[Action::Ask { run: RunId(1), rung: 0, step }]);
    s.advance(secs(4));
    s.does(&[ask(1, 1, "TERM")]);
}

fn not_heard(signal: &str) -> Event {
    Event::Undelivered { step: StopStep::Signal(signal.to_owned()), reason: "nobody there".to_owned() }
}

#[test]
fn a_request_that_nobody_hears_is_told_and_the_next_one_follows_at_once() {
    let mut s = Scenario::running(three_rungs());
    s.stop();
    s.does(&[ask(1, 0, "INT")]);
    s.events();
    s.undelivered(0, "INT");
    s.does(&[ask(1, 1, "TERM")]);
    assert_eq!(s.events(), [not_heard("INT")]);
    // The next rung has its whole time.
    s.next_in(secs(5));
    s.advance(secs(5));
    s.does(&[end_tree(1)]);
    s.killed(&[PID]);
    assert_eq!(s.events(), [Event::Resisted { survivors: vec![survivor(PID)] }]);
}

#[test]
fn a_program_that_no_request_reaches_is_ended_at_once_and_has_not_resisted() {
    let mut s = Scenario::running(three_rungs());
    s.stop();
    s.undelivered(0, "INT");
    s.undelivered(1, "TERM");
    s.does(&[ask(1, 0, "INT"), ask(1, 1, "TERM"), end_tree(1)]);
    s.killed(&[PID]);
    s.ends(137);
    s.is(StateName::Stopped);
    assert!(!s.events().iter().any(|event| matches!(event, Event::Resisted { .. })));
}

#[test]
fn news_of_a_rung_that_is_behind_skip_none() {
    let mut s = Scenario::running(three_rungs());
    s.stop();
    s.advance(secs(2));
    s.does(&[ask(1, 0, "INT"), ask(1, 1, "TERM")]);
    s.events();
    s.undelivered(0, "INT");
    s.does(&[]);
    assert_eq!(s.events(), [not_heard("INT")]);
    s.next_in(secs(5));
    // Nor do news of another run, or of a program that is gone.
    s.service.handle_undelivered(s.now, RunId(7), 1, StopStep::CtrlC, "nobody there".to_owned());
    s.does(&[]);
    s.exits(0);
    s.undelivered(1, "TERM");
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
    s.undelivered(1, "TERM");
    s.does(&[release(1)]);
}

#[test]
fn whom_nobody_asked_has_not_resisted() {
    let mut spec = spec();
    spec.stop = vec![LadderStep { step: StopStep::Kill, wait: Duration::ZERO }];
    let mut s = Scenario::running(spec);
    s.stop();
    s.does(&[end_tree(1)]);
    s.killed(&[PID]);
    s.ends(137);
    assert!(!s.events().iter().any(|event| matches!(event, Event::Resisted { .. })));
}

#[test]
fn what_the_main_process_left_behind_is_asked_and_a_clean_end_names_nobody() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.exits(0);
    s.left(&[7, 8]);
    s.does(&[term(1), sweep(1), ask_tree(1)]);
    assert_eq!(s.service.survivors(), [survivor(7), survivor(8)]);
    s.empty();
    s.is(StateName::Stopped);
    assert!(s.service.survivors().is_empty());
    assert!(!s.events().iter().any(|event| matches!(event, Event::Resisted { .. })));
}

#[test]
fn leftovers_that_resist_are_killed_after_their_grace_and_named_once() {
    let mut s = Scenario::running(spec());
    s.exits(1);
    s.left(&[7]);
    s.does(&[sweep(1), ask_tree(1)]);
    s.advance(super::super::ending::SWEEP_GRACE);
    s.does(&[end_tree(1), sweep(1)]);
    s.events();
    s.killed(&[7]);
    s.advance(super::super::ending::KILL_AGAIN);
    s.does(&[end_tree(1), sweep(1)]);
    s.killed(&[7]);
    assert_eq!(s.events(), [Event::Resisted { survivors: vec![survivor(7)] }]);
    s.empty();
    s.is(StateName::Backoff);
}

#[test]
fn a_tree_that_outlives_its_kill_is_told_to_be_unkillable_and_never_given_up() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.advance(secs(10));
    s.killed(&[PID]);
    s.advance(secs(1_000));
    s.is(StateName::Stopping);
    assert_eq!(s.cause(), format!("cannot be ended: worker (pid {PID})"));
    let kills = s.actions().iter().filter(|action| **action == end_tree(1)).count();
    assert_eq!(kills, 1_001);
    s.ends(137);
    s.is(StateName::Stopped);
    assert_eq!(s.cause(), "asked by test");
}

#[test]
fn tree_news_before_the_main_process_is_reaped_do_not_count() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.empty();
    s.is(StateName::Stopping);
    s.exits(0);
    s.does(&[term(1), sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
}

#[test]
fn a_look_that_nobody_answers_ends_in_a_kill() {
    let mut s = Scenario::running(spec());
    s.exits(1);
    s.advance(secs(2));
    s.does(&[sweep(1), end_tree(1), sweep(1)]);
}

#[test]
fn a_stop_answers_within_its_ladder_though_leftovers_have_a_grace() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.advance(secs(9));
    s.exits(0);
    s.left(&[7]);
    s.next_in(secs(1));
}

#[test]
fn the_exit_that_a_kill_brought_is_swept_once_more() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.advance(secs(10));
    s.forget();
    s.empty();
    s.is(StateName::Stopping);
    s.exits(137);
    s.does(&[sweep(1)]);
}

#[test]
fn a_stop_while_the_program_is_being_started_waits_for_the_answer_and_ends_it() {
    let mut s = Scenario::of(spec());
    s.start();
    s.stop();
    s.is(StateName::Stopping);
    s.does(&[spawn(1)]);
    assert_eq!(s.service.poll_timeout(), None);
    assert_eq!(s.service.next().expect("something owed").what, "answer of the start under way");
    s.spawned();
    s.does(&[term(1)]);
    s.ends(0);
    s.is(StateName::Stopped);
}

#[test]
fn a_stop_while_the_program_is_being_started_is_done_when_it_cannot_be() {
    let mut s = Scenario::of(spec());
    s.start();
    s.stop();
    s.spawn_fails();
    s.is(StateName::Stopped);
    s.does(&[spawn(1), release(1)]);
}

#[test]
fn a_stop_reaches_every_state() {
    let backoff = || {
        let mut s = Scenario::running(spec());
        s.ends(1);
        s
    };
    let waiting = || {
        let mut s = Scenario::of(spec());
        s.needs(&["db"]);
        s.start();
        s
    };
    let ended = |when: RestartWhen, code: i32| {
        let mut spec = spec();
        spec.restart.when = when;
        let mut s = Scenario::running(spec);
        s.ends(code);
        s
    };
    let at_rest: [(StateName, Scenario); 5] = [
        (StateName::Stopped, Scenario::of(spec())),
        (StateName::Backoff, backoff()),
        (StateName::Waiting, waiting()),
        (StateName::Failed, ended(RestartWhen::Never, 1)),
        (StateName::Done, ended(RestartWhen::Never, 0)),
    ];
    for (state, mut s) in at_rest {
        s.is(state);
        s.forget();
        s.stop();
        s.is(StateName::Stopped);
        s.does(&[]);
        s.advance(secs(100_000));
        s.does(&[]);
    }
}

#[test]
fn a_stop_at_every_step_of_a_start_ends_in_stopped_and_starts_nothing() {
    let full = || {
        let mut spec = spec();
        spec.hooks.before_start = vec![hook("one"), hook("two")];
        spec.startup = Some(tcp());
        spec.ready = Some(tcp());
        Scenario::of(spec)
    };
    let steps: [fn(&mut Scenario); 5] = [
        |_| {},
        |s| s.hook_done(HookOutcome::Success),
        |s| s.hook_done(HookOutcome::Success),
        |s| s.spawned(),
        |s| s.answer(ProbeRole::Startup, Outcome::Pass),
    ];
    for count in 1..=steps.len() {
        let mut s = full();
        s.start();
        steps.iter().take(count).for_each(|step| step(&mut s));
        s.is(StateName::Starting);
        s.stop();
        s.is(StateName::Stopping);
        // Whatever the hands still owe comes in.
        if count <= 2 {
            s.hook_done(HookOutcome::Cancelled);
        } else if count == 3 {
            s.spawned();
        }
        if s.service.pid().is_some() {
            s.ends(0);
        }
        s.is(StateName::Stopped);
        let spawns = s.actions().iter().filter(|action| **action == spawn(1)).count();
        assert_eq!(spawns, usize::from(count >= 3), "after {count} steps");
        s.advance(secs(100_000));
        s.does(&[]);
    }
}

#[test]
fn a_stop_at_every_step_of_a_crash_cleanup_ends_in_stopped() {
    for step in 0..4 {
        let mut spec = spec();
        spec.hooks.after_exit = vec![hook("report")];
        let mut s = Scenario::running(spec);
        s.exits(1);
        if step >= 1 {
            s.left(&[7]);
        }
        if step >= 2 {
            s.advance(secs(2));
        }
        if step >= 3 {
            s.empty();
        }
        s.stop();
        s.is(StateName::Stopping);
        s.empty();
        s.hook_done(HookOutcome::Success);
        s.is(StateName::Stopped);
        s.forget();
        s.advance(secs(100_000));
        s.does(&[]);
    }
}

#[test]
fn a_stop_and_a_start_during_a_stop_the_last_word_counts() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.start();
    s.stop();
    s.ends(0);
    s.is(StateName::Stopped);
    let mut s = Scenario::running(spec());
    s.stop();
    s.start();
    s.ends(0);
    s.is(StateName::Starting);
    s.does(&[term(1), sweep(1), release(1), spawn(2)]);
}

#[test]
fn a_hurry_kills_at_once() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.hurry();
    s.does(&[term(1), end_tree(1)]);
    s.ends(137);
    s.is(StateName::Stopped);
}

#[test]
fn a_hurry_while_the_program_is_being_started_is_not_lost() {
    let mut s = Scenario::of(spec());
    s.start();
    s.stop();
    s.hurry();
    s.does(&[spawn(1)]);
    s.spawned();
    s.does(&[end_tree(1)]);
}

#[test]
fn a_hurry_does_nothing_to_what_is_not_stopping() {
    let mut s = Scenario::running(spec());
    s.hurry();
    s.is(StateName::Running);
    s.does(&[]);
}

#[test]
fn a_suspended_computer_does_not_shorten_the_ladder() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.forget();
    s.now = s.now + secs(3_600);
    s.service.handle_suspended(secs(3_600));
    s.service.handle_timeout(s.now);
    s.does(&[]);
    s.next_in(secs(10));
    s.advance(secs(10));
    s.service.handle_suspended(secs(60));
    s.next_in(secs(61));
}

#[test]
fn a_program_that_needs_longer_to_stop_may_say_so_but_not_for_ever() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.notice(Notice::ExtendTimeout(secs(60)));
    s.next_in(secs(60));
    s.notice(Notice::ExtendTimeout(secs(1)));
    s.next_in(secs(60));
    s.notice(Notice::ExtendTimeout(Duration::MAX));
    s.next_in(super::super::starting::EXTENSION_MAX);
}

#[test]
fn a_run_is_released_once() {
    let mut spec = spec();
    spec.hooks.after_ready = vec![hook("announce")];
    spec.hooks.after_exit = vec![hook("report")];
    let mut s = Scenario::running(spec);
    s.exits(1);
    s.empty();
    s.empty();
    s.hook_done(HookOutcome::Cancelled);
    s.empty();
    s.hook_done(HookOutcome::Success);
    s.is(StateName::Backoff);
    let released = s.actions().iter().filter(|action| **action == release(1)).count();
    assert_eq!(released, 1);
}
