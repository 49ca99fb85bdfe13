//! Where things live: the system's folders for root, the XDG base directories for everybody else.

use crate::paths::{Paths, Place};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) fn discover(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    if crate::platform::accounts::is_privileged() {
        return Paths {
            specs: PathBuf::from("/etc/tutela"),
            state: Place::In(PathBuf::from("/var/lib/tutela")),
            logs: Some(Place::In(PathBuf::from("/var/log/tutela"))),
            runtime: PathBuf::from("/run/tutela"),
            lasting: None,
            home: None,
        };
    }
    let home = lookup("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    // The base directory rules say that a relative path is to be ignored.
    let base = |key: &str, default: &str| {
        lookup(key).map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(default))
    };
    let state = base("XDG_STATE_HOME", ".local/state").join("tutela");
    // Without a session there is no runtime folder; the state folder is as private, and outlives a reboot,
    // which the lock beside a socket allows for.
    let runtime = match lookup("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir).join("tutela"),
        _ => state.join("run"),
    };
    Paths {
        specs: base("XDG_CONFIG_HOME", ".config").join("tutela"),
        state: Place::In(state),
        logs: None,
        runtime,
        lasting: None,
        home: None,
    }
}

/// As for everybody who has the account; what the host made is put in place by the caller.
pub(crate) fn of_host(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    discover(lookup)
}

/// An account has no others than those that it finds by itself.
pub(crate) fn of_account(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    discover(lookup)
}

pub(crate) fn socket(paths: &Paths, name: &str) -> PathBuf {
    paths.runtime.join(format!("{name}.sock"))
}

/// Beside the others, or in the folder that systemd makes for a guard with an account of its own, which is all that such
/// a guard has.
pub(crate) fn sockets(paths: &Paths, name: &str) -> Vec<PathBuf> {
    let file = format!("{name}.sock");
    let shared = paths.runtime.parent().filter(|_| paths.runtime.ends_with(name)).unwrap_or(&paths.runtime);
    vec![shared.join(&file), shared.join(name).join(&file)]
}

pub(crate) fn safe(paths: &Paths, name: &str) -> PathBuf {
    paths.lasting_dir().join(format!("{name}.safe"))
}

pub(crate) fn notify_socket(paths: &Paths, name: &str) -> PathBuf {
    paths.lasting_dir().join(format!("{name}.notify"))
}
