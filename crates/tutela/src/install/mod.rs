//! From a spec to what the OS is told: which program with which words, whose account, which folders, which rights.
//!
//! Called by `tutela install` and `export`. Everything is an argument, nothing is changed; of the computer only files
//! that the spec names are looked at. How an OS writes a registration down is `tutela_os::registration`'s business, so
//! nothing here is decided by OS but what the words of a registration mean there.

mod needs;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tutela_core::names::ServiceName;
use tutela_core::spec::{GuardSpec, InstallAccount, InstallSpec, OpenPort, ServiceSpec, StartMode};
use tutela_os::registration::{
    Account, Definition, Folders, Kind, Opening, Outlive, Password, Protocol, Readiness, Reload, Sandbox, Scope, Start,
};
use tutela_schema::spec::{Loaded, Os};

/// What a stop takes besides the ladders: logs and ledger are closed, which may take 5 s and 1 s, and a slow disk more.
const STOP_EXTRA: Duration = Duration::from_secs(15);

/// The longest name for people; longer ones were refused by the reader.
const DESCRIPTION_CHARS_MAX: usize = 1024;

/// What is to be registered, besides what the spec says.
pub struct Wanted<'a> {
    /// The spec.
    pub loaded: &'a Loaded,
    /// Its file; absolute.
    pub spec: &'a Path,
    /// The program that the OS is to run: this one; absolute.
    pub program: &'a Path,
    /// The OS that it is for.
    pub os: Os,
    /// For whom.
    pub scope: Scope,
    /// As what.
    pub kind: Kind,
    /// The account instead of the spec's.
    pub account: Option<InstallAccount>,
    /// Its password, where the OS wants one.
    pub password: Option<Password>,
    /// Whether the OS starts it by itself, instead of what the spec says.
    pub enable: Option<bool>,
    /// The folder of `TUTELA_HOME`, if everything is to be under one.
    pub home: Option<PathBuf>,
    /// The guard's folders where there is no such home: those that it will look for by itself.
    pub folders: Folders,
}

/// A definition, and what is worth knowing about it.
pub struct Defined {
    /// What the OS is told.
    pub definition: Definition,
    /// What will be different from a run in the foreground, for people.
    pub notes: Vec<String>,
    /// Programs that the guard would not find, in words. With any of them it would not start.
    pub missing: Vec<String>,
}

/// Works out what the OS is told.
pub fn define(wanted: Wanted<'_>) -> Defined {
    let spec = &wanted.loaded.spec;
    let install = &spec.install;
    let mut notes = Vec::new();
    let account = account(&wanted, &mut notes);
    let runs_as_os = account == Account::System;
    let mut sandbox = sandbox(&wanted, runs_as_os, &mut notes);
    // A user's manager has what the user's login gave it, which is not known here.
    let managed = wanted.scope == Scope::System && wanted.kind != Kind::Login;
    let looked_up = if managed { needs::look_up(wanted.loaded, wanted.os) } else { needs::Lookup::default() };
    sandbox.readable.extend(looked_up.found);
    sandbox.readable.sort();
    sandbox.readable.dedup();
    notes.extend(looked_up.others);
    let unknown: Vec<String> = wanted.loaded.variables_of_process().into_iter().collect();
    if !unknown.is_empty() && wanted.kind != Kind::Login {
        notes.push(format!(
            "the spec uses {} from the environment of this shell, which the service does not have; put it into a file \
             named by env_files, or give it a default",
            unknown.join(", ")
        ));
    }
    let name = spec.name.to_string();
    let folders = match (&wanted.home, wanted.kind) {
        (None, Kind::Service | Kind::Task) => wanted.folders.clone(),
        _ => Folders::default(),
    };
    let definition = Definition {
        display_name: install.display_name.clone().unwrap_or_else(|| name.clone()),
        description: spec.description.chars().take(DESCRIPTION_CHARS_MAX).collect(),
        scope: wanted.scope,
        kind: wanted.kind,
        program: wanted.program.to_path_buf(),
        args: words(&wanted),
        folder: wanted.loaded.folder.clone(),
        env: wanted.home.iter().map(|home| ("TUTELA_HOME".to_owned(), home.display().to_string())).collect(),
        start: start(install, wanted.enable),
        account,
        after: after(spec, wanted.os),
        readiness: if hosted(&wanted) { Readiness::Told } else { Readiness::Running },
        // The answer tells whether it worked, and what changed; a signal could not.
        reload: Reload::Command(vec!["reload".into(), name.clone().into()]),
        start_timeout: install.start_timeout,
        stop_timeout: install.stop_timeout.unwrap_or_else(|| stop_time(spec)),
        watchdog: install.watchdog.filter(|_| hosted(&wanted)),
        keeps_programs: true,
        programs_outlive: spec.survive.then(|| Outlive { end_left: end_left(&wanted) }),
        restart_delay: install.restart_delay,
        sandbox,
        folders,
        openings: install.open_ports.iter().map(opening).collect(),
        name,
    };
    Defined { definition, notes, missing: looked_up.missing }
}

/// Whether a service manager listens to it. The Task Scheduler and a desktop do not.
fn hosted(wanted: &Wanted<'_>) -> bool {
    match wanted.kind {
        Kind::Service => true,
        Kind::Task => wanted.os != Os::Windows,
        Kind::Login => wanted.os == Os::Macos,
    }
}

/// Whose folders `tutela run` is told to use, where the OS does not hand it its own.
fn folders(wanted: &Wanted<'_>) -> Option<&'static str> {
    match (wanted.os, wanted.kind, wanted.scope) {
        (Os::Windows, Kind::Task, Scope::System) => Some("computer"),
        // Whoever logs in has folders of their own.
        (Os::Windows, _, _) => Some("account"),
        _ => None,
    }
}

fn words(wanted: &Wanted<'_>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["run".into()];
    if hosted(wanted) {
        words.push("--service".into());
    } else {
        words.push("--quiet".into());
        // Not by the rights that it is started with: those of a task are LocalService's, or less than those of the
        // administrator who registers it, and its folders were made at registering.
        words.extend(folders(wanted).into_iter().flat_map(|whose| ["--folders".into(), whose.into()]));
    }
    if let Some(profile) = &wanted.loaded.profile {
        words.extend(["--profile".into(), profile.into()]);
    }
    words.push(wanted.spec.into());
    words
}

/// The words of `tutela end-left`, for a service manager that lets programs outlive their guard.
fn end_left(wanted: &Wanted<'_>) -> Vec<OsString> {
    let mut words = vec!["end-left".into()];
    if wanted.scope == Scope::User {
        words.push("--user".into());
    }
    words.push(wanted.loaded.spec.name.to_string().into());
    words
}

fn start(install: &InstallSpec, enable: Option<bool>) -> Start {
    match (install.start, enable) {
        (StartMode::Delayed, Some(true) | None) => Start::Delayed,
        (_, Some(true)) | (StartMode::Auto, None) => Start::Auto,
        (StartMode::Disabled, _) => Start::Disabled,
        (_, Some(false)) | (StartMode::Manual, None) => Start::Manual,
    }
}

fn account(wanted: &Wanted<'_>, notes: &mut Vec<String>) -> Account {
    let spec = &wanted.loaded.spec;
    let chosen = wanted.account.clone().unwrap_or_else(|| spec.install.account.clone());
    if wanted.scope == Scope::User || wanted.kind == Kind::Login && wanted.account.is_none() {
        if chosen != InstallAccount::Own {
            notes.push("it runs under your account: [install] account is for services of the computer".to_owned());
        }
        return Account::Own;
    }
    match chosen {
        InstallAccount::Own => {
            let others: Vec<&str> =
                spec.services.values().filter(|it| changes_account(it)).map(|it| it.name.as_str()).collect();
            if others.is_empty() {
                return Account::Own;
            }
            notes.push(format!(
                "the guard runs as the OS itself, because {} {} an account of {} own; nothing else can give it to them",
                others.join(", "),
                if others.len() == 1 { "has" } else { "have" },
                if others.len() == 1 { "its" } else { "their" },
            ));
            Account::System
        }
        InstallAccount::System => Account::System,
        InstallAccount::LocalService => Account::LocalService,
        InstallAccount::NetworkService => Account::NetworkService,
        InstallAccount::Managed(name) => Account::Managed(name),
        InstallAccount::Named { name, create } => Account::Named { name, password: wanted.password.clone(), create },
    }
}

fn changes_account(service: &ServiceSpec) -> bool {
    service.launch.user.is_some() || service.launch.group.is_some()
}

fn sandbox(wanted: &Wanted<'_>, runs_as_os: bool, notes: &mut Vec<String>) -> Sandbox {
    let spec = &wanted.loaded.spec;
    let install = &spec.install;
    let jit = needs::programs_with_a_jit(spec);
    if !jit.is_empty() && !install.executable_memory && install.sandbox {
        notes.push(format!("{} makes code at run time, so its memory stays executable", jit.join(", ")));
    }
    Sandbox {
        off: !install.sandbox || wanted.kind == Kind::Login,
        no_new_privileges: spec.services.values().all(|it| it.launch.security.no_new_privileges),
        capabilities: Some(needs::capabilities(spec, runs_as_os)),
        readable: needs::readable(wanted.loaded, wanted.spec),
        writable: needs::writable(spec, wanted.home.as_deref()),
        executable_memory: install.executable_memory || !jit.is_empty(),
    }
}

fn opening(port: &OpenPort) -> Opening {
    let protocol = if port.udp { Protocol::Udp } else { Protocol::Tcp };
    Opening { port: port.port, protocol, from: port.from.clone() }
}

/// What is to be started before it, in the words of the OS.
fn after(spec: &GuardSpec, os: Os) -> Vec<String> {
    let mut after = spec.install.after.clone();
    const ONLINE: &str = "network-online.target";
    if os == Os::Linux && needs::network(spec) && !after.iter().any(|it| it == ONLINE) {
        after.push(ONLINE.to_owned());
    }
    after
}

/// How long a stop takes at the most: services that need each other stop one after the other, the others at once.
fn stop_time(spec: &GuardSpec) -> Duration {
    fn chain(name: &ServiceName, spec: &GuardSpec, known: &mut BTreeMap<ServiceName, Duration>) -> Duration {
        if let Some(time) = known.get(name) {
            return *time;
        }
        let Some(service) = spec.services.get(name) else { return Duration::ZERO };
        // Their needs have no circle; this stands for one all the same.
        known.insert(name.clone(), Duration::ZERO);
        let below = service.needs.iter().map(|need| chain(need, spec, known)).max().unwrap_or_default();
        let hooks = service.hooks.before_stop.iter().chain(&service.hooks.after_exit).map(|hook| hook.timeout);
        let own: Duration = service.stop.iter().map(|step| step.wait).chain(hooks).sum();
        let time = own.saturating_add(below);
        known.insert(name.clone(), time);
        time
    }
    let mut known = BTreeMap::new();
    let longest = spec.services.keys().map(|name| chain(name, spec, &mut known)).max().unwrap_or_default();
    longest.saturating_add(STOP_EXTRA)
}
