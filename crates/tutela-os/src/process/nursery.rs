//! The nursery: one per guard, from which every program is started and to which every end is told.

use super::{Asked, Signal, SpawnError, SpawnRequest, StopRequest, Tree};
use crate::handle::Handle;
use crate::secret::Secret;
use crate::{Error, Unsupported, platform};
use std::path::PathBuf;
use std::time::Duration;

/// How a nursery is opened.
#[derive(Debug, Clone, Default)]
pub struct NurseryOptions {
    /// Walk the process table even where the host would give us a control group. Windows always has jobs, and
    /// takes no notice.
    pub force_walk: bool,
    /// What tells two guards of one name on one computer apart, such as the folder of `TUTELA_HOME`.
    /// [`Nursery::leftovers`] looks only at guards of the same name and scope. Any text.
    pub scope: String,
}

/// What holds the trees of a nursery together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerKind {
    /// A control group (Linux, version 2) per tree: no process can leave it.
    ControlGroup {
        /// The group of the nursery, which holds a group per tree.
        path: PathBuf,
        /// The controllers whose limits can be set: of `memory`, `cpu`, `pids`.
        controllers: Vec<String>,
    },
    /// A job object (Windows) per tree: no process can leave it. They end with the guard, unless a
    /// [`crate::safe::Safe`] has them too.
    JobObject {
        /// The limits that this host keeps: of `memory`, `cpu`, `processes`.
        limits: Vec<String>,
    },
    /// The process table is walked: descent, session and a mark in the environment make a member.
    Walk {
        /// Why there is nothing better, and how that can be helped; for people.
        reason: String,
    },
}

impl ContainerKind {
    /// A word for reports: `cgroup`, `job` or `walk`.
    pub const fn word(&self) -> &'static str {
        match self {
            ContainerKind::ControlGroup { .. } => "cgroup",
            ContainerKind::JobObject { .. } => "job",
            ContainerKind::Walk { .. } => "walk",
        }
    }
}

/// What is left of a guard of the same name and scope that ended without ending its programs: one per tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The label of the tree, as it was given to [`SpawnRequest::tree`].
    pub label: String,
    /// The process of the guard that is gone.
    pub guard_pid: u32,
    /// The processes that still run; may be empty, when only the empty container is left.
    pub pids: Vec<u32>,
}

/// The one place from which a guard starts programs.
///
/// It can be shared between threads. Dropping it removes the containers that are empty and ends nothing.
#[derive(Debug)]
pub struct Nursery(platform::process::Nursery);

impl Nursery {
    /// Opens the nursery of the guard `guard_name`: from here on this process adopts the orphans of its
    /// descendants and is told when a child ends. It may be opened on any thread, once per process.
    ///
    /// Whoever opens a nursery must not set signals to *ignored* afterwards: a program would inherit it.
    ///
    /// # Errors
    /// A nursery is open in this process already ([`Error::Refused`]), or the OS gives no means to hear
    /// of children. That there is no container to be had is no error but a [`ContainerKind::Walk`].
    pub fn open(guard_name: &str, options: &NurseryOptions) -> Result<Nursery, Error> {
        platform::process::Nursery::open(guard_name, options).map(Nursery)
    }

    /// What holds the trees together.
    pub fn container(&self) -> &ContainerKind {
        self.0.container()
    }

    /// Makes the container of the tree `label` ahead of its first start, which is then quicker: worth it for
    /// what starts together. Nothing to do where trees are walked. A start does not need it.
    ///
    /// # Errors
    /// The container cannot be made; the start would fail for the same reason and say so.
    pub fn prepare(&self, label: &str) -> Result<(), Error> {
        self.0.prepare(label)
    }

    /// Starts a program and returns when it runs, that is when the OS has replaced the new process by it.
    /// Blocks for as long as that takes: about 0.1 ms, or as long as a slow disk wants. Several threads
    /// may do so at the same time.
    ///
    /// # Errors
    /// The step that did not work and why; no process is left then, and [`Nursery::reap`] tells nothing.
    pub fn spawn(&self, request: &SpawnRequest) -> Result<Child, SpawnError> {
        self.0.spawn(request).map(Child)
    }

    /// Collects children that have ended and tells `each` about them, in the order of their collection. When
    /// very many have, only some: [`ChildSignal::ready`] is ready again at once then. Never waits. Of a program started here it tells exactly once, and never before its
    /// [`Nursery::spawn`] has returned or is about to.
    ///
    /// Its owner may be told before the spawning thread has handed its [`Child`] on; then the token is
    /// what connects the two.
    pub fn reap(&self, each: &mut impl FnMut(Reaped)) {
        self.0.reap(each);
    }

    /// What becomes ready when there is something to reap. Call it once, within a tokio runtime with IO
    /// enabled.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn child_signal(&self) -> Result<ChildSignal, Error> {
        self.0.child_signal().map(ChildSignal)
    }

    /// Takes back a program that an earlier guard of this name started and that ran on when it ended: `remains` and
    /// `process` are what [`Child::remains`] answered there. It may have ended by now; [`Child::end_elsewhere`] tells.
    /// To be called before [`Nursery::leftovers`], which leaves out what was taken back.
    ///
    /// # Errors
    /// The text makes no sense, or its control group is gone: then nothing of its tree runs any more.
    pub fn take_back(&self, remains: &str, process: &Handle) -> Result<Child, Error> {
        self.0.take_back(remains, process).map(Child)
    }

    /// A program of an earlier guard, by what [`Child::remains`] answered there, is not taken back: [`Nursery::leftovers`]
    /// has its tree, if anything of it runs. Elsewhere than on Windows that finds it by itself.
    pub fn give_up(&self, remains: &str, process: &Handle) {
        self.0.give_up(remains, process);
    }

    /// A program that was taken back has ended, and all of its tree: its processes are looked for no more. Of a program
    /// that was started here there is nothing to forget.
    pub fn forget(&self, token: ChildToken) {
        self.0.forget(token);
    }

    /// The trees that an earlier guard of the same name and scope left when it ended without ending them.
    /// A guard must take them back, by [`Nursery::take_back`], or end them, by [`Nursery::end_leftover`], before it
    /// starts its own. Walks the process table; call it once, before the guard works. On Windows they are those that were
    /// given up, by [`Nursery::give_up`]: the kernel ends all others with their guard.
    ///
    /// # Errors
    /// The process table or the control groups cannot be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        self.0.leftovers()
    }

    /// Ends every process of a leftover and removes its container. Returns when none of them runs any
    /// more; blocks until then, with a bound of a few seconds.
    ///
    /// # Errors
    /// Some could not be ended; they are named.
    pub fn end_leftover(&self, leftover: &Leftover) -> Result<(), Error> {
        self.0.end_leftover(leftover)
    }

    /// Which run of which program the process `pid` belongs to, if to one of ours. For messages whose
    /// sender is known by its number; the program's first process is the cheap case.
    pub fn owner_of(&self, pid: u32) -> Option<ChildToken> {
        self.0.owner_of(pid)
    }
}

/// One start of a program, unique in this guard's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildToken(pub(crate) u64);

impl ChildToken {
    /// The number behind it, for logs: 1 for the first start of a guard, growing.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A program that was started. Dropping it neither ends the program nor loses its end.
#[derive(Debug)]
pub struct Child(platform::process::Child);

impl Child {
    /// The number of its first process. For people: signals go through [`Child::signal`].
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// What [`Reaped::owner`] will say when it ends.
    pub fn token(&self) -> ChildToken {
        self.0.token()
    }

    /// The container of the program and all its descendants.
    pub fn tree(&self) -> &Tree {
        self.0.tree()
    }

    /// What another guard needs to take the program back when this one is gone: a text that tells its tree from all
    /// others until the computer boots, and the descriptor of its process, on Windows with its job. `None`: it cannot be told, because the
    /// program had ended before its process could be seen, or this host knows no such thing.
    pub fn remains(&self) -> Option<(String, Handle)> {
        self.0.remains()
    }

    /// The value of a variable in the environment that its first process was started with, where the OS tells.
    pub fn variable(&self, name: &str) -> Option<Secret> {
        self.0.variable(name).map(Secret::of)
    }

    /// Waits for the end of a program that an earlier guard started, which [`Nursery::reap`] does not tell. Answers how
    /// it ended, where the OS still tells: a kernel before Linux 6.15 does not tell who is not its parent. Within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// Its process cannot be watched.
    pub fn end_elsewhere(&self) -> Result<impl Future<Output = Result<Option<Exit>, Error>> + Send + use<>, Error> {
        self.0.end_elsewhere()
    }

    /// The wishes of the request that this host could not carry out, such as a memory limit without a
    /// memory controller. The program runs all the same.
    pub fn unenforced(&self) -> &[Unsupported] {
        self.0.unenforced()
    }

    /// Signals the first process. It cannot hit another process, even if the number was given away again;
    /// a process that has ended is no error.
    ///
    /// Windows has a counterpart for some: KILL ends the process, STOP and CONT halt it and let it go on, and INT
    /// and TERM press Ctrl-C, QUIT and BREAK Ctrl-Break on its console. The latter are on their way when this
    /// returns; whether they arrived is told by [`Child::request`] alone.
    ///
    /// # Errors
    /// Not allowed, or the OS has no such signal ([`Error::Unsupported`]).
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.0.signal(signal)
    }

    /// Asks the program to stop. Never waits: the request is made at once or on its way when this returns, and
    /// what is returned tells how it came out; its error means that nobody heard the request. On Windows a console
    /// event reaches everybody on the console of the first process, and is carried by a messenger: see
    /// [`super::console_event_main`].
    pub fn request(&self, request: StopRequest) -> Asked {
        self.0.request(request)
    }
}

/// Becomes ready when children have ended.
#[derive(Debug)]
pub struct ChildSignal(platform::process::ChildSignal);

impl ChildSignal {
    /// Waits until at least one child may have ended since the last [`Nursery::reap`]. Any number of ends
    /// can stand behind one wake-up, and there may be none; reap, then wait again. May be dropped and
    /// called again without losing one.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn ready(&mut self) -> Result<(), Error> {
        self.0.ready().await
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code. On Windows also by a crash: the bits of a code like `0xc0000005` are kept.
    Code(i32),
    /// By a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether the OS wrote a core file.
        core_dumped: bool,
    },
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Statuses of a Windows kernel; nobody knows them by their negative numbers.
            Exit::Code(code) if *code < 0 => match platform::process::crash_words(*code) {
                Some(words) => write!(f, "exit code {code:#010x} ({words})"),
                None => write!(f, "exit code {code:#010x}"),
            },
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal { signal, core_dumped: false } => write!(f, "signal {signal}"),
            Exit::Signal { signal, core_dumped: true } => write!(f, "signal {signal} with a core file"),
        }
    }
}

/// What a process used in its life, its own ended and collected children included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessUsage {
    /// Processor time.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub memory_peak_bytes: u64,
}

/// A child that has ended and is collected; its process number may be given away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Its process number.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: ProcessUsage,
    /// Whose first process it was; `None`: an orphan that this process had adopted.
    pub owner: Option<ChildToken>,
}
