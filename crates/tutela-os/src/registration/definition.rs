//! What is registered with the OS: everything decided, nothing looked up, nothing of one OS alone.

use crate::Os;
use crate::paths::Paths;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use tutela_core::spec::Capability;

/// A wanted registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The name under which the OS knows it: the SCM key, `NAME.service`, the end of the launchd label.
    pub name: String,
    /// The name that people see where the OS has one.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// For whom it is registered.
    pub scope: Scope,
    /// What it is to the OS.
    pub kind: Kind,
    /// The program; absolute. Never a shell.
    pub program: PathBuf,
    /// Its arguments, without its own name. No secret may be among them: every account can read them.
    pub args: Vec<OsString>,
    /// Its working folder; absolute.
    pub folder: PathBuf,
    /// Further variables of its environment. Readable by every account, like the arguments.
    pub env: Vec<(String, String)>,
    /// When the OS starts it.
    pub start: Start,
    /// Whom it runs as.
    pub account: Account,
    /// Names of other OS services that must be started before it.
    pub after: Vec<String>,
    /// How the OS learns that it is ready.
    pub readiness: Readiness,
    /// How it is made to read its configuration again.
    pub reload: Reload,
    /// How long a start may take until it is ready; it asks for more by itself where the OS allows that.
    pub start_timeout: Duration,
    /// How long a stop may take before the OS ends it by force.
    pub stop_timeout: Duration,
    /// How often it says that it lives; the OS ends and restarts it when it does not.
    pub watchdog: Option<Duration>,
    /// Whether it keeps programs of its own, and is given a control group to divide among them where the OS has such a
    /// thing.
    pub keeps_programs: bool,
    /// Whether its programs outlive it when it crashes, where the OS can do that.
    pub programs_outlive: Option<Outlive>,
    /// The wait before the OS starts it again after it died: the backstop for the guard itself.
    pub restart_delay: Duration,
    /// What is taken from it.
    pub sandbox: Sandbox,
    /// Folders of its own, which registering makes, gives to its account, and purging removes.
    pub folders: Folders,
    /// Ports that the host's firewall is to let through.
    pub openings: Vec<Opening>,
}

/// How what a guard left is ended when no other one follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlive {
    /// The arguments of the program for that; run whenever its process has ended, to decide which it is.
    pub end_left: Vec<OsString>,
}

/// For whom something is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// For the computer; needs an administrator.
    #[default]
    System,
    /// For the account that registers it, and only where the OS has such a thing: systemd user units, launchd agents.
    User,
}

/// What it is to the OS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A service: SCM, systemd, launchd.
    #[default]
    Service,
    /// Started by the OS's clock without being a service: Task Scheduler, a systemd timer.
    Task,
    /// Started when the account logs in: the Run key, an XDG autostart entry, a launchd agent.
    Login,
}

/// When the OS starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At boot.
    #[default]
    Auto,
    /// At boot, once the others have settled.
    Delayed,
    /// When somebody says so.
    Manual,
    /// Never.
    Disabled,
}

/// Whom it runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Account {
    /// An account that exists for this registration alone and has no password: `NT SERVICE\NAME` on Windows, a
    /// dynamic user under systemd.
    #[default]
    Own,
    /// The OS itself: `LocalSystem`, root.
    System,
    /// Windows: `NT AUTHORITY\LocalService`. Elsewhere refused.
    LocalService,
    /// Windows: `NT AUTHORITY\NetworkService`. Elsewhere refused.
    NetworkService,
    /// Windows: a group managed service account, `DOMAIN\name$`. Elsewhere refused.
    Managed(String),
    /// An account of the computer or its domain.
    Named {
        /// Its name: `shop`, `DOMAIN\shop`, `.\shop`.
        name: String,
        /// Its password, where the OS wants one (Windows). Handed to the OS and kept nowhere else.
        password: Option<Password>,
        /// Make it, as an account that nobody can log in with, when it is missing (Linux).
        create: bool,
    },
}

/// A password that no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How the OS learns that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// It says so: to the SCM by its state, to systemd by `READY=1`.
    #[default]
    Told,
    /// It is ready when it runs. For programs that speak to no service manager.
    Running,
}

/// How it is made to read its configuration again, where the service manager has a word for that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reload {
    /// It cannot.
    #[default]
    None,
    /// By the signal HUP, and it tells the service manager when that begins and when it is done.
    Signal,
    /// The program run once more with these arguments, as the administrator who asks for it; it ends when it is done,
    /// and well only if it worked.
    Command(Vec<OsString>),
}

/// What is taken from it, as far as the OS can. `None` or empty: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// No hardening at all, for what cannot live with it.
    pub off: bool,
    /// It and its programs never gain a right by running another program.
    pub no_new_privileges: bool,
    /// The only capabilities that it may have; `None`: what it needs to keep its programs, worked out by the caller.
    pub capabilities: Option<Vec<Capability>>,
    /// Files and folders that it must be able to read, such as the spec and the programs: what hides them is left out.
    pub readable: Vec<PathBuf>,
    /// Folders that it may write to besides its own.
    pub writable: Vec<PathBuf>,
    /// Its programs make code at run time (JIT), so memory that is writable and executable is left to them.
    pub executable_memory: bool,
}

/// Folders of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folders {
    /// State and event ledger.
    pub state: Option<PathBuf>,
    /// Output of programs.
    pub logs: Option<PathBuf>,
    /// Control socket; gone when it does not run.
    pub runtime: Option<PathBuf>,
}

impl Folders {
    /// Those of the guard `name`: where a guard that is registered in this way looks for them by itself. `paths` are
    /// [`Paths::of_host`] for the computer and [`Paths::of_account`] for an account, whatever rights this process has.
    pub fn of_guard(name: &str, scope: Scope, paths: &Paths) -> Folders {
        match (Os::CURRENT, scope) {
            (Os::Linux | Os::MacOs, Scope::System) => Folders {
                state: Some(PathBuf::from("/var/lib/tutela").join(name)),
                logs: Some(PathBuf::from("/var/log/tutela").join(name)),
                runtime: Some(PathBuf::from("/run/tutela").join(name)),
            },
            (Os::Windows, _) | (_, Scope::User) => {
                Folders { state: Some(paths.state_dir(name)), logs: Some(paths.log_dir(name)), runtime: None }
            }
        }
    }

    /// The folder of specs for a scope, as [`Folders::of_guard`].
    pub fn of_specs(scope: Scope, paths: &Paths) -> PathBuf {
        match (Os::CURRENT, scope) {
            (Os::Linux | Os::MacOs, Scope::System) => PathBuf::from("/etc/tutela"),
            (Os::Windows, _) | (_, Scope::User) => paths.specs_dir().to_path_buf(),
        }
    }
}

/// A port that the host's firewall lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Addresses that may come in, as `address/prefix`; empty: all.
    pub from: Vec<String>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}
