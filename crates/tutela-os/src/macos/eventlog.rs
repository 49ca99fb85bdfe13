//! No log of the OS.

use crate::Error;
use crate::absent::absent;
use crate::eventlog::{Kind, Line, Record};

pub(crate) const KIND: Option<Kind> = None;

/// There is none.
#[derive(Debug)]
pub(crate) enum EventLog {}

impl EventLog {
    pub(crate) fn open(_source: &str) -> Result<EventLog, Error> {
        Err(absent("event log"))
    }

    pub(crate) fn write(&self, _record: &Record<'_>) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn relay(&self, _line: &Line<'_>) -> Result<(), Error> {
        match *self {}
    }
}

pub(crate) fn output_is_journal() -> bool {
    false
}

pub(crate) fn register(_source: &str) -> Result<bool, Error> {
    Err(absent("event log"))
}

pub(crate) fn unregister(_source: &str) -> Result<bool, Error> {
    Err(absent("event log"))
}
