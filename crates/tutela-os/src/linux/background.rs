//! Priorities of threads.

/// Of `ioprio_set`: who is named by a thread, and a class that is served when nobody else asks.
const WHO_THREAD: libc::c_int = 1;
const CLASS_IDLE: libc::c_int = 3 << 13;

/// The calling thread's: to the kernel a thread is a process with a niceness of its own.
pub(crate) fn become_background() {
    // Refused by nobody: everybody may be nicer.
    let _ = rustix::process::setpriority_process(None, 19);
    // SAFETY: numbers only; zero is the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, CLASS_IDLE) };
}
