//! Who else may see the lines while they are on their way to the files.
//!
//! The pump hands every line to the taps of its capture and goes on; a tap that cannot take it drops it
//! and counts. A pattern sees the line as it was, a console as it is written: masked. A [`console`] tap is a bounded queue to a thread that prints; a [`Pattern`] waits for the
//! first line of its kind, as log probes do.

use crate::lines::Piece;
use crate::policy::Stream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many bytes a console may be behind. A terminal shows a few MB a second, so this is about a second.
const CONSOLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a queued line costs beside its text, so that empty lines have a limit too.
const LINE_OVERHEAD_BYTES: usize = 64;

/// A line on its way to a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub label: Arc<str>,
    /// Which stream.
    pub stream: Stream,
    /// The bytes, without the newline.
    pub bytes: Box<[u8]>,
    /// Whether the line ended here; `false` for a piece of a long line and for a last line without newline.
    pub ended: bool,
}

/// What a console gets at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines, in order of arrival.
    pub lines: Vec<Line>,
    /// How many lines did not fit behind them.
    pub dropped: u64,
}

/// The pump's end of a console's queue. Cheap to clone; one queue serves every capture.
#[derive(Debug, Clone)]
pub struct ConsoleTap {
    queue: Arc<Queue>,
}

/// The console's end of its queue. When it is dropped, the taps take nothing any more.
#[derive(Debug)]
pub struct ConsoleLines {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    /// Everything that was taken is shown.
    shown: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    batch: Batch,
    bytes: usize,
    /// What the console has taken is not known to be shown.
    taken: bool,
    closed: bool,
}

impl Queue {
    /// The lock is held for a push or a swap, so nobody waits for a terminal behind it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A console's queue, bounded in bytes; what does not fit is dropped, newest first, and counted.
pub fn console() -> (ConsoleTap, ConsoleLines) {
    let queue = Arc::new(Queue::default());
    (ConsoleTap { queue: queue.clone() }, ConsoleLines { queue })
}

impl ConsoleTap {
    /// Lets the console finish: once its queue is empty, [`ConsoleLines::wait`] answers `None`.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }

    /// Waits until everything that was put in is shown, `within` at the most. Answers whether it is.
    pub fn settle(&self, within: Duration) -> bool {
        let is_behind = |inner: &mut Inner| inner.taken || !inner.batch.lines.is_empty();
        let waited = self.queue.shown.wait_timeout_while(self.queue.lock(), within, is_behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Puts a whole line in that no pump has read, such as a remark of the guard's. Never waits; one that does
    /// not fit is dropped and counted.
    pub fn say(&self, label: &Arc<str>, stream: Stream, text: &[u8]) {
        self.offer(label, stream, Piece { text, ended: true });
    }

    fn offer(&self, label: &Arc<str>, stream: Stream, piece: Piece<'_>) {
        let mut inner = self.queue.lock();
        if inner.closed {
            return;
        }
        let cost = piece.text.len() + LINE_OVERHEAD_BYTES;
        // Once one is dropped all are until the console has caught up, so that what it shows has one gap
        // and a place to say so.
        if inner.batch.dropped > 0 || inner.bytes + cost > CONSOLE_BYTES_MAX {
            inner.batch.dropped += 1;
            return;
        }
        inner.bytes += cost;
        inner.batch.lines.push(Line { label: label.clone(), stream, bytes: piece.text.into(), ended: piece.ended });
        let first = inner.batch.lines.len() == 1;
        drop(inner);
        if first {
            self.queue.filled.notify_one();
        }
    }
}

impl ConsoleLines {
    /// Everything that was taken so far is shown.
    pub fn done(&mut self) {
        self.queue.lock().taken = false;
        self.queue.shown.notify_all();
    }

    /// Waits until there is something, or at most `patience`, and takes all of it. `None`: closed and
    /// empty. An empty batch: nothing came.
    pub fn wait(&mut self, patience: Duration) -> Option<Batch> {
        let (mut inner, _) = self
            .queue
            .filled
            .wait_timeout_while(self.queue.lock(), patience, |inner| inner.batch.lines.is_empty() && !inner.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if inner.batch.lines.is_empty() && inner.closed {
            return None;
        }
        inner.bytes = 0;
        inner.taken |= !inner.batch.lines.is_empty();
        Some(std::mem::take(&mut inner.batch))
    }
}

impl Drop for ConsoleLines {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        inner.closed = true;
        inner.batch = Batch::default();
    }
}

/// What finds a line.
type Matches = Box<dyn Fn(&[u8]) -> bool + Send>;

/// What is told of it.
type Found = Box<dyn FnOnce(Stream, &[u8]) + Send>;

/// Waits for the first line that matches, on either stream, and goes.
///
/// Both functions run on the pump's thread, between two lines: a compiled regular expression is fine, a
/// wait is not. A line longer than [`crate::lines::LINE_BYTES_MAX`] is seen in pieces.
pub struct Pattern {
    matches: Matches,
    found: Option<Found>,
}

impl Pattern {
    /// Calls `found` with the first line for which `matches` says yes.
    pub fn new(
        matches: impl Fn(&[u8]) -> bool + Send + 'static,
        found: impl FnOnce(Stream, &[u8]) + Send + 'static,
    ) -> Self {
        Pattern { matches: Box::new(matches), found: Some(Box::new(found)) }
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").field("waiting", &self.found.is_some()).finish_non_exhaustive()
    }
}

/// The taps of one capture.
#[derive(Debug, Default)]
pub struct Taps {
    /// A console that sees every line.
    pub console: Option<ConsoleTap>,
    /// Who waits for a line.
    pub patterns: Vec<Pattern>,
}

impl Taps {
    /// Whether anybody looks.
    pub(crate) fn active(&self) -> bool {
        self.console.is_some() || !self.patterns.is_empty()
    }

    /// Shows a line to the console.
    pub(crate) fn show(&self, label: &Arc<str>, stream: Stream, piece: Piece<'_>) {
        if let Some(console) = &self.console {
            console.offer(label, stream, piece);
        }
    }

    /// Lets those look at a line who wait for one.
    pub(crate) fn watch(&mut self, stream: Stream, piece: Piece<'_>) {
        self.patterns.retain_mut(|pattern| {
            if !(pattern.matches)(piece.text) {
                return true;
            }
            if let Some(found) = pattern.found.take() {
                found(stream, piece.text);
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_console_that_does_not_read_costs_a_bounded_queue_and_is_told_what_it_missed() {
        let (tap, mut lines) = console();
        let label: Arc<str> = Arc::from("a");
        let taps = Taps { console: Some(tap.clone()), patterns: Vec::new() };
        for _ in 0..100_000 {
            taps.show(&label, Stream::Out, Piece { text: &[b'x'; 1000], ended: true });
        }
        assert!(tap.queue.lock().bytes <= CONSOLE_BYTES_MAX);
        let batch = lines.wait(Duration::ZERO).unwrap();
        assert_eq!(batch.lines.len() as u64 + batch.dropped, 100_000);
        assert!(batch.dropped > 0);
        taps.show(&label, Stream::Err, Piece { text: b"again", ended: true });
        assert_eq!(&*lines.wait(Duration::ZERO).unwrap().lines[0].bytes, b"again");
        tap.close();
        assert!(lines.wait(Duration::from_secs(60)).is_none());
    }

    #[test]
    fn what_was_put_in_is_settled_once_it_is_shown_and_not_when_it_is_taken() {
        let (tap, mut lines) = console();
        assert!(tap.settle(Duration::ZERO));
        tap.say(&Arc::from("a"), Stream::Out, b"one");
        assert!(!tap.settle(Duration::from_millis(1)));
        assert_eq!(lines.wait(Duration::ZERO).unwrap().lines.len(), 1);
        assert!(!tap.settle(Duration::from_millis(1)), "it is on its way");
        let waits = std::thread::spawn(move || tap.settle(Duration::from_secs(60)));
        lines.done();
        assert!(waits.join().unwrap());
    }

    #[test]
    fn a_pattern_is_told_once_of_the_first_line_that_matches() {
        let (tell, told) = std::sync::mpsc::sync_channel(8);
        let pattern = Pattern::new(
            |line| line.starts_with(b"ready"),
            move |stream, line| tell.send((stream, line.to_vec())).unwrap(),
        );
        let mut taps = Taps { console: None, patterns: vec![pattern] };
        for text in ["not yet", "ready 1", "ready 2"] {
            taps.watch(Stream::Err, Piece { text: text.as_bytes(), ended: true });
        }
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(Stream::Err, b"ready 1".to_vec())]);
        assert!(!taps.active());
    }
}
