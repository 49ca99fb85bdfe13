//! Files back to lines: across rotation, in order, with filters, and followed as they grow.
//!
//! Called by `tutela logs` and by the API; no guard needs to be running. A [`LogReader`] begins where its
//! [`Query`] says and gives one [`Entry`] after the other, of several labels in the order of time. As an
//! iterator it ends where the files ended when it was made; [`LogReader::next_entry`] goes on and waits.
//!
//! # Time in files without timestamps
//!
//! Their lines have no time of their own. The index of the file says when they were written, to about a second. Where
//! there is none they count as written when their file was written last, so time filters take or leave whole files
//! there, and [`LogReader::time_is_coarse`] says that this happened.
//!
//! # Limits
//!
//! What has the name of a log file and is none is passed over; so is a compressed file that is broken, which
//! [`LogReader::passed_over`] tells.
//! Memory: one block and one long line per label, whatever the size of the files, and of a compressed one a frame. Files
//! that are removed by retention before they were reached are missing, without a note. When several labels grow at once,
//! a line that reaches its file late comes after later ones of other labels. A query of the last lines goes back no
//! further than a line of more than 16 MiB, of which it shows the end with a mark.
//!
//! Deliberately absent: patterns (a caller brings a [`LineFilter`]).

mod backward;
mod entry;
mod filter;
mod look;
mod moments;
mod order;
#[cfg(test)]
mod order_tests;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod track;
pub mod trail;

pub use entry::{Entry, Origin};
pub use filter::LineFilter;

use crate::doors::Doors;
use crate::policy::Stream;
use crate::stamp::Wall;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use track::Track;

/// How often a followed file is looked at. People do not see the difference to at once, and five looks a
/// second at a file's size cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which files: those of `label` in `dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub dir: PathBuf,
    /// The label.
    pub label: String,
}

/// How many lines are looked at first for each one that is wanted, where a filter decides; and by how much more each
/// further look goes back. Together the looks cost little more than the last one.
const BACK_FACTOR: usize = 16;

/// Which lines. The default: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query {
    /// Not before this moment.
    pub since: Option<Wall>,
    /// Before this moment.
    pub until: Option<Wall>,
    /// Of this stream only. Files without timestamps do not know it; theirs are left out then.
    pub stream: Option<Stream>,
    /// Of those, the last so many. What comes while following is not counted.
    pub last: Option<usize>,
}

/// What could not be read, and is missing among the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Whose.
    pub label: Arc<str>,
    /// Which file, and why.
    pub why: String,
}

/// Reads the files of one label or of several.
#[derive(Debug)]
pub struct LogReader {
    tracks: Vec<Track>,
    query: Query,
    /// The last lines of several labels, already in order.
    ready: VecDeque<Entry>,
    coarse: bool,
    filter: Option<LineFilter>,
}

/// The last `n` lines of a label.
///
/// # Errors
/// The folder or a file cannot be read. Files that are not there are no error: there are no lines then.
pub fn tail(doors: Doors, dir: &Path, label: &str, n: usize) -> io::Result<LogReader> {
    LogReader::open(doors, &[place(dir, label)], Query { last: Some(n), ..Query::default() })
}

/// The lines of a label from a moment on.
///
/// # Errors
/// As [`tail`].
pub fn since(doors: Doors, dir: &Path, label: &str, moment: Wall) -> io::Result<LogReader> {
    LogReader::open(doors, &[place(dir, label)], Query { since: Some(moment), ..Query::default() })
}

fn place(dir: &Path, label: &str) -> Place {
    Place { dir: dir.to_owned(), label: label.to_owned() }
}

impl LogReader {
    /// Finds where to begin. It reads files, so it may wait for a disk.
    ///
    /// # Errors
    /// As [`tail`].
    pub fn open(doors: Doors, places: &[Place], query: Query) -> io::Result<Self> {
        let mut reader = LogReader { tracks: Vec::new(), query, ready: VecDeque::new(), coarse: false, filter: None };
        for place in places {
            let (track, coarse) = Track::open(doors, place, &query)?;
            reader.coarse |= coarse;
            reader.tracks.push(track);
        }
        if let (Some(last), 2..) = (query.last, reader.tracks.len()) {
            // Each label has its last lines; of all of them only the last are wanted.
            let mut kept = VecDeque::new();
            while let Some(entry) = reader.pull()? {
                kept.push_back(entry);
                if kept.len() > last {
                    kept.pop_front();
                }
            }
            reader.ready = kept;
        }
        Ok(reader)
    }

    /// The same of lines that a filter wants; the query's `last` counts only these.
    ///
    /// # Errors
    /// As [`tail`].
    pub fn open_filtered(doors: Doors, places: &[Place], query: Query, filter: LineFilter) -> io::Result<Self> {
        let mut reader = LogReader {
            tracks: Vec::new(),
            query,
            ready: VecDeque::new(),
            coarse: false,
            filter: Some(filter.clone()),
        };
        let mut kept = Vec::new();
        for place in places {
            let mut back = query.last.map(|last| last.saturating_mul(BACK_FACTOR));
            let (mut track, coarse) = loop {
                let (mut track, coarse) = Track::open(doors, place, &Query { last: back, ..query })?;
                track.filter = Some(filter.clone());
                let Some(last) = query.last else { break (track, coarse) };
                let mut found = VecDeque::new();
                while let Some(at) = track.peek(&query)? {
                    found.extend(track.take().map(|entry| (at, entry)));
                    if found.len() > last {
                        found.pop_front();
                    }
                }
                // Looked at less than was asked for: there is no more.
                if found.len() == last || back.is_none_or(|back| track.looked < back) {
                    kept.extend(found);
                    break (track, coarse);
                }
                back = back.map(|back| back.saturating_mul(BACK_FACTOR));
            };
            track.looked = 0;
            reader.coarse |= coarse;
            reader.tracks.push(track);
        }
        // Stable: what is of one label stays in its order.
        kept.sort_by_key(|(at, _)| *at);
        let skip = query.last.map_or(0, |last| kept.len().saturating_sub(last));
        reader.ready = kept.into_iter().skip(skip).map(|(_, entry)| entry).collect();
        Ok(reader)
    }

    /// Reads these files too from here on, but for lines that were written before `since`. Those that are read already
    /// stay as they are.
    ///
    /// # Errors
    /// As [`tail`].
    pub fn follow_too(&mut self, doors: Doors, place: &Place, since: Wall) -> io::Result<()> {
        if self.tracks.iter().any(|track| track.is_of(place)) {
            return Ok(());
        }
        let since = Some(self.query.since.map_or(since, |earliest| earliest.max(since)));
        let (mut track, coarse) = Track::open(doors, place, &Query { since, last: None, ..self.query })?;
        track.filter = self.filter.clone();
        track.since = since;
        self.coarse |= coarse;
        self.tracks.push(track);
        Ok(())
    }

    /// Whether a time filter had to take or leave whole files.
    pub fn time_is_coarse(&self) -> bool {
        self.coarse
    }

    /// The files that could not be read since this was asked last, and why.
    pub fn passed_over(&mut self) -> Vec<PassedOver> {
        self.tracks.iter_mut().flat_map(Track::passed_over).collect()
    }

    /// The next line, waiting for it where there is none. To drop the future loses nothing.
    ///
    /// # Errors
    /// A file cannot be read. It can be called again.
    pub async fn next_entry(&mut self) -> io::Result<Entry> {
        loop {
            if let Some(entry) = self.next_now()? {
                return Ok(entry);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The next line if there is one by now, also behind the end that the files had at first. After `None`
    /// the files are looked at again, so whoever loops over this waits in between.
    ///
    /// # Errors
    /// As [`LogReader::next_entry`].
    pub fn next_now(&mut self) -> io::Result<Option<Entry>> {
        for track in &mut self.tracks {
            track.follow();
        }
        let next = match self.ready.pop_front() {
            Some(entry) => Some(entry),
            None => self.pull()?,
        };
        if next.is_none() {
            for track in &mut self.tracks {
                track.look_again();
            }
        }
        Ok(next)
    }

    /// The earliest of what the labels have.
    fn pull(&mut self) -> io::Result<Option<Entry>> {
        let mut first: Option<(Wall, usize)> = None;
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if let Some(at) = track.peek(&self.query)?
                && first.is_none_or(|(earliest, _)| at < earliest)
            {
                first = Some((at, index));
            }
        }
        Ok(first.and_then(|(_, index)| self.tracks[index].take()))
    }
}

/// Ends where the files ended when the reader was opened.
impl Iterator for LogReader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        match self.ready.pop_front() {
            Some(entry) => Some(Ok(entry)),
            None => self.pull().transpose(),
        }
    }
}
