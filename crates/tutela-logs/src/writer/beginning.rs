//! When a file was begun, and how many lines its label had before it: from what the writer remembers, else from the
//! indexes beside the files, else from the files themselves.
//!
//! Called when a file is opened, which is rare. The moment is the file's name for those who keep their place in it, so
//! it is never given twice; the count makes lines that went missing unread a number.

use super::Now;
use super::entry::{HEAD_BYTES, form_of, parse};
use super::file::{Rest, moment_of, read_up_to};
use crate::doors::{Doors, Found};
use crate::files;
use crate::index::look::Index;
use crate::index::pen::Pen;
use crate::index::{Head, RECORD_BYTES};
use crate::policy::{Form, Policy};
use crate::record::json;
use crate::stamp::{StampReader, Wall};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

/// How much is counted when a file is opened: a fraction of a second of reading. It is what a guard that was killed had
/// not noted yet, so nearly nothing; or all of a file without an index.
const COUNT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Whose file, and when.
pub(super) struct Beginning<'a> {
    pub(super) policy: &'a Policy,
    pub(super) label: &'a str,
    pub(super) doors: Doors,
    pub(super) now: Now,
}

impl Beginning<'_> {
    /// Of the file behind one that was rotated at `stamp`, or whose place was found empty then.
    pub(super) fn after(&self, former: Option<&Pen>, stamp: Wall) -> Pen {
        let moment = self.now.wall.max(stamp).as_micros();
        let begun = former.map_or(moment, |former| moment.max(former.head().begun + 1));
        let (first, exact) = former.map_or((0, false), |former| (former.lines, former.exact));
        let mut pen = self.begin(Head { begun, first, exact });
        if let Some(former) = former {
            pen.follows(former);
        }
        pen
    }

    /// Of an empty file.
    pub(super) fn of_empty(&self, rest: Option<Rest>) -> Pen {
        if let Some(Rest { index, size }) = rest {
            if size == 0 {
                return index;
            }
            return self.after(Some(&index), Wall::default());
        }
        let mut index = Index::open(self.doors, &self.index_path());
        if let Some(index) = &index
            && index.count() == 0
        {
            // It was begun by a rotation and nothing came.
            return Pen::new(self.index_path(), self.doors, index.head(), None, self.policy);
        }
        let Ok(stamps) = files::rotated_stamps(&self.policy.dir, self.label) else {
            return self.begin(Head { begun: self.now.wall.as_micros(), first: 0, exact: false });
        };
        let newest = stamps.last();
        let begun = newest.and_then(|stamp| moment_of(stamp)).map_or(self.now.wall, |stamp| stamp.max(self.now.wall));
        let own = index.as_mut().and_then(|index| index.last_within(u64::MAX));
        let (first, exact) = match (newest, own) {
            (None, None) => (0, true),
            (None, Some((_, mark))) => (mark.lines, false),
            (Some(stamp), own) => {
                let file = files::rotated(&self.policy.dir, self.label, stamp);
                let length = std::fs::symlink_metadata(&file).ok().map(|found| found.len());
                let its = files::index_of(&file);
                // A rotation was cut off between the file and its index.
                if own.is_some_and(|(_, mark)| Some(mark.offset) == length) && !its.exists() {
                    drop((self.doors.rename)(&self.index_path(), &its));
                }
                let last = Index::open(self.doors, &its).and_then(|mut index| index.last_within(u64::MAX));
                let least = own.map_or(0, |(_, mark)| mark.lines);
                match last {
                    // Of a compressed file the length is not looked at: it was rotated in order.
                    Some((_, mark)) if mark.lines >= least => {
                        (mark.lines, length.is_none_or(|length| length == mark.offset))
                    }
                    _ => (least, false),
                }
            }
        };
        self.begin(Head { begun: begun.as_micros(), first, exact })
    }

    /// Of a file with something in it, which begins with `beginning`. Also answers when it was begun, where that is known.
    /// What is not exact was too much to count.
    pub(super) fn of_filled(
        &self,
        file: &mut File,
        size: u64,
        beginning: &[u8],
        rest: Option<Rest>,
    ) -> io::Result<(Pen, Option<Wall>)> {
        let former = match rest {
            Some(Rest { index, size: known }) if known == size => {
                let begun = Wall::from_micros(index.head().begun);
                return Ok((index, Some(begun)));
            }
            // Somebody put another file there, or cut it off.
            Some(Rest { index, .. }) => Some(index),
            None => None,
        };
        if former.is_none()
            && let Some(mut index) = Index::open(self.doors, &self.index_path())
        {
            let (head, last) = (index.head(), index.last_within(size));
            let good = last.map_or(0, |(number, _)| number + 1);
            if good < index.count() {
                self.cut(good)?;
            }
            let mut pen = Pen::new(self.index_path(), self.doors, head, last.map(|(_, mark)| mark), self.policy);
            let marked = last.map_or(0, |(_, mark)| mark.offset);
            find(&mut pen, file, marked, size, form_of(beginning))?;
            self.count(&mut pen, file, marked, size)?;
            return Ok((pen, Some(Wall::from_micros(head.begun))));
        }
        let stamps = files::rotated_stamps(&self.policy.dir, self.label)?;
        let metadata = file.metadata()?;
        let mut head = match &former {
            Some(former) => {
                let begun = self.now.wall.as_micros().max(former.head().begun + 1);
                Head { begun, first: former.lines, exact: former.exact }
            }
            None => {
                let begun = begun_without_index(beginning, stamps.last().map(String::as_str), &metadata);
                let before = stamps.last().and_then(|stamp| {
                    let path = files::rotated(&self.policy.dir, self.label, stamp);
                    Index::open(self.doors, &files::index_of(&path))?.last_within(u64::MAX)
                });
                let first = before.map_or(0, |(_, mark)| mark.lines);
                Head { begun, first, exact: before.is_some() || stamps.is_empty() }
            }
        };
        let mut pen = Pen::new(self.index_path(), self.doors, head, None, self.policy);
        find(&mut pen, file, 0, size, form_of(beginning))?;
        self.count(&mut pen, file, 0, size)?;
        if former.is_some() {
            // Its lines are among those that were counted when they were written.
            let own = pen.lines - head.first;
            head.first = head.first.saturating_sub(own);
            let (lines, exact) = (head.first + own, pen.exact);
            pen = Pen::new(self.index_path(), self.doors, head, None, self.policy);
            (pen.lines, pen.exact) = (lines, exact);
        }
        drop(pen.begin());
        Ok((pen, None))
    }

    fn index_path(&self) -> std::path::PathBuf {
        files::index_of(&files::current(&self.policy.dir, self.label))
    }

    /// An index that cannot be begun is gone without, and tried again with the first mark.
    fn begin(&self, head: Head) -> Pen {
        let mut pen = Pen::new(self.index_path(), self.doors, head, None, self.policy);
        drop(pen.begin());
        pen
    }

    /// Leaves so many marks in the index.
    fn cut(&self, marks: u64) -> io::Result<()> {
        match (self.doors.append)(&self.index_path(), self.policy.access)? {
            Found::Plain(file) => file.set_len((marks + 1) * RECORD_BYTES as u64),
            Found::Other(_) => Ok(()),
        }
    }

    /// Adds the lines of a part of the file.
    fn count(&self, pen: &mut Pen, file: &mut File, from: u64, to: u64) -> io::Result<()> {
        if to.saturating_sub(from) > COUNT_BYTES_MAX {
            pen.exact = false;
            return Ok(());
        }
        pen.lines += newlines(file, from, to)?;
        Ok(())
    }
}

/// Tells the index the moments of a part of the file that no mark is about. Files without timestamps have none.
fn find(pen: &mut Pen, file: &mut File, from: u64, to: u64, form: Form) -> io::Result<()> {
    if form == Form::Raw || from >= to {
        return Ok(());
    }
    if to - from > COUNT_BYTES_MAX {
        pen.found(None);
    } else if let Some(span) = span_of_moments(file, from, to, form)? {
        pen.found(Some(span));
    }
    Ok(())
}

/// How many newlines are in this part of the file.
pub(crate) fn newlines(file: &mut (impl io::Read + Seek), from: u64, to: u64) -> io::Result<u64> {
    let mut left = to.saturating_sub(from);
    let mut block = vec![0; BLOCK_BYTES.min(usize::try_from(left).unwrap_or(BLOCK_BYTES))];
    file.seek(SeekFrom::Start(from))?;
    let mut count = 0;
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let filled = read_up_to(file, &mut block[..most])?;
        if filled == 0 {
            break;
        }
        count += memchr::memchr_iter(b'\n', &block[..filled]).count() as u64;
        left -= filled as u64;
    }
    Ok(count)
}

/// The earliest and the latest moment that lines in this part of the file have, which begins with a line. `None`: none of
/// them has one.
pub(crate) fn span_of_moments(
    file: &mut (impl io::Read + Seek),
    from: u64,
    to: u64,
    form: Form,
) -> io::Result<Option<(Wall, Wall)>> {
    let (mut block, mut kept, mut at) = (vec![0; HEAD_BYTES + BLOCK_BYTES], 0, from);
    let (mut stamps, mut span, mut is_start) = (StampReader::default(), None::<(Wall, Wall)>, true);
    file.seek(SeekFrom::Start(from))?;
    loop {
        let most = BLOCK_BYTES.min(usize::try_from(to.saturating_sub(at)).unwrap_or(BLOCK_BYTES));
        let read = read_up_to(file, &mut block[kept..kept + most])?;
        let (bytes, is_last) = (&block[..kept + read], read < BLOCK_BYTES);
        at += read as u64;
        // The head of a line that begins near the end of the block goes on in the next one.
        let enough = if is_last { bytes.len() } else { bytes.len() - HEAD_BYTES };
        let mut start = if is_start { Some(0) } else { next_start(bytes, 0) };
        while let Some(begin) = start.filter(|begin| *begin < enough) {
            if let Some(at) = moment_of_line(&bytes[begin..], form, &mut stamps) {
                span = Some(span.map_or((at, at), |(earliest, latest)| (earliest.min(at), latest.max(at))));
            }
            start = next_start(bytes, begin);
        }
        if is_last {
            return Ok(span);
        }
        // What is kept begins with a line exactly if the next one that was found does.
        let keep_from = start.unwrap_or(bytes.len()).min(bytes.len());
        is_start = start.is_some();
        let length = bytes.len();
        block.copy_within(keep_from..length, 0);
        kept = length - keep_from;
    }
}

/// Where the line behind the one that begins here begins.
fn next_start(bytes: &[u8], begin: usize) -> Option<usize> {
    Some(begin + memchr::memchr(b'\n', &bytes[begin..])? + 1)
}

/// The moment of the line that these bytes begin with.
fn moment_of_line(bytes: &[u8], form: Form, stamps: &mut StampReader) -> Option<Wall> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let line = memchr::memchr(b'\n', head).map_or(head, |end| &head[..end]);
    match form {
        Form::Raw => None,
        Form::Stamped => parse(line, stamps).map(|entry| entry.at),
        Form::Json => json::read_head(line, stamps).map(|(at, _)| at),
    }
}

/// When a file without an index was begun, in microseconds: the time of its first entry; else the rotation before it;
/// else when the system says that it was made. The same for as long as it lies there under whatever name, as far as
/// that can be.
pub(crate) fn begun_without_index(beginning: &[u8], before: Option<&str>, metadata: &std::fs::Metadata) -> u64 {
    let line = memchr::memchr(b'\n', beginning).map_or(beginning, |end| &beginning[..end]);
    let mut stamps = StampReader::default();
    let stamped = parse(line, &mut stamps).map(|entry| entry.at);
    let first = stamped.or_else(|| Some(json::read_head(line, &mut stamps)?.0));
    let made = || metadata.created().or_else(|_| metadata.modified()).map_or(Wall::default(), Wall::from);
    first.or_else(|| before.and_then(moment_of)).unwrap_or_else(made).as_micros()
}
