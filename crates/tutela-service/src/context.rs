//! What a program has in its hands while it runs: its mouth towards the host, and its ear for the stop.

use crate::drain::{Drained, Left, Tracked, Work};
use crate::event::StopReason;
use crate::exit::{Ending, Failure, Outcome, catch_outcome};
use crate::token::StopToken;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tutela_core::time::Moment;
use tutela_os::host::StartedBy;

/// Failures that wait to be told. The first one ends the service, so more are only for the log.
const FAULTS_MAX: usize = 8;

/// The longest status line, in bytes. A service manager shows one line of a terminal.
const STATUS_BYTES_MAX: usize = 500;

/// A program's hold on its service. Cheap to clone; clones are the same service, and dropping them changes nothing.
///
/// Everything here may be called from any thread and any task, and nothing waits unless it says so.
#[derive(Debug, Clone)]
pub struct Context(pub(crate) Arc<Shared>);

/// What the program and the runner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) started_by: StartedBy,
    /// Words of this one start, such as those after `sc start NAME`.
    pub(crate) arguments: Vec<std::ffi::OsString>,
    pub(crate) began: Instant,
    pub(crate) stop: StopToken,
    pub(crate) hurry: StopToken,
    pub(crate) work: Work,
    pub(crate) words: Mutex<Words>,
    pub(crate) bell: Notify,
    /// Milliseconds after `began` of the last sign of life.
    pub(crate) beat: AtomicU64,
    pub(crate) stopping: Mutex<Stopping>,
    #[cfg(feature = "tokio")]
    pub(crate) runtime: std::sync::OnceLock<tokio::runtime::Handle>,
    #[cfg(feature = "health")]
    pub(crate) health: std::sync::OnceLock<crate::health::Health>,
}

/// What the program said and the runner has not heard yet. A newer word takes the place of an older one of its kind, so
/// this needs no queue and nothing waits.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) ready: bool,
    pub(crate) status: Option<String>,
    pub(crate) checkpoint: Option<Duration>,
    pub(crate) answer: Option<Result<(), Ending>>,
    pub(crate) faults: Vec<Ending>,
    pub(crate) end_wanted: bool,
    pub(crate) ended: Option<Result<(), Ending>>,
    pub(crate) drained: bool,
}

/// Why and until when.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    pub(crate) reason: Option<StopReason>,
    pub(crate) deadline: Option<Moment>,
}

impl Context {
    /// The name of the service, as its host knows it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Who started this process.
    pub fn started_by(&self) -> StartedBy {
        self.0.started_by
    }

    /// Words that were given to this one start and are not on the command line: those after `sc start NAME`.
    pub fn start_arguments(&self) -> &[std::ffi::OsString] {
        &self.0.arguments
    }

    /// Says that the program does its work. Until then the host shows it as starting, and what needs it waits. Saying
    /// it twice changes nothing.
    ///
    /// A program that never says it fails after its [start timeout](crate::Service::start_timeout).
    pub fn ready(&self) {
        self.say(|words| words.ready = true);
    }

    /// Says in a line what the program is doing: shown by `systemctl status`, `tutela status` and in the terminal.
    /// Line breaks become spaces, and what is longer than 500 bytes is cut.
    pub fn status(&self, line: impl Into<String>) {
        let mut line = line.into().replace(['\n', '\r'], " ");
        line.truncate(line.floor_char_boundary(STATUS_BYTES_MAX));
        self.say(|words| words.status = Some(line));
    }

    /// Says that a start or stop that is going on gets ahead and needs up to `hint` from here on. It moves the deadline
    /// of the host and ours, and never to an earlier time.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn replay(_segment: u32) {}
    /// # fn start(context: &tutela_service::Context) {
    /// for segment in 0..100 {
    ///     context.status(format!("replaying segment {segment} of 100"));
    ///     context.checkpoint(Duration::from_secs(20));
    ///     replay(segment);
    /// }
    /// context.ready();
    /// # }
    /// ```
    pub fn checkpoint(&self, hint: Duration) {
        self.say(|words| words.checkpoint = Some(words.checkpoint.unwrap_or_default().max(hint)));
    }

    /// Gives a sign of life, for a program whose [heartbeat](crate::Heartbeat) is its own.
    pub fn alive(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.beat.store(now, Ordering::Relaxed);
    }

    /// The flag that is raised when the program is to stop.
    pub fn stopping(&self) -> StopToken {
        self.0.stop.clone()
    }

    /// The flag that is raised when somebody does not want to wait for an orderly stop: a second Ctrl-C. About two
    /// seconds are left.
    pub fn hurried(&self) -> StopToken {
        self.0.hurry.clone()
    }

    /// Why the service stops; `None` while it does not. With a [drain delay](crate::Service::drain_delay) it is known
    /// before [`Context::stopping`] is raised.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.0.stopping().reason.clone()
    }

    /// What is left of the time to stop; `None` while the service does not stop.
    pub fn time_left(&self) -> Option<Duration> {
        self.0.stopping().deadline.map(|deadline| deadline.since(self.0.now()))
    }

    /// Ends the service in order, as if it had been stopped. Exit code 0, unless something fails on the way.
    pub fn end(&self) {
        self.say(|words| words.end_wanted = true);
    }

    /// Ends the service in order because something failed: the failure is logged and becomes the exit code, so that the
    /// host may start it again. The first failure counts.
    pub fn fail(&self, failure: impl Into<Failure>) {
        self.fault(Ending::of_failure(&failure.into()));
    }

    /// Counts a piece of work until what this answers is dropped. A stop waits for it, within the stop timeout.
    ///
    /// ```no_run
    /// # fn answer() {}
    /// # fn handle(context: &tutela_service::Context) {
    /// let _request = context.track("request");
    /// answer();
    /// # }
    /// ```
    pub fn track(&self, name: &str) -> Tracked {
        self.0.work.track(name)
    }

    /// The tracked work that is under way.
    pub fn under_way(&self) -> Left {
        self.0.work.left()
    }

    /// Blocks the thread until all tracked work is finished, `within` is over, or a second Ctrl-C hurries it. The
    /// service does this by itself after the program has returned; call it to do something in between, such as to close
    /// the database that the work needs.
    pub fn drain(&self, within: Duration) -> Drained {
        self.0.work.drain(within, &self.0.hurry)
    }

    /// [`Context::drain`] for a task of a tokio runtime.
    #[cfg(feature = "tokio")]
    pub async fn drained(&self, within: Duration) -> Drained {
        self.0.work.drain_until(tokio::time::sleep(within), &self.0.hurry).await
    }

    /// Starts a thread whose work is tracked under `name`. When it fails or panics, the service ends with that failure.
    ///
    /// # Errors
    /// The OS gives no thread.
    pub fn thread(
        &self,
        name: &str,
        work: impl FnOnce(&Context) -> Outcome + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let (context, tracked, who) = (self.clone(), self.track(name), format!("the thread {name}"));
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(ending) = catch_outcome(&who, || work(&context)) {
                context.fault(ending);
            }
            drop(tracked);
        })
    }

    /// Starts a task on the runtime of the service whose work is tracked under `name`. When it fails or panics, the
    /// service ends with that failure: nothing dies in silence. Aborting it through the handle counts as finishing.
    ///
    /// # Panics
    /// When the program is not an async one and this is not called within a tokio runtime: then there is nothing that
    /// could run the task. [`Context::thread`] is for these.
    #[cfg(feature = "tokio")]
    #[track_caller]
    pub fn spawn<F>(&self, name: &str, work: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (context, tracked, who) = (self.clone(), self.track(name), format!("the task {name}"));
        let task = async move {
            if let Err(ending) = caught(&who, work).await {
                context.fault(ending);
            }
            drop(tracked);
        };
        match self.0.runtime.get() {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }

    /// The health checks and figures of this service; see [`crate::health`].
    ///
    /// # Panics
    /// Without [`crate::Service::health`].
    #[cfg(feature = "health")]
    #[track_caller]
    pub fn health(&self) -> &crate::health::Health {
        self.0.health.get().expect("Service::health() was called, which is what makes this available")
    }

    pub(crate) fn fault(&self, ending: Ending) {
        self.say(|words| {
            if words.faults.len() < FAULTS_MAX {
                words.faults.push(ending);
            }
        });
    }

    pub(crate) fn say(&self, word: impl FnOnce(&mut Words)) {
        self.0.say(word);
    }
}

impl Shared {
    /// Of a service that begins now.
    pub(crate) fn new(name: String, started_by: StartedBy, arguments: Vec<std::ffi::OsString>) -> Shared {
        Shared {
            name,
            started_by,
            arguments,
            began: Instant::now(),
            stop: StopToken::new(),
            hurry: StopToken::new(),
            work: Work::default(),
            words: Mutex::default(),
            bell: Notify::default(),
            beat: AtomicU64::default(),
            stopping: Mutex::default(),
            #[cfg(feature = "tokio")]
            runtime: std::sync::OnceLock::new(),
            #[cfg(feature = "health")]
            health: std::sync::OnceLock::new(),
        }
    }

    /// Without suspensions where the OS's own clock goes so: the time in which a program could do something.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_nanos(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn say(&self, word: impl FnOnce(&mut Words)) {
        word(&mut self.words());
        self.bell.notify_one();
    }

    pub(crate) fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopping(&self) -> MutexGuard<'_, Stopping> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the last sign of life was.
    pub(crate) fn silent_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }
}

/// Runs `work`; a panic in it becomes an [`Ending`] as in [`catch_outcome`].
#[cfg(feature = "tokio")]
pub(crate) async fn caught<F: Future<Output = Outcome>>(who: &str, work: F) -> Result<(), Ending> {
    use crate::exit::catch;
    use std::task::Poll;
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |cx| match catch(who, || work.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
        Ok(Poll::Ready(Err(failure))) => Poll::Ready(Err(Ending::of_failure(&failure))),
        Err(ending) => Poll::Ready(Err(ending)),
    })
    .await
}
