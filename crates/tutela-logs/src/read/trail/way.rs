//! From file to file: which one a cursor means, which one comes next, and what is missing in between.

use super::reading::Reading;
use super::{Cursor, Start, Trail};
use crate::files;
use crate::read::track;
use crate::stamp::Wall;
use crate::writer::{moment_of, newlines};
use std::io;

/// How many broken files are known, so that each is told once: more than anybody mends one by one.
const BROKEN_MAX: usize = 64;

/// What comes behind a file.
pub(super) enum Next {
    /// Nothing yet.
    None,
    /// Whoever asks again is told.
    Again,
    /// This, and the stamp of the last rotated file that is behind us then.
    File(Box<Reading>, Option<String>),
}

impl Trail {
    pub(super) fn stamps(&self) -> io::Result<Vec<String>> {
        files::rotated_stamps(&self.place.dir, &self.place.label)
    }

    pub(super) fn file(&mut self, stamp: Option<&str>, before: Option<&String>) -> io::Result<Option<Reading>> {
        match Reading::at(self.doors, &self.place, stamp, before.map(String::as_str)) {
            Err(error) if is_broken(&error) => {
                self.note_broken(stamp, &error);
                Ok(None)
            }
            other => other,
        }
    }

    /// A compressed file that is broken counts as removed from there on; what was lost by it the numbers tell.
    pub(super) fn note_broken(&mut self, stamp: Option<&str>, error: &io::Error) {
        let Some(stamp) = stamp else { return };
        if self.broken.insert(stamp.to_owned()) {
            let path = files::rotated(&self.place.dir, &self.place.label, stamp);
            self.notes.push(format!("{}, compressed, cannot be read: {error}", path.display()));
        }
        if self.broken.len() > BROKEN_MAX {
            self.broken.pop_first();
        }
    }

    pub(super) fn oldest(&mut self, stamps: &[String]) -> io::Result<Option<Reading>> {
        for (index, stamp) in stamps.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &stamps[before]);
            if let Some(found) = self.file(Some(stamp), before)? {
                return Ok(Some(found));
            }
        }
        self.file(None, stamps.last())
    }

    /// The file of this cursor. It was begun between the rotation before it and its own; where its index is missing that
    /// has to be enough.
    pub(super) fn file_of(&mut self, cursor: Cursor, stamps: &[String]) -> io::Result<Option<Reading>> {
        let moment = |stamp: &String| moment_of(stamp).map_or(0, Wall::as_micros);
        let likely = stamps.partition_point(|stamp| moment(stamp) < cursor.file);
        let names = |index: usize| (stamps.get(index), index.checked_sub(1).and_then(|before| stamps.get(before)));
        // The likely one first; after a clock that was set back it may be any.
        let order = || [likely].into_iter().chain((0..=stamps.len()).filter(|index| *index != likely));
        for index in order() {
            let (stamp, before) = names(index);
            if let Some(found) = self.file(stamp.map(String::as_str), before)?
                && found.begun == cursor.file
            {
                return Ok(Some(found));
            }
        }
        for index in order() {
            let (stamp, before) = names(index);
            // One with an index says itself that it is another one.
            if let Some(found) = self.file(stamp.map(String::as_str), before)?
                && !found.has_index()
                && found.begun <= cursor.file
                && found.source.length()? >= cursor.offset
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Begins with the file that was found.
    pub(super) fn begin(&mut self, start: Start, mut found: Option<Reading>, stamps: &[String]) -> io::Result<()> {
        let place_of = |found: &Option<Reading>| match found.as_ref().and_then(|found| found.stamp.clone()) {
            Some(stamp) => Some(stamp),
            None => stamps.last().cloned(),
        };
        let mut cut = None;
        if let (Start::At(cursor), Some(open)) = (start, &mut found)
            && open.source.length()? < cursor.offset
        {
            // A power cut took its end, which was read.
            match end_of(open) {
                Err(error) if is_broken(&error) => {
                    self.note_broken(open.stamp.as_deref(), &error);
                    found = None;
                }
                end => cut = Some(end?),
            }
        }
        match start {
            Start::At(cursor) if found.is_some() => {
                self.passed = place_of(&found);
                self.cursor = cut.unwrap_or(cursor);
                self.open = found;
            }
            Start::At(cursor) => {
                // Its file is gone: on with what comes after it.
                self.cursor = cursor;
                let moment = |stamp: &String| moment_of(stamp).map_or(0, Wall::as_micros);
                let before = stamps.partition_point(|stamp| moment(stamp) <= cursor.file);
                self.passed = before.checked_sub(1).map(|before| stamps[before].clone());
                match self.next_file()? {
                    Next::File(next, passed) => self.go_on(*next, passed),
                    Next::Again | Next::None => self.lost.unknown += u64::from(cursor != Cursor::default()),
                }
            }
            Start::Beginning => {
                self.passed = place_of(&found);
                if let Some(found) = found {
                    self.cursor = Cursor { file: found.begun, offset: 0, lines: found.first.unwrap_or(0) };
                    self.open = Some(found);
                }
            }
            Start::End => {
                self.passed = place_of(&found);
                let Some(mut found) = found else { return Ok(()) };
                // A line that has no end yet is still to come.
                self.cursor = end_of(&mut found)?;
                self.open = Some(found);
            }
        }
        Ok(())
    }

    /// The files behind the open one, and their lengths.
    pub(super) fn later(&mut self) -> io::Result<Vec<(Option<String>, u64)>> {
        if self.open.as_ref().is_some_and(|open| open.stamp.is_none()) && !self.may_have_been_rotated()? {
            return Ok(Vec::new());
        }
        if self.open.as_ref().is_some_and(|open| open.stamp.is_none()) {
            self.find_own_name()?;
        }
        let stamps = self.stamps()?;
        let newer =
            &stamps[stamps.partition_point(|stamp| self.passed.as_ref().is_some_and(|passed| stamp <= passed))..];
        self.lengths.retain(|stamp, _| newer.contains(stamp));
        let mut later = Vec::new();
        for stamp in newer {
            let length = match self.lengths.get(stamp) {
                Some(length) => *length,
                None => {
                    let Some(found) = self.file(Some(stamp), None)? else { continue };
                    let length = found.source.length()?;
                    self.lengths.insert(stamp.clone(), length);
                    length
                }
            };
            later.push((Some(stamp.clone()), length));
        }
        if self.open.as_ref().is_none_or(|open| open.stamp.is_some())
            && let Some(current) = self.file(None, None)?
        {
            later.push((None, current.source.length()?));
        }
        Ok(later)
    }

    /// What comes behind the open file.
    pub(super) fn next_file(&mut self) -> io::Result<Next> {
        let stamps = self.stamps()?;
        let passed = self.passed.clone();
        let newer = stamps.partition_point(|stamp| self.passed.as_ref().is_some_and(|passed| stamp <= passed));
        // What is no file, or was removed since, is passed over.
        for stamp in &stamps[newer..] {
            if let Some(next) = self.file(Some(stamp), passed.as_ref())? {
                return Ok(Next::File(Box::new(next), Some(stamp.clone())));
            }
        }
        let Some(next) = self.file(None, stamps.last())? else { return Ok(Next::None) };
        if self.open.as_ref().is_some_and(|open| open.stamp.is_none() && open.begun == next.begun) {
            return Ok(Next::None);
        }
        // A rotation in between gave it a name, and by that it is found.
        if self.stamps()?.last() != stamps.last() {
            return Ok(Next::Again);
        }
        Ok(Next::File(Box::new(next), stamps.last().cloned()))
    }

    pub(super) fn go_on(&mut self, next: Reading, passed: Option<String>) {
        let lines = match next.first {
            Some(first) => {
                self.lost.lines += first.saturating_sub(self.cursor.lines);
                first
            }
            None => {
                self.lost.unknown += u64::from(self.open.is_some() || self.cursor != Cursor::default());
                self.cursor.lines
            }
        };
        self.cursor = Cursor { file: next.begun, offset: 0, lines };
        self.passed = passed;
        self.forget_buffer();
        self.open = Some(next);
    }

    /// The file was emptied, or there is another one in its place without a rotation.
    pub(super) fn begin_again(&mut self) -> io::Result<()> {
        let former = self.cursor;
        let passed = self.passed.clone();
        let Some(mut next) = self.file(None, passed.as_ref())? else {
            // Between two looks. What comes is found like a first file.
            self.open = None;
            self.forget_buffer();
            return Ok(());
        };
        if next.begun == former.file {
            // What comes has to have another name than what was there.
            next.begun = Wall::now().as_micros().max(former.file + 1);
            next.first = None;
        }
        self.go_on(next, passed);
        Ok(())
    }

    /// Whether the file under the current name is another one than the open one.
    pub(super) fn may_have_been_rotated(&self) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(true) };
        track::is_another(&open.source.metadata()?, &files::current(&self.place.dir, &self.place.label))
    }

    /// After a rotation: the later name of the open file, if it is still there. Where what has that name is broken, the
    /// open file is read to its end, as one that was removed.
    pub(super) fn find_own_name(&mut self) -> io::Result<bool> {
        let stamps = self.stamps()?;
        let newer = stamps.partition_point(|stamp| self.passed.as_ref().is_some_and(|passed| stamp <= passed));
        let Some(stamp) = stamps.get(newer).filter(|_| self.open.is_some()) else { return Ok(false) };
        let passed = self.passed.clone();
        let found = self.file(Some(stamp), passed.as_ref())?;
        let Some(open) = &mut self.open else { return Ok(false) };
        if found.is_some_and(|found| found.begun == open.begun || !found.has_index()) {
            open.stamp = Some(stamp.clone());
            self.passed = Some(stamp.clone());
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves within the open file to the first line at or behind `target`, at most to the end of its last whole line.
    pub(super) fn jump(&mut self, target: u64) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let counted = open.counted(target);
        let counted = counted.filter(|mark| mark.offset > self.cursor.offset && mark.lines >= self.cursor.lines);
        let (from, lines) = counted.map_or((self.cursor.offset, self.cursor.lines), |mark| (mark.offset, mark.lines));
        let length = open.source.length()?;
        let end = match next_line(open, target, length)? {
            Some(end) => end,
            None => last_line_end(open, self.cursor.offset, length)?,
        };
        let lines = lines + newlines(&mut open.source, from, end)?;
        (self.cursor.offset, self.cursor.lines) = (end, lines);
        Ok(())
    }
}

/// Whether this is what a compressed file says that is broken.
pub(super) fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Behind the last whole line of a file.
fn end_of(open: &mut Reading) -> io::Result<Cursor> {
    let length = open.source.length()?;
    let counted = open.counted(length);
    let (from, lines) = counted.map_or((0, open.first.unwrap_or(0)), |mark| (mark.offset, mark.lines));
    let end = last_line_end(open, from, length)?;
    Ok(Cursor { file: open.begun, offset: end, lines: lines + newlines(&mut open.source, from, end)? })
}

/// The end of the last whole line between two offsets of a file.
fn last_line_end(found: &mut Reading, from: u64, to: u64) -> io::Result<u64> {
    let mut block = vec![0; super::BLOCK_BYTES];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(block.len() as u64).max(from);
        let wanted = usize::try_from(end - start).unwrap_or(block.len());
        let mut filled = 0;
        while filled < wanted {
            match found.read_at(start + filled as u64, &mut block[filled..wanted])? {
                0 => break,
                count => filled += count,
            }
        }
        if let Some(newline) = memchr::memrchr(b'\n', &block[..filled]) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

/// Where the first line at or behind `target` begins, if there is an end of line before it.
fn next_line(found: &mut Reading, target: u64, length: u64) -> io::Result<Option<u64>> {
    let Some(mut at) = target.checked_sub(1) else { return Ok(Some(0)) };
    let mut block = vec![0; super::BLOCK_BYTES];
    while at < length {
        let filled = found.read_at(at, &mut block)?;
        if filled == 0 {
            break;
        }
        if let Some(newline) = memchr::memchr(b'\n', &block[..filled]) {
            return Ok(Some(at + newline as u64 + 1));
        }
        at += filled as u64;
    }
    Ok(None)
}
