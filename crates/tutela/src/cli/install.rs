//! `tutela install` and `tutela uninstall`, and what other commands ask of the OS's service manager.

use super::words::{InstallKind, InstallWords, UninstallWords};
use super::{Code, DONE, FAILED, NOT_ALLOWED, UNKNOWN, WRONG, report};
use crate::hands::spawner::chain;
use crate::install::{Defined, Wanted, define};
use crate::preflight::Ports;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tutela_core::names::Name;
use tutela_core::spec::InstallAccount;
use tutela_os::paths::Paths;
use tutela_os::registration::{
    self, Definition, Folders, Kind, Password, Plan, RegisterError, Registered, RegisteredState, Scope, Start,
};
use tutela_schema::spec::{Loaded, Os};

/// What is added to the time that a start or a stop was given, before we stop waiting for the service manager: it ends
/// what takes too long itself, and says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a start or a stop may take by a command that knows no spec. A guard asks its service manager for more while
/// there is progress, so this bounds only our waiting.
const WAIT_LIMIT: Duration = Duration::from_secs(600);

/// The longest password that is read; Windows takes 256 characters.
const PASSWORD_BYTES_MAX: u64 = 4096;

pub fn install(words: &InstallWords, paths: &Paths) -> Code {
    let (definition, notes) = match asked(words, paths) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let plan = match registration::plan(&definition) {
        Ok(plan) => plan,
        Err(error) => return refused(&error),
    };
    let name = &definition.name;
    tell_notes(&format!("what is different from `tutela run` for {name}"), &notes, plan.notes());
    if words.print {
        return print(&plan);
    }
    if let Some(obstacle) = plan.obstacle() {
        return refused(obstacle);
    }
    let nothing = plan.is_empty();
    if let Err(error) = plan.carry_out() {
        return undone(&error);
    }
    let when = match (definition.kind, definition.start) {
        (Kind::Login, _) => "starts at the next login",
        (_, Start::Auto | Start::Delayed) => "starts with the computer",
        (_, Start::Manual) => "starts when you say so",
        (_, Start::Disabled) => "does not start, as its spec says",
    };
    let now =
        if definition.kind == Kind::Login { String::new() } else { format!(", and now with `tutela start {name}`") };
    let done = if nothing { "is installed already, as it should be" } else { "is installed" };
    if !words.start {
        report::tell(&format!("{name} {done}; it {when}{now}"));
        return DONE;
    }
    report::tell(&format!("{name} {done}; it {when}"));
    if definition.kind == Kind::Login {
        report::tell("--start: nobody but a login starts it; `tutela run` does the same now");
        return DONE;
    }
    match registration::start(name, definition.scope, definition.start_timeout.saturating_add(PATIENCE)) {
        Ok(()) => {
            report::tell(&format!("{name} runs"));
            DONE
        }
        Err(error) => refused(&error),
    }
}

pub fn uninstall(words: &UninstallWords, paths: &Paths) -> Code {
    let scope = scope(words.user);
    let name = match name_of(&words.target, scope) {
        Ok(name) => name,
        Err(code) => return code,
    };
    let plan = match registration::plan_removal(&name, scope, words.purge) {
        Ok(plan) => plan,
        // Whoever was told of --purge by the removal before this one is told of it again.
        Err(error @ RegisterError::Missing { .. }) if registration::plan_removal(&name, scope, true).is_ok() => {
            let help = format!("an earlier one left its state and logs; tutela uninstall --purge {name} removes them");
            report::error(&chain(&error), Some(&help));
            return UNKNOWN;
        }
        Err(error) => return refused(&error),
    };
    tell_notes(&format!("what is worth knowing about {name}"), &[], plan.notes());
    if words.print {
        return print(&plan);
    }
    if let Some(obstacle) = plan.obstacle() {
        return refused(obstacle);
    }
    if let Some(pid) = stranger(&name, scope, paths).filter(|_| words.purge) {
        let help = format!("stop it first: tutela stop {name} --shutdown");
        report::error(
            &format!(
                "refused: a guard {name} runs as process {pid}, and not by this registration; its state is in use"
            ),
            Some(&help),
        );
        return FAILED;
    }
    let steps: Vec<String> = plan.steps().map(|(step, _)| step).collect();
    match plan.carry_out() {
        Ok(()) => {
            report::tell(&format!("{name} is not installed any more"));
            if words.purge {
                // Nothing brings it back, so what went is told.
                tell_notes("what was done", &steps, &[]);
            }
            DONE
        }
        Err(error) => undone(&error),
    }
}

/// The process of a guard of this name that is not the registered one: somebody runs it by hand.
fn stranger(name: &str, scope: Scope, paths: &Paths) -> Option<u32> {
    let pid = crate::client::running(paths).into_iter().find(|found| found.name == name)?.pid?;
    let registered = registration::query(name, scope).ok().flatten();
    registered.is_none_or(|it| it.pid != Some(pid)).then_some(pid)
}

/// The folders of what is registered, which do not depend on the rights of whoever registers it.
fn registered(scope: Scope) -> Paths {
    match scope {
        Scope::System => Paths::of_host(|key| std::env::var_os(key)),
        Scope::User => Paths::of_account(|key| std::env::var_os(key)),
    }
}

fn scope(user: bool) -> Scope {
    if user { Scope::User } else { Scope::System }
}

/// What the words and the spec ask for, checked as far as this computer lets us.
fn asked(words: &InstallWords, paths: &Paths) -> Result<(Definition, Vec<String>), Code> {
    let scope = scope(words.user);
    let spec = spec_path(&words.target, scope);
    let (loaded, warnings) = crate::run::read_and_check(&spec, words.profile.clone(), |name| {
        // Whether its ports are free matters when it is started; a guard that runs has them.
        if words.start { Ports::expected(paths, name) } else { Ports::Ours }
    })
    .map_err(|found| {
        report::diagnostics(&found);
        WRONG
    })?;
    report::diagnostics(&warnings);
    let account = words.account.as_deref().map(account).transpose()?;
    let password = if words.password_stdin { Some(password()?) } else { None };
    let program = program()?;
    let spec = std::path::absolute(&spec).map_err(|error| {
        report::error(&format!("failed to find the folder of {}: {error}", spec.display()), None);
        FAILED
    })?;
    let wanted = wanted(&loaded, &spec, &program, words);
    let Defined { definition, notes, missing } = define(Wanted { account, password, ..wanted });
    if !missing.is_empty() {
        let help = "write the path of the program, or set env.PATH for the service";
        report::error(&format!("refused: the service would not find {}", missing.join("; ")), Some(help));
        return Err(WRONG);
    }
    Ok((definition, notes))
}

fn wanted<'a>(loaded: &'a Loaded, spec: &'a Path, program: &'a Path, words: &InstallWords) -> Wanted<'a> {
    let scope = scope(words.user);
    Wanted {
        loaded,
        spec,
        program,
        os: Os::here(),
        scope,
        kind: match words.kind {
            InstallKind::Service => Kind::Service,
            InstallKind::Task => Kind::Task,
            InstallKind::Login => Kind::Login,
        },
        account: None,
        password: None,
        enable: words.enable.then_some(true).or(words.no_enable.then_some(false)),
        home: std::env::var_os("TUTELA_HOME").filter(|home| !home.is_empty()).map(absolute),
        folders: Folders::of_guard(loaded.spec.name.as_str(), scope, &registered(scope)),
    }
}

fn absolute(path: impl Into<PathBuf>) -> PathBuf {
    let path = path.into();
    std::path::absolute(&path).unwrap_or(path)
}

fn account(words: &str) -> Result<InstallAccount, Code> {
    InstallAccount::from_words(words).ok_or_else(|| {
        report::error(
            &format!("refused: {words:?} names no account"),
            Some("write own, system, the name of an account, or new:NAME"),
        );
        WRONG
    })
}

/// The password, from standard input: an argument could be read by every account.
fn password() -> Result<Password, Code> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
    let text = text.trim_end_matches(['\r', '\n']);
    if read.is_err() || text.is_empty() {
        let help = "write it there, such as `tutela install SPEC --account NAME --password-stdin <FILE`";
        report::error("refused: there is no password on standard input", Some(help));
        return Err(WRONG);
    }
    Ok(Password(text.to_owned()))
}

/// This program, as the OS is to start it: not by a link that may lead elsewhere tomorrow.
fn program() -> Result<PathBuf, Code> {
    let found = std::env::current_exe()
        .and_then(|path| if is_of_another_computer(&path) { Ok(path) } else { path.canonicalize() });
    found.map(plain).map_err(|error| {
        report::error(&format!("failed to find out where this program is: {error}"), None);
        FAILED
    })
}

/// A path of another computer is left as it is.
fn is_of_another_computer(path: &Path) -> bool {
    path.to_string_lossy().starts_with(r"\\")
}

/// Windows makes canonical paths of a kind that the SCM and people do not expect: `\\?\C:\…`.
fn plain(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_prefix(r"\\?\")) {
        Some(plain) if plain.as_bytes().get(1) == Some(&b':') => PathBuf::from(plain),
        _ => path,
    }
}

/// The spec: a file, or a name in the folder of specs.
fn spec_path(target: &str, scope: Scope) -> PathBuf {
    if is_path(target) {
        return PathBuf::from(target);
    }
    Folders::of_specs(scope, &registered(scope)).join(format!("{target}.toml"))
}

fn is_path(target: &str) -> bool {
    target.contains(['/', '\\']) || target.ends_with(".toml") || Path::new(target).is_file()
}

/// The name that is meant: itself, or the one in a spec. A spec that cannot be read any more is still to be
/// uninstalled, so only its name is looked for.
fn name_of(target: &str, scope: Scope) -> Result<String, Code> {
    let named = if is_path(target) {
        let path = spec_path(target, scope);
        match crate::run::read_and_check(&path, None, |_| Ports::Ours) {
            Ok((loaded, _)) => loaded.spec.name.to_string(),
            Err(found) => {
                report::diagnostics(&found);
                let help = "a guard is removed by its name as well: tutela uninstall NAME";
                report::error("refused: the spec does not say which guard it is", Some(help));
                return Err(WRONG);
            }
        }
    } else {
        target.to_owned()
    };
    match Name::new(&named) {
        Ok(name) => Ok(name.to_string()),
        Err(refusal) => {
            report::error(&format!("refused: {named:?} is no guard's name: {refusal}"), None);
            Err(WRONG)
        }
    }
}

fn tell_notes(head: &str, first: &[String], second: &[String]) {
    if first.is_empty() && second.is_empty() {
        return;
    }
    report::tell(&format!("{head}:"));
    for note in first.iter().chain(second) {
        report::tell(&format!("  - {note}"));
    }
}

/// Every step, and in full what it writes: standard output has nothing else.
fn print(plan: &Plan) -> Code {
    let mut out = String::new();
    for (step, text) in plan.steps() {
        out.push_str(&format!("## {step}\n"));
        if let Some(text) = text {
            out.push_str(&text);
            if !text.ends_with('\n') {
                out.push('\n');
            }
        }
    }
    if plan.is_empty() {
        report::tell("nothing would be done: everything is as it should be");
    }
    if let Some(obstacle) = plan.obstacle() {
        report::tell(&format!("without --print this would be {obstacle}"));
    }
    if report::print(&out) { DONE } else { FAILED }
}

fn undone(error: &registration::CarryOutError) -> Code {
    report::error(&chain(error), None);
    match error.error.io_kind() {
        Some(std::io::ErrorKind::PermissionDenied) => NOT_ALLOWED,
        _ => FAILED,
    }
}

/// Tells why, and answers with the exit code.
pub fn refused(error: &RegisterError) -> Code {
    report::error(&chain(error), None);
    match error {
        RegisterError::NotAllowed { .. } => NOT_ALLOWED,
        RegisterError::Missing { .. } => UNKNOWN,
        RegisterError::Account { .. } | RegisterError::Refused(_) => WRONG,
        RegisterError::Failed(error) if error.io_kind() == Some(std::io::ErrorKind::PermissionDenied) => NOT_ALLOWED,
        RegisterError::Foreign { .. }
        | RegisterError::Leaving { .. }
        | RegisterError::NoServiceManager(_)
        | RegisterError::Late { .. }
        | RegisterError::Failed(_) => FAILED,
    }
}

/// A guard of ours that the OS knows, with whom it is for; the computer's first. A service manager that cannot be
/// asked knows none that could be told.
pub fn installed(name: &str) -> Option<(Scope, Registered)> {
    [Scope::System, Scope::User].into_iter().find_map(|scope| {
        let found = registration::query(name, scope).ok().flatten().filter(|it| it.ours)?;
        Some((scope, found))
    })
}

/// Every guard of ours that the OS knows.
pub fn all_installed() -> Vec<Registered> {
    let mut all: Vec<Registered> = [Scope::System, Scope::User]
        .into_iter()
        .flat_map(|scope| registration::list(scope).unwrap_or_default())
        .collect();
    all.sort_by(|left, right| left.name.cmp(&right.name));
    all.dedup_by(|later, former| later.name == former.name);
    all
}

/// Starts a guard through the service manager.
pub fn start(name: &str, scope: Scope) -> Code {
    told(registration::start(name, scope, WAIT_LIMIT), &format!("{name} was started by its service manager, and runs"))
}

/// Stops a guard through the service manager, which does not start it again then.
pub fn stop(name: &str, scope: Scope, registered: &Registered) -> Code {
    if registered.state == RegisteredState::Stopped {
        report::tell(&format!("{name} is stopped already"));
        return DONE;
    }
    let done = format!("{name} was stopped by its service manager, until it is started again or the computer is");
    told(registration::stop(name, scope, WAIT_LIMIT), &done)
}

fn told(done: Result<(), RegisterError>, words: &str) -> Code {
    match done {
        Ok(()) => {
            report::tell(words);
            DONE
        }
        Err(error) => refused(&error),
    }
}
