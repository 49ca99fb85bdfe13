//! Priorities of threads.

/// The state of a thread that is in the background for processors, disks and networks.
const BACKGROUND: libc::c_int = 0x1000;

pub(crate) fn become_background() {
    // SAFETY: numbers only; zero is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_DARWIN_THREAD, 0, BACKGROUND) };
}
