//! What a pump has in hand, where a kill of the guard does not reach it: one tray for each run of an instance whose
//! program outlives the guard.
//!
//! Filled by the pump ([`crate::pump`]) and the writer, kept open by whoever keeps the program's pipes, taken over by the
//! next guard. A tray is some [`Memory`] that outlives the process, with a side for each stream. Its program's pipe
//! comes with a [`Sluice`], so that it can be decided how much of it was read. The design, with every moment
//! at which a guard may die, is in `docs/design/tray.md`.
//!
//! # Its form
//!
//! ```text
//! head     a page: which form this is, and for each side
//!   slots    two records of what is under way; the newest that is whole counts
//! folders  a page: for each side the name of the folder of its files
//! sides    for each stream
//!   states   two places for what is held between two turns: half a line, lines to be joined
//!   input    what was read from the chamber
//!   output   what is to be written, where it is not the input as it stands
//! ```
//!
//! Memory of zeros is a tray in which nothing was ever under way, so a program that writes nothing touches none of it.
//!
//! A record is replaced as a whole, never changed in its place: a guard that dies amid it leaves the one before.
//!
//! Deliberately absent: knowledge of pipes and files of an operating system, more than one guard at a time.

mod record;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use record::{
    FormWord, Load, RECORD_END_BYTES, Record, Source, State, Tally, Target, Write, check_of, put_record_end, record_end,
};

use crate::policy::Stream;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, compiler_fence};
use std::task::{Context, Poll};

/// Memory that outlives the process.
pub trait Memory: Send {
    /// All of it. What is stored here is there for the next guard from the moment of the store.
    fn bytes(&mut self) -> &mut [u8];

    /// Gives the whole pages of this part back; they are zero from here on, or as they were.
    fn release(&mut self, part: Range<usize>);

    /// Whether nothing was ever stored in it, told without touching it. Where that cannot be known it is not so.
    fn is_blank(&self) -> bool {
        false
    }
}

/// A program's pipe with a chamber behind it, into which nobody else writes: a byte is in one of the two.
pub trait Sluice: Send {
    /// Moves what is in the pipe into the chamber, which is empty, at most so many bytes. Ready with zero: the pipe ended.
    ///
    /// # Errors
    /// The pipe broke.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>>;

    /// How many bytes are in the chamber.
    ///
    /// # Errors
    /// It cannot be told.
    fn filled(&self) -> io::Result<usize>;

    /// Reads from the chamber. Never waits.
    ///
    /// # Errors
    /// The chamber is empty, or broke.
    fn drain(&mut self, into: &mut [u8]) -> io::Result<usize>;
}

/// What opens a sluice, on the pump's thread, so that it is the pump's own event loop that watches it.
pub type SluiceSource = Box<dyn FnOnce() -> io::Result<Box<dyn Sluice>> + Send>;

/// How a tray begins. Another form has another number.
const MAGIC: &[u8; 8] = b"tutray2\n";

/// The usual page, so that parts can be given back whole. A larger one costs memory, nothing else.
const PAGE_BYTES: usize = 4096;

/// Where the slots begin: behind [`MAGIC`].
const SLOTS_BEGIN: usize = 64;

/// The room for one record. Those of both sides have place in the head.
const SLOT_BYTES: usize = 512;

/// Where the names of the folders begin: in a page of their own, which is touched with the first file.
const FOLDERS_BEGIN: usize = PAGE_BYTES;

/// The room for the name of the folder of the files of a side.
const FOLDER_BYTES: usize = PAGE_BYTES / 2;

/// Where the sides begin.
const SIDES_BEGIN: usize = 2 * PAGE_BYTES;

/// What is held between two turns at most: half a line (16 KiB), lines to be joined (64 KiB), the end of a cut line
/// where something is masked (the longest secret, escaped: 3 KiB), and their lengths.
const STATE_BYTES: usize = 96 * 1024;

/// One turn of a stream.
pub(crate) const INPUT_BYTES: usize = crate::pump::TURN_BYTES;

/// The most that a turn can become: 64 KiB of empty lines with timestamps are 2.2 MiB, and records of a turn that is
/// cut at 2048 lines, every byte masked and then escaped, 3.4 MiB. What is not used costs no memory.
const OUTPUT_BYTES: usize = 4 << 20;

const SIDE_BYTES: usize = 2 * STATE_BYTES + INPUT_BYTES + OUTPUT_BYTES;

/// How much memory a tray needs, nearly all of it never touched.
pub const TRAY_BYTES: usize = SIDES_BEGIN + 2 * SIDE_BYTES;

const _: () = assert!(SLOTS_BEGIN + 4 * SLOT_BYTES <= PAGE_BYTES, "the head is one page");
const _: () = assert!(record::RECORD_BYTES <= SLOT_BYTES, "a record has place in its slot");

/// Why a tray cannot be used. The pipes and what is in them can, with another tray.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrayRefusal {
    /// It has another size than all trays have.
    #[error("refused: a tray of {0} bytes; those of this version have {TRAY_BYTES}. What it holds of output is lost")]
    Size(usize),
    /// It does not begin as a tray does.
    #[error("refused: a tray of another version of Tutela, or none. What it holds of output is lost")]
    Version,
}

/// A tray.
pub struct Tray {
    memory: Box<dyn Memory>,
    sides: [Side; 2],
    /// What was found broken when it was opened.
    damage: Vec<(Stream, &'static str)>,
}

impl Tray {
    /// Makes a new tray of new memory: [`TRAY_BYTES`] zeros, which it leaves as they are until something is under way.
    ///
    /// # Errors
    /// [`TrayRefusal::Size`].
    pub fn create(mut memory: Box<dyn Memory>) -> Result<Self, TrayRefusal> {
        match memory.bytes().len() {
            TRAY_BYTES => Ok(Tray { memory, sides: Default::default(), damage: Vec::new() }),
            other => Err(TrayRefusal::Size(other)),
        }
    }

    /// Takes over a tray that was kept, with what is under way in it. Of a side whose records are both broken nothing is
    /// known; it begins anew, and that is told when it is attached.
    ///
    /// # Errors
    /// [`TrayRefusal`].
    pub fn open(memory: Box<dyn Memory>) -> Result<Self, TrayRefusal> {
        let mut tray = Self::create(memory)?;
        if tray.memory.is_blank() {
            return Ok(tray);
        }
        let form = &tray.memory.bytes()[..MAGIC.len()];
        if form != MAGIC && form != [0; MAGIC.len()] {
            return Err(TrayRefusal::Version);
        }
        for stream in [Stream::Out, Stream::Err] {
            let at = SLOTS_BEGIN + stream as usize * 2 * SLOT_BYTES;
            let (one, two) = tray.memory.bytes()[at..at + 2 * SLOT_BYTES].split_at(SLOT_BYTES);
            let newest = record::read(one).into_iter().chain(record::read(two)).max_by_key(|(sequence, _)| *sequence);
            match newest {
                Some((sequence, record)) if record.fits() => {
                    tray.sides[stream as usize] = Side { sequence, record, ..Side::default() };
                }
                Some((sequence, _)) => {
                    // Counted on from, or it would be the newest again for the next guard.
                    tray.sides[stream as usize].sequence = sequence;
                    tray.damage.push((stream, "its record tells what cannot be"));
                }
                None => tray.damage.push((stream, "both of its records are broken")),
            }
            tray.sides[stream as usize].is_used = true;
        }
        Ok(tray)
    }

    /// What was found broken of this side.
    pub(crate) fn damage(&self, stream: Stream) -> Option<&'static str> {
        self.damage.iter().find(|(of, _)| *of == stream).map(|(_, what)| *what)
    }

    /// The side of a stream, taken apart.
    pub(crate) fn parts(&mut self, stream: Stream) -> Parts<'_> {
        let which = stream as usize;
        let (head, sides) = self.memory.bytes().split_at_mut(SIDES_BEGIN);
        let (slots, folders) = head.split_at_mut(FOLDERS_BEGIN);
        let (form, slots) = slots.split_at_mut(SLOTS_BEGIN);
        let slots = &mut slots[which * 2 * SLOT_BYTES..][..2 * SLOT_BYTES];
        let folder = &mut folders[which * FOLDER_BYTES..][..FOLDER_BYTES];
        let (first, rest) = sides[which * SIDE_BYTES..][..SIDE_BYTES].split_at_mut(STATE_BYTES);
        let (second, rest) = rest.split_at_mut(STATE_BYTES);
        let (input, output) = rest.split_at_mut(INPUT_BYTES);
        let book = Book { form, slots, folder, side: &mut self.sides[which] };
        Parts { book, states: [first, second], input, output }
    }

    /// Gives back the memory that turns have used, of sides that are silent.
    pub(crate) fn sweep(&mut self) {
        [Stream::Out, Stream::Err].into_iter().for_each(|stream| self.release(stream));
    }

    /// The same of one side.
    pub(crate) fn release(&mut self, stream: Stream) {
        let (begin, side) = (SIDES_BEGIN + stream as usize * SIDE_BYTES, &mut self.sides[stream as usize]);
        // Not for nothing: of memory that somebody has mapped the kernel tells every processor.
        if side.record.is_idle() && std::mem::take(&mut side.is_used) {
            let other = begin + (1 - side.record.state.place) * STATE_BYTES;
            self.memory.release(other..other + STATE_BYTES);
            self.memory.release(begin + 2 * STATE_BYTES..begin + SIDE_BYTES);
        }
    }
}

/// What is known of a side.
#[derive(Default)]
struct Side {
    sequence: u64,
    record: Record,
    /// The folder whose name is in the tray.
    folder: Option<PathBuf>,
    /// Whether its memory may have something in it that was not given back.
    is_used: bool,
}

/// A side, taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) book: Book<'a>,
    pub(crate) states: [&'a mut [u8]; 2],
    pub(crate) input: &'a mut [u8],
    pub(crate) output: &'a mut [u8],
}

/// The record of a side, and where it is written down.
pub(crate) struct Book<'a> {
    form: &'a mut [u8],
    slots: &'a mut [u8],
    folder: &'a mut [u8],
    side: &'a mut Side,
}

impl Book<'_> {
    pub(crate) fn record(&mut self) -> &mut Record {
        &mut self.side.record
    }

    /// Whether the side's memory may have something in it.
    pub(crate) fn is_used(&self) -> bool {
        self.side.is_used
    }

    /// Writes the record down. What was stored in the tray before is there before it.
    pub(crate) fn commit(&mut self) {
        moment();
        let side = &mut *self.side;
        if side.sequence == 0 {
            self.form[..MAGIC.len()].copy_from_slice(MAGIC);
        }
        side.sequence += 1;
        side.is_used = true;
        let at = if side.sequence.is_multiple_of(2) { 0 } else { SLOT_BYTES };
        let slot = &mut self.slots[at..at + SLOT_BYTES];
        let written = record::written(side.sequence, &side.record);
        // A process that dies leaves its stores in the order of its program; the compiler has to keep to it too.
        compiler_fence(Ordering::SeqCst);
        let (first, second) = written.split_at(written.len() / 2);
        slot[..first.len()].copy_from_slice(first);
        moment();
        slot[first.len()..written.len()].copy_from_slice(second);
        compiler_fence(Ordering::SeqCst);
        moment();
    }

    /// Writes the name of the folder down in which the files are, for a successor whose spec names another. A record that
    /// names a file by its number protects from one that is half written.
    pub(crate) fn tell_folder(&mut self, folder: &Path) {
        if self.side.folder.as_deref() == Some(folder) {
            return;
        }
        self.side.folder = Some(folder.to_owned());
        let place = &mut *self.folder;
        // One that is no text, or too long, is not looked for.
        let name = folder.to_str().filter(|name| name.len() < FOLDER_BYTES - 8).unwrap_or_default().as_bytes();
        place[..8].copy_from_slice(&(name.len() as u64).to_le_bytes());
        place[8..8 + name.len()].copy_from_slice(name);
    }

    /// The folder that was told.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let (length, rest) = self.folder.split_first_chunk::<8>()?;
        let name = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(PathBuf::from)
    }
}

/// A moment at which a guard may die, for the tests: they let it die at each.
#[cfg(not(test))]
pub(crate) const fn moment() {}

#[cfg(test)]
pub(crate) use tests::moment;
