//! How fast is the writing? A million lines of 200 bytes through a pipe, once kept as they are, once with
//! timestamps, beside `cat > file`.
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
use tutela_logs::tap::Taps;
use tutela_logs::{CaptureEnd, Doors, Form, Found, Policy, PumpHandle, Stream};
use tutela_os::files::{Plain, append_plain, read_plain};

const LINES: usize = 1_000_000;
const LINE_BYTES: usize = 200;
const ROUNDS: usize = 3;

/// Those of the guard.
const DOORS: Doors = Doors { append: |path| append_plain(path).map(found), read: |path| read_plain(path).map(found) };

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

/// Writes the lines in blocks of a pipe's size, from a thread of its own.
fn program() -> io::Result<(PipeReader, std::thread::JoinHandle<io::Result<()>>)> {
    let (reader, mut writer) = io::pipe()?;
    let thread = std::thread::spawn(move || {
        let mut line = vec![b'a'; LINE_BYTES - 1];
        line.push(b'\n');
        let block = line.repeat(64 * 1024 / LINE_BYTES);
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
    let (reader, program) = program()?;
    let began = Instant::now();
    let file = std::fs::File::create(dir.join("cat.log"))?;
    let status = Command::new("cat").stdin(Stdio::from(reader)).stdout(file).status()?;
    let took = began.elapsed();
    program.join().map_err(|_| io::Error::other("the program panicked"))??;
    if status.success() { Ok(took) } else { Err(io::Error::other("cat failed")) }
}

fn capture(dir: &Path, form: Form, rotate_size: Option<u64>) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pump = PumpHandle::start(DOORS, |event| eprintln!("{event:?}"))?;
    let policy = Policy { rotate_size, keep: 100, ..Policy::new(dir.to_owned(), form) };
    let (reader, program) = program()?;
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

fn main() -> io::Result<()> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("tutela-throughput-{}", std::process::id()));
    type Subject = fn(&Path) -> io::Result<Duration>;
    let subjects: [(&str, Subject); 4] = [
        ("cat > file", cat),
        ("raw", |dir| capture(dir, Form::Raw, None)),
        ("raw, rotated every 50 MiB", |dir| capture(dir, Form::Raw, Some(50 << 20))),
        ("timestamps, rotated every 50 MiB", |dir| capture(dir, Form::Stamped, Some(50 << 20))),
    ];
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        for (index, (_, subject)) in subjects.iter().enumerate() {
            std::fs::create_dir_all(&root)?;
            best[index] = best[index].min(subject(&root)?);
            std::fs::remove_dir_all(&root)?;
        }
    }
    for ((name, _), took) in subjects.iter().zip(best) {
        let megabytes = (LINES * LINE_BYTES) as f64 / 1e6;
        println!("{name:34} {:7.0} MB/s", megabytes / took.as_secs_f64());
    }
    Ok(())
}
