//! The control API over TCP: who gets in and who does not, for every route of the table that the product has, and that
//! strangers hold up nobody.
//!
//! Each failed attempt comes from an address of its own (all of 127.0.0.0/8 is this computer), because one address has
//! only some of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod papers;
mod wire;

use papers::Authority;
use rustls::ClientConfig;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tutela_core::access::Role;
use tutela_it::{BOUND, Guard, Stage, wait_until};
use tutela_schema::api::{GUARD_HEADER, Method, ROUTES, Route};
use wire::{Wire, connect};

const SLEEPER: &str = "[services.a]\ncommand = [\"understudy\", \"hang\"]\nstop.ladder = [{ kill = true }]\n";

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An address that no other attempt of this test comes from.
fn stranger() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    Ipv4Addr::from_bits((127 << 24) + (1 << 16) + NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A token, and its block in a spec.
struct Token {
    text: String,
    block: String,
}

impl Token {
    /// Made by the program itself, as an operator does it.
    fn make(stage: &Stage, name: &str, role: &str, more: &[&str]) -> Token {
        let mut words = vec!["token", "--name", name, "--role", role];
        words.extend(more);
        let ended = stage.cli(words);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let at = ended.stderr.find("[[api.tokens]]").unwrap_or_else(|| panic!("no block: {}", ended.stderr));
        Token { text: ended.stdout.trim().to_owned(), block: ended.stderr[at..].to_owned() }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.text)
    }
}

/// Where the door is, from what the guard tells of it.
fn door_of(guard: &Stage) -> SocketAddr {
    let event = guard.events_of("api_listening").pop();
    let event = event.unwrap_or_else(|| guard.wait_event("api_listening", |_| true));
    event["data"]["address"].as_str().unwrap().parse().unwrap()
}

/// A spec of a door within TLS.
fn spec(more: &str) -> String {
    format!("{SLEEPER}[api]\nlisten = \"127.0.0.1:0\"\ncertificate = \"server.pem\"\nkey = \"server.key\"\n{more}")
}

fn authority(stage: &Stage) -> Authority {
    let authority = Authority::new(stage.path("").as_path(), "authority");
    authority.sign("server", "/CN=server", "DNS:localhost,IP:127.0.0.1", 2);
    authority
}

fn start(stage: Stage) -> (Guard, SocketAddr) {
    let mut command = stage.command();
    command.arg("run").arg(stage.spec_path()).env("TUTELA_TOKEN", "tutela_not_for_programs");
    let guard = stage.start_command(command);
    let program = guard.wait_state("a", "running").pid.unwrap();
    let environment = std::fs::read(format!("/proc/{program}/environ")).unwrap();
    assert!(
        !String::from_utf8_lossy(&environment).contains("not_for_programs"),
        "an operator's token is for nobody else"
    );
    let door = door_of(&guard);
    (guard, door)
}

/// A path of the route that asks for little; the service is there.
fn path_of(route: &Route) -> String {
    route.path_for("a")
}

/// Asks with the name of another guard: who is let in is told that it is another one, and nothing is carried out.
fn knock(wire: &mut Wire, route: &Route, authorization: Option<&str>) -> std::io::Result<wire::Answer> {
    let mut headers = vec![(GUARD_HEADER, "somebody-else")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    wire.ask(route.method.as_str(), &path_of(route), &headers)
}

/// What is expected of somebody who was recognised.
fn expect(answer: &wire::Answer, route: &Route, role: Role, who: &str) {
    let wanted = if role.covers(route.role) { (404, "no_such_guard") } else { (403, "not_allowed") };
    let got = (answer.status, answer.code());
    assert_eq!((got.0, got.1.as_str()), wanted, "{who} at {} {}: {}", route.method, route.path, answer.text());
}

fn expect_unknown(answer: &wire::Answer, who: &str) -> Vec<u8> {
    assert_eq!((answer.status, answer.code().as_str()), (401, "not_authenticated"), "{who}: {}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("bearer realm=\"tutela\""), "{who}: {}", answer.head);
    answer.body.clone()
}

#[test]
fn with_tokens_every_route_lets_in_the_roles_that_reach_and_nobody_else() {
    let stage = Stage::new();
    let authority = authority(&stage);
    let good = Role::ALL.map(|role| (role, Token::make(&stage, &format!("good-{role}"), role.word(), &[])));
    let old = ["--expires", "2020-01-01T00:00:00Z"];
    let expired = Role::ALL.map(|role| (role, Token::make(&stage, &format!("old-{role}"), role.word(), &old)));
    let blocks: String = good.iter().chain(&expired).map(|(_, token)| token.block.as_str()).collect();
    stage.write_spec(&spec(&format!("rate = \"100000/s\"\n{blocks}")));
    let (guard, door) = start(stage);
    let tls = authority.client(None);
    for (role, token) in &good {
        let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
        for route in ROUTES {
            let answer = knock(&mut wire, route, Some(&token.bearer())).unwrap();
            expect(&answer, route, *role, &format!("the {role}"));
        }
        // And not only for a guard of another name.
        for route in ROUTES.iter().filter(|route| route.method == Method::Get) {
            let bearer = token.bearer();
            let answer = wire.ask("GET", &path_of(route), &[("authorization", &bearer)]).unwrap();
            assert!(matches!(answer.status, 200 | 503), "{}: {}", route.path, answer.text());
        }
    }
    let mut bad = vec![
        ("nothing".to_owned(), None),
        ("a wrong token".to_owned(), Some(format!("Bearer tutela_{}", "0".repeat(64)))),
        ("no token".to_owned(), Some("Bearer ".to_owned())),
        ("another scheme".to_owned(), Some(format!("Basic {}", good[2].1.text))),
        ("a token cut short".to_owned(), Some(format!("Bearer {}", &good[2].1.text[..70]))),
    ];
    bad.extend(expired.iter().map(|(role, token)| (format!("the expired {role}"), Some(token.bearer()))));
    let mut bodies = Vec::new();
    for route in ROUTES {
        for (who, authorization) in &bad {
            let mut wire = Wire::open(door, stranger(), Some(&tls)).unwrap();
            let answer = knock(&mut wire, route, authorization.as_deref()).unwrap();
            bodies.push(expect_unknown(&answer, &format!("{who} at {} {}", route.method, route.path)));
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answers tell strangers apart");
    // What is no route is no answer for a stranger either.
    let mut wire = Wire::open(door, stranger(), Some(&tls)).unwrap();
    expect_unknown(&wire.ask("GET", "/v1/nothing", &[]).unwrap(), "a stranger at no route");
    let twice = [("authorization", good[0].1.bearer()), ("authorization", good[2].1.bearer())];
    let twice = [(twice[0].0, twice[0].1.as_str()), (twice[1].0, twice[1].1.as_str())];
    let mut wire = Wire::open(door, stranger(), Some(&tls)).unwrap();
    expect_unknown(&wire.ask("GET", "/v1/status", &twice).unwrap(), "two tokens at once");

    told_of_nobodys_secrets(&guard, good.iter().chain(&expired).map(|(_, token)| token));
    who_did_what_is_written_down(&guard, door, &tls, &good);
}

/// Neither tokens nor their hashes are anywhere that somebody looks.
fn told_of_nobodys_secrets<'t>(guard: &Guard, tokens: impl Iterator<Item = &'t Token>) {
    let name = guard.name().to_owned();
    let spec_path = guard.spec_path();
    let resolved = guard.cli_ok(&["check", "--resolved", spec_path.to_str().unwrap()]);
    assert!(resolved.contains("api.tokens[0].hash"), "{resolved}");
    let mut seen = resolved + &guard.console() + &guard.cli_ok(&["audit", &name, "--json"]);
    for path in ["/v1/status", "/v1/info", "/v1/events?n=100000", "/v1/logs/a", "/metrics", "/health"] {
        seen += &tutela_it::http::ask(&guard.socket(), "GET", path).unwrap().text();
    }
    seen.make_ascii_lowercase();
    for token in tokens {
        let hash = token.block.split("sha256:").nth(1).unwrap();
        assert!(!seen.contains(&token.text["tutela_".len()..]), "a token is told");
        assert!(!seen.contains(&hash[..64]), "a hash is told");
    }
}

/// The record names the token and the address.
fn who_did_what_is_written_down(guard: &Guard, door: SocketAddr, tls: &Arc<ClientConfig>, good: &[(Role, Token); 3]) {
    let mut wire = Wire::open(door, HOME, Some(tls)).unwrap();
    let bearer = good[1].1.bearer();
    let answer = wire.ask("POST", "/v1/services/a/restart", &[("authorization", &bearer)]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(wire.ask("POST", "/v1/reload", &[("authorization", &bearer)]).unwrap().status, 403);
    // A page in a browser that has a certificate or a proxy before it cannot command.
    let of_page = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(wire.ask("POST", "/v1/services/a/stop", &of_page).unwrap().status, 403);
    let entries = guard.cli_ok(&["audit", guard.name(), "--json", "-n", "100000"]);
    let entries: Vec<Value> = entries.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |command: &str| entries.iter().rfind(|entry| entry["command"] == command).unwrap_or(&Value::Null);
    for (command, result) in [("restart", "done"), ("reload", "refused")] {
        let entry = of(command);
        assert_eq!(
            (&entry["surface"], &entry["peer"]["token"]),
            (&"network".into(), &"good-operator".into()),
            "{entry}"
        );
        assert_eq!(entry["result"], result, "{entry}");
        assert!(entry["peer"]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{entry}");
    }
    let strangers = entries.iter().any(|entry| entry["message"] == "not authenticated");
    assert!(strangers, "those who were not known are written down too, some of them");
    let event =
        guard.wait_event("commanded", |event| event["data"]["by"].as_str().unwrap_or("").contains("good-operator"));
    assert!(event["message"].as_str().unwrap().contains("127.0.0.1"), "{event}");
    // Hundreds were refused; they are counted, and few events tell of them.
    assert!(guard.events_of("api_refused").len() <= 3);
    let figures = tutela_it::http::ask(&guard.socket(), "GET", "/metrics").unwrap().text();
    let count = |why: &str| {
        let line = figures.lines().find(|line| line.starts_with("tutela_api_refused_total") && line.contains(why));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {why}: {figures}"))
    };
    assert!(count("why=\"credentials\"") > 150.0 && count("why=\"role\"") > 10.0 && count("why=\"rate\"") < 0.5);
}

#[test]
fn with_certificates_every_route_lets_in_the_roles_that_reach_and_nobody_else() {
    let stage = Stage::new();
    let authority = authority(&stage);
    let elsewhere = Authority::new(stage.path("").as_path(), "elsewhere");
    let token = Token::make(&stage, "known", "operator", &[]);
    let alternatives = |role: Role| match role {
        Role::Viewer => ("/O=shop/CN=viewer", ""),
        Role::Operator => ("/CN=x", "DNS:operator.example"),
        Role::Admin => ("/CN=x", "URI:spiffe://example/admin"),
    };
    let name_of = |role: Role| ["viewer", "operator.example", "spiffe://example/admin"][role as usize];
    let blocks: String = Role::ALL
        .map(|role| format!("[[api.certificates]]\nname = \"{}\"\nrole = \"{role}\"\n", name_of(role)))
        .concat();
    stage.write_spec(&spec(&format!("client_ca = \"authority.pem\"\nrate = \"100000/s\"\n{blocks}{}", token.block)));
    let (guard, door) = start(stage);
    let sign = |by: &Authority, name: &str, role: Role, days| {
        let (subject, names) = alternatives(role);
        by.sign(&format!("{name}-{role}"), subject, names, days)
    };
    for role in Role::ALL {
        let tls = authority.client(Some(&sign(&authority, "good", role, 2)));
        let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
        for route in ROUTES {
            expect(&knock(&mut wire, route, None).unwrap(), route, role, &format!("the certificate of the {role}"));
            // A token says more precisely who it is.
            let answer = knock(&mut wire, route, Some(&token.bearer())).unwrap();
            expect(&answer, route, Role::Operator, "a token beside a certificate");
        }
        let mut wire = Wire::open(door, stranger(), Some(&tls)).unwrap();
        let wrong = wire.ask("GET", "/v1/status", &[("authorization", "Bearer wrong")]).unwrap();
        expect_unknown(&wrong, "a wrong token beside a certificate that is right");
    }
    let nobody = authority.sign("nobody", "/CN=nobody", "DNS:*.example,DNS:viewer.elsewhere", 2);
    let tls = authority.client(Some(&nobody));
    for route in ROUTES {
        let mut wire = Wire::open(door, stranger(), Some(&tls)).unwrap();
        expect_unknown(&knock(&mut wire, route, None).unwrap(), "a certificate without a role");
        let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
        let answer = knock(&mut wire, route, Some(&token.bearer())).unwrap();
        expect(&answer, route, Role::Operator, "a token beside a certificate without a role");
    }
    let mut bad: Vec<(String, Option<(PathBuf, PathBuf)>)> = vec![("no certificate".to_owned(), None)];
    for role in Role::ALL {
        bad.push((format!("an expired {role}"), Some(sign(&authority, "old", role, -1))));
        bad.push((format!("a {role} of another authority"), Some(sign(&elsewhere, "false", role, 2))));
    }
    for (who, own) in &bad {
        let tls = authority.client(own.as_ref());
        for route in ROUTES {
            let opened = Wire::open(door, stranger(), Some(&tls));
            let answer = opened.and_then(|mut wire| knock(&mut wire, route, Some(&token.bearer())));
            assert!(answer.is_err(), "{who} was answered at {}: {answer:?}", route.path);
        }
    }
    drop(guard);
}

#[test]
fn rates_and_addresses_hold_and_one_who_fails_harms_nobody_who_is_known() {
    let stage = Stage::new();
    let token = Token::make(&stage, "known", "viewer", &[]);
    let plain =
        |more: &str| format!("{SLEEPER}[api]\nlisten = \"127.0.0.1:0\"\nwithout_tls = true\n{more}{}", token.block);
    stage.write_spec(&plain("rate = \"25/h\"\nallow = [\"127.0.0.0/30\", \"127.1.0.0/16\"]\n"));
    let (guard, door) = start(stage);
    let bearer = token.bearer();
    let good = [("authorization", bearer.as_str())];

    // Who is not on the list is closed without a word.
    let mut outside = Wire::open(door, Ipv4Addr::new(127, 0, 0, 4), None).unwrap();
    assert!(outside.ask("GET", "/livez", &good).is_err());

    let mut wire = Wire::open(door, HOME, None).unwrap();
    for _ in 0..25 {
        assert_eq!(wire.ask("GET", "/livez", &good).unwrap().status, 200);
    }
    let answer = wire.ask("GET", "/livez", &good).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=144).contains(&wait), "{wait}");
    // Another address has its own.
    let mut wire = Wire::open(door, Ipv4Addr::new(127, 0, 0, 2), None).unwrap();
    assert_eq!(wire.ask("GET", "/livez", &good).unwrap().status, 200);

    // Failed attempts have a limit of their own, far below.
    let from = stranger();
    let fail = || Wire::open(door, from, None).unwrap().ask("GET", "/livez", &[]).unwrap();
    let statuses: Vec<u16> = (0..20).map(|_| fail().status).collect();
    let unknown = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..20).contains(&unknown), "{statuses:?}");
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    assert!(fail().header("retry-after").is_some());
    // Who shares the address and is known gets in all the same.
    let mut wire = Wire::open(door, from, None).unwrap();
    assert_eq!(wire.ask("GET", "/livez", &good).unwrap().status, 200);
    // Nobody at the socket is counted.
    (0..50).for_each(|_| drop(guard.api("GET", "/livez", 200)));
}

#[test]
fn who_is_slow_or_speaks_something_else_holds_up_nobody() {
    let stage = Stage::new();
    let authority = authority(&stage);
    let token = Token::make(&stage, "known", "viewer", &[]);
    stage.write_spec(&spec(&token.block));
    let (guard, door) = start(stage);
    let tls = authority.client(None);
    let bearer = token.bearer();
    let good = [("authorization", bearer.as_str())];

    // One that says nothing, one in the middle of a handshake, one in the middle of a head; and as many as one may have.
    let from = stranger();
    let silent = connect(door, from).unwrap();
    let mut half = connect(door, from).unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut headless = Wire::open(door, from, Some(&tls)).unwrap();
    headless.write_all(b"GET /livez HTTP/1.1\r\nx: y\r\n").unwrap();
    headless.flush().unwrap();
    let others: Vec<_> = (0..61).map(|_| connect(door, from).unwrap()).collect();
    let one_more = wait_until(BOUND, "one address has no more places", || {
        let mut one_more = connect(door, from).unwrap();
        one_more.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        one_more.read(&mut [0]).ok()
    });
    assert_eq!(one_more, 0, "it is closed at once");

    let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
    assert_eq!(wire.ask("GET", "/v1/status", &good).unwrap().status, 200);
    guard.api("GET", "/livez", 200);

    let mut plain = Wire::open(door, stranger(), None).unwrap();
    let answer = plain.ask("GET", "/v1/status", &good).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let mut nonsense = connect(door, stranger()).unwrap();
    nonsense.write_all(&[0x16; 4096]).unwrap();
    let _ = nonsense.read_to_end(&mut Vec::new());

    // A body that is too long, a head that is too long.
    let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
    let long = "x".repeat(20_000);
    let answer = wire.ask("GET", "/livez", &[("authorization", &bearer), ("x", &long)]).unwrap();
    assert_eq!(answer.status, 431);

    // All of them are over at last, by the limits of the door.
    for mut stream in others.into_iter().chain([silent, half]) {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let _ = headless.read_to_end(&mut Vec::new());
    guard.api("GET", "/livez", 200);
}

#[test]
fn a_reload_takes_in_certificates_and_tokens_and_what_is_open_stays_open() {
    let stage = Stage::new();
    let authority = authority(&stage);
    let (one, two) = (Token::make(&stage, "one", "viewer", &[]), Token::make(&stage, "two", "admin", &[]));
    stage.write_spec(&spec(&format!("{}{}", one.block, two.block)));
    let (guard, door) = start(stage);
    let tls = authority.client(None);
    let (first, second) = (one.bearer(), two.bearer());
    let open = |bearer: &str| {
        let mut wire = Wire::open(door, HOME, Some(&tls)).unwrap();
        assert_eq!(wire.ask("GET", "/livez", &[("authorization", bearer)]).unwrap().status, 200);
        wire
    };
    let follow = |bearer: &str| {
        let mut wire = open(bearer);
        wire.send("GET", "/v1/events?follow=true&n=1", &[("authorization", bearer)]).unwrap();
        wire.until(b"\r\n\r\n").unwrap();
        wire.until(b"\n\n").unwrap();
        wire
    };
    let (mut stays, mut goes) = (follow(&first), follow(&second));
    let mut live = open(&first);
    let before = live.shown();

    // A change that is broken is refused, with the file; what was there stays.
    let key = guard.read("server.key");
    authority.sign("another", "/CN=another", "DNS:localhost", 2);
    for (broken, said) in [(guard.read("another.key"), "do not go together"), ("no key".to_owned(), "no private key")] {
        guard.write("server.key", &broken);
        let ended = guard.cli(["reload", guard.name()]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(said) && ended.stderr.contains("server.key"), "{}", ended.stderr);
        let checked = guard.cli(["check", guard.spec_path().to_str().unwrap()]);
        assert_eq!(checked.code, 2, "{}", checked.stderr);
        assert!(checked.stderr.contains(said) && checked.stderr.contains("tutela.toml:"), "{}", checked.stderr);
        assert_eq!(open(&first).shown(), before);
    }
    guard.write("server.key", &key);

    // Another certificate, a token less and a token more.
    let three = Token::make(&guard, "three", "viewer", &[]);
    guard.write("server.pem", &guard.read("another.pem"));
    guard.write("server.key", &guard.read("another.key"));
    guard.write_spec(&spec(&format!("{}{}", one.block, three.block)));
    guard.cli_ok(&["reload", guard.name()]);
    assert_ne!(open(&three.bearer()).shown(), before, "who comes is shown the other certificate");
    assert_eq!(live.ask("GET", "/livez", &[("authorization", &first)]).unwrap().status, 200, "who was there is still");
    let mut gone = Wire::open(door, stranger(), Some(&tls)).unwrap();
    expect_unknown(&gone.ask("GET", "/livez", &[("authorization", &second)]).unwrap(), "a token that was taken away");
    // What was opened with it is over; what was opened with the other goes on.
    let _ = goes.read_to_end(&mut Vec::new());
    guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
    assert!(stays.until(b"restart").is_ok());

    // Without the table nobody listens.
    guard.write_spec(SLEEPER);
    guard.cli_ok(&["reload", guard.name()]);
    wait_until(BOUND, "nobody listens", || connect(door, HOME).err());
    wait_until(BOUND, "who was there is sent away", || {
        live.ask("GET", "/livez", &[("authorization", &first)]).is_err().then_some(())
    });
}

#[test]
fn a_reload_tells_who_may_do_something_else_and_no_hash() {
    let stage = Stage::new();
    let (deploy, watch) = (Token::make(&stage, "deploy", "viewer", &[]), Token::make(&stage, "watch", "viewer", &[]));
    let plain =
        |more: &str| format!("{SLEEPER}[api]\nlisten = \"127.0.0.1:0\"\nwithout_tls = true\nrate = \"50/s\"\n{more}");
    stage.write_spec(&plain(&deploy.block));
    let (guard, _) = start(stage);
    let last = |ended: &str| ended.trim().lines().last().unwrap_or_default().to_owned();
    let reload = |spec: &str, words: &[&str]| {
        guard.write_spec(spec);
        let told = guard.cli(["reload", guard.name()]);
        let message = words.join(", ");
        assert_eq!(told.code, 0, "{}", told.stderr);
        assert_eq!(last(&told.stderr), format!("api: {message}"));
        let event = guard.wait_event("reloaded", |event| event["message"] == format!("reloaded: api: {message}"));
        assert_eq!(event["data"]["api"], serde_json::json!(words));
        let audit: Value = serde_json::from_str(&last(&guard.cli_ok(&["audit", guard.name(), "--json"]))).unwrap();
        assert_eq!(audit["message"], format!("api: {message}"), "{audit}");
        assert_eq!(guard.cli(["reload", guard.name(), "--json"]).code, 0);
        let audit: Value = serde_json::from_str(&last(&guard.cli_ok(&["audit", guard.name(), "--json"]))).unwrap();
        assert_eq!(audit["message"], "nothing differs", "the same spec again: {audit}");
    };

    let raised = deploy.block.replace("viewer", "admin");
    assert_ne!(raised, deploy.block);
    reload(&plain(&raised), &["tokens (deploy: viewer -> admin)"]);
    let both = plain(&format!("allow = [\"127.0.0.0/8\"]\n{raised}{}", watch.block));
    reload(&both, &["allow (127.0.0.0/8 added, everybody removed)", "tokens (watch added as viewer)"]);
    let gone = ["no longer listens at a free port of 127.0.0.1", "tokens (deploy removed, watch removed)"];
    reload(SLEEPER, &gone);

    // The answer has it for programs too; one that changes nothing leaves it out.
    guard.write_spec(&plain(&watch.block));
    let answer: Value = serde_json::from_str(&guard.cli(["reload", guard.name(), "--json"]).stdout).unwrap();
    let opened = ["listens at a free port of 127.0.0.1", "without_tls (true)", "allow (everybody added)"];
    let tokens = ["tokens (watch added as viewer)"];
    assert_eq!(answer["api"], serde_json::json!([opened.as_slice(), tokens.as_slice()].concat()));
    let answer: Value = serde_json::from_str(&guard.cli(["reload", guard.name(), "--json"]).stdout).unwrap();
    assert_eq!(answer.get("api"), None, "{answer}");

    let all = format!("{:?}{}", guard.events(), guard.cli_ok(&["audit", guard.name(), "--json", "-n", "1000"]));
    for token in [&deploy, &watch] {
        let hash = token.block.split("sha256:").nth(1).and_then(|rest| rest.get(..64)).unwrap();
        assert!(!all.contains(hash) && !all.contains(&token.text), "a hash shows up: {all}");
    }
}

#[test]
fn an_address_that_is_taken_or_a_file_that_is_missing_is_refused_before_anything_starts() {
    let stage = Stage::new();
    let token = Token::make(&stage, "one", "viewer", &[]);
    stage.write_spec(&spec(&token.block));
    let ended = stage.cli(["run", stage.spec_path().to_str().unwrap()]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("server.pem") && ended.stderr.contains("tutela.toml:7:"), "{}", ended.stderr);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let plain = format!("{SLEEPER}[api]\nlisten = \"{address}\"\nwithout_tls = true\n{}", token.block);
    stage.write_spec(&plain);
    let ended = stage.cli(["run", stage.spec_path().to_str().unwrap()]);
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains(&address.to_string()) && ended.stderr.contains("another port"), "{}", ended.stderr);
}

#[test]
fn the_command_line_speaks_to_a_guard_on_another_computer() {
    let stage = Stage::new();
    let authority = authority(&stage);
    authority.sign("mine", "/CN=mine", "", 2);
    let (viewer, operator) =
        (Token::make(&stage, "viewer", "viewer", &[]), Token::make(&stage, "operator", "operator", &[]));
    stage.write("viewer.token", &format!("{}\n", viewer.text));
    stage.write("operator.token", &format!("{}\n", operator.text));
    stage.write_spec(&spec(&format!("{}{}", viewer.block, operator.block)));
    let (guard, door) = start(stage);
    let at = format!("https://localhost:{}", door.port());
    let name = guard.name().to_owned();
    // Another home: nothing of this computer helps.
    let away = guard.path("away");
    let run = |token: &str, words: &[&str]| {
        let mut command = guard.command();
        command.env("TUTELA_HOME", &away).args(["--connect", &at, "--ca", "authority.pem"]);
        if !token.is_empty() {
            command.args(["--token-file", token]);
        }
        command.args(words);
        tutela_it::run_within(BOUND, command)
    };
    let ok = |token: &str, words: &[&str]| {
        let ended = run(token, words);
        assert_eq!(ended.code, 0, "{words:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout + &ended.stderr
    };
    let one = format!("{name}/a");
    for words in [vec!["status"], vec!["status", &name], vec!["status", &one]] {
        assert!(ok("viewer.token", &words).contains("running"), "{words:?}");
    }
    let json: Value = serde_json::from_str(&ok("viewer.token", &["status", "--json"])).unwrap();
    assert_eq!(json["guards"][0]["name"], name.as_str());
    assert!(ok("viewer.token", &["events", &name]).contains("listens at"));
    assert!(ok("viewer.token", &["metrics"]).contains("tutela_api_requests_total"));
    ok("viewer.token", &["logs", &name]);
    assert!(ok("operator.token", &["restart", &one, "--reason", "from afar"]).contains("a:0 running"));
    assert!(guard.cli_ok(&["audit", &name]).contains("from afar"));

    let refused = |token: &str, words: &[&str], code: i32, said: &str| {
        let ended = run(token, words);
        assert_eq!(ended.code, code, "{words:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(said), "{words:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains(&viewer.text[7..]) && !ended.stderr.contains(&operator.text[7..]));
    };
    refused("viewer.token", &["stop", &one], 5, "role");
    refused("operator.token", &["stop", &name, "--shutdown"], 5, "admin");
    refused("operator.token", &["stop", "somebody-else"], 4, &name);
    refused("", &["status"], 5, "no token");
    refused("server.pem", &["status"], 2, "no token");
    refused("nowhere", &["status"], 2, "nowhere");
    refused("viewer.token", &["doctor"], 2, "--connect");
    // The environment has one too.
    let mut command = guard.command();
    command.env("TUTELA_TOKEN", &viewer.text).args(["--connect", &at, "--ca", "authority.pem", "status"]);
    assert_eq!(tutela_it::run_within(BOUND, command).code, 0);
    // An authority that is not named is not believed, and nothing is sent without TLS.
    for (at, code) in [(at.as_str(), 1), ("http://shop.example:80", 2)] {
        let ended = guard.cli(["--connect", at, "--token-file", "viewer.token", "status"]);
        assert_eq!(ended.code, code, "{at}: {}", ended.stderr);
    }

    // With a certificate and no token.
    let mine = "client_ca = \"authority.pem\"\n[[api.certificates]]\nname = \"mine\"\nrole = \"admin\"\n";
    guard.write_spec(&spec(mine));
    guard.cli_ok(&["reload", &name]);
    assert!(ok("", &["--cert", "mine.pem", "--key", "mine.key", "reload", &name]).contains("untouched: a"));
    refused("", &["status"], 1, "failed to speak to the guard");
}
