//! The guard's figures: what is shown, what is sent, and that both are what is documented.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;
use tutela_it::http::ask;
use tutela_it::receiver::{Otlp, script};
use tutela_it::{BOUND, Container, Ended, Guard, Stage, run_within, wait_until};

/// A sample's name and labels.
type Series = (String, BTreeMap<String, String>);

/// Services of every kind that has figures of its own: one that crashes twice and stays, one that is done, probes that
/// pass, fail and are refused, output on both streams.
const SERVICES: &str = r#"
[services.api]
command = ["understudy", "once=one-${instance}", "exit=3", "once=two-${instance}", "raise=KILL", "say=hello", "cry=world", "hang"]
instances = 2
restart = { delay = "10ms", burst = 0 }
ready = { exec = ["true"], every = "50ms" }
dependencies = [
  { name = "nobody", tcp = "127.0.0.1:1", every = "50ms" },
  { name = "nothing", exec = ["false"], every = "50ms" },
]
[services.job]
command = ["understudy", "exit=0"]
restart.when = "on-failure"
[services.quiet]
command = ["understudy", "hang"]
"#;

fn metrics_table(otlp: &str) -> String {
    format!("{SERVICES}\n[metrics]\notlp = \"{otlp}\"\nevery = \"1s\"\ntimeout = \"5s\"\n")
}

fn wait_settled(guard: &Stage) {
    for id in ["api:0", "api:1", "quiet"] {
        guard.wait_state(id, "running");
    }
    guard.wait_state("job", "done");
    guard.wait_for("api:0", "has been asked about", |it| {
        !it.probe("nobody")["last_error"].is_null() && !it.probe("nothing")["last_error"].is_null()
    });
}

/// Waits until the two lines of `api` are in its log.
fn wait_output(guard: &Stage) {
    wait_until(BOUND, "the output is in the log", || {
        let log = String::from_utf8_lossy(&guard.log("api-0.log")).into_owned();
        (log.contains("hello") && log.contains("world")).then_some(())
    });
}

fn plain(guard: &Stage) -> String {
    let answer = ask(&guard.socket(), "GET", "/metrics").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// What the reference parser reads in the OpenMetrics text.
fn open_metrics(guard: &Stage) -> Vec<Value> {
    let mut command = Command::new("curl");
    guard.dress(&mut command);
    command.args(["--silent", "--fail", "--header", "Accept: application/openmetrics-text; version=1.0.0"]);
    command.arg("--unix-socket").arg(guard.socket()).arg("http://localhost/metrics");
    let got = run_within(BOUND, command);
    assert_eq!(got.code, 0, "{}", got.stderr);
    serde_json::from_str(&script("openmetrics.py", &got.stdout)).unwrap()
}

fn promtool(guard: &Stage, text: &str) -> Ended {
    guard.write("figures.prom", text);
    let mut promtool = Command::new("promtool");
    guard.dress(&mut promtool);
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(guard.path("figures.prom")).unwrap());
    run_within(BOUND, promtool)
}

fn samples(families: &[Value]) -> BTreeMap<Series, f64> {
    let of_family = |family: &Value| family["samples"].as_array().unwrap().clone();
    let sample = |sample: Value| {
        let labels = serde_json::from_value(sample["labels"].clone()).unwrap();
        ((sample["name"].as_str().unwrap().to_owned(), labels), sample["value"].as_f64().unwrap())
    };
    families.iter().flat_map(of_family).map(sample).collect()
}

/// Names as the families of the reference parser have them, with the `_total` of counters.
fn documented_name(family: &Value) -> String {
    let name = family["name"].as_str().unwrap();
    if family["type"] == "counter" { format!("{name}_total") } else { name.to_owned() }
}

fn value_of(samples: &BTreeMap<Series, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has =
        |of: &BTreeMap<String, String>| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|it| it == value));
    let found: Vec<_> = samples.iter().filter(|((its, of), _)| its == name && has(of)).collect();
    let [(_, value)] = found.as_slice() else { panic!("{name} {labels:?}: {found:?}") };
    **value
}

/// The names in the first column of the tables of the reference.
fn documented() -> BTreeSet<String> {
    let text = include_str!("../../../docs/reference/metrics.md");
    let name = |line: &str| Some(line.strip_prefix("| `tutela_")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(name).map(|rest| format!("tutela_{rest}")).collect()
}

#[test]
fn every_figure_is_documented_and_every_documented_figure_is_there() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    let otlp = format!("http://127.0.0.1:{}", receiver.http);
    // With every part that has figures only where a spec asks for it.
    let door = "[api]\nlisten = \"127.0.0.1:0\"\nwithout_tls = true\n";
    let token = format!("[[api.tokens]]\nname = \"t\"\nrole = \"viewer\"\nhash = \"sha256:{}\"\n", "0".repeat(64));
    let traces = format!("[traces]\notlp = \"{otlp}\"\n");
    stage.write_spec(&format!("{}{traces}{door}{token}", metrics_table(&otlp)));
    let guard = stage.start(Container::ControlGroup);
    wait_settled(&guard);
    wait_output(&guard);
    receiver.wait("figures are sent", |request| request["signal"] == "metrics");

    let checked = promtool(&guard, &plain(&guard));
    assert_eq!((checked.code, &*checked.stdout, &*checked.stderr), (0, "", ""));

    let families = open_metrics(&guard);
    let shown: BTreeSet<String> = families.iter().map(documented_name).collect();
    let documented = documented();
    let unknown: Vec<_> = shown.difference(&documented).collect();
    assert!(unknown.is_empty(), "not in docs/reference/metrics.md: {unknown:?}");
    // This guard has no sinks for its logs.
    let missing: Vec<_> = documented.difference(&shown).filter(|name| !name.starts_with("tutela_sink")).collect();
    assert!(missing.is_empty(), "in docs/reference/metrics.md and nowhere else: {missing:?}");
    for family in &families {
        let (name, unit) = (family["name"].as_str().unwrap(), family["unit"].as_str().unwrap());
        assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name} {unit}");
    }

    let samples = samples(&families);
    let of = |name: &str, labels: &[(&str, &str)]| value_of(&samples, name, labels);
    let api = [("service", "api"), ("instance", "0")];
    let api = |more: (&'static str, &'static str)| [api[0], api[1], more];
    assert_eq!(of("tutela_service_restarts_total", &[("service", "api"), ("instance", "0")]), 2.0);
    for (cause, restarts) in [("failure", 1.0), ("signal", 1.0), ("oom", 0.0), ("asked", 0.0)] {
        assert_eq!(of("tutela_service_restarts_by_cause_total", &api(("cause", cause))), restarts, "{cause}");
    }
    assert_eq!(of("tutela_service_state", &api(("state", "running"))), 1.0);
    assert_eq!(of("tutela_log_lines_total", &[("service", "api"), ("instance", "0")]), 2.0);
    assert_eq!(of("tutela_log_bytes_total", &[("service", "api"), ("instance", "0")]), 12.0);
    assert!(of("tutela_service_uptime_seconds", &[("service", "quiet")]) < 3600.0);
    assert!(of("tutela_service_threads", &[("service", "quiet")]) >= 1.0);
    for (probe, result) in [("ready", "pass"), ("nothing", "fail"), ("nobody", "refused")] {
        let labels = [("service", "api"), ("instance", "0"), ("probe", probe)];
        let results = of("tutela_probe_results_total", &[labels.as_slice(), &[("result", result)]].concat());
        assert!(results >= 1.0, "{probe}");
        assert!(of("tutela_probe_duration_seconds_count", &labels) >= results, "{probe}");
    }
    let turns = of("tutela_guard_turn_seconds_count", &[]);
    assert!(turns > 1.0 && of("tutela_guard_turn_seconds_bucket", &[("le", "+Inf")]) == turns);
    assert!(of("tutela_guard_events_total", &[("kind", "started")]) >= 4.0);
}

/// Attributes or labels of a data point.
fn attributes(point: &Value) -> BTreeMap<String, String> {
    let pair = |it: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&it["key"]), text(&it["value"]["string_value"]))
    };
    point["attributes"].as_array().unwrap().iter().map(pair).collect()
}

/// Numbers of proto3 that are nothing are left out; those of 64 bits are texts.
fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    }
}

/// A request as the samples that a scrape would have.
fn received(request: &Value) -> BTreeMap<Series, f64> {
    let mut out = BTreeMap::new();
    for of in request["message"]["resource_metrics"].as_array().unwrap() {
        for metric in of["scope_metrics"].as_array().unwrap().iter().flat_map(|it| it["metrics"].as_array().unwrap()) {
            let name = metric["name"].as_str().unwrap();
            let points = |kind: &str| metric[kind]["data_points"].as_array().cloned().unwrap_or_default();
            for point in points("gauge").iter().chain(&points("sum")) {
                out.insert((name.to_owned(), attributes(point)), number(&point["as_double"]));
            }
            for point in points("histogram") {
                let mut below = 0.0;
                let bounds = point["explicit_bounds"].as_array().unwrap();
                for (place, count) in point["bucket_counts"].as_array().unwrap().iter().enumerate() {
                    below += number(count);
                    let bound = bounds.get(place).map_or("+Inf".to_owned(), |bound| match bound.as_f64().unwrap() {
                        whole if whole.fract() == 0.0 => format!("{whole:.1}"),
                        other => other.to_string(),
                    });
                    let mut labels = attributes(&point);
                    labels.insert("le".into(), bound);
                    out.insert((format!("{name}_bucket"), labels), below);
                }
                out.insert((format!("{name}_sum"), attributes(&point)), number(&point["sum"]));
                out.insert((format!("{name}_count"), attributes(&point)), number(&point["count"]));
            }
        }
    }
    out
}

#[test]
fn what_is_sent_over_either_protocol_is_what_is_shown() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    // Nothing that runs changes by itself, but for what time does.
    let services = "[services.a]\ncommand = [\"understudy\", \"say=hello\", \"hang\"]\ninstances = 3\n\
                    ready = { exec = [\"true\"], every = \"1h\" }\n";
    stage.write_spec(services);
    let guard = stage.start(Container::ControlGroup);
    for id in ["a:0", "a:1", "a:2"] {
        guard.wait_state(id, "running");
    }
    let ways = [
        ("http", format!("otlp = \"http://127.0.0.1:{}\"\ncompress = \"gzip\"", receiver.http)),
        ("grpc", format!("otlp = \"grpc://127.0.0.1:{}\"\nheaders = {{ x-token = \"swordfish\" }}", receiver.grpc)),
    ];
    for (protocol, keys) in ways {
        // A guard that runs begins to send when its spec says so.
        guard.write_spec(&format!("{services}[metrics]\n{keys}\nevery = \"1s\"\n"));
        guard.cli_ok(&["reload", guard.name()]);
        let settled = |request: &Value| {
            let is_ready = |((name, labels), value): (&Series, &f64)| {
                name == "tutela_guard_events_total" && labels["kind"] == "reloaded" && *value > 0.0
            };
            request["protocol"] == protocol && received(request).iter().any(is_ready)
        };
        let request = receiver.wait(&format!("figures are sent over {protocol}"), settled);
        let sent = received(&request);
        let shown = samples(&open_metrics(&guard));
        let names = |of: &BTreeMap<Series, f64>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&sent), names(&shown), "{protocol}");
        // These stand still.
        let still = ["tutela_service_", "tutela_log_", "tutela_probe_", "tutela_guard_info", "tutela_guard_start"];
        let moves =
            ["tutela_service_uptime", "tutela_service_cpu", "tutela_service_memory", "tutela_service_open_files"];
        let mut compared = 0;
        for ((name, labels), value) in &sent {
            let is_still = still.iter().any(|it| name.starts_with(it)) && !moves.iter().any(|it| name.starts_with(it));
            if is_still {
                // A time of day is made of two readings of clocks.
                let apart = (shown[&(name.clone(), labels.clone())] - value).abs();
                assert!(apart < 0.05, "{protocol}: {name} {labels:?}: {value} and {apart} apart");
                compared += 1;
            }
        }
        assert!(compared > 100, "only {compared} figures were compared");
        let resource = &request["message"]["resource_metrics"][0]["resource"];
        let about = attributes(resource);
        assert_eq!((&*about["service.name"], &*about["tutela.guard"]), ("tutela", guard.name()));
        assert!(!about["host.name"].is_empty());
        match protocol {
            "http" => assert_eq!(request["headers"]["content-encoding"], "gzip"),
            _ => assert_eq!(request["headers"]["x-token"], "swordfish"),
        }
        for metric in request["message"]["resource_metrics"][0]["scope_metrics"][0]["metrics"].as_array().unwrap() {
            for kind in ["sum", "histogram"].into_iter().filter(|kind| !metric[*kind].is_null()) {
                assert_eq!(metric[kind]["aggregation_temporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
            }
        }
    }
}

#[test]
fn a_collector_that_is_away_is_told_once_and_hurts_nobody() {
    let stage = Stage::new();
    let receiver = Otlp::start(&stage.path("otlp"));
    let (http, grpc) = (receiver.http, receiver.grpc);
    drop(receiver);
    stage.write_spec(&metrics_table(&format!("http://127.0.0.1:{http}")));
    let guard = stage.start(Container::ControlGroup);
    wait_settled(&guard);
    let told = |text: &str| guard.messages().iter().filter(|it| it.contains(text)).count();
    let failed = || value_of(&samples(&open_metrics(&guard)), "tutela_metrics_pushes_failed_total", &[]);
    wait_until(BOUND, "some requests have failed", || (failed() >= 3.0).then_some(()));
    assert_eq!(told("figures do not arrive"), 1, "{:#?}", guard.messages());

    let receiver = Otlp::start_at(&stage_path(&guard), http, grpc);
    receiver.wait("figures arrive again", |_| true);
    wait_until(BOUND, "it is told", || (told("figures arrive at") == 1).then_some(()));

    // One that says no for a while is one that is away, and what it did not take is counted.
    receiver.behave(&json!({ "refuse": 1, "status": 429, "retry_after": 1 }));
    wait_until(BOUND, "that is told too", || (told("figures do not arrive") == 2).then_some(()));
    receiver.behave(&json!({ "reject": 7, "text": "too old" }));
    wait_until(BOUND, "so is what is not taken", || (told("did not take 7 data points: too old") == 1).then_some(()));
    let rejected = value_of(&samples(&open_metrics(&guard)), "tutela_metrics_points_rejected_total", &[]);
    assert_eq!(rejected % 7.0, 0.0);
    assert!(rejected > 0.0);
    assert_eq!(guard.instance("quiet").state, "running");
}

fn stage_path(guard: &Guard) -> std::path::PathBuf {
    guard.path("otlp-again")
}

#[test]
fn restarts_by_cause_outlive_the_guard() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"once=one\", \"exit=3\", \"once=two\", \"raise=KILL\", \"hang\"]\n\
         restart = { delay = \"10ms\", burst = 0 }\n",
    );
    let guard = stage.start(Container::ControlGroup);
    guard.wait_for("a", "has crashed twice", |it| it.state == "running" && it.restarts == 2);
    guard.cli_ok(&["restart", &format!("{}/a", guard.name())]);
    let counts = |guard: &Stage| {
        let samples = samples(&open_metrics(guard));
        let by = |cause| value_of(&samples, "tutela_service_restarts_by_cause_total", &[("cause", cause)]);
        ["failure", "signal", "asked", "oom"].map(by)
    };
    assert_eq!(counts(&guard), [1.0, 1.0, 1.0, 0.0]);
    let guard = guard.close().start(Container::ControlGroup);
    guard.wait_state("a", "running");
    assert_eq!(counts(&guard), [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn the_command_prints_the_figures_of_one_guard_or_of_all_and_writes_them_for_the_textfile_collector() {
    let guard = Guard::start("[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
    guard.wait_state("a", "running");
    let file = guard.path("tutela.prom");
    let words = [vec!["metrics", guard.name()], vec!["metrics"]];
    for words in words {
        let text = guard.cli_ok(&words);
        assert!(text.contains("tutela_service_state{"), "{words:?}: {text}");
        assert_eq!(promtool(&guard, &text).code, 0, "{words:?}");
    }
    assert_eq!(guard.cli_ok(&["metrics", "--output", file.to_str().unwrap()]), "");
    let written = std::fs::read_to_string(file).unwrap();
    assert_eq!(promtool(&guard, &written).code, 0, "{written}");
    assert_eq!(guard.cli(["metrics", "nobody"]).code, 4);
}

#[test]
fn the_dashboard_uses_documented_figures_alone() {
    let text = include_str!("../../../dashboards/grafana.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "Grafana 10 and later");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|it| it["type"] == "datasource" && it["name"] == "datasource"));
    let documented = documented();
    let known = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
        documented.contains(name) || of_histogram.into_iter().any(|base| documented.contains(base))
    };
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("tutela_") {
        let name: String = text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        assert!(known(&name), "{name} is documented nowhere");
        used.insert(name);
    }
    assert!(used.len() > 15, "{used:?}");
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(places.insert(panel["id"].as_u64().unwrap()), "two panels have the same id: {panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}

#[test]
fn a_scrape_of_many_instances_is_answered_at_once() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\ninstances = 200\nready = { exec = [\"true\"], every = \"1h\" }\n",
    );
    guard.wait_state("a:199", "running");
    let took = (0..5).map(|_| ask(&guard.socket(), "GET", "/metrics").unwrap().took).min().unwrap();
    // A dozen small files for each tree; a scraper gives up after ten seconds.
    assert!(took < Duration::from_secs(2), "{took:?}");
}
