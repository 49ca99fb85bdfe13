//! Who may come in over the network, and how often: roles, ranges of addresses, and the machine that counts.
//!
//! Used by the control API where it listens on TCP. [`Buckets`] is the machine: it is fed a moment and an address and
//! answers at once. Addresses are values here (`core::net`). Deliberately absent: sockets, and tokens and certificates,
//! which are compared where they are read.

mod buckets;
mod range;

pub use buckets::{ADDRESSES_MAX, Buckets, Rate, RatePer};
pub use range::{AddressRange, BadRange, site_of};

use std::fmt;

/// What somebody may do. Each role may do everything that the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Asks: status, events, logs, figures, health.
    Viewer,
    /// Commands services: start, stop, restart, pause, resume.
    Operator,
    /// Changes the guard itself: reload, shutdown.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// Its word in a spec.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// Whether it may do what `needed` is needed for.
    pub fn covers(self, needed: Role) -> bool {
        self >= needed
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_covers_itself_and_those_before_it() {
        for (at, role) in Role::ALL.into_iter().enumerate() {
            for (other_at, other) in Role::ALL.into_iter().enumerate() {
                assert_eq!(role.covers(other), at >= other_at, "{role} {other}");
            }
        }
    }
}
