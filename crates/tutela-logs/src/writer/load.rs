//! Writing with a tray: every write is announced before it, with the file and its length, and noted behind it. So who
//! takes over after a kill finds out from the file how much of it took place.
//!
//! Called by the pump, for captures that have a tray. What is to be written lies in the tray before the first byte of it goes
//! to the file; it is rotated, dropped and counted as without a tray.

use super::beginning::span_of_moments;
use super::entry::{BATCH_BYTES, Batch, count_of_entries};
use super::status::Count;
use super::{Now, Trouble, Writer, WriterEvent, room};
use crate::doors::Found;
use crate::files;
use crate::policy::{Form, Policy};
use crate::stamp::Wall;
use crate::tray::{Book, Record, Tally, Target, Write, moment};
use std::fs::File;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What a turn became.
pub(crate) struct Load<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) form: Form,
    /// Of records: where each ends, and what the program wrote for it.
    pub(crate) records: &'a [(usize, Count)],
    /// The moments of its entries; for bytes as they are, that of the writing.
    pub(crate) span: (Wall, Wall),
    /// What the program wrote for all of it, and how many entries that is, where somebody has counted already.
    pub(crate) total: Option<(Count, u64)>,
}

impl Load<'_> {
    /// What the program wrote for a part of it that begins and ends with entries.
    fn count(&self, from: usize, to: usize) -> Count {
        match self.form {
            Form::Raw => Count::of_raw(&self.bytes[from..to]),
            Form::Stamped => count_of_entries(&self.bytes[from..to]),
            Form::Json => {
                let mut count = Count::default();
                let within = self.records.iter().filter(|(end, _)| *end > from && *end <= to);
                within.for_each(|(_, of)| count.add(*of));
                count
            }
        }
    }

    /// The same, and how many newlines are in it.
    fn counted(&self, from: usize, to: usize) -> (Count, u64) {
        if let Some(total) = self.total.filter(|_| (from, to) == (0, self.bytes.len())) {
            return total;
        }
        let count = self.count(from, to);
        match self.form {
            Form::Raw => (count, count.lines),
            Form::Stamped | Form::Json => (count, Count::of_raw(&self.bytes[from..to]).lines),
        }
    }

    /// The moments of a part of it.
    fn span(&self, from: usize, to: usize) -> (Wall, Wall) {
        let is_whole = (from, to) == (0, self.bytes.len());
        if is_whole || self.span.0 == self.span.1 || self.form == Form::Raw {
            return self.span;
        }
        let part = &self.bytes[from..to];
        span_of_moments(&mut Cursor::new(part), 0, part.len() as u64, self.form).ok().flatten().unwrap_or(self.span)
    }

    /// The next part: no larger than a write should be, and up to where the file has to be rotated.
    fn part(&self, from: usize, size: u64, rotate_size: Option<u64>) -> usize {
        let rest = &self.bytes[from..];
        if self.form == Form::Raw {
            return from + rotate_size.map_or(rest.len(), |limit| room(rest, size, limit)).min(BATCH_BYTES);
        }
        let to_limit = rotate_size.map_or(u64::MAX, |limit| limit.saturating_sub(size));
        let least = usize::try_from(to_limit).unwrap_or(usize::MAX).clamp(1, BATCH_BYTES);
        match rest.get(least - 1..).and_then(|behind| memchr::memchr(b'\n', behind)) {
            Some(newline) => from + least + newline,
            None => self.bytes.len(),
        }
    }
}

impl Writer {
    /// Brings what is left of a load to the disk; what it refuses is dropped and counted. `book` has the load.
    pub(crate) fn put_out(&mut self, load: &Load<'_>, batch: &mut Batch, book: &mut Book<'_>, now: Now) {
        let (mut done, length) = (book.record().load.done, load.bytes.len());
        while done < length {
            if !self.prepare(batch, now, Some(book)) {
                self.lose(load.count(done, length));
                done = length;
                self.note(book, done, length);
                break;
            }
            let Some(open) = &mut self.open else { return };
            let to = load.part(done, open.size, self.policy.rotate_size);
            let part = &load.bytes[done..to];
            let marked = open.mark(load.span(done, to), now);
            book.tell_folder(&self.policy.dir);
            book.record().write =
                Write { target: Target::Part, file: open.identity(self.doors), offset: open.size, length: part.len() };
            book.commit();
            let (written, result) = open.write(part);
            moment();
            let whole = match (load.form, &result) {
                (Form::Raw, _) | (_, Ok(())) => written,
                _ => memchr::memrchr(b'\n', &part[..written]).map_or(0, |newline| newline + 1),
            };
            open.take_back(written - whole);
            let (count, newlines) = load.counted(done, done + whole);
            open.wrote(newlines);
            self.status.stored(count);
            done += whole;
            match result {
                Ok(()) => self.recover(),
                Err(error) => self.fail(&error, now),
            }
            self.told_of_index(marked, now);
            self.note(book, done, length);
        }
    }

    /// So much of the load is done with.
    fn note(&mut self, book: &mut Book<'_>, done: usize, length: usize) {
        let tally = self.tally();
        let record = book.record();
        (record.load.done, record.write, record.tally) = (done, Write::default(), tally);
        if done == length {
            record.unload();
        }
        book.commit();
    }

    /// A note is about to be written behind what is in the file.
    pub(super) fn announce_note(&mut self, book: &mut Book<'_>, length: usize) {
        book.tell_folder(&self.policy.dir);
        let tally = self.tally();
        if let Some(open) = &mut self.open {
            let file = open.identity(self.doors);
            book.record().write = Write { target: Target::Note, file, offset: open.size, length };
            book.record().tally = tally;
            book.commit();
        }
    }

    /// It is in the file, or not.
    pub(super) fn note_is_over(&mut self, book: &mut Book<'_>) {
        let tally = self.tally();
        (book.record().write, book.record().tally) = (Write::default(), tally);
        book.commit();
    }

    /// What was counted so far, for a successor.
    pub(crate) fn tally(&mut self) -> Tally {
        self.stamp += 1;
        let status = self.status.counts();
        let trouble = self.trouble.as_ref().map(|it| (it.untold, it.missing, it.error.clone()));
        Tally { stamp: self.stamp, stored: status.0, dropped: status.1, trouble, latest: self.latest }
    }

    /// Goes on from what a dead guard counted. Of two trays of a label the later one counts; told again is nothing.
    pub(crate) fn take_up(&mut self, tally: &Tally) {
        if tally.stamp <= self.taken_up.stamp {
            return;
        }
        self.status.stored(tally.stored - self.taken_up.stored);
        self.status.dropped(tally.dropped - self.taken_up.dropped);
        self.latest = self.latest.max(tally.latest);
        self.stamp = self.stamp.max(tally.stamp);
        if let (Some((untold, missing, error)), None) = (&tally.trouble, &self.trouble) {
            let text = format!("the disk refused when the guard before this one died: {error}");
            self.status.set_error(Some(&text));
            self.events.push(WriterEvent::Failing { error: text });
            let (untold, missing, error) = (*untold, *missing, error.clone());
            self.trouble = Some(Box::new(Trouble { retry_at: Instant::now(), error, untold, missing }));
        }
        self.taken_up = tally.clone();
    }

    /// Finishes what a dead guard had on the way to the file: what is there is counted, the rest is written. The form is
    /// that of then; the policy may want another one since.
    pub(crate) fn finish_load(&mut self, load: &Load<'_>, batch: &mut Batch, book: &mut Book<'_>, now: Now) {
        let length = load.bytes.len();
        let Record { load: known, write, .. } = book.record().clone();
        let mut done = known.done;
        if write.target == Target::Part {
            let found = self.found(&write, book.folder(), |written| match load.form {
                Form::Raw => written,
                _ => memchr::memrchr(b'\n', &load.bytes[done..done + written]).map_or(0, |newline| newline + 1),
            });
            self.status.stored(load.count(done, done + found));
            done += found;
            self.note(book, done, length);
        }
        if done < length {
            let wanted = self.policy.clone();
            if wanted.form != load.form {
                self.set_policy(Arc::new(Policy { form: load.form, ..(*wanted).clone() }));
            }
            self.put_out(load, batch, book, now);
            self.set_policy(wanted);
        }
    }

    /// A note of a dead guard is in the file, or what there is of it is taken out.
    pub(crate) fn finish_note(&mut self, book: &mut Book<'_>) {
        let write = book.record().write;
        if write.target == Target::Note {
            let found = self.found(&write, book.folder(), |written| if written == write.length { written } else { 0 });
            if let Some(trouble) = self.trouble.as_mut().filter(|_| found > 0) {
                trouble.untold = Count::default();
            }
            self.note_is_over(book);
        }
    }

    /// How much of an announced write is in the file, wherever that is by now. `whole`: how much of what is there is to
    /// stay; the rest is taken out.
    fn found(&mut self, write: &Write, folder: Option<PathBuf>, whole: impl FnOnce(usize) -> usize) -> usize {
        // Its size is about to change, or was never known here.
        self.close();
        let Some((path, size)) = self.seek(write.file, folder) else { return 0 };
        let there = usize::try_from(size.saturating_sub(write.offset)).unwrap_or(usize::MAX);
        if there >= write.length {
            return write.length;
        }
        let kept = whole(there);
        if kept < there {
            moment();
            // Where it cannot be cut it stays, as half an entry.
            if let Ok(Found::Plain(file)) = (self.doors.append)(&path, self.policy.access) {
                let _ = file.set_len(write.offset + kept as u64);
                self.rest = None;
            }
            moment();
        }
        kept
    }

    /// The file that the system tells from others so, and its size: the current one or a rotated one.
    fn seek(&self, identity: (u64, u64), folder: Option<PathBuf>) -> Option<(PathBuf, u64)> {
        let doors = self.doors;
        let is_it = |path: &PathBuf| -> Option<u64> {
            let Ok(Found::Plain(file)) = (doors.read)(path) else { return None };
            let is = |file: &File| (doors.identity)(file).is_ok_and(|it| it == identity);
            is(&file).then(|| file.metadata().ok().map(|it| it.len())).flatten()
        };
        let folders = std::iter::once(self.policy.dir.clone()).chain(folder.filter(|it| *it != self.policy.dir));
        for dir in folders {
            let rotated = files::rotated_stamps(&dir, &self.label).unwrap_or_default();
            let rotated = rotated.iter().rev().map(|stamp| files::rotated(&dir, &self.label, stamp));
            for path in std::iter::once(files::current(&dir, &self.label)).chain(rotated) {
                if let Some(size) = is_it(&path) {
                    return Some((path, size));
                }
            }
        }
        None
    }

    /// Output of the program that cannot be had any more.
    pub(crate) fn give_up(&mut self, bytes: u64) {
        self.lose(Count { bytes, lines: 0 });
    }
}
