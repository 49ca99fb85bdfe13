//! Users and groups: names to numbers and back.
//!
//! A look-up can go to a directory service over the network and take as long as that does, so it belongs
//! to preflight and to a start, never to the conductor.

use crate::process::Identity;
use crate::{Error, platform};

/// The identity of an account by its name or number, with its supplementary groups; `group`, a name or
/// number, replaces its first group.
///
/// # Errors
/// There is no such account or group, or the OS has no identities of this kind.
pub fn resolve(user: &str, group: Option<&str>) -> Result<Identity, Error> {
    platform::accounts::resolve(user, group)
}

/// The identity of the guard itself with another first group, for a spec that names only a group.
///
/// # Errors
/// There is no such group, or the OS has no identities of this kind.
pub fn resolve_group(group: &str) -> Result<Identity, Error> {
    platform::accounts::resolve_group(group)
}

/// The identity that this process has.
///
/// # Errors
/// The OS has no identities of this kind.
pub fn current() -> Result<Identity, Error> {
    platform::accounts::current()
}

/// The name of a user's number, or the number as text.
pub fn user_name(uid: u32) -> String {
    platform::accounts::user_name(uid)
}

/// Whether this process may do what administrators may: become another user, above all.
pub fn is_privileged() -> bool {
    platform::accounts::is_privileged()
}
