//! Programs outlive a guard that is killed, on Windows, where the spec asks for it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::process::Child;
use tutela_wine_tests::{Stage, toml, tutela, understudy, wait_until};

/// How often the guard is killed. `TUTELA_FAULT_KILLS` makes it more.
const KILLS: u32 = 4;

fn kills() -> u32 {
    std::env::var("TUTELA_FAULT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A service of the understudy with these words; `more` are keys of it.
fn service(name: &str, words: &[&str], more: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!(", {}", toml(word))).collect();
    format!("[services.{name}]\ncommand = [{}{}]\n{more}\n", toml(&understudy()), words.concat())
}

fn write_spec(stage: &Stage, survive: bool, services: &str) {
    stage.write("spec.toml", &format!("name = {}\nsurvive = {survive}\n{services}", toml(stage.name())));
}

/// Guards of one spec, one after the other, started by one command as a service manager would: each when there is its
/// file. Under Wine a Ctrl-C reaches only programs that descend from a parent of the one that sends it.
struct Guards<'a> {
    stage: &'a Stage,
    command: Child,
    begun: u32,
    pid: Option<u32>,
}

impl<'a> Guards<'a> {
    /// At most so many.
    fn new(stage: &'a Stage, most: u32) -> Guards<'a> {
        let (spec, done) = (stage.windows("spec.toml"), stage.windows("done"));
        let one = |number: u32| {
            let go = stage.windows(&format!("go{number}"));
            format!("{} await {go}\r\nif exist {done} exit\r\n{} run {spec}\r\n", understudy(), tutela())
        };
        stage.write("guards.bat", &(0..most).map(one).collect::<String>());
        let command = stage.start(["cmd", "/c", &stage.windows("guards.bat")]);
        Guards { stage, command, begun: 0, pid: None }
    }

    /// Starts the next one, and waits until it answers.
    fn start(&mut self) {
        self.stage.write(&format!("go{}", self.begun), "");
        self.begun += 1;
        let former = self.pid;
        let pid = || Some(u32::try_from(self.stage.find_status()?["pid"].as_u64()?).unwrap());
        self.pid = Some(wait_until("the guard answers", || pid().filter(|pid| Some(*pid) != former)));
    }

    fn crash(&mut self) {
        self.stage.kill(self.pid.unwrap());
        wait_until("it is gone", || self.stage.find_status().is_none().then_some(()));
    }

    /// Ends the guard in order, with all programs.
    fn shut_down(mut self) {
        self.stage.write("done", "");
        let stopped = self.stage.tutela(&["stop", self.stage.name(), "--shutdown"]);
        assert_eq!(stopped.code, 0, "{}", stopped.output);
        self.stage.write(&format!("go{}", self.begun), "");
        self.command.wait().unwrap();
    }
}

/// An instance of the status.
fn instance(status: &Value, service: &str) -> Value {
    let services = status["services"].as_array().unwrap();
    services.iter().find(|it| it["name"] == service).unwrap()["instances"][0].clone()
}

fn wait_state(stage: &Stage, service: &str, state: &str) -> Value {
    wait_until(&format!("{service} is {state}"), || {
        let it = instance(&stage.find_status()?, service);
        (it["state"] == state).then_some(it)
    })
}

fn pid_of(instance: &Value) -> u32 {
    u32::try_from(instance["pid"].as_u64().unwrap()).unwrap()
}

fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| {
        let digits = line.split("line ").nth(1)?;
        digits.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
    };
    text.lines().filter_map(number).collect()
}

/// The numbers of tutela's own processes: guards and safes.
fn own(stage: &Stage) -> usize {
    stage.run(["tasklist", "/nh", "/fo", "csv"]).output.matches("tutela.exe").count()
}

/// One at a time: safes are counted by their program, and each test has some forty processes of Wine's.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn programs_run_on_and_the_next_guard_goes_on_with_them_and_no_line_is_lost() {
    let _alone = alone();
    let stage = Stage::new();
    let halt = stage.windows("halt");
    let drips = |name: &str, logs: &str| {
        let more = format!("[services.{name}.logs]\ndir = \"logs\"\nrotate_size = \"16KiB\"\nkeep = 10000\n{logs}");
        service(name, &["drip", "3", &halt, "hang"], &more)
    };
    let ends = service("ends", &["await", &stage.windows("end"), "exit", "7"], "restart.when = \"never\"");
    let tree = service("tree", &["child", &stage.windows("child"), "hang"], "");
    let raw = drips("raw", "timestamps = false");
    let json = drips("json", "format = \"json\"");
    let asked = service("asked", &["until-asked", &stage.windows("asked"), "0"], "");
    write_spec(&stage, true, &format!("{raw}{json}{ends}{tree}{asked}"));
    let mut guards = Guards::new(&stage, kills() + 1);
    guards.start();
    let before = ["raw", "json", "ends", "tree", "asked"].map(|name| pid_of(&wait_state(&stage, name, "running")));
    let child = stage.written_pid("child");
    for round in 0..kills() {
        guards.crash();
        if round == 0 {
            stage.write("end", "now\n");
            stage.wait_gone(&[before[2]]);
        }
        guards.start();
        let status = stage.status();
        for (name, pid) in [("raw", before[0]), ("json", before[1]), ("tree", before[3]), ("asked", before[4])] {
            let it = instance(&status, name);
            assert_eq!((&it["state"], pid_of(&it), &it["restarts"]), (&"running".into(), pid, &0.into()), "{name}");
        }
        let ended = wait_state(&stage, "ends", "failed");
        assert_eq!(ended["last_exit"]["code"], 7, "{ended}");
    }
    assert!(stage.processes().contains(&child));
    assert_eq!(own(&stage), 2, "a guard and its safe, and no other");

    stage.write("halt", "now\n");
    for name in ["raw", "json"] {
        let target = format!("{}/{name}", stage.name());
        let seen = wait_until("the last line is there", || {
            let read = || numbers(&stage.tutela(&["logs", &target, "-n", "100000000"]).output);
            // The same twice: nothing is on its way any more.
            let (first, again) = (read(), read());
            (first.len() == again.len()).then_some(first)
        });
        let whole: Vec<u64> = (0..seen.len() as u64).collect();
        let fault = seen.iter().zip(&whole).find(|(a, b)| a != b);
        assert!(seen == whole, "{name} has {} lines up to {:?}, first fault at {fault:?}", seen.len(), seen.last());
        assert!(seen.len() > 500, "{name} wrote {} lines", seen.len());
        println!("{name}: {} lines over {} kills", seen.len(), kills());
    }

    let stopped = stage.tutela(&["stop", &format!("{}/tree", stage.name())]);
    assert_eq!(stopped.code, 0, "{}", stopped.output);
    stage.wait_gone(&[before[3], child]);
    guards.shut_down();
    assert_eq!(stage.written("asked"), "ctrl-c", "a program that was taken back is asked before it is ended");
    stage.wait_gone(&before);
    wait_until("the safe ends with its guard", || (own(&stage) == 0).then_some(()));
}

#[test]
fn without_survive_the_kernel_ends_programs_with_their_guard_and_who_no_longer_wants_it_ends_what_was_left() {
    let _alone = alone();
    let stage = Stage::new();
    let services = service("app", &["child", &stage.windows("child"), "hang"], "");
    stage.write("spec.toml", &format!("name = {}\n{services}", toml(stage.name())));
    let mut guards = Guards::new(&stage, 3);
    guards.start();
    let (app, child) = (pid_of(&wait_state(&stage, "app", "running")), stage.written_pid("child"));
    assert_eq!(own(&stage), 1, "there is a safe");
    guards.crash();
    stage.wait_gone(&[app, child]);

    std::fs::remove_file(stage.path("child")).unwrap();
    write_spec(&stage, true, &services);
    guards.start();
    let (app, child) = (pid_of(&wait_state(&stage, "app", "running")), stage.written_pid("child"));
    guards.crash();
    let left = stage.processes();
    assert!(left.contains(&app) && left.contains(&child), "{left:?} without {app} or {child}");
    std::fs::remove_file(stage.path("child")).unwrap();
    write_spec(&stage, false, &services);
    guards.start();
    assert!(stage.events().contains("ended without stopping app"), "{}", stage.events());
    stage.wait_gone(&[app, child]);
    assert_ne!(pid_of(&wait_state(&stage, "app", "running")), app);
    wait_until("the safe is gone", || (own(&stage) == 1).then_some(()));
    guards.shut_down();
}

#[test]
fn a_safe_that_was_killed_is_replaced_before_it_is_needed() {
    let _alone = alone();
    let stage = Stage::new();
    write_spec(&stage, true, &service("app", &["hang"], ""));
    let mut guards = Guards::new(&stage, 2);
    guards.start();
    let app = pid_of(&wait_state(&stage, "app", "running"));
    let own_pid = guards.pid.unwrap().to_string();
    let told = stage.run(["tasklist", "/nh", "/fo", "csv"]).output;
    let safe = told.lines().filter(|line| line.contains("tutela.exe")).find_map(|line| {
        let pid = line.split("\",\"").nth(1)?;
        (pid != own_pid).then(|| pid.parse::<u32>().unwrap())
    });
    stage.kill(safe.unwrap());
    wait_until("it is replaced", || stage.events().contains("there is another one").then_some(()));
    guards.crash();
    guards.start();
    assert_eq!(pid_of(&wait_state(&stage, "app", "running")), app);
    guards.shut_down();
    stage.wait_gone(&[app]);
}
