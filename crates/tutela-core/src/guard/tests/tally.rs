//! How far everything has come: who is up, who is on the way, who will not come soon.

use super::*;

impl Scenario {
    #[track_caller]
    fn tells(&mut self, line: &str, settled: bool) {
        self.obey();
        let tally = self.guard.tally();
        assert_eq!((tally.to_string().as_str(), tally.is_settled()), (line, settled), "{tally:?}");
    }

    fn does_not_spawn(&mut self, word: &str) {
        self.feed(word, |run| Input::SpawnFailed { run, reason: "no such file".into() });
    }
}

#[test]
fn who_comes_up_and_who_waits_for_it_are_on_their_way() {
    let mut s = Scenario::of(spec("web: api; api: db; db:"));
    s.slow(&["db"]);
    s.begin();
    s.tells("0 of 3 up: db:0 starting, api:0 waiting, web:0 waiting", false);
    assert!(s.guard.is_starting_any());
    s.spawned("db");
    s.tells("3 of 3 up", true);
    assert!(!s.guard.is_starting_any());
}

#[test]
fn who_fails_is_tried_again_until_it_cools_down_and_then_nobody_waits_for_it() {
    let mut spec = spec("api: db; db:");
    edit(&mut spec, "db").restart.cooldown = secs(300);
    let mut s = Scenario::of(spec);
    s.slow(&["db"]);
    s.begin();
    s.obey();
    let mut tries = 0;
    while !s.guard.tally().is_settled() {
        s.tells("0 of 2 up: db:0 starting, api:0 waiting", false);
        s.does_not_spawn("db");
        let tally = s.guard.tally();
        assert!(tally.is_settled() || tally.retrying == 2, "who waits for it is as it is: {tally:?}");
        if !tally.is_settled() {
            s.advance(secs(10));
        }
        tries += 1;
        assert!(tries < 100);
    }
    s.tells("0 of 2 up: db:0 cooldown, api:0 waiting", true);
}

#[test]
fn who_is_not_wanted_up_does_not_count_and_holds_its_dependents_for_good() {
    let mut s = Scenario::running(spec("api: db; db:; cron:"));
    s.stop("cron");
    s.tells("2 of 2 up", true);
    s.command(Command::Stop(the("db"))).expect("accepted");
    s.tells("0 of 0 up", true);
}

#[test]
fn a_ready_probe_that_says_no_is_told_and_holds_up_nothing() {
    let mut spec = spec("api:");
    edit(&mut spec, "api").ready = Some(probe(ProbeTarget::Notify));
    let mut s = Scenario::of(spec);
    s.begin();
    s.tells("0 of 1 up: api:0 starting", false);
    s.feed("api", |run| Input::Notice { run, notice: Notice::Ready });
    s.tells("1 of 1 up", true);
    s.command(Command::Pause(the("api"))).expect("accepted");
    s.tells("0 of 1 up: api:0 not ready", true);
}

#[test]
fn only_a_few_are_named() {
    let mut spec = spec("api:");
    edit(&mut spec, "api").instances = 9;
    let mut s = Scenario::of(spec);
    s.slow(&["api", "api:1", "api:2", "api:3", "api:4"]);
    s.begin();
    s.tells("4 of 9 up: api:0 starting, api:1 starting, api:2 starting and 2 more", false);
}
