//! What a stream's lines hold between two turns, as it stands in a tray: half a line, the end of a cut line, lines to
//! be joined.
//!
//! Called where a turn is committed and where a tray is taken over. Deliberately absent: which mask and which rule of
//! joining it was held for. The successor has its own; what it holds goes through those.

use super::lines::Lines;
use crate::lines::Splitter;
use crate::record::join::{Held, Joiner};
use crate::record::redact::Tail;
use crate::stamp::Wall;
use crate::writer::Writer;
use std::sync::Arc;

/// Flags and lengths before the bytes.
const HEAD_WORDS: usize = 9;
const HEAD_BYTES: usize = HEAD_WORDS * 8;

/// What is said of the lines that are joined.
const UNWRITTEN: u64 = 1;
const WITHIN_LINE: u64 = 2;
const JOINING: u64 = 4;
const BEGINS: u64 = 8;
const ENDED: u64 = 16;

impl Lines {
    /// Puts down what is held, nothing where nothing is; answers how many bytes of the program that is.
    pub(super) fn put_held(&self, out: &mut Vec<u8>) -> u64 {
        out.clear();
        // What is in a file already is held for those who look at lines only.
        let half = if self.held_is_unwritten { self.splitter.held() } else { &[] };
        let (tail, done) = self.tail.parts();
        let (joined, within_line) = self.joiner.held();
        if half.is_empty() && tail.is_empty() && joined.is_none() && !within_line {
            return 0;
        }
        let flag = |is: bool, flag: u64| if is { flag } else { 0 };
        let mut flags = flag(self.held_is_unwritten, UNWRITTEN) | flag(within_line, WITHIN_LINE);
        let mut words = [0; HEAD_WORDS];
        if let Some(held) = joined {
            flags |= JOINING | flag(held.begins, BEGINS) | flag(held.ended, ENDED);
            words[4..8].copy_from_slice(&[
                held.at.as_micros(),
                held.last.as_micros(),
                u64::from(held.lines),
                held.text.len() as u64,
            ]);
        }
        words[..4].copy_from_slice(&[flags, half.len() as u64, tail.len() as u64, done as u64]);
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out.extend_from_slice(half);
        out.extend_from_slice(tail);
        let text = joined.map_or(&[][..], |held| &held.text);
        out.extend_from_slice(text);
        (half.len() + tail.len().saturating_sub(done) + text.len()) as u64
            + u64::from(joined.is_some_and(|it| it.ended))
    }

    /// The lines that hold what was put down, on their way to this writer. `None`: it was put down by nobody.
    pub(super) fn of_held(bytes: &[u8], writer: &Writer) -> Option<Self> {
        let (mask, how) = (writer.mask(), writer.multiline());
        if bytes.is_empty() {
            return Some(Lines { mask, how, ..Lines::default() });
        }
        let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let mut words = [0; HEAD_WORDS];
        for (word, chunk) in words.iter_mut().zip(head.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().ok()?);
        }
        let [flags, half, tail, done, at, last, lines, text, _] = words;
        let mut take = |length: u64| {
            let (bytes, later) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            rest = later;
            Some(bytes.to_vec())
        };
        let (half, tail, text) = (take(half)?, take(tail)?, take(text)?);
        let done = usize::try_from(done).ok().filter(|done| *done <= tail.len())?;
        let has = |flag: u64| flags & flag != 0;
        let held = has(JOINING).then(|| Held {
            mark: (),
            at: Wall::from_micros(at),
            last: Wall::from_micros(last),
            text,
            lines: u32::try_from(lines).unwrap_or(u32::MAX),
            begins: has(BEGINS),
            ended: has(ENDED),
        });
        // What was held for a mask needs one to be given by, if it is one that masks nothing.
        let mask = mask.or_else(|| (!tail.is_empty()).then(Arc::default));
        Some(Lines {
            held_is_unwritten: has(UNWRITTEN) && !half.is_empty(),
            splitter: Splitter::holding(half)?,
            tail: Tail::of_parts(tail, done),
            mask,
            joiner: Joiner::holding(held, has(WITHIN_LINE)),
            how,
        })
    }
}
