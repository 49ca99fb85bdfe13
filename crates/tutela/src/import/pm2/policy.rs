//! Restarts, stops, limits and logs of an app of pm2.

use super::super::draft::{Step, Way};
use super::super::json::Value;
use super::super::text::Text;
use super::{App, BACKOFF_MAX, KILL_TIMEOUT, MAX_RESTARTS, MIN_UPTIME, memory, millis, span};
use std::time::Duration;

impl App<'_, '_, '_> {
    pub(super) fn restart(&mut self) {
        let mut when = "always";
        if let Some((entry, value)) = self.get(&["stop_exit_codes"]) {
            let all = if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
            let codes: Vec<i64> =
                all.iter().filter_map(Value::number).filter(|it| it.abs() < 1e9).map(|it| it as i64).collect();
            when = "on-failure";
            self.it.restart.success_codes = Some(codes);
            self.report().kept(&entry, "restart.success_codes");
        }
        if let Some((entry, value)) = self.get(&["autorestart"]) {
            if value.truth() == Some(false) {
                when = "never";
            }
            self.report().kept(&entry, "restart.when");
        }
        if let Some((entry, value)) = self.get(&["autostart"]) {
            if value.truth() == Some(false) {
                self.it.start = Some("manual");
            }
            self.report().kept(&entry, "start");
        }
        self.it.restart.when = Some(when);
        let keys = ["restart_delay", "exp_backoff_restart_delay", "max_restarts", "min_uptime"];
        if when == "never" {
            for (entry, _) in keys.iter().filter_map(|key| self.get(&[key])).collect::<Vec<_>>() {
                self.report().lost(&entry, "it is never restarted");
            }
            return;
        }
        let restart = &mut self.it.restart;
        restart.delay = Some(Duration::from_millis(100));
        restart.factor = Some(1.0);
        restart.max_delay = Some(Duration::from_millis(100));
        let mut delay = 100.0;
        let given = |it: &Self, key: &str| it.get(&[key]).map(|(entry, value)| (entry, millis(value)));
        if let Some((entry, wait)) = given(self, "restart_delay") {
            match wait {
                Some(wait) if wait >= 1.0 => {
                    delay = wait;
                    self.report().kept(&entry, "restart.delay");
                }
                _ => self.report().changed(&entry, "restart.delay", "there is always a wait, of 100 ms here"),
            }
            self.it.restart.delay = Some(span(delay));
            self.it.restart.max_delay = Some(span(delay));
        } else {
            self.report().note("pm2 restarts at once where restart_delay is missing; here there is a wait of 100 ms");
        }
        let mut stable = given(self, "min_uptime").and_then(|(_, time)| time).unwrap_or(MIN_UPTIME).max(1.0);
        if let Some((entry, wait)) = given(self, "exp_backoff_restart_delay") {
            let wait = wait.filter(|wait| *wait >= 1.0).unwrap_or(100.0);
            delay = wait;
            self.it.restart.delay = Some(span(wait));
            self.it.restart.factor = Some(1.5);
            self.it.restart.max_delay = Some(span(wait).max(Duration::from_millis(BACKOFF_MAX)));
            stable = stable.max(30_000.0);
            let how = "waits grow by half, up to 15 s, and a run of 30 s clears them, as in pm2";
            self.report().changed(&entry, "restart.delay", how);
        }
        let most = self.get(&["max_restarts"]);
        let burst = most.as_ref().and_then(|(_, value)| value.number()).unwrap_or(MAX_RESTARTS).clamp(1.0, 100_000.0);
        if let Some((entry, _)) = &most {
            let how = "after so many quick ends the service waits for its cool-down and tries once more: giving up is not final";
            self.report().changed(entry, "restart.burst", how);
        } else {
            self.report()
                .note("pm2 gives up after 16 quick restarts where max_restarts is missing: burst is written out");
        }
        if let Some((entry, _)) = self.get(&["min_uptime"]) {
            self.report().kept(&entry, "restart.reset_after");
        }
        let restart = &mut self.it.restart;
        restart.burst = Some(burst as u32);
        restart.reset_after = Some(span(stable));
        let longest = restart.max_delay.unwrap_or_default().as_secs_f64() * 1000.0;
        // A window that so many quick runs with their waits fit into, in whole minutes.
        let window = (burst + 1.0) * (stable + longest.max(delay)) * 1.5;
        restart.within = Some(span((window / 60_000.0).ceil() * 60_000.0));
    }

    pub(super) fn stop(&mut self) {
        let mut wait = KILL_TIMEOUT;
        if let Some((entry, value)) = self.get(&["kill_timeout"]) {
            match millis(value) {
                Some(given) => {
                    wait = given;
                    self.report().kept(&entry, "stop.ladder");
                }
                None => self.report().changed(&entry, "stop.ladder", "it is no time: 1.6 s instead, as pm2 has it"),
            }
        }
        self.it.ladder = vec![
            Step { way: Way::Signal("INT".to_owned()), wait: Some(span(wait)) },
            Step { way: Way::Kill, wait: None },
        ];
        if let Some((entry, value)) = self.get(&["treekill"]) {
            match value.truth() {
                Some(false) => self.report().changed(&entry, "stop.ladder", "the last step always ends the whole tree"),
                _ => self.report().kept(&entry, "stop.ladder"),
            }
        }
        let waits = self.get(&["wait_ready"]);
        let ready = waits.as_ref().is_some_and(|(_, value)| value.truth() == Some(true));
        if let Some((entry, _)) = waits {
            match ready {
                true => {
                    let why = "process.send('ready') is not heard: give it a [ready] probe, such as http or tcp, or let it \
                               say READY=1 over NOTIFY_SOCKET with ready = { notify = true }";
                    self.report().lost(&entry, why);
                }
                false => self.report().kept(&entry, ""),
            }
        }
        if let Some((entry, value)) = self.get(&["listen_timeout"]) {
            match millis(value).filter(|time| *time >= 1.0) {
                Some(time) => {
                    self.it.start_timeout = Some(span(time));
                    let how = "a start that is not ready by then has failed, where pm2 took it for ready";
                    self.report().changed(&entry, "start_timeout", how);
                }
                None => self.report().lost(&entry, "it is no time"),
            }
        }
    }

    pub(super) fn limits(&mut self) {
        if let Some((entry, value)) = self.get(&["max_memory_restart"]) {
            match memory(value) {
                Some(bytes) => {
                    self.it.limits.memory = Some(bytes);
                    let how = "the OS ends a program that takes more, and it is restarted; pm2 looked every 30 s and asked it to stop";
                    self.report().changed(&entry, "limits.memory", how);
                }
                None => self.report().lost(&entry, "it is no size"),
            }
        }
    }

    pub(super) fn logs(&mut self) {
        for names in [["out_file", "out"], ["error_file", "error"], ["log_file", "log"]] {
            for name in names {
                let Some((entry, value)) = self.get(&[name]) else { continue };
                let path = value.text().unwrap_or_default();
                if matches!(path.as_str(), "" | "/dev/null" | "NULL" | "true" | "false") {
                    self.report().changed(&entry, "logs", "output is always kept; it is rotated");
                    continue;
                }
                let dir = path.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir });
                let dir = if dir.starts_with('~') { dir.replacen('~', "${HOME:}", 1) } else { self.source.path(dir) };
                let dir = if dir.starts_with("${") { Text::spec(dir) } else { Text::literal(&dir) };
                match &self.it.logs.dir {
                    Some(known) if *known != dir => {
                        self.report().lost(&entry, "both streams go into one log, in the folder of standard output");
                    }
                    _ => {
                        self.it.logs.dir = Some(dir);
                        let how = "both streams of each copy go into one log in this folder, with the name of the stream in each line";
                        self.report().changed(&entry, "logs.dir", how);
                    }
                }
            }
        }
        if let Some((entry, value)) = self.get(&["time"]) {
            self.it.logs.timestamps = value.truth();
            self.report().kept(&entry, "logs.timestamps");
        }
        for name in ["merge_logs", "combine_logs"] {
            if let Some((entry, _)) = self.get(&[name]) {
                self.report().changed(
                    &entry,
                    "logs",
                    "each copy has a log of its own; `tutela logs` shows them together",
                );
            }
        }
        if let Some((entry, value)) = self.get(&["disable_logs"]) {
            match value.truth() {
                Some(true) => self.report().changed(&entry, "logs", "output is always kept; it is rotated"),
                _ => self.report().kept(&entry, ""),
            }
        }
    }
}
