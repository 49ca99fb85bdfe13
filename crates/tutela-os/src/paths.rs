//! Where things live: specs, state, logs, sockets. Computed from the environment, nothing is created here.
//!
//! `TUTELA_HOME` puts everything under one folder: `specs/`, `state/NAME/`, `logs/NAME/` and `run/`.

use crate::platform;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders of Tutela for the account that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub(crate) specs: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) logs: Logs,
    pub(crate) runtime: PathBuf,
}

/// Where log folders are, seen from the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Logs {
    /// One folder with a folder per guard.
    Root(PathBuf),
    /// `logs` inside the guard's state folder.
    #[allow(dead_code, reason = "not every OS has accounts without a log root")]
    UnderState,
}

impl Paths {
    /// The folders by the environment that `lookup` answers from and by whether this process is an
    /// administrator's. `TUTELA_HOME`, when set and not empty, decides alone.
    pub fn discover(lookup: impl Fn(&str) -> Option<OsString>) -> Paths {
        let lookup = |key: &str| lookup(key).filter(|value| !value.is_empty());
        if let Some(home) = lookup("TUTELA_HOME") {
            return Paths::under(Path::new(&home));
        }
        platform::paths::discover(&lookup)
    }

    /// The folders when everything is under `home`.
    pub fn under(home: &Path) -> Paths {
        Paths {
            specs: home.join("specs"),
            state: home.join("state"),
            logs: Logs::Root(home.join("logs")),
            runtime: home.join("run"),
        }
    }

    /// The folder of spec files.
    pub fn specs_dir(&self) -> &Path {
        &self.specs
    }

    /// The folder in which guard `name` keeps its state and event ledger.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// The folder in which guard `name` keeps the output of its services.
    pub fn log_dir(&self, name: &str) -> PathBuf {
        match &self.logs {
            Logs::Root(root) => root.join(name),
            Logs::UnderState => self.state.join(name).join("logs"),
        }
    }

    /// The folder of control sockets.
    pub fn runtime_dir(&self) -> &Path {
        &self.runtime
    }

    /// The control socket of guard `name`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.runtime.join(format!("{name}.sock"))
    }

    /// The socket on which guard `name` hears its programs' readiness messages.
    pub fn notify_socket(&self, name: &str) -> PathBuf {
        self.runtime.join(format!("{name}.notify"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_variable_puts_everything_under_one_folder() {
        let paths = Paths::discover(|key| (key == "TUTELA_HOME").then(|| OsString::from("/x")));
        assert_eq!(paths.specs_dir(), Path::new("/x/specs"));
        assert_eq!(paths.state_dir("shop"), Path::new("/x/state/shop"));
        assert_eq!(paths.log_dir("shop"), Path::new("/x/logs/shop"));
        assert_eq!(paths.socket("shop"), Path::new("/x/run/shop.sock"));
    }

    #[test]
    fn an_empty_home_variable_counts_as_unset() {
        let empty = Paths::discover(|key| (key == "TUTELA_HOME").then(OsString::new));
        assert_eq!(empty, Paths::discover(|_| None));
    }
}
