//! No safe: descriptors do not outlive the process that opened them here.

use crate::safe::{Deposit, OnTrouble};
use crate::{Error, Unsupported};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// There is none.
#[derive(Debug)]
pub(crate) enum Safe {}

fn absent() -> Error {
    let reason = "programs end with their guard here, and so does what they write";
    Error::Unsupported(Unsupported::new("programs outlive their guard", reason))
}

pub(crate) fn is_left(_socket: &Path) -> bool {
    false
}

impl Safe {
    pub(crate) fn open(
        _socket: &Path,
        _guard: &str,
        _on_trouble: OnTrouble,
    ) -> Result<(Arc<Safe>, Vec<Deposit>), Error> {
        Err(absent())
    }

    pub(crate) fn keep(&self, _deposit: Deposit) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn keep_soon(&self, _deposit: Deposit) {
        match *self {}
    }

    pub(crate) fn release(&self, _name: &str) {
        match *self {}
    }

    pub(crate) fn end(&self) {
        match *self {}
    }
}

pub(crate) fn safe_main(_args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    None
}
