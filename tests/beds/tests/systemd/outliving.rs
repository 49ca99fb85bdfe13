//! Programs and the end of their guard: a crash leaves them to the next guard, and whatever no guard follows leaves nothing.

use crate::stage::{await_states, instance, property, with_tutela};
use tutela_beds::Booted;

/// Whom guards run as: a dynamic user, and root.
const ACCOUNTS: [&str; 2] = ["", "account = \"system\"\n"];

/// An account that is made because a folder has to belong to it.
const MADE: &str = "writable_paths = [\"run\"]\n";

/// What runs of it besides who watches: the guard, its programs and its safe.
const PROGRAMS: &str = "pgrep --full --list-full '[t]utela (run|--keep-open-for)|[s]leep (infinity|0.1)|[t]ick='";

/// What runs of it.
const ANYTHING: &str =
    "pgrep --full --list-full '[t]utela (run|--keep-open-for|end-left)|[s]leep (infinity|0.1)|[t]ick='";

const SERVICES: [&str; 3] = ["api", "worker", "talker"];

/// A guard `shop` with three programs, of which one counts; started.
fn start(booted: &Booted, install: &str) {
    let spec = format!(
        r#"
name = "shop"
[services.api]
command = ["sleep", "infinity"]
[services.worker]
command = ["sleep", "infinity"]
[services.talker]
command = ["bash", "-c", "tick=0; while :; do tick=$((tick+1)); echo $tick; sleep 0.1; done"]
logs.timestamps = false
[install]
{install}"#
    );
    booted.put("/srv/shop/tutela.toml", &spec);
    booted.run("tutela install --start /srv/shop/tutela.toml").ok();
    await_states(booted, "shop", &SERVICES.map(|service| (service, "running")));
}

fn pids(booted: &Booted) -> Vec<u64> {
    let pid = |service| instance(booted, "shop", service)?["pid"].as_u64();
    SERVICES.iter().map(|service| pid(service).expect("a program that runs")).collect()
}

/// Kills the guard in a way that no program could catch, and waits until another one runs.
fn crash(booted: &Booted) {
    let guard = property(booted, "shop", "MainPID");
    booted.run(&format!("kill -KILL {guard}")).ok();
    booted.wait_until(
        "another guard runs",
        &format!("p=$(systemctl show --value -p MainPID shop); [ \"$p\" != 0 ] && [ \"$p\" != {guard} ] && systemctl is-active shop"),
    );
}

/// The control group of the unit.
fn group(booted: &Booted) -> String {
    format!("/sys/fs/cgroup{}", property(booted, "shop", "ControlGroup"))
}

#[track_caller]
fn nothing_is_left(booted: &Booted, group: &str) {
    let left = booted.run(PROGRAMS);
    assert_eq!(left.code, 1, "left: {}\n{}", left.out, booted.run("journalctl --unit=shop --no-pager | tail -40").out);
    // Who watched whether another guard comes looks twice a second.
    booted.wait_until("nothing is left", &format!("! {ANYTHING}"));
    booted.wait_until("its group is gone", &format!("! test -e {group}"));
}

#[test]
fn a_crash_of_the_guard_is_none_of_its_programs_and_a_stop_leaves_nothing() {
    let booted = with_tutela();
    for account in ACCOUNTS.into_iter().chain([MADE]) {
        start(&booted, &format!("restart_delay = \"100ms\"\n{account}"));
        let (programs, group) = (pids(&booted), group(&booted));
        for _ in 0..2 {
            crash(&booted);
            await_states(&booted, "shop", &SERVICES.map(|service| (service, "running")));
            assert_eq!(pids(&booted), programs, "{account}");
        }
        // Each line is there once, also those that were written while there was no guard.
        let log = "/var/log/tutela/shop/talker-0.log";
        let lines = booted.run(&format!("wc -l <{log}")).ok();
        booted.wait_until("it is written on", &format!("test $(wc -l <{log}) -gt {lines}"));
        booted.run(&format!("awk '$0 != NR {{ print NR \": \" $0; exit 1 }}' {log}")).ok();

        booted.run("systemctl stop shop").ok();
        assert_eq!(property(&booted, "shop", "Result"), "success", "{account}");
        nothing_is_left(&booted, &group);
        booted.run("tutela uninstall --purge shop").ok();
    }
}

#[test]
fn another_program_takes_the_guards_place_and_systemd_sees_no_change() {
    const NEXT: &str = "/usr/local/bin/tutela-next";
    let booted = with_tutela();
    booted.run(&format!("cp /usr/local/bin/tutela {NEXT}")).ok();
    for account in ACCOUNTS {
        start(&booted, account);
        let (programs, group) = (pids(&booted), group(&booted));
        let main = property(&booted, "shop", "MainPID");
        // There and back.
        for program in [NEXT, "/usr/local/bin/tutela"] {
            booted.run(&format!("tutela upgrade shop --to {program}")).ok();
            assert_eq!(booted.run(&format!("readlink /proc/{main}/exe")).ok(), program, "{account}");
            assert_eq!(property(&booted, "shop", "MainPID"), main, "{account}");
            assert_eq!(property(&booted, "shop", "NRestarts"), "0", "{account}");
            await_states(&booted, "shop", &SERVICES.map(|service| (service, "running")));
            assert_eq!(pids(&booted), programs, "{account}");
        }
        let log = "/var/log/tutela/shop/talker-0.log";
        let lines = booted.run(&format!("wc -l <{log}")).ok();
        booted.wait_until("it is written on", &format!("test $(wc -l <{log}) -gt {lines}"));
        booted.run(&format!("awk '$0 != NR {{ print NR \": \" $0; exit 1 }}' {log}")).ok();

        booted.run("systemctl stop shop").ok();
        assert_eq!(property(&booted, "shop", "Result"), "success", "{account}");
        nothing_is_left(&booted, &group);
        booted.run("tutela uninstall --purge shop").ok();
    }
}

#[test]
fn a_guard_that_hangs_when_it_is_stopped_leaves_nothing() {
    let booted = with_tutela();
    for account in ACCOUNTS {
        start(&booted, account);
        // What systemd asks it by, it does not take for a stop. One that is held still would hear the stop all the same,
        // because systemd lets it go on for that.
        let deaf = "[Service]\nKillSignal=SIGCONT\nTimeoutStopSec=1\n";
        booted.put("/etc/systemd/system/shop.service.d/deaf.conf", deaf);
        booted.run("systemctl daemon-reload").ok();
        let group = group(&booted);
        booted.run("systemctl stop shop").ok();
        assert_eq!(property(&booted, "shop", "Result"), "timeout", "{account}");
        nothing_is_left(&booted, &group);
        let told = booted.run("journalctl --unit=shop --no-pager | grep -c 'ended without stopping'").ok();
        assert!(told.parse::<usize>().is_ok_and(|told| told >= SERVICES.len()), "{told}");
        booted.run("rm -r /etc/systemd/system/shop.service.d && systemctl daemon-reload").ok();
        booted.run("tutela uninstall --purge shop").ok();
    }
}

#[test]
fn programs_whose_next_guard_does_not_come_are_ended() {
    let booted = with_tutela();
    for account in ACCOUNTS {
        // Stopped while there is no guard: systemd runs nothing for that.
        start(&booted, &format!("restart_delay = \"55s\"\n{account}"));
        let stopped = group(&booted);
        booted.run(&format!("kill -KILL {}", property(&booted, "shop", "MainPID"))).ok();
        booted.wait_until(
            "systemd waits before it starts another",
            "test $(systemctl show --value -p SubState shop) = auto-restart",
        );
        assert_eq!(booted.run("pgrep --full --count '[s]leep infinity'").ok(), "2", "{account}");
        booted.run("systemctl stop shop").ok();
        booted.wait_until("everything is ended", &format!("! {ANYTHING} && ! test -e {stopped}"));

        // Refused by what its spec has become.
        start(&booted, &format!("restart_delay = \"1s\"\n{account}"));
        let refused = group(&booted);
        booted.run("echo nonsense >>/srv/shop/tutela.toml").ok();
        booted.run(&format!("kill -KILL {}", property(&booted, "shop", "MainPID"))).ok();
        booted.wait_until("systemd gives up", "test $(systemctl show --value -p ActiveState shop) = failed");
        assert_eq!(property(&booted, "shop", "ExecMainStatus"), "2");
        booted.wait_until("everything is ended", &format!("! {ANYTHING} && ! test -e {refused}"));
        booted.run("tutela uninstall --purge shop").ok();
    }
}
