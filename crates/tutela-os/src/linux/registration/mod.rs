//! systemd, and the desktop's autostart folder.
//!
//! A plan is made from what there is: files that are as wanted are not written again, a unit that is enabled is not
//! enabled again, so that registering twice is one registration. Whose a unit is says the mark in it; one without it is
//! never touched, wherever systemd found it.

mod account;
mod autostart;
mod firewall;
mod left;
mod removal;
mod speak;
mod steps;
mod systemctl;

pub(crate) use left::end_left;
pub(crate) use removal::plan_removal;
pub(crate) use speak::{list, outlook, query, start, stop};

use crate::registration::systemd::{self, Facts, Made, Mark, VERSION_ASSUMED, mark};
use crate::registration::{Definition, Kind, Plan, RegisterError, Scope, Start, Step};
use account::Chosen;
use std::path::{Path, PathBuf};
use systemctl::{Shown, Systemctl};

/// Where units are that are not ours to write, beside the folder of ours.
const OTHER_FOLDERS: [&str; 5] = [
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

pub(crate) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    if definition.kind == Kind::Login {
        return autostart::plan(definition);
    }
    let (manager, mut obstacle) = match Systemctl::find(definition.scope) {
        Ok(manager) => (Some(manager), None),
        Err(error) => (None, Some(error)),
    };
    let folder = unit_folder(definition.scope);
    obstacle =
        hindrance(definition.scope, &folder, &format!("registering {} with systemd", definition.name)).or(obstacle);
    let place = Place::look(&folder, &definition.name, manager.as_ref())?;
    let before = place.made();
    let chosen = account::choose(definition, before.one("Account"))?;
    chosen.unreachable(definition)?;
    let version = manager.as_ref().and_then(Systemctl::version).unwrap_or(VERSION_ASSUMED);
    let facts = Facts { version, runs: chosen.runs.clone() };
    let firewall = firewall::open(definition, &before);
    let made = made(definition, &chosen, &before, &firewall);
    let text = systemd::service_with(definition, &facts, &made).map_err(RegisterError::Refused)?;
    let mut notes = systemd::differences(definition, &facts);
    notes.extend(chosen.unwritable(definition));
    notes.extend(place.notes(definition));
    notes.extend(firewall.notes);

    let missing: Vec<&PathBuf> = definition.sandbox.writable.iter().filter(|it| !it.exists()).collect();
    let owner = match &chosen.runs {
        systemd::Runs::Root => None,
        systemd::Runs::Dynamic(name) | systemd::Runs::As(name) => Some(name.clone()),
    };
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    steps.extend(chosen.make);
    steps.extend(missing.into_iter().map(|folder| steps::make_folder(folder, owner.as_deref())));
    unit_steps(&mut steps, definition, &place, &text, manager.as_ref());
    steps.extend(firewall.steps);
    Ok(Plan::new(steps, notes).hindered(obstacle))
}

/// What is remembered in the mark: what this registration made, and what the one before it did.
fn made(definition: &Definition, chosen: &Chosen, before: &Made, firewall: &firewall::Openings) -> Made {
    let mut made = Made::default();
    made.add("Version", env!("CARGO_PKG_VERSION"));
    if let Some(account) = &chosen.made {
        made.add("Account", account);
    }
    for (key, folder) in [("State", &definition.folders.state), ("Logs", &definition.folders.logs)] {
        if let Some(folder) = folder {
            made.add(key, folder.display());
        }
    }
    for folder in &definition.sandbox.writable {
        let folder = folder.display().to_string();
        if !Path::new(&folder).exists() || before.all("Folder").any(|it| it == folder) {
            made.add("Folder", folder);
        }
    }
    for opening in &firewall.kept {
        made.add("Firewall", opening);
    }
    made
}

/// Writes and enables units. Without a manager, which is an obstacle of the plan, the steps are only shown.
fn unit_steps(
    steps: &mut Vec<Box<dyn Step>>,
    definition: &Definition,
    place: &Place,
    text: &str,
    manager: Option<&Systemctl>,
) {
    let scope = definition.scope;
    let (service, timer) = (format!("{}.service", definition.name), format!("{}.timer", definition.name));
    let timer_text = (definition.kind == Kind::Task).then(|| systemd::timer(definition));
    let mut changed = false;
    for (file, wanted) in [(&place.service, Some(text)), (&place.timer, timer_text.as_deref())] {
        match wanted {
            Some(wanted) if file.text.as_deref() != Some(wanted) => {
                if file.is_edited() {
                    steps.push(steps::keep_edited(&file.path));
                }
                steps.push(steps::write(&file.path, wanted, manager));
                changed = true;
            }
            None if file.text.is_some() => {
                if let Some(manager) = manager.filter(|_| file.enabled) {
                    steps.push(steps::enable(manager, scope, &timer, false));
                }
                steps.push(steps::remove_file(&file.path, manager));
                changed = true;
            }
            Some(_) | None => {}
        }
    }
    let Some(manager) = manager else {
        steps.push(unmanaged(&Systemctl::words(scope, &["daemon-reload"])));
        if matches!(definition.start, Start::Auto | Start::Delayed) {
            let unit = if definition.kind == Kind::Task { &timer } else { &service };
            steps.push(unmanaged(&Systemctl::words(scope, &["enable", unit])));
        }
        return;
    };
    if changed {
        steps.push(steps::reload(manager, scope, Some(&service)));
    }
    let at_boot = matches!(definition.start, Start::Auto | Start::Delayed);
    for (unit, file, wanted) in [
        (&service, &place.service, at_boot && definition.kind == Kind::Service),
        (&timer, &place.timer, at_boot && definition.kind == Kind::Task),
    ] {
        let there = file.text.is_some() || wanted;
        let removed = unit == &timer && timer_text.is_none();
        if there && !removed && file.enabled != wanted {
            steps.push(steps::enable(manager, scope, unit, wanted));
        }
    }
}

/// A step for a plan that cannot be carried out.
fn unmanaged(command: &str) -> Box<dyn Step> {
    let command = command.to_owned();
    steps::Act::step(format!("run `{command}`"), move || {
        Err(crate::Error::Refused(format!("there is no systemd here for `{command}`")))
    })
}

/// The folder of our units.
fn unit_folder(scope: Scope) -> PathBuf {
    match scope {
        Scope::System => PathBuf::from("/etc/systemd/system"),
        Scope::User => config_home().join("systemd/user"),
    }
}

/// The user's folder of configuration.
fn config_home() -> PathBuf {
    let absolute = |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .unwrap_or_else(|| absolute("HOME").unwrap_or_else(|| PathBuf::from("/")).join(".config"))
}

/// What keeps this process from writing to `folder`.
fn hindrance(scope: Scope, folder: &Path, what: &str) -> Option<RegisterError> {
    if scope == Scope::System && !account::is_root() {
        return Some(RegisterError::NotAllowed {
            what: what.to_owned(),
            needs: "the rights of root: run it again with sudo, or with --user for your own account alone".into(),
        });
    }
    account::is_read_only(folder).then(|| {
        RegisterError::Failed(crate::Error::Refused(format!(
            "{} is on a file system that is read-only; mount it writable for this, or put the unit into the image that \
             it comes from: `install --print` shows it",
            folder.display()
        )))
    })
}

/// A unit file of ours, if it is there.
struct UnitFile {
    path: PathBuf,
    text: Option<String>,
    enabled: bool,
}

impl UnitFile {
    fn is_edited(&self) -> bool {
        self.text.as_deref().is_some_and(|text| matches!(mark(text), Mark::Ours { edited: true, .. }))
    }
}

/// What there is of a name.
struct Place {
    service: UnitFile,
    timer: UnitFile,
    shown: Shown,
}

impl Place {
    /// Looks at what has the name already.
    ///
    /// # Errors
    /// It is somebody else's.
    fn look(folder: &Path, name: &str, manager: Option<&Systemctl>) -> Result<Place, RegisterError> {
        let mut shown = Shown::default();
        let mut files = Vec::new();
        for suffix in ["service", "timer"] {
            let unit = format!("{name}.{suffix}");
            let path = folder.join(&unit);
            let known = manager.map(|manager| manager.show(&unit)).transpose()?.unwrap_or_default();
            let text = read(&path)?;
            let foreign = || RegisterError::Foreign { name: unit.clone(), place: path.display().to_string() };
            if text.as_deref().is_some_and(|text| mark(text) == Mark::Foreign) {
                return Err(foreign());
            }
            if text.is_none()
                && let Some(other) = elsewhere(&unit, &known)
            {
                return Err(RegisterError::Foreign { name: unit, place: other });
            }
            let enabled = text.is_some() && known.is_enabled();
            if suffix == "service" {
                shown = known;
            }
            files.push(UnitFile { path, text, enabled });
        }
        let mut files = files.into_iter();
        match (files.next(), files.next()) {
            (Some(service), Some(timer)) => Ok(Place { service, timer, shown }),
            _ => Err(RegisterError::Refused(format!("{name} has no units"))),
        }
    }

    fn made(&self) -> Made {
        match self.service.text.as_deref().map(mark) {
            Some(Mark::Ours { made, .. }) => made,
            Some(Mark::Foreign) | None => Made::default(),
        }
    }

    /// What is worth knowing about what there is.
    fn notes(&self, definition: &Definition) -> Vec<String> {
        let mut notes = Vec::new();
        for file in [&self.service, &self.timer].into_iter().filter(|file| file.is_edited()) {
            notes.push(format!(
                "{} was changed by somebody; it is kept as {} and written anew: put changes into a drop-in, with \
                 `systemctl edit {}`",
                file.path.display(),
                steps::beside(&file.path, "bak").display(),
                definition.name
            ));
        }
        let drop_ins = self.shown.get("DropInPaths");
        if !drop_ins.is_empty() {
            notes.push(format!("drop-ins change it and are left as they are: {drop_ins}"));
        }
        if self.shown.pid().is_some() {
            notes.push(format!(
                "{0} runs, and goes on as it was started; `systemctl restart {0}` makes it run as it is registered now",
                definition.name
            ));
        }
        if definition.scope == Scope::User {
            let user = crate::platform::accounts::user_name(rustix::process::geteuid().as_raw());
            if !Path::new("/var/lib/systemd/linger").join(&user).exists() {
                notes.push(format!(
                    "it starts when {user} logs in and ends when {user} has logged out everywhere; \
                     `loginctl enable-linger {user}` keeps it from the boot on"
                ));
            }
        }
        notes
    }
}

/// Where else a unit of this name is.
fn elsewhere(unit: &str, shown: &Shown) -> Option<String> {
    let fragment = shown.get("FragmentPath");
    if !fragment.is_empty() {
        return Some(fragment.to_owned());
    }
    if shown.exists() {
        return Some(format!("{} in systemd", shown.get("LoadState")));
    }
    let files = OTHER_FOLDERS.map(|folder| Path::new(folder).join(unit));
    files.into_iter().find(|path| path.exists()).map(|path| path.display().to_string())
}

/// A unit file; `None`: there is none. A link, as masking makes, is somebody's too.
fn read(path: &Path) -> Result<Option<String>, RegisterError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(crate::Error::io(format!("look at {}", path.display()), error).into()),
        Ok(it) if !it.is_file() => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(RegisterError::Foreign { name, place: path.display().to_string() });
        }
        Ok(_) => {}
    }
    /// Units have some kilobytes; what is longer is none of ours.
    const UNIT_BYTES_MAX: u64 = 1 << 20;
    let bytes = crate::files::read_bounded(path, UNIT_BYTES_MAX)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
