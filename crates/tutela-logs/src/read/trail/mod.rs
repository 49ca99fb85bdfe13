//! The reader of one label for sinks: every line once, from a [`Cursor`] that can be saved and come back to.
//!
//! Called by whoever sends lines elsewhere, from one thread at a time; the guard's writer may append, rotate, compress
//! and remove files meanwhile. [`Trail::read`] gives what there is and never waits.
//!
//! # What it promises
//!
//! - Every line that is in the files is given once, in their order, whole: one that has no newline yet is given when it
//!   has one, when its file was rotated, or in pieces when it is longer than a line or a record can be.
//! - A file that was rotated or compressed between two reads is the same file.
//! - What was removed before it was read is a number ([`Trail::lost`]), by the counts in the indexes; where they do not
//!   say, it is at least told that something is missing. An emptied or replaced file is begun anew.
//! - A compressed file that is broken is read as far as it goes, passed over, and told ([`Trail::passed_over`]): it holds
//!   up nothing that comes behind it.
//! - Memory: one block and one line, whatever the size of the files. Nothing is allocated per line.
//!
//! Deliberately absent: filters, several labels, waiting.

mod cursor;
mod reading;
#[cfg(test)]
mod tests;
mod way;

pub use cursor::{BadCursor, Cursor};

use super::Place;
use super::entry::{Origin, head};
use crate::doors::Doors;
use crate::policy::Form;
use crate::stamp::{StampReader, Wall};
use crate::writer::{entry_bytes_max, parse};
use reading::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use way::{Next, is_broken};

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// How often the files may change while one is looked for, before that is an error.
const TRIES_MAX: usize = 10;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest line.
    Beginning,
    /// Behind the last line.
    End,
    /// Where a trail was before.
    At(Cursor),
}

/// A line, or a piece of one, and where it begins.
#[derive(Debug, Clone, Copy)]
pub struct TrailLine<'a> {
    /// When it was read from the program: from its stamp, else from the index, then right to about a second; `None`:
    /// neither tells.
    pub at: Option<Wall>,
    /// From where.
    pub origin: Origin,
    /// The program's bytes without the newline; of a note of ours its text, of a file of JSON the record.
    pub text: &'a [u8],
    /// Whether the line ends here.
    pub ended: bool,
    /// The form of its file: of [`Form::Json`] the text is the record as it is written.
    pub form: Form,
    /// Where it begins.
    pub cursor: Cursor,
}

/// Lines that nobody can read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// How many.
    pub lines: u64,
    /// How often there were others besides whose number nobody knows.
    pub unknown: u64,
}

/// Reads the files of one label to their end and on. Dropping it changes nothing.
#[derive(Debug)]
pub struct Trail {
    doors: Doors,
    place: Place,
    /// The open file; `None`: there is none yet.
    open: Option<Reading>,
    /// The stamp of the last rotated file that is behind us; for a rotated file that is open, its own.
    passed: Option<String>,
    cursor: Cursor,
    /// Read and not yet given: `buffer[from..]`, which begins at the cursor.
    buffer: Vec<u8>,
    from: usize,
    lost: Lost,
    stamps: StampReader,
    /// The lengths of rotated files, which do not change.
    lengths: BTreeMap<String, u64>,
    /// The stamps of compressed files that are known to be broken, and what is still to be told of them.
    broken: BTreeSet<String>,
    notes: Vec<String>,
}

impl Trail {
    /// Finds the place. A cursor whose file is gone begins with the oldest line that is left; see [`Trail::lost`].
    ///
    /// # Errors
    /// The folder or a file cannot be read. Files that are not there are no error: there are no lines then.
    pub fn open(doors: Doors, place: &Place, start: Start) -> io::Result<Self> {
        let mut trail = Trail {
            doors,
            place: place.clone(),
            open: None,
            passed: None,
            cursor: Cursor::default(),
            buffer: Vec::new(),
            from: 0,
            lost: Lost::default(),
            stamps: StampReader::default(),
            lengths: BTreeMap::new(),
            broken: BTreeSet::new(),
            notes: Vec::new(),
        };
        for _ in 0..TRIES_MAX {
            let stamps = trail.stamps()?;
            let found = match start {
                Start::Beginning => trail.oldest(&stamps)?,
                Start::End => trail.file(None, stamps.last())?,
                Start::At(cursor) => trail.file_of(cursor, &stamps)?,
            };
            // Without a rotation in between, what was found has the name under which it was found.
            if trail.stamps()?.last() == stamps.last() {
                trail.begin(start, found, &stamps)?;
                return Ok(trail);
            }
        }
        Err(io::Error::other("the log is rotated faster than it can be opened"))
    }

    /// Where the next line begins.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Gives every line until about `most_bytes` of the files were given, or there is nothing more at the moment. Answers
    /// how many bytes that were. At least one line is given where there is one.
    ///
    /// # Errors
    /// A file cannot be read. Nothing is lost by it, and it can be called again.
    pub fn read(&mut self, most_bytes: usize, mut each: impl FnMut(TrailLine<'_>)) -> io::Result<usize> {
        let mut given = 0;
        loop {
            given += self.give(most_bytes.saturating_sub(given), &mut each);
            if given >= most_bytes && given > 0 {
                return Ok(given);
            }
            if self.fill()? {
                continue;
            }
            match self.at_end(&mut each)? {
                Some(more) => given += more,
                None => return Ok(given),
            }
        }
    }

    /// How many bytes of the files lie behind the cursor. Two calls to the system where it is in the newest file.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn backlog(&mut self) -> io::Result<u64> {
        let own = match &self.open {
            Some(open) => open.source.length()?.saturating_sub(self.cursor.offset),
            None => 0,
        };
        if self.open.as_ref().is_some_and(|open| open.stamp.is_none()) && !self.may_have_been_rotated()? {
            return Ok(own);
        }
        Ok(self.later()?.iter().fold(own, |sum, (_, length)| sum.saturating_add(*length)))
    }

    /// Leaves out the oldest lines, until at most `leave` bytes are left, or only a line that has no end yet. Answers how
    /// many that were, with those that were removed meanwhile.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn skip(&mut self, leave: u64) -> io::Result<Lost> {
        let lost = std::mem::take(&mut self.lost);
        let begun_at = self.cursor.lines;
        let result = self.skip_to(leave);
        let skipped = Lost { lines: self.cursor.lines.saturating_sub(begun_at), unknown: self.lost.unknown };
        self.lost = lost;
        result.map(|()| skipped)
    }

    fn skip_to(&mut self, leave: u64) -> io::Result<()> {
        loop {
            let later = self.later()?.iter().fold(0u64, |sum, (_, length)| sum.saturating_add(*length));
            let own = self.open.as_ref().map_or(Ok(0), |open| open.source.length())?;
            let rest = own.saturating_sub(self.cursor.offset);
            if rest.saturating_add(later) <= leave {
                return Ok(());
            }
            self.forget_buffer();
            if (later < leave || self.open.as_ref().is_some_and(|open| open.stamp.is_none()))
                && self.jump_if_whole(own - leave.saturating_sub(later).min(rest))?
            {
                return Ok(());
            }
            // Nothing of this file is to be left, or nothing can be had of it.
            if let Next::File(next, passed) = self.next_file()? {
                if next.first.is_none() {
                    self.jump_if_whole(own)?;
                }
                self.go_on(*next, passed);
            } else {
                return Ok(());
            }
        }
    }

    /// As [`Trail::jump`]. `false`: the file is broken.
    fn jump_if_whole(&mut self, target: u64) -> io::Result<bool> {
        match self.jump(target) {
            Err(error) if is_broken(&error) => {
                self.note_open_broken(&error);
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }

    fn note_open_broken(&mut self, error: &io::Error) {
        let stamp = self.open.as_ref().and_then(|open| open.stamp.clone());
        self.note_broken(stamp.as_deref(), error);
    }

    /// The compressed files that turned out to be broken since this was asked last, and how: each once.
    pub fn passed_over(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The lines that were removed unread since this was asked last.
    pub fn lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Gives the whole lines of the buffer: how many bytes of the file.
    fn give(&mut self, most: usize, each: &mut impl FnMut(TrailLine<'_>)) -> usize {
        let Some(open) = &mut self.open else { return 0 };
        let (mut given, limit) = (0, entry_bytes_max(open.form));
        while given < most || given == 0 {
            let waiting = &self.buffer[self.from..];
            let (length, ended) = match memchr::memchr(b'\n', waiting) {
                Some(length) if length <= limit => (length, true),
                _ if waiting.len() > limit => (limit, false),
                _ => break,
            };
            let taken = length + usize::from(ended);
            each(line(open, &mut self.stamps, &waiting[..length], ended, self.cursor));
            self.from += taken;
            self.cursor.offset += taken as u64;
            self.cursor.lines += u64::from(ended);
            given += taken;
        }
        given
    }

    /// Reads a block. `false`: there is none at the moment.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        self.buffer.drain(..self.from);
        self.from = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + BLOCK_BYTES, 0);
        let offset = self.cursor.offset + kept as u64;
        let result = open.read_at(offset, &mut self.buffer[kept..]);
        self.buffer.truncate(kept + *result.as_ref().unwrap_or(&0));
        let count = match result {
            // One that is broken in the middle has no more for us; the numbers tell how much that was.
            Err(error) if is_broken(&error) => {
                self.note_open_broken(&error);
                0
            }
            result => result?,
        };
        if let Some(open) = &mut self.open
            && offset == 0
            && count > 0
        {
            open.look_at_form(&self.buffer);
        }
        if self.buffer.is_empty() {
            // Silent labels hold nothing.
            self.buffer = Vec::new();
        }
        Ok(count > 0)
    }

    /// The open file has no more at the moment. Whether there may be more now, of it or of the next one; and how many
    /// bytes were given.
    fn at_end(&mut self, each: &mut impl FnMut(TrailLine<'_>)) -> io::Result<Option<usize>> {
        if let Some(open) = &mut self.open
            && open.stamp.is_none()
        {
            if open.is_begun_again() {
                self.begin_again()?;
                return Ok(Some(0));
            }
            if open.source.length()? < self.cursor.offset {
                // Emptied. The writer notices within a second and says so in the index, where there is one.
                return if open.has_index() { Ok(None) } else { self.begin_again().map(|()| Some(0)) };
            }
            if !self.may_have_been_rotated()? {
                return Ok(None);
            }
            // It may have grown before it was rotated.
            if self.find_own_name()? || self.fill()? {
                return Ok(Some(0));
            }
        }
        let (next, passed) = match self.next_file()? {
            Next::File(next, passed) => (next, passed),
            Next::Again => return Ok(Some(0)),
            Next::None => return Ok(None),
        };
        // The last line got no newline and gets none.
        let text = &self.buffer[self.from..];
        let given = text.len();
        if let Some(open) = &mut self.open
            && given > 0
        {
            each(line(open, &mut self.stamps, text, false, self.cursor));
        }
        self.go_on(*next, passed);
        Ok(Some(given))
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.from = 0;
    }
}

fn line<'a>(
    open: &mut Reading,
    stamps: &mut StampReader,
    bytes: &'a [u8],
    ended: bool,
    cursor: Cursor,
) -> TrailLine<'a> {
    let form = open.form;
    if form == Form::Stamped
        && let Some(parsed) = parse(bytes, stamps)
    {
        let origin = parsed.stream.map_or(Origin::Gap, Origin::Stream);
        return TrailLine {
            at: Some(parsed.at),
            origin,
            text: parsed.piece.text,
            ended: ended && parsed.piece.ended,
            form,
            cursor,
        };
    }
    let (at, origin) = head(bytes, form, stamps);
    TrailLine { at: at.or_else(|| open.moment(cursor.offset)), origin, text: bytes, ended, form, cursor }
}
