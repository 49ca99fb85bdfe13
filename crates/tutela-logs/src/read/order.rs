//! Which files of a label may have lines that a query wants by their moments, told by the indexes.
//!
//! Called once when a label is opened. Where the indexes prove order (see [`crate::index`]) the files are found by
//! halving, with the names of the rotated ones as the first guess: a handful of indexes are opened, whatever the number of
//! files, and no log file. What no index proves is looked at file by file, and taken where that tells nothing; so a
//! clock that was set back, or an index that is torn, costs time and no line.
//!
//! Of a file without an index one thing is believed: nothing in it is later than its last write.

use super::look::Look;
use super::{Place, Query};
use crate::doors::Doors;
use crate::files;
use crate::index::Mark;
use crate::index::look::Index;
use crate::policy::Compression;
use crate::stamp::{Stamper, Wall};
use crate::writer::moment_of;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

/// How much earlier than its last line the last write of a file may seem: two seconds is the coarsest that file systems
/// tell.
const WRITTEN_SLACK_MICROS: u64 = 2_000_000;

/// The files of a label: the rotated ones by their stamps, behind them the one that is written.
pub(super) struct Files<'a> {
    pub(super) doors: Doors,
    pub(super) place: &'a Place,
    pub(super) stamps: &'a [String],
    pub(super) current: Option<&'a mut Look>,
    /// What was passed over, and why.
    pub(super) notes: &'a mut Vec<String>,
}

/// The numbers of the first and the last file that the query needs. More is never wrong: every line is looked at.
pub(super) fn needed(files: Files<'_>, query: &Query) -> io::Result<RangeInclusive<usize>> {
    let newest = files.stamps.len();
    let mut order = Order { firsts: vec![None; newest + 1], files, query };
    let first = query.since.map_or(Ok(0), |since| order.first(since))?;
    let last = query.until.map_or(Ok(newest), |until| order.last(until))?;
    Ok(first..=last.max(first))
}

struct Order<'a> {
    files: Files<'a>,
    /// The mark that each file begins with: not looked up, none, or this.
    firsts: Vec<Option<Option<Mark>>>,
    query: &'a Query,
}

impl Order<'_> {
    /// The oldest file that may have a wanted line; the newest where none has.
    fn first(&mut self, since: Wall) -> io::Result<usize> {
        let mut first = self.files.stamps.len();
        let mut behind = first;
        while let Some(last) = behind.checked_sub(1) {
            if let Some((begin, span)) = self.stretch(behind) {
                if self.wants(span) {
                    let guess = self.guess(since);
                    first = self.last_where(begin..behind, guess, |mark| mark.at < since).unwrap_or(begin);
                }
                behind = begin;
                continue;
            }
            if self.is_needed(last)? {
                first = last;
            }
            behind = last;
        }
        Ok(first)
    }

    /// The newest file that may have a wanted line; the oldest where none has.
    fn last(&mut self, until: Wall) -> io::Result<usize> {
        let mut behind = self.files.stamps.len() + 1;
        while let Some(last) = behind.checked_sub(1) {
            if let Some((begin, span)) = self.stretch(behind) {
                let guess = self.guess(until);
                if self.wants(span)
                    && let Some(last) = self.last_where(begin..behind, guess, |mark| mark.at < until)
                {
                    // The next one of which it is known when it begins does so too late.
                    return Ok(self.next_known(last + 1..behind).map_or(behind, |(next, _)| next) - 1);
                }
                behind = begin;
                continue;
            }
            if self.is_needed(last)? {
                return Ok(last);
            }
            behind = last;
        }
        Ok(0)
    }

    /// The files in order before this one: the first of them, and between which moments all their lines are.
    fn stretch(&mut self, behind: usize) -> Option<(usize, (Wall, Wall))> {
        let end = self.known(behind)?;
        let (mut begin, mut first) = self.next_known(0..behind)?;
        if first.steps != end.steps {
            let before = self.last_where(begin..behind, behind - 1, |mark| mark.steps != end.steps)?;
            (begin, first) = self.next_known(before + 1..behind)?;
        }
        Some((begin, (first.at, end.at)))
    }

    /// Whether a line with a moment in this span may be wanted.
    fn wants(&self, (earliest, latest): (Wall, Wall)) -> bool {
        self.query.since.is_none_or(|since| latest >= since) && self.query.until.is_none_or(|until| earliest < until)
    }

    /// The last of these files whose first mark is known and satisfies `wanted`, where those that do are in front.
    fn last_where(&mut self, range: Range<usize>, guess: usize, wanted: impl Fn(&Mark) -> bool) -> Option<usize> {
        let (mut low, mut high, mut found) = (range.start, range.end, None);
        // The guess, then beside it, then by halving.
        let mut guesses = [guess, guess + 1].into_iter();
        while low < high {
            let middle = guesses.next().unwrap_or(low + (high - low) / 2).clamp(low, high - 1);
            match self.next_known(middle..high) {
                Some((number, mark)) if wanted(&mark) => (low, found) = (number + 1, Some(number)),
                _ => high = middle,
            }
        }
        found
    }

    /// The file in which this moment should be, by the moments of the rotations.
    fn guess(&self, at: Wall) -> usize {
        let name = Stamper::default().name(at);
        self.files.stamps.partition_point(|stamp| *stamp < name)
    }

    /// The first of these files of which it is known with which mark it begins.
    fn next_known(&mut self, mut range: Range<usize>) -> Option<(usize, Mark)> {
        range.find_map(|number| Some((number, self.known(number)?)))
    }

    /// The mark that the file begins with.
    fn known(&mut self, number: usize) -> Option<Mark> {
        if let Some(known) = *self.firsts.get(number)? {
            return known;
        }
        let before = number.checked_sub(1).and_then(|before| moment_of(&self.files.stamps[before]));
        let first = match self.path(number) {
            Some(path) => {
                Index::open(self.files.doors, &files::index_of(&path)).and_then(|mut it| first(&mut it, before))
            }
            None => {
                let moments = self.files.current.as_mut().and_then(|look| look.moments.as_mut());
                moments.and_then(|moments| first(&mut moments.index, before))
            }
        };
        self.firsts[number] = Some(first);
        first
    }

    /// Whether this file may have a wanted line, as far as it tells by itself.
    fn is_needed(&mut self, number: usize) -> io::Result<bool> {
        let is_known = self.known(number).is_some();
        let Files { doors, place, stamps, current, notes } = &mut self.files;
        let spans = match stamps.get(number) {
            None => current.as_mut().map_or(Ok(Vec::new()), |look| look.spans())?,
            Some(stamp) if is_known => {
                Look::or_note(*doors, place, Some(stamp), notes)?.map_or(Ok(Vec::new()), |mut look| look.spans())?
            }
            Some(_) => {
                let written = self.path(number).and_then(|path| written(&path));
                let latest = |written: Wall| Wall::from_micros(written.as_micros() + WRITTEN_SLACK_MICROS);
                written.map(|written| (Wall::default(), latest(written))).into_iter().collect()
            }
        };
        Ok(spans.into_iter().any(|span| self.wants(span)))
    }

    /// Where a rotated file is, or was before it was compressed.
    fn path(&self, number: usize) -> Option<PathBuf> {
        let stamp = self.files.stamps.get(number)?;
        Some(files::rotated(&self.files.place.dir, &self.files.place.label, stamp))
    }
}

/// The mark that a file begins with, by its index. `before`: when the file before it was rotated. An index that was begun
/// earlier than that is of that file, and about to be renamed.
fn first(index: &mut Index, before: Option<Wall>) -> Option<Mark> {
    let begun = Wall::from_micros(index.head().begun);
    index.mark(0).filter(|mark| mark.offset == 0 && before.is_none_or(|before| begun >= before))
}

/// The last write of a rotated file in whatever form it is there.
fn written(path: &std::path::Path) -> Option<Wall> {
    let of = |path: &std::path::Path| std::fs::symlink_metadata(path).ok()?.modified().ok().map(Wall::from);
    of(path).or_else(|| Compression::ALL.iter().find_map(|compression| of(&files::packed(path, *compression))))
}
