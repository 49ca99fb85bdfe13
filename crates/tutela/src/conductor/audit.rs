//! What the conductor carries out or refuses, noted down in that order.
//!
//! A command has an entry when it is begun and, where somebody waits for it, another one with what came of it.

use super::{Conductor, Outcome, wall_now};
use crate::audit::{Asker, UPGRADE, target_words};
use tutela_core::guard::{Command, Target};
use tutela_os::host::Control;
use tutela_schema::api::{CommandReply, ErrorReply, Outcome as Done, ReloadReply, Verb};
use tutela_schema::audit::{AUDIT_MESSAGE_CHARS_MAX, AuditEntry, AuditResult, Surface};

/// Instances that a message names; the event ledger has all of them.
const NAMED_MAX: usize = 8;

/// The end of a message that has no room for everything a reload changed.
const CUT: &str = " ... (the event reloaded has all of it)";

/// A command that is noted down and not over.
pub(super) struct Noted {
    pub(super) asker: Asker,
    target: String,
    number: u64,
}

impl Conductor {
    fn entry(&self, asker: &Asker, command: &str, target: &Target, result: AuditResult) -> AuditEntry {
        asker.entry(wall_now(), command, &target_words(&self.identity.name, target), result)
    }

    /// A command was begun. `wait`: what came of it will be told.
    pub(super) fn note_begun(&self, asker: Asker, verb: Verb, target: &Target, wait: bool) -> Option<Noted> {
        let entry = self.entry(&asker, verb.word(), target, AuditResult::Accepted);
        if !wait {
            self.audit.note(entry);
            return None;
        }
        let target = entry.target.clone();
        Some(Noted { asker, target, number: self.audit.note_begun(entry) })
    }

    /// A command was refused.
    pub(super) fn note_refused(&self, asker: &Asker, verb: Verb, target: &Target, refusal: &ErrorReply) {
        let entry = self.entry(asker, verb.word(), target, AuditResult::Refused);
        self.audit.note(entry.saying(&refusal.error.message));
    }

    /// What came of a command.
    pub(super) fn note_outcome(&self, noted: &Noted, reply: &CommandReply) {
        let bad: Vec<String> = reply
            .instances
            .iter()
            .filter(|it| !matches!(it.outcome, Done::Done | Done::Already))
            .map(|it| format!("{} {}: {}", it.id, it.state, it.message.as_deref().unwrap_or("it is not as was asked")))
            .collect();
        let result = if bad.is_empty() { AuditResult::Done } else { AuditResult::Failed };
        let mut message = match bad.len() {
            0 if reply.instances.len() == 1 => format!("1 instance after {} ms", reply.took_ms),
            0 => format!("{} instances after {} ms", reply.instances.len(), reply.took_ms),
            _ => bad.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; "),
        };
        if bad.len() > NAMED_MAX {
            message.push_str(&format!("; and {} more", bad.len() - NAMED_MAX));
        }
        let entry = noted.asker.entry(wall_now(), reply.command.word(), &noted.target, result);
        self.audit.note_outcome(entry.saying(&message), noted.number);
    }

    /// A spec was read again.
    pub(super) fn note_reload(&self, asker: &Asker, reply: &Result<ReloadReply, ErrorReply>) {
        let reply = match reply {
            Err(refusal) => return self.note_refused(asker, Verb::Reload, &Target::All, refusal),
            Ok(reply) => reply,
        };
        let entry = self.entry(asker, Verb::Reload.word(), &Target::All, AuditResult::Done);
        self.audit.note(entry.saying(&reload_words(reply)));
    }

    /// Something that has no word in the API, or comes in another way.
    pub(super) fn note_other(&self, asker: &Asker, command: &str, result: AuditResult, message: &str) {
        self.audit.note(self.entry(asker, command, &Target::All, result).saying(message));
    }

    /// What the service manager asked for, once it is carried out.
    pub(super) fn note_control(&self, asker: &Asker, control: &Control, refused: Option<&str>) {
        let command = match control {
            Control::Stop | Control::Shutdown => Verb::Shutdown.word(),
            Control::Pause => Verb::Pause.word(),
            Control::Continue => Verb::Resume.word(),
            Control::Reload => Verb::Reload.word(),
            Control::User(_) => "rotate",
            Control::Power(_) | Control::Session { .. } | Control::TimeChanged { .. } => return,
        };
        let result = if refused.is_some() { AuditResult::Refused } else { AuditResult::Accepted };
        self.note_other(asker, command, result, refused.unwrap_or(&control.to_string()));
    }

    pub(super) fn note_started(&self) {
        let identity = &self.identity;
        let message = format!(
            "tutela {} as {}, pid {}, keeps {}",
            identity.version, identity.account, identity.pid, identity.spec
        );
        self.note_guard("guard_start", AuditResult::Done, &message);
    }

    /// What came of an upgrade, which another process had begun.
    pub(super) fn note_upgraded(&self, message: &str, done: bool) {
        self.note_guard(UPGRADE, if done { AuditResult::Done } else { AuditResult::Failed }, message);
    }

    pub(super) fn note_ended(&self, outcome: Outcome) {
        let message = match outcome {
            Outcome::Asked => "asked for; everything is stopped",
            Outcome::AllDone { well: true } => "everything is done",
            Outcome::AllDone { well: false } => "everything is done, and not all of it well",
        };
        self.note_guard("guard_end", AuditResult::Done, message);
    }

    fn note_guard(&self, command: &str, result: AuditResult, message: &str) {
        let name = &self.identity.name;
        let entry = AuditEntry::new(wall_now(), Surface::Guard, command, name, result);
        self.audit.note(entry.saying(message));
    }
}

/// What a reload changed. Who may do what stands first: a message that is too long loses its end, and says so.
fn reload_words(reply: &ReloadReply) -> String {
    let lists = [
        ("api", &reply.api),
        ("added", &reply.added),
        ("removed", &reply.removed),
        ("restarted", &reply.restarted),
        ("adjusted", &reply.adjusted),
    ];
    let changed = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let words: Vec<String> = changed.map(|(word, names)| format!("{word}: {}", names.join(", "))).collect();
    let message = if words.is_empty() { "nothing differs".to_owned() } else { words.join("; ") };
    if message.chars().count() <= AUDIT_MESSAGE_CHARS_MAX {
        return message;
    }
    message.chars().take(AUDIT_MESSAGE_CHARS_MAX.saturating_sub(CUT.len())).collect::<String>() + CUT
}

/// Whom a command is for.
pub(super) fn target_of(command: &Command) -> Target {
    match command {
        Command::Start(target)
        | Command::Stop(target)
        | Command::Restart(target)
        | Command::Pause(target)
        | Command::Resume(target) => target.clone(),
        Command::End | Command::Hurry | Command::Reload(_) => Target::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_of_which_only_the_api_differs_is_not_one_without_differences() {
        assert_eq!(reload_words(&ReloadReply::default()), "nothing differs");
        let api = vec!["tokens (deploy: viewer -> admin)".to_owned(), "rate (100/s -> 25/h)".to_owned()];
        let mut reply = ReloadReply { api, ..ReloadReply::default() };
        assert_eq!(reload_words(&reply), "api: tokens (deploy: viewer -> admin), rate (100/s -> 25/h)");
        reply.added = vec!["web".to_owned()];
        assert_eq!(reload_words(&reply), "api: tokens (deploy: viewer -> admin), rate (100/s -> 25/h); added: web");
    }

    #[test]
    fn a_message_without_room_for_everything_says_where_all_of_it_is() {
        let reply = ReloadReply { added: vec!["ä".repeat(2 * AUDIT_MESSAGE_CHARS_MAX)], ..ReloadReply::default() };
        let words = reload_words(&reply);
        assert_eq!(words.chars().count(), AUDIT_MESSAGE_CHARS_MAX);
        assert!(words.ends_with(CUT), "{words}");
    }
}
