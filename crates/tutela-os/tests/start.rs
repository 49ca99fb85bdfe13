//! What a program gets at its start, and what is said when it cannot be started. Some of it needs root,
//! which the tests of this project have.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use support::{Hold, block_on, executable, shell, ward};
use tokio::io::AsyncReadExt;
use tutela_core::spec::{Capability, Limits, Priority, Security};
use tutela_os::accounts;
use tutela_os::handle::Handle;
use tutela_os::process::{SpawnError, SpawnRequest, SpawnStep, Stdio};

fn started() -> Hold {
    ward(false)
}

fn refusal(request: &SpawnRequest) -> SpawnError {
    started().nursery.spawn(request).unwrap_err()
}

fn status_field(output: &str, field: &str) -> String {
    let line =
        output.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("{field} in {output}"));
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn a_missing_program_is_told_from_a_missing_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let missing = refusal(&SpawnRequest::new(dir.path().join("nothing"), "/", "a"));
    assert_eq!((missing.step, missing.error.kind()), (SpawnStep::Program, ErrorKind::NotFound));
    assert!(missing.to_string().contains("there is no such file"), "{missing}");

    let script = dir.path().join("script");
    executable(&script, b"#!/no/such/shell -e\n");
    let interpreter = refusal(&SpawnRequest::new(&script, "/", "a"));
    assert!(interpreter.to_string().contains("/no/such/shell"), "{interpreter}");

    executable(&script, b"#!/bin/sh\r\necho\r\n");
    let carriage_return = refusal(&SpawnRequest::new(&script, "/", "a"));
    assert!(carriage_return.to_string().contains("unix line ends"), "{carriage_return}");
}

#[test]
fn a_file_that_is_no_program_is_told_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    for (text, told) in [
        (&b""[..], "is empty"),
        (b"MZ\x90\0", "Windows"),
        (b"echo hello\n", "neither a program"),
        (b"\x7fELF\x02\x01\x01", "another architecture"),
    ] {
        executable(&file, text);
        let error = refusal(&SpawnRequest::new(&file, "/", "a"));
        assert_eq!(error.error.raw_os_error(), Some(8), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let error = refusal(&SpawnRequest::new(&file, "/", "a"));
    assert_eq!(error.error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("chmod +x"), "{error}");
}

#[test]
fn the_step_that_failed_is_named() {
    let mut folder = shell("a", "");
    folder.cwd = "/no/such/folder".into();
    let error = refusal(&folder);
    assert_eq!((error.step, error.subject.as_str()), (SpawnStep::Folder, "/no/such/folder"));

    let mut nul = shell("a", "");
    nul.args.push("a\0b".into());
    assert_eq!(refusal(&nul).step, SpawnStep::Prepare);

    let label = shell("../evil", "");
    assert!(refusal(&label).to_string().contains("cannot be the name of a tree"));

    let mut long = shell("a", "");
    long.args.push("x".repeat(200_000).into());
    let error = refusal(&long);
    assert!(error.to_string().contains("too long for the kernel"), "{error}");

    let mut mount = shell("a", "");
    mount.security.read_only_paths = vec!["/".into(), "/no/such/path".into()];
    let error = refusal(&mount);
    assert_eq!((error.step, error.subject.as_str()), (SpawnStep::ReadOnlyPaths, "/no/such/path"));

    let mut limits = shell("a", "");
    limits.limits.open_files = Some(1 << 62);
    let error = refusal(&limits);
    assert_eq!(error.step, SpawnStep::Limits);
    assert!(error.to_string().contains("open_files"), "{error}");
    assert!(!error.may_pass());
}

#[test]
fn two_hundred_starts_leave_no_descriptor_behind() {
    let ward = started();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let run = |count: usize| {
        for _ in 0..count {
            let child = ward.script("fds", "exit 0").child;
            ward.end_of(&child);
            ward.nursery.spawn(&SpawnRequest::new("/no/such/program", "/", "fds")).unwrap_err();
        }
    };
    run(1);
    let before = open();
    run(200);
    // Other tests of this binary run at the same time and hold some for a moment.
    support::eventually("no more are open than before", || open() <= before + 8);
}

#[test]
fn a_program_gets_three_streams_and_nothing_else_of_the_guards() {
    let ward = started();
    let _open = std::fs::File::open("/dev/zero").unwrap();
    let script = ward.script("streams", "echo; exec sleep 1000");
    script.lines(1);
    // While it is being loaded, a program has its libraries open.
    support::eventually("three are open", || {
        std::fs::read_dir(format!("/proc/{}/fd", script.child.pid())).unwrap().count() == 3
    });
    ward.end(&script.child);
}

#[test]
fn the_output_of_a_program_comes_through_a_pipe_and_ends_with_it() {
    let ward = started();
    let (text, child) = block_on(async {
        let (mut read, write) = tutela_os::pipe::output_pipe(Some(1 << 16)).unwrap();
        let mut request = shell("pipe", "echo out; echo err >&2");
        request.stdout = Stdio::Handle(write.clone());
        request.stderr = Stdio::Handle(write);
        let child = ward.nursery.spawn(&request).unwrap();
        drop(request);
        let mut text = String::new();
        read.read_to_string(&mut text).await.unwrap();
        (text, child)
    });
    ward.end_of(&child);
    assert_eq!(text, "out\nerr\n");
}

#[test]
fn a_program_has_a_session_default_reactions_and_an_empty_mask() {
    let ward = started();
    let script = ward.script("signals", "cat /proc/self/status; cut -d' ' -f6 /proc/$$/stat");
    ward.end_of(&script.child);
    let output = script.output();
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(u64::from_str_radix(&status_field(&output, field), 16).unwrap(), 0, "{field}");
    }
    assert_eq!(output.lines().last().unwrap().trim(), script.child.pid().to_string());
}

#[test]
fn mask_folder_limits_priority_and_score_are_the_programs_own() {
    let ward = started();
    let text = "umask; pwd; ulimit -n; ulimit -c; nice; cat /proc/self/oom_score_adj";
    let script = ward.script_with("settings", text, |request| {
        request.umask = Some(0o027);
        request.cwd = "/usr".into();
        request.limits = Limits { open_files: Some(123), core: Some(0), priority: Priority::Low, ..Limits::default() };
        request.oom_score_adjust = Some(300);
    });
    ward.end_of(&script.child);
    assert_eq!(script.output().split_whitespace().collect::<Vec<_>>(), ["0027", "/usr", "123", "0", "10", "300"]);
}

#[test]
fn another_user_has_their_groups_and_no_capability() {
    let ward = started();
    let script = ward.script_with("user", "cat /proc/self/status", |request| {
        request.identity = Some(accounts::resolve("nobody", None).unwrap());
    });
    ward.end_of(&script.child);
    let output = script.output();
    let nobody = accounts::resolve("nobody", None).unwrap();
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    assert_eq!(status_field(&output, "Uid"), four(nobody.id().uid().unwrap()));
    assert_eq!(status_field(&output, "Gid"), four(nobody.id().gid().unwrap()));
    assert_eq!(
        status_field(&output, "Groups"),
        nobody.groups().iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    );
    assert_eq!(status_field(&output, "CapEff"), "0000000000000000");
    // The guard shares its memory with the program until it runs, and must not be barred from itself.
    assert!(std::fs::read("/proc/self/environ").is_ok());
}

#[test]
fn another_user_keeps_exactly_the_capabilities_that_are_named() {
    let ward = started();
    let kept = Capability::from_name("NET_BIND_SERVICE").unwrap();
    let script = ward.script_with("caps", "cat /proc/self/status", |request| {
        request.identity = Some(accounts::resolve("nobody", None).unwrap());
        request.security = Security { no_new_privileges: true, capabilities: Some(vec![kept]), ..Security::default() };
    });
    ward.end_of(&script.child);
    let output = script.output();
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status_field(&output, field), 16).unwrap(), 1 << kept.number(), "{field}");
    }
    assert_eq!(status_field(&output, "NoNewPrivs"), "1");
}

#[test]
fn root_without_capabilities_has_none() {
    let ward = started();
    let script = ward.script_with("rootless", "cat /proc/self/status", |request| {
        request.security.capabilities = Some(Vec::new());
    });
    ward.end_of(&script.child);
    for field in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(&script.output(), field), "0000000000000000", "{field}");
    }
}

#[test]
fn read_only_paths_are_and_writable_ones_within_are_not() {
    let ward = started();
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("data");
    std::fs::create_dir(&inner).unwrap();
    let text = "touch a && echo a; touch data/b && echo b; touch /proc/self/fd/1 2>/dev/null; touch /usr/c && echo c";
    let script = ward.script_with("mounts", text, |request| {
        request.cwd = dir.path().into();
        request.security.read_only_paths = vec![dir.path().into(), "/usr".into()];
        request.security.writable_paths = vec![inner.clone()];
        request.stderr = Stdio::Null;
    });
    ward.end_of(&script.child);
    assert_eq!(script.output(), "b\n");
    assert!(inner.join("b").exists() && !dir.path().join("a").exists());
    // Nothing of it is to be seen from here.
    assert!(std::fs::write(dir.path().join("a"), "").is_ok());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn the_whole_root_can_be_read_only_but_for_a_folder() {
    let ward = started();
    let dir = tempfile::tempdir().unwrap();
    let script = ward.script_with("all", "touch /etc/tutela-test && echo etc; touch here && echo here", |request| {
        request.cwd = dir.path().into();
        request.security.read_only_paths = vec!["/".into()];
        request.security.writable_paths = vec![dir.path().into()];
        request.stderr = Stdio::Null;
    });
    ward.end_of(&script.child);
    assert_eq!(script.output(), "here\n");
    assert!(!Path::new("/etc/tutela-test").exists());
}

#[test]
fn listening_sockets_are_handed_over_with_the_programs_own_number() {
    let ward = started();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = "echo $$ $LISTEN_PID $LISTEN_FDS; readlink /proc/$$/fd/3; ls /proc/$$/fd | wc -l";
    let script = ward.script_with("listen", text, |request| {
        request.env.push(("LISTEN_PID".into(), "1".into()));
        request.listen = vec![Handle::from(listener)];
    });
    ward.end_of(&script.child);
    let output = script.output();
    let lines: Vec<&str> = output.lines().collect();
    let numbers: Vec<u32> = lines[0].split(' ').map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers, [script.child.pid(), script.child.pid(), 1]);
    assert!(lines[1].starts_with("socket:"), "{output}");
}

#[test]
fn a_program_gets_back_the_limit_of_open_files_that_the_guard_was_started_with() {
    let ward = started();
    let raised = tutela_os::limits::raise_open_files().unwrap();
    let script = ward.script("nofile", "ulimit -Sn");
    ward.end_of(&script.child);
    let shown = script.output();
    assert!(shown.trim() == raised.before.to_string() || shown.trim() == "unlimited", "{shown} {raised:?}");
}
