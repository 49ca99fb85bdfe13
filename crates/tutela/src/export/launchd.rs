//! Property lists of launchd: `GUARD.SERVICE.plist` for each service, `GUARD.SERVICE.N.plist` for each of several
//! instances.
//!
//! launchd knows no order, no probe, no hook and no ladder: it starts, restarts, and asks by SIGTERM. What that loses is
//! told for each service.

use super::ExportError;
use super::environment::{Environment, Variable};
use super::report::{File, Report};
use std::fmt::Write as _;
use tutela_core::spec::{GuardSpec, Priority, RestartWhen, ServiceSpec, StartMode, StopStep};

/// Every property list of the guard.
pub(super) fn files(spec: &GuardSpec, env: &Environment, report: &mut Report) -> Result<Vec<File>, ExportError> {
    let mut files = Vec::new();
    for service in spec.services.values() {
        for index in 0..service.instances {
            let label = match service.instances {
                1 => format!("{}.{}", spec.name, service.name),
                _ => format!("{}.{}.{index}", spec.name, service.name),
            };
            let text = List { service, index, report, out: String::new() }.write(&label, env)?;
            files.push(File { name: format!("{label}.plist"), text });
        }
    }
    report.kept("name", "Label");
    report.lost("description", "a job has no description");
    report.lost("install", "it is about the guard itself, which these files do without");
    report.lost("api", "there is no guard to ask");
    for alert in spec.alerts.keys() {
        report.lost(&format!("alerts.{alert}"), "launchd tells nobody");
    }
    report.note(
        "put the files into /Library/LaunchDaemons, owned by root, mode 0644, then: launchctl bootstrap system FILE",
    );
    report.note("launchd sends SIGTERM, waits, and kills; it restarts without end and without longer waits");
    report.note("a guard passes its environment on; launchd starts programs with little more than what the files set");
    Ok(files)
}

struct List<'a> {
    service: &'a ServiceSpec,
    index: u16,
    report: &'a mut Report,
    out: String,
}

/// A text within XML. `None`: XML cannot have it.
fn escaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

impl List<'_> {
    fn key(&self, key: &str) -> String {
        format!("services.{}.{key}", self.service.name)
    }

    fn kept(&mut self, key: &str, to: &str) {
        let key = self.key(key);
        self.report.kept(&key, to);
    }

    fn changed(&mut self, key: &str, to: &str, how: &str) {
        let key = self.key(key);
        self.report.changed(&key, to, how);
    }

    fn lost(&mut self, key: &str, why: &str) {
        let key = self.key(key);
        self.report.lost(&key, why);
    }

    fn text(&self, key: &str, text: &str) -> Result<String, ExportError> {
        escaped(text).map(|text| format!("<string>{text}</string>")).ok_or_else(|| {
            let why = "it has a control character, which a property list cannot have";
            ExportError::new(self.service.name.as_str(), key, why, "leave the character out")
        })
    }

    fn put(&mut self, key: &str, value: &str) {
        let _ = write!(self.out, "\t<key>{key}</key>\n\t{value}\n");
    }

    fn truth(&mut self, key: &str, value: bool) {
        self.put(key, if value { "<true/>" } else { "<false/>" });
    }

    fn number(&mut self, key: &str, value: u64) {
        self.put(key, &format!("<integer>{value}</integer>"));
    }

    fn write(mut self, label: &str, env: &Environment) -> Result<String, ExportError> {
        self.out.push_str(concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n",
            "<!-- Written by `tutela export launchd`. -->\n<plist version=\"1.0\">\n<dict>\n",
        ));
        let label = self.text("name", label)?;
        self.put("Label", &label);
        self.program(env)?;
        self.life();
        self.bounds();
        self.rest();
        self.out.push_str("</dict>\n</plist>\n");
        Ok(self.out)
    }

    fn program(&mut self, env: &Environment) -> Result<(), ExportError> {
        let launch = &self.service.launch;
        let words = launch.command.render(self.index);
        let words: Vec<String> = words.iter().map(|word| self.text("command", word)).collect::<Result<_, _>>()?;
        self.put("ProgramArguments", &format!("<array>\n\t\t{}\n\t</array>", words.join("\n\t\t")));
        self.kept("command", "ProgramArguments");
        self.kept("instances", "a file for each");
        let cwd = self.text("cwd", &launch.cwd.to_string_lossy())?;
        self.put("WorkingDirectory", &cwd);
        self.kept("cwd", "WorkingDirectory");
        let mut pairs = Vec::new();
        for (name, variable) in env.get(self.service.name.as_str()).into_iter().flat_map(|known| &known.variables) {
            let key = format!("env.{name}");
            match variable {
                Variable::Open => self.kept(&key, "EnvironmentVariables"),
                Variable::Noted(note) => self.changed(&key, "EnvironmentVariables", note),
                Variable::Hidden(why) => self.lost(&key, why),
                Variable::OfFile => {
                    let why = "it is in an environment file, which launchd does not read, and which is not copied: what a file \
                               of launchd has can be read by every account";
                    self.lost(&key, why);
                }
            }
            if let Some(value) = launch.env.get(name.as_str()).filter(|_| variable.is_written()) {
                let value = self.text("env", &value.render(self.index))?;
                let name = escaped(name).unwrap_or_default();
                pairs.push(format!("<key>{name}</key>\n\t\t{value}"));
            }
        }
        pairs.push(format!("<key>TUTELA_INSTANCE</key>\n\t\t<string>{}</string>", self.index));
        pairs.push(format!("<key>TUTELA_SERVICE</key>\n\t\t<string>{}</string>", self.service.name));
        self.put("EnvironmentVariables", &format!("<dict>\n\t\t{}\n\t</dict>", pairs.join("\n\t\t")));
        for (key, to, value) in [("user", "UserName", &launch.user), ("group", "GroupName", &launch.group)] {
            if let Some(value) = value {
                let value = self.text(key, value)?;
                self.put(to, &value);
                self.kept(key, to);
            }
        }
        if let Some(umask) = launch.umask {
            self.number("Umask", u64::from(umask));
            self.kept("umask", "Umask");
        }
        if let Some(dir) = &self.service.logs.dir {
            let base = format!("{}/{}", dir.to_string_lossy().trim_end_matches('/'), self.service.name);
            for (to, end) in [("StandardOutPath", "out.log"), ("StandardErrorPath", "err.log")] {
                let path = self.text("logs.dir", &format!("{base}.{}.{end}", self.index))?;
                self.put(to, &path);
            }
            self.changed(
                "logs.dir",
                "StandardOutPath",
                "launchd writes the files without end: newsyslog can rotate them",
            );
        }
        Ok(())
    }

    fn life(&mut self) {
        let service = self.service;
        let starts = matches!(service.start, StartMode::Auto | StartMode::Delayed);
        self.truth("RunAtLoad", starts);
        match service.start {
            StartMode::Auto | StartMode::Manual => self.kept("start", "RunAtLoad"),
            StartMode::Delayed => self.changed("start", "RunAtLoad", "it starts with the others"),
            StartMode::Disabled => {
                self.truth("Disabled", true);
                self.kept("start", "Disabled");
            }
        }
        match service.restart.when {
            // With KeepAlive alone, launchd would start it although nobody asked.
            RestartWhen::Always if starts => self.truth("KeepAlive", true),
            RestartWhen::Always | RestartWhen::OnFailure if starts => {
                self.put("KeepAlive", "<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>");
            }
            _ => self.truth("KeepAlive", false),
        }
        match (starts, service.restart.when) {
            (true, _) => self.kept("restart.when", "KeepAlive"),
            (false, RestartWhen::Never) => self.kept("restart.when", "KeepAlive"),
            (false, _) => self.lost(
                "restart.when",
                "launchd starts what it keeps alive at once, so one that is started by hand is not restarted",
            ),
        }
        if service.restart.success_codes != [0] {
            self.lost("restart.success_codes", "only 0 is a success to launchd");
        }
        self.number("ThrottleInterval", service.restart.delay.as_secs().max(1));
        self.changed(
            "restart.delay",
            "ThrottleInterval",
            "so long after its last start, in whole seconds, it may start again",
        );
        for key in ["factor", "max_delay", "jitter", "reset_after", "burst", "within", "cooldown"] {
            self.lost(&format!("restart.{key}"), "launchd restarts without end and without longer waits");
        }
        let mut odd = Vec::new();
        let mut wait = std::time::Duration::ZERO;
        for rung in &service.stop {
            wait += rung.wait;
            match &rung.step {
                StopStep::Command(command) => odd.push(command.render(self.index).first().cloned().unwrap_or_default()),
                StopStep::Signal(name) if name != "TERM" => odd.push(name.clone()),
                StopStep::CtrlC | StopStep::CtrlBreak => odd.push("INT".to_owned()),
                StopStep::Signal(_) | StopStep::CloseWindow | StopStep::Kill => {}
            }
        }
        self.number("ExitTimeOut", wait.as_secs().max(1));
        match odd.is_empty() {
            true => self.kept("stop.ladder", "ExitTimeOut"),
            false => {
                let how = format!("launchd asks by SIGTERM alone; left out: {}", odd.join(", "));
                self.changed("stop.ladder", "ExitTimeOut", &how);
            }
        }
        self.truth("AbandonProcessGroup", false);
    }

    fn bounds(&mut self) {
        let limits = &self.service.limits;
        let mut bounds = Vec::new();
        for (key, name, number) in
            [("limits.open_files", "NumberOfFiles", limits.open_files), ("limits.core", "Core", limits.core)]
        {
            if let Some(number) = number {
                bounds.push(format!("<key>{name}</key>\n\t\t<integer>{number}</integer>"));
                self.kept(key, "HardResourceLimits");
            }
        }
        if !bounds.is_empty() {
            let dict = format!("<dict>\n\t\t{}\n\t</dict>", bounds.join("\n\t\t"));
            self.put("SoftResourceLimits", &dict);
            self.put("HardResourceLimits", &dict);
        }
        let nice = match limits.priority {
            Priority::Idle => Some(19_i32),
            Priority::Low => Some(10),
            Priority::Normal => None,
            Priority::High => Some(-5),
        };
        if let Some(nice) = nice {
            self.put("Nice", &format!("<integer>{nice}</integer>"));
        }
        self.kept("limits.priority", "Nice");
        for key in ["memory", "cpu", "processes"] {
            self.lost(&format!("limits.{key}"), "trees of processes cannot be limited there");
        }
    }

    /// What launchd has nothing for.
    fn rest(&mut self) {
        for (key, why) in [
            ("description", "a job has no description"),
            ("needs", "launchd starts in no order: let the program wait for what it needs"),
            ("start_timeout", "launchd does not know when a job is ready"),
            ("env_files", "launchd reads no environment files"),
            ("startup", "launchd asks nothing"),
            ("ready", "launchd asks nothing: a job is ready when it runs"),
            ("live", "launchd asks nothing, and has no watchdog"),
            ("dependencies", "launchd looks at nothing elsewhere"),
            ("hooks", "launchd runs nothing around the life of a job: put it into a script that ends with exec"),
            ("security", "only Linux can do that; a sandbox profile can be given to sandbox-exec"),
            ("logs.timestamps", "lines are written as they come"),
            ("logs.format", "lines are written as they come"),
            ("logs.compress", "newsyslog can compress"),
            ("logs.rotate_size", "newsyslog can rotate"),
            ("logs.rotate_every", "newsyslog can rotate"),
            ("logs.keep", "newsyslog can rotate"),
        ] {
            self.lost(key, why);
        }
    }
}
