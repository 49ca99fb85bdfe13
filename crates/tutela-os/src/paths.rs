//! Where things live: specs, state, logs, sockets. Computed from the environment, nothing is created here.
//!
//! `TUTELA_HOME` puts everything under one folder: `specs/`, `state/NAME/`, `logs/NAME/` and `run/`. On
//! Windows sockets are named pipes, which lie in no folder; there a home gives them names of its own, so
//! that two homes never meet.

use crate::platform;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders of Tutela for the account that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub(crate) specs: PathBuf,
    pub(crate) state: Place,
    /// `None`: `logs` inside the guard's state folder.
    pub(crate) logs: Option<Place>,
    pub(crate) runtime: PathBuf,
    /// The folder of sockets that outlive a guard, where that is not `runtime`.
    pub(crate) lasting: Option<PathBuf>,
    /// What everything is under, when `TUTELA_HOME` or a test said so.
    pub(crate) home: Option<PathBuf>,
}

/// Where a guard's folder of one kind is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this folder, by the guard's name.
    In(PathBuf),
    /// This one, which the host gave to the guard alone.
    Own(PathBuf),
}

impl Place {
    fn of(&self, name: &str) -> PathBuf {
        match self {
            Place::In(root) => root.join(name),
            Place::Own(own) => own.clone(),
        }
    }
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

    /// The folders of a guard that a host started. Those that systemd made for it and named in
    /// `RUNTIME_DIRECTORY`, `STATE_DIRECTORY` and `LOGS_DIRECTORY` are its own. On Windows it has the computer's,
    /// whatever its account. `TUTELA_HOME` decides alone here too. Not for anybody else: a program that a unit
    /// started has these variables of its own unit.
    pub fn of_host(lookup: impl Fn(&str) -> Option<OsString>) -> Paths {
        let lookup = |key: &str| lookup(key).filter(|value| !value.is_empty());
        if let Some(home) = lookup("TUTELA_HOME") {
            return Paths::under(Path::new(&home));
        }
        let mut paths = platform::paths::of_host(&lookup);
        if let Some(runtime) = first_folder(&lookup, "RUNTIME_DIRECTORY") {
            paths.runtime = runtime;
        }
        if let Some(state) = first_folder(&lookup, "STATE_DIRECTORY") {
            // systemd removes the runtime folder of a dynamic user with each guard; kept over a crash, nobody but root
            // could enter it. Programs of such a guard have its account, so they can enter its state. Those of a guard
            // of root's may have others.
            paths.lasting = (!crate::accounts::is_privileged()).then(|| state.clone());
            paths.state = Place::Own(state);
        }
        if let Some(logs) = first_folder(&lookup, "LOGS_DIRECTORY") {
            paths.logs = Some(Place::Own(logs));
        }
        paths
    }

    /// The folders of a guard that is registered for an account alone. On Windows they are the account's whatever rights
    /// this process has; elsewhere the same as [`Paths::discover`] finds. `TUTELA_HOME` decides alone here too.
    pub fn of_account(lookup: impl Fn(&str) -> Option<OsString>) -> Paths {
        let lookup = |key: &str| lookup(key).filter(|value| !value.is_empty());
        match lookup("TUTELA_HOME") {
            Some(home) => Paths::under(Path::new(&home)),
            None => platform::paths::of_account(&lookup),
        }
    }

    /// The folders when everything is under `home`.
    pub fn under(home: &Path) -> Paths {
        Paths {
            specs: home.join("specs"),
            state: Place::In(home.join("state")),
            logs: Some(Place::In(home.join("logs"))),
            runtime: home.join("run"),
            lasting: None,
            home: Some(home.to_path_buf()),
        }
    }

    /// The folder of spec files.
    pub fn specs_dir(&self) -> &Path {
        &self.specs
    }

    /// The folder in which guard `name` keeps its state and event ledger.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.state.of(name)
    }

    /// The folder that has a state folder for every guard that ever ran; `None`: this guard's is its own.
    #[allow(dead_code, reason = "for an OS whose sockets lie in no folder")]
    pub(crate) fn states(&self) -> Option<&Path> {
        match &self.state {
            Place::In(root) => Some(root),
            Place::Own(_) => None,
        }
    }

    /// The folder in which guard `name` keeps the output of its services.
    pub fn log_dir(&self, name: &str) -> PathBuf {
        match &self.logs {
            Some(place) => place.of(name),
            None => self.state_dir(name).join("logs"),
        }
    }

    /// The folder of what lives only as long as a guard does. On Linux the control sockets are in it.
    pub fn runtime_dir(&self) -> &Path {
        &self.runtime
    }

    /// The control socket that guard `name` opens. On Windows the name of a pipe, not a file.
    pub fn socket(&self, name: &str) -> PathBuf {
        platform::paths::socket(self, name)
    }

    /// Where the control socket of guard `name` may be, in the order of asking: beside the others, or in a
    /// folder of its own, when it runs under an account of its own. The first that answers is it.
    pub fn sockets(&self, name: &str) -> Vec<PathBuf> {
        platform::paths::sockets(self, name)
    }

    /// The socket on which guard `name` hears its programs' readiness messages. On Windows the name of a
    /// pipe, not a file.
    pub fn notify_socket(&self, name: &str) -> PathBuf {
        platform::paths::notify_socket(self, name)
    }

    /// The folder of the sockets that outlive a guard.
    #[allow(dead_code, reason = "asked where sockets are files")]
    pub(crate) fn lasting_dir(&self) -> &Path {
        self.lasting.as_deref().unwrap_or(&self.runtime)
    }

    /// The socket of guard `name`'s [`crate::safe::Safe`]. On Windows the name of a pipe, not a file.
    pub fn safe(&self, name: &str) -> PathBuf {
        platform::paths::safe(self, name)
    }
}

/// The first of the folders that a host names in `key`; a guard's unit has one of each kind. A path that
/// is not absolute is none that systemd wrote.
fn first_folder(lookup: &impl Fn(&str) -> Option<OsString>, key: &str) -> Option<PathBuf> {
    let value = lookup(key)?.into_string().ok()?;
    let first = PathBuf::from(value.split(':').next()?);
    first.has_root().then_some(first)
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
        assert_eq!(paths.runtime_dir(), Path::new("/x/run"));
    }

    #[test]
    fn an_empty_home_variable_counts_as_unset() {
        let empty = Paths::discover(|key| (key == "TUTELA_HOME").then(OsString::new));
        assert_eq!(empty, Paths::discover(|_| None));
    }

    #[test]
    fn a_socket_is_looked_for_where_it_is_opened_first() {
        let paths = Paths::under(Path::new("/x"));
        assert_eq!(paths.sockets("shop").first(), Some(&paths.socket("shop")));
        assert!(!paths.sockets("shop").contains(&paths.notify_socket("shop")));
    }

    #[test]
    fn the_folders_that_a_host_made_are_used_only_when_it_is_asked_for() {
        let given = |key: &str| match key {
            "RUNTIME_DIRECTORY" => Some(OsString::from("/run/tutela/shop")),
            "STATE_DIRECTORY" => Some(OsString::from("/var/lib/tutela/shop:/var/lib/other")),
            "LOGS_DIRECTORY" => Some(OsString::from("logs/shop")),
            _ => None,
        };
        let (own, others) = (Paths::of_host(given), Paths::discover(given));
        assert_eq!(own.runtime_dir(), Path::new("/run/tutela/shop"));
        assert_eq!(own.state_dir("shop"), Path::new("/var/lib/tutela/shop"));
        if crate::Os::CURRENT != crate::Os::Windows {
            let lasting =
                if crate::accounts::is_privileged() { own.runtime_dir().to_owned() } else { own.state_dir("shop") };
            assert_eq!(own.safe("shop"), lasting.join("shop.safe"));
        }
        assert_eq!(own.log_dir("shop"), others.log_dir("shop"), "a relative folder is none of a host's");
        assert_eq!(others, Paths::discover(|_| None));
    }

    #[test]
    fn a_home_outweighs_a_host() {
        let home = |key: &str| match key {
            "TUTELA_HOME" => Some(OsString::from("/x")),
            _ => Some(OsString::from("/run/tutela/shop")),
        };
        assert_eq!(Paths::of_host(home), Paths::under(Path::new("/x")));
    }
}
