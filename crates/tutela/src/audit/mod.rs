//! The record of who did what, through whichever way in: an append-only chain of entries, each with the hash of the one
//! before.
//!
//! ```text
//!   API ──────┐ refused
//!   conductor ┼─────────> Auditor ──queue──> Keeper ──> audit/2026-11-21-000000000042.jsonl, then audit.head
//!   (carried  │ in its order                   │
//!    out)     ┘                                └─> troubles, figures
//! ```
//!
//! Called by the conductor for what it carries out, so that entries stand in that order; by the API for what it refuses
//! itself; by the command line to show and to verify. Nobody waits for the disk but the answer to a command, and that
//! not for long. What is only asked, such as a status, has no entry.
//!
//! [`chain`] and [`verify`] are without a disk; [`shelf`] is the files, `keeper` the thread that writes them, [`auditor`] the way
//! in to it.

pub mod auditor;
pub mod chain;
mod keeper;
pub mod shelf;
#[cfg(test)]
mod tests;
pub mod verify;

pub use auditor::{Auditor, Figures};

use crate::traces;
use tutela_core::guard::Target;
use tutela_os::accounts::{self, AccountId};
use tutela_os::endpoint::Peer;
use tutela_os::signals::Sender;
use tutela_schema::audit::{AuditEntry, AuditPeer, AuditResult, Surface};
use tutela_schema::wall::WallTime;

/// What an upgrade is called in it: when it is asked for, and when the guard that runs afterwards tells what came of it.
pub const UPGRADE: &str = "upgrade";

/// Who asks for something, and by which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// In words, with the reason: for events and status.
    pub by: String,
    /// The way.
    pub surface: Surface,
    /// By the word of the OS.
    pub peer: Option<Box<AuditPeer>>,
    /// Why, in their own words.
    pub reason: Option<String>,
    /// The trace that what they ask for belongs to.
    pub trace: Option<Box<traces::Context>>,
}

impl Asker {
    /// Somebody at the control socket, whom `by` names.
    pub fn of_socket(by: String, user: String, peer: &Peer) -> Asker {
        Asker { by, surface: Surface::Socket, peer: Some(Box::new(peer_of(peer, user))), reason: None, trace: None }
    }

    /// Somebody from the network, whom `by` names; what is known of them is not by the word of the OS but by their
    /// credentials.
    pub fn of_network(by: String, peer: AuditPeer) -> Asker {
        Asker { by, surface: Surface::Network, peer: Some(Box::new(peer)), reason: None, trace: None }
    }

    /// The sender of a signal; nobody for a key of the terminal. The name is left to be found by who writes it down.
    pub fn of_signal(by: String, sender: Option<Sender>) -> Asker {
        let peer = match sender {
            Some(Sender { uid, pid }) => AuditPeer {
                uid: Some(uid),
                pid: Some(pid),
                login_uid: accounts::login_of(pid).filter(|login| *login != uid),
                ..AuditPeer::default()
            },
            None => AuditPeer { host: Some("the terminal or the OS".into()), ..AuditPeer::default() },
        };
        Asker { by, surface: Surface::Signal, peer: Some(Box::new(peer)), reason: None, trace: None }
    }

    /// The OS's service manager, which does not say for whom it speaks.
    pub fn of_host(by: &str) -> Asker {
        let peer = AuditPeer { host: Some(by.to_owned()), ..AuditPeer::default() };
        Asker { by: by.to_owned(), surface: Surface::Host, peer: Some(Box::new(peer)), reason: None, trace: None }
    }

    /// The entry about what they ask.
    pub fn entry(&self, at: WallTime, command: &str, target: &str, result: AuditResult) -> AuditEntry {
        let mut entry = AuditEntry::new(at, self.surface, command, target, result);
        entry.peer = self.peer.as_deref().cloned();
        entry.reason.clone_from(&self.reason);
        entry
    }
}

fn peer_of(peer: &Peer, user: String) -> AuditPeer {
    let mut told = AuditPeer { user: Some(user), pid: peer.pid, ..AuditPeer::default() };
    match &peer.account {
        AccountId::Unix { uid, gid } => (told.uid, told.gid) = (Some(*uid), Some(*gid)),
        AccountId::Sid(sid) => told.sid = Some(sid.clone()),
        AccountId::Unknown => {}
    }
    told.login_uid = peer.pid.and_then(accounts::login_of).filter(|login| told.uid != Some(*login));
    told
}

/// A target as people write it: `shop`, `shop/api`, `shop/api:0`.
pub fn target_words(guard: &str, target: &Target) -> String {
    match target {
        Target::All => guard.to_owned(),
        Target::Service(name) => format!("{guard}/{name}"),
        Target::Instance(id) => format!("{guard}/{id}"),
    }
}
