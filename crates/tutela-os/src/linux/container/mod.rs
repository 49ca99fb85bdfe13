//! What holds a program and all its descendants: a control group, or a walk over the process table.
//!
//! - [`group`]: the control groups of a nursery, one per tree;
//! - [`place`]: where a nursery may have its control groups, or why nowhere;
//! - [`walk`]: members found by descent, session and mark.

pub(crate) mod group;
mod place;
pub(crate) mod walk;

use crate::process::{ContainerKind, Member, NurseryOptions, Signal, TreeUsage};
use crate::{Error, Unsupported};
use rustix::process::{Pid, Resource, Rlimit};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::spec::{Limits, Priority};

/// What all trees of a nursery are made in.
#[derive(Debug)]
pub(crate) enum Container {
    Groups(group::Root),
    Walk { table: Arc<walk::Table>, reason: String },
}

impl Container {
    /// The best that this host lets us have for the guard of this tag.
    pub(crate) fn choose(tag: &str, options: &NurseryOptions) -> Result<Container, Error> {
        let walk = |reason: String| Container::Walk { table: Arc::new(walk::Table::new()), reason };
        if options.force_walk {
            return Ok(walk("it was asked for".into()));
        }
        Ok(match place::find().and_then(|place| group::Root::make(&place, tag)) {
            Ok(root) => Container::Groups(root),
            Err(reason) => walk(reason),
        })
    }
}

/// What a guard that this process became would hold its trees in. Nothing is made, so whether controllers
/// could be had is told by whether the place has them.
pub(crate) fn would_be() -> ContainerKind {
    match place::find() {
        Ok(place) => ContainerKind::ControlGroup { controllers: place.controllers(), path: place.0 },
        Err(reason) => ContainerKind::Walk { reason },
    }
}

/// The groups of the delegated unit that systemd runs this process for, besides its main process; `None`: it does not.
pub(crate) fn beside() -> Option<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(place::unit_beside()?).ok()?.flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Some(groups.map(|group| group.path()).filter(|group| !group.ends_with(place::CONTROL_GROUP)).collect())
}

/// A program and all its descendants, in either form.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Group(Arc<group::Run>),
    Walk(Arc<walk::Run>),
}

impl Tree {
    /// Whether its container belongs to a later run by now. Then there is nobody left to ask or to end.
    fn is_over(&self) -> bool {
        match self {
            Tree::Group(run) => run.is_over(),
            // A walk never takes one run for another.
            Tree::Walk(_) => false,
        }
    }

    pub(crate) fn label(&self) -> &str {
        match self {
            Tree::Group(run) => run.label(),
            Tree::Walk(run) => run.label(),
        }
    }

    pub(crate) fn members(&self) -> Result<Vec<Member>, Error> {
        Ok(self.stats()?.iter().map(super::proc::Stat::member).collect())
    }

    /// The lines of the members in the process table, by number.
    fn stats(&self) -> Result<Vec<super::proc::Stat>, Error> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let mut stats = match self {
            Tree::Group(run) => run.group().stats()?,
            Tree::Walk(run) => run.stats()?,
        };
        stats.retain(|stat| !stat.has_ended());
        stats.sort_unstable_by_key(|stat| stat.pid);
        Ok(stats)
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        if self.is_over() {
            return Ok(true);
        }
        match self {
            Tree::Group(run) => run.group().is_empty(),
            Tree::Walk(run) => run.is_empty(),
        }
    }

    pub(crate) fn contains(&self, pid: u32) -> bool {
        if self.is_over() {
            return false;
        }
        match self {
            Tree::Group(run) => run.group().contains(pid),
            Tree::Walk(run) => run.contains(pid),
        }
    }

    pub(crate) fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) if signal == Signal::KILL => run.group().kill(),
            // A later run can begin in the group at any moment of this; its processes are not to be asked.
            Tree::Group(run) => {
                walk::signal_each(run.group().stats()?, signal, |stat| run.group().contains(stat.pid) && !run.is_over())
            }
            Tree::Walk(run) => run.signal_all(signal),
        }
    }

    pub(crate) fn kill(&self) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) => run.group().kill(),
            Tree::Walk(run) => run.kill(),
        }
    }

    pub(crate) fn freeze(&self) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) => run.group().freeze(true),
            Tree::Walk(run) => run.halt().map(drop),
        }
    }

    pub(crate) fn thaw(&self) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) => run.group().freeze(false),
            Tree::Walk(run) => run.signal_all(Signal::CONT),
        }
    }

    pub(crate) fn usage(&self) -> Result<TreeUsage, Error> {
        if self.is_over() {
            return Ok(TreeUsage::default());
        }
        let stats = self.stats()?;
        let open_files = stats.iter().map(|stat| super::proc::open_files(stat.pid)).sum::<Option<u64>>();
        let mut usage = TreeUsage {
            cpu: stats.iter().map(|stat| stat.cpu).sum(),
            memory_bytes: stats.iter().map(|stat| stat.resident_bytes).sum(),
            processes: u32::try_from(stats.len()).unwrap_or(u32::MAX),
            threads: stats.iter().map(|stat| stat.threads).sum(),
            open_files,
        };
        if let Tree::Group(run) = self {
            usage.cpu = run.cpu().unwrap_or(usage.cpu);
            usage.memory_bytes = run.group().memory_bytes().unwrap_or(usage.memory_bytes);
        }
        Ok(usage)
    }

    pub(crate) fn set_limits(&self, limits: &Limits) -> Result<Vec<Unsupported>, Error> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let missing = match self {
            Tree::Group(run) => run.group().set_limits(limits)?,
            Tree::Walk(run) => walk::missing_limits(limits, run.reason()),
        };
        let members = match self {
            Tree::Group(_) => self.stats()?,
            Tree::Walk(run) => run.fresh_stats()?,
        };
        for stat in members {
            limit_process(stat.pid, limits)
                .map_err(|error| Error::io(format!("set the limits of process {} ({})", stat.pid, stat.name), error))?;
        }
        Ok(missing)
    }

    pub(crate) fn oom_killed(&self) -> Result<bool, Error> {
        if self.is_over() {
            return Ok(false);
        }
        match self {
            Tree::Group(run) => run.oom_killed(),
            Tree::Walk(_) => Ok(false),
        }
    }

    pub(crate) async fn emptied(&self) -> Result<(), Error> {
        /// A look at a thousand processes takes some 5 ms, ten times that when their environments are read for the
        /// first time; it is shared between all trees that wait. Four times as long between two looks keeps a stop
        /// below a quarter of a core.
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) => run.group().emptied().await,
            Tree::Walk(_) => {
                // Who waits here mostly has other things to do on this thread than to read the process table.
                loop {
                    let tree = self.clone();
                    match crate::blocking::TREES.start(move || tree.is_empty()).await {
                        Ok(Ok(false)) => tokio::time::sleep(LOOK_EVERY).await,
                        Ok(empty) => return empty.map(drop),
                        Err(gone) => return Err(Error::io("look at the process table", std::io::Error::other(gone))),
                    }
                }
            }
        }
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        match self {
            Tree::Group(run) => run.group().remove(),
            Tree::Walk(_) => Ok(()),
        }
    }
}

/// What the kernel calls the words of the spec.
pub(crate) fn niceness(priority: Priority) -> i32 {
    match priority {
        Priority::Idle => 19,
        Priority::Low => 10,
        Priority::Normal => super::limits::niceness_for_programs().unwrap_or(0),
        Priority::High => -5,
    }
}

/// The limits that the kernel keeps per process, on one that runs. One that has ended is no error.
fn limit_process(pid: u32, limits: &Limits) -> io::Result<()> {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let ended_is_fine = |result: rustix::io::Result<()>| match result {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(errno) => Err(io::Error::from(errno)),
    };
    let set = |resource, bytes: Option<u64>| match bytes {
        None => Ok(()),
        Some(value) => {
            let limit = Rlimit { current: Some(value), maximum: Some(value) };
            ended_is_fine(rustix::process::prlimit(Some(process), resource, limit).map(drop))
        }
    };
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Core, limits.core)?;
    let wanted = niceness(limits.priority);
    if rustix::process::getpriority_process(Some(process)) == Ok(wanted) {
        return Ok(());
    }
    ended_is_fine(rustix::process::setpriority_process(Some(process), wanted))
}
