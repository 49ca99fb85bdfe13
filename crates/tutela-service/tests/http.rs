//! The axum example as a whole: ready, an answer, and a drain that finishes what was asked and lets nobody new in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use stage::{Stage, get, get_until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn requests_on_their_way_are_finished_and_new_ones_are_sent_elsewhere() {
    let (address, health) = (free_address(), free_address());
    let mut stage = Stage::of("http", |command| {
        command.env("HTTP_LISTEN", &address).env("HTTP_HEALTH", &health);
    });
    stage.hear("READY=1");
    assert!(get(&address, "/").1.ends_with("hello\n"));
    get_until(&health, "/readyz", |status, _| status == 200);

    let mut slow = TcpStream::connect(&address).unwrap();
    slow.set_read_timeout(Some(stage::BOUND)).unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stage.signal("TERM");
    stage.hear("STOPPING=1");
    // Balancers are told before the door closes, and until then it is open.
    get_until(&health, "/readyz", |status, _| status == 503);
    assert_eq!(get(&health, "/livez").0, 200);
    assert_eq!(get(&address, "/").0, 200);

    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done\n"), "{answer}");
    let end = stage.end();
    assert_eq!(end.code, Some(0), "{}", end.text);
    assert!(end.text.contains("a slow request is done"), "{}", end.text);
    assert!(TcpStream::connect(&address).is_err());
}
