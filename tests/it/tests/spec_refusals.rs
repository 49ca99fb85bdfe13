//! Every bad input is refused with exit code 2, says where it is and how to mend it, starts nothing and never
//! panics: by `run`, by `check`, and by `check --json`, whose figures are compared.
//!
//! What each mistake is called, and its exact place, is tested in `tutela-schema`; here it is shown that a person
//! and a program get to see it, and that nothing was begun before it was found.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tutela_it::{Ended, Stage};

/// A bad spec and what has to be said about it.
struct Bad {
    spec: Vec<u8>,
    /// The stable word of the finding.
    code: &'static str,
    /// Line and column; `None`: it is in no line.
    place: Option<(u64, u64)>,
    /// What a person has to read.
    words: &'static str,
}

/// A service beside the bad one, whose start would leave a file behind.
const WITNESS: &str = "[services.witness]\ncommand = [\"touch\", \"started\"]\n";

/// A spec of a witness and a service `a` with these keys; the first of them is in line 6.
fn service(keys: &str) -> Vec<u8> {
    format!("name = \"bad\"\n{WITNESS}[services.a]\ncommand = [\"sleep\", \"60\"]\n{keys}\n").into_bytes()
}

/// The same with another command, in line 5.
fn command(command: &str) -> Vec<u8> {
    format!("name = \"bad\"\n{WITNESS}[services.a]\ncommand = [\"{command}\"]\n").into_bytes()
}

#[track_caller]
fn is_refused(stage: &Stage, bad: &Bad) {
    let path = stage.path("bad.toml");
    fs::write(&path, &bad.spec).unwrap();
    refused(stage, &path, bad);
}

#[track_caller]
fn refused(stage: &Stage, path: &Path, bad: &Bad) {
    let spec = path.to_str().unwrap();
    let place = bad.place.map(|(line, column)| format!(":{line}:{column}"));
    for words in [["run", spec], ["check", spec]] {
        let output = stage.cli(words);
        let said = &output.stderr;
        assert_eq!(output.code, 2, "{words:?}: {said}");
        assert!(said.contains(bad.words), "{words:?} does not say {:?}: {said}", bad.words);
        assert!(said.contains(bad.code), "{words:?} does not say {:?}: {said}", bad.code);
        if let Some(place) = &place {
            assert!(said.contains(place.as_str()), "{words:?} does not say {place}: {said}");
        }
        assert!(!said.contains("panicked"), "{words:?}: {said}");
        assert!(said.len() < 64 * 1024, "{words:?} said {} bytes", said.len());
    }
    let output = stage.cli(["check", "--json", spec]);
    assert_eq!(output.code, 2);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(found["ok"], false);
    let first = found["found"].as_array().unwrap().iter().find(|it| it["code"] == bad.code).unwrap();
    assert_eq!(first["severity"], "error");
    assert!(first["message"].as_str().is_some_and(|message| !message.is_empty()), "{first}");
    if let Some((line, column)) = bad.place {
        assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(line), Some(column)), "{first}");
        assert!(first["file"].as_str().is_some_and(|file| !file.is_empty()), "{first}");
    }
    assert!(!stage.path("started").exists(), "a service was started");
    let sockets = fs::read_dir(stage.home().join("run")).into_iter().flatten().flatten();
    let left: Vec<_> = sockets.map(|it| it.file_name()).filter(|it| it.to_string_lossy().ends_with(".sock")).collect();
    assert!(left.is_empty(), "a guard left its socket: {left:?}");
}

/// A spec, its finding, where that is, and what has to be read of it.
type Case = (Vec<u8>, &'static str, Option<(u64, u64)>, &'static str);

fn all(cases: Vec<Case>) {
    let stage = Stage::new();
    for (spec, code, place, words) in cases {
        is_refused(&stage, &Bad { spec, code, place, words });
    }
}

#[test]
fn an_unknown_key_is_refused_and_the_near_one_is_suggested() {
    all(vec![
        (service("instnaces = 2"), "unknown-key", Some((6, 1)), "did you mean 'instances'?"),
        (service("[services.a.restart]\nburts = 3"), "unknown-key", Some((7, 1)), "did you mean 'burst'?"),
        (service("qqq = 2"), "unknown-key", Some((6, 1)), "has no key 'qqq'"),
    ]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_both_types() {
    all(vec![
        (service("instances = \"two\""), "wrong-type", Some((6, 13)), "whole number"),
        (service("restart = 3"), "wrong-type", Some((6, 11)), "must be a table"),
    ]);
}

#[test]
fn a_bad_duration_and_a_bad_size_are_refused() {
    all(vec![
        (service("start_timeout = \"5 parsecs\""), "bad-duration", Some((6, 17)), "5 parsecs"),
        (service("limits.memory = \"lots\""), "bad-size", Some((6, 17)), "lots"),
    ]);
}

#[test]
fn what_is_there_twice_is_refused() {
    all(vec![
        (service("cwd = \".\"\ncwd = \".\""), "duplicate-key", Some((7, 1)), "duplicate key"),
        (service("[services.a]"), "duplicate-key", Some((6, 11)), "duplicate key"),
    ]);
}

#[test]
fn a_need_that_is_missing_and_needs_in_a_circle_are_refused_and_named() {
    all(vec![
        (service("needs = [\"witnes\"]"), "missing-need", Some((6, 10)), "did you mean 'witness'?"),
        (
            service("needs = [\"b\"]\n[services.b]\ncommand = [\"true\"]\nneeds = [\"a\"]"),
            "need-cycle",
            Some((6, 10)),
            "a -> b -> a",
        ),
    ]);
}

#[test]
fn a_program_that_is_missing_is_refused() {
    all(vec![
        (command("./nowhere/program"), "program-missing", Some((5, 11)), "nowhere/program"),
        (command("no-such-program-at-all"), "program-missing", Some((5, 11)), "PATH"),
    ]);
}

#[test]
fn a_program_that_cannot_be_executed_is_refused() {
    let stage = Stage::new();
    let plain = stage.path("plain");
    fs::write(&plain, "#!/bin/sh\ntouch started\n").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let of = |words| Bad { spec: command("./plain"), code: "program-not-executable", place: Some((5, 11)), words };
    is_refused(&stage, &of("chmod +x"));
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&plain, "touch started\n").unwrap();
    is_refused(&stage, &of("neither a program nor a script"));
    fs::write(&plain, "#!/bin/sh\r\ntouch started\r\n").unwrap();
    is_refused(&stage, &of("carriage return"));
    fs::write(&plain, "").unwrap();
    is_refused(&stage, &of("is empty"));
    fs::write(&plain, "#!/no/such/shell\n").unwrap();
    is_refused(&stage, &Bad { code: "program-missing", ..of("/no/such/shell") });
    fs::remove_file(&plain).unwrap();
    fs::create_dir(&plain).unwrap();
    is_refused(&stage, &of("plain"));
}

#[test]
fn a_program_for_another_machine_is_refused() {
    // 183 is the machine number of aarch64, 62 that of x86_64.
    let (other, name) = if cfg!(target_arch = "x86_64") { (183u16, "Aarch64") } else { (62, "X86_64") };
    let stage = Stage::new();
    let program = stage.path("foreign");
    let mut header = vec![0u8; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16] = 2;
    header[18..20].copy_from_slice(&other.to_le_bytes());
    header[20] = 1;
    fs::write(&program, &header).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let bad = |words| Bad { spec: command("./foreign"), code: "program-architecture", place: Some((5, 11)), words };
    is_refused(&stage, &bad(name));
    fs::write(&program, b"MZ\x90\0").unwrap();
    let output = stage.cli(["check", stage.path("bad.toml").to_str().unwrap()]);
    assert_eq!(output.code, 2, "{}", output.stderr);
}

#[test]
fn an_environment_file_that_cannot_be_read_is_refused() {
    let stage = Stage::new();
    let bad = |code, place, words| Bad { spec: service("env_files = [\"vars\"]"), code, place, words };
    is_refused(&stage, &bad("file-not-found", Some((6, 14)), "vars"));
    fs::create_dir(stage.path("vars")).unwrap();
    is_refused(&stage, &bad("file-unreadable", Some((6, 14)), "vars"));
    fs::remove_dir(stage.path("vars")).unwrap();
    fs::write(stage.path("vars"), "A=1\nthis is no variable\n").unwrap();
    is_refused(&stage, &bad("bad-env-file", Some((2, 6)), "vars:2"));
    fs::write(stage.path("vars"), b"A=\xff\n").unwrap();
    is_refused(&stage, &bad("not-utf-8", Some((1, 3)), "vars:1:3"));
}

#[test]
fn a_variable_that_is_not_set_is_refused_with_its_own_words() {
    all(vec![
        (
            service("cwd = \"${NO_SUCH_FOLDER:?say where the data is}\""),
            "unset-variable",
            Some((6, 7)),
            "say where the data is",
        ),
        (service("env = { A = \"${NO_SUCH_FOLDER}\" }"), "unset-variable", Some((6, 13)), "NO_SUCH_FOLDER is not set"),
    ]);
}

#[test]
fn what_is_no_text_empty_or_much_too_large_is_refused() {
    let mut broken = service("");
    broken.extend_from_slice(b"# \xff\xfe\n");
    all(vec![
        (broken, "not-utf-8", Some((7, 3)), "UTF-8"),
        (Vec::new(), "empty", Some((1, 1)), "the spec is empty"),
        (b"# nothing but this\n".to_vec(), "empty", Some((1, 1)), "the spec is empty"),
        (vec![b'#'; 20 << 20], "file-too-large", None, "larger than"),
        (service("cwd = \"a\\u0000b\""), "nul", Some((6, 7)), "NUL"),
        (service("cwd = \"a\0b\""), "syntax", Some((6, 9)), "error"),
        (b"\xff\xfen\0a\0m\0e\0".to_vec(), "not-utf-8", Some((1, 1)), "UTF-16"),
    ]);
}

#[test]
fn absurd_numbers_are_refused() {
    all(vec![
        (service("instances = 0"), "number-out-of-range", Some((6, 13)), "instances"),
        (service("instances = 99999999999999999999"), "number-out-of-range", Some((6, 13)), ""),
        (service("restart.factor = nan"), "number-out-of-range", Some((6, 18)), "factor"),
        (service("restart.burst = -1"), "number-out-of-range", Some((6, 17)), "burst"),
        (service("start_timeout = \"99999999999999999999h\""), "bad-duration", Some((6, 17)), ""),
        (service("limits.memory = \"99999999999999999999EiB\""), "number-out-of-range", Some((6, 17)), ""),
    ]);
}

#[test]
fn a_name_with_a_slash_is_refused_before_any_path_is_made_of_it() {
    let stage = Stage::new();
    let spec = |name: &str, service: &str| {
        format!("name = \"{name}\"\n[services.\"{service}\"]\ncommand = [\"touch\", \"started\"]\n").into_bytes()
    };
    is_refused(&stage, &Bad { spec: spec("../bad", "a"), code: "bad-name", place: Some((1, 8)), words: "'.'" });
    is_refused(&stage, &Bad { spec: spec("b/ad", "a"), code: "bad-name", place: Some((1, 8)), words: "'/'" });
    is_refused(&stage, &Bad { spec: spec("bad", "a/b"), code: "bad-name", place: Some((2, 11)), words: "'/'" });
    assert!(!stage.home().join("state").exists() && !stage.home().join("logs").exists());
}

#[test]
fn a_port_in_use_is_refused_and_named() {
    let stage = Stage::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    // A port that the service is told is its own; at another one somebody else may be asked on purpose.
    let ready = format!("ready = {{ tcp = \"127.0.0.1:{port}\" }}");
    let spec = service(&format!("{ready}\nenv = {{ PORT = \"{port}\" }}"));
    is_refused(&stage, &Bad { spec, code: "port-in-use", place: Some((6, 17)), words: "in use already" });
    std::fs::write(stage.path("other.toml"), service(&ready)).unwrap();
    let other = stage.cli(["check".as_ref(), stage.path("other.toml").as_os_str()]);
    assert!(other.code == 0 && other.stderr.contains("warning[port-in-use]"), "{}", other.stderr);
}

#[test]
fn a_spec_that_is_not_there_or_is_a_folder_is_refused() {
    let stage = Stage::new();
    let bad = |code, words| Bad { spec: Vec::new(), code, place: None, words };
    refused(&stage, &stage.path("nowhere.toml"), &bad("file-not-found", "nowhere.toml"));
    let folder: PathBuf = stage.path("folder.toml");
    fs::create_dir(&folder).unwrap();
    refused(&stage, &folder, &bad("file-unreadable", "folder.toml"));
}

#[test]
fn wrong_words_on_the_command_line_are_refused() {
    let stage = Stage::new();
    let spec = stage.path("good.toml");
    fs::write(&spec, "name = \"good\"\n[services.a]\ncommand = [\"true\"]\n").unwrap();
    let good = spec.to_str().unwrap();
    for words in [
        vec![],
        vec!["fly"],
        vec!["run"],
        vec!["run", good, "--", "true"],
        vec!["run", "--no-such-flag", good],
        vec!["check"],
        vec!["stop"],
        vec!["stop", "a/b/c"],
        vec!["stop", "../x"],
        vec!["stop", "x/a", "--shutdown"],
        vec!["reload", "x/a"],
        vec!["status", "no name"],
        vec!["logs", "x", "-n", "many"],
        vec!["logs", "x", "--since", "yesterday-ish"],
        vec!["logs", "x", "--stream", "third"],
        vec!["events", "x", "--since", "yesterday-ish"],
        vec!["completions", "tcl"],
    ] {
        let Ended { code, stderr, stdout } = stage.cli(&words);
        assert_eq!(code, 2, "{words:?}: {stderr}");
        assert!(!stderr.is_empty() && stdout.is_empty(), "{words:?}: {stdout}");
        assert!(!stderr.contains("panicked"), "{words:?}: {stderr}");
    }
    assert_eq!(stage.cli(["check", good]).code, 0);
}

#[test]
fn every_mistake_of_a_spec_is_told_at_once() {
    let stage = Stage::new();
    let path = stage.path("bad.toml");
    fs::write(&path, service("instances = 0\ncwd = 1\nneeds = [\"nobody\"]")).unwrap();
    let output = stage.cli(["check", "--json", path.to_str().unwrap()]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let codes: Vec<_> = found["found"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["number-out-of-range", "wrong-type", "missing-need"]);
}
