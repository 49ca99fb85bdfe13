//! The whole way of what a program writes: through the guard into files, out to sinks and to whoever asks, over the death
//! of the guard in the middle of a record.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tutela_it::ingest::Receiver;
use tutela_it::{Container, Guard, Stage, http, wait_until};

/// For a machine that does much else.
const LONG: Duration = Duration::from_secs(300);

const SECRET: &str = "sesame-4711-open";

/// Lines of the first life.
const LINES: usize = 2000;

/// A receiver of syslog over TCP that keeps each message.
#[derive(Clone)]
struct Syslog {
    address: SocketAddr,
    frames: Arc<Mutex<BTreeSet<String>>>,
}

impl Syslog {
    fn start() -> Syslog {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let syslog = Syslog { address: listener.local_addr().unwrap(), frames: Arc::default() };
        let serving = syslog.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.read(stream));
            }
        });
        syslog
    }

    /// Each message has its length before it. A connection that breaks in the middle of one takes that with it: the next
    /// connection has it again.
    fn read(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = Vec::new();
            if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
                return;
            }
            let Some(length) = std::str::from_utf8(&length).ok().and_then(|text| text.trim_end().parse().ok()) else {
                return;
            };
            let mut frame = vec![0; length];
            if reader.read_exact(&mut frame).is_err() {
                return;
            }
            self.frames.lock().unwrap().insert(String::from_utf8(frame).unwrap());
        }
    }

    fn frames(&self) -> Vec<String> {
        self.frames.lock().unwrap().iter().cloned().collect()
    }

    fn has(&self, message: &str) -> bool {
        self.frames().iter().any(|frame| frame.ends_with(&format!("] {message}")))
    }
}

/// What the program does: it stops within a stack trace until there is a file `half`, and then goes on with it, whichever
/// guard there is by then. The last line of each stream pushes out what is held before it.
fn cues() -> String {
    let first = [
        "await=go".to_owned(),
        format!("lines={LINES}"),
        format!(r#"say={{"level":"error","msg":"pay failed","order":17,"with":"{SECRET}"}}"#),
        "say=chatter".to_owned(),
        format!("cry=login with {SECRET} failed"),
        "cry=ERROR boom".to_owned(),
        "cry=    at one".to_owned(),
        "cry=    at two".to_owned(),
        "await=half".to_owned(),
    ];
    let second = [
        "cry=    at three".to_owned(),
        format!("cry=ERROR refused: {SECRET}"),
        "say=line of the second half".to_owned(),
        "say=end".to_owned(),
        "cry=end".to_owned(),
        "hang".to_owned(),
    ];
    let words: Vec<String> = first.into_iter().chain(second).map(|cue| format!("'{cue}'")).collect();
    words.join(", ")
}

fn spec(http: &Receiver, syslog: &Syslog) -> String {
    format!(
        "[services.a]\ncommand = [\"understudy\", {cues}]\nenv = {{ API_TOKEN = \"{SECRET}\" }}\n\
         logs = {{ rotate_size = \"16KiB\", keep = 1000, multiline = {{ continue = '^\\s', wait = \"1m\" }} }}\n\
         [sinks.web]\nhttp = \"{url}\"\nlinger = \"20ms\"\nretry_max = \"1s\"\n\
         matches = \"^(line|pay|login|ERROR)\"\n\
         [sinks.sys]\nsyslog = \"tcp://{address}\"\nlinger = \"20ms\"\nretry_max = \"1s\"\nlevel = \"error\"\n",
        cues = cues(),
        url = http.url(),
        address = syslog.address,
    )
}

/// Everything that lies in the folder of the logs.
fn files(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(stage.log_dir()).unwrap().flatten().filter(|entry| entry.path().is_file());
    entries
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

fn are_written(guard: &Guard, texts: &[&str]) {
    wait_until(LONG, &format!("{texts:?} are in the files"), || {
        let all: String = files(guard).iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
        texts.iter().all(|text| all.contains(text)).then_some(())
    });
}

#[test]
fn what_a_program_writes_arrives_everywhere_once_told_apart_joined_and_masked_though_the_guard_is_killed() {
    let (web, syslog) = (Receiver::start(), Syslog::start());
    web.forbid(SECRET);
    let stage = Stage::new();
    stage.write_spec(&spec(&web, &syslog));
    let guard = stage.start(Container::ControlGroup);
    guard.write("go", "");
    are_written(&guard, &["chatter", "    at two"]);
    wait_until(LONG, "the sinks are in the middle of the record", || {
        (web.count("a-0") > LINES && syslog.has("pay failed")).then_some(())
    });
    let stage = guard.crash();
    stage.write("half", "");
    let guard = stage.start(Container::ControlGroup);

    let trace = "ERROR boom\n    at one\n    at two\n    at three";
    let errors = ["pay failed", trace, "ERROR refused: ***"];
    let mut expected: BTreeSet<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    expected.extend(errors.map(str::to_owned));
    expected.extend(["login with *** failed", "line of the second half"].map(str::to_owned));
    wait_until(LONG, "every record came", || {
        (web.count("a-0") >= expected.len() && errors.iter().all(|error| syslog.has(error))).then_some(())
    });
    let came: BTreeSet<String> = web.messages("a-0").into_keys().collect();
    let differ: Vec<_> = came.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:?}");
    for frame in syslog.frames() {
        assert!(errors.iter().any(|error| frame.ends_with(&format!("] {error}"))), "{frame}");
    }
    let frames = syslog.frames();
    let paid = frames.iter().find(|frame| frame.ends_with("pay failed")).unwrap();
    assert!(paid.contains("order=\"17\"") && paid.contains("with=\"***\""), "{paid}");

    are_written(&guard, &[" err end", " out end"]);
    let shown = guard.cli_ok(&["logs", &format!("{}/a", guard.name()), "-n", "100"]);
    let asked = http::ask(&guard.socket(), "GET", "/v1/logs/a?n=100").unwrap().text();
    for text in [&shown, &asked] {
        assert!(text.contains("ERROR refused: ***") && text.contains("    at three"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(!web.has_forbidden(), "the secret came over HTTP");
    assert!(frames.iter().all(|frame| !frame.contains(SECRET)), "the secret came over syslog");
    for (name, bytes) in files(&guard) {
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "the secret is in {name}");
    }
}
