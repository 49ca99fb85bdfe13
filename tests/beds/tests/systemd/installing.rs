//! Installing, installing again, and taking away.

use crate::stage::{HELLO, System, await_states, property, with_hello};
use tutela_beds::Booted;

/// The exposure that `systemd-analyze security` may find in a guard: at 2.0 it says OK, and most services have 9.
const EXPOSURE_MAX: f64 = 2.0;

#[test]
fn an_installed_guard_is_a_clean_and_hardened_unit_whose_services_run() {
    let booted = with_hello();
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    await_states(&booted, "hello", &[("clock", "running"), ("worker", "running")]);
    assert_eq!(booted.run("systemctl is-active hello").ok(), "active");
    assert_eq!(booted.run("systemctl is-enabled hello").ok(), "enabled");

    let verified = booted.run("systemd-analyze verify --man=no hello.service");
    assert_eq!((verified.code, verified.out.as_str(), verified.err.as_str()), (0, "", ""), "{}", verified.story());

    let told = booted.run("systemd-analyze security --no-pager hello.service").ok();
    let level = told.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    let words = level.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let exposure: Vec<f64> = words.collect();
    assert!(matches!(exposure.as_slice(), [found] if *found <= EXPOSURE_MAX), "{told}");

    // Each program has a control group of its own within the unit's.
    let groups = booted.run("systemd-cgls --no-pager --unit hello.service").ok();
    for name in ["guard", "clock.0", "worker.0"] {
        assert!(groups.contains(name), "no group {name} in\n{groups}");
    }
}

#[test]
fn installing_again_touches_nothing_and_a_changed_spec_changes_the_unit_in_place() {
    let booted = with_hello();
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    let guard = property(&booted, "hello", "MainPID");
    let unit =
        booted.run("cat /etc/systemd/system/hello.service; stat -c %Y.%i /etc/systemd/system/hello.service").ok();

    booted.run(&format!("tutela install {HELLO}")).ok();
    let again = booted.run("cat /etc/systemd/system/hello.service; stat -c %Y.%i /etc/systemd/system/hello.service");
    assert_eq!(again.ok(), unit);

    booted.run(&format!("sed -i 's/^description = .*/description = \"Another one\"/' {HELLO}")).ok();
    booted.run(&format!("tutela install {HELLO}")).ok();
    assert!(property(&booted, "hello", "Description").contains("Another one"));
    assert_eq!(property(&booted, "hello", "NeedDaemonReload"), "no");
    assert_eq!(property(&booted, "hello", "MainPID"), guard, "the guard that runs was left alone");
    assert_eq!(booted.run("systemctl is-active hello").ok(), "active");
}

#[test]
fn what_an_operator_put_into_a_drop_in_survives_installing_again_and_is_told_when_uninstalling() {
    let booted = with_hello();
    booted.run(&format!("tutela install {HELLO}")).ok();
    booted.put("/etc/systemd/system/hello.service.d/mine.conf", "[Service]\nNice=5\n");
    booted.run("systemctl daemon-reload").ok();
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    assert_eq!(property(&booted, "hello", "Nice"), "5");
    booted.run("tutela uninstall hello").ok();
    booted.run("test -e /etc/systemd/system/hello.service").with_code(1);
    booted.run("test -e /etc/systemd/system/hello.service.d/mine.conf").ok();
}

#[test]
fn uninstalling_leaves_state_and_logs_alone_and_nothing_else() {
    let booted = with_hello();
    let before = System::of(&booted);
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    booted.run("tutela uninstall hello").ok();
    let left = before.difference(&System::of(&booted));
    let kept = [
        "file /var/lib/tutela",
        "file /var/log/tutela",
        "file /srv/hello/run",
        "account tutela-hello:",
        "group tutela-hello:",
    ];
    let strange: Vec<&String> = left
        .iter()
        .filter(|line| !kept.iter().any(|kept| line.strip_prefix("+ ").is_some_and(|line| line.starts_with(kept))))
        .filter(|line| !is_account_file(line) && !is_folder_of_sockets(line))
        .collect();
    assert!(strange.is_empty(), "left behind: {strange:#?}");
    assert!(left.iter().any(|line| line.contains("/var/lib/tutela/hello/")), "its state is gone: {left:#?}");
    assert_eq!(booted.run("pgrep --full '[s]rv/hello|[t]utela run'").code, 1, "something of it still runs");

    // What the first one left is found by its name.
    let told = booted.run("tutela uninstall hello").with_code(4);
    assert!(told.err.contains("--purge"), "{}", told.story());
    booted.run("tutela uninstall --purge hello").ok();
    let left = left_behind(&before, &booted);
    assert!(left.is_empty(), "left behind: {left:#?}");
    booted.run("tutela uninstall --purge hello").with_code(4);
}

#[test]
fn what_a_guard_uses_that_somebody_runs_by_hand_is_not_purged() {
    let booted = with_hello();
    booted.run(&format!("systemd-run --unit=by-hand --setenv=HOME=/root tutela run {HELLO}")).ok();
    booted.wait_until("it answers", "tutela status hello");
    let told = booted.run("tutela uninstall --purge hello").with_code(1);
    assert!(told.err.contains("runs as process"), "{}", told.story());
    booted.run("tutela status hello").ok();
    booted.run("test -e /var/lib/tutela/hello").ok();
    // Nor is a second one of its name begun, though that would have its socket elsewhere.
    booted.run(&format!("tutela install {HELLO}")).ok();
    booted.run("systemctl start --no-block hello").ok();
    booted.wait_until("it says so", "journalctl --unit=hello | grep 'runs already as process'");
    booted.run("tutela status hello").ok();
    // What it had as root the installed one takes over; what its programs wrote as root is the operator's.
    booted.run("systemctl stop by-hand && chown -R tutela-hello: /srv/hello/run").ok();
    booted.run("systemctl restart hello").ok();
    await_states(&booted, "hello", &[("clock", "running"), ("worker", "running")]);
}

#[test]
fn purging_leaves_nothing_at_all() {
    let booted = with_hello();
    let before = System::of(&booted);
    booted.run(&format!("tutela install --start {HELLO}")).ok();
    booted.run("tutela uninstall --purge hello").ok();
    let left = left_behind(&before, &booted);
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// The folder that the spec itself names as writable is the operator's, with what programs wrote there.
fn left_behind(before: &System, booted: &Booted) -> Vec<String> {
    let mut left = before.difference(&System::of(booted));
    left.retain(|line| {
        !line.starts_with("+ file /srv/hello/run") && !is_account_file(line) && !is_folder_of_sockets(line)
    });
    left
}

/// The folder of all guards' sockets. systemd makes it, in memory, and leaves it empty until the next boot.
fn is_folder_of_sockets(line: &str) -> bool {
    line == "+ file /run/tutela d 755 root root"
}

/// The files in which accounts are: what they say is compared account by account, and their backups are the OS's own.
fn is_account_file(line: &str) -> bool {
    ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"]
        .iter()
        .any(|name| line.contains(&format!(" /etc/{name} ")) || line.contains(&format!(" /etc/{name}- ")))
}
