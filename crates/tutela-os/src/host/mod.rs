//! The service manager of the OS: who started this process, what they ask of it, and where it stands.
//!
//! Called by the guard and by programs that are services themselves. [`started_by`] is a look, without any effect.
//! Under Windows' service control manager (SCM) a process has to speak a protocol, and [`serve_scm`] is all of it:
//! it takes the main thread, runs what it is given on the SCM's thread, and hands it a [`Scm`]: a mouth that can say
//! only what is true of a service ([`State`] and its neighbours in `standing.rs`), and an ear, [`Scm::controls`]. systemd and launchd
//! speak by signals ([`crate::signals`]) and are told by [`crate::notify::Host`].
//!
//! The states, the heartbeat and the queue have no condition on the OS, so they are tested everywhere; the OS's
//! folder has the calls. Deliberately absent: what a control leads to.

mod controls;
mod scm;
mod standing;

pub use controls::{Control, Controls, PowerChange, SessionChange};
pub use scm::Scm;
pub use standing::{Accepts, ServiceExit, State};

#[allow(unused_imports, reason = "an OS without such a service manager has no use for them")]
pub(crate) use standing::{Report, Tell};

use crate::{Error, platform};
use std::ffi::OsString;

/// The variable by which a program learns that a guard keeps it, and as what.
pub const GUARD_VARIABLE: &str = "TUTELA_SERVICE";

/// Who started this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartedBy {
    /// Windows' service control manager. It wants [`serve_scm`] within 30 seconds.
    ServiceControlManager,
    /// systemd, of the computer or of a user, as the main process of a unit.
    Systemd,
    /// launchd.
    Launchd,
    /// A guard of Tutela.
    Guard,
    /// Nobody: this is the first process of a computer or a container.
    Init,
    /// A person: there is a terminal.
    Terminal,
    /// None of these can be told: a script, a scheduler, another supervisor.
    Unknown,
}

impl StartedBy {
    /// Its word for people and for programs that read: `scm`, `systemd`, `launchd`, `guard`, `init`, `terminal` or
    /// `unknown`.
    pub const fn word(self) -> &'static str {
        match self {
            StartedBy::ServiceControlManager => "scm",
            StartedBy::Systemd => "systemd",
            StartedBy::Launchd => "launchd",
            StartedBy::Guard => "guard",
            StartedBy::Init => "init",
            StartedBy::Terminal => "terminal",
            StartedBy::Unknown => "unknown",
        }
    }

    /// Whether it is the service manager of an OS: one that starts this process again, and that stops it.
    pub const fn is_service_manager(self) -> bool {
        matches!(self, StartedBy::ServiceControlManager | StartedBy::Systemd | StartedBy::Launchd)
    }
}

/// Looks who started this process. Reads the environment and a little of the process table, changes nothing.
///
/// Variables alone prove nothing, because everything that a service starts inherits them; so each service manager is
/// believed only where something else agrees: the parent process, the process number that it names, or the journal
/// at the other end of standard error.
pub fn started_by() -> StartedBy {
    if let Some(manager) = platform::host::service_manager() {
        return manager;
    }
    if std::env::var_os(GUARD_VARIABLE).is_some_and(|service| !service.is_empty()) {
        return StartedBy::Guard;
    }
    if platform::host::is_init() {
        return StartedBy::Init;
    }
    use std::io::IsTerminal;
    let terminal = std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    if terminal { StartedBy::Terminal } else { StartedBy::Unknown }
}

/// Why nothing was served. What was to be run comes back, to be run in another way.
#[derive(Debug)]
pub struct NotServed<R> {
    /// What was given to [`serve_scm`]; it was not called.
    pub run: R,
    /// Why. [`Error::Unsupported`]: this OS has no such service manager. [`Error::Refused`]: it did not start this
    /// process, or another part of this process is served already.
    pub error: Error,
}

/// Serves Windows' service control manager: tells it that the service starts, calls `run` on a thread of the
/// SCM's, and tells it that the service has stopped once `run` has returned. Returns when that is done.
///
/// Call it on the main thread before anything that may wait (the SCM gives a process 30 seconds to come here), once
/// per process. `name` is the service's name where the SCM does not tell it; [`Scm::name`] has the true one.
///
/// - Until [`Scm::running`] the service is START_PENDING and takes no controls; checkpoints rise by themselves
///   while [`Scm::starting`] or [`Scm::alive`] say that there is progress.
/// - A panic in `run` is caught, and the service stops with error 1064 (exception in service).
/// - The process has to end soon after this returns.
///
/// # Errors
/// The SCM did not start this process (its answer 1063), or this OS has none.
pub fn serve_scm<R>(name: &str, run: R) -> Result<ServiceExit, NotServed<R>>
where
    R: FnOnce(Scm) -> ServiceExit + Send + 'static,
{
    platform::host::serve_scm(name, run)
}

/// Asks another service through the service manager, as an operator's tool does: stop, pause, continue, a reload, or a
/// code. Answers where it stands right after it took the request; what comes of it is for the service to say.
///
/// # Errors
/// This OS's service manager carries no such requests ([`Error::Unsupported`]); the control is not one for operators
/// ([`Error::Refused`]); or the service manager's own word: 1060 no such service, 1061 it takes no requests at this
/// moment, 1062 it does not run, 1052 it does not know this one, 5 not allowed.
pub fn ask(service: &str, control: Control) -> Result<State, Error> {
    platform::host::ask(service, control)
}

/// What a service manager gave the process to start with, beyond its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// The service's name.
    pub(crate) name: String,
    /// Words of this one start, such as those after `sc start NAME`.
    pub(crate) arguments: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_service_manager_starts_and_stops_for_the_os() {
        use StartedBy::*;
        let of_the_os: Vec<_> = [ServiceControlManager, Systemd, Launchd, Guard, Init, Terminal, Unknown]
            .into_iter()
            .filter(|by| by.is_service_manager())
            .map(StartedBy::word)
            .collect();
        assert_eq!(of_the_os, ["scm", "systemd", "launchd"]);
    }
}
