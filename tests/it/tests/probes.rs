//! Every kind of probe against real listeners, and what its answers are used for.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use tutela_it::processes::{free_port, kill};
use tutela_it::{BOUND, Container, Guard, Stage, run_within, wait_until};

#[test]
fn a_service_starts_once_what_it_needs_is_ready_and_a_lost_readiness_restarts_nothing() {
    let port = free_port();
    let stage = Stage::new();
    stage.write("status", "503");
    stage.write_spec(&format!(
        "[services.db]\ncommand = [\"understudy\", \"http={port},status\", \"hang\"]\n\
         [services.db.ready]\nhttp = \"http://127.0.0.1:{port}/health\"\nevery = \"30ms\"\nfailures = 2\n\
         [services.api]\ncommand = [\"understudy\", \"stamp=api\", \"hang\"]\nneeds = [\"db\"]\n"
    ));
    let guard = stage.start(Container::ControlGroup);
    let db = guard.wait_for("db", "is not ready", |it| it.verdict("ready") == "fail");
    assert_eq!((db.state.as_str(), db.health.as_str()), ("starting", "unknown"));
    assert!(db.probe("ready")["last_error"].as_str().unwrap().contains("503"), "{db:?}");
    let api = guard.wait_state("api", "waiting");
    assert_eq!((api.cause.as_str(), api.pid), ("waits for db", None));
    assert_eq!(guard.read("api"), "");

    guard.write("status", "200");
    let db = guard.wait_for("db", "is ready", |it| it.state == "running" && it.health == "up");
    assert!(db.probe("ready")["latency_ms"].as_f64().is_some_and(|took| took > 0.0), "{db:?}");
    guard.wait_state("api", "running");

    guard.write("status", "503");
    let away = guard.wait_for("db", "is out of service", |it| it.health == "out_of_service");
    assert_eq!((away.state.as_str(), away.restarts, away.pid), ("running", 0, db.pid));
    guard.write("status", "204");
    guard.wait_for("db", "is up", |it| it.health == "up");
    assert_eq!(guard.instance("api").restarts, 0);
}

#[test]
fn tcp_exec_log_and_notify_each_tell_when_a_program_is_ready() {
    let port = free_port();
    let guard = Guard::start(&format!(
        "[services.tcp]\ncommand = [\"understudy\", \"await=go\", \"tcp={port}\", \"hang\"]\n\
         [services.tcp.ready]\ntcp = \"127.0.0.1:{port}\"\nevery = \"30ms\"\n\
         [services.exec]\ncommand = [\"understudy\", \"await=go\", \"pid=exec.up\", \"hang\"]\n\
         [services.exec.ready]\nexec = [\"test\", \"-e\", \"exec.up\"]\nevery = \"30ms\"\n\
         [services.log]\ncommand = [\"understudy\", \"say=not yet\", \"await=go\", \"cry=listening on port 80\", \"hang\"]\n\
         [services.log.ready]\nlog = '^listening on port \\d+$'\n\
         [services.notify]\ncommand = [\"understudy\", \"notify=STATUS=warming up\", \"await=go\", \"notify=READY=1\\\\nSTATUS=serving\", \"hang\"]\n\
         [services.notify.ready]\nnotify = true\n"
    ));
    guard.wait_for("notify", "says what it does", |it| it.raw["status_text"] == "warming up");
    guard.wait_for("exec", "was asked", |it| !it.probe("ready")["latency_ms"].is_null());
    for name in ["tcp", "exec", "log", "notify"] {
        assert_eq!(guard.instance(name).state, "starting", "{name}");
    }
    guard.write("go", "");
    for name in ["tcp", "exec", "log", "notify"] {
        let ready = guard.wait_state(name, "running");
        assert_eq!((ready.verdict("ready").as_str(), ready.restarts), ("pass", 0), "{name}");
        guard.wait_event("ready", |event| event["service"] == name);
    }
    guard.wait_for("notify", "serves", |it| it.raw["status_text"] == "serving");
}

#[test]
fn a_message_of_a_stranger_makes_nobody_ready() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"pid=up\", \"hang\"]\n[services.a.ready]\nnotify = true\n",
    );
    guard.written("up");
    let mut stranger = Command::new(tutela_it::program::folder().join("understudy"));
    let socket = guard.home().join("run").join(format!("{}.notify", guard.name()));
    stranger.env("NOTIFY_SOCKET", socket).arg("notify=READY=1");
    assert_eq!(run_within(BOUND, stranger).code, 0);
    // Whatever it did has been done once the guard has taken in a message that came after it.
    let mut ours = guard.command();
    ours.args(["status", guard.name()]);
    run_within(BOUND, ours);
    assert_eq!(guard.instance("a").state, "starting");
}

#[test]
fn https_is_asked_with_and_without_trust_in_the_certificate() {
    let (port, stage) = (free_port(), Stage::new());
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    make.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    make.arg("-keyout").arg(stage.path("key.pem")).arg("-out").arg(stage.path("cert.pem"));
    let made = run_within(BOUND, make);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let probe =
        |verify: bool| format!("https://127.0.0.1:{port}/\"\nevery = \"50ms\"\nfailures = 1\ntls_verify = {verify}\n");
    stage.write_spec(&format!(
        "[services.tls]\ncommand = [\"openssl\", \"s_server\", \"-quiet\", \"-www\", \"-accept\", \"127.0.0.1:{port}\", \"-cert\", \"cert.pem\", \"-key\", \"key.pem\"]\n\
         [services.tls.ready]\nhttp = \"{}\
         [services.distrustful]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"tls\"]\n\
         [services.distrustful.ready]\nhttp = \"{}",
        probe(false),
        probe(true),
    ));
    let guard = stage.start(Container::ControlGroup);
    guard.wait_for("tls", "is ready", |it| it.state == "running" && it.verdict("ready") == "pass");
    let refused = guard.wait_for("distrustful", "says no", |it| it.verdict("ready") == "fail");
    assert_eq!(refused.state, "starting");
    let why = refused.probe("ready")["last_error"].as_str().unwrap().to_ascii_lowercase();
    assert!(why.contains("certificate") || why.contains("issuer"), "{why}");
}

#[test]
fn a_refused_connection_during_the_start_is_no_failure() {
    let port = free_port();
    let guard = Guard::start(&format!(
        "[services.slow]\ncommand = [\"understudy\", \"await=go\", \"tcp={port}\", \"hang\"]\n\
         [services.slow.startup]\ntcp = \"127.0.0.1:{port}\"\nevery = \"20ms\"\nfailures = 1\n\
         [services.slow.live]\ntcp = \"127.0.0.1:{port}\"\nevery = \"20ms\"\nfailures = 1\n"
    ));
    let asked = guard.wait_for("slow", "was refused", |it| it.probe("startup")["last_error"].is_string());
    assert_eq!((asked.state.as_str(), asked.restarts), ("starting", 0));
    guard.write("go", "");
    let up = guard.wait_for("slow", "lives", |it| it.state == "running" && it.verdict("live") == "pass");
    assert_eq!((up.restarts, up.pid), (0, asked.pid));
    // Once it has started, the same is a failure.
    kill(up.pid.unwrap(), "KILL");
    guard.wait_for("slow", "runs again", |it| it.restarts == 1 && it.state == "running");
}

#[test]
fn the_live_probe_waits_for_the_startup_probe_and_then_restarts() {
    let port = free_port();
    let stage = Stage::new();
    stage.write("status", "500");
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"understudy\", \"http={port},status\", \"await=go\", \"say=started\", \"hang\"]\n\
         restart.delay = \"10ms\"\n\
         [services.a.startup]\nlog = \"^started$\"\n\
         [services.a.live]\nhttp = \"http://127.0.0.1:{port}/\"\nevery = \"20ms\"\nfailures = 2\n"
    ));
    let guard = stage.start(Container::ControlGroup);
    let first = guard.wait_for("a", "has a process", |it| it.pid.is_some());
    assert_eq!((first.state.as_str(), first.verdict("live").as_str()), ("starting", "unknown"));
    guard.write("go", "");
    let again = guard.wait_for("a", "was restarted", |it| it.restarts >= 1);
    let told = guard.wait_event("unhealthy", |event| event["service"] == "a");
    assert!(told["data"]["error"].as_str().unwrap().contains("500"), "{told}");
    assert_ne!(again.pid, first.pid);
    let messages = guard.messages();
    let place = |words: &str| messages.iter().position(|line| line.contains(words)).unwrap_or(usize::MAX);
    assert!(place(" ready: ") < place(" unhealthy: "), "{messages:#?}");
    guard.write("status", "200");
    guard.wait_for("a", "lives", |it| it.state == "running" && it.verdict("live") == "pass");
}

#[test]
fn a_dependency_that_fails_degrades_and_restarts_nothing() {
    let port = free_port();
    let guard = Guard::start(&format!(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\n\
         [[services.a.dependencies]]\nname = \"store\"\nhttp = \"http://127.0.0.1:{port}/\"\nevery = \"30ms\"\nfailures = 2\n\
         [services.store]\ncommand = [\"understudy\", \"http={port},status\", \"hang\"]\n"
    ));
    let up = guard.wait_for("a", "is up", |it| it.health == "up" && it.verdict("store") == "pass");
    guard.write("status", "503");
    let degraded = guard.wait_for("a", "is degraded", |it| it.health == "degraded");
    assert_eq!((degraded.state.as_str(), degraded.restarts, degraded.pid), ("running", 0, up.pid));
    guard.write("status", "200");
    let well = guard.wait_for("a", "is up again", |it| it.health == "up");
    assert_eq!((well.restarts, well.pid), (0, up.pid));
}

#[test]
fn a_watchdog_that_falls_silent_restarts_and_one_that_calls_for_help_does_at_once() {
    let guard = Guard::start(
        "[services.quiet]\ncommand = [\"understudy\", \"env=quiet.env\", \"notify-every=20,WATCHDOG=1\", \"hang\"]\n\
         restart.delay = \"10ms\"\n[services.quiet.live]\nnotify = true\nevery = \"3s\"\nfailures = 1\n\
         [services.loud]\ncommand = [\"understudy\", \"await=go\", \"once=called\", \"notify=WATCHDOG=trigger\", \"hang\"]\n\
         restart.delay = \"10ms\"\n[services.loud.live]\nnotify = true\nevery = \"1h\"\n",
    );
    let quiet = guard.wait_for("quiet", "lives", |it| it.state == "running" && it.verdict("live") == "pass");
    assert!(guard.written("quiet.env").contains("WATCHDOG_USEC="), "{}", guard.read("quiet.env"));
    assert_eq!(quiet.restarts, 0);
    guard.write("mute", "");
    guard.wait_for("quiet", "was restarted", |it| it.restarts >= 1);
    guard.wait_event("unhealthy", |event| event["service"] == "quiet");
    guard.write("go", "");
    guard.wait_for("loud", "was restarted", |it| it.restarts == 1 && it.state == "running");
}

#[test]
fn a_program_that_is_not_ready_in_time_is_ended_and_judged() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"stray=stray\", \"hang\"]\nstart_timeout = \"300ms\"\n\
         restart.when = \"never\"\nstop.ladder = [{ kill = true }]\n[services.a.ready]\nlog = \"never said\"\n\
         [services.b]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"a\"]\n",
    );
    let failed = guard.wait_state("a", "failed");
    assert!(failed.cause.contains("not ready within"), "{failed:?}");
    assert_eq!(guard.instance("b").state, "waiting");
    wait_until(BOUND, "nothing of it lives", || guard.living().is_empty().then_some(()));
}

/// A program can speak before the guard's own hands have told that it runs.
#[test]
fn what_programs_say_in_their_first_moment_is_not_lost() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.notify]\ncommand = [\"understudy\", \"notify=READY=1\\\\nSTATUS=here\", \"hang\"]\ninstances = 100\n\
             ready.notify = true\n\
             [services.log]\ncommand = [\"understudy\", \"say=up\", \"hang\"]\ninstances = 100\nready.log = \"^up$\"\n",
        );
        for number in 0..100 {
            let instance = guard.wait_state(&format!("notify:{number}"), "running");
            assert_eq!(instance.raw["status_text"], "here", "{container:?} {number}");
            guard.wait_state(&format!("log:{number}"), "running");
        }
    }
}
