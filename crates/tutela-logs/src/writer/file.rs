//! The one open file of a writer: opened, rotated, pruned.

use super::Now;
use super::beginning::Beginning;
use super::entry::{HEAD_BYTES, form_of};
use crate::count::Counted;
use crate::doors::{Doors, Found};
use crate::files;
use crate::index::pen::Pen;
use crate::policy::{Access, Form, Policy};
use crate::stamp::{StampReader, Stamper, Wall};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a file in use is looked for under its name. Somebody may have removed or emptied it; until
/// that is noticed bytes go where nobody finds them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wait after a rotation that did not work. Meanwhile the file grows; nothing is lost.
const ROTATE_RETRY: Duration = Duration::from_secs(1);

/// A file to write to, and what went wrong beside it without standing in its way.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) blemish: Option<Blemish>,
}

/// Something beside the writing that did not go well. No byte is lost by it.
#[derive(Debug)]
pub(super) struct Blemish {
    /// Of one cause there is one word, whatever the text.
    pub(super) cause: &'static str,
    pub(super) text: String,
}

impl Blemish {
    fn rotation(path: &Path, error: &io::Error) -> Self {
        Blemish { cause: "rotation", text: format!("failed to rotate {}: {error}", path.display()) }
    }
}

/// The file being written.
pub(super) struct OpenFile {
    file: File,
    pub(super) size: u64,
    /// Whether the next byte begins a line.
    pub(super) at_line_start: bool,
    /// Its index; `None` only until the file is ready.
    pub(super) index: Option<Pen>,
    born: Wall,
    look_at: Instant,
    rotate_not_before: Option<Instant>,
    /// What tells it from other files, once somebody asked.
    identity: Option<(u64, u64)>,
    /// Its place among the files that are open; `None` only until its writer has it.
    pub(super) counted: Option<Counted>,
}

impl OpenFile {
    /// Opens the current file and looks at what is in it: one that is written in the other form is rotated
    /// away, an entry that was cut off by a power cut gets an end. `rest` is what was known when it was closed; it is taken
    /// once there is a file.
    pub(super) fn open(
        policy: &Policy,
        label: &str,
        doors: Doors,
        now: Now,
        rest: &mut Option<Rest>,
    ) -> io::Result<Opened> {
        let Opened { file: mut open, blemish } = Self::append(policy, label, doors, now)?;
        let beginning = Beginning { policy, label, doors, now };
        if open.size == 0 {
            open.index = Some(beginning.of_empty(rest.take()));
            return Ok(Opened { file: open, blemish });
        }
        let mut head = [0; HEAD_BYTES];
        open.file.seek(SeekFrom::Start(0))?;
        let length = read_up_to(&mut open.file, &mut head)?;
        let form = form_of(&head[..length]);
        let mut last = [b'\n'];
        open.file.seek(SeekFrom::End(-1))?;
        read_up_to(&mut open.file, &mut last)?;
        open.at_line_start = last == *b"\n";
        let (index, begun) = beginning.of_filled(&mut open.file, open.size, &head[..length], rest.take())?;
        let is_hopeless = !index.exact;
        open.index = Some(index);
        open.born = begun.unwrap_or(open.born);
        // Where too much would have to be counted, the next file begins to count.
        if form != policy.form || is_hopeless {
            return open.rotate(policy, label, doors, now, rest);
        }
        if form != Form::Raw && !open.at_line_start {
            open.write(b"\n").1?;
            open.wrote(1);
        }
        Ok(Opened { file: open, blemish })
    }

    /// Opens the file under the current name. What is there and is no file is put aside once: it is not written to,
    /// and not deleted, because it is not ours.
    fn append(policy: &Policy, label: &str, doors: Doors, now: Now) -> io::Result<Opened> {
        let path = files::current(&policy.dir, label);
        let found = match (doors.append)(&path, policy.access) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (doors.folder)(&policy.dir, policy.access)?;
                (doors.append)(&path, policy.access)?
            }
            other => other?,
        };
        let what = match found {
            Found::Plain(file) => {
                let file = Self::adopt(file, now)?;
                let blemish = file.give(policy, &path, doors);
                return Ok(Opened { file, blemish });
            }
            Found::Other(what) => what,
        };
        let aside = files::aside(&policy.dir, label, &Stamper::default().name(now.wall));
        (doors.rename)(&path, &aside)
            .map_err(|error| io::Error::other(format!("it is {what}, and cannot be put aside: {error}")))?;
        let file = match (doors.append)(&path, policy.access)? {
            Found::Plain(file) => Self::adopt(file, now)?,
            Found::Other(what) => return Err(io::Error::other(format!("it is {what} again"))),
        };
        let text = format!(
            "{} was {what}, to which nothing is written; it is {} now, and there is a new file in its place",
            path.display(),
            aside.display()
        );
        // What is wrong with its mode too is told when the next file is begun.
        drop(file.give(policy, &path, doors));
        Ok(Opened { file, blemish: Some(Blemish { cause: what, text }) })
    }

    /// Gives an empty file its mode and owners. One that cannot be given is written all the same: readable by the wrong
    /// account is worse told than lost.
    fn give(&self, policy: &Policy, path: &Path, doors: Doors) -> Option<Blemish> {
        if self.size > 0 || policy.access == Access::default() {
            return None;
        }
        let error = (doors.give)(&self.file, policy.access).err()?;
        let text = format!("failed to give {} its mode and owner: {error}", path.display());
        Some(Blemish { cause: "access", text })
    }

    fn adopt(file: File, now: Now) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let size = metadata.len();
        // A file system without birth times answers with the last write: the file seems younger.
        let born = if size == 0 {
            now.wall
        } else {
            metadata.created().or_else(|_| metadata.modified()).map_or(now.wall, Wall::from)
        };
        let look_at = now.tick + LOOK_EVERY;
        Ok(OpenFile {
            file,
            size,
            at_line_start: true,
            index: None,
            born,
            look_at,
            rotate_not_before: None,
            identity: None,
            counted: None,
        })
    }

    /// Whether it has to be rotated before the next byte. Only at the start of a line, but for a line that
    /// does not end: `overrun` bytes behind the limit are enough. `asked`: somebody wants it.
    pub(super) fn is_due(&self, policy: &Policy, now: Now, overrun: u64, asked: bool) -> bool {
        if self.size == 0 || self.rotate_not_before.is_some_and(|moment| now.tick < moment) {
            return false;
        }
        let large = policy.rotate_size.is_some_and(|limit| {
            self.size >= limit && (self.at_line_start || self.size >= limit.saturating_add(overrun))
        });
        let old = policy.rotate_every.is_some_and(|limit| self.at_line_start && now.wall.since(self.born) >= limit);
        large || old || (asked && self.at_line_start)
    }

    /// Renames it after this moment, removes the oldest beyond what is kept, and opens the next one. Where
    /// the renaming does not work the same file is gone on with, to be tried again later: a file that is
    /// too long, or of two forms, is better than a byte lost. Where nothing can be opened, `rest` is what is known.
    pub(super) fn rotate(
        mut self,
        policy: &Policy,
        label: &str,
        doors: Doors,
        now: Now,
        rest: &mut Option<Rest>,
    ) -> io::Result<Opened> {
        let (at_line_start, size) = (self.at_line_start, self.size);
        let mut index = self.index.take();
        if let Some(index) = &mut index {
            // Refused by a full disk, most likely; the file itself tells the same with more effort.
            let _ = index.end(size, now);
        }
        // Closed first: some systems do not rename an open file.
        drop(self);
        let renamed = rename_after(policy, label, doors, now.wall);
        let pruned = if renamed.is_ok() { prune(policy, label, doors) } else { None };
        let opened = match Self::append(policy, label, doors, now) {
            Ok(opened) => opened,
            Err(error) => {
                *rest = index.map(|index| Rest { index, size });
                return Err(error);
            }
        };
        match renamed {
            Ok(stamp) => {
                let Opened { mut file, blemish } = opened;
                let beginning = Beginning { policy, label, doors, now };
                file.index = Some(beginning.after(index.as_ref(), stamp));
                Ok(Opened { file, blemish: blemish.or(pruned) })
            }
            Err(error) => {
                let Opened { mut file, blemish } = opened;
                file.index = index;
                file.at_line_start = at_line_start || file.size == 0;
                file.rotate_not_before = Some(now.tick + ROTATE_RETRY);
                let failed = Blemish::rotation(&files::current(&policy.dir, label), &error);
                Ok(Opened { file, blemish: blemish.or(Some(failed)) })
            }
        }
    }

    /// Whether the file is still the one under its name; asked at most every [`LOOK_EVERY`].
    pub(super) fn is_lost(&mut self, policy: &Policy, label: &str, now: Now) -> bool {
        if now.tick < self.look_at {
            return false;
        }
        self.look_at = now.tick + LOOK_EVERY;
        // We alone write to it and know its size: another size is another file, or an emptied one.
        match std::fs::symlink_metadata(files::current(&policy.dir, label)) {
            Ok(metadata) => !metadata.is_file() || metadata.len() != self.size,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// What tells it from every other file; zeros, which none has, where that cannot be told.
    pub(super) fn identity(&mut self, doors: Doors) -> (u64, u64) {
        *self.identity.get_or_insert_with(|| (doors.identity)(&self.file).unwrap_or_default())
    }

    /// Writes as much of `bytes` as it can: how much, and why not all.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        #[cfg(test)]
        crate::tray::tests::moment_within_a_write(&mut self.file, bytes);
        let mut written = 0;
        let result = loop {
            if written == bytes.len() {
                break Ok(());
            }
            match self.file.write(&bytes[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written > 0 {
            self.size += written as u64;
            self.at_line_start = bytes[written - 1] == b'\n';
        }
        (written, result)
    }

    /// Something with moments in this span is about to be written.
    pub(super) fn mark(&mut self, span: (Wall, Wall), now: Now) -> io::Result<()> {
        match &mut self.index {
            Some(index) => index.mark(self.size, span, now),
            None => Ok(()),
        }
    }

    /// So many lines more are in the file.
    pub(super) fn wrote(&mut self, lines: u64) {
        if let Some(index) = &mut self.index {
            index.lines += lines;
        }
    }

    /// What is to be remembered while the file is closed.
    pub(super) fn put_away(mut self) -> Option<Rest> {
        let mut index = self.index.take()?;
        // Another try comes with the next mark.
        let _ = index.flush();
        Some(Rest { index, size: self.size })
    }

    /// Takes back the last `count` bytes. Where that fails they stay, as half an entry.
    pub(super) fn take_back(&mut self, count: usize) {
        let size = self.size - count as u64;
        if count > 0 && self.file.set_len(size).is_ok() {
            self.size = size;
            self.at_line_start = true;
        }
    }
}

/// What is known of a file that was closed, for when it is opened again.
pub(super) struct Rest {
    pub(super) index: Pen,
    pub(super) size: u64,
}

/// Gives the current file and its index the name of a moment: this one, but behind every rotated file that exists, even
/// when the clock was set back. Answers that moment. A name that is taken is taken from nobody.
fn rename_after(policy: &Policy, label: &str, doors: Doors, at: Wall) -> io::Result<Wall> {
    let mut stamper = Stamper::default();
    let (mut stamp, mut moment) = (stamper.name(at), at);
    if let Some(last) = files::rotated_names(&policy.dir, label)?.pop().map(|name| name.stamp)
        && last >= stamp
    {
        let micros = moment_of(&last).unwrap_or(at).as_micros();
        moment = Wall::from_micros(micros + 1);
        stamp = stamper.name(moment);
    }
    let (from, to) = (files::current(&policy.dir, label), files::rotated(&policy.dir, label, &stamp));
    if files::is_taken(&to) {
        let text = format!("there is {} already, and no later moment to name it after", to.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match (doors.rename)(&from, &to) {
        // An index that cannot follow its file is begun anew, and the file is read without.
        Ok(()) => drop((doors.rename)(&files::index_of(&from), &files::index_of(&to))),
        // Somebody removed it: there is nothing to rotate.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(moment)
}

/// The moment in the name of a rotated file.
pub(crate) fn moment_of(name: &str) -> Option<Wall> {
    let digits = |from: usize, to: usize| name.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}",
        digits(0, 4)?,
        digits(4, 6)?,
        digits(6, 8)?,
        digits(9, 11)?,
        digits(11, 13)?,
        digits(13, 23)?
    );
    StampReader::default().read(text.as_bytes())
}

/// Removes the oldest rotated files beyond what is kept. What is no file, or cannot be removed, stays and keeps no other
/// one; the first of these is told.
pub(super) fn prune(policy: &Policy, label: &str, doors: Doors) -> Option<Blemish> {
    let names = match files::rotated_names(&policy.dir, label) {
        Ok(names) => names,
        Err(error) => return Some(Blemish::rotation(&files::current(&policy.dir, label), &error)),
    };
    let (plain, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.plain);
    let path = |stamp: &str| files::rotated(&policy.dir, label, stamp);
    let mut first = None;
    let keep = usize::try_from(policy.keep).unwrap_or(usize::MAX);
    for name in &plain[..plain.len().saturating_sub(keep)] {
        let path = path(&name.stamp);
        if let Err(error) = files::remove(doors, &path) {
            let text = format!("failed to remove the old log file {}: {error}", path.display());
            first.get_or_insert(Blemish { cause: "removal", text });
        }
    }
    if let Some(name) = others.first() {
        let path = path(&name.stamp);
        let text = format!(
            "{} has the name of an old log file and is none; it is passed over and stays until somebody removes it",
            path.display()
        );
        first.get_or_insert(Blemish { cause: "no file", text });
    }
    first
}

/// Fills `buffer` from the file as far as the file goes.
pub(crate) fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
