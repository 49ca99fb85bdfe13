//! launchd, spoken to through `launchctl`, with the words that it has had since 10.11.
//!
//! Compiled, never run: no machine of the project has macOS. `bootout` is not over when it answers, so what waits for it
//! asks `print` until the job is gone.

use crate::registration::launchd::{label, mark, plist, told};
use crate::registration::{
    Account, Definition, Ended, Kind, Outlook, Plan, RegisterError, Registered, RegisteredState, Scope, Start, Step,
    Undo,
};
use crate::{Error, Unsupported};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a job may take to be gone after `bootout`, besides the time that it has to end.
const GONE_LIMIT: Duration = Duration::from_secs(120);

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest property list that is read.
const PLIST_BYTES_MAX: u64 = 1 << 20;

struct Act {
    says: String,
    shows: Option<String>,
    does: Box<dyn Fn() -> Result<Option<Undo>, Error>>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl Step for Act {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        (self.does)()
    }

    fn text(&self) -> Option<String> {
        self.shows.clone()
    }
}

fn act(says: String, does: impl Fn() -> Result<Option<Undo>, Error> + 'static) -> Box<dyn Step> {
    Box::new(Act { says, shows: None, does: Box::new(does) })
}

pub(crate) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    let (scope, name) = (definition.scope, definition.name.as_str());
    check_account(definition)?;
    let scope_of_job = if definition.kind == Kind::Login { Scope::User } else { scope };
    let path = file(name, scope_of_job);
    let before = read(&path)?;
    let text = plist(definition).map_err(RegisterError::Refused)?;
    let mut notes = told(definition);
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let owner = match &definition.account {
        Account::Named { name, .. } if scope == Scope::System => Some(name.clone()),
        _ => None,
    };
    for folder in [&definition.folders.state, &definition.folders.logs].into_iter().flatten().filter(|it| !it.exists())
    {
        steps.push(make_folder(folder, owner.as_deref()));
    }
    if before.as_deref() != Some(text.as_str()) {
        if before.as_deref().and_then(mark) == Some(true) {
            notes.push(format!("{} was changed by somebody, and is written anew", path.display()));
        }
        if before.is_some() && is_loaded(name, scope_of_job) {
            steps.push(bootout(name, scope_of_job));
        }
        steps.push(write(&path, &text));
    }
    if before.as_deref() != Some(text.as_str()) || !is_loaded(name, scope_of_job) {
        steps.push(bootstrap(name, scope_of_job, definition.start != Start::Disabled));
    }
    Ok(Plan::new(steps, notes).hindered(obstacle(scope_of_job, &format!("registering {name} with launchd"))))
}

pub(crate) fn plan_removal(name: &str, scope: Scope, purge: bool) -> Result<Plan, RegisterError> {
    let path = file(name, scope);
    let missing = || RegisterError::Missing { name: name.to_owned() };
    let _ours = read(&path)?.ok_or_else(missing)?;
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if is_loaded(name, scope) {
        steps.push(bootout(name, scope));
    }
    steps.push(remove(&path));
    let mut notes = Vec::new();
    let kept: Vec<PathBuf> = match scope {
        Scope::System => vec![Path::new("/var/lib/tutela").join(name), Path::new("/var/log/tutela").join(name)],
        Scope::User => Vec::new(),
    };
    let kept: Vec<PathBuf> = kept.into_iter().filter(|path| path.exists()).collect();
    if purge {
        steps.extend(kept.into_iter().map(|path| purged(&path)));
    } else if !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
        notes.push(format!("kept: {}; `--purge` removes them", kept.join(", ")));
    }
    Ok(Plan::new(steps, notes).hindered(obstacle(scope, &format!("removing {name} from launchd"))))
}

pub(crate) fn start(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    known(name, scope)?;
    if !is_loaded(name, scope) {
        let path = file(name, scope).display().to_string();
        launchctl(&["bootstrap", &domain(scope), &path])?;
    }
    launchctl(&["kickstart", &target(name, scope)])?;
    let until = Instant::now() + bound;
    loop {
        let found = query(name, scope)?;
        match found {
            Some(Registered { state: RegisteredState::Running, .. }) => return Ok(()),
            _ if Instant::now() >= until => {
                let seen =
                    format!("{:?}; `launchctl print {}` says more", found.map(|it| it.state), target(name, scope));
                return Err(RegisterError::Late { name: name.to_owned(), wanted: "running", bound, seen });
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

pub(crate) fn stop(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    known(name, scope)?;
    if !is_loaded(name, scope) {
        return Ok(());
    }
    // A job that is kept alive stays down only when it is not loaded.
    launchctl(&["bootout", &target(name, scope)])
        .or_else(|error| if is_loaded(name, scope) { Err(error) } else { Ok(()) })?;
    let until = Instant::now() + bound;
    while is_loaded(name, scope) {
        if Instant::now() >= until {
            let seen = format!("it is still loaded; `launchctl print {}` says more", target(name, scope));
            return Err(RegisterError::Late { name: name.to_owned(), wanted: "stopped", bound, seen });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

pub(crate) fn end_left() -> Result<Vec<Ended>, RegisterError> {
    let why = "launchd ends programs together with their guard";
    Err(Error::from(Unsupported::new("programs that outlive their guard", why)).into())
}

pub(crate) fn outlook(_: &str, _: Scope) -> Result<Outlook, RegisterError> {
    let why = "launchd ends programs together with their guard";
    Err(Error::from(Unsupported::new("programs that outlive their guard", why)).into())
}

pub(crate) fn query(name: &str, scope: Scope) -> Result<Option<Registered>, RegisterError> {
    let path = file(name, scope);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Error::io(format!("read {}", path.display()), error))?,
    };
    let printed = output(&["print", &target(name, scope)]).ok();
    let value = |key: &str| {
        let lines = printed.as_deref().unwrap_or_default().lines();
        lines.map(str::trim).find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).map(str::to_owned)
    };
    let pid = value("pid").and_then(|pid| pid.parse().ok());
    let state = match (value("state").as_deref(), pid) {
        (Some("running"), _) | (_, Some(_)) => RegisteredState::Running,
        (Some("spawn scheduled"), _) => RegisteredState::Starting,
        _ => RegisteredState::Stopped,
    };
    Ok(Some(Registered {
        name: name.to_owned(),
        ours: mark(&text).is_some(),
        state,
        pid,
        start: if text.contains("<key>RunAtLoad</key>\n  <true/>") { Start::Auto } else { Start::Manual },
        command: value("program").unwrap_or_default(),
        account: value("username").unwrap_or_else(|| "root".into()),
        place: path.display().to_string(),
        exit_code: value("last exit code").and_then(|code| code.parse().ok()),
    }))
}

pub(crate) fn list(scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    let folder = folder(scope);
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Error::io(format!("list {}", folder.display()), error))?,
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = file.strip_prefix("tutela.").and_then(|rest| rest.strip_suffix(".plist"));
        if let Some(found) = name.map(|name| query(name, scope)).transpose()?.flatten().filter(|it| it.ours) {
            all.push(found);
        }
    }
    Ok(all)
}

fn check_account(definition: &Definition) -> Result<(), RegisterError> {
    let refuse = |account: &str, why: &str| Err(RegisterError::Account { account: account.into(), why: why.into() });
    match &definition.account {
        Account::System => Ok(()),
        Account::Own if definition.scope == Scope::User || definition.kind == Kind::Login => Ok(()),
        Account::Own => refuse(
            "of its own",
            "is not to be had: macOS makes none for a job; write [install.macos] with account = \"NAME\" or \"system\"",
        ),
        Account::Named { password: Some(_), name, .. } => refuse(name, "needs no password here; leave it out"),
        Account::Named { create: true, name, .. } => {
            refuse(name, "is not made by us on macOS; make it with sysadminctl, and leave `new:` out")
        }
        Account::Named { name, .. } => match crate::accounts::resolve(name, None) {
            // Where accounts cannot be asked, launchd says what it knows.
            Ok(_) | Err(Error::Unsupported(_)) => Ok(()),
            Err(_) => refuse(name, "is not known on this computer; make it, or name another"),
        },
        Account::LocalService | Account::NetworkService => refuse("of Windows", "is not one of macOS"),
        Account::Managed(name) => refuse(name, "is one of Windows; name one of this computer"),
    }
}

fn obstacle(scope: Scope, what: &str) -> Option<RegisterError> {
    (scope == Scope::System && !rustix::process::geteuid().is_root()).then(|| RegisterError::NotAllowed {
        what: what.to_owned(),
        needs: "the rights of root: run it again with sudo, or with --user for your own account alone".into(),
    })
}

fn known(name: &str, scope: Scope) -> Result<(), RegisterError> {
    read(&file(name, scope))?.map(drop).ok_or_else(|| RegisterError::Missing { name: name.to_owned() })
}

fn folder(scope: Scope) -> PathBuf {
    match scope {
        Scope::System => PathBuf::from("/Library/LaunchDaemons"),
        Scope::User => {
            let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
            home.join("Library/LaunchAgents")
        }
    }
}

fn file(name: &str, scope: Scope) -> PathBuf {
    folder(scope).join(format!("{}.plist", label(name)))
}

fn domain(scope: Scope) -> String {
    match scope {
        Scope::System => "system".into(),
        Scope::User => format!("gui/{}", rustix::process::geteuid().as_raw()),
    }
}

fn target(name: &str, scope: Scope) -> String {
    format!("{}/{}", domain(scope), label(name))
}

/// A property list of ours.
///
/// # Errors
/// It is somebody else's.
fn read(path: &Path) -> Result<Option<String>, RegisterError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = crate::files::read_bounded(path, PLIST_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if mark(&text).is_none() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Err(RegisterError::Foreign { name, place: path.display().to_string() });
    }
    Ok(Some(text))
}

fn output(words: &[&str]) -> Result<String, Error> {
    let what = || format!("run `launchctl {}`", words.join(" "));
    let output = Command::new("/bin/launchctl").args(words).output().map_err(|error| Error::io(what(), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::io(what(), io::Error::other(format!("it ended with {}: {said}", output.status))))
}

fn launchctl(words: &[&str]) -> Result<(), Error> {
    output(words).map(drop)
}

fn is_loaded(name: &str, scope: Scope) -> bool {
    output(&["print", &target(name, scope)]).is_ok()
}

fn bootstrap(name: &str, scope: Scope, enabled: bool) -> Box<dyn Step> {
    let (path, domain, target) = (file(name, scope).display().to_string(), domain(scope), target(name, scope));
    let word = if enabled { "enable" } else { "disable" };
    let says = if enabled {
        format!("run `launchctl enable {target}` and `launchctl bootstrap {domain} {path}`")
    } else {
        format!("run `launchctl disable {target}`")
    };
    act(says, move || {
        launchctl(&[word, &target])?;
        if !enabled {
            return Ok(None);
        }
        launchctl(&["bootstrap", &domain, &path])?;
        let target = target.clone();
        Ok(Some(Box::new(move || launchctl(&["bootout", &target]))))
    })
}

fn bootout(name: &str, scope: Scope) -> Box<dyn Step> {
    let (owned, path) = (name.to_owned(), file(name, scope).display().to_string());
    act(format!("run `launchctl bootout {}` and wait until it has ended", target(name, scope)), move || {
        // It answers with an error while it is still at it.
        drop(launchctl(&["bootout", &target(&owned, scope)]));
        let until = Instant::now() + GONE_LIMIT;
        while is_loaded(&owned, scope) {
            if Instant::now() >= until {
                return Err(Error::Refused(format!("{owned} has not ended within {GONE_LIMIT:?}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let path = path.clone();
        Ok(Some(Box::new(move || launchctl(&["bootstrap", &domain(scope), &path]))))
    })
}

/// What launchd takes: a file that only its owner can change.
fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        crate::files::make_public_dir(folder)?;
    }
    crate::files::replace(path, bytes)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
        .map_err(|error| Error::io(format!("make {} readable", path.display()), error))
}

fn write(path: &Path, text: &str) -> Box<dyn Step> {
    let (owned, bytes) = (path.to_path_buf(), text.to_owned());
    let does = move || {
        let before = std::fs::read(&owned).ok();
        place(&owned, bytes.as_bytes())?;
        let path = owned.clone();
        let back: Undo = Box::new(move || match before {
            Some(bytes) => place(&path, &bytes),
            None => std::fs::remove_file(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error)),
        });
        Ok(Some(back))
    };
    Box::new(Act { says: format!("write {}", path.display()), shows: Some(text.to_owned()), does: Box::new(does) })
}

fn remove(path: &Path) -> Box<dyn Step> {
    let path = path.to_path_buf();
    act(format!("remove {}", path.display()), move || {
        let failed = |error| Error::io(format!("remove {}", path.display()), error);
        let bytes = std::fs::read(&path).map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        let path = path.clone();
        Ok(Some(Box::new(move || place(&path, &bytes))))
    })
}

fn purged(path: &Path) -> Box<dyn Step> {
    let path = path.to_path_buf();
    act(format!("remove {} with everything in it", path.display()), move || {
        std::fs::remove_dir_all(&path)
            .map(|()| None)
            .map_err(|error| Error::io(format!("remove {}", path.display()), error))
    })
}

fn make_folder(path: &Path, owner: Option<&str>) -> Box<dyn Step> {
    let (path, owner) = (path.to_path_buf(), owner.map(str::to_owned));
    act(format!("make the folder {}", path.display()), move || {
        crate::files::make_private_dir(&path)?;
        if let Some(owner) = &owner {
            let status = Command::new("/usr/sbin/chown").arg(owner).arg(&path).status();
            if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                return Err(Error::Refused(format!("{} could not be given to {owner}: {status:?}", path.display())));
            }
        }
        let path = path.clone();
        Ok(Some(Box::new(move || {
            std::fs::remove_dir(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))
        })))
    })
}
