//! The registry that connects starts and ends.
//!
//! A start is *in flight* from before its process is made until it is known whether the program runs. The
//! kernel writes the process number into the flight before the process can run, so when the reaper meets
//! an end that it does not know, it finds whose it is among the flights: no end that has an owner is ever
//! told without it, whichever thread is faster.

use super::launch::Launcher;
use super::plan::Flight;
use super::taken::{Remains, Taken};
use super::{leftovers, signal_through};
use crate::handle::Handle;
use crate::platform::bell;
use crate::platform::container::Container;
use crate::platform::succession;
use crate::platform::watch::Watched;
use crate::process::{
    Asked, ChildToken, ContainerKind, Exit, Leftover, NurseryOptions, ProcessUsage, Reaped, Signal, SpawnError,
    SpawnRequest, StopRequest, Tree,
};
use crate::{Error, Unsupported};
use rustix::process::Pid;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// There is one subreaper, one table of children and one reaper per process.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Starts programs and collects ends.
#[derive(Debug)]
pub(crate) struct Nursery {
    kind: ContainerKind,
    registry: Registry,
    launcher: Launcher,
    kin: leftovers::Kin,
    signal: Mutex<Option<OwnedFd>>,
    taken: Taken,
}

impl Nursery {
    pub(crate) fn open(guard_name: &str, options: &NurseryOptions) -> Result<Nursery, Error> {
        if OPEN.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused("a nursery is open in this process already, and a process has one".into()));
        }
        let opened = Nursery::open_first(guard_name, options);
        if opened.is_err() {
            OPEN.store(false, Ordering::Release);
        }
        opened
    }

    fn open_first(guard_name: &str, options: &NurseryOptions) -> Result<Nursery, Error> {
        // The process number only says yes or no here: any number but 0 makes this process a subreaper.
        rustix::process::set_child_subreaper(Some(Pid::INIT))
            .map_err(|errno| Error::io("become the one who adopts orphans (child subreaper)", errno))?;
        let signal = bell::children()?;
        let kin = leftovers::Kin::new(guard_name, &options.scope)?;
        let container = Container::choose(kin.tag(), options)?;
        let kind = match &container {
            Container::Groups(root) => root.kind(),
            Container::Walk { reason, .. } => ContainerKind::Walk { reason: reason.clone() },
        };
        let launcher = Launcher::new(container, kin.tag().to_owned())?;
        let (registry, taken) = (Registry::default(), Taken::default());
        Ok(Nursery { kind, registry, launcher, kin, signal: Mutex::new(Some(signal)), taken })
    }

    pub(crate) fn container(&self) -> &ContainerKind {
        &self.kind
    }

    pub(crate) fn spawn(&self, request: &SpawnRequest) -> Result<Child, SpawnError> {
        self.launcher.launch(request, &self.registry)
    }

    pub(crate) fn prepare(&self, label: &str) -> Result<(), Error> {
        self.launcher.prepare(label)
    }

    pub(crate) fn reap(&self, each: &mut impl FnMut(Reaped)) {
        for _ in 0..REAPED_AT_ONCE {
            match self.registry.next_end() {
                None => return,
                Some(End::Told(reaped)) => each(reaped),
                Some(End::Swallowed) => {}
            }
        }
        bell::ring_for_children();
    }

    pub(crate) fn child_signal(&self) -> Result<ChildSignal, Error> {
        let taken = self.signal.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fd = taken.map_or_else(bell::children, Ok)?;
        // Whoever ended before anybody listened is found by a first look.
        bell::ring_for_children();
        Watched::reading(fd).map(ChildSignal)
    }

    pub(crate) fn take_back(&self, remains: &str, process: &Handle) -> Result<Child, Error> {
        let remains = Remains::read(remains).ok_or_else(|| {
            Error::Refused("what an earlier guard noted of a program's processes makes no sense".into())
        })?;
        let child = self.launcher.take_back(&remains, process.0.0.clone())?;
        // Where this process was the earlier guard too, the kernel tells it how its child ended, whatever its version.
        self.registry.adopt(&child);
        self.taken.add(child.token, remains);
        Ok(child)
    }

    /// What is left is found by its mark or its group.
    #[expect(clippy::unused_self, reason = "elsewhere the nursery has to remember it")]
    pub(crate) fn give_up(&self, _remains: &str, _process: &Handle) {}

    pub(crate) fn forget(&self, token: ChildToken) {
        self.taken.forget(token);
    }

    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        leftovers::find(&self.kin, self.launcher.groups_place(), &self.taken)
    }

    pub(crate) fn end_leftover(&self, leftover: &Leftover) -> Result<(), Error> {
        leftovers::end(leftover, &self.kin, self.launcher.groups_place(), &self.taken)
    }

    pub(crate) fn owner_of(&self, pid: u32) -> Option<ChildToken> {
        self.registry.owner_of_first(pid).or_else(|| self.launcher.owner_of(pid)).or_else(|| self.taken.owner_of(pid))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        OPEN.store(false, Ordering::Release);
    }
}

/// How many ends are collected before the guard looks at what else there is: each costs the kernel some 20 µs, and the
/// end of a tree that forked a thousand times must not keep an answer waiting.
const REAPED_AT_ONCE: usize = 64;

/// Who runs, and who is about to.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The first processes that run, by number.
    running: HashMap<u32, ChildToken>,
    flights: Vec<Arc<Flight>>,
}

enum End {
    Told(Reaped),
    /// Of a start that failed: the spawning thread tells.
    Swallowed,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a start, before its process is made.
    pub(super) fn take_off(&self, flight: &Arc<Flight>) {
        self.lock().flights.push(Arc::clone(flight));
    }

    /// The program runs, or ran.
    pub(super) fn land(&self, flight: &Arc<Flight>) {
        let mut state = self.lock();
        state.flights.retain(|other| !Arc::ptr_eq(other, flight));
        // Once its end was told its number may be another process's.
        if !flight.reaped.load(Ordering::Acquire) {
            state.running.insert(flight.pid.load(Ordering::Acquire).unsigned_abs(), ChildToken(flight.token));
        }
    }

    /// A program that was not started here is looked for among the children of this process.
    fn adopt(&self, child: &Child) {
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let asked = child.process.as_ref().map(|process| {
            // A descriptor that is open is not negative.
            wait_for(libc::P_PIDFD, process.as_raw_fd().unsigned_abs(), options)
        });
        let is_child = match asked {
            Some(Ok(_)) => true,
            Some(Err(error)) if error.raw_os_error() == Some(libc::ECHILD) => false,
            // The kernel is too old to be asked by a descriptor.
            Some(Err(_)) | None => succession::is_child(child.pid),
        };
        if is_child {
            self.lock().running.insert(child.pid, child.token);
        }
    }

    /// The program does not run; its process, if there was one, has ended or is about to.
    pub(super) fn crash(&self, flight: &Arc<Flight>) {
        let mut state = self.lock();
        let pid = flight.pid.load(Ordering::Acquire);
        if pid != 0 && !flight.reaped.load(Ordering::Acquire) {
            // Under the lock, so that the reaper cannot take it between the look and the wait. It waits for
            // a process that has nothing left to do but to end.
            while let Err(error) = wait_for(libc::P_PID, pid.unsigned_abs(), libc::WEXITED) {
                if error.kind() != io::ErrorKind::Interrupted {
                    break;
                }
            }
        }
        state.flights.retain(|other| !Arc::ptr_eq(other, flight));
    }

    /// Collects one child that has ended.
    fn next_end(&self) -> Option<End> {
        let mut state = self.lock();
        let (pid, exit, usage) = loop {
            match wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG) {
                Ok(found) => break found?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // There are no children at all.
                Err(_) => return None,
            }
        };
        if let Some(owner) = state.running.remove(&pid) {
            return Some(End::Told(Reaped { pid, exit, usage, owner: Some(owner) }));
        }
        let is_its = |flight: &&Arc<Flight>| {
            flight.pid.load(Ordering::Acquire).unsigned_abs() == pid && !flight.reaped.load(Ordering::Acquire)
        };
        let owner = state.flights.iter().find(is_its).map(|flight| {
            flight.reaped.store(true, Ordering::Release);
            (ChildToken(flight.token), flight.failure().is_some())
        });
        Some(match owner {
            Some((_, true)) => End::Swallowed,
            Some((token, false)) => End::Told(Reaped { pid, exit, usage, owner: Some(token) }),
            None => End::Told(Reaped { pid, exit, usage, owner: None }),
        })
    }

    fn owner_of_first(&self, pid: u32) -> Option<ChildToken> {
        self.lock().running.get(&pid).copied()
    }
}

/// `waitid` with the usage that the C library's wrapper leaves out. `None`: nobody has ended.
fn wait_for(kind: libc::idtype_t, id: u32, options: i32) -> io::Result<Option<(u32, Exit, ProcessUsage)>> {
    // SAFETY: zeros are a valid siginfo: one that says nothing.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: zeros are a valid rusage: nothing used.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most one siginfo and one rusage, to which the pointers are live, ours
    // and exclusive.
    let answer = unsafe { libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, options, &raw mut used) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after a wait the child fields are the ones in use; untouched, they are the zeros from above.
    let pid = unsafe { info.si_pid() }.unsigned_abs();
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as for the number.
    let status = unsafe { info.si_status() };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        code => Exit::Signal { signal: Signal::reported(status), core_dumped: code == libc::CLD_DUMPED },
    };
    let span = |time: libc::timeval| {
        let micros = u32::try_from(time.tv_usec).unwrap_or(0);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), micros.saturating_mul(1_000))
    };
    let usage = ProcessUsage {
        cpu: span(used.ru_utime) + span(used.ru_stime),
        memory_peak_bytes: u64::try_from(used.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    };
    Ok(Some((pid, exit, usage)))
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Child {
    pub(super) pid: u32,
    pub(super) token: ChildToken,
    /// `None`: it was made without a descriptor and had ended before one could be had.
    pub(super) process: Option<Arc<OwnedFd>>,
    pub(super) tree: Tree,
    pub(super) unenforced: Vec<Unsupported>,
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn token(&self) -> ChildToken {
        self.token
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn unenforced(&self) -> &[Unsupported] {
        &self.unenforced
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(process) = &self.process else { return Ok(()) };
        signal_through(process, signal.number())
            .map(drop)
            .map_err(|source| Error::io(format!("send {signal} to process {}", self.pid), source))
    }

    pub(crate) fn request(&self, request: StopRequest) -> Asked {
        Asked::done(self.signal(match request {
            StopRequest::CtrlC | StopRequest::CtrlBreak => Signal::INT,
            StopRequest::CloseWindow => Signal::TERM,
        }))
    }
}

/// The bell for children, watched by a runtime.
#[derive(Debug)]
pub(crate) struct ChildSignal(Watched);

impl ChildSignal {
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        // The bell is silenced before the caller reaps, so an end that comes meanwhile rings anew.
        self.0.when_readable(bell::silence).await.map_err(|source| Error::io("wait for children that end", source))
    }
}
