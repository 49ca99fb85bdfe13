//! A draft as TOML for people: keys in the order of the reference, comments where something is not as it was.

use super::draft::{Draft, Hook, Service, Step, Way};
use super::report::{Fate, Report};
use super::text::{Text, key, quoted, size, span};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The width at which comments are broken.
const COMMENT_WIDTH: usize = 110;

/// An array longer than this has its items on lines of their own.
const ARRAY_WIDTH: usize = 100;

/// The spec.
pub(super) fn spec(name: &str, draft: &Draft, report: &Report) -> String {
    let mut out = String::new();
    let from: Vec<String> =
        report.sources.iter().map(|(file, format)| format!("{file} ({})", format.title())).collect();
    comment(&mut out, &format!("Made by `tutela import` from {}.", from.join(", ")));
    let lost = report.count(Fate::Lost);
    if lost > 0 {
        let keys = if lost == 1 { "One key is".to_owned() } else { format!("{lost} keys are") };
        comment(&mut out, &format!("{keys} lost; each is named where it belongs. Read this file before it is used."));
    } else {
        comment(&mut out, "Nothing is lost. Read this file before it is used.");
    }
    let _ = writeln!(out, "name = {}", quoted(name));
    let general = report.findings.iter().filter(|it| it.fate == Fate::Lost && it.service.is_empty());
    let general: Vec<String> = general.map(|it| format!("Lost: {}: {}", it.key, it.note)).collect();
    if !general.is_empty() {
        out.push('\n');
        for line in general {
            comment(&mut out, &line);
        }
    }
    if !draft.after.is_empty() {
        let _ = writeln!(out, "\n# For `tutela install`.\n[install]");
        for finding in report.findings.iter().filter(|it| it.to == "install.after") {
            comment(&mut out, &format!("{}: {}", finding.key, finding.note));
        }
        let _ = writeln!(out, "after = {}", array(&draft.after));
    }
    for service in &draft.services {
        Writer { out: &mut out, report, service }.service();
    }
    out
}

/// The overlays of the profiles.
pub(super) fn overlays(name: &str, draft: &Draft) -> BTreeMap<String, String> {
    let overlay = |(profile, services): (&String, &BTreeMap<String, BTreeMap<String, Text>>)| {
        let mut out = String::new();
        comment(&mut out, &format!("Overlays {name}.toml with `--profile {profile}`."));
        for (service, env) in services {
            let _ = writeln!(out, "\n[services.{}.env]", key(service));
            for (name, value) in env {
                let _ = writeln!(out, "{} = {}", key(name), quoted(value.as_str()));
            }
        }
        (profile.clone(), out)
    };
    draft.profiles.iter().map(overlay).collect()
}

/// A comment, broken at its width.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    // A control character could end the comment, and TOML forbids the others.
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if line.chars().count() + word.chars().count() + 1 > COMMENT_WIDTH && line.len() > 1 {
            let _ = writeln!(out, "{line}");
            line = String::from("#  ");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn array<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    lines(&items)
}

/// Items that are TOML already, on one line or on one each.
fn lines(items: &[String]) -> String {
    let flat = items.join(", ");
    if flat.len() <= ARRAY_WIDTH {
        return format!("[{flat}]");
    }
    format!("[\n    {},\n]", items.join(",\n    "))
}

/// The words of a command as TOML. The program is never nothing: a variable that is missing leaves its name.
fn command_items(command: &[Text]) -> Vec<String> {
    let program = command.first().map(|program| match program.as_str().strip_prefix("${") {
        Some(rest) => program.or(rest.trim_end_matches(":}")),
        None => program.clone(),
    });
    program.iter().chain(command.iter().skip(1)).map(|word| quoted(word.as_str())).collect()
}

fn words(command: &[Text]) -> String {
    lines(&command_items(command))
}

/// A command within a table of one line.
fn flat(command: &[Text]) -> String {
    format!("[{}]", command_items(command).join(", "))
}

fn paths(texts: &[Text]) -> String {
    array(&texts.iter().map(Text::as_str).collect::<Vec<_>>())
}

/// The name of an account. A dollar at its end, as managed accounts have it, means nothing by itself.
fn account(name: &str) -> String {
    let means = name.contains("${") || name.contains("$$");
    if means { quoted(Text::literal(name).as_str()) } else { quoted(name) }
}

fn number(value: f64) -> String {
    // Three digits tell more than any wait can show.
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded:?}")
}

struct Writer<'a> {
    out: &'a mut String,
    report: &'a Report,
    service: &'a Service,
}

impl Writer<'_> {
    fn service(&mut self) {
        let it = self.service;
        let name = key(&it.name);
        self.out.push('\n');
        comment(self.out, &format!("From {}.", it.from));
        let lost =
            self.report.findings.iter().filter(|finding| finding.fate == Fate::Lost && finding.service == it.name);
        for finding in lost {
            comment(self.out, &format!("Lost: {}: {}", finding.key, finding.note));
        }
        let _ = writeln!(self.out, "[services.{name}]");
        if !it.description.is_empty() {
            self.put("description", Some(quoted(it.description.as_str())));
        }
        self.put("command", Some(words(&it.command)));
        self.put("cwd", it.cwd.as_ref().map(|cwd| quoted(cwd.or("/").as_str())));
        let file = |file: &super::draft::EnvFile| match file.optional {
            true => format!("{{ path = {}, optional = true }}", quoted(file.path.as_str())),
            false => quoted(file.path.as_str()),
        };
        self.put_some("env_files", &it.env_files.iter().map(file).collect::<Vec<_>>());
        self.put("needs", (!it.needs.is_empty()).then(|| array(&it.needs)));
        self.put("instances", it.instances.map(|count| count.to_string()));
        self.put("start", it.start.map(quoted));
        self.put("start_timeout", it.start_timeout.map(|time| quoted(&span(time))));
        self.put("user", it.user.as_deref().map(account));
        self.put("group", it.group.as_deref().map(account));
        self.put("umask", it.umask.map(|bits| quoted(&format!("{bits:03o}"))));
        self.env();
        self.restart();
        self.stop();
        self.probes();
        self.limits();
        self.security();
        self.logs();
        self.hooks();
    }

    /// A key with the comments about how it came to be what it is.
    fn put(&mut self, to: &str, value: Option<String>) {
        let Some(value) = value else { return };
        self.comments(to);
        let last = to.rsplit('.').next().unwrap_or(to);
        let _ = writeln!(self.out, "{last} = {value}");
    }

    fn comments(&mut self, to: &str) {
        let about = self.report.findings.iter().filter(|it| it.service == self.service.name && it.to == to);
        let mut said: Vec<String> = Vec::new();
        for finding in about.filter(|it| it.fate == Fate::Changed) {
            let text = format!("{}: {}", finding.key, finding.note);
            if !said.contains(&text) {
                comment(self.out, &text);
                said.push(text);
            }
        }
    }

    fn put_some(&mut self, to: &str, items: &[String]) {
        self.put(to, (!items.is_empty()).then(|| lines(items)));
    }

    fn table(&mut self, path: &str, any: bool) -> bool {
        if any {
            let _ = writeln!(self.out, "\n[services.{}.{path}]", key(&self.service.name));
            self.comments(path);
        }
        any
    }

    fn env(&mut self) {
        let it = self.service;
        if !self.table("env", !it.env.is_empty()) {
            return;
        }
        for (name, value) in &it.env {
            self.comments(&format!("env.{}", key(name)));
            let _ = writeln!(self.out, "{} = {}", key(name), quoted(value.as_str()));
        }
    }

    fn restart(&mut self) {
        let it = &self.service.restart;
        let any = it.when.is_some() || it.success_codes.is_some() || it.delay.is_some() || it.burst.is_some();
        if !self.table("restart", any || it.reset_after.is_some()) {
            return;
        }
        let time = |time: Option<std::time::Duration>| time.map(|time| quoted(&span(time)));
        self.put("restart.when", it.when.map(quoted));
        let codes = it.success_codes.as_ref().map(|codes| {
            let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
            format!("[{}]", codes.join(", "))
        });
        self.put("restart.success_codes", codes);
        self.put("restart.delay", time(it.delay));
        self.put("restart.factor", it.factor.map(number));
        self.put("restart.max_delay", time(it.max_delay));
        self.put("restart.jitter", it.jitter.map(number));
        self.put("restart.reset_after", time(it.reset_after));
        self.put("restart.burst", it.burst.map(|burst| burst.to_string()));
        self.put("restart.within", time(it.within));
        self.put("restart.cooldown", time(it.cooldown));
    }

    fn stop(&mut self) {
        let it = self.service;
        if self.table("stop", !it.ladder.is_empty()) {
            self.put_some("stop.ladder", &it.ladder.iter().map(step).collect::<Vec<_>>());
        }
    }

    fn probes(&mut self) {
        let it = self.service;
        if self.table("ready", it.ready_notify) {
            self.put("ready.notify", Some("true".to_owned()));
        }
        if self.table("live", it.watchdog.is_some()) {
            self.put("live.notify", Some("true".to_owned()));
            self.put("live.every", it.watchdog.map(|time| quoted(&span(time))));
            self.put("live.failures", Some("1".to_owned()));
        }
    }

    fn limits(&mut self) {
        let it = &self.service.limits;
        let numbers = it.memory.is_some() || it.cpu.is_some() || it.processes.is_some() || it.open_files.is_some();
        if !self.table("limits", numbers || it.core.is_some() || it.priority.is_some()) {
            return;
        }
        self.put("limits.memory", it.memory.map(|bytes| quoted(&size(bytes))));
        self.put("limits.cpu", it.cpu.map(|percent| quoted(&format!("{percent}%"))));
        self.put("limits.processes", it.processes.map(|count| count.to_string()));
        self.put("limits.open_files", it.open_files.map(|count| count.to_string()));
        let core = |bytes: u64| quoted(&if bytes == 0 { "0".to_owned() } else { size(bytes) });
        self.put("limits.core", it.core.map(core));
        self.put("limits.priority", it.priority.map(quoted));
    }

    fn security(&mut self) {
        let it = &self.service.security;
        let any = !it.read_only_paths.is_empty() || !it.writable_paths.is_empty();
        if !self.table("security", it.no_new_privileges || it.capabilities.is_some() || any) {
            return;
        }
        self.put("security.no_new_privileges", it.no_new_privileges.then(|| "true".to_owned()));
        self.put("security.capabilities", it.capabilities.as_ref().map(|names| array(names)));
        for (to, list) in
            [("security.read_only_paths", &it.read_only_paths), ("security.writable_paths", &it.writable_paths)]
        {
            self.put(to, (!list.is_empty()).then(|| paths(&list.iter().map(|path| path.or("/")).collect::<Vec<_>>())));
        }
    }

    fn logs(&mut self) {
        let it = &self.service.logs;
        let any = it.dir.is_some() || it.timestamps.is_some() || it.rotate_size.is_some();
        if !self.table("logs", any || it.rotate_every.is_some() || it.keep.is_some()) {
            return;
        }
        self.put("logs.dir", it.dir.as_ref().map(|dir| quoted(dir.or(".").as_str())));
        self.put("logs.timestamps", it.timestamps.map(|yes| yes.to_string()));
        let bytes = |bytes: u64| quoted(&if bytes == 0 { "0".to_owned() } else { size(bytes) });
        self.put("logs.rotate_size", it.rotate_size.map(bytes));
        self.put("logs.rotate_every", it.rotate_every.map(|time| quoted(&span(time))));
        self.put("logs.keep", it.keep.map(|count| count.to_string()));
    }

    fn hooks(&mut self) {
        let it = self.service;
        let kinds = [
            ("hooks.before_start", &it.before_start),
            ("hooks.after_ready", &it.after_ready),
            ("hooks.before_stop", &it.before_stop),
            ("hooks.after_exit", &it.after_exit),
        ];
        if !self.table("hooks", kinds.iter().any(|(_, hooks)| !hooks.is_empty())) {
            return;
        }
        for (to, hooks) in kinds {
            self.put_some(to, &hooks.iter().map(hook).collect::<Vec<_>>());
        }
    }
}

fn step(step: &Step) -> String {
    let way = match &step.way {
        Way::Command(command) => format!("command = {}", flat(command)),
        Way::Signal(name) => format!("signal = {}", quoted(name)),
        Way::CtrlC => "ctrl-c = true".to_owned(),
        Way::CloseWindow => "close-window = true".to_owned(),
        Way::Kill => "kill = true".to_owned(),
    };
    match step.wait {
        Some(wait) => format!("{{ {way}, wait = {} }}", quoted(&span(wait))),
        None => format!("{{ {way} }}"),
    }
}

fn hook(hook: &Hook) -> String {
    let timeout = hook.timeout.map(|time| format!(", timeout = {}", quoted(&span(time)))).unwrap_or_default();
    format!("{{ command = {}{timeout} }}", flat(&hook.command))
}
