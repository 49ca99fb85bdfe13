//! A stage for tests of the Windows build, under Wine: a folder, a service of the service control manager, and what is
//! known about both.
//!
//! The tests in `tests/` run on the computer that builds, and start `tutela.exe` and the `wine-understudy.exe` of this
//! crate through the runner that `TUTELA_WINE` names: a command that takes a program for Windows and its words, shows
//! its output once it has ended, and ends with its exit code. It understands `BED` (a prefix that stays), `DIR` (the
//! program's folder), `T` (seconds), `WENV` (variables). `tests/beds/wine` is one.
//!
//! Services are made, started, looked at and deleted with Wine's own `sc`; what that has no word for (pause, continue,
//! paramchange, codes) is sent by the understudy. A test waits for conditions with [`wait_until`] and never for time to
//! pass. Deliberately absent: types of the product.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "the harness of tests may panic")]

pub mod scm;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that has no bound of its own. Each look starts a program under Wine, on a busy computer.
pub const BOUND: Duration = Duration::from_secs(120);

/// Seconds that one program may take.
const PROGRAM_SECONDS: u32 = 100;

/// Seconds that a whole test may take.
const TEST_SECONDS: u32 = 900;

/// How long between two looks at a file. Looks through Wine take longer by themselves.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` finds something.
///
/// # Panics
/// It found nothing within [`BOUND`].
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "waited {BOUND:?} in vain until {what}");
        std::thread::park_timeout(LOOK);
    }
}

/// What a program came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code, as far as the runner can hand it on: its lowest eight bits.
    pub code: i32,
    /// What it printed, for programs and for people.
    pub output: String,
}

/// A folder and a Wine that stays while it lives.
#[derive(Debug)]
pub struct Stage {
    dir: tempfile::TempDir,
    name: String,
    /// Wine ends all services once no other program runs.
    keeper: Child,
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
        let name = format!("wt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix("tutela-wine-").tempdir().unwrap();
        let end = windows_path(&dir.path().join("end"));
        let mut keeper = wine(dir.path(), TEST_SECONDS);
        keeper.arg(understudy()).args(["whole", &windows_path(&dir.path().join("kept")), "await", &end]);
        let keeper = keeper.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let stage = Stage { dir, name, keeper };
        stage.written("kept");
        stage
    }

    /// A name for a guard or a service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file in the folder, as this computer names it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// The same as Windows names it.
    pub fn windows(&self, file: &str) -> String {
        windows_path(&self.path(file))
    }

    /// Writes a file.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads a file; empty where there is none.
    pub fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(file)).unwrap_or_default()).into_owned()
    }

    /// Waits until a file has text that ends with a line's end, and gives it without that.
    pub fn written(&self, file: &str) -> String {
        wait_until(&format!("{file} is written"), || {
            self.read(file).strip_suffix('\n').filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    /// Waits until a file has this many lines.
    pub fn lines(&self, file: &str, count: usize) -> Vec<String> {
        wait_until(&format!("{file} has {count} lines"), || {
            let lines: Vec<String> = self.read(file).lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Runs a program for Windows to its end.
    pub fn run<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ended {
        let output = wine(self.dir.path(), PROGRAM_SECONDS).args(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Ended { code: output.status.code().unwrap_or(-1), output: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Starts a program for Windows that is to run on.
    pub fn start<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Child {
        let console = std::fs::File::create(self.path("console.log")).unwrap();
        let mut command = wine(self.dir.path(), TEST_SECONDS);
        command.args(words).stdout(console.try_clone().unwrap()).stderr(console).spawn().unwrap()
    }

    /// Runs `tutela`.
    pub fn tutela(&self, words: &[&str]) -> Ended {
        let mut all = vec![tutela()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        self.run(all)
    }

    /// The numbers of the processes of a program's file, by Wine's own `tasklist`.
    pub fn processes(&self) -> Vec<u32> {
        let told = self.run(["tasklist", "/nh", "/fo", "csv"]);
        let number = |line: &str| line.split("\",\"").nth(1)?.parse().ok();
        told.output.lines().filter_map(number).collect()
    }

    /// Waits until none of these processes is left.
    pub fn wait_gone(&self, pids: &[u32]) {
        wait_until(&format!("{pids:?} have ended"), || {
            let left = self.processes();
            (!pids.iter().any(|pid| left.contains(pid))).then_some(())
        });
    }

    /// What `tutela status --json` says about the guard of this name.
    pub fn status(&self) -> serde_json::Value {
        let told = self.tutela(&["status", &self.name, "--json"]);
        let start = told.output.find('{').unwrap_or_else(|| panic!("no JSON in {}", told.output));
        let mut values = serde_json::Deserializer::from_str(&told.output[start..]).into_iter();
        let value: serde_json::Value = values.next().unwrap().unwrap();
        value["guards"][0].clone()
    }

    /// The same, where a guard of this name answers.
    pub fn find_status(&self) -> Option<serde_json::Value> {
        let told = self.tutela(&["status", &self.name, "--json"]);
        let start = told.output.find('{')?;
        let mut values = serde_json::Deserializer::from_str(&told.output[start..]).into_iter();
        let value: serde_json::Value = values.next()?.ok()?;
        value["guards"][0].is_object().then(|| value["guards"][0].clone())
    }

    /// The kinds and messages of the guard's events, oldest first.
    pub fn events(&self) -> String {
        self.tutela(&["events", &self.name, "-n", "1000"]).output
    }

    /// Ends a process at once, as a crash does.
    pub fn kill(&self, pid: u32) {
        let ended = self.run(["taskkill", "/F", "/PID", &pid.to_string()]);
        assert_eq!(ended.code, 0, "taskkill {pid}: {}", ended.output);
    }

    /// Waits until a file has a process number.
    pub fn written_pid(&self, file: &str) -> u32 {
        self.written(file).trim().parse().unwrap()
    }

    /// A spec file of one service, `app`, whose program is the understudy with these words; `more` follows.
    pub fn spec(&self, file: &str, words: &[&str], more: &str) -> String {
        let words: Vec<String> = words.iter().map(|word| format!(", {}", toml(word))).collect();
        let command = format!("command = [{}{}]", toml(&understudy()), words.concat());
        self.write(file, &format!("name = {}\n[services.app]\n{command}\n{more}", toml(&self.name)));
        self.windows(file)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.write("end", "now\n");
        let began = Instant::now();
        while self.keeper.try_wait().unwrap().is_none() {
            if began.elapsed() > BOUND {
                self.keeper.kill().unwrap();
                self.keeper.wait().unwrap();
                break;
            }
            std::thread::park_timeout(LOOK);
        }
        if std::thread::panicking() {
            eprintln!("console:\n{}", self.read("console.log"));
        }
    }
}

/// A text of TOML in which a backslash is one.
pub fn toml(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn wine(dir: &Path, seconds: u32) -> Command {
    let runner = std::env::var_os("TUTELA_WINE").expect(
        "TUTELA_WINE names no runner of programs for Windows; ./test sets it, and by hand it is tests/beds/wine",
    );
    let own = std::process::id().to_string();
    let bed = std::env::var("BED").unwrap_or_else(|_| format!("tests-{own}"));
    let mut command = Command::new(runner);
    command.env("BED", bed).env("TUTELA_WINE_OWNER", own).env("DIR", dir).env("T", seconds.to_string());
    command.env_remove("TUTELA_HOME").stdin(Stdio::null());
    command
}

/// A path of this computer, as Wine shows it to Windows programs.
pub fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}

/// The guard's program.
pub fn tutela() -> String {
    program("tutela.exe")
}

/// The program of this crate that plays on words.
pub fn understudy() -> String {
    program("wine-understudy.exe")
}

/// The program of this crate that brings records to the Event Log.
pub fn courier() -> String {
    program("courier.exe")
}

fn program(file: &str) -> String {
    // target/debug/deps/this-test
    let own = std::env::current_exe().unwrap();
    let folder = std::env::var_os("TUTELA_WINDOWS_PROGRAMS")
        .map_or_else(|| own.ancestors().nth(3).unwrap().join("x86_64-pc-windows-gnu/debug"), PathBuf::from);
    let program = folder.join(file);
    assert!(
        program.is_file(),
        "{} is missing; build it: cargo build --target x86_64-pc-windows-gnu -p tutela -p tutela-wine-tests --bins, or \
         name the folder in TUTELA_WINDOWS_PROGRAMS",
        program.display()
    );
    windows_path(&program)
}
