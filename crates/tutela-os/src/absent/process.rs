//! No programs can be started.

use super::absent;
use crate::handle::Handle;
use crate::process::{
    Asked, ChildToken, ContainerKind, Exit, Leftover, NurseryOptions, ProgramNotFound, Reaped, Signal, SpawnError,
    SpawnRequest, StopRequest, Tree,
};
use crate::{Error, Unsupported};
use std::ffi::{OsStr, OsString};
use std::future::Pending;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// There is none.
#[derive(Debug)]
pub(crate) enum Nursery {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Child {}

/// There is none.
#[derive(Debug)]
pub(crate) enum ChildSignal {}

impl Nursery {
    pub(crate) fn open(_guard_name: &str, _options: &NurseryOptions) -> Result<Nursery, Error> {
        Err(absent("process supervision"))
    }

    pub(crate) fn container(&self) -> &ContainerKind {
        match *self {}
    }

    pub(crate) fn spawn(&self, _request: &SpawnRequest) -> Result<Child, SpawnError> {
        match *self {}
    }

    pub(crate) fn prepare(&self, _label: &str) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn reap(&self, _each: &mut impl FnMut(Reaped)) {
        match *self {}
    }

    pub(crate) fn child_signal(&self) -> Result<ChildSignal, Error> {
        match *self {}
    }

    pub(crate) fn take_back(&self, _remains: &str, _process: &Handle) -> Result<Child, Error> {
        match *self {}
    }

    pub(crate) fn give_up(&self, _remains: &str, _process: &Handle) {
        match *self {}
    }

    pub(crate) fn forget(&self, _token: ChildToken) {
        match *self {}
    }

    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        match *self {}
    }

    pub(crate) fn end_leftover(&self, _leftover: &Leftover) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn owner_of(&self, _pid: u32) -> Option<ChildToken> {
        match *self {}
    }
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn token(&self) -> ChildToken {
        match *self {}
    }

    pub(crate) fn tree(&self) -> &Tree {
        match *self {}
    }

    pub(crate) fn unenforced(&self) -> &[Unsupported] {
        match *self {}
    }

    pub(crate) fn signal(&self, _signal: Signal) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn request(&self, _request: StopRequest) -> Asked {
        match *self {}
    }

    pub(crate) fn remains(&self) -> Option<(String, Handle)> {
        match *self {}
    }

    pub(crate) fn variable(&self, _name: &str) -> Option<String> {
        match *self {}
    }

    pub(crate) fn end_elsewhere(&self) -> Result<Pending<Result<Option<Exit>, Error>>, Error> {
        match *self {}
    }
}

impl ChildSignal {
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        match *self {}
    }
}

/// Nobody is ever sent.
pub(crate) fn console_event_main(_args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    None
}

/// Names of variables are bytes here.
pub(crate) fn same_variable(given: &OsStr, name: &str) -> bool {
    given == name
}

/// Exit codes have no signs here.
pub(crate) fn crash_words(_code: i32) -> Option<&'static str> {
    None
}

pub(crate) fn is_passing(_error: &io::Error) -> bool {
    false
}

/// Looks for the file only; whether it can be run is the OS's word.
pub(crate) fn find_program(name: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, ProgramNotFound> {
    let as_path = Path::new(name);
    let shown = || name.to_string_lossy().into_owned();
    if as_path.components().count() > 1 {
        let file = cwd.join(as_path);
        return if file.is_dir() {
            Err(ProgramNotFound::Folder { path: file })
        } else if file.is_file() {
            Ok(file)
        } else {
            Err(ProgramNotFound::Missing { name: shown(), path: file })
        };
    }
    let searched = path.unwrap_or_default();
    std::env::split_paths(searched)
        .map(|folder| cwd.join(folder).join(as_path))
        .find(|file| file.is_file())
        .ok_or_else(|| ProgramNotFound::NotOnPath { name: shown(), searched: searched.to_string_lossy().into_owned() })
}
