//! Whole specs: the example of the design, the defaults, the schema and the reference.

use super::super::reference::rows;
use super::super::{reference_markdown, schema};
use super::*;
use std::collections::BTreeSet;
use std::time::Duration;
use tutela_core::spec::{
    Compression, Occasion, Priority, ProbeTarget, RestartPolicy, RestartWhen, StartMode, StopStep,
};

const SHOP: &str = r#"
name = "shop"
description = "Shop API and its worker"

[services.api]
command = ["./api", "--port", "${PORT:8081}"]
cwd = "."
env = { RUST_LOG = "info" }
env_files = [".env"]
needs = ["db"]
instances = 2
start = "auto"
user = "shop"

[services.api.restart]
when = "on-failure"
success_codes = [0]
delay = "1s"
factor = 2.0
max_delay = "1m"
jitter = 0.1
reset_after = "5m"
burst = 3
within = "60s"
cooldown = "5m"

[services.api.stop]
ladder = [{ signal = "SIGTERM", wait = "10s" }, { kill = true }]

[services.api.ready]
http = "http://127.0.0.1:${PORT:8081}/health"
every = "5s"
timeout = "2s"
failures = 3
successes = 1

[[services.api.dependencies]]
name = "database_connection"
tcp = "127.0.0.1:5432"
every = "10s"

[services.api.limits]
memory = "512MiB"
cpu = "150%"
processes = 256
open_files = 65536
priority = "normal"

[services.api.security]
no_new_privileges = true
capabilities = ["NET_BIND_SERVICE"]
read_only_paths = ["/"]
writable_paths = ["data"]

[services.api.logs]
dir = "logs"
format = "raw"
timestamps = true
rotate_size = "50MiB"
rotate_every = "1d"
keep = 10
keep_for = "30d"
compress = "zstd"
mode = "0640"
owner = "root"
group = "0"

[services.api.hooks]
before_start = ["./migrate --all"]
after_exit = [{ command = ["./report"], timeout = "5s" }]

[services.api.windows]
command = ["api.exe", "--port", "${PORT:8081}"]

[services.db]
command = ["redis-server", "--port", "6390"]
[services.db.ready]
tcp = "127.0.0.1:6390"

[logs]
budget = "10GiB"

[alerts.ops]
webhook = "https://ops.example/hook"
on = ["cooldown", "half_open_failed", "degraded"]
"#;

#[test]
fn the_example_of_the_design_is_read_on_every_os() {
    for os in [Os::Linux, Os::Windows, Os::Macos] {
        let loaded = Case::new(SHOP).file("/srv/.env", "").os(os).loaded();
        let api = &loaded.spec.services[&Name::new("api").unwrap()];
        assert_eq!((api.instances, api.start, api.restart.when), (2, StartMode::Auto, RestartWhen::OnFailure));
        assert_eq!(api.needs, [Name::new("db").unwrap()]);
        assert_eq!(api.limits.cpu_percent, Some(150));
        assert_eq!(api.limits.memory, Some(512 << 20));
        assert_eq!(api.logs.rotate_every, Some(Duration::from_secs(86_400)));
        assert_eq!(slashes(api.hooks.before_start[0].command.render(0)), ["/srv/migrate", "--all"]);
        assert_eq!(api.hooks.after_exit[0].timeout, Duration::from_secs(5));
        assert_eq!(api.dependencies[0].probe.every, Duration::from_secs(10));
        assert_eq!((api.logs.keep_for, api.logs.compress), (Some(Duration::from_secs(30 * 86_400)), Compression::Zstd));
        let has_modes = os != Os::Windows;
        assert_eq!(api.logs.mode, has_modes.then_some(0o640));
        assert_eq!(api.logs.owner.as_deref(), has_modes.then_some("root"));
        assert_eq!(loaded.spec.log_budget, Some(10 << 30));
        let alert = &loaded.spec.alerts[&Name::new("ops").unwrap()];
        assert_eq!(alert.on, [Occasion::Cooldown, Occasion::HalfOpenFailed, Occasion::Degraded]);
    }
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let loaded = service("ready.tcp = \"h:1\"\nlive.exec = \"./c\"\n[alerts.x]\ncommand = \"c\"").loaded();
    let it = the_service(&loaded);
    assert_eq!(it.restart, RestartPolicy::default());
    assert_eq!(it.start_timeout, Some(Duration::from_secs(90)));
    assert_eq!(it.stop[0].step, StopStep::Signal("TERM".into()));
    assert_eq!((it.stop[0].wait, it.stop.len()), (Duration::from_secs(10), 2));
    let (ready, live) = (it.ready.as_ref().unwrap(), it.live.as_ref().unwrap());
    assert_eq!((ready.every, live.every), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!((ready.timeout, ready.failures, ready.successes), (Duration::from_secs(2), 3, 1));
    assert_eq!(ready.target, ProbeTarget::Tcp("h:1".into()));
    assert_eq!((it.limits.priority, it.logs.keep, it.logs.rotate_size), (Priority::Normal, 10, Some(50 << 20)));
    assert_eq!(it.logs.rotate_every, None);
    let on = &loaded.spec.alerts[&Name::new("x").unwrap()].on;
    assert_eq!(on[..], [Occasion::Cooldown, Occasion::HalfOpenFailed, Occasion::Failed, Occasion::Recovered]);
    assert_eq!(the_service(&service("start_timeout = \"0s\"").loaded()).start_timeout, None);
    assert_eq!(
        the_service(&service("logs = { rotate_size = \"0\", rotate_every = \"0s\" }").loaded()).logs.rotate_size,
        None
    );
}

#[test]
fn the_defaults_in_the_schema_are_the_real_ones() {
    let text = "ready.http = \"http://h\"\nstartup.grpc = \"h:1\"\n[alerts.NAME]\nwebhook = \"http://h\"";
    let loaded = Case::new(format!("name = \"s\"\n[services.NAME]\ncommand = \"a\"\n{text}")).loaded();
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, it.value)).collect();
    let mut compared = BTreeSet::new();
    for row in rows() {
        // Folders are shown absolute, rungs with all that they have.
        if row.default.is_empty() || row.key.ends_with(".cwd") || row.key.ends_with("stop.ladder") {
            continue;
        }
        if let Some(value) = resolved.get(&row.key) {
            let same = |text: &str| format!("x = {text}").parse::<toml::Table>().unwrap()["x"].clone();
            let (real, documented) = (same(value), same(&row.default));
            let spans = [&real, &documented].map(|it| it.as_str().and_then(|it| humantime::parse_duration(it).ok()));
            assert!(
                real == documented || spans[0].is_some() && spans[0] == spans[1],
                "{}: {value} is not {}",
                row.key,
                row.default
            );
            compared.insert(row.key);
        }
    }
    assert!(compared.len() >= 30, "{compared:#?}");
}

#[test]
fn the_schema_offers_every_key_and_no_null() {
    let schema = schema();
    let text = schema.to_string();
    assert!(!text.contains("null"), "{text}");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    for reference in text.split("\"$ref\":\"#").skip(1) {
        assert!(schema.pointer(reference.split('"').next().unwrap()).is_some());
    }
    for row in rows() {
        assert!(!row.meaning.is_empty(), "{} means nothing", row.key);
    }
}

#[test]
fn the_reference_lists_every_key_once_with_type_and_default() {
    let text = reference_markdown();
    for line in [
        "| `delay` | duration | `\"1s\"` | The wait before the first restart. |",
        "| `start` | `auto` `delayed` `manual` `disabled` | `\"auto\"` |",
        "## `services.NAME.dependencies[]`",
        "## `alerts.NAME.email`",
        "## `install.open_ports[]`",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    let titles: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(titles.len(), titles.iter().collect::<BTreeSet<_>>().len(), "{titles:#?}");
}

#[test]
fn a_ladder_ends_with_a_kill_and_says_what_is_never_reached() {
    let loaded = service("stop.ladder = [{ ctrl-c = true, wait = \"1s\" }]").loaded();
    let steps: Vec<_> = the_service(&loaded).stop.iter().map(|rung| (rung.step.clone(), rung.wait.as_secs())).collect();
    assert_eq!(steps, [(StopStep::CtrlC, 1), (StopStep::Kill, 0)]);
    assert_eq!(the_service(&service("stop.ladder = []").loaded()).stop[0].step, StopStep::Kill);
    let loaded = service("stop.ladder = [{ kill = true }, { ctrl-c = true }]").loaded();
    assert_eq!(places(&loaded.warnings), [(Code::Suspicious, 4, 33)]);
    assert_eq!(the_service(&loaded).stop.len(), 1);
}

#[test]
fn times_that_do_not_go_together_are_only_a_warning() {
    let loaded = service("ready = { tcp = \"h:1\", every = \"1s\", timeout = \"5s\" }").loaded();
    assert_eq!(places(&loaded.warnings), [(Code::ProbeTiming, 4, 48)]);
}
