//! What holds a program and all its descendants: a job object per run.
//!
//! - [`job`]: the object itself;
//! - [`port`]: where all jobs tell what happens in them;
//! - [`members`]: the processes in it.
//!
//! Membership is the kernel's word and is never given up: no member may leave, and with the last handle of the job the
//! kernel ends them all. That is the guard's, unless the guard's [safe](super::safe) has one too. A run has a job of its own, so one run is never taken for
//! another.

pub(crate) mod job;
pub(crate) mod members;
pub(crate) mod port;

use crate::platform::process::profile::{self, Login};
use crate::platform::process::{Meaning, meaning_of, messenger, no_such};
use crate::platform::wide::done;
use crate::process::{Delivery, Member, MemberState, Signal, StopRequest, TreeUsage};
use crate::{Error, Unsupported};
use job::Job;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tutela_core::spec::{Limits, Priority};
use windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER;
use windows_sys::Win32::System::SystemServices::{
    JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS, JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO, JOB_OBJECT_MSG_EXIT_PROCESS,
    JOB_OBJECT_MSG_JOB_MEMORY_LIMIT, JOB_OBJECT_MSG_NEW_PROCESS, JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT,
};
use windows_sys::Win32::System::Threading::{
    ABOVE_NORMAL_PRIORITY_CLASS, BELOW_NORMAL_PRIORITY_CLASS, GetPriorityClass, IDLE_PRIORITY_CLASS,
    NORMAL_PRIORITY_CLASS, PROCESS_ACCESS_RIGHTS, PROCESS_CREATION_FLAGS, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SET_INFORMATION, PROCESS_SUSPEND_RESUME, SetPriorityClass,
};

/// What a process that we end exits with: the number that shells give a KILL.
pub(crate) const KILLED: u32 = 128 + 9;

/// Windows does not end who reaches a limit of memory: it refuses, and the program mostly gives up at once.
/// An end within this time after the last refusal is put down to it.
const MEMORY_IS_THE_CAUSE_FOR: Duration = Duration::from_secs(10);

/// How often members are looked for that were made while others were halted, before we give up on a program
/// that starts processes faster than we halt them.
const HALTING_PASSES: usize = 16;

/// How many hosts of consoles are looked for when they may be all that is left.
const CONSOLES_MAX: u32 = 16;

/// One run of a tree.
#[derive(Debug)]
pub(crate) struct Run {
    job: Arc<Job>,
    label: String,
    token: u64,
    /// Rung when the job may have become empty.
    changed: Notify,
    /// Whether a member was in it: a job that nobody is in yet is not over.
    begun: AtomicBool,
    /// Whether somebody of it was ended by us.
    killed: AtomicBool,
    /// Whether all of it is to be gone, also who is made meanwhile.
    doomed: AtomicBool,
    memory_refused: Mutex<Option<Instant>>,
    halted: Mutex<Vec<(u32, OwnedHandle)>>,
    has_memory_limit: AtomicBool,
    of_another_account: AtomicBool,
    /// The account that is not the guard's, until nobody of the run is left.
    login: Mutex<Option<Login>>,
}

/// A run, as the facade holds it.
#[derive(Debug, Clone)]
pub(crate) struct Tree(pub(crate) Arc<Run>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    /// A run without members, whose job tells the port about them.
    pub(crate) fn begin(label: &str, token: u64) -> io::Result<Arc<Run>> {
        let run = Arc::new(Run::of(Job::new()?, label, token));
        port::port()?.watch(&run)?;
        Ok(run)
    }

    /// A run that an earlier guard began, whose members may all have ended.
    pub(crate) fn take_back(job: Job, label: &str, token: u64, of_another_account: bool) -> io::Result<Arc<Run>> {
        let run = Arc::new(Run::of(job, label, token));
        run.begun.store(true, Ordering::Release);
        run.has_memory_limit.store(run.job.limits_memory(), Ordering::Release);
        run.of_another_account.store(of_another_account, Ordering::Release);
        port::port()?.watch_taken_back(&run);
        Ok(run)
    }

    fn of(job: Job, label: &str, token: u64) -> Run {
        Run {
            job: Arc::new(job),
            label: label.to_owned(),
            token,
            changed: Notify::new(),
            begun: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            memory_refused: Mutex::new(None),
            halted: Mutex::default(),
            has_memory_limit: AtomicBool::new(false),
            of_another_account: AtomicBool::new(false),
            login: Mutex::new(None),
        }
    }

    pub(crate) fn key(&self) -> usize {
        usize::try_from(self.token).unwrap_or(usize::MAX)
    }

    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Whom the program runs as: kept until nobody of it is left.
    pub(crate) fn keep(&self, login: Login) {
        self.of_another_account.store(true, Ordering::Release);
        *lock(&self.login) = Some(login);
    }

    /// Whether the program runs as somebody else than the guard.
    pub(crate) fn is_of_another_account(&self) -> bool {
        self.of_another_account.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn has_login(&self) -> bool {
        lock(&self.login).is_some()
    }

    fn let_go_of_login(&self) {
        let login = lock(&self.login).take();
        if let Some(login) = login {
            profile::let_go(login, Arc::clone(&self.job));
        }
    }

    /// The first process is in.
    pub(crate) fn has_begun(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Nothing came of it, or nobody is left.
    pub(crate) fn abandon(&self) {
        self.let_go_of_login();
        if let Ok(port) = port::port() {
            port.forget(self.key());
        }
    }

    /// Hears what happened in the job. Answers whether it is over.
    pub(crate) fn hear(&self, message: u32) -> bool {
        match message {
            JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO | JOB_OBJECT_MSG_EXIT_PROCESS | JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS => {
                return self.is_over();
            }
            JOB_OBJECT_MSG_JOB_MEMORY_LIMIT | JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT => {
                *lock(&self.memory_refused) = Some(Instant::now());
            }
            // Made while the others were being ended. That it fails is seen by who waits for the end.
            JOB_OBJECT_MSG_NEW_PROCESS if self.doomed.load(Ordering::Acquire) => {
                drop(self.job.terminate(KILLED));
            }
            _ => {}
        }
        false
    }

    /// Whether it had members and has none. Then it has none for ever: only a start puts one in.
    fn is_over(&self) -> bool {
        let over = self.begun.load(Ordering::Acquire) && self.nobody_is_in().unwrap_or(false);
        if over {
            self.let_go_of_login();
            self.changed.notify_waiters();
        }
        over
    }

    /// Whether no process of the program is in the job. The hosts of its consoles are none, and when only they are
    /// left they are ended, which they are about to do anyway.
    fn nobody_is_in(&self) -> io::Result<bool> {
        let (active, _) = self.job.accounting()?;
        if active == 0 || active > CONSOLES_MAX {
            return Ok(active == 0);
        }
        let is_host = |pid: u32| match self.open_member(pid, 0) {
            Ok(Some(process)) => members::image(&process).is_some_and(|image| members::is_console_host(&image)),
            // It has ended meanwhile.
            Ok(None) => true,
            Err(_) => false,
        };
        if !self.job.pids()?.into_iter().all(is_host) {
            return Ok(false);
        }
        self.job.terminate(KILLED)?;
        Ok(true)
    }

    /// That a member ended was our doing.
    pub(crate) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    pub(crate) fn will_kill(&self) {
        self.killed.store(true, Ordering::Release);
    }

    fn failed(&self, what: &str, source: io::Error) -> Error {
        Error::io(format!("{what} the tree {}", self.label), source)
    }

    /// Opens a member. `None`: it has ended, and its number may be another process's.
    fn open_member(&self, pid: u32, rights: PROCESS_ACCESS_RIGHTS) -> io::Result<Option<OwnedHandle>> {
        match members::open(pid, rights | PROCESS_QUERY_LIMITED_INFORMATION) {
            Ok(process) => Ok(self.job.holds(&process).then_some(process)),
            Err(error) if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER.cast_signed()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Halts whoever of `pids` is not halted yet. Answers whether anybody was.
    fn halt_each(&self, pids: impl IntoIterator<Item = u32>) -> Result<bool, Error> {
        let mut halted = lock(&self.halted);
        let mut any = false;
        for pid in pids {
            if halted.iter().any(|(known, _)| *known == pid) {
                continue;
            }
            let failed = |source| self.failed(&format!("halt process {pid} of"), source);
            let Some(process) = self.open_member(pid, PROCESS_SUSPEND_RESUME).map_err(failed)? else { continue };
            members::halt(&process).map_err(failed)?;
            // The open handle keeps the number from being given away again.
            halted.push((pid, process));
            any = true;
        }
        Ok(any)
    }

    /// Halts one member.
    pub(crate) fn halt_one(&self, pid: u32) -> Result<(), Error> {
        self.halt_each([pid]).map(drop)
    }

    /// Lets one member go on, if it was halted by us.
    pub(crate) fn thaw_one(&self, pid: u32) -> Result<(), Error> {
        self.thaw_those(|halted| halted == pid)
    }

    fn thaw_those(&self, wanted: impl Fn(u32) -> bool) -> Result<(), Error> {
        let mut halted = lock(&self.halted);
        let mut failed = None;
        halted.retain(|(pid, process)| {
            if !wanted(*pid) {
                return true;
            }
            match members::go_on(process) {
                Ok(()) => false,
                Err(error) => {
                    failed = Some((*pid, error));
                    true
                }
            }
        });
        match failed {
            None => Ok(()),
            Some((pid, source)) => Err(self.failed(&format!("let process {pid} go on in"), source)),
        }
    }

    /// What the members use, for [`Tree::usage`].
    fn usage(&self) -> Result<TreeUsage, Error> {
        let (_, cpu) = self.job.accounting().map_err(|source| self.failed("ask for the usage of", source))?;
        let pids = self.pids()?;
        let table = members::table();
        let limited = self.has_memory_limit.load(Ordering::Acquire);
        let mut usage = TreeUsage { open_files: Some(0), ..TreeUsage::default() };
        let mut alive = Duration::ZERO;
        for pid in pids {
            usage.processes += 1;
            usage.threads += table.get(&pid).map_or(1, |(threads, _)| *threads);
            let process = self.open_member(pid, 0).ok().flatten();
            let memory = process.as_ref().and_then(|process| members::memory(process).ok()).unwrap_or_default();
            usage.memory_bytes += if limited { memory.committed } else { memory.resident };
            let handles = process.as_ref().and_then(members::handles);
            usage.open_files = usage.open_files.zip(handles).map(|(sum, more)| sum + more);
            alive += process.as_ref().and_then(|process| members::cpu(process).ok()).unwrap_or_default();
        }
        // The job counts those too that have ended. Where a host's job does not count, the living are what is known.
        usage.cpu = cpu.max(alive);
        Ok(usage)
    }

    /// The processes of the program that run, by number.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Error> {
        let mut pids = self.job.pids().map_err(|source| self.failed("list the processes of", source))?;
        let image = |pid: u32| self.open_member(pid, 0).ok().flatten().and_then(|process| members::image(&process));
        pids.retain(|pid| image(*pid).is_none_or(|image| !members::is_console_host(&image)));
        pids.sort_unstable();
        Ok(pids)
    }
}

impl Tree {
    pub(crate) fn label(&self) -> &str {
        &self.0.label
    }

    pub(crate) fn members(&self) -> Result<Vec<Member>, Error> {
        let pids = self.0.pids()?;
        let halted: Vec<u32> = lock(&self.0.halted).iter().map(|(pid, _)| *pid).collect();
        let member = |pid: u32| {
            let image = self.0.open_member(pid, 0).ok().flatten().and_then(|process| members::image(&process));
            let known = image.and_then(|image| Some(image.file_name()?.to_string_lossy().into_owned()));
            // Of another account's process only the table of the computer tells the name.
            let name = known.or_else(|| members::table().get(&pid).map(|(_, name)| name.clone()));
            let state = if halted.contains(&pid) { MemberState::Halted } else { MemberState::Alive };
            Member { pid, name: name.unwrap_or_default(), state }
        };
        Ok(pids.into_iter().map(member).collect())
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        let empty = self.0.nobody_is_in().map_err(|source| self.0.failed("ask for the processes of", source))?;
        if empty && self.0.begun.load(Ordering::Acquire) {
            // In case the message was left out: with it the job would have been let go of.
            self.0.abandon();
        }
        Ok(empty)
    }

    pub(crate) fn contains(&self, pid: u32) -> bool {
        self.0.job.pids().is_ok_and(|pids| pids.contains(&pid))
    }

    /// Asks every member, through the consoles and windows that they have. Waits until that is done.
    fn ask(&self, request: StopRequest) -> Result<(), Error> {
        let pids = self.0.pids()?;
        if pids.is_empty() {
            return Ok(());
        }
        let told = match messenger::deliver_and_wait(&pids, request) {
            Err(Error::Unsupported(_)) if self.0.is_of_another_account() => {
                Err(messenger::windows_out_of_reach().into())
            }
            // Who has no console may have a window.
            Err(Error::Unsupported(_)) => messenger::deliver_and_wait(&pids, StopRequest::CloseWindow),
            told => told,
        };
        match told? {
            Delivery::Made => Ok(()),
            Delivery::Unsure(error) => Err(error),
        }
    }

    pub(crate) fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        match meaning_of(signal) {
            Some(Meaning::Kill) => self.kill(),
            Some(Meaning::Halt) => self.freeze(),
            Some(Meaning::GoOn) => self.thaw(),
            Some(Meaning::Ask(request)) => self.ask(request),
            None => Err(no_such(signal)),
        }
    }

    pub(crate) fn kill(&self) -> Result<(), Error> {
        if self.is_empty()? {
            return Ok(());
        }
        self.0.will_kill();
        self.0.doomed.store(true, Ordering::Release);
        self.0.job.terminate(KILLED).map_err(|source| self.0.failed("end", source))
    }

    pub(crate) fn freeze(&self) -> Result<(), Error> {
        for _ in 0..HALTING_PASSES {
            if !self.0.halt_each(self.0.pids()?)? {
                return Ok(());
            }
        }
        Err(Error::Refused(format!(
            "the tree {} makes processes faster than they can be halted; {HALTING_PASSES} times new ones were found",
            self.0.label
        )))
    }

    pub(crate) fn thaw(&self) -> Result<(), Error> {
        self.0.thaw_those(|_| true)
    }

    pub(crate) fn usage(&self) -> Result<TreeUsage, Error> {
        self.0.usage()
    }

    pub(crate) fn set_limits(&self, limits: &Limits) -> Result<Vec<Unsupported>, Error> {
        let mut missing = self.0.set_limits(limits).map_err(|source| self.0.failed("set the limits of", source))?;
        missing.extend(never_limited(limits));
        let class = priority_class(limits.priority);
        for pid in self.0.pids()? {
            let failed = |source| self.0.failed(&format!("set the priority of process {pid} of"), source);
            let Some(process) = self.0.open_member(pid, PROCESS_SET_INFORMATION).map_err(failed)? else { continue };
            // SAFETY: the handle is open for the call; no memory of ours is read or written.
            if unsafe { GetPriorityClass(process.as_raw_handle()) } == class {
                continue;
            }
            // SAFETY: as above.
            let set = unsafe { SetPriorityClass(process.as_raw_handle(), class) };
            done(set).map_err(failed)?;
        }
        Ok(missing)
    }

    pub(crate) fn oom_killed(&self) -> Result<bool, Error> {
        Ok(lock(&self.0.memory_refused).is_some_and(|when| when.elapsed() < MEMORY_IS_THE_CAUSE_FOR))
    }

    pub(crate) async fn emptied(&self) -> Result<(), Error> {
        /// The kernel tells by itself, but does not promise to; a look at this interval costs nothing.
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.is_empty()? {
                return Ok(());
            }
            if self.0.doomed.load(Ordering::Acquire) {
                // Whoever was just being made when the others were ended.
                self.0.job.terminate(KILLED).map_err(|source| self.0.failed("end", source))?;
            }
            // Whether it was rung or the time is over: the job is looked at again.
            drop(tokio::time::timeout(LOOK_EVERY, changed).await);
        }
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        if self.is_empty()? {
            return Ok(());
        }
        Err(Error::Refused(format!("the tree {} still has processes in it", self.0.label)))
    }
}

impl Run {
    /// The limits of the job. Answers what cannot be kept here.
    pub(crate) fn set_limits(&self, limits: &Limits) -> io::Result<Vec<Unsupported>> {
        self.has_memory_limit.store(limits.memory.is_some(), Ordering::Release);
        self.job.set_limits(limits)
    }
}

/// The limits that Windows does not know.
pub(crate) fn never_limited(limits: &Limits) -> Vec<Unsupported> {
    let mut missing = Vec::new();
    if limits.open_files.is_some() {
        missing.push(Unsupported::new("open files limit", "Windows has no limit of open files per process"));
    }
    if limits.core.is_some() {
        missing.push(Unsupported::new("core file limit", "Windows writes no core files; see Windows Error Reporting"));
    }
    missing
}

/// What Windows calls the words of the spec.
pub(crate) const fn priority_class(priority: Priority) -> PROCESS_CREATION_FLAGS {
    match priority {
        Priority::Idle => IDLE_PRIORITY_CLASS,
        Priority::Low => BELOW_NORMAL_PRIORITY_CLASS,
        Priority::Normal => NORMAL_PRIORITY_CLASS,
        Priority::High => ABOVE_NORMAL_PRIORITY_CLASS,
    }
}
