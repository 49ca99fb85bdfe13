//! No service manager.

use crate::Os;
use crate::registration::{Definition, Plan, RegisterError, Registered, Scope};
use std::time::Duration;

fn none<T>() -> Result<T, RegisterError> {
    Err(RegisterError::NoServiceManager(format!(
        "this version of Tutela registers nothing on {}; use it on Linux",
        Os::CURRENT.name()
    )))
}

pub(crate) fn plan(_definition: &Definition) -> Result<Plan, RegisterError> {
    none()
}

pub(crate) fn plan_removal(_name: &str, _scope: Scope, _purge: bool) -> Result<Plan, RegisterError> {
    none()
}

pub(crate) fn start(_name: &str, _scope: Scope, _bound: Duration) -> Result<(), RegisterError> {
    none()
}

pub(crate) fn stop(_name: &str, _scope: Scope, _bound: Duration) -> Result<(), RegisterError> {
    none()
}

pub(crate) fn query(_name: &str, _scope: Scope) -> Result<Option<Registered>, RegisterError> {
    none()
}

pub(crate) fn list(_scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    none()
}
