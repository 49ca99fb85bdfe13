//! Taking a registration away: what registering made, and nothing else.

use super::systemctl::Systemctl;
use super::{Place, account, autostart, firewall, hindrance, steps, unit_folder};
use crate::registration::systemd::Made;
use crate::registration::{Plan, RegisterError, Scope, Step};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tutela_core::names::Name;

/// What is added to the time that systemd gives a stop, before it is called a failure: it asks, waits, kills.
const STOP_EXTRA: Duration = Duration::from_secs(30);

/// The time for a stop whose own cannot be learned.
const STOP_LIMIT: Duration = Duration::from_secs(3600);

pub(crate) fn plan_removal(name: &str, scope: Scope, purge: bool) -> Result<Plan, RegisterError> {
    let (manager, mut obstacle) = match Systemctl::find(scope) {
        Ok(manager) => (Some(manager), None),
        Err(error) => (None, Some(error)),
    };
    let folder = unit_folder(scope);
    let entry = autostart::entry_path(name, scope);
    let place = Place::look(&folder, name, manager.as_ref())?;
    let has_units = place.service.text.is_some() || place.timer.text.is_some();
    if !has_units {
        // The state of who logs in is each account's own.
        let further = || if purge && scope == Scope::User { leavings(name, scope) } else { Vec::new() };
        return match autostart::plan_removal(name, scope, further)? {
            Some(plan) => Ok(plan),
            None if purge => plan_purge(name, scope),
            // Nobody could be registered where there is no service manager, which says more.
            None => Err(obstacle.unwrap_or(RegisterError::Missing { name: name.to_owned() })),
        };
    }
    obstacle = hindrance(scope, &folder, &format!("removing {name} from systemd")).or(obstacle);
    let made = place.made();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let (service, timer) = (format!("{name}.service"), format!("{name}.timer"));
    if let Some(manager) = &manager {
        for (unit, file) in [(&timer, &place.timer), (&service, &place.service)] {
            if file.text.is_none() {
                continue;
            }
            let shown = manager.show(unit)?;
            if !matches!(shown.get("ActiveState"), "inactive" | "failed") {
                let bound = span_of(shown.get("TimeoutStopUSec")).map_or(STOP_LIMIT, |span| span + STOP_EXTRA);
                steps.push(steps::stop(manager, scope, unit, bound));
            }
            if file.enabled {
                steps.push(steps::enable(manager, scope, unit, false));
            }
        }
    }
    steps.extend(firewall::close(&made));
    for file in [&place.timer, &place.service].into_iter().filter(|file| file.text.is_some()) {
        steps.push(steps::remove_file(&file.path, manager.as_ref()));
    }
    if let Some(manager) = &manager {
        steps.push(steps::reload(manager, scope, None));
        steps.push(steps::forget(manager, scope, &service));
    }
    if entry.exists() {
        steps.extend(autostart::removal_step(&entry)?);
    }
    for folder in made.all("Folder").map(PathBuf::from).filter(|it| it.is_absolute() && it.is_dir()) {
        steps.push(steps::unmake_folder(&folder));
    }
    let mut notes = Vec::new();
    // Nothing after this can be taken back.
    let kept = kept(&made, name, scope, purge);
    if purge {
        steps.extend(kept.iter().map(|path| steps::purge(path)));
        if let Some(account) = made.one("Account").filter(|it| account::is_made_for(it, name)) {
            steps.push(steps::unmake_account(account));
        }
    } else {
        let there: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
        if !there.is_empty() {
            notes.push(format!("kept: {}; `--purge` removes them", there.join(", ")));
        }
        if let Some(account) = made.one("Account").filter(|it| crate::accounts::resolve(it, None).is_ok()) {
            notes.push(format!("kept: the account {account}, which they belong to"));
        }
    }
    let drop_ins = place.shown.get("DropInPaths");
    if !drop_ins.is_empty() {
        notes.push(format!("drop-ins are somebody's own and stay: {drop_ins}"));
    }
    Ok(Plan::new(steps, notes).hindered(obstacle))
}

/// What an earlier removal left. Needs no service manager: what is left may be from one that is gone too.
fn plan_purge(name: &str, scope: Scope) -> Result<Plan, RegisterError> {
    let steps = leavings(name, scope);
    let base = match scope {
        Scope::System => PathBuf::from("/var/lib"),
        Scope::User => state_of_user(name),
    };
    // A private folder is seen by root alone, so that nobody else learns whether there is anything.
    let obstacle = hindrance(scope, &base, &format!("removing what {name} left"));
    if steps.is_empty() && obstacle.is_none() {
        return Err(RegisterError::Missing { name: name.to_owned() });
    }
    let notes = vec![format!("{name} is not installed; this removes what an earlier one left")];
    Ok(Plan::new(steps, notes).hindered(obstacle))
}

/// The steps that remove what guards of this name keep, by the places that registering gives to every guard.
fn leavings(name: &str, scope: Scope) -> Vec<Box<dyn Step>> {
    // What is no name could lead anywhere.
    if Name::new(name).is_err() {
        return Vec::new();
    }
    let places = match scope {
        Scope::System => ["/var/lib", "/var/log", "/var/lib/private", "/var/log/private"]
            .map(|base| Path::new(base).join("tutela").join(name))
            .to_vec(),
        // Root's are those of the computer's guards, which may be installed.
        Scope::User if account::is_root() => Vec::new(),
        Scope::User => vec![state_of_user(name)],
    };
    let there = places.iter().filter(|place| std::fs::symlink_metadata(place).is_ok());
    let mut steps: Vec<Box<dyn Step>> = there.map(|path| steps::purge(path)).collect();
    let account = account::own_name(name);
    if scope == Scope::System && account::is_made_for(&account, name) {
        steps.push(steps::unmake_account(&account));
    }
    steps
}

/// Where a guard of this user keeps its state, and its logs in it.
fn state_of_user(name: &str) -> PathBuf {
    crate::paths::Paths::discover(|key| std::env::var_os(key)).state_dir(name)
}

/// Folders that registering had made, or had systemd make, with where systemd puts those of dynamic users. Folders of
/// the operator's own are not among them: what is in `writable_paths` is data.
fn kept(made: &Made, name: &str, scope: Scope, purge: bool) -> Vec<PathBuf> {
    let mut out = Vec::new();
    if scope == Scope::User {
        // Logs are in the folder of state.
        let folders = made.all("State").map(PathBuf::from);
        out.extend(
            folders.filter(|it| it.is_absolute() && it.ends_with(Path::new("tutela").join(name)) && it.exists()),
        );
        return out;
    }
    for (key, base) in [("State", "/var/lib"), ("Logs", "/var/log")] {
        for folder in made.all(key).map(PathBuf::from) {
            // A mark that somebody changed must not lead us anywhere else.
            let Ok(below) = folder.strip_prefix(base).map(Path::to_path_buf) else { continue };
            if below != Path::new("tutela").join(name) {
                continue;
            }
            let private = Path::new(base).join("private").join(&below);
            for path in [folder, private] {
                // Those in a private folder are seen by root alone; for a purge they are looked at then.
                if std::fs::symlink_metadata(&path).is_ok() || purge && !super::account::is_root() {
                    out.push(path);
                }
            }
        }
    }
    out
}

/// `1min 30s`, `20s`, `500ms`; `None`: not a bound, or nothing that can be read.
fn span_of(text: &str) -> Option<Duration> {
    let mut whole = Duration::ZERO;
    for word in text.split_ascii_whitespace() {
        let digits = word.find(|it: char| !it.is_ascii_digit()).unwrap_or(word.len());
        let (number, unit) = word.split_at(digits);
        let number: u64 = number.parse().ok()?;
        whole += match unit {
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "min" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            "d" => Duration::from_secs(number * 86_400),
            _ => return None,
        };
    }
    (!whole.is_zero()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_writes_them() {
        assert_eq!(span_of("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(span_of("20s 500ms"), Some(Duration::from_millis(20_500)));
        assert_eq!(span_of("infinity"), None);
        assert_eq!(span_of(""), None);
    }

    #[test]
    fn a_mark_that_somebody_changed_leads_to_no_other_folder() {
        let mut made = Made::default();
        for folder in
            ["/", "/etc", "/var/lib", "/var/lib/tutela", "/var/lib/tutela/..", "/var/lib/tutela/a/b", "/var/lib/other"]
        {
            made.add("State", folder);
        }
        assert_eq!(kept(&made, "shop", Scope::System, true), Vec::<PathBuf>::new());
        assert_eq!(kept(&made, "shop", Scope::User, true), Vec::<PathBuf>::new());
    }
}
