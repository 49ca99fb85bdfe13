//! What an earlier guard noted and what lives are not the same.

use super::*;
use crate::service::{Afterwards, Estate, Phase, Then};

impl Scenario {
    /// The guard is killed and the next one goes on with what that one had noted of `word`, and with its program.
    fn inherits(&mut self, word: &str, estate: Estate, heir: Option<(RunId, u32)>) {
        let spec = (**self.guard.spec()).clone();
        self.guard = Guard::new(self.now, spec, 8);
        self.told.clear();
        let gone = || unreachable!("it is in the spec");
        assert!(self.guard.inherit(self.now, &id(word), estate, heir, |_| Vec::new(), gone).is_some());
        self.begin();
    }

    #[track_caller]
    fn noted(&self, word: &str) -> Estate {
        let key = self.guard.key(&id(word)).unwrap_or_else(|| panic!("there is no {word}"));
        self.guard.estate(key).unwrap_or_else(|| panic!("there is no {word}"))
    }
}

/// A guard whose `db` is just being started.
fn starting() -> Scenario {
    let mut s = Scenario::of(spec("db:"));
    s.slow(&["db"]);
    s.begin();
    s.does("spawn db");
    s
}

#[test]
fn a_program_that_was_started_and_not_noted_runs_on() {
    let mut s = starting();
    let estate = s.noted("db");
    let run = estate.run;
    assert!(is_heir(&estate, run) && is_heir(&estate, RunId(run.0 + 1)) && !is_heir(&estate, RunId(0)));
    s.inherits("db", estate, Some((run, 77)));
    s.does("");
    s.is("db", StateName::Running);
}

#[test]
fn one_that_is_to_stop_and_was_just_started_gets_the_whole_ladder() {
    let mut s = starting();
    s.stop("db");
    let estate = s.noted("db");
    assert_eq!(estate.phase, Phase::Stopping { after: Afterwards::Stop, rung: None });
    let run = estate.run;
    assert!(!is_heir(&estate, RunId(run.0 + 1)), "nobody wants another start of it");
    s.inherits("db", estate, Some((run, 77)));
    s.does("ask db");
    s.is("db", StateName::Stopping);
}

#[test]
fn a_single_try_after_a_cool_down_that_was_started_and_not_noted_is_one() {
    let mut s = Scenario::running(spec("db:"));
    let mut estate = s.noted("db");
    let (run, restarts) = (estate.run, estate.history.restarts);
    let until = s.now + secs(1);
    (estate.phase, estate.pid) = (Phase::Cooldown { until }, None);
    estate.history.cooldown_until = Some(until);
    s.inherits("db", estate, Some((RunId(run.0 + 1), 77)));
    s.is("db", StateName::Running);
    let history = s.noted("db").history;
    assert!(history.half_open && history.cooldown_until.is_none());
    assert_eq!(history.restarts, restarts + 1);
}

#[test]
fn whoever_may_stand_otherwise_is_named_once() {
    let mut s = Scenario::running(spec("api: db; db:"));
    let keys: BTreeSet<InstanceKey> = s.guard.instances().map(|(key, ..)| key).collect();
    let (api, db) =
        (s.guard.key(&id("api")).unwrap_or(InstanceKey(99)), s.guard.key(&id("db")).unwrap_or(InstanceKey(99)));
    assert_eq!(s.guard.take_touched(), keys);
    assert_eq!(s.guard.take_touched(), BTreeSet::new());
    let run = s.noted("db").run;
    let put_off = Notice::ExtendTimeout(secs(1));
    s.guard.handle(s.now, db, Input::Notice { run, notice: put_off });
    assert_eq!(s.guard.take_touched(), BTreeSet::from([db]));
    s.guard.handle_suspended(s.now, secs(9));
    assert_eq!(s.guard.take_touched(), keys);
    s.stop("api");
    s.guard.take_touched();
    s.guard.handle(s.now, api, Input::Exited { run: s.noted("api").run, exit: Exit::Code(0) });
    assert!(s.guard.take_touched().contains(&api));
}

#[test]
fn what_somebody_stopped_is_known_as_that_through_any_number_of_guards() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.stop("db");
    s.obey();
    s.is("api db", StateName::Stopped);
    for _ in 0..2 {
        let (api, db) = (s.noted("api"), s.noted("db"));
        assert!(api.asked_down && db.asked_down);
        s.guard = Guard::new(s.now, spec("api: db; db:"), 8);
        for (word, estate) in [("api", api), ("db", db)] {
            s.guard.inherit(s.now, &id(word), estate, None, |_| Vec::new(), || unreachable!("it is in the spec"));
        }
        s.begin();
        s.is("api db", StateName::Stopped);
    }
    s.start("api");
    s.obey();
    assert!(!s.noted("api").asked_down && !s.noted("db").asked_down);
    // Whoever is stopped to start again with the others is not kept down.
    s.slow(&["api", "db"]);
    s.command(Command::Restart(Target::All)).expect("accepted");
    assert!(!s.noted("api").asked_down && !s.noted("db").asked_down);
}

#[test]
fn that_somebody_paused_it_is_no_wish_to_have_it_down() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api"]);
    s.command(Command::Pause(the("db"))).expect("accepted");
    s.command(Command::End).expect("accepted");
    s.is("db", StateName::Running);
    let estate = s.noted("db");
    assert_eq!((estate.asked_down, estate.wanted_up, estate.then), (false, false, Then::Begin));
}

#[test]
fn an_end_of_the_guard_is_no_end_of_an_earlier_wish() {
    let mut s = Scenario::running(spec("api: db; db:"));
    s.slow(&["api", "db"]);
    s.stop("api");
    s.command(Command::End).expect("accepted");
    let (api, db) = (s.noted("api"), s.noted("db"));
    assert_eq!((api.asked_down, api.then), (true, Then::Keep));
    assert_eq!((db.asked_down, db.then), (false, Then::Begin));
}

#[test]
fn a_stop_of_what_is_down_is_a_wish_too() {
    let mut late = spec("late:");
    edit(&mut late, "late").start = StartMode::Manual;
    let mut s = Scenario::of(late);
    s.begin();
    assert!(!s.noted("late").asked_down);
    s.stop("late");
    assert!(s.noted("late").asked_down);
    s.start("late");
    assert!(!s.noted("late").asked_down);
}
