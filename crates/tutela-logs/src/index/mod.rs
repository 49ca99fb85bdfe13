//! The index of a log file: `FILE.index`, which says when and where how many lines had been written.
//!
//! It is a shortcut and never the truth: a missing, torn or lying one costs time, not lines. Written by the writer
//! ([`pen`]), read by the readers ([`look`]); it lies beside its file, is renamed and removed with it, and keeps its
//! name when the file is compressed, since its offsets are those of the file as it was.
//!
//! ```text
//! head    "tutidx2\n"  begun  first  flags steps  check        each 32 bytes, little-endian
//! mark    at           offset lines  steps        check
//! mark    …
//! ```
//!
//! `begun` is the moment at which the file was begun, and its name among the files of its label for as long as it is
//! kept, also rotated, also compressed. `first` is how many lines the label had before it, `lines` how many it had at
//! `offset`; a line is a newline in a file. A check covers its own 32 bytes and `begun`, so that the mark of another
//! file, or half of one, is none.
//!
//! # What the marks prove
//!
//! `steps` counts how often the clock was set back. It goes on from file to file of a label, and begins anew, with a
//! value by chance, where the writer cannot know what came before. So:
//!
//! - Two marks of the same `steps`, of one file or of two: everything between them has moments from the one's `at` to
//!   the other's, whatever is known of the files between. That is why a reader finds a moment among many files by
//!   halving.
//! - Where `steps` changes within a file, two marks lie at one offset: the first has the latest moment before the step,
//!   the second the moment after it. The last mark of a file that was rotated in order lies at its end, and has its
//!   latest moment.
//! - What lies behind the last mark is not before it, as far as no mark was lost: that of a step is on the disk before
//!   the bytes behind it.
//!
//! In a file with timestamps the moments are those of its entries, in one without those of the writing.
//!
//! Deliberately absent: `fsync`, a lock, anything that a reader has to believe.

pub(crate) mod look;
pub(crate) mod pen;
#[cfg(test)]
mod tests;

use crate::stamp::Wall;
use std::hash::{BuildHasher, RandomState};

/// The length of the head and of a mark.
pub(crate) const RECORD_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"tutidx2\n";

/// In the flags: `first` continues the count of the files before without a hole.
const EXACT: u32 = 1;

/// What an index begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Microseconds since 1970.
    pub(crate) begun: u64,
    pub(crate) first: u64,
    /// Whether `first` is a number, not just the least it can be.
    pub(crate) exact: bool,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Wall,
    pub(crate) offset: u64,
    pub(crate) lines: u64,
    pub(crate) steps: u32,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let flags = if self.exact { EXACT } else { 0 };
        record(0, [u64::from_le_bytes(*MAGIC), self.begun, self.first], flags)
    }

    /// `None`: it is none.
    pub(crate) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let ([magic, begun, first], flags) = fields(0, bytes)?;
        (magic == u64::from_le_bytes(*MAGIC)).then_some(Head { begun, first, exact: flags & EXACT != 0 })
    }
}

impl Mark {
    pub(crate) fn encode(&self, begun: u64) -> [u8; RECORD_BYTES] {
        record(begun, [self.at.as_micros(), self.offset, self.lines], self.steps)
    }

    /// `None`: it is none of the file that was begun then.
    pub(crate) fn decode(begun: u64, bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let ([at, offset, lines], steps) = fields(begun, bytes)?;
        Some(Mark { at: Wall::from_micros(at), offset, lines, steps })
    }
}

/// What `steps` begins with where nothing is known of what was before: chance, since moments come twice where a clock is
/// set back.
pub(crate) fn steps_anew() -> u32 {
    // The lower half.
    RandomState::new().hash_one(0) as u32
}

fn record(salt: u64, values: [u64; 3], small: u32) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    for (slot, value) in bytes.chunks_exact_mut(8).zip(values) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    bytes[24..28].copy_from_slice(&small.to_le_bytes());
    let check = check(salt, &bytes[..28]);
    bytes[28..].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn fields(salt: u64, bytes: &[u8; RECORD_BYTES]) -> Option<([u64; 3], u32)> {
    let word = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(word)
    };
    let last = word(24);
    // The lower and the upper half.
    let (small, stored) = (last as u32, (last >> 32) as u32);
    (stored == check(salt, &bytes[..28])).then(|| ([word(0), word(8), word(16)], small))
}

/// FNV-1a of 64 bits, folded: against accidents, not against anybody.
fn check(salt: u64, bytes: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.to_le_bytes().iter().chain(bytes) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) as u32
}
