//! The machine that brings the output of many labels to one receiver: at least once each record, in the order of its
//! label; what could not be brought is counted.
//!
//! Fed with bells, records, results and moments; asked for actions, events and its next deadline. It does no IO and
//! reads no clock. The hand carries one action out, tells what came of it, and asks for the next.
//!
//! ```text
//!   asleep ──bell──▶ lingering ──due──▶ reading ──batch full, or all is read──▶ sending
//!     ▲                                  ▲ ▲                                   │   │
//!     │                                  │ └── yes, the batch was full ────────┤   │ not now
//!     ├──────────── nothing to send ─────┘                                     │   ▼
//!     └──────────── yes, everything was read ──────────────────────────────────┘  waiting ──due──▶ sending
//! ```
//!
//! Invariants: at most one batch and one reading beyond it in memory ([`BATCH_BYTES_MAX`], [`READ_BYTES`]); a label's
//! `done` is never behind what a receiver said yes to and never before what it did not; every line is in exactly one of
//! delivered, left out by the rules, dropped. Asleep it has no deadline: a silent guard is not woken.
//!
//! Deliberately absent: what a cursor is, how lines become records, which records a sink wants (the hand asks its rules
//! before it feeds them), and the files, which are the buffer.

mod counts;
mod orders;
mod overflow;
#[cfg(test)]
mod tests;

pub use counts::{Counts, Failing, ForwarderEvent};
pub use orders::{Action, LabelKey, Pace};

use super::way::Undelivered;
use crate::hands::backoff;
use counts::Telling;
use overflow::Hole;
use std::time::Duration;
use tutela_core::chance::Chance;
use tutela_core::time::Moment;
use tutela_logs::record::Record;

/// The most of a batch, in bytes of messages and fields: receivers have limits of some MiB, and it bounds the memory.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How much of a label's files is read before another label has its turn: a flood of one delays another by this, and
/// not more than this is in memory beyond the batch.
pub const READ_BYTES: u64 = 32 * 1024;

/// What a record costs beside its text, so that empty lines have a limit too.
const RECORD_OVERHEAD_BYTES: usize = 160;

/// The longest that a receiver may send us away: one that says a day is taken to have a wrong clock.
const AFTER_MAX: Duration = Duration::from_secs(3600);

/// How often a sink that is behind looks how far. Between two looks it may pass its `buffer` by what is written then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same while it waits for its receiver: nothing else is to be done then.
const LOOK_WAITING: Duration = Duration::from_secs(5);

/// How often positions are written down at most. What was delivered after the last time is delivered again by a guard
/// that was killed.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// After so many deliveries that were taken, a batch that was halved is doubled again.
const REGROW_AFTER: u32 = 100;

/// See the module's text. `C` is a position in a label's files.
#[derive(Debug)]
pub struct Forwarder<C> {
    pace: Pace,
    chance: Chance,
    state: State,
    labels: Vec<Label<C>>,
    /// Whose turn to be read it is.
    turn: usize,
    records: Vec<Record>,
    /// Of each record: whose, and where its label is once it is delivered.
    marks: Vec<Mark<C>>,
    bytes: usize,
    /// How many records a batch has at most, after a receiver found more too large.
    shrunk: Option<Shrunk>,
    looked: Moment,
    /// Skips that the last look decided.
    skips: Vec<(LabelKey, u64)>,
    dirty: bool,
    saved: Option<Moment>,
    ending: bool,
    telling: Telling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asleep,
    Lingering { until: Moment },
    Reading,
    Sending { records: usize, last: bool },
    Waiting { until: Moment },
    Ended,
}

#[derive(Debug)]
struct Label<C> {
    done: C,
    read: C,
    /// Records of it that wait in the batch.
    queued: usize,
    /// There may be something to read.
    wants: bool,
    /// What came between the last record that waits and `read`, or, without one, nothing.
    passing: Passed,
    /// Bytes read since the machine began: what a [`Hole`] is measured by.
    passed: u64,
    backlog: u64,
    hole: Option<Hole>,
}

#[derive(Debug)]
struct Mark<C> {
    label: LabelKey,
    at: C,
    bytes: usize,
    /// What came before it: counted with it, as it is behind the same position.
    passed: Passed,
}

/// Lines that become no record. They are counted when the position behind them is reached, so that what is written down
/// together belongs together.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    left_out: u64,
    overflowed: u64,
    lost: u64,
}

impl<C: Clone> Label<C> {
    /// Without records that wait, what was read is done.
    fn settle(&mut self, counts: &mut Counts) {
        if self.queued == 0 {
            self.done = self.read.clone();
            counts.pass(std::mem::take(&mut self.passing));
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Shrunk {
    records: usize,
    good: u32,
}

impl<C: Clone> Forwarder<C> {
    /// A machine without labels.
    pub fn new(pace: Pace, counts: Counts, now: Moment, seed: u64) -> Self {
        Forwarder {
            pace,
            chance: Chance::from_seed(seed),
            state: State::Asleep,
            labels: Vec::new(),
            turn: 0,
            records: Vec::new(),
            marks: Vec::new(),
            bytes: 0,
            shrunk: None,
            looked: now,
            skips: Vec::new(),
            dirty: false,
            saved: None,
            ending: false,
            telling: Telling::new(counts),
        }
    }

    /// A label that is read from here on. What is there already is read as if a bell had rung.
    pub fn add(&mut self, at: C, now: Moment) -> LabelKey {
        let key = LabelKey(self.labels.len());
        let (done, read) = (at.clone(), at);
        self.labels.push(Label {
            done,
            read,
            queued: 0,
            wants: false,
            passing: Passed::default(),
            passed: 0,
            backlog: 0,
            hole: None,
        });
        // Where a label begins has to be known to the next guard, even if nothing is ever delivered.
        (self.dirty, self.saved) = (true, None);
        self.handle_bell(key, now);
        key
    }

    /// A label has something new, perhaps.
    pub fn handle_bell(&mut self, label: LabelKey, now: Moment) {
        let Some(label) = self.labels.get_mut(label.0) else { return };
        label.wants = true;
        if self.state == State::Asleep {
            self.looked = now;
            self.state = State::Lingering { until: now + self.pace.linger };
        }
    }

    /// A record that was read, in the order of its label; `at` is behind its last line.
    pub fn handle_record(&mut self, label: LabelKey, at: C, record: Record) {
        let fields: usize = record.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = record.message.len() + fields;
        let Some(of) = self.labels.get_mut(label.0) else { return };
        of.queued += 1;
        let passed = std::mem::take(&mut of.passing);
        self.bytes += bytes + RECORD_OVERHEAD_BYTES;
        self.marks.push(Mark { label, at, bytes, passed });
        self.records.push(record);
    }

    /// A record that the sink's rules leave out, in the order of its label.
    pub fn handle_left_out(&mut self, label: LabelKey) {
        if let Some(label) = self.labels.get_mut(label.0) {
            label.passing.left_out += 1;
            self.telling.seen.left_out += 1;
        }
    }

    /// Lines that were removed before they could be read: before the record of this number in the batch, or behind all of
    /// the label's.
    pub fn handle_lost(&mut self, label: LabelKey, lines: u64, before: Option<usize>) {
        let mark = before.and_then(|at| self.marks.get_mut(at)).filter(|mark| mark.label == label);
        let passed = match (mark, self.labels.get_mut(label.0)) {
            (Some(mark), _) => &mut mark.passed,
            (None, Some(label)) => &mut label.passing,
            (None, None) => return,
        };
        passed.lost += lines;
        self.telling.seen.lost += lines;
        self.dirty |= lines > 0;
    }

    /// A reading is over: it passed so many bytes and came to `at`. `drained`: there is no more for the moment.
    pub fn handle_read(&mut self, label: LabelKey, at: C, passed: u64, drained: bool) {
        let Some(label) = self.labels.get_mut(label.0) else { return };
        label.passed += passed;
        label.wants = !drained;
        label.backlog = if drained { 0 } else { label.backlog.saturating_sub(passed) };
        label.read = at;
        label.settle(&mut self.telling.counts);
        self.dirty |= passed > 0;
    }

    /// A label cannot be read at the moment; it is tried again when a bell rings for it.
    pub fn handle_unreadable(&mut self, label: LabelKey, error: String) {
        if let Some(label) = self.labels.get_mut(label.0) {
            label.wants = false;
        }
        self.telling.error(error);
    }

    /// A skip left out so many lines and came to `at`, with so many bytes left behind it.
    pub fn handle_skipped(&mut self, label: LabelKey, at: C, lines: u64, left: u64) {
        let Some(label) = self.labels.get_mut(label.0) else { return };
        label.passing.overflowed += lines;
        self.telling.seen.overflowed += lines;
        (label.read, label.backlog, label.hole) = (at, left, None);
        label.settle(&mut self.telling.counts);
        self.dirty = true;
    }

    /// What became of the delivery.
    pub fn handle_result(&mut self, result: Result<(), Undelivered>, now: Moment) {
        let State::Sending { records, last } = self.state else { return };
        match result {
            Ok(()) => self.taken(records, 0, last, now),
            Err(Undelivered::Refused { reason, records: refused }) => {
                let refused = refused.min(records as u64);
                self.telling.error(reason);
                self.taken(records, refused, last, now);
            }
            Err(Undelivered::TooLarge { reason }) if records <= 1 => {
                self.telling.error(reason);
                self.taken(records, records as u64, last, now);
            }
            Err(Undelivered::TooLarge { .. }) => {
                self.shrunk = Some(Shrunk { records: records / 2, good: 0 });
                self.state = State::Reading;
            }
            Err(Undelivered::Later { reason, after }) => {
                let tries = self.telling.failed(reason, now);
                if self.ending {
                    self.state = State::Ended;
                    return;
                }
                let wait = backoff::spread(backoff::wait(tries, self.pace.retry_max), self.chance.fraction());
                let wait = wait.max(after.unwrap_or_default().min(AFTER_MAX));
                self.state = State::Waiting { until: now + wait };
            }
        }
    }

    /// Positions are written down, or could not be: then it is tried again, but for the last time.
    pub fn handle_saved(&mut self, done: bool, now: Moment) {
        self.dirty &= !done && !self.ending;
        self.saved = Some(now);
    }

    /// The guard ends: what is there is tried at once, and the first failure is the last.
    pub fn handle_end(&mut self) {
        self.ending = true;
        for label in &mut self.labels {
            label.wants = true;
        }
        if !matches!(self.state, State::Sending { .. } | State::Ended) {
            self.state = State::Reading;
        }
    }

    /// The next thing to do, or `None`: until a bell or [`Forwarder::poll_timeout`].
    pub fn poll_action(&mut self, now: Moment) -> Option<Action> {
        if self.is_save_due(now) {
            return Some(Action::Save);
        }
        if let Some((label, leave)) = self.skips.pop() {
            return Some(Action::Skip { label, leave });
        }
        loop {
            match self.state {
                State::Lingering { until } | State::Waiting { until } if until <= now => self.state = State::Reading,
                State::Waiting { .. } if self.is_look_due(now, LOOK_WAITING) => return Some(Action::Look),
                State::Reading if !self.ending && self.is_look_due(now, LOOK_EVERY) => return Some(Action::Look),
                State::Reading => return self.read_on(now),
                State::Sending { records, .. } => return Some(Action::Deliver { records }),
                State::Asleep | State::Lingering { .. } | State::Waiting { .. } | State::Ended => return None,
            }
        }
    }

    /// When to ask for an action again, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let of_state = match self.state {
            State::Lingering { until } => Some(until),
            State::Waiting { until } => Some(until.min(self.looked + LOOK_WAITING)),
            State::Asleep | State::Reading | State::Sending { .. } | State::Ended => None,
        };
        let save = self.dirty.then(|| self.saved.map_or(Moment::ZERO, |saved| saved + SAVE_EVERY));
        of_state.into_iter().chain(save).chain(self.telling.due()).min()
    }

    /// What happened; to be asked until there is none.
    pub fn poll_event(&mut self, now: Moment) -> Option<ForwarderEvent> {
        self.telling.poll(now)
    }

    /// The records of the batch; [`Action::Deliver`] says how many of them.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Where each label is: everything before it was delivered, left out or dropped.
    pub fn positions(&self) -> impl Iterator<Item = &C> {
        self.labels.iter().map(|label| &label.done)
    }

    /// Labels that may have something to read.
    pub fn behind(&self) -> Vec<LabelKey> {
        let wanting = self.labels.iter().enumerate().filter(|(_, label)| label.wants);
        wanting.map(|(at, _)| LabelKey(at)).collect()
    }

    /// Whether a label has nothing that is read and not delivered, and nothing to read.
    pub fn is_idle(&self, label: LabelKey) -> bool {
        self.labels.get(label.0).is_none_or(|label| !label.wants && label.queued == 0)
    }

    /// What became of everything so far, for people: also of what lies before the positions.
    pub fn seen(&self) -> &Counts {
        &self.telling.seen
    }

    /// What became of everything that is behind the positions: to be written down with them.
    pub fn counts(&self) -> &Counts {
        &self.telling.counts
    }

    /// Since when and why the receiver takes nothing; `None`: it does, as far as is known.
    pub fn failing(&self) -> Option<&Failing> {
        self.telling.failing.as_ref()
    }

    /// The last thing that went wrong.
    pub fn last_error(&self) -> Option<&str> {
        self.telling.last_error.as_deref()
    }

    /// When the receiver last said yes.
    pub fn last_delivery(&self) -> Option<Moment> {
        self.telling.last_delivery
    }

    /// Bytes of the files that it is behind, and of the batch, as of the last look.
    pub fn backlog(&self) -> u64 {
        let waiting: usize = self.marks.iter().map(|mark| mark.bytes).sum();
        self.labels.iter().map(|label| label.backlog).sum::<u64>() + waiting as u64
    }

    /// Whether bells may be listened to: only asleep it matters when they ring.
    pub fn is_asleep(&self) -> bool {
        self.state == State::Asleep
    }

    /// Whether it came to its end after [`Forwarder::handle_end`].
    pub fn is_over(&self) -> bool {
        self.ending && matches!(self.state, State::Asleep | State::Ended) && !self.dirty
    }

    fn is_save_due(&self, now: Moment) -> bool {
        let is_last = self.ending && matches!(self.state, State::Asleep | State::Ended);
        self.dirty && (is_last || self.saved.is_none_or(|saved| saved + SAVE_EVERY <= now))
    }

    fn is_look_due(&self, now: Moment, every: Duration) -> bool {
        self.looked + every <= now
    }

    /// Reads until the batch is full or everything is read.
    fn read_on(&mut self, now: Moment) -> Option<Action> {
        let most = self.shrunk.map_or(self.pace.batch, |shrunk| shrunk.records.min(self.pace.batch)).max(1);
        if self.records.len() < most && self.bytes < BATCH_BYTES_MAX {
            for step in 0..self.labels.len() {
                let at = (self.turn + step) % self.labels.len();
                let label = &self.labels[at];
                if !label.wants {
                    continue;
                }
                let key = LabelKey(at);
                let most = match label.hole.map(|hole| hole.begins.saturating_sub(label.passed)) {
                    Some(0) => return Some(Action::Skip { label: key, leave: 0 }),
                    Some(rest) => rest.min(READ_BYTES),
                    None => READ_BYTES,
                };
                self.turn = at + 1;
                return Some(Action::Read { label: key, most });
            }
        }
        if self.records.is_empty() {
            self.go_to_sleep(now);
            return self.is_save_due(now).then_some(Action::Save);
        }
        let records = self.records.len().min(most).min(self.fitting());
        let last = records == self.records.len() && !self.labels.iter().any(|label| label.wants);
        self.state = State::Sending { records, last };
        Some(Action::Deliver { records })
    }

    /// How many records fit into [`BATCH_BYTES_MAX`]; one that is larger goes alone.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let sums = self.marks.iter().map(|mark| {
            bytes += mark.bytes + RECORD_OVERHEAD_BYTES;
            bytes
        });
        sums.take_while(|sum| *sum <= BATCH_BYTES_MAX).count().max(1)
    }

    /// The first so many records are done with; `refused` of them for good.
    fn taken(&mut self, records: usize, refused: u64, last: bool, now: Moment) {
        self.records.drain(..records);
        let mut bytes = 0;
        for mark in self.marks.drain(..records) {
            bytes += mark.bytes;
            self.bytes -= mark.bytes + RECORD_OVERHEAD_BYTES;
            let Some(label) = self.labels.get_mut(mark.label.0) else { continue };
            label.queued -= 1;
            label.done = mark.at;
            self.telling.counts.pass(mark.passed);
            label.settle(&mut self.telling.counts);
        }
        self.dirty = true;
        self.telling.taken(records as u64, bytes as u64, refused, now);
        if let Some(shrunk) = &mut self.shrunk {
            shrunk.good += 1;
            if shrunk.good >= REGROW_AFTER {
                let records = shrunk.records * 2;
                self.shrunk = (records < self.pace.batch).then_some(Shrunk { records, good: 0 });
            }
        }
        if last && !self.ending { self.go_to_sleep(now) } else { self.state = State::Reading }
    }

    fn go_to_sleep(&mut self, now: Moment) {
        self.looked = now;
        self.state = State::Asleep;
        for label in &mut self.labels {
            label.backlog = 0;
        }
        if self.labels.iter().any(|label| label.wants) {
            self.state = State::Reading;
        }
    }
}
