//! A whole guard as a service of Windows, driven by `sc`, `net` and its own commands.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tutela_wine_tests::scm::Service;
use tutela_wine_tests::{Stage, toml, tutela, understudy, wait_until};

/// Fast enough for a test, and slow enough to be seen.
const QUICK: &str = "[services.app.restart]\ndelay = \"200ms\"\n";

fn command(spec: &str) -> String {
    format!("\"{}\" run --service \"{spec}\"", tutela())
}

/// A guard with one service, `app`, registered under the guard's own name.
fn guard<'a>(stage: &'a Stage, words: &[&str], more: &str) -> Service<'a> {
    let spec = stage.spec("spec.toml", words, more);
    Service::create(stage, stage.name(), &command(&spec))
}

fn pid_of_guard(stage: &Stage) -> u32 {
    u32::try_from(stage.status()["pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_life_from_create_to_delete_shows_each_state_and_leaves_nothing() {
    let stage = Stage::new();
    let words =
        ["pid", &stage.windows("pid"), "tick", &stage.windows("tick"), "until-asked", &stage.windows("asked"), "0"];
    let service = guard(&stage, &words, "");
    let created = service.query();
    assert_eq!((created.state.as_str(), created.error), ("STOPPED", 1077));
    assert_eq!(service.start(&[]).code, 0);
    let running = service.wait("RUNNING");
    assert_eq!((running.error, running.own, running.checkpoint, running.hint), (0, 0, 0, 0));
    let program = stage.written_pid("pid");
    let status = stage.status();
    assert_eq!(status["host"], "scm");
    assert_eq!(status["services"][0]["state"], "running");

    // A guard can be through with it before the answer; that it says "pausing" first is shown in `scm.rs`.
    assert!(["Pausing", "Paused"].contains(&service.ask("pause").as_str()));
    service.wait("PAUSED");
    let held = stage.written("tick");
    assert_eq!(service.query().state, "PAUSED");
    assert_eq!(stage.written("tick"), held, "it counts on while it is held still");
    assert!(["Resuming", "Running"].contains(&service.ask("continue").as_str()));
    service.wait("RUNNING");
    wait_until("it counts on", || (stage.written("tick") != held).then_some(()));

    let more = format!(
        "[services.late]\ncommand = [{}, \"pid\", {}, \"hang\"]\n",
        toml(&understudy()),
        toml(&stage.windows("late"))
    );
    stage.spec("spec.toml", &words, &more);
    assert_eq!(service.ask("reload"), "Running");
    let late = stage.written_pid("late");
    for code in ["128", "129", "200"] {
        assert_eq!(service.ask(code), "Running");
    }
    let told = ["end of", "reloaded: nothing differs", "new log files begin", "control code 200"];
    wait_until("codes are events", || told[1..].iter().all(|text| stage.events().contains(text)).then_some(()));

    let own = pid_of_guard(&stage);
    assert_eq!(service.ask("stop"), "Stopping");
    let stopped = service.wait("STOPPED");
    assert_eq!((stopped.error, stopped.own, stopped.checkpoint), (0, 0, 0));
    assert_eq!(stage.written("asked"), "ctrl-c");
    stage.wait_gone(&[program, late, own]);
    drop(service);
    let gone = stage.run(["sc", "query", stage.name()]);
    assert!(gone.code != 0 && !gone.output.contains("STATE"), "{}", gone.output);
}

#[test]
fn it_runs_only_once_its_service_is_ready() {
    let stage = Stage::new();
    let probe = format!("exec = [{}, \"exists\", {}]", toml(&understudy()), toml(&stage.windows("go")));
    let more = format!("[services.app.ready]\n{probe}\nevery = \"300ms\"\ntimeout = \"20s\"\n");
    let service = guard(&stage, &["pid", &stage.windows("pid"), "hang"], &more);
    service.start(&[]);
    stage.written_pid("pid");
    let first = service.query();
    assert_eq!(first.state, "START_PENDING");
    assert!(service.ask("stop").starts_with("error 10"), "a start takes no stop");
    wait_until("the checkpoint has risen", || (service.query().checkpoint > first.checkpoint).then_some(()));
    stage.write("go", "now\n");
    service.wait("RUNNING");
    assert_eq!(service.stop().error, 0);
}

/// How long it takes is printed; the bound is only ever reached by a failure.
#[test]
fn running_is_told_after_the_programs_own_readiness_and_not_before() {
    let stage = Stage::new();
    let words = ["await", &stage.windows("go"), "stamp", &stage.windows("ready"), "notify", "READY=1", "hang"];
    let service = guard(&stage, &words, "[services.app.ready]\nnotify = true\n");
    service.start(&[]);
    let mut watcher = stage.start([&understudy(), "watch", &stage.windows("seen"), stage.name()]);
    stage.lines("seen", 1);
    stage.write("go", "now\n");
    let at = |line: &String| line.trim().parse::<u64>().unwrap();
    let seen = at(&stage.lines("seen", 2)[1]);
    let ready = at(&stage.lines("ready", 1)[0]);
    assert!(seen > ready, "the service ran before its program was ready");
    println!("SERVICE_RUNNING is seen {} us after the program is ready", seen - ready);
    watcher.wait().unwrap();
    assert_eq!(service.stop().error, 0);
}

#[test]
fn a_crash_of_the_program_restarts_it_while_the_service_runs_on() {
    let stage = Stage::new();
    let service = guard(&stage, &["count", &stage.windows("lives"), "pid", &stage.windows("pid"), "hang"], QUICK);
    service.start(&[]);
    service.wait("RUNNING");
    let first = stage.written_pid("pid");
    stage.kill(first);
    assert_eq!(service.query().state, "RUNNING");
    stage.lines("lives", 2);
    let second =
        wait_until("the second life has its number", || Some(stage.written_pid("pid")).filter(|pid| *pid != first));
    assert_eq!(service.query().state, "RUNNING");
    assert_eq!(service.stop().error, 0);
    stage.wait_gone(&[first, second]);
}

#[test]
fn a_killed_guard_leaves_no_program() {
    let stage = Stage::new();
    let service = guard(&stage, &["child", &stage.windows("child"), "pid", &stage.windows("pid"), "hang"], "");
    service.start(&[]);
    service.wait("RUNNING");
    let family = [stage.written_pid("pid"), stage.written_pid("child")];
    stage.kill(pid_of_guard(&stage));
    stage.wait_gone(&family);
    assert_ne!(service.wait("STOPPED").error, 0);
    service.start(&[]);
    service.wait("RUNNING");
    assert_eq!(service.stop().error, 0);
}

#[test]
fn a_stop_by_ctrl_break_reaches_the_program_and_ends_its_children() {
    let stage = Stage::new();
    let words =
        ["child", &stage.windows("child"), "pid", &stage.windows("pid"), "until-asked", &stage.windows("asked"), "0"];
    let ladder = "stop = { ladder = [{ ctrl-break = true, wait = \"10m\" }, { kill = true }] }\n";
    let service = guard(&stage, &words, ladder);
    service.start(&[]);
    service.wait("RUNNING");
    let family = [stage.written_pid("pid"), stage.written_pid("child")];
    stage.written("asked.listens");
    assert_eq!(service.stop().error, 0);
    // Not by force: that would have come ten minutes later. Wine asks no handler about a Ctrl-Break, and ends whoever
    // is on the console.
    let asked = stage.read("asked");
    assert!(["", "ctrl-break\n"].contains(&asked.as_str()), "{asked:?}");
    stage.wait_gone(&family);
}

#[test]
fn a_step_of_a_stop_that_reaches_nobody_is_told_and_not_waited_for() {
    let stage = Stage::new();
    let ladder = "stop = { ladder = [{ close-window = true, wait = \"10m\" }, { ctrl-c = true, wait = \"10m\" }, \
                  { kill = true }] }\n";
    let words = ["pid", &stage.windows("pid"), "until-asked", &stage.windows("asked"), "0"];
    let inner = stage.spec("spec.toml", &words, ladder);
    let mut guard = stage.start([&tutela(), "run", &inner]);
    let pid = stage.written_pid("pid");
    stage.written("asked.listens");
    // Within ten minutes only because nobody waits for a program without windows to close them.
    let stopped = stage.tutela(&["stop", stage.name()]);
    assert_eq!(stopped.code, 0, "{}", stopped.output);
    assert_eq!(stage.written("asked"), "ctrl-c");
    stage.wait_gone(&[pid]);
    let events = stage.events();
    assert!(events.contains("close-window reached nobody: no process of the program has a window"), "{events}");
    assert_eq!(stage.tutela(&["stop", stage.name(), "--shutdown"]).code, 0);
    wait_until("the guard has ended", || guard.try_wait().unwrap());
}

#[test]
fn names_paths_and_words_with_spaces_quotes_and_other_letters_survive() {
    let stage = Stage::new();
    let odd = ["", "two words", "a\"b", "back\\slash\\", "trail\\\\\"", "ünï—文", "%PATH%", "&|<>^"];
    let file = "Ä b'c/wörds told";
    let mut words = vec!["words".to_owned(), stage.windows(file)];
    words.extend(odd.iter().map(|word| (*word).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    stage.write("Ä b'c/here", "");
    let more = "restart = { when = \"never\" }\n";
    let spec = stage.spec("Ä b'c/spëc file.toml", &words, more);
    let name = format!("Ünd so weiter {}", stage.name());
    let service = Service::create(&stage, &name, &command(&spec));
    service.start(&[]);
    let told = stage.lines(file, odd.len());
    assert_eq!(told, odd);
    service.wait("RUNNING");
    assert_eq!(service.stop().error, 0);
}

#[test]
fn a_second_guard_of_the_name_is_refused_at_the_pipe() {
    let stage = Stage::new();
    let service = guard(&stage, &["hang"], "");
    service.start(&[]);
    service.wait("RUNNING");
    let second = stage.tutela(&["run", &stage.windows("spec.toml")]);
    assert_eq!(second.code, 1, "{}", second.output);
    assert!(second.output.contains("runs already"), "{}", second.output);
    assert_eq!(service.stop().error, 0);
}

#[test]
fn a_spec_or_words_that_are_wrong_end_with_1066_and_2() {
    let stage = Stage::new();
    stage.write("spec.toml", "name = \"shop\"\nnonsense = 1\n");
    for words in ["run --service \"SPEC\"", "run --service \"SPEC.missing\"", "run --service --nonsense"] {
        let words = words.replace("SPEC", &stage.windows("spec.toml"));
        let service = Service::create(&stage, stage.name(), &format!("\"{}\" {words}", tutela()));
        service.start(&[]);
        let ended =
            wait_until("it has ended", || Some(service.query()).filter(|it| it.error != 1077 && it.state == "STOPPED"));
        assert_eq!((ended.error, ended.own), (1066, 2), "{words}");
    }
}

#[test]
fn a_stop_during_backoff_and_a_cool_down_are_a_running_service_that_stops_well() {
    let stage = Stage::new();
    let restart = "[services.app.restart]\ndelay = \"1h\"\nmax_delay = \"1h\"\n";
    let service = guard(&stage, &["count", &stage.windows("lives"), "exit", "3"], restart);
    service.start(&[]);
    wait_until("it waits between restarts", || (stage.status()["services"][0]["state"] == "backoff").then_some(()));
    assert_eq!(service.wait("RUNNING").error, 0);
    assert_eq!(service.stop().error, 0);

    let restart = "[services.app.restart]\ndelay = \"10ms\"\nburst = 1\ncooldown = \"1h\"\n";
    stage.spec("spec.toml", &["exit", "3"], restart);
    service.start(&[]);
    wait_until("it cools down", || (stage.status()["services"][0]["state"] == "cooldown").then_some(()));
    assert_eq!(service.query().state, "RUNNING", "cool-down is no pause");
    assert_eq!(service.stop().error, 0);
}

#[test]
fn net_starts_and_stops_it_too() {
    let stage = Stage::new();
    let _service = guard(&stage, &["pid", &stage.windows("pid"), "hang"], "");
    let started = stage.run(["net", "start", stage.name()]);
    assert!(started.code == 0 && started.output.contains("started successfully"), "{}", started.output);
    let pid = stage.written_pid("pid");
    let stopped = stage.run(["net", "stop", stage.name()]);
    assert!(stopped.code == 0 && stopped.output.contains("stopped successfully"), "{}", stopped.output);
    stage.wait_gone(&[pid]);
}

#[test]
fn a_guard_in_the_foreground_ends_in_order_when_its_console_asks() {
    let stage = Stage::new();
    let inner =
        stage.spec("spec.toml", &["pid", &stage.windows("pid"), "until-asked", &stage.windows("asked"), "0"], "");
    // The outer guard's ladder begins with Ctrl-C; its name is another.
    let mut outer = stage.start([&tutela(), "run", "--", &tutela(), "run", &inner]);
    let pid = stage.written_pid("pid");
    stage.written("asked.listens");
    let stopped = stage.tutela(&["stop", "tutela", "--shutdown"]);
    assert_eq!(stopped.code, 0, "{}", stopped.output);
    assert_eq!(stage.written("asked"), "ctrl-c");
    stage.wait_gone(&[pid]);
    wait_until("the outer guard has ended", || outer.try_wait().unwrap());
    assert!(stage.read("console.log").contains("everything is stopped"));
}
