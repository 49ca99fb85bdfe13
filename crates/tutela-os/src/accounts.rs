//! Users and groups: names to what the OS calls them, and back.
//!
//! The OS knows people by numbers or by security identifiers; specs and messages know them by name.
//! [`Identity`] is whom a program is to run as, [`AccountId`] who somebody turned out to be.
//!
//! A look-up can go to a directory service over the network and take as long as that does, so it belongs
//! to preflight and to a start, never to the conductor.

use crate::{Error, platform};
use std::fmt;
use std::path::PathBuf;

/// Whom a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the OS needs to know to make a process of this account.
    pub(crate) account: platform::accounts::Account,
    /// The user's name, for `USER` and `LOGNAME`; the number where there is no name.
    pub name: String,
    /// The user's home folder, for `HOME`; `None` where the account has none.
    pub home: Option<PathBuf>,
}

impl Identity {
    /// Who it is, without what it takes to become it.
    pub fn id(&self) -> AccountId {
        self.account.id()
    }

    /// The supplementary groups by number, on an OS that has numbers.
    pub fn groups(&self) -> &[u32] {
        self.account.groups()
    }

    /// Whether a program of this identity would be as the guard itself is.
    pub fn is_own(&self) -> bool {
        current().is_ok_and(|own| own.id() == self.id())
    }
}

/// Who somebody is, by the word of the OS. It prints as the number or the identifier; [`AccountId::name`]
/// finds the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccountId {
    /// A user and their first group, by number.
    Unix {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A security identifier of Windows, such as `S-1-5-18`.
    Sid(String),
    /// The OS does not say: a caller that let nobody know who it is.
    Unknown,
}

impl AccountId {
    /// The name, or the number or identifier as text where it has none. May ask a directory service.
    pub fn name(&self) -> String {
        platform::accounts::name_of(self)
    }

    /// The user's number, on an OS that has numbers.
    pub fn uid(&self) -> Option<u32> {
        match self {
            AccountId::Unix { uid, .. } => Some(*uid),
            AccountId::Sid(_) | AccountId::Unknown => None,
        }
    }

    /// The group's number, on an OS that has numbers.
    pub fn gid(&self) -> Option<u32> {
        match self {
            AccountId::Unix { gid, .. } => Some(*gid),
            AccountId::Sid(_) | AccountId::Unknown => None,
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountId::Unix { uid, .. } => write!(f, "uid {uid}"),
            AccountId::Sid(sid) => f.write_str(sid),
            AccountId::Unknown => f.write_str("an account that the OS does not name"),
        }
    }
}

/// The identity of an account by its name, number or security identifier, with its supplementary groups;
/// `group`, a name or number, replaces its first group.
///
/// # Errors
/// There is no such account or group, or the guard cannot become it: on Windows only accounts that have
/// no password of their own can be, and there is no first group to be replaced.
pub fn resolve(user: &str, group: Option<&str>) -> Result<Identity, Error> {
    platform::accounts::resolve(user, group)
}

/// The identity of the guard itself with another first group, for a spec that names only a group.
///
/// # Errors
/// There is no such group, or the OS has no first groups.
pub fn resolve_group(group: &str) -> Result<Identity, Error> {
    platform::accounts::resolve_group(group)
}

/// Whom a program of a spec runs as that names a `user`, a `group`, both or neither; `None`: as the guard,
/// which takes no right at all.
///
/// # Errors
/// As [`resolve`] and [`resolve_group`].
pub fn for_program(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Error> {
    platform::accounts::for_program(user, group)
}

/// The identity that this process has.
///
/// # Errors
/// The OS does not say.
pub fn current() -> Result<Identity, Error> {
    platform::accounts::current()
}

/// The name of a user's number, or the number as text where it has none. May ask a directory service.
pub fn user_name(uid: u32) -> String {
    platform::accounts::user_name(uid)
}

/// The user that somebody logged in as to whom process `pid` belongs, whatever it has become since, by `sudo` for one.
/// `None`: nobody logged in, the process is gone, or the OS does not keep it; only Linux does.
pub fn login_of(pid: u32) -> Option<u32> {
    platform::accounts::login_of(pid)
}

/// Whether this process may do what administrators may: become another user, above all. On Windows an
/// administrator has to be elevated for that.
pub fn is_privileged() -> bool {
    platform::accounts::is_privileged()
}
