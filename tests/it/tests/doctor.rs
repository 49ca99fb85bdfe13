//! What `tutela doctor` finds on a real computer: libraries that are missing, loaders that are led astray, paths that
//! were split, folders that others may write to, ports that somebody has.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::process::Command;
use tutela_it::{BOUND, Ended, Stage, run_within};

/// A stage with programs: `api` is linked to `liba.so` in the folder `lib`, which is linked to `libb.so` beside it.
fn linked(stage: &Stage, rpath: &str) {
    std::fs::create_dir(stage.path("lib")).unwrap();
    stage.write("b.c", "int b(void) { return 2; }\n");
    stage.write("a.c", "int b(void); int a(void) { return b(); }\n");
    stage.write("api.c", "int a(void); int main(void) { return a(); }\n");
    cc(stage, &["-shared", "-fPIC", "-o", "lib/libb.so", "b.c"]);
    cc(stage, &["-shared", "-fPIC", "-o", "lib/liba.so", "a.c", "-Llib", "-lb"]);
    cc(stage, &["-o", "api", "api.c", "-Llib", "-la", "-Wl,-rpath-link,lib", rpath]);
}

fn cc(stage: &Stage, words: &[&str]) {
    let mut command = Command::new("cc");
    command.args(words).current_dir(stage.path("."));
    let ended = run_within(BOUND, command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

fn doctor(stage: &Stage) -> (Ended, Vec<Value>) {
    let mut command = stage.command();
    command.args(["doctor", "--json"]).arg(stage.path("tutela.toml"));
    let ended = run_within(BOUND, command);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, answer["found"].as_array().unwrap().clone())
}

fn of<'a>(found: &'a [Value], code: &str) -> Vec<&'a Value> {
    found.iter().filter(|finding| finding["code"] == code).collect()
}

#[test]
fn a_library_that_is_missing_is_named_with_who_needs_it_and_where_the_program_is_written() {
    let stage = Stage::new();
    linked(&stage, "-Wl,-rpath,/nowhere");
    stage.write_spec("[services.api]\ncommand = [\"./api\"]\n");
    let (ended, found) = doctor(&stage);
    assert_eq!(ended.code, 2, "{ended:?}");
    let missing = of(&found, "library-missing");
    assert_eq!(missing.len(), 1, "{found:?}");
    let message = missing[0]["message"].as_str().unwrap();
    assert!(message.contains("api needs liba.so"), "{message}");
    assert!(missing[0]["line"].as_u64().is_some(), "{}", missing[0]);
}

#[test]
fn what_a_library_needs_in_turn_is_looked_for_as_the_linker_does() {
    let stage = Stage::new();
    // A RUNPATH goes for the program's own libraries alone, so what these need is not found by it.
    linked(&stage, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib");
    stage.write_spec("[services.api]\ncommand = [\"./api\"]\n");
    let (_, found) = doctor(&stage);
    let missing = of(&found, "library-missing");
    assert_eq!(missing.len(), 1, "{found:?}");
    assert!(missing[0]["message"].as_str().unwrap().contains("liba.so needs libb.so"), "{found:?}");

    let stage = Stage::new();
    // An RPATH goes for everything below.
    linked(&stage, "-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib");
    stage.write_spec("[services.api]\ncommand = [\"./api\"]\n");
    assert!(of(&doctor(&stage).1, "library-missing").is_empty());
}

#[test]
fn folders_that_the_environment_adds_are_looked_in_and_told_for_a_privileged_program() {
    let stage = Stage::new();
    linked(&stage, "-Wl,-rpath,/nowhere");
    let lib = stage.path("lib").display().to_string();
    stage.write_spec(&format!("[services.api]\ncommand = [\"./api\"]\nenv = {{ LD_LIBRARY_PATH = {lib:?} }}\n"));
    let (ended, found) = doctor(&stage);
    assert!(of(&found, "library-missing").is_empty(), "{found:?}");
    assert_eq!(of(&found, "loader-variable").len(), 1, "{found:?}");
    // A warning stops nothing.
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_path_that_its_spaces_split_is_put_together_again() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("my shop")).unwrap();
    stage.write("my shop/api", "#!/bin/sh\n");
    tutela_it::processes::set_mode(&stage.path("my shop/api"), 0o755);
    stage.write_spec("[services.api]\ncommand = \"./my shop/api --port 1\"\n");
    let (ended, found) = doctor(&stage);
    assert_eq!(ended.code, 2, "{ended:?}");
    let split = of(&found, "path-unquoted");
    assert_eq!(split.len(), 1, "{found:?}");
    assert!(split[0]["help"].as_str().unwrap().contains("my shop/api\""), "{found:?}");
}

#[test]
fn a_program_that_others_could_replace_is_told_for_a_privileged_service() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("open")).unwrap();
    stage.write("open/api", "#!/bin/sh\n");
    tutela_it::processes::set_mode(&stage.path("open/api"), 0o755);
    stage.write_spec("[services.api]\ncommand = [\"open/api\"]\n");
    let (_, found) = doctor(&stage);
    let told = |found: &[Value]| {
        let all = of(found, "writable-by-others");
        all.iter().any(|it| it["message"].as_str().unwrap().contains(&stage.path("open").display().to_string()))
    };
    assert!(!told(&found), "{found:?}");
    tutela_it::processes::set_mode(&stage.path("open"), 0o777);
    let (ended, found) = doctor(&stage);
    assert!(told(&found), "{found:?}");
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn who_has_a_port_is_named() {
    let stage = Stage::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    stage.write_spec(&format!(
        "[services.api]\ncommand = [\"understudy\", \"tcp={port}\", \"hang\"]\nready = {{ tcp = \"127.0.0.1:{port}\" }}\n"
    ));
    let (ended, found) = doctor(&stage);
    assert_eq!(ended.code, 2, "{ended:?}");
    let message = of(&found, "port-in-use")[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
}
