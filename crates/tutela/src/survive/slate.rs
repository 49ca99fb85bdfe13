//! The slate: what a guard notes down in memory that outlives it, so that the next one can go on.
//!
//! A note is a text under a key; a later note under the key takes its place. Notes are appended to one half of the memory,
//! each with its length and a checksum; when the half is full, the newest note of each key goes to the other half, and one
//! store makes that half the one that holds. So at whatever moment the guard is killed, what the memory says is what it
//! said before the note under way, or after it.
//!
//! Written by the conductor, after each of its turns, with no call to the system; read once by the next guard. Nothing of
//! it is ever on a disk, and it is gone with the computer's boot, together with the programs that it speaks of.
//! Deliberately absent: what the notes mean.

use flate2::Crc;
use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, compiler_fence};
use tutela_os::handle::Handle;
use tutela_os::lasting::{self, Lasting};

/// The size of the memory. Bytes that were never written cost nothing, so this is only a bound: 10,000 instances with
/// notes of 4 KB fill a third of a half.
const SLATE_BYTES: usize = 256 * 1024 * 1024;

/// The size where every byte counts from the start: 4,000 instances with notes of 4 KB fill a half.
const SLATE_BYTES_PAID: usize = 32 * 1024 * 1024;

/// What is at the front, before the halves: a page.
const HEAD_BYTES: usize = 4096;

/// A half is tidied when it has this many bytes and the notes that hold are less than a quarter of them.
const TIDY_FROM: usize = 4 * 1024 * 1024;

/// The longest note. A window of restarts and a long status text fit many times.
const NOTE_BYTES_MAX: usize = 1024 * 1024;

/// The longest key, in bytes: a word, a name of at most 48 bytes and a number fit many times.
const KEY_BYTES_MAX: usize = 512;

/// What the memory begins with.
const MAGIC: [u8; 8] = *b"tutela 1";

/// Where the number of the half stands that holds.
const HOLDS_AT: usize = 8;

/// Of each record: the length of its key, of its text, and the checksum of both and of these.
const RECORD_HEAD_BYTES: usize = 2 + 4 + 4;

/// In the place of the length of a text: the key has none any more.
const GONE: u32 = u32::MAX;

/// The notes by their keys.
pub type Notes = BTreeMap<String, Vec<u8>>;

/// See the module's text.
#[derive(Debug)]
pub struct Slate {
    memory: Lasting,
    notes: Notes,
    /// Bytes that the notes take as records.
    held: usize,
    half: u8,
    /// Where the next record begins, in the half.
    at: usize,
}

/// Why what is on a slate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlateError {
    /// It is no such memory.
    #[error(transparent)]
    Os(#[from] tutela_os::Error),
    /// It was written by a version that notes down in another form.
    #[error("what an earlier guard noted down is in a form that this version of tutela does not know")]
    Form,
}

impl Slate {
    /// An empty slate.
    ///
    /// # Errors
    /// There is no memory that outlives the guard on this host.
    pub fn new() -> Result<Slate, tutela_os::Error> {
        Slate::of_size(if lasting::PAID_WHEN_MADE { SLATE_BYTES_PAID } else { SLATE_BYTES })
    }

    fn of_size(bytes: usize) -> Result<Slate, tutela_os::Error> {
        let mut memory = Lasting::create(bytes)?;
        memory.bytes()[..MAGIC.len()].copy_from_slice(&MAGIC);
        Ok(Slate { memory, notes: Notes::new(), held: 0, half: 0, at: 0 })
    }

    /// The slate of an earlier guard, with what is on it.
    ///
    /// # Errors
    /// It is none, or in a form that is not known.
    pub fn open(handle: Handle) -> Result<Slate, SlateError> {
        let mut memory = Lasting::open(handle)?;
        let bytes = memory.bytes();
        if bytes.len() < 2 * HEAD_BYTES || bytes[..MAGIC.len()] != MAGIC {
            return Err(SlateError::Form);
        }
        let half = bytes[HOLDS_AT] & 1;
        let (notes, at) = read(&bytes[range_of(bytes.len(), half)]);
        let held = notes.iter().map(|(key, text)| length_of(key, text)).sum();
        Ok(Slate { memory, notes, held, half, at })
    }

    /// What keeps it, for the safe.
    pub fn handle(&self) -> Handle {
        self.memory.handle()
    }

    /// What is on it.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Notes something down. Answers whether that is so: a text or key that is longer than all that can be meant is not
    /// taken, nor is anything when all the memory is full of notes that hold. The former note of the key is gone then too:
    /// what is not known is better than what is not true.
    pub fn note(&mut self, key: &str, text: &[u8]) -> bool {
        if self.notes.get(key).is_some_and(|known| known == text) {
            return true;
        }
        let fits = key.len() <= KEY_BYTES_MAX && text.len() <= NOTE_BYTES_MAX;
        if !fits || !self.append(key, Some(text)) {
            self.erase(key);
            return false;
        }
        self.held += length_of(key, text);
        if let Some(former) = self.notes.insert(key.to_owned(), text.to_vec()) {
            self.held -= length_of(key, &former);
        }
        true
    }

    /// Takes a note away.
    pub fn erase(&mut self, key: &str) {
        if let Some(former) = self.notes.remove(key) {
            self.held -= length_of(key, &former);
            // Where not even that fits, tidying leaves it out.
            if !self.append(key, None) {
                self.tidy();
            }
        }
    }

    fn append(&mut self, key: &str, text: Option<&[u8]>) -> bool {
        let record = record_of(key, text);
        let room = range_of(self.memory.bytes().len(), self.half).len();
        let untidy = self.at >= TIDY_FROM && self.held < self.at / 4;
        if untidy || self.at + record.len() > room {
            self.tidy();
        }
        self.write(&record)
    }

    fn write(&mut self, record: &[u8]) -> bool {
        let bytes = self.memory.bytes();
        let half = range_of(bytes.len(), self.half);
        let Some(place) = bytes[half].get_mut(self.at..) else { return false };
        let Some((place, behind)) = place.split_at_mut_checked(record.len()) else { return false };
        // What is behind it may be a record of an earlier time, where released memory is not zero. It is the end before
        // this one is there.
        let end = behind.len().min(RECORD_HEAD_BYTES);
        behind[..end].fill(0);
        compiler_fence(Ordering::SeqCst);
        place.copy_from_slice(record);
        self.at += record.len();
        true
    }

    /// Writes the notes that hold to the other half, and lets that one hold.
    fn tidy(&mut self) {
        let (former, size) = (self.half, self.memory.bytes().len());
        self.half = 1 - former;
        self.at = 0;
        // What may be left in it has its end before it, also when there is nothing to write.
        let begin = range_of(size, self.half).start;
        self.memory.bytes()[begin..begin + RECORD_HEAD_BYTES].fill(0);
        for (key, text) in std::mem::take(&mut self.notes) {
            // They fitted into the other half, which has the same size.
            self.write(&record_of(&key, Some(&text)));
            self.notes.insert(key, text);
        }
        self.memory.bytes()[HOLDS_AT] = self.half;
        self.memory.release(range_of(size, former));
    }
}

/// Where a half is.
fn range_of(size: usize, half: u8) -> std::ops::Range<usize> {
    // Whole pages, so that a half can be released without touching the other.
    let length = (size - HEAD_BYTES) / 2 / HEAD_BYTES * HEAD_BYTES;
    let begin = HEAD_BYTES + usize::from(half) * length;
    begin..begin + length
}

fn length_of(key: &str, text: &[u8]) -> usize {
    RECORD_HEAD_BYTES + key.len() + text.len()
}

fn record_of(key: &str, text: Option<&[u8]>) -> Vec<u8> {
    // Both lengths were looked at before.
    let key_length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
    let text_length = text.map_or(GONE, |text| u32::try_from(text.len()).unwrap_or(GONE)).to_le_bytes();
    let text = text.unwrap_or_default();
    let mut record = Vec::with_capacity(length_of(key, text));
    record.extend_from_slice(&key_length);
    record.extend_from_slice(&text_length);
    record.extend_from_slice(&checksum(&record, key.as_bytes(), text).to_le_bytes());
    record.extend_from_slice(key.as_bytes());
    record.extend_from_slice(text);
    record
}

/// Tells a record from what was left by one that was not written to its end. Never zero, which memory is made of.
fn checksum(lengths: &[u8], key: &[u8], text: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(lengths);
    crc.update(key);
    crc.update(text);
    crc.sum() | 1
}

/// The notes of a half, up to its end or to the first record that is not whole; and where that is.
fn read(half: &[u8]) -> (Notes, usize) {
    let (mut notes, mut at) = (Notes::new(), 0);
    while let Some((key, text, length)) = half.get(at..).and_then(next_record) {
        match text {
            Some(text) => drop(notes.insert(key.to_owned(), text.to_vec())),
            None => drop(notes.remove(key)),
        }
        at += length;
    }
    (notes, at)
}

fn next_record(bytes: &[u8]) -> Option<(&str, Option<&[u8]>, usize)> {
    let (lengths, rest) = bytes.split_at_checked(2 + 4)?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let key_length = usize::from(u16::from_le_bytes(*lengths.first_chunk::<2>()?));
    let text_length = u32::from_le_bytes(*lengths.last_chunk::<4>()?);
    let (key, rest) = rest.split_at_checked(key_length)?;
    let text = if text_length == GONE { None } else { Some(rest.get(..usize::try_from(text_length).ok()?)?) };
    if checksum(lengths, key, text.unwrap_or_default()) != u32::from_le_bytes(*sum) {
        return None;
    }
    let key = std::str::from_utf8(key).ok()?;
    Some((key, text, RECORD_HEAD_BYTES + key_length + text.map_or(0, <[u8]>::len)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    /// Small enough to be full soon.
    const SMALL: usize = 5 * HEAD_BYTES;

    fn again(slate: Slate) -> Slate {
        let handle = slate.handle();
        drop(slate);
        Slate::open(handle).unwrap()
    }

    fn notes(slate: &Slate) -> Vec<(&str, &[u8])> {
        slate.notes().iter().map(|(key, text)| (key.as_str(), text.as_slice())).collect()
    }

    #[test]
    fn the_next_guard_reads_what_was_noted_last_and_goes_on() {
        let mut slate = Slate::new().unwrap();
        assert!(slate.note("a", b"1") && slate.note("b", b"2") && slate.note("a", b"3"));
        slate.erase("b");
        slate.erase("never there");
        let mut slate = again(slate);
        assert_eq!(notes(&slate), [("a", &b"3"[..])]);
        assert!(slate.note("c", b""));
        let mut slate = again(again(slate));
        assert_eq!(notes(&slate), [("a", &b"3"[..]), ("c", &b""[..])]);
        slate.erase("a");
        slate.erase("c");
        assert_eq!(notes(&again(slate)), []);
    }

    #[test]
    fn what_does_not_fit_is_not_taken_and_takes_nothing_else_with_it() {
        let mut slate = Slate::of_size(SMALL).unwrap();
        assert!(slate.note("a", &[1; 1000]) && slate.note("b", b"old"));
        assert!(!slate.note("b", &[2; 3 * HEAD_BYTES]));
        assert!(!slate.note(&"k".repeat(KEY_BYTES_MAX + 1), b"x"));
        let slate = again(slate);
        assert_eq!(notes(&slate), [("a", &[1; 1000][..])]);
    }

    #[test]
    fn memory_of_another_form_is_refused() {
        let mut other = Lasting::create(SMALL).unwrap();
        assert!(matches!(Slate::open(other.handle()), Err(SlateError::Form)));
        other.bytes()[..8].copy_from_slice(b"tutela 2");
        assert!(matches!(Slate::open(other.handle()), Err(SlateError::Form)));
    }

    #[test]
    fn what_stands_in_released_memory_is_not_read_again() {
        let mut slate = Slate::of_size(SMALL).unwrap();
        // As where released memory is not zero: the other half is full of whole records.
        let other = range_of(SMALL, 1);
        let stale = record_of("stale", Some(b"")).repeat(other.len() / length_of("stale", b""));
        slate.memory.bytes()[other][..stale.len()].copy_from_slice(&stale);
        slate.note("a", b"1");
        slate.tidy();
        assert_eq!(notes(&again(slate)), [("a", &b"1"[..])]);
        let mut slate = Slate::of_size(SMALL).unwrap();
        let other = range_of(SMALL, 1);
        slate.memory.bytes()[other][..stale.len()].copy_from_slice(&stale);
        slate.tidy();
        assert_eq!(notes(&slate), []);
        let mut slate = again(slate);
        assert_eq!(notes(&slate), []);
        slate.note("b", b"2");
        assert_eq!(notes(&again(slate)), [("b", &b"2"[..])]);
    }

    proptest! {
        /// However often it is tidied, and whatever is killed in between.
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec((0_u8..6, proptest::option::of(0_usize..900), any::<bool>()), 1..200)) {
            let mut slate = Slate::of_size(SMALL).unwrap();
            let mut map = Notes::new();
            for (number, (key, length, killed)) in steps.into_iter().enumerate() {
                let key = format!("key {key}");
                match length {
                    Some(length) => {
                        let text = vec![number as u8; length];
                        prop_assert!(slate.note(&key, &text));
                        map.insert(key, text);
                    }
                    None => {
                        slate.erase(&key);
                        map.remove(&key);
                    }
                }
                if killed {
                    slate = again(slate);
                }
                prop_assert_eq!(slate.notes(), &map);
            }
        }

        /// A record that was cut or written over at any byte ends what is read, and changes nothing before it.
        #[test]
        fn a_torn_record_is_as_if_it_were_not_there(cut in 0_usize..60, byte in 1_u8..) {
            let mut slate = Slate::of_size(SMALL).unwrap();
            slate.note("first", b"holds");
            let at = HEAD_BYTES + slate.at;
            slate.note("second", b"is torn in the middle of it");
            let length = HEAD_BYTES + slate.at - at;
            let cut = at + cut % length;
            let handle = slate.handle();
            slate.memory.bytes()[cut] ^= byte;
            let read = Slate::open(handle).unwrap();
            prop_assert_eq!(notes(&read), [("first", &b"holds"[..])]);
        }

        /// Nonsense is read as little, without a panic.
        #[test]
        fn nonsense_is_no_note(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (notes, at) = read(&bytes);
            prop_assert!(at <= bytes.len() && notes.len() <= bytes.len());
        }
    }
}
