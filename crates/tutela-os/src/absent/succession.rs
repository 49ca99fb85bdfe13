//! No succession: a process cannot become another program here, and programs end with their guard.

use crate::succession::{Heard, Trial};
use crate::{Error, Unsupported};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// There is none.
#[derive(Debug)]
pub(crate) enum Line {}

fn absent() -> Error {
    let reason = "a process cannot become another program here; stop the guard, replace the program, start it again";
    Error::Unsupported(Unsupported::new("upgrade under running programs", reason))
}

impl Line {
    pub(crate) fn of_stdin() -> Result<Line, Error> {
        Err(absent())
    }

    pub(crate) fn of_number(_number: u32) -> Result<Line, Error> {
        Err(absent())
    }

    pub(crate) fn say(&self, _text: &str) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn hear(&self, _within: Duration) -> Result<Heard, Error> {
        match *self {}
    }
}

pub(crate) fn begin_trial(_program: &Path, _args: &[OsString]) -> Result<Trial, Error> {
    Err(absent())
}

pub(crate) fn become_program(
    _program: &Path,
    _name: &OsStr,
    _line: Option<&crate::succession::Line>,
    _args: impl FnOnce(u32) -> Vec<OsString>,
) -> Error {
    absent()
}

pub(crate) fn program_of(_pid: u32) -> PathBuf {
    PathBuf::from("tutela")
}

pub(crate) fn collect_ended(_pid: u32) -> bool {
    false
}

pub(crate) fn dismiss(_pid: u32) -> Result<(), Error> {
    Err(absent())
}

pub(crate) fn is_child(_pid: u32) -> bool {
    false
}

pub(crate) fn parent() -> Option<u32> {
    None
}
