//! Readiness messages from programs: not here yet.
pub(crate) use crate::absent::notify::{Attached, Inbox};
