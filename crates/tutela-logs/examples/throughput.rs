//! How fast is the writing? A million lines of 200 bytes through a pipe, kept as they are, with timestamps, as
//! records, and with secrets to mask, beside `cat > file`.
//!
//! `cargo run --release -p tutela-logs --example throughput [FOLDER]`. The one number per row is MB of the
//! program's bytes per second, the best of some rounds; reading from the pipe is part of it.

use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tutela_logs::pump::Source;
use tutela_logs::record::redact::Redactor;
use tutela_logs::tap::Taps;
use tutela_logs::{Access, CaptureEnd, Doors, Form, Found, Policy, PumpHandle, Stream};
use tutela_os::files::{Plain, append_plain, give, like, make_folder, read_plain, remove_plain, rename_plain};

const LINES: usize = 1_000_000;
const LINE_BYTES: usize = 200;
const ROUNDS: usize = 3;

/// Those of the guard.
const DOORS: Doors = Doors {
    append: |path, access| append_plain(path, access.mode, access.owner).map(found),
    read: |path| read_plain(path).map(found),
    give: |file, access| give(file, access.mode, access.owner, access.group),
    like,
    rename: rename_plain,
    remove: remove_plain,
    folder: |path, access| make_folder(path, access != Access::default()),
};

fn found(plain: Plain) -> Found {
    match plain {
        Plain::File(file) => Found::Plain(file),
        Plain::Other(word) => Found::Other(word),
    }
}

/// A pipe that is waited for: with one stream there is nobody else to read meanwhile.
struct Waiting(PipeReader);

impl AsyncRead for Waiting {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.0.read(buffer.initialize_unfilled())?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// A line of text.
fn text() -> Vec<u8> {
    let mut line = b"2026-11-20 21:23:45 INFO listening on 8081 ".repeat(LINE_BYTES);
    line.truncate(LINE_BYTES - 1);
    line.push(b'\n');
    line
}

/// A line as a program writes it that logs in JSON.
fn json() -> Vec<u8> {
    let mut line =
        br#"{"level":"info","ts":1795209825.123456,"caller":"http/server.go:217","msg":"request done","#.to_vec();
    line.extend_from_slice(br#""method":"GET","path":"/api/orders/4711","status":200,"ms":12.75,"id":""#);
    line.resize(LINE_BYTES - 3, b'x');
    line.extend_from_slice(b"\"}\n");
    line
}

/// Twenty secrets that no line has.
fn secrets() -> Arc<Redactor> {
    let secrets: Vec<String> =
        (0..20).map(|index| format!("s3cr3t-{index}-{}", "kq7Zw9".repeat(1 + index % 5))).collect();
    Arc::new(Redactor::new(secrets.iter().map(String::as_str), &[]).unwrap_or_default())
}

/// Writes the lines in blocks of a pipe's size, from a thread of its own.
fn program(line: &[u8]) -> io::Result<(PipeReader, std::thread::JoinHandle<io::Result<()>>)> {
    let (reader, mut writer) = io::pipe()?;
    let block = line.repeat(64 * 1024 / LINE_BYTES);
    let thread = std::thread::spawn(move || {
        let mut left = LINES * LINE_BYTES;
        while left > 0 {
            let count = left.min(block.len());
            writer.write_all(&block[..count])?;
            left -= count;
        }
        Ok(())
    });
    Ok((reader, thread))
}

fn cat(dir: &Path) -> io::Result<Duration> {
    let (reader, program) = program(&text())?;
    let began = Instant::now();
    let file = std::fs::File::create(dir.join("cat.log"))?;
    let status = Command::new("cat").stdin(Stdio::from(reader)).stdout(file).status()?;
    let took = began.elapsed();
    program.join().map_err(|_| io::Error::other("the program panicked"))??;
    if status.success() { Ok(took) } else { Err(io::Error::other("cat failed")) }
}

fn capture(line: &[u8], policy: Policy) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pump = PumpHandle::start(DOORS, |event| eprintln!("{event:?}"))?;
    let (reader, program) = program(line)?;
    let began = Instant::now();
    let source: Source = Box::new(|| Ok(Box::pin(Waiting(reader))));
    let capture = pump.attach("api-0", Arc::new(policy), vec![(Stream::Out, source)], Taps::default());
    let capture = capture.map_err(io::Error::other)?;
    // The program is its stream: when it has ended, so has the stream.
    program.join().map_err(|_| io::Error::other("the program panicked"))??;
    let end = runtime.block_on(capture.finish(Duration::from_secs(60)).map_err(io::Error::other)?);
    let took = began.elapsed();
    let status = capture.status();
    if end != CaptureEnd::Complete || status.lines != LINES as u64 || status.dropped_bytes > 0 {
        return Err(io::Error::other(format!("{end:?}, {status:?}")));
    }
    Ok(took)
}

/// Rotated every 50 MiB.
fn rotated(dir: &Path, form: Form) -> Policy {
    Policy { rotate_size: Some(50 << 20), keep: 100, ..Policy::new(dir.to_owned(), form) }
}

fn main() -> io::Result<()> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("tutela-throughput-{}", std::process::id()));
    type Subject = fn(&Path) -> io::Result<Duration>;
    let subjects: [(&str, Subject); 9] = [
        ("cat > file", cat),
        ("raw", |dir| capture(&text(), Policy::new(dir.to_owned(), Form::Raw))),
        ("raw, rotated every 50 MiB", |dir| capture(&text(), rotated(dir, Form::Raw))),
        ("timestamps, rotated every 50 MiB", |dir| capture(&text(), rotated(dir, Form::Stamped))),
        ("records of text", |dir| capture(&text(), rotated(dir, Form::Json))),
        ("records of JSON", |dir| capture(&json(), rotated(dir, Form::Json))),
        ("raw, 20 secrets", |dir| capture(&text(), Policy { mask: secrets(), ..rotated(dir, Form::Raw) })),
        ("timestamps, 20 secrets", |dir| capture(&text(), Policy { mask: secrets(), ..rotated(dir, Form::Stamped) })),
        ("records of JSON, 20 secrets", |dir| capture(&json(), Policy { mask: secrets(), ..rotated(dir, Form::Json) })),
    ];
    let mut best = [Duration::MAX; 9];
    for _ in 0..ROUNDS {
        for (index, (_, subject)) in subjects.iter().enumerate() {
            std::fs::create_dir_all(&root)?;
            best[index] = best[index].min(subject(&root)?);
            std::fs::remove_dir_all(&root)?;
        }
    }
    for ((name, _), took) in subjects.iter().zip(best) {
        let megabytes = (LINES * LINE_BYTES) as f64 / 1e6;
        let (seconds, thousands) = (took.as_secs_f64(), LINES as f64 / 1e3);
        println!("{name:34} {:7.0} MB/s {:7.0} thousand lines/s", megabytes / seconds, thousands / seconds);
    }
    Ok(())
}
