//! Questions and words to systemd about what is registered.

use super::systemctl::{Said, Shown, Systemctl};
use super::{read, unit_folder};
use crate::registration::systemd::{Mark, mark};
use crate::registration::{Outlook, RegisterError, Registered, RegisteredState, Scope, Start};
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

pub(crate) fn outlook(name: &str, scope: Scope) -> Result<Outlook, RegisterError> {
    let manager = Systemctl::find(scope)?;
    let unit = format!("{name}.service");
    // Jobs first: one that is done before the state is asked for shows in the state.
    let jobs = manager.ask(&["list-jobs", "--no-legend", "--full", &unit])?;
    let shown = manager.show(&unit)?;
    Ok(outlook_of(shown.get("ActiveState"), shown.get("SubState"), &jobs, &unit))
}

/// The outlook by a unit's state and by the table of jobs: number, unit, type, state.
fn outlook_of(active: &str, sub: &str, jobs: &str, unit: &str) -> Outlook {
    let job = jobs.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        (words.next() == Some(unit)).then(|| words.next().unwrap_or_default())
    });
    match (active, job) {
        // Whoever restarts it has it stopped first. systemd's own restart after a crash is a start.
        ("deactivating", Some("stop" | "restart" | "try-restart")) => Outlook::Over,
        ("activating", Some("stop")) if sub.starts_with("auto-restart") => Outlook::Over,
        ("activating", _) if sub.starts_with("auto-restart") => Outlook::Follows,
        ("inactive" | "failed", Some("start" | "restart" | "try-restart")) | ("deactivating", _) => Outlook::Follows,
        ("inactive" | "failed" | "maintenance", _) => Outlook::Over,
        (_, _) => Outlook::Runs,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_for_the_end_says_whether_another_one_follows() {
        let of = |active, sub, job: &str| {
            let jobs = if job.is_empty() { String::new() } else { format!("  417 shop.service {job} running\n") };
            outlook_of(active, sub, &format!("   9 other.service stop running\n{jobs}"), "shop.service")
        };
        for (active, sub, job, outlook) in [
            ("deactivating", "stop-post", "", Outlook::Follows),
            ("deactivating", "stop-post", "start", Outlook::Follows),
            ("deactivating", "stop-post", "stop", Outlook::Over),
            ("deactivating", "stop-post", "restart", Outlook::Over),
            ("activating", "auto-restart", "", Outlook::Follows),
            ("activating", "auto-restart-queued", "start", Outlook::Follows),
            ("activating", "auto-restart", "stop", Outlook::Over),
            ("activating", "start", "start", Outlook::Runs),
            ("active", "running", "stop", Outlook::Runs),
            ("inactive", "dead", "", Outlook::Over),
            ("inactive", "dead", "start", Outlook::Follows),
            ("failed", "failed", "", Outlook::Over),
        ] {
            assert_eq!(of(active, sub, job), outlook, "{active} {sub} {job}");
        }
    }
}
