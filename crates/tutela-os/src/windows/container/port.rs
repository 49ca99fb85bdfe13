//! The one completion port of the process, to which every job tells what happens in it, and the thread that
//! listens.
//!
//! It is the process's and not the nursery's: a job must stay open as long as somebody is in it, because the
//! kernel ends them with its last handle, and dropping a nursery ends nobody. The thread waits in the kernel
//! and costs nothing; it ends with the process. Messages are hints, which the kernel may even leave out: what
//! counts is always asked of the job itself.

use super::Run;
use std::collections::HashMap;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, GetQueuedCompletionStatus};
use windows_sys::Win32::System::Threading::INFINITE;

static PORT: OnceLock<Port> = OnceLock::new();

/// Only one thread makes the port.
static MAKING: Mutex<()> = Mutex::new(());

/// The port and the runs whose jobs tell it something.
#[derive(Debug)]
pub(crate) struct Port {
    handle: OwnedHandle,
    /// Runs with members, by the key of their job. What keeps their jobs open.
    runs: Mutex<HashMap<usize, Arc<Run>>>,
}

/// The port, with its thread.
pub(crate) fn port() -> io::Result<&'static Port> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(port) = PORT.get() {
        return Ok(port);
    }
    // SAFETY: makes a port of its own (no file, no port to join); no memory of ours is read or written.
    let handle = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else knows of it.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    let port = PORT.get_or_init(|| Port { handle, runs: Mutex::default() });
    std::thread::Builder::new().name("jobs".into()).stack_size(128 * 1024).spawn(|| port.listen())?;
    Ok(port)
}

impl Port {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the job of the run tells what happens in it, and stays open.
    pub(crate) fn watch(&self, run: &Arc<Run>) -> io::Result<()> {
        let key = run.key();
        self.lock().insert(key, Arc::clone(run));
        let told = run.job().report_to(&self.handle, key);
        if told.is_err() {
            self.forget(key);
        }
        told
    }

    /// The same of a run that an earlier guard began. Its port may be the job's for good, on hosts that let a job have but
    /// one; what happens in the job is seen by those who look then.
    pub(crate) fn watch_taken_back(&self, run: &Arc<Run>) {
        self.lock().insert(run.key(), Arc::clone(run));
        // Messages are hints.
        let _ = run.job().report_to_nobody().and_then(|()| run.job().report_to(&self.handle, run.key()));
    }

    /// Nobody is in the run's job, nor will be.
    pub(crate) fn forget(&self, key: usize) {
        let run = self.lock().remove(&key);
        // Its last handle may close here, which is not for under the lock.
        drop(run);
    }

    /// The runs that somebody may be in.
    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        self.lock().values().cloned().collect()
    }

    fn listen(&self) {
        loop {
            let (mut message, mut key, mut about) = (0_u32, 0_usize, std::ptr::null_mut());
            let port: RawHandle = self.handle.as_raw_handle();
            // SAFETY: the port is open as long as the process lives; the pointers are to numbers of ours, and
            // `about` is a process number for a job's messages, never followed.
            let told =
                unsafe { GetQueuedCompletionStatus(port, &raw mut message, &raw mut key, &raw mut about, INFINITE) };
            if told == 0 {
                // Only a port that is closed fails, and this one never is.
                return;
            }
            let run = self.lock().get(&key).cloned();
            if let Some(run) = run
                && run.hear(message)
            {
                self.forget(key);
            }
        }
    }
}
