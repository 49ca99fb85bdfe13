//! Secrets: each reaches the program that it is for, and nothing else that can be looked at.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tutela_it::processes::{kill, set_mode};
use tutela_it::{BOUND, Container, Stage, http, wait_until};

const VALUE: &str = "swordfish-41-\"quoted\"";
const CREDENTIAL: &str = "marlin-42-credential";

/// Writes a secret for its owner alone, at once for whoever reads it.
fn secret(stage: &Stage, file: &str, value: &str) -> PathBuf {
    let new = stage.path(&format!("{file}.new"));
    std::fs::write(&new, value).unwrap();
    set_mode(&new, 0o600);
    let path = stage.path(file);
    std::fs::rename(&new, &path).unwrap();
    path
}

/// Whether any form in which it is told has the value.
fn has(bytes: &[u8], value: &str) -> bool {
    let escaped = value.replace('"', "\\\"");
    [value, &escaped].iter().any(|text| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

/// Every file below a folder, but sockets.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_secret_reaches_the_program_and_nothing_else() {
    let stage = Stage::new();
    secret(&stage, "db.key", &format!("{VALUE}\n"));
    std::fs::create_dir(stage.path("credentials")).unwrap();
    std::fs::write(stage.path("credentials/api"), CREDENTIAL).unwrap();
    stage.write_spec(
        "[services.a]\n\
         command = [\"sh\", \"-c\", \"echo \\\"out $DB_DSN $PLAIN_NAME.\\\"; echo \\\"err $DB_DSN\\\" >&2; exec understudy env=got say=up hang\"]\n\
         env = { DB_DSN = \"secret://file/db.key\", PLAIN_NAME = \"secret://systemd/api\" }\n\
         ready.log = \"^up$\"\n\
         hooks.before_start = [[\"sh\", \"-c\", \"echo \\\"hook $DB_DSN\\\"\"]]\n\
         dependencies = [{ name = \"d\", exec = [\"sh\", \"-c\", \"echo \\\"probe $DB_DSN\\\"; exit 1\"], every = \"50ms\", failures = 1 }]\n\
         [services.b]\ncommand = [\"understudy\", \"env=other\", \"say=up\", \"hang\"]\nready.log = \"^up$\"\n\
         [services.c]\ncommand = [\"sh\", \"-c\", \"exec understudy \\\"notify=READY=1\\\\nSTATUS=has $DB_DSN\\\" hang\"]\n\
         env = { DB_DSN = \"secret://file/db.key\" }\nready.notify = true\n",
    );
    let (spec, credentials) = (stage.spec_path(), stage.path("credentials"));
    let guard = stage.start_with(Container::ControlGroup, |command| {
        command.arg(spec).env("CREDENTIALS_DIRECTORY", credentials);
    });
    let running = guard.wait_state("a", "running");
    guard.wait_state("b", "running");
    guard.wait_state("c", "running");
    let told = guard.api("GET", "/v1/services/c", 200);
    assert_eq!(told["instances"][0]["status_text"], "has ***", "{told}");
    let got = guard.read("got");
    assert!(got.contains(&format!("DB_DSN={VALUE}")) && got.contains(&format!("PLAIN_NAME={CREDENTIAL}")), "{got}");
    assert!(!has(guard.read("other").as_bytes(), VALUE), "the other service has it");
    wait_until(BOUND, "the probe has failed", || {
        guard.messages().iter().any(|it| it.contains("dependency d fails")).then_some(())
    });
    wait_until(BOUND, "the output is in the log", || {
        let log = String::from_utf8_lossy(&guard.log("a-0.log")).into_owned();
        (log.contains("out *** ***.") && log.contains("err ***") && log.contains("hook ***")).then_some(())
    });
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for path in ["/v1/status", "/v1/events?n=1000", "/v1/logs/a?n=1000", "/metrics", "/health", "/v1/services/a"] {
        let answer = http::ask(&guard.socket(), "GET", path).unwrap();
        seen.push((path.to_owned(), answer.body));
    }
    let spec = guard.spec_path().display().to_string();
    for words in [
        vec!["check", "--resolved", &spec],
        vec!["status", "--json"],
        vec!["logs", guard.name(), "-n", "100"],
        vec!["events", guard.name()],
        vec!["metrics", guard.name()],
        vec!["audit", guard.name()],
        vec!["doctor", &spec],
        vec!["export", "systemd", &spec],
    ] {
        let ended = guard.cli(&words);
        if words[0] == "check" {
            assert!(ended.stdout.contains("secret://file/"), "{}{}", ended.stdout, ended.stderr);
        }
        seen.push((words.join(" "), format!("{}{}", ended.stdout, ended.stderr).into_bytes()));
    }
    for process in [guard.pid(), running.pid.unwrap()] {
        seen.push((format!("command line of {process}"), std::fs::read(format!("/proc/{process}/cmdline")).unwrap()));
    }
    let environment = std::fs::read(format!("/proc/{}/environ", guard.pid())).unwrap();
    seen.push(("the guard's environment".to_owned(), environment));
    let stage = guard.close();
    seen.push(("the console".to_owned(), stage.read("console.log").into_bytes()));
    let kept = files(&stage.home());
    assert!(kept.len() > 3, "{kept:?}");
    seen.extend(kept.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())));
    for (what, bytes) in seen {
        assert!(!bytes.is_empty() || what.contains("home"), "{what} said nothing");
        assert!(!has(&bytes, VALUE) && !has(&bytes, CREDENTIAL), "{what}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_rotated_secret_is_taken_in_by_the_next_start_and_both_are_masked() {
    let stage = Stage::new();
    secret(&stage, "key", "first-value-1");
    stage.write_spec(
        "[services.a]\ncommand = [\"sh\", \"-c\", \"echo $KEY; exec understudy env=got hang\"]\nenv = { KEY = \"secret://file/key\" }\n",
    );
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "the first value is there", || guard.read("got").contains("KEY=first-value-1").then_some(()));
    secret(&guard, "key", "second-value-2");
    // Nothing of the spec is different, so a reload starts nothing anew.
    guard.cli_ok(&["reload", guard.name()]);
    assert!(guard.read("got").contains("KEY=first-value-1"));
    guard.cli_ok(&["restart", guard.name()]);
    wait_until(BOUND, "the second value is there", || guard.read("got").contains("KEY=second-value-2").then_some(()));
    let stage = guard.close();
    let log = String::from_utf8(stage.log("a-0.log")).unwrap();
    assert_eq!(log.lines().filter(|line| line.ends_with("***")).count(), 2, "{log}");
    assert!(!log.contains("value"), "{log}");
}

#[test]
fn a_secret_that_is_gone_fails_the_start_and_the_restart_policy_goes_on() {
    let stage = Stage::new();
    let path = secret(&stage, "key", "value-1234");
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"env=got\", \"hang\"]\nenv = { KEY = \"secret://file/key\" }\n\
         restart = { delay = \"20ms\", max_delay = \"20ms\", burst = 100000 }\n",
    );
    let guard = stage.start(Container::ControlGroup);
    let first = guard.wait_state("a", "running").pid.unwrap();
    std::fs::remove_file(&path).unwrap();
    kill(first, "KILL");
    let shown = path.display().to_string();
    wait_until(BOUND, "an event names the file and how to mend it", || {
        let messages = guard.messages();
        messages.iter().any(|it| it.contains(&shown) && it.contains("write the value into")).then_some(())
    });
    secret(&guard, "key", "value-5678");
    let again = guard.wait_for("a", "runs again", |it| it.state == "running" && it.pid != Some(first));
    assert!(again.restarts > 0, "{again:?}");
    wait_until(BOUND, "the new value is there", || guard.read("got").contains("KEY=value-5678").then_some(()));
}

/// `check` and `run` refuse the spec, and say all of this.
#[track_caller]
fn refused(stage: &Stage, words: &[&str]) {
    let spec = stage.spec_path().display().to_string();
    for command in ["check", "run"] {
        let ended = stage.cli([command, &spec]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{command} does not say {word:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_secret_that_is_missing_or_open_to_everybody_is_refused_where_it_is_written() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"sleep\", \"60\"]\nenv = { KEY = \"secret://file/key\" }\n");
    let path = stage.path("key").display().to_string();
    refused(&stage, &["secret-missing", "tutela.toml:4:15", &path, "write the value into"]);
    secret(&stage, "key", "value-1234");
    set_mode(&stage.path("key"), 0o644);
    refused(&stage, &["secret-exposed", "tutela.toml:4:15", "mode 644", &format!("chmod o= {path}")]);
    set_mode(&stage.path("key"), 0o640);
    stage.cli_ok(&["check", &stage.spec_path().display().to_string()]);
    secret(&stage, "key", "\n");
    refused(&stage, &["secret-missing", "is empty"]);
}

#[test]
fn a_secret_in_a_command_and_a_seal_of_windows_are_refused_here() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"sleep\", \"secret://file/key\"]\n");
    refused(&stage, &["bad-secret", "tutela.toml:3:21", "command lines of others", "env = { NAME"]);
    stage.write_spec("[services.a]\ncommand = [\"sleep\", \"60\"]\nenv = { KEY = \"secret://dpapi/key\" }\n");
    refused(&stage, &["bad-secret", "DPAPI", "linux"]);
    let mut command = stage.command();
    command.args(["secret", "seal"]).stdin(std::fs::File::open(stage.spec_path()).unwrap());
    let ended = tutela_it::run_within(BOUND, command);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("DPAPI") && ended.stderr.contains("linux"), "{}", ended.stderr);
}

#[test]
fn a_credential_without_systemd_is_a_warning_before_and_a_failed_start_after() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"sleep\", \"60\"]\nenv = { KEY = \"secret://systemd/api\" }\n");
    let ended = stage.cli(["check", &stage.spec_path().display().to_string()]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("CREDENTIALS_DIRECTORY"), "{}", ended.stderr);
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "an event says how to give it", || {
        guard.messages().iter().any(|it| it.contains("LoadCredential=")).then_some(())
    });
}

#[test]
fn the_guard_leaves_no_core_and_its_programs_have_the_limit_that_it_was_started_with() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
    let guard = stage.start(Container::ControlGroup);
    let program = guard.wait_state("a", "running").pid.unwrap();
    let limit = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max core")).unwrap().to_owned()
    };
    let soft = limit(guard.pid()).split_ascii_whitespace().nth(4).unwrap().to_owned();
    assert!(matches!(soft.as_str(), "0" | "1"), "{}", limit(guard.pid()));
    assert_eq!(limit(program), limit(std::process::id()));
}

#[test]
fn an_alert_takes_its_address_and_headers_from_secrets_and_tells_neither() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let length = head.lines().find_map(|it| it.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = reader.read_exact(&mut body);
            kept.lock().unwrap().push(head);
            let status = if number == 0 { "503 Later" } else { "200 OK" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let stage = Stage::new();
    secret(&stage, "hook", &format!("http://{address}/services/swordfish-41\n"));
    secret(&stage, "token", "Bearer marlin-42\n");
    stage.write_spec(
        "[alerts.ops]\nwebhook = \"secret://file/hook\"\nheaders = { Authorization = \"secret://file/token\" }\non = [\"cooldown\"]\n\
         [services.a]\ncommand = [\"understudy\", \"exit=1\"]\nrestart = { delay = \"0s\", burst = 2, cooldown = \"1h\" }\n",
    );
    let guard = stage.start(Container::ControlGroup);
    guard.wait_event("alert_failed", |_| true);
    secret(&guard, "token", "Bearer marlin-43\n");
    guard.wait_event("alert_delivered", |_| true);
    let heads = heads.lock().unwrap().clone();
    assert!(heads.iter().all(|head| head.starts_with("POST /services/swordfish-41 HTTP/1.1")), "{heads:?}");
    assert!(heads[0].to_lowercase().contains("authorization: bearer marlin-42\r\n"), "{heads:?}");
    assert!(heads.last().unwrap().to_lowercase().contains("authorization: bearer marlin-4"), "{heads:?}");
    let events = guard.messages().join("\n");
    assert!(!events.contains("swordfish") && !events.contains("marlin"), "{events}");
    let stage = guard.close();
    for path in files(&stage.home()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!has(&bytes, "swordfish-41") && !has(&bytes, "marlin-4"), "{}", path.display());
    }
}
