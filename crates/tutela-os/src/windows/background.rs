//! Priorities of threads.

use windows_sys::Win32::System::Threading::{GetCurrentThread, SetThreadPriority, THREAD_MODE_BACKGROUND_BEGIN};

/// For processors, disks and memory.
pub(crate) fn become_background() {
    // SAFETY: it takes nothing and answers a constant that means the calling thread.
    let own = unsafe { GetCurrentThread() };
    // SAFETY: the handle is the calling thread's.
    unsafe { SetThreadPriority(own, THREAD_MODE_BACKGROUND_BEGIN) };
}
