//! The slate: what a guard notes down in memory that outlives it, so that the next one can go on.
//!
//! A note is a text under a key; a later note under the key takes its place. Notes are appended to one half of the memory,
//! each with its length and a checksum; when the half is full, the newest note of each key goes to the other half, and one
//! store makes that half the one that holds. Of several notes that belong together the first one is written last: without
//! it nothing behind it is read. So at whatever moment the guard is killed, what the memory says is what it said before the
//! notes under way, or after all of them.
//!
//! What lies behind the last record may be anything: a half that was written before, a record that was cut. So the place of
//! the next record's head is emptied before a record is written, and what follows a record is never taken for another one.
//!
//! Written by the conductor, after each of its turns, with no call to the system; read once by the next guard. Nothing of
//! it is ever on a disk, and it is gone with the computer's boot, together with the programs that it speaks of.
//! Deliberately absent: what the notes mean ([`super::estate`]), and where the memory comes from ([`Memory`]).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The size of the memory. Bytes that were never written cost nothing, so this is only a bound: 10,000 instances with
/// notes of 4 KB fill a third of a half.
pub const SLATE_BYTES: usize = 256 * 1024 * 1024;

/// The size where every byte counts from the start: 4,000 instances with notes of 4 KB fill a half.
pub const SLATE_BYTES_PAID: usize = 32 * 1024 * 1024;

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

/// Memory that outlives who writes to it.
pub trait Memory {
    /// All of it. Its length never changes.
    fn bytes(&self) -> &[u8];

    /// Stores `bytes` at `at`: there for the successor from then on. Whoever is killed meanwhile may have stored any part.
    /// All of it lies within the memory.
    fn store(&mut self, at: usize, bytes: &[u8]);

    /// Gives the whole pages of this part back to the computer. They are zero then, or stay as they are.
    fn release(&mut self, part: Range<usize>);
}

/// See the module's text.
#[derive(Debug)]
pub struct Slate<M> {
    memory: M,
    /// Where in the memory the text of each key is. There are thousands, and the memory has them already.
    places: BTreeMap<Box<str>, Range<usize>>,
    /// Bytes that the notes take as records.
    held: usize,
    half: u8,
    /// Where the next record begins, in the half.
    at: usize,
}

/// What is on a slate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("what an earlier guard noted down is in a form that this version of tutela does not know")]
pub struct UnknownForm;

impl<M: Memory> Slate<M> {
    /// An empty slate, on memory that is all zero.
    pub fn create(mut memory: M) -> Slate<M> {
        memory.store(0, &MAGIC);
        Slate { memory, places: BTreeMap::new(), held: 0, half: 0, at: 0 }
    }

    /// The slate of an earlier guard, with what is on it.
    ///
    /// # Errors
    /// It is none, or in a form that is not known.
    pub fn open(memory: M) -> Result<Slate<M>, UnknownForm> {
        let bytes = memory.bytes();
        if bytes.len() < 2 * HEAD_BYTES || bytes[..MAGIC.len()] != MAGIC {
            return Err(UnknownForm);
        }
        let half = bytes[HOLDS_AT] & 1;
        let range = range_of(bytes.len(), half);
        let (found, at) = read(&bytes[range.clone()]);
        let places =
            found.into_iter().map(|(key, text)| (key.into(), range.start + text.start..range.start + text.end));
        let places: BTreeMap<Box<str>, Range<usize>> = places.collect();
        let held = places.iter().map(|(key, text)| length_of(key, text.len())).sum();
        Ok(Slate { memory, places, held, half, at })
    }

    /// What it is written on.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The same, taken from it.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// What is on it, by key.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.places.iter().map(|(key, place)| (&**key, self.text_at(place)))
    }

    /// The note of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.places.get(key).map(|place| self.text_at(place))
    }

    fn text_at(&self, place: &Range<usize>) -> &[u8] {
        self.memory.bytes().get(place.clone()).unwrap_or_default()
    }

    /// Notes several things down that belong together, `None` takes a note away: for the successor either all of it is so or
    /// nothing. Answers as [`Slate::note`]. What is more than all the memory takes at once is noted one by one.
    pub fn note_all(&mut self, notes: BTreeMap<String, Option<Vec<u8>>>) -> bool {
        let mut all = true;
        let mut fresh = Vec::new();
        for (key, text) in notes {
            let fits = key.len() <= KEY_BYTES_MAX && text.as_ref().is_none_or(|text| text.len() <= NOTE_BYTES_MAX);
            all &= fits;
            let text = text.filter(|_| fits);
            if self.get(&key) != text.as_deref() {
                fresh.push((key, text));
            }
        }
        let records: Vec<Vec<u8>> = fresh.iter().map(|(key, text)| record_of(key, text.as_deref())).collect();
        if !self.make_room(records.iter().map(Vec::len).sum()) {
            for (key, text) in fresh {
                match text {
                    Some(text) => all &= self.note(&key, &text),
                    None => self.erase(&key),
                }
            }
            return all;
        }
        let mut begin = self.end();
        self.write(&records);
        for ((key, text), record) in fresh.into_iter().zip(records) {
            let range = begin..begin + record.len();
            begin = range.end;
            match text {
                Some(_) => self.put(key.into(), range),
                None => self.forget(&key),
            }
        }
        all
    }

    /// Notes something down. Answers whether that is so: a text or key that is longer than all that can be meant is not
    /// taken, nor is anything when all the memory is full of notes that hold. The former note of the key is gone then too:
    /// what is not known is better than what is not true.
    pub fn note(&mut self, key: &str, text: &[u8]) -> bool {
        if self.get(key).is_some_and(|known| known == text) {
            return true;
        }
        let fits = key.len() <= KEY_BYTES_MAX && text.len() <= NOTE_BYTES_MAX;
        let record = if fits { self.append(key, Some(text)) } else { None };
        let taken = record.is_some();
        match record {
            Some(record) => self.put(key.into(), record),
            None => self.erase(key),
        }
        taken
    }

    /// Takes a note away.
    pub fn erase(&mut self, key: &str) {
        if self.places.contains_key(key) {
            self.forget(key);
            // Where not even that fits, tidying leaves it out.
            if self.append(key, None).is_none() {
                self.tidy();
            }
        }
    }

    /// The note of a key is in this record.
    fn put(&mut self, key: Box<str>, record: Range<usize>) {
        let head = length_of(&key, 0);
        self.held += record.len();
        let former = self.places.insert(key, record.start + head..record.end);
        self.held -= former.map_or(0, |text| head + text.len());
    }

    fn forget(&mut self, key: &str) {
        let former = self.places.remove(key);
        self.held -= former.map_or(0, |text| length_of(key, text.len()));
    }

    /// Where the next record begins, in the memory.
    fn end(&self) -> usize {
        range_of(self.memory.bytes().len(), self.half).start + self.at
    }

    /// Answers where the record is.
    fn append(&mut self, key: &str, text: Option<&[u8]>) -> Option<Range<usize>> {
        let record = record_of(key, text);
        if !self.make_room(record.len()) {
            return None;
        }
        let begin = self.end();
        self.write(&[record]).then(|| begin..self.end())
    }

    /// Answers whether there is room for so many bytes.
    fn make_room(&mut self, bytes: usize) -> bool {
        let room = range_of(self.memory.bytes().len(), self.half).len();
        let untidy = self.at >= TIDY_FROM && self.held < self.at / 4;
        if untidy || self.at + bytes > room {
            self.tidy();
        }
        self.at + bytes <= room
    }

    /// Writes records that count together. Answers whether there was room for them.
    fn write(&mut self, records: &[Vec<u8>]) -> bool {
        let Some((first, others)) = records.split_first() else { return true };
        let others = others.concat();
        let half = range_of(self.memory.bytes().len(), self.half);
        let begin = half.start + self.at;
        let (second, end) = (begin + first.len(), begin + first.len() + others.len());
        if end > half.end {
            return false;
        }
        // No record is behind these, whatever lay there. At the very end of the half there is no room for one.
        let behind = RECORD_HEAD_BYTES.min(half.end - end);
        self.memory.store(end, &[0; RECORD_HEAD_BYTES][..behind]);
        self.memory.store(second, &others);
        self.memory.store(begin, first);
        self.at += first.len() + others.len();
        true
    }

    /// Writes the notes that hold to the other half, and lets that one hold.
    fn tidy(&mut self) {
        let (former, size) = (self.half, self.memory.bytes().len());
        self.half = 1 - former;
        (self.at, self.held) = (0, 0);
        // With nothing to write, what lay there would hold.
        self.memory.store(range_of(size, self.half).start, &[0; RECORD_HEAD_BYTES]);
        for (key, text) in std::mem::take(&mut self.places) {
            let begin = self.end();
            let record = record_of(&key, Some(self.text_at(&text)));
            // They fitted into the other half, which has the same size.
            self.write(&[record]);
            self.put(key, begin..self.end());
        }
        self.memory.store(HOLDS_AT, &[self.half]);
        self.memory.release(range_of(size, former));
    }
}

/// Where a half is.
fn range_of(size: usize, half: u8) -> Range<usize> {
    // Whole pages, so that a half can be released without touching the other.
    let length = (size - HEAD_BYTES) / 2 / HEAD_BYTES * HEAD_BYTES;
    let begin = HEAD_BYTES + usize::from(half) * length;
    begin..begin + length
}

/// How long the record of a key with so many bytes of text is.
fn length_of(key: &str, text: usize) -> usize {
    RECORD_HEAD_BYTES + key.len() + text
}

fn record_of(key: &str, text: Option<&[u8]>) -> Vec<u8> {
    // Both lengths were looked at before.
    let key_length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
    let text_length = text.map_or(GONE, |text| u32::try_from(text.len()).unwrap_or(GONE)).to_le_bytes();
    let text = text.unwrap_or_default();
    let mut record = Vec::with_capacity(length_of(key, text.len()));
    record.extend_from_slice(&key_length);
    record.extend_from_slice(&text_length);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(key.as_bytes());
    record.extend_from_slice(text);
    let (head, content) = record.split_at_mut(RECORD_HEAD_BYTES);
    let (lengths, sum) = head.split_at_mut(2 + 4);
    sum.copy_from_slice(&checksum(lengths, content).to_le_bytes());
    record
}

/// Tells a record from what was left by one that was not written to its end. Never zero, which memory is made of.
fn checksum(lengths: &[u8], content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(lengths);
    sum.update(content);
    sum.finalize() | 1
}

/// Where the texts of a half are by their keys, up to its end or to the first record that is not whole; and where that is.
fn read(half: &[u8]) -> (HashMap<&str, Range<usize>>, usize) {
    let (mut newest, mut at) = (HashMap::new(), 0);
    while let Some((key, text, length)) = half.get(at..).and_then(next_record) {
        at += length;
        match text {
            Some(text) => drop(newest.insert(key, at - text.len()..at)),
            None => drop(newest.remove(key)),
        }
    }
    (newest, at)
}

fn next_record(bytes: &[u8]) -> Option<(&str, Option<&[u8]>, usize)> {
    let (lengths, rest) = bytes.split_at_checked(2 + 4)?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let key_length = usize::from(u16::from_le_bytes(*lengths.first_chunk::<2>()?));
    let text_length = u32::from_le_bytes(*lengths.last_chunk::<4>()?);
    let is_gone = text_length == GONE;
    let content_length = key_length.checked_add(if is_gone { 0 } else { usize::try_from(text_length).ok()? })?;
    let content = rest.get(..content_length)?;
    if checksum(lengths, content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (key, text) = content.split_at_checked(key_length)?;
    let key = std::str::from_utf8(key).ok()?;
    Some((key, (!is_gone).then_some(text), RECORD_HEAD_BYTES + content_length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    /// Small enough to be full soon.
    const SMALL: usize = 5 * HEAD_BYTES;

    /// Memory whose writer can be killed, and whose pages are not always given back.
    #[derive(Debug, Clone)]
    struct Paper {
        bytes: Vec<u8>,
        /// Bytes until the writer is killed: nothing is stored or released from then on.
        left: usize,
        keeps: bool,
    }

    impl Paper {
        fn of(size: usize) -> Paper {
            Paper { bytes: vec![0; size], left: usize::MAX, keeps: false }
        }
    }

    impl Memory for Paper {
        fn bytes(&self) -> &[u8] {
            &self.bytes
        }

        fn store(&mut self, at: usize, bytes: &[u8]) {
            let stored = bytes.len().min(self.left);
            self.bytes[at..at + stored].copy_from_slice(&bytes[..stored]);
            self.left -= stored;
        }

        fn release(&mut self, part: Range<usize>) {
            if self.left > 0 && !self.keeps {
                self.bytes[part].fill(0);
            }
        }
    }

    fn small() -> Slate<Paper> {
        Slate::create(Paper::of(SMALL))
    }

    fn again(slate: Slate<Paper>) -> Slate<Paper> {
        let memory = slate.into_memory();
        Slate::open(Paper { left: usize::MAX, ..memory }).unwrap()
    }

    fn notes(slate: &Slate<Paper>) -> Vec<(&str, &[u8])> {
        slate.notes().collect()
    }

    type Notes = BTreeMap<String, Vec<u8>>;

    fn map_of(slate: &Slate<Paper>) -> Notes {
        slate.notes().map(|(key, text)| (key.to_owned(), text.to_vec())).collect()
    }

    #[test]
    fn the_next_guard_reads_what_was_noted_last_and_goes_on() {
        let mut slate = small();
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
        let mut slate = small();
        assert!(slate.note("a", &[1; 1000]) && slate.note("b", b"old"));
        assert!(!slate.note("b", &[2; 3 * HEAD_BYTES]));
        assert!(!slate.note(&"k".repeat(KEY_BYTES_MAX + 1), b"x"));
        let slate = again(slate);
        assert_eq!(notes(&slate), [("a", &[1; 1000][..])]);
    }

    #[test]
    fn memory_of_another_form_is_refused() {
        assert!(Slate::open(Paper::of(SMALL)).is_err());
        let mut other = Paper::of(SMALL);
        other.store(0, b"tutela 2");
        assert!(Slate::open(other).is_err());
    }

    /// A guard was killed when the other half held already and this one was not given back; the next one comes back to
    /// it with a record that ends where one of those begins.
    #[test]
    fn what_lies_behind_the_last_record_is_no_note() {
        let mut slate = small();
        slate.memory.keeps = true;
        slate.note("a", b"1");
        slate.note("b", b"long gone");
        slate.erase("b");
        slate.tidy();
        slate.note("a", b"2");
        slate.tidy();
        assert_eq!(notes(&again(slate)), [("a", &b"2"[..])]);
        let mut slate = small();
        slate.memory.keeps = true;
        slate.note("a", b"1");
        slate.tidy();
        slate.erase("a");
        slate.tidy();
        assert_eq!(notes(&again(slate)), []);
    }

    proptest! {
        /// However often it is tidied, and whatever is killed in between or in the middle of it: before the note under
        /// way, or after it.
        #[test]
        fn it_holds_what_a_map_would(
            steps in proptest::collection::vec(
                (0_u8..6, proptest::option::of(0_usize..900), proptest::option::weighted(0.2, 0_usize..4000)),
                1..200,
            ),
            keeps: bool,
        ) {
            let mut slate = small();
            slate.memory.keeps = keeps;
            let mut map = Notes::new();
            for (number, (key, length, killed)) in steps.into_iter().enumerate() {
                let key = format!("key {key}");
                let mut after = map.clone();
                slate.memory.left = killed.unwrap_or(usize::MAX);
                match length {
                    Some(length) => {
                        let text = vec![number as u8; length];
                        prop_assert!(slate.note(&key, &text));
                        after.insert(key, text);
                    }
                    None => {
                        slate.erase(&key);
                        after.remove(&key);
                    }
                }
                if killed.is_some() {
                    slate = again(slate);
                    let found = map_of(&slate);
                    prop_assert!(found == map || found == after);
                    map = found;
                } else {
                    prop_assert_eq!(&map_of(&slate), &after);
                    map = after;
                }
            }
        }

        /// Notes that belong together are there together.
        #[test]
        fn of_notes_that_belong_together_all_are_there_or_none(
            steps in proptest::collection::vec(
                (
                    proptest::collection::btree_map("[a-e]", proptest::option::of(0_usize..400), 0..6),
                    proptest::option::weighted(0.3, 0_usize..2500),
                ),
                1..60,
            ),
            keeps: bool,
        ) {
            let mut slate = small();
            slate.memory.keeps = keeps;
            let mut map = Notes::new();
            for (number, (notes, killed)) in steps.into_iter().enumerate() {
                let text = |length: usize| vec![number as u8; length];
                let notes: BTreeMap<_, _> = notes.into_iter().map(|(key, length)| (key, length.map(text))).collect();
                let mut after = map.clone();
                for (key, text) in &notes {
                    match text {
                        Some(text) => drop(after.insert(key.clone(), text.clone())),
                        None => drop(after.remove(key)),
                    }
                }
                slate.memory.left = killed.unwrap_or(usize::MAX);
                prop_assert!(slate.note_all(notes));
                if killed.is_some() {
                    slate = again(slate);
                    let found = map_of(&slate);
                    prop_assert!(found == map || found == after);
                    map = found;
                } else {
                    prop_assert_eq!(&map_of(&slate), &after);
                    map = after;
                }
                let held: usize = map.iter().map(|(key, text)| length_of(key, text.len())).sum();
                prop_assert_eq!(slate.held, held);
            }
        }

        /// A record that was cut or written over at any byte ends what is read, and changes nothing before it.
        #[test]
        fn a_torn_record_is_as_if_it_were_not_there(cut in 0_usize..60, byte in 1_u8..) {
            let mut slate = small();
            slate.note("first", b"holds");
            let at = HEAD_BYTES + slate.at;
            slate.note("second", b"is torn in the middle of it");
            let length = HEAD_BYTES + slate.at - at;
            slate.memory.bytes[at + cut % length] ^= byte;
            let slate = again(slate);
            prop_assert_eq!(notes(&slate), [("first", &b"holds"[..])]);
        }

        /// Nonsense is read as little, without a panic.
        #[test]
        fn nonsense_is_no_note(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (notes, at) = read(&bytes);
            prop_assert!(at <= bytes.len() && notes.len() <= bytes.len());
        }
    }
}
