//! Reading an index: its head, its last good mark, and the mark that answers a question, found by halving.
//!
//! Called by the readers, and by the writer that goes on with a file. What marks prove is said in [`super`]. Whatever the bytes are, the answer is a mark
//! that passed its check or none; whether it fits the file is for the caller to see.

use super::{Head, Mark, RECORD_BYTES};
use crate::doors::{Doors, Found};
use crate::stamp::Wall;
use crate::writer::read_up_to;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// How many marks from the end are tried before the index counts as garbage: a torn write spoils the last few.
const BAD_MARKS_MAX: u64 = 64;

/// How often the clock may have been set back within a file before its marks are not gone through: it costs a search
/// each time, and a file where that does not suffice has worse troubles.
const STEPS_MAX: usize = 64;

/// An index, open for reading.
#[derive(Debug)]
pub(crate) struct Index {
    file: File,
    head: Head,
    /// Whole records behind the head, good or bad.
    count: u64,
}

impl Index {
    /// `None`: there is none, or what is there is none.
    pub(crate) fn open(doors: Doors, path: &Path) -> Option<Self> {
        let Ok(Found::Plain(file)) = (doors.read)(path) else { return None };
        Self::over(file)
    }

    pub(crate) fn over(mut file: File) -> Option<Self> {
        let head = Head::decode(&record_at(&mut file, 0)?)?;
        let mut index = Index { file, head, count: 0 };
        index.count_again().ok()?;
        Some(index)
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// How many whole records there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Looks how many there are by now.
    pub(crate) fn count_again(&mut self) -> io::Result<()> {
        let records = self.file.metadata()?.len() / RECORD_BYTES as u64;
        self.count = records.saturating_sub(1);
        Ok(())
    }

    /// The head as it is by now; another one says that the file was begun anew under this name.
    pub(crate) fn head_again(&mut self) -> Option<Head> {
        Head::decode(&record_at(&mut self.file, 0)?)
    }

    /// The mark of this number, if it is a good one.
    pub(crate) fn mark(&mut self, number: u64) -> Option<Mark> {
        if number >= self.count {
            return None;
        }
        Mark::decode(self.head.begun, &record_at(&mut self.file, number + 1)?)
    }

    /// The last good mark that lies within a file of this length, and its number.
    pub(crate) fn last_within(&mut self, length: u64) -> Option<(u64, Mark)> {
        let from = self.count.saturating_sub(BAD_MARKS_MAX);
        (from..self.count)
            .rev()
            .find_map(|number| Some((number, self.mark(number).filter(|mark| mark.offset <= length)?)))
    }

    /// The earliest and the latest moment of each part without a step of what lies between the beginning of a file of
    /// this length and the last good mark in it, and that mark. `None`: the marks do not prove it.
    pub(crate) fn spans_within(&mut self, length: u64) -> Option<(Vec<(Wall, Wall)>, Mark)> {
        let (number, last) = self.last_within(length)?;
        let (mut from, mut first) = (0, self.mark(0).filter(|mark| mark.offset == 0)?);
        let mut spans = Vec::new();
        for _ in 0..STEPS_MAX {
            let (end, before) = self.same_steps(from, number)?;
            spans.push((first.at, before.at));
            if end == number {
                return Some((spans, last));
            }
            // The latest moment before the step.
            (from, first) = (end + 1, self.mark(end + 1).filter(|mark| mark.offset == before.offset)?);
        }
        None
    }

    /// Whether what lies between the beginning of a file of this length and the last good mark in it is in order.
    pub(crate) fn is_ordered_within(&mut self, length: u64) -> bool {
        let Some((_, last)) = self.last_within(length) else { return false };
        self.mark(0).is_some_and(|first| first.offset == 0 && first.steps == last.steps)
    }

    /// The last mark from this one to that one that has the same steps, and its number.
    fn same_steps(&mut self, from: u64, to: u64) -> Option<(u64, Mark)> {
        let mut known = self.mark(from)?;
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = high - (high - low) / 2;
            let mark = self.mark(middle)?;
            if mark.steps == known.steps {
                (low, known) = (middle, mark);
            } else {
                high = middle - 1;
            }
        }
        Some((low, known))
    }

    /// How many marks from the first on satisfy `before`, where those that do are in front. `None`: a bad one was met.
    pub(crate) fn partition(&mut self, mut before: impl FnMut(&Mark) -> bool) -> Option<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.mark(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// The last mark at or before this offset, and its number.
    pub(crate) fn at_or_before(&mut self, offset: u64) -> Option<(u64, Mark)> {
        let number = self.partition(|mark| mark.offset <= offset)?.checked_sub(1)?;
        Some((number, self.mark(number)?))
    }
}

fn record_at(file: &mut File, number: u64) -> Option<[u8; RECORD_BYTES]> {
    let mut bytes = [0; RECORD_BYTES];
    file.seek(SeekFrom::Start(number.checked_mul(RECORD_BYTES as u64)?)).ok()?;
    (read_up_to(file, &mut bytes).ok()? == RECORD_BYTES).then_some(bytes)
}
