//! A stage for tests on the real OS: a guard with a folder of its own, its spec, and what is known about it.
//!
//! The tests in `tests/` use it. Each runs the real program `tutela` on real processes, nearly always the
//! `understudy` of this crate, which is on the `PATH` of every guard started here. A test waits for conditions
//! with [`wait_until`] and never for time to pass. Every [`Guard`] proves when it is dropped that nothing that
//! it started is left.
//!
//! Deliberately absent, but for the tests of ways (`receivers`): types of the product. What programs rely on is JSON, HTTP, exit codes and files, so
//! that is what is looked at.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "the harness of tests may panic")]

pub mod disk;
pub mod faults;
pub mod http;
pub mod ingest;
pub mod processes;
pub mod program;
pub mod receiver;
pub mod standstill;
pub mod view;
pub mod witness;

use processes::{kill, of_guard};
use serde_json::Value;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
pub use view::{Instance, names_of};

/// How long anything may take that has no bound of its own. Generous: it is only ever reached by a failure.
pub const BOUND: Duration = Duration::from_secs(20);

/// Lines of a guard's terminal that a failed test shows.
const CONSOLE_LINES: usize = 60;

/// How long between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
/// It found nothing within `bound`.
pub fn wait_until<T>(bound: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < bound, "waited {bound:?} in vain until {what}");
        std::thread::park_timeout(LOOK);
    }
}

/// How a guard holds the trees of its programs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// A control group for each.
    ControlGroup,
    /// A walk over the process table.
    Walk,
}

impl Container {
    /// Both of them.
    pub const ALL: [Container; 2] = [Container::ControlGroup, Container::Walk];
}

/// What a command of `tutela` came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it wrote for programs.
    pub stdout: String,
    /// What it wrote for people.
    pub stderr: String,
}

/// A folder with a spec, in which guards of one name live one after the other.
#[derive(Debug)]
pub struct Stage {
    name: String,
    dir: tempfile::TempDir,
}

impl Default for Stage {
    fn default() -> Self {
        Stage::new()
    }
}

impl Stage {
    /// An empty one, with a name that no other test has.
    pub fn new() -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Stage::named(&format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// An empty one, for a spec that has a name already.
    pub fn named(name: &str) -> Stage {
        let dir = tempfile::Builder::new().prefix("tutela-it-").tempdir().unwrap();
        // Services under other accounts must be able to reach their files.
        processes::set_mode(dir.path(), 0o755);
        Stage { name: name.to_owned(), dir }
    }

    /// The guard's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file beside the spec. Services have this folder as their working folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// `TUTELA_HOME`.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The spec file.
    pub fn spec_path(&self) -> PathBuf {
        self.path("tutela.toml")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.home().join("run").join(format!("{}.sock", self.name))
    }

    /// Writes the spec; its `name` is put before it.
    pub fn write_spec(&self, services: &str) -> PathBuf {
        self.write("tutela.toml", &format!("name = \"{}\"\n{services}", self.name))
    }

    /// Writes a file beside the spec, at once for whoever reads it.
    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(file), self.path(&format!("{file}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    /// Reads a file beside the spec; empty where there is none.
    pub fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(file)).unwrap_or_default()).into_owned()
    }

    /// Waits until a file beside the spec has text that ends with a line's end, and gives it without that.
    pub fn written(&self, file: &str) -> String {
        wait_until(BOUND, &format!("{file} is written"), || {
            self.read(file).strip_suffix('\n').filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    /// Waits until a process number stands in a file beside the spec.
    pub fn written_pid(&self, file: &str) -> u32 {
        let text = self.written(file);
        text.lines().last().unwrap().trim().parse().unwrap_or_else(|_| panic!("{file} has no pid: {text:?}"))
    }

    /// `tutela` with this stage's folder, for tests that start it themselves.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program::tutela());
        self.dress(&mut command);
        command
    }

    /// Gives a command this stage's environment and working folder.
    pub fn dress(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:/usr/sbin:/sbin", program::folder().display());
        command.current_dir(self.dir.path()).env("TUTELA_HOME", self.home()).env("PATH", path).env("NO_COLOR", "1");
        // Everything that a guard starts inherits it, so that others' guards of the same name are not taken for ours.
        command.env(processes::STAGE, self.dir.path());
        for key in ["TUTELA_PROFILE", "TUTELA_GUARD", "NOTIFY_SOCKET", "TRACEPARENT", "TRACESTATE"] {
            command.env_remove(key);
        }
        command.stdin(Stdio::null());
    }

    /// Runs `tutela` with these words until it ends.
    ///
    /// # Panics
    /// It did not within [`BOUND`].
    pub fn cli<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ended {
        let mut command = self.command();
        command.args(words);
        run_within(BOUND, command)
    }

    /// The same, which must end with 0; gives its standard output.
    pub fn cli_ok(&self, words: &[&str]) -> String {
        let ended = self.cli(words);
        assert_eq!(ended.code, 0, "tutela {}: {}{}", words.join(" "), ended.stdout, ended.stderr);
        ended.stdout
    }

    /// Asks the control API, which must answer with `status`.
    pub fn api(&self, method: &str, path: &str, status: u16) -> Value {
        let answer = http::ask(&self.socket(), method, path).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// What `/v1/status` says about the guard.
    pub fn status(&self) -> Value {
        self.api("GET", "/v1/status", 200)["guards"][0].clone()
    }

    /// What `/v1/status` says about an instance; `api` is `api:0`.
    pub fn instance(&self, id: &str) -> Instance {
        Instance::find(&self.status(), id).unwrap_or_else(|| panic!("no instance {id} in {}", self.status()))
    }

    /// Waits until an instance is as wanted.
    pub fn wait_for(&self, id: &str, what: &str, holds: impl Fn(&Instance) -> bool) -> Instance {
        let mut last = None;
        let began = Instant::now();
        while began.elapsed() < BOUND {
            let instance = self.instance(id);
            if holds(&instance) {
                return instance;
            }
            last = Some(instance);
            std::thread::park_timeout(LOOK);
        }
        panic!("waited {BOUND:?} in vain until {id} {what}; it is {last:#?}\nevents: {:#?}", self.messages());
    }

    /// Waits until an instance is in a state.
    pub fn wait_state(&self, id: &str, state: &str) -> Instance {
        self.wait_for(id, &format!("is {state}"), |instance| instance.state == state)
    }

    /// Every event, oldest first.
    pub fn events(&self) -> Vec<Value> {
        let reply = self.api("GET", "/v1/events?n=100000", 200);
        reply["events"].as_array().cloned().unwrap_or_default()
    }

    /// The kinds and messages of every event, for people.
    pub fn messages(&self) -> Vec<String> {
        let line = |event: &Value| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}: {}", text("at"), text("service"), text("kind"), text("message"))
        };
        self.events().iter().map(line).collect()
    }

    /// The events of a kind, oldest first.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["kind"] == kind).collect()
    }

    /// Waits for the first event of a kind of which `holds`.
    pub fn wait_event(&self, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_until(BOUND, &format!("there is an event {kind}"), || {
            self.events_of(kind).into_iter().find(|event| holds(event))
        })
    }

    /// The folder of the guard's log files.
    pub fn log_dir(&self) -> PathBuf {
        self.home().join("logs").join(&self.name)
    }

    /// A log file, as it is on the disk: `api-0.log` for the first instance of `api`.
    pub fn log(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.log_dir().join(file)).unwrap_or_default()
    }

    /// The last lines of what the guard wrote to its terminal.
    pub fn console(&self) -> String {
        let text = self.read("console.log");
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
    }

    /// Processes that guards of this name started and that still live, by their environment.
    pub fn living(&self) -> Vec<u32> {
        of_guard(&self.name, self.dir.path())
    }

    /// Starts a guard for the spec that was written, and waits until it answers.
    pub fn start(self, container: Container) -> Guard {
        let spec = self.spec_path();
        self.start_with(container, |command| {
            command.arg(spec);
        })
    }

    /// Starts a guard; `words` adds what is to be kept to `tutela run`.
    pub fn start_with(self, container: Container, words: impl FnOnce(&mut Command)) -> Guard {
        let mut command = self.command();
        command.arg("run");
        if container == Container::Walk {
            command.arg("--force-walk");
        }
        words(&mut command);
        self.start_command(command)
    }

    /// Starts a guard by a command of the test's own making, and waits until it answers.
    pub fn start_command(self, mut command: Command) -> Guard {
        let console = std::fs::File::create(self.path("console.log")).unwrap();
        command.stdout(console.try_clone().unwrap()).stderr(console);
        let process = command.spawn().unwrap();
        let mut guard = Guard { stage: Some(self), asked: process.id(), process, over: false };
        let began = Instant::now();
        while !http::ask(&guard.socket(), "GET", "/livez").is_ok_and(|answer| answer.status == 200) {
            if let Some(status) = guard.process.try_wait().unwrap() {
                guard.over = true;
                panic!("the guard ended with {status}: {}", guard.console());
            }
            assert!(began.elapsed() < BOUND, "the guard does not answer: {}", guard.console());
            std::thread::park_timeout(LOOK);
        }
        guard
    }
}

/// Runs a command to its end.
///
/// # Panics
/// It did not end within `bound`.
pub fn run_within(bound: Duration, mut command: Command) -> Ended {
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > bound {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} did not end within {bound:?}: {}{}", text(out.path()), text(err.path()));
        }
        std::thread::park_timeout(LOOK);
    };
    Ended { code: status.code().unwrap_or(-1), stdout: text(out.path()), stderr: text(err.path()) }
}

/// A running guard. Dropping it asks it to end and fails the test if it does not, or leaves anything behind.
#[derive(Debug)]
pub struct Guard {
    /// `None` only once the guard was taken apart.
    stage: Option<Stage>,
    process: Child,
    /// Who is asked to end: the guard, where the process that was started only leads to it.
    asked: u32,
    over: bool,
}

impl Deref for Guard {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage.as_ref().unwrap()
    }
}

impl Guard {
    /// A guard for these services.
    pub fn start(services: &str) -> Guard {
        Guard::start_in(Container::ControlGroup, services)
    }

    /// The same, with the trees held together in a given way.
    pub fn start_in(container: Container, services: &str) -> Guard {
        let stage = Stage::new();
        stage.write_spec(services);
        stage.start(container)
    }

    /// The guard's process.
    pub fn pid(&self) -> u32 {
        self.asked
    }

    /// Says that the guard is another process than the one that was started, such as its child.
    pub fn is_process(&mut self, pid: u32) {
        self.asked = pid;
    }

    /// Waits until the guard ends by itself; its exit code, -1 for a signal.
    pub fn wait(&mut self) -> i32 {
        self.wait_within(BOUND)
    }

    /// The same within a bound of the test's own.
    pub fn wait_within(&mut self, bound: Duration) -> i32 {
        let process = &mut self.process;
        let status = wait_until(bound, "the guard ends", || process.try_wait().unwrap());
        self.over = true;
        status.code().unwrap_or(-1)
    }

    /// Asks the guard to end and waits until it has; its exit code.
    pub fn end(&mut self) -> i32 {
        kill(self.pid(), "TERM");
        self.wait()
    }

    /// Ends the guard without any warning, as a crash does, and leaves everything as it is.
    pub fn crash(mut self) -> Stage {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.over = true;
        self.stage.take().unwrap()
    }

    /// Ends the guard in order, and gives the folder for the next one.
    pub fn close(mut self) -> Stage {
        assert_eq!(self.end(), 0, "{}", self.console());
        self.prove_nothing_left();
        self.stage.take().unwrap()
    }

    fn prove_nothing_left(&self) {
        let left = self.living();
        if left.is_empty() {
            return;
        }
        let names = names_of(&left);
        left.iter().for_each(|pid| kill(*pid, "KILL"));
        assert!(std::thread::panicking(), "left behind by {}: {names:?}\n{}", self.name(), self.console());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.stage.is_none() {
            return;
        }
        let failed = std::thread::panicking();
        if !self.over {
            kill(self.pid(), "TERM");
            let began = Instant::now();
            while self.process.try_wait().unwrap().is_none() {
                if failed || began.elapsed() > BOUND {
                    self.process.kill().unwrap();
                    self.process.wait().unwrap();
                    assert!(failed, "the guard did not end within {BOUND:?} of TERM: {}", self.console());
                    break;
                }
                std::thread::park_timeout(LOOK);
            }
        }
        if failed {
            eprintln!("console of the guard {}:\n{}", self.name(), self.console());
        }
        self.prove_nothing_left();
    }
}
