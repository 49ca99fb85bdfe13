//! The guard's own limits: the number of open files, of which it holds a few for every instance, and its standing
//! against the programs.

use crate::{Error, platform};

/// The guard's own limit of open files, before and after it was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What it was when the guard began, and what programs get back unless their spec says otherwise.
    pub before: u64,
    /// What holds for the guard.
    pub now: u64,
}

/// How many files the guard has open, of how many that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Open ones.
    pub used: u64,
    /// What holds at this moment.
    pub most: u64,
}

/// How many files the guard has open. Cheap, and opens none. `None` where the OS does not say it that way.
pub fn descriptors() -> Option<Descriptors> {
    platform::limits::descriptors()
}

/// Raises the guard's limit of open files as far as it is allowed to. Programs that are started later
/// get the former limit, because some old ones break with a high one. Safe to call again.
///
/// # Errors
/// The OS refused, or has no such limit ([`Error::Unsupported`]).
pub fn raise_open_files() -> Result<OpenFiles, Error> {
    platform::limits::raise_open_files()
}

/// Has the OS make room for so many open files. It works without: where the room is made bit by bit and the process has
/// several threads by then, whoever opens something waits some milliseconds each time it doubles. So to be called before
/// they are started. Not more than the limit allows.
pub fn expect_open_files(count: usize) {
    platform::limits::expect_open_files(count);
}

/// Has a write past the limit of a file's size (`ulimit -f`) fail, as one to a full disk does, instead of ending this
/// process. Programs that are started later are ended by it as ever. Call it before anything is written.
pub fn outlive_large_files() {
    platform::limits::outlive_large_files();
}

/// Has the guard leave no core file if it crashes: the secrets of its programs are in its memory. Programs that are started
/// later get the limit that the guard was started with.
///
/// # Errors
/// The OS refused, or has no such limit ([`Error::Unsupported`]).
pub fn leave_no_core() -> Result<(), Error> {
    platform::limits::leave_no_core()
}

/// Puts this thread, and those that it starts from here on, above the programs, as far as the account may: a program
/// that forks a thousand times must not keep the guard from answering. Programs get the standing that the guard was
/// started with. Not for threads that carry the bytes of programs, which would take the processor from other programs.
pub fn rise() {
    platform::limits::rise();
}
