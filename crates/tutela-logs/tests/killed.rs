//! Real processes that capture with a tray, killed at random moments while a program writes: every line is in the files
//! once, in order.
//!
//! It plays the guards too, so it has its own main. It needs Linux; on another system there is nothing to prove here.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/doors.rs"]
mod doors;
#[path = "support/kept.rs"]
mod kept;

use doors::DOORS;
use kept::Real;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tutela_logs::read::tail;
use tutela_logs::record::redact::Redactor;
use tutela_logs::tap::Taps;
use tutela_logs::tray::{SluiceSource, TRAY_BYTES, Tray};
use tutela_logs::{CaptureEnd, Form, Policy, PumpHandle, Stream};
use tutela_os::handle::Handle;
use tutela_os::lasting::Lasting;
use tutela_os::sluice::IdleSluice;

const NAME: &str = "guards_that_are_killed_at_random_moments_cost_no_line_and_double_none";

/// What the first argument of a guard is.
const CUE: &str = "--be-a-guard";

/// How many guards are killed for each form.
const KILLS: u64 = 12;

/// Long for a test, so that a busy computer does not fail it.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [cue, dir, form] = &args[..]
        && cue == CUE
    {
        guard(Path::new(dir), form);
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    if std::env::consts::OS == "linux" && (filters.is_empty() || filters.iter().any(|filter| NAME.contains(&***filter)))
    {
        ["raw", "stamped", "json"].into_iter().for_each(kill_guards);
    }
    ExitCode::SUCCESS
}

fn policy(dir: &Path, form: &str) -> Policy {
    let dir = dir.join("logs");
    match form {
        "raw" => Policy::new(dir, Form::Raw),
        "stamped" => Policy { rotate_size: Some(200_000), keep: 10_000, ..Policy::new(dir, Form::Stamped) },
        _ => {
            let mask = Arc::new(Redactor::new(["a secret of the program"], &[]).unwrap());
            Policy { mask, rotate_size: Some(400_000), keep: 10_000, ..Policy::new(dir, Form::Json) }
        }
    }
}

/// Captures what comes through its standard input until it is killed, or there is a file `stop`.
fn guard(dir: &Path, form: &str) {
    let open = |number: u32, writes: bool| {
        Handle::from(OpenOptions::new().read(true).write(writes).open(format!("/proc/self/fd/{number}")).unwrap())
    };
    let (pipe, chamber, memory) = (open(0, false), open(1, true), open(2, true));
    let tray = Tray::open(Box::new(Real(Lasting::open(memory).unwrap()))).unwrap();
    let source: SluiceSource = Box::new(|| {
        let sluice = IdleSluice::from_handles(pipe, chamber).and_then(IdleSluice::activate);
        Ok(Box::new(Real(sluice.map_err(io::Error::other)?)))
    });
    let pump = PumpHandle::start(DOORS, {
        let told = dir.join("told");
        move |event| std::fs::write(&told, format!("{event:?}\n")).unwrap()
    });
    let pump = pump.unwrap();
    let policy = Arc::new(policy(dir, form));
    let capture = pump.attach_kept("api-0", policy, tray, vec![(Stream::Out, source)], Taps::default()).unwrap();
    let began = Instant::now();
    while !dir.join("stop").exists() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(capture.finish(PATIENCE).unwrap()), CaptureEnd::Complete);
    let status = capture.status();
    std::fs::write(dir.join("counted"), format!("{} {}", status.bytes, status.dropped_bytes)).unwrap();
}

/// The lines of the program: numbered, of different lengths.
fn line(number: u64) -> String {
    format!("line {number:07} {}\n", "x".repeat((number * 37 % 151) as usize))
}

/// Writes lines until it is to end, at most some megabytes a second: a guard has to keep up between two deaths.
fn program(mut pipe: PipeWriter, ends: &AtomicBool) -> u64 {
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        let block: String = (number..number + 1 + number % 97).map(line).collect();
        number += 1 + number % 97;
        pipe.write_all(block.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    number
}

/// What is kept while no guard lives.
struct Kept {
    pipe: PipeReader,
    chamber: PipeReader,
    _chamber_end: PipeWriter,
    memory: File,
}

impl Kept {
    fn start(&self, dir: &Path, form: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([CUE.as_ref(), dir.as_os_str(), form.as_ref()])
            .stdin(self.pipe.try_clone().unwrap())
            .stdout(Stdio::from(self.chamber.try_clone().unwrap()))
            .stderr(self.memory.try_clone().unwrap())
            .spawn()
            .unwrap()
    }
}

/// Lasting memory that a tray was made in, as the system shows it to whoever holds it.
fn memory() -> File {
    let lasting = Lasting::create(TRAY_BYTES).unwrap();
    let _handle = lasting.handle();
    let shown = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains("memfd:tutela-lasting"))
    };
    let path = shown.into_iter().find(ours).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    drop(Tray::create(Box::new(Real(lasting))).unwrap());
    file
}

fn kill_guards(form: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, end) = io::pipe().unwrap();
    let (chamber, chamber_end) = io::pipe().unwrap();
    let kept = Kept { pipe, chamber, _chamber_end: chamber_end, memory: memory() };
    let ends = AtomicBool::new(false);
    let lines = std::thread::scope(|scope| {
        let program = scope.spawn(|| program(end, &ends));
        for kill in 0..KILLS {
            let mut guard = kept.start(dir.path(), form);
            // Whatever it is doing by then: some die before they have begun.
            std::thread::sleep(Duration::from_micros(kill * kill * 400 + kill * 137));
            guard.kill().unwrap();
            guard.wait().unwrap();
        }
        let mut last = kept.start(dir.path(), form);
        // It has the pipe open once something went to the file behind what was there.
        let current = dir.path().join("logs").join("api-0.log");
        let size = || std::fs::metadata(&current).map_or(0, |it| it.len());
        let (before, began) = (size(), Instant::now());
        while size() == before {
            assert!(began.elapsed() < PATIENCE && last.try_wait().unwrap().is_none(), "{form}");
            std::thread::sleep(Duration::from_millis(1));
        }
        ends.store(true, Ordering::Relaxed);
        let lines = program.join().unwrap();
        std::fs::write(dir.path().join("stop"), "").unwrap();
        assert!(last.wait().unwrap().success(), "{form}");
        lines
    });
    let mut entries = tail(DOORS, &dir.path().join("logs"), "api-0", usize::MAX).unwrap();
    let mut bytes = 0;
    for number in 0..lines {
        let entry = entries.next().unwrap().unwrap();
        let wanted = line(number);
        assert_eq!(String::from_utf8_lossy(&entry.text), wanted.trim_end_matches('\n'), "{form}");
        bytes += wanted.len();
    }
    assert!(entries.next().is_none(), "{form}");
    assert_eq!(std::fs::read_to_string(dir.path().join("counted")).unwrap(), format!("{bytes} 0"), "{form}");
    println!("{form}: {KILLS} guards killed, {lines} lines, {bytes} bytes");
}
