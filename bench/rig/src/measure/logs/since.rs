//! `tutela logs --since` of one minute out of ten gigabytes, with the guard down.
//!
//! The files are written by the guard's own writer, which is told the time, rotated at 50 MiB, a line of 200 bytes each
//! 8.3 ms, so that ten gigabytes are a hundred hours. They lie on a disk, in the folder for temporary
//! files, which loses them again however the rig ends. Cold: the kernel was told to forget the pages of every file
//! before each question. Warm: it was asked just before.

use crate::arena::{Arena, now};
use crate::figures::{ms, percentile};
use crate::options::Options;
use crate::subject::{GUARD_NAME, ROTATE_BYTES};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Advice, fadvise, statvfs};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tutela_logs::lines::Piece;
use tutela_logs::writer::{Batch, Now, Writer};
use tutela_logs::{Access, Doors, Form, Found, Policy, Stream, Wall};
use tutela_os::files::{
    Plain, append_plain, give, identity, like, make_folder, read_plain, remove_plain, rename_plain,
};

/// Whose logs they are.
const LABEL: &str = "only-0";

/// What a program that writes such lines is read by at once is one line; of a busier one it is a pipe full of them.
const LINES_A_CHUNK: u64 = 100;

/// Between two lines, in microseconds.
const STEP: u64 = 8333;

/// Questions of each kind.
const COLD: u32 = 7;
const WARM: u32 = 21;

/// A disk with less room than that many times the haystack is not filled.
const ROOM_TIMES: u64 = 3;

/// How long a guard may take to make its first log file.
const PATIENCE: Duration = Duration::from_secs(10);

const MINUTE: u64 = 60_000_000;

/// As the guard opens its files.
const DOORS: Doors = Doors {
    append: |path, access| append_plain(path, access.mode, access.owner).map(found),
    read: |path| read_plain(path).map(found),
    give: |file, access| give(file, access.mode, access.owner, access.group),
    like,
    identity,
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

/// A folder that is removed. `bench/run` removes it when the rig was killed.
struct Haystack(PathBuf);

impl Drop for Haystack {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("failed to remove {}: {error}", self.0.display());
        }
    }
}

pub(in crate::measure) fn once(options: &Options) -> Result<Value> {
    let wanted = options.dose.haystack;
    let folder = std::env::temp_dir();
    let disk = statvfs(&folder).with_context(|| format!("cannot see {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(
        free > ROOM_TIMES * wanted,
        "{} has {free} bytes free, {ROOM_TIMES} x {wanted} are asked for",
        folder.display()
    );
    let haystack = Haystack(folder.join(format!("tb{}.since", std::process::id())));
    fs::create_dir(&haystack.0).with_context(|| format!("cannot make {}", haystack.0.display()))?;

    let arena = Arena::new()?;
    // The guard's own log folder: with its guard down, no command knows of another one.
    let home = haystack.0.join("home");
    let logs = home.join("logs").join(GUARD_NAME);
    keep_once(options, &home, arena.folder(), &logs)?;
    let (first, lines, files) = fill(&logs, wanted)?;
    let from = first + lines / 2 * STEP;
    let expected = usize::try_from(MINUTE / STEP)?;

    let ask = || -> Result<f64> {
        let mut logs = Command::new(&options.tutela);
        logs.args(["logs", &format!("{GUARD_NAME}/only"), "--since", &stamp(from)?, "--until", &stamp(from + MINUTE)?]);
        logs.env("TUTELA_HOME", &home).stdin(Stdio::null()).stderr(Stdio::inherit());
        let begun = now();
        let answer = logs.output().context("cannot ask for logs")?;
        let took = ms(now() - begun);
        let found = answer.stdout.iter().filter(|byte| **byte == b'\n').count();
        // The ends of the minute may fall on a line.
        ensure!(answer.status.success() && found.abs_diff(expected) <= 2, "{found} lines came, {expected} were there");
        Ok(took)
    };
    let mut cold = Vec::new();
    for _ in 0..COLD {
        for file in &files {
            fadvise(&File::open(file)?, 0, None, Advice::DontNeed).context("the kernel does not forget a file")?;
        }
        cold.push(ask()?);
    }
    ask()?;
    let warm: Vec<f64> = (0..WARM).map(|_| ask()).collect::<Result<_>>()?;
    Ok(json!({
        "cold_p50_ms": percentile(&cold, 0.5),
        "cold_max_ms": percentile(&cold, 1.0),
        "warm_p50_ms": percentile(&warm, 0.5),
        "warm_max_ms": percentile(&warm, 1.0),
        "gigabytes": wanted as f64 / 1e9,
        "files": files.len(),
        "lines_found": expected,
    }))
}

/// Runs a guard until its one program has said something, so that its logs are known, and ends it.
fn keep_once(options: &Options, home: &Path, folder: &Path, logs: &Path) -> Result<()> {
    let spec = folder.join("since.toml");
    let text = format!(
        "name = \"{GUARD_NAME}\"\n[services.only]\ncommand = [\"/bin/sh\", \"-c\", \"echo hay; exec sleep 3600\"]\n\
         logs = {{ timestamps = true, keep = 10000 }}\n"
    );
    fs::write(&spec, text)?;
    let mut guard = Command::new(&options.tutela);
    guard.arg("run").arg(&spec).env("TUTELA_HOME", home);
    guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut guard = guard.spawn().context("cannot start a guard")?;
    let begun = now();
    while !current(logs).metadata().is_ok_and(|file| file.len() > 0) {
        if now() - begun > u64::try_from(PATIENCE.as_nanos())? {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&guard), rustix::process::Signal::TERM)?;
    guard.wait()?;
    crate::stage::clear()?;
    if !current(logs).exists() {
        bail!("a guard wrote no {} within {PATIENCE:?}", current(logs).display());
    }
    Ok(())
}

fn current(logs: &Path) -> PathBuf {
    logs.join(format!("{LABEL}.log"))
}

/// Writes `wanted` bytes of entries through the guard's own writer, told what the time is: the moment of the first, how
/// many there are, and the files.
fn fill(logs: &Path, wanted: u64) -> Result<(u64, u64, Vec<PathBuf>)> {
    // What the guard wrote is later than all that, and would be out of order.
    for entry in fs::read_dir(logs)? {
        fs::remove_file(entry?.path())?;
    }
    let entry_bytes = 27 + 5 + 200;
    let lines = wanted / entry_bytes;
    let end = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?;
    let first = end - (lines + 1) * STEP;
    let policy =
        Policy { rotate_size: Some(ROTATE_BYTES), keep: u32::MAX, ..Policy::new(logs.to_owned(), Form::Stamped) };
    let mut writer = Writer::new(Arc::from(LABEL), Arc::new(policy), DOORS);
    let mut batch = Batch::default();
    let begun = Instant::now();
    let text = "a".repeat(184);
    let mut line = String::with_capacity(200);
    let at = |number: u64| Now {
        wall: Wall::from_micros(first + number * STEP),
        tick: begun + Duration::from_micros(number * STEP),
    };
    for number in 0..lines {
        line.clear();
        write!(line, "#0000 {number:09} {text}")?;
        writer.entry(&mut batch, Stream::Out, Piece { text: line.as_bytes(), ended: true }, at(number));
        // A chunk of a program's output, as the guard reads it, is at the disk before the next one.
        if number % LINES_A_CHUNK == 0 {
            writer.flush(&mut batch, at(number));
        }
    }
    writer.flush(&mut batch, at(lines));
    writer.close();
    ensure!(writer.status().dropped_lines == 0, "the disk refused {} lines", writer.status().dropped_lines);
    let mut files = Vec::new();
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        let file =
            File::options().append(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        // Each was written last when it was rotated, by the clock that the writer was told.
        if let Some(rotated) = path.to_str().and_then(rotated_at) {
            file.set_modified(rotated)?;
        }
        // The kernel forgets only what is on the disk.
        file.sync_data()?;
        files.push(path);
    }
    Ok((first, lines, files))
}

/// When the file of this name was rotated: `only-0.20261120T212345.123456Z.log`, and its index.
fn rotated_at(path: &str) -> Option<SystemTime> {
    let stamp = path.rsplit_once(&format!("{LABEL}."))?.1.split_once("Z.log")?.0;
    let moment = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.f", stamp).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    moment.ok().map(SystemTime::from)
}

/// A moment in microseconds as it stands in files: `2026-11-20T21:23:45.123456Z`.
fn stamp(micros: u64) -> Result<String> {
    let moment = jiff::Timestamp::from_microsecond(i64::try_from(micros)?)?;
    Ok(format!("{moment:.6}"))
}
