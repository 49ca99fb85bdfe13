//! Registrations on Windows: services of the SCM, tasks of the Task Scheduler, programs that start at login.
//!
//! A registration is known as ours by its [`mark`]; nothing else is ever changed. In reading order: [`service`] plans
//! services, [`steps`] are what its plans consist of, [`scm`] and [`registry`] do them, [`control`] starts and stops;
//! [`task`] and [`login`] are the other two kinds, whose marks are [`kept`] together.
//!
//! Deliberately absent: `sc.exe`, `schtasks.exe` and `netsh.exe`. Their answers are sentences in the language of the
//! computer.

mod access;
mod access_list;
mod accounts;
mod com;
mod command_line;
mod control;
mod firewall;
mod folders;
mod kept;
mod login;
mod mark;
mod refusals;
mod registry;
mod rights;
mod scm;
mod service;
mod service_sid;
mod steps;
mod task;
mod text;

use crate::registration::{Definition, Ended, Kind, Outlook, Plan, RegisterError, Registered, Scope};
use crate::{Error, Unsupported};
use kept::Of;
use mark::Mark;
use std::time::Duration;

/// The mark of what is no service, and what it is of.
fn kept(name: &str, scope: Scope) -> Result<Option<(Of, Mark)>, RegisterError> {
    kept::read(name, scope).map_err(|source| Error::io(format!("read {}", kept::key(name, scope)), source).into())
}

pub(crate) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    service::check_texts(definition)?;
    let name = &definition.name;
    let kind = match definition.kind {
        Kind::Service => "service",
        Kind::Task => Of::Task.word(),
        Kind::Login => Of::Login.word(),
    };
    let kept = kept(name, definition.scope)?;
    // One name is one registration: another kind of it would be found by no word.
    let other = match &kept {
        Some((of, _)) => (of.word() != kind).then(|| of.word()),
        None if definition.kind != Kind::Service && definition.scope == Scope::System => {
            service::is_ours(name)?.then_some("service")
        }
        None => None,
    };
    if let Some(other) = other {
        return Err(RegisterError::Refused(format!(
            "{name} is registered as a {other} already; remove that before it becomes a {kind}"
        )));
    }
    let former = kept.as_ref().map(|(_, mark)| mark);
    match definition.kind {
        Kind::Service => service::plan(definition),
        Kind::Task => task::plan(definition, former),
        Kind::Login => login::plan(definition, former),
    }
}

pub(crate) fn plan_removal(name: &str, scope: Scope, purge: bool) -> Result<Plan, RegisterError> {
    match kept(name, scope)? {
        Some((Of::Task, mark)) => task::plan_removal(name, scope, &mark, purge),
        Some((Of::Login, mark)) => login::plan_removal(name, scope, &mark, purge),
        None => {
            of_computer(name, scope)?;
            match service::plan_removal(name, purge) {
                Err(RegisterError::Missing { .. }) if purge => folders::plan_purge(name),
                planned => planned,
            }
        }
    }
}

pub(crate) fn start(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    match kept(name, scope)? {
        Some((Of::Task, _)) => task::start(name, bound),
        Some((Of::Login, _)) => Err(by_nobody(name, "started")),
        None => {
            of_computer(name, scope)?;
            service::standing(name)?;
            control::start(name, bound)
        }
    }
}

pub(crate) fn stop(name: &str, scope: Scope, bound: Duration) -> Result<(), RegisterError> {
    match kept(name, scope)? {
        Some((Of::Task, _)) => task::stop(name, bound),
        Some((Of::Login, _)) => Err(by_nobody(name, "stopped")),
        None => {
            of_computer(name, scope)?;
            service::standing(name)?;
            control::stop(name, bound)
        }
    }
}

/// Services are of the computer; an account has none.
fn of_computer(name: &str, scope: Scope) -> Result<(), RegisterError> {
    match scope {
        Scope::System => Ok(()),
        Scope::User => Err(RegisterError::Missing { name: name.to_owned() }),
    }
}

fn by_nobody(name: &str, done: &str) -> RegisterError {
    RegisterError::Refused(format!("{name} is run by who logs in, and no service manager can have it {done}"))
}

pub(crate) fn end_left() -> Result<Vec<Ended>, RegisterError> {
    let why = "Windows ends programs together with their guard";
    Err(Error::from(Unsupported::new("programs that outlive their guard", why)).into())
}

pub(crate) fn outlook(_: &str, _: Scope) -> Result<Outlook, RegisterError> {
    let why = "Windows ends programs together with their guard";
    Err(Error::from(Unsupported::new("programs that outlive their guard", why)).into())
}

pub(crate) fn query(name: &str, scope: Scope) -> Result<Option<Registered>, RegisterError> {
    match kept(name, scope)? {
        Some((Of::Task, mark)) => task::query(name, &mark).map(Some),
        Some((Of::Login, _)) => login::query(name, scope).map(Some),
        None if scope == Scope::User => Ok(None),
        None => service::query(name),
    }
}

pub(crate) fn list(scope: Scope) -> Result<Vec<Registered>, RegisterError> {
    let mut found = if scope == Scope::System { service::all()? } else { Vec::new() };
    let names = kept::names(scope).map_err(|source| Error::io("list what is registered", source))?;
    for name in names {
        found.extend(query(&name, scope)?);
    }
    Ok(found)
}
