//! What tells when there is something in a pipe: an overlapped read of nothing, which ends when there is something, and
//! takes none of it.
//!
//! No completion port is bound to the pipe: it would be the dead guard's for ever.

use crate::platform::watch::{Watch, event};
use crate::platform::wide::done;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use windows_sys::Win32::Foundation::{ERROR_IO_INCOMPLETE, ERROR_IO_PENDING};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

/// Watches one pipe.
#[derive(Debug)]
pub(super) struct Bell {
    /// Before the event that it waits for, so that it is dropped first.
    _watch: Watch,
    event: OwnedHandle,
    waker: Arc<Mutex<Option<Waker>>>,
    /// The read of nothing. Its place on the heap does not change while one is under way.
    read: Box<Reading>,
    /// Whether one is under way.
    hangs: bool,
}

struct Reading(OVERLAPPED);

// SAFETY: the numbers in it are used by the thread that has the bell, and by the kernel, which knows no threads here.
unsafe impl Send for Reading {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for Reading {}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let event = event()?;
        let waker = Arc::<Mutex<Option<Waker>>>::default();
        let of_pool = Arc::clone(&waker);
        let wake = move || {
            let waker = of_pool.lock().unwrap_or_else(PoisonError::into_inner).take();
            waker.into_iter().for_each(Waker::wake);
        };
        let watch = Watch::begin(&event, false, Box::new(wake))?;
        Ok(Bell { _watch: watch, event, waker, read: Box::new(Reading(OVERLAPPED::default())), hangs: false })
    }

    /// Whether there may be something. If not, `context` is woken when there is.
    pub(super) fn has_rung(&mut self, pipe: &OwnedHandle, context: &Context<'_>) -> bool {
        if !self.hangs {
            return true;
        }
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        let mut read = 0;
        // SAFETY: the structure is that of the read under way, and the number is ours. It does not wait.
        let told = done(unsafe { GetOverlappedResult(pipe.as_raw_handle(), &raw const self.read.0, &raw mut read, 0) });
        match told {
            Err(error) if error.raw_os_error() == Some(ERROR_IO_INCOMPLETE.cast_signed()) => false,
            // How it ended is seen by the next look.
            Ok(()) | Err(_) => {
                self.hangs = false;
                true
            }
        }
    }

    /// Begins a read of nothing.
    pub(super) fn hang(&mut self, pipe: &OwnedHandle) -> io::Result<()> {
        self.read.0 = OVERLAPPED { hEvent: self.event.as_raw_handle(), ..OVERLAPPED::default() };
        // Some hosts want a place even for nothing.
        static NOWHERE: [u8; 1] = [0];
        let (place, none) = (NOWHERE.as_ptr().cast_mut(), std::ptr::null_mut());
        // SAFETY: the pipe is open; nothing is written to the place, since the length is zero; the structure stays where it
        // is until the read has ended, for which the drop waits.
        let told = done(unsafe { ReadFile(pipe.as_raw_handle(), place, 0, none, &raw mut self.read.0) });
        match told {
            Err(error) if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) => Err(error),
            // One that has ended is seen by the question how it ended.
            Ok(()) | Err(_) => {
                self.hangs = true;
                Ok(())
            }
        }
    }

    /// Ends the read that is under way, and waits for its end.
    pub(super) fn take_down(&mut self, pipe: &OwnedHandle) {
        if !std::mem::take(&mut self.hangs) {
            return;
        }
        let pipe = pipe.as_raw_handle();
        // SAFETY: the structure is that of the read under way.
        unsafe { CancelIoEx(pipe, &raw const self.read.0) };
        // Until the kernel has let go of the structure, which it is about to. The pool may have taken the ring of the
        // event, so that is not waited for.
        loop {
            let mut read = 0;
            // SAFETY: as above, and the number is ours. It does not wait.
            let told = done(unsafe { GetOverlappedResult(pipe, &raw const self.read.0, &raw mut read, 0) });
            match told {
                Err(error) if error.raw_os_error() == Some(ERROR_IO_INCOMPLETE.cast_signed()) => {
                    std::thread::yield_now()
                }
                Ok(()) | Err(_) => return,
            }
        }
    }
}
