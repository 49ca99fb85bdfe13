//! What lives on the pump's thread: the writers, the captures, the shared buffers; and the loop that
//! carries out commands.

use super::kept::Kept;
use super::pulse::Pulse;
use super::stream::{Inlet, StreamTask, TURN_BYTES};
use super::{Attach, CaptureEnd, Command, PumpEvent, Source, Sources};
use crate::doors::Doors;
use crate::policy::{Policy, Stream};
use crate::tap::Taps;
use crate::tray::{SluiceSource, Tray};
use crate::writer::{Batch, Writer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// How long the streams may be read on when every handle was dropped: nobody is left to name a deadline.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(1);

/// How long after a turn of many bytes the memory of trays is given back where nothing is under way. Long beside the pauses
/// of a program that writes much, which would pay for the memory again with each turn; short beside a day.
const SWEEP_AFTER: Duration = Duration::from_secs(10);

/// Turns of fewer bytes than this use pages that are kept anyway.
const SWEPT_BYTES: usize = 4096;

/// Told of a label whenever something of it went to its file.
pub(super) type OnWritten = Box<dyn Fn(&Arc<str>) + Send>;

/// Everything that the tasks of the pump's thread share.
pub(super) struct Room {
    pub(super) chunk: RefCell<Box<[u8]>>,
    pub(super) batch: RefCell<Batch>,
    /// Masked bytes on their way to a file without timestamps.
    pub(super) bytes: RefCell<Vec<u8>>,
    pub(super) on_event: Box<dyn Fn(PumpEvent) + Send>,
    pub(super) on_written: OnWritten,
    pub(super) pulse: Arc<Pulse>,
    doors: Doors,
    writers: RefCell<HashMap<Arc<str>, Rc<Desk>>>,
    captures: RefCell<HashMap<u64, Rc<Capture>>>,
    /// The trays of open captures.
    trays: RefCell<Vec<Weak<RefCell<Tray>>>>,
    is_sweep_due: Cell<bool>,
    emptied: Notify,
}

/// A label's writer and how many captures use it.
pub(super) struct Desk {
    pub(super) writer: RefCell<Writer>,
    users: Cell<usize>,
}

/// One run of one label.
pub(super) struct Capture {
    pub(super) id: u64,
    pub(super) label: Arc<str>,
    pub(super) desk: Rc<Desk>,
    pub(super) taps: RefCell<Taps>,
    /// By when it has to end, once that was asked for.
    pub(super) finish_by: Cell<Option<Instant>>,
    open: Cell<usize>,
    end: Cell<CaptureEnd>,
    wakers: RefCell<[Option<Waker>; 2]>,
    done: RefCell<Vec<oneshot::Sender<CaptureEnd>>>,
}

impl Capture {
    /// Remembers how to wake a stream when the capture is to be finished.
    pub(super) fn remember(&self, stream: Stream, waker: &Waker) {
        let slot = &mut self.wakers.borrow_mut()[stream as usize];
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    fn finish(&self, by: Instant) {
        let by = self.finish_by.get().map_or(by, |earlier| earlier.min(by));
        self.finish_by.set(Some(by));
        for waker in self.wakers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }
}

impl Room {
    /// One of the capture's streams is closed. The worst end of them is the capture's.
    pub(super) fn stream_ended(&self, capture: &Capture, end: CaptureEnd) {
        if capture.end.get() == CaptureEnd::Complete || end == CaptureEnd::CutOff {
            capture.end.set(end);
        }
        capture.open.set(capture.open.get() - 1);
        if capture.open.get() == 0 {
            self.close(capture);
        }
    }

    fn close(&self, capture: &Capture) {
        self.captures.borrow_mut().remove(&capture.id);
        self.pulse.closed(capture.id);
        capture.desk.users.set(capture.desk.users.get() - 1);
        if capture.desk.users.get() == 0 {
            capture.desk.writer.borrow_mut().close();
        }
        for done in capture.done.take() {
            // Nobody waits for it any more.
            let _ = done.send(capture.end.get());
        }
        if self.captures.borrow().is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// A turn has used the memory of a tray.
    pub(super) fn used(self: &Rc<Self>, bytes: usize) {
        if bytes > SWEPT_BYTES && !self.is_sweep_due.replace(true) {
            let room = self.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(SWEEP_AFTER).await;
                room.is_sweep_due.set(false);
                room.trays.borrow().iter().filter_map(Weak::upgrade).for_each(|tray| tray.borrow_mut().sweep());
            });
        }
    }

    /// Tells what happened in a writer.
    pub(super) fn tell(&self, label: &Arc<str>, writer: &mut Writer) {
        for event in writer.take_events() {
            (self.on_event)(PumpEvent::Writer { label: label.clone(), event });
        }
    }

    fn desk(&self, label: &Arc<str>, policy: Arc<Policy>) -> Rc<Desk> {
        let mut writers = self.writers.borrow_mut();
        if let Some(desk) = writers.get(label) {
            desk.writer.borrow_mut().set_policy(policy);
            return desk.clone();
        }
        let writer = RefCell::new(Writer::among(self.pulse.files(), label.clone(), policy, self.doors));
        let desk = Rc::new(Desk { writer, users: Cell::new(0) });
        writers.insert(label.clone(), desk.clone());
        desk
    }

    fn attach(self: &Rc<Self>, attach: Attach) {
        let Attach { id, label, policy, sources, taps, status } = attach;
        let desk = self.desk(&label, policy);
        desk.users.set(desk.users.get() + 1);
        // The slot is this attach's own and empty.
        let _ = status.set(desk.writer.borrow().status_cell().clone());
        self.pulse.opened(id, &label, desk.writer.borrow().status_cell());
        let capture = Rc::new(Capture {
            id,
            label,
            desk,
            taps: RefCell::new(taps),
            finish_by: Cell::new(None),
            // One more than there are streams, until all are opened: so that it cannot end before.
            open: Cell::new(1),
            end: Cell::new(CaptureEnd::Complete),
            wakers: RefCell::default(),
            done: RefCell::default(),
        });
        self.captures.borrow_mut().insert(id, capture.clone());
        match sources {
            Sources::Plain(sources) => sources.into_iter().for_each(|it| self.open(&capture, it)),
            Sources::Kept(tray, sluices) => self.take_over(&capture, *tray, sluices),
        }
        self.stream_ended(&capture, CaptureEnd::Complete);
    }

    fn open(self: &Rc<Self>, capture: &Rc<Capture>, (stream, source): (Stream, Source)) {
        match source() {
            Ok(reader) => {
                capture.open.set(capture.open.get() + 1);
                let inlet = Inlet::Plain(reader);
                tokio::task::spawn_local(StreamTask::new(self.clone(), capture.clone(), stream, inlet));
            }
            Err(error) => self.tell_unopened(capture, stream, &error),
        }
    }

    fn tell_unopened(&self, capture: &Capture, stream: Stream, error: &io::Error) {
        let label = capture.label.clone();
        let error = format!("failed to open the stream: {error}");
        (self.on_event)(PumpEvent::Stream { label, stream, error });
    }

    /// Finishes what is in the tray, the latest of all first, before any stream is read on.
    fn take_over(self: &Rc<Self>, capture: &Rc<Capture>, tray: Tray, sluices: Vec<(Stream, SluiceSource)>) {
        let tray = Rc::new(RefCell::new(tray));
        let mut trays = self.trays.borrow_mut();
        trays.retain(|tray| tray.strong_count() > 0);
        trays.push(Rc::downgrade(&tray));
        drop(trays);
        let open = |(stream, source): (Stream, SluiceSource)| {
            let sluice = source().inspect_err(|error| self.tell_unopened(capture, stream, error)).ok();
            (stream, Kept::new(tray.clone(), stream, sluice))
        };
        let mut sides: Vec<_> =
            sluices.into_iter().map(open).map(|(stream, kept)| (kept.tally(), stream, kept)).collect();
        sides.sort_by_key(|(tally, ..)| std::cmp::Reverse(tally.stamp));
        if let Some((latest, ..)) = sides.first() {
            capture.desk.writer.borrow_mut().take_up(latest);
        }
        for (_, stream, kept) in sides {
            capture.open.set(capture.open.get() + 1);
            let mut task = StreamTask::new(self.clone(), capture.clone(), stream, Inlet::Kept(kept));
            task.take_over();
            tokio::task::spawn_local(task);
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Attach(attach) => self.attach(*attach),
            Command::Policy { label, policy } => {
                if let Some(desk) = self.writers.borrow().get(&label) {
                    let mut writer = desk.writer.borrow_mut();
                    writer.set_policy(policy);
                    self.tell(&label, &mut writer);
                }
            }
            Command::Rotate => self.writers.borrow().values().for_each(|desk| desk.writer.borrow_mut().rotate()),
            Command::Pattern { capture, pattern } => {
                if let Some(capture) = self.captures.borrow().get(&capture) {
                    capture.taps.borrow_mut().patterns.push(*pattern);
                }
            }
            Command::Finish { capture, deadline, done } => match self.captures.borrow().get(&capture) {
                Some(capture) => {
                    capture.done.borrow_mut().push(done);
                    capture.finish(Instant::now() + deadline);
                }
                // It came to its end by itself: only then is a capture forgotten before it was finished.
                None => {
                    let _ = done.send(CaptureEnd::Complete);
                }
            },
            Command::Forget { label } => {
                self.writers.borrow_mut().retain(|known, desk| *known != label || desk.users.get() > 0);
            }
            // Between two turns of streams: whatever was read went its whole way. An error is the other end's drop.
            Command::Pause { paused, until } => {
                let _ = paused.send(());
                let _ = until.recv();
            }
            Command::Answer => self.pulse.answer(),
            // Handled by the loop, which it ends.
            Command::Stop { .. } => {}
        }
    }

    /// Finishes every capture and waits for the last.
    async fn finish_all(&self, deadline: Duration) {
        let by = Instant::now() + deadline;
        let emptied = self.emptied.notified();
        let captures: Vec<_> = self.captures.borrow().values().cloned().collect();
        if captures.is_empty() {
            return;
        }
        for capture in captures {
            capture.finish(by);
        }
        emptied.await;
    }
}

/// The life of the pump's thread.
pub(super) fn run(
    runtime: &tokio::runtime::Runtime,
    mut inbox: mpsc::Receiver<Command>,
    doors: Doors,
    pulse: Arc<Pulse>,
    on_event: Box<dyn Fn(PumpEvent) + Send>,
    on_written: OnWritten,
) {
    let room = Rc::new(Room {
        chunk: RefCell::new(vec![0; TURN_BYTES].into_boxed_slice()),
        batch: RefCell::default(),
        bytes: RefCell::default(),
        on_event,
        on_written,
        pulse,
        doors,
        writers: RefCell::default(),
        captures: RefCell::default(),
        trays: RefCell::default(),
        is_sweep_due: Cell::new(false),
        emptied: Notify::new(),
    });
    let tasks = tokio::task::LocalSet::new();
    let stopped = tasks.block_on(runtime, async {
        while let Some(command) = inbox.recv().await {
            if let Command::Stop { deadline, done } = command {
                room.pulse.end();
                room.finish_all(deadline).await;
                return Some(done);
            }
            room.carry_out(command);
        }
        room.finish_all(ORPHAN_DEADLINE).await;
        None
    });
    drop(tasks);
    if let Some(done) = stopped {
        // Nobody waits for it any more.
        let _ = done.send(());
    }
}
