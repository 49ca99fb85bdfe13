//! The guard's own limit of open files: not here yet.

use crate::Error;
use crate::absent::absent;
use crate::limits::{Descriptors, OpenFiles};

pub(crate) fn raise_open_files() -> Result<OpenFiles, Error> {
    Err(absent("open file limit"))
}

/// Not asked here yet.
pub(crate) fn descriptors() -> Option<Descriptors> {
    None
}

/// Not done here yet.
pub(crate) fn expect_open_files(_count: usize) {}

pub(crate) fn leave_no_core() -> Result<(), Error> {
    Err(absent("keeping memory out of core files"))
}

/// Nothing: the standing of this OS's threads is left as it is.
pub(crate) fn rise() {}

/// Nothing: no guard writes for programs on this OS yet.
pub(crate) fn outlive_large_files() {}
