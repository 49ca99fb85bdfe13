//! pm2: the `apps` of an ecosystem file.
//!
//! What pm2 does where a key is missing is written out where Tutela does something else: SIGINT and 1.6 s to stop, 16
//! quick restarts before it gives up, a run of 1 s that counts as stable.

mod policy;

use super::Work;
use super::draft::{EnvFile, Service, hide_secrets, tell_secrets};
use super::json::{self, Kind, Value};
use super::report::{Entry, Report};
use super::shell;
use super::source::{ImportError, Source, place};
use super::text::Text;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most copies that a service can have.
const INSTANCES_MAX: f64 = 1000.0;

/// How long pm2 waits between SIGINT and SIGKILL.
const KILL_TIMEOUT: f64 = 1600.0;

/// How many restarts in a row pm2 tries of a program that does not become stable.
const MAX_RESTARTS: f64 = 16.0;

/// A run this long, in milliseconds, is stable to pm2.
const MIN_UPTIME: f64 = 1000.0;

/// The longest wait that pm2's exponential back-off comes to, in milliseconds.
const BACKOFF_MAX: u64 = 15_000;

/// Keys that have no place here, with what takes it.
const LOST: &[(&str, &str)] = &[
    ("watch", "files are not watched; a build tool that runs `tutela restart` does it"),
    ("ignore_watch", "files are not watched"),
    ("watch_delay", "files are not watched"),
    ("watch_options", "files are not watched"),
    ("cron_restart", "nothing restarts by the clock; let cron or a timer run `tutela restart NAME/SERVICE`"),
    ("cron", "nothing restarts by the clock; let cron or a timer run `tutela restart NAME/SERVICE`"),
    ("shutdown_with_message", "messages over the IPC of Node are not sent; let the program listen to SIGINT"),
    ("increment_var", "write a text with ${instance} instead, such as PORT = \"300${instance}\""),
    ("filter_env", "the guard's own environment is passed on; start the guard with less of it"),
    ("post_update", "releases are not built here"),
    ("vizion", "repositories are not looked at"),
    ("source_map_support", "add --enable-source-maps to the arguments of node"),
    ("disable_source_map_support", "nothing adds it"),
    ("trace", "nothing traces the program"),
    ("pmx", "nothing is added to the program"),
    ("automation", "nothing is added to the program"),
    ("force", "each service is started once"),
    ("namespace", "services have no groups; a guard of its own is one"),
    ("log_date_format", "timestamps have one form, RFC 3339"),
    ("log_type", "lines are kept as the program wrote them"),
    ("pid_file", "no file has the process id; `tutela status --json` tells it"),
    ("pid", "no file has the process id; `tutela status --json` tells it"),
];

/// Reads every app.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let root = json::parse(text, &source.shown)?;
    let mut lines = Lines { text, counted: 0, line: 1 };
    let apps: Vec<&Value> = match (&root.kind, root.get("apps")) {
        (Kind::List(items), _) => items.iter().collect(),
        (_, Some(apps)) if !apps.items().is_empty() => apps.items().iter().collect(),
        (_, Some(app)) if !app.members().is_empty() => vec![app],
        (Kind::Table(_), _) if root.get("script").is_some() => vec![&root],
        _ => {
            let (line, column) = place(text, root.at);
            let message = "there are no apps in it";
            return Err(
                ImportError::at(&source.shown, line, column, message).help("an ecosystem of pm2 has apps: [ … ]")
            );
        }
    };
    for app in apps {
        let Some(script) = app.get("script").and_then(Value::text).filter(|script| !script.trim().is_empty()) else {
            let (line, column) = place(text, app.at);
            let message = "an app has no script";
            return Err(ImportError::at(&source.shown, line, column, message).help("each app has a script"));
        };
        let file = script.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = file.split(['.', ' ']).next().filter(|stem| !stem.is_empty()).unwrap_or("app");
        let wanted = app.get("name").and_then(Value::text).unwrap_or_else(|| stem.to_owned());
        let name = work.draft.name(&wanted, &mut work.report);
        work.needs.know(&wanted, &name);
        let mut it = Service { name: name.clone(), from: format!("{} (pm2)", source.shown), ..Service::default() };
        let mut keys: BTreeMap<&str, (Entry, &Value)> = BTreeMap::new();
        for (key, at, value) in app.members() {
            let entry = work.report.entry(&source.shown, lines.of(*at), &name, key, &value.shown());
            keys.insert(key, (entry, value));
        }
        App { work, it: &mut it, keys: &keys, source, lines: &mut lines }.all(&wanted, &script)?;
        work.draft.services.push(it);
    }
    if root.get("apps").is_some() {
        for (key, at, value) in root.members().iter().filter(|(key, _, _)| key != "apps") {
            let entry = work.report.entry(&source.shown, lines.of(*at), "", key, &value.shown());
            if key == "deploy" {
                work.report.lost(&entry, "programs are not deployed here; keep it for the tool that does it");
            }
        }
    }
    Ok(())
}

/// Lines of bytes that mostly come in order.
struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: u32,
}

impl Lines<'_> {
    fn of(&mut self, at: usize) -> u32 {
        if at < self.counted {
            return place(self.text, at).0;
        }
        let passed = self.text.get(self.counted..at).unwrap_or_default().matches('\n').count();
        self.line = self.line.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.counted = at;
        self.line
    }
}

struct App<'r, 'w, 'a> {
    work: &'r mut Work<'w>,
    it: &'r mut Service,
    keys: &'r BTreeMap<&'a str, (Entry, &'a Value)>,
    source: &'r Source,
    lines: &'r mut Lines<'a>,
}

/// A time of pm2: milliseconds, or a text with a unit.
fn millis(value: &Value) -> Option<f64> {
    if let Some(number) = value.number() {
        return (number >= 0.0).then_some(number);
    }
    let text = value.text()?.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text.get(..end)?.parse().ok()?;
    let factor = match text.get(end..)? {
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    Some(number * factor)
}

/// The most that a time of a spec can be, in milliseconds.
const TIME_MAX: f64 = 3650.0 * 86_400_000.0;

fn span(millis: f64) -> Duration {
    Duration::from_secs_f64(millis.clamp(0.0, TIME_MAX) / 1000.0)
}

/// Memory of pm2: bytes, or `300M`.
fn memory(value: &Value) -> Option<u64> {
    let text = value.text()?.trim().to_ascii_uppercase();
    let digits = text.trim_end_matches('B');
    let (number, unit) = match digits.chars().last()? {
        'K' => (digits.strip_suffix('K')?, 1024.0),
        'M' => (digits.strip_suffix('M')?, 1024.0 * 1024.0),
        'G' => (digits.strip_suffix('G')?, 1024.0 * 1024.0 * 1024.0),
        _ => (digits, 1.0),
    };
    let bytes = number.trim().parse::<f64>().ok()? * unit;
    // A memory of a petabyte is a mistake, and a float of that size is exact.
    (1.0..1e15).contains(&bytes).then_some(bytes as u64)
}

impl<'a> App<'_, '_, 'a> {
    fn report(&mut self) -> &mut Report {
        &mut self.work.report
    }

    /// The first of the names that there is, for keys with several.
    fn get(&self, names: &[&str]) -> Option<(Entry, &'a Value)> {
        names.iter().find_map(|name| self.keys.get(name)).map(|(entry, value)| (entry.clone(), *value))
    }

    fn all(&mut self, wanted: &str, script: &str) -> Result<(), Box<ImportError>> {
        if let Some((entry, _)) = self.get(&["name"]) {
            match *wanted == self.it.name {
                true => self.report().kept(&entry, ""),
                false => self.report().changed(&entry, "", "it is made to fit"),
            }
        }
        self.command(script);
        self.instances();
        self.environment();
        self.restart();
        self.stop();
        self.limits();
        self.logs();
        for (key, why) in LOST {
            if let Some((entry, value)) = self.get(&[key]) {
                match value.kind {
                    Kind::Bool(false) | Kind::Null if !matches!(*key, "vizion" | "automation" | "pmx") => {
                        self.report().kept(&entry, "");
                    }
                    Kind::Bool(false) => self.report().kept(&entry, ""),
                    _ => self.report().lost(&entry, *why),
                }
            }
        }
        Ok(())
    }

    fn words(&self, value: &Value) -> Vec<String> {
        match value.text() {
            Some(text) => {
                shell_words::split(&text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
            }
            None => value.items().iter().filter_map(Value::text).collect(),
        }
    }

    fn command(&mut self, script: &str) {
        let script_entry = self.get(&["script"]).map(|(entry, _)| entry);
        let interpreter = self.get(&["interpreter", "exec_interpreter"]);
        let flags = self.get(&["node_args", "interpreter_args", "interpreterArgs"]);
        let chosen = interpreter.as_ref().and_then(|(_, value)| value.text()).filter(|text| !text.is_empty());
        let by_end = [
            (".js", "node"),
            (".cjs", "node"),
            (".mjs", "node"),
            (".py", "python3"),
            (".sh", "bash"),
            (".rb", "ruby"),
            (".pl", "perl"),
            (".php", "php"),
            (".ts", "bun"),
            (".coffee", "coffee"),
        ];
        let ending = by_end.iter().find(|(end, _)| script.ends_with(end)).map(|(_, program)| *program);
        let mut words: Vec<Text> = Vec::new();
        let mut how = None;
        if script.contains(' ') && chosen.is_none() {
            let line = shell::posix(script);
            how = line.told();
            words = line.words;
        } else {
            match (chosen.as_deref(), ending) {
                (Some("none"), _) => {}
                (Some(program), _) => words.push(Text::literal(program)),
                (None, Some(program)) => {
                    how = Some(format!("{program} runs it, told by its ending"));
                    words.push(Text::literal(program));
                }
                (None, None) if script.contains('/') => {
                    let note = "pm2 runs a text without an ending by node; here it runs by itself, so its first line says what runs it";
                    how = Some(note.to_owned());
                }
                (None, None) => {}
            }
            if let Some((entry, value)) = &flags {
                if words.is_empty() {
                    self.report().lost(entry, "there is no interpreter that could get it");
                } else {
                    words.extend(self.words(value).iter().map(|word| Text::literal(word)));
                    self.report().kept(entry, "command");
                }
            }
            // A program is found from the folder of the spec, an argument from the working folder, where pm2 looks.
            let is_program = words.is_empty();
            let path = script.contains('/') && is_program && !script.starts_with('/');
            let cwd = self.get(&["cwd"]).and_then(|(_, value)| value.text());
            let full = match (path, cwd) {
                (true, Some(cwd)) => {
                    self.source.path(&format!("{}/{}", cwd.trim_end_matches('/'), script.trim_start_matches("./")))
                }
                (true, None) => self.source.path(script),
                (false, _) => script.to_owned(),
            };
            words.push(Text::literal(&full));
        }
        if let Some((entry, _)) = &interpreter {
            self.report().kept(entry, "command");
        }
        if let Some(entry) = &script_entry {
            match how {
                None => self.report().kept(entry, "command"),
                Some(how) => self.report().changed(entry, "command", how),
            }
        }
        if let Some((entry, value)) = self.get(&["args"]) {
            let mut args: Vec<Text> = self.words(value).iter().map(|word| Text::literal(word)).collect();
            let hidden = hide_secrets(&mut args);
            if hidden.is_empty() {
                self.report().kept(&entry, "command");
            }
            tell_secrets(&mut self.work.report, &entry, "command", &hidden);
            words.extend(args);
        }
        self.it.command = words;
        match self.get(&["cwd"]) {
            Some((entry, value)) => {
                let cwd = self.source.path(&value.text().unwrap_or_default());
                self.it.cwd = Some(Text::literal(&cwd));
                self.report().kept(&entry, "cwd");
            }
            None if !self.source.beside => self.it.cwd = Some(Text::literal(self.source.folder())),
            None => {}
        }
        for (name, to) in [("uid", "user"), ("user", "user"), ("gid", "group")] {
            if let Some((entry, value)) = self.get(&[name]) {
                let text = value.text().filter(|text| !text.trim().is_empty());
                match (text, to) {
                    (None, _) => self.report().lost(&entry, "it names no account"),
                    (Some(text), to) => {
                        *(if to == "user" { &mut self.it.user } else { &mut self.it.group }) = Some(text);
                        self.report().kept(&entry, to);
                    }
                }
            }
        }
    }

    fn instances(&mut self) {
        let cluster = self.get(&["exec_mode"]);
        let clustered =
            cluster.as_ref().and_then(|(_, value)| value.text()).is_some_and(|mode| mode.starts_with("cluster"));
        let mut count = 1.0;
        if let Some((entry, value)) = self.get(&["instances"]) {
            match value.number() {
                Some(number) if (1.0..=INSTANCES_MAX).contains(&number) && number.fract() == 0.0 => {
                    count = number;
                    self.report().kept(&entry, "instances");
                }
                _ => {
                    let how = "the number of processors is not looked up; write the number that is wanted";
                    self.report().changed(&entry, "instances", how);
                    self.it.instances = Some(1);
                }
            }
        }
        if count > 1.0 {
            // In range: it was compared above.
            self.it.instances = Some(count as u16);
            let named = self.get(&["instance_var"]);
            let variable =
                named.as_ref().and_then(|(_, value)| value.text()).unwrap_or_else(|| "NODE_APP_INSTANCE".to_owned());
            self.report().note(format!("pm2 tells each copy its number in {variable}: it is set in env"));
            self.it.env.insert(variable, Text::instance());
        }
        if let Some((entry, value)) = self.get(&["instance_var"]) {
            match (value.text(), count > 1.0) {
                (Some(name), true) => self.report().kept(&entry, &format!("env.{}", super::text::key(&name))),
                _ => self.report().kept(&entry, ""),
            }
        }
        if let Some((entry, _)) = cluster {
            match (clustered, count > 1.0) {
                (false, _) => self.report().kept(&entry, ""),
                (true, false) => self.report().changed(&entry, "", "it runs by itself, without the cluster of Node"),
                (true, true) => {
                    let why = "copies do not share a port: give each its own, such as PORT = \"300${instance}\", with a proxy \
                               before them, or let the program use the cluster of Node itself";
                    self.report().lost(&entry, why);
                }
            }
        }
    }

    fn environment(&mut self) {
        for (key, (entry, value)) in self.keys {
            match *key {
                "env" => {
                    if let Kind::Text(text) = &value.kind {
                        self.report().lost(entry, format!("{text:?} is no table of variables"));
                        continue;
                    }
                    for (name, at, value) in value.members() {
                        let line = self.lines.of(*at);
                        let service = self.it.name.clone();
                        let one =
                            self.work.report.entry(&self.source.shown, line, &service, &format!("env.{name}"), "");
                        match value.text() {
                            Some(text) => self.it.set(&mut self.work.report, &one, name, Text::literal(&text)),
                            None => self.report().lost(&one, "it is no text"),
                        }
                    }
                    self.report().kept(entry, "env");
                }
                "env_file" => match value.text() {
                    Some(path) => {
                        let path = Text::literal(&self.source.path(&path));
                        self.it.env_files.push(EnvFile { path, optional: false });
                        self.report().kept(entry, "env_files");
                    }
                    None => self.report().lost(entry, "it is no path"),
                },
                key if key.starts_with("env_") => {
                    let profile = super::text::fit_name(&key["env_".len()..], "profile").0;
                    let how =
                        format!("it is in the overlay of the profile {profile}: tutela run SPEC --profile {profile}");
                    self.report().changed(entry, "env", how);
                    self.profile(&profile, value);
                }
                "append_env_to_name" => self.report().lost(entry, "a service has one name in each profile"),
                _ => {}
            }
        }
    }

    fn profile(&mut self, profile: &str, value: &'a Value) {
        let mut env = BTreeMap::new();
        for (name, at, value) in value.members() {
            let line = self.lines.of(*at);
            let service = self.it.name.clone();
            let entry =
                self.work.report.entry(&self.source.shown, line, &service, &format!("env_{profile}.{name}"), "");
            // `set` knows what a secret is.
            let mut scratch = Service::default();
            match value.text() {
                Some(text) => scratch.set(&mut self.work.report, &entry, name, Text::literal(&text)),
                None => self.report().lost(&entry, "it is no text"),
            }
            env.extend(scratch.env);
        }
        let service = self.it.name.clone();
        self.work.draft.profiles.entry(profile.to_owned()).or_default().insert(service, env);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_of_pm2_are_read() {
        let value = |text: &str| Value { at: 0, kind: Kind::Text(text.to_owned()) };
        assert_eq!(
            (millis(&value("1600")), millis(&value("5s")), millis(&value("soon"))),
            (Some(1600.0), Some(5000.0), None)
        );
        assert_eq!((memory(&value("300M")), memory(&value("1G"))), (Some(314_572_800), Some(1_073_741_824)));
        assert_eq!((memory(&value("50KB")), memory(&value("lots"))), (Some(51_200), None));
    }
}
