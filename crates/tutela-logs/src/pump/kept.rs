//! A stream with a tray: read, written and taken over so that a kill at any moment costs no byte and doubles none.
//!
//! ```text
//!        fill                announce, drain             commit                    announce, write, note
//! pipe ────────> chamber ──────────────────> input ──────────────> state, output ──────────────────────> file
//! ```
//!
//! Called by the stream's task. Each arrow is decided by who takes over: where a byte is, from the record, the chamber
//! and the file. Bytes that nobody changes on the way are written from the input, where the system put them.

use super::lines::{Lines, Way};
use crate::policy::{Form, Stream};
use crate::stamp::Wall;
use crate::tray::{
    FormWord, INPUT_BYTES, Load as LoadWords, Parts, RECORD_END_BYTES, Sluice, Source, State, Tally, Tray, check_of,
    moment, put_record_end, record_end,
};
use crate::writer::{Batch, Count, Load, Writer};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How many lines are made records at once, so that there is room for them in a tray, whatever they become: an empty line
/// becomes some 300 bytes.
const PORTION_LINES: usize = 2048;

/// More than this of a chamber is nothing that a turn put there.
const CHAMBER_TURNS_MAX: usize = 64;

/// A stream's side of a tray and its sluice.
pub(super) struct Kept {
    tray: Rc<RefCell<Tray>>,
    stream: Stream,
    /// `None`: it could not be opened, and there is nothing to read from.
    sluice: Option<Box<dyn Sluice>>,
    /// For what is held, from turn to turn.
    held: Vec<u8>,
}

impl Kept {
    pub(super) fn new(tray: Rc<RefCell<Tray>>, stream: Stream, sluice: Option<Box<dyn Sluice>>) -> Self {
        Kept { tray, stream, sluice, held: Vec::new() }
    }

    /// What was counted when this side was committed last.
    pub(super) fn tally(&self) -> Tally {
        self.tray.borrow_mut().parts(self.stream).book.record().tally.clone()
    }

    /// Brings to its end what a dead guard had under way, and answers the lines as it held them. Each of `damaged` is
    /// something that could not be kept, in words.
    pub(super) fn take_over(&mut self, mut way: Way<'_>, damaged: &mut Vec<String>) -> Lines {
        let Kept { tray, stream, sluice, held } = self;
        let mut tray = tray.borrow_mut();
        if let Some(what) = tray.damage(*stream) {
            damaged.push(format!("the tray of a guard that died is damaged: {what}; what it held is lost, uncounted"));
        }
        let mut parts = tray.parts(*stream);
        let record = parts.book.record().clone();
        way.writer.finish_note(&mut parts.book);
        finish_load(&mut parts, &mut way, damaged);
        let state = record.state;
        let bytes = &parts.states[state.place][..state.length];
        let mut lines = match Lines::of_held(bytes, way.writer)
            .filter(|_| check_of(bytes) == state.check || state.length == 0)
        {
            Some(lines) => lines,
            None => {
                way.writer.give_up(state.bytes);
                let lost = state.bytes;
                damaged.push(format!("the tray of a guard that died is damaged: {lost} bytes of half lines are lost"));
                let tally = way.writer.tally();
                (parts.book.record().state, parts.book.record().tally) = (State::default(), tally);
                parts.book.commit();
                Lines::of_held(&[], way.writer).unwrap_or_default()
            }
        };
        if record.reading > 0 {
            let left = match sluice.as_ref().map(|sluice| sluice.filled()) {
                Some(Ok(left)) if left <= record.reading => left,
                other => {
                    if !matches!(other, Some(Ok(_))) {
                        way.writer.give_up(record.reading as u64);
                    }
                    let read = record.reading;
                    damaged.push(format!(
                        "a guard died reading {read} bytes, and its pipe does not tell how many it read"
                    ));
                    read
                }
            };
            let tally = way.writer.tally();
            let record = parts.book.record();
            (record.input, record.taken, record.reading) = (record.reading - left, 0, 0);
            (record.write, record.tally) = (Default::default(), tally);
            parts.book.commit();
        }
        let (input, taken) = (parts.book.record().input, parts.book.record().taken);
        go_on(&mut parts, &mut lines, &mut way, held, input, taken);
        // What was moved into the chamber, and not read.
        for _ in 0..CHAMBER_TURNS_MAX {
            let filled = sluice.as_ref().map_or(Ok(0), |sluice| sluice.filled()).unwrap_or(0);
            if filled == 0 {
                break;
            }
            let length = filled.min(INPUT_BYTES);
            if let Err(error) = read(&mut parts, sluice, &mut lines, &mut way, held, length) {
                damaged.push(format!("failed to read what a guard that died left: {error}"));
                break;
            }
        }
        if way.writer.mask().is_some() && parts.book.is_used() {
            // It may have died before it did.
            parts.input.fill(0);
            let place = 1 - parts.book.record().state.place;
            parts.states[place].fill(0);
        }
        tray.release(*stream);
        lines
    }

    /// Moves what is in the pipe into the chamber: how much. Zero: the pipe ended.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        moment();
        match &mut self.sluice {
            Some(sluice) => sluice.poll_fill(cx, INPUT_BYTES),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Brings what was moved into the chamber on its way.
    pub(super) fn take(&mut self, length: usize, lines: &mut Lines, mut way: Way<'_>) -> io::Result<()> {
        let mut tray = self.tray.borrow_mut();
        read(&mut tray.parts(self.stream), &mut self.sluice, lines, &mut way, &mut self.held, length)
    }

    /// What is held for joining has waited long enough.
    pub(super) fn give(&mut self, lines: &mut Lines, mut way: Way<'_>) {
        way.batch.staged = true;
        lines.give(way.again());
        self.put(lines, &mut way);
    }

    /// The stream is over: what is held has no newline to come.
    pub(super) fn end(&mut self, lines: &mut Lines, mut way: Way<'_>) {
        way.batch.staged = true;
        lines.end(way.again());
        self.put(lines, &mut way);
    }

    fn put(&mut self, lines: &Lines, way: &mut Way<'_>) {
        let mut tray = self.tray.borrow_mut();
        put(&mut tray.parts(self.stream), lines, way, &mut self.held, 0, 0..0);
    }
}

/// Reads what is in the chamber into the input, and goes on with it.
fn read(
    parts: &mut Parts<'_>,
    sluice: &mut Option<Box<dyn Sluice>>,
    lines: &mut Lines,
    way: &mut Way<'_>,
    held: &mut Vec<u8>,
    length: usize,
) -> io::Result<()> {
    let Some(sluice) = sluice else { return Ok(()) };
    let length = length.min(INPUT_BYTES);
    parts.book.record().reading = length;
    parts.book.commit();
    let (mut read, mut result) = (0, Ok(()));
    while read < length {
        match sluice.drain(&mut parts.input[read..length]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        moment();
    }
    go_on(parts, lines, way, held, read, 0);
    result
}

/// Brings the input on its way, from where it is not taken yet, in portions that have room.
fn go_on(
    parts: &mut Parts<'_>,
    lines: &mut Lines,
    way: &mut Way<'_>,
    held: &mut Vec<u8>,
    input: usize,
    mut taken: usize,
) {
    while taken < input {
        let to = taken + portion(&parts.input[taken..input], way.writer.form());
        way.batch.staged = true;
        lines.take(&parts.input[taken..to], way.again());
        put(parts, lines, way, held, input, taken..to);
        taken = to;
    }
}

/// How much of the input is taken at once.
fn portion(input: &[u8], form: Form) -> usize {
    match form {
        Form::Raw | Form::Stamped => input.len(),
        Form::Json => memchr::memchr_iter(b'\n', input).nth(PORTION_LINES - 1).map_or(input.len(), |at| at + 1),
    }
}

/// What a portion became is put down, and goes to the file.
fn put(
    parts: &mut Parts<'_>,
    lines: &Lines,
    way: &mut Way<'_>,
    held: &mut Vec<u8>,
    input: usize,
    portion: std::ops::Range<usize>,
) {
    let Way { writer, batch, now, .. } = way;
    batch.staged = false;
    let is_verbatim = std::mem::take(&mut batch.verbatim);
    let form = writer.form();
    let (earliest, latest) = batch.span.unwrap_or((now.wall, now.wall));
    let record = parts.book.record();
    let was_idle = record.is_idle();
    (record.reading, record.input) = (0, input);
    if is_verbatim {
        // Nothing is held that is not in a file. It is written down with the announcement of the write.
        record.taken = portion.start;
        record.state = State { place: record.state.place, ..State::default() };
        let (start, length) = (portion.start, portion.len());
        let (earliest, latest) = (now.wall.as_micros(), now.wall.as_micros());
        record.load = LoadWords { source: Source::Input, start, length, earliest, latest, ..LoadWords::default() };
        let load = Load {
            bytes: &parts.input[portion],
            form: Form::Raw,
            records: &[],
            span: (now.wall, now.wall),
            total: None,
        };
        writer.put_out(&load, batch, &mut parts.book, *now);
        return;
    }
    let (bytes, records) = (std::mem::take(&mut batch.bytes), std::mem::take(&mut batch.records));
    let ends = bytes.len().next_multiple_of(8);
    let has_room = ends + records.len() * RECORD_END_BYTES <= parts.output.len();
    if has_room {
        parts.output[..bytes.len()].copy_from_slice(&bytes);
        let behind = parts.output[ends..].chunks_exact_mut(RECORD_END_BYTES);
        records.iter().zip(behind).for_each(|((end, count), place)| put_record_end(*end, *count, place));
    }
    let before = record.state;
    let bytes_held = lines.put_held(held);
    // A program that wrote nothing ends: its tray stays untouched.
    if was_idle && bytes.is_empty() && held.is_empty() && before.length == 0 {
        give_back(batch, bytes, records);
        return;
    }
    let place = 1 - before.place;
    parts.states[place][..held.len()].copy_from_slice(held);
    record.state = State { place, length: held.len(), check: check_of(held), bytes: bytes_held };
    record.taken = portion.end;
    if !bytes.is_empty() && has_room {
        let (length, count) = (bytes.len(), records.len());
        let (earliest, latest) = (earliest.as_micros(), latest.as_micros());
        let form = FormWord(form);
        record.load =
            LoadWords { source: Source::Output, start: 0, length, done: 0, form, records: count, earliest, latest };
    }
    record.settle();
    parts.book.commit();
    if writer.mask().is_some() {
        // What is masked in the files must not be readable here for longer than it has to.
        parts.input[portion].fill(0);
        parts.states[before.place][..before.length].fill(0);
        moment();
    }
    let total = (form != Form::Raw).then_some((batch.count, batch.entries));
    let load = Load { bytes: &bytes, form, records: &records, span: (earliest, latest), total };
    writer.put_out(&load, batch, &mut parts.book, *now);
    give_back(batch, bytes, records);
}

/// The batch has its room again, and is empty.
fn give_back(batch: &mut Batch, bytes: Vec<u8>, records: Vec<(usize, Count)>) {
    (batch.bytes, batch.records) = (bytes, records);
    batch.clear();
}

/// What a dead guard was writing.
fn finish_load(parts: &mut Parts<'_>, way: &mut Way<'_>, damaged: &mut Vec<String>) {
    let LoadWords { source, start, length, done, form, records, earliest, latest } = parts.book.record().load;
    let span = (Wall::from_micros(earliest), Wall::from_micros(latest));
    let Way { writer, batch, now, .. } = way;
    match source {
        Source::None => {}
        Source::Input => {
            let bytes = &parts.input[start..start + length];
            let load = Load { bytes, form: Form::Raw, records: &[], span, total: None };
            writer.finish_load(&load, batch, &mut parts.book, *now);
        }
        Source::Output => {
            let bytes = &parts.output[..length];
            let ends = parts.output[length.next_multiple_of(8)..].chunks_exact(RECORD_END_BYTES);
            let records: Vec<_> = ends.take(records).map(record_end).collect();
            let is_whole = form.0 == Form::Raw || bytes.ends_with(b"\n");
            if !is_whole || !records.is_sorted_by_key(|(end, _)| *end) {
                // Entries that are none would be counted wrong, and read wrong by everybody.
                drop_load(writer, parts, length - done, damaged);
                return;
            }
            let load = Load { bytes, form: form.0, records: &records, span, total: None };
            writer.finish_load(&load, batch, &mut parts.book, *now);
        }
    }
}

fn drop_load(writer: &mut Writer, parts: &mut Parts<'_>, bytes: usize, damaged: &mut Vec<String>) {
    writer.give_up(bytes as u64);
    damaged.push(format!("the tray of a guard that died is damaged: {bytes} bytes on their way to the file are lost"));
    let tally = writer.tally();
    let record = parts.book.record();
    (record.write, record.tally) = (Default::default(), tally);
    record.unload();
    parts.book.commit();
}
