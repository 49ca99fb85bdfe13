//! Units of systemd: `GUARD-SERVICE.service` for each service, `GUARD-SERVICE-N.service` for each of several instances,
//! and `GUARD.target` for all of them.

use super::ExportError;
use super::environment::{Environment, Variable};
use super::report::{File, Report};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tutela_core::spec::{
    Command, GuardSpec, Hook, Priority, ProbeTarget, RestartWhen, ServiceSpec, StartMode, StopStep,
};
use tutela_os::registration::systemd::quote;

/// Every unit of the guard.
pub(super) fn files(spec: &GuardSpec, env: &Environment, report: &mut Report) -> Result<Vec<File>, ExportError> {
    let mut files = Vec::new();
    let mut wanted = Vec::new();
    for service in spec.services.values() {
        for index in 0..service.instances {
            let name = unit_name(spec, service, index);
            let text = Unit { spec, service, index, report, out: String::new() }.write(env)?;
            if matches!(service.start, StartMode::Auto | StartMode::Delayed) {
                wanted.push(name.clone());
            }
            files.push(File { name, text });
        }
    }
    let mut target = String::from("# Written by `tutela export systemd`.\n[Unit]\n");
    let description = if spec.description.is_empty() { spec.name.as_str() } else { &spec.description };
    let _ = writeln!(target, "Description={}", quote::prose(description));
    for unit in &wanted {
        let _ = writeln!(target, "Wants={unit}");
    }
    target.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    files.push(File { name: format!("{}.target", spec.name), text: target });
    report.kept("name", "the names of the units");
    report.kept("description", "Description");
    report.kept("install.after", "Wants, After");
    report.lost("install", "it is about the guard itself, which these units do without");
    report.lost("api", "there is no guard to ask");
    for alert in spec.alerts.keys() {
        let key = format!("alerts.{alert}");
        report.lost(&key, "systemd tells nobody by itself; OnFailure= can start a unit that does");
    }
    let target = format!("{}.target", spec.name);
    report.note(format!(
        "put the files into /etc/systemd/system, then: systemctl daemon-reload, systemctl enable --now {target}"
    ));
    report.note("a guard passes its environment on; systemd starts programs with little more than what the units set");
    report.note("output goes into the journal, which has its own limits");
    Ok(files)
}

fn unit_name(spec: &GuardSpec, service: &ServiceSpec, index: u16) -> String {
    match service.instances {
        1 => format!("{}-{}.service", spec.name, service.name),
        _ => format!("{}-{}-{index}.service", spec.name, service.name),
    }
}

struct Unit<'a> {
    spec: &'a GuardSpec,
    service: &'a ServiceSpec,
    index: u16,
    report: &'a mut Report,
    out: String,
}

impl Unit<'_> {
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.out, "{key}={value}");
    }

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

    fn write(mut self, env: &Environment) -> Result<String, ExportError> {
        self.out.push_str("# Written by `tutela export systemd`.\n[Unit]\n");
        let service = self.service;
        let described = match service.description.as_str() {
            "" => format!("{} of {}", service.name, self.spec.name),
            text => text.to_owned(),
        };
        let number = if service.instances > 1 { format!(" ({})", self.index) } else { String::new() };
        self.line("Description", quote::prose(&format!("{described}{number}")));
        self.kept("description", "Description");
        self.kept("instances", "a unit for each");
        self.line("PartOf", format!("{}.target", self.spec.name));
        self.needs();
        self.start_limit();
        self.out.push_str("\n[Service]\n");
        self.program()?;
        self.environment(env)?;
        self.restart();
        self.hooks()?;
        self.stop()?;
        self.limits();
        self.security()?;
        self.probes();
        self.logs();
        match service.start {
            StartMode::Auto | StartMode::Delayed => {
                let _ = write!(self.out, "\n[Install]\nWantedBy={}.target\n", self.spec.name);
            }
            StartMode::Manual | StartMode::Disabled => {}
        }
        match service.start {
            StartMode::Auto | StartMode::Manual => self.kept("start", "WantedBy"),
            StartMode::Delayed => {
                self.changed("start", "WantedBy", "it starts with the others; systemd has no later time to start")
            }
            StartMode::Disabled => {
                self.changed("start", "", "the unit can still be started by hand; systemctl mask keeps it from that")
            }
        }
        Ok(self.out)
    }

    fn needs(&mut self) {
        for need in &self.service.needs {
            let Some(other) = self.spec.services.get(need) else { continue };
            for index in 0..other.instances {
                let unit = unit_name(self.spec, other, index);
                self.line("Requires", &unit);
                self.line("After", &unit);
            }
            let told = other.ready.as_ref().is_none_or(|probe| matches!(probe.target, ProbeTarget::Notify));
            match told {
                true => self.kept("needs", "Requires, After"),
                false => {
                    let how = "it starts after the other one was started: systemd does not ask whether it is ready";
                    self.changed("needs", "Requires, After", how);
                }
            }
        }
        for name in &self.spec.install.after {
            if let Some(unit) = quote::unit_name(name) {
                self.line("Wants", &unit);
                self.line("After", &unit);
            }
        }
        self.line("After", "network.target");
    }

    fn start_limit(&mut self) {
        let restart = &self.service.restart;
        if restart.burst == 0 {
            self.line("StartLimitIntervalSec", "0");
            self.kept("restart.burst", "StartLimitIntervalSec");
            self.lost("restart.within", "there is no crash loop with burst = 0");
        } else {
            self.line("StartLimitIntervalSec", quote::span(restart.within));
            // systemd counts starts, so the first one too.
            self.line("StartLimitBurst", restart.burst.saturating_add(1));
            self.changed(
                "restart.burst",
                "StartLimitBurst",
                "systemd counts starts, and gives up for good: systemctl reset-failed ends that",
            );
            self.kept("restart.within", "StartLimitIntervalSec");
        }
        self.lost(
            "restart.cooldown",
            "systemd gives up for good after a crash loop; RestartMaxDelaySec slows it down instead",
        );
    }

    /// A command line of systemd.
    fn command(&self, command: &Command, key: &str) -> Result<String, ExportError> {
        let words = command.render(self.index);
        let mut words = words.iter();
        let program = words.next().map(String::as_str).unwrap_or_default();
        let quoted = match program.contains('/') {
            true => quote::program(Path::new(program)),
            // A name is looked for in the folders that systemd was built with.
            false => Some(quote::argument(OsStr::new(program))).filter(|it| it == program),
        };
        let Some(mut line) = quoted else {
            let why = format!("systemd cannot run a program whose path is {program:?}");
            let mend = "give it a path without quotes, backslashes and control characters";
            return Err(ExportError::new(self.service.name.as_str(), key, why, mend));
        };
        for word in words {
            line.push(' ');
            line.push_str(&quote::argument(OsStr::new(word)));
        }
        Ok(line)
    }

    fn program(&mut self) -> Result<(), ExportError> {
        let launch = &self.service.launch;
        let notifies = self.service.ready.as_ref().is_some_and(|probe| matches!(probe.target, ProbeTarget::Notify));
        self.line("Type", if notifies { "notify" } else { "exec" });
        if notifies || self.service.live.as_ref().is_some_and(|probe| matches!(probe.target, ProbeTarget::Notify)) {
            self.line("NotifyAccess", "all");
        }
        let command = self.command(&launch.command, "command")?;
        self.line("ExecStart", command);
        self.kept("command", "ExecStart");
        let Some(cwd) = quote::whole_path(&launch.cwd) else {
            let why = format!("systemd cannot use the folder {:?}", launch.cwd);
            return Err(ExportError::new(
                self.service.name.as_str(),
                "cwd",
                why,
                "give it an absolute path without control characters",
            ));
        };
        self.line("WorkingDirectory", cwd);
        self.kept("cwd", "WorkingDirectory");
        for (key, to, value) in [("user", "User", &launch.user), ("group", "Group", &launch.group)] {
            if let Some(value) = value {
                self.line(to, quote::prose(value));
                self.kept(key, to);
            }
        }
        if let Some(umask) = launch.umask {
            self.line("UMask", format!("{umask:04o}"));
            self.kept("umask", "UMask");
        }
        let bound = self.service.start_timeout.map_or("infinity".to_owned(), quote::span);
        self.line("TimeoutStartSec", bound);
        self.kept("start_timeout", "TimeoutStartSec");
        Ok(())
    }

    fn environment(&mut self, env: &Environment) -> Result<(), ExportError> {
        let launch = &self.service.launch;
        let Some(known) = env.get(self.service.name.as_str()) else { return Ok(()) };
        for file in &known.files {
            let Some(path) = quote::whole_path(Path::new(&file.path)) else {
                let why = format!("systemd cannot read the file {:?}", file.path);
                return Err(ExportError::new(
                    self.service.name.as_str(),
                    "env_files",
                    why,
                    "give it a path without control characters",
                ));
            };
            let optional = if file.optional { "-" } else { "" };
            self.line("EnvironmentFile", format!("{optional}{path}"));
            self.report.note("environment files are named, not copied: what a unit has can be read by every account");
        }
        self.kept("env_files", "EnvironmentFile");
        for (name, variable) in &known.variables {
            let key = format!("env.{name}");
            match variable {
                Variable::Open => self.kept(&key, "Environment"),
                Variable::Noted(note) => self.changed(&key, "Environment", note),
                Variable::Hidden(why) => self.lost(&key, why),
                Variable::OfFile => self.kept(&key, "EnvironmentFile"),
            }
            if let Some(value) = launch.env.get(name.as_str()).filter(|_| variable.is_written()) {
                let value = value.render(self.index);
                self.line("Environment", quote::assignment(name, &value));
            }
        }
        self.line("Environment", quote::assignment("TUTELA_SERVICE", self.service.name.as_str()));
        self.line("Environment", quote::assignment("TUTELA_INSTANCE", &self.index.to_string()));
        Ok(())
    }

    fn restart(&mut self) {
        let restart = &self.service.restart;
        let word = match restart.when {
            RestartWhen::Always => "always",
            RestartWhen::OnFailure => "on-failure",
            RestartWhen::Never => "no",
        };
        self.line("Restart", word);
        self.kept("restart.when", "Restart");
        let codes: Vec<String> =
            restart.success_codes.iter().filter(|code| (1..=255).contains(*code)).map(i32::to_string).collect();
        if !codes.is_empty() {
            self.line("SuccessExitStatus", codes.join(" "));
        }
        if !restart.success_codes.contains(&0) && restart.when == RestartWhen::OnFailure {
            self.line("RestartForceExitStatus", "0");
        }
        self.kept("restart.success_codes", "SuccessExitStatus");
        self.line("RestartSec", quote::span(restart.delay));
        self.kept("restart.delay", "RestartSec");
        let grows = restart.factor > 1.0 && restart.max_delay > restart.delay && !restart.delay.is_zero();
        if grows {
            let steps = (restart.max_delay.as_secs_f64() / restart.delay.as_secs_f64()).ln() / restart.factor.ln();
            // A wait that grows in thousands of steps does not grow.
            self.line("RestartSteps", steps.ceil().clamp(1.0, 1000.0) as u32);
            self.line("RestartMaxDelaySec", quote::span(restart.max_delay));
        }
        for (key, to) in [("restart.factor", "RestartSteps"), ("restart.max_delay", "RestartMaxDelaySec")] {
            match grows {
                true => self.changed(key, to, "systemd 254 and later: an older one waits RestartSec= each time"),
                false => self.kept(key, to),
            }
        }
        self.lost("restart.jitter", "waits are not left to chance");
        self.lost(
            "restart.reset_after",
            "systemd does not shorten a wait again before somebody starts or resets the unit",
        );
    }

    fn hook(&mut self, key: &str, to: &str, hooks: &[Hook], prefix: &str) -> Result<Duration, ExportError> {
        let mut longest = Duration::ZERO;
        for hook in hooks {
            let command = self.command(&hook.command, key)?;
            self.line(to, format!("{prefix}{command}"));
            longest = longest.max(hook.timeout);
        }
        Ok(longest)
    }

    fn hooks(&mut self) -> Result<(), ExportError> {
        let hooks = &self.service.hooks;
        self.hook("hooks.before_start", "ExecStartPre", &hooks.before_start, "")?;
        self.changed("hooks.before_start", "ExecStartPre", "each may take as long as the start as a whole");
        // A failure of these is told by a guard and stops nothing.
        self.hook("hooks.after_ready", "ExecStartPost", &hooks.after_ready, "-")?;
        self.changed("hooks.after_ready", "ExecStartPost", "it runs once the program is started, or has said READY=1");
        self.hook("hooks.after_exit", "ExecStopPost", &hooks.after_exit, "-")?;
        let how = "the exit code is in EXIT_STATUS, not in TUTELA_EXIT_CODE; each may take as long as a stop";
        self.changed("hooks.after_exit", "ExecStopPost", how);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), ExportError> {
        let service = self.service;
        self.hook("hooks.before_stop", "ExecStop", &service.hooks.before_stop, "-")?;
        self.changed("hooks.before_stop", "ExecStop", "each may take as long as a step of the stop");
        let mut asked: Option<&str> = None;
        let mut wait = Duration::ZERO;
        let mut beyond = Vec::new();
        for rung in &service.stop {
            let signal = match &rung.step {
                StopStep::Command(command) => {
                    let line = self.command(command, "stop.ladder")?;
                    self.line("ExecStop", format!("-{line}"));
                    wait = wait.max(rung.wait);
                    continue;
                }
                StopStep::Signal(name) => name.as_str(),
                StopStep::CtrlC | StopStep::CtrlBreak => "INT",
                StopStep::CloseWindow => "TERM",
                StopStep::Kill => continue,
            };
            match asked {
                None => {
                    asked = Some(signal);
                    wait = wait.max(rung.wait);
                }
                Some(_) => beyond.push(signal.to_owned()),
            }
        }
        self.line("KillSignal", format!("SIG{}", asked.unwrap_or("KILL")));
        // A zero would be for ever.
        self.line("TimeoutStopSec", quote::span(wait.max(Duration::from_secs(1))));
        self.line("KillMode", "mixed");
        match beyond.is_empty() {
            true => self.kept("stop.ladder", "ExecStop, KillSignal, TimeoutStopSec"),
            false => {
                let how = format!("systemd sends one signal and then SIGKILL; left out: {}", beyond.join(", "));
                self.changed("stop.ladder", "KillSignal, TimeoutStopSec", &how);
            }
        }
        Ok(())
    }

    fn limits(&mut self) {
        let limits = &self.service.limits;
        let numbers = [
            ("limits.memory", "MemoryMax", limits.memory),
            ("limits.processes", "TasksMax", limits.processes),
            ("limits.open_files", "LimitNOFILE", limits.open_files),
            ("limits.core", "LimitCORE", limits.core),
        ];
        for (key, to, number) in numbers {
            if let Some(number) = number {
                self.line(to, number);
                self.kept(key, to);
            }
        }
        if let Some(percent) = limits.cpu_percent {
            self.line("CPUQuota", format!("{percent}%"));
            self.kept("limits.cpu", "CPUQuota");
        }
        let nice = match limits.priority {
            Priority::Idle => Some(19),
            Priority::Low => Some(10),
            Priority::Normal => None,
            Priority::High => Some(-5),
        };
        if let Some(nice) = nice {
            self.line("Nice", nice);
        }
        self.kept("limits.priority", "Nice");
    }

    fn security(&mut self) -> Result<(), ExportError> {
        let security = &self.service.launch.security;
        if security.no_new_privileges {
            self.line("NoNewPrivileges", "yes");
        }
        self.kept("security.no_new_privileges", "NoNewPrivileges");
        if let Some(capabilities) = &security.capabilities {
            let names: Vec<String> = capabilities.iter().map(|it| format!("CAP_{}", it.name())).collect();
            self.line("CapabilityBoundingSet", names.join(" "));
            if self.service.launch.user.is_some() && !names.is_empty() {
                self.line("AmbientCapabilities", names.join(" "));
            }
            self.kept("security.capabilities", "CapabilityBoundingSet");
        }
        let lists = [
            ("security.read_only_paths", "ReadOnlyPaths", &security.read_only_paths),
            ("security.writable_paths", "ReadWritePaths", &security.writable_paths),
        ];
        for (key, to, paths) in lists {
            for path in paths {
                let Some(quoted) = quote::listed_path(path) else {
                    let why = format!("systemd cannot list the path {path:?}");
                    return Err(ExportError::new(
                        self.service.name.as_str(),
                        key,
                        why,
                        "give it a path without quotes and backslashes",
                    ));
                };
                self.line(to, quoted);
            }
            self.kept(key, to);
        }
        Ok(())
    }

    fn probes(&mut self) {
        let service = self.service;
        for (key, probe) in [("startup", &service.startup), ("ready", &service.ready), ("live", &service.live)] {
            let Some(probe) = probe else { continue };
            match (&probe.target, key) {
                (ProbeTarget::Notify, "live") => {
                    let span = probe.every.saturating_mul(probe.failures);
                    self.line("WatchdogSec", quote::span(span));
                    self.changed(
                        "live",
                        "WatchdogSec",
                        "a program that is silent is ended by SIGABRT, not by the ladder",
                    );
                }
                (ProbeTarget::Notify, _) => self.kept(key, "Type=notify"),
                (_, "live") => self.lost(
                    "live",
                    "systemd asks nothing: a timer that restarts the unit, or WATCHDOG=1 from the program, comes near",
                ),
                _ => self.lost(key, "systemd asks nothing: the program is ready when it runs, or when it says READY=1"),
            }
        }
        if !service.dependencies.is_empty() {
            self.lost("dependencies", "systemd looks at nothing elsewhere; a monitoring system can");
        }
    }

    fn logs(&mut self) {
        self.line("SyslogIdentifier", format!("{}-{}", self.spec.name, self.service.name));
        self.changed("logs", "the journal", "journald keeps output by its own limits: journald.conf");
    }
}
