//! No figures.

use super::absent;
use crate::Error;
use crate::usage::{DiskUsage, HostUsage, OwnUsage};
use std::path::Path;

pub(crate) fn own() -> Result<OwnUsage, Error> {
    Err(absent("own usage"))
}

pub(crate) fn host() -> Result<HostUsage, Error> {
    Err(absent("host usage"))
}

pub(crate) fn disk(_path: &Path) -> Result<DiskUsage, Error> {
    Err(absent("disk usage"))
}
