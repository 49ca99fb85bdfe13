//! No succession: a process cannot become another program here, and programs end with their guard.

use crate::process::Signal;
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

    pub(crate) fn of_number(_number: u32, _speaker: u32) -> Result<Line, Error> {
        Err(absent())
    }

    pub(crate) fn say(&self, _text: &str) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn hear(&self, _within: Duration) -> Result<Heard, Error> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Candidate {}

impl Candidate {
    pub(crate) fn open(_program: &Path) -> Result<Candidate, Error> {
        Err(absent())
    }

    pub(crate) fn is_run_by(&self, _pid: u32) -> bool {
        match *self {}
    }
}

pub(crate) fn begin_trial(program: &Candidate, _args: &[OsString]) -> Result<Trial, Error> {
    match *program {}
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

pub(crate) fn pass_on(_pid: u32, _signal: Signal) -> Result<(), Error> {
    Err(absent())
}

pub(crate) fn asked_to_end() -> Option<Signal> {
    None
}

pub(crate) fn ask_again(_signal: Signal) {}

pub(crate) fn take_name(_name: &OsStr) {}

pub(crate) fn is_child(_pid: u32) -> bool {
    false
}

pub(crate) fn parent() -> Option<u32> {
    None
}
