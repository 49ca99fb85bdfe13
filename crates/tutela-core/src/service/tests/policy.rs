//! What an end means: the policy's table, backoff, crash loops, cool-downs, what a later guard remembers.

use super::*;
use crate::service::restart::base_delay;

fn policy(when: RestartWhen) -> ServiceSpec {
    let mut spec = spec();
    spec.restart.when = when;
    spec
}

fn looping() -> ServiceSpec {
    let mut spec = spec();
    spec.restart = RestartPolicy {
        delay: Duration::ZERO,
        burst: 3,
        within: secs(60),
        cooldown: secs(300),
        reset_after: secs(120),
        ..spec.restart
    };
    spec
}

/// Crashes at once, four times: three restarts, then the cool-down.
fn in_cooldown(spec: ServiceSpec) -> Scenario {
    let mut s = Scenario::running(spec);
    for _ in 0..3 {
        s.ends(1);
        s.is(StateName::Starting);
        s.spawned();
    }
    s.ends(1);
    s.is(StateName::Cooldown);
    s.forget();
    s
}

#[derive(Debug, Clone, Copy)]
enum End {
    Zero,
    Good,
    Bad,
    Killed,
    NotStarted,
    HookFails,
    Unhealthy,
    TooLate,
}

fn end(s: &mut Scenario, end: End) {
    match end {
        End::Zero => s.ends(0),
        End::Good => s.ends(3),
        End::Bad => s.ends(1),
        End::Killed => {
            let exit = Exit::Signal { number: 9, name: "SIGKILL".into(), core_dumped: false, oom: true };
            s.service.handle_exited(s.now, s.run(), exit);
            s.empty();
        }
        End::NotStarted | End::HookFails | End::TooLate => {}
        End::Unhealthy => {
            s.notice(Notice::WatchdogTrigger);
            s.ends(0);
        }
    }
}

#[test]
fn every_end_under_every_policy_has_its_state() {
    let table = [
        // (the end, always, on-failure, never); 0 and 3 are successes here.
        (End::Zero, StateName::Backoff, StateName::Done, StateName::Done),
        (End::Good, StateName::Backoff, StateName::Done, StateName::Done),
        (End::Bad, StateName::Backoff, StateName::Backoff, StateName::Failed),
        (End::Killed, StateName::Backoff, StateName::Backoff, StateName::Failed),
        (End::NotStarted, StateName::Backoff, StateName::Backoff, StateName::Failed),
        (End::HookFails, StateName::Backoff, StateName::Backoff, StateName::Failed),
        (End::Unhealthy, StateName::Backoff, StateName::Backoff, StateName::Failed),
        (End::TooLate, StateName::Backoff, StateName::Backoff, StateName::Failed),
    ];
    for (how, always, on_failure, never) in table {
        for (when, expected) in
            [(RestartWhen::Always, always), (RestartWhen::OnFailure, on_failure), (RestartWhen::Never, never)]
        {
            let mut spec = policy(when);
            spec.restart.success_codes = vec![0, 3];
            let mut s = match how {
                End::NotStarted => {
                    let mut s = Scenario::of(spec);
                    s.start();
                    s.spawn_fails();
                    s
                }
                End::HookFails => {
                    spec.hooks.before_start = vec![hook("migrate")];
                    let mut s = Scenario::of(spec);
                    s.start();
                    s.hook_done(HookOutcome::Failed("exited with code 1".into()));
                    s
                }
                End::TooLate => {
                    spec.ready = Some(tcp());
                    spec.start_timeout = Some(secs(5));
                    let mut s = Scenario::of(spec);
                    s.start();
                    s.spawned();
                    s.advance(secs(5));
                    s.ends(0);
                    s
                }
                End::Zero | End::Good | End::Bad | End::Killed | End::Unhealthy => Scenario::running(spec),
            };
            end(&mut s, how);
            assert_eq!(s.service.state_name(), expected, "{how:?} under {when:?}");
            let cause = match how {
                End::Zero | End::Good => RestartCause::Success,
                End::Bad => RestartCause::Failure,
                End::Killed => RestartCause::Oom,
                End::NotStarted | End::HookFails => RestartCause::NotStarted,
                End::Unhealthy => RestartCause::Unhealthy,
                End::TooLate => RestartCause::StartTimeout,
            };
            let restarts = u64::from(expected == StateName::Backoff);
            for counted in RestartCause::ALL {
                let wanted = if counted == cause { restarts } else { 0 };
                let count = s.service.history().by_cause.of(counted);
                assert_eq!(count, wanted, "{counted:?} of {how:?} under {when:?}");
            }
        }
    }
}

#[test]
fn a_program_that_ended_well_under_on_failure_is_done_and_up() {
    let mut s = Scenario::running(policy(RestartWhen::OnFailure));
    s.ends(0);
    s.is(StateName::Done);
    assert_eq!(s.service.health(), Health::Up);
    assert!(s.service.serves());
    assert_eq!(s.service.next(), None);
    assert_eq!(s.cause(), "exited with code 0");
    assert_eq!(s.service.history().restarts, 0);
}

#[test]
fn a_failed_instance_is_started_by_hand_and_by_nothing_else() {
    let mut s = Scenario::running(policy(RestartWhen::Never));
    s.ends(1);
    s.forget();
    s.advance(secs(100_000));
    s.is(StateName::Failed);
    assert_eq!(s.service.poll_timeout(), None);
    s.start();
    s.does(&[spawn(2)]);
}

#[test]
fn each_wait_in_a_row_is_longer_by_the_factor_up_to_the_ceiling() {
    let mut spec = spec();
    spec.restart = RestartPolicy { max_delay: secs(5), burst: 0, ..spec.restart };
    let mut s = Scenario::running(spec);
    for wait in [1, 2, 4, 5, 5] {
        s.ends(1);
        s.is(StateName::Backoff);
        s.next_in(secs(wait));
        s.advance(secs(wait));
        s.spawned();
    }
    assert_eq!(s.service.history().restarts, 5);
}

#[test]
fn a_factor_of_a_million_stops_at_the_ceiling_and_does_not_overflow() {
    let policy = RestartPolicy { factor: 1e6, ..RestartPolicy::default() };
    for in_a_row in [1, 100, u32::MAX] {
        assert_eq!(base_delay(&policy, in_a_row), secs(60));
    }
    let endless = RestartPolicy { factor: 1e6, max_delay: Duration::MAX, jitter: 1.0, ..RestartPolicy::default() };
    assert_eq!(base_delay(&endless, u32::MAX), Duration::MAX);
}

#[test]
fn chance_moves_a_wait_by_at_most_its_part_and_never_past_the_ceiling() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut spec = spec();
        spec.restart =
            RestartPolicy { delay: secs(10), factor: 1.0, max_delay: secs(11), jitter: 0.25, burst: 0, ..spec.restart };
        let mut s = Scenario::running(spec);
        s.service.chance = Chance::from_seed(seed);
        s.ends(1);
        let wait = s.service.next().and_then(|next| next.at).expect("a wait").since(s.now);
        assert!((Duration::from_millis(7_500)..=secs(11)).contains(&wait), "{wait:?}");
        seen.insert(wait);
    }
    assert!(seen.len() > 100, "chance is not used");
}

#[test]
fn a_delay_of_zero_restarts_in_the_same_moment() {
    let mut spec = spec();
    spec.restart.delay = Duration::ZERO;
    let mut s = Scenario::running(spec);
    s.ends(1);
    s.does(&[sweep(1), release(1), spawn(2)]);
}

#[test]
fn a_run_that_was_long_enough_clears_the_wait_and_the_window() {
    let mut s = Scenario::running(spec());
    for _ in 0..2 {
        s.ends(1);
        s.advance(secs(4));
        s.spawned();
    }
    s.advance(secs(300));
    s.ends(1);
    s.next_in(secs(1));
    assert_eq!(s.service.history().recent.len(), 1);
    assert_eq!(s.service.history().restarts, 3, "the total is never cleared");
}

#[test]
fn time_that_the_remains_of_a_run_take_to_go_is_not_to_its_credit() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.advance(secs(1));
    s.spawned();
    s.exits(1);
    s.left(&[1]);
    s.advance(secs(400));
    s.empty();
    s.next_in(secs(2));
}

#[test]
fn more_restarts_within_the_window_than_the_burst_allows_are_a_crash_loop() {
    let mut s = Scenario::running(looping());
    for _ in 0..3 {
        s.ends(1);
        s.is(StateName::Starting);
        s.spawned();
    }
    s.events();
    s.ends(1);
    s.is(StateName::Cooldown);
    s.next_in(secs(300));
    assert_eq!(s.cause(), "3 restarts within 1m, at last: exited with code 1");
    assert!(s.events().contains(&Event::Cooldown { restarts: 3, until: s.now + secs(300) }));
    assert_eq!(s.service.health(), Health::Down);
    assert_eq!(s.service.history().restarts, 3);
}

#[test]
fn restarts_that_fell_out_of_the_window_do_not_count() {
    let mut spec = looping();
    spec.restart.reset_after = secs(10_000);
    let mut s = Scenario::running(spec);
    for _ in 0..20 {
        s.advance(secs(21));
        s.ends(1);
        s.is(StateName::Starting);
        s.spawned();
        assert!(s.service.history().recent.len() <= 3);
    }
}

#[test]
fn a_burst_of_zero_never_cools_down_and_keeps_no_window() {
    let mut spec = looping();
    spec.restart.burst = 0;
    let mut s = Scenario::running(spec);
    for _ in 0..1_000 {
        s.ends(1);
        s.is(StateName::Starting);
        s.spawned();
    }
    assert_eq!(s.service.history().recent.len(), 0);
}

#[test]
fn after_the_cooldown_a_single_try_is_made_and_when_it_holds_the_loop_is_over() {
    let mut s = in_cooldown(looping());
    s.advance(secs(300));
    s.is(StateName::Starting);
    s.does(&[spawn(5)]);
    assert_eq!(s.cause(), "half-open try after a cool-down");
    s.spawned();
    s.next_in(secs(60));
    s.events();
    s.advance(secs(60));
    assert_eq!(s.events(), [Event::Recovered]);
    s.ends(1);
    s.is(StateName::Starting);
    assert_eq!(s.service.history().recent.len(), 1);
}

#[test]
fn a_half_open_try_that_fails_cools_down_again_after_that_one_try() {
    let mut s = in_cooldown(looping());
    s.advance(secs(300));
    s.spawned();
    s.advance(secs(59));
    s.events();
    s.ends(1);
    s.is(StateName::Cooldown);
    s.next_in(secs(300));
    assert!(s.events().contains(&Event::HalfOpenFailed { until: s.now + secs(300) }));
    assert_eq!(s.cause(), "the half-open try failed: exited with code 1");
    s.advance(secs(300));
    s.does(&[spawn(5), sweep(5), release(5), spawn(6)]);
    assert_eq!(s.service.history().restarts, 5, "each single try is a restart too");
}

#[test]
fn a_half_open_try_whose_program_cannot_be_started_has_failed() {
    let mut s = in_cooldown(looping());
    s.advance(secs(300));
    s.spawn_fails();
    s.is(StateName::Cooldown);
}

#[test]
fn a_half_open_try_that_ends_well_under_on_failure_is_a_recovery() {
    let mut spec = looping();
    spec.restart.when = RestartWhen::OnFailure;
    let mut s = in_cooldown(spec);
    s.advance(secs(300));
    s.spawned();
    s.events();
    s.ends(0);
    s.is(StateName::Done);
    assert!(s.events().contains(&Event::Recovered));
}

#[test]
fn a_start_by_hand_ends_backoff_and_cooldown_at_once_and_forgives() {
    let mut s = in_cooldown(looping());
    s.start();
    s.does(&[spawn(5)]);
    assert_eq!(s.service.history().recent.len(), 0);
    s.spawned();
    s.ends(1);
    s.is(StateName::Starting);

    let mut s = Scenario::running(spec());
    s.ends(1);
    s.forget();
    s.start();
    s.does(&[spawn(2)]);
}

#[test]
fn a_stop_forgives_and_keeps_the_total() {
    let mut s = in_cooldown(looping());
    s.stop();
    s.is(StateName::Stopped);
    let mut by_cause = RestartTally::default();
    by_cause.restore(RestartCause::Failure, 3);
    assert_eq!(*s.service.history(), History { restarts: 3, by_cause, ..History::default() });
}

#[test]
fn a_restart_that_somebody_wished_has_its_own_cause_and_is_not_in_the_total() {
    let mut s = in_cooldown(looping());
    s.advance(secs(300));
    s.spawned();
    s.service.handle_restart(s.now, Cause::Asked { by: "somebody".into() });
    s.ends(0);
    s.spawned();
    s.service.handle_restart(s.now, Cause::Reloaded("its command".into()));
    s.ends(0);
    let history = s.service.history();
    let count = |cause| history.by_cause.of(cause);
    assert_eq!(history.restarts, 4);
    assert_eq!((count(RestartCause::Failure), count(RestartCause::HalfOpen)), (3, 1));
    assert_eq!((count(RestartCause::Asked), count(RestartCause::Reloaded)), (1, 1));
}

#[test]
fn the_end_of_the_guard_forgives_nothing() {
    let mut s = in_cooldown(looping());
    let until = s.now + secs(300);
    s.service.handle_stop(s.now, Cause::GuardEnding);
    s.is(StateName::Stopped);
    assert_eq!(s.service.history().cooldown_until, Some(until));
    assert_eq!(s.service.history().recent.len(), 3);
}

fn restored(now: Moment, history: History) -> Scenario {
    let mut s = Scenario::of(looping());
    s.now = now;
    s.service.restore(RunId(0), history, Some((Exit::Code(1), now)));
    s.start_by_guard();
    s
}

#[test]
fn a_restored_cooldown_still_holds_and_ends_in_a_half_open_try() {
    let now = Moment::ZERO + secs(1_000);
    let history = History { restarts: 9, cooldown_until: Some(now + secs(40)), ..History::default() };
    let mut s = restored(now, history);
    s.is(StateName::Cooldown);
    assert_eq!(s.cause(), "a cool-down that an earlier guard began");
    s.does(&[]);
    s.advance(secs(40));
    s.does(&[spawn(1)]);
    s.spawned();
    s.ends(1);
    s.is(StateName::Cooldown);
    assert_eq!(s.service.history().restarts, 10);
}

#[test]
fn a_restored_cooldown_that_ran_out_meanwhile_is_followed_by_a_half_open_try() {
    let now = Moment::ZERO + secs(1_000);
    let mut s = restored(now, History { cooldown_until: Some(now - secs(1)), ..History::default() });
    s.does(&[spawn(1)]);
    assert_eq!(s.cause(), "half-open try after a cool-down");
    s.spawned();
    s.ends(1);
    s.is(StateName::Cooldown);
}

#[test]
fn restored_counters_go_on_where_they_were() {
    let now = Moment::ZERO + secs(1_000);
    let recent = VecDeque::from([now - secs(3), now - secs(2), now - secs(1)]);
    let mut s = restored(now, History { restarts: 7, in_a_row: 3, recent, ..History::default() });
    assert_eq!(s.service.last_exit(), Some(&(Exit::Code(1), now)));
    s.spawned();
    s.ends(1);
    s.is(StateName::Cooldown);
    assert_eq!(s.service.history().restarts, 7);
}

#[test]
fn an_instance_at_rest_under_never_is_not_woken_by_a_suspended_computer() {
    let mut s = Scenario::running(policy(RestartWhen::Never));
    s.ends(1);
    s.forget();
    s.service.handle_suspended(secs(3_600));
    s.advance(secs(3_600));
    s.is(StateName::Failed);
    s.does(&[]);
}

#[test]
fn suspended_time_counts_for_backoff_and_cooldown() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.service.handle_suspended(secs(3_600));
    s.next_in(secs(1));
    let mut s = in_cooldown(looping());
    s.service.handle_suspended(secs(3_600));
    s.next_in(secs(300));
}
