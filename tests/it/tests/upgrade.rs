//! Another program takes a guard's place while everything that it keeps runs on; one that is not fit for it does not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use tutela_it::faults::{assert_whole, from_outside};
use tutela_it::processes::{kill, lives, set_mode};
use tutela_it::{BOUND, Container, Guard, Instance, Stage, wait_until};

/// The longest that a program that is not fit may keep an upgrade waiting: two waits of the guard's process and a dismissal.
const ROLLED_BACK_WITHIN: Duration = Duration::from_secs(40);

/// The file that the guard's process runs.
fn program_of(guard: &Guard) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/exe", guard.pid())).unwrap()
}

/// The same program under another name: what runs is told by it.
fn another(stage: &Stage, name: &str) -> PathBuf {
    let path = stage.path(name);
    copy(&tutela_it::program::tutela(), &path);
    path
}

fn copy(program: &Path, path: &Path) {
    if std::fs::hard_link(program, path).is_err() {
        std::fs::copy(program, path).unwrap();
    }
}

/// What takes a guard's place in this round: the same program under another name; with `TUTELA_FAULT_NEXT`, which is
/// another build, that one and this one by turns.
fn next_of(stage: &Stage, round: u64) -> PathBuf {
    let path = stage.path(&format!("tutela-{round}"));
    let other = std::env::var_os("TUTELA_FAULT_NEXT").filter(|_| round.is_multiple_of(2));
    copy(&other.map_or_else(tutela_it::program::tutela, PathBuf::from), &path);
    path
}

/// A program that does what its name says, in the place of one that could take a guard's.
fn impostor(stage: &Stage, name: &str) -> PathBuf {
    let (source, path) = (stage.write("impostor.c", IMPOSTOR), stage.path(name));
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-o"]).args([&path, &source]).arg(format!("-DOWN={:?}", tutela_it::program::tutela()));
    let ended = tutela_it::run_within(Duration::from_secs(60), compile);
    assert_eq!(ended.code, 0, "a C compiler is needed: {}", ended.stderr);
    path
}

const IMPOSTOR: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *word) { if (write(0, word, strlen(word)) < 0) exit(9); }

int main(int count, char **words) {
    char own[4096] = {0}, heard[100];
    (void)count;
    if (readlink("/proc/self/exe", own, sizeof own - 1) < 0) return 9;
    const char *name = strrchr(own, '/') + 1;
    if (!strcmp(name, "ends")) return 0;
    if (!strcmp(name, "lies")) { say("hello"); sleep(1000); }
    if (!strcmp(name, "refuses")) { say("refused so"); sleep(1000); }
    if (!strcmp(name, "wraps")) {
        pid_t child = fork();
        if (child == 0) { execv(OWN, words); _exit(9); }
        waitpid(child, 0, 0);
        return 0;
    }
    if (!strcmp(name, "becomes")) { execv(OWN, words); return 9; }
    say("ready 9.9");
    if (read(0, heard, sizeof heard) < 0) return 9;
    if (!strcmp(name, "ends-in-its-turn")) return 3;
    sleep(1000);
    return 0;
}
"#;

type Upgrade = std::thread::JoinHandle<tutela_it::Ended>;

/// The process that guards in the trial, once it does; `None`: the upgrade was over before it was seen.
fn trial_of(guard: &Guard, upgrade: &Upgrade) -> Option<u32> {
    wait_until(ROLLED_BACK_WITHIN, "the trial guards", || {
        let is_over = upgrade.is_finished();
        let seen = guarding(guard).filter(|pid| *pid != guard.pid());
        (seen.is_some() || is_over).then_some(seen)
    })
}

/// The process that answers.
fn guarding(guard: &Guard) -> Option<u32> {
    let answer = tutela_it::http::ask(&guard.socket(), "GET", "/v1/info").ok()?;
    let info: Value = serde_json::from_str(&answer.text()).ok()?;
    u32::try_from(info["pid"].as_u64()?).ok()
}

/// An upgrade to the program of this name, under way.
fn begin_upgrade(guard: &Guard, program: &Path) -> Upgrade {
    let mut command = guard.command();
    command.args(["upgrade", guard.name(), "--to", program.to_str().unwrap()]);
    std::thread::spawn(move || tutela_it::run_within(ROLLED_BACK_WITHIN, command))
}

/// Which programs run, and how often each was restarted.
fn lasting(guard: &Guard, names: &[String]) -> Vec<(String, Option<u32>, u64)> {
    let status = guard.status();
    let of = |name: &String| {
        let Instance { state, pid, restarts, .. } = Instance::find(&status, name).unwrap();
        (state, pid, restarts)
    };
    names.iter().map(of).collect()
}

/// Every line of each is there, once and in order; to be asked when they are stopped.
fn all_whole(guard: &Guard, names: &[String]) {
    names.iter().for_each(|name| assert_whole(guard, name, 10));
}

/// Programs that write all the time, and one that crashes all the time.
fn flood(stage: &Stage, services: u64, drip_ms: u64) -> Vec<String> {
    let mut spec = String::from(
        "[services.crashes]\ncommand = [\"understudy\", \"say=up\", \"wait=50\", \"exit=1\"]\n\
         restart = { delay = \"20ms\", max_delay = \"20ms\", burst = 0, jitter = 0.0 }\n",
    );
    let names: Vec<String> = (0..services).map(|number| format!("s{number}")).collect();
    for name in &names {
        spec += &format!(
            "[services.{name}]\ncommand = [\"understudy\", \"drip={drip_ms}\", \"hang\"]\nlogs = {{ rotate_size = \"64KiB\", keep = 10000 }}\n"
        );
    }
    stage.write_spec(&spec);
    names
}

/// Waits until the record of who did what has these results of upgrades.
fn wait_for_record(guard: &Guard, results: &[&str]) {
    let of = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    wait_until(BOUND, "the record has every upgrade", || {
        let told = guard.cli_ok(&["audit", guard.name(), "-n", "100000", "--json"]);
        let upgrades = told.lines().map(of).filter(|entry| entry["command"] == "upgrade");
        upgrades.map(|entry| entry["result"].clone()).eq(results.iter().copied()).then_some(())
    });
}

/// `TUTELA_FAULT_UPGRADES` and `TUTELA_FAULT_UPGRADED` (services) make it longer; `TUTELA_FAULT_NEXT` is another build to go
/// to.
#[test]
fn the_next_program_takes_over_and_nothing_restarts_and_no_line_is_lost() {
    let (upgrades, services) = (from_outside("TUTELA_FAULT_UPGRADES", 2), from_outside("TUTELA_FAULT_UPGRADED", 6));
    for container in Container::ALL {
        let stage = Stage::new();
        // Some thousand lines a second in all, whatever their number.
        let names = flood(&stage, services, (services / 4).max(5));
        let mut guard = stage.start(container);
        for name in &names {
            guard.wait_state(name, "running");
        }
        let before = lasting(&guard, &names);
        // What programs inherit is what the guard was started with, whatever became of its process since.
        let limits = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let (pid, before_limits) = (guard.pid(), limits(before[0].1.unwrap()));
        let mut gaps = Vec::new();
        for round in 0..upgrades {
            let next = next_of(&guard, round);
            let told = guard.cli_ok(&["upgrade", guard.name(), "--to", next.to_str().unwrap(), "--json"]);
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["outcome"], "done", "{told}");
            println!("from {} to {}", told["from"], told["to"]);
            gaps.extend(told["unwatched_ms"].as_array().unwrap().iter().map(|gap| gap.as_u64().unwrap()));
            assert_eq!(lasting(&guard, &names), before, "{container:?}, upgrade {round}");
            assert_eq!(program_of(&guard), next);
            assert_eq!(guard.api("GET", "/v1/info", 200)["pid"], pid);
        }
        println!("{container:?}: {upgrades} upgrades under {services} services, unwatched for {gaps:?} ms");
        assert_eq!(gaps.len() as u64, 2 * upgrades, "{gaps:?}");
        assert!(guard.events_of("trouble").is_empty(), "{:?}", guard.messages());
        assert_eq!(guard.events_of("upgraded").len() as u64, upgrades);
        wait_for_record(&guard, &["accepted", "done"].repeat(usize::try_from(upgrades).unwrap()));
        // The new guard is told by the kernel how the children of its process end, and can stop them.
        let first = before[0].1.unwrap();
        kill(first, "KILL");
        let again = guard.wait_for("s0", "runs again", |it| it.state == "running" && it.restarts == 1);
        assert_eq!(again.last_signal.as_deref(), Some("KILL"));
        assert_eq!(limits(again.pid.unwrap()), before_limits);
        let crashed = guard.instance("crashes").restarts;
        guard.wait_for("crashes", "goes on crashing", |it| it.restarts > crashed + 2 && it.last_code == Some(1));
        guard.cli_ok(&["stop", guard.name()]);
        assert!(before.iter().all(|(_, pid, _)| !lives(pid.unwrap())));
        all_whole(&guard, &names[1..]);
        assert_eq!(guard.end(), 0);
        assert!(guard.living().is_empty());
    }
}

/// How many guards with programs that write all the time there are at once: more would show how busy the computer is.
const AT_ONCE: usize = 2;

/// How often something that has to happen in the two seconds of a trial may come too late on a busy computer.
const ATTEMPTS: usize = 5;

#[test]
fn what_is_not_fit_is_refused_or_rolled_back_by_itself() {
    // What it does, what is said of it, and whether the guard's process ever became something else for it.
    let unfit = [
        ("ends", "ended without a word", false),
        ("lies", "hello", false),
        ("refuses", "this guard: so", false),
        ("wraps", "speaks for it", false),
        ("becomes", "another program", false),
        ("ends-in-its-turn", "before it could take over", true),
        ("hangs-in-its-turn", "in time", true),
        ("dies-as-guard", "before it could confirm", true),
        ("hangs-as-guard", "in time", true),
    ];
    let left = Mutex::new(unfit.iter());
    let next = || left.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, why, handed_over)) = next() {
                    let seen = (0..ATTEMPTS).any(|_| is_not_kept(name, why, *handed_over));
                    assert!(seen, "{name}: no trial was disturbed in time");
                }
            });
        }
    });
}

/// Tries to upgrade to a program that is not fit, and sees what becomes of that. `false`: the trial that was to be disturbed
/// was over too soon, so that nothing was unfit.
fn is_not_kept(name: &str, why: &str, handed_over: bool) -> bool {
    let stage = Stage::new();
    let names = flood(&stage, 3, 5);
    let mut guard = stage.start(Container::ControlGroup);
    for service in &names {
        guard.wait_state(service, "running");
    }
    let (before, former) = (lasting(&guard, &names), program_of(&guard));
    let as_guard = match name {
        "dies-as-guard" => Some("KILL"),
        "hangs-as-guard" => Some("STOP"),
        _ => None,
    };
    let program = if as_guard.is_some() { another(&guard, name) } else { impostor(&guard, name) };
    let upgrade = begin_upgrade(&guard, &program);
    if let Some(signal) = as_guard {
        trial_of(&guard, &upgrade).iter().for_each(|trial| kill(*trial, signal));
    }
    let ended = upgrade.join().unwrap();
    if as_guard.is_some() && ended.code == 0 {
        return false;
    }
    assert!(ended.stderr.contains(why), "{name}: {}", ended.stderr);
    assert_eq!(ended.code, 1, "{name}: {}", ended.stderr);
    let nothing_changed = ended.stderr.contains("nothing was changed");
    assert_eq!(nothing_changed, !handed_over, "{name}: {}", ended.stderr);
    assert_eq!(ended.stderr.contains("rolled back"), handed_over, "{name}: {}", ended.stderr);
    assert_eq!(lasting(&guard, &names), before, "{name}");
    assert_eq!(program_of(&guard), former, "{name}");
    assert_eq!(guard.events_of("upgrade_failed").len(), usize::from(handed_over), "{name}");
    wait_for_record(&guard, if handed_over { &["accepted", "failed"] } else { &["refused"] });
    let info = guard.api("GET", "/v1/info", 200);
    assert_eq!(info["upgrade"]["outcome"] == "rolled_back", handed_over, "{name}: {info}");
    // Nothing of what was tried is left, and it guards as before.
    let runs = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let left: Vec<u32> = tutela_it::processes::all().into_iter().filter(runs).collect();
    assert!(left.is_empty(), "{name}: {left:?}");
    kill(before[0].1.unwrap(), "KILL");
    guard.wait_for("s0", "runs again", |it| it.state == "running" && it.restarts == 1);
    guard.cli_ok(&["stop", guard.name()]);
    all_whole(&guard, &names[1..]);
    assert_eq!(guard.end(), 0, "{name}");
    true
}

#[test]
fn a_program_that_nobody_should_trust_and_a_guard_that_cannot_are_refused() {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
    let guard = stage.start(Container::ControlGroup);
    let a = guard.wait_state("a", "running").pid;
    let next = impostor(&guard, "ends");
    let upgrade = |words: &[&str]| guard.cli([&["upgrade", guard.name()], words].concat());
    let open = guard.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::copy(&next, open.join("next")).unwrap();
    set_mode(&open, 0o777);
    let said = upgrade(&["--to", open.join("next").to_str().unwrap()]);
    assert!(said.code == 1 || said.code == 2, "{}", said.stderr);
    assert!(said.stderr.contains("is not to be trusted") && said.stderr.contains("chmod o-w"), "{}", said.stderr);
    set_mode(&next, 0o757);
    let said = upgrade(&["--to", next.to_str().unwrap()]);
    assert!(said.stderr.contains("is not to be trusted"), "{}", said.stderr);
    // Nobody's shell runs what is no program.
    for (name, text) in [("script", "#!/bin/sh\ntouch ran\n"), ("text", "touch ran\n"), ("empty", "")] {
        let path = guard.write(name, text);
        set_mode(&path, 0o755);
        let said = upgrade(&["--to", path.to_str().unwrap()]);
        assert!(said.code == 2 && said.stderr.contains("no program itself"), "{name}: {}", said.stderr);
    }
    let cut = guard.path("cut");
    std::fs::write(&cut, b"\x7fELFtouch ran\n").unwrap();
    set_mode(&cut, 0o755);
    let said = upgrade(&["--to", cut.to_str().unwrap()]);
    assert!(said.code == 1 && said.stderr.contains("nothing was changed"), "{}", said.stderr);
    assert!(!guard.path("ran").exists());
    let said = upgrade(&["--to", guard.path("none").to_str().unwrap()]);
    assert_eq!((said.code, said.stderr.contains("cannot be found")), (2, true), "{}", said.stderr);
    let said = guard.cli(["upgrade", "nobody"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert_eq!(guard.cli(["run", "--on-trial", guard.spec_path().to_str().unwrap()]).code, 2);
    assert_eq!(guard.instance("a").pid, a);
    let stage = guard.close();
    stage.write_spec("survive = false\n[services.a]\ncommand = [\"understudy\", \"hang\"]\n");
    let guard = stage.start(Container::ControlGroup);
    let said = guard.cli(["upgrade", guard.name()]);
    assert!(said.code == 1 && said.stderr.contains("survive = false"), "{}", said.stderr);
}

/// Somebody shuts the guard down in the seconds in which another program is tried: that is what happens, once.
#[test]
fn a_shutdown_in_the_middle_is_one() {
    for by_signal in [false, true] {
        assert!((0..ATTEMPTS).any(|_| shutdown_is_one(by_signal)), "no trial was shut down in time");
    }
}

/// `false`: the trial was over before the shutdown.
fn shutdown_is_one(by_signal: bool) -> bool {
    let stage = Stage::new();
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"stamp=begun\", \"on-term-slowly=700\", \"hang\"]\n\
         stop.ladder = [{ signal = \"TERM\", wait = \"20s\" }, { kill = true }]\n",
    );
    let mut guard = stage.start(Container::ControlGroup);
    guard.wait_state("a", "running");
    guard.written("begun");
    let next = another(&guard, "next");
    let upgrade = begin_upgrade(&guard, &next);
    let trial = trial_of(&guard, &upgrade);
    match by_signal {
        true => kill(guard.pid(), "TERM"),
        false => drop(guard.cli_ok(&["stop", guard.name(), "--shutdown"])),
    }
    assert_eq!(guard.wait(), 0);
    assert!(trial.is_none_or(|trial| !lives(trial)) && guard.living().is_empty());
    assert_eq!(guard.read("begun").lines().count(), 1, "it was started again");
    let ended = upgrade.join().unwrap();
    if trial.is_some() && ended.code != 0 {
        return true;
    }
    // So it was told of as done.
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    false
}

/// The new program did well beside, and then the process that everybody knows cannot be it: nobody is left alone.
#[test]
fn a_guard_that_cannot_take_its_place_yet_stands_by_the_one_that_was_tried() {
    let stage = Stage::new();
    let names = flood(&stage, 2, 5);
    let mut guard = stage.start(Container::ControlGroup);
    for service in &names {
        guard.wait_state(service, "running");
    }
    let before = lasting(&guard, &names);
    let right = guard.read("tutela.toml");
    let (trial, upgrade) = upgrade_in_vain(&guard, "next");
    assert_eq!(trial_of(&guard, &upgrade), Some(trial));
    assert_eq!(lasting(&guard, &names), before);
    guard.write("tutela.toml", &right);
    let ended = upgrade.join().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing was restarted"), "{}", ended.stderr);
    assert_eq!(lasting(&guard, &names), before);
    assert_eq!(guard.api("GET", "/v1/info", 200)["pid"], guard.pid());
    assert!(!lives(trial));
    // Once more, and now it is told to end meanwhile.
    let (trial, upgrade) = upgrade_in_vain(&guard, "again");
    kill(guard.pid(), "TERM");
    assert_eq!(guard.wait(), 0);
    assert!(!lives(trial) && guard.living().is_empty());
    drop(upgrade.join().unwrap());
}

/// An upgrade whose trial goes well while the spec is broken, and that trial; the guard's process has said that it cannot
/// take its place.
fn upgrade_in_vain(guard: &Guard, name: &str) -> (u32, Upgrade) {
    let right = guard.read("tutela.toml");
    let failures = || guard.read("console.log").matches("guards on; it is tried again").count();
    for attempt in 0..ATTEMPTS {
        let before = failures();
        let upgrade = begin_upgrade(guard, &another(guard, &format!("{name}-{attempt}")));
        let trial = trial_of(guard, &upgrade);
        guard.write("tutela.toml", "this is no spec");
        let in_vain = wait_until(ROLLED_BACK_WITHIN, "it is tried again, or was in time", || {
            let is_over = upgrade.is_finished();
            (failures() > before || is_over).then(|| failures() > before)
        });
        match trial {
            Some(trial) if in_vain => return (trial, upgrade),
            _ => guard.write("tutela.toml", &right),
        };
        let ended = upgrade.join().unwrap();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    panic!("no trial was found in time");
}

#[test]
fn programs_whose_spec_had_changed_are_told_of() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\n[services.b]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    let (a, b) = (guard.wait_state("a", "running").pid, guard.wait_state("b", "running").pid);
    let spec = guard.read("tutela.toml");
    guard.write("tutela.toml", &spec.replace("[services.b]", "[services.b]\nenv = { X = \"1\" }"));
    let next = another(&guard, "next");
    let told = guard.cli_ok(&["upgrade", guard.name(), "--to", next.to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["not_kept"], 1, "{told}");
    assert_eq!(guard.instance("a").pid, a);
    assert_ne!(guard.wait_state("b", "running").pid, b);
}

/// Waits for its turn, and says at its begin and at its end that it ran.
const HOOK: &str = "sh -c 'echo begun >> order; until [ -e go ]; do sleep 0.02; done; echo hook ended'";

fn hooked(stage: Stage) -> Guard {
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\n\
         hooks.before_start = [{{ command = \"{HOOK}\", timeout = \"60s\" }}]\n"
    ));
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "its hook runs", || guard.read("order").contains("begun").then_some(()));
    guard
}

#[test]
fn a_hook_that_ends_in_time_runs_once_and_all_that_it_wrote_is_there() {
    let guard = hooked(Stage::new());
    for round in 1..=2 {
        let mut command = guard.command();
        command.args(["upgrade", guard.name()]);
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| tutela_it::run_within(ROLLED_BACK_WITHIN, command));
            std::thread::sleep(Duration::from_millis(400));
            guard.write("go", "");
            let ended = upgrade.join().unwrap();
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        });
        guard.wait_state("a", "running");
        assert_eq!(guard.read("order").lines().count(), round, "it ran once");
        let written = || guard.cli_ok(&["logs", &format!("{}/a", guard.name())]).matches("hook ended").count();
        wait_until(BOUND, "what it wrote is kept", || (written() >= round).then_some(()));
        assert_eq!(written(), round);
        std::fs::remove_file(guard.path("go")).unwrap();
        if round == 1 {
            guard.cli_ok(&["restart", "--no-wait", &format!("{}/a", guard.name())]);
            wait_until(BOUND, "its hook runs again", || (guard.read("order").lines().count() == 2).then_some(()));
        }
    }
}

#[test]
fn a_hook_that_does_not_end_is_neither_killed_nor_begun_again() {
    let guard = hooked(Stage::new());
    let former = another(&guard, "tutela-next");
    let said = guard.cli(["upgrade", guard.name(), "--to", former.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("a before_start hook of a:0 still runs"), "{}", said.stderr);
    assert_ne!(program_of(&guard), former);
    let told = guard.wait_event("upgrade_failed", |_| true);
    assert!(told["message"].as_str().unwrap().contains("nothing was changed"), "{told}");
    assert_eq!(guard.instance("a").state, "starting");
    guard.write("go", "");
    guard.wait_state("a", "running");
    assert_eq!(guard.read("order"), "begun\n");
}

/// The numbers behind `before` in a text, in its order.
fn numbers(text: &str, before: &str) -> Vec<u64> {
    let number = |line: &str| line.split_once(before)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    text.lines().filter_map(number).collect()
}

fn assert_unbroken(numbers: &[u64], what: &str) {
    let gaps: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(numbers.len() > 1 && gaps.is_empty(), "{what}: {} numbers, gaps {gaps:?}", numbers.len());
}

#[test]
fn whoever_asks_follows_or_watches_meanwhile_does_not_notice() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.n]\ncommand = [\"sh\", \"-c\", \"i=0; while :; do i=$((i+1)); echo line $i; sleep 0.002; done\"]\n\
         [services.slow]\ncommand = [\"sh\", \"-c\", \"trap 'sleep 1; exit 0' TERM; touch trapped; while :; do sleep 0.02; done\"]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    guard.wait_state("n", "running");
    wait_until(BOUND, "it can be asked", || guard.path("trapped").exists().then_some(()));
    let mut follows = guard.command();
    follows
        .args(["events", guard.name(), "-f", "--json"])
        .stdout(std::fs::File::create(guard.path("followed")).unwrap());
    let mut follows = follows.spawn().unwrap();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| guard.cli(["stop", &format!("{}/slow", guard.name())]));
        guard.wait_state("slow", "stopping");
        let upgrade = scope.spawn(|| guard.cli(["upgrade", guard.name()]));
        while !upgrade.is_finished() {
            let said = guard.cli(["status", guard.name()]);
            assert_eq!(said.code, 0, "{}", said.stderr);
        }
        for ended in [stop.join().unwrap(), upgrade.join().unwrap()] {
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        }
    });
    guard.cli_ok(&["stop", &format!("{}/n", guard.name())]);
    wait_until(BOUND, "the last event is followed", || {
        let last = guard.events().last().unwrap()["seq"].as_u64().unwrap();
        (numbers(&guard.read("followed"), "\"seq\":").last() == Some(&last)).then_some(())
    });
    follows.kill().unwrap();
    follows.wait().unwrap();
    assert_unbroken(&numbers(&guard.read("followed"), "\"seq\":"), "followed events");
    let logged = numbers(&String::from_utf8_lossy(&guard.log("n-0.log")), "line ");
    wait_until(BOUND, "the last line is shown", || {
        (numbers(&guard.read("console.log"), "line ").last() == logged.last()).then_some(())
    });
    let shown = guard.read("console.log");
    assert_unbroken(&numbers(&shown, "line "), "shown lines");
    assert_eq!(shown.matches("guards on trial for").count(), 1, "{}", guard.console());
    assert_eq!(shown.matches(&format!("keeps {}", guard.name())).count(), 2, "{}", guard.console());
}

#[test]
fn a_command_outlasts_its_guard_and_nobody_says_that_nothing_is_left() {
    let stage = Stage::new();
    stage.write_spec(
        "[services.slow]\ncommand = [\"sh\", \"-c\", \"trap 'sleep 1; exit 0' TERM; touch trapped; while :; do sleep 0.02; done\"]\n\
         [services.other]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "it can be asked", || guard.path("trapped").exists().then_some(()));
    let before = guard.wait_state("slow", "running").pid;
    let mut command = guard.command();
    command.args(["restart", &format!("{}/slow", guard.name())]);
    let waits = std::thread::spawn(|| tutela_it::run_within(BOUND, command));
    guard.wait_state("slow", "stopping");
    let stage = guard.crash();
    for words in [vec!["status"], vec!["status", stage.name()]] {
        let said = stage.cli(words);
        assert!(
            said.stderr.contains("what it kept runs on") && said.stderr.contains("takes it back"),
            "{}",
            said.stderr
        );
    }
    let guard = stage.start(Container::ControlGroup);
    let ended = waits.join().unwrap();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let after = guard.instance("slow");
    assert!(after.state == "running" && after.pid != before, "{after:?}");
}
