//! What one guard leaves and the next one takes back, of one instance.

use super::*;
use crate::probe::Verdict;
use crate::service::starting::EXTENSION_MAX;

impl Scenario {
    /// The guard is killed; the next one, with the same spec, takes its place at the same moment.
    fn next_guard(&mut self) -> Estate {
        let spec = self.service.spec().clone();
        self.next_guard_with(spec)
    }

    fn next_guard_with(&mut self, spec: Arc<ServiceSpec>) -> Estate {
        let estate = self.service.estate();
        self.takes_back(spec, estate.clone());
        estate
    }

    fn takes_back(&mut self, spec: Arc<ServiceSpec>, estate: Estate) {
        self.service = Service::new(self.now, spec, 0, Cause::Manual, Chance::from_seed(2));
        self.service.take_back(self.now, estate);
    }

    /// The next guard leaves what this one left.
    #[track_caller]
    fn goes_on(&mut self) {
        let estate = self.next_guard();
        assert_eq!(self.service.estate(), estate);
        let (run, pid, state) = (self.run(), self.service.pid(), self.service.state_name());
        assert_eq!(self.events(), [Event::TakenBack { run, pid, state }]);
    }
}

fn probed() -> ServiceSpec {
    ServiceSpec {
        // Patient enough for every wait of these tests.
        startup: Some(ProbeSpec { failures: 100, ..tcp() }),
        ready: Some(told(ProbeTarget::Notify)),
        live: Some(tcp()),
        start_timeout: Some(secs(90)),
        ..spec()
    }
}

fn hooked() -> ServiceSpec {
    let hooks = crate::spec::Hooks {
        before_start: vec![hook("a")],
        after_ready: vec![hook("b")],
        before_stop: vec![hook("c")],
        after_exit: vec![hook("d")],
    };
    ServiceSpec { hooks, ..spec() }
}

fn crash_looping() -> Scenario {
    let mut s = Scenario::running(spec());
    for _ in 0..3 {
        s.ends(1);
        s.advance(secs(10));
        s.spawned();
    }
    s.ends(1);
    s.is(StateName::Cooldown);
    s
}

#[test]
fn a_running_program_goes_on_with_its_run_and_its_past() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.advance(secs(1));
    s.spawned();
    s.advance(secs(30));
    s.notice(Notice::Status("busy".to_owned()));
    s.goes_on();
    // Whether it is held still, its former guard may not have got to note down.
    s.does(&[Action::Thaw { run: RunId(2) }]);
    s.is(StateName::Running);
    assert_eq!((s.run(), s.service.pid(), s.service.status_text()), (RunId(2), Some(PID), "busy"));
    assert_eq!(s.service.since(), s.now - secs(30));
    assert_eq!(s.cause(), "its program runs");
    // Its end is judged with what was remembered: this is the second restart in a row.
    s.needs(&[]);
    s.ends(1);
    s.is(StateName::Backoff);
    s.next_in(secs(2));
}

#[test]
fn a_program_that_is_taken_back_runs_no_hook_of_its_start() {
    let mut s = Scenario::of(hooked());
    s.start();
    s.hook_done(HookOutcome::Success);
    s.spawned();
    s.is(StateName::Running);
    s.goes_on();
    s.does(&[Action::Thaw { run: RunId(1) }]);
}

#[test]
fn a_ready_program_stays_ready_and_is_asked_again() {
    let mut s = Scenario::of(ServiceSpec { ready: Some(tcp()), ..spec() });
    s.start();
    s.spawned();
    s.answer(ProbeRole::Ready, Outcome::Pass);
    s.goes_on();
    assert!(s.service.serves());
    assert_eq!(s.service.health(), Health::Up);
    let first = s.service.poll_timeout().expect("a question to come");
    assert!(first <= s.now + secs(5), "{first:?}");
    // It takes as many failures as ever.
    for _ in 0..2 {
        s.answer_next(ProbeRole::Ready, failed());
        assert!(s.service.serves());
    }
    s.answer_next(ProbeRole::Ready, failed());
    assert!(!s.service.serves());
}

#[test]
fn a_start_goes_on_with_its_step_and_its_deadline() {
    let mut s = Scenario::of(probed());
    s.start();
    s.spawned();
    s.advance(secs(20));
    s.notice(Notice::Ready);
    s.goes_on();
    s.next_in(secs(70));
    // It is asked at once, and what was told early still counts.
    s.answer_next(ProbeRole::Startup, Outcome::Pass);
    s.is(StateName::Running);
}

#[test]
fn a_start_that_waits_for_readiness_goes_on() {
    let mut s = Scenario::of(probed());
    s.start();
    s.spawned();
    s.answer(ProbeRole::Startup, Outcome::Pass);
    s.is(StateName::Starting);
    s.goes_on();
    s.does(&[]);
    s.notice(Notice::Ready);
    s.is(StateName::Running);
    assert!(s.service.serves());
}

#[test]
fn no_run_is_ready_by_what_was_answered_of_the_one_before() {
    let startup = Some(ProbeSpec { failures: 100, ..tcp() });
    let mut s = Scenario::of(ServiceSpec { startup, ready: Some(tcp()), ..spec() });
    s.start();
    s.spawned();
    s.answer(ProbeRole::Startup, Outcome::Pass);
    s.answer(ProbeRole::Ready, Outcome::Pass);
    s.is(StateName::Running);
    s.ends(1);
    s.advance(secs(60));
    s.spawned();
    s.is(StateName::Starting);
    // The next guard has a spec without the probe that this start waits for.
    s.next_guard_with(Arc::new(ServiceSpec { ready: Some(tcp()), ..spec() }));
    s.is(StateName::Starting);
    s.answer_next(ProbeRole::Ready, Outcome::Pass);
    s.is(StateName::Running);
}

#[test]
fn a_start_that_takes_too_long_ends_when_the_first_guard_said() {
    let mut s = Scenario::of(probed());
    s.start();
    s.spawned();
    s.advance(secs(60));
    s.goes_on();
    s.advance(secs(29));
    s.is(StateName::Starting);
    s.advance(secs(1));
    s.is(StateName::Stopping);
}

#[test]
fn a_start_without_a_program_is_begun_anew_once_its_needs_are_ready() {
    for hooks in [true, false] {
        let mut s = Scenario::of(if hooks { hooked() } else { spec() });
        s.start();
        s.forget();
        s.next_guard();
        s.is(StateName::Waiting);
        s.does(&[]);
        s.needs(&[]);
        s.is(StateName::Starting);
        assert_eq!(s.run(), RunId(2));
        assert_eq!(s.cause(), "asked by test");
        s.does(&[if hooks { run_hook(2, HookKind::BeforeStart, 0) } else { spawn(2) }]);
    }
}

#[test]
fn who_waits_goes_on_to_wait_and_forgets_no_reason() {
    let mut s = Scenario::of(spec());
    s.needs(&["db"]);
    s.start();
    s.goes_on();
    s.needs(&["db"]);
    assert_eq!(s.cause(), "waits for db");
    s.needs(&[]);
    s.does(&[spawn(1)]);
    assert_eq!(s.cause(), "asked by test");
}

#[test]
fn waits_between_runs_keep_their_ends() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.goes_on();
    s.next_in(secs(1));

    let mut s = crash_looping();
    s.forget();
    s.advance(secs(100));
    s.goes_on();
    s.next_in(secs(200));
    s.needs(&[]);
    s.advance(secs(200));
    s.spawned();
    s.is(StateName::Running);
    // The single try keeps its deadline.
    s.forget();
    s.advance(secs(20));
    s.goes_on();
    s.next_in(secs(40));
    s.advance(secs(40));
    assert!(s.events().contains(&Event::Recovered));
}

#[test]
fn a_single_try_that_fails_under_the_next_guard_cools_down_again() {
    let mut s = crash_looping();
    s.advance(secs(300));
    s.spawned();
    s.forget();
    s.goes_on();
    s.ends(1);
    s.is(StateName::Cooldown);
    s.next_in(secs(300));
}

#[test]
fn who_is_at_rest_stays_so() {
    let mut s = Scenario::running(spec());
    s.stop();
    s.ends(0);
    s.forget();
    s.goes_on();
    s.is(StateName::Stopped);

    for (code, state) in [(0, StateName::Done), (1, StateName::Failed)] {
        let restart = RestartPolicy { when: RestartWhen::Never, ..RestartPolicy::default() };
        let mut s = Scenario::running(ServiceSpec { restart, ..spec() });
        s.ends(code);
        s.forget();
        s.goes_on();
        s.is(state);
        assert_eq!(s.service.last_exit().map(|(exit, _)| exit.clone()), Some(Exit::Code(code)));
    }
}

#[test]
fn a_paused_program_stays_paused() {
    let mut s = Scenario::running(ServiceSpec { live: Some(tcp()), ..spec() });
    s.service.handle_pause(asked());
    s.forget();
    s.goes_on();
    s.does(&[Action::Freeze { run: RunId(1) }]);
    assert!(s.service.is_paused());
    s.advance(secs(60));
    s.does(&[]);
    s.service.handle_resume(s.now, asked());
    s.does(&[Action::Thaw { run: RunId(1) }]);
    assert!(s.service.poll_timeout().is_some());
}

#[test]
fn a_watchdog_begins_its_wait_anew() {
    let mut s = Scenario::running(ServiceSpec { live: Some(told(ProbeTarget::Notify)), ..spec() });
    s.notice(Notice::Watchdog);
    s.advance(secs(14));
    s.next_guard();
    s.advance(secs(14));
    s.is(StateName::Running);
    s.advance(secs(1));
    s.is(StateName::Stopping);
}

#[test]
fn a_stop_goes_on_from_its_rung_without_asking_again() {
    let ladder = vec![rung("INT", 10), rung("TERM", 10), LadderStep { step: StopStep::Kill, wait: Duration::ZERO }];
    let mut s = Scenario::running(ServiceSpec { stop: ladder, ..spec() });
    s.stop();
    s.advance(secs(4));
    s.forget();
    s.goes_on();
    s.does(&[]);
    s.next_in(secs(6));
    s.advance(secs(6));
    s.does(&[ask(1, 1, "TERM")]);
    s.goes_on();
    s.advance(secs(10));
    s.does(&[end_tree(1)]);
    // And one that was being killed is killed on.
    s.next_guard();
    s.does(&[end_tree(1)]);
    s.exits(137);
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
    assert_eq!(s.cause(), "asked by test");
}

#[test]
fn hooks_before_a_stop_are_not_run_again() {
    let mut s = Scenario::of(hooked());
    s.start();
    s.hook_done(HookOutcome::Success);
    s.spawned();
    s.hook_done(HookOutcome::Success);
    s.stop();
    s.forget();
    s.next_guard();
    s.does(&[term(1)]);
}

#[test]
fn a_stop_without_a_main_process_looks_for_what_is_left() {
    let mut s = Scenario::of(hooked());
    s.start();
    s.hook_done(HookOutcome::Success);
    s.spawned();
    s.hook_done(HookOutcome::Success);
    s.exits(1);
    s.forget();
    s.goes_on();
    s.does(&[sweep(1)]);
    s.empty();
    s.does(&[release(1), run_hook(1, HookKind::AfterExit, 0)]);
    // Killed once more: the hook may have been cut short, so it is run again.
    s.next_guard();
    s.does(&[sweep(1)]);
    s.empty();
    s.does(&[release(1), run_hook(1, HookKind::AfterExit, 0)]);
    s.hook_done(HookOutcome::Success);
    s.is(StateName::Backoff);
    assert_eq!(s.service.history().restarts, 1);
}

#[test]
fn an_end_that_was_to_be_judged_is_judged() {
    let restart = RestartPolicy { when: RestartWhen::OnFailure, jitter: 0.0, ..RestartPolicy::default() };
    for (code, state) in [(0, StateName::Done), (1, StateName::Backoff)] {
        let mut s = Scenario::running(ServiceSpec { restart: restart.clone(), ..spec() });
        s.exits(code);
        s.next_guard();
        s.empty();
        s.is(state);
    }
    // One that hung has failed, however politely it goes once it is asked.
    let mut s = Scenario::running(ServiceSpec { restart, live: Some(tcp()), ..spec() });
    s.notice(Notice::WatchdogTrigger);
    s.next_guard();
    s.ends(0);
    s.is(StateName::Backoff);
}

#[test]
fn a_restart_under_way_is_carried_through() {
    let mut s = Scenario::running(spec());
    s.restart();
    s.forget();
    s.goes_on();
    s.needs(&[]);
    s.ends(0);
    s.is(StateName::Starting);
    s.does(&[sweep(1), release(1), spawn(2)]);
    assert_eq!(s.service.history().by_cause.of(RestartCause::Asked), 1);
}

#[test]
fn a_start_that_was_to_be_stopped_is_swept() {
    let mut s = Scenario::of(spec());
    s.start();
    s.stop();
    s.forget();
    s.goes_on();
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Stopped);
}

#[test]
fn news_of_earlier_runs_are_ignored_and_runs_grow_on() {
    let mut s = Scenario::running(spec());
    s.restart();
    s.ends(0);
    s.spawned();
    s.next_guard();
    s.needs(&[]);
    s.service.handle_exited(s.now, RunId(1), Exit::Code(1));
    s.is(StateName::Running);
    s.ends(1);
    s.advance(secs(1));
    assert_eq!(s.run(), RunId(3));
}

// ---- nonsense ----

#[test]
fn waits_in_the_far_future_are_cut_to_the_longest_that_the_spec_has() {
    let never = Moment::from_nanos(u64::MAX);
    let mut s = Scenario::running(spec());
    s.ends(1);
    let estate = s.service.estate();
    s.takes_back(Arc::new(spec()), Estate { phase: Phase::Backoff { until: never }, ..estate.clone() });
    s.next_in(secs(60));
    s.takes_back(Arc::new(spec()), Estate { phase: Phase::Cooldown { until: never }, ..estate.clone() });
    s.next_in(secs(300));
    assert_eq!(s.service.history().cooldown_until, Some(s.now + secs(300)));
    let rung = Some((0, never));
    let phase = Phase::Stopping { after: Afterwards::Stop, rung };
    s.takes_back(Arc::new(spec()), Estate { phase, pid: Some(PID), ..estate.clone() });
    s.next_in(EXTENSION_MAX);
    let phase = Phase::Starting { until: Some(never), step: StartStep::Startup };
    s.takes_back(Arc::new(probed()), Estate { phase, pid: Some(PID), ..estate.clone() });
    s.next_in(EXTENSION_MAX);
    let phase = Phase::Running { half_open_until: Some(never) };
    s.takes_back(Arc::new(spec()), Estate { phase, pid: Some(PID), ..estate });
    s.next_in(secs(60));
}

#[test]
fn waits_that_are_over_are_due_at_once() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    let estate = s.service.estate();
    s.takes_back(Arc::new(spec()), Estate { phase: Phase::Backoff { until: Moment::ZERO }, ..estate });
    s.needs(&[]);
    s.advance(Duration::ZERO);
    s.does(&[spawn(2)]);
}

#[test]
fn a_process_where_none_should_be_is_ended() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    let waits = Estate { pid: Some(PID), ..s.service.estate() };
    s.takes_back(Arc::new(spec()), waits.clone());
    s.is(StateName::Stopping);
    s.does(&[term(1)]);
    s.ends(0);
    s.is(StateName::Backoff);
    // Nobody wants this one: its turn to stop is for the guard to tell.
    s.takes_back(Arc::new(spec()), Estate { phase: Phase::Stopped, ..waits });
    assert!(s.service.awaits_stop());
    s.stop();
    s.does(&[term(1)]);
    s.ends(0);
    s.is(StateName::Stopped);
}

#[test]
fn a_running_state_without_a_process_is_an_end_that_nobody_saw() {
    let mut s = Scenario::running(spec());
    let estate = Estate { pid: None, ..s.service.estate() };
    s.takes_back(Arc::new(spec()), estate);
    s.is(StateName::Stopping);
    s.does(&[sweep(1)]);
    s.empty();
    s.is(StateName::Backoff);
    assert_eq!(s.service.last_exit().map(|(exit, _)| exit.clone()), Some(Exit::Unknown));
}

#[test]
fn probes_that_the_next_spec_has_no_longer_hold_up_nobody() {
    let mut s = Scenario::of(probed());
    s.start();
    s.spawned();
    s.next_guard_with(Arc::new(spec()));
    s.is(StateName::Running);
    // Nor do answers that nobody ought to have kept.
    let mut s = Scenario::of(probed());
    s.start();
    s.spawned();
    let mut estate = s.service.estate();
    for kept in &mut estate.verdicts {
        kept.verdict = Verdict::Pass;
    }
    s.takes_back(Arc::new(probed()), estate);
    s.notice(Notice::Ready);
    s.is(StateName::Running);
}

#[test]
fn a_run_beyond_all_runs_leaves_room_for_the_next() {
    let mut s = Scenario::running(spec());
    let estate = Estate { run: RunId(u64::MAX), ..s.service.estate() };
    s.takes_back(Arc::new(spec()), estate);
    s.needs(&[]);
    s.ends(1);
    s.advance(secs(1));
    assert_eq!(s.run(), RunId(RUN_MAX.0 + 1));
}

#[test]
fn nobody_starts_before_it_is_known_what_it_waits_for() {
    let mut s = Scenario::running(spec());
    s.ends(1);
    s.next_guard();
    s.advance(secs(1));
    s.is(StateName::Waiting);
    s.does(&[]);
}

#[test]
fn a_single_try_without_an_end_gets_one() {
    let mut s = Scenario::running(spec());
    let mut estate = s.service.estate();
    estate.history.half_open = true;
    s.takes_back(Arc::new(spec()), estate);
    s.next_in(secs(60));
}

#[test]
fn a_no_that_would_have_ended_the_program_is_asked_for_again() {
    let mut s = Scenario::running(ServiceSpec { live: Some(tcp()), ..spec() });
    let mut estate = s.service.estate();
    estate.verdicts[0].verdict = Verdict::Fail;
    s.takes_back(s.service.spec().clone(), estate);
    assert_eq!(s.service.health(), Health::Up);
    for _ in 0..3 {
        s.is(StateName::Running);
        s.answer_next(ProbeRole::Live, failed());
    }
    s.is(StateName::Stopping);
}
