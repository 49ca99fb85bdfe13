//! What cannot be installed is refused with advice, and the system is as it was.

use crate::stage::{HELLO, System, with_hello};
use tutela_beds::{Booted, Ended};

/// Runs a command that has to be refused, and compares the whole system before and after.
#[track_caller]
fn refused(booted: &Booted, code: i32, run: impl FnOnce(&Booted) -> Ended) -> Ended {
    let before = System::of(booted);
    let ended = run(booted).with_code(code);
    let changed = before.difference(&System::of(booted));
    assert!(changed.is_empty(), "changed: {changed:#?}\n{}", ended.story());
    assert!(!ended.err.trim().is_empty(), "refused without a word: {}", ended.story());
    ended
}

#[test]
fn another_account_than_root_is_refused_and_told_what_to_do() {
    let booted = with_hello();
    booted.run("useradd --create-home alice").ok();
    let ended = refused(&booted, 5, |booted| booted.run_as("alice", &format!("tutela install {HELLO}")));
    assert!(ended.err.contains("sudo"), "{}", ended.story());

    booted.run(&format!("tutela install --start {HELLO}")).ok();
    let guard = booted.run("systemctl show --value -p MainPID hello").ok();
    for command in ["tutela uninstall hello", "tutela uninstall --purge hello"] {
        booted.run_as("alice", command).with_code(5);
    }
    assert_eq!(booted.run("systemctl show --value -p MainPID hello").ok(), guard);
    assert_eq!(booted.run("systemctl is-enabled hello").ok(), "enabled");
}

#[test]
fn an_account_that_is_not_there_is_refused() {
    let booted = with_hello();
    let ended = refused(&booted, 2, |booted| booted.run(&format!("tutela install --account nobody-knows-me {HELLO}")));
    assert!(ended.err.contains("nobody-knows-me"), "{}", ended.story());
}

#[test]
fn a_name_that_belongs_to_somebody_elses_unit_is_refused() {
    let booted = with_hello();
    booted.put("/etc/systemd/system/hello.service", "[Service]\nExecStart=/bin/sleep infinity\n");
    booted.run("systemctl daemon-reload && systemctl start hello").ok();
    let ended = refused(&booted, 1, |booted| booted.run(&format!("tutela install {HELLO}")));
    assert!(ended.err.contains("hello.service"), "{}", ended.story());
    let ended = booted.run("tutela uninstall hello");
    assert_ne!(ended.code, 0, "{}", ended.story());
    assert_eq!(booted.run("systemctl is-active hello").ok(), "active");

    // Also where the package of somebody else put it.
    booted.run("systemctl stop hello; mv /etc/systemd/system/hello.service /usr/lib/systemd/system/").ok();
    booted.run("systemctl daemon-reload").ok();
    refused(&booted, 1, |booted| booted.run(&format!("tutela install {HELLO}")));
}

#[test]
fn a_folder_of_units_that_cannot_be_written_to_is_told_and_everything_is_undone() {
    let booted = with_hello();
    booted.run("mount --bind /etc/systemd/system /etc/systemd/system").ok();
    booted.run("mount -o remount,bind,ro /etc/systemd/system").ok();
    let before = System::of(&booted);
    let ended = booted.run(&format!("tutela install --start {HELLO}"));
    assert_ne!(ended.code, 0, "{}", ended.story());
    assert!(ended.err.contains("/etc/systemd/system"), "{}", ended.story());
    let changed = before.difference(&System::of(&booted));
    assert!(changed.is_empty(), "changed: {changed:#?}\n{}", ended.story());
}

#[test]
fn a_name_that_is_too_long_or_no_name_is_refused() {
    let booted = with_hello();
    for name in ["x".repeat(300), "../escape".to_owned(), "two words".to_owned(), "a.service\\nb".to_owned()] {
        booted.put("/srv/named/tutela.toml", &format!("name = \"{name}\"\n[services.a]\ncommand = [\"true\"]\n"));
        refused(&booted, 2, |booted| booted.run("tutela install /srv/named/tutela.toml"));
    }
}

#[test]
fn a_spec_with_a_mistake_and_one_that_is_not_there_are_refused() {
    let booted = with_hello();
    booted.put("/srv/wrong/tutela.toml", "name = \"wrong\"\n[services.a]\ncomand = [\"true\"]\n");
    let ended = refused(&booted, 2, |booted| booted.run("tutela install /srv/wrong/tutela.toml"));
    assert!(ended.err.contains("command"), "the near key is not named: {}", ended.story());
    refused(&booted, 2, |booted| booted.run("tutela install /srv/not-there.toml"));
    refused(&booted, 4, |booted| booted.run("tutela uninstall never-installed"));
}

#[test]
fn showing_the_plan_changes_nothing() {
    let booted = with_hello();
    let before = System::of(&booted);
    let plan = booted.run(&format!("tutela install --print {HELLO}")).ok();
    assert!(plan.contains("/etc/systemd/system/hello.service") && plan.contains("ExecStart="), "{plan}");
    let changed = before.difference(&System::of(&booted));
    assert!(changed.is_empty(), "changed: {changed:#?}");
}
