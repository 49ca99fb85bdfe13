//! Traces of the guard, as a receiver made of the official protobufs gets them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tutela_it::http::{ask, ask_with};
use tutela_it::processes::kill;
use tutela_it::receiver::Otlp;
use tutela_it::{BOUND, Container, Stage, run_within, wait_until};

/// How long so many restarts may take that nobody waits for any more.
const LONG: Duration = Duration::from_secs(180);

/// Somebody else's trace.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Crashes once, and then wants to be killed.
const STUBBORN: &str = r#"
[services.api]
command = ["understudy", "once=one", "exit=3", "ignore=TERM", "write=deaf", "hang"]
restart = { delay = "20ms", burst = 0 }
stop.ladder = [{ signal = "TERM", wait = "100ms" }, { kill = true }]
hooks.before_start = [["understudy", "env=hook-env"]]
"#;

#[derive(Debug, Clone)]
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    /// Nanoseconds since 1970.
    began: u64,
    ended: u64,
    attributes: BTreeMap<String, Value>,
    raw: Value,
}

impl Span {
    fn read(raw: &Value) -> Span {
        let text = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
        let nanos = |key: &str| text(key).parse().unwrap();
        Span {
            name: text("name"),
            trace: hex(&text("trace_id")),
            id: hex(&text("span_id")),
            parent: hex(&text("parent_span_id")),
            began: nanos("start_time_unix_nano"),
            ended: nanos("end_time_unix_nano"),
            attributes: attributes(raw),
            raw: raw.clone(),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    fn events(&self) -> Vec<&str> {
        let events = self.raw["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        events.iter().map(|event| event["name"].as_str().unwrap()).collect()
    }

    /// Why it failed, if it did.
    fn failure(&self) -> Option<&str> {
        (self.raw["status"]["code"] == "STATUS_CODE_ERROR").then(|| self.raw["status"]["message"].as_str().unwrap())
    }
}

/// Attributes of a span, an event or a resource; each has one kind of value.
fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let pair = |it: &Value| {
        let value = it["value"].as_object().unwrap().values().next().cloned().unwrap_or_default();
        (it["key"].as_str().unwrap().to_owned(), value)
    };
    of["attributes"].as_array().into_iter().flatten().map(pair).collect()
}

/// Bytes as the protobuf form of JSON has them, in hexadecimal.
fn hex(base64: &str) -> String {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bits: String = base64.trim_end_matches('=').bytes().map(|byte| format!("{:06b}", digit(byte))).collect();
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn requests(receiver: &Otlp) -> Vec<Value> {
    receiver.got().into_iter().filter(|request| request["signal"] == "traces").collect()
}

fn spans_of(request: &Value) -> Vec<Span> {
    let scopes = request["message"]["resource_spans"].as_array().unwrap().iter();
    let scopes = scopes.flat_map(|it| it["scope_spans"].as_array().unwrap());
    scopes.flat_map(|it| it["spans"].as_array().unwrap()).map(Span::read).collect()
}

fn spans(receiver: &Otlp) -> Vec<Span> {
    requests(receiver).iter().flat_map(spans_of).collect()
}

/// Waits until there are so many spans of a name, and gives them in the order in which they began.
fn wait_spans(receiver: &Otlp, name: &str, count: usize) -> Vec<Span> {
    let mut found = wait_until(BOUND, &format!("there are {count} spans {name}"), || {
        let found: Vec<Span> = spans(receiver).into_iter().filter(|span| span.name == name).collect();
        (found.len() >= count).then_some(found)
    });
    assert_eq!(found.len(), count, "{found:#?}");
    found.sort_by_key(|span| span.began);
    found
}

fn wait_span(receiver: &Otlp, name: &str) -> Span {
    wait_spans(receiver, name, 1).remove(0)
}

fn traces(otlp: &str) -> String {
    format!("[traces]\notlp = \"{otlp}\"\ntimeout = \"5s\"\n")
}

fn within(child: &Span, parent: &Span) {
    assert_eq!((&child.trace, &child.parent), (&parent.trace, &parent.id), "{child:#?}\n{parent:#?}");
    assert!(child.began >= parent.began && child.ended <= parent.ended, "{child:#?}\n{parent:#?}");
    assert!(child.ended >= child.began, "{child:#?}");
}

fn figure(guard: &Stage, name: &str) -> u64 {
    let text = ask(&guard.socket(), "GET", "/metrics").unwrap().text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64
}

fn told(guard: &Stage, text: &str) -> Vec<String> {
    guard.messages().into_iter().filter(|it| it.contains(text)).collect()
}

#[test]
fn a_start_a_crash_and_a_stop_by_command_are_told_with_what_led_to_them() {
    for (protocol, container) in [("http", Container::ControlGroup), ("grpc", Container::Walk)] {
        let stage = Stage::new();
        let receiver = Otlp::start(&stage.path("otlp"));
        let table = match protocol {
            "http" => format!("{}compress = \"gzip\"\n", traces(&format!("http://127.0.0.1:{}", receiver.http))),
            _ => {
                let table = traces(&format!("grpc://127.0.0.1:{}", receiver.grpc));
                format!("{table}headers = {{ x-token = \"swordfish\" }}\n")
            }
        };
        stage.write_spec(&format!("{STUBBORN}{table}"));
        let guard = stage.start(container);
        guard.wait_for("api", "runs again", |it| it.state == "running" && it.restarts == 1);
        wait_until(BOUND, "it is deaf", || guard.path("deaf").exists().then_some(()));
        let headers = [("traceparent", format!("00-{TRACE}-{PARENT}-01")), ("tracestate", "ci=42".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = ask_with(&guard.socket(), "POST", "/v1/services/api/stop?wait=true", &headers).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());

        // The guard starts.
        let boot = wait_span(&receiver, "guard.start");
        let starts = wait_spans(&receiver, "service.start api", 2);
        let hooks = wait_spans(&receiver, "hook before_start", 2);
        let spawns = wait_spans(&receiver, "spawn", 2);
        assert_eq!(boot.parent, "");
        within(&starts[0], &boot);
        assert_eq!(starts[0].text("tutela.cause"), "the guard started");

        // It crashes, and is started again.
        let restart = wait_span(&receiver, "service.restart api");
        assert!(restart.parent.is_empty() && restart.trace != boot.trace, "{restart:#?}");
        assert_eq!((restart.failure(), restart.text("error.type")), (Some("exited with code 3"), "failure"));
        assert_eq!(restart.events(), ["exited"]);
        assert_eq!(attributes(&restart.raw["events"][0])["process.exit.code"], "3");
        // Another trace, with another reading of the wall clock.
        assert!(restart.began + 5_000_000 >= starts[0].ended, "{restart:#?}");
        let backoff = wait_span(&receiver, "backoff");
        within(&backoff, &restart);
        within(&starts[1], &restart);
        assert!(backoff.ended - backoff.began >= 10_000_000, "{backoff:#?}");
        assert!(backoff.ended <= starts[1].began, "{backoff:#?}");
        for (at, start) in starts.iter().enumerate() {
            within(&hooks[at], start);
            within(&spawns[at], start);
            assert!(hooks[at].ended <= spawns[at].began);
            assert_eq!(start.attributes["tutela.run"], json!((at + 1).to_string()));
            assert_eq!(start.attributes["process.pid"], spawns[at].attributes["process.pid"]);
        }

        // It is stopped, by the trace of somebody else.
        let command = wait_span(&receiver, "POST /v1/services/{service}/stop");
        assert_eq!((&*command.trace, &*command.parent), (TRACE, PARENT));
        assert_eq!((&command.raw["kind"], &command.raw["trace_state"]), (&json!("SPAN_KIND_SERVER"), &json!("ci=42")));
        assert_eq!(command.raw["flags"], 0x301);
        assert_eq!(command.attributes["http.response.status_code"], "200");
        assert_eq!((command.text("url.path"), command.text("tutela.outcome")), ("/v1/services/api/stop", "done"));
        assert_eq!(command.text("tutela.target"), format!("{}/api", guard.name()));
        assert_eq!(command.attributes["tutela.peer.pid"], json!(std::process::id().to_string()));
        let stop = wait_span(&receiver, "service.stop api");
        let (step, kill) = (wait_span(&receiver, "step signal TERM"), wait_span(&receiver, "kill"));
        within(&stop, &command);
        within(&step, &stop);
        within(&kill, &stop);
        assert!(step.ended - step.began >= 50_000_000 && step.ended <= kill.began, "{step:#?}\n{kill:#?}");
        assert_eq!(stop.text("error.type"), "resisted");
        assert_eq!(stop.events(), ["resisted", "exited"]);
        assert_eq!((&stop.raw["trace_state"], &stop.raw["flags"]), (&json!("ci=42"), &json!(0x101)));
        assert!(stop.text("tutela.cause").starts_with("asked by "), "{stop:#?}");

        // The guard ends, which is told too.
        let stage = guard.close();
        let end = wait_span(&receiver, "guard.shutdown");
        assert_eq!((&*end.parent, end.text("tutela.asker")), ("", "signal SIGTERM"));

        // Every span once, each below one that is there.
        let all = spans(&receiver);
        let ids: BTreeSet<&str> = all.iter().map(|span| &*span.id).collect();
        assert_eq!(ids.len(), all.len());
        for span in &all {
            assert!(span.parent.is_empty() || span.parent == PARENT || ids.contains(&*span.parent), "{span:#?}");
        }
        for request in requests(&receiver) {
            assert_eq!(request["protocol"], protocol);
            let resource = attributes(&request["message"]["resource_spans"][0]["resource"]);
            assert_eq!(
                (&resource["service.name"], &resource["tutela.guard"]),
                (&json!("tutela"), &json!(stage.name()))
            );
            match protocol {
                "http" => assert_eq!(request["headers"]["content-encoding"], "gzip"),
                _ => assert_eq!(request["headers"]["x-token"], "swordfish"),
            }
        }
        // Whose work a program continues is not the guard's to say.
        assert!(!stage.read("hook-env").contains("TRACEPARENT"), "{}", stage.read("hook-env"));
    }
}

#[test]
fn a_pipeline_that_uses_the_command_line_finds_what_it_caused_in_its_own_trace() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    let spec = format!(
        "[services.db]\ncommand = [\"understudy\", \"hang\"]\n\
         [services.api]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"db\"]\n{}",
        traces(&format!("http://127.0.0.1:{}", receiver.http))
    );
    stage.write_spec(&spec);
    let guard = stage.start(Container::ControlGroup);
    guard.wait_state("api", "running");
    let run = |words: &[&str], flags: &str| {
        let mut command = guard.command();
        command.args(words).env("TRACEPARENT", format!("00-{TRACE}-{PARENT}-{flags}"));
        let ended = run_within(BOUND, command);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    let (name, db) = (guard.name(), format!("{}/db", guard.name()));
    // What is not made by them is not made here.
    run(&["restart", name], "00");
    // Both stop, and both start: because of it or for it.
    run(&["stop", &db], "01");
    run(&["start", &format!("{name}/api")], "01");
    guard.write_spec(&spec.replace("needs", "env = { A = \"1\" }\nneeds"));
    run(&["reload", name], "01");
    let reload = wait_span(&receiver, "POST /v1/reload");
    let stop = wait_span(&receiver, "POST /v1/services/{service}/stop");
    let start = wait_span(&receiver, "POST /v1/services/{service}/start");
    for command in [&stop, &start, &reload] {
        assert_eq!((&*command.trace, &*command.parent), (TRACE, PARENT));
    }
    let children = |name: &str, count: usize| -> Vec<String> {
        let found = wait_spans(&receiver, name, count);
        found.into_iter().filter(|span| span.trace == TRACE).map(|span| span.parent).collect()
    };
    assert_eq!(children("service.stop db", 1), std::slice::from_ref(&stop.id));
    assert_eq!(children("service.stop api", 2), [stop.id, reload.id.clone()]);
    // The first of each is of the guard's own start.
    assert_eq!(children("service.start db", 2), std::slice::from_ref(&start.id));
    assert_eq!(children("service.start api", 3), [start.id, reload.id]);
    // A trace context that is none begins a trace of its own, and a refused command is told as such.
    let headers = [("traceparent", "00-nonsense-01")];
    let answer = ask_with(&guard.socket(), "POST", "/v1/services/nobody/stop", &headers).unwrap();
    assert_eq!(answer.status, 404);
    let refused = wait_until(BOUND, "the refusal is told", || {
        spans(&receiver).into_iter().find(|span| span.attributes.get("tutela.outcome") == Some(&json!("refused")))
    });
    assert!(refused.trace != TRACE && refused.parent.is_empty(), "{refused:#?}");
    assert_eq!(refused.attributes["http.response.status_code"], "404");
    assert_eq!(spans(&receiver).iter().filter(|span| span.name.ends_with("/restart")).count(), 0);
}

#[test]
fn nothing_is_lost_while_a_collector_refuses_for_a_while() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    receiver.behave(&json!({ "refuse": 3, "status": 503, "retry_after": 1 }));
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\ninstances = 3\n{}",
        traces(&format!("http://127.0.0.1:{}", receiver.http))
    ));
    let guard = stage.start(Container::ControlGroup);
    guard.wait_state("a:2", "running");
    for _ in 0..4 {
        guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
    }
    assert_eq!(wait_spans(&receiver, "service.start a", 15).len(), 15);
    assert_eq!(wait_spans(&receiver, "service.stop a", 12).len(), 12);
    assert_eq!(wait_spans(&receiver, "POST /v1/services/{service}/restart", 4).len(), 4);
    assert_eq!(figure(&guard, "tutela_traces_pushes_failed_total"), 3);
    assert_eq!(figure(&guard, "tutela_traces_spans_dropped_total"), 0);
    wait_until(BOUND, "it is told", || (told(&guard, "spans arrive at").len() == 1).then_some(()));
    let away = told(&guard, "spans do not arrive at");
    assert!(away.len() == 1 && away[0].contains("503"), "{away:#?}");
    let sent = wait_until(BOUND, "every span is settled", || {
        (figure(&guard, "tutela_traces_spans_pending") == 0).then(|| figure(&guard, "tutela_traces_spans_sent_total"))
    });
    assert_eq!(sent, spans(&receiver).len() as u64);

    // One that wants smaller requests gets them, and one whose keeper mends a right gets what it refused before.
    for how in [json!({ "refuse": 2, "status": 413 }), json!({ "refuse": 1, "status": 401 })] {
        let before = figure(&guard, "tutela_traces_spans_sent_total");
        receiver.behave(&how);
        guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
        // A command, and of each instance a stop with its step and a start with its spawn.
        wait_until(BOUND, &format!("everything arrives after {how}"), || {
            (figure(&guard, "tutela_traces_spans_sent_total") == before + 13).then_some(())
        });
    }
    assert_eq!(figure(&guard, "tutela_traces_spans_dropped_total"), 0);
    assert_eq!(figure(&guard, "tutela_traces_spans_rejected_total"), 0);
    let all = spans(&receiver);
    assert_eq!(all.iter().map(|span| &span.id).collect::<BTreeSet<_>>().len(), all.len());

    // What a collector got and did not take is counted, and not sent again.
    receiver.behave(&json!({ "reject": 1, "text": "too old" }));
    guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
    wait_until(BOUND, "it is counted", || (figure(&guard, "tutela_traces_spans_rejected_total") > 0).then_some(()));
    wait_until(BOUND, "and told", || (told(&guard, "did not take 1 spans: too old").len() == 1).then_some(()));
}

#[test]
fn what_a_collector_misses_for_too_long_is_dropped_and_counted() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    let (http, grpc) = (receiver.http, receiver.grpc);
    drop(receiver);
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"true\"]\ninstances = 40\nrestart = {{ delay = \"0s\", burst = 0 }}\n{}",
        traces(&format!("http://127.0.0.1:{http}"))
    ));
    let guard = stage.start(Container::ControlGroup);
    let dropped = || figure(&guard, "tutela_traces_spans_dropped_total");
    wait_until(LONG, "there is no more room", || (dropped() > 0).then_some(()));
    let pending = figure(&guard, "tutela_traces_spans_pending");
    assert!((8_000..=8_192).contains(&pending), "{pending}");
    guard.cli_ok(&["stop", guard.name()]);
    let receiver = Otlp::start_at(&guard.path("otlp-again"), http, grpc);
    let back = wait_until(LONG, "spans arrive again", || told(&guard, "spans arrive at").pop());
    assert!(back.contains(" were dropped meanwhile"), "{back}");
    wait_until(LONG, "every span is settled", || (figure(&guard, "tutela_traces_spans_pending") == 0).then_some(()));
    let sent = figure(&guard, "tutela_traces_spans_sent_total");
    assert_eq!(spans(&receiver).len() as u64, sent);
    assert!(sent >= pending, "{sent} of {pending}");
    // The oldest are those that were kept, and no request was larger than it may be.
    assert_eq!(wait_span(&receiver, "guard.start").parent, "");
    assert!(requests(&receiver).iter().all(|request| spans_of(request).len() <= 512));
}

#[test]
fn traces_begin_and_end_with_a_reload_and_an_end_without_a_collector_is_no_longer_one() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    let services = "[services.a]\ncommand = [\"understudy\", \"hang\"]\n";
    let with = format!("{services}{}", traces(&format!("http://127.0.0.1:{}", receiver.http)));
    stage.write_spec(services);
    let mut guard = stage.start(Container::ControlGroup);
    guard.wait_state("a", "running");
    assert!(!ask(&guard.socket(), "GET", "/metrics").unwrap().text().contains("tutela_traces"));
    let reload = |spec: &str| {
        guard.write_spec(spec);
        guard.cli_ok(&["reload", guard.name()]);
    };
    guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
    reload(&with);
    guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
    assert_eq!(wait_span(&receiver, "service.stop a").text("tutela.service"), "a");
    reload(services);
    guard.cli_ok(&["start", &format!("{}/a", guard.name())]);
    reload(&with);
    guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
    wait_spans(&receiver, "service.stop a", 2);
    kill(guard.pid(), "HUP");
    let reloaded = wait_span(&receiver, "guard.reload");
    assert_eq!((reloaded.text("tutela.command"), reloaded.text("tutela.outcome")), ("reload", "done"));
    guard.write_spec("nonsense");
    kill(guard.pid(), "HUP");
    let refused = wait_spans(&receiver, "guard.reload", 2).remove(1);
    assert!(refused.failure().unwrap().contains("the spec is wrong"), "{refused:#?}");
    assert!(spans(&receiver).iter().all(|span| span.name != "service.start a"), "{:#?}", spans(&receiver));
    drop(receiver);
    guard.cli_ok(&["start", &format!("{}/a", guard.name())]);
    assert_eq!(guard.end(), 0);
}
