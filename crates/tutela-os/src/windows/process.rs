//! Starting programs: not here yet. The signal names of specs are known, so that a spec can be checked.

pub(crate) use crate::absent::process::{Child, ChildSignal, Nursery, find_program, is_passing};

/// The names that the C runtime of Windows has, with its numbers, and those that specs use besides.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 22),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
];

pub(crate) const REAL_TIME_SIGNALS: Option<(i32, i32)> = None;

pub(crate) const fn number_of(name: &str) -> i32 {
    crate::process::number_in(SIGNALS, name)
}
