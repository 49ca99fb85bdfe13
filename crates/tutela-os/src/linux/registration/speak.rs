//! Questions and words to systemd about what is registered.

use super::systemctl::{Said, Shown, Systemctl};
use super::{read, unit_folder};
use crate::registration::systemd::{Mark, mark};
use crate::registration::{RegisterError, Registered, RegisteredState, Scope, Start};
use std::path::Path;
use std::time::Duration;

pub(crate) fn start(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    word("start", "running", name, scope, bound)
}

pub(crate) fn stop(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    word("stop", "stopped", name, scope, bound)
}

/// `systemctl start` and `stop` end when it has come to that, so waiting is left to them.
fn word(
    verb: &'static str,
    wanted: &'static str,
    name: &str,
    scope: Scope,
    bound: Duration,
) -> Result<(), RegisterError> {
    let manager = Systemctl::find(scope)?;
    let unit = format!("{name}.service");
    if !manager.show(&unit)?.exists() {
        return Err(RegisterError::Missing { name: name.to_owned() });
    }
    let words = [verb, unit.as_str()];
    let Err(said) = manager.run(&words, bound) else { return Ok(()) };
    let seen = || {
        let how =
            manager.show(&unit).map_or_else(|_| "systemd does not say how it is".into(), |shown| shown.how_it_is());
        let user = if scope == Scope::User { "--user " } else { "" };
        format!("{how}; `journalctl {user}-u {name} -e` says more")
    };
    match said {
        Said::Late => Err(RegisterError::Late { name: name.to_owned(), wanted, bound, seen: seen() }),
        Said::Failed { text, .. } if is_denied(&text) => Err(RegisterError::NotAllowed {
            what: format!("`{}`", Systemctl::words(scope, &words)),
            needs: "the rights of root: run it again with sudo".into(),
        }),
        Said::Failed { text, .. } => {
            let text = text.lines().next().unwrap_or_default().to_owned();
            let error = std::io::Error::other(format!("{text}: it is {}", seen()));
            Err(crate::Error::io(format!("{verb} {name}"), error).into())
        }
        Said::NotRun(_) => Err(said.error(&Systemctl::words(scope, &words)).into()),
    }
}

fn is_denied(text: &str) -> bool {
    ["Access denied", "authentication required", "Permission denied"].iter().any(|word| text.contains(word))
}

pub(crate) fn query(name: &str, scope: Scope) -> Result<Option<Registered>, RegisterError> {
    let manager = Systemctl::find(scope)?;
    let shown = manager.show(&format!("{name}.service"))?;
    if !shown.exists() {
        return Ok(None);
    }
    let timer = manager.show(&format!("{name}.timer"))?;
    Ok(Some(registered(name, &shown, &timer)))
}

pub(crate) fn list(scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    let manager = Systemctl::find(scope)?;
    let folder = unit_folder(scope);
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| crate::Error::io(format!("list {}", folder.display()), error))?,
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".service").filter(|name| !name.starts_with('.')) else { continue };
        // One that cannot be read is none that can be shown.
        let Ok(Some(text)) = read(&entry.path()) else { continue };
        if mark(&text) != Mark::Foreign {
            let (shown, timer) = (manager.show(&format!("{name}.service"))?, manager.show(&format!("{name}.timer"))?);
            all.push(registered(name, &shown, &timer));
        }
    }
    all.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(all)
}

fn registered(name: &str, shown: &Shown, timer: &Shown) -> Registered {
    let place = shown.get("FragmentPath").to_owned();
    let text = read(Path::new(&place)).ok().flatten().unwrap_or_default();
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
    let start = match (shown.start(), timer.is_enabled()) {
        (Start::Auto, _) if text.contains("\nAfter=multi-user.target") => Start::Delayed,
        (Start::Manual, true) => Start::Auto,
        (_, _) if text.contains("\nRefuseManualStart=yes") => Start::Disabled,
        (start, _) => start,
    };
    let user = shown.get("User");
    Registered {
        name: name.to_owned(),
        ours: mark(&text) != Mark::Foreign,
        state: shown.state(),
        pid: shown.pid(),
        start,
        command: line("ExecStart="),
        account: if user.is_empty() { "root".into() } else { user.into() },
        place,
        exit_code: shown.get("ExecMainStatus").parse().ok().filter(|_| {
            matches!(shown.state(), RegisteredState::Stopped | RegisteredState::Failed)
                && shown.get("ExecMainCode") == "1"
        }),
    }
}
