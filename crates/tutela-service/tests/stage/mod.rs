//! A host for the understudy: hears what it notifies, reads what it writes, signals it, and sees how it ends.
//!
//! Every wait has one bound, far above what a busy machine needs, and is over as soon as what it waits for is there.
#![allow(dead_code, reason = "each test file uses a part of the stage")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tutela_os::notify::{HOST_VARIABLES, Inbox};
use tutela_os::paths::Paths;

/// Reached only by a failure.
pub const BOUND: Duration = Duration::from_secs(60);

/// An understudy on stage.
pub struct Stage {
    runtime: tokio::runtime::Runtime,
    inbox: Inbox,
    pub folder: tempfile::TempDir,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    /// What was heard, line by line, and how much of it was asked for.
    heard: Vec<String>,
    taken: usize,
}

/// How it ended.
#[derive(Debug)]
pub struct End {
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub text: String,
    /// What it notified in all.
    pub heard: Vec<String>,
}

/// Where the example of this name was built, beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests lie in `deps`").join("examples");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: `cargo test` without `--test` builds the examples", path.display());
    path
}

/// A command without anything that the host of the test itself told it.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in HOST_VARIABLES.into_iter().chain(["TUTELA_SERVICE", "TUTELA_INSTANCE", "NO_COLOR"]) {
        command.env_remove(variable);
    }
    command
}

impl Stage {
    /// Starts the understudy with this script.
    pub fn play(words: &[&str]) -> Stage {
        Stage::play_with(words, |_| {})
    }

    /// The same with a hand on the command, before it starts.
    pub fn play_with(words: &[&str], prepare: impl FnOnce(&mut Command)) -> Stage {
        Stage::of("understudy", |command| {
            command.args(words);
            prepare(command);
        })
    }

    /// Another example on stage.
    pub fn of(program: &str, prepare: impl FnOnce(&mut Command)) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let within = runtime.enter();
        let paths = Paths::under(folder.path());
        std::fs::create_dir_all(paths.runtime_dir()).expect("a folder");
        let inbox = Inbox::bind(&paths.notify_socket("understudy")).expect("an inbox");
        drop(within);
        let mut command = clean(example(program));
        command.current_dir(folder.path()).env("NOTIFY_SOCKET", inbox.address());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("the understudy starts");
        let mut stderr = child.stderr.take().expect("it is piped");
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Stage { runtime, inbox, folder, child, stderr: Some(stderr), heard: Vec::new(), taken: 0 }
    }

    /// Waits until a line is heard that begins with `start`, after those that were asked for before; answers its rest.
    pub fn hear(&mut self, start: &str) -> String {
        let began = Instant::now();
        loop {
            while self.taken < self.heard.len() {
                self.taken += 1;
                if let Some(rest) = self.heard[self.taken - 1].strip_prefix(start) {
                    return rest.to_owned();
                }
            }
            if self.listen(Duration::from_millis(20)) {
                continue;
            }
            let ended = self.child.try_wait().expect("it is our child");
            // What it said last may have come since.
            if self.listen(Duration::from_millis(1)) {
                continue;
            }
            if ended.is_some() || began.elapsed() > BOUND {
                let (heard, lasted) = (self.heard.clone(), began.elapsed());
                let text = self.kill();
                panic!("no {start:?} within {lasted:?}; ended: {ended:?}; heard {heard:#?}; it wrote:\n{text}");
            }
        }
    }

    /// What was heard so far, what is on its way included.
    pub fn all_heard(&mut self) -> &[String] {
        while self.listen(Duration::from_millis(1)) {}
        &self.heard
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} works");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.listen(Duration::from_millis(1));
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Listens for `span`, for what should not be heard.
    pub fn pause(&mut self, span: Duration) {
        let began = Instant::now();
        while began.elapsed() < span {
            self.listen(span.saturating_sub(began.elapsed()));
        }
    }

    /// Waits until it has ended.
    pub fn end(mut self) -> End {
        let began = Instant::now();
        let code = loop {
            // Whoever notifies waits while nobody listens.
            self.listen(Duration::from_millis(5));
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status.code();
            }
            if began.elapsed() > BOUND {
                let heard = self.heard.clone();
                let text = self.kill();
                panic!("it has not ended within {BOUND:?}; heard {heard:#?}; it wrote:\n{text}");
            }
        };
        self.all_heard();
        let text = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        End { code, text, heard: std::mem::take(&mut self.heard) }
    }

    fn kill(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }

    /// Hears one message, if one comes within `span`.
    fn listen(&mut self, span: Duration) -> bool {
        let inbox = &self.inbox;
        let message = self.runtime.block_on(async { tokio::time::timeout(span, inbox.recv()).await });
        let Ok(Ok(message)) = message else { return false };
        assert!(!message.truncated);
        self.heard.extend(String::from_utf8_lossy(&message.text).lines().map(str::to_owned));
        true
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks over HTTP; the status and the whole answer.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

/// Asks again and again until `wanted` is content with the answer.
pub fn get_until(address: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let (status, answer) = get(address, path);
        if wanted(status, &answer) {
            return answer;
        }
        assert!(began.elapsed() < BOUND, "{path} stays {answer}");
        std::thread::yield_now();
    }
}
