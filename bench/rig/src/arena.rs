//! A work folder in memory, and the pipe through which programs report their births.
//!
//! A program writes one [`Birth`] of 16 bytes into a FIFO; the kernel keeps such writes whole and in order. Nobody is
//! woken by it unless the rig waits, so that a start of a thousand is not slowed down by being watched: the rig looks
//! from time to time, and the stamps tell when it happened.
//!
//! Dropping an arena removes its folder.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Room for 65,536 births that nobody has read yet: the most the kernel gives without asking, and seconds of a storm.
const FIFO_BYTES: usize = 1 << 20;

/// Bytes of one birth, as `child.c` writes them.
const BIRTH_BYTES: usize = 16;

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock that programs stamp with.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A program's first act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// When, by [`now`].
    pub at: u64,
    /// Its process.
    pub pid: u32,
    /// Which service it is.
    pub index: u32,
}

/// A folder on tmpfs with a FIFO in it.
#[derive(Debug)]
pub struct Arena {
    folder: PathBuf,
    fifo: Reader,
}

/// The reading end of the FIFO.
#[derive(Debug)]
pub struct Reader(File);

impl Reader {
    /// The births since the last look, without waiting.
    ///
    /// # Errors
    /// The FIFO cannot be read.
    pub fn look(&mut self) -> Result<Vec<Birth>> {
        let mut seen = Vec::new();
        let mut buffer = [0_u8; BIRTH_BYTES * 1024];
        loop {
            match self.0.read(&mut buffer) {
                Ok(length) => seen.extend(buffer[..length].chunks_exact(BIRTH_BYTES).map(birth)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(seen),
                Err(error) => return Err(error).context("cannot read births"),
            }
        }
    }
}

impl Arena {
    /// Makes one, empty.
    ///
    /// # Errors
    /// No memory-backed folder, or no right to write there.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short, since control sockets live below and their paths may have 108 bytes only.
        let folder = PathBuf::from(format!("/dev/shm/tb{}.{number}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("births");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("cannot make a FIFO")?;
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).context("an open flag does not fit")?;
        // Both ends are held, so that no program waits at its opening, nor the rig at end of file.
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&path)?;
        rustix::pipe::fcntl_setpipe_size(&fifo, FIFO_BYTES).context("cannot widen the FIFO")?;
        Ok(Arena { folder, fifo: Reader(fifo) })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where programs report to.
    pub fn births(&self) -> PathBuf {
        self.folder.join("births")
    }

    /// The births since the last look, without waiting.
    ///
    /// # Errors
    /// The FIFO cannot be read.
    pub fn look(&mut self) -> Result<Vec<Birth>> {
        self.fifo.look()
    }

    /// A reader for another thread. What it reads is gone for this one.
    ///
    /// # Errors
    /// No further file can be opened.
    pub fn second_reader(&self) -> Result<Reader> {
        Ok(Reader(self.fifo.0.try_clone()?))
    }

    /// Waits until service `index` has a birth stamped at or after `since`; what else is read meanwhile is dropped.
    ///
    /// # Errors
    /// None came within `patience`.
    pub fn await_birth(&mut self, index: u32, since: u64, patience: Duration) -> Result<Birth> {
        let deadline = now() + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            let found = self.look()?.into_iter().find(|birth| birth.index == index && birth.at >= since);
            if let Some(birth) = found {
                return Ok(birth);
            }
            let left = deadline.saturating_sub(now());
            if left == 0 {
                bail!("service {index} had no successor within {patience:?}");
            }
            let left = Timespec::try_from(Duration::from_nanos(left))?;
            match poll(&mut [PollFd::new(&self.fifo.0, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for births"),
            }
        }
    }

    /// Waits until every one of `count` services has a birth. Looks each `pause`, and is woken by none of them.
    ///
    /// # Errors
    /// Some had none within `patience`.
    pub fn await_all(&mut self, count: u32, pause: Duration, patience: Duration) -> Result<Vec<Birth>> {
        let begun = now();
        let mut first: Vec<Option<Birth>> = vec![None; usize::try_from(count)?];
        let mut missing = first.len();
        while missing > 0 {
            if now() - begun > u64::try_from(patience.as_nanos())? {
                bail!("{missing} of {count} programs were not alive within {patience:?}");
            }
            std::thread::sleep(pause);
            for birth in self.look()? {
                if let Some(place) = first.get_mut(usize::try_from(birth.index)?) {
                    missing -= usize::from(place.replace(birth).is_none());
                }
            }
        }
        Ok(first.into_iter().flatten().collect())
    }

    /// Where subjects keep what programs write, when they write.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Makes the FIFO at which programs wait before they write.
    ///
    /// # Errors
    /// There is one.
    pub fn make_gate(&self) -> Result<()> {
        mknodat(CWD, self.gate(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("cannot make a gate")
    }

    /// The FIFO of [`Arena::make_gate`].
    pub fn gate(&self) -> PathBuf {
        self.folder.join("gate")
    }

    /// Lets everybody through who waits, or will wait while the result is kept.
    ///
    /// # Errors
    /// There is no gate.
    pub fn open_gate(&self) -> Result<File> {
        // For reading too: for writing alone it would wait for somebody at the other end.
        OpenOptions::new().read(true).write(true).open(self.gate()).context("cannot open the gate")
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("failed to remove {}: {error}", self.folder.display());
        }
    }
}

fn birth(bytes: &[u8]) -> Birth {
    let word = |from: usize| {
        let mut four = [0_u8; 4];
        four.copy_from_slice(&bytes[from..from + 4]);
        u32::from_ne_bytes(four)
    };
    let mut eight = [0_u8; 8];
    eight.copy_from_slice(&bytes[..8]);
    Birth { at: u64::from_ne_bytes(eight), pid: word(8), index: word(12) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::io::Write;

    #[test]
    fn a_birth_is_read_as_the_child_writes_it() {
        let mut arena = Arena::new().unwrap();
        let mut bytes = 77_u64.to_ne_bytes().to_vec();
        bytes.extend(12_u32.to_ne_bytes());
        bytes.extend(3_u32.to_ne_bytes());
        OpenOptions::new().write(true).open(arena.births()).unwrap().write_all(&bytes).unwrap();
        let seen = arena.await_birth(3, 70, Duration::from_secs(5)).unwrap();
        assert_eq!(seen, Birth { at: 77, pid: 12, index: 3 });
        assert!(arena.await_birth(3, 78, Duration::from_millis(1)).is_err());
    }
}
