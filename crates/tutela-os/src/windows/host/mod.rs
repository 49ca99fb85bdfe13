//! The service control manager: whether it started us, and the calls of its protocol.

mod meaning;
mod operator;
mod parent;
mod scm;

pub(crate) use operator::ask;
pub(crate) use parent::session_of;
pub(crate) use scm::{is_served, serve_scm};

use crate::Error;
use crate::host::StartedBy;
use std::ffi::OsString;
use std::time::Duration;

/// There is none that hears texts.
#[derive(Debug)]
pub(crate) enum Host {}

impl Host {
    /// None that listens: the variables of a host are of no meaning on this OS.
    pub(crate) fn discover(_lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Host> {
        None
    }

    pub(crate) fn watchdog(&self) -> Option<Duration> {
        match *self {}
    }

    pub(crate) fn send(&self, _text: &str) -> Result<(), Error> {
        match *self {}
    }
}

/// The dispatcher's word where it was asked already; else what the process table shows.
pub(crate) fn service_manager() -> Option<StartedBy> {
    (is_served() || parent::is_service_manager()).then_some(StartedBy::ServiceControlManager)
}

pub(crate) fn is_init() -> bool {
    false
}
