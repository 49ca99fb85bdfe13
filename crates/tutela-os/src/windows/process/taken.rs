//! Programs of an earlier guard that run on, as children of this one in all but name.
//!
//! The handle of the process tells how it ended, for as long as it is open, and the handle of the job is the tree. Both were
//! in the guard's safe, so nothing has to be found by a number that may be another process's by now.

use super::nursery::{Child, exit_of};
use crate::Error;
use crate::handle::Handle;
use crate::platform::container::job::Job;
use crate::platform::container::{KILLED, members};
use crate::platform::handle::Handle as Held;
use crate::platform::watch::Watch;
use crate::process::{Exit, Leftover};
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use windows_sys::Win32::System::Threading::GetProcessId;

/// How long the processes of a leftover may take to be gone once they were ended: as long as the system needs, even a busy
/// one.
const END_BOUND: Duration = Duration::from_secs(5);

/// How long between two looks for that.
const END_PAUSE: Duration = Duration::from_millis(2);

/// What is told of a run beside its handles, as text that another guard can read.
///
/// Lines of `key value`, the keys in any order; keys that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    pub(super) pid: u32,
    pub(super) label: String,
    /// The guard that started it.
    pub(super) guard: u32,
    pub(super) of_another_account: bool,
}

impl Remains {
    pub(super) fn write(&self) -> String {
        let Remains { pid, label, guard, of_another_account } = self;
        let account = if *of_another_account { "another" } else { "own" };
        format!("pid {pid}\nlabel {label}\nguard {guard}\naccount {account}\n")
    }

    pub(super) fn read(text: &str) -> Option<Remains> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.split_once(' ').filter(|(its, _)| *its == key).map(|(_, value)| value))
        };
        Some(Remains {
            pid: value("pid")?.parse().ok()?,
            label: value("label")?.to_owned(),
            guard: value("guard").and_then(|text| text.parse().ok()).unwrap_or(0),
            of_another_account: value("account") == Some("another"),
        })
    }
}

/// What an earlier guard left of a program: its text, its process and its job.
pub(super) fn read(remains: &str, process: &Handle) -> Result<(Remains, Arc<OwnedHandle>, Job), Error> {
    let refused = || Error::Refused("what an earlier guard noted of a program's processes makes no sense".into());
    let remains = Remains::read(remains).ok_or_else(refused)?;
    let Held::Program { process, job } = &process.0 else { return Err(refused()) };
    // SAFETY: the handle is open for the call; zero is its word for a failure.
    let pid = unsafe { GetProcessId(process.as_raw_handle()) };
    if pid != remains.pid {
        return Err(refused());
    }
    Ok((remains, Arc::clone(process), Job::taken_back(Arc::clone(job))))
}

impl Child {
    pub(crate) fn remains(&self) -> Option<(String, Handle)> {
        let run = &self.tree.0.0;
        let label = self.tree.label().to_owned();
        let (guard, of_another_account) = (std::process::id(), run.is_of_another_account());
        let remains = Remains { pid: self.pid, label, guard, of_another_account };
        let program = Held::Program { process: Arc::clone(&self.process), job: run.job().handle() };
        Some((remains.write(), Handle(program)))
    }

    /// Windows has no documented way to read the environment of another process.
    #[expect(clippy::unused_self, reason = "elsewhere the OS tells")]
    pub(crate) fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    pub(crate) fn end_elsewhere(
        &self,
    ) -> Result<impl Future<Output = Result<Option<Exit>, Error>> + Send + use<>, Error> {
        let (process, run) = (Arc::clone(&self.process), Arc::clone(&self.tree.0.0));
        let ended = Arc::new(Notify::new());
        let of_pool = Arc::clone(&ended);
        let watch = Watch::begin(&process, true, Box::new(move || of_pool.notify_one()))
            .map_err(|source| Error::io(format!("watch process {}", self.pid), source))?;
        // In the order in which they are dropped: the wait before the handle that it waits for.
        let held = (watch, process, run);
        Ok(async move {
            ended.notified().await;
            let (watch, process, run) = held;
            drop(watch);
            Ok(Some(exit_of(&process, &run)))
        })
    }
}

/// Programs of an earlier guard that are not taken back.
#[derive(Debug, Default)]
pub(super) struct GivenUp(Mutex<Vec<(Remains, Job)>>);

impl GivenUp {
    fn lock(&self) -> MutexGuard<'_, Vec<(Remains, Job)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes no sense is ended by the kernel when its deposit is released.
    pub(super) fn add(&self, remains: &str, process: &Handle) {
        if let Ok((remains, _, job)) = read(remains, process) {
            self.lock().push((remains, job));
        }
    }

    /// Those in whose trees somebody is.
    pub(super) fn list(&self) -> Vec<Leftover> {
        let mut all = self.lock();
        all.retain(|(_, job)| members_of(job).is_none_or(|pids| !pids.is_empty()));
        let leftover = |(remains, job): &(Remains, Job)| {
            let mut pids = members_of(job).unwrap_or_default();
            pids.sort_unstable();
            Leftover { label: remains.label.clone(), guard_pid: remains.guard, pids }
        };
        all.iter().map(leftover).collect()
    }

    pub(super) fn end(&self, leftover: &Leftover) -> Result<(), Error> {
        let label = &leftover.label;
        let taken = {
            let mut all = self.lock();
            let at = all.iter().position(|(remains, _)| remains.label == *label && remains.guard == leftover.guard_pid);
            at.map(|at| all.swap_remove(at))
        };
        let Some((_, job)) = taken else {
            return Err(Error::Refused(format!("{label} is none that a guard has left")));
        };
        let failed = |source| Error::io(format!("end what is left of {label}"), source);
        let until = Instant::now() + END_BOUND;
        loop {
            if job.accounting().map_err(failed)?.0 == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                let left = job.pids().unwrap_or_default();
                return Err(Error::Refused(format!("processes {left:?} of {label} do not end")));
            }
            // Again and again: one that was just being made comes later.
            job.terminate(KILLED).map_err(failed)?;
            std::thread::sleep(END_PAUSE);
        }
    }
}

/// Who is in the job, but for hosts of consoles. `None`: it cannot be told.
fn members_of(job: &Job) -> Option<Vec<u32>> {
    let mut pids = job.pids().ok()?;
    let is_host = |pid: u32| {
        let process = members::open(pid, windows_sys::Win32::System::Threading::PROCESS_QUERY_LIMITED_INFORMATION);
        process.is_ok_and(|process| members::image(&process).is_some_and(|image| members::is_console_host(&image)))
    };
    pids.retain(|pid| !is_host(*pid));
    Some(pids)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn remains_survive_their_text() {
        for of_another_account in [false, true] {
            let remains = Remains { pid: 5, label: "api.0".into(), guard: 7, of_another_account };
            assert_eq!(Remains::read(&remains.write()), Some(remains));
        }
    }

    #[test]
    fn remains_of_a_later_version_are_read_and_nonsense_is_none() {
        assert_eq!(Remains::read("pid 5\nlabel api.0\ncolour blue\n").map(|remains| remains.pid), Some(5));
        for nonsense in ["", "pid 5", "pid x\nlabel a", "label a"] {
            assert_eq!(Remains::read(nonsense), None, "{nonsense:?}");
        }
        let file = Handle::from(tempfile::tempfile().unwrap());
        assert!(matches!(read("pid 5\nlabel a\n", &file), Err(Error::Refused(_))));
    }
}
