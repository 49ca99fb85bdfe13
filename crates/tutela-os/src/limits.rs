//! The guard's own limit of open files: it holds a few for every instance.

use crate::{Error, platform};

/// The guard's own limit of open files, before and after it was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What it was when the guard began, and what programs get back unless their spec says otherwise.
    pub before: u64,
    /// What holds for the guard.
    pub now: u64,
}

/// Raises the guard's limit of open files as far as it is allowed to. Programs that are started later
/// get the former limit, because some old ones break with a high one. Safe to call again.
///
/// # Errors
/// The OS refused, or has no such limit ([`Error::Unsupported`]).
pub fn raise_open_files() -> Result<OpenFiles, Error> {
    platform::limits::raise_open_files()
}
