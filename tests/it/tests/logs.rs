//! Output: every line is kept, rotated, shown and followed, also when no guard is there; and a log that cannot be
//! written stops nobody.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use tutela_it::{BOUND, Container, Guard, Stage, http, wait_until};

/// The log files of `a:0`, oldest first: rotated ones have the time in their names, the current one comes last.
fn files(stage: &Stage) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(stage.log_dir())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("a-0.") && name.ends_with(".log")
        })
        .collect();
    files.sort_by_key(|path| (path.ends_with("a-0.log"), path.clone()));
    files
}

/// What the program wrote, from the files: what stands behind the timestamp and the stream.
fn kept(stage: &Stage) -> Vec<String> {
    // One that retention takes between the listing and the reading is rightly gone.
    let read = |path: &PathBuf| String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap();
    let text: String = files(stage).iter().map(read).collect();
    text.lines().map(|line| line.splitn(3, ' ').last().unwrap().to_owned()).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

fn target(stage: &Stage) -> String {
    format!("{}/a", stage.name())
}

/// `tutela logs` of `a` with further words; the lines as JSON.
fn records(stage: &Stage, words: &[&str]) -> Vec<Value> {
    let target = target(stage);
    let all: Vec<&str> = ["logs", &target, "--json"].into_iter().chain(words.iter().copied()).collect();
    stage.cli_ok(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(records: &[Value]) -> Vec<String> {
    records.iter().map(|record| record["message"].as_str().unwrap().to_owned()).collect()
}

/// A service `a` that plays these cues once, and then stays.
fn service(cues: &str, keys: &str) -> String {
    format!("[services.a]\ncommand = [\"understudy\", {cues}, \"hang\"]\n{keys}\n")
}

fn wait_lines(stage: &Stage, count: usize) {
    wait_until(BOUND, &format!("{count} lines are kept"), || (kept(stage).len() >= count).then_some(()));
}

#[test]
fn rotation_by_size_keeps_every_line_in_order() {
    let guard = Guard::start(&service("\"lines=20000\"", "logs = { rotate_size = \"64KiB\", keep = 100 }"));
    wait_lines(&guard, 20_000);
    assert_eq!(kept(&guard), numbered(20_000));
    let files = files(&guard);
    assert!(files.len() > 10, "{} files", files.len());
    for file in &files[..files.len() - 1] {
        let length = std::fs::metadata(file).unwrap().len();
        assert!((60_000..=66_000).contains(&length), "{} has {length} bytes", file.display());
    }
    // And through the guard, across all of them.
    assert_eq!(texts(&records(&guard, &["-n", "100000"])), numbered(20_000));
}

#[test]
fn only_so_many_rotated_files_are_kept_and_they_are_the_newest() {
    let guard = Guard::start(&service("\"lines=20000\"", "logs = { rotate_size = \"16KiB\", keep = 3 }"));
    wait_until(BOUND, "the last line is kept", || (kept(&guard).last()? == "line 19999").then_some(()));
    wait_until(BOUND, "the others are gone", || (files(&guard).len() <= 4).then_some(()));
    assert_eq!(files(&guard).len(), 4, "three rotated ones and the current one");
    let lines = kept(&guard);
    assert_eq!(lines, numbered(20_000)[20_000 - lines.len()..]);
}

/// Waits until the guard's clock shows a later millisecond than it does now; which that is.
fn a_millisecond_goes_by(guard: &Guard) -> String {
    let clock = || guard.api("GET", "/livez", 200)["timestamp"].as_str().unwrap().to_owned();
    let before = clock();
    wait_until(BOUND, "the clock goes on", || Some(clock()).filter(|now| *now > before))
}

#[test]
fn lines_are_shown_by_number_by_stream_and_by_time() {
    let guard = Guard::start(&service(
        "\"say=one\", \"cry=two\", \"await=go\", \"say=three\", \"cry=four\"",
        "env = { TZ = \"UTC\" }",
    ));
    wait_lines(&guard, 2);
    // The next lines come after this moment, and these before it, whatever the clock's grain is.
    let moment = a_millisecond_goes_by(&guard);
    a_millisecond_goes_by(&guard);
    guard.write("go", "");
    wait_lines(&guard, 4);
    let shown = |words: &[&str]| texts(&records(&guard, words));
    assert_eq!(shown(&[]), ["one", "two", "three", "four"]);
    assert_eq!(shown(&["-n", "3"]), ["two", "three", "four"]);
    assert_eq!(shown(&["-n", "0"]), [""; 0]);
    assert_eq!(shown(&["--stream", "stdout"]), ["one", "three"]);
    assert_eq!(shown(&["--stream", "stderr", "-n", "1"]), ["four"]);
    assert_eq!(shown(&["--since", &moment]), ["three", "four"]);
    assert_eq!(shown(&["--until", &moment]), ["one", "two"]);
    assert_eq!(shown(&["--since", "1h", "--until", &moment, "-n", "1"]), ["two"]);
    assert_eq!(shown(&["--since", "2099-01-01T00:00:00Z"]), [""; 0]);
    let record = &records(&guard, &["-n", "1"])[0];
    assert_eq!(
        (&record["service_name"], &record["instance"], &record["stream"]),
        (&"a".into(), &"0".into(), &"err".into())
    );
    let table = guard.cli_ok(&["logs", &target(&guard), "-n", "1"]);
    assert!(table.contains("a:0") && table.ends_with("! four\n"), "{table}");
}

/// A running `tutela logs -f`.
struct Follower {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn start(stage: &Stage, words: &[&str]) -> Follower {
        let mut command = stage.command();
        command.args(["logs", "-f", "--json"]).args(words).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Follower { process, lines }
    }

    /// The next line; the test's own bound is that of whoever runs it.
    fn next(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the follower ended");
        serde_json::from_str::<Value>(&line).unwrap()["message"].as_str().unwrap().to_owned()
    }

    fn end(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_follower_sees_every_line_across_rotation_and_restarts() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"once=begun\", \"say=first\", \"await=go\", \"say=begin\", \"lines=4000\", \"unless=enough\", \"exit=1\", \"hang\"]\n\
         restart = { delay = \"0s\", burst = 0 }\nlogs = { rotate_size = \"16KiB\", keep = 100000 }\n",
    );
    wait_lines(&guard, 1);
    let mut follower = Follower::start(&guard, &[&target(&guard), "-n", "1"]);
    // It is there once it shows what was there before it.
    assert_eq!(follower.next(), "first");
    guard.write("go", "");
    for round in 0..4 {
        assert_eq!(follower.next(), "begin", "round {round}");
        for number in 0..4000 {
            assert_eq!(follower.next(), format!("line {number}"), "round {round}");
        }
    }
    guard.write("enough", "");
    follower.end();
    assert!(files(&guard).len() > 10);
    assert!(guard.instance("a").restarts >= 3);
}

#[test]
fn a_follower_ends_with_its_reader_and_outlives_its_guard() {
    let guard = Guard::start(&service("\"say=one\"", ""));
    let mut follower = Follower::start(&guard, &[&target(&guard)]);
    assert_eq!(follower.next(), "one");
    let mut second = Follower::start(&guard, &[guard.name()]);
    assert_eq!(second.next(), "one");
    // The reader of the first goes away; it notices with the next line.
    let Follower { mut process, lines } = follower;
    drop(lines);
    guard.cli_ok(&["restart", &target(&guard)]);
    wait_until(BOUND, "the follower without a reader ends", || process.try_wait().unwrap());
    assert_eq!(second.next(), "one");
    // The next guard goes on writing, and the follower sees each line once.
    let guard = guard.close().start(Container::ControlGroup);
    assert_eq!(second.next(), "one");
    guard.cli_ok(&["restart", &target(&guard)]);
    assert_eq!(second.next(), "one");
    assert_eq!(kept(&guard).len(), 4);
    second.end();
}

#[test]
fn lines_of_several_services_are_merged_and_filtered_by_level_and_pattern() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"say=ERROR one\", \"say=level=info two\", \"hang\"]\n\
         [services.b]\ncommand = [\"understudy\", \"await=b-goes\", \"say=WARN three\", \"say=four\", \"hang\"]\n",
    );
    let (a, b) = (target(&guard), format!("{}/b", guard.name()));
    let shown = |words: &[&str]| {
        let all: Vec<&str> = ["logs", "--json"].into_iter().chain(words.iter().copied()).collect();
        let text = guard.cli_ok(&all);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    // Lines of one moment have no order.
    wait_until(BOUND, "two lines are kept", || (shown(&[&a, &b]).len() == 2).then_some(()));
    guard.write("b-goes", "");
    wait_until(BOUND, "four lines are kept", || (shown(&[&a, &b]).len() == 4).then_some(()));
    let check = || {
        assert_eq!(texts(&shown(&[guard.name()])), ["ERROR one", "level=info two", "WARN three", "four"]);
        assert_eq!(texts(&shown(&[&b, &a, &a, "-n", "2"])), ["WARN three", "four"]);
        assert_eq!(texts(&shown(&[guard.name(), "--level", "warning"])), ["ERROR one", "WARN three"]);
        assert_eq!(texts(&shown(&[guard.name(), "--level", "warn", "-n", "1"])), ["WARN three"]);
        assert_eq!(
            texts(&shown(&[guard.name(), "--grep", "t[hw]", "--stream", "out"])),
            ["level=info two", "WARN three"]
        );
        assert_eq!(texts(&shown(&[guard.name(), "-i", "-g", "error"])), ["ERROR one"]);
        assert_eq!(texts(&shown(&[guard.name(), "-v", "-g", "o"])), ["WARN three"]);
        let first = &shown(&[&a, "-g", "one"])[0];
        assert_eq!((&first["level"], &first["service_name"]), (&"error".into(), &"a".into()));
        assert_eq!(first["guard"], guard.name());
        assert_eq!(guard.cli_ok(&["logs", &a, "--raw", "-g", "two"]), "level=info two\n");
    };
    check();
    for (words, part) in [(["--grep", "("], "regular expression"), (["--level", "loud"], "no level")] {
        let ended = guard.cli(["logs", &a].into_iter().chain(words));
        assert!(ended.code == 2 && ended.stderr.contains(part), "{ended:?}");
    }
}

#[test]
fn a_hundred_followers_leave_the_guard_time_for_others() {
    let guard = Guard::start(&service("\"say=one\"", ""));
    wait_lines(&guard, 1);
    let held: Vec<std::os::unix::net::UnixStream> = (0..100)
        .map(|_| {
            use std::io::{Read, Write};
            let mut stream = std::os::unix::net::UnixStream::connect(guard.socket()).unwrap();
            stream.write_all(b"GET /v1/logs/a?follow=true HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
            stream
        })
        .collect();
    // These take threads of the kind that reads files.
    for path in ["/health", "/metrics", "/v1/status?usage=true"] {
        let answer = tutela_it::http::ask(&guard.socket(), "GET", path).unwrap();
        // How full this computer's disks and memory are, of which the health tells too, is not this test's.
        assert!(answer.status == 200 || path == "/health" && answer.status == 503, "{path}: {}", answer.text());
        println!("{path} beside 100 followers: {:?}", answer.took);
    }
    drop(held);
}

#[test]
fn several_services_are_shown_together_in_the_order_of_time() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"say=first\", \"await=two\", \"say=third\", \"hang\"]\n\
         [services.b]\ncommand = [\"understudy\", \"await=one\", \"say=second\", \"await=three\", \"say=fourth\", \"hang\"]\n",
    );
    // Times are told in milliseconds, and two lines of the same one are in no order: the clock goes on in between.
    for (count, cue) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        wait_until(BOUND, &format!("{count} lines are shown"), || {
            (guard.cli_ok(&["logs", guard.name()]).lines().count() == count).then_some(())
        });
        a_millisecond_goes_by(&guard);
        guard.write(cue, "");
    }
    let shown = guard.cli_ok(&["logs", guard.name(), "-n", "3"]);
    let words: Vec<&str> = shown.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(words, ["second", "third", "fourth"], "{shown}");
    assert!(shown.lines().next().unwrap().contains("b:0"), "{shown}");
}

#[test]
fn logs_and_events_can_be_read_when_no_guard_is_there() {
    let guard = Guard::start(&format!(
        "{}[services.away]\ncommand = [\"understudy\", \"say=there\", \"hang\"]\nlogs.dir = \"away\"\n",
        service("\"lines=5000\", \"cry=last\"", "logs = { rotate_size = \"16KiB\", keep = 100 }")
    ));
    wait_lines(&guard, 5001);
    wait_until(BOUND, "the other's line is kept", || guard.path("away/away-0.log").exists().then_some(()));
    let stage = guard.close();
    // In a folder that only the spec names.
    assert!(stage.cli_ok(&["logs", &format!("{}/away", stage.name())]).ends_with("there\n"));
    assert_eq!(texts(&records(&stage, &["-n", "2"])), ["line 4999", "last"]);
    assert_eq!(records(&stage, &["--since", "1h"]).len(), 5001);
    assert_eq!(texts(&records(&stage, &["--stream", "stderr"])), ["last"]);
    let whole = stage.cli_ok(&["logs", &target(&stage), "-n", "1"]);
    assert!(whole.ends_with("! last\n"), "{whole}");
    assert_eq!(stage.cli(["logs", &format!("{}/nobody", stage.name())]).code, 4);
    let events = stage.cli_ok(&["events", stage.name(), "--json", "-n", "1"]);
    assert_eq!(serde_json::from_str::<Value>(&events).unwrap()["kind"], "guard_stopped");
}

#[test]
fn a_log_folder_that_cannot_be_written_never_stops_the_program_and_raises_one_alert() {
    let stage = Stage::new();
    // A file where the folder's parent should be: not even root can make it.
    stage.write("blocked", "a file\n");
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"lines=200000\", \"write=survived\", \"await=go\", \"wait=1100\", \"say=after\", \"hang\"]\nlogs.dir = \"blocked/logs\"\n\
         [services.b]\ncommand = [\"understudy\", \"say=lost\", \"hang\"]\nlogs.dir = \"blocked/logs\"\n\
         [alerts.ops]\ncommand = [\"understudy\", \"stamp=alerted\"]\non = [\"logs_failing\"]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "the program went on", || guard.path("survived").exists().then_some(()));
    for service in ["a", "b"] {
        let told = guard.wait_event("logs_failing", |event| event["service"] == service);
        assert!(told["data"]["error"].as_str().unwrap().contains("blocked"), "{told}");
    }
    assert_eq!(guard.instance("a").state, "running");
    // Once it can be written, it is, and what is missing is counted. It is tried once a second, with output.
    std::fs::remove_file(guard.path("blocked")).unwrap();
    guard.write("go", "");
    let told = guard.wait_event("logs_recovered", |event| event["service"] == "a");
    assert!(told["data"]["dropped_lines"].as_u64().unwrap() >= 200_000, "{told}");
    guard.wait_event("alert_delivered", |event| event["data"]["way"] == "ops");
    // One disk is one alert.
    assert_eq!(guard.events_of("alert_delivered").len(), 1);
    wait_until(BOUND, "the next line is kept", || guard.read("blocked/logs/a-0.log").contains("after").then_some(()));
    assert_eq!(guard.instance("a").restarts, 0);
}

/// A pipe under this name, with nobody at its other end.
fn make_pipe(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
}

/// The text of a plain file; `None`: it is something else.
fn plain_text(path: &Path) -> Option<String> {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file()).then(|| std::fs::read_to_string(path).unwrap())
}

#[test]
fn nothing_is_written_through_a_link_or_into_a_pipe_that_was_put_in_the_place_of_a_log_file() {
    let stage = Stage::new();
    let folder = stage.path("nl");
    std::fs::create_dir(&folder).unwrap();
    // The folder is one that a program of another account may write to.
    tutela_it::processes::set_mode(&folder, 0o777);
    let victim = stage.write("victim", "precious\n");
    symlink(&victim, folder.join("link-0.log")).unwrap();
    symlink(stage.path("none"), folder.join("dangling-0.log")).unwrap();
    std::fs::hard_link(&victim, folder.join("second-0.log")).unwrap();
    make_pipe(&folder.join("pipe-0.log"));
    std::fs::create_dir(folder.join("folder-0.log")).unwrap();
    let names = ["link", "dangling", "second", "pipe", "folder"];
    let services = names.map(|name| {
        format!(
            "[services.{name}]\ncommand = [\"understudy\", \"say=hello\", \"hang\"]\nlogs = {{ dir = \"nl\", timestamps = false }}\n"
        )
    });
    stage.write_spec(&services.concat());
    let guard = stage.start(Container::ControlGroup);
    for name in names {
        let path = folder.join(format!("{name}-0.log"));
        wait_until(BOUND, &format!("{name} has a file of its own"), || (plain_text(&path)? == "hello\n").then_some(()));
        let told = guard.wait_event("trouble", |event| {
            event["message"].as_str().unwrap().starts_with(&format!("log files of {name}-0: "))
        });
        assert!(told["message"].as_str().unwrap().contains(".aside-"), "{told}");
    }
    assert_eq!(guard.read("victim"), "precious\n");
    assert!(!guard.path("none").exists());
    let aside = std::fs::read_dir(&folder).unwrap().flatten();
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".log.aside-")).count();
    assert_eq!(aside, names.len(), "what was put there is still there");
}

#[test]
fn a_program_that_puts_a_pipe_in_the_place_of_its_open_log_stops_no_other_log() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"say=one\", \"await=go\", \"wait=1100\", \"lines=20000\", \"hang\"]\n\
         [services.b]\ncommand = [\"understudy\", \"await=later\", \"say=still\", \"hang\"]\n",
    );
    wait_lines(&guard, 1);
    let path = guard.log_dir().join("a-0.log");
    std::fs::remove_file(&path).unwrap();
    make_pipe(&path);
    guard.write("go", "");
    wait_until(BOUND, "the lines are kept", || {
        plain_text(&path).is_some_and(|text| text.ends_with(" line 19999\n")).then_some(())
    });
    guard.write("later", "");
    let other = guard.log_dir().join("b-0.log");
    wait_until(BOUND, "the other log goes on", || plain_text(&other)?.ends_with(" still\n").then_some(()));
    guard.wait_event("trouble", |event| event["message"].as_str().unwrap().contains("a pipe"));
    // How full this computer's disks and memory are, of which the answer as a whole tells too, is not this test's.
    let health = http::ask(&guard.socket(), "GET", "/health").unwrap().json();
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "logs").unwrap();
    assert_eq!(check["status"], "healthy", "{check}");
}

#[test]
fn a_pipe_or_a_link_with_the_name_of_an_old_log_file_is_passed_over_and_holds_up_no_reader() {
    let guard = Guard::start(&service("\"lines=3\"", ""));
    wait_lines(&guard, 3);
    let folder = guard.log_dir();
    make_pipe(&folder.join("a-0.20200101T000000.000000Z.log"));
    make_pipe(&folder.join("a-0.20991231T000000.000000Z.log"));
    let secret = guard.write("secret", "secret\n");
    symlink(&secret, folder.join("a-0.20200102T000000.000000Z.log")).unwrap();
    assert_eq!(texts(&records(&guard, &[])), numbered(3));
    // More often than the guard has threads for it.
    for _ in 0..4 {
        assert_eq!(texts(&records(&guard, &["--since", "1h"])), numbered(3));
    }
    let stage = guard.close();
    assert_eq!(texts(&records(&stage, &[])), numbered(3));
}

#[test]
fn an_entry_that_cannot_be_removed_keeps_no_other_old_file_and_is_told() {
    let stage = Stage::new();
    let stranger = stage.log_dir().join("a-0.20200101T000000.000000Z.log");
    std::fs::create_dir_all(&stranger).unwrap();
    stage.write_spec(&service("\"lines=20000\"", "logs = { rotate_size = \"16KiB\", keep = 2 }"));
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "the last line is kept", || (kept(&guard).last()? == "line 19999").then_some(()));
    wait_until(BOUND, "the others are gone", || (files(&guard).len() <= 4).then_some(()));
    assert_eq!(files(&guard).len(), 4, "two rotated ones, the current one, and the stranger");
    let about = |event: &Value| event["message"].as_str().unwrap().contains(&*stranger.to_string_lossy());
    guard.wait_event("trouble", about);
    assert_eq!(guard.events_of("trouble").iter().filter(|event| about(event)).count(), 1, "once, and no flood");
    assert!(stranger.is_dir());
}

#[test]
fn a_log_folder_that_others_may_write_to_is_told_for_a_service_with_an_account_of_its_own() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("nl")).unwrap();
    stage
        .write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\nuser = \"nobody\"\nlogs = { dir = \"nl\" }\n");
    let told = || {
        let ended = stage.cli(["doctor", "--json", &stage.path("tutela.toml").to_string_lossy()]);
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        println!("{answer}");
        answer["found"].as_array().unwrap().iter().any(|it| {
            let message = it["message"].as_str().unwrap();
            it["code"] == "writable-by-others" && message.contains("writes log files in")
        })
    };
    tutela_it::processes::set_mode(&stage.path("nl"), 0o755);
    assert!(!told());
    tutela_it::processes::set_mode(&stage.path("nl"), 0o777);
    assert!(told());
}

#[test]
fn a_log_file_that_cannot_be_read_is_named_beside_the_lines_whether_or_not_a_guard_runs() {
    let guard = Guard::start(&service("\"lines=3\"", ""));
    wait_lines(&guard, 3);
    let broken = "a-0.20200101T000000.000000Z.log.zst";
    std::fs::write(guard.log_dir().join(broken), "no such thing").unwrap();
    let shown = |stage: &Stage| {
        let ended = stage.cli(["logs", &target(stage), "--raw"]);
        assert_eq!((ended.code, &*ended.stdout), (0, "line 0\nline 1\nline 2\n"), "{}", ended.stderr);
        assert!(ended.stderr.contains("passed over") && ended.stderr.contains(broken), "{}", ended.stderr);
    };
    shown(&guard);
    let told = http::ask(&guard.socket(), "GET", "/v1/logs/a").unwrap().text();
    let notes: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(notes.iter().filter(|note| note["tutela"] == "passed_over").count(), 1, "{told}");
    shown(&guard.close());
}

#[test]
fn a_follower_takes_in_the_instances_and_services_that_a_reload_adds() {
    let hello = |keys: &str| service("\"say=hello\"", keys);
    let guard = Guard::start(&hello(""));
    wait_lines(&guard, 1);
    let mut of_service = Follower::start(&guard, &[&target(&guard)]);
    let mut of_guard = Follower::start(&guard, &[guard.name()]);
    assert_eq!((of_service.next(), of_guard.next()), ("hello".to_owned(), "hello".to_owned()));
    let other = "[services.b]\ncommand = [\"understudy\", \"say=other\", \"hang\"]\n";
    guard.write_spec(&format!("{}{other}", hello("instances = 3")));
    guard.cli_ok(&["reload", guard.name()]);
    assert_eq!((of_service.next(), of_service.next()), ("hello".to_owned(), "hello".to_owned()));
    let mut seen = [of_guard.next(), of_guard.next(), of_guard.next()];
    seen.sort();
    assert_eq!(seen, ["hello", "hello", "other"]);
    of_service.end();
    of_guard.end();
}
