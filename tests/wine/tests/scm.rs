//! The service control manager's protocol, with a service that does as its words say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tutela_wine_tests::scm::Service;
use tutela_wine_tests::{Stage, understudy, wait_until};

fn service(stage: &Stage) -> Service<'_> {
    let command = format!("\"{}\" serve \"{}\"", understudy(), stage.windows("told"));
    Service::create(stage, stage.name(), &command)
}

#[test]
fn a_service_hears_every_control_and_each_state_is_shown() {
    let stage = Stage::new();
    let service = service(&stage);
    assert_eq!((service.query().state.as_str(), service.query().error), ("STOPPED", 1077));
    assert_eq!(service.start(&["one", "two three"]).code, 0);
    let running = service.wait("RUNNING");
    assert_eq!((running.error, running.own, running.checkpoint, running.hint), (0, 0, 0, 0));
    assert_eq!(service.ask("pause"), "Pausing");
    assert_eq!(service.query().state, "PAUSE_PENDING");
    stage.write("go", "now\n");
    service.wait("PAUSED");
    service.ask("continue");
    service.wait("RUNNING");
    for control in ["reload", "128", "255"] {
        assert_eq!(service.ask(control), "Running", "{control}");
    }
    assert_eq!(service.ask("stop"), "Stopping");
    let stopped = service.wait("STOPPED");
    assert_eq!((stopped.error, stopped.own), (0, 0));
    assert_eq!(service.ask("stop"), "error 1062");
    let told = stage.lines("told", 11);
    assert!(told[0].starts_with(stage.name()) && told[0].ends_with("started by scm"), "{told:?}");
    assert_eq!(told[1], "words one|two three");
    let heard = ["pause", "continue", "reload", "control code 128", "control code 255", "stop", "served Done"];
    assert_eq!(told[4..], heard);
}

#[test]
fn while_it_starts_no_control_is_taken_and_checkpoints_rise() {
    let stage = Stage::new();
    let service = service(&stage);
    service.start(&["slow"]);
    let first = service.query();
    assert_eq!(first.state, "START_PENDING");
    assert!(first.checkpoint > 0 && (1..=10_000).contains(&first.hint), "{first:?}");
    assert!(service.ask("stop").starts_with("error 10"));
    wait_until("the checkpoint has risen", || (service.query().checkpoint > first.checkpoint + 1).then_some(()));
    assert_eq!(service.query().state, "START_PENDING");
    stage.write("go", "now\n");
    service.wait("RUNNING");
    assert_eq!(service.stop().error, 0);
}

#[test]
fn an_end_is_told_with_its_error() {
    let stage = Stage::new();
    let service = service(&stage);
    let ends = [(vec!["panic"], (1064, 0)), (vec!["code", "7"], (1066, 7)), (vec!["os", "5"], (5, 0))];
    for (count, (words, wanted)) in ends.into_iter().enumerate() {
        service.start(&words);
        // One line for its start, its words, and its end.
        stage.lines("told", 3 * (count + 1));
        let stopped = service.wait("STOPPED");
        assert_eq!((stopped.error, stopped.own), wanted, "{words:?}");
    }
}

#[test]
fn a_control_that_is_not_accepted_does_not_arrive() {
    let stage = Stage::new();
    let service = service(&stage);
    service.start(&[]);
    service.wait("RUNNING");
    // From here on it takes a stop and nothing else.
    assert_eq!(service.ask("200"), "Running");
    wait_until("the service has heard it", || stage.read("told").contains("200").then_some(()));
    assert_eq!(service.ask("pause"), "error 1052");
    assert_eq!(service.ask("reload"), "error 1052");
    assert_eq!(service.stop().error, 0);
}

#[test]
fn a_program_that_nobody_serves_is_told_so() {
    let stage = Stage::new();
    let ended = stage.run([&understudy(), "serve", &stage.windows("told")]);
    assert_eq!(ended.code, 63, "{}", ended.output);
    assert!(ended.output.contains("(1063)"), "{}", ended.output);
}
