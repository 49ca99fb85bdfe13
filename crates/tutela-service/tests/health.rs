//! The health server of a whole service, asked over loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use stage::{Stage, get, get_until};

/// The body of an answer as JSON.
fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn readiness_follows_the_service_and_says_no_before_the_drain() {
    // Ready only once it was told so: by a signal, because nothing else reaches the script from outside.
    let mut stage = Stage::play(&["health=1", "drain=60000", "address", "wait"]);
    let address = stage.hear("STATUS=127").trim().to_owned();
    let address = format!("127{address}");
    let (status, answer) = get(&address, "/readyz");
    assert_eq!(status, 503, "{answer}");
    assert_eq!(get(&address, "/livez").0, 200);
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));

    let mut stage = Stage::play(&["health=1", "drain=2000", "ready", "address", "wait", "status", "told"]);
    let address = format!("127{}", stage.hear("STATUS=127").trim());
    get_until(&address, "/readyz", |status, _| status == 200);
    stage.signal("TERM");
    let answer = get_until(&address, "/readyz", |status, _| status == 503);
    assert!(answer.contains("stopping: asked by "), "{answer}");
    // The program has not heard of it yet, so it still works off what comes.
    assert!(!stage.all_heard().iter().any(|line| line == "STATUS=told"));
    stage.hear("STATUS=told");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn checks_are_in_the_body_and_decide_the_status() {
    for (verdict, word, ready, health) in
        [("ok", "healthy", 200, 200), ("warn", "warning", 200, 200), ("fail", "unhealthy", 503, 503)]
    {
        let mut stage = Stage::play(&["health=1", "check", verdict, "ready", "address", "wait"]);
        let address = format!("127{}", stage.hear("STATUS=127").trim());
        get_until(&address, "/livez", |status, _| status == 200);
        get_until(&address, "/readyz", |status, answer| status == ready && answer.contains("\"cue\""));
        let (status, answer) = get(&address, "/health");
        assert_eq!(status, health, "{answer}");
        let body = body(&answer);
        assert_eq!(body["status"], word);
        let names: Vec<_> = body["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str()).collect();
        assert_eq!(names, [Some("heartbeat"), Some("service"), Some("cue")]);
        assert!(body["checks"][2]["latency_ms"].as_f64().is_some());
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        if verdict == "fail" {
            assert_eq!(body["checks"][2]["message"], "broken");
        }
        stage.signal("TERM");
        assert_eq!(stage.end().code, Some(0));
    }
}

#[test]
fn figures_are_there_for_prometheus() {
    let mut stage = Stage::play(&["health=1", "ready", "work", "for ever", "address", "wait", "hurried"]);
    let address = format!("127{}", stage.hear("STATUS=127").trim());
    let answer = get_until(&address, "/metrics", |_, answer| answer.contains("\nservice_ready 1"));
    assert!(answer.contains("\nservice_work{work=\"work\"} 1"), "{answer}");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(!answer.contains("# EOF"), "{answer}");
    assert_eq!(get(&address, "/else").0, 404);
    stage.signal("INT");
    stage.hear("STOPPING=1");
    stage.signal("INT");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn a_program_without_a_sign_of_life_is_not_live() {
    let mut stage = Stage::play(&["health=1", "alive=50", "ready", "address", "wait"]);
    let address = format!("127{}", stage.hear("STATUS=127").trim());
    let answer = get_until(&address, "/livez", |status, _| status == 503);
    assert!(answer.contains("no sign of life for "), "{answer}");
    stage.signal("TERM");
    assert_eq!(stage.end().code, Some(0));
}

#[test]
fn a_port_that_is_taken_is_a_failure_that_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("health={}", taken.local_addr().unwrap());
    let end = Stage::play(&[&at, "ready", "wait"]).end();
    assert_eq!(end.code, Some(1));
    assert!(end.text.contains("failed to listen for health requests at "), "{}", end.text);
}
