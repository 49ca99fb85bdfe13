//! Control groups, version 2: one for the nursery, one in it per tree.
//!
//! A tree keeps its group from start to start, because making one costs as much as a start; one that was
//! ended as a whole is replaced. Processes are
//! put in while they are made and never moved, because moving takes a lock of the whole host. What a group
//! counts (processor time, kills for lack of memory) is taken as a difference to the count at the start.

use super::super::proc::{self, Stat};
use super::super::watch::Watched;
use super::place::{CONTROLLERS, Place};
use crate::process::ContainerKind;
use crate::{Error, Unsupported};
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tutela_core::spec::Limits;

/// The guard's own group, below the nursery's: a group with controllers for its children holds no process.
pub(crate) const GUARD_LEAF: &str = "guard";

/// How often the kernel is asked for a share of the processor, in microseconds; its own default.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// The longest file of a group that is read: `cgroup.procs` of a tree at the usual limit of 32,768
/// processes has 200 KB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The groups of a nursery.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// The group that we were in before we moved into our leaf; `None`: we did not move.
    moved_from: Option<PathBuf>,
    controllers: Vec<&'static str>,
    state: Arc<Mutex<State>>,
    folders: Arc<Mutex<Folders>>,
}

impl Root {
    /// Makes the nursery's group `tag` in `place` and hands it whichever controllers there are. Tells why
    /// not, for people.
    pub(super) fn make(place: &Place, tag: &str) -> Result<Root, String> {
        let path = place.0.join(tag);
        std::fs::create_dir(&path)
            .map_err(|error| format!("the control group {} cannot be made: {error}", path.display()))?;
        if !path.join("cgroup.kill").exists() {
            drop(std::fs::remove_dir(&path));
            return Err("this kernel cannot end a control group at once (Linux 5.14 and later can)".into());
        }
        let mut root =
            Root { path, moved_from: None, controllers: Vec::new(), state: Arc::default(), folders: Arc::default() };
        root.enable_controllers(&place.0);
        Ok(root)
    }

    /// Controllers are a bonus: without them the group holds its processes all the same. So a failure
    /// here only leaves a limit out, which every wish for it is told.
    fn enable_controllers(&mut self, place: &Path) {
        for name in CONTROLLERS {
            let listed = |file: &Path| {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                text.split_ascii_whitespace().any(|word| word == name)
            };
            if !listed(&place.join("cgroup.controllers")) {
                continue;
            }
            let enable = |folder: &Path| {
                let file = folder.join("cgroup.subtree_control");
                if listed(&file) { Ok(()) } else { std::fs::write(file, format!("+{name}")) }
            };
            let mut given = enable(place);
            if given.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) && self.move_to_leaf(place)
            {
                given = enable(place);
            }
            if given.and_then(|()| enable(&self.path)).is_ok() {
                self.controllers.push(name);
            }
        }
    }

    /// Moves the guard out of the way. Answers whether that is a change.
    fn move_to_leaf(&mut self, place: &Path) -> bool {
        let leaf = self.path.join(GUARD_LEAF);
        if self.moved_from.is_some() || std::fs::create_dir(&leaf).is_err() {
            return false;
        }
        let moved = std::fs::write(leaf.join("cgroup.procs"), "0").is_ok();
        if moved {
            self.moved_from = Some(place.to_path_buf());
        } else {
            drop(std::fs::remove_dir(&leaf));
        }
        moved
    }

    pub(crate) fn kind(&self) -> ContainerKind {
        ContainerKind::ControlGroup {
            path: self.path.clone(),
            controllers: self.controllers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// The controllers whose limits can be set.
    pub(crate) fn controllers(&self) -> &[&'static str] {
        &self.controllers
    }

    /// The folder in which this nursery's group lies, and those of guards before it.
    pub(crate) fn place(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The group for the next run of the tree `label`: the one it had if nobody is left in it and it was never
    /// ended as a whole, else another, so that two runs are never mixed. It is the caller's until the answer
    /// is dropped, which is when its process has been made.
    pub(crate) fn group_for(&self, label: &str) -> Result<Starting, Error> {
        // Held over the look and the making: two starts of one label never get one group.
        let mut state = lock(&self.state);
        let known = state.groups.get(label).filter(|group| !state.starting.contains(&group.path)).cloned();
        let group = match known {
            Some(group) if !group.killed.load(Ordering::Acquire) && (group.is_new() || group.is_empty()?) => group,
            Some(_) | None => self.make_group(&mut state, label)?,
        };
        state.starting.insert(group.path.clone());
        Ok(Starting { group, state: Arc::clone(&self.state) })
    }

    /// Makes the group for a tree that will be started soon, so that its start is spared it.
    pub(crate) fn prepare(&self, label: &str) -> Result<(), Error> {
        let mut state = lock(&self.state);
        if !state.groups.contains_key(label) {
            self.make_group(&mut state, label)?;
        }
        Ok(())
    }

    fn make_group(&self, state: &mut State, label: &str) -> Result<Arc<Group>, Error> {
        let path = self.make_folder(label)?;
        let group = Arc::new(Group::open(path, label, &self.controllers, &self.state, &self.folders)?);
        state.groups.insert(label.to_owned(), Arc::clone(&group));
        Ok(group)
    }

    fn make_folder(&self, label: &str) -> Result<PathBuf, Error> {
        let mut attempt = 0_u32;
        loop {
            let name = if attempt == 0 { label.to_owned() } else { format!("{label}~{attempt}") };
            let path = self.path.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(path),
                // That of a former run: removed when nobody is left in it and nobody asks about it any more,
                // else another name is taken.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if lock(&self.folders).held.contains(&path) || std::fs::remove_dir(&path).is_err() {
                        attempt += 1;
                    }
                }
                Err(error) => return Err(Error::io(format!("make the control group {}", path.display()), error)),
            }
        }
    }

    /// The number of the last run in the group at the path `seen`, as the process table shows it.
    pub(crate) fn token_at(&self, seen: &str) -> Option<u64> {
        let mut below = Path::new(seen).iter().skip_while(|part| Some(*part) != self.path.file_name());
        below.next()?;
        let folder = below.next()?;
        let state = lock(&self.state);
        let group = state.groups.values().find(|group| group.path.file_name() == Some(folder))?;
        Some(group.token.load(Ordering::Acquire)).filter(|token| *token != 0)
    }
}

/// The groups by label, and those that a process is being made into, which only look empty.
#[derive(Debug, Default)]
struct State {
    groups: HashMap<String, Arc<Group>>,
    starting: HashSet<PathBuf>,
}

/// The folders of groups that somebody holds a value of, so that a name is not given to two at a time.
#[derive(Debug, Default)]
struct Folders {
    held: HashSet<PathBuf>,
    /// Whether the nursery is gone, and its own folder goes with the last group.
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A group that is about to get its first process.
#[derive(Debug)]
pub(crate) struct Starting {
    group: Arc<Group>,
    state: Arc<Mutex<State>>,
}

impl Starting {
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        lock(&self.state).starting.remove(&self.group.path);
    }
}

/// Empty groups go; one with processes in it stays, and so does what is above it.
impl Drop for Root {
    fn drop(&mut self) {
        if let Some(before) = &self.moved_from {
            // Refused while controllers are on for that group's children: then the leaf stays too.
            drop(std::fs::write(before.join("cgroup.procs"), "0"));
        }
        lock(&self.folders).closed = true;
        remove_empty(&self.path);
    }
}

/// Removes `path` and the groups in it, as far as nobody is in them. Answers whether all are gone.
pub(crate) fn remove_empty(path: &Path) -> bool {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    std::fs::remove_dir(path).is_ok()
}

/// Ends everybody in the group at `path` and below it.
pub(crate) fn kill_at(path: &Path) -> io::Result<()> {
    std::fs::write(path.join("cgroup.kill"), "1")
}

/// The processes in the group at `path` and below it.
pub(crate) fn pids_below(path: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(pids_below(&entry.path()));
        }
    }
    pids
}

/// Whether the path `seen`, as the process table has it, is in the group at `path`. The tail is compared: what is above
/// differs with the namespace that looks.
pub(crate) fn is_in(seen: &str, path: &Path) -> bool {
    let (Some(root), Some(folder)) = (path.parent().and_then(Path::file_name), path.file_name()) else { return false };
    let mut below = Path::new(seen).iter().skip_while(|part| *part != root).skip(1);
    below.next() == Some(folder)
}

/// Whether a file of a group could not be used because the group is gone, and so is everybody in it.
fn is_removed(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)),
        Error::Unsupported(_) | Error::Refused(_) => false,
    }
}

/// One control group.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    label: String,
    folder: OwnedFd,
    controllers: Vec<&'static str>,
    /// The last run that was started in it; 0: none.
    token: AtomicU64,
    /// Whether it was ended as a whole. Linux 6.18 was seen to kill every process that is made directly into
    /// such a group from then on, so it is not used again.
    killed: AtomicBool,
    /// What was set last: files are written only when something changes.
    limits: Mutex<Limits>,
    siblings: Weak<Mutex<State>>,
    folders: Arc<Mutex<Folders>>,
}

/// One run of a tree in its group, with the counts at its start.
#[derive(Debug)]
pub(crate) struct Run {
    group: Arc<Group>,
    token: u64,
    cpu_before: Duration,
    oom_before: u64,
}

impl Run {
    /// Begins the run `token`. Counting starts here.
    pub(crate) fn begin(group: Arc<Group>, token: u64) -> Run {
        // In a group that nobody was in, there is nothing to subtract.
        let used_before = group.token.swap(token, Ordering::AcqRel) != 0;
        let cpu_before = if used_before { group.cpu().unwrap_or_default() } else { Duration::ZERO };
        let oom_before = if used_before { group.oom_kills().unwrap_or(0) } else { 0 };
        Run { group, token, cpu_before, oom_before }
    }

    /// The run of an earlier guard in the group at `path`, which no later run of this guard's gets. `before`: what the
    /// group had counted before it.
    pub(crate) fn take_back(
        path: &Path,
        label: &str,
        token: u64,
        controllers: &[&'static str],
        before: (Duration, u64),
    ) -> Result<Run, Error> {
        let (siblings, folders) = (Arc::<Mutex<State>>::default(), Arc::<Mutex<Folders>>::default());
        // Its nursery is gone: so is its folder, with the last group in it.
        lock(&folders).closed = true;
        let group = Group::open(path.to_owned(), label, controllers, &siblings, &folders)?;
        group.token.store(token, Ordering::Release);
        // What was set is not known, so whatever is wished for next differs from it and is written.
        *group.limits.lock().unwrap_or_else(PoisonError::into_inner) = Limits {
            memory: Some(u64::MAX),
            cpu_percent: Some(u32::MAX),
            processes: Some(u64::MAX),
            ..Limits::default()
        };
        Ok(Run { group: Arc::new(group), token, cpu_before: before.0, oom_before: before.1 })
    }

    /// What the group had counted before this run.
    pub(crate) fn counts_before(&self) -> (Duration, u64) {
        (self.cpu_before, self.oom_before)
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Whether another run has begun in the group: this one had ended with everybody in it, and whoever is
    /// there now is not its business.
    pub(crate) fn is_over(&self) -> bool {
        self.group.token.load(Ordering::Acquire) != self.token
    }

    pub(crate) fn label(&self) -> &str {
        &self.group.label
    }

    pub(crate) fn cpu(&self) -> Option<Duration> {
        Some(self.group.cpu()?.saturating_sub(self.cpu_before))
    }

    pub(crate) fn oom_killed(&self) -> Result<bool, Error> {
        Ok(self.group.oom_kills()? > self.oom_before)
    }
}

impl Group {
    fn open(
        path: PathBuf,
        label: &str,
        controllers: &[&'static str],
        siblings: &Arc<Mutex<State>>,
        folders: &Arc<Mutex<Folders>>,
    ) -> Result<Group, Error> {
        let folder = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::io(format!("open the control group {}", path.display()), errno))?;
        lock(folders).held.insert(path.clone());
        Ok(Group {
            path,
            label: label.to_owned(),
            folder,
            controllers: controllers.to_vec(),
            token: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            limits: Mutex::new(Limits::default()),
            siblings: Arc::downgrade(siblings),
            folders: Arc::clone(folders),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a new process is put into.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What a process writes to that joins the group itself.
    pub(crate) fn open_for_joining(&self) -> io::Result<OwnedFd> {
        self.open_file("cgroup.procs", OFlags::WRONLY)
    }

    fn read(&self, file: &str) -> Result<String, Error> {
        let failed = |source: io::Error| Error::io(format!("read {}", self.path.join(file).display()), source);
        let opened = self.open_file(file, OFlags::RDONLY).map_err(failed)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(std::fs::File::from(opened), FILE_BYTES_MAX), &mut text)
            .map_err(failed)?;
        Ok(text)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let written = self
            .open_file(file, OFlags::WRONLY)
            .and_then(|opened| rustix::io::write(&opened, text.as_bytes()).map_err(io::Error::from));
        written
            .map(drop)
            .map_err(|source| Error::io(format!("write {text} to {}", self.path.join(file).display()), source))
    }

    fn open_file(&self, file: &str, access: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(&self.folder, file, access | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A number in a file of `key value` lines.
    fn figure(&self, file: &str, key: &str) -> Result<Option<u64>, Error> {
        let text = self.read(file)?;
        Ok(text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()))
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        match self.figure("cgroup.events", "populated") {
            Err(error) if is_removed(&error) => Ok(true),
            populated => Ok(populated? != Some(1)),
        }
    }

    pub(crate) fn contains(&self, pid: u32) -> bool {
        // A group of the same name can have taken the place of one that was removed.
        if self.is_empty().unwrap_or(false) {
            return false;
        }
        proc::control_group(pid).is_some_and(|seen| is_in(&seen, &self.path))
    }

    pub(crate) fn stats(&self) -> Result<Vec<Stat>, Error> {
        // Programs may make groups of their own below theirs.
        let listed = match self.read("cgroup.procs") {
            Err(error) if is_removed(&error) => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut pids: Vec<u32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
        if pids.is_empty() && !self.is_empty()? {
            pids = pids_below(&self.path);
            if pids.is_empty() && !self.is_empty()? {
                let unseen = io::Error::other("it holds processes, and none of them can be seen");
                return Err(Error::io(format!("look into the control group {}", self.path.display()), unseen));
            }
        }
        let failed = |source| Error::io("read the process table in /proc", source);
        let stats: io::Result<Vec<Option<Stat>>> = pids.into_iter().map(proc::look).collect();
        Ok(stats.map_err(failed)?.into_iter().flatten().collect())
    }

    pub(crate) fn kill(&self) -> Result<(), Error> {
        if self.is_empty()? {
            return Ok(());
        }
        self.killed.store(true, Ordering::Release);
        match self.write("cgroup.kill", "1") {
            Err(error) if is_removed(&error) => Ok(()),
            done => done,
        }
    }

    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), Error> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Whether no process was ever made in it.
    fn is_new(&self) -> bool {
        self.token.load(Ordering::Acquire) == 0
    }

    /// The kernel counts processor time with and without the controller.
    fn cpu(&self) -> Option<Duration> {
        self.figure("cpu.stat", "usage_usec").ok().flatten().map(Duration::from_micros)
    }

    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        if !self.has("memory") {
            return None;
        }
        self.read("memory.current").ok()?.trim().parse().ok()
    }

    fn oom_kills(&self) -> Result<u64, Error> {
        if !self.has("memory") {
            return Ok(0);
        }
        Ok(self.figure("memory.events", "oom_kill")?.unwrap_or(0))
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// Sets what the group as a whole may use; answers what cannot be set.
    pub(crate) fn set_limits(&self, wanted: &Limits) -> Result<Vec<Unsupported>, Error> {
        let mut set = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        let number = |limit: Option<u64>| limit.map_or("max".to_owned(), |value| value.to_string());
        let cpu = |limit: Option<u32>| match limit {
            None => format!("max {CPU_PERIOD_MICROS}"),
            Some(percent) => format!("{} {CPU_PERIOD_MICROS}", u64::from(percent) * (CPU_PERIOD_MICROS / 100)),
        };
        let wishes = [
            (
                "memory",
                "memory limit",
                "memory.max",
                number(set.memory),
                number(wanted.memory),
                wanted.memory.is_some(),
            ),
            (
                "cpu",
                "cpu limit",
                "cpu.max",
                cpu(set.cpu_percent),
                cpu(wanted.cpu_percent),
                wanted.cpu_percent.is_some(),
            ),
            (
                "pids",
                "processes limit",
                "pids.max",
                number(set.processes),
                number(wanted.processes),
                wanted.processes.is_some(),
            ),
        ];
        for (controller, capability, file, before, after, wished) in wishes {
            if self.has(controller) {
                if before != after {
                    self.write(file, &after)?;
                }
            } else if wished {
                let reason = format!("the {controller} controller is not available to this control group");
                missing.push(Unsupported::new(capability, reason));
            }
        }
        *set = *wanted;
        Ok(missing)
    }

    pub(crate) async fn emptied(&self) -> Result<(), Error> {
        /// The kernel reports changes by itself, though up to 10 ms late; but none is worth hanging a stop
        /// on, and a look at this interval costs nothing.
        const LOOK_EVERY: Duration = Duration::from_millis(250);
        let failed = |source: io::Error| Error::io(format!("watch {}", self.path.display()), source);
        if self.is_empty()? {
            return Ok(());
        }
        let events = match self.open_file("cgroup.events", OFlags::RDONLY) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => return Ok(()),
            events => events.map_err(failed)?,
        };
        let events = Watched::changes(events)?;
        loop {
            // The kernel reports changes since the last read of this very descriptor.
            let mut text = [0_u8; 256];
            let length = match rustix::io::pread(events.fd(), &mut text, 0) {
                // Removed, which only an empty one can be.
                Err(rustix::io::Errno::NODEV) => return Ok(()),
                length => length.map_err(|errno| failed(errno.into()))?,
            };
            let seen = text.get(..length).unwrap_or_default();
            if seen.windows(11).all(|window| window != b"populated 1") {
                return Ok(());
            }
            if let Ok(changed) = tokio::time::timeout(LOOK_EVERY, events.changed()).await {
                changed.map_err(failed)?;
            }
        }
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        if !remove_empty(&self.path) && self.path.exists() {
            return Err(Error::Refused(format!("{} still has processes in it", self.path.display())));
        }
        if let Some(siblings) = self.siblings.upgrade() {
            lock(&siblings).groups.retain(|_, other| !std::ptr::eq(Arc::as_ptr(other), self));
        }
        Ok(())
    }
}

/// The folder goes with the last value, unless a process is in it; then it goes with the nursery, or with
/// the next start that wants its name.
impl Drop for Group {
    fn drop(&mut self) {
        let mut folders = lock(&self.folders);
        drop(std::fs::remove_dir(&self.path));
        folders.held.remove(&self.path);
        if let (true, Some(nursery)) = (folders.closed, self.path.parent()) {
            drop(std::fs::remove_dir(nursery));
        }
    }
}
