//! The service control manager: whether it started us, and the calls of its protocol.

mod meaning;
mod mouth;
mod operator;
mod parent;
mod scm;

pub(crate) use mouth::Host;
pub(crate) use operator::ask;
pub(crate) use parent::session_of;
pub(crate) use scm::{is_served, serve_scm};

use crate::host::StartedBy;

/// The dispatcher's word where it was asked already; else what the process table shows.
pub(crate) fn service_manager() -> Option<StartedBy> {
    (is_served() || parent::is_service_manager()).then_some(StartedBy::ServiceControlManager)
}

pub(crate) fn is_init() -> bool {
    false
}
