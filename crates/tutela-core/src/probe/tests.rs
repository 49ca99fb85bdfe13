//! Scenarios of one probe, through one door.

use super::*;
use crate::spec::ProbeTarget;

struct Scenario {
    probe: Probe,
    now: Moment,
}

fn spec(target: ProbeTarget) -> ProbeSpec {
    ProbeSpec {
        target,
        delay: Duration::ZERO,
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures: 3,
        successes: 1,
    }
}

impl Scenario {
    fn tcp() -> Self {
        let mut probe = Probe::new(spec(ProbeTarget::Tcp("127.0.0.1:1".into())), false);
        probe.begin(Moment::ZERO, 0.0);
        Scenario { probe, now: Moment::ZERO }
    }

    fn answer(&mut self, outcome: Outcome, strictness: Strictness) -> Option<Verdict> {
        self.now = self.now.max(self.probe.poll_timeout().expect("a deadline"));
        let ask = self.probe.poll_ask(self.now).expect("a question");
        let took = Duration::from_millis(1);
        self.probe.handle_answer(self.now, ask.attempt, outcome, took, strictness).map(|change| change.verdict)
    }

    fn fail(&mut self) -> Option<Verdict> {
        self.answer(Outcome::Failed("no".into()), Strictness::Strict)
    }

    fn pass(&mut self) -> Option<Verdict> {
        self.answer(Outcome::Pass, Strictness::Strict)
    }
}

#[test]
fn three_failures_in_a_row_turn_the_verdict_and_one_success_turns_it_back() {
    let mut s = Scenario::tcp();
    assert_eq!(s.pass(), Some(Verdict::Pass));
    assert_eq!((s.fail(), s.fail()), (None, None));
    assert_eq!(s.pass(), None);
    assert_eq!((s.fail(), s.fail(), s.fail()), (None, None, Some(Verdict::Fail)));
    assert_eq!(s.fail(), None);
    assert_eq!(s.pass(), Some(Verdict::Pass));
}

#[test]
fn a_question_is_never_asked_while_another_is_open() {
    let mut s = Scenario::tcp();
    assert!(s.probe.poll_ask(s.now).is_some());
    assert_eq!(s.probe.poll_ask(s.now + Duration::from_secs(60)), None);
}

#[test]
fn a_question_that_the_hands_never_answer_counts_as_a_failure() {
    let mut s = Scenario::tcp();
    for round in 1..=3 {
        s.now = s.now.max(s.probe.poll_timeout().expect("a deadline"));
        s.probe.poll_ask(s.now).expect("a question");
        s.now = s.probe.poll_timeout().expect("a deadline");
        let change = s.probe.handle_timeout(s.now, Strictness::Strict);
        assert_eq!(change.is_some(), round == 3, "round {round}");
    }
    assert_eq!(s.probe.verdict(), Verdict::Fail);
    assert_eq!(s.probe.last_failure(), "no answer within 2s");
}

#[test]
fn an_answer_to_an_older_question_is_ignored() {
    let mut s = Scenario::tcp();
    let old = s.probe.poll_ask(s.now).expect("a question");
    s.probe.begin(s.now, 0.0);
    s.probe.poll_ask(s.now).expect("a question");
    let change = s.probe.handle_answer(s.now, old.attempt, Outcome::Pass, Duration::ZERO, Strictness::Strict);
    assert_eq!(change, None);
}

#[test]
fn a_refused_connection_during_the_start_is_no_failure_and_is_asked_again_soon() {
    let mut s = Scenario::tcp();
    for _ in 0..50 {
        assert_eq!(s.answer(Outcome::Refused("refused".into()), Strictness::Starting), None);
    }
    assert_eq!(s.probe.verdict(), Verdict::Unknown);
    let mut s = Scenario::tcp();
    s.answer(Outcome::Refused("refused".into()), Strictness::Starting);
    assert_eq!(s.probe.poll_timeout(), Some(Moment::ZERO + REFUSED_RETRY));
}

#[test]
fn a_refused_connection_afterwards_is_a_failure() {
    let mut s = Scenario::tcp();
    let refuse = |s: &mut Scenario| s.answer(Outcome::Refused("refused".into()), Strictness::Strict);
    assert_eq!((refuse(&mut s), refuse(&mut s), refuse(&mut s)), (None, None, Some(Verdict::Fail)));
}

#[test]
fn a_watchdog_fails_in_silence_and_is_content_when_fed() {
    let mut probe = Probe::new(spec(ProbeTarget::Notify), true);
    probe.begin(Moment::ZERO, 0.0);
    assert_eq!(probe.watchdog_interval(), Some(Duration::from_secs(15)));
    let fed = Moment::from_millis(10_000);
    assert_eq!(probe.handle_told(fed).map(|c| c.verdict), Some(Verdict::Pass));
    assert_eq!(probe.handle_timeout(Moment::from_millis(24_999), Strictness::Strict), None);
    let change = probe.handle_timeout(Moment::from_millis(25_000), Strictness::Strict);
    assert_eq!(change, Some(Change { verdict: Verdict::Fail, reason: "no WATCHDOG=1 for 15s".into() }));
}

#[test]
fn a_told_probe_waits_for_ever_and_takes_one_word() {
    let mut probe = Probe::new(ProbeSpec { successes: 3, ..spec(ProbeTarget::Log("up".into())) }, false);
    probe.begin(Moment::ZERO, 0.0);
    assert_eq!(probe.poll_timeout(), None);
    assert_eq!(probe.handle_told(Moment::from_millis(1)).map(|c| c.verdict), Some(Verdict::Pass));
}

#[test]
fn a_shorter_interval_takes_effect_at_once() {
    let mut s = Scenario::tcp();
    s.pass();
    let slow = ProbeSpec { every: Duration::from_secs(600), ..s.probe.spec().clone() };
    s.probe.handle_spec(s.now, slow);
    s.pass();
    let quick = ProbeSpec { every: Duration::from_secs(1), ..s.probe.spec().clone() };
    s.probe.handle_spec(s.now, quick);
    assert_eq!(s.probe.poll_timeout(), Some(s.now + Duration::from_secs(1)));
}

#[test]
fn sleep_of_the_computer_is_not_counted_against_an_open_question() {
    let mut s = Scenario::tcp();
    s.probe.poll_ask(s.now).expect("a question");
    let hour = Duration::from_secs(3600);
    s.probe.handle_suspended(hour);
    assert_eq!(s.probe.handle_timeout(s.now + hour, Strictness::Strict), None);
}

#[test]
fn a_question_that_the_computer_slept_through_is_asked_again_and_its_no_not_counted() {
    let mut s = Scenario::tcp();
    s.pass();
    s.now = s.probe.poll_timeout().expect("a deadline");
    let ask = s.probe.poll_ask(s.now).expect("a question");
    let hour = Duration::from_secs(3600);
    s.now = s.now + hour;
    s.probe.handle_suspended(hour);
    let no = || Outcome::Failed("no answer".into());
    assert_eq!(s.probe.handle_answer(s.now, ask.attempt, no(), hour, Strictness::Strict), None);
    assert_eq!((s.probe.tally().failures, s.probe.last_failure()), (0, ""));
    let again = s.probe.poll_ask(s.now).expect("the question again");
    assert_ne!(again.attempt, ask.attempt);
    s.probe.handle_answer(s.now, again.attempt, no(), hour, Strictness::Strict);
    assert_eq!(s.probe.tally().failures, 1, "the second no is one");
}

#[test]
fn every_answer_is_counted_once_with_how_long_it_took() {
    let mut s = Scenario::tcp();
    s.pass();
    s.fail();
    s.answer(Outcome::Refused("nobody".into()), Strictness::Starting);
    // One that nobody answers counts as long as it might have taken.
    s.now = s.probe.poll_timeout().expect("a deadline");
    let ask = s.probe.poll_ask(s.now).expect("a question");
    s.now = s.probe.poll_timeout().expect("a deadline");
    s.probe.handle_timeout(s.now, Strictness::Strict);
    s.probe.handle_answer(s.now, ask.attempt, Outcome::Pass, Duration::ZERO, Strictness::Strict);
    let tally = s.probe.tally();
    assert_eq!((tally.passes, tally.failures, tally.refusals), (1, 2, 1));
    assert_eq!(tally.buckets.iter().sum::<u64>(), 4);
    // A bound is within its bucket.
    assert_eq!(tally.buckets[0], 3);
    let two_seconds = LATENCY_BOUNDS.iter().position(|bound| *bound >= ask.timeout).expect("a bound");
    assert_eq!(tally.buckets[two_seconds], 1);
    assert_eq!(tally.took, Duration::from_millis(2003));
    // A new run goes on counting.
    s.probe.begin(s.now, 0.0);
    assert_eq!(s.probe.tally().passes, 1);
}

#[test]
fn what_is_told_is_counted_and_took_no_time() {
    let mut watchdog = Probe::new(spec(ProbeTarget::Notify), true);
    watchdog.begin(Moment::ZERO, 0.0);
    watchdog.handle_told(Moment::ZERO);
    watchdog.handle_timeout(watchdog.poll_timeout().expect("a deadline"), Strictness::Strict);
    let tally = watchdog.tally();
    assert_eq!((tally.passes, tally.failures), (1, 1));
    assert_eq!(tally.buckets.iter().sum::<u64>(), 0);
}
