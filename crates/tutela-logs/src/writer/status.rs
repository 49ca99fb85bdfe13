//! What became of a label's output, readable from every thread without asking the pump, which may be
//! waiting for a disk.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What became of a label's output since the pump knows the label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureStatus {
    /// Bytes of the program that are in files.
    pub bytes: u64,
    /// Lines of the program that are in files; pieces of a long line count as one.
    pub lines: u64,
    /// Bytes of the program that are not, because the disk refused them.
    pub dropped_bytes: u64,
    /// Lines of the program that are not, or not as a whole.
    pub dropped_lines: u64,
    /// Why the disk refuses at the moment, or what did not go well beside the writing; `None`: all is well.
    pub last_error: Option<String>,
    /// The file that is written to, or would be if it could; `None` until the first byte.
    pub file: Option<PathBuf>,
}

/// The writer writes it, everybody reads it.
#[derive(Debug, Default)]
pub(crate) struct StatusCell {
    bytes: AtomicU64,
    lines: AtomicU64,
    dropped_bytes: AtomicU64,
    dropped_lines: AtomicU64,
    rare: Mutex<Rare>,
}

/// What changes with a file or an error, not with a line.
#[derive(Debug, Default)]
struct Rare {
    last_error: Option<Box<str>>,
    file: Option<PathBuf>,
}

impl StatusCell {
    pub(crate) fn stored(&self, count: Count) {
        self.bytes.fetch_add(count.bytes, Ordering::Relaxed);
        self.lines.fetch_add(count.lines, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, count: Count) {
        self.dropped_bytes.fetch_add(count.bytes, Ordering::Relaxed);
        self.dropped_lines.fetch_add(count.lines, Ordering::Relaxed);
    }

    /// What was stored, and what was dropped.
    pub(crate) fn counts(&self) -> (Count, Count) {
        let count = |bytes: &AtomicU64, lines: &AtomicU64| Count {
            bytes: bytes.load(Ordering::Relaxed),
            lines: lines.load(Ordering::Relaxed),
        };
        (count(&self.bytes, &self.lines), count(&self.dropped_bytes, &self.dropped_lines))
    }

    pub(crate) fn set_error(&self, error: Option<&str>) {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner).last_error = error.map(Box::from);
    }

    pub(crate) fn set_file(&self, file: PathBuf) {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner).file = Some(file);
    }

    pub(crate) fn read(&self) -> CaptureStatus {
        let rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        CaptureStatus {
            bytes: self.bytes.load(Ordering::Relaxed),
            lines: self.lines.load(Ordering::Relaxed),
            dropped_bytes: self.dropped_bytes.load(Ordering::Relaxed),
            dropped_lines: self.dropped_lines.load(Ordering::Relaxed),
            last_error: rare.last_error.as_deref().map(str::to_owned),
            file: rare.file.clone(),
        }
    }
}

/// Bytes and lines of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
}

impl Count {
    /// Of bytes as the program wrote them.
    pub(crate) fn of_raw(bytes: &[u8]) -> Self {
        Count { bytes: bytes.len() as u64, lines: memchr::memchr_iter(b'\n', bytes).count() as u64 }
    }

    pub(crate) fn add(&mut self, other: Count) {
        self.bytes += other.bytes;
        self.lines += other.lines;
    }
}

impl std::ops::Sub for Count {
    type Output = Count;

    fn sub(self, other: Count) -> Count {
        Count { bytes: self.bytes.saturating_sub(other.bytes), lines: self.lines.saturating_sub(other.lines) }
    }
}
