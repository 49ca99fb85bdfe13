//! From start to stop: when systemd is told what, and what it does when it is told nothing.

use crate::stage::{HELLO, await_states, instance, property, with_hello, with_tutela};
use tutela_beds::Booted;

/// Installs a guard `shop` from this text.
fn install(booted: &Booted, spec: &str) {
    booted.put("/srv/shop/tutela.toml", spec);
    booted.run("tutela install /srv/shop/tutela.toml").ok();
}

#[test]
fn systemd_hears_ready_only_when_the_services_are_ready() {
    let booted = with_tutela();
    install(
        &booted,
        r#"
name = "shop"
[services.late]
command = ["sleep", "infinity"]
start_timeout = "10m"
[services.late.ready]
exec = ["sh", "-c", "echo asked >>/srv/shop/run/asked; test -e /srv/shop/go"]
every = "200ms"
timeout = "200ms"
failures = 1000
[install]
writable_paths = ["run"]
start_timeout = "10m"
"#,
    );
    booted.run("systemctl start --no-block shop").ok();
    booted.wait_until("the probe was asked ten times", "test $(wc -l </srv/shop/run/asked) -ge 10");
    assert_eq!(property(&booted, "shop", "ActiveState"), "activating");
    booted.run("touch /srv/shop/go").ok();
    booted.wait_until("systemd calls it active", "systemctl is-active shop");
    await_states(&booted, "shop", &[("late", "running")]);
}

#[test]
fn a_guard_that_hangs_is_ended_by_the_watchdog_and_started_again_without_its_programs() {
    let booted = with_tutela();
    install(
        &booted,
        "name = \"shop\"\n[services.api]\ncommand = [\"sleep\", \"infinity\"]\n[install]\nwatchdog = \"3s\"\n",
    );
    booted.run("systemctl start shop").ok();
    await_states(&booted, "shop", &[("api", "running")]);
    let program = booted.run("pgrep --exact sleep").ok();
    let guard = property(&booted, "shop", "MainPID");
    // Alive for longer than the watchdog's bound, it is left alone.
    booted.run("systemd-run --quiet --wait --collect sleep 4").ok();
    assert_eq!(property(&booted, "shop", "MainPID"), guard);

    booted.run(&format!("kill -STOP {guard}")).ok();
    booted.wait_until(
        "another guard runs",
        &format!("p=$(systemctl show --value -p MainPID shop); [ \"$p\" != 0 ] && [ \"$p\" != {guard} ] && systemctl is-active shop"),
    );
    booted.run("journalctl --unit=shop --no-pager | grep -qi 'watchdog timeout'").ok();
    await_states(&booted, "shop", &[("api", "running")]);
    assert_eq!(booted.run("pgrep --exact sleep").ok(), program, "one program runs, and it is the same");
}

#[test]
fn a_guard_that_was_killed_comes_back_with_its_counts() {
    let booted = with_tutela();
    install(
        &booted,
        "name = \"shop\"\n[services.api]\ncommand = [\"sleep\", \"infinity\"]\nrestart = { delay = \"100ms\" }\n",
    );
    booted.run("systemctl start shop").ok();
    await_states(&booted, "shop", &[("api", "running")]);
    for round in 1..=2 {
        booted.run("pkill --exact sleep").ok();
        booted.wait_for("the restart is counted", |booted| {
            let api = instance(booted, "shop", "api")?;
            (api["restarts"] == round && api["state"] == "running").then_some(())
        });
    }
    let program = booted.run("pgrep --exact sleep").ok();
    let guard = property(&booted, "shop", "MainPID");
    booted.run(&format!("kill -KILL {guard}")).ok();
    booted.wait_until(
        "another guard runs",
        &format!("p=$(systemctl show --value -p MainPID shop); [ \"$p\" != 0 ] && [ \"$p\" != {guard} ] && systemctl is-active shop"),
    );
    await_states(&booted, "shop", &[("api", "running")]);
    let kept = instance(&booted, "shop", "api").map(|api| api["restarts"].clone());
    assert_eq!(kept.as_ref().and_then(serde_json::Value::as_u64), Some(2), "counted {kept:?}");
    assert_eq!(booted.run("pgrep --exact sleep").ok(), program, "one program runs, and it is the same");
}

#[test]
fn a_stop_goes_down_the_ladder_and_leaves_nothing_in_the_control_group() {
    let booted = with_tutela();
    booted.put(
        "/srv/shop/stubborn",
        "#!/bin/bash\ntrap 'echo asked' TERM\n(trap '' TERM; setsid sleep 987654) &\nwhile :; do sleep 1 & wait; done\n",
    );
    booted.run("chmod 755 /srv/shop/stubborn").ok();
    install(
        &booted,
        r#"
name = "shop"
[services.api]
command = ["./stubborn"]
stop = { ladder = [{ signal = "TERM", wait = "2s" }, { kill = true }] }
"#,
    );
    booted.run("systemctl start shop").ok();
    booted.wait_until("its child runs", "pgrep --full '[s]leep 987654'");
    let group = format!("/sys/fs/cgroup{}", property(&booted, "shop", "ControlGroup"));
    booted.run(&format!("test -d {group}")).ok();

    let took = booted.run("TIMEFORMAT=%R; time systemctl stop shop");
    let seconds: f64 = took.err.trim().parse().unwrap_or(f64::MAX);
    // The ladder's one wait and no more: the rest is for a slow machine.
    assert!((1.5..20.0).contains(&seconds), "the stop took {seconds} s");
    assert_eq!(property(&booted, "shop", "ActiveState"), "inactive");
    assert_eq!(property(&booted, "shop", "Result"), "success");
    booted.run(&format!("test -e {group}")).with_code(1);
    booted.run("pgrep --full '[s]tubborn|[s]leep 987654'").with_code(1);
    booted
        .run("journalctl --unit=shop --no-pager | grep -E 'State .stop-sigterm. timed out|Killing process'")
        .with_code(1);
}

#[test]
fn a_reload_takes_over_a_changed_spec_without_another_guard() {
    let booted = with_tutela();
    install(&booted, "name = \"shop\"\n[services.api]\ncommand = [\"sleep\", \"infinity\"]\n");
    booted.run("systemctl start shop").ok();
    let guard = property(&booted, "shop", "MainPID");
    booted.run("printf '[services.worker]\\ncommand = [\"sleep\", \"infinity\"]\\n' >>/srv/shop/tutela.toml").ok();
    booted.run("systemctl reload shop").ok();
    await_states(&booted, "shop", &[("api", "running"), ("worker", "running")]);
    assert_eq!(property(&booted, "shop", "MainPID"), guard);

    // A mistake is told by the reload, and changes nothing.
    booted.run("echo nonsense >>/srv/shop/tutela.toml").ok();
    assert_ne!(booted.run("systemctl reload shop").code, 0);
    await_states(&booted, "shop", &[("api", "running"), ("worker", "running")]);
    assert_eq!(booted.run("systemctl is-active shop").ok(), "active");
}

#[test]
fn a_spec_that_became_wrong_fails_the_start_at_once_and_is_not_tried_again() {
    let booted = with_tutela();
    install(&booted, "name = \"shop\"\n[services.api]\ncommand = [\"sleep\", \"infinity\"]\n");
    booted.run("echo nonsense >>/srv/shop/tutela.toml").ok();
    assert_ne!(booted.run("systemctl start shop").code, 0);
    assert_eq!(property(&booted, "shop", "ActiveState"), "failed");
    assert_eq!(property(&booted, "shop", "ExecMainStatus"), "2");
    assert_eq!(property(&booted, "shop", "NRestarts"), "0");
    booted.run("journalctl --unit=shop --no-pager | grep -q nonsense").ok();
}

#[test]
fn the_journal_has_what_happened_with_fields_to_ask_for() {
    let booted = with_hello();
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    await_states(&booted, "hello", &[("worker", "running")]);
    // By the unit as people ask, and by our own fields as programs do.
    let ready = "journalctl --unit=hello --output=json TUTELA_EVENT=ready TUTELA_SERVICE=worker";
    let line = booted.wait_until("the journal has it", &format!("{ready} | grep ."));
    let event: serde_json::Value = serde_json::from_str(line.lines().next().unwrap_or_default()).expect("JSON");
    let fields = [
        ("TUTELA_GUARD", "hello"),
        ("TUTELA_INSTANCE", "0"),
        ("_SYSTEMD_UNIT", "hello.service"),
        ("SYSLOG_IDENTIFIER", "hello"),
    ];
    for (field, value) in fields {
        assert_eq!(event[field], value, "{field} of {event:#}");
    }
    assert!(event["MESSAGE"].as_str().is_some_and(|text| text.contains("worker")), "{event:#}");
    assert!(event["MESSAGE_ID"].as_str().is_some_and(|id| id.len() == 32), "{event:#}");
    // A crash is worth a warning, and found by it.
    booted.wait_until(
        "the crash of flaky is a warning",
        "journalctl --unit=hello --priority=warning --output=json TUTELA_SERVICE=flaky | grep .",
    );
}
