//! The control socket: who may use it, what it answers, and that nobody who misuses it hurts anybody.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tutela_it::http::ask;
use tutela_it::processes::{memory, set_mode, state};
use tutela_it::{BOUND, Container, Guard, Stage, run_within, wait_until};

/// How soon a status has to be there, whatever else goes on.
const STATUS_BOUND: Duration = Duration::from_millis(50);

const SLEEPER: &str = "[services.a]\ncommand = [\"understudy\", \"hang\"]\n";

/// The quickest of some statuses: what the guard makes of it, without what the computer's other work does.
fn status_takes(stage: &Stage) -> Duration {
    let once = || {
        let answer = ask(&stage.socket(), "GET", "/v1/status").unwrap();
        assert_eq!(answer.status, 200);
        answer.took
    };
    (0..20).map(|_| once()).min().unwrap()
}

/// A request of the test's own making; the status and everything behind the head.
fn raw(socket: &Path, request: &[u8]) -> (u16, String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    // A guard that refuses a body has stopped reading it.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

fn post(socket: &Path, path: &str, body: &[u8]) -> (u16, Value) {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let (status, _, body) = raw(socket, &[head.as_bytes(), body].concat());
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[test]
fn another_account_is_refused_and_nothing_happens() {
    let guard = Guard::start(SLEEPER);
    let before = guard.wait_state("a", "running");
    for folder in [guard.home(), guard.home().join("run")] {
        set_mode(&folder, 0o755);
    }
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        guard.dress(&mut command);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        // The program may lie where nobody else can go, so it is handed over open.
        let program = std::fs::File::open(tutela_it::program::tutela()).unwrap();
        command.arg("/proc/self/fd/0").args(words).stdin(Stdio::from(program));
        run_within(BOUND, command)
    };
    let (whole, one) = (guard.name().to_owned(), format!("{}/a", guard.name()));
    for words in [["status", &whole], ["stop", &one], ["restart", &one], ["reload", &whole], ["logs", &one]] {
        let ended = as_nobody(&words);
        assert_eq!(ended.code, 5, "{words:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("may not control"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
    assert_eq!(guard.instance("a").pid, before.pid);
    assert!(guard.events_of("commanded").is_empty());
}

#[test]
fn half_a_request_and_a_thousand_idle_connections_hurt_nobody() {
    let guard = Guard::start(SLEEPER);
    guard.wait_state("a", "running");
    let before = memory(guard.pid());
    let mut held = Vec::new();
    for number in 0..1000 {
        let mut stream = UnixStream::connect(guard.socket()).unwrap();
        if number % 2 == 0 {
            stream.write_all(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
        } else if number % 3 == 0 {
            stream.write_all(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{\"reason\":").unwrap();
        }
        held.push(stream);
    }
    let took = status_takes(&guard);
    let grown = memory(guard.pid()).saturating_sub(before);
    println!("status beside 1,000 idle connections: {took:?}; memory grew by {} KiB", grown / 1024);
    assert!(took < STATUS_BOUND, "{took:?}");
    assert!(grown < 48 << 20, "memory grew by {grown} bytes");
    assert_eq!(guard.instance("a").state, "running");
    assert!(held.iter().all(|stream| stream.peer_addr().is_ok()));
    drop(held);
    wait_until(BOUND, "the connections are gone", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", guard.pid())).unwrap().count();
        (open < 100).then_some(())
    });
}

#[test]
fn another_account_cannot_use_up_the_guards_connections() {
    const HOLD: &str = "import resource, socket, sys\n\
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))\n\
        held = []\n\
        for _ in range(min(most, 4096) - 64):\n    \
            held.append(socket.socket(socket.AF_UNIX)); held[-1].connect(sys.argv[1])\n\
        open(sys.argv[2], 'w').write('held\\n')\n\
        sys.stdin.read()\n";
    let guard = Guard::start(SLEEPER);
    let sign = guard.path("sign");
    for folder in [guard.home(), guard.home().join("run")] {
        set_mode(&folder, 0o755);
    }
    std::fs::write(&sign, "").unwrap();
    set_mode(&sign, 0o666);
    let mut stranger = Command::new("setpriv");
    // The system's own Python: another one may lie where nobody else can go.
    stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "/usr/bin/python3", "-c", HOLD]);
    let mut stranger = stranger.arg(guard.socket()).arg(&sign).stdin(Stdio::piped()).spawn().unwrap();
    wait_until(BOUND, "the stranger holds what it can", || (guard.read("sign") == "held\n").then_some(()));
    assert!(status_takes(&guard) < STATUS_BOUND);
    let open = std::fs::read_dir(format!("/proc/{}/fd", guard.pid())).unwrap().count();
    assert!(open < 100, "the guard has {open} files open for a stranger");
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
}

#[test]
fn a_second_guard_of_a_name_is_refused_with_the_first_ones_pid() {
    let port = tutela_it::processes::free_port();
    // The first one's service uses the port that the second one's spec needs: the name is told all the same.
    let guard = Guard::start(&format!(
        "[services.a]\ncommand = [\"understudy\", \"tcp={port}\", \"hang\"]\nready.tcp = \"127.0.0.1:{port}\"\n"
    ));
    let before = guard.wait_state("a", "running");
    let second = guard.cli(["run", guard.spec_path().to_str().unwrap()]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&format!("process {}", guard.pid())), "{}", second.stderr);
    assert!(second.stderr.contains(guard.name()), "{}", second.stderr);
    assert_eq!(guard.instance("a").pid, before.pid);
    // And a spec whose guard runs is right, although its ports are in use.
    guard.cli_ok(&["check", guard.spec_path().to_str().unwrap()]);
}

#[test]
fn exit_codes_tell_the_unknown_from_the_stopped() {
    let guard =
        Guard::start(&format!("{SLEEPER}[services.b]\ncommand = [\"understudy\", \"hang\"]\nstart = \"manual\"\n"));
    guard.wait_state("a", "running");
    let name = guard.name().to_owned();
    let code = |words: &[&str]| guard.cli(words.iter().copied()).code;
    assert_eq!(code(&["status", &name]), 0);
    assert_eq!(code(&["status", &format!("{name}/a")]), 0);
    assert_eq!(code(&["status", &format!("{name}/b")]), 3);
    assert_eq!(code(&["status", &format!("{name}/nobody")]), 4);
    assert_eq!(code(&["status", &format!("{name}/a:7")]), 4);
    assert_eq!(code(&["status", "no-such-guard"]), 4);
    assert_eq!(code(&["stop", "no-such-guard"]), 4);
    assert_eq!(code(&["logs", "no-such-guard"]), 4);
    assert_eq!(code(&["events", "no-such-guard"]), 4);
    for verb in ["start", "stop", "restart", "pause", "resume", "logs"] {
        assert_eq!(code(&[verb, &format!("{name}/nobody")]), 4, "{verb}");
    }
    assert_eq!(code(&["stop", &format!("{name}/a")]), 0);
    assert_eq!(code(&["status", &format!("{name}/a")]), 3);
    assert_eq!(code(&["status", &name]), 3);
    let table = guard.cli(["status"]);
    assert_eq!(table.code, 0);
    assert!(table.stdout.contains(&name), "{}", table.stdout);
    let json: Value = serde_json::from_str(&guard.cli(["status", "--json"]).stdout).unwrap();
    assert_eq!(json["guards"][0]["name"], name);
}

#[test]
fn a_request_that_is_wrong_gets_the_error_that_says_so() {
    let guard = Guard::start(SLEEPER);
    let before = guard.wait_state("a", "running");
    let socket = guard.socket();
    let get = |path: &str| {
        let answer = ask(&socket, "GET", path).unwrap();
        (answer.status, answer.json())
    };
    let code = |body: &Value| body["error"]["code"].as_str().unwrap_or_default().to_owned();
    for (path, status, word) in [
        ("/v1/nothing", 404, "not_found"),
        ("/", 404, "not_found"),
        ("/v1/services/nobody", 404, "no_such_service"),
        ("/v1/services/a:9", 404, "no_such_service"),
        ("/v1/services/a:x", 404, "no_such_service"),
        ("/v1/logs/nobody", 404, "no_such_service"),
        ("/v1/stop", 405, "method_not_allowed"),
        ("/v1/status?nope=1", 400, "bad_request"),
        ("/v1/status?usage=perhaps", 400, "bad_request"),
        ("/v1/logs/a?since=soon", 400, "bad_request"),
        ("/v1/logs/a?n=-1", 400, "bad_request"),
        ("/v1/events?since=soon", 400, "bad_request"),
    ] {
        let (got, body) = get(path);
        assert_eq!((got, code(&body).as_str()), (status, word), "{path}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|it| it.starts_with("refused")), "{body}");
    }
    assert_eq!(ask(&socket, "DELETE", "/v1/status").unwrap().status, 405);
    assert_eq!(post(&socket, "/v1/status", b"").0, 405);
    for (body, status, word) in [
        (b"{\"reason\": 3}".to_vec(), 400, "bad_request"),
        (b"{\"unknown\": 3}".to_vec(), 400, "bad_request"),
        (b"not json".to_vec(), 400, "bad_request"),
        (vec![b' '; 100 * 1024], 413, "too_large"),
    ] {
        let (got, answer) = post(&socket, "/v1/stop", &body);
        assert_eq!((got, code(&answer).as_str()), (status, word), "{answer}");
    }
    assert_eq!(post(&socket, "/v1/services/a/fly", b"").0, 404);
    // What is no HTTP at all ends the connection and nothing else.
    let (status, ..) = raw(&socket, b"\x00\x01\x02 nonsense\r\n\r\n");
    assert!(matches!(status, 0 | 400), "{status}");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024));
    assert!(matches!(raw(&socket, long.as_bytes()).0, 0 | 414 | 431), "a head of 64 KiB");
    assert_eq!(guard.instance("a").pid, before.pid);
}

/// Follows a reference inside the document.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => schema,
    }
}

/// What of `value` is not as `schema` says: needed keys that are missing, types that are others. Empty: fits.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let schema = resolved(document, schema);
    for any in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[any].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                misfits(document, choice, value, at, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                out.push(format!("{at}: {value} is none of {any}"));
            }
        }
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let number = kind == "integer" && allowed.contains(&"number");
    if !allowed.is_empty() && !allowed.contains(&kind) && !number {
        out.push(format!("{at}: {value} is {kind}, not {allowed:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        out.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let Some(object) = value.as_object() {
        for needed in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(needed) {
                out.push(format!("{at} has no {needed}"));
            }
        }
        for (key, value) in object {
            if let Some(inner) = schema["properties"].get(key) {
                misfits(document, inner, value, &format!("{at}.{key}"), out);
            } else if schema["properties"].is_object() && schema["additionalProperties"].is_null() {
                out.push(format!("{at}.{key} is not in the description"));
            }
        }
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        misfits(document, &schema["items"], item, &format!("{at}[{number}]"), out);
    }
}

#[test]
fn every_get_route_answers_as_its_description_says() {
    let guard = Guard::start(
        "description = \"all of it\"\n[services.a]\ncommand = [\"understudy\", \"say=hello\", \"hang\"]\n\
         ready.exec = [\"true\"]\nlive.exec = [\"true\"]\n[[services.a.dependencies]]\nname = \"gone\"\ntcp = \"127.0.0.1:1\"\nevery = \"100ms\"\nfailures = 1\n\
         [services.crash]\ncommand = [\"understudy\", \"exit=3\"]\nrestart = { delay = \"1h\", max_delay = \"1h\" }\n",
    );
    guard.wait_state("crash", "backoff");
    guard.wait_for("a", "is degraded", |a| a.health == "degraded");
    wait_until(BOUND, "its line is in the log", || (!guard.log("a-0.log").is_empty()).then_some(()));
    let document = ask(&guard.socket(), "GET", "/v1/openapi.json").unwrap().json();
    let mut asked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        let answer = ask(&guard.socket(), "GET", &path.replace("{service}", "a")).unwrap();
        let responses = &get["responses"][answer.status.to_string()];
        let head = answer.head.to_ascii_lowercase();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        let content = responses["content"].as_object().unwrap_or_else(|| panic!("{path} -> {}", answer.status));
        let described = content.iter().find(|(name, _)| kind.starts_with(name.split(';').next().unwrap()));
        let (_, described) = described.unwrap_or_else(|| panic!("{path} answers with {kind}"));
        let values: Vec<Value> = match kind {
            "application/json" => vec![answer.json()],
            "application/x-ndjson" => answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            _ => vec![],
        };
        let mut found = Vec::new();
        if kind.contains("json") && described["schema"].is_object() {
            assert!(!values.is_empty(), "{path} answers with nothing");
            values.iter().for_each(|value| misfits(&document, &described["schema"], value, path, &mut found));
        }
        assert!(found.is_empty(), "{found:#?}");
        let head = raw(
            &guard.socket(),
            format!("HEAD {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path.replace("{service}", "a"))
                .as_bytes(),
        );
        assert_eq!((head.0, head.2.as_str()), (answer.status, ""), "HEAD {path}");
        asked.insert(path.clone());
    }
    for path in [
        "/v1/status",
        "/v1/services/{service}",
        "/v1/logs/{service}",
        "/v1/events",
        "/v1/info",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        assert!(asked.contains(path), "{path} is not described");
    }
}

/// The words of a check, from good to bad.
fn rank(word: &str) -> usize {
    ["healthy", "warning", "unhealthy"].iter().position(|it| *it == word).unwrap()
}

#[test]
fn health_is_told_by_status_and_by_words() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\nready = { exec = [\"test\", \"-e\", \"good\"], every = \"50ms\", failures = 1 }\n",
    );
    let get = |path: &str| {
        let answer = ask(&guard.socket(), "GET", path).unwrap();
        (answer.status, answer.json())
    };
    // How full this computer's disks and memory are is not this test's: without them, the worst check is the answer.
    let health = || {
        let (status, body) = get("/health");
        let checks = body["checks"].as_array().unwrap();
        let worst = |checks: &mut dyn Iterator<Item = &Value>| {
            checks.map(|check| rank(check["status"].as_str().unwrap())).max().unwrap()
        };
        let told = worst(&mut checks.iter());
        assert_eq!((rank(body["status"].as_str().unwrap()), status == 503), (told, told == 2), "{body}");
        let ours = worst(&mut checks.iter().filter(|check| check["used_percent"].is_null()));
        (["healthy", "warning", "unhealthy"][ours], body)
    };
    // Nothing is known of a service that starts: it is a warning, and not ready.
    guard.wait_state("a", "starting");
    let (word, body) = health();
    assert_eq!(word, "warning", "{body}");
    assert_eq!(get("/readyz").0, 503);
    assert_eq!(get("/livez").0, 200);
    guard.write("good", "");
    guard.wait_state("a", "running");
    let (word, body) = health();
    assert_eq!(word, "healthy", "{body}");
    assert_eq!(get("/readyz").0, 200);
    let names: Vec<_> =
        body["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["guard", "ledger", "audit", "logs", "disk_state", "disk_logs", "memory", "service:a"]);
    assert!(body["checks"][0]["latency_ms"].is_number() && body["checks"][4]["used_percent"].is_number(), "{body}");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    std::fs::remove_file(guard.path("good")).unwrap();
    guard.wait_for("a", "is out of service", |a| a.health == "out_of_service");
    let (status, body) = get("/readyz");
    assert_eq!((status, &body["status"]), (503, &json!("unhealthy")), "{body}");
    assert_eq!(guard.cli(["stop", &format!("{}/a", guard.name())]).code, 0);
    // What somebody stopped is no trouble.
    assert_eq!(get("/readyz").0, 200);
}

#[test]
fn a_service_that_is_down_makes_the_guard_unhealthy_and_not_dead() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"exit=3\"]\nrestart = { delay = \"1h\", max_delay = \"1h\" }\n",
    );
    guard.wait_state("a", "backoff");
    let health = ask(&guard.socket(), "GET", "/health").unwrap();
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unhealthy")));
    assert_eq!(ask(&guard.socket(), "GET", "/readyz").unwrap().status, 503);
    assert_eq!(ask(&guard.socket(), "GET", "/livez").unwrap().status, 200);
}

#[test]
fn the_metrics_are_what_prometheus_wants() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\nready.exec = [\"true\"]\ninstances = 2\n\
         [services.b]\ncommand = [\"understudy\", \"exit=0\"]\nrestart.when = \"on-failure\"\n",
    );
    guard.wait_state("a:1", "running");
    guard.wait_state("b", "done");
    let plain = ask(&guard.socket(), "GET", "/metrics").unwrap();
    guard.write("metrics", &plain.text());
    let mut promtool = Command::new("promtool");
    guard.dress(&mut promtool);
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(guard.path("metrics")).unwrap());
    let checked = run_within(BOUND, promtool);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let text = plain.text();
    let name = guard.name();
    for line in [
        format!("tutela_service_state{{guard=\"{name}\",service=\"a\",instance=\"1\",state=\"running\"}} 1"),
        format!("tutela_service_state{{guard=\"{name}\",service=\"b\",instance=\"0\",state=\"done\"}} 1"),
        format!("tutela_service_restarts_total{{guard=\"{name}\",service=\"a\",instance=\"0\"}} 0"),
        format!("tutela_probe_passes{{guard=\"{name}\",service=\"a\",instance=\"0\",probe=\"ready\"}} 1"),
    ] {
        assert!(text.lines().any(|it| it.starts_with(&line)), "{line} is not in {text}");
    }
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain\r\nConnection: close\r\n\r\n";
    let (status, head, body) = raw(&guard.socket(), request);
    assert_eq!(status, 200);
    assert!(head.contains("application/openmetrics-text") && body.contains("# EOF"), "{head}");
}

#[test]
fn events_follow_as_they_happen_and_go_on_where_a_client_left() {
    let guard = Guard::start(SLEEPER);
    guard.wait_state("a", "running");
    let follow = |last: Option<u64>| {
        let mut stream = UnixStream::connect(guard.socket()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let resume = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        write!(stream, "GET /v1/events?follow=true&n=1000 HTTP/1.1\r\nHost: x\r\n{resume}\r\n").unwrap();
        BufReader::new(stream)
    };
    let until = |reader: &mut BufReader<UnixStream>, kind: &str| {
        let mut seen = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended before {kind}: {seen:?}");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data).unwrap();
            let found = event["kind"] == kind;
            seen.push(event);
            if found {
                return seen;
            }
        }
    };
    let mut first = follow(None);
    let past = until(&mut first, "ready");
    assert_eq!(past[0]["kind"], "guard_started");
    assert_eq!(guard.cli(["stop", &format!("{}/a", guard.name()), "--reason", "maintenance"]).code, 0);
    let stopped = until(&mut first, "commanded");
    let asked = stopped.last().unwrap();
    assert!(asked["message"].as_str().unwrap().contains("maintenance"), "{asked}");
    assert_eq!(asked["data"]["command"], "stop a");
    let numbers: Vec<u64> = past.iter().chain(&stopped).map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    let from = past.last().unwrap()["seq"].as_u64().unwrap();
    let again = until(&mut follow(Some(from)), "commanded");
    assert_eq!(again, stopped, "what a client missed is not what another saw");
    let cli = guard.cli(["events", guard.name(), "--json", "-n", "2"]);
    assert_eq!(cli.stdout.lines().count(), 2);
}

#[test]
fn pause_holds_every_process_still_and_resume_lets_it_go_on() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.a]\ncommand = [\"understudy\", \"stray=grandchild\", \"fork=2\", \"hang\"]\n",
        );
        let pid = guard.wait_state("a", "running").pid.unwrap();
        let grandchild = guard.written_pid("grandchild");
        let target = format!("{}/a", guard.name());
        wait_until(BOUND, "the tree is complete", || (guard.living().len() == 4).then_some(()));
        assert_eq!(guard.cli(["pause", &target]).code, 0);
        // A control group freezes without a letter of its own in the process table.
        let still = |pid: u32| match container {
            Container::Walk => state(pid) == Some('T'),
            Container::ControlGroup => frozen(pid),
        };
        wait_until(BOUND, "all stand still", || [pid, grandchild].into_iter().all(still).then_some(()));
        assert_eq!(guard.instance("a").health, "out_of_service");
        assert_eq!(guard.cli(["resume", &target]).code, 0);
        wait_until(BOUND, "all go on", || (![pid, grandchild].into_iter().any(still)).then_some(()));
        let after = guard.instance("a");
        assert_eq!((after.pid, after.health.as_str()), (Some(pid), "up"));
        assert_eq!(guard.cli(["pause", &target]).code, 0);
        // What stands still is stopped all the same.
        assert_eq!(guard.cli(["stop", &target]).code, 0);
    }
}

/// Whether the control group that a process is in stands still.
fn frozen(pid: u32) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(group) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return false };
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let events = roots.iter().find_map(|root| std::fs::read_to_string(format!("{root}{group}/cgroup.events")).ok());
    events.is_some_and(|text| text.lines().any(|line| line == "frozen 1")) || state(pid) == Some('T')
}

#[test]
fn start_stop_and_restart_go_along_the_needs() {
    let guard = Guard::start(
        "[services.db]\ncommand = [\"understudy\", \"hang\"]\n\
         [services.app]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"db\"]\n\
         [services.web]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"app\"]\n\
         [services.other]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    guard.wait_state("web", "running");
    let other = guard.wait_state("other", "running").pid;
    let order = |kind: &str, after: u64| -> Vec<String> {
        let events = guard.events_of(kind).into_iter().filter(|event| event["seq"].as_u64() > Some(after));
        events.map(|event| event["service"].as_str().unwrap().to_owned()).filter(|name| name != "other").collect()
    };
    let newest = || guard.events().last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(order("started", 0), ["db", "app", "web"]);
    let mark = newest();
    let stopped = guard.cli(["stop", &format!("{}/db", guard.name()), "--json"]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    let reply: Value = serde_json::from_str(&stopped.stdout).unwrap();
    assert_eq!(reply["services"].as_array().unwrap().len(), 3, "{reply}");
    assert_eq!(order("exited", mark), ["web", "app", "db"]);
    let mark = newest();
    assert_eq!(guard.cli(["start", &format!("{}/web", guard.name())]).code, 0);
    assert_eq!(order("started", mark), ["db", "app", "web"]);
    let again = guard.cli(["start", &format!("{}/web", guard.name())]);
    assert!(again.code == 0 && again.stderr.contains("already"), "{}", again.stderr);
    let before = guard.instance("app").pid;
    assert_eq!(guard.cli(["restart", &format!("{}/app", guard.name())]).code, 0);
    assert_ne!(guard.instance("app").pid, before);
    assert_eq!(guard.instance("app").state, "running");
    guard.wait_state("web", "running");
    assert_eq!(guard.instance("other").pid, other);
}

#[test]
fn a_guard_that_was_shut_down_can_be_followed_by_the_next_at_once() {
    let mut stage = Stage::new();
    stage.write_spec(SLEEPER);
    for _ in 0..5 {
        let mut guard = stage.start(Container::ControlGroup);
        guard.wait_state("a", "running");
        let ended = guard.cli(["stop", guard.name(), "--shutdown"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        // Not waited for: the next one is started while the first one's process may still be there.
        assert_eq!(guard.wait(), 0);
        stage = guard.close();
    }
}

#[test]
fn words_that_print_texts_print_them() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = stage.cli_ok(&["completions", shell]);
        assert!(script.contains("tutela") && script.contains("restart") && script.len() > 1000, "{shell}");
    }
    let script = stage.path("completions.bash");
    std::fs::write(&script, stage.cli_ok(&["completions", "bash"])).unwrap();
    let mut bash = Command::new("bash");
    bash.arg("-n").arg(script);
    assert_eq!(run_within(BOUND, bash).code, 0);
    let schema: Value = serde_json::from_str(&stage.cli_ok(&["schema"])).unwrap();
    assert_eq!(schema["title"], "Tutela spec");
    assert!(schema["properties"]["services"].is_object());
    for words in [&["--help"][..], &["--version"], &["run", "--help"]] {
        assert!(!stage.cli_ok(words).is_empty(), "{words:?}");
    }
}

#[test]
fn doctor_tells_what_holds_here_and_what_a_spec_would_meet() {
    let stage = Stage::new();
    let text = stage.cli_ok(&["doctor"]);
    assert!(text.contains("HOLDS") && text.contains(stage.home().to_str().unwrap()), "{text}");
    let json: Value = serde_json::from_str(&stage.cli_ok(&["doctor", "--json"])).unwrap();
    assert!(json["capabilities"].as_array().is_some_and(|all| all.iter().all(|it| it["holds"].is_boolean())));
    stage.write_spec(SLEEPER);
    let spec = stage.spec_path();
    assert_eq!(stage.cli(["doctor".as_ref(), spec.as_os_str()]).code, 0);
    stage.write_spec("[services.a]\ncommand = [\"no-such-program-at-all\"]\n");
    let ended = stage.cli(["doctor".as_ref(), spec.as_os_str()]);
    assert!(ended.code == 2 && ended.stderr.contains("program-missing"), "{}", ended.stderr);
}
