//! NSSM: its services are keys of the registry, `…\Services\NAME` with `Parameters`, `AppExit` and `AppEvents` below.
//!
//! What NSSM does where a value is missing is written out where Tutela does something else: it restarts for ever, it
//! asks each way of stopping for 1.5 s, it throttles from 2 s to 256 s, and it never rotates.

use super::draft::{Hook, Service, Step, Way, hide_secrets, tell_secrets};
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
    restart(work, &mut it, source, exits, &parameters);
    stop(work, &mut it, &parameters);
    logs(work, &mut it, &parameters);
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

/// What happens after an end.
fn restart(work: &mut Work<'_>, it: &mut Service, source: &Source, exits: Option<&Key>, numbers: &Numbers) {
    let report = &mut work.report;
    let mut default = None;
    let mut ends = Vec::new();
    let mut restarts = false;
    let mut told = Vec::new();
    for value in exits.into_iter().flat_map(|key| &key.values) {
        let action = value.data.text().unwrap_or_default().to_ascii_lowercase();
        let shown = format!("AppExit\\{}", if value.name.is_empty() { "(default)" } else { &value.name });
        let entry = report.entry(&source.shown, value.line, &it.name, &shown, &action);
        match (value.name.as_str(), value.name.parse::<i64>()) {
            ("" | "Default", _) => default = Some(action.clone()),
            (_, Ok(_)) if action == "restart" => restarts = true,
            (_, Ok(code)) => ends.push(code),
            _ => {}
        }
        told.push((entry, action));
    }
    let default = default.unwrap_or_else(|| {
        report.note(format!("{}: NSSM restarts a program after every end where AppExit is missing", it.name));
        "restart".to_owned()
    });
    let (when, codes) = match (default.as_str(), ends.is_empty()) {
        ("restart", true) => ("always", None),
        ("restart", false) => ("on-failure", Some(ends)),
        (_, _) if restarts => ("on-failure", None),
        (_, _) => ("never", None),
    };
    it.restart.when = Some(when);
    it.restart.success_codes = codes;
    for (entry, action) in told {
        let to = if it.restart.success_codes.is_some() { "restart.success_codes" } else { "restart.when" };
        match action.as_str() {
            "restart" if default == "restart" => report.kept(&entry, "restart.when"),
            "restart" => report.changed(
                &entry,
                "restart.when",
                "every code but 0 restarts it: codes that do are not listed one by one",
            ),
            "exit" => report.kept(&entry, to),
            "ignore" => report.changed(
                &entry,
                to,
                "the service shows that its program has ended, where NSSM showed it as running",
            ),
            "suicide" => {
                report.changed(&entry, to, "the guard goes on without the program, where nssm.exe ended itself")
            }
            _ => report.lost(&entry, "it is none of Restart, Ignore, Exit and Suicide"),
        }
    }
    let throttle = numbers.get("AppThrottle");
    let delay = numbers.get("AppRestartDelay").unwrap_or(0);
    if let Some(entry) = numbers.entry("AppRestartDelay") {
        match delay {
            1000.. => report.kept(entry, "restart.delay"),
            _ => report.changed(entry, "restart.delay", "the first wait is at least a second"),
        }
    }
    if when == "never" {
        if let Some(entry) = numbers.entry("AppThrottle") {
            report.lost(entry, "it is never restarted");
        }
        return;
    }
    it.restart.delay = Some(Duration::from_millis(delay.max(1000)));
    it.restart.max_delay = Some(THROTTLE_MAX.max(Duration::from_millis(delay)));
    it.restart.reset_after = Some(Duration::from_millis(throttle.unwrap_or(THROTTLE).max(1)));
    it.restart.burst = Some(0);
    report.note("NSSM never gives up: burst = 0; a burst with a cool-down would tell of crash loops and wait longer");
    if let Some(entry) = numbers.entry("AppThrottle") {
        let how = "a run this long clears the wait; shorter ones wait from the first delay on, doubling up to 256 s as in NSSM";
        report.changed(entry, "restart.reset_after", how);
    }
}

/// The ways of stopping. 1, 2, 4 and 8 in `AppStopMethodSkip` leave out Ctrl-C, windows, threads and the end by force.
fn stop(work: &mut Work<'_>, it: &mut Service, numbers: &Numbers) {
    let report = &mut work.report;
    let skip = numbers.get("AppStopMethodSkip").unwrap_or(0);
    let wait = |name: &str| Duration::from_millis(numbers.get(name).unwrap_or(STOP_WAIT));
    if skip & 1 == 0 {
        it.ladder.push(Step { way: Way::CtrlC, wait: Some(wait("AppStopMethodConsole")) });
    }
    if skip & 2 == 0 {
        it.ladder.push(Step { way: Way::CloseWindow, wait: Some(wait("AppStopMethodWindow")) });
    }
    it.ladder.push(Step { way: Way::Kill, wait: None });
    if let Some(entry) = numbers.entry("AppStopMethodSkip") {
        match skip & 8 {
            0 => report.kept(entry, "stop.ladder"),
            _ => {
                report.changed(entry, "stop.ladder", "the last step always ends the whole tree: nothing is left behind")
            }
        }
    }
    for (name, bit) in [("AppStopMethodConsole", 1), ("AppStopMethodWindow", 2)] {
        match numbers.entry(name) {
            Some(entry) if skip & bit == 0 => report.kept(entry, "stop.ladder"),
            Some(entry) => report.changed(entry, "stop.ladder", "this way is left out by AppStopMethodSkip"),
            None => {}
        }
    }
    if let Some(entry) = numbers.entry("AppStopMethodThreads") {
        report.lost(entry, "no message is posted to threads; the end of the tree comes after the windows");
    }
    if let Some(entry) = numbers.entry("AppKillProcessTree") {
        match numbers.get("AppKillProcessTree") {
            Some(0) => report.changed(entry, "stop.ladder", "the last step always ends the whole tree"),
            _ => report.kept(entry, "stop.ladder"),
        }
    }
    let priority = numbers.get("AppPriority").zip(numbers.entry("AppPriority"));
    if let Some((class, entry)) = priority {
        let (word, how) = match class {
            0x20 => (Some("normal"), None),
            0x40 => (Some("idle"), None),
            0x4000 => (Some("low"), None),
            0x8000 => (Some("high"), None),
            0x80 => (Some("high"), Some("high is one class lower here: above normal")),
            0x100 => (Some("high"), Some("no program of a guard has real-time priority")),
            _ => (None, None),
        };
        match (word, how) {
            (Some(_), None) => report.kept(entry, "limits.priority"),
            (Some(_), Some(how)) => report.changed(entry, "limits.priority", how),
            (None, _) => report.lost(entry, "it is no class of priority"),
        }
        it.limits.priority = word;
    }
    if let Some(entry) = numbers.entry("AppNoConsole") {
        match numbers.get("AppNoConsole") {
            Some(0) => report.changed(entry, "", "the console of the program is hidden"),
            _ => report.changed(entry, "", "a program has a console of its own, hidden, so that Ctrl-C reaches it"),
        }
    }
}

/// Rotation and what NSSM writes into log files.
fn logs(work: &mut Work<'_>, it: &mut Service, numbers: &Numbers) {
    let report = &mut work.report;
    let rotates = numbers.get("AppRotateFiles").is_some_and(|on| on != 0);
    let written = it.logs.dir.is_some();
    if !written {
        report.note(format!("{}: NSSM dropped its output; it is kept in the guard's folder of logs", it.name));
    }
    let high = numbers.get("AppRotateBytesHigh").unwrap_or(0);
    let bytes = numbers.get("AppRotateBytes").unwrap_or(0).saturating_add(high << 32);
    if rotates {
        if bytes > 0 {
            it.logs.rotate_size = Some(bytes.clamp(4096, 1 << 60));
        } else if numbers.entry("AppRotateSeconds").is_some() {
            it.logs.rotate_size = Some(0);
        }
        it.logs.rotate_every = numbers.get("AppRotateSeconds").filter(|it| *it > 0).map(Duration::from_secs);
    } else if written {
        report
            .note("NSSM does not rotate here; Tutela rotates at 50 MiB and keeps 10 files unless logs says otherwise");
    }
    for (name, to) in [
        ("AppRotateFiles", "logs"),
        ("AppRotateBytes", "logs.rotate_size"),
        ("AppRotateBytesHigh", "logs.rotate_size"),
        ("AppRotateSeconds", "logs.rotate_every"),
    ] {
        match numbers.entry(name) {
            None => {}
            Some(entry) if !rotates && name == "AppRotateFiles" => {
                report.changed(entry, "logs", "files are rotated at 50 MiB; write rotate_size = \"0\" for never");
            }
            Some(entry) if !rotates => report.lost(entry, "AppRotateFiles is off, so NSSM did not read it either"),
            Some(entry) if name == "AppRotateBytes" && (1..4096).contains(&bytes) => {
                report.changed(entry, to, "files are rotated from 4096 bytes on");
            }
            Some(entry) if name == "AppRotateSeconds" && it.logs.rotate_every.is_none() => report.kept(entry, "logs"),
            Some(entry) => report.kept(entry, to),
        }
    }
    if rotates {
        report.note("NSSM keeps rotated files for ever; Tutela keeps 10: write keep = N under logs for more");
    }
    if let Some(entry) = numbers.entry("AppRotateOnline") {
        report.changed(entry, "logs", "files are rotated while the program runs, always");
    }
    if let Some(entry) = numbers.entry("AppRotateDelay") {
        report.lost(entry, "the guard writes the files itself and need not wait for their rotation");
    }
    match numbers.entry("AppTimestampLog") {
        Some(entry) if written => {
            it.logs.timestamps = numbers.get("AppTimestampLog").map(|on| on != 0);
            report.kept(entry, "logs.timestamps");
        }
        Some(entry) => report.changed(entry, "logs", "lines have timestamps by default"),
        None => {}
    }
    if let Some(entry) = numbers.entry("AppRedirectHook") {
        report.lost(entry, "the output of hooks goes into the guard's events");
    }
    for stream in ["AppStdin", "AppStdout", "AppStderr"] {
        for what in ["ShareMode", "CreationDisposition", "FlagsAndAttributes", "CopyAndTruncate"] {
            let name = format!("{stream}{what}");
            if let Some(entry) = numbers.entry(&name) {
                report.lost(entry, "the guard opens log files by itself, appends, and renames them to rotate");
            }
        }
    }
}
