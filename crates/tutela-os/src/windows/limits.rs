//! The most handles that the guard can have, and its own standing.

use crate::limits::{Descriptors, OpenFiles};
use crate::{Error, Unsupported};
use windows_sys::Win32::System::Threading::{GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_HIGHEST};

/// The most handles of one process, by the design of the kernel's handle tables.
const HANDLES_MAX: u64 = 1 << 24;

#[expect(clippy::unnecessary_wraps, reason = "elsewhere the OS can refuse it")]
pub(crate) fn raise_open_files() -> Result<OpenFiles, Error> {
    Ok(OpenFiles { before: HANDLES_MAX, now: HANDLES_MAX })
}

/// Handles have a limit that nothing comes near.
pub(crate) fn descriptors() -> Option<Descriptors> {
    None
}

/// Handles are had as they are needed.
pub(crate) fn expect_open_files(_count: usize) {}

/// Files have no limit of their size here.
pub(crate) fn outlive_large_files() {}

pub(crate) fn leave_no_core() -> Result<(), Error> {
    let reason = "dumps of crashed programs are written where an administrator has set that up (LocalDumps)";
    Err(Error::Unsupported(Unsupported::new("keeping memory out of dumps", reason)))
}

/// Puts this thread above the programs' threads. Threads inherit no standing here, so those that it starts stay where
/// they are; and programs get their own with their start, whatever the guard's is.
pub(crate) fn rise() {
    // SAFETY: takes nothing and answers a constant that stands for this thread.
    let this = unsafe { GetCurrentThread() };
    // SAFETY: as above; touches no memory of ours. Every account may do so up to this; refused, the guard works from
    // where it is.
    unsafe { SetThreadPriority(this, THREAD_PRIORITY_HIGHEST) };
}
