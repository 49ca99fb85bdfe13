//! Starting programs and hearing of their end on Linux.
//!
//! - [`nursery`]: the registry that connects starts and ends;
//! - [`launch`]: the start, on the side of the guard;
//! - [`plan`]: a request turned into everything the new process needs, made in the guard;
//! - [`clone`]: the system call that makes the process, and the stack it runs on;
//! - [`steps`]: what the new process does until it becomes the program;
//! - [`explain`]: an error number turned into advice;
//! - [`find`]: the program's file;
//! - [`leftovers`]: what an earlier guard left and nobody takes back;
//! - [`taken`]: what this guard takes back.

mod clone;
mod explain;
mod find;
mod launch;
mod leftovers;
mod nursery;
mod plan;
mod steps;
mod taken;

pub(crate) use explain::is_passing;
pub(crate) use find::find_program;
pub(crate) use nursery::{Child, ChildSignal, Nursery};

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The signals by name. Aliases come after the name that is shown.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("POLL", libc::SIGIO),
    ("IOT", libc::SIGABRT),
    ("CLD", libc::SIGCHLD),
];

/// The real-time signals that programs may use: the C libraries keep the kernel's first two or three.
pub(crate) const REAL_TIME_SIGNALS: Option<(i32, i32)> = Some((34, 64));

/// Requests to stop are signals here, which need nobody to carry them.
pub(crate) fn console_event_main(_args: impl Iterator<Item = OsString>) -> Option<std::process::ExitCode> {
    None
}

/// Names of variables are bytes here.
pub(crate) fn same_variable(given: &OsStr, name: &str) -> bool {
    given == name
}

/// Exit codes have no signs here.
pub(crate) fn crash_words(_code: i32) -> Option<&'static str> {
    None
}

pub(crate) const fn number_of(name: &str) -> i32 {
    crate::process::number_in(SIGNALS, name)
}

/// Sends a signal through a process descriptor. Answers whether the process was still there.
pub(crate) fn signal_through(process: &OwnedFd, signal: i32) -> io::Result<bool> {
    // SAFETY: the descriptor is open for the call; without a siginfo (null) and flags (0) the kernel
    // reads no memory of ours.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0_u32,
        )
    };
    if answer == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        gone if gone.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        error => Err(error),
    }
}
