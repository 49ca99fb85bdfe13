//! Records on their way into the Event Log.
//!
//! Wine's log says yes and stores nothing, so what is shown is that each of its calls succeeds, and the source that is
//! registered for them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tutela_wine_tests::{Stage, courier};

#[test]
fn the_event_log_takes_every_record_in_the_name_of_the_guard() {
    let stage = Stage::new();
    let ended = stage.run([&*courier(), "event-log", stage.name(), "1200"]);
    assert_eq!(ended.code, 0, "{}", ended.output);
    assert_eq!(ended.output.trim(), "delivered 1200 after 3 tries");
    let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\{}", stage.name());
    let source = stage.run(["reg", "query", &key]);
    assert!(source.output.contains("EventCreate.exe"), "{}", source.output);
    stage.run(["reg", "delete", &key, "/f"]);
    let ended = stage.run([&*courier(), "journald", stage.name(), "1"]);
    assert_eq!(ended.code, 1, "{}", ended.output);
    assert!(ended.output.contains("refused: only Linux with systemd has a journal"), "{}", ended.output);
}
