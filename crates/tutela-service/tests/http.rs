//! The axum example as a whole: ready, an answer, and a drain that finishes what was asked and lets nobody new in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use stage::{Stage, get, get_until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Until the slow request is done, everything else has to be seen: far longer than it takes.
const SLOW_SECONDS: &str = "10";

#[test]
fn requests_on_their_way_are_finished_and_new_ones_are_sent_elsewhere() {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [address, health] = free.map(|it| it.local_addr().unwrap().to_string());
    let mut stage = Stage::of("http", |command| {
        command.env("HTTP_LISTEN", &address).env("HTTP_HEALTH", &health).env("HTTP_SLOW", SLOW_SECONDS);
    });
    stage.hear("READY=1");
    assert!(get(&address, "/").1.ends_with("hello\n"));
    get_until(&health, "/readyz", |status, _| status == 200);

    let mut slow = TcpStream::connect(&address).unwrap();
    slow.set_read_timeout(Some(stage::BOUND)).unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    get_until(&health, "/metrics", |_, text| text.contains("slow request"));
    stage.signal("TERM");
    stage.hear("STOPPING=1");
    // Balancers are told before the door closes; then it is closed, and who is inside is served to the end.
    get_until(&health, "/readyz", |status, _| status == 503);
    assert_eq!(get(&health, "/livez").0, 200);
    let began = std::time::Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(began.elapsed() < stage::BOUND, "the door stays open");
        std::thread::yield_now();
    }
    assert!(!stage.has_ended(), "it waits for the slow request");

    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done\n"), "{answer}");
    let end = stage.end();
    assert_eq!(end.code, Some(0), "{}", end.text);
    assert!(end.text.contains("a slow request is done"), "{}", end.text);
}
