//! One program of supervisord.
//!
//! supervisord counts only ends before `startsecs` against a program, waits longer after each of them, and is final after
//! `startretries`; an end later than that restarts it at once. Here that is: a run of `startsecs` clears the wait and the
//! window, `startretries` is the burst, and after the cool-down there is one more try.

use super::super::Work;
use super::super::draft::{Service, Step, Way, hide_secrets, tell_secrets};
use super::super::report::Entry;
use super::super::source::ImportError;
use super::super::text::{Text, is_secret};
use super::expand::{Expanded, Scope, environment, expand, is_padded};
use super::{Defaults, Placed};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most copies of a program that are written out one by one.
const COPIES_MAX: u32 = 200;

/// The signals that a step of a stop can have.
const SIGNALS: [&str; 11] = ["TERM", "INT", "QUIT", "HUP", "KILL", "ABRT", "USR1", "USR2", "ALRM", "CONT", "WINCH"];

type Keys = BTreeMap<String, Entry>;

/// Translates one section. Answers its priority, if it has one.
pub(super) fn translate(
    work: &mut Work<'_>,
    placed: &Placed,
    wanted: &str,
    defaults: &Defaults,
    fcgi: bool,
) -> Result<Option<(i64, String, Entry)>, Box<ImportError>> {
    let section = &placed.section;
    let Some(command) = section.get("command").filter(|key| !key.value.trim().is_empty()) else {
        let message = format!("the program {wanted} has no command");
        return Err(ImportError::at(&placed.file, section.line, 1, message).help("write command = …"));
    };
    let copies = section.get("numprocs").and_then(|key| key.value.parse::<u32>().ok()).unwrap_or(1).clamp(1, 1000);
    let first = section.get("numprocs_start").and_then(|key| key.value.parse::<u32>().ok()).unwrap_or(0);
    let varied = |key: &str| section.get(key).is_some_and(|key| key.value.contains("%(process_num)"));
    let padded = ["command", "directory", "environment"]
        .iter()
        .any(|key| section.get(key).is_some_and(|it| is_padded(&it.value)));
    let shifted = first > 0 && ["command", "directory", "environment"].iter().any(|key| varied(key));
    // Copies whose number is written otherwise than 0, 1, … are services of their own.
    let apart = copies > 1 && copies <= COPIES_MAX && (padded || shifted);
    let numbers: Vec<Option<u32>> = if apart { (first..first + copies).map(Some).collect() } else { vec![None] };
    let mut priority = None;
    for number in numbers {
        let wanted_here = number.map_or_else(|| wanted.to_owned(), |number| format!("{wanted}-{number}"));
        let name = work.draft.name(&wanted_here, &mut work.report);
        work.needs.know(&wanted_here, &name);
        let mut keys = Keys::new();
        for key in &section.keys {
            let entry = work.report.entry(&placed.file, key.line, &name, &key.name, &key.value);
            keys.insert(key.name.clone(), entry);
        }
        let from = format!("[{}] in {} (supervisord)", section.name, placed.file);
        let mut it = Service { name, from, ..Service::default() };
        let number = number.or((copies == 1).then_some(first));
        let scope = Scope { program: wanted, here: &placed.here, number };
        let mut reading = Reading { work, it: &mut it, keys: &keys, scope };
        reading.copies(copies, apart, first);
        reading.command(&command.value, placed, defaults)?;
        reading.place(defaults);
        reading.environment(defaults, placed)?;
        reading.restart();
        reading.stop();
        reading.logs();
        reading.rest(fcgi);
        if let Some(entry) = keys.get("priority") {
            match entry.value.parse::<i64>() {
                Ok(999) => work.report.kept(entry, ""),
                // Copies that are services of their own are ordered by the first of them.
                Ok(_) if priority.is_some() => work.report.lost(entry, "priorities order starts without waiting"),
                Ok(given) => priority = Some((given, it.name.clone(), entry.clone())),
                Err(_) => work.report.lost(entry, "it is no number"),
            }
        }
        work.draft.services.push(it);
    }
    Ok(priority)
}

struct Reading<'r, 'w> {
    work: &'r mut Work<'w>,
    it: &'r mut Service,
    keys: &'r Keys,
    scope: Scope<'r>,
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "t" | "y" => Some(true),
        "false" | "no" | "off" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// A size of supervisord: `50MB`, in steps of 1024.
fn size(text: &str) -> Option<u64> {
    let upper = text.trim().to_ascii_uppercase();
    let units = [("KB", 1_u64 << 10), ("MB", 1 << 20), ("GB", 1 << 30)];
    for (unit, factor) in units {
        if let Some(number) = upper.strip_suffix(unit) {
            return number.trim().parse::<u64>().ok()?.checked_mul(factor);
        }
    }
    upper.parse().ok()
}

impl Reading<'_, '_> {
    fn get(&self, key: &str) -> Option<Entry> {
        self.keys.get(key).cloned()
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.keys.get(key).and_then(|entry| entry.value.trim().parse().ok()).unwrap_or(default)
    }

    /// Kept, or changed by what was put in.
    fn tell(&mut self, entry: &Entry, to: &str, expanded: &Expanded) {
        match expanded.notes.as_slice() {
            [] => self.work.report.kept(entry, to),
            notes => self.work.report.changed(entry, to, notes.join("; ")),
        }
    }

    fn copies(&mut self, copies: u32, apart: bool, first: u32) {
        let report = &mut self.work.report;
        if let Some(entry) = self.keys.get("numprocs") {
            match (apart, copies) {
                (true, _) => report.changed(
                    entry,
                    "",
                    "each copy is a service of its own, because its number is not written 0, 1, … (${instance})",
                ),
                (false, 1) => report.kept(entry, ""),
                (false, copies) => {
                    self.it.instances = u16::try_from(copies).ok();
                    report.kept(entry, "instances");
                }
            }
        }
        if let Some(entry) = self.keys.get("numprocs_start") {
            match (apart, first) {
                (true, _) | (_, 0) => report.kept(entry, ""),
                (false, _) => report.changed(
                    entry,
                    "instances",
                    "instances are counted from 0; nothing but the name shows the number",
                ),
            }
        }
        if let Some(entry) = self.keys.get("process_name") {
            match entry.value.as_str() {
                "%(program_name)s" => report.kept(entry, ""),
                _ if copies > 1 && !apart => report.changed(entry, "", "copies are named SERVICE:0, SERVICE:1, …"),
                _ => report.changed(entry, "", "the process has the name of its service"),
            }
        }
    }

    fn command(&mut self, command: &str, placed: &Placed, defaults: &Defaults) -> Result<(), Box<ImportError>> {
        let Some(entry) = self.get("command") else { return Ok(()) };
        let line: String = command.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = if command.contains('\n') { line } else { command.to_owned() };
        let words = shell_words::split(&line).map_err(|_| {
            ImportError::at(&placed.file, entry.line, 1, "a quote in the command is never closed").help("close it")
        })?;
        let mut notes = Expanded::default();
        for word in &words {
            let expanded = expand(word, &self.scope);
            notes.notes.extend(expanded.notes);
            self.it.command.push(expanded.text);
        }
        notes.notes.dedup();
        let hidden = hide_secrets(&mut self.it.command);
        if let Some(program) = words.first()
            && program.contains('/')
            && !program.starts_with('/')
            && !program.starts_with('%')
        {
            match &defaults.directory {
                // Where supervisord itself is: the folder of the program is entered later.
                Some(directory) => {
                    let path =
                        format!("{}/{}", directory.value.trim_end_matches('/'), program.trim_start_matches("./"));
                    self.it.command[0] = expand(&path, &self.scope).text;
                    notes.notes.push("the program is found from the directory of [supervisord]".to_owned());
                }
                None => notes.notes.push("a program with a path is found from the folder of the spec".to_owned()),
            }
        }
        if hidden.is_empty() || !notes.notes.is_empty() {
            self.tell(&entry, "command", &notes);
        }
        tell_secrets(&mut self.work.report, &entry, "command", &hidden);
        Ok(())
    }

    fn place(&mut self, defaults: &Defaults) {
        let own = self.get("directory");
        if let Some(entry) = own.clone().or_else(|| defaults.directory.clone()) {
            let expanded = expand(&entry.value, &self.scope);
            if own.is_some() {
                self.tell(&entry, "cwd", &expanded);
            }
            if expanded.text.varies() {
                self.work.report.changed(&entry, "cwd", "a folder cannot differ between instances: it is left out");
            } else {
                self.it.cwd = Some(expanded.text);
            }
        } else {
            self.it.cwd = Some(Text::literal("/"));
            self.work.report.note(
                "a supervisord in the background starts programs in /: cwd is written out where directory is missing",
            );
        }
        if let Some(entry) = self.get("user") {
            self.it.user = Some(entry.value.clone());
            self.work.report.kept(&entry, "user");
        }
        let own = self.get("umask");
        if let Some(entry) = own.clone().or_else(|| defaults.umask.clone()) {
            match u32::from_str_radix(entry.value.trim(), 8).ok().filter(|bits| *bits <= 0o777) {
                Some(bits) => {
                    self.it.umask = Some(bits);
                    if own.is_some() {
                        self.work.report.kept(&entry, "umask");
                    }
                }
                None => self.work.report.lost(&entry, "it is no umask"),
            }
        }
        if let Some(entry) = &defaults.open_files {
            self.it.limits.open_files = entry.value.parse().ok().filter(|count| *count > 0);
        }
    }

    fn environment(&mut self, defaults: &Defaults, placed: &Placed) -> Result<(), Box<ImportError>> {
        for (entry, own) in [(defaults.environment.clone(), false), (self.get("environment"), true)] {
            let Some(entry) = entry else { continue };
            let read = environment(&entry.value)
                .map_err(|why| ImportError::at(&placed.file, entry.line, 1, why).help("write A=\"1\",B=\"2\""))?;
            for (name, value) in read {
                let expanded = expand(&value, &self.scope);
                let service = self.it.name.clone();
                if !own {
                    // The section of supervisord has been told of as a whole.
                    if is_secret(&name) {
                        self.work.report.note(format!("{name} of [supervisord] is a secret and is not copied"));
                    }
                    let text = if is_secret(&name) { Text::secret(&name) } else { expanded.text };
                    self.it.env.insert(name, text);
                    continue;
                }
                let one = Entry { service, key: format!("environment {name}"), ..entry.clone() };
                self.it.set(&mut self.work.report, &one, &name, expanded.text.clone());
                if !expanded.notes.is_empty() {
                    let to = format!("env.{}", super::super::text::key(&name));
                    self.work.report.changed(&one, &to, expanded.notes.join("; "));
                }
            }
        }
        if let Some(entry) = self.get("environment").filter(|entry| entry.value.trim().is_empty()) {
            self.work.report.kept(&entry, "");
        }
        Ok(())
    }

    fn restart(&mut self) {
        if let Some(entry) = self.get("autostart") {
            if truth(&entry.value) == Some(false) {
                self.it.start = Some("manual");
            }
            self.work.report.kept(&entry, "start");
        }
        let given = self.get("autorestart");
        let word = given.as_ref().map_or("unexpected".to_owned(), |entry| entry.value.to_ascii_lowercase());
        let when = match (word.as_str(), truth(&word)) {
            (_, Some(true)) => "always",
            (_, Some(false)) => "never",
            _ => "on-failure",
        };
        self.it.restart.when = Some(when);
        match &given {
            Some(entry) => self.work.report.kept(entry, "restart.when"),
            None => self.work.report.note(
                "supervisord restarts after unexpected exit codes where autorestart is missing: when = \"on-failure\"",
            ),
        }
        if let Some(entry) = self.get("exitcodes") {
            let codes: Vec<i64> = entry.value.split(',').filter_map(|code| code.trim().parse().ok()).collect();
            match when {
                "on-failure" => {
                    self.it.restart.success_codes = Some(codes);
                    self.work.report.kept(&entry, "restart.success_codes");
                }
                _ => self.work.report.kept(&entry, ""),
            }
        }
        let (seconds, retries) = (self.number("startsecs", 1).min(86400), self.number("startretries", 3).min(10_000));
        let (start, tries) = (self.get("startsecs"), self.get("startretries"));
        let report = &mut self.work.report;
        if when == "never" {
            if let Some(entry) = start {
                report.changed(&entry, "", "an end is an end, however soon: it is never restarted");
            }
            if let Some(entry) = tries.filter(|_| retries == 0) {
                report.kept(&entry, "restart.when");
            } else if let Some(entry) = self.keys.get("startretries") {
                report.lost(entry, "supervisord tries again when a program ends before startsecs even then; write when = \"on-failure\" for that");
            }
            return;
        }
        let restart = &mut self.it.restart;
        restart.delay = Some(Duration::from_secs(1));
        restart.reset_after = Some(Duration::from_secs(seconds.max(1)));
        let burst = u32::try_from(retries.max(1)).unwrap_or(u32::MAX);
        restart.burst = Some(if seconds == 0 { 0 } else { burst });
        if seconds > 0 {
            // The waits double up to a minute; everything has to fit into the window, with as much again for a slow computer.
            let waits: u64 = (0..retries).map(|n| 1_u64 << n.min(6)).map(|wait| wait.min(60)).sum();
            let window = 2 * (waits + retries * seconds.max(1));
            restart.within = Some(Duration::from_secs(window.div_ceil(60).max(1) * 60));
        }
        if let Some(entry) = start {
            match seconds {
                0 => report.changed(
                    &entry,
                    "restart.burst",
                    "every run counts as a good one, so there is no crash loop: burst = 0",
                ),
                _ => report.changed(
                    &entry,
                    "restart.reset_after",
                    "a run this long clears what speaks against the program; it is shown as running from its start",
                ),
            }
        }
        if let Some(entry) = tries {
            let how = "after so many quick ends the service waits for its cool-down and tries once more: giving up is not final";
            report.changed(&entry, "restart.burst", how);
        }
        report.note(
            "supervisord waits 1, 2, 3, … seconds between quick restarts and restarts at once after a run of startsecs; here the \
             waits are 1, 2, 4, … seconds up to a minute, and one second after such a run",
        );
    }

    fn stop(&mut self) {
        let given = self.get("stopsignal");
        let mut signals = Vec::new();
        let texts = given.as_ref().map_or("TERM".to_owned(), |entry| entry.value.clone());
        let mut bad = false;
        for text in texts.split([',', ' ']).filter(|text| !text.is_empty()) {
            let upper = text.trim().to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper).to_owned();
            bad |= !SIGNALS.contains(&name.as_str());
            signals.push(if SIGNALS.contains(&name.as_str()) { name } else { "TERM".to_owned() });
        }
        let wait = Duration::from_secs(self.number("stopwaitsecs", 10).min(10 * 86400));
        for signal in signals.into_iter().take(8) {
            let step = match signal.as_str() {
                "KILL" => Step { way: Way::Kill, wait: None },
                signal => Step { way: Way::Signal(signal.to_owned()), wait: Some(wait) },
            };
            self.it.ladder.push(step);
        }
        if !self.it.ladder.iter().any(|step| step.way == Way::Kill) {
            self.it.ladder.push(Step { way: Way::Kill, wait: None });
        }
        let report = &mut self.work.report;
        match given {
            Some(entry) if bad => {
                report.changed(&entry, "stop.ladder", "it is no signal that a step can send: TERM instead")
            }
            Some(entry) => report.kept(&entry, "stop.ladder"),
            None => {}
        }
        if let Some(entry) = self.keys.get("stopwaitsecs") {
            report.kept(entry, "stop.ladder");
        }
        if let Some(entry) = self.keys.get("stopasgroup") {
            match truth(&entry.value) {
                Some(true) => report.changed(
                    entry,
                    "stop.ladder",
                    "the signal goes to the main process; what is left of its tree ends with the last step",
                ),
                _ => report.kept(entry, ""),
            }
        }
        if let Some(entry) = self.keys.get("killasgroup") {
            match truth(&entry.value) {
                Some(true) => report.kept(entry, "stop.ladder"),
                _ => report.changed(entry, "stop.ladder", "the last step always ends the whole tree"),
            }
        }
    }

    fn logs(&mut self) {
        for stream in ["stdout_logfile", "stderr_logfile"] {
            let Some(entry) = self.get(stream) else { continue };
            match entry.value.as_str() {
                "AUTO" => self.work.report.changed(
                    &entry,
                    "logs",
                    "logs are in the guard's folder of logs, and stay at a restart",
                ),
                "NONE" | "off" | "none" | "/dev/null" => {
                    self.work.report.changed(&entry, "logs", "output is always kept; it is rotated");
                }
                "syslog" => self.work.report.lost(&entry, "logs are files; a shipper can read them"),
                path if path.starts_with("/dev/") => {
                    self.work.report.changed(
                        &entry,
                        "logs",
                        "`tutela run` shows the output of programs, and keeps it in files too",
                    );
                }
                path => {
                    let dir = path.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir });
                    let expanded = expand(dir, &self.scope);
                    if self.it.logs.dir.as_ref().is_some_and(|known| *known != expanded.text) {
                        self.work.report.lost(&entry, "both streams go into one log, in the folder of standard output");
                        continue;
                    }
                    if expanded.text.varies() {
                        self.work.report.lost(&entry, "a folder of logs cannot differ between instances");
                        continue;
                    }
                    self.it.logs.dir = Some(expanded.text);
                    let how = "both streams go into one log in this folder, with the name of the stream in each line";
                    self.work.report.changed(&entry, "logs.dir", how);
                }
            }
        }
        for (key, to) in [("stdout_logfile_maxbytes", "logs.rotate_size"), ("stdout_logfile_backups", "logs.keep")] {
            let Some(entry) = self.get(key) else { continue };
            match (to, size(&entry.value)) {
                (_, None) => self.work.report.lost(&entry, "it is no number"),
                ("logs.rotate_size", Some(bytes)) => {
                    self.it.logs.rotate_size = Some(if bytes == 0 { 0 } else { bytes.clamp(4096, 1 << 60) });
                    self.work.report.kept(&entry, to);
                }
                (_, Some(count)) => {
                    self.it.logs.keep = Some(u32::try_from(count).unwrap_or(u32::MAX).min(100_000));
                    self.work.report.kept(&entry, to);
                }
            }
        }
        for key in ["stderr_logfile_maxbytes", "stderr_logfile_backups"] {
            let Some(entry) = self.get(key) else { continue };
            let same = self.keys.get(&key.replace("stderr", "stdout")).is_some_and(|other| other.value == entry.value);
            match same {
                true => self.work.report.kept(&entry, "logs"),
                false => self
                    .work
                    .report
                    .lost(&entry, "both streams go into one log, which has the numbers of standard output"),
            }
        }
        if let Some(entry) = self.get("redirect_stderr") {
            match truth(&entry.value) {
                Some(true) => self.work.report.changed(
                    &entry,
                    "logs",
                    "both streams are in one log, and each line has the name of its stream",
                ),
                _ => self.work.report.changed(
                    &entry,
                    "logs",
                    "both streams are in one log, but each line has the name of its stream",
                ),
            }
        }
        for stream in ["stdout", "stderr"] {
            for what in ["capture_maxbytes", "events_enabled", "syslog"] {
                let Some(entry) = self.get(&format!("{stream}_{what}")) else { continue };
                let off = truth(&entry.value) == Some(false) || entry.value.starts_with('0');
                match (what, off) {
                    (_, true) => self.work.report.kept(&entry, ""),
                    ("syslog", false) => self.work.report.lost(&entry, "logs are files; a shipper can read them"),
                    (_, false) => self
                        .work
                        .report
                        .lost(&entry, "output is no event; `tutela logs -f --json` gives it line by line"),
                }
            }
        }
    }

    fn rest(&mut self, fcgi: bool) {
        if fcgi {
            self.it.start = Some("manual");
        }
        for key in ["socket", "socket_owner", "socket_mode", "socket_backlog"] {
            if let Some(entry) = self.get(key) {
                let why = "no socket is opened for a program: let it listen by itself, then write start = \"auto\"";
                self.work.report.lost(&entry, why);
            }
        }
        if let Some(entry) = self.get("serverurl") {
            self.work.report.lost(&entry, "a guard has a control socket of its own");
        }
    }
}
