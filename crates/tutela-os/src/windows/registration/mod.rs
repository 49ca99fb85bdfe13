//! Registrations on Windows: services of the SCM, tasks of the Task Scheduler, programs that start at login.
//!
//! A registration is known as ours by its [`mark`]; nothing else is ever changed. In reading order: [`service`] plans
//! services, [`steps`] are what its plans consist of, [`scm`] and [`registry`] do them, [`control`] starts and stops.
//!
//! Deliberately absent: `sc.exe`, `schtasks.exe` and `netsh.exe`. Their answers are sentences in the language of the
//! computer.

mod access;
mod accounts;
mod com;
mod command_line;
mod control;
mod firewall;
mod folders;
mod mark;
mod refusals;
mod registry;
mod rights;
mod scm;
mod security;
mod service;
mod steps;
mod text;

use crate::registration::{Definition, Kind, Plan, RegisterError, Registered, Scope};
use std::time::Duration;

pub(crate) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    match definition.kind {
        Kind::Service => service::plan(definition),
        Kind::Task | Kind::Login => Err(RegisterError::Refused("not yet".into())),
    }
}

pub(crate) fn plan_removal(name: &str, _scope: Scope, purge: bool) -> Result<Plan, RegisterError> {
    service::plan_removal(name, purge)
}

pub(crate) fn start(name: &str, _scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    service::standing(name)?;
    control::start(name, bound)
}

pub(crate) fn stop(name: &str, _scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    service::standing(name)?;
    control::stop(name, bound)
}

pub(crate) fn query(name: &str, _scope: Scope) -> Result<Option<Registered>, RegisterError> {
    service::query(name)
}

pub(crate) fn list(_scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    service::all()
}
