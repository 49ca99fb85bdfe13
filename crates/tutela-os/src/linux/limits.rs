//! The guard's own limit of open files.

use crate::Error;
use crate::limits::OpenFiles;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// What the limit was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

pub(crate) fn raise_open_files() -> Result<OpenFiles, Error> {
    let present = getrlimit(Resource::Nofile);
    let before = BEFORE.get_or_init(|| present);
    let raised = Rlimit { current: present.maximum, maximum: present.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|errno| Error::io("raise the limit of open files", errno))?;
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    Ok(OpenFiles { before: number(before.current), now: number(present.maximum) })
}

/// What a program gets, unless its spec says otherwise: what the guard was started with.
pub(crate) fn for_programs() -> Option<Rlimit> {
    BEFORE.get().copied()
}
