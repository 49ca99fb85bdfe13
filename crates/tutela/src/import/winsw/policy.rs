//! What WinSW does after a failure, and how it stops a program.

use super::super::draft::{Step, Way, hide_secrets, tell_secrets};
use super::super::shell;
use super::{Reading, attribute, duration};
use std::time::Duration;

impl Reading<'_, '_, '_, '_> {
    /// `<onfailure action="restart" delay="10 sec"/>` several times: the n-th is for the n-th failure, the last for all
    /// that follow.
    pub(super) fn failure(&mut self) {
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

    pub(super) fn stop(&mut self) {
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
}
