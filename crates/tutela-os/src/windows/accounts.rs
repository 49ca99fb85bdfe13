//! Users and groups: not here yet.
pub(crate) use crate::absent::accounts::{current, is_privileged, resolve, resolve_group, user_name};
