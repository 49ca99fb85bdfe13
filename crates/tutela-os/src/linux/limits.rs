//! The guard's own limit of open files, and its own standing.

use crate::Error;
use crate::limits::{Descriptors, OpenFiles};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit};
use std::io;
use std::sync::OnceLock;

/// What the limit was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

pub(crate) fn raise_open_files() -> Result<OpenFiles, Error> {
    let present = getrlimit(Resource::Nofile);
    let before = BEFORE.get_or_init(|| present);
    let raised = Rlimit { current: present.maximum, maximum: present.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|errno| Error::io("raise the limit of open files", errno))?;
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    Ok(OpenFiles { before: number(before.current), now: number(present.maximum) })
}

/// The table of open files grows with the highest number in it and never shrinks. Where threads share it, who has it grow
/// waits until nobody can be reading the smaller one (`synchronize_rcu`), and so does who needs a number beyond that.
pub(crate) fn expect_open_files(count: usize) {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let highest = most.saturating_sub(1).min(u64::try_from(count).unwrap_or(u64::MAX));
    let highest = i32::try_from(highest).unwrap_or(i32::MAX);
    // A wish. Any descriptor does: a copy of it has the number, and is closed at once.
    let any = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    drop(any.and_then(|any| rustix::io::fcntl_dupfd_cloexec(any, highest)));
}

/// Since Linux 6.2 the size of the folder is the number; before, the entries would have to be counted, which takes a
/// descriptor and, with thousands of programs, a time that no start has.
pub(crate) fn descriptors() -> Option<Descriptors> {
    let used = std::fs::metadata("/proc/self/fd").ok()?.len();
    let most = getrlimit(Resource::Nofile).current?;
    (used > 0).then_some(Descriptors { used, most })
}

/// What a program gets, unless its spec says otherwise: what the guard was started with.
pub(crate) fn for_programs() -> Option<Rlimit> {
    BEFORE.get().copied()
}

/// Has the signal of a file that is too large ignored. Whoever starts programs finds it among the ignored ones, and gives
/// them the default reaction.
pub(crate) fn outlive_large_files() {
    // SAFETY: no handler is installed; nothing but the reaction to this one signal changes.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// What the limit of core files was before it was lowered.
static CORE_BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// The limit that means none to the kernel, in bytes. Of 0 a handler of crashes (a `core_pattern` that begins with `|`,
/// as systemd's and apport's) is given the whole memory all the same; by 1 the kernel's own handlers are known, and of
/// theirs it makes no core at all. A file is at least a page long, so 1 leaves none either.
const NO_CORE_BYTES: u64 = 1;

/// Lowers the limit, and not `PR_SET_DUMPABLE`: that would give `/proc/self` of an unprivileged guard to root, who reads
/// its own threads, files and groups there.
pub(crate) fn leave_no_core() -> Result<(), Error> {
    let present = getrlimit(Resource::Core);
    let before = CORE_BEFORE.get_or_init(|| present);
    let current = before.maximum.map_or(NO_CORE_BYTES, |most| most.min(NO_CORE_BYTES));
    let lowered = Rlimit { current: Some(current), maximum: before.maximum };
    setrlimit(Resource::Core, lowered).map_err(|errno| Error::io("lower the limit of core files", errno))
}

/// What a program gets, unless its spec says otherwise.
pub(crate) fn core_for_programs() -> Option<Rlimit> {
    CORE_BEFORE.get().copied()
}

/// By how much the guard stands above what it keeps: a program that forks a thousand times must not keep it from
/// answering. Half of what there is leaves room above it for an operator's own tools.
const ABOVE_PROGRAMS: i32 = 10;

/// What the guard's own niceness was before it rose; only where it did.
static NICENESS_BEFORE: OnceLock<i32> = OnceLock::new();

/// Puts this thread, and those that it starts from here on, above the programs. An account that may not stays where
/// it is: the guard works from there too, only later when programs leave nothing of the computer.
pub(crate) fn rise() {
    let Ok(before) = getpriority_process(None) else { return };
    if NICENESS_BEFORE.get().is_none() && setpriority_process(None, before - ABOVE_PROGRAMS).is_ok() {
        NICENESS_BEFORE.get_or_init(|| before);
    }
}

/// The niceness of a program whose spec wants nothing special; `None`: the guard's own is right.
pub(crate) fn niceness_for_programs() -> Option<i32> {
    NICENESS_BEFORE.get().copied()
}

/// What a process inherits of these, to be set as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    open_files: Option<Rlimit>,
    core: Option<Rlimit>,
    niceness: Option<i32>,
}

/// What this process was started with, as far as it changed it.
pub(crate) fn as_started() -> Limits {
    Limits { open_files: for_programs(), core: core_for_programs(), niceness: niceness_for_programs() }
}

/// What holds now, for the thread that asks.
pub(crate) fn as_they_are() -> Limits {
    let (open_files, core) = (getrlimit(Resource::Nofile), getrlimit(Resource::Core));
    Limits { open_files: Some(open_files), core: Some(core), niceness: getpriority_process(None).ok() }
}

impl Limits {
    /// Sets them, for this thread and whatever it becomes or starts. Makes system calls and nothing else.
    pub(crate) fn hold(&self) -> io::Result<()> {
        for (resource, limit) in [(Resource::Nofile, self.open_files), (Resource::Core, self.core)] {
            if let Some(limit) = limit {
                setrlimit(resource, limit)?;
            }
        }
        if let Some(niceness) = self.niceness {
            setpriority_process(None, niceness)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_open_files_has_the_room_that_was_asked_for() {
        let room = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            size.and_then(|size| size.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        expect_open_files(5000);
        assert!(room() >= most.min(5000), "room for {} of {most}", room());
    }
}
