//! The way through the files of one label: from a rotated file to the next, and along the growing one.

use super::backward::{Found, start_of_last};
use super::entry::{Entry, entry, head, is_wanted};
use super::filter::LineFilter;
use super::look::{Look, Span};
use super::moments::Moments;
use super::order::{self, Files};
use super::source::Source;
use super::{PassedOver, Place, Query};
use crate::doors::Doors;
use crate::files;
use crate::policy::Form;
use crate::stamp::{StampReader, Wall};
use crate::writer::{HEAD_BYTES, entry_bytes_max, form_of, parse, read_up_to};
use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// How often a rotation may happen while the files are being opened, before that is an error.
const TRIES_MAX: usize = 10;

/// What is put before the end of a line whose beginning is too far away.
const CUT_MARK: &[u8] = b"[cut: the end of a line of more than 16 MiB] ";

/// Where the reading of one label is.
#[derive(Debug)]
pub(super) struct Track {
    doors: Doors,
    place: Place,
    label: Arc<str>,
    /// The open file; `None`: there is none yet.
    file: Option<Source>,
    /// The stamp of the rotated file that is read, or, for the current file, of the last one before it.
    stamp: Option<String>,
    is_current: bool,
    form: Form,
    /// The time of lines that have none of their own.
    written: Wall,
    /// The same from the index, where there is one.
    moments: Option<Moments>,
    read: u64,
    /// How many bytes there were, over all files, when the reading began; `None`: it follows.
    left: Option<u64>,
    /// Read and not yet taken apart: `buffer[from..]`.
    buffer: Vec<u8>,
    from: usize,
    /// There was nothing at the last look.
    idle: bool,
    /// The last look found the same unended line.
    stale: bool,
    stamps: StampReader,
    next: Option<(Wall, Entry)>,
    /// What was passed over, and why.
    notes: Vec<String>,
    /// It begins within a line.
    is_cut: bool,
    /// Not before this moment, whatever the query says.
    pub(super) since: Option<Wall>,
    /// Lines that it does not want are passed over.
    pub(super) filter: Option<LineFilter>,
    /// Lines that it was asked about, and that the query wants.
    pub(super) looked: usize,
}

impl std::fmt::Debug for StampReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StampReader").finish_non_exhaustive()
    }
}

/// What comes at the end of a file.
enum Next {
    /// Nothing yet.
    None,
    /// Perhaps more of it: it was renamed meanwhile.
    SameFile,
    /// Another one, and the stamp that goes with it.
    File(Box<Look>, Option<String>),
}

impl Track {
    /// Finds where the query begins. Also answers whether a time filter has to go by whole files.
    pub(super) fn open(doors: Doors, place: &Place, query: &Query) -> io::Result<(Self, bool)> {
        for _ in 0..TRIES_MAX {
            let stamps = files::rotated_stamps(&place.dir, &place.label)?;
            let current = Look::at(doors, place, None)?;
            // Without a rotation in between, the current file is the one behind the last rotated one.
            if files::rotated_stamps(&place.dir, &place.label)?.last() == stamps.last() {
                return Self::begin(doors, place, query, &stamps, current);
            }
        }
        Err(io::Error::other("the log is rotated faster than it can be opened"))
    }

    fn begin(
        doors: Doors,
        place: &Place,
        query: &Query,
        stamps: &[String],
        current: Option<Look>,
    ) -> io::Result<(Self, bool)> {
        let (mut want, mut left, mut coarse, mut notes) = (query.last, 0, false, Vec::new());
        let mut current = current;
        let files = Files { doors, place, stamps, current: current.as_mut(), notes: &mut notes };
        let needed = order::needed(files, query)?;
        // The oldest file that is needed, as far as that is known, and where it is begun with.
        let (mut first, mut read, mut is_cut) = (None, 0, false);
        for number in needed.clone().rev() {
            let name = stamps.get(number);
            let next = match name {
                Some(stamp) => Look::or_note(doors, place, Some(stamp), &mut notes)?,
                None => current.take(),
            };
            if let Some(mut look) = next {
                let mut span = match look.span(query, left == 0) {
                    // A compressed file that is broken somewhere is read as far as it goes, and that is told.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => Span::whole(look.source.length()?),
                    span => span?,
                };
                if number > *needed.start() {
                    // What comes before it is read, and then all of it.
                    span.start = 0;
                }
                coarse |= span.coarse;
                left += span.end;
                read = span.start;
                let mut is_found = false;
                if let Some(rest) = want {
                    // Of lines without times the span is what is wanted.
                    let untimed = Query { since: None, until: None, ..*query };
                    let query = if look.form != Form::Raw || span.coarse { query } else { &untimed };
                    // `want` is above zero here but for a query of the last 0 lines.
                    let start = match rest {
                        0 => Found::All(span.end),
                        rest => {
                            let between = (span.start, span.end);
                            start_of_last(&mut look.source, between, look.form, look.written, query, rest)?
                        }
                    };
                    match start {
                        Found::All(offset) => (read, is_found) = (offset, true),
                        Found::Cut(offset) => (read, is_found, is_cut) = (offset, true, true),
                        Found::Fewer(found) => want = Some(rest - found),
                    }
                }
                first = Some((look, name.cloned()));
                if is_found {
                    break;
                }
            } else if want == Some(0) {
                break;
            }
        }
        let mut track = Track::empty(doors, place, stamps.last().cloned());
        if let Some((look, name)) = first {
            let stamp = name.or_else(|| stamps.last().cloned());
            track.go_on(look, stamp);
        }
        track.read = read;
        if let Some(file) = &mut track.file {
            file.seek(SeekFrom::Start(read))?;
        }
        track.left = Some(left - read);
        track.notes = notes;
        track.is_cut = is_cut;
        Ok((track, coarse))
    }

    fn empty(doors: Doors, place: &Place, stamp: Option<String>) -> Self {
        Track {
            doors,
            place: place.clone(),
            label: Arc::from(place.label.as_str()),
            file: None,
            stamp,
            is_current: true,
            form: Form::Raw,
            written: Wall::default(),
            moments: None,
            read: 0,
            left: None,
            buffer: Vec::new(),
            from: 0,
            idle: false,
            stale: false,
            stamps: StampReader::default(),
            next: None,
            notes: Vec::new(),
            is_cut: false,
            since: None,
            filter: None,
            looked: 0,
        }
    }

    /// Whether it reads these files.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.place == *place
    }

    /// What was passed over since this was asked last.
    pub(super) fn passed_over(&mut self) -> impl Iterator<Item = PassedOver> {
        let notes = std::mem::take(&mut self.notes).into_iter();
        notes.map(|why| PassedOver { label: self.label.clone(), why })
    }

    /// From here on there is no end.
    pub(super) fn follow(&mut self) {
        if self.left.take().is_some() {
            self.idle = false;
        }
    }

    /// There may be something by now.
    pub(super) fn look_again(&mut self) {
        if let Some(moments) = &mut self.moments {
            moments.look_again();
        }
        self.idle = false;
    }

    /// The time of the next wanted line.
    pub(super) fn peek(&mut self, query: &Query) -> io::Result<Option<Wall>> {
        while self.next.is_none() && !self.idle {
            match self.advance(query)? {
                Some((at, entry))
                    if is_wanted(query, entry.origin, at) && self.since.is_none_or(|since| at >= since) =>
                {
                    self.next = Some((at, entry));
                }
                Some(_) => {}
                None => self.idle = true,
            }
        }
        Ok(self.next.as_ref().map(|(at, _)| *at))
    }

    /// The next wanted line.
    pub(super) fn take(&mut self) -> Option<Entry> {
        self.next.take().map(|(_, entry)| entry)
    }

    /// The next line of any kind. `None`: nothing at the moment.
    fn advance(&mut self, query: &Query) -> io::Result<Option<(Wall, Entry)>> {
        loop {
            let waiting = &self.buffer[self.from..];
            let limit = entry_bytes_max(self.form);
            let (end, waiting) = (memchr::memchr(b'\n', waiting), waiting.len());
            match end {
                Some(length) if length <= limit && self.is_refused(length, query) => {
                    self.pass_by(length + 1);
                    continue;
                }
                Some(length) if length <= limit => return Ok(Some(self.cut(length, true))),
                // A piece of a long line is wanted or not as a line is.
                _ if waiting > limit && self.is_refused(limit, query) => {
                    self.pass_by(limit);
                    continue;
                }
                _ if waiting > limit => return Ok(Some(self.cut(limit, false))),
                _ => {}
            }
            if self.fill()? {
                self.stale = false;
                continue;
            }
            let is_over = self.left == Some(0);
            let unended = self.buffer.len() - self.from;
            let next = if is_over { Next::None } else { self.next_file()? };
            // What has no newline is given when its file has ended, and while following once it was seen
            // to stay. An entry with a timestamp always gets its newline; half of one is only early.
            let has_ended = is_over || matches!(next, Next::File(..)) || (self.stale && self.form == Form::Raw);
            let last = (unended > 0 && has_ended).then(|| self.cut(unended, false));
            match next {
                Next::File(look, stamp) => self.go_on(*look, stamp),
                Next::SameFile => continue,
                Next::None => self.stale = true,
            }
            if last.is_some() || self.stale {
                return Ok(last);
            }
        }
    }

    /// Leaves so many bytes out.
    fn pass_by(&mut self, bytes: usize) {
        self.from += bytes;
        self.is_cut = false;
    }

    /// Whether the filter does not want the line of this length.
    fn is_refused(&mut self, length: usize, query: &Query) -> bool {
        if self.filter.is_none() {
            return false;
        }
        let line = &self.buffer[self.from..self.from + length];
        let (at, origin) = head(line, self.form, &mut self.stamps);
        let counts_as = self.counts_as(at);
        self.looked += usize::from(is_wanted(query, origin, counts_as));
        let Some(filter) = &self.filter else { return false };
        let line = &self.buffer[self.from..self.from + length];
        match self.form {
            Form::Raw => !filter.wants(line, None),
            Form::Stamped => !filter.wants(parse(line, &mut self.stamps).map_or(line, |it| it.piece.text), None),
            Form::Json => {
                let entry = entry(self.label.clone(), line, self.form, &mut self.stamps);
                !filter.wants(&entry.text, entry.parts.and_then(|parts| parts.level))
            }
        }
    }

    /// When the line that begins at `from` counts as written; `at`: what it says itself.
    fn counts_as(&mut self, at: Option<Wall>) -> Wall {
        if let Some(at) = at {
            self.written = at;
        }
        if self.form == Form::Raw
            && let Some(moments) = &mut self.moments
            && let Some((at, is_last)) = moments.at(self.read - (self.buffer.len() - self.from) as u64)
        {
            // Behind the last mark there may be lines that no mark is about yet.
            return if is_last { at.max(self.written) } else { at };
        }
        self.written
    }

    /// Takes a line of this length from the buffer.
    fn cut(&mut self, length: usize, ended: bool) -> (Wall, Entry) {
        let line = &self.buffer[self.from..self.from + length];
        let mut entry = entry(self.label.clone(), line, self.form, &mut self.stamps);
        entry.ended &= ended;
        if std::mem::take(&mut self.is_cut) {
            entry.text.splice(0..0, CUT_MARK.iter().copied());
        }
        let counts_as = self.counts_as(entry.at);
        self.from += length + usize::from(ended);
        (counts_as, entry)
    }

    /// Reads a block. `false`: there is none at the moment.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let most = self.left.map_or(BLOCK_BYTES, |left| BLOCK_BYTES.min(usize::try_from(left).unwrap_or(BLOCK_BYTES)));
        self.buffer.drain(..self.from);
        self.from = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + most, 0);
        let result = read_up_to(file, &mut self.buffer[kept..]);
        self.buffer.truncate(kept + *result.as_ref().unwrap_or(&0));
        let count = match result {
            // A compressed file that is broken in the middle: on with the next one.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let rest = file.length()?.saturating_sub(self.read);
                self.left = self.left.map(|left| left.saturating_sub(rest));
                let file = self.stamp.iter().map(|stamp| files::rotated(&self.place.dir, &self.place.label, stamp));
                let file = file.map(|path| path.display().to_string()).next().unwrap_or_default();
                self.notes.push(format!("{file}, compressed, from byte {} of its text on: {error}", self.read));
                self.file = None;
                return Ok(false);
            }
            result => result?,
        };
        if count > 0 && self.read == 0 && kept == 0 {
            self.form = form_of(&self.buffer[..self.buffer.len().min(HEAD_BYTES)]);
        }
        self.read += count as u64;
        if let Some(left) = &mut self.left {
            *left -= count as u64;
        }
        if count > 0 && self.form == Form::Raw {
            self.written = if self.is_current && self.left.is_none() {
                Wall::from(SystemTime::now())
            } else {
                file.metadata()?.modified().map_or(self.written, Wall::from)
            };
        }
        Ok(count > 0)
    }

    /// What comes at the end of the open file.
    fn next_file(&mut self) -> io::Result<Next> {
        if self.is_current && !self.may_have_been_rotated()? {
            return Ok(Next::None);
        }
        let stamps = files::rotated_stamps(&self.place.dir, &self.place.label)?;
        let known = stamps.partition_point(|stamp| self.stamp.as_ref().is_some_and(|known| stamp <= known));
        let newer = &stamps[known..];
        if self.is_current
            && self.file.is_some()
            && let Some(next) = newer.first()
        {
            // The first newer one is the file that is open here, under its later name. It may have grown
            // before it got it.
            self.is_current = false;
            self.stamp = Some(next.clone());
            return Ok(Next::SameFile);
        }
        // What is no file, or was removed since, is passed over.
        for stamp in newer {
            if let Some(look) = Look::or_note(self.doors, &self.place, Some(stamp), &mut self.notes)? {
                return Ok(Next::File(Box::new(look), Some(stamp.clone())));
            }
        }
        Ok(match Look::at(self.doors, &self.place, None)? {
            Some(look) => Next::File(Box::new(look), stamps.last().cloned()),
            None => Next::None,
        })
    }

    fn go_on(&mut self, look: Look, stamp: Option<String>) {
        self.is_current = look.is_current;
        self.stamp = stamp;
        self.stale = false;
        (self.file, self.form, self.written, self.read) = (Some(look.source), look.form, look.written, 0);
        self.moments = look.moments;
    }

    /// Whether the file under the current name is another one than the open one, or an emptied one.
    fn may_have_been_rotated(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(true) };
        let own = file.metadata()?;
        if own.len() < self.read {
            file.seek(SeekFrom::Start(0))?;
            self.read = 0;
            return Ok(false);
        }
        is_another(&own, &files::current(&self.place.dir, &self.place.label))
    }
}

/// Whether the file under this name is another one than the open one, of which the system says this. An answer of yes
/// may be early: it grew between two looks.
pub(super) fn is_another(own: &std::fs::Metadata, path: &std::path::Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.len() != own.len() || named.created().ok() != own.created().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
