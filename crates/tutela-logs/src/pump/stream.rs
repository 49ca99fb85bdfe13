//! One stream's task: reads when there is something to read, within its turn, into the shared buffer.

use super::kept::Kept;
use super::lines::{Lines, Way};
use super::room::{Capture, Room};
use super::{CaptureEnd, PumpEvent, Reader};
use crate::policy::Stream;
use crate::writer::Now;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

/// How much one stream may be read before the others have their turn: a full pipe of the usual size. It is
/// also the size of the shared buffer.
pub const TURN_BYTES: usize = 64 * 1024;

/// How long a stream has to be silent, once it is to be finished, to count as drained. What a tree wrote
/// is in the pipe when the tree is gone; this is for our own event loop to notice it.
pub const FINISH_QUIET: Duration = Duration::from_millis(50);

/// How much is read on once the deadline is over, while there is more at once: what a pipe holds at most. The tree is gone,
/// and all that it wrote is in there; a disk that hung until the deadline must not cost it.
pub const OVERTIME_BYTES: usize = 1024 * 1024;

/// Where a stream comes from.
pub(super) enum Inlet {
    /// A reader, into the shared buffer.
    Plain(Reader),
    /// A sluice, into the tray that it has.
    Kept(Kept),
}

/// Reads one stream to its end. What a silent one costs is the size of this.
pub(super) struct StreamTask {
    room: Rc<Room>,
    capture: Rc<Capture>,
    stream: Stream,
    inlet: Inlet,
    lines: Lines,
    /// By when what is held for joining has to go, while anything is.
    joining: Option<(Instant, Option<Pin<Box<Sleep>>>)>,
    finishing: Option<Box<Finishing>>,
    /// The last look ended because its turn was over: there is more.
    has_more: bool,
}

/// Since the stream is to be finished.
struct Finishing {
    began: Instant,
    quiet_since: Instant,
    /// What was read behind the deadline.
    overtime: usize,
    timer: Pin<Box<Sleep>>,
}

impl StreamTask {
    pub(super) fn new(room: Rc<Room>, capture: Rc<Capture>, stream: Stream, inlet: Inlet) -> Self {
        StreamTask {
            room,
            capture,
            stream,
            inlet,
            lines: Lines::default(),
            joining: None,
            finishing: None,
            has_more: false,
        }
    }

    /// Finishes what a guard that died had in hand.
    pub(super) fn take_over(&mut self) {
        let mut damaged = Vec::new();
        self.on_the_way(|lines, inlet, way| {
            if let Inlet::Kept(kept) = inlet {
                *lines = kept.take_over(way, &mut damaged);
            }
        });
        self.joining = self.lines.wait().map(|wait| (Instant::now() + wait, None));
        for text in damaged {
            let label = self.capture.label.clone();
            (self.room.on_event)(PumpEvent::Damage { label, stream: self.stream, text });
        }
    }

    /// Looks what is there to be read, at most so much; zero: the stream ended.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.inlet {
            Inlet::Plain(reader) => {
                let mut chunk = self.room.chunk.borrow_mut();
                let mut buffer = ReadBuf::new(&mut chunk);
                reader.as_mut().poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Inlet::Kept(kept) => kept.poll_fill(cx),
        }
    }

    /// Brings a chunk to the taps and to the disk.
    fn take(&mut self, length: usize) -> io::Result<()> {
        let room = self.room.clone();
        let result = self.on_the_way(|lines, inlet, way| match inlet {
            Inlet::Plain(_) => {
                lines.take(&room.chunk.borrow()[..length], way);
                Ok(())
            }
            Inlet::Kept(kept) => {
                room.used(length);
                kept.take(length, lines, way)
            }
        });
        self.joining = self.lines.wait().map(|wait| (Instant::now() + wait, self.joining.take().and_then(|it| it.1)));
        result
    }

    /// The stream is over: what is held has no newline to come.
    fn end(&mut self, end: CaptureEnd) {
        self.on_the_way(|lines, inlet, way| match inlet {
            Inlet::Plain(_) => lines.end(way),
            Inlet::Kept(kept) => kept.end(lines, way),
        });
        self.room.stream_ended(&self.capture, end);
    }

    fn on_the_way<T>(&mut self, go: impl FnOnce(&mut Lines, &mut Inlet, Way<'_>) -> T) -> T {
        let mut writer = self.capture.desk.writer.borrow_mut();
        let way = Way {
            stream: self.stream,
            taps: &mut self.capture.taps.borrow_mut(),
            writer: &mut writer,
            batch: &mut self.room.batch.borrow_mut(),
            bytes: &mut self.room.bytes.borrow_mut(),
            now: Now::read(),
        };
        let answer = go(&mut self.lines, &mut self.inlet, way);
        self.room.tell(&self.capture.label, &mut writer);
        (self.room.on_written)(&self.capture.label);
        answer
    }

    /// What is held for joining goes when nothing came for a while.
    fn wait_for_more(&mut self, cx: &mut Context<'_>) {
        let Some((at, timer)) = &mut self.joining else { return };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*at)));
        if timer.deadline() != *at {
            timer.as_mut().reset(*at);
        }
        if timer.as_mut().poll(cx).is_ready() {
            self.joining = None;
            self.on_the_way(|lines, inlet, way| match inlet {
                Inlet::Plain(_) => lines.give(way),
                Inlet::Kept(kept) => kept.give(lines, way),
            });
        }
    }

    /// Reads through one turn. `Pending`: nothing there, or the turn is over.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<CaptureEnd> {
        let mut taken = 0;
        self.has_more = false;
        while taken < TURN_BYTES {
            let polled = match self.poll_some(cx) {
                Poll::Ready(Ok(length)) if length > 0 => Poll::Ready(self.take(length).map(|()| length)),
                other => other,
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(CaptureEnd::Complete),
                Poll::Ready(Ok(length)) => {
                    super::calm::count(length);
                    taken += length;
                    if let Some(finishing) = &mut self.finishing {
                        finishing.quiet_since = Instant::now();
                        if self.capture.finish_by.get().is_some_and(|by| finishing.quiet_since >= by) {
                            finishing.overtime += length;
                        }
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => {
                    let label = self.capture.label.clone();
                    let error = format!("failed to read the stream: {error}");
                    (self.room.on_event)(PumpEvent::Stream { label, stream: self.stream, error });
                    return Poll::Ready(CaptureEnd::Complete);
                }
            }
        }
        self.has_more = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether a stream that is to be finished, and gave nothing or its turn's fill, is done with.
    fn wait_for_finish(&mut self, cx: &mut Context<'_>) -> Poll<CaptureEnd> {
        let Some(by) = self.capture.finish_by.get() else { return Poll::Pending };
        let now = Instant::now();
        let finishing = self.finishing.get_or_insert_with(|| {
            let timer = Box::pin(tokio::time::sleep_until(by));
            Box::new(Finishing { began: now, quiet_since: now, overtime: 0, timer })
        });
        let quiet_at = finishing.quiet_since + FINISH_QUIET;
        if now >= quiet_at {
            return Poll::Ready(CaptureEnd::ClosedOpen);
        }
        // However late it is, what is in the pipe is noticed first.
        let last = by.max(finishing.began + FINISH_QUIET);
        if self.has_more && finishing.overtime < OVERTIME_BYTES {
            return Poll::Pending;
        }
        if now >= last {
            return Poll::Ready(CaptureEnd::CutOff);
        }
        finishing.timer.as_mut().reset(last.min(quiet_at));
        match finishing.timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Future for StreamTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        task.room.pulse.turn(task.capture.id);
        task.capture.remember(task.stream, cx.waker());
        let end = match task.read(cx) {
            Poll::Ready(end) => end,
            Poll::Pending => {
                task.wait_for_more(cx);
                match task.wait_for_finish(cx) {
                    Poll::Ready(end) => end,
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        task.end(end);
        Poll::Ready(())
    }
}
