//! What one stream's bytes become on their way from the pipe to the file: lines, masked, joined.
//!
//! ```text
//! chunk ──> splitter ──> log patterns ──> mask ──> console ──┬─> bytes      (raw)
//!                                                            ├─> entries    (with timestamps)
//!                                                            └─> joiner ──> records (JSON)
//! ```
//!
//! Called by the stream's task. Where nobody wants lines, the bytes go to the file as they came and nothing here
//! looks at them. Log patterns see lines as the program wrote them, since a pattern stores nothing; everybody else sees
//! them masked.

use crate::lines::{LINE_BYTES_MAX, Part, Piece, Splitter};
use crate::policy::{Form, Stream};
use crate::record::join::{Joined, Joiner, Multiline};
use crate::record::redact::{Redactor, Tail};
use crate::tap::Taps;
use crate::writer::{Batch, Now, Writer};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The lines of one stream. What a silent one costs is the size of this.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) splitter: Splitter,
    /// Whether what the splitter holds still has to go to the file.
    pub(super) held_is_unwritten: bool,
    /// What was held for a mask, and with which it goes on.
    pub(super) tail: Tail,
    pub(super) mask: Option<Arc<Redactor>>,
    pub(super) joiner: Joiner,
    pub(super) how: Option<Arc<Multiline>>,
}

/// The way of one chunk.
pub(super) struct Way<'a> {
    pub(super) stream: Stream,
    pub(super) taps: &'a mut Taps,
    pub(super) writer: &'a mut Writer,
    pub(super) batch: &'a mut Batch,
    /// For masked bytes; empty between two chunks.
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) now: Now,
}

impl Way<'_> {
    /// The same way, for the next.
    pub(super) fn again(&mut self) -> Way<'_> {
        let Way { stream, taps, writer, batch, bytes, now } = self;
        Way { stream: *stream, taps, writer, batch, bytes, now: *now }
    }

    /// A piece to the file.
    fn put(&mut self, joiner: &mut Joiner, how: Option<&Multiline>, piece: Piece<'_>) {
        match self.writer.form() {
            Form::Raw => {
                self.bytes.extend_from_slice(piece.text);
                if piece.ended {
                    self.bytes.push(b'\n');
                }
            }
            Form::Stamped => self.writer.entry(self.batch, self.stream, piece, self.now),
            Form::Json => joiner.feed(how, (), self.now.wall, piece, |joined| {
                self.writer.record(self.batch, self.stream, &joined, self.now);
            }),
        }
    }

    /// What was joined goes to a file of any form: which one may have changed meanwhile.
    fn put_joined(&mut self, joined: &Joined<'_, ()>) {
        match self.writer.form() {
            Form::Json => self.writer.record(self.batch, self.stream, joined, self.now),
            Form::Raw | Form::Stamped => {
                let mut lines = joined.text.split(|byte| *byte == b'\n').peekable();
                while let Some(mut text) = lines.next() {
                    let ended = joined.ended || lines.peek().is_some();
                    // The pieces of a long line were joined too.
                    while let Some((now, later)) = text.split_at_checked(LINE_BYTES_MAX).filter(|it| !it.1.is_empty()) {
                        self.put(&mut Joiner::default(), None, Piece { text: now, ended: false });
                        text = later;
                    }
                    self.put(&mut Joiner::default(), None, Piece { text, ended });
                }
            }
        }
    }

    /// Everything that is waiting goes to the disk.
    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.writer.raw(self.batch, self.bytes, self.now);
            self.bytes.clear();
        }
        self.writer.flush(self.batch, self.now);
    }
}

impl Lines {
    /// Brings a chunk on its way.
    pub(super) fn take(&mut self, chunk: &[u8], mut way: Way<'_>) {
        let form = way.writer.form();
        self.adopt(&mut way);
        let by_lines = form != Form::Raw || self.mask.is_some();
        if self.held_is_unwritten && !by_lines {
            // The form changed in the middle of a line: its beginning goes as it is, like its end.
            way.writer.raw(way.batch, self.splitter.held(), way.now);
        } else if by_lines && !self.held_is_unwritten && !self.splitter.held().is_empty() {
            // Its beginning is in a file already, and must not get there twice.
            self.splitter.finish(|piece| {
                way.taps.watch(way.stream, piece);
                let text = self.mask.as_ref().map_or(Cow::Borrowed(piece.text), |mask| mask.text(piece.text));
                way.taps.show(way.writer.label(), way.stream, Piece { text: &text, ..piece });
            });
        }
        if by_lines || way.taps.active() {
            let Lines { splitter, tail, mask, joiner, how, .. } = self;
            let nobody_looks = form == Form::Stamped && mask.is_none() && !way.taps.active();
            splitter.feed_parts(chunk, |part| {
                if nobody_looks && let Part::Lines(lines) = part {
                    way.writer.lines(way.batch, way.stream, lines, way.now);
                    return;
                }
                part.each(|piece| {
                    way.taps.watch(way.stream, piece);
                    let mut go_on = |piece: Piece<'_>| {
                        way.taps.show(way.writer.label(), way.stream, piece);
                        if by_lines {
                            way.put(joiner, how.as_deref(), piece);
                        }
                    };
                    match mask {
                        Some(mask) => mask.piece(tail, piece, &mut go_on),
                        None => go_on(piece),
                    }
                });
            });
        } else {
            // Nobody looks at lines any more, and what is held is in the file.
            self.splitter = Splitter::default();
        }
        self.held_is_unwritten = by_lines && !self.splitter.held().is_empty();
        if !by_lines && way.batch.staged && way.batch.bytes.is_empty() {
            way.batch.verbatim = true;
        } else if !by_lines {
            way.writer.raw(way.batch, chunk, way.now);
        }
        way.flush();
    }

    /// The stream is over: what is held has no newline to come.
    pub(super) fn end(&mut self, mut way: Way<'_>) {
        self.adopt(&mut way);
        let by_lines = way.writer.form() != Form::Raw || self.mask.is_some();
        if self.held_is_unwritten && !by_lines {
            way.writer.raw(way.batch, self.splitter.held(), way.now);
            self.held_is_unwritten = false;
        }
        let Lines { splitter, tail, mask, joiner, how, held_is_unwritten } = self;
        splitter.finish(|piece| {
            way.taps.watch(way.stream, piece);
            let mut go_on = |piece: Piece<'_>| {
                way.taps.show(way.writer.label(), way.stream, piece);
                if *held_is_unwritten {
                    way.put(joiner, how.as_deref(), piece);
                }
            };
            match mask {
                Some(mask) => mask.piece(tail, piece, &mut go_on),
                None => go_on(piece),
            }
        });
        self.unmask(&mut way);
        self.joiner.give(&mut |joined| way.put_joined(&joined));
        way.flush();
    }

    /// How long after its last line what is held for joining has to go; `None`: nothing is held.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.how.as_ref().filter(|_| self.joiner.is_holding()).map(|how| how.wait)
    }

    /// That time is over.
    pub(super) fn give(&mut self, mut way: Way<'_>) {
        self.joiner.give(&mut |joined| way.put_joined(&joined));
        way.flush();
    }

    /// The policy may have changed: what was held for another one goes first.
    fn adopt(&mut self, way: &mut Way<'_>) {
        let mask = way.writer.mask();
        if !same(&self.mask, &mask) {
            self.unmask(way);
            way.flush();
            self.mask = mask;
        }
        let how = way.writer.multiline();
        if !same(&self.how, &how) || (self.joiner.is_holding() && way.writer.form() != Form::Json) {
            self.joiner.give(&mut |joined| way.put_joined(&joined));
            way.flush();
            self.how = how;
        }
    }

    /// What is held for the mask goes.
    fn unmask(&mut self, way: &mut Way<'_>) {
        let Lines { tail, mask, joiner, how, .. } = self;
        let Some(mask) = mask else { return };
        mask.finish(tail, |piece| {
            way.taps.show(way.writer.label(), way.stream, piece);
            way.put(joiner, how.as_deref(), piece);
        });
    }
}

/// Whether two are one: those of an unchanged policy are.
fn same<T>(one: &Option<Arc<T>>, two: &Option<Arc<T>>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => Arc::ptr_eq(one, two),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
