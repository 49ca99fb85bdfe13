//! One label's file: what is written to it, when it is rotated, and what happens when the disk refuses.
//!
//! Called by the pump, from one thread. A [`Writer`] opens its file at the first byte, so a silent program
//! costs none. It writes with plain calls that return when the system has the bytes; where a disk hangs
//! the pump hangs with it and the programs wait at their full pipes. That is the policy: a program that
//! waits loses no line.
//!
//! # When the disk refuses
//!
//! ```text
//!            write, open or truncate refused
//!   fine ───────────────────────────────────▶ failing ──┐ every RETRY_EVERY one try;
//!     ▲                                          │  ▲   │ what comes in between is
//!     └──────────────────────────────────────────┘  └───┘ dropped and counted
//!          a try works: a `gap` entry says what is missing
//! ```
//!
//! The program is not stopped by a full disk, and never waits for one. Both edges are a [`WriterEvent`].
//! A write that was refused half-way leaves whole entries only; in a file without timestamps the bytes
//! that fitted stay.
//!
//! Files are in the order in which the pump read; one stream's bytes are always in their own order.

mod beginning;
mod entry;
mod file;
mod load;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use beginning::{begun_without_index, newlines, span_of_moments};
pub use entry::Batch;
pub(crate) use entry::{HEAD_BYTES, entry_bytes_max, form_of, parse};
pub(crate) use file::{moment_of, read_up_to};
pub(crate) use load::Load;
pub use status::CaptureStatus;
pub(crate) use status::{Count, StatusCell};

use crate::doors::Doors;
use crate::files;
use crate::lines::{LINE_BYTES_MAX, Piece};
use crate::policy::{Form, Policy, Stream};
use crate::record::join::{Joined, Multiline};
use crate::record::json;
use crate::record::redact::Redactor;
use crate::stamp::Wall;
use crate::tray::{Book, Tally};
use file::{Blemish, OpenFile, Opened, Rest};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The wait between two tries to write to a disk that refuses. Short enough that little more is lost once
/// there is room again; long enough that a flood of output is not a flood of failing calls.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long one and the same blemish is not told again, and how long none is told after another one: whoever may write
/// to the folder can make a new one every second.
const BLEMISH_AGAIN: Duration = Duration::from_secs(3600);
const BLEMISH_PAUSE: Duration = Duration::from_secs(60);

/// A moment on both clocks: one for people, one for waits.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For stamps, names and ages of files.
    pub wall: Wall,
    /// For the time between two tries.
    pub tick: Instant,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Now { wall: Wall::now(), tick: Instant::now() }
    }
}

/// What somebody should hear about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriterEvent {
    /// The disk began to refuse; output is dropped from here on.
    Failing {
        /// Which file, and why.
        error: String,
    },
    /// It takes output again.
    Recovered {
        /// How many bytes of the program are missing.
        dropped_bytes: u64,
        /// How many of its lines are missing or not whole.
        dropped_lines: u64,
    },
    /// A file was rotated: there is one more to be kept.
    Rotated,
    /// Something beside the writing did not go well: an old file cannot be removed, or something that is no file lay
    /// in the way. No byte is lost. Of one cause it is told once an hour.
    Blemish {
        /// What, with the path.
        text: String,
    },
}

/// Writes one label's file. Dropping it closes the file; there is nothing that it holds back.
pub struct Writer {
    label: Arc<str>,
    policy: Arc<Policy>,
    doors: Doors,
    status: Arc<StatusCell>,
    open: Option<OpenFile>,
    /// How many files are open, this one and others, for those who count descriptors.
    files: crate::count::Count,
    /// What is known of the file while it is closed.
    rest: Option<Rest>,
    trouble: Option<Box<Trouble>>,
    /// What every record says of its owner, of this generation of the host; empty until there is a record.
    owner: (u64, Vec<u8>),
    /// The moment of the last record.
    latest: Wall,
    /// Somebody wants a new file, and the next line is its first.
    rotation_asked: bool,
    events: Vec<WriterEvent>,
    /// The blemish that was told last.
    told: Option<(&'static str, Instant)>,
    /// Counts what is told to trays, over the lives of guards.
    stamp: u64,
    /// What was gone on from.
    taken_up: Tally,
}

/// Since the disk refuses.
struct Trouble {
    retry_at: Instant,
    error: String,
    /// Missing, and not yet said so in the file.
    untold: Count,
    /// Missing altogether.
    missing: Count,
}

impl Writer {
    /// A writer that has not touched the disk yet. `label` satisfies [`crate::is_label`].
    pub fn new(label: Arc<str>, policy: Arc<Policy>, doors: Doors) -> Self {
        Self::among(crate::count::Count::default(), label, policy, doors)
    }

    /// The same, whose file is one of these when it is open.
    pub(crate) fn among(files: crate::count::Count, label: Arc<str>, policy: Arc<Policy>, doors: Doors) -> Self {
        Writer {
            label,
            policy,
            doors,
            status: Arc::default(),
            open: None,
            files,
            rest: None,
            trouble: None,
            owner: (0, Vec::new()),
            latest: Wall::default(),
            rotation_asked: false,
            events: Vec::new(),
            told: None,
            stamp: 0,
            taken_up: Tally::default(),
        }
    }

    /// Whose output this is.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What is wanted: bytes or entries.
    pub fn form(&self) -> Form {
        self.policy.form
    }

    /// What is to be masked in it; `None`: nothing.
    pub(crate) fn mask(&self) -> Option<Arc<Redactor>> {
        (!self.policy.mask.is_idle()).then(|| self.policy.mask.clone())
    }

    /// Which lines belong together.
    pub(crate) fn multiline(&self) -> Option<Arc<Multiline>> {
        self.policy.multiline.clone().filter(|_| self.policy.form == Form::Json)
    }

    /// What became of the output so far.
    pub fn status(&self) -> CaptureStatus {
        self.status.read()
    }

    pub(crate) fn status_cell(&self) -> &Arc<StatusCell> {
        &self.status
    }

    /// Keeps output in another way from here on. Files of another folder or form stay as they are.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        if *policy == *self.policy {
            return;
        }
        if policy.dir != self.policy.dir || policy.form != self.policy.form {
            self.close();
        }
        if policy.dir != self.policy.dir {
            self.rest = None;
            if let Some(trouble) = &mut self.trouble {
                // Another disk, most likely: it is tried with the next byte.
                trouble.retry_at = Instant::now();
            }
        }
        let fewer = policy.keep < self.policy.keep;
        self.owner.0 = 0;
        self.policy = policy;
        if fewer && let Some(blemish) = file::prune(&self.policy, &self.label, self.doors) {
            self.blemish(blemish, Instant::now());
        }
    }

    /// Begins a new file with the next line that is written, where there is anything in this one.
    pub fn rotate(&mut self) {
        self.rotation_asked = true;
    }

    /// Closes the file until the next byte.
    pub fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.rest = open.put_away();
        }
    }

    /// Takes what happened since it was asked last.
    pub fn take_events(&mut self) -> Vec<WriterEvent> {
        std::mem::take(&mut self.events)
    }

    /// Adds a line, or a piece of one, to the batch; where the batch is full, or the file is, it is
    /// flushed first. To be used when the form is [`Form::Stamped`].
    pub fn entry(&mut self, batch: &mut Batch, stream: Stream, piece: Piece<'_>, now: Now) {
        if batch.staged || self.admit(batch, now) {
            batch.push(now.wall, stream, piece);
        } else {
            self.lose(entry::count_of(piece.text.len(), piece.ended));
        }
    }

    /// Adds whole lines, none longer than [`LINE_BYTES_MAX`], as [`Writer::entry`] does each. To be used when the form is
    /// [`Form::Stamped`].
    pub fn lines(&mut self, batch: &mut Batch, stream: Stream, mut lines: &[u8], now: Now) {
        while !lines.is_empty() {
            if !batch.staged && !self.admit(batch, now) {
                self.lose(Count::of_raw(lines));
                return;
            }
            let until = if batch.staged { usize::MAX } else { self.room_of_batch() };
            let taken = batch.push_lines(now.wall, stream, lines, until);
            lines = &lines[taken..];
        }
    }

    /// Adds a record, as [`Writer::entry`] does a line. To be used when the form is [`Form::Json`].
    pub fn record(&mut self, batch: &mut Batch, stream: Stream, joined: &Joined<'_, ()>, now: Now) {
        if batch.staged {
            self.know_owner();
        }
        if batch.staged || self.admit(batch, now) {
            // One that was held for joining may begin before what the other stream wrote meanwhile. The moments of a file
            // grow all the same, as long as the clock does.
            let at = if self.latest <= now.wall { joined.at.max(self.latest) } else { joined.at };
            self.latest = at;
            batch.push_record(stream, &Joined { at, ..*joined }, &self.owner.1);
        } else {
            self.lose(entry::count_of_record(joined));
        }
    }

    /// Whether an entry can go into the batch; else it is lost. Flushes first where that is due.
    fn admit(&mut self, batch: &mut Batch, now: Now) -> bool {
        if !batch.bytes.is_empty() && batch.bytes.len() >= self.room_of_batch() {
            self.flush(batch, now);
        }
        !batch.bytes.is_empty() || self.prepare(batch, now, None)
    }

    /// With how many bytes a batch has to go to the disk: when it is full, or the file.
    fn room_of_batch(&self) -> usize {
        let to_limit = match (&self.open, self.policy.rotate_size) {
            (Some(open), Some(limit)) => limit.saturating_sub(open.size),
            (None, Some(_)) => 0,
            (_, None) => u64::MAX,
        };
        usize::try_from(to_limit).unwrap_or(usize::MAX).min(entry::BATCH_BYTES)
    }

    /// What records say of their owner is what is true for this batch.
    fn know_owner(&mut self) {
        let generation = self.policy.author.host.generation();
        if self.policy.form == Form::Json && self.owner.0 != generation {
            let mut text = Vec::new();
            json::put_owner(&self.policy.author.owner(), &mut text);
            self.owner = (generation, text);
        }
    }

    /// Brings the batch to the disk. To be called at the end of every chunk.
    pub fn flush(&mut self, batch: &mut Batch, now: Now) {
        if batch.bytes.is_empty() || batch.staged {
            return;
        }
        let Some(open) = &mut self.open else {
            self.lose(batch.count);
            batch.clear();
            return;
        };
        debug_assert_eq!(batch.entries, memchr::memchr_iter(b'\n', &batch.bytes).count() as u64);
        let marked = open.mark(batch.span.unwrap_or((now.wall, now.wall)), now);
        match open.write(&batch.bytes) {
            (_, Ok(())) => {
                open.wrote(batch.entries);
                self.status.stored(batch.count);
                self.recover();
            }
            (written, Err(error)) => {
                let whole = memchr::memrchr(b'\n', &batch.bytes[..written]).map_or(0, |newline| newline + 1);
                open.take_back(written - whole);
                open.wrote(Count::of_raw(&batch.bytes[..whole]).lines);
                let stored = batch.count_of(whole, self.policy.form);
                self.status.stored(stored);
                self.fail(&error, now);
                self.lose(batch.count - stored);
            }
        }
        batch.clear();
        self.told_of_index(marked, now);
    }

    /// Writes bytes as they are. To be used when the form is [`Form::Raw`].
    pub fn raw(&mut self, batch: &mut Batch, mut chunk: &[u8], now: Now) {
        if batch.staged {
            batch.bytes.extend_from_slice(chunk);
            return;
        }
        while !chunk.is_empty() {
            if !self.prepare(batch, now, None) {
                self.lose(Count::of_raw(chunk));
                return;
            }
            let Some(open) = &mut self.open else { return };
            let part = match self.policy.rotate_size {
                None => chunk,
                Some(limit) => &chunk[..room(chunk, open.size, limit)],
            };
            let marked = open.mark((now.wall, now.wall), now);
            let (written, result) = open.write(part);
            let stored = Count::of_raw(&part[..written]);
            open.wrote(stored.lines);
            self.status.stored(stored);
            self.told_of_index(marked, now);
            chunk = &chunk[written..];
            match result {
                Ok(()) => self.recover(),
                Err(error) => self.fail(&error, now),
            }
        }
    }

    /// Whether there is a file to write to; opened, rotated and repaired as needed.
    fn prepare(&mut self, batch: &mut Batch, now: Now, book: Option<&mut Book<'_>>) -> bool {
        if self.trouble.as_ref().is_some_and(|trouble| now.tick < trouble.retry_at) {
            return false;
        }
        self.know_owner();
        if let Err(error) = self.make_ready(now).and_then(|()| self.tell_gap(batch, now, book)) {
            self.fail(&error, now);
            return false;
        }
        true
    }

    /// Opens or rotates the file where that is due.
    fn make_ready(&mut self, now: Now) -> io::Result<()> {
        if self.open.as_mut().is_some_and(|open| open.is_lost(&self.policy, &self.label, now)) {
            self.close();
        }
        if self.open.is_none() {
            // Before, so that a disk that does not answer has a name.
            self.status.set_file(files::current(&self.policy.dir, &self.label));
            let opened = OpenFile::open(&self.policy, &self.label, self.doors, now, &mut self.rest)?;
            self.adopt(opened, now);
        }
        let asked = self.rotation_asked;
        if let Some(open) = self.open.take_if(|open| open.is_due(&self.policy, now, LINE_BYTES_MAX as u64, asked)) {
            let opened = open.rotate(&self.policy, &self.label, self.doors, now, &mut self.rest)?;
            self.events.push(WriterEvent::Rotated);
            self.adopt(opened, now);
        }
        // An empty file is a new one, whoever made it so.
        self.rotation_asked &= self.open.as_ref().is_some_and(|open| open.size > 0);
        Ok(())
    }

    fn adopt(&mut self, mut opened: Opened, now: Now) {
        opened.file.counted = Some(self.files.begin());
        self.open = Some(opened.file);
        match opened.blemish {
            Some(blemish) => self.blemish(blemish, now.tick),
            None if self.trouble.is_none() => self.status.set_error(None),
            None => {}
        }
    }

    /// After trouble: says in the file what is missing. A file without timestamps has no place for it.
    fn tell_gap(&mut self, batch: &mut Batch, now: Now, mut book: Option<&mut Book<'_>>) -> io::Result<()> {
        let Some(trouble) = &self.trouble else { return Ok(()) };
        if self.policy.form == Form::Raw || trouble.untold == Count::default() {
            return Ok(());
        }
        let owner = (self.policy.form == Form::Json).then_some(&*self.owner.1);
        let note = batch.gap(now.wall, trouble.untold, &trouble.error, owner);
        if let Some(book) = &mut book {
            self.announce_note(book, note.len());
        }
        let (Some(trouble), Some(open)) = (&mut self.trouble, &mut self.open) else { return Ok(()) };
        // Without it the note is found all the same.
        let _ = open.mark((now.wall, now.wall), now);
        let (written, result) = open.write(&note);
        match result {
            Ok(()) => {
                open.wrote(1);
                trouble.untold = Count::default();
            }
            Err(_) => open.take_back(written),
        }
        if let Some(book) = book {
            self.note_is_over(book);
        }
        result
    }

    /// The disk took everything: trouble is over, if there was any. A note alone is no proof, as a nearly
    /// full disk takes it and refuses the next batch.
    fn recover(&mut self) {
        let Some(trouble) = self.trouble.take() else { return };
        self.status.set_error(None);
        let Count { bytes: dropped_bytes, lines: dropped_lines } = trouble.missing;
        self.events.push(WriterEvent::Recovered { dropped_bytes, dropped_lines });
    }

    /// The disk refused.
    fn fail(&mut self, error: &io::Error, now: Now) {
        self.close();
        let path = files::current(&self.policy.dir, &self.label);
        let text = format!("failed to write {}: {error}", path.display());
        self.status.set_error(Some(&text));
        let retry_at = now.tick + RETRY_EVERY;
        match &mut self.trouble {
            Some(trouble) => trouble.retry_at = retry_at,
            None => {
                self.events.push(WriterEvent::Failing { error: text });
                let (untold, missing) = (Count::default(), Count::default());
                self.trouble = Some(Box::new(Trouble { retry_at, error: error.to_string(), untold, missing }));
            }
        }
    }

    /// The index could not be written. Where the disk is full the file is about to tell the same.
    fn told_of_index(&mut self, marked: io::Result<()>, now: Now) {
        if let Err(error) = marked
            && !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            let path = files::index_of(&files::current(&self.policy.dir, &self.label));
            let text = format!("failed to write {}, which makes finding lines in it slower: {error}", path.display());
            self.blemish(Blemish { cause: "index", text }, now.tick);
        }
    }

    /// Something beside the writing did not go well.
    fn blemish(&mut self, blemish: Blemish, at: Instant) {
        self.status.set_error(Some(&blemish.text));
        let is_due = self.told.is_none_or(|(cause, told)| {
            let pause = if cause == blemish.cause { BLEMISH_AGAIN } else { BLEMISH_PAUSE };
            at.saturating_duration_since(told) >= pause
        });
        if is_due {
            self.told = Some((blemish.cause, at));
            self.events.push(WriterEvent::Blemish { text: blemish.text });
        }
    }

    fn lose(&mut self, count: Count) {
        self.status.dropped(count);
        if let Some(trouble) = &mut self.trouble {
            trouble.untold.add(count);
            trouble.missing.add(count);
        }
    }
}

/// How much of `chunk` goes into a file of `size` bytes before it has to be rotated at `limit`: through
/// the first newline at or behind the limit, or a full line behind it where there is none.
fn room(chunk: &[u8], size: u64, limit: u64) -> usize {
    let to_limit = usize::try_from(limit.saturating_sub(size)).unwrap_or(usize::MAX);
    if chunk.len() < to_limit {
        return chunk.len();
    }
    let from = to_limit.saturating_sub(1);
    let overrun =
        usize::try_from(limit.saturating_add(LINE_BYTES_MAX as u64).saturating_sub(size)).unwrap_or(usize::MAX);
    let end = memchr::memchr(b'\n', &chunk[from..]).map_or(chunk.len(), |newline| from + newline + 1);
    end.min(overrun.max(1))
}
