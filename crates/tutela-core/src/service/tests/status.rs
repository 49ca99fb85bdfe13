//! The state explains itself: every state that is not final names a deadline, an owed answer or its needs.

use super::*;

#[test]
fn since_and_cause_change_with_the_state() {
    let mut s = Scenario::running(spec());
    let started = s.now;
    assert_eq!(s.service.since(), started);
    s.advance(secs(7));
    assert_eq!(s.service.since(), started);
    s.exits(1);
    assert_eq!(s.service.since(), s.now);
    assert_eq!(s.cause(), "exited with code 1");
    s.advance(secs(1));
    s.empty();
    assert_eq!(s.service.since(), s.now);
    assert_eq!(s.cause(), "exited with code 1");
}

#[test]
fn the_exit_is_told_with_how_long_it_ran_and_whether_it_was_wanted() {
    let mut s = Scenario::running(spec());
    s.advance(secs(7));
    s.exits(3);
    let crash = Event::Exited { run: RunId(1), exit: Exit::Code(3), ran: secs(7), wanted: false };
    assert!(s.events().contains(&crash));
    s.empty();
    s.advance(secs(1));
    s.spawned();
    s.stop();
    s.exits(0);
    let stop = Event::Exited { run: RunId(2), exit: Exit::Code(0), ran: Duration::ZERO, wanted: true };
    assert!(s.events().contains(&stop));
}

#[test]
fn an_exit_reads_like_a_sentence() {
    let signal = |core_dumped, oom| Exit::Signal { number: 6, name: "SIGABRT".into(), core_dumped, oom };
    assert_eq!(signal(false, false).to_string(), "killed by SIGABRT");
    assert_eq!(signal(true, false).to_string(), "killed by SIGABRT, core dumped");
    assert_eq!(signal(false, true).to_string(), "killed by SIGABRT: out of memory");
    assert_eq!(Exit::Unknown.to_string(), "ended, nobody knows how");
}

#[test]
fn what_comes_next_is_named_in_every_step_of_an_end() {
    let mut spec = spec();
    spec.hooks.before_stop = vec![hook("drain")];
    spec.hooks.after_exit = vec![hook("report")];
    let mut s = Scenario::running(spec);
    let mut steps = Vec::new();
    let mut note = |s: &Scenario| steps.push(s.service.next().expect("a next").what);
    s.stop();
    note(&s);
    s.hook_done(HookOutcome::Success);
    note(&s);
    s.exits(0);
    note(&s);
    s.left(&[7]);
    note(&s);
    s.advance(secs(2));
    note(&s);
    s.empty();
    note(&s);
    assert_eq!(
        steps,
        [
            "before_stop hooks",
            "next stop step",
            "look for what is left",
            "end of what is left, by force",
            "another kill",
            "after_exit hooks",
        ]
    );
}
