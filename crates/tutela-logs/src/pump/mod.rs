//! One thread that reads pipes and feeds the writers; [`Pumps`] has one for each folder of logs.
//!
//! The guard attaches the readers of a started program under a label and gets a [`CaptureHandle`]. All
//! captures of a pump share one thread, one buffer for reading and one for writing, so a silent program costs no
//! wake-up and two to three KB, most of it the event loop's. Nobody waits for the pump: the guard's side
//! only puts commands into a bounded queue and reads counters.
//!
//! # A capture's end
//!
//! It ends when every stream has come to its end. A process that escaped may hold a pipe open for ever, so
//! once the program's tree is gone the guard calls [`CaptureHandle::finish`]: what is in the pipes is
//! still read, and then they are closed, whoever holds the other end. The next run of the instance
//! attaches at once; it shares the writer of its label with the one that is still draining.
//!
//! # Fairness
//!
//! A stream is read at most [`stream::TURN_BYTES`] at a time, then the others have their turn.
//!
//! Deliberately absent: knowledge of what is behind a reader, retrying a reader that failed, order between
//! two streams beyond the order of reading.

mod calm;
mod held;
mod kept;
#[cfg(test)]
mod kept_tests;
mod lines;
mod pulse;
mod pumps;
#[cfg(test)]
mod record_tests;
mod room;
mod stream;
#[cfg(test)]
mod tests;

pub use crate::writer::{CaptureStatus, WriterEvent};
pub use pulse::Stall;
pub use pumps::Pumps;
pub use stream::TURN_BYTES;

use crate::doors::Doors;
use crate::policy::{Policy, Stream};
use crate::tap::{Pattern, Taps};
use crate::tray::{SluiceSource, Tray};
use crate::writer::StatusCell;
use pulse::Pulse;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait for the pump. A start of everything is two commands for each of some
/// thousand instances; more means that its disk hangs.
const COMMANDS_MAX: usize = 8192;

/// Words to a pump that is paused: none is ever said, its end is waited for.
const WORDS_MAX: usize = 1;

/// A stream that can be read.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What opens a stream, on the pump's thread, so that it is the pump's own event loop that watches it.
pub type Source = Box<dyn FnOnce() -> io::Result<Reader> + Send>;

/// What somebody should hear about, and of which label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PumpEvent {
    /// Its disk refuses, or takes output again, or something lay in the way of its files.
    Writer {
        /// Whose.
        label: Arc<str>,
        /// What.
        event: WriterEvent,
    },
    /// One of its streams could not be opened or broke; it counts as ended.
    Stream {
        /// Whose.
        label: Arc<str>,
        /// Which.
        stream: Stream,
        /// Why.
        error: String,
    },
    /// Of what a guard that died had in hand of a stream something could not be kept. What is known of it is counted as
    /// dropped; the stream goes on.
    Damage {
        /// Whose.
        label: Arc<str>,
        /// Which.
        stream: Stream,
        /// What.
        text: String,
    },
}

/// Why the pump did not take a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PumpRefusal {
    /// The label could not be a file name.
    #[error("refused: {0:?} cannot be the name of a log file; use letters, digits, '.', '_' and '-', at most 200")]
    BadLabel(String),
    /// Its queue is full, because it waits for a disk.
    #[error("refused: the log thread has {COMMANDS_MAX} commands waiting; its disk does not answer")]
    Busy,
    /// It ended.
    #[error("refused: the log thread has ended")]
    Ended,
}

/// How a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureEnd {
    /// Every stream came to its end.
    Complete,
    /// Somebody outside the tree still held a stream open. What was in the pipe has been read.
    ClosedOpen,
    /// The deadline passed while bytes were still coming.
    CutOff,
    /// The pump ended before.
    PumpEnded,
}

enum Command {
    Attach(Box<Attach>),
    Policy {
        label: Arc<str>,
        policy: Arc<Policy>,
    },
    Rotate,
    Pattern {
        capture: u64,
        pattern: Box<Pattern>,
    },
    Finish {
        capture: u64,
        deadline: Duration,
        done: oneshot::Sender<CaptureEnd>,
    },
    Forget {
        label: Arc<str>,
    },
    /// Nothing is read until the other end is dropped.
    Pause {
        paused: oneshot::Sender<()>,
        until: std::sync::mpsc::Receiver<()>,
    },
    /// Somebody asks whether it makes progress.
    Answer,
    Stop {
        deadline: Duration,
        done: oneshot::Sender<()>,
    },
}

struct Attach {
    id: u64,
    label: Arc<str>,
    policy: Arc<Policy>,
    sources: Sources,
    taps: Taps,
    status: StatusSlot,
}

/// Where a capture's streams come from.
enum Sources {
    /// From pipes that end with the guard.
    Plain(Vec<(Stream, Source)>),
    /// From pipes that outlive it, and what the guard before had of them in hand.
    Kept(Box<Tray>, Vec<(Stream, SluiceSource)>),
}

/// Filled by the pump when it carries the command out.
type StatusSlot = Arc<OnceLock<Arc<StatusCell>>>;

/// The guard's side of the pump. Cheap to clone. When the last one and every [`CaptureHandle`] is gone, the
/// pump reads what is in the pipes, closes them and ends; nothing waits for it.
#[derive(Clone)]
pub struct PumpHandle {
    commands: mpsc::Sender<Command>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    captures: Arc<AtomicU64>,
    pulse: Arc<Pulse>,
}

impl PumpHandle {
    /// Starts the pump's thread, which opens files through `doors`. `on_event` is called on it, between two chunks, and
    /// must not wait.
    ///
    /// # Errors
    /// The system has no thread, or no event queue, to give.
    pub fn start(doors: Doors, on_event: impl Fn(PumpEvent) + Send + 'static) -> io::Result<Self> {
        Self::start_with_bell(doors, on_event, |_| {})
    }

    /// The same, and calls `on_written` with the label whenever something of it went to its file: for those who read the
    /// files on. It runs on the pump's thread for every chunk, and must not wait.
    ///
    /// # Errors
    /// As [`PumpHandle::start`].
    pub fn start_with_bell(
        doors: Doors,
        on_event: impl Fn(PumpEvent) + Send + 'static,
        on_written: impl Fn(&Arc<str>) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().on_thread_unpark(calm::woken).build()?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let pulse = Arc::<Pulse>::default();
        let seen = pulse.clone();
        let thread = std::thread::Builder::new()
            .name("pump".into())
            .spawn(move || room::run(&runtime, inbox, doors, seen, Box::new(on_event), Box::new(on_written)))?;
        Ok(PumpHandle { commands, thread: Arc::new(Mutex::new(Some(thread))), captures: Arc::default(), pulse })
    }

    /// Captures the streams of a program that has just been started. Another run of the same label may
    /// still be draining. The policy holds for the label from here on.
    ///
    /// # Errors
    /// [`PumpRefusal`]; then the sources are dropped, and with them the pipes.
    pub fn attach(
        &self,
        label: &str,
        policy: Arc<Policy>,
        sources: Vec<(Stream, Source)>,
        taps: Taps,
    ) -> Result<CaptureHandle, PumpRefusal> {
        self.capture(label, policy, Sources::Plain(sources), taps)
    }

    /// The same of a program that outlives the guard: what this pump has in hand lies in the tray. First of all it brings
    /// to its end what a guard that died had in it; then it reads the pipes on. What the writer of the label counted goes
    /// on too.
    ///
    /// A kill at any moment costs no byte and doubles none, as long as the tray and the sluices are kept and come to the
    /// next guard together. When the capture has ended, they can go.
    ///
    /// # Errors
    /// [`PumpRefusal`]; then tray and sources are dropped, and what is in them waits for whoever opens them next.
    pub fn attach_kept(
        &self,
        label: &str,
        policy: Arc<Policy>,
        tray: Tray,
        sluices: Vec<(Stream, SluiceSource)>,
        taps: Taps,
    ) -> Result<CaptureHandle, PumpRefusal> {
        self.capture(label, policy, Sources::Kept(Box::new(tray), sluices), taps)
    }

    fn capture(
        &self,
        label: &str,
        policy: Arc<Policy>,
        sources: Sources,
        taps: Taps,
    ) -> Result<CaptureHandle, PumpRefusal> {
        if !crate::is_label(label) {
            return Err(PumpRefusal::BadLabel(label.to_owned()));
        }
        let label: Arc<str> = Arc::from(label);
        let id = self.captures.fetch_add(1, Ordering::Relaxed);
        let status = StatusSlot::default();
        let attach = Attach { id, label: label.clone(), policy, sources, taps, status: status.clone() };
        self.pulse.attached(id, &label);
        send(&self.commands, Command::Attach(Box::new(attach))).inspect_err(|_| self.pulse.closed(id))?;
        Ok(CaptureHandle { id, label, status, commands: self.commands.clone() })
    }

    /// Keeps the output of `label` in another way from here on, whichever of its runs it is from.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn set_policy(&self, label: &str, policy: Arc<Policy>) -> Result<(), PumpRefusal> {
        send(&self.commands, Command::Policy { label: Arc::from(label), policy })
    }

    /// Begins a new file for every label, with the next line that each writes.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn rotate(&self) -> Result<(), PumpRefusal> {
        send(&self.commands, Command::Rotate)
    }

    /// Reads nothing more until the answer is dropped. What was read before is with the taps and the files once the
    /// future is ready.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn pause(&self) -> Result<(Paused, impl Future<Output = ()> + Send + use<>), PumpRefusal> {
        let (paused, is_paused) = oneshot::channel();
        let (going_on, until) = std::sync::mpsc::sync_channel(WORDS_MAX);
        send(&self.commands, Command::Pause { paused, until })?;
        // One that has ended reads nothing either.
        Ok((Paused { _going_on: going_on }, async move { drop(is_paused.await) }))
    }

    /// Forgets a label with its counters, once none of its captures is left. Its files stay.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn forget(&self, label: &str) -> Result<(), PumpRefusal> {
        send(&self.commands, Command::Forget { label: Arc::from(label) })
    }

    /// Finishes every capture as [`CaptureHandle::finish`] does, and ends the thread. The future is ready
    /// when it has ended; dropping it changes nothing.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn stop(&self, deadline: Duration) -> Result<impl Future<Output = ()> + Send + use<>, PumpRefusal> {
        let (done, ended) = oneshot::channel();
        send(&self.commands, Command::Stop { deadline, done })?;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(async move {
            // An error says that it had ended already.
            let _ = ended.await;
            // The thread's last act was to send this; what is left of it takes microseconds.
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        })
    }
}

/// While it lives, a pump reads nothing.
#[derive(Debug)]
pub struct Paused {
    _going_on: std::sync::mpsc::SyncSender<()>,
}

/// One run's output on its way to the files. Dropping it changes nothing: the streams are read to their
/// end.
pub struct CaptureHandle {
    id: u64,
    label: Arc<str>,
    status: StatusSlot,
    commands: mpsc::Sender<Command>,
}

impl CaptureHandle {
    /// Whose output this is.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What became of the output of this label, this run's and earlier ones'. Never waits for the pump.
    pub fn status(&self) -> CaptureStatus {
        self.status.get().map(|cell| cell.read()).unwrap_or_default()
    }

    /// The same, for who wants to know after the run is over.
    pub fn counters(&self) -> CaptureCounters {
        CaptureCounters(self.status.clone())
    }

    /// Waits for a line of this run, from those that the pump has not seen yet.
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn watch(&self, pattern: Pattern) -> Result<(), PumpRefusal> {
        send(&self.commands, Command::Pattern { capture: self.id, pattern: Box::new(pattern) })
    }

    /// To be called when the program's tree is gone. Reads what is in the pipes, and closes them when they
    /// have come to their end, or were silent for [`stream::FINISH_QUIET`], or at the deadline. It begins
    /// with the call; the future only tells how it ended, and dropping it changes nothing. Of a capture
    /// that ended before, it tells [`CaptureEnd::Complete`].
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn finish(&self, deadline: Duration) -> Result<impl Future<Output = CaptureEnd> + Send + use<>, PumpRefusal> {
        let (done, ended) = oneshot::channel();
        send(&self.commands, Command::Finish { capture: self.id, deadline, done })?;
        Ok(async move { ended.await.unwrap_or(CaptureEnd::PumpEnded) })
    }
}

/// What became of the output of a label, of all its runs. Cheap to clone; keeps nothing alive but the counters.
#[derive(Debug, Clone)]
pub struct CaptureCounters(StatusSlot);

impl CaptureCounters {
    /// The counters. Never waits for the pump.
    pub fn read(&self) -> CaptureStatus {
        self.0.get().map(|cell| cell.read()).unwrap_or_default()
    }
}

/// Puts a command into the queue, without waiting.
fn send(commands: &mpsc::Sender<Command>, command: Command) -> Result<(), PumpRefusal> {
    commands.try_send(command).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => PumpRefusal::Busy,
        mpsc::error::TrySendError::Closed(_) => PumpRefusal::Ended,
    })
}
