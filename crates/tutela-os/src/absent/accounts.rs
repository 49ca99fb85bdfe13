//! No identities by number.

use super::absent;
use crate::Error;
use crate::process::Identity;

pub(crate) fn resolve(_user: &str, _group: Option<&str>) -> Result<Identity, Error> {
    Err(absent("accounts"))
}

pub(crate) fn resolve_group(_group: &str) -> Result<Identity, Error> {
    Err(absent("accounts"))
}

pub(crate) fn current() -> Result<Identity, Error> {
    Err(absent("accounts"))
}

pub(crate) fn user_name(uid: u32) -> String {
    uid.to_string()
}

/// Nothing that needs the right can be done here.
pub(crate) fn is_privileged() -> bool {
    false
}
