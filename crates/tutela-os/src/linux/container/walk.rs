//! Members of a tree found in the process table, where no control group is to be had.
//!
//! A process belongs to a run when it descends from the run's first process, when it is in that process's
//! session, or when the environment that it was started with carries the run's mark. The mark is what
//! finds a process that forked twice into a session of its own: it has no other tie. Because the guard
//! adopts orphans, every member is a descendant of the guard, so nobody else's environment is read; only while
//! there are programs that an earlier guard started, the whole process table is looked at.
//!
//! A process that leaves the session, loses its parent *and* starts a program with an environment that it
//! cleaned of the mark escapes. That is why this is second best.

use super::super::proc::{self, Stat};
use super::super::process::signal_through;
use crate::process::Signal;
use crate::{Error, Unsupported};
use rustix::process::{Pid, PidfdFlags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tutela_core::spec::Limits;

/// The variable that carries the mark.
pub(crate) const MARK: &str = "TUTELA_RUN";

/// How long a look at the process table is good for all trees of a nursery. A look costs about 5 µs per
/// process, and a stop of many trees asks for all of them at once.
const LOOK_GOOD_FOR: Duration = Duration::from_millis(5);

/// Up to how many members are ended straight away. More are halted first, so that those that are making
/// others cannot outrun us.
const FEW: usize = 8;

/// How long members may outlive the signal that ends them. One that is stuck in the kernel does not end
/// before its system call does, and no repetition helps.
const KILL_BOUND: Duration = Duration::from_secs(5);

/// How long to wait between two looks for members that are about to be gone.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// The latest look at the process table, shared by the trees of a nursery.
#[derive(Debug)]
pub(crate) struct Table {
    guard: u32,
    /// The mark in the guard's own environment, when another guard keeps it. A process that has not become
    /// its program yet shows the guard's environment, so this mark says nothing.
    own_mark: Option<String>,
    /// Whether members may be anywhere: those of an earlier guard's programs are no descendants of this one.
    everywhere: AtomicBool,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    look: Option<(Instant, Arc<Look>)>,
    /// The marks of processes by number and beginning. Only those that were found are kept: a process can
    /// be seen before it has become its program, but no process loses the environment it was started with.
    marks: HashMap<(u32, u64), Arc<str>>,
}

/// The guard's descendants at one time, or everybody.
#[derive(Debug)]
struct Look {
    descendants: Vec<(Stat, Option<Arc<str>>)>,
}

impl Table {
    pub(crate) fn new() -> Table {
        let guard = std::process::id();
        let everywhere = AtomicBool::new(false);
        Table { guard, own_mark: proc::variable(guard, MARK), everywhere, latest: Mutex::default() }
    }

    /// From here on members are looked for among all processes.
    pub(crate) fn look_everywhere(&self) {
        self.everywhere.store(true, Ordering::Release);
    }

    /// The mark of process `pid`, if it has one of its own.
    pub(crate) fn mark_of(&self, pid: u32) -> Option<String> {
        proc::variable(pid, MARK).filter(|mark| self.own_mark.as_ref() != Some(mark))
    }

    /// The same, where that it cannot be looked at is no proof that there is none.
    fn look_for_mark(&self, pid: u32) -> Result<Option<String>, Error> {
        let failed = |source| Error::io(format!("read the environment of process {pid}"), source);
        let mark = proc::look_for_variable(pid, MARK).map_err(failed)?;
        Ok(mark.filter(|mark| self.own_mark.as_ref() != Some(mark)))
    }

    /// The mark of the run that `tail` names: behind the guard's own, if it has one, so that the guard that
    /// keeps this guard knows all of these processes for its own too.
    pub(crate) fn mark(&self, tail: &str) -> String {
        self.own_mark.as_ref().map_or_else(|| tail.to_owned(), |own| format!("{own}/{tail}"))
    }

    /// A look that began at `since` or later: the latest one, or another.
    fn look(&self, since: Instant) -> Result<Arc<Look>, Error> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, look)) = &latest.look
            && *began >= since
        {
            return Ok(Arc::clone(look));
        }
        let began = Instant::now();
        let all = proc::all()?;
        let everywhere = self.everywhere.load(Ordering::Acquire);
        let ours = if everywhere { HashSet::new() } else { descendants_of(self.guard, &all) };
        let mut marks = HashMap::new();
        let mut descendants = Vec::new();
        for stat in all.into_iter().filter(|stat| everywhere || ours.contains(&stat.pid)) {
            let key = (stat.pid, stat.began);
            let mark = match latest.marks.get(&key) {
                Some(mark) => Some(Arc::clone(mark)),
                None => self.look_for_mark(stat.pid)?.map(Arc::from),
            };
            if let Some(mark) = &mark {
                marks.insert(key, Arc::clone(mark));
            }
            descendants.push((stat, mark));
        }
        latest.marks = marks;
        let look = Arc::new(Look { descendants });
        latest.look = Some((began, Arc::clone(&look)));
        Ok(look)
    }
}

/// The numbers of all descendants of `root`, itself not included.
fn descendants_of(root: u32, all: &[Stat]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let mut found = HashSet::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found
}

/// One run of a program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) table: Arc<Table>,
    pub(crate) label: String,
    pub(crate) mark: Arc<str>,
    /// Why there is no control group.
    pub(crate) reason: String,
    /// The first process, and with it the session.
    pub(crate) first: u32,
    /// When it was started here: a look that began earlier does not show it.
    pub(crate) started: Instant,
    /// When the first process began; `None` when it had ended before it could be seen.
    pub(crate) began: Option<u64>,
}

impl Run {
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The members by a look that may be some milliseconds old.
    pub(crate) fn stats(&self) -> Result<Vec<Stat>, Error> {
        let recent = Instant::now().checked_sub(LOOK_GOOD_FOR).unwrap_or(self.started);
        self.stats_since(recent)
    }

    /// The members by a look of this very time.
    pub(crate) fn fresh_stats(&self) -> Result<Vec<Stat>, Error> {
        self.stats_since(Instant::now())
    }

    fn stats_since(&self, since: Instant) -> Result<Vec<Stat>, Error> {
        let mut stats = self.members_in(&*self.table.look(since.max(self.started))?);
        stats.retain(|stat| !stat.has_ended());
        Ok(stats)
    }

    /// Whether nobody is left. Only members make members, so this never turns false again, and an older
    /// look that shows nobody is as good. But a look takes time, in which a process can hand over to a
    /// child behind its back: one that shows nobody is confirmed by another.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.stats()?.is_empty() && self.fresh_stats()?.is_empty())
    }

    fn members_in(&self, look: &Look) -> Vec<Stat> {
        let is_first = |stat: &Stat| stat.pid == self.first && Some(stat.began) == self.began;
        let first_lives = look.descendants.iter().any(|(stat, _)| is_first(stat));
        let below = if first_lives {
            let all: Vec<Stat> = look.descendants.iter().map(|(stat, _)| stat.clone()).collect();
            descendants_of(self.first, &all)
        } else {
            HashSet::new()
        };
        let belongs = |stat: &Stat, mark: Option<&Arc<str>>| {
            mark.is_some_and(|mark| self.is_ours(mark))
                || is_first(stat)
                || below.contains(&stat.pid)
                || self.in_session(stat)
        };
        let members = look.descendants.iter().filter(|(stat, mark)| belongs(stat, mark.as_ref()));
        members.map(|(stat, _)| stat.clone()).collect()
    }

    /// Whether the mark is this run's, or of a run of a guard within this run.
    fn is_ours(&self, mark: &str) -> bool {
        is_below(mark, &self.mark)
    }

    /// A session keeps its number, which is its first process's, from being given away; but only as long
    /// as it has a member. A member that is older than our first process is in another one.
    fn in_session(&self, stat: &Stat) -> bool {
        stat.session == self.first && self.began.is_some_and(|began| stat.began >= began)
    }

    pub(crate) fn contains(&self, pid: u32) -> bool {
        let is_first = || self.began.is_some() && proc::stat(pid).map(|stat| stat.began) == self.began;
        (pid == self.first && is_first())
            || self.table.mark_of(pid).is_some_and(|mark| self.is_ours(&mark))
            || self.stats().is_ok_and(|stats| stats.iter().any(|stat| stat.pid == pid))
    }

    pub(crate) fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        signal_each(self.fresh_stats()?, signal, |_| true)
    }

    /// Halts members until a look finds none that goes on; answers how many there are.
    pub(crate) fn halt(&self) -> Result<usize, Error> {
        let bound = Instant::now() + KILL_BOUND;
        let mut halted = HashSet::new();
        loop {
            let members = self.fresh_stats()?;
            let fresh: Vec<Stat> =
                members.iter().filter(|stat| !halted.contains(&(stat.pid, stat.began))).cloned().collect();
            if fresh.is_empty() || Instant::now() > bound {
                return Ok(members.len());
            }
            halted.extend(fresh.iter().map(|stat| (stat.pid, stat.began)));
            signal_each(fresh, Signal::STOP, |_| true)?;
        }
    }

    pub(crate) fn kill(&self) -> Result<(), Error> {
        let bound = Instant::now() + KILL_BOUND;
        let mut before = FEW;
        loop {
            let mut members = self.fresh_stats()?;
            if members.is_empty() && self.is_empty()? {
                return Ok(());
            }
            if members.len() > before {
                self.halt()?;
                members = self.fresh_stats()?;
            }
            before = members.len();
            if Instant::now() > bound {
                let left: Vec<String> = members.iter().map(|stat| format!("{} ({})", stat.pid, stat.name)).collect();
                let left = left.join(", ");
                return Err(Error::Refused(format!("these processes did not end within {KILL_BOUND:?}: {left}")));
            }
            signal_each(members, Signal::KILL, |_| true)?;
            std::thread::sleep(KILL_PAUSE);
        }
    }
}

/// Whether a mark is that of the run `its`, or of a run of a guard within that run.
pub(crate) fn is_below(mark: &str, its: &str) -> bool {
    mark.strip_prefix(its).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Signals each process of the list, if it is still the one that was looked at and `still` agrees.
pub(crate) fn signal_each(stats: Vec<Stat>, signal: Signal, still: impl Fn(&Stat) -> bool) -> Result<(), Error> {
    let mut refused = None;
    for stat in stats {
        if let Err(error) = signal_one(&stat, signal, &still) {
            refused = Some(Error::io(format!("send {signal} to process {} ({})", stat.pid, stat.name), error));
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The descriptor is taken first and the beginning compared after it: then the descriptor is the process
/// that was looked at, and the signal cannot hit another one.
fn signal_one(stat: &Stat, signal: Signal, still: impl Fn(&Stat) -> bool) -> io::Result<()> {
    let Some(pid) = i32::try_from(stat.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let same = proc::stat(stat.pid).is_some_and(|seen| seen.began == stat.began);
    if same && still(stat) { signal_through(&process, signal.number()).map(drop) } else { Ok(()) }
}

/// The wishes that need a control group.
pub(crate) fn missing_limits(limits: &Limits, reason: &str) -> Vec<Unsupported> {
    let wishes = [
        ("memory limit", limits.memory.is_some()),
        ("cpu limit", limits.cpu_percent.is_some()),
        ("processes limit", limits.processes.is_some()),
    ];
    let missing = wishes.into_iter().filter(|(_, wished)| *wished);
    missing
        .map(|(capability, _)| Unsupported::new(capability, format!("there is no control group: {reason}")))
        .collect()
}
