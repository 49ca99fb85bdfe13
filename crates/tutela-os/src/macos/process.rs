//! Starting programs: not here yet. The signals of the OS are known, so that a spec can be checked.

pub(crate) use crate::absent::process::{
    Child, ChildSignal, Nursery, console_event_main, crash_words, find_program, is_passing, same_variable,
};

pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("BUS", libc::SIGBUS),
    ("SEGV", libc::SIGSEGV),
    ("SYS", libc::SIGSYS),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("URG", libc::SIGURG),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("CONT", libc::SIGCONT),
    ("CHLD", libc::SIGCHLD),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("IO", libc::SIGIO),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("INFO", libc::SIGINFO),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
];

pub(crate) const REAL_TIME_SIGNALS: Option<(i32, i32)> = None;

pub(crate) const fn number_of(name: &str) -> i32 {
    crate::process::number_in(SIGNALS, name)
}
