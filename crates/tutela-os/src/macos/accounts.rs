//! No identities.

use crate::Error;
use crate::absent::absent;
use crate::accounts::{AccountId, Identity};

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {}

impl Account {
    pub(crate) fn id(&self) -> AccountId {
        match *self {}
    }

    pub(crate) fn groups(&self) -> &[u32] {
        match *self {}
    }
}

pub(crate) fn resolve(_user: &str, _group: Option<&str>) -> Result<Identity, Error> {
    Err(absent("accounts"))
}

pub(crate) fn resolve_group(_group: &str) -> Result<Identity, Error> {
    Err(absent("accounts"))
}

pub(crate) fn for_program(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Error> {
    match (user, group) {
        (None, None) => Ok(None),
        _ => Err(absent("accounts")),
    }
}

pub(crate) fn current() -> Result<Identity, Error> {
    Err(absent("accounts"))
}

/// Users have no numbers that anybody is told here.
pub(crate) fn user_name(uid: u32) -> String {
    uid.to_string()
}

pub(crate) fn login_of(_pid: u32) -> Option<u32> {
    None
}

pub(crate) fn name_of(account: &AccountId) -> String {
    account.to_string()
}

/// Nothing that needs the right can be done here.
pub(crate) fn is_privileged() -> bool {
    false
}
