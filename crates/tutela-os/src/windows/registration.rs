//! The service manager: not here yet.
pub(crate) use crate::absent::registration::{list, plan, plan_removal, query, start, stop};
