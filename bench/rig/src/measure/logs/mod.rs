//! What programs write: how fast it becomes files, what that costs, and whether every line is there.
//!
//! `bench/writer.c` writes numbered lines into the pipe (pm2: the socket) that the subject gave it, once a gate is
//! opened that all writers wait at. The time is from the first write to the last change of a file, since what the writer
//! got rid of may still be on its way. Then every file is read, and every number looked for; a line that is not whole in
//! one file does not count as there. Files lie in memory (`/dev/shm`), so nobody's disk and nobody's `fsync` is measured.

mod crowd;
mod memory;
mod since;
mod tally;
mod throughput;

pub(super) use crowd::once as crowd;
pub(super) use memory::once as memory;
pub(super) use since::once as since;
pub(super) use throughput::{json, raw, stamped};

use crate::arena::now;
use crate::figures::ms;
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::{Speech, Subject};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tally::Tally;

/// From the births to the gate: loggers that are processes of their own are up by then.
const SETTLE: Duration = Duration::from_millis(500);

/// Files that nobody changed for so long are finished.
const QUIET: Duration = Duration::from_millis(400);

/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a writer adds to its number when it is done.
const DONE: u32 = 1 << 31;

/// What became of everything that was written.
struct Take {
    /// From the first write to the last change of a file.
    seconds: f64,
    /// What everything but the writers used meanwhile.
    cpu_seconds: f64,
    /// What was found in the files.
    tally: Tally,
}

/// Lets `count` programs write, and waits until all of it is in files.
fn take(subject: Subject, count: u32, speech: Speech, patience: Duration, options: &Options) -> Result<Take> {
    let mut stage = open(subject, count, speech, options)?;
    let before = kernel::toll(&kernel::keepers());
    let _gate = stage.arena.open_gate()?;
    let (mut begun, mut done, mut ended) = (u64::MAX, 0, 0_u32);
    let asked = now();
    while ended < count {
        if now() - asked > u64::try_from(patience.as_nanos())? {
            let left = count - ended;
            bail!("{left} of {count} programs could not write everything within {patience:?}: {}", stage.last_words());
        }
        std::thread::sleep(LOOK_EVERY);
        for news in stage.arena.look()? {
            if news.index & DONE == 0 {
                begun = begun.min(news.at);
            } else {
                done = done.max(news.at);
                ended += 1;
            }
        }
    }
    let changed = await_quiet(&stage.arena.logs(), patience)?;
    let used = before.until(&kernel::toll(&kernel::keepers()));
    let tally = Tally::of(&stage.arena.logs(), count, speech)?;
    let seconds = ms(done.max(changed).saturating_sub(begun)) / 1e3;
    Ok(Take { seconds, cpu_seconds: used.cpu as f64 / 1e9, tally })
}

/// A subject whose programs wait at the gate.
pub(super) fn open(subject: Subject, count: u32, speech: Speech, options: &Options) -> Result<Stage> {
    let cast = Cast { count, exits: false, eager: false, probed: None, speech: Some(speech) };
    let mut stage = Stage::open(subject, cast, options)?;
    let born = stage.arena.await_all(count, Duration::from_millis(5), Duration::from_secs(60));
    born.with_context(|| stage.last_words())?;
    std::thread::sleep(SETTLE);
    Ok(stage)
}

/// Waits until no file changes any more; when the last did, by [`now`].
///
/// Being looked at makes the kernel stamp the next change finely, else it would be by its tick.
fn await_quiet(folder: &Path, patience: Duration) -> Result<u64> {
    let asked = now();
    let (mut seen, mut since) = (None, now());
    loop {
        let mut look = (0_u64, SystemTime::UNIX_EPOCH);
        for file in files(folder)? {
            // One that was rotated away meanwhile is found under its other name in the next look.
            let Ok(metadata) = file.metadata() else { continue };
            look.0 += metadata.len();
            look.1 = look.1.max(metadata.modified()?);
        }
        if seen != Some(look) {
            (seen, since) = (Some(look), now());
        } else if now() - since > u64::try_from(QUIET.as_nanos())? {
            let ago = SystemTime::now().duration_since(look.1).unwrap_or_default();
            return Ok(now().saturating_sub(u64::try_from(ago.as_nanos())?));
        }
        if now() - asked > u64::try_from(patience.as_nanos())? {
            bail!("files still changed {patience:?} after the last program was done");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Every file below `folder`.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(found)
}
