//! A program and everything it started, as one thing that can be asked, signalled, limited and ended.

use super::Signal;
use crate::{Error, Unsupported, platform};
use std::time::Duration;
use tutela_core::spec::Limits;

/// All processes of one run of a program. Clones are the same tree. Dropping it ends nothing. A later run of
/// the same label is another tree: nothing that is done to this one touches it.
///
/// In a control group every call is one or a few small file operations, about 10 µs each. A walked tree
/// costs a look at every process of the computer, about 5 µs each; looks are shared between the trees of
/// a nursery for a few milliseconds, so what is told can be that old. That a tree is empty is never told of
/// one that is not.
///
/// In a job (Windows) every call is one or a few system calls, and some 20 µs for each member where members are
/// looked at. The OS's own hosts of consoles (`conhost.exe`), of which every console program has one in its job, are
/// no members.
#[derive(Debug, Clone)]
pub struct Tree(pub(crate) platform::container::Tree);

/// A process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// The name of its program, as the OS knows it (on Linux at most 15 bytes).
    pub name: String,
    /// What it is doing.
    pub state: MemberState,
}

/// What a process is doing, as far as it matters to a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It runs, or could.
    Alive,
    /// It is in a system call that nothing can interrupt: a dead disk or network share, mostly. Windows does not say.
    Stuck,
    /// It is halted by a signal or a debugger. On Windows: by us.
    Halted,
}

/// What a tree uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeUsage {
    /// Processor time since the start. In a walked tree: of the processes that live.
    pub cpu: Duration,
    /// Memory in bytes. With a memory controller what counts against the limit, else the sum of what is
    /// resident, in which shared pages count more than once. In a job with a limit: what is committed.
    pub memory_bytes: u64,
    /// Processes.
    pub processes: u32,
    /// Threads.
    pub threads: u32,
    /// Open files; `None` where that of a member may not be seen. On Windows: open handles of any kind.
    pub open_files: Option<u64>,
}

impl Tree {
    /// The label that the start gave it.
    pub fn label(&self) -> &str {
        self.0.label()
    }

    /// The processes that run, by number. Those that have ended and wait to be reaped are no members.
    ///
    /// # Errors
    /// The container or the process table cannot be read.
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        self.0.members()
    }

    /// Whether no process runs.
    ///
    /// # Errors
    /// As [`Tree::members`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.0.is_empty()
    }

    /// Whether the process `pid` is a member.
    pub fn contains(&self, pid: u32) -> bool {
        self.0.contains(pid)
    }

    /// Sends `signal` to every member there is. Processes that are just being made may be missed. On Windows what is
    /// a request (see [`super::Child::signal`]) is carried to every console of the tree, or where there is none to its
    /// windows, before this returns: some 50 ms, with a bound of seconds, so not for the conductor's thread.
    ///
    /// # Errors
    /// As [`Tree::members`], and where a member may not be signalled; the others have got it then.
    pub fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        self.0.signal_all(signal)
    }

    /// Ends every member for good, those included that are made meanwhile. In a control group it returns
    /// at once and [`Tree::emptied`] tells the end. A walked tree is gone through again and again until
    /// nobody is found, with a bound of a few seconds: not for the conductor's thread.
    ///
    /// # Errors
    /// As [`Tree::signal_all`], and members that outlived the bound, by number.
    pub fn kill(&self) -> Result<(), Error> {
        self.0.kill()
    }

    /// Halts every member. In a job each thread of each process is suspended, and new members are looked for until
    /// there are none: a halt that was begun is not undone when one fails.
    ///
    /// # Errors
    /// As [`Tree::signal_all`].
    pub fn freeze(&self) -> Result<(), Error> {
        self.0.freeze()
    }

    /// Lets every member go on.
    ///
    /// # Errors
    /// As [`Tree::signal_all`].
    pub fn thaw(&self) -> Result<(), Error> {
        self.0.thaw()
    }

    /// What the tree uses.
    ///
    /// # Errors
    /// As [`Tree::members`].
    pub fn usage(&self) -> Result<TreeUsage, Error> {
        self.0.usage()
    }

    /// Sets what the tree may use from here on, and what every member may: memory, processor, processes,
    /// open files, core size, priority. Answers which of the wishes cannot be enforced here.
    ///
    /// # Errors
    /// A wish that can be enforced here was refused by the OS.
    pub fn set_limits(&self, limits: &Limits) -> Result<Vec<Unsupported>, Error> {
        self.0.set_limits(limits)
    }

    /// Whether the OS ended a member of this run because the tree's memory limit was reached. False where
    /// memory is not limited. Ask before the next start of the same label. Windows ends nobody for it but refuses
    /// memory; there it is whether that happened within the last seconds, so ask when the end is told.
    ///
    /// # Errors
    /// The container cannot be read.
    pub fn oom_killed(&self) -> Result<bool, Error> {
        self.0.oom_killed()
    }

    /// Waits until no member runs. Within a tokio runtime with IO and time enabled. May be dropped and
    /// called again. A walked tree is looked at every 20 ms; the kernel reports a control group within 10 ms, and a
    /// job at once, or is asked after 100 ms.
    ///
    /// # Errors
    /// As [`Tree::members`].
    pub async fn emptied(&self) -> Result<(), Error> {
        self.0.emptied().await
    }

    /// Removes the container of a tree that is empty and will not be started again: after an instance was
    /// removed, not between two starts, which use the same one. Nothing to do for a walked tree.
    ///
    /// # Errors
    /// It is not empty.
    pub fn remove(&self) -> Result<(), Error> {
        self.0.remove()
    }
}
