//! Memory that outlives a guard within a test, and moments at which the guard dies.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::writer::Count;
use proptest::prelude::*;
use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

thread_local! {
    /// After how many moments the guard of this thread dies; zero: never.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// What a death unwinds with.
pub(crate) struct Killed;

/// Lets the guard die at the moment of this number from here, counted from one; zero: lets it live.
pub(crate) fn die_at(number: u64) {
    LEFT.set(number);
}

/// How many moments are left.
pub(crate) fn left() -> u64 {
    LEFT.get()
}

fn is_last() -> bool {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(1));
    left == 1
}

pub(crate) fn moment() {
    if is_last() {
        die();
    }
}

pub(crate) fn die() -> ! {
    std::panic::resume_unwind(Box::new(Killed))
}

/// Before a write, and with its first half written.
pub(crate) fn moment_within_a_write(file: &mut File, bytes: &[u8]) {
    moment();
    if is_last() {
        file.write_all(&bytes[..bytes.len() / 2]).unwrap();
        die();
    }
}

/// Where the bytes are while nobody has them.
pub(crate) type Shelf = Arc<Mutex<Option<Vec<u8>>>>;

/// Memory that goes back to its shelf.
pub(crate) struct OnShelf {
    shelf: Shelf,
    bytes: Vec<u8>,
}

impl OnShelf {
    pub(crate) fn of(shelf: &Shelf) -> Box<dyn Memory> {
        let bytes = shelf.lock().unwrap().take().unwrap();
        Box::new(OnShelf { shelf: shelf.clone(), bytes })
    }
}

impl Drop for OnShelf {
    fn drop(&mut self) {
        *self.shelf.lock().unwrap() = Some(std::mem::take(&mut self.bytes));
    }
}

impl Memory for OnShelf {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn release(&mut self, part: Range<usize>) {
        assert!(part.start.is_multiple_of(PAGE_BYTES) && part.end.is_multiple_of(PAGE_BYTES));
    }

    fn is_blank(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }
}

pub(crate) fn shelf(size: usize) -> Shelf {
    Arc::new(Mutex::new(Some(vec![0; size])))
}

#[test]
fn what_is_no_tray_of_this_version_is_refused_with_words() {
    let small = shelf(4096);
    assert_eq!(Tray::create(OnShelf::of(&small)).err(), Some(TrayRefusal::Size(4096)));
    let shelf = shelf(TRAY_BYTES);
    let mut tray = Tray::create(OnShelf::of(&shelf)).unwrap();
    tray.parts(Stream::Err).book.commit();
    drop(tray);
    assert!(Tray::open(OnShelf::of(&shelf)).unwrap().damage.is_empty());
    shelf.lock().unwrap().as_mut().unwrap()[6] += 1;
    let refusal = Tray::open(OnShelf::of(&shelf)).err().unwrap();
    assert!(refusal.to_string().starts_with("refused: a tray of another version"), "{refusal}");
}

#[test]
fn a_tray_in_which_nothing_was_under_way_is_left_untouched_and_taken_over() {
    let shelf = shelf(TRAY_BYTES);
    let mut tray = Tray::create(OnShelf::of(&shelf)).unwrap();
    tray.sweep();
    drop(tray);
    assert!(shelf.lock().unwrap().as_ref().unwrap().iter().all(|byte| *byte == 0));
    let mut tray = Tray::open(OnShelf::of(&shelf)).unwrap();
    assert!(tray.damage.is_empty());
    assert_eq!(*tray.parts(Stream::Out).book.record(), Record::default());
}

#[test]
fn a_record_that_is_half_written_leaves_the_one_before() {
    let shelf = shelf(TRAY_BYTES);
    let mut tray = Tray::create(OnShelf::of(&shelf)).unwrap();
    for reading in 1..100 {
        let mut book = tray.parts(Stream::Err).book;
        book.record().reading = reading;
        // The second of the three moments of a commit lies between its halves.
        die_at(2);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| book.commit())).unwrap_err();
        drop(tray);
        tray = Tray::open(OnShelf::of(&shelf)).unwrap();
        let mut book = tray.parts(Stream::Err).book;
        assert_eq!(book.record().reading, reading - 1);
        book.record().reading = reading;
        book.commit();
    }
}

#[test]
fn a_record_that_tells_what_cannot_be_is_told_once_and_never_the_newest_again() {
    let shelf = shelf(TRAY_BYTES);
    let mut tray = Tray::create(OnShelf::of(&shelf)).unwrap();
    for reading in [1, 2, usize::MAX] {
        let mut book = tray.parts(Stream::Out).book;
        book.record().reading = reading;
        book.commit();
    }
    drop(tray);
    let mut tray = Tray::open(OnShelf::of(&shelf)).unwrap();
    assert_eq!(tray.damage, [(Stream::Out, "its record tells what cannot be")]);
    let mut book = tray.parts(Stream::Out).book;
    assert_eq!(*book.record(), Record::default());
    book.record().reading = 7;
    book.commit();
    drop(tray);
    let mut tray = Tray::open(OnShelf::of(&shelf)).unwrap();
    assert!(tray.damage.is_empty());
    assert_eq!(tray.parts(Stream::Out).book.record().reading, 7);
}

/// Memory that counts how many parts of it were given back.
struct Counted(Vec<u8>, Arc<Mutex<usize>>);

impl Memory for Counted {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn release(&mut self, _: Range<usize>) {
        *self.1.lock().unwrap() += 1;
    }
}

#[test]
fn only_memory_that_was_used_is_given_back_and_only_once() {
    let released = Arc::new(Mutex::new(0));
    let take = || std::mem::take(&mut *released.lock().unwrap());
    let mut tray = Tray::create(Box::new(Counted(vec![0; TRAY_BYTES], released.clone()))).unwrap();
    tray.sweep();
    assert_eq!(take(), 0, "nothing of a new tray was used");
    tray.parts(Stream::Out).book.commit();
    tray.sweep();
    assert_eq!(take(), 2, "the other state, and the input with the output");
    tray.sweep();
    assert_eq!(take(), 0, "it was given back");

    tray.parts(Stream::Out).book.record().reading = 1;
    tray.parts(Stream::Out).book.commit();
    tray.sweep();
    assert_eq!(take(), 0, "something is under way");
    tray.parts(Stream::Out).book.record().reading = 0;
    tray.sweep();
    assert_eq!(take(), 2, "it is over");

    let bytes = tray.memory.bytes().to_vec();
    let mut tray = Tray::open(Box::new(Counted(bytes, released.clone()))).unwrap();
    tray.release(Stream::Err);
    assert_eq!(take(), 2, "nobody knows what a guard that died had used");
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(2), Just(u64::MAX), 0..100_000u64, any::<u64>()]
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written_and_any_change_of_a_byte_is_noticed(
        words in prop::collection::vec(word(), 12), error in "[a-zä ]{0,80}", at in 0usize..440, by in 1u8..,
    ) {
        let size = |word: u64| usize::try_from(word).unwrap();
        let (untold, missing) = (Count { bytes: words[8], lines: words[9] }, Count { bytes: words[10], lines: words[11] });
        let record = Record {
            reading: size(words[0]),
            input: size(words[1]),
            write: Write { target: Target::Note, file: (words[2], words[3]), offset: words[4], length: size(words[5]) },
            tally: Tally { stamp: words[6], trouble: Some((untold, missing, error)), ..Tally::default() },
            ..Record::default()
        };
        let mut bytes = record::written(words[7] % 1000 + 1, &record);
        let (sequence, read) = record::read(&bytes).unwrap();
        prop_assert_eq!(sequence, words[7] % 1000 + 1);
        prop_assert_eq!(&read, &record);
        bytes[at] ^= by;
        prop_assert_eq!(record::read(&bytes), None);
    }
}
