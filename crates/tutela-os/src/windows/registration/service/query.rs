//! Asking the SCM.

use super::super::mark::{self, Mark};
use super::super::refusals;
use super::super::scm::value::{Value, same_name};
use super::super::scm::{Purpose, ScmHandle};
use super::compare::{Standing, is_leaving};
use crate::registration::{RegisterError, Registered, RegisteredState, Start};
use windows_sys::Win32::Foundation::{ERROR_SERVICE_NEVER_STARTED, ERROR_SERVICE_SPECIFIC_ERROR};
use windows_sys::Win32::System::Services::{
    SERVICE_AUTO_START, SERVICE_CONTINUE_PENDING, SERVICE_DISABLED, SERVICE_PAUSE_PENDING, SERVICE_PAUSED,
    SERVICE_RUNNING, SERVICE_START_PENDING, SERVICE_STOP_PENDING,
};

/// What the SCM says of `name`; `None`: it knows none.
pub(in super::super) fn query(name: &str) -> Result<Option<Registered>, RegisterError> {
    let failed = |error| refusals::refused(name, &format!("asking for {name}"), error);
    let manager = ScmHandle::connect().map_err(failed)?;
    one(&manager, name)
}

fn one(manager: &ScmHandle, name: &str) -> Result<Option<Registered>, RegisterError> {
    let failed = |error| refusals::refused(name, &format!("asking for {name}"), error);
    let Some(service) = manager.service(name, Purpose::Read).map_err(failed)? else { return Ok(None) };
    let base = service.base().map_err(failed)?;
    let status = service.status().map_err(failed)?;
    let exit_code = match status.exit_code {
        ERROR_SERVICE_NEVER_STARTED => None,
        ERROR_SERVICE_SPECIFIC_ERROR => Some(status.own_exit_code),
        code => Some(code),
    };
    let state = match status.state {
        _ if is_leaving(name) => RegisteredState::Leaving,
        SERVICE_START_PENDING => RegisteredState::Starting,
        SERVICE_RUNNING | SERVICE_CONTINUE_PENDING | SERVICE_PAUSE_PENDING => RegisteredState::Running,
        SERVICE_STOP_PENDING => RegisteredState::Stopping,
        SERVICE_PAUSED => RegisteredState::Paused,
        _ if exit_code.is_some_and(|code| code != 0) => RegisteredState::Failed,
        _ => RegisteredState::Stopped,
    };
    let delayed = matches!(Value::Delayed(true).read_same(&service), Ok(Value::Delayed(true)));
    let start = match base.start {
        SERVICE_AUTO_START if delayed => Start::Delayed,
        SERVICE_AUTO_START => Start::Auto,
        SERVICE_DISABLED => Start::Disabled,
        _ => Start::Manual,
    };
    Ok(Some(Registered {
        name: name.to_owned(),
        ours: Mark::read(name).map_err(failed)?.is_some(),
        state,
        pid: status.pid,
        start,
        command: base.command,
        account: base.account,
        place: mark::service_key(name).to_string(),
        // A service that runs has no exit code yet.
        exit_code: exit_code.filter(|_| status.pid.is_none()),
    }))
}

/// Every service with our mark.
pub(in super::super) fn all() -> Result<Vec<Registered>, RegisterError> {
    let failed = |error| refusals::refused("", "listing the services", error);
    let manager = ScmHandle::connect().map_err(failed)?;
    let mut found = Vec::new();
    for name in manager.names().map_err(failed)? {
        // One that is deleted meanwhile, or may not be looked at, is none of those that were asked for.
        if matches!(Mark::read(&name), Ok(Some(_))) {
            found.extend(one(&manager, &name)?);
        }
    }
    Ok(found)
}

/// Refuses what is not there, and what is not ours.
pub(in super::super) fn standing(name: &str) -> Result<(), RegisterError> {
    let failed = |error| refusals::refused(name, &format!("looking at the service {name}"), error);
    let manager = ScmHandle::connect().map_err(failed)?;
    match Standing::find(&manager, name, None)? {
        Some(_) => Ok(()),
        None => Err(RegisterError::Missing { name: name.to_owned() }),
    }
}

/// Whether there is a service of this name that is ours.
pub(in super::super) fn is_ours(name: &str) -> Result<bool, RegisterError> {
    let failed = |error| refusals::refused(name, &format!("asking for {name}"), error);
    Mark::read(name).map(|mark| mark.is_some()).map_err(failed)
}

/// Another service that runs as the account `sid`.
pub(super) fn others_with(manager: &ScmHandle, name: &str, sid: &str) -> Option<String> {
    let account = super::super::accounts::name_of(sid);
    let user = account.rsplit('\\').next().unwrap_or(&account).to_owned();
    manager.names().unwrap_or_default().into_iter().filter(|other| !same_name(other, name)).find(|other| {
        let base = manager.service(other, Purpose::Read).ok().flatten().and_then(|service| service.base().ok());
        // By the user alone, whatever the SCM writes before it: a right kept too long is the lesser evil.
        base.is_some_and(|base| base.account.rsplit('\\').next().is_some_and(|other| same_name(other, &user)))
    })
}
