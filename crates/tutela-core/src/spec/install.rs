//! How the guard becomes a service of the OS: what only `tutela install` reads. A running guard does not look at it.

use super::StartMode;
use std::path::PathBuf;
use std::time::Duration;

/// What the operator wants of the installation, for the OS that the spec was read for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallSpec {
    /// The name that people see where the OS has one; `None`: the guard's name.
    pub display_name: Option<String>,
    /// When the OS starts the guard.
    pub start: StartMode,
    /// Whom the guard runs as.
    pub account: InstallAccount,
    /// OS services to be started before the guard, in the OS's own names.
    pub after: Vec<String>,
    /// How long a start may take until the guard says that it is ready.
    pub start_timeout: Duration,
    /// How long a stop may take; `None`: what the ladders of the services add up to.
    pub stop_timeout: Option<Duration>,
    /// How often the guard has to say that it lives; `None`: never.
    pub watchdog: Option<Duration>,
    /// The wait before the OS starts a guard again that died.
    pub restart_delay: Duration,
    /// Whether anything is taken from the guard and its programs.
    pub sandbox: bool,
    /// Whether programs make code at run time, and keep memory that is writable and executable.
    pub executable_memory: bool,
    /// Folders that can be written to besides the guard's own; absolute.
    pub writable_paths: Vec<PathBuf>,
    /// Ports that the host's firewall is to let through.
    pub open_ports: Vec<OpenPort>,
}

/// Whom a guard runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InstallAccount {
    /// An account that exists for this guard alone and has no password.
    #[default]
    Own,
    /// The OS itself.
    System,
    /// Windows: `NT AUTHORITY\LocalService`.
    LocalService,
    /// Windows: `NT AUTHORITY\NetworkService`.
    NetworkService,
    /// Windows: a group managed service account, `DOMAIN\name$`.
    Managed(String),
    /// An account of the computer or its domain.
    Named {
        /// Its name.
        name: String,
        /// Whether it is made when it is missing.
        create: bool,
    },
}

/// A port that the host's firewall is to let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPort {
    /// The port; never 0.
    pub port: u16,
    /// Whether it is a port of UDP; otherwise of TCP.
    pub udp: bool,
    /// Who may come in: networks as `address/prefix`; empty: everybody.
    pub from: Vec<String>,
}

impl Default for InstallSpec {
    fn default() -> Self {
        InstallSpec {
            display_name: None,
            start: StartMode::Auto,
            account: InstallAccount::Own,
            after: Vec::new(),
            // As systemd has it; a guard asks for more by itself while its services still come up.
            start_timeout: Duration::from_secs(90),
            stop_timeout: None,
            // The guard says that it lives every half of it, and a turn of its loop takes milliseconds: whoever is
            // silent that long hangs.
            watchdog: Some(Duration::from_secs(30)),
            restart_delay: Duration::from_secs(1),
            sandbox: true,
            executable_memory: false,
            writable_paths: Vec::new(),
            open_ports: Vec::new(),
        }
    }
}

impl InstallAccount {
    /// The account of these words, as a spec and `--account` have them; `None`: they name none.
    pub fn from_words(words: &str) -> Option<Self> {
        let name = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        Some(match words.trim() {
            "" => return None,
            "own" => InstallAccount::Own,
            "system" => InstallAccount::System,
            "local-service" => InstallAccount::LocalService,
            "network-service" => InstallAccount::NetworkService,
            other => match other.split_once(':') {
                Some(("managed", account)) => InstallAccount::Managed(name(account)?),
                Some(("new", account)) => InstallAccount::Named { name: name(account)?, create: true },
                _ => InstallAccount::Named { name: other.to_owned(), create: false },
            },
        })
    }

    /// Its words in a spec.
    pub fn words(&self) -> String {
        match self {
            InstallAccount::Own => "own".into(),
            InstallAccount::System => "system".into(),
            InstallAccount::LocalService => "local-service".into(),
            InstallAccount::NetworkService => "network-service".into(),
            InstallAccount::Managed(name) => format!("managed:{name}"),
            InstallAccount::Named { name, create: true } => format!("new:{name}"),
            InstallAccount::Named { name, create: false } => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_as_it_is_written() {
        for words in ["own", "system", "local-service", "network-service", "managed:DOM\\x$", "new:shop", "DOM\\shop"] {
            assert_eq!(InstallAccount::from_words(words).map(|it| it.words()).as_deref(), Some(words));
        }
        for words in ["", " ", "new:", "managed: "] {
            assert_eq!(InstallAccount::from_words(words), None, "{words:?}");
        }
    }
}
