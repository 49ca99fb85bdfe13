//! Writing an index beside a file that is being written.
//!
//! Called by the writer before each write. A mark goes to the disk before the bytes that it is about, but for those of
//! a flood, which wait in memory for [`PAUSE`] or until there are [`PENDING_MAX`]; never that of a clock that was set
//! back, without which what lies behind it would seem in order. No file stays open for it: a label
//! that is silent costs nothing, and one that writes a line now and then an open and a close a line. An index that
//! cannot be written is gone without; the file is written all the same.

use super::{Head, Mark, RECORD_BYTES, steps_anew};
use crate::doors::{Doors, Found};
use crate::policy::{Access, Policy};
use crate::stamp::Wall;
use crate::writer::Now;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A mark at the latest after so many bytes: what has to be read to find a line is at most this.
pub(crate) const SPAN_BYTES: u64 = 256 * 1024;

/// A mark after so long, if anything came: the times of a file without timestamps are right to this.
const PAUSE: Duration = Duration::from_secs(1);

/// A file with timestamps has times of its own; a mark there is for counting lines only, and needs this many bytes.
const STAMPED_SPAN_BYTES: u64 = 16 * 1024;

/// How many marks of a flood wait to be written together: 2 KiB for 16 MiB of output.
const PENDING_MAX: usize = 64;

/// The index of the file that is being written.
#[derive(Debug)]
pub(crate) struct Pen {
    path: PathBuf,
    doors: Doors,
    head: Head,
    stamped: bool,
    access: Access,
    /// How many lines the label has.
    pub(crate) lines: u64,
    /// Whether every line of this file is in that.
    pub(crate) exact: bool,
    steps: u32,
    /// The latest moment since the last step.
    last_at: Wall,
    marked_at: Option<Instant>,
    marked_offset: u64,
    written_at: Option<Instant>,
    pending: Vec<[u8; RECORD_BYTES]>,
}

impl Pen {
    /// For a file that begins with this head, or goes on behind `last`. Nothing is claimed of what lies before; see
    /// [`Pen::follows`].
    pub(crate) fn new(path: PathBuf, doors: Doors, head: Head, last: Option<Mark>, policy: &Policy) -> Self {
        let Mark { at, offset, lines, steps } =
            last.unwrap_or_else(|| Mark { at: Wall::default(), offset: 0, lines: head.first, steps: steps_anew() });
        Pen {
            path,
            doors,
            head,
            stamped: policy.form != crate::policy::Form::Raw,
            access: policy.access,
            lines,
            exact: true,
            steps,
            last_at: at,
            marked_at: None,
            marked_offset: offset,
            written_at: None,
            pending: Vec::new(),
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The file is the next one of the label behind that of `former`.
    pub(crate) fn follows(&mut self, former: &Pen) {
        (self.steps, self.last_at) = (former.steps, former.last_at);
    }

    /// Behind the last mark there are entries that no mark is about, with moments in this span; `None`: nobody knows. Their
    /// lines are not counted yet.
    pub(crate) fn found(&mut self, span: Option<(Wall, Wall)>) {
        let Some((earliest, latest)) = span else {
            (self.steps, self.last_at) = (steps_anew(), Wall::default());
            return;
        };
        let (is_back, is_first) = (earliest < self.last_at, self.last_at == Wall::default());
        if is_back || is_first {
            self.steps = self.steps.wrapping_add(u32::from(is_back));
            let mark = Mark { at: earliest, offset: self.marked_offset, lines: self.lines, steps: self.steps };
            self.pending.push(mark.encode(self.head.begun));
        }
        self.last_at = latest;
    }

    /// Begins the index anew, whatever is there.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let mut file = self.open()?;
        // Some file systems write a file that was emptied to the disk at once, also one that was empty.
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        file.write_all(&self.head.encode())
    }

    /// Something with moments in this span is about to be written behind `size` bytes: notes that, if it is time to.
    pub(crate) fn mark(&mut self, size: u64, (earliest, latest): (Wall, Wall), now: Now) -> io::Result<()> {
        let is_back = earliest < self.last_at;
        if is_back {
            // In the first mark of a file the end of the file before it is what the other would say.
            if size > 0 {
                self.push(size, self.last_at, now.tick);
            }
            self.steps = self.steps.wrapping_add(1);
        }
        self.last_at = latest;
        let span = size - self.marked_offset.min(size);
        let waited = self.marked_at.is_none_or(|marked| now.tick.saturating_duration_since(marked) >= PAUSE);
        let due = self.marked_at.is_none()
            || is_back
            || span >= SPAN_BYTES
            || (waited && (!self.stamped || span >= STAMPED_SPAN_BYTES));
        if !due {
            return Ok(());
        }
        self.push(size, earliest, now.tick);
        let pause_is_over = self.written_at.is_none_or(|written| now.tick.saturating_duration_since(written) >= PAUSE);
        if is_back || pause_is_over || self.pending.len() >= PENDING_MAX { self.write(now.tick) } else { Ok(()) }
    }

    /// The file ends at `size`: notes that, and writes what waits.
    pub(crate) fn end(&mut self, size: u64, now: Now) -> io::Result<()> {
        let at = if self.last_at == Wall::default() { now.wall } else { self.last_at };
        self.push(size, at, now.tick);
        self.write(now.tick)
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.write(Instant::now()) }
    }

    fn push(&mut self, offset: u64, at: Wall, tick: Instant) {
        let mark = Mark { at, offset, lines: self.lines, steps: self.steps };
        self.pending.push(mark.encode(self.head.begun));
        (self.marked_at, self.marked_offset) = (Some(tick), offset);
    }

    /// Where it is refused, what waited is given up: later marks say the same of the rest.
    fn write(&mut self, tick: Instant) -> io::Result<()> {
        self.written_at = Some(tick);
        let pending = std::mem::take(&mut self.pending);
        let mut file = self.open()?;
        let length = file.metadata()?.len();
        let torn = length % RECORD_BYTES as u64;
        if torn > 0 {
            file.set_len(length - torn)?;
        }
        if length < RECORD_BYTES as u64 {
            file.write_all(&self.head.encode())?;
        }
        file.write_all(pending.as_flattened())
    }

    fn open(&self) -> io::Result<File> {
        match (self.doors.append)(&self.path, self.access)? {
            Found::Plain(file) => {
                if self.access != Access::default() && file.metadata()?.len() == 0 {
                    (self.doors.give)(&file, self.access)?;
                }
                Ok(file)
            }
            Found::Other(what) => {
                Err(io::Error::other(format!("there is {what} in the place of {}", self.path.display())))
            }
        }
    }
}
