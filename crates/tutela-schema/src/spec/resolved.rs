//! Every value of a spec with where it came from, secrets masked: what `tutela check --resolved` prints.
//!
//! Values are taken from the finished spec, so that what is shown is what is used; places are looked up in the trees
//! that it was made of.

mod api;
mod sinks;

use super::de::spell;
use super::reader::ServiceOrigins;
use super::section::steps;
use super::source::SourceMap;
use super::tree::{Node, Step, UsedFrom};
use std::collections::BTreeMap;
use std::time::Duration;
use tutela_core::spec::{
    AlertSpec, AlertWay, Command, GuardSpec, Hook, InstallSpec, LadderStep, Limits, LogForm, LogPolicy, MetricsSpec,
    MultilineRule, OpenPort, Priority, ProbeSpec, ProbeTarget, RestartPolicy, RestartWhen, Security, ServiceSpec,
    StartMode, StopStep, TracesSpec,
};

/// What is shown in the place of a secret.
const MASK: &str = "******";

/// One value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedValue {
    /// Its key: `services.api.restart.delay`.
    pub key: String,
    /// The value as a spec would have it, secrets masked.
    pub value: String,
    /// Where it came from: `shop.toml:12:9`, with the variables that it was made with, or `default`.
    pub from: String,
}

/// What a spec was made of.
#[derive(Debug)]
pub(super) struct Origins {
    pub(super) sources: SourceMap,
    pub(super) root: Node,
    pub(super) services: BTreeMap<String, ServiceOrigins>,
}

/// Every value of the spec.
pub(super) fn resolve(spec: &GuardSpec, origins: &Origins) -> Vec<ResolvedValue> {
    let mut list = List { sources: &origins.sources, tree: &origins.root, prefix: String::new(), out: Vec::new() };
    list.text(steps!["name"], spec.name.as_str());
    list.text(steps!["description"], &spec.description);
    if let Some(budget) = spec.log_budget {
        list.text(steps!["logs", "budget"], &bytes(budget));
    }
    for service in spec.services.values() {
        let Some(known) = origins.services.get(service.name.as_str()) else { continue };
        list.prefix = format!("services.{}.", service.name);
        list.tree = &known.tree;
        list.service(service, known);
    }
    list.prefix = String::new();
    list.tree = &origins.root;
    for alert in spec.alerts.values() {
        list.alert(alert);
    }
    list.metrics(&spec.metrics);
    list.traces(&spec.traces);
    for sink in spec.sinks.values() {
        list.sink(sink);
    }
    list.install(&spec.install);
    list.put(steps!["logs", "redact"], array(&spec.redaction.patterns));
    list.put(steps!["logs", "redact_secrets"], spec.redaction.secrets.is_some().to_string());
    list.days(steps!["audit", "keep_for"], spec.audit.keep_for);
    list.put(steps!["survive"], spec.survive.to_string());
    list.api(&spec.api);
    list.out
}

/// Whether a name says that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "KEY",
        "CREDENTIAL",
        "AUTH",
        "COOKIE",
        "PRIVATE",
        "DSN",
    ];
    let upper = name.to_ascii_uppercase();
    WORDS.iter().any(|word| upper.contains(word))
        || upper.split(['_', '-', '.']).any(|part| part == "PWD" && upper != "PWD" || part == "PASS")
}

/// The text with the user and password of every address in it masked.
pub(super) fn mask_addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(sign) => {
                out.push_str(MASK);
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    out + rest
}

/// The words of a command with the values of secret options masked.
fn mask_words(words: &[String]) -> Vec<String> {
    let mut next_is_secret = false;
    let mask = |word: &String| {
        if std::mem::take(&mut next_is_secret) && !word.starts_with('-') {
            return MASK.to_owned();
        }
        match word.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
            Some(_) => mask_addresses(word),
            None => {
                next_is_secret = word.starts_with('-') && is_secret(word);
                mask_addresses(word)
            }
        }
    };
    words.iter().map(mask).collect()
}

struct List<'a> {
    sources: &'a SourceMap,
    tree: &'a Node,
    prefix: String,
    out: Vec<ResolvedValue>,
}

impl List<'_> {
    /// One value as it would be written.
    fn put(&mut self, steps: &[Step], value: String) {
        let node = self.tree.find(steps);
        let used = node.and_then(|node| node.used.as_deref()).unwrap_or_default();
        let from = match node {
            None => "default".to_owned(),
            Some(_) => {
                let mut from = self.sources.origin(self.tree.place_of(steps)).to_string();
                for used in used {
                    let place = match used.from {
                        UsedFrom::Process => "the environment".to_owned(),
                        UsedFrom::File(place) => self.sources.origin(place).to_string(),
                        UsedFrom::Default => "its default".to_owned(),
                    };
                    from.push_str(&format!(", {} from {place}", used.name));
                }
                from
            }
        };
        let secret = used.iter().any(|used| is_secret(&used.name));
        let value = if secret { quoted(MASK) } else { value };
        self.out.push(ResolvedValue { key: format!("{}{}", self.prefix, spell(steps)), value, from });
    }

    fn text(&mut self, steps: &[Step], text: &str) {
        self.put(steps, quoted(&mask_addresses(text)));
    }

    fn span(&mut self, steps: &[Step], span: Duration) {
        self.put(steps, quoted(&humantime::format_duration(span).to_string()));
    }

    /// A duration that people count in days; months have no length.
    fn days(&mut self, steps: &[Step], span: Duration) {
        const DAY: u64 = 24 * 60 * 60;
        match span.as_secs() {
            seconds if seconds % DAY == 0 && span.subsec_nanos() == 0 => {
                self.text(steps, &format!("{}d", seconds / DAY))
            }
            _ => self.span(steps, span),
        }
    }

    fn command(&mut self, steps: &[Step], command: &Command) {
        let words: Vec<_> = command.words.iter().map(ToString::to_string).collect();
        // A variable may be in one word only, which has the place and the mask of that word.
        let secret = |at: &usize| {
            let mut steps = steps.to_vec();
            steps.push(Step::Index(*at));
            let used = self.tree.find(&steps).and_then(|node| node.used.as_deref()).unwrap_or_default();
            used.iter().any(|used| is_secret(&used.name))
        };
        let mut masked = mask_words(&words);
        for at in (0..words.len()).filter(secret) {
            MASK.clone_into(&mut masked[at]);
        }
        self.put(steps, array(&masked));
    }

    fn service(&mut self, service: &ServiceSpec, known: &ServiceOrigins) {
        self.text(steps!["description"], &service.description);
        self.command(steps!["command"], &service.launch.command);
        self.text(steps!["cwd"], &service.launch.cwd.to_string_lossy());
        for (name, value) in service.launch.env.iter() {
            let steps = steps!["env", &**name];
            let shown = if is_secret(name) { MASK.to_owned() } else { mask_addresses(&value.to_string()) };
            self.put(steps, quoted(&shown));
            if self.tree.find(steps).is_none()
                && let Some(last) = self.out.last_mut()
            {
                last.from = match known.variables.get(&**name) {
                    Some((_, place)) => self.sources.origin(*place).to_string(),
                    None => "the environment".to_owned(),
                };
            }
        }
        for (name, reference) in &service.launch.secrets {
            // Where it is, which is no secret: what it is was not read.
            self.put(steps!["env", &**name], quoted(&reference.to_string()));
        }
        self.put(steps!["needs"], array(&service.needs));
        self.put(steps!["instances"], service.instances.to_string());
        self.text(steps!["start"], start_word(service.start));
        self.span(steps!["start_timeout"], service.start_timeout.unwrap_or_default());
        for (key, value) in [("user", &service.launch.user), ("group", &service.launch.group)] {
            if let Some(value) = value {
                self.text(steps![key], value);
            }
        }
        if let Some(umask) = service.launch.umask {
            self.text(steps!["umask"], &format!("{umask:03o}"));
        }
        self.restart(&service.restart);
        self.ladder(&service.stop);
        for (key, probe) in [("startup", &service.startup), ("ready", &service.ready), ("live", &service.live)] {
            if let Some(probe) = probe {
                self.probe(steps![key], probe);
            }
        }
        for (at, check) in service.dependencies.iter().enumerate() {
            self.text(steps!["dependencies", at, "name"], &check.name);
            self.probe(steps!["dependencies", at], &check.probe);
        }
        self.limits(&service.limits);
        self.security(&service.launch.security);
        self.logs(&service.logs);
        let hooks = &service.hooks;
        let kinds: [(&str, &[Hook]); 4] = [
            ("before_start", &hooks.before_start),
            ("after_ready", &hooks.after_ready),
            ("before_stop", &hooks.before_stop),
            ("after_exit", &hooks.after_exit),
        ];
        for (key, hooks) in kinds {
            if hooks.is_empty() {
                self.put(steps!["hooks", key], array::<String>(&[]));
            }
            for (at, hook) in hooks.iter().enumerate() {
                self.command(steps!["hooks", key, at], &hook.command);
                self.span(steps!["hooks", key, at, "timeout"], hook.timeout);
            }
        }
    }

    fn restart(&mut self, restart: &RestartPolicy) {
        let when = match restart.when {
            RestartWhen::Always => "always",
            RestartWhen::OnFailure => "on-failure",
            RestartWhen::Never => "never",
        };
        self.text(steps!["restart", "when"], when);
        let codes: Vec<_> = restart.success_codes.iter().map(i32::to_string).collect();
        self.put(steps!["restart", "success_codes"], format!("[{}]", codes.join(", ")));
        self.span(steps!["restart", "delay"], restart.delay);
        self.put(steps!["restart", "factor"], format!("{:?}", restart.factor));
        self.span(steps!["restart", "max_delay"], restart.max_delay);
        self.put(steps!["restart", "jitter"], format!("{:?}", restart.jitter));
        self.span(steps!["restart", "reset_after"], restart.reset_after);
        self.put(steps!["restart", "burst"], restart.burst.to_string());
        self.span(steps!["restart", "within"], restart.within);
        self.span(steps!["restart", "cooldown"], restart.cooldown);
    }

    fn ladder(&mut self, ladder: &[LadderStep]) {
        let step = |rung: &LadderStep| {
            let wait = humantime::format_duration(rung.wait);
            match &rung.step {
                StopStep::Command(command) => {
                    let words: Vec<_> = command.words.iter().map(ToString::to_string).collect();
                    format!("{{ command = {}, wait = \"{wait}\" }}", array(&mask_words(&words)))
                }
                StopStep::Signal(name) => format!("{{ signal = {name:?}, wait = \"{wait}\" }}"),
                StopStep::CtrlC => format!("{{ ctrl-c = true, wait = \"{wait}\" }}"),
                StopStep::CtrlBreak => format!("{{ ctrl-break = true, wait = \"{wait}\" }}"),
                StopStep::CloseWindow => format!("{{ close-window = true, wait = \"{wait}\" }}"),
                StopStep::Kill => "{ kill = true }".to_owned(),
            }
        };
        let rungs: Vec<_> = ladder.iter().map(step).collect();
        self.put(steps!["stop", "ladder"], format!("[{}]", rungs.join(", ")));
    }

    fn probe(&mut self, way: &[Step], probe: &ProbeSpec) {
        let at = |key: &str| [way, &[Step::from(key)]].concat();
        match &probe.target {
            ProbeTarget::Http { url, status, headers, tls_verify } => {
                self.text(&at("http"), &url.to_string());
                self.text(&at("status"), &format!("{}-{}", status.first, status.last));
                for (name, value) in headers {
                    let steps = [way, steps!["headers", name.as_str()]].concat();
                    let shown = if is_secret(name) { MASK.to_owned() } else { mask_addresses(&value.to_string()) };
                    self.put(&steps, quoted(&shown));
                }
                self.put(&at("tls_verify"), tls_verify.to_string());
            }
            ProbeTarget::Tcp(address) => self.text(&at("tcp"), &address.to_string()),
            ProbeTarget::Exec(command) => self.command(&at("exec"), command),
            ProbeTarget::Grpc { address, service } => {
                self.text(&at("grpc"), &address.to_string());
                self.text(&at("service"), &service.to_string());
            }
            ProbeTarget::Log(pattern) => self.text(&at("log"), pattern),
            ProbeTarget::Notify => self.put(&at("notify"), "true".into()),
        }
        self.span(&at("delay"), probe.delay);
        self.span(&at("every"), probe.every);
        self.span(&at("timeout"), probe.timeout);
        self.put(&at("failures"), probe.failures.to_string());
        self.put(&at("successes"), probe.successes.to_string());
    }

    fn limits(&mut self, limits: &Limits) {
        let numbers = [("processes", limits.processes), ("open_files", limits.open_files)];
        let sizes = [("memory", limits.memory), ("core", limits.core)];
        for (key, size) in sizes {
            if let Some(size) = size {
                self.text(steps!["limits", key], &bytes(size));
            }
        }
        if let Some(percent) = limits.cpu_percent {
            self.text(steps!["limits", "cpu"], &format!("{percent}%"));
        }
        for (key, number) in numbers {
            if let Some(number) = number {
                self.put(steps!["limits", key], number.to_string());
            }
        }
        let priority = match limits.priority {
            Priority::Idle => "idle",
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        };
        self.text(steps!["limits", "priority"], priority);
    }

    fn security(&mut self, security: &Security) {
        self.put(steps!["security", "no_new_privileges"], security.no_new_privileges.to_string());
        if let Some(capabilities) = &security.capabilities {
            let names: Vec<_> = capabilities.iter().map(|capability| capability.name()).collect();
            self.put(steps!["security", "capabilities"], array(&names));
        }
        let paths = [("read_only_paths", &security.read_only_paths), ("writable_paths", &security.writable_paths)];
        for (key, paths) in paths {
            let shown: Vec<_> = paths.iter().map(|path| path.display()).collect();
            self.put(steps!["security", key], array(&shown));
        }
    }

    fn logs(&mut self, logs: &LogPolicy) {
        if let Some(dir) = &logs.dir {
            self.text(steps!["logs", "dir"], &dir.to_string_lossy());
        }
        self.text(steps!["logs", "format"], if logs.form == LogForm::Json { "json" } else { "raw" });
        self.put(steps!["logs", "timestamps"], (logs.form != LogForm::Raw).to_string());
        self.text(steps!["logs", "rotate_size"], &bytes(logs.rotate_size.unwrap_or(0)));
        if let Some(span) = logs.rotate_every {
            self.span(steps!["logs", "rotate_every"], span);
        }
        self.put(steps!["logs", "keep"], logs.keep.to_string());
        if let Some(multiline) = &logs.multiline {
            match &multiline.rule {
                MultilineRule::Start(pattern) => self.text(steps!["logs", "multiline", "start"], pattern),
                MultilineRule::Continue(pattern) => self.text(steps!["logs", "multiline", "continue"], pattern),
            }
            self.span(steps!["logs", "multiline", "wait"], multiline.wait);
            self.put(steps!["logs", "multiline", "lines"], multiline.lines.to_string());
        }
        self.put(steps!["logs", "redact"], array(&logs.redact));
        if let Some(span) = logs.keep_for {
            self.span(steps!["logs", "keep_for"], span);
        }
        self.text(steps!["logs", "compress"], logs.compress.word());
        if let Some(mode) = logs.mode {
            self.text(steps!["logs", "mode"], &format!("{mode:04o}"));
        }
        if let Some(owner) = &logs.owner {
            self.text(steps!["logs", "owner"], owner);
        }
        if let Some(group) = &logs.group {
            self.text(steps!["logs", "group"], group);
        }
    }

    fn install(&mut self, install: &InstallSpec) {
        let at = |key: &str| [Step::from("install"), Step::from(key)];
        if let Some(name) = &install.display_name {
            self.text(&at("display_name"), name);
        }
        self.text(&at("start"), start_word(install.start));
        self.text(&at("account"), &install.account.words());
        self.put(&at("after"), array(&install.after));
        self.span(&at("start_timeout"), install.start_timeout);
        if let Some(span) = install.stop_timeout {
            self.span(&at("stop_timeout"), span);
        }
        self.span(&at("watchdog"), install.watchdog.unwrap_or_default());
        self.span(&at("restart_delay"), install.restart_delay);
        self.put(&at("sandbox"), install.sandbox.to_string());
        self.put(&at("executable_memory"), install.executable_memory.to_string());
        let paths: Vec<_> = install.writable_paths.iter().map(|path| path.display()).collect();
        self.put(&at("writable_paths"), array(&paths));
        let opening = |opening: &OpenPort| {
            let protocol = if opening.udp { "udp" } else { "tcp" };
            format!("{{ port = {}, protocol = \"{protocol}\", from = {} }}", opening.port, array(&opening.from))
        };
        let openings: Vec<_> = install.open_ports.iter().map(opening).collect();
        self.put(&at("open_ports"), format!("[{}]", openings.join(", ")));
    }

    fn metrics(&mut self, metrics: &MetricsSpec) {
        let Some(push) = &metrics.push else { return };
        let at = |key: &str| [Step::from("metrics"), Step::from(key)];
        self.text(&at("otlp"), &push.otlp);
        self.text(&at("protocol"), if push.grpc { "grpc" } else { "http" });
        self.span(&at("every"), push.every);
        self.span(&at("timeout"), push.timeout);
        self.headers(steps!["metrics"], &push.headers);
        self.text(&at("compress"), if push.gzip { "gzip" } else { "none" });
    }

    fn traces(&mut self, traces: &TracesSpec) {
        let Some(push) = &traces.push else { return };
        let at = |key: &str| [Step::from("traces"), Step::from(key)];
        self.text(&at("otlp"), &push.otlp);
        self.text(&at("protocol"), if push.grpc { "grpc" } else { "http" });
        self.span(&at("timeout"), push.timeout);
        self.headers(steps!["traces"], &push.headers);
        self.text(&at("compress"), if push.gzip { "gzip" } else { "none" });
        self.put(&at("sample"), format!("{:?}", push.sample));
    }

    fn headers(&mut self, way: &[Step], headers: &BTreeMap<String, String>) {
        for (name, value) in headers {
            let shown = if is_secret(name) { MASK.to_owned() } else { mask_addresses(value) };
            self.put(&[way, steps!["headers", name.as_str()]].concat(), quoted(&shown));
        }
    }

    fn alert(&mut self, alert: &AlertSpec) {
        let way = steps!["alerts", alert.name.as_str()];
        let at = |key: &str| [way, &[Step::from(key)]].concat();
        match &alert.way {
            AlertWay::Webhook { url, headers } => {
                self.text(&at("webhook"), url);
                self.headers(way, headers);
            }
            AlertWay::Command(command) => self.command(&at("command"), command),
            AlertWay::Email { smtp, from, to } => {
                self.text(&[way, steps!["email", "smtp"]].concat(), smtp);
                self.text(&[way, steps!["email", "from"]].concat(), from);
                self.put(&[way, steps!["email", "to"]].concat(), array(to));
            }
        }
        let on: Vec<_> = alert.on.iter().map(|occasion| occasion.word()).collect();
        self.put(&at("on"), array(&on));
    }
}

fn start_word(start: StartMode) -> &'static str {
    match start {
        StartMode::Auto => "auto",
        StartMode::Delayed => "delayed",
        StartMode::Manual => "manual",
        StartMode::Disabled => "disabled",
    }
}

/// As a size is written, if that is exact.
fn bytes(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn array<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_of_a_secret_however_it_is_written() {
        for name in
            ["API_TOKEN", "apiKey", "db.password", "x-auth", "SMTP_PASS", "pass", "OLD_PWD", "old-pwd", "Sentry_Dsn"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["", "PWD", "pwd", "PATH", "HOME", "PASSAGE", "COMPASS_X", "ké", "tok", "PWDX_A"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
