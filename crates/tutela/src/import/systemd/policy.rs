//! Restarts, stops and the times of a unit.

use super::super::draft::{Step, Way};
use super::super::report::Entry;
use super::super::source::ImportError;
use super::{Reading, span, truth};
use std::time::Duration;

/// How long systemd waits before a restart.
const RESTART: Duration = Duration::from_millis(100);

/// How long systemd waits for a stop, and for a start.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Stands for a stop that waits without end: the longest wait that is of any use, after which the tree is ended.
const FOREVER: Duration = Duration::from_secs(86400);

/// The signals that a step can send.
const SIGNALS: [&str; 11] = ["TERM", "INT", "QUIT", "HUP", "KILL", "ABRT", "USR1", "USR2", "ALRM", "CONT", "WINCH"];

/// A name that a step can have; systemd takes numbers too.
fn signal(text: &str) -> Option<&'static str> {
    let upper = text.trim().to_ascii_uppercase();
    let name = match upper.as_str() {
        "1" => "HUP",
        "2" => "INT",
        "3" => "QUIT",
        "6" => "ABRT",
        "9" => "KILL",
        "10" => "USR1",
        "12" => "USR2",
        "15" => "TERM",
        other => other.strip_prefix("SIG").unwrap_or(other),
    };
    SIGNALS.iter().find(|known| **known == name).copied()
}

impl Reading<'_, '_> {
    pub(super) fn restart(&mut self) {
        let oneshot = self.keys.last("Type").is_some_and(|entry| entry.value == "oneshot");
        let when = match self.keys.last("Restart") {
            None => {
                if !oneshot {
                    self.report().note("systemd restarts nothing where Restart is missing: when = \"never\"");
                }
                "never"
            }
            Some(entry) => {
                let (when, how) = match entry.value.as_str() {
                    "no" => ("never", None),
                    "always" => ("always", None),
                    "on-failure" => ("on-failure", None),
                    "on-success" => {
                        ("always", Some("there is no restart after successes alone, so it restarts after every end"))
                    }
                    "on-abnormal" => ("on-failure", Some("exit codes that are no success restart it too")),
                    "on-abort" => ("on-failure", Some("every failure restarts it, not only the signals of crashes")),
                    "on-watchdog" => ("on-failure", Some("every failure restarts it, not only that of the watchdog")),
                    _ => ("on-failure", Some("it is none of systemd's words; a failure restarts it")),
                };
                match how {
                    None => self.report().kept(&entry, "restart.when"),
                    Some(how) => self.report().changed(&entry, "restart.when", how),
                }
                when
            }
        };
        self.it.restart.when = Some(when);
        self.exit_codes(when);
        if when == "never" {
            for key in [
                "RestartSec",
                "RestartSteps",
                "RestartMaxDelaySec",
                "StartLimitBurst",
                "StartLimitIntervalSec",
                "StartLimitInterval",
            ] {
                if let Some(entry) = self.keys.last(key) {
                    self.report().lost(&entry, "it is never restarted");
                }
            }
            return;
        }
        self.waits();
        self.start_limit();
    }

    fn exit_codes(&mut self, when: &str) {
        let mut codes = vec![0];
        let mut given = false;
        for key in ["SuccessExitStatus", "RestartPreventExitStatus"] {
            for entry in self.keys.all(key) {
                let mut odd = Vec::new();
                for word in entry.value.split_whitespace() {
                    match word.parse::<i64>() {
                        Ok(code) if !codes.contains(&code) => codes.push(code),
                        Ok(_) => {}
                        Err(_) => odd.push(word.to_owned()),
                    }
                }
                given = true;
                let to = "restart.success_codes";
                if !odd.is_empty() {
                    let why =
                        format!("{}: only codes are told apart, and an end by a signal is a failure", odd.join(" "));
                    self.report().lost(&entry, why);
                }
                if odd.len() == entry.value.split_whitespace().count() {
                    continue;
                }
                match (key, when) {
                    ("SuccessExitStatus", _) => self.report().kept(&entry, to),
                    (_, "on-failure") => {
                        self.report().changed(&entry, to, "these codes count as a success, which is not restarted")
                    }
                    (_, "always") => {
                        self.report().changed(&entry, to, "these codes are told as a success, but it restarts after every end: write when = \"on-failure\" to keep it down");
                    }
                    _ => self.report().kept(&entry, to),
                }
            }
        }
        if given && codes.len() > 1 {
            self.it.restart.success_codes = Some(codes);
        }
    }

    fn waits(&mut self) {
        let delay = match self.keys.last("RestartSec") {
            None => RESTART,
            Some(entry) => match span(&entry.value) {
                Some(Some(delay)) => {
                    self.report().kept(&entry, "restart.delay");
                    delay
                }
                _ => {
                    self.report().changed(
                        &entry,
                        "restart.delay",
                        "it is no bounded time: 100 ms instead, as systemd has it",
                    );
                    RESTART
                }
            },
        };
        let steps = self.keys.last("RestartSteps");
        let most = self.keys.last("RestartMaxDelaySec");
        let count = steps.as_ref().and_then(|entry| entry.value.parse::<u32>().ok()).filter(|count| *count > 0);
        let longest = most.as_ref().and_then(|entry| span(&entry.value)).flatten().filter(|longest| *longest > delay);
        let restart = &mut self.it.restart;
        restart.delay = Some(delay);
        restart.jitter = Some(0.0);
        match (count, longest) {
            (Some(count), Some(longest)) if !delay.is_zero() => {
                let grown = (longest.as_secs_f64() / delay.as_secs_f64()).powf(1.0 / f64::from(count));
                restart.factor = Some(grown.clamp(1.0, 1000.0));
                restart.max_delay = Some(longest);
                for (entry, to) in [(steps, "restart.factor"), (most, "restart.max_delay")] {
                    if let Some(entry) = entry {
                        self.report().kept(&entry, to);
                    }
                }
            }
            _ => {
                restart.factor = Some(1.0);
                restart.max_delay = Some(delay);
                for entry in [steps, most].into_iter().flatten() {
                    self.report().kept(&entry, "restart.factor");
                }
            }
        }
    }

    fn start_limit(&mut self) {
        let interval = self.keys.last("StartLimitIntervalSec").or_else(|| self.keys.last("StartLimitInterval"));
        let burst = self.keys.last("StartLimitBurst");
        let within = interval.as_ref().and_then(|entry| span(&entry.value)).unwrap_or(Some(Duration::from_secs(10)));
        let count = burst.as_ref().and_then(|entry| entry.value.parse::<u32>().ok()).unwrap_or(5);
        let none = count == 0 || within.is_some_and(|within| within.is_zero());
        let within = within.unwrap_or(Duration::from_secs(3650 * 86400));
        self.it.restart.burst = Some(if none { 0 } else { count });
        if !none {
            self.it.restart.within = Some(within);
        }
        if burst.is_none() && interval.is_none() {
            self.report().note(
                "systemd gives up after 5 starts in 10 s where StartLimit is missing: burst and within are written out",
            );
        }
        if let Some(entry) = burst {
            let how = "after so many restarts the service waits for its cool-down and tries once more: giving up is not final";
            match none {
                true => self.report().kept(&entry, "restart.burst"),
                false => self.report().changed(&entry, "restart.burst", how),
            }
        }
        if let Some(entry) = interval {
            self.report().kept(&entry, if none { "restart.burst" } else { "restart.within" });
        }
    }

    pub(super) fn stop(&mut self) -> Result<(), Box<ImportError>> {
        let mut wait = TIMEOUT;
        for key in ["TimeoutSec", "TimeoutStopSec"] {
            let Some(entry) = self.keys.last(key) else { continue };
            match span(&entry.value) {
                Some(Some(given)) if !given.is_zero() => {
                    wait = given;
                    self.report().kept(&entry, "stop.ladder");
                }
                // To systemd nothing is for ever here too.
                Some(_) => {
                    wait = FOREVER;
                    self.report().changed(&entry, "stop.ladder", "a stop that waits without end waits a day");
                }
                None => self.report().changed(&entry, "stop.ladder", "it is no time: 90s instead, as systemd has it"),
            }
        }
        let mut asked = self.keys.last("KillSignal").and_then(|entry| {
            let name = signal(&entry.value);
            match name {
                Some(_) => self.report().kept(&entry, "stop.ladder"),
                None => {
                    self.report().changed(&entry, "stop.ladder", "it is no signal that a step can send: TERM instead")
                }
            }
            name
        });
        for entry in self.keys.all("ExecStop") {
            if let Some(name) = kill_command(&entry.value) {
                asked = Some(name);
                self.report().changed(
                    &entry,
                    "stop.ladder",
                    format!("it sends the main process the signal {name}, which is a step of its own"),
                );
                continue;
            }
            let command = self.command(&entry, "stop.ladder")?;
            if command.main_pid {
                self.report().lost(&entry, "it uses MAINPID, and nobody tells a command the process id of the program");
                continue;
            }
            if command.ignored && command.notes.is_empty() {
                self.report().kept(&entry, "stop.ladder");
            }
            self.it.ladder.push(Step { way: Way::Command(command.words), wait: Some(wait) });
        }
        match asked {
            Some("KILL") => {}
            asked => {
                self.it.ladder.push(Step { way: Way::Signal(asked.unwrap_or("TERM").to_owned()), wait: Some(wait) })
            }
        }
        self.it.ladder.push(Step { way: Way::Kill, wait: None });
        if let Some(entry) = self.keys.last("KillMode") {
            match entry.value.as_str() {
                "mixed" => self.report().kept(&entry, "stop.ladder"),
                "control-group" => self.report().changed(
                    &entry,
                    "stop.ladder",
                    "the signal goes to the main process alone; the rest of its tree ends with the last step",
                ),
                _ => self.report().changed(
                    &entry,
                    "stop.ladder",
                    "the last step ends the whole tree: nothing is left behind",
                ),
            }
        }
        if let Some(entry) = self.keys.last("SendSIGKILL") {
            match truth(&entry.value) {
                Some(false) => {
                    self.report().changed(&entry, "stop.ladder", "the last step ends the whole tree by force, always")
                }
                _ => self.report().kept(&entry, "stop.ladder"),
            }
        }
        Ok(())
    }

    pub(super) fn times(&mut self) {
        for key in ["TimeoutSec", "TimeoutStartSec"] {
            let Some(entry) = self.keys.last(key) else { continue };
            match span(&entry.value) {
                Some(given) => {
                    self.it.start_timeout = Some(given.unwrap_or(Duration::ZERO));
                    self.report().kept(&entry, "start_timeout");
                }
                None => self.report().changed(&entry, "start_timeout", "it is no time: 90s instead, as systemd has it"),
            }
        }
        if let Some(entry) = self.keys.last("WatchdogSec") {
            self.watchdog(&entry);
        }
    }

    fn watchdog(&mut self, entry: &Entry) {
        match span(&entry.value) {
            Some(Some(given)) if given >= Duration::from_millis(10) => {
                self.it.watchdog = Some(given);
                self.report().changed(
                    entry,
                    "live.notify",
                    "a program that is silent for so long is stopped by the ladder, not by SIGABRT",
                );
            }
            Some(Some(_)) => self.report().kept(entry, ""),
            _ => self.report().lost(entry, "it is no bounded time"),
        }
    }
}

/// The signal of `/bin/kill -s QUIT $MAINPID`, if the command is that.
fn kill_command(value: &str) -> Option<&'static str> {
    let mut words = value.trim_start_matches(['-', '+', '!', ':']).split_whitespace();
    let program = words.next()?;
    let rest: Vec<&str> = words.collect();
    if program.rsplit('/').next() != Some("kill")
        || !rest.last().is_some_and(|it| matches!(*it, "$MAINPID" | "${MAINPID}"))
    {
        return None;
    }
    match rest.as_slice() {
        [_] => Some("TERM"),
        ["-s", name, _] => signal(name),
        [option, _] => signal(option.strip_prefix('-')?),
        _ => None,
    }
}
