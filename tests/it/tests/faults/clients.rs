//! Clients of the control API that stall: nobody else waits for them, and they cost a bound that does not grow.
//!
//! That a thousand idle connections hurt nobody is shown in `control.rs`. Here are those that ask, and then do not read.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tutela_it::faults::{descriptors, from_outside};
use tutela_it::processes::memory;
use tutela_it::witness::Witness;
use tutela_it::{BOUND, Guard, http, wait_until};

/// The slowest answer that is allowed beside them. What a guard needs when nobody stalls is a millisecond.
const ANSWER: Duration = Duration::from_millis(100);

/// As long as a slow, busy computer may take for hundreds of restarts, and for all that hundreds of clients ask for.
const PATIENCE: Duration = Duration::from_secs(180);

/// What each of them may cost, of which most is what follows a log (a portion of it in hand).
const GROWTH_EACH: u64 = 400 << 10;

fn connect(guard: &Guard, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(guard.socket()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[test]
fn clients_that_ask_and_do_not_read_cost_others_nothing() {
    let count = usize::try_from(from_outside("TUTELA_FAULT_CLIENTS", 400)).unwrap();
    let guard = Guard::start(
        "[services.talks]\ncommand = [\"understudy\", \"lines=20000\", \"drip=1\", \"hang\"]\n\
         [services.loops]\ncommand = [\"understudy\", \"exit=1\"]\nrestart = { delay = \"5ms\", factor = 1.0, burst = 0 }\n\
         [services.other]\ncommand = [\"understudy\", \"hang\"]\ninstances = 50\n",
    );
    guard.wait_state("other:49", "running");
    wait_until(BOUND, "there is much to read", || (guard.log("talks-0.log").len() > 500_000).then_some(()));
    wait_until(PATIENCE, "much has happened", || (guard.instance("loops").restarts > 400).then_some(()));
    let (files, size) = (descriptors(guard.pid()), memory(guard.pid()));
    let requests = [
        // Streams without an end, and answers that fill every buffer on the way.
        get("/v1/events?follow=true&n=100000"),
        get("/v1/logs/talks?follow=true&n=100000"),
        get("/v1/events?n=1000").repeat(50),
        get("/v1/status?usage=true").repeat(50),
        // Requests that never become one.
        "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
        "POST /v1/services/other/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{".to_owned(),
    ];
    let mut held: Vec<UnixStream> =
        (0..count).map(|number| connect(&guard, &requests[number % requests.len()])).collect();
    // What they asked for is work, as anybody's questions are; from when it is done on, nothing is left but that they stall.
    wait_until(PATIENCE, "what they asked for is done", || {
        let witness = Witness::begin(&guard, guard.pid());
        std::thread::sleep(Duration::from_millis(100));
        let seen = witness.end();
        (seen.asked >= 5 && seen.slowest < ANSWER / 2).then_some(())
    });
    // One more byte now and then, as whoever wants to hold a door open does.
    let witness = Witness::begin(&guard, guard.pid());
    for _ in 0..30 {
        for slow in held.iter_mut().skip(4).step_by(requests.len()) {
            let _ = slow.write_all(b"x");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = guard.instance("loops").restarts;
    wait_until(BOUND, "programs are restarted all the while", || {
        (guard.instance("loops").restarts > before + 5).then_some(())
    });
    let seen = witness.end();
    let grown = memory(guard.pid()).saturating_sub(size);
    println!(
        "{count} stalling clients: {seen:?}, {} KiB larger, {} descriptors",
        grown >> 10,
        descriptors(guard.pid())
    );
    assert!(seen.slowest < ANSWER, "{seen:?}");
    assert!(grown < GROWTH_EACH * count as u64, "{grown} bytes larger");
    assert!(descriptors(guard.pid()) <= files + 2 * count + 16);
    assert_eq!(guard.instance("other").state, "running", "half a command is none");
    let began = Instant::now();
    guard.cli_ok(&["restart", &format!("{}/other", guard.name())]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(held);
    wait_until(BOUND, "what they held is free", || (descriptors(guard.pid()) <= files + 8).then_some(()));
}

#[test]
fn who_does_not_read_the_events_misses_some_and_whoever_reads_them_none() {
    let guard = Guard::start(
        "[services.loops]\ncommand = [\"understudy\", \"exit=1\"]\ninstances = 4\n\
         restart = { delay = \"1ms\", factor = 1.0, burst = 0 }\n",
    );
    let stalls: Vec<UnixStream> = (0..8).map(|_| connect(&guard, &get("/v1/events?follow=true&n=0"))).collect();
    let mut reads = connect(&guard, &get("/v1/events?follow=true&n=0"));
    reads.set_read_timeout(Some(BOUND)).unwrap();
    let mut text = Vec::new();
    let mut seqs: Vec<u64> = Vec::new();
    while seqs.len() < 2_000 {
        let mut portion = [0; 65_536];
        let length = reads.read(&mut portion).unwrap();
        assert!(length > 0, "the stream ended");
        text.extend_from_slice(&portion[..length]);
        let lines = String::from_utf8_lossy(&text).into_owned();
        seqs = lines
            .lines()
            .filter_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:"))?.trim().parse().ok())
            .collect();
    }
    let whole: Vec<u64> = (seqs[0]..seqs[0] + seqs.len() as u64).collect();
    assert_eq!(seqs, whole, "an event is missing for one that reads");
    assert_eq!(http::ask(&guard.socket(), "GET", "/livez").unwrap().status, 200);
    drop(stalls);
}
