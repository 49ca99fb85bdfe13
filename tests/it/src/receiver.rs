//! Stand-ins for what Tutela sends to: programs in Python, made of other people's readings of the protocols.
//!
//! They are in `tests/it/receivers`, and so is the list of the packages that they want. The packages lie in a virtual
//! environment beside the build, which the first test that wants one makes. Without Python, or without a package
//! index, these tests fail: nothing is skipped.

use crate::{BOUND, wait_until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The folder of the stand-ins.
const RECEIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/receivers");

/// The Python that has the packages of `receivers/requirements.txt`.
///
/// # Panics
/// There is none, and it cannot be made.
pub fn python() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(make_python).clone()
}

fn make_python() -> PathBuf {
    let home = crate::program::folder().parent().unwrap().join("receivers");
    std::fs::create_dir_all(&home).unwrap();
    // Tests are several processes; one makes it, the others wait for that.
    let lock = std::fs::File::create(home.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let wanted = std::fs::read_to_string(Path::new(RECEIVERS).join("requirements.txt")).unwrap();
    let (python, made) = (home.join("venv/bin/python"), home.join("made-of"));
    if std::fs::read_to_string(&made).is_ok_and(|of| of == wanted) && python.is_file() {
        return python;
    }
    let run = |command: &mut Command| {
        let ended = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{command:?}: {}\n{said}", ended.status);
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home.join("venv")));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "5", "-r"])
        .arg(Path::new(RECEIVERS).join("requirements.txt")));
    std::fs::write(made, wanted).unwrap();
    python
}

/// The folder in which Node finds the packages of `receivers/package.json`.
///
/// # Panics
/// It cannot be made.
pub fn node_modules() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(make_node_modules).clone()
}

fn make_node_modules() -> PathBuf {
    let home = crate::program::folder().parent().unwrap().join("receivers");
    std::fs::create_dir_all(&home).unwrap();
    let lock = std::fs::File::create(home.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let wanted = std::fs::read_to_string(Path::new(RECEIVERS).join("package.json")).unwrap();
    let (modules, given) = (home.join("node_modules"), home.join("package.json"));
    let made = home.join("node-made-of");
    if std::fs::read_to_string(&made).is_ok_and(|of| of == wanted) && modules.is_dir() {
        return modules;
    }
    std::fs::write(given, &wanted).unwrap();
    let mut command = Command::new("npm");
    command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]).current_dir(&home);
    let ended = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("npm: {error}"));
    assert!(ended.status.success(), "npm install: {}", String::from_utf8_lossy(&ended.stderr));
    std::fs::write(made, wanted).unwrap();
    modules
}

/// A receiver of the forward protocol made of the Fluent project's own library. It ends when it is dropped; what it got
/// stays.
#[derive(Debug)]
pub struct Fluent {
    process: Child,
    /// Where it listens.
    pub port: u16,
}

impl Fluent {
    /// Starts one that adds what it gets to the file `out`. `port`: 0 for any that is free; `more`: see `fluent.js`.
    pub fn start(out: &Path, port: u16, more: &[&str]) -> Fluent {
        let mut process = Command::new("node")
            .arg(Path::new(RECEIVERS).join("fluent.js"))
            .arg(out)
            .arg(port.to_string())
            .args(more)
            .env("NODE_PATH", node_modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|error| panic!("fluent.js: {error}: {line:?}"));
        Fluent { process, port }
    }
}

impl Drop for Fluent {
    fn drop(&mut self) {
        // The library acknowledges a chunk in the moment before it hands the records on, so it is asked to end, which it
        // does between two chunks.
        drop(self.process.stdin.take());
        wait_until(BOUND, "the receiver ends", || self.process.try_wait().unwrap());
    }
}

/// Runs one of the scripts with `input` and gives what it writes.
///
/// # Panics
/// It fails.
pub fn script(name: &str, input: &str) -> String {
    let mut child = Command::new(python())
        .arg(Path::new(RECEIVERS).join(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, text) = (child.stdin.take().unwrap(), input.to_owned());
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{name}: {}\n{said}\nof:\n{input}", ended.status);
    writing.join().unwrap().unwrap();
    String::from_utf8(ended.stdout).unwrap()
}

/// An OTLP receiver made of the official protobufs. It ends when it is dropped; what it got stays.
#[derive(Debug)]
pub struct Otlp {
    process: Child,
    out: PathBuf,
    /// Where it takes OTLP/HTTP.
    pub http: u16,
    /// Where it takes OTLP/gRPC.
    pub grpc: u16,
}

impl Otlp {
    /// Starts one that adds what it gets to the file `out`.
    pub fn start(out: &Path) -> Otlp {
        Otlp::start_at(out, 0, 0)
    }

    /// The same, at these ports; 0: any that is free.
    pub fn start_at(out: &Path, http: u16, grpc: u16) -> Otlp {
        let mut process = Command::new(python())
            .arg(Path::new(RECEIVERS).join("otlp.py"))
            .arg(out)
            .args(["--http", &http.to_string(), "--grpc", &grpc.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("otlp.py: {error}: {line:?}"));
        let port = |name: &str| u16::try_from(ports[name].as_u64().unwrap()).unwrap();
        Otlp { process, out: out.to_owned(), http: port("http"), grpc: port("grpc") }
    }

    /// Changes what it does with the requests that follow: see the text of `otlp.py`.
    pub fn behave(&self, how: &Value) {
        let body = how.to_string();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let length = body.len();
        write!(stream, "POST /behave HTTP/1.1\r\nhost: otlp\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
    }

    /// Every request that it took, oldest first.
    pub fn got(&self) -> Vec<Value> {
        got(&self.out)
    }

    /// Waits until a request is there of which `holds`, and gives it.
    pub fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_until(BOUND, what, || self.got().into_iter().find(|request| holds(request)))
    }
}

/// What receivers wrote to a file; a line that is just being written is not there yet.
pub fn got(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Drop for Otlp {
    fn drop(&mut self) {
        // It is ours and not waited for yet, so the number is still its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
