//! How fast is the writing? 200 MB of lines of 200 bytes, or of so many, through a pipe, kept as they are, with
//! timestamps, as records, with secrets to mask and with a tray, beside `cat > file`.
//!
//! `cargo run --release -p tutela-logs --example throughput [FOLDER [LINE_BYTES [WORD]]]`; `WORD`: only the rows that
//! have it. The one number per row is MB of the program's bytes per second, the best of some rounds; reading from the
//! pipe is part of it.

#[path = "../tests/support/doors.rs"]
mod doors;
#[path = "../tests/support/kept.rs"]
mod kept;

use doors::DOORS;
use kept::Real;
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
use tutela_logs::tray::{SluiceSource, TRAY_BYTES, Tray};
use tutela_logs::{CaptureEnd, CaptureHandle, Form, Policy, PumpHandle, Stream};
use tutela_os::lasting::Lasting;
use tutela_os::sluice;

/// What the program writes altogether.
const BYTES: usize = 200_000_000;

/// The shortest line that a record in JSON is made of here.
const JSON_LINE_BYTES_MIN: usize = 180;

const ROUNDS: usize = 3;

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
fn text(line_bytes: usize) -> Vec<u8> {
    let mut line = b"2026-11-20 21:23:45 INFO listening on 8081 ".repeat(line_bytes);
    line.truncate(line_bytes - 1);
    line.push(b'\n');
    line
}

/// A line as a program writes it that logs in JSON.
fn json(line_bytes: usize) -> Vec<u8> {
    let mut line =
        br#"{"level":"info","ts":1795209825.123456,"caller":"http/server.go:217","msg":"request done","#.to_vec();
    line.extend_from_slice(br#""method":"GET","path":"/api/orders/4711","status":200,"ms":12.75,"id":""#);
    line.resize(line_bytes.max(JSON_LINE_BYTES_MIN) - 3, b'x');
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
    let block = line.repeat(64 * 1024 / line.len());
    let mut left = BYTES / line.len() * line.len();
    let thread = std::thread::spawn(move || {
        while left > 0 {
            let count = left.min(block.len());
            writer.write_all(&block[..count])?;
            left -= count;
        }
        Ok(())
    });
    Ok((reader, thread))
}

fn cat(dir: &Path, line: &[u8]) -> io::Result<Duration> {
    let (reader, program) = program(line)?;
    let began = Instant::now();
    let file = std::fs::File::create(dir.join("cat.log"))?;
    let status = Command::new("cat").stdin(Stdio::from(reader)).stdout(file).status()?;
    let took = began.elapsed();
    program.join().map_err(|_| io::Error::other("the program panicked"))??;
    if status.success() { Ok(took) } else { Err(io::Error::other("cat failed")) }
}

/// With a tray, as of a program that outlives its guard.
fn attach_kept(pump: &PumpHandle, policy: Policy, reader: PipeReader) -> io::Result<CaptureHandle> {
    let lasting = Lasting::create(TRAY_BYTES).map_err(io::Error::other)?;
    let tray = Tray::create(Box::new(Real(lasting))).map_err(io::Error::other)?;
    let source: SluiceSource = Box::new(|| {
        let sluice = sluice::IdleSluice::behind(reader.into()).and_then(sluice::IdleSluice::activate);
        Ok(Box::new(Real(sluice.map_err(io::Error::other)?)))
    });
    let capture = pump.attach_kept("api-0", Arc::new(policy), tray, vec![(Stream::Out, source)], Taps::default());
    capture.map_err(io::Error::other)
}

fn capture(line: &[u8], policy: Policy, has_tray: bool) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pump = PumpHandle::start(DOORS, |event| eprintln!("{event:?}"))?;
    let (reader, program) = program(line)?;
    let began = Instant::now();
    let capture = if has_tray {
        attach_kept(&pump, policy, reader)?
    } else {
        let source: Source = Box::new(|| Ok(Box::pin(Waiting(reader))));
        let capture = pump.attach("api-0", Arc::new(policy), vec![(Stream::Out, source)], Taps::default());
        capture.map_err(io::Error::other)?
    };
    // The program is its stream: when it has ended, so has the stream.
    program.join().map_err(|_| io::Error::other("the program panicked"))??;
    let end = runtime.block_on(capture.finish(Duration::from_secs(60)).map_err(io::Error::other)?);
    let took = began.elapsed();
    let status = capture.status();
    if end != CaptureEnd::Complete || status.lines != (BYTES / line.len()) as u64 || status.dropped_bytes > 0 {
        return Err(io::Error::other(format!("{end:?}, {status:?}")));
    }
    Ok(took)
}

/// Rotated every 50 MiB.
fn rotated(dir: &Path, form: Form) -> Policy {
    Policy { rotate_size: Some(50 << 20), keep: 100, ..Policy::new(dir.to_owned(), form) }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let line_bytes = arguments.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(200).clamp(2, 60_000);
    let word = arguments.next().unwrap_or_default();
    let root = root.join(format!("tutela-throughput-{}", std::process::id()));
    let (text, json) = (text(line_bytes), json(line_bytes));
    type Subject<'a> = (&'a str, &'a [u8], Option<fn(&Path) -> Policy>);
    let subjects: [Subject<'_>; 12] = [
        ("cat > file", &text, None),
        ("raw", &text, Some(|dir| Policy::new(dir.to_owned(), Form::Raw))),
        ("raw, with a tray", &text, Some(|dir| Policy::new(dir.to_owned(), Form::Raw))),
        ("raw, rotated every 50 MiB", &text, Some(|dir| rotated(dir, Form::Raw))),
        ("timestamps, rotated every 50 MiB", &text, Some(|dir| rotated(dir, Form::Stamped))),
        ("timestamps, with a tray", &text, Some(|dir| rotated(dir, Form::Stamped))),
        ("records of text", &text, Some(|dir| rotated(dir, Form::Json))),
        ("records of JSON", &json, Some(|dir| rotated(dir, Form::Json))),
        ("records of JSON, with a tray", &json, Some(|dir| rotated(dir, Form::Json))),
        ("raw, 20 secrets", &text, Some(|dir| Policy { mask: secrets(), ..rotated(dir, Form::Raw) })),
        ("timestamps, 20 secrets", &text, Some(|dir| Policy { mask: secrets(), ..rotated(dir, Form::Stamped) })),
        ("records of JSON, 20 secrets", &json, Some(|dir| Policy { mask: secrets(), ..rotated(dir, Form::Json) })),
    ];
    let wanted = || subjects.iter().enumerate().filter(|(_, (name, ..))| name.contains(&word));
    let mut best = [Duration::MAX; 12];
    for _ in 0..ROUNDS {
        for (index, (name, line, policy)) in wanted() {
            std::fs::create_dir_all(&root)?;
            let took = match policy {
                Some(policy) => capture(line, policy(&root), name.contains("tray"))?,
                None => cat(&root, line)?,
            };
            best[index] = best[index].min(took);
            std::fs::remove_dir_all(&root)?;
        }
    }
    for (index, (name, line, _)) in wanted() {
        let seconds = best[index].as_secs_f64();
        let (megabytes, thousands) = (BYTES as f64 / 1e6, (BYTES / line.len()) as f64 / 1e3);
        println!("{name:34} {:7.0} MB/s {:7.0} thousand lines/s", megabytes / seconds, thousands / seconds);
    }
    Ok(())
}
