//! The way through the files of one label: from a rotated file to the next, and along the growing one.

use super::backward::start_of_last;
use super::entry::{Entry, entry, head, is_wanted};
use super::filter::LineFilter;
use super::{Place, Query};
use crate::doors::{Doors, Found};
use crate::files;
use crate::policy::Form;
use crate::stamp::{StampReader, Wall};
use crate::writer::{HEAD_BYTES, entry_bytes_max, form_of, parse, read_up_to};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// How often a rotation may happen while the files are being opened, before that is an error.
const TRIES_MAX: usize = 10;

/// Where the reading of one label is.
#[derive(Debug)]
pub(super) struct Track {
    doors: Doors,
    place: Place,
    label: Arc<str>,
    /// The open file; `None`: there is none yet.
    file: Option<File>,
    /// The stamp of the rotated file that is read, or, for the current file, of the last one before it.
    stamp: Option<String>,
    is_current: bool,
    form: Form,
    /// The time of lines that have none of their own.
    written: Wall,
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

/// A file on the way, opened to look at it.
struct Look {
    file: File,
    is_current: bool,
    form: Form,
    written: Wall,
}

impl Look {
    /// `None`: it is not there, or is no file.
    fn at(doors: Doors, place: &Place, stamp: Option<&str>) -> io::Result<Option<Self>> {
        let path = match stamp {
            Some(stamp) => files::rotated(&place.dir, &place.label, stamp),
            None => files::current(&place.dir, &place.label),
        };
        let mut file = match (doors.read)(&path) {
            Ok(Found::Plain(file)) => file,
            Ok(Found::Other(_)) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let mut beginning = [0; HEAD_BYTES];
        let filled = read_up_to(&mut file, &mut beginning)?;
        let form = form_of(&beginning[..filled]);
        file.seek(SeekFrom::Start(0))?;
        let written = metadata.modified().map_or(Wall::default(), Wall::from);
        Ok(Some(Look { file, is_current: stamp.is_none(), form, written }))
    }
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
        let timed = query.since.is_some() || query.until.is_some();
        let (mut want, mut left, mut coarse) = (query.last, 0, false);
        let mut track = Track::at(doors, place, current, stamps.last().cloned(), true);
        let mut older = stamps.iter().rev();
        loop {
            if let Some(file) = &mut track.file {
                let length = file.metadata()?.len();
                coarse |= timed && track.form == Form::Raw && length > 0;
                left += length;
                if let Some(rest) = want {
                    // `want` is above zero here but for a query of the last 0 lines.
                    let start = match rest {
                        0 => Ok(length),
                        rest => start_of_last(file, length, track.form, track.written, query, rest)?,
                    };
                    match start {
                        Ok(offset) => {
                            track.read = offset;
                            left -= offset;
                            break;
                        }
                        Err(found) => want = Some(rest - found),
                    }
                }
                file.seek(SeekFrom::Start(0))?;
            } else if want == Some(0) {
                break;
            }
            // A rotated file has nothing that is later than its last write.
            let Some(stamp) = older.next() else { break };
            let Some(look) = Look::at(doors, place, Some(stamp))? else { continue };
            if query.since.is_some_and(|since| look.written < since) {
                break;
            }
            track = Track::at(doors, place, Some(look), Some(stamp.clone()), false);
        }
        if let Some(file) = &mut track.file {
            file.seek(SeekFrom::Start(track.read))?;
        }
        track.left = Some(left);
        Ok((track, coarse))
    }

    fn at(doors: Doors, place: &Place, look: Option<Look>, stamp: Option<String>, is_current: bool) -> Self {
        let (form, written) = look.as_ref().map_or((Form::Raw, Wall::default()), |look| (look.form, look.written));
        Track {
            doors,
            place: place.clone(),
            label: Arc::from(place.label.as_str()),
            file: look.map(|look| look.file),
            stamp,
            is_current,
            form,
            written,
            read: 0,
            left: None,
            buffer: Vec::new(),
            from: 0,
            idle: false,
            stale: false,
            stamps: StampReader::default(),
            next: None,
            filter: None,
            looked: 0,
        }
    }

    /// From here on there is no end.
    pub(super) fn follow(&mut self) {
        if self.left.take().is_some() {
            self.idle = false;
        }
    }

    /// There may be something by now.
    pub(super) fn look_again(&mut self) {
        self.idle = false;
    }

    /// The time of the next wanted line.
    pub(super) fn peek(&mut self, query: &Query) -> io::Result<Option<Wall>> {
        while self.next.is_none() && !self.idle {
            match self.advance(query)? {
                Some((at, entry)) if is_wanted(query, entry.origin, at) => self.next = Some((at, entry)),
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
                    self.from += length + 1;
                    continue;
                }
                Some(length) if length <= limit => return Ok(Some(self.cut(length, true))),
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

    /// Whether the filter does not want the line of this length.
    fn is_refused(&mut self, length: usize, query: &Query) -> bool {
        let Some(filter) = &self.filter else { return false };
        let line = &self.buffer[self.from..self.from + length];
        let (at, origin) = head(line, self.form, &mut self.stamps);
        self.written = at.unwrap_or(self.written);
        self.looked += usize::from(is_wanted(query, origin, self.written));
        match self.form {
            Form::Raw => !filter.wants(line, None),
            Form::Stamped => !filter.wants(parse(line, &mut self.stamps).map_or(line, |it| it.piece.text), None),
            Form::Json => {
                let entry = entry(self.label.clone(), line, self.form, &mut self.stamps);
                !filter.wants(&entry.text, entry.parts.and_then(|parts| parts.level))
            }
        }
    }

    /// Takes a line of this length from the buffer.
    fn cut(&mut self, length: usize, ended: bool) -> (Wall, Entry) {
        let line = &self.buffer[self.from..self.from + length];
        let mut entry = entry(self.label.clone(), line, self.form, &mut self.stamps);
        entry.ended &= ended;
        self.written = entry.at.unwrap_or(self.written);
        self.from += length + usize::from(ended);
        (self.written, entry)
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
        let count = result?;
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
            if let Some(look) = Look::at(self.doors, &self.place, Some(stamp))? {
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
        (self.file, self.form, self.written, self.read) = (Some(look.file), look.form, look.written, 0);
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
