//! The thread that writes entries.
//!
//! Entries are written in the order in which they were put in, made sure of (`fdatasync`), and then the head is
//! replaced: so the head never names what a power cut could take back. What a crash leaves behind the last whole entry
//! is never cut off and never written over; the next entry says how much it is and goes on behind it. So a file may be
//! set to be appended to only, by `chattr +a`.
//!
//! A disk that takes nothing is told, tried again every [`RETRY`], and waited for by nobody: commands are carried out all
//! the same, as a full disk must not keep operators from stopping things. Entries wait; past [`WAITING_MAX`] and
//! [`QUEUE_MAX`] they are lost, counted, and the next entry that is written says how many.

use super::auditor::{Draft, Figures, Operation, Unsaid};
use super::chain::{Hash, LINE_BYTES_MAX, Link, RECOVER, RETENTION, seal};
use super::shelf::{self, Volume};
use super::verify::Head;
use crate::conductor::wall_now;
use crate::hands::queue::Receiver;
use crate::hands::spawner::chain as words;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tutela_os::accounts;
use tutela_os::files::{self, Plain};
use tutela_schema::audit::{AuditEntry, AuditPeer, AuditResult, Removed, Surface, Unfinished};

/// Entries that may wait in the thread while the disk takes none.
const WAITING_MAX: usize = 4096;

/// How often a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether files are old enough to go, if no command comes.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// A file this long is followed by another one of the same day: it is read whole when a guard starts.
const VOLUME_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that are written at once.
const WRITE_BYTES_MAX: usize = 8 * LINE_BYTES_MAX;

/// Commands whose outcome is awaited and whose entry is remembered for it; as many as senders that may wait, and those
/// that went away.
const OPEN_MAX: usize = 4096;

/// The file that is written to, and what the next entry follows.
struct Shelf {
    last: Link,
    volume: Option<Open>,
    /// The last line of the file has no end, so the next line begins with one.
    needs_end: bool,
}

struct Open {
    volume: Volume,
    file: File,
    bytes: u64,
    /// Its name may not be on the disk yet.
    fresh: bool,
}

impl Open {
    /// Whether the name still is this file's, and the file as we left it. Two calls to the system.
    fn is_in_place(&self) -> bool {
        let (Ok(own), Ok(named)) = (self.file.metadata(), std::fs::symlink_metadata(&self.volume.path)) else {
            return false;
        };
        named.is_file() && named.len() == own.len() && named.created().ok() == own.created().ok()
    }
}

/// See the module's text.
pub(super) struct Keeper {
    guard: String,
    state_dir: PathBuf,
    keep_for: Duration,
    tell: Box<dyn Fn(String) + Send>,
    inbox: Receiver<Operation>,
    figures: Arc<Figures>,
    unsaid: Arc<Unsaid>,
    waiting: VecDeque<Draft>,
    /// What the last try that failed may have written all the same.
    in_flight: Vec<Link>,
    /// The entries of commands that are not over.
    open: BTreeMap<u64, u64>,
    /// `None`: the files have to be looked at first.
    shelf: Option<Shelf>,
    /// The head is older than the last entry.
    head_due: bool,
    prune_due: bool,
    /// Files that an entry that waits says are removed.
    condemned: Vec<Volume>,
}

impl Keeper {
    pub(super) fn new(
        guard: &str,
        state_dir: PathBuf,
        keep_for: Duration,
        tell: Box<dyn Fn(String) + Send>,
        inbox: Receiver<Operation>,
        figures: Arc<Figures>,
        unsaid: Arc<Unsaid>,
    ) -> Keeper {
        Keeper {
            guard: guard.to_owned(),
            state_dir,
            keep_for,
            tell,
            inbox,
            figures,
            unsaid,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            open: BTreeMap::new(),
            shelf: None,
            head_due: false,
            prune_due: true,
            condemned: Vec::new(),
        }
    }

    /// Until the queue's other end is gone, or says so.
    pub(super) fn work(mut self) {
        let mut ending = false;
        let mut failing = self.attempt();
        while !ending {
            let rest = if failing { RETRY } else { PRUNE_EVERY };
            let first = match self.waiting.len() < WAITING_MAX {
                true => self.inbox.pop_until(Instant::now() + rest),
                // What is in the queue stays there, and what does not fit into it is counted.
                false => {
                    std::thread::sleep(RETRY);
                    None
                }
            };
            let mut flushes = Vec::new();
            let mut next = first;
            if next.is_none() {
                self.prune_due |= !failing;
                ending = self.inbox.is_closed();
            }
            while let Some(operation) = next.take() {
                match operation {
                    Operation::Entry(draft) => self.waiting.push_back(*draft),
                    Operation::Flush(done) => flushes.push(done),
                    Operation::KeepFor(span) => (self.keep_for, self.prune_due) = (span, true),
                    Operation::End => {
                        ending = true;
                        break;
                    }
                }
                if self.waiting.len() < WAITING_MAX {
                    next = self.inbox.pop_until(Instant::now());
                }
            }
            failing = self.attempt();
            if !failing {
                // Those of a disk that refuses are dropped, which answers them too.
                for done in flushes {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Writes what waits. Answers whether that failed; people are told once when it begins and once when it is over.
    fn attempt(&mut self) -> bool {
        let result = self.write_all();
        let failing = result.is_err();
        let was = self.figures.failing.swap(failing, Ordering::Relaxed);
        match (&result, was) {
            (Err(error), false) => (self.tell)(format!(
                "the audit record cannot be written: {error}; commands are carried out all the same, and it is tried again"
            )),
            (Ok(()), true) => {
                let lost = match self.figures.lost.load(Ordering::Relaxed) {
                    0 => "nothing of it is lost".to_owned(),
                    lost => format!("{lost} entries are lost"),
                };
                (self.tell)(format!("the audit record is written again; {lost}"));
            }
            (Ok(()), false) | (Err(_), true) => {}
        }
        *self.figures.last_error.lock().unwrap_or_else(PoisonError::into_inner) = result.err().unwrap_or_default();
        failing
    }

    fn write_all(&mut self) -> Result<(), String> {
        let written = self.write_waiting();
        if written.is_err() {
            // What is in the file nobody knows until it is looked at.
            self.shelf = None;
        }
        written
    }

    fn write_waiting(&mut self) -> Result<(), String> {
        // What is appended to a file that was removed is read by nobody.
        if self.shelf.as_ref().is_some_and(|shelf| shelf.volume.as_ref().is_some_and(|open| !open.is_in_place())) {
            self.shelf = None;
        }
        if self.shelf.is_none() {
            let shelf = self.look()?;
            self.shelf = Some(shelf);
        }
        if self.head_due {
            let last = self.shelf.as_ref().map_or(Link::NONE, |shelf| shelf.last);
            self.confirm(last)?;
        }
        loop {
            while !self.waiting.is_empty() {
                self.write_some()?;
            }
            if !std::mem::take(&mut self.prune_due) {
                return Ok(());
            }
            self.condemn()?;
        }
    }

    /// Finds out how far the chain goes. Makes folder and head of a new one.
    fn look(&mut self) -> Result<Shelf, String> {
        let failed = |what: &Path, error: io::Error| format!("failed to read {}: {error}", what.display());
        let folder = self.state_dir.join(shelf::FOLDER);
        files::make_private_dir(&folder).map_err(|error| words(&error))?;
        let volumes = shelf::volumes(&self.state_dir).map_err(|error| failed(&folder, error))?;
        let head =
            shelf::read_head(&self.state_dir).map_err(|error| failed(&self.state_dir.join(shelf::HEAD), error))?;
        let mut last = Link::NONE;
        let mut end = shelf::Tail { ended: true, ..shelf::Tail::default() };
        // A file without a whole entry is what a crash right after its making left.
        for (at, volume) in volumes.iter().rev().enumerate() {
            let tail = shelf::tail_of(&volume.path).map_err(|error| failed(&volume.path, error))?;
            let found = tail.last.as_ref().map(|sealed| sealed.link);
            if at == 0 {
                end = tail;
            }
            if let Some(link) = found {
                last = link;
                break;
            }
        }
        let volume = volumes.last().map(|volume| open_volume(volume.clone())).transpose()?;
        if volumes.is_empty() && head == Head::None {
            shelf::write_head(&self.state_dir, Link::NONE)?;
            return Ok(Shelf { last, volume, needs_end: false });
        }
        self.settle_in_flight(last);
        let left = end.bytes - end.whole;
        let (follows, recovery) = self.recovery(last, &head, left, !end.ended);
        self.waiting.extend_front_one(recovery);
        Ok(Shelf { last: follows, volume, needs_end: !end.ended })
    }

    /// Entries of a try that failed are not written again when they are there.
    fn settle_in_flight(&mut self, last: Link) {
        let flight = std::mem::take(&mut self.in_flight);
        if let Some(at) = flight.iter().position(|link| *link == last) {
            for link in flight.iter().take(at + 1) {
                let Some(draft) = self.waiting.pop_front() else { break };
                self.remember(&draft, *link);
            }
            self.head_due = true;
        }
    }

    /// What the next entry follows, and the entry that says what was found, where it is not what was left.
    fn recovery(&self, last: Link, head: &Head, left: u64, unended: bool) -> (Link, Option<Draft>) {
        let recover = |result, message: &str| {
            AuditEntry::new(wall_now(), Surface::Guard, RECOVER, &self.guard, result).saying(message)
        };
        let broken = |message: &str| Some(Draft::of(recover(AuditResult::Failed, message)));
        match head {
            Head::At(head) if head.seq > last.seq => {
                let message =
                    format!("not all of the entries {} to {} are as they were written", last.seq + 1, head.seq);
                (self.tell)(format!("the audit record was changed: {message}; `tutela audit verify` says more"));
                (*head, broken(&message))
            }
            Head::At(head) if head.seq == last.seq && head.hash != last.hash => {
                let message = format!("entry {} is another one than was confirmed", last.seq);
                (self.tell)(format!("the audit record was changed: {message}; `tutela audit verify` says more"));
                (*head, broken(&message))
            }
            Head::None | Head::Damaged(_) => {
                let message = "what says how far the record goes is gone, so entries before this one may be missing";
                (self.tell)(format!("the audit record was changed: {message}"));
                (last, broken(message))
            }
            Head::At(_) if left > 0 => {
                let bytes = left + u64::from(unended);
                let message = format!("{bytes} bytes of entries that were not confirmed are passed over");
                let mut entry = recover(AuditResult::Done, &message);
                entry.unfinished = Some(Unfinished { after: last.seq, bytes });
                (last, Some(Draft::of(entry)))
            }
            Head::At(_) => (last, None),
        }
    }

    /// Writes as many of those that wait as belong into one file, and makes sure of them.
    fn write_some(&mut self) -> Result<(), String> {
        let Some(first) = self.waiting.front() else { return Ok(()) };
        let Some(mut shelf) = self.shelf.take() else { return Ok(()) };
        let day = day_of(&first.entry);
        // What passes something over has to lie right behind it.
        let stays = first.entry.command == RECOVER && first.entry.surface == Surface::Guard;
        let fits = |open: &Open| stays || open.volume.day == day && open.bytes < VOLUME_BYTES_MAX;
        if !shelf.volume.as_ref().is_some_and(fits) {
            shelf.volume = Some(open_volume(Volume::at(&self.state_dir, &day, shelf.last.seq + 1))?);
            shelf.needs_end = false;
            self.prune_due = true;
        }
        let Some(open) = &mut shelf.volume else { return Ok(()) };
        let mut bytes = Vec::new();
        if shelf.needs_end {
            bytes.push(b'\n');
        }
        self.in_flight.clear();
        let mut last = shelf.last;
        for draft in &mut self.waiting {
            let fits = bytes.len() < WRITE_BYTES_MAX && open.bytes + (bytes.len() as u64) < VOLUME_BYTES_MAX;
            if !self.in_flight.is_empty() && (!fits || day_of(&draft.entry) != open.volume.day) {
                break;
            }
            draft.entry.lost += self.unsaid.lost.swap(0, Ordering::Relaxed);
            draft.entry.omitted += self.unsaid.omitted.swap(0, Ordering::Relaxed);
            if let Some(number) = draft.closes {
                draft.entry.of = self.open.get(&number).copied().or(draft.entry.of);
            }
            if let Some(peer) = &mut draft.entry.peer {
                name(peer);
            }
            let (line, link) = seal(draft.entry.clone(), last);
            bytes.extend_from_slice(&line);
            self.in_flight.push(link);
            last = link;
            // Its outcome may be in the same batch.
            if let Some(number) = draft.opens {
                self.open.insert(number, link.seq);
            }
        }
        let failed = |error: io::Error| format!("failed to write {}: {error}", open.volume.path.display());
        open.file.write_all(&bytes).and_then(|()| open.file.sync_data()).map_err(failed)?;
        if std::mem::take(&mut open.fresh) {
            files::sync_folder(&self.state_dir.join(shelf::FOLDER)).map_err(|error| words(&error))?;
        }
        open.bytes += bytes.len() as u64;
        for link in std::mem::take(&mut self.in_flight) {
            let Some(draft) = self.waiting.pop_front() else { break };
            self.remember(&draft, link);
        }
        self.shelf = Some(Shelf { last, volume: shelf.volume, needs_end: false });
        self.confirm(last)?;
        self.remove_condemned(last);
        Ok(())
    }

    /// An entry is on the disk.
    fn remember(&mut self, draft: &Draft, link: Link) {
        self.figures.written.fetch_add(1, Ordering::Relaxed);
        if let Some(number) = draft.opens {
            self.open.insert(number, link.seq);
            if self.open.len() > OPEN_MAX {
                self.open.pop_first();
            }
        }
        if let Some(number) = draft.closes {
            self.open.remove(&number);
        }
    }

    fn confirm(&mut self, last: Link) -> Result<(), String> {
        self.head_due = true;
        shelf::write_head(&self.state_dir, last)?;
        self.head_due = false;
        Ok(())
    }

    /// Has an entry written that says which files are old enough to go. One whose last entry cannot be read stays, and
    /// those behind it: what is wrong with it has to be seen.
    fn condemn(&mut self) -> Result<(), String> {
        let border = wall_now().minus(self.keep_for);
        let failed = |error: io::Error| format!("failed to look for old entries: {error}");
        let mut volumes = shelf::volumes(&self.state_dir).map_err(failed)?;
        // The one that is written to stays, whatever its age.
        volumes.pop();
        let mut through = None;
        self.condemned.clear();
        for volume in volumes {
            let tail = shelf::tail_of(&volume.path).map_err(failed)?;
            match tail.last {
                Some(sealed) if sealed.at < border => through = Some(sealed.link),
                // Made right before a crash.
                None if tail.bytes == 0 => {}
                Some(_) | None => break,
            }
            self.condemned.push(volume);
        }
        if let Some(Link { seq, hash }) = through {
            let message = format!("entries up to {seq} are removed: they are older than the spec has them kept");
            let mut entry = AuditEntry::new(wall_now(), Surface::Guard, RETENTION, &self.guard, AuditResult::Done);
            entry.removed = Some(Removed { through: seq, hash: hash.to_string() });
            self.waiting.push_back(Draft::of(entry.saying(&message)));
            while !self.waiting.is_empty() {
                self.write_some()?;
            }
        }
        Ok(())
    }

    /// Removes what the chain says is removed, the oldest first. What stays is tried again with the next look.
    fn remove_condemned(&mut self, last: Link) {
        if self.condemned.is_empty() || last.hash == Hash::NONE || !self.waiting.is_empty() {
            return;
        }
        for volume in std::mem::take(&mut self.condemned) {
            if let Err(error) = std::fs::remove_file(&volume.path) {
                return (self.tell)(format!("failed to remove {}: {error}", volume.path.display()));
            }
        }
        // If a power cut brings one back, the chain says of it too that it is removed.
        let _ = files::sync_folder(&self.state_dir.join(shelf::FOLDER));
    }
}

impl Draft {
    fn of(entry: AuditEntry) -> Draft {
        Draft { entry, opens: None, closes: None }
    }
}

/// Puts what says what was found before everything that waits, once.
trait ExtendFront {
    fn extend_front_one(&mut self, draft: Option<Draft>);
}

impl ExtendFront for VecDeque<Draft> {
    fn extend_front_one(&mut self, draft: Option<Draft>) {
        while self.front().is_some_and(|first| first.entry.command == RECOVER) {
            self.pop_front();
        }
        if let Some(draft) = draft {
            self.push_front(draft);
        }
    }
}

fn open_volume(volume: Volume) -> Result<Open, String> {
    let failed = |why: &dyn std::fmt::Display| format!("failed to open {}: {why}", volume.path.display());
    let fresh = !volume.path.exists();
    let file = match files::append_private(&volume.path).map_err(|error| failed(&error))? {
        Plain::File(file) => file,
        Plain::Other(what) => return Err(failed(&format!("it is {what}"))),
    };
    let bytes = file.metadata().map_err(|error| failed(&error))?.len();
    Ok(Open { file, bytes, fresh, volume })
}

/// The day that an entry's file is named after.
fn day_of(entry: &AuditEntry) -> String {
    entry.at.to_string().chars().take(shelf::DAY_CHARS).collect()
}

/// Finds names for numbers. It may take a look into a directory, which the conductor has no time for.
fn name(peer: &mut AuditPeer) {
    if let (None, Some(uid)) = (&peer.user, peer.uid) {
        peer.user = Some(accounts::user_name(uid));
    }
    if let (None, Some(uid)) = (&peer.login, peer.login_uid) {
        peer.login = Some(accounts::user_name(uid));
    }
}
