//! systemd: a service unit, with its drop-ins where they are imported after it.
//!
//! `exec` puts specifiers and variables in, `known` names what has no place here, `policy` translates restarts, stops
//! and bounds, `process` what a program gets and may do. What systemd does where a key is missing is written out where
//! Tutela does something else: it restarts nothing, and starts programs in `/`.

mod exec;
mod known;
mod policy;
mod process;

use super::Work;
use super::draft::{Hook, Service, hide_secrets, tell_secrets};
use super::needs::Otherwise;
use super::report::{Entry, Report};
use super::source::{ImportError, Source};
use super::text::Text;
use super::unit;
use exec::{Command, Scope};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads the unit.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let assignments = unit::parse(text, &source.shown)?;
    let file = source.shown.rsplit(['/', '\\']).next().unwrap_or_default();
    let (stem, kind) = match file.rsplit_once('.') {
        Some((stem, "service")) => (stem, "service"),
        Some((stem, kind @ ("socket" | "timer" | "target" | "mount" | "path" | "slice"))) => (stem, kind),
        _ => (file, "service"),
    };
    if !assignments.iter().any(|it| it.section == "Service") {
        for it in assignments {
            let entry =
                work.report.entry(&source.shown, it.line, "", &format!("[{}] {}", it.section, it.key), &it.value);
            let why = match (it.section.as_str(), kind) {
                ("Timer", _) => {
                    "nothing is started by the clock; keep the timer, and let it run `tutela start NAME/SERVICE`"
                }
                ("Socket", _) => "no socket is opened for a program: let it listen by itself",
                ("Path", _) => "paths are not watched",
                ("Mount" | "Automount" | "Swap", _) => "file systems are not mounted; keep the unit",
                (_, "target") => "a guard is what a target is: the services of its spec",
                _ => "the unit has no program",
            };
            work.report.lost(&entry, why);
        }
        return Ok(());
    }
    let (prefix, instance) = match stem.split_once('@') {
        Some((prefix, instance)) => (prefix, Some(instance)),
        None => (stem, None),
    };
    let template = instance == Some("");
    let wanted = if template { prefix } else { stem };
    let name = work.draft.name(wanted, &mut work.report);
    work.needs.know(&format!("{stem}.service"), &name);
    let mut keys = Keys::default();
    let mut scope = Scope {
        name: stem.to_owned(),
        prefix: prefix.to_owned(),
        instance: instance.filter(|it| !it.is_empty()).map(str::to_owned),
        template,
        user: None,
        own: BTreeMap::new(),
    };
    for it in assignments {
        let entry = work.report.entry(&source.shown, it.line, &name, &it.key, &it.value);
        if !matches!(it.section.as_str(), "Unit" | "Service" | "Install") {
            let why = if it.section.starts_with("X-") {
                "systemd did not read it either"
            } else {
                "this section is not known to the importer"
            };
            work.report.lost(&entry, format!("in [{}]: {why}", it.section));
            continue;
        }
        keys.add(entry, &mut work.report);
    }
    scope.user = keys.last("User").map(|entry| entry.value).filter(|user| !user.is_empty());
    for (key, base, variable) in process::FOLDERS {
        let names: Vec<String> =
            keys.all(key).iter().flat_map(|entry| entry.value.split_whitespace().map(str::to_owned)).collect();
        let path = |name: &String| format!("{base}/{}", name.split(':').next().unwrap_or_default());
        if !names.is_empty() {
            scope.own.insert(variable.to_owned(), names.iter().map(path).collect::<Vec<_>>().join(":"));
        }
    }
    for entry in keys.all("Environment") {
        for word in unit::words(&entry.value).unwrap_or_default() {
            if let Some((name, value)) = word.text.split_once('=') {
                scope.own.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let it = Service { name, from: format!("{} (systemd)", source.shown), ..Service::default() };
    let mut reading = Reading { work, it, keys, scope, source };
    reading.about();
    reading.commands()?;
    reading.restart();
    reading.stop()?;
    reading.times();
    reading.process()?;
    reading.limits();
    reading.security();
    reading.needs();
    reading.rest();
    let it = reading.it;
    work.draft.services.push(it);
    Ok(())
}

/// The keys of a unit: an empty value takes back those before it.
#[derive(Default)]
struct Keys(BTreeMap<String, Vec<Entry>>);

impl Keys {
    fn add(&mut self, entry: Entry, report: &mut Report) {
        let list = self.0.entry(entry.key.clone()).or_default();
        // The empty set of capabilities is one.
        if entry.value.is_empty() && entry.key != "CapabilityBoundingSet" {
            for before in list.drain(..) {
                report.changed(&before, "", "an empty one after it takes it back");
            }
            report.kept(&entry, "");
            return;
        }
        list.push(entry);
    }

    fn all(&self, key: &str) -> Vec<Entry> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn last(&self, key: &str) -> Option<Entry> {
        self.0.get(key).and_then(|all| all.last()).cloned()
    }
}

/// Keys of which the last one wins.
const SINGLE: [&str; 31] = [
    "Description",
    "Type",
    "User",
    "Group",
    "UMask",
    "WorkingDirectory",
    "StandardOutput",
    "StandardError",
    "Restart",
    "RestartSec",
    "RestartSteps",
    "RestartMaxDelaySec",
    "StartLimitBurst",
    "StartLimitInterval",
    "StartLimitIntervalSec",
    "KillMode",
    "KillSignal",
    "SendSIGKILL",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "WatchdogSec",
    "MemoryMax",
    "MemoryLimit",
    "TasksMax",
    "CPUQuota",
    "LimitNOFILE",
    "LimitCORE",
    "Nice",
    "NoNewPrivileges",
    "ProtectSystem",
];

struct Reading<'r, 'w> {
    work: &'r mut Work<'w>,
    it: Service,
    keys: Keys,
    scope: Scope,
    source: &'r Source,
}

/// Truth as systemd writes it.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// A span of systemd: `5`, `5s`, `1min 30s`; `Some(None)` is infinity.
fn span(text: &str) -> Option<Option<Duration>> {
    let text = text.trim();
    if text == "infinity" {
        return Some(None);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let after = rest.get(end..)?.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let factor = match after.get(..end)? {
            "us" | "usec" | "µs" => 1e-6,
            "ms" | "msec" => 1e-3,
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86400.0,
            "w" | "week" | "weeks" => 604_800.0,
            "M" | "month" | "months" => 2_629_800.0,
            "y" | "year" | "years" => 31_557_600.0,
            _ => return None,
        };
        total += number * factor;
        rest = after.get(end..)?.trim_start();
    }
    // Ten years are the most that a spec can say.
    (!text.is_empty()).then(|| Some(Duration::from_secs_f64(total.min(315_000_000.0))))
}

/// A size of systemd: `512M`, in steps of 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text.get(digits.len()..)? {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    let bytes = digits.parse::<f64>().ok()? * factor as f64;
    (0.0..=(1_u64 << 60) as f64).contains(&bytes).then_some(bytes as u64)
}

impl Reading<'_, '_> {
    fn report(&mut self) -> &mut Report {
        &mut self.work.report
    }

    fn refuse(&self, entry: &Entry, why: impl std::fmt::Display) -> Box<ImportError> {
        ImportError::at(&entry.file, entry.line, 1, format!("{}: {why}", entry.key)).help("systemd would refuse it too")
    }

    /// A value with its specifiers, told of under `to`.
    fn text(&mut self, entry: &Entry, value: &str, to: &str) -> Text {
        let mut notes = Vec::new();
        let text = self.scope.specified(value, &mut notes);
        match notes.as_slice() {
            [] => self.report().kept(entry, to),
            notes => self.report().changed(entry, to, notes.join("; ")),
        }
        text
    }

    fn about(&mut self) {
        if let Some(entry) = self.keys.last("Description") {
            let text = self.text(&entry, &entry.value, "description");
            // A description is of all instances.
            let words = text.as_str().replace(Text::instance().as_str(), " ");
            self.it.description = words.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if self.scope.template {
            let name = &self.it.name;
            let note = format!("{name}: its instances had names; here they are 0, 1, …, and instances says how many");
            self.report().note(note);
            self.it.instances = Some(1);
        }
        let installed: Vec<Entry> =
            ["WantedBy", "RequiredBy", "UpheldBy"].iter().flat_map(|key| self.keys.all(key)).collect();
        for entry in &installed {
            self.report().kept(entry, "start");
        }
        self.it.start = Some(if installed.is_empty() { "manual" } else { "auto" });
        if installed.is_empty() {
            let note = format!(
                "{}: nothing wants the unit at boot (no WantedBy), so it starts when somebody says so",
                self.it.name
            );
            self.report().note(note);
        }
    }

    /// A command and how it is told of. One whose failure did not matter keeps that, by a shell.
    fn command(&mut self, entry: &Entry, to: &str) -> Result<Command, Box<ImportError>> {
        let mut command = self.scope.command(&entry.value).map_err(|why| self.refuse(entry, why))?;
        let hidden = hide_secrets(&mut command.words);
        tell_secrets(&mut self.work.report, entry, to, &hidden);
        if command.notes.is_empty() && !command.ignored && hidden.is_empty() {
            self.report().kept(entry, to);
        } else if !command.notes.is_empty() {
            self.work.report.changed(entry, to, command.notes.join("; "));
        }
        Ok(command)
    }

    fn hook(&mut self, entry: &Entry, to: &str) -> Result<Option<Hook>, Box<ImportError>> {
        let mut command = self.command(entry, to)?;
        if command.main_pid {
            self.work.report.lost(entry, "it uses MAINPID, and nobody tells a hook the process id of the program");
            return Ok(None);
        }
        if command.ignored {
            match to {
                "hooks.before_start" => {
                    let mut words = vec![
                        Text::literal("sh"),
                        Text::literal("-c"),
                        Text::literal("\"$@\" || true"),
                        Text::literal("sh"),
                    ];
                    words.append(&mut command.words);
                    command.words = words;
                    self.report().changed(entry, to, "its failure does not matter, which a shell says");
                }
                _ => self.report().kept(entry, to),
            }
        }
        Ok(Some(Hook::new(command.words)))
    }

    fn commands(&mut self) -> Result<(), Box<ImportError>> {
        let kind = self.keys.last("Type");
        let kind_word = kind.as_ref().map_or("simple", |entry| entry.value.as_str()).to_owned();
        let mut starts = self.keys.all("ExecStart");
        let Some(main) = starts.pop() else {
            let line = self.keys.0.values().flatten().map(|entry| entry.line).min().unwrap_or(1);
            let message = "the service has no ExecStart";
            return Err(ImportError::at(&self.source.shown, line, 1, message)
                .help("import its main unit file, not a drop-in alone"));
        };
        for key in ["ExecCondition", "ExecStartPre"] {
            for entry in self.keys.all(key) {
                let hook = self.hook(&entry, "hooks.before_start")?;
                self.it.before_start.extend(hook);
                if key == "ExecCondition" {
                    self.report().changed(
                        &entry,
                        "hooks.before_start",
                        "a failing one fails the start, it does not skip it",
                    );
                }
            }
        }
        for entry in starts {
            let hook = self.hook(&entry, "hooks.before_start")?;
            self.it.before_start.extend(hook);
            self.report().changed(
                &entry,
                "hooks.before_start",
                "only the last command is the program; those before it run first",
            );
        }
        let command = self.command(&main, "command")?;
        if command.ignored {
            self.report().changed(&main, "command", "its failure is told as one; success_codes can have more codes");
        }
        self.it.command = command.words;
        for entry in self.keys.all("ExecStartPost") {
            let hook = self.hook(&entry, "hooks.after_ready")?;
            self.it.after_ready.extend(hook);
        }
        for entry in self.keys.all("ExecStopPost") {
            let hook = self.hook(&entry, "hooks.after_exit")?;
            self.it.after_exit.extend(hook);
        }
        match (kind_word.as_str(), kind) {
            (_, None) => {}
            ("simple" | "exec", Some(entry)) => self.report().kept(&entry, ""),
            ("notify" | "notify-reload", Some(entry)) => {
                self.it.ready_notify = true;
                match kind_word.as_str() {
                    "notify" => self.report().kept(&entry, "ready.notify"),
                    _ => self.report().changed(
                        &entry,
                        "ready.notify",
                        "`tutela reload` does not make the program read its own files",
                    ),
                }
            }
            ("idle", Some(entry)) => {
                self.report().changed(&entry, "", "it does not wait until other services have started")
            }
            ("forking", Some(entry)) => {
                let how = "a program that goes into the background looks as if it had ended: take the option for that out of the \
                           command, or add the one that keeps it in the foreground";
                self.report().changed(&entry, "command", how);
            }
            ("dbus", Some(entry)) => {
                self.report().lost(&entry, "readiness is not told by the bus; a [ready] probe says when it is ready")
            }
            ("oneshot", Some(entry)) => {
                let how = "it runs once, and has then ended; what needs it starts while it still runs";
                self.report().changed(&entry, "restart.when", how);
            }
            (_, Some(entry)) => self.report().lost(&entry, "it is no type of service"),
        }
        Ok(())
    }

    fn needs(&mut self) {
        let name = self.it.name.clone();
        let has = |keys: &Keys, list: &[&str], unit: &str| {
            list.iter().flat_map(|key| keys.all(key)).any(|entry| entry.value.split_whitespace().any(|it| it == unit))
        };
        let kinds = ["Requires", "BindsTo", "Requisite", "Wants", "Upholds", "After", "PartOf"];
        for key in kinds {
            for entry in self.keys.all(key) {
                for unit in entry.value.split_whitespace().map(str::to_owned).collect::<Vec<_>>() {
                    let hard = has(&self.keys, &["Requires", "BindsTo", "Requisite"], &unit);
                    let ordered = has(&self.keys, &["After"], &unit);
                    let how = match (key, hard, ordered) {
                        ("PartOf", _, _) => {
                            let why = "a restart of the other one does not restart it; restart the guard for both";
                            self.work.report.lost(&entry, format!("{unit}: {why}"));
                            continue;
                        }
                        ("BindsTo", _, _) => Some("it does not stop when the other one ends by itself"),
                        (_, true, true) => Some("it waits until the other one is ready"),
                        (_, true, false) => Some("it also waits until the other one is ready"),
                        (_, false, _) => Some("it waits until the other one is ready, and does not start without it"),
                    };
                    self.work.needs.want(&entry, &name, &unit, how, outside(&unit, hard));
                }
            }
        }
    }

    /// What is known to have no place here.
    fn rest(&mut self) {
        for key in SINGLE {
            let entries = self.keys.all(key);
            for entry in entries.iter().rev().skip(1) {
                self.report().changed(entry, "", "a later one wins");
            }
        }
        for (key, entries) in &self.keys.0 {
            let Some(why) = known::lost(key) else { continue };
            let handled = matches!(key.as_str(), "LimitNOFILE" | "LimitCORE" | "ProtectSystem" | "LogsDirectory");
            for entry in entries.iter().filter(|_| !handled) {
                self.work.report.lost(entry, why);
            }
        }
    }
}

/// Targets that the guard can be started after as a whole. Others are reached before every service, or never.
const TARGETS: [&str; 4] = ["network-online.target", "remote-fs.target", "nss-lookup.target", "time-sync.target"];

/// What a unit that is not imported is to a service. `hard`: the service cannot be without it.
fn outside(unit: &str, hard: bool) -> Otherwise {
    let what = match unit.rsplit_once('.').map_or("", |(_, kind)| kind) {
        "target" if TARGETS.contains(&unit) => return Otherwise::After(unit.to_owned()),
        "target" => "a guard is started with the other services of the computer; a service has no targets",
        "socket" => "no socket is opened for a program",
        "mount" | "automount" => "a guard is started after local file systems",
        "slice" => "each service has a control group of its own below the guard's",
        "service" if hard && !unit.contains('%') => return Otherwise::After(unit.to_owned()),
        "service" => {
            "it is an order or a wish, and install.after would be a need: write it there if the guard is not to start without \
             it; a check of it can stand in dependencies"
        }
        _ => "it is no service of this spec or of the OS",
    };
    Otherwise::Lost(format!("{unit}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_of_systemd_are_read() {
        let millis = |text: &str| span(text).map(|span| span.map(|span| span.as_millis()));
        assert_eq!(millis("5"), Some(Some(5000)));
        assert_eq!(millis("1min 30s"), Some(Some(90_000)));
        assert_eq!(millis("100ms"), Some(Some(100)));
        assert_eq!((millis("infinity"), millis("soon"), millis("")), (Some(None), None, None));
        assert_eq!(
            (size("512M"), size("1.5G"), size("50%"), size("4096")),
            (Some(1 << 29), Some(3 << 29), None, Some(4096))
        );
    }
}
