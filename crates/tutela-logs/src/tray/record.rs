//! What a side of a tray says of itself: what is under way, and what the writer has counted.

use crate::policy::Form;
use crate::stamp::Wall;
use crate::writer::Count;

/// How many bytes of an error's text are kept: its beginning, which names the cause.
const ERROR_BYTES: usize = 160;

/// Numbers in a record, the error's text among them.
const WORDS: usize = 33 + ERROR_BYTES / 8;

/// Behind the sequence number and before the check.
pub(super) const RECORD_BYTES: usize = (WORDS + 2) * 8;

/// Everything that a successor has to know of a side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// So many bytes were in the chamber, and their reading began. What the chamber lacks of them is in the input.
    pub(crate) reading: usize,
    /// So many bytes of the input are of the program.
    pub(crate) input: usize,
    /// So many of these are in the state, in the load or in a file.
    pub(crate) taken: usize,
    pub(crate) state: State,
    pub(crate) load: Load,
    pub(crate) write: Write,
    pub(crate) tally: Tally,
}

/// What is held between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// Which of the two places.
    pub(crate) place: usize,
    pub(crate) length: usize,
    pub(crate) check: u64,
    /// How many bytes of the program are in it.
    pub(crate) bytes: u64,
}

/// What is on its way to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) source: Source,
    /// Where in the source it begins.
    pub(crate) start: usize,
    pub(crate) length: usize,
    /// So much of it is in a file, or was given up and counted.
    pub(crate) done: usize,
    pub(crate) form: FormWord,
    /// Of how many records the ends and counts lie behind it.
    pub(crate) records: usize,
    /// The moments of its entries.
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

/// Where a load lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Source {
    #[default]
    None,
    Input,
    Output,
}

/// A form; none is that of bytes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormWord(pub(crate) Form);

impl Default for FormWord {
    fn default() -> Self {
        FormWord(Form::Raw)
    }
}

/// A write that was about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Write {
    pub(crate) target: Target,
    /// The file, as the system tells it from others.
    pub(crate) file: (u64, u64),
    /// The file's length before it.
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Target {
    #[default]
    None,
    /// The next part of the load.
    Part,
    /// A note that something is missing.
    Note,
}

/// What the writer has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// The highest is the latest of a label.
    pub(crate) stamp: u64,
    pub(crate) stored: Count,
    pub(crate) dropped: Count,
    /// Since the disk refuses: what is not yet told in the file, and all.
    pub(crate) trouble: Option<(Count, Count, String)>,
    /// The moment of the last record.
    pub(crate) latest: Wall,
}

impl Record {
    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.reading == 0 && self.input == 0 && self.load.source == Source::None
    }

    /// The load is in the file, or was given up.
    pub(crate) fn unload(&mut self) {
        if self.load.source == Source::Input {
            self.taken = self.load.start + self.load.length;
        }
        self.load = Load::default();
        self.settle();
    }

    /// What was read is forgotten once all of it is taken.
    pub(crate) fn settle(&mut self) {
        if self.taken == self.input && self.load.source != Source::Input {
            (self.taken, self.input) = (0, 0);
        }
    }

    /// Whether it tells what can be.
    pub(crate) fn fits(&self) -> bool {
        let Load { source, start, length, done, records, .. } = self.load;
        let end = start.saturating_add(length);
        let load = match source {
            Source::None => length == 0,
            Source::Input => end <= self.input && start == self.taken && records == 0,
            Source::Output => {
                start == 0 && records.saturating_mul(RECORD_END_BYTES).saturating_add(end) <= super::OUTPUT_BYTES
            }
        };
        let write = match self.write.target {
            Target::None | Target::Note => true,
            // What had no room here is written all the same, and is nothing to be finished.
            Target::Part => source == Source::None || self.write.length <= length.saturating_sub(done),
        };
        self.reading <= super::INPUT_BYTES
            && self.input <= super::INPUT_BYTES
            && self.taken <= self.input
            && self.state.place < 2
            && self.state.length <= super::STATE_BYTES
            && done <= length
            && load
            && write
    }

    fn words(&self) -> [u64; WORDS] {
        let Record { state, load, write, tally, .. } = self;
        let (untold, missing, error) = match &tally.trouble {
            Some((untold, missing, error)) => (*untold, *missing, error.as_bytes()),
            None => (Count::default(), Count::default(), &[][..]),
        };
        let error = &error[..error.len().min(ERROR_BYTES)];
        let form = match load.form.0 {
            Form::Raw => 0,
            Form::Stamped => 1,
            Form::Json => 2,
        };
        let numbers = [
            self.reading as u64,
            self.input as u64,
            self.taken as u64,
            state.place as u64,
            state.length as u64,
            state.check,
            state.bytes,
            load.source as u64,
            load.start as u64,
            load.length as u64,
            load.done as u64,
            form,
            load.records as u64,
            load.earliest,
            load.latest,
            write.target as u64,
            write.file.0,
            write.file.1,
            write.offset,
            write.length as u64,
            tally.stamp,
            tally.stored.bytes,
            tally.stored.lines,
            tally.dropped.bytes,
            tally.dropped.lines,
            u64::from(tally.trouble.is_some()),
            untold.bytes,
            untold.lines,
            missing.bytes,
            missing.lines,
            tally.latest.as_micros(),
            error.len() as u64,
            0,
        ];
        let mut words = [0; WORDS];
        words[..numbers.len()].copy_from_slice(&numbers);
        for (word, chunk) in words[numbers.len()..].iter_mut().zip(error.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(bytes);
        }
        words
    }

    fn of_words(words: &[u64; WORDS]) -> Option<Self> {
        let mut numbers = words.iter().copied();
        let mut next = || numbers.next().unwrap_or_default();
        let mut size = || usize::try_from(next()).unwrap_or(usize::MAX);
        let (reading, input, taken) = (size(), size(), size());
        let (place, length) = (size(), size());
        let state = State { place, length, check: next(), bytes: next() };
        let source = match next() {
            0 => Source::None,
            1 => Source::Input,
            2 => Source::Output,
            _ => return None,
        };
        let mut size = || usize::try_from(next()).unwrap_or(usize::MAX);
        let (start, length, done) = (size(), size(), size());
        let form = FormWord(match next() {
            0 => Form::Raw,
            1 => Form::Stamped,
            2 => Form::Json,
            _ => return None,
        });
        let records = usize::try_from(next()).unwrap_or(usize::MAX);
        let load = Load { source, start, length, done, form, records, earliest: next(), latest: next() };
        let target = match next() {
            0 => Target::None,
            1 => Target::Part,
            2 => Target::Note,
            _ => return None,
        };
        let (file, offset) = ((next(), next()), next());
        let write = Write { target, file, offset, length: usize::try_from(next()).unwrap_or(usize::MAX) };
        let stamp = next();
        let mut count = || Count { bytes: next(), lines: next() };
        let (stored, dropped) = (count(), count());
        let failing = next() != 0;
        let mut count = || Count { bytes: next(), lines: next() };
        let (untold, missing) = (count(), count());
        let latest = Wall::from_micros(next());
        let error_length = usize::try_from(next()).unwrap_or(usize::MAX).min(ERROR_BYTES);
        let text: Vec<u8> = words[WORDS - ERROR_BYTES / 8..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let error = String::from_utf8_lossy(&text[..error_length]).into_owned();
        let trouble = failing.then_some((untold, missing, error));
        let tally = Tally { stamp, stored, dropped, trouble, latest };
        Some(Record { reading, input, taken, state, load, write, tally })
    }
}

/// The record as it stands in its slot.
pub(super) fn written(sequence: u64, record: &Record) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let words = record.words();
    let check = words.iter().fold(mixed(SEED, sequence), |check, word| mixed(check, *word));
    let all = std::iter::once(sequence).chain(words).chain([check]);
    for (place, word) in bytes.chunks_exact_mut(8).zip(all) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The record in a slot, with its number. `None`: it is none, or half of one. One to which nothing was ever written has the
/// one of a side on which nothing was ever under way, with the number 0.
pub(super) fn read(slot: &[u8]) -> Option<(u64, Record)> {
    if slot.iter().all(|byte| *byte == 0) {
        return Some((0, Record::default()));
    }
    let mut all = slot.chunks_exact(8).map(|word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        u64::from_le_bytes(bytes)
    });
    let sequence = all.next()?;
    let mut words = [0; WORDS];
    for word in &mut words {
        *word = all.next()?;
    }
    let check = words.iter().fold(mixed(SEED, sequence), |check, word| mixed(check, *word));
    // A number that can be counted on from.
    (sequence > 0 && sequence < u64::MAX / 2 && all.next()? == check)
        .then(|| Record::of_words(&words))
        .flatten()
        .map(|it| (sequence, it))
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// Against accidents, not against anybody.
fn mixed(check: u64, word: u64) -> u64 {
    let mixed = (check ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// The check of some bytes.
pub(crate) fn check_of(bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    chunks.fold(mixed(SEED, bytes.len() as u64), mixed)
}

/// How much room the end and the count of a record take behind a load.
pub(crate) const RECORD_END_BYTES: usize = 24;

/// Where a record of a load ends, and what the program wrote for it.
pub(crate) fn put_record_end(end: usize, count: Count, into: &mut [u8]) {
    for (place, number) in into.chunks_exact_mut(8).zip([end as u64, count.bytes, count.lines]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// As it was put; an end behind the load is none that could be.
pub(crate) fn record_end(bytes: &[u8]) -> (usize, Count) {
    let mut numbers = bytes.chunks_exact(8).map(|number| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(number);
        u64::from_le_bytes(bytes)
    });
    let mut next = || numbers.next().unwrap_or_default();
    (usize::try_from(next()).unwrap_or(usize::MAX), Count { bytes: next(), lines: next() })
}
