//! One file of a label, opened to see what it is: its form, its times, and where a query begins and ends in it.
//!
//! Which files are looked at is decided before, in [`super::order`]. Where the index of a file is good, its times need no
//! search; where it is missing, torn or of another file, stamps are searched by halving in a large file and read one by
//! one in a small one. No answer leaves out a wanted line: where the clock was set back, the whole file is read.

use super::entry;
use super::moments::Moments;
use super::source::Source;
use super::{Place, Query};
use crate::doors::Doors;
use crate::files;
use crate::index::Mark;
use crate::index::look::Index;
use crate::policy::Form;
use crate::stamp::{StampReader, Wall};
use crate::writer::{HEAD_BYTES, form_of, read_up_to, span_of_moments};
use std::io::{self, Seek, SeekFrom};

/// A part of a file with timestamps that is read line by line without an index: a fraction of a second. In a larger one
/// a clock that was set back hides lines; in a smaller one nothing does.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is left when a search ends: a part that is read in a moment.
const PART_BYTES: u64 = 64 * 1024;

/// The bounds of lines of which nothing is known.
const UNKNOWN: (Wall, Wall) = (Wall::from_micros(0), Wall::from_micros(u64::MAX));

/// A file, opened.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) source: Source,
    pub(super) is_current: bool,
    pub(super) form: Form,
    /// The last write.
    pub(super) written: Wall,
    pub(super) moments: Option<Moments>,
}

/// What of a file a query wants, by time.
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The file has no times at all; it is wanted as a whole or not.
    pub(super) coarse: bool,
}

impl Span {
    /// All of a file of this length.
    pub(super) fn whole(length: u64) -> Self {
        Span { start: 0, end: length, coarse: false }
    }
}

impl Look {
    /// `None`: it is not there, or is no file.
    pub(super) fn at(doors: Doors, place: &Place, stamp: Option<&str>) -> io::Result<Option<Self>> {
        let path = match stamp {
            Some(stamp) => files::rotated(&place.dir, &place.label, stamp),
            None => files::current(&place.dir, &place.label),
        };
        let Some(mut source) = Source::open(doors, &path)? else { return Ok(None) };
        let mut beginning = [0; HEAD_BYTES];
        let filled = read_up_to(&mut source, &mut beginning)?;
        let form = form_of(&beginning[..filled]);
        source.seek(SeekFrom::Start(0))?;
        let written = source.metadata()?.modified().map_or(Wall::default(), Wall::from);
        let moments = Index::open(doors, &files::index_of(&path)).map(Moments::over);
        Ok(Some(Look { source, is_current: stamp.is_none(), form, written, moments }))
    }

    /// The same, but a compressed file that is broken is passed over and told.
    pub(super) fn or_note(
        doors: Doors,
        place: &Place,
        stamp: Option<&str>,
        notes: &mut Vec<String>,
    ) -> io::Result<Option<Self>> {
        match Self::at(doors, place, stamp) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                notes.push(error.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    /// What of it the query wants. `is_last`: nothing in the files behind it is wanted.
    pub(super) fn span(&mut self, query: &Query, is_last: bool) -> io::Result<Span> {
        let length = self.source.length()?;
        let mut span = Span::whole(length);
        if length == 0 || (query.since.is_none() && query.until.is_none()) {
            return Ok(span);
        }
        let ordered = self.moments.as_mut().is_some_and(|moments| moments.index.is_ordered_within(length));
        if self.form == Form::Raw && self.moments.as_ref().is_none_or(|moments| moments.index.count() == 0) {
            span.coarse = true;
            return Ok(span);
        }
        if let Some(since) = query.since {
            span.start = if self.form != Form::Raw {
                self.stamped_start(since, length, ordered)?
            } else if ordered {
                self.raw_start(since, length)?
            } else {
                0
            };
        }
        if let (Some(until), true, true) = (query.until, is_last, ordered) {
            span.end = self.end(until, length)?.unwrap_or(length).clamp(span.start, length);
        }
        Ok(span)
    }

    /// The earliest and the latest moments between which every line of it has its moment.
    pub(super) fn spans(&mut self) -> io::Result<Vec<(Wall, Wall)>> {
        let length = self.source.length()?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let known = self.moments.as_mut().and_then(|moments| moments.index.spans_within(length));
        let Some((mut spans, last)) = known else { return Ok(vec![UNKNOWN]) };
        spans.extend(self.unmarked(last, length)?);
        Ok(spans)
    }

    /// The earliest and the latest moment of what lies behind the last mark. `None`: there is no line.
    fn unmarked(&mut self, last: Mark, length: u64) -> io::Result<Option<(Wall, Wall)>> {
        if last.offset >= length {
            return Ok(None);
        }
        if self.form == Form::Raw {
            return Ok(Some((last.at, last.at.max(self.written))));
        }
        if length - last.offset > READ_BYTES_MAX {
            return Ok(Some(UNKNOWN));
        }
        match span_of_moments(&mut self.source, last.offset, length, self.form) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(UNKNOWN)),
            span => span,
        }
    }

    /// A line's start before which every line is earlier.
    fn stamped_start(&mut self, since: Wall, length: u64, ordered: bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, length);
        if let Some(moments) = &mut self.moments {
            if !ordered && moments.index.count() > 0 && moments.index.last_within(length).is_some() {
                return Ok(0);
            }
            let index = &mut moments.index;
            if ordered && let Some(number) = index.partition(|mark| mark.at < since) {
                let before = number.checked_sub(1).and_then(|number| index.mark(number));
                let after = index.mark(number).filter(|mark| mark.offset <= length);
                // A mark of the file as it is has the stamp of the entry that it is about.
                if let Some(mark) = before.filter(|mark| mark.offset < length)
                    && self.stamp_at(mark.offset)? == Some((mark.offset, mark.at))
                {
                    low = mark.offset;
                    high = after.map_or(length, |mark| mark.offset);
                } else if before.is_none() && after.is_some_and(|mark| mark.offset == 0) {
                    return Ok(0);
                }
            }
        }
        if high - low <= READ_BYTES_MAX {
            return Ok(low);
        }
        while high - low > PART_BYTES {
            let middle = low + (high - low) / 2;
            match self.stamp_behind(middle, high)? {
                Some((start, at)) if at < since => low = start,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// A line's start before which every line is earlier by the marks.
    fn raw_start(&mut self, since: Wall, length: u64) -> io::Result<u64> {
        let Some(Moments { index, .. }) = &mut self.moments else { return Ok(0) };
        let Some(number) = index.partition(|mark| mark.at < since) else { return Ok(0) };
        // Behind the last mark there may be lines that no mark is about yet.
        let mark = index.mark(number).or_else(|| index.mark(number.checked_sub(1)?));
        let Some(offset) = mark.map(|mark| mark.offset).filter(|offset| *offset <= length) else { return Ok(0) };
        let Some(before) = offset.checked_sub(1) else { return Ok(0) };
        self.line_behind(before, length)
    }

    /// Where the first line behind this offset begins.
    fn line_behind(&mut self, offset: u64, length: u64) -> io::Result<u64> {
        let mut block = [0; 4096];
        let mut at = offset;
        self.source.seek(SeekFrom::Start(at))?;
        while at < length {
            let filled = read_up_to(&mut self.source, &mut block)?;
            if let Some(newline) = memchr::memchr(b'\n', &block[..filled]) {
                return Ok(at + newline as u64 + 1);
            }
            if filled < block.len() {
                break;
            }
            at += filled as u64;
        }
        Ok(length)
    }

    /// From where on everything is at or behind `until`, by the marks.
    fn end(&mut self, until: Wall, length: u64) -> io::Result<Option<u64>> {
        let Some(Moments { index, .. }) = self.moments.as_mut() else { return Ok(None) };
        let end = index.partition(|mark| mark.at < until).and_then(|number| index.mark(number));
        let (Some(end), Some((_, last))) = (end, index.last_within(length)) else { return Ok(None) };
        // The index of this very file leads to an entry that is as late; in a file without stamps it is all that is known.
        let leads = self.form == Form::Raw
            || end.offset >= length
            || self.stamp_at(end.offset)?.is_some_and(|(_, at)| at >= until);
        let unmarked = self.unmarked(last, length)?;
        Ok((leads && unmarked.is_none_or(|(earliest, _)| earliest >= until)).then_some(end.offset))
    }

    /// The stamp of the entry that begins exactly here.
    fn stamp_at(&mut self, offset: u64) -> io::Result<Option<(u64, Wall)>> {
        if let Some(before) = offset.checked_sub(1) {
            self.source.seek(SeekFrom::Start(before))?;
            let mut byte = [0];
            if read_up_to(&mut self.source, &mut byte)? != 1 || byte != *b"\n" {
                return Ok(None);
            }
        }
        let mut head = [0; HEAD_BYTES];
        self.source.seek(SeekFrom::Start(offset))?;
        let filled = read_up_to(&mut self.source, &mut head)?;
        let head = first_line(&head[..filled]);
        let (at, _) = entry::head(head, self.form, &mut StampReader::default());
        Ok(at.map(|at| (offset, at)))
    }

    /// The stamp of the first entry that begins behind `from` and before `to`.
    fn stamp_behind(&mut self, from: u64, to: u64) -> io::Result<Option<(u64, Wall)>> {
        let mut at = from;
        loop {
            at = self.line_behind(at, to)?;
            if at >= to {
                return Ok(None);
            }
            if let Some(found) = self.stamp_at(at)? {
                return Ok(Some(found));
            }
        }
    }
}

fn first_line(bytes: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..end])
}
