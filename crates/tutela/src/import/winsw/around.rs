//! What is around a program of WinSW: its account, its logs, and the commands before and after it.

use super::super::draft::{Hook, hide_secrets, tell_secrets};
use super::super::shell;
use super::{Reading, attribute, child_text, elements, tag, value_of};
use roxmltree::Node;
use std::time::Duration;

impl<'a, 'i> Reading<'_, '_, 'a, 'i> {
    pub(super) fn account(&mut self) {
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

    pub(super) fn logs(&mut self) {
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

    pub(super) fn log_key(&mut self, node: Node<'a, 'i>) {
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

    pub(super) fn hooks(&mut self) {
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
