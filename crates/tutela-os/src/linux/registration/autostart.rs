//! The folder from which a desktop session starts programs when somebody logs in. No service manager is needed for it,
//! and none knows of it.

use super::{config_home, hindrance, read, steps};
use crate::registration::desktop;
use crate::registration::systemd::{Mark, mark};
use crate::registration::{Definition, Plan, RegisterError, Scope, Step};
use std::path::{Path, PathBuf};

/// Where the entry of `name` is.
pub(super) fn entry_path(name: &str, scope: Scope) -> PathBuf {
    let folder = match scope {
        Scope::System => PathBuf::from("/etc/xdg/autostart"),
        Scope::User => config_home().join("autostart"),
    };
    folder.join(format!("tutela-{name}.desktop"))
}

pub(super) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    let path = entry_path(&definition.name, definition.scope);
    let text = desktop::entry(definition).map_err(RegisterError::Refused)?;
    let there = ours(&path)?;
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if there.as_deref() != Some(text.as_str()) {
        steps.push(steps::write(&path, &text, None));
    }
    let whom = match definition.scope {
        Scope::System => "everybody who logs in to a desktop of this computer, as themselves",
        Scope::User => "you, when you log in to a desktop",
    };
    let notes = vec![
        format!("it is started for {whom}, and by nobody again when it dies"),
        "nothing is taken from its programs, and no account is made: a desktop session can do neither".into(),
    ];
    let folder = path.parent().unwrap_or(Path::new("/"));
    let obstacle = hindrance(definition.scope, folder, &format!("starting {} at every login", definition.name));
    Ok(Plan::new(steps, notes).hindered(obstacle))
}

/// The removal of an entry, and `further` steps with it; `None`: there is none.
pub(super) fn plan_removal(
    name: &str,
    scope: Scope,
    further: impl FnOnce() -> Vec<Box<dyn Step>>,
) -> Result<Option<Plan>, RegisterError> {
    let path = entry_path(name, scope);
    if ours(&path)?.is_none() {
        return Ok(None);
    }
    let obstacle = hindrance(scope, path.parent().unwrap_or(Path::new("/")), &format!("removing {}", path.display()));
    let notes = vec!["one that runs goes on until its session ends, or somebody ends it before".to_owned()];
    let mut steps = vec![steps::remove_file(&path, None)];
    steps.extend(further());
    Ok(Some(Plan::new(steps, notes).hindered(obstacle)))
}

/// The step that removes it.
pub(super) fn removal_step(path: &Path) -> Result<Option<Box<dyn Step>>, RegisterError> {
    Ok(ours(path)?.map(|_| steps::remove_file(path, None)))
}

/// The text of the entry, if there is one.
fn ours(path: &Path) -> Result<Option<String>, RegisterError> {
    let text = read(path)?;
    if text.as_deref().is_some_and(|text| mark(text) == Mark::Foreign) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(RegisterError::Foreign { name, place: path.display().to_string() });
    }
    Ok(text)
}
