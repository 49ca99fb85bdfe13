//! The registry that connects starts and ends.
//!
//! A process is known here before it runs. The OS's pool waits for its handle and tells its end, once; the
//! reaper collects it. There are no orphans to adopt: whoever loses its parent stays in its job, and nobody
//! has to collect it.

use super::launch::Launcher;
use super::messenger::{self, Messenger, windows_out_of_reach};
use super::taken::{self, GivenUp};
use super::{Meaning, meaning_of, no_such};
use crate::handle::Handle;
use crate::platform::container::job::limits_kept;
use crate::platform::container::{KILLED, Run, Tree as Held, members, port};
use crate::platform::wide::done;
use crate::process::{
    Asked, ChildToken, ContainerKind, Exit, Leftover, NurseryOptions, ProcessUsage, Reaped, Signal, SpawnError,
    SpawnRequest, StopRequest, Tree,
};
use crate::{Error, Unsupported};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::Win32::System::Diagnostics::Debug::{SEM_FAILCRITICALERRORS, SEM_NOOPENFILEERRORBOX, SetErrorMode};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, PROCESS_QUERY_LIMITED_INFORMATION, RegisterWaitForSingleObject, TerminateProcess,
    UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
};

/// One nursery per process, as on every OS.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Starts programs and collects ends.
#[derive(Debug)]
pub(crate) struct Nursery {
    kind: ContainerKind,
    registry: Arc<Registry>,
    launcher: Launcher,
    given_up: GivenUp,
}

impl Nursery {
    pub(crate) fn open(_guard_name: &str, _options: &NurseryOptions) -> Result<Nursery, Error> {
        if OPEN.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused("a nursery is open in this process already, and a process has one".into()));
        }
        let opened = Nursery::open_first();
        if opened.is_err() {
            OPEN.store(false, Ordering::Release);
        }
        opened
    }

    fn open_first() -> Result<Nursery, Error> {
        port::port().map_err(|source| Error::io("make the port that jobs report to", source))?;
        prepare_process();
        let kind = ContainerKind::JobObject { limits: limits_kept() };
        Ok(Nursery { kind, registry: Arc::default(), launcher: Launcher::new()?, given_up: GivenUp::default() })
    }

    pub(crate) fn container(&self) -> &ContainerKind {
        &self.kind
    }

    pub(crate) fn spawn(&self, request: &SpawnRequest) -> Result<Child, SpawnError> {
        self.launcher.launch(request, &self.registry)
    }

    /// A job is made with each run.
    pub(crate) fn prepare(&self, _label: &str) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn reap(&self, each: &mut impl FnMut(Reaped)) {
        while let Some((token, ended)) = self.registry.next_end() {
            if let Some(reaped) = ended.reaped(token) {
                each(reaped);
            }
        }
    }

    pub(crate) fn child_signal(&self) -> Result<ChildSignal, Error> {
        // Whoever ended before anybody listened is found by a first look.
        self.registry.bell.notify_one();
        Ok(ChildSignal(Arc::clone(&self.registry)))
    }

    pub(crate) fn take_back(&self, remains: &str, process: &Handle) -> Result<Child, Error> {
        let (remains, process, job) = taken::read(remains, process)?;
        let token = self.launcher.next_token();
        let run = Run::take_back(job, &remains.label, token, remains.of_another_account)
            .map_err(|source| Error::io(format!("take back the tree {}", remains.label), source))?;
        let (pid, token, tree) = (remains.pid, ChildToken(token), Tree(Held(run)));
        Ok(Child { pid, token, process, tree, unenforced: Vec::new() })
    }

    pub(crate) fn give_up(&self, remains: &str, process: &Handle) {
        self.given_up.add(remains, process);
    }

    /// Where somebody still is in it, the safe's handle of the job keeps them until it is released.
    pub(crate) fn forget(&self, token: ChildToken) {
        if let Ok(port) = port::port() {
            port.forget(usize::try_from(token.0).unwrap_or(usize::MAX));
        }
    }

    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        Ok(self.given_up.list())
    }

    pub(crate) fn end_leftover(&self, leftover: &Leftover) -> Result<(), Error> {
        self.given_up.end(leftover)
    }

    pub(crate) fn owner_of(&self, pid: u32) -> Option<ChildToken> {
        if let Some(token) = self.registry.owner_of_first(pid) {
            return Some(token);
        }
        let process = members::open(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
        let runs = port::port().ok()?.runs();
        runs.iter().find(|run| run.job().holds(&process)).map(|run| ChildToken(run.token()))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        super::profile::settle();
        OPEN.store(false, Ordering::Release);
    }
}

/// What programs inherit from this process without being asked.
fn prepare_process() {
    // A program that lacks a DLL, or looks for a disk that is not there, would wait for somebody to click on a
    // box that nobody sees. Reports of crashes are left as they are.
    // SAFETY: takes flags, touches no memory of ours.
    let before = unsafe { SetErrorMode(SEM_FAILCRITICALERRORS) };
    // SAFETY: as above.
    unsafe { SetErrorMode(before | SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX) };
    // A guard that was started with Ctrl-C switched off would hand that on, and no program could be asked to
    // stop. Without a function this only switches it on; handlers of the guard's own stay.
    // SAFETY: without a function (null) nothing of ours is called or kept.
    unsafe { SetConsoleCtrlHandler(None, 0) };
}

/// Who runs, and who has ended and is not collected.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<u64, Watched>,
    ended: VecDeque<u64>,
}

/// A first process that was started.
#[derive(Debug)]
struct Watched {
    pid: u32,
    /// Before the handle that it waits for, so that it is dropped first.
    _wait: Wait,
    process: Arc<OwnedHandle>,
    run: Arc<Run>,
    /// Of a start that failed: the spawning thread tells.
    swallowed: bool,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a process known, before it runs, and begins to wait for its end.
    pub(super) fn take_off(
        self: &Arc<Self>,
        token: u64,
        pid: u32,
        process: &Arc<OwnedHandle>,
        run: &Arc<Run>,
    ) -> io::Result<()> {
        // Under the lock, so that an end is not told before the process is known.
        let mut state = self.lock();
        let wait = Wait::begin(process, Box::new(Ending { registry: Arc::clone(self), token }))?;
        let process = Arc::clone(process);
        state.running.insert(token, Watched { pid, process, run: Arc::clone(run), _wait: wait, swallowed: false });
        Ok(())
    }

    /// The program never ran; its end is nobody's business.
    pub(super) fn swallow(&self, token: u64) {
        if let Some(watched) = self.lock().running.get_mut(&token) {
            watched.swallowed = true;
        }
    }

    /// Called from a thread of the OS's pool, once per process.
    fn has_ended(&self, token: u64) {
        self.lock().ended.push_back(token);
        self.bell.notify_one();
    }

    fn next_end(&self) -> Option<(u64, Watched)> {
        let mut state = self.lock();
        loop {
            let token = state.ended.pop_front()?;
            if let Some(watched) = state.running.remove(&token) {
                return Some((token, watched));
            }
        }
    }

    fn owner_of_first(&self, pid: u32) -> Option<ChildToken> {
        self.lock().running.iter().find(|(_, watched)| watched.pid == pid).map(|(token, _)| ChildToken(*token))
    }
}

impl Watched {
    fn reaped(self, token: u64) -> Option<Reaped> {
        if self.swallowed {
            return None;
        }
        let exit = exit_of(&self.process, &self.run);
        let memory = members::memory(&self.process).unwrap_or_default();
        let memory_peak_bytes = match memory.resident_peak {
            // What a host no longer knows of one that has ended, its job may know.
            0 => self.run.job().process_memory_peak(),
            peak => peak,
        };
        let usage = ProcessUsage { cpu: members::cpu(&self.process).unwrap_or_default(), memory_peak_bytes };
        // In case the job's own message of it was left out.
        drop(Held(self.run).is_empty());
        Some(Reaped { pid: self.pid, exit, usage, owner: Some(ChildToken(token)) })
    }
}

/// How a process that has ended did so.
pub(super) fn exit_of(process: &OwnedHandle, run: &Run) -> Exit {
    let mut code = 0;
    // SAFETY: the handle is open for the call, which writes one number that is ours. It fails only without
    // the right to ask, which whoever made a process has.
    unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) };
    if code == KILLED && run.was_killed() {
        Exit::Signal { signal: Signal::KILL, core_dumped: false }
    } else {
        Exit::Code(code.cast_signed())
    }
}

/// What the pool is given, and gives back when the process has ended.
struct Ending {
    registry: Arc<Registry>,
    token: u64,
}

/// A wait of the OS's pool for the end of a process.
#[derive(Debug)]
struct Wait(HANDLE);

// SAFETY: it is a number of the pool's, which any thread may use.
unsafe impl Send for Wait {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for Wait {}

impl Wait {
    fn begin(process: &OwnedHandle, ending: Box<Ending>) -> io::Result<Wait> {
        let mut wait = std::ptr::null_mut();
        let context = Box::into_raw(ending);
        let flags = WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD;
        // SAFETY: the process handle stays open as long as the wait, which is dropped with its registry entry;
        // the context is given to the function below, which is called exactly once.
        let told = unsafe {
            RegisterWaitForSingleObject(
                &raw mut wait,
                process.as_raw_handle(),
                Some(ended),
                context.cast(),
                INFINITE,
                flags,
            )
        };
        if let Err(error) = done(told) {
            // SAFETY: nobody was given it.
            drop(unsafe { Box::from_raw(context) });
            return Err(error);
        }
        Ok(Wait(wait))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // After the function was called, so there is nothing to wait for: this only gives memory back, at once
        // or when the function has returned.
        // SAFETY: the wait was begun and is ended once, here.
        unsafe { UnregisterWaitEx(self.0, std::ptr::null_mut()) };
    }
}

/// Called by the pool.
unsafe extern "system" fn ended(context: *mut core::ffi::c_void, _timed_out: bool) {
    // SAFETY: it is the box that the wait was begun with, and the pool calls this once.
    let ending = unsafe { Box::from_raw(context.cast::<Ending>()) };
    ending.registry.has_ended(ending.token);
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Child {
    pub(super) pid: u32,
    pub(super) token: ChildToken,
    pub(super) process: Arc<OwnedHandle>,
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
        match meaning_of(signal) {
            Some(Meaning::Kill) => self.end(),
            Some(Meaning::Halt) => self.tree.0.0.halt_one(self.pid),
            Some(Meaning::GoOn) => self.tree.0.0.thaw_one(self.pid),
            Some(Meaning::Ask(request)) => {
                // How it came out is told to who asks with a request.
                drop(self.request(request));
                Ok(())
            }
            None => Err(no_such(signal)),
        }
    }

    pub(crate) fn request(&self, request: StopRequest) -> Asked {
        if request == StopRequest::CloseWindow {
            return match self.tree.0.0.pids() {
                Ok(pids) if pids.is_empty() => Asked::done(Ok(())),
                Ok(_) if self.tree.0.0.is_of_another_account() => Asked::done(Err(windows_out_of_reach().into())),
                Ok(pids) => messenger::deliver(Messenger { pids, request, process: None }),
                Err(error) => Asked::done(Err(error)),
            };
        }
        if members::has_ended(&self.process) {
            return Asked::done(Ok(()));
        }
        // The console of the first process carries it to everybody on that console.
        let process = Some(Arc::clone(&self.process));
        messenger::deliver(Messenger { pids: vec![self.pid], request, process })
    }

    fn end(&self) -> Result<(), Error> {
        self.tree.0.0.will_kill();
        // SAFETY: the handle is open for the call; no memory of ours is read or written.
        match done(unsafe { TerminateProcess(self.process.as_raw_handle(), KILLED) }) {
            Ok(()) => Ok(()),
            Err(_) if members::has_ended(&self.process) => Ok(()),
            Err(error) => Err(Error::io(format!("end process {}", self.pid), error)),
        }
    }
}

/// The bell that every end rings.
#[derive(Debug)]
pub(crate) struct ChildSignal(Arc<Registry>);

impl ChildSignal {
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        // Silenced before the caller reaps, so an end that comes meanwhile rings anew.
        self.0.bell.notified().await;
        Ok(())
    }
}
