//! WinSW: an XML file beside its executable, in the forms of versions 1 to 3.

mod around;
mod policy;

use super::Work;
use super::draft::{Service, hide_secrets, tell_secrets};
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
