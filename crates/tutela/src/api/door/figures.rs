//! What the door counts.

use crate::figures::{Collect, Families, Labels};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The address is not on the list of those that may connect.
    Address,
    /// There were too many connections, of all or of that address.
    Connections,
    /// There was no handshake, or not in time.
    Handshake,
    /// Neither token nor certificate, or none that holds.
    Credentials,
    /// The role does not reach.
    Role,
    /// Too many requests.
    Rate,
}

impl Why {
    pub(super) const ALL: [Why; 6] =
        [Why::Address, Why::Connections, Why::Handshake, Why::Credentials, Why::Role, Why::Rate];

    /// The value of the label.
    const fn word(self) -> &'static str {
        match self {
            Why::Address => "address",
            Why::Connections => "connections",
            Why::Handshake => "handshake",
            Why::Credentials => "credentials",
            Why::Role => "role",
            Why::Rate => "rate",
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Figures {
    /// There was a door; without one there are no figures of it.
    pub(super) wanted: AtomicBool,
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    refused: [AtomicU64; Why::ALL.len()],
}

impl Figures {
    pub(super) fn refuse(&self, why: Why) {
        if let Some(count) = Why::ALL.iter().position(|it| *it == why).and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Collect for Figures {
    fn collect<'a>(&'a self, out: &mut Families<'a>) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        out.gauge("tutela_api_connections", None, "Connections to the control API over TCP")
            .count(Labels::guard(), read(&self.connections));
        out.counter("tutela_api_requests", None, "Requests over TCP that were let in")
            .count(Labels::guard(), read(&self.requests));
        let mut refused =
            out.counter("tutela_api_refused", None, "Connections and requests over TCP that were refused");
        for (why, count) in Why::ALL.iter().zip(&self.refused) {
            refused.count(Labels::guard().and("why", why.word()), read(count));
        }
    }
}
