//! The service manager that started us: whether launchd did. It hears nothing from us but our end.

use crate::host::{Control, NotServed, Scm, ServiceExit, StartedBy, State};
use crate::{Error, Unsupported};
use std::ffi::OsString;
use std::time::Duration;

/// There is none.
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

pub(crate) fn serve_scm<R>(_name: &str, run: R) -> Result<ServiceExit, NotServed<R>>
where
    R: FnOnce(Scm) -> ServiceExit + Send + 'static,
{
    let reason = "macOS has launchd, which starts a service as a plain process and tells it to stop by a signal";
    Err(NotServed { run, error: Unsupported::new("service control manager", reason).into() })
}

pub(crate) fn ask(_service: &str, _control: Control) -> Result<State, Error> {
    let reason =
        "launchd carries no requests to services; an operator sends them a signal, or asks their own control socket";
    Err(Unsupported::new("requests to services", reason).into())
}

/// launchd is the first process and names the job; what a terminal starts has the name `0` or another parent.
pub(crate) fn service_manager() -> Option<StartedBy> {
    let named = std::env::var_os("XPC_SERVICE_NAME").is_some_and(|name| !name.is_empty() && name != "0");
    let by_first = rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == 1);
    (named && by_first).then_some(StartedBy::Launchd)
}

pub(crate) fn is_init() -> bool {
    std::process::id() == 1
}
