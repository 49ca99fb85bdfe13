//! Registers a program with the OS's own service manager (SCM, systemd, launchd), and speaks to it.
//!
//! Called by `tutela install`, `uninstall`, `start`, `stop` and `status`, and by the SDK. A registration is a
//! transaction: [`plan`] reads what there is and answers with every step, which can be printed; [`Plan::carry_out`]
//! does them and undoes them all when one fails. Registering what is registered already updates it in place. What
//! somebody else registered under the same name is never touched: every registration carries a mark of ours.
//!
//! Deliberately absent: which folders, accounts and arguments a guard gets. That is decided by who calls.

mod definition;
pub mod desktop;
pub mod launchd;
pub mod systemd;
mod transaction;

pub use definition::{
    Account, Definition, Folders, Kind, Opening, Outlive, Password, Protocol, Readiness, Reload, Sandbox, Scope, Start,
};
pub use transaction::{CarryOutError, Plan};
pub(crate) use transaction::{Step, Undo};

use crate::{Error, platform};
use std::time::Duration;

/// The control group below a unit's in which the unit's own processes are, so that it can divide the rest.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "units are written on every OS, and run on one"))]
pub(crate) const GUARD_GROUP: &str = "guard";

/// Works out what registering `definition` means here. Changes nothing and needs no rights: what stands in the way of
/// carrying it out, such as missing rights, is [`Plan::obstacle`], so that the plan can be shown to everybody.
///
/// # Errors
/// [`RegisterError`]: why it would not work, as far as that can be known.
pub fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    platform::registration::plan(definition)
}

/// Works out what removing the registration `name` means here. Changes nothing. The steps stop what runs, wait until
/// it has ended, and remove what registering made; folders of state and logs only with `purge`.
///
/// # Errors
/// [`RegisterError`]; [`RegisterError::Missing`] when there is none.
pub fn plan_removal(name: &str, scope: Scope, purge: bool) -> Result<Plan, RegisterError> {
    platform::registration::plan_removal(name, scope, purge)
}

/// Starts it, and waits until the OS says that it runs, or until `bound`.
///
/// # Errors
/// [`RegisterError`].
pub fn start(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    platform::registration::start(name, scope, bound)
}

/// Stops it, and waits until the OS says that it has ended, or until `bound`.
///
/// # Errors
/// [`RegisterError`].
pub fn stop(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    platform::registration::stop(name, scope, bound)
}

/// What the OS says of `name`; `None`: it knows none.
///
/// # Errors
/// The service manager cannot be asked.
pub fn query(name: &str, scope: Scope) -> Result<Option<Registered>, RegisterError> {
    platform::registration::query(name, scope)
}

/// What the service manager does after the end of a process of `name`. Cheaper than [`query`], and to be had by the account
/// of the registration too.
///
/// # Errors
/// The service manager cannot be asked, or ends programs together with their guard, so that nobody has to.
pub fn outlook(name: &str, scope: Scope) -> Result<Outlook, RegisterError> {
    platform::registration::outlook(name, scope)
}

/// Ends everything that is left of a service whose main process has ended. To be called by a process that the service
/// manager runs for that service after the end, and only when no other main process follows: one would be ended too.
///
/// # Errors
/// This is no such process, or something does not end.
pub fn end_left() -> Result<Vec<Ended>, RegisterError> {
    platform::registration::end_left()
}

/// Something that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The tree, or the group of a service's own processes.
    pub label: String,
    /// Its processes.
    pub pids: Vec<u32>,
}

/// What a service manager does with a registration that has no process, or had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// A process of it runs, or is being started.
    Runs,
    /// None runs, and so far another one is to follow.
    Follows,
    /// None runs, and none is to follow: it was stopped, or given up.
    Over,
}

/// Every registration that carries our mark.
///
/// # Errors
/// The service manager cannot be asked.
pub fn list(scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    platform::registration::list(scope)
}

/// What the OS says of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Whether it carries our mark. What does not is somebody else's and is never touched.
    pub ours: bool,
    /// What it is doing.
    pub state: RegisteredState,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// When the OS starts it.
    pub start: Start,
    /// What it runs, as the OS shows it.
    pub command: String,
    /// The account, as the OS shows it.
    pub account: String,
    /// Where the registration is kept: a unit file, a key.
    pub place: String,
    /// Its last exit code as the service manager has it, where it has one.
    pub exit_code: Option<u32>,
}

/// What a registered service is doing, in the words of its service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisteredState {
    /// It does not run.
    Stopped,
    /// It is being started and not ready.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is held still.
    Paused,
    /// It ended with a failure, and the service manager says so.
    Failed,
    /// It is marked for deletion and goes once everybody has closed it.
    Leaving,
}

/// Why a registration, or a word to a service manager, did not work. The messages say how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// This account may not.
    #[error("refused: {what} needs {needs}")]
    NotAllowed {
        /// What was tried.
        what: String,
        /// Whose rights it needs and how to get them.
        needs: String,
    },
    /// There is no registration of this name.
    #[error("refused: the service manager knows no {name}")]
    Missing {
        /// The name.
        name: String,
    },
    /// The name is taken by something that is not ours.
    #[error(
        "refused: {name} is registered already, and not by Tutela: {place}; choose another name, or remove it with its own tools"
    )]
    Foreign {
        /// The name.
        name: String,
        /// What has it, and where.
        place: String,
    },
    /// The registration is marked for deletion and still held open.
    #[error("refused: {name} is marked for deletion and still held open by {holders}; close it and try again")]
    Leaving {
        /// The name.
        name: String,
        /// Who may hold it, as far as that can be known.
        holders: String,
    },
    /// There is no such account, or it cannot be used.
    #[error("refused: the account {account} {why}")]
    Account {
        /// The account.
        account: String,
        /// What is wrong with it and how to mend it.
        why: String,
    },
    /// Something in the definition cannot be registered here: too long, not to be had on this OS.
    #[error("refused: {0}")]
    Refused(String),
    /// This computer has no service manager of the kind.
    #[error("refused: {0}")]
    NoServiceManager(String),
    /// It did not come to where it should in time.
    #[error("failed to see {name} {wanted} within {bound:?}: {seen}")]
    Late {
        /// The name.
        name: String,
        /// What was waited for.
        wanted: &'static str,
        /// For how long.
        bound: Duration,
        /// What was seen last, and where to look.
        seen: String,
    },
    /// It did not work.
    #[error(transparent)]
    Failed(#[from] Error),
}
