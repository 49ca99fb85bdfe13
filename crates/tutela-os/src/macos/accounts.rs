//! Users and groups: not here yet.
pub(crate) use crate::absent::accounts::{
    Account, current, for_program, is_privileged, name_of, resolve, resolve_group,
};
