//! Openings in the host's firewall, by the tool that keeps it: firewalld, or ufw.
//!
//! Both remember what they are told over a reboot, and both have a word that takes it back. A table of nftables of our
//! own could not do it: a packet that one table lets through is still dropped by the next one, so an opening has to be
//! where the firewall's owner keeps the others. Where neither runs, what to do is told.

use super::systemctl::{program, run};
use crate::Error;
use crate::registration::systemd::Made;
use crate::registration::{Definition, Opening, Protocol, Scope, Step};
use std::process::Command;
use std::time::Duration;

/// How long a tool may take.
const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// What is to be done for the openings of a definition.
#[derive(Default)]
pub(super) struct Openings {
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) notes: Vec<String>,
    /// What the mark remembers: the tool and its words.
    pub(super) kept: Vec<String>,
}

/// What the tools call an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Firewalld,
    Ufw,
}

impl Tool {
    /// The one that keeps this host's firewall.
    fn find() -> Option<Tool> {
        let says = |name: &str, word: &str, wanted: &str| {
            let tool = program(name)?;
            run(Command::new(tool).arg(word), TOOL_LIMIT).ok().filter(|said| said.contains(wanted))
        };
        if says("firewall-cmd", "--state", "running").is_some() {
            return Some(Tool::Firewalld);
        }
        says("ufw", "status", "Status: active").map(|_| Tool::Ufw)
    }

    fn program(self) -> &'static str {
        match self {
            Tool::Firewalld => "firewall-cmd",
            Tool::Ufw => "ufw",
        }
    }

    /// The rules of an opening, as the mark remembers them.
    fn rules(self, opening: &Opening) -> Vec<String> {
        let (port, protocol) = (opening.port, protocol(opening.protocol));
        let everybody = [None];
        let from: Vec<Option<&String>> =
            if opening.from.is_empty() { everybody.to_vec() } else { opening.from.iter().map(Some).collect() };
        from.into_iter()
            .map(|from| match (self, from) {
                (Tool::Firewalld, None) => format!("port={port}/{protocol}"),
                (Tool::Firewalld, Some(from)) => {
                    let family = if from.contains(':') { "ipv6" } else { "ipv4" };
                    format!(
                        "rich-rule=rule family=\"{family}\" source address=\"{from}\" port port=\"{port}\" \
                         protocol=\"{protocol}\" accept"
                    )
                }
                (Tool::Ufw, from) => {
                    format!("proto {protocol} from {} to any port {port}", from.map_or("any", String::as_str))
                }
            })
            .collect()
    }

    /// The command lines that make a rule, or take it back.
    fn lines(self, rule: &str, add: bool) -> Vec<Vec<String>> {
        match self {
            Tool::Firewalld => {
                let word = if add { "add" } else { "remove" };
                // For now, and for after the next start.
                let option = format!("--{word}-{rule}");
                vec![vec![option.clone()], vec!["--permanent".into(), option]]
            }
            Tool::Ufw => {
                let head: &[&str] = if add { &["allow"] } else { &["--force", "delete", "allow"] };
                vec![head.iter().copied().chain(rule.split(' ')).map(str::to_owned).collect()]
            }
        }
    }

    fn do_all(self, rule: &str, add: bool) -> Result<(), Error> {
        let tool = program(self.program())
            .ok_or_else(|| Error::Refused(format!("{} is not here any more", self.program())))?;
        for words in self.lines(rule, add) {
            run(Command::new(&tool).args(&words), TOOL_LIMIT)
                .map_err(|said| said.error(&format!("{} {}", self.program(), words.join(" "))))?;
        }
        Ok(())
    }

    fn step(self, rule: &str, add: bool) -> Box<dyn Step> {
        let lines: Vec<String> =
            self.lines(rule, add).iter().map(|words| format!("`{} {}`", self.program(), words.join(" "))).collect();
        let rule = rule.to_owned();
        super::steps::Act::step(format!("run {}", lines.join(" and ")), move || {
            if let Err(error) = self.do_all(&rule, add) {
                // Of two halves one may be done.
                drop(self.do_all(&rule, !add));
                return Err(error);
            }
            let rule = rule.clone();
            Ok(Some(Box::new(move || self.do_all(&rule, !add))))
        })
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Opens what the definition wants, and closes what it does not want any more.
pub(super) fn open(definition: &Definition, before: &Made) -> Openings {
    let mut openings = Openings::default();
    let known: Vec<(Tool, String)> = before.all("Firewall").filter_map(remembered).collect();
    if definition.openings.is_empty() && known.is_empty() {
        return openings;
    }
    let ports = || {
        let each = definition.openings.iter().map(|it| {
            let from = if it.from.is_empty() { String::new() } else { format!(" from {}", it.from.join(" and ")) };
            format!("{}/{}{from}", it.port, protocol(it.protocol))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    if definition.scope == Scope::User {
        openings.notes.push(format!("the host's firewall is root's: {} is not opened", ports()));
        return openings;
    }
    let tool = Tool::find();
    let mut wanted: Vec<(Tool, String)> = Vec::new();
    match tool {
        Some(tool) => {
            wanted.extend(definition.openings.iter().flat_map(|it| tool.rules(it)).map(|rule| (tool, rule)));
        }
        None if definition.openings.is_empty() => {}
        None => openings.notes.push(format!(
            "neither firewalld nor ufw keeps a firewall here, so nothing is opened; if another one drops what comes in, \
             let {} through in it",
            ports()
        )),
    }
    for (tool, rule) in known.iter().filter(|it| !wanted.contains(it)) {
        openings.steps.push(tool.step(rule, false));
    }
    for (tool, rule) in &wanted {
        if !known.contains(&(*tool, rule.clone())) {
            openings.steps.push(tool.step(rule, true));
        }
        openings.kept.push(format!("{} {rule}", tool.program()));
    }
    openings
}

/// Closes what registering opened.
pub(super) fn close(made: &Made) -> Vec<Box<dyn Step>> {
    made.all("Firewall").filter_map(remembered).map(|(tool, rule)| tool.step(&rule, false)).collect()
}

fn remembered(text: &str) -> Option<(Tool, String)> {
    let (tool, rule) = text.split_once(' ')?;
    let tool = [Tool::Firewalld, Tool::Ufw].into_iter().find(|it| it.program() == tool)?;
    Some((tool, rule.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_a_rule_for_each_network_and_is_remembered_as_it_is_taken_back() {
        let opening =
            Opening { port: 8081, protocol: Protocol::Tcp, from: vec!["10.0.0.0/8".into(), "fd00::/8".into()] };
        let rules = Tool::Firewalld.rules(&opening);
        assert_eq!(rules.len(), 2);
        assert!(rules.iter().any(|rule| rule.contains("family=\"ipv6\" source address=\"fd00::/8\"")), "{rules:?}");
        let all = Opening { from: Vec::new(), ..opening };
        assert_eq!(Tool::Firewalld.lines(&Tool::Firewalld.rules(&all)[0], true)[0], ["--add-port=8081/tcp"]);
        let ufw = Tool::Ufw.rules(&all).remove(0);
        assert_eq!(
            Tool::Ufw.lines(&ufw, false)[0].join(" "),
            "--force delete allow proto tcp from any to any port 8081"
        );
        assert_eq!(remembered(&format!("ufw {ufw}")), Some((Tool::Ufw, ufw)));
    }
}
