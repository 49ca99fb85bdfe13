//! Lives in microseconds.

use super::*;
use crate::exit::{NOT_READY, NOT_STOPPED, PANICKED};

const SECOND: Duration = Duration::from_secs(1);

/// A life and its clock.
struct Scene {
    life: Life,
    now: Moment,
}

impl Scene {
    fn with(bounds: Bounds, controls: Controls) -> Scene {
        let now = Moment::from_millis(1_000_000);
        let mut scene = Scene { life: Life::new(bounds, controls, now), now };
        assert_eq!(scene.done(), [Action::Host(Word::Starting(bounds.start))]);
        scene
    }

    fn new() -> Scene {
        Scene::with(bounds(Duration::ZERO), Controls::NONE.pause().reload().events())
    }

    /// One that is ready.
    fn running() -> Scene {
        let mut scene = Scene::new();
        scene.feed(Input::Ready);
        scene
    }

    /// Feeds an input and answers what is to be done, lines left out.
    fn feed(&mut self, input: Input) -> Vec<Action> {
        self.life.handle(input, self.now);
        self.done()
    }

    fn ask(&mut self, ask: Ask) -> Vec<Action> {
        self.feed(Input::Asked(ask))
    }

    fn advance(&mut self, span: Duration) -> Vec<Action> {
        self.now = self.now + span;
        self.life.handle_timeout(self.now);
        self.done()
    }

    fn done(&mut self) -> Vec<Action> {
        let actions = std::iter::from_fn(|| self.life.poll_action());
        actions.filter(|action| !matches!(action, Action::Say(..))).collect()
    }

    /// Ends the program and its work, and answers the last action.
    fn finish(&mut self, outcome: Result<(), Ending>) -> Option<Action> {
        self.feed(Input::Ended(outcome));
        self.feed(Input::Drained).pop()
    }
}

fn bounds(drain_delay: Duration) -> Bounds {
    Bounds { start: 30 * SECOND, stop: 10 * SECOND, drain_delay }
}

fn asked() -> Ask {
    Ask::Stop(StopReason::Asked("the service manager".into()))
}

fn code_of(action: Option<Action>) -> u32 {
    match action {
        Some(Action::End(ending)) => ending.code,
        other => panic!("not an end: {other:?}"),
    }
}

#[test]
fn a_service_is_running_when_its_program_says_so_and_not_before() {
    let mut scene = Scene::new();
    assert_eq!(scene.feed(Input::Status("loading".into())), [Action::Host(Word::Status("loading".into()))]);
    assert_eq!(scene.feed(Input::Ready), [Action::Host(Word::Running), Action::Serve(true)]);
    assert_eq!(scene.feed(Input::Ready), []);
}

#[test]
fn a_stop_raises_the_token_once_and_ends_when_program_and_work_are_done() {
    let mut scene = Scene::running();
    let deadline = scene.now + 10 * SECOND;
    let reason = StopReason::Asked("the service manager".into());
    let wanted =
        [Action::Leave(reason.clone()), Action::Host(Word::Stopping(10 * SECOND)), Action::Stop(reason, deadline)];
    assert_eq!(scene.ask(asked()), wanted);
    assert_eq!(scene.ask(asked()), []);
    assert_eq!(scene.feed(Input::Ended(Ok(()))), []);
    assert_eq!(scene.feed(Input::Drained), [Action::End(Ending::well())]);
    assert_eq!(scene.feed(Input::Failed(Ending::with(1, "late"))), []);
}

#[test]
fn readiness_is_taken_back_before_the_token_is_raised() {
    let mut scene = Scene::with(bounds(5 * SECOND), Controls::NONE);
    scene.feed(Input::Ready);
    let actions = scene.ask(asked());
    assert!(matches!(actions.as_slice(), [Action::Leave(_), Action::Host(Word::Stopping(_))]), "{actions:?}");
    assert_eq!(scene.advance(4 * SECOND), []);
    assert!(matches!(scene.advance(SECOND).as_slice(), [Action::Stop(..)]));
}

#[test]
fn a_computer_that_goes_down_is_not_kept_waiting_by_the_drain_delay() {
    let mut scene = Scene::with(bounds(5 * SECOND), Controls::NONE);
    scene.feed(Input::Ready);
    assert!(matches!(scene.ask(Ask::Stop(StopReason::Shutdown)).last(), Some(Action::Stop(StopReason::Shutdown, _))));
}

#[test]
fn a_stop_that_comes_during_the_start_is_heard() {
    let mut scene = Scene::new();
    assert!(matches!(scene.ask(asked()).last(), Some(Action::Stop(..))));
    assert_eq!(scene.feed(Input::Ready), []);
    assert_eq!(code_of(scene.finish(Ok(()))), 0);
}

#[test]
fn a_ready_that_never_comes_is_a_failure_with_its_own_code() {
    let mut scene = Scene::new();
    scene.feed(Input::Status("waiting for the database".into()));
    let actions = scene.advance(30 * SECOND);
    assert!(matches!(actions.last(), Some(Action::Stop(StopReason::NotReady, _))), "{actions:?}");
    let Some(Action::End(ending)) = scene.finish(Ok(())) else { panic!("it has not ended") };
    assert_eq!(ending.code, NOT_READY);
    let message = ending.message.unwrap_or_default();
    assert!(message.contains("its last status was \"waiting for the database\""), "{message}");
}

#[test]
fn a_checkpoint_moves_the_deadline_of_a_start_and_of_a_stop() {
    let mut scene = Scene::new();
    scene.advance(25 * SECOND);
    assert_eq!(scene.feed(Input::Checkpoint(20 * SECOND)), [Action::Host(Word::Extend(20 * SECOND))]);
    assert_eq!(scene.advance(19 * SECOND), []);
    scene.feed(Input::Ready);
    scene.ask(asked());
    scene.advance(9 * SECOND);
    let until = scene.now + 5 * SECOND;
    let wanted = [Action::Deadline(until), Action::Host(Word::Extend(5 * SECOND))];
    assert_eq!(scene.feed(Input::Checkpoint(5 * SECOND)), wanted);
    assert_eq!(scene.advance(4 * SECOND), []);
    assert_eq!(code_of(scene.advance(SECOND).pop()), NOT_STOPPED);
}

#[test]
fn a_short_checkpoint_takes_no_time_away() {
    let mut scene = Scene::new();
    assert_eq!(scene.feed(Input::Checkpoint(SECOND)), [Action::Host(Word::Extend(30 * SECOND))]);
}

#[test]
fn a_second_ctrl_c_hurries_and_a_third_one_does_not_wait() {
    let mut scene = Scene::running();
    assert!(matches!(scene.ask(Ask::Interrupt).last(), Some(Action::Stop(..))));
    let until = scene.now + 2 * SECOND;
    assert_eq!(scene.ask(Ask::Interrupt), [Action::Deadline(until), Action::Hurry]);
    assert_eq!(scene.feed(Input::Checkpoint(60 * SECOND)), []);
    assert_eq!(code_of(scene.ask(Ask::Interrupt).pop()), NOT_STOPPED);
}

#[test]
fn a_program_that_fails_ends_the_service_with_its_code() {
    let mut scene = Scene::running();
    let actions = scene.feed(Input::Ended(Err(Ending::with(7, "no licence"))));
    assert!(matches!(actions.last(), Some(Action::Stop(StopReason::Failed(_), _))), "{actions:?}");
    assert_eq!(code_of(scene.feed(Input::Drained).pop()), 7);
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let mut scene = Scene::running();
    scene.feed(Input::Failed(Ending::with(PANICKED, "a task panicked")));
    assert_eq!(code_of(scene.finish(Err(Ending::with(1, "because of that")))), PANICKED);
}

#[test]
fn a_failure_while_stopping_is_no_success() {
    let mut scene = Scene::running();
    scene.ask(asked());
    assert_eq!(code_of(scene.finish(Err(Ending::with(1, "failed to flush")))), 1);
}

#[test]
fn work_that_outlasts_its_program_holds_the_end_up_until_the_deadline() {
    let mut scene = Scene::running();
    scene.ask(asked());
    assert_eq!(scene.feed(Input::Ended(Ok(()))), []);
    assert_eq!(code_of(scene.advance(10 * SECOND).pop()), NOT_STOPPED);
}

#[test]
fn pause_and_resume_are_told_when_they_are_done() {
    let mut scene = Scene::running();
    assert_eq!(scene.ask(Ask::Pause), [Action::Host(Word::Pausing), Action::Request(Request::Pause)]);
    assert_eq!(scene.feed(Input::Answered(Ok(()))), [Action::Host(Word::Paused), Action::Serve(false)]);
    assert_eq!(scene.ask(Ask::Pause), [Action::Host(Word::Paused)]);
    assert_eq!(scene.ask(Ask::Resume), [Action::Host(Word::Resuming), Action::Request(Request::Resume)]);
    assert_eq!(scene.feed(Input::Answered(Ok(()))), [Action::Host(Word::Running), Action::Serve(true)]);
}

#[test]
fn a_pause_that_fails_leaves_it_running_and_says_so() {
    let mut scene = Scene::running();
    scene.ask(Ask::Pause);
    let actions = scene.feed(Input::Answered(Err(Ending::with(1, "busy"))));
    assert_eq!(actions, [Action::Host(Word::Running), Action::Host(Word::Status("pause failed: busy".into()))]);
}

#[test]
fn reloads_that_come_together_are_one_more() {
    let mut scene = Scene::running();
    assert_eq!(scene.ask(Ask::Reload), [Action::Host(Word::Reloading), Action::Request(Request::Reload)]);
    assert_eq!(scene.ask(Ask::Reload), []);
    assert_eq!(scene.ask(Ask::Reload), []);
    let again = [Action::Host(Word::Running), Action::Host(Word::Reloading), Action::Request(Request::Reload)];
    assert_eq!(scene.feed(Input::Answered(Ok(()))), again);
    assert_eq!(scene.feed(Input::Answered(Ok(()))), [Action::Host(Word::Running)]);
}

#[test]
fn a_reload_during_the_start_is_done_once_it_is_ready() {
    let mut scene = Scene::new();
    assert_eq!(scene.ask(Ask::Reload), []);
    assert_eq!(scene.feed(Input::Ready).last(), Some(&Action::Request(Request::Reload)));
}

#[test]
fn a_reload_of_what_is_paused_leaves_it_paused() {
    let mut scene = Scene::running();
    scene.ask(Ask::Pause);
    scene.feed(Input::Answered(Ok(())));
    scene.ask(Ask::Reload);
    assert_eq!(scene.feed(Input::Answered(Ok(()))), [Action::Host(Word::Paused)]);
}

#[test]
fn what_the_program_does_not_hear_is_refused_for_it() {
    let mut scene = Scene::with(bounds(Duration::ZERO), Controls::NONE);
    scene.feed(Input::Ready);
    assert_eq!(scene.ask(Ask::Pause), []);
    // systemd waits for the next `ready` after it asked for a reload, whatever becomes of it.
    assert_eq!(scene.ask(Ask::Reload), [Action::Host(Word::Running)]);
    assert_eq!(scene.ask(Ask::Event(Event::User(1))), []);
}

#[test]
fn a_flood_of_events_is_cut() {
    let mut scene = Scene::running();
    for code in 0..1_000 {
        scene.ask(Ask::Event(Event::User(code)));
    }
    assert_eq!(scene.life.waiting.len(), WAITING_MAX);
}

#[test]
fn a_stop_does_not_wait_for_a_reload_that_hangs() {
    let mut scene = Scene::running();
    scene.ask(Ask::Reload);
    assert_eq!(scene.advance(ANSWER_LATE), []);
    assert!(matches!(scene.ask(asked()).last(), Some(Action::Stop(..))));
    assert_eq!(scene.feed(Input::Answered(Ok(()))), []);
    assert_eq!(code_of(scene.finish(Ok(()))), 0);
}
