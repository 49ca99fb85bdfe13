//! The examples of this repository really run, with the servers that they name, and leave nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::path::Path;
use tutela_it::processes::{free_port, kill};
use tutela_it::{Container, Guard, Stage};

/// A guard of an example, in a copy of its folder.
fn example(name: &str, settings: &[(&str, String)]) -> Guard {
    let stage = Stage::named(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    copy(&source, &stage.path(""));
    let spec = stage.spec_path();
    stage.start_with(Container::ControlGroup, |command| {
        command.arg(spec).envs(settings.iter().map(|(key, value)| (*key, value)));
    })
}

/// Copies a folder, but for what a run of the example left in it.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "run" {
            continue;
        }
        if source.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&source, &target);
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

fn visit(port: u16) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET / HTTP/1.0\r\nHost: shop\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn hello_starts_in_order_restarts_what_crashes_and_stops_cleanly() {
    let mut guard = example("hello", &[]);
    guard.wait_for("clock", "is ready", |it| it.state == "running" && it.verdict("ready") == "pass");
    guard.wait_for("worker", "is ready", |it| it.state == "running" && it.verdict("ready") == "pass");
    guard.wait_for("worker", "lives", |it| it.verdict("live") == "pass");
    let flaky = guard.wait_for("flaky", "crashed and runs again", |it| it.restarts >= 1 && it.state == "running");
    assert_eq!(flaky.last_code, Some(3));
    assert_eq!((guard.instance("clock").restarts, guard.instance("worker").restarts), (0, 0));
    assert_eq!(guard.end(), 0);
}

#[test]
fn shop_serves_visitors_through_nginx_survives_a_kill_and_stops_cleanly() {
    let (web, app, redis) = (free_port(), free_port(), free_port());
    let ports = [("WEB_PORT", web), ("APP_PORT", app), ("REDIS_PORT", redis)];
    let mut guard = example("shop", &ports.map(|(key, port)| (key, port.to_string())));
    for service in ["db", "app", "web"] {
        guard.wait_for(service, "is up", |it| it.state == "running" && it.verdict("ready") == "pass");
    }
    let first = visit(web);
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert_ne!(visit(web), first, "visits are counted");
    guard.wait_for("app", "has its dependency", |it| it.verdict("redis") == "pass" && it.health == "up");

    let killed = guard.instance("app").pid.unwrap();
    kill(killed, "KILL");
    guard.wait_for("app", "is up again", |it| it.restarts == 1 && it.state == "running" && it.health == "up");
    assert!(visit(web).starts_with("HTTP/1.1 200"));
    tutela_it::wait_until(tutela_it::BOUND, "the alert is in the diary", || {
        guard.read("run/alerts.jsonl").contains("crashed").then_some(())
    });

    let db = guard.instance("db").pid.unwrap();
    kill(db, "STOP");
    guard.wait_for("app", "is degraded", |it| it.health == "degraded" && it.restarts == 1);
    kill(db, "CONT");
    guard.wait_for("app", "is up", |it| it.health == "up");

    assert_eq!(guard.end(), 0);
    for port in [web, app, redis] {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} is still listened on");
    }
}
