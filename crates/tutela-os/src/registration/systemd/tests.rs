//! Units of whole definitions.

use super::*;
use crate::registration::{Account, Folders, Sandbox};
use std::path::PathBuf;
use tutela_core::spec::Capability;

fn shop() -> Definition {
    Definition {
        name: "shop".into(),
        display_name: "Shop".into(),
        description: "keeps 100% of it".into(),
        scope: Scope::System,
        kind: Kind::Service,
        program: "/usr/local/bin/tutela".into(),
        args: vec!["run".into(), "--service".into(), "/etc/tutela/my shop.toml".into()],
        folder: "/etc/tutela".into(),
        env: vec![("TUTELA_PROFILE".into(), "live $x".into())],
        start: Start::Auto,
        account: Account::Own,
        after: vec!["postgresql".into(), "network-online.target".into()],
        readiness: Readiness::Told,
        reload: Reload::Command(vec!["reload".into(), "shop".into()]),
        start_timeout: Duration::from_secs(90),
        stop_timeout: Duration::from_millis(20_500),
        watchdog: Some(Duration::from_secs(30)),
        keeps_programs: true,
        programs_outlive: Some(Outlive { end_left: vec!["end-left".into(), "shop".into()] }),
        restart_delay: Duration::from_secs(1),
        sandbox: Sandbox { no_new_privileges: true, ..Sandbox::default() },
        folders: Folders {
            state: Some("/var/lib/tutela/shop".into()),
            logs: Some("/var/log/tutela/shop".into()),
            runtime: Some("/run/tutela/shop".into()),
        },
        openings: Vec::new(),
    }
}

fn dynamic(version: u32) -> Facts {
    Facts { version, runs: Runs::Dynamic("tutela-shop".into()) }
}

fn lines(definition: &Definition, facts: &Facts) -> Vec<String> {
    service(definition, facts).expect("a unit").lines().map(str::to_owned).collect()
}

fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|it| it == line)
}

#[test]
fn a_service_has_every_line_that_keeps_it() {
    let lines = lines(&shop(), &dynamic(257));
    for line in [
        "Description=Shop: keeps 100%% of it",
        "Wants=network-online.target",
        "Requires=postgresql.service",
        "After=network-online.target postgresql.service",
        "Type=notify",
        "NotifyAccess=main",
        "ExecStart=/usr/local/bin/tutela run --service \"/etc/tutela/my shop.toml\"",
        "ExecReload=+/usr/local/bin/tutela reload shop",
        "Environment=\"TUTELA_PROFILE=live $x\"",
        "WorkingDirectory=/etc/tutela",
        "TimeoutStopSec=20500ms",
        "WatchdogSec=30s",
        "Restart=always",
        "RestartSteps=6",
        "RestartPreventExitStatus=2",
        "ExecStopPost=+/usr/local/bin/tutela end-left shop",
        "KillMode=process",
        "OOMPolicy=continue",
        "LogRateLimitIntervalSec=1s",
        "LogRateLimitBurst=1000000",
        "Delegate=yes",
        "DelegateSubgroup=guard",
        "User=tutela-shop",
        "DynamicUser=yes",
        "StateDirectory=tutela/shop",
        "RuntimeDirectory=tutela/shop",
        "UMask=0077",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "MemoryDenyWriteExecute=yes",
        "WantedBy=multi-user.target",
    ] {
        assert!(has(&lines, line), "no {line} in\n{}", lines.join("\n"));
    }
}

#[test]
fn an_older_systemd_gets_no_key_that_it_does_not_know() {
    let lines = lines(&shop(), &dynamic(247));
    for key in ["RestartSteps", "RestartMaxDelaySec", "DelegateSubgroup"] {
        assert!(!lines.iter().any(|line| line.starts_with(key)), "{key}");
    }
    let told = Definition { reload: Reload::Signal, ..shop() };
    assert!(has(&self::lines(&told, &dynamic(247)), "ExecReload=/bin/kill -HUP $MAINPID"));
    assert!(has(&self::lines(&told, &dynamic(253)), "Type=notify-reload"));
}

#[test]
fn programs_outlive_a_guard_only_where_systemd_can_start_the_next_one_beside_them() {
    let unit = |definition: &Definition, version, runs: Runs| lines(definition, &Facts { version, runs });
    for runs in [Runs::Root, Runs::As("shop".into()), Runs::Dynamic("tutela-shop".into())] {
        let kept = unit(&shop(), 257, runs.clone());
        let as_root = if runs == Runs::Root { "" } else { "+" };
        assert!(has(&kept, "KillMode=process"));
        assert!(has(&kept, &format!("ExecStopPost={as_root}/usr/local/bin/tutela end-left shop")));
        let dynamic = matches!(runs, Runs::Dynamic(_));
        assert_eq!(has(&kept, "RuntimeDirectoryPreserve=restart"), !dynamic, "{runs:?}");
        assert!(has(&kept, "PrivateTmp=disconnected") && !has(&kept, "RemoveIPC=yes"));
        let never = Definition { programs_outlive: None, ..shop() };
        for ended in [unit(&shop(), 256, runs.clone()), unit(&never, 257, runs)] {
            assert!(has(&ended, "KillMode=mixed") && has(&ended, "PrivateTmp=yes") && has(&ended, "RemoveIPC=yes"));
            let of_outliving = |line: &&String| line.starts_with("ExecStopPost") || line.contains("Preserve");
            assert_eq!(ended.iter().find(of_outliving), None);
        }
    }
    let told = |version| differences(&shop(), &dynamic(version)).join("\n");
    assert!(told(252).contains("systemd 252 cannot keep them") && told(257).contains("shared memory"));
}

#[test]
fn the_journal_takes_everything_of_a_guard_and_of_nobody_else() {
    let limits = |definition: &Definition, version| {
        lines(definition, &dynamic(version)).iter().filter(|line| line.starts_with("LogRateLimit")).count()
    };
    assert_eq!((limits(&shop(), 240), limits(&shop(), 239)), (2, 0));
    assert_eq!(limits(&Definition { keeps_programs: false, ..shop() }, 257), 0);
}

#[test]
fn what_a_capability_needs_is_not_taken_away() {
    let mut definition = shop();
    definition.sandbox.capabilities = Some(vec![Capability::from_name("NET_BIND_SERVICE").expect("one")]);
    let bound = lines(&definition, &dynamic(257));
    assert!(has(&bound, "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"));
    assert!(has(&bound, "AmbientCapabilities=CAP_NET_BIND_SERVICE"));
    definition.sandbox.capabilities = Some(vec![Capability::from_name("SYS_ADMIN").expect("one")]);
    let root = lines(&definition, &Facts { version: 257, runs: Runs::Root });
    assert!(has(&root, "SystemCallFilter=@system-service @mount"));
    assert!(!root.iter().any(|line| line.starts_with("RestrictNamespaces") || line.starts_with("User=")));
    assert!(!root.iter().any(|line| line.starts_with("AmbientCapabilities")), "root has them anyway");
}

#[test]
fn folders_that_the_sandbox_hides_are_shown_one_by_one() {
    let mut definition = shop();
    definition.folder = "/home/me/shop".into();
    definition.sandbox.readable = vec!["/home/me/shop".into(), "/home/me/shop/bin".into(), "/tmp/x".into()];
    definition.sandbox.writable = vec!["/home/me/shop/data".into(), "/srv/my shop".into()];
    let lines = lines(&definition, &dynamic(257));
    for line in [
        "ProtectHome=tmpfs",
        "BindPaths=/home/me/shop/data",
        "BindReadOnlyPaths=/home/me/shop",
        "BindReadOnlyPaths=/tmp/x",
        "ReadWritePaths=\"/srv/my shop\"",
    ] {
        assert!(has(&lines, line), "no {line} in\n{}", lines.join("\n"));
    }
    assert!(!has(&lines, "BindReadOnlyPaths=/home/me/shop/bin"));
    definition.sandbox.writable = vec!["/home/a:b".into()];
    assert!(service(&definition, &dynamic(257)).is_err());
}

#[test]
fn tmp_stays_private_where_somebody_wants_to_write_there() {
    let mut definition = shop();
    definition.sandbox.writable = vec!["/tmp".into(), "/var/tmp".into(), "/srv/data".into()];
    let lines = lines(&definition, &dynamic(257));
    assert!(has(&lines, "PrivateTmp=disconnected") && has(&lines, "ReadWritePaths=/srv/data"));
    assert!(!lines.iter().any(|line| line.starts_with("BindPaths") || line.contains("=/tmp")), "{}", lines.join("\n"));
    let told = sandbox::told(&definition, &dynamic(257));
    assert!(
        told.iter().any(|it| it == "/tmp and /var/tmp are its own, in memory, and empty at each start"),
        "{told:?}"
    );
}

#[test]
fn what_is_different_is_told_in_the_words_of_who_registers() {
    let guard = sandbox::told(&shop(), &dynamic(257)).join("\n");
    assert!(
        guard.contains("its own state and log folders") && guard.contains("`writable_paths` names more"),
        "{guard}"
    );
    let folders = Folders::default();
    let program = Definition { keeps_programs: false, folders, ..shop() };
    let told = sandbox::told(&program, &dynamic(257)).join("\n");
    assert!(told.contains("nothing on the disks can be written to; `sandbox.writable` names what can"), "{told}");
    assert!(told.contains("`sandbox.executable_memory`"), "{told}");
}

#[test]
fn without_a_sandbox_nothing_is_taken() {
    let mut definition = shop();
    definition.sandbox.off = true;
    let text = service(&definition, &Facts { version: 257, runs: Runs::As("shop".into()) }).expect("a unit");
    for key in ["Protect", "Private", "SystemCall", "Restrict", "Capability", "UMask", "Memory"] {
        assert!(!text.lines().any(|line| line.starts_with(key)), "{key} in\n{text}");
    }
    assert!(text.contains("\nUser=shop\n"));
}

#[test]
fn a_unit_of_a_user_has_only_what_a_users_manager_can_do() {
    let definition = Definition { scope: Scope::User, ..shop() };
    let lines = lines(&definition, &Facts { version: 257, runs: Runs::Root });
    for key in ["User=", "StateDirectory", "ProtectSystem", "PrivateTmp", "CapabilityBoundingSet", "LimitNOFILE"] {
        assert!(!lines.iter().any(|line| line.starts_with(key)), "{key}");
    }
    assert!(has(&lines, "NoNewPrivileges=yes") && has(&lines, "WantedBy=default.target"));
}

#[test]
fn a_delayed_start_comes_after_the_boot_and_a_disabled_one_never() {
    let delayed = lines(&Definition { start: Start::Delayed, after: Vec::new(), ..shop() }, &dynamic(257));
    assert!(has(&delayed, "After=multi-user.target") && has(&delayed, "WantedBy=multi-user.target"));
    assert!(has(&lines(&Definition { start: Start::Disabled, ..shop() }, &dynamic(257)), "RefuseManualStart=yes"));
}

#[test]
fn a_task_is_started_by_its_timer_alone() {
    let task = Definition { kind: Kind::Task, ..shop() };
    assert!(!lines(&task, &dynamic(257)).iter().any(|line| line.starts_with("WantedBy")));
    let timer = timer(&task);
    assert!(timer.contains("\nOnBootSec=15s\nUnit=shop.service\n") && timer.contains("WantedBy=timers.target"));
}

#[test]
fn a_program_or_a_name_that_systemd_cannot_have_is_refused() {
    let program = Definition { program: PathBuf::from("/opt/a\"b"), ..shop() };
    assert!(service(&program, &dynamic(257)).expect_err("no unit").contains("quotes"));
    let after = Definition { after: vec!["a b".into()], ..shop() };
    assert!(service(&after, &dynamic(257)).expect_err("no unit").contains("\"a b\""));
}
