//! WinSW: an XML file beside its executable, in the forms of versions 1 to 3.

use super::Work;
use super::draft::{Hook, Service, Step, Way, hide_secrets, tell_secrets};
use super::needs::Otherwise;
use super::report::{Entry, Report};
use super::shell;
use super::source::{ImportError, Source};
use super::text::Text;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most nodes of a file: a service has a hundred, and more of them would only cost memory.
const NODES_MAX: u32 = 20_000;

/// Keys that are of WinSW itself, with what takes their place.
const LOST: &[(&str, &str)] = &[
    ("download", "nothing is fetched at start; a hook in hooks.before_start can do it, and has to check what it got"),
    ("extensions", "there are no extensions: trees end by themselves, and shared folders are the computer's business"),
    ("interactive", "services have no desktop"),
    ("beeponshutdown", "nothing beeps"),
    ("autorefresh", "the spec is read at start and by `tutela reload`"),
    ("refresh", "the spec is read at start and by `tutela reload`"),
    ("securitydescriptor", "who may do what with the guard's service is not in the spec"),
    ("shareddirectorymapping", "services see no drives of users: use the path of the share itself"),
    ("hidewindow", "a program has a console of its own, hidden"),
    ("waithint", "the guard tells Windows by itself how long a start or stop takes"),
    ("sleeptime", "the guard tells Windows by itself how long a start or stop takes"),
    ("preshutdown", "the guard asks for it by itself"),
    ("preshutdowntimeout", "the guard asks for it by itself, for as long as its stop takes"),
    ("outfiledisabled", "both streams are always kept"),
    ("errfiledisabled", "both streams are always kept"),
    ("outfilepattern", "the guard names its log files by itself"),
    ("errfilepattern", "the guard names its log files by itself"),
    ("logname", "the guard names its log files by itself"),
];

/// Reads the service.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| refusal(&error, source, text))?;
    let root = document.root_element();
    let at = |node: Node<'_, '_>| document.text_pos_at(node.range().start);
    if !root.tag_name().name().eq_ignore_ascii_case("service") {
        let place = at(root);
        let message = format!("the root is <{}>, and that of a service is <service>", root.tag_name().name());
        return Err(
            ImportError::at(&source.shown, place.row, place.col, message).help("is it the file of a WinSW service?")
        );
    }
    let wanted = child_text(root, "id").unwrap_or_default();
    let name = work.draft.name(&wanted, &mut work.report);
    work.needs.know(&wanted, &name);
    let mut own = BTreeMap::from([("BASE".to_owned(), source.here.clone())]);
    own.insert("SERVICE_ID".to_owned(), wanted);
    for node in elements(root).filter(|node| tag(*node) == "env") {
        if let (Some(name), Some(value)) = (attribute(node, "name"), attribute(node, "value")) {
            own.insert(name.to_owned(), value.to_owned());
        }
    }
    let mut it = Service { name: name.clone(), from: format!("{} (WinSW)", source.shown), ..Service::default() };
    let mut found: BTreeMap<String, Vec<(Entry, Node<'_, '_>)>> = BTreeMap::new();
    for node in elements(root) {
        let entry = work.report.entry(&source.shown, at(node).row, &name, node.tag_name().name(), &value_of(node));
        found.entry(tag(node)).or_default().push((entry, node));
    }
    Reading { work, it: &mut it, own: &own, found: &found, source, document: &document }.all()?;
    work.draft.services.push(it);
    Ok(())
}

fn refusal(error: &roxmltree::Error, source: &Source, text: &str) -> Box<ImportError> {
    let place = error.pos();
    match error {
        roxmltree::Error::DtdDetected => {
            let at = text.find("<!DOCTYPE").unwrap_or(0);
            let (line, column) = super::source::place(text, at);
            let message = "the file has a DTD, which is not read: it could make a small file into an endless one";
            ImportError::at(&source.shown, line, column, message).help("remove the <!DOCTYPE …> and its entities")
        }
        error => ImportError::at(&source.shown, place.row, place.col, format!("the file is no XML: {error}")),
    }
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

fn tag(node: Node<'_, '_>) -> String {
    node.tag_name().name().to_ascii_lowercase()
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|it| it.name().eq_ignore_ascii_case(name)).map(|it| it.value())
}

fn value_of(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().trim().to_owned()
}

fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    elements(node).find(|node| tag(*node) == name).map(value_of)
}

/// A text in which `%NAME%` is replaced: by a variable of the service itself, or when the spec is read.
pub(super) fn variables(text: &str, own: &BTreeMap<String, String>) -> Text {
    let mut out = Text::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        let name = after.split_once('%').filter(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '(' | ')'))
        });
        match name {
            Some((name, after)) => {
                out.push(&Text::literal(before));
                match own.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    // A variable that names itself adds to the one of the computer: `PATH=x;%PATH%`.
                    Some((_, value))
                        if !value.to_ascii_lowercase().contains(&format!("%{}%", name.to_ascii_lowercase())) =>
                    {
                        out.push(&Text::literal(value));
                    }
                    _ if name.contains(['(', ')']) => out.push(&Text::literal(&format!("%{name}%"))),
                    _ => out.push(&Text::variable(name)),
                }
                rest = after;
            }
            None => {
                out.push(&Text::literal(&format!("{before}%")));
                rest = after;
            }
        }
    }
    out.push(&Text::literal(rest));
    out
}

/// A duration as WinSW writes it: `10 sec`, `1 hour`, or a number of milliseconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..end)?.parse().ok()?;
    let unit = text.get(end..)?.trim();
    Some(match unit {
        "" | "ms" | "msec" | "msecs" | "milliseconds" => Duration::from_millis(number),
        "s" | "sec" | "secs" | "second" | "seconds" => Duration::from_secs(number),
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(number.checked_mul(60)?),
        "h" | "hr" | "hrs" | "hour" | "hours" => Duration::from_secs(number.checked_mul(3600)?),
        "d" | "day" | "days" => Duration::from_secs(number.checked_mul(86400)?),
        _ => return None,
    })
}

type Found<'a, 'i> = BTreeMap<String, Vec<(Entry, Node<'a, 'i>)>>;

struct Reading<'r, 'w, 'a, 'i> {
    work: &'r mut Work<'w>,
    it: &'r mut Service,
    own: &'r BTreeMap<String, String>,
    found: &'r Found<'a, 'i>,
    source: &'r Source,
    document: &'r Document<'i>,
}

impl<'a, 'i> Reading<'_, '_, 'a, 'i> {
    fn report(&mut self) -> &mut Report {
        &mut self.work.report
    }

    fn get(&self, name: &str) -> Option<(Entry, Node<'a, 'i>)> {
        self.found.get(name).and_then(|all| all.first()).cloned()
    }

    fn every(&self, name: &str) -> Vec<(Entry, Node<'a, 'i>)> {
        self.found.get(name).cloned().unwrap_or_default()
    }

    fn text(&self, text: &str) -> Text {
        variables(text, self.own)
    }

    fn all(&mut self) -> Result<(), Box<ImportError>> {
        for name in ["id", "name", "description"] {
            let Some((entry, _)) = self.get(name) else { continue };
            match name {
                "id" if entry.value == self.it.name => self.report().kept(&entry, ""),
                "id" => self.report().changed(&entry, "", "it is the name of the service, made to fit"),
                "name" => self.report().changed(&entry, "", "services of a guard have a name and a description"),
                _ => {
                    let words = entry.value.split_whitespace().collect::<Vec<_>>().join(" ");
                    self.it.description = Text::literal(&words).as_str().to_owned();
                    self.report().kept(&entry, "description");
                }
            }
        }
        self.command()?;
        self.environment();
        self.start();
        self.failure();
        self.stop();
        self.account();
        self.logs();
        self.hooks();
        for (key, why) in LOST {
            for (entry, _) in self.every(key) {
                self.report().lost(&entry, *why);
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<(), Box<ImportError>> {
        let Some((entry, _)) = self.get("executable").filter(|(entry, _)| !entry.value.is_empty()) else {
            let place = self.document.text_pos_at(self.document.root_element().range().start);
            let message = "the service has no <executable>";
            return Err(ImportError::at(&self.source.shown, place.row, place.col, message).help("is the file whole?"));
        };
        self.it.command.push(self.text(&entry.value));
        self.report().kept(&entry, "command");
        let mut lines = Vec::new();
        // Version 1 has <argument> once for each; <startarguments> wins over <arguments>.
        let starts = self.every("startarguments");
        let (used, unused) =
            if starts.is_empty() { (self.every("arguments"), Vec::new()) } else { (starts, self.every("arguments")) };
        for (entry, _) in unused {
            self.report()
                .lost(&entry, "<startarguments> takes its place at a start, so WinSW did not use it there either");
        }
        for (entry, _) in used {
            let words = shell::windows(&entry.value);
            if shell::has_cmd_signs(&entry.value) && !is_cmd(&self.it.command) {
                let how = "signs such as > and | go to the program as they are: no cmd.exe reads them, as in WinSW";
                self.report().changed(&entry, "command", how);
            }
            lines.push((entry, words));
        }
        for key in ["argument", "startargument"] {
            for (entry, _) in self.every(key) {
                let word = entry.value.clone();
                lines.push((entry, vec![word]));
            }
        }
        for (entry, words) in lines {
            let mut words: Vec<Text> = words.iter().map(|word| self.text(word)).collect();
            let hidden = hide_secrets(&mut words);
            if hidden.is_empty() {
                self.report().kept(&entry, "command");
            }
            tell_secrets(&mut self.work.report, &entry, "command", &hidden);
            self.it.command.extend(words);
        }
        match self.get("workingdirectory") {
            Some((entry, _)) => {
                let cwd = self.source.path(&entry.value);
                self.it.cwd = Some(self.text(if self.source.beside { &entry.value } else { &cwd }));
                self.report().kept(&entry, "cwd");
            }
            None if !self.source.beside => {
                self.it.cwd = Some(Text::literal(&self.source.here));
                let note =
                    "WinSW starts a program in its own folder where workingdirectory is missing: cwd is written out";
                self.report().note(note);
            }
            None => {}
        }
        Ok(())
    }

    fn environment(&mut self) {
        for (entry, node) in self.every("env") {
            match (attribute(node, "name"), attribute(node, "value")) {
                (Some(name), Some(value)) => {
                    let value = self.text(value);
                    let named = Entry { key: format!("env {name}"), ..entry };
                    self.it.set(&mut self.work.report, &named, name, value);
                }
                _ => self.report().lost(&entry, "it has no name and value"),
            }
        }
    }

    fn start(&mut self) {
        if let Some((entry, _)) = self.get("startmode") {
            let start = match entry.value.to_ascii_lowercase().as_str() {
                "automatic" => Some("auto"),
                "manual" => Some("manual"),
                "disabled" => Some("disabled"),
                _ => None,
            };
            match start {
                Some(start) => {
                    self.it.start = Some(start);
                    self.report().kept(&entry, "start");
                }
                None => self.report().lost(&entry, "programs do not start as drivers do; it starts with the guard"),
            }
        }
        for key in ["delayedautostart", "delayedautostartup"] {
            let Some((entry, _)) = self.get(key) else { continue };
            let on = !entry.value.eq_ignore_ascii_case("false");
            if on && matches!(self.it.start, None | Some("auto")) {
                self.it.start = Some("delayed");
                let how = "it starts once the other services of the guard have settled";
                self.report().changed(&entry, "start", how);
            } else {
                self.report().kept(&entry, "start");
            }
        }
        for (entry, _) in self.every("depend") {
            let need = entry.value.clone();
            let otherwise = Otherwise::After(need.clone());
            let how = "it waits until the other one is ready, not only started";
            let service = self.it.name.clone();
            self.work.needs.want(&entry, &service, &need, Some(how), otherwise);
        }
        if let Some((entry, _)) = self.get("priority") {
            let (word, same) = match entry.value.to_ascii_lowercase().as_str() {
                "idle" => (Some("idle"), true),
                "belownormal" => (Some("low"), true),
                "normal" => (Some("normal"), true),
                "abovenormal" => (Some("high"), true),
                "high" | "realtime" => (Some("high"), false),
                _ => (None, false),
            };
            self.it.limits.priority = word;
            match (word, same) {
                (Some(_), true) => self.report().kept(&entry, "limits.priority"),
                (Some(_), false) => self.report().changed(&entry, "limits.priority", "high here is above normal"),
                (None, _) => self.report().lost(&entry, "it is no class of priority"),
            }
        }
    }

    /// `<onfailure action="restart" delay="10 sec"/>` several times: the n-th is for the n-th failure, the last for all
    /// that follow.
    fn failure(&mut self) {
        let failures = self.every("onfailure");
        let reset = self.get("resetfailure");
        if failures.is_empty() {
            self.it.restart.when = Some("never");
            self.report().note("WinSW does not restart a program where onfailure is missing: when = \"never\"");
            if let Some((entry, _)) = reset {
                self.report().lost(&entry, "there is no onfailure that it could be about");
            }
            return;
        }
        let mut waits = Vec::new();
        let count = failures.iter().filter(|(_, node)| attribute(*node, "action") == Some("restart")).count();
        let mut ends = false;
        for (entry, node) in failures {
            let action = attribute(node, "action").unwrap_or("none").to_ascii_lowercase();
            let delay = attribute(node, "delay").map(|text| (text, duration(text)));
            match action.as_str() {
                "restart" if !ends => {
                    match delay {
                        Some((text, None)) => {
                            self.report().changed(
                                &entry,
                                "restart.delay",
                                format!("{text:?} is no duration: 1s instead"),
                            );
                        }
                        None => {
                            let how = "it starts again after a second: there is always a wait";
                            self.report().changed(&entry, "restart.delay", how);
                        }
                        _ if !waits.is_empty() && count > 2 => {
                            self.report().changed(
                                &entry,
                                "restart.max_delay",
                                "waits grow by a factor, up to the last one",
                            );
                        }
                        _ => self
                            .report()
                            .kept(&entry, if waits.is_empty() { "restart.delay" } else { "restart.factor" }),
                    }
                    waits.push(delay.and_then(|(_, delay)| delay).unwrap_or(Duration::from_secs(1)));
                }
                "restart" => self.report().lost(&entry, "it stands after an action that ends the restarts"),
                "none" => {
                    ends = true;
                    let how = "after so many restarts the service waits for its cool-down and tries once more: giving up is not final";
                    self.report().changed(&entry, "restart.burst", how);
                }
                "reboot" => {
                    ends = true;
                    self.report().lost(&entry, "the computer is not started anew; an alert with a command can do it");
                }
                _ => self.report().lost(&entry, "it is none of restart, reboot and none"),
            }
        }
        let restart = &mut self.it.restart;
        let (Some(first), Some(last)) = (waits.first().copied(), waits.last().copied()) else {
            restart.when = Some("never");
            return;
        };
        restart.when = Some("on-failure");
        restart.delay = Some(first);
        let longest = waits.iter().copied().max().unwrap_or(last);
        let steps = i32::try_from(waits.len().saturating_sub(1)).unwrap_or(1).max(1);
        let grown = longest.as_secs_f64() / first.as_secs_f64().max(0.001);
        restart.factor =
            Some(if first.is_zero() { 1.0 } else { grown.powf(1.0 / f64::from(steps)).clamp(1.0, 1000.0) });
        restart.max_delay = Some(longest.max(first));
        restart.jitter = Some(0.0);
        let window = reset.as_ref().and_then(|(entry, _)| duration(&entry.value)).filter(|window| !window.is_zero());
        let window = window.unwrap_or(Duration::from_secs(86400));
        restart.reset_after = Some(window);
        match ends {
            true => {
                restart.burst = u32::try_from(waits.len()).ok();
                restart.within = Some(window);
            }
            false => restart.burst = Some(0),
        }
        match reset {
            Some((entry, _)) if duration(&entry.value).is_none() => {
                let how = format!("{:?} is no duration: one day instead", entry.value);
                self.report().changed(&entry, "restart.reset_after", how);
            }
            Some((entry, _)) => {
                let how = "a run this long clears the count, where Windows counted from the last failure";
                self.report().changed(&entry, "restart.reset_after", how);
            }
            None => self.report().note("Windows forgets failures after a day where resetfailure is missing"),
        }
        if !ends {
            self.report().note("the last onfailure of WinSW is for all that follow, so it never gives up: burst = 0");
        }
    }

    fn stop(&mut self) {
        let timeout = match self.get("stoptimeout") {
            None => Duration::from_secs(15),
            Some((entry, _)) => match duration(&entry.value) {
                Some(timeout) => {
                    self.report().kept(&entry, "stop.ladder");
                    timeout
                }
                None => {
                    let how = format!("{:?} is no duration: 15s instead, as WinSW has it", entry.value);
                    self.report().changed(&entry, "stop.ladder", how);
                    Duration::from_secs(15)
                }
            },
        };
        let mut words = Vec::new();
        let mut told = Vec::new();
        for (entry, _) in self.every("stoparguments") {
            words.extend(shell::windows(&entry.value));
            told.push(entry);
        }
        for (entry, _) in self.every("stopargument") {
            words.push(entry.value.clone());
            told.push(entry);
        }
        let executable = self.get("stopexecutable");
        if !told.is_empty() || executable.is_some() {
            let program = executable.as_ref().map(|(entry, _)| self.text(&entry.value));
            let program = program.unwrap_or_else(|| self.it.command.first().cloned().unwrap_or_default());
            let mut command = vec![program];
            command.extend(words.iter().map(|word| self.text(word)));
            let hidden = hide_secrets(&mut command);
            told.extend(executable.map(|(entry, _)| entry));
            for entry in told {
                if hidden.is_empty() {
                    self.report().kept(&entry, "stop.ladder");
                }
                tell_secrets(&mut self.work.report, &entry, "stop.ladder", &hidden);
            }
            self.it.ladder.push(Step { way: Way::Command(command), wait: Some(timeout) });
        } else {
            self.it.ladder.push(Step { way: Way::CtrlC, wait: Some(timeout) });
        }
        self.it.ladder.push(Step { way: Way::Kill, wait: None });
        if let Some((entry, _)) = self.get("stopparentprocessfirst") {
            let how = "the program itself is asked first, then the whole tree ends";
            self.report().changed(&entry, "stop.ladder", how);
        }
    }

    fn account(&mut self) {
        for (entry, node) in self.every("serviceaccount") {
            let get =
                |names: &[&str]| names.iter().find_map(|name| child_text(node, name)).filter(|text| !text.is_empty());
            let user = get(&["username", "user"]);
            let domain = get(&["domain"]);
            let name = match (user, domain) {
                (None, _) => {
                    self.report().lost(&entry, "it names no account");
                    continue;
                }
                (Some(user), None) => user,
                (Some(user), Some(_)) if user.contains(['\\', '@']) => user,
                (Some(user), Some(domain)) => format!("{domain}\\{user}"),
            };
            match name.to_ascii_lowercase().as_str() {
                "localsystem" | "nt authority\\system" => {
                    let how = "a guard runs under an account of its own by default; where the program needs the rights of \
                               the system, write account = \"system\" under [install]";
                    self.report().changed(&entry, "", how);
                }
                _ => {
                    self.report().kept(&entry, "user");
                    self.it.user = Some(name);
                }
            }
            for child in elements(node) {
                let line = self.document.text_pos_at(child.range().start).row;
                let key = format!("serviceaccount/{}", child.tag_name().name());
                let service = self.it.name.clone();
                let entry = self.work.report.entry(&self.source.shown, line, &service, &key, "");
                match tag(child).as_str() {
                    "username" | "user" | "domain" => self.report().kept(&entry, "user"),
                    "password" => self
                        .report()
                        .lost(&entry, "a secret is not copied; give it to the OS when the guard is installed"),
                    "allowservicelogon" => {
                        self.report().changed(&entry, "", "the right is given when the guard is installed")
                    }
                    "prompt" => self.report().lost(&entry, "passwords are asked for when the guard is installed"),
                    _ => {}
                }
            }
        }
    }

    fn logs(&mut self) {
        if let Some((entry, _)) = self.get("logpath").or_else(|| self.get("logdir")) {
            self.it.logs.dir = Some(self.text(&entry.value));
            self.report().changed(&entry, "logs.dir", "both streams go into one log in this folder");
        } else {
            self.report().note("WinSW writes logs beside itself; Tutela into the guard's folder of logs unless logs.dir says otherwise");
        }
        let log = self.get("log").or_else(|| self.get("logmode"));
        let Some((entry, node)) = log else { return };
        let mode = attribute(node, "mode").map_or_else(|| entry.value.clone(), str::to_owned).to_ascii_lowercase();
        let logs = &mut self.it.logs;
        let how = match mode.as_str() {
            "" | "append" => {
                logs.rotate_size = Some(0);
                None
            }
            "reset" => Some("logs are not emptied at a start; they are rotated at 50 MiB"),
            "rotate" | "roll-by-size" => {
                logs.rotate_size = Some(10 * 1024 * 1024);
                logs.keep = Some(8);
                None
            }
            "roll-by-time" => {
                logs.rotate_size = Some(0);
                logs.rotate_every = Some(Duration::from_secs(86400));
                Some("a file has the age of one day, whatever the pattern; the period counts from its beginning")
            }
            "roll-by-size-time" => {
                logs.rotate_size = Some(10 * 1024 * 1024);
                logs.rotate_every = Some(Duration::from_secs(86400));
                Some("a file is rotated by size and by an age of one day, not at a time of day")
            }
            "roll" => Some("logs are rotated by size, not at each start"),
            "none" => Some("output is always kept; it is rotated at 50 MiB"),
            _ => Some("it is no mode of WinSW; logs are rotated at 50 MiB"),
        };
        match how {
            None => self.report().kept(&entry, "logs"),
            Some(how) => self.report().changed(&entry, "logs", how),
        }
        for child in elements(node) {
            self.log_key(child);
        }
    }

    fn log_key(&mut self, node: Node<'a, 'i>) {
        let line = self.document.text_pos_at(node.range().start).row;
        let value = value_of(node);
        let service = self.it.name.clone();
        let key = format!("log/{}", node.tag_name().name());
        let entry = self.work.report.entry(&self.source.shown, line, &service, &key, &value);
        let number: Option<u64> = value.parse().ok();
        match (tag(node).as_str(), number) {
            ("sizethreshold", Some(kib)) => {
                self.it.logs.rotate_size = Some(kib.saturating_mul(1024).clamp(4096, 1 << 60));
                self.report().kept(&entry, "logs.rotate_size");
            }
            ("keepfiles", Some(keep)) => {
                self.it.logs.keep = Some(u32::try_from(keep).unwrap_or(u32::MAX).min(100_000));
                self.report().kept(&entry, "logs.keep");
            }
            ("period", Some(days)) => {
                self.it.logs.rotate_every =
                    Some(Duration::from_secs(days.saturating_mul(86400).clamp(1, 3650 * 86400)));
                self.report().kept(&entry, "logs.rotate_every");
            }
            ("pattern", _) => {
                self.report().lost(&entry, "rotated files are named by the guard; rotate_every says how often")
            }
            ("autorollattime", _) => self.report().lost(&entry, "files are rotated by age, not at a time of day"),
            ("zipolderthannumdays" | "zipdateformat", _) => {
                self.report().lost(&entry, "rotated files are not compressed; keep bounds them");
            }
            ("sizethreshold" | "keepfiles" | "period", None) => self.report().lost(&entry, "it is no number"),
            _ => {}
        }
    }

    fn hooks(&mut self) {
        for (key, to, how) in [
            ("prestart", "hooks.before_start", "a failing one fails the start"),
            ("poststart", "hooks.after_ready", "it runs once the program is ready"),
            ("prestop", "hooks.before_stop", ""),
            ("poststop", "hooks.after_exit", "it runs after each end, not only after a stop"),
        ] {
            for (entry, node) in self.every(key) {
                let Some(executable) = child_text(node, "executable").filter(|text| !text.is_empty()) else {
                    self.report().lost(&entry, "it has no <executable>");
                    continue;
                };
                let mut words = vec![self.text(&executable)];
                let arguments = child_text(node, "arguments").unwrap_or_default();
                words.extend(shell::windows(&arguments).iter().map(|word| self.text(word)));
                let hidden = hide_secrets(&mut words);
                tell_secrets(&mut self.work.report, &entry, to, &hidden);
                let list = match key {
                    "prestart" => &mut self.it.before_start,
                    "poststart" => &mut self.it.after_ready,
                    "prestop" => &mut self.it.before_stop,
                    _ => &mut self.it.after_exit,
                };
                list.push(Hook::new(words));
                match (how, hidden.is_empty()) {
                    ("", true) => self.report().kept(&entry, to),
                    ("", false) => {}
                    (how, _) => self.report().changed(&entry, to, how),
                }
                for child in elements(node).filter(|node| tag(*node).starts_with("std")) {
                    let line = self.document.text_pos_at(child.range().start).row;
                    let service = self.it.name.clone();
                    let shown = format!("{key}/{}", child.tag_name().name());
                    let entry = self.work.report.entry(&self.source.shown, line, &service, &shown, "");
                    self.report().lost(&entry, "the output of hooks goes into the guard's events");
                }
            }
        }
    }
}

fn is_cmd(command: &[Text]) -> bool {
    command.first().is_some_and(|program| {
        let lower = program.as_str().to_ascii_lowercase();
        let file = lower.rsplit(['/', '\\']).next().unwrap_or_default();
        matches!(file, "cmd" | "cmd.exe") || shell::is_batch(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, expected) in
            [("10 sec", 10_000), ("1 hour", 3_600_000), ("500", 500), ("2min", 120_000), ("1 day", 86_400_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(expected)), "{text}");
        }
        assert_eq!((duration("soon"), duration("5 fortnights"), duration("")), (None, None, None));
    }

    #[test]
    fn variables_are_of_the_service_or_read_later() {
        let own = BTreeMap::from([("BASE".to_owned(), "C:\\x".to_owned()), ("PATH".to_owned(), "y;%PATH%".to_owned())]);
        assert_eq!(variables("%base%\\a;%JAVA_HOME%;%PATH%;50%", &own).as_str(), "C:\\x\\a;${JAVA_HOME:};${PATH:};50%");
    }
}
