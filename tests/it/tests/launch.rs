//! What a program is given: its account, its limits and its rights, as the kernel shows them. Needs root.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use tutela_it::processes::{set_mode, status_field};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// A stage with an understudy that other accounts can reach, wherever this repository lies.
fn open_stage() -> Stage {
    let stage = Stage::new();
    std::fs::copy(tutela_it::program::folder().join("understudy"), stage.path("program")).unwrap();
    set_mode(&stage.path("program"), 0o755);
    stage
}

fn start(stage: Stage, keys: &str) -> (Guard, u32) {
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"./program\", \"say=up\", \"hang\"]\nready.log = \"^up$\"\n{keys}"
    ));
    let guard = stage.start(Container::ControlGroup);
    let pid = guard.wait_state("a", "running").pid.unwrap();
    (guard, pid)
}

fn words(pid: u32, field: &str) -> Vec<String> {
    status_field(pid, field).unwrap().split_ascii_whitespace().map(str::to_owned).collect()
}

/// Soft and hard limit of a resource, by its words in `/proc/PID/limits`.
fn limit(pid: u32, resource: &str) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with(resource)).unwrap();
    let mut values = line[resource.len()..].split_ascii_whitespace().map(str::to_owned);
    (values.next().unwrap(), values.next().unwrap())
}

fn ids_of(user: &str) -> (String, String) {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap();
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].to_owned(), fields[3].to_owned())
}

#[test]
fn a_program_runs_as_the_account_that_the_spec_names_and_keeps_no_right_of_root() {
    let (guard, pid) = start(open_stage(), "user = \"nobody\"\n");
    let (uid, gid) = ids_of("nobody");
    assert!(words(pid, "Uid").iter().all(|id| *id == uid), "{:?}", words(pid, "Uid"));
    assert!(words(pid, "Gid").iter().all(|id| *id == gid), "{:?}", words(pid, "Gid"));
    assert!(!words(pid, "Groups").contains(&"0".to_owned()), "{:?}", words(pid, "Groups"));
    for set in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status_field(pid, set).unwrap(), 16).unwrap(), 0, "{set}");
    }
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let variables: Vec<&str> = environment.split('\0').collect();
    assert!(variables.contains(&"USER=nobody") && variables.contains(&"LOGNAME=nobody"), "{variables:?}");
    drop(guard);
}

#[test]
fn a_group_of_its_own_goes_with_the_user() {
    let (guard, pid) = start(open_stage(), "user = \"nobody\"\ngroup = \"daemon\"\n");
    let (_, gid) = ids_of("daemon");
    assert!(words(pid, "Gid").iter().all(|id| *id == gid), "{:?}", words(pid, "Gid"));
    drop(guard);
}

#[test]
fn umask_limits_and_priority_are_as_the_spec_says() {
    let (guard, pid) = start(
        open_stage(),
        "umask = \"0137\"\n[services.a.limits]\nopen_files = 321\ncore = \"4096\"\npriority = \"low\"\n",
    );
    assert_eq!(status_field(pid, "Umask").unwrap(), "0137");
    assert_eq!(limit(pid, "Max open files"), ("321".to_owned(), "321".to_owned()));
    assert_eq!(limit(pid, "Max core file size").0, "4096");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(16), Some("10"));
    drop(guard);
}

#[test]
fn a_program_without_limits_has_those_of_who_started_the_guard() {
    let (guard, pid) = start(open_stage(), "");
    for resource in ["Max open files", "Max core file size", "Max processes"] {
        assert_eq!(limit(pid, resource), limit(std::process::id(), resource), "{resource}");
    }
    assert_eq!(status_field(pid, "SigBlk").unwrap(), "0000000000000000");
    assert_eq!(status_field(pid, "SigIgn").unwrap(), "0000000000001000", "the runtime of the understudy ignores PIPE");
    drop(guard);
}

#[test]
fn capabilities_are_only_those_that_the_spec_leaves() {
    let (guard, pid) = start(
        open_stage(),
        "[services.a.security]\ncapabilities = [\"NET_BIND_SERVICE\", \"CHOWN\"]\nno_new_privileges = true\n",
    );
    let wanted = 1 << 10 | 1;
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&status_field(pid, set).unwrap(), 16).unwrap(), wanted, "{set}");
    }
    assert_eq!(status_field(pid, "NoNewPrivs").unwrap(), "1");
    drop(guard);
}

#[test]
fn a_plain_account_keeps_the_capability_that_it_is_left() {
    let (guard, pid) = start(open_stage(), "user = \"nobody\"\nsecurity.capabilities = [\"NET_BIND_SERVICE\"]\n");
    let effective = u64::from_str_radix(&status_field(pid, "CapEff").unwrap(), 16).unwrap();
    assert_eq!(effective, 1 << 10);
    drop(guard);
}

#[test]
fn paths_that_are_read_only_can_be_written_to_only_where_the_spec_says() {
    let stage = open_stage();
    std::fs::create_dir(stage.path("data")).unwrap();
    stage.write_spec(
        "[services.stopped]\ncommand = [\"./program\", \"write=forbidden\"]\n\
         [services.stopped.restart]\nwhen = \"never\"\n\
         [services.stopped.security]\nread_only_paths = [\".\"]\nwritable_paths = [\"data\"]\n\
         [services.allowed]\ncommand = [\"./program\", \"write=data/allowed\", \"hang\"]\n\
         [services.allowed.security]\nread_only_paths = [\".\"]\nwritable_paths = [\"data\"]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    assert_eq!(guard.wait_state("stopped", "failed").cause, "exited with code 66");
    assert!(!guard.path("forbidden").exists());
    tutela_it::wait_until(tutela_it::BOUND, "the allowed file is written", || {
        guard.path("data/allowed").exists().then_some(())
    });
    // Nobody else sees it: the folder is as writable here as it was.
    guard.write("ours", "");
}

#[test]
fn a_program_gets_the_environment_of_the_spec_and_its_own_words() {
    let stage = open_stage();
    stage.write(".env", "COLOUR=blue\nSHAPE='a circle'\n");
    stage.write_spec(
        "[services.a]\ncommand = [\"./program\", \"env=env-${instance}\", \"hang\"]\ninstances = 2\n\
         env = { COLOUR = \"red\", NUMBER = \"${instance}\" }\nenv_files = [\".env\"]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    for instance in ["0", "1"] {
        let text = guard.written(&format!("env-{instance}"));
        for line in ["COLOUR=red", "SHAPE=a circle", "TUTELA_SERVICE=a"] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
        assert!(text.lines().any(|line| line == format!("NUMBER={instance}")), "{text}");
        assert!(text.lines().any(|line| line == format!("TUTELA_INSTANCE={instance}")), "{text}");
    }
}

#[test]
fn a_limit_of_the_size_of_files_is_met_as_a_full_disk_and_ends_no_guard() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"pid=pid\", \"lines=200000\", \"write=survived\", \"hang\"]\n",
    );
    let tutela = stage.command();
    let mut command = Command::new("prlimit");
    command.arg("--fsize=1048576").arg(tutela.get_program()).args(["run", "--quiet"]).arg(stage.spec_path());
    command.envs(tutela.get_envs().filter_map(|(name, value)| Some((name, value?))));
    stage.dress(&mut command);
    let guard = stage.start_command(command);
    wait_until(BOUND, "the program went on", || guard.path("survived").exists().then_some(()));
    let pid = guard.written_pid("pid");
    wait_until(BOUND, "what was not stored is told", || {
        guard.messages().iter().any(|it| it.contains("File too large")).then_some(())
    });
    guard.wait_state("a", "running");
    // Programs are ended by it as ever: it is not among the signals that they ignore.
    let ignored = status_field(pid, "SigIgn").unwrap();
    assert_eq!(u64::from_str_radix(&ignored, 16).unwrap() & 1 << (25 - 1), 0, "SIGXFSZ in {ignored}");
}
