//! Sinks against a real receiver: what was written is what arrives, over outages of the receiver and deaths of the
//! guard; and a sink that does not get through hurts nobody.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tutela_it::disk::SmallDisk;
use tutela_it::ingest::{Mood, Receiver};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

/// Everything that a loaded machine may take for some hundred thousand lines.
const LONG: Duration = Duration::from_secs(300);

/// A service that writes so many numbered lines, once in the life of its stage, when there is a file `go`.
fn writer(lines: usize, logs: &str) -> String {
    format!(
        "[services.a]\ncommand = [\"understudy\", \"await=go\", \"once=wrote\", \"lines={lines}\", \"hang\"]\n\
         logs = {{ {logs} }}\n"
    )
}

fn sink(name: &str, url: &str, keys: &str) -> String {
    format!("[sinks.{name}]\nhttp = \"{url}\"\nlinger = \"20ms\"\nretry_max = \"1s\"\ntimeout = \"2s\"\n{keys}\n")
}

fn status_of(stage: &Stage, sink: &str) -> Value {
    let sinks = stage.status()["sinks"].clone();
    sinks.as_array().unwrap().iter().find(|it| it["name"] == sink).cloned().unwrap_or_else(|| panic!("{sinks}"))
}

/// Waits until every line has come, and proves that no other has.
fn wait_for_all(receiver: &Receiver, label: &str, lines: usize) {
    wait_until(LONG, &format!("{lines} lines came"), || (receiver.count(label) >= lines).then_some(()));
    let came = receiver.messages(label);
    assert_eq!(came.len(), lines);
    assert!((0..lines).all(|number| came.contains_key(&format!("line {number}"))));
}

#[test]
fn every_line_arrives_in_order_through_rotation_and_a_receiver_that_goes_away_in_every_way() {
    const LINES: usize = 120_000;
    let receiver = Receiver::start();
    let keys = writer(LINES, "rotate_size = \"256KiB\", keep = 1000");
    let guard = Guard::start(&format!("{keys}{}", sink("central", &receiver.url(), "")));
    guard.write("go", "");
    for mood in [Mood::Busy, Mood::Garbage, Mood::Away, Mood::Hangs] {
        receiver.set(mood);
        wait_until(LONG, &format!("{mood:?} is noticed"), || {
            let sink = status_of(&guard, "central");
            (sink["state"] == "failing" || sink["records"] == LINES).then_some(())
        });
        receiver.set(Mood::Good);
        wait_until(LONG, "it goes on", || (status_of(&guard, "central")["state"] == "up").then_some(()));
    }
    wait_for_all(&receiver, "a-0", LINES);
    let sink = wait_until(LONG, "all is counted", || {
        Some(status_of(&guard, "central")).filter(|sink| sink["records"] == LINES)
    });
    assert_eq!(sink["dropped"], serde_json::json!({ "overflow": 0, "lost": 0, "refused": 0 }));
    assert_eq!((&sink["way"], &sink["backlog_bytes"], &sink["last_error"]), (&"http".into(), &0.into(), &Value::Null));
    // In order: a line that came for the first time is the one behind the last such.
    let mut next = 0;
    for message in receiver.order() {
        let number: usize = message.strip_prefix("line ").unwrap().parse().unwrap();
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    let record = receiver.last().unwrap();
    assert_eq!((&record["service_name"], &record["stream"]), (&"a".into(), &"out".into()));
    let posts = receiver.posts();
    assert!(posts < 2000, "{posts} deliveries of {LINES} lines");
}

#[test]
fn a_guard_that_is_killed_goes_on_where_the_receiver_last_said_yes() {
    const LINES: usize = 100_000;
    let receiver = Receiver::start();
    let stage = Stage::new();
    let keys = writer(LINES, "rotate_size = \"256KiB\", keep = 1000");
    stage.write_spec(&format!("{keys}{}", sink("central", &receiver.url(), "")));
    let guard = stage.start(Container::ControlGroup);
    guard.write("go", "");
    wait_until(LONG, "some lines came", || (receiver.count("a-0") > 1000).then_some(()));
    receiver.set(Mood::Busy);
    // What a guard that is killed has not read is in no file: the last line has to be.
    let is_kept =
        || guard.cli_ok(&["logs", &format!("{}/a", guard.name()), "-n", "1"]).contains(&format!("line {}", LINES - 1));
    wait_until(LONG, "the last line is kept", || is_kept().then_some(()));
    let stage = guard.crash();
    receiver.set(Mood::Good);
    let guard = stage.start(Container::ControlGroup);
    wait_for_all(&receiver, "a-0", LINES);
    let sink = wait_until(LONG, "all is counted", || {
        Some(status_of(&guard, "central")).filter(|sink| sink["records"] == LINES)
    });
    assert_eq!(sink["dropped"]["lost"], 0);
    // At most a second's worth came twice.
    let repeated: u32 = receiver.messages("a-0").values().map(|times| times - 1).sum();
    assert!(repeated as usize <= LINES / 2, "{repeated} lines came twice");
}

#[test]
fn what_is_left_when_the_guard_ends_is_delivered_or_waits_for_the_next_guard() {
    let receiver = Receiver::start();
    let stage = Stage::new();
    let slow = "[sinks.slow]\nhttp = \"URL\"\nlinger = \"1h\"\n".replace("URL", &receiver.url());
    stage.write_spec(&format!("{}{slow}", writer(500, "")));
    let guard = stage.start(Container::ControlGroup);
    guard.write("go", "");
    wait_until(BOUND, "the lines are kept", || {
        (String::from_utf8_lossy(&guard.log("a-0.log")).contains("line 499")).then_some(())
    });
    assert_eq!(receiver.count("a-0"), 0, "it lingers for an hour");
    let stage = guard.close();
    wait_for_all(&receiver, "a-0", 500);
    // One that does not answer does not hold the guard up for long, and loses nothing.
    let second = Receiver::start();
    second.set(Mood::Hangs);
    std::fs::remove_file(stage.path("wrote")).unwrap();
    stage.write_spec(&format!("{}{}", writer(700, ""), sink("other", &second.url(), "")));
    let guard = stage.start(Container::ControlGroup);
    wait_until(BOUND, "the lines are kept", || {
        (String::from_utf8_lossy(&guard.log("a-0.log")).contains("line 699")).then_some(())
    });
    let stage = guard.close();
    second.set(Mood::Good);
    let _guard = stage.start(Container::ControlGroup);
    wait_for_all(&second, "a-0", 700);
}

#[test]
fn a_sink_that_hangs_or_cannot_be_reached_hurts_no_other_and_no_program() {
    let (good, hanging) = (Receiver::start(), Receiver::start());
    hanging.set(Mood::Hangs);
    let nowhere = "[sinks.nowhere]\nhttp = \"http://no-such-host.invalid/\"\nretry_max = \"1s\"\n";
    let keys = writer(50_000, "rotate_size = \"1MiB\", keep = 100");
    let sinks = [sink("good", &good.url(), ""), sink("hanging", &hanging.url(), ""), nowhere.to_owned()].concat();
    let guard = Guard::start(&format!("{keys}{sinks}"));
    guard.write("go", "");
    wait_for_all(&good, "a-0", 50_000);
    guard.wait_event("sink_failing", |event| event["data"]["sink"] == "nowhere");
    guard.wait_event("sink_failing", |event| event["data"]["sink"] == "hanging");
    let sink = status_of(&guard, "nowhere");
    assert_eq!(sink["state"], "failing");
    assert!(sink["last_error"].as_str().unwrap().contains("no-such-host.invalid"), "{sink}");
    assert_eq!(guard.instance("a:0").state, "running");
    // How full this computer's disks and memory are, of which the answer as a whole tells too, is not this test's.
    let health = tutela_it::http::ask(&guard.socket(), "GET", "/health").unwrap().json();
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "sink:hanging").unwrap();
    assert_eq!(check["status"], "warning", "{health}");
    let shown = guard.cli_ok(&["status", guard.name()]);
    assert!(shown.contains("sink nowhere (http)  failing for") && !shown.contains("sink good"), "{shown}");
    let metrics = tutela_it::http::ask(&guard.socket(), "GET", "/metrics").unwrap().text();
    let name = guard.name();
    for line in [
        format!("tutela_sink_up{{guard=\"{name}\",sink=\"good\"}} 1"),
        format!("tutela_sink_up{{guard=\"{name}\",sink=\"nowhere\"}} 0"),
        format!("tutela_sink_records_total{{guard=\"{name}\",sink=\"good\"}} 50000"),
    ] {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[test]
fn what_does_not_fit_into_the_buffer_is_counted_to_the_line() {
    const LINES: u64 = 60_000;
    let receiver = Receiver::start();
    receiver.set(Mood::Busy);
    let keys = writer(usize::try_from(LINES).unwrap(), "rotate_size = \"128KiB\", keep = 1000");
    let guard = Guard::start(&format!("{keys}{}", sink("small", &receiver.url(), "buffer = \"256KiB\"")));
    guard.write("go", "");
    guard.wait_event("sink_dropped", |event| event["data"]["overflow"].as_u64() > Some(0));
    receiver.set(Mood::Good);
    let of = |key: &str| status_of(&guard, "small")[key].clone();
    wait_until(LONG, "every line is accounted for", || {
        (of("records").as_u64()? + of("dropped")["overflow"].as_u64()? == LINES).then_some(())
    });
    let came = receiver.messages("a-0");
    assert_eq!(came.len() as u64, of("records").as_u64().unwrap());
    assert!(came.contains_key(&format!("line {}", LINES - 1)), "the newest are kept");
}

#[test]
fn what_retention_removed_before_it_could_be_sent_is_counted_to_the_line() {
    const LINES: u64 = 60_000;
    let receiver = Receiver::start();
    receiver.set(Mood::Busy);
    let keys = writer(usize::try_from(LINES).unwrap(), "rotate_size = \"64KiB\", keep = 3");
    let guard = Guard::start(&format!("{keys}{}", sink("late", &receiver.url(), "")));
    guard.write("go", "");
    wait_until(BOUND, "the last line is kept", || {
        (String::from_utf8_lossy(&guard.log("a-0.log")).contains(&format!("line {}", LINES - 1))).then_some(())
    });
    receiver.set(Mood::Good);
    wait_until(LONG, "every line is accounted for", || {
        let sink = status_of(&guard, "late");
        let (records, lost) = (sink["records"].as_u64()?, sink["dropped"]["lost"].as_u64()?);
        (records + lost == LINES && lost > 0).then_some(())
    });
    assert_eq!(receiver.count("a-0") as u64, status_of(&guard, "late")["records"].as_u64().unwrap());
}

#[test]
fn a_reload_adds_changes_and_removes_sinks_without_touching_programs() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let program = "[services.a]\ncommand = [\"understudy\", \"await=go1\", \"say=one\", \"await=go2\", \"say=two\", \"await=go3\", \"say=three\", \"hang\"]\n";
    let guard = Guard::start(&format!("{program}{}", sink("x", &first.url(), "")));
    let pid = guard.wait_state("a:0", "running").pid;
    guard.write("go1", "");
    wait_until(BOUND, "it came", || (first.count("a-0") == 1).then_some(()));
    // Another address, a rule, and one more sink: the new one begins with what is new.
    let second_url = second.url();
    guard.write_spec(&format!(
        "{program}{}{}",
        sink("x", &first.url(), "excludes = \"^two$\""),
        sink("y", &second_url, "")
    ));
    guard.cli_ok(&["reload", guard.name()]);
    wait_until(BOUND, "there are two", || (guard.status()["sinks"].as_array()?.len() == 2).then_some(()));
    wait_until(BOUND, "its position is kept", || {
        guard.home().join("state").join(guard.name()).join("sinks/y.json").exists().then_some(())
    });
    guard.write("go2", "");
    wait_until(BOUND, "it came to the other", || (second.count("a-0") == 1).then_some(()));
    assert_eq!(second.messages("a-0").keys().collect::<Vec<_>>(), ["two"]);
    guard.write_spec(&format!("{program}{}", sink("x", &first.url(), "")));
    guard.cli_ok(&["reload", guard.name()]);
    guard.write("go3", "");
    wait_until(BOUND, "the rest came", || (first.count("a-0") == 2).then_some(()));
    assert_eq!(first.messages("a-0").keys().collect::<Vec<_>>(), ["one", "three"]);
    assert_eq!(second.count("a-0"), 1);
    assert_eq!(guard.instance("a:0").pid, pid, "the program was not touched");
}

#[test]
fn check_refuses_a_bad_certificate_file_and_tells_a_missing_one_and_a_host_that_nobody_knows() {
    let stage = Stage::new();
    let tls = |ca: &str| {
        format!(
            "[services.a]\ncommand = [\"understudy\", \"hang\"]\n[sinks.s]\nhttp = \"https://127.0.0.1:1/\"\n[sinks.s.tls]\nca = \"{ca}\"\n"
        )
    };
    stage.write_spec(&tls("missing.pem"));
    let ended = stage.cli(["check", "tutela.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("missing.pem: until it is there nothing is sent"), "{}", ended.stderr);
    stage.write("bad.pem", "no certificate");
    stage.write_spec(&tls("bad.pem"));
    let ended = stage.cli(["check", "tutela.toml"]);
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("bad-certificate") && ended.stderr.contains(":6:"), "{}", ended.stderr);
    stage.write_spec(
        "[services.a]\ncommand = [\"understudy\", \"hang\"]\n[sinks.s]\nhttp = \"http://no-such-host.invalid/\"\n",
    );
    let ended = stage.cli(["check", "tutela.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("is not known here"), "{}", ended.stderr);
}

/// The numbers of the lines in the log files of `a:0` in a folder, as they stand there.
fn numbers_in_files(folder: &Path) -> Vec<u64> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "log"));
    // The one that is written to has no stamp in its name, so it sorts last.
    files.sort_by_key(|path| path.to_string_lossy().replace("a-0.log", "a-0.~"));
    let mut numbers = Vec::new();
    for file in files {
        let text = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(" out line "));
        numbers.extend(lines.map(|(_, number)| number.parse::<u64>().unwrap()));
    }
    numbers
}

/// A figure of `/metrics`, of the service `a`; zero where it is not told yet.
fn figure(stage: &Stage, name: &str) -> u64 {
    let text = tutela_it::http::ask(&stage.socket(), "GET", "/metrics").unwrap().text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains("service=\"a\""));
    let value = line.map_or("0", |line| line.rsplit_once("} ").unwrap().1);
    // Whole, and written with a point.
    value.parse::<f64>().unwrap() as u64
}

/// The whole of it at once: rotation, a disk that is full for a while, a guard that is killed, a receiver that is away.
/// Every number is in the files and at the receiver, or in the count of what the disk refused. `TUTELA_SINK_LINES` and
/// `TUTELA_SINK_OUTAGE_SECONDS` make it as large as one likes.
///
/// What a program wrote and no guard has read is lost with a guard that is killed: the test waits until all is read.
#[test]
fn of_many_lines_each_is_accounted_for_after_rotation_a_full_disk_a_kill_and_an_outage() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let lines: u64 = number("TUTELA_SINK_LINES", 200_000);
    let outage = Duration::from_secs(number("TUTELA_SINK_OUTAGE_SECONDS", 3));
    // Room for all of it, with timestamps, indexes and slack.
    let disk = SmallDisk::mount(lines * 64 + (8 << 20));
    let (folder, receiver) = (disk.path("logs"), Receiver::start());
    let (full, room) = (lines / 2, lines / 4 * 3);
    let stage = Stage::new();
    stage.write_spec(&format!(
        "[services.a]\ncommand = [\"understudy\", \"await=go\", \"once=wrote1\", \"lines=0..{full}\", \
         \"await=full\", \"once=wrote2\", \"lines={full}..{room}\", \"pid=refused\", \
         \"await=room\", \"wait=1100\", \"once=wrote3\", \"lines={room}..{lines}\", \"hang\"]\n\
         logs = {{ dir = \"{}\", rotate_size = \"1MiB\", keep = 1000 }}\n\
         [alerts.ops]\ncommand = [\"understudy\", \"stamp=alerted\"]\non = [\"logs_failing\"]\n{}",
        folder.display(),
        sink("central", &receiver.url(), "")
    ));
    let guard = stage.start(Container::ControlGroup);
    let accounted =
        |guard: &Guard| (figure(guard, "tutela_log_lines_total"), figure(guard, "tutela_log_dropped_lines_total"));
    let wait_for = |guard: &Guard, count: u64| {
        wait_until(LONG, &format!("{count} lines are stored or counted"), || {
            let (stored, dropped) = accounted(guard);
            assert!(stored + dropped <= count, "{stored} stored and {dropped} dropped of {count}");
            (stored + dropped == count).then_some((stored, dropped))
        })
    };
    guard.write("go", "");
    wait_until(LONG, "a tenth came", || (receiver.count("a-0") as u64 > lines / 10).then_some(()));
    receiver.set(Mood::Away);
    assert_eq!(wait_for(&guard, full), (full, 0));

    disk.fill();
    guard.write("full", "");
    let failing = guard.wait_event("logs_failing", |event| event["service"] == "a");
    assert!(failing["data"]["error"].as_str().unwrap().contains("No space left on device"), "{failing}");
    wait_until(LONG, "the program is not held up", || guard.path("refused").exists().then_some(()));
    let (_, dropped) = wait_for(&guard, room);
    assert!(dropped > 0);
    guard.wait_event("alert_delivered", |event| event["data"]["way"] == "ops");
    assert!(guard.events_of("logs_recovered").is_empty());

    disk.free();
    guard.write("room", "");
    let told = || -> u64 {
        guard.events_of("logs_recovered").iter().map(|it| it["data"]["dropped_lines"].as_u64().unwrap()).sum()
    };
    let (stored, dropped) = wait_for(&guard, lines);
    wait_until(LONG, "every drop is told", || (told() == dropped).then_some(()));
    let kept = numbers_in_files(&folder);
    assert!(kept.is_sorted_by(|a, b| a < b), "in order and once");
    assert_eq!((kept.len() as u64, stored + dropped), (stored, lines));
    assert_eq!(kept.last(), Some(&(lines - 1)));
    // What the disk refused lies between what it took before and what it takes since.
    assert!((0..full).chain(room..lines).all(|number| kept.binary_search(&number).is_ok()));

    let stage = guard.crash();
    let began = std::time::Instant::now();
    let guard = stage.start(Container::ControlGroup);
    wait_until(LONG, "the outage is over", || (began.elapsed() >= outage).then_some(()));
    let memory = std::fs::read_to_string(format!("/proc/{}/status", guard.pid())).unwrap();
    receiver.set(Mood::Good);
    let at_receiver = || receiver.messages("a-0");
    wait_until(LONG, "all came", || (receiver.count("a-0") as u64 > stored).then_some(()));
    let numbers = |came: &BTreeMap<String, u32>| -> BTreeSet<u64> {
        came.keys().filter_map(|message| message.strip_prefix("line ")?.parse().ok()).collect()
    };
    wait_until(LONG, "the last line came", || numbers(&at_receiver()).contains(&(lines - 1)).then_some(()));
    let came = at_receiver();
    assert!(numbers(&came).into_iter().eq(kept.iter().copied()), "the receiver has what is in the files");
    // Where the hole is, it is told how large it is.
    let notes: Vec<&String> = came.keys().filter(|message| !message.starts_with("line ")).collect();
    let missing = |note: &&String| note.split(" lines were not stored").next()?.rsplit(' ').next()?.parse::<u64>().ok();
    assert_eq!(notes.iter().filter_map(missing).sum::<u64>(), dropped, "{notes:?}");
    let sink = wait_until(LONG, "all is counted", || {
        Some(status_of(&guard, "central")).filter(|sink| sink["records"] == stored + notes.len() as u64)
    });
    assert_eq!(sink["dropped"], serde_json::json!({ "overflow": 0, "lost": 0, "refused": 0 }));
    let peak = std::fs::read_to_string(format!("/proc/{}/status", guard.pid())).unwrap();
    let of = |text: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    println!("{lines} lines: {stored} in files and at the receiver, {dropped} refused by a full disk and counted");
    println!("{} KiB at most while the receiver was away, {} KiB at the end", of(&memory), of(&peak));
    assert!(of(&peak) < 100 * 1024, "the guard used {} KiB", of(&peak));
}
