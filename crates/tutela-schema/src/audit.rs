//! One entry of the record of who did what to a guard and its services: a line of JSON in a file of the folder `audit`.
//!
//! Entries form a chain: `seq` counts from 1, `prev` is the hash of the entry before, and the last field of a line,
//! `hash`, is the hash of the line before that field. It is over the text as it lies in the file, so it is put on and
//! checked where the files are written and read, in the guard; here is what an entry says. A form that is read only by
//! newer programs would make older ones call a sound chain broken, so fields are added and never change their meaning,
//! and a reader ignores what it does not know.

use crate::wall::WallTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version that is written.
pub const AUDIT_VERSION: u64 = 1;

/// What is kept of a message, in characters. It says what came of a command; the event ledger has everything.
pub const AUDIT_MESSAGE_CHARS_MAX: usize = 1000;

/// What is kept of a command's or a target's name, in characters. Those that exist have at most 100; one that does not
/// is as long as somebody likes.
const WORD_CHARS_MAX: usize = 200;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The version of this form.
    pub v: u64,
    /// Its place in the chain, from 1.
    pub seq: u64,
    /// When it was carried out or refused.
    pub at: WallTime,
    /// The way that it came in.
    pub surface: Surface,
    /// Who asked, by the word of the OS or by their credentials; null: the guard itself, or somebody whom the OS does not name.
    pub peer: Option<AuditPeer>,
    /// What was asked: a command of the API such as `stop`, or a deed of the guard's own.
    pub command: String,
    /// Of whom: `shop`, `shop/api`, `shop/api:0`.
    pub target: String,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// What came of it.
    pub result: AuditResult,
    /// What came of it, in words.
    pub message: Option<String>,
    /// The entry with what was asked, where this one only says what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// So many entries before this one could not be kept, because the disk was too slow or took nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// So many refusals before this one have no entry: accounts that may not control the guard asked too often.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
    /// With the command `retention`: what is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
    /// With the command `recover`: what a crash left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// The hash of the entry before, in lower-case hexadecimal; zeros before the first one.
    pub prev: String,
}

impl AuditEntry {
    /// An entry that has no place in the chain yet. Names that are too long are cut.
    pub fn new(at: WallTime, surface: Surface, command: &str, target: &str, result: AuditResult) -> Self {
        AuditEntry {
            v: AUDIT_VERSION,
            seq: 0,
            at,
            surface,
            peer: None,
            command: plain(command, WORD_CHARS_MAX),
            target: plain(target, WORD_CHARS_MAX),
            reason: None,
            result,
            message: None,
            of: None,
            lost: 0,
            omitted: 0,
            removed: None,
            unfinished: None,
            prev: String::new(),
        }
    }

    /// The same with words about what came of it. That it was refused the result says already.
    pub fn saying(mut self, message: &str) -> Self {
        let message = message.strip_prefix("refused: ").unwrap_or(message);
        self.message = Some(plain(message, AUDIT_MESSAGE_CHARS_MAX));
        self
    }
}

/// In one line, bounded, and with nothing that a terminal would obey.
fn plain(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The way that a command came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// The control socket: the command line, the API.
    Socket,
    /// The control API over TCP.
    Network,
    /// A signal, or a key in the terminal.
    Signal,
    /// The OS's service manager, in ways of its own.
    Host,
    /// Nobody: the guard itself.
    Guard,
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Surface::Socket => "socket",
            Surface::Network => "network",
            Surface::Signal => "signal",
            Surface::Host => "host",
            Surface::Guard => "guard",
        })
    }
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was begun. What came of it has an entry of its own, if anybody waited for it.
    Accepted,
    /// It was done.
    Done,
    /// It did not work.
    Failed,
    /// It was refused; nothing changed.
    Refused,
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AuditResult::Accepted => "accepted",
            AuditResult::Done => "done",
            AuditResult::Failed => "failed",
            AuditResult::Refused => "refused",
        })
    }
}

/// Who asked, by the word of the OS; over the network, by their credentials. What nobody says is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditPeer {
    /// The name of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The account, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its first group, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The account's security identifier, on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The name of the account that somebody logged in with who has become another one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// The service manager or the terminal, which do not say for whom they speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The name of the token that came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The name, in the spec, of the certificate that came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The address and port that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl fmt::Display for AuditPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.uid.map(|uid| format!("uid {uid}")).or_else(|| self.sid.clone());
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let login = self.login.as_ref().map(|login| format!("logged in as {login}"));
        let what = self.token.as_ref().map(|_| "token").or(self.certificate.as_ref().map(|_| "certificate"));
        let address = self.address.clone();
        let more = number.into_iter().chain(pid).chain(login).chain(what.map(str::to_owned)).chain(address);
        let more: Vec<String> = more.collect();
        let name = [&self.user, &self.host, &self.token, &self.certificate].into_iter().flatten().next();
        f.write_str(name.map_or("somebody", String::as_str))?;
        if more.is_empty() { Ok(()) } else { write!(f, " ({})", more.join(", ")) }
    }
}

/// Entries that retention removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The last of them; the first that stays follows it.
    pub through: u64,
    /// Its hash, which the first that stays names too.
    pub hash: String,
}

/// Bytes that a crash or a power cut left of entries that nobody was told of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The last whole entry before them.
    pub after: u64,
    /// How many they are, up to the line that says this.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn an_entry_survives_its_text_and_fields_of_a_newer_program_are_ignored() {
        let mut entry =
            AuditEntry::new(WallTime::from_unix_millis(0), Surface::Socket, "stop", "shop/api", AuditResult::Accepted);
        entry.peer = Some(AuditPeer { user: Some("ann".into()), uid: Some(7), pid: Some(9), ..AuditPeer::default() });
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            "{\"v\":1,\"seq\":0,\"at\":\"1970-01-01T00:00:00.000Z\",\"surface\":\"socket\",\"peer\":{\"user\":\"ann\",\
             \"uid\":7,\"pid\":9},\"command\":\"stop\",\"target\":\"shop/api\",\"reason\":null,\"result\":\"accepted\",\
             \"message\":null,\"prev\":\"\"}"
        );
        let newer = text.replace("\"v\":1", "\"v\":2,\"mood\":\"good\"");
        let read: AuditEntry = serde_json::from_str(&newer).unwrap();
        assert_eq!((read.v, read.peer), (2, entry.peer.clone()));
        assert_eq!(entry.peer.unwrap().to_string(), "ann (uid 7, pid 9)");
        let address = Some("10.0.0.5:1".to_owned());
        let peer = AuditPeer { token: Some("deploy".into()), address, ..AuditPeer::default() };
        assert_eq!(peer.to_string(), "deploy (token, 10.0.0.5:1)");
    }

    #[test]
    fn what_somebody_writes_stays_one_line_and_has_a_bound() {
        let entry = AuditEntry::new(
            WallTime::from_unix_millis(0),
            Surface::Socket,
            "stop",
            &"x".repeat(5000),
            AuditResult::Refused,
        );
        assert_eq!(entry.target.len(), WORD_CHARS_MAX);
        let message = entry.saying("a\nb\x1b[31m").message.unwrap();
        assert_eq!(message, "a b [31m");
    }
}
