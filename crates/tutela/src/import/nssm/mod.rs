//! NSSM: its services are keys of the registry, `…\Services\NAME` with `Parameters`, `AppExit` and `AppEvents` below.
//!
//! What NSSM does where a value is missing is written out where Tutela does something else: it restarts for ever, it
//! asks each way of stopping for 1.5 s, it throttles from 2 s to 256 s, and it never rotates.

mod policy;

use super::draft::{Hook, Service, hide_secrets, tell_secrets};
use super::needs::Otherwise;
use super::reg::{self, Data, Key};
use super::report::{Entry, Report};
use super::shell;
use super::source::{ImportError, Source};
use super::text::Text;
use super::{Work, winsw::variables};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long NSSM waits for each way of stopping.
const STOP_WAIT: u64 = 1500;

/// A run shorter than this is throttled by NSSM.
const THROTTLE: u64 = 1500;

/// The longest wait between two starts that NSSM's throttle comes to.
const THROTTLE_MAX: Duration = Duration::from_secs(256);

/// Reads every service of the export that NSSM runs.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let keys = reg::parse(text, &source.shown)?;
    let mut services: Vec<(String, BTreeMap<String, &Key>)> = Vec::new();
    for key in &keys {
        // A leading minus removes a key: there is nothing to import.
        let Some((name, below)) = service_path(&key.path) else { continue };
        let known = services.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let at = known.unwrap_or_else(|| {
            services.push((name.to_owned(), BTreeMap::new()));
            services.len() - 1
        });
        services[at].1.insert(below.to_ascii_lowercase(), key);
    }
    for (name, keys) in services {
        let application =
            keys.get("parameters").and_then(|key| key.values.iter().find(|it| is(&it.name, "Application")));
        match application.and_then(|value| value.data.text()) {
            Some(application) if !application.trim().is_empty() => one(work, source, &name, &keys, application),
            _ => work.report.note(format!("{name} in {} is no service of NSSM and was passed over", source.shown)),
        }
    }
    Ok(())
}

fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

/// The name of the service and what is below it: `HKEY_LOCAL_MACHINE\SYSTEM\…\Services\NAME\Parameters`.
fn service_path(path: &str) -> Option<(&str, &str)> {
    let lower = path.to_ascii_lowercase();
    let at = lower.find("\\services\\")? + "\\services\\".len();
    let rest = path.get(at..).filter(|rest| !rest.is_empty() && !path.starts_with('-'))?;
    Some(rest.split_once('\\').unwrap_or((rest, "")))
}

/// Numbers that are read together.
#[derive(Default)]
struct Numbers(BTreeMap<String, (u64, Entry)>);

impl Numbers {
    fn get(&self, name: &str) -> Option<u64> {
        self.0.get(&name.to_ascii_lowercase()).map(|(number, _)| *number)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.get(&name.to_ascii_lowercase()).map(|(_, entry)| entry)
    }
}

fn one(work: &mut Work<'_>, source: &Source, wanted: &str, keys: &BTreeMap<String, &Key>, application: &str) {
    let name = work.draft.name(wanted, &mut work.report);
    work.needs.know(wanted, &name);
    let mut it = Service { name: name.clone(), from: format!("{} (NSSM)", source.shown), ..Service::default() };
    let mut parameters = Numbers::default();
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for key in ["appenvironment", "appenvironmentextra"] {
        let values = keys.get("parameters").into_iter().flat_map(|it| &it.values);
        for line in values.filter(|it| is(&it.name, key)).flat_map(|it| it.data.list()) {
            if let Some((name, value)) = line.split_once('=') {
                own.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let mut arguments = None;
    // `restart` reads the exit codes together.
    for (below, key) in keys.iter().filter(|(below, _)| *below != "parameters\\appexit") {
        for value in &key.values {
            let shown =
                if below.is_empty() { value.name.clone() } else { format!("{}\\{}", last(&key.path), value.name) };
            let shown = if below.starts_with("parameters\\appevents") {
                let path = &key.path[key.path.len() - (below.len() - "parameters\\".len())..];
                format!("{path}\\{}", if value.name.is_empty() { "(default)" } else { &value.name })
            } else {
                shown
            };
            let entry = work.report.entry(&source.shown, value.line, &name, &shown, &value.data.shown());
            match below.as_str() {
                "" => service_value(work, &mut it, &entry, &value.name, &value.data),
                "parameters" => {
                    if is(&value.name, "AppParameters") {
                        arguments = Some(entry);
                    } else if let Some(number) = value.data.number().filter(|_| is_number(&value.name)) {
                        parameters.0.insert(value.name.to_ascii_lowercase(), (number, entry));
                    } else {
                        parameter(work, &mut it, &entry, &value.name, &value.data, &own);
                    }
                }
                event if event.starts_with("parameters\\appevents\\") => {
                    let event = event.trim_start_matches("parameters\\appevents\\");
                    hook(work, &mut it, &entry, event, &value.name, &value.data);
                }
                _ => {}
            }
        }
    }
    command(work, &mut it, application, arguments.as_ref(), &own);
    if it.cwd.is_none()
        && let Some((folder, _)) = application.rsplit_once(['\\', '/'])
    {
        it.cwd = Some(variables(folder, &own));
        work.report
            .note("NSSM starts a program in the folder of its file where AppDirectory is missing: cwd is written out");
    }
    let exits = keys.get("parameters\\appexit").copied();
    policy::restart(work, &mut it, source, exits, &parameters);
    policy::stop(work, &mut it, &parameters);
    policy::logs(work, &mut it, &parameters);
    work.draft.services.push(it);
}

fn last(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

fn is_number(name: &str) -> bool {
    const TEXTS: [&str; 9] = [
        "Application",
        "AppDirectory",
        "AppParameters",
        "AppEnvironment",
        "AppEnvironmentExtra",
        "AppStdin",
        "AppStdout",
        "AppStderr",
        "AppAffinity",
    ];
    !TEXTS.iter().any(|text| is(text, name))
}

/// The program and its arguments.
fn command(
    work: &mut Work<'_>,
    it: &mut Service,
    application: &str,
    arguments: Option<&Entry>,
    own: &BTreeMap<String, String>,
) {
    let given = arguments.map_or("", |entry| entry.value.as_str());
    if shell::is_batch(application) {
        work.report.note(format!("{}: a batch file is run by cmd.exe, as before", it.name));
    }
    it.command.push(variables(application, own));
    it.command.extend(shell::windows(given).iter().map(|word| variables(word, own)));
    let hidden = hide_secrets(&mut it.command);
    let Some(entry) = arguments else { return };
    if hidden.is_empty() {
        work.report.kept(entry, "command");
    }
    tell_secrets(&mut work.report, entry, "command", &hidden);
}

/// A value of the service itself, which Windows reads.
fn service_value(work: &mut Work<'_>, it: &mut Service, entry: &Entry, name: &str, data: &Data) {
    let report = &mut work.report;
    let text = data.text().unwrap_or_default();
    match name.to_ascii_lowercase().as_str() {
        "displayname" => {
            if it.description.is_empty() {
                it.description = Text::literal(text).as_str().to_owned();
            }
            report.changed(entry, "description", "services of a guard have a name and a description");
        }
        "description" => {
            it.description = Text::literal(text).as_str().to_owned();
            report.kept(entry, "description");
        }
        "objectname" => account(report, it, entry, text),
        "start" => match data.number() {
            Some(2) => {
                // `DelayedAutostart` may have been read before.
                it.start = it.start.or(Some("auto"));
                report.kept(entry, "start");
            }
            Some(3) => {
                it.start = Some("manual");
                report.kept(entry, "start");
            }
            Some(4) => {
                it.start = Some("disabled");
                report.kept(entry, "start");
            }
            _ => report.lost(entry, "programs do not start as drivers do"),
        },
        "delayedautostart" => match data.number() {
            Some(0) => report.kept(entry, "start"),
            _ if matches!(it.start, Some("manual" | "disabled")) => report.lost(entry, "it does not start by itself"),
            _ => {
                it.start = Some("delayed");
                report.changed(entry, "start", "it starts once the other services of the guard have settled");
            }
        },
        "dependonservice" => {
            for need in data.list() {
                let otherwise = Otherwise::After(need.clone());
                work.needs.want(
                    entry,
                    &it.name,
                    &need,
                    Some("it waits until the other one is ready, not only started"),
                    otherwise,
                );
            }
        }
        "dependongroup" => report.lost(entry, "the guard as a whole is ordered by the OS, not its services"),
        "imagepath" => report.changed(entry, "command", "the guard takes the place of nssm.exe"),
        "type" | "errorcontrol" | "wow64" => {
            report.changed(entry, "", "the guard is registered with values of its own")
        }
        "failureactions" | "failureactionsonnoncrashfailures" => {
            report.lost(entry, "the guard restarts the program itself; the OS restarts the guard");
        }
        "requiredprivileges" | "servicesidtype" | "launchprotected" | "preshutdowntimeout" => {
            report.lost(entry, "this is of the guard's own registration, which `tutela install` writes");
        }
        _ => {}
    }
}

/// The account. Passwords are in the registry's secrets, and no export has them.
fn account(report: &mut Report, it: &mut Service, entry: &Entry, name: &str) {
    match name.to_ascii_lowercase().as_str() {
        "localsystem" | ".\\localsystem" | "nt authority\\system" => {
            report.changed(
                entry,
                "",
                "a guard runs under an account of its own by default; where the program needs the rights of the system, \
                 write account = \"system\" under [install]",
            );
        }
        _ => {
            it.user = Some(name.to_owned());
            let builtin = name.to_ascii_lowercase().starts_with("nt ");
            match builtin {
                true => report.kept(entry, "user"),
                false => report.changed(entry, "user", "its password is in no export and has to be given again"),
            }
        }
    }
}

/// A parameter of NSSM that is a text or a list.
fn parameter(
    work: &mut Work<'_>,
    it: &mut Service,
    entry: &Entry,
    name: &str,
    data: &Data,
    own: &BTreeMap<String, String>,
) {
    let text = data.text().unwrap_or_default();
    match name.to_ascii_lowercase().as_str() {
        "application" => work.report.kept(entry, "command"),
        "appdirectory" => {
            it.cwd = Some(variables(text, own));
            work.report.kept(entry, "cwd");
        }
        environment @ ("appenvironment" | "appenvironmentextra") => {
            for line in data.list() {
                match line.split_once('=') {
                    Some((name, value)) => it.set(&mut work.report, entry, name, variables(value, own)),
                    None => work.report.lost(entry, format!("{line:?} sets no variable")),
                }
            }
            if environment == "appenvironment" {
                let how = "these are set over the guard's environment, which NSSM took away; the guard's own has little in it";
                work.report.changed(entry, "env", how);
            }
        }
        stream @ ("appstdout" | "appstderr") => {
            if text.is_empty() || text.eq_ignore_ascii_case("nul") {
                return work.report.changed(entry, "logs", "output is always kept; it is rotated");
            }
            let dir = text.rsplit_once(['\\', '/']).map_or(".", |(dir, _)| dir);
            let dir = variables(dir, own);
            if stream == "appstderr" && it.logs.dir.as_ref().is_some_and(|known| *known != dir) {
                return work.report.lost(entry, "both streams go into one log, in the folder of standard output");
            }
            it.logs.dir = Some(dir);
            let how = "both streams go into one log in this folder, with the name of the stream in each line";
            work.report.changed(entry, "logs.dir", how);
        }
        "appstdin" => work.report.lost(entry, "standard input is empty; let the program read its file by itself"),
        "appaffinity" => {
            work.report.lost(entry, "programs are not tied to processors; limits.cpu limits their use of them")
        }
        _ => {}
    }
}

/// Hooks around events: `AppEvents\Start\Pre`.
fn hook(work: &mut Work<'_>, it: &mut Service, entry: &Entry, event: &str, when: &str, data: &Data) {
    let words: Vec<Text> =
        shell::windows(data.text().unwrap_or_default()).iter().map(|word| Text::literal(word)).collect();
    if words.is_empty() {
        return work.report.changed(entry, "", "it is empty");
    }
    let (list, to, how) = match (event, when.to_ascii_lowercase().as_str()) {
        ("start", "pre") => {
            (&mut it.before_start, "hooks.before_start", "any other exit code than 0 fails the start, not only 99")
        }
        ("start", "post") => (&mut it.after_ready, "hooks.after_ready", "it runs once the program is ready"),
        ("stop", "pre") => (&mut it.before_stop, "hooks.before_stop", "variables of NSSM are not set for it"),
        ("exit", "post") => (
            &mut it.after_exit,
            "hooks.after_exit",
            "the exit code is in TUTELA_EXIT_CODE, and variables of NSSM are not set for it",
        ),
        ("rotate", _) => return work.report.lost(entry, "nothing runs around the rotation of logs"),
        ("power", _) => return work.report.lost(entry, "nothing runs when the computer sleeps or wakes"),
        _ => return,
    };
    list.push(Hook::new(words));
    work.report.changed(entry, to, how);
}
