//! Who did what: every way in leaves an entry, refused or not; crashes leave a whole record; a changed one is found.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tutela_it::processes::{kill, set_mode};
use tutela_it::{BOUND, Guard, Stage, run_within, wait_until};

const SLEEPER: &str = "[services.a]\ncommand = [\"understudy\", \"hang\"]\nstop.ladder = [{ kill = true }]\n";

/// The entries, oldest first, as programs get them.
fn entries(stage: &Stage) -> Vec<Value> {
    let ended = stage.cli(["audit", stage.name(), "-n", "100000", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Command, target and result of each entry.
fn told(stage: &Stage) -> Vec<(String, String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    entries(stage)
        .iter()
        .map(|entry| (text(entry, "command"), text(entry, "target").replace(stage.name(), "G"), text(entry, "result")))
        .collect()
}

fn verify(stage: &Stage) -> (i32, Value) {
    let ended = stage.cli(["audit", "verify", stage.name(), "--json"]);
    (ended.code, serde_json::from_str(&ended.stdout).unwrap_or_default())
}

fn files(stage: &Stage) -> Vec<PathBuf> {
    let folder = stage.home().join("state").join(stage.name()).join("audit");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn entry(command: &str, target: &str, result: &str) -> (String, String, String) {
    (command.to_owned(), target.to_owned(), result.to_owned())
}

#[test]
fn every_command_has_its_entry_in_the_order_in_which_it_was_carried_out() {
    let guard = Guard::start(SLEEPER);
    guard.wait_state("a", "running");
    let (name, one) = (guard.name().to_owned(), format!("{}/a", guard.name()));
    guard.cli_ok(&["stop", &one, "--reason", "lunch"]);
    guard.cli_ok(&["start", &format!("{one}:0"), "--no-wait"]);
    guard.wait_state("a", "running");
    // What is only asked has none.
    guard.cli_ok(&["status", &name]);
    guard.cli_ok(&["events", &name]);
    assert_eq!(guard.cli(["stop", &format!("{name}/nobody")]).code, 4);
    guard.cli_ok(&["reload", &name]);
    kill(guard.pid(), "HUP");
    wait_until(BOUND, "the signal's reload is there", || (told(&guard).len() >= 7).then_some(()));
    let stage = guard.close();
    let wanted = [
        entry("guard_start", "G", "done"),
        entry("stop", "G/a", "accepted"),
        entry("stop", "G/a", "done"),
        entry("start", "G/a:0", "accepted"),
        entry("stop", "G/nobody", "refused"),
        entry("reload", "G", "done"),
        entry("reload", "G", "done"),
        entry("shutdown", "G", "accepted"),
        entry("guard_end", "G", "done"),
    ];
    assert_eq!(told(&stage), wanted);
    let all = entries(&stage);
    let peer = |at: usize, key: &str| all[at]["peer"][key].clone();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(
        (peer(1, "uid"), &all[1]["reason"], &all[1]["surface"]),
        (own.into(), &"lunch".into(), &"socket".into())
    );
    assert!(peer(1, "pid").as_u64().unwrap() > 0 && peer(1, "user").is_string(), "{}", all[1]);
    assert_eq!(all[2]["of"], all[1]["seq"]);
    // By whom a signal was sent the kernel says.
    assert_eq!((&all[6]["surface"], peer(6, "uid")), (&"signal".into(), own.into()));
    assert_eq!((&all[7]["surface"], peer(7, "uid")), (&"signal".into(), own.into()));
    assert!(peer(7, "user").is_string() && peer(7, "pid").as_u64().unwrap() > 0, "{}", all[7]);
    let (code, report) = verify(&stage);
    assert_eq!((code, &report["whole"], &report["entries"]), (0, &true.into(), &9.into()), "{report}");
    for file in files(&stage) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn another_account_that_is_refused_is_written_down_by_the_word_of_the_kernel() {
    let guard = Guard::start(SLEEPER);
    guard.wait_state("a", "running");
    for folder in [guard.home(), guard.home().join("run")] {
        set_mode(&folder, 0o755);
    }
    let one = format!("{}/a", guard.name());
    for words in [["stop", &one], ["status", &one]] {
        let mut command = Command::new("setpriv");
        guard.dress(&mut command);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let program = std::fs::File::open(tutela_it::program::tutela()).unwrap();
        command.arg("/proc/self/fd/0").args(words).stdin(Stdio::from(program));
        assert_eq!(run_within(BOUND, command).code, 5);
    }
    let refused = wait_until(BOUND, "the refusal is there", || entries(&guard).get(1).cloned());
    assert_eq!((&refused["command"], &refused["result"]), (&"stop".into(), &"refused".into()), "{refused}");
    assert_eq!((&refused["peer"]["uid"], &refused["peer"]["gid"]), (&65534.into(), &65534.into()));
    assert_eq!(entries(&guard).len(), 2, "a status is only asked for");
    // Nor may it read the record.
    let mut command = Command::new("setpriv");
    guard.dress(&mut command);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    let program = std::fs::File::open(tutela_it::program::tutela()).unwrap();
    command.args(["/proc/self/fd/0", "audit", guard.name()]).stdin(Stdio::from(program));
    assert_eq!(run_within(BOUND, command).code, 5);
}

#[test]
fn a_guard_killed_amid_writes_leaves_a_whole_record_that_the_next_one_goes_on_with() {
    let mut stage = Stage::new();
    stage.write_spec(SLEEPER);
    let mut there = 0;
    for life in 0..4 {
        let guard = stage.start(tutela_it::Container::ControlGroup);
        let socket = guard.socket();
        let asking = std::thread::spawn(move || {
            let path = "/v1/services/a/pause?wait=false";
            while tutela_it::http::ask(&socket, "POST", path).is_ok_and(|answer| answer.status < 500) {}
        });
        let most = 20 + life * 7;
        wait_until(BOUND, "some are written", || {
            // The first one is written while the guard answers already.
            let ended = guard.cli(["audit", guard.name(), "-n", "100000", "--json"]);
            (ended.code == 0 && ended.stdout.lines().count() >= there + most).then_some(())
        });
        stage = guard.crash();
        asking.join().unwrap();
        let (code, report) = verify(&stage);
        assert_eq!(code, 0, "{report}");
        there = entries(&stage).len();
    }
    let stage = stage.start(tutela_it::Container::ControlGroup).close();
    let (code, report) = verify(&stage);
    assert_eq!(code, 0, "{report}");
    let all = entries(&stage);
    assert!(all.iter().zip(1..).all(|(entry, seq)| entry["seq"] == seq), "no number is missing");
}

#[test]
fn a_changed_entry_and_a_missing_one_are_named_with_file_line_and_number() {
    let guard = Guard::start(SLEEPER);
    guard.wait_state("a", "running");
    for _ in 0..3 {
        guard.cli_ok(&["pause", &format!("{}/a", guard.name()), "--no-wait"]);
    }
    let stage = guard.close();
    let file = files(&stage).remove(0);
    let sound = std::fs::read_to_string(&file).unwrap();
    let (code, report) = verify(&stage);
    assert_eq!(code, 0);
    let link = format!("{}:{}", report["last"]["seq"], report["last"]["hash"].as_str().unwrap());

    std::fs::write(&file, sound.replacen("\"pause\"", "\"start\"", 1)).unwrap();
    let ended = stage.cli(["audit", "verify", stage.name()]);
    assert_eq!(ended.code, 1);
    let place = format!("{}:2: changed: entry 2 was changed", file.file_name().unwrap().to_string_lossy());
    assert!(ended.stderr.contains(&place), "{}", ended.stderr);

    let mut lines: Vec<&str> = sound.lines().collect();
    lines.remove(2);
    std::fs::write(&file, format!("{}\n", lines.join("\n"))).unwrap();
    let (code, report) = verify(&stage);
    let fault = &report["faults"][0];
    assert_eq!((code, &fault["kind"], &fault["seq"], &fault["line"]), (1, &"missing".into(), &3.into(), &3.into()));

    std::fs::write(&file, &sound).unwrap();
    let compare = |link: &str| stage.cli(["audit", "verify", stage.name(), "--expect", link]).code;
    assert_eq!((compare(&link), compare(&link.replacen(':', "0:", 1)), compare("nonsense")), (0, 1, 2));
    assert_eq!(stage.cli(["audit", "verify", "no-such-guard"]).code, 4);
    assert_eq!(stage.cli(["audit", "no-such-guard"]).code, 4);
    assert_eq!(stage.cli(["audit", stage.name(), "--since", "gestern"]).code, 2);
    let one = stage.cli(["audit", &format!("{}/a", stage.name()), "-n", "1"]);
    assert!(one.stdout.lines().count() == 1 && one.stdout.contains(" pause "), "{}", one.stdout);
}

#[test]
fn a_record_that_cannot_be_written_is_told_and_keeps_nobody_from_anything() {
    let stage = Stage::new();
    stage.write_spec(SLEEPER);
    let state = stage.home().join("state").join(stage.name());
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("audit"), "in the way").unwrap();
    let guard = stage.start(tutela_it::Container::ControlGroup);
    guard.wait_state("a", "running");
    guard.wait_event("trouble", |event| {
        event["message"].as_str().unwrap().contains("the audit record cannot be written")
    });
    // How full this computer's disks are is not this test's.
    let health = tutela_it::http::ask(&guard.socket(), "GET", "/health").unwrap().json();
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "audit").unwrap().clone();
    assert_eq!(check["status"], "warning", "{check}");
    guard.cli_ok(&["stop", &format!("{}/a", guard.name())]);
    assert_eq!(guard.instance("a").state, "stopped");
    std::fs::remove_file(state.join("audit")).unwrap();
    guard.wait_event("trouble", |event| event["message"].as_str().unwrap().contains("is written again"));
    let stage = guard.close();
    let first: Vec<_> = told(&stage).into_iter().take(3).collect();
    assert_eq!(
        first,
        [entry("guard_start", "G", "done"), entry("stop", "G/a", "accepted"), entry("stop", "G/a", "done")]
    );
    assert_eq!(verify(&stage).0, 0);
}
