//! Planning a removal: what registering made goes, in an order in which everything can be put back until the service
//! itself is deleted.

use super::super::rights::Right;
use super::super::scm::{ScmHandle, Service};
use super::super::steps::{DeleteService, StopService, TakeRight, UnlessDeleted, UnregisterSource};
use super::super::{accounts, control, firewall, folders, refusals};
use super::compare::Standing;
use super::query::others_with;
use crate::registration::{Plan, RegisterError, Step};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use windows_sys::Win32::System::Services::SERVICE_STOPPED;

use super::super::scm::value::Value;

/// How long a stop may take at least before a removal gives up.
const SHORTEST_STOP: Duration = Duration::from_secs(30);

/// Plans the removal of a service of ours.
pub(in super::super) fn plan_removal(name: &str, purge: bool) -> Result<Plan, RegisterError> {
    let failed = |error| refusals::refused(name, &format!("looking at the service {name}"), error);
    let manager = ScmHandle::connect().map_err(failed)?;
    let obstacle =
        ScmHandle::connect_to_create().err().map(|error| refusals::refused(name, &format!("removing {name}"), error));
    let standing =
        Standing::find(&manager, name, None)?.ok_or_else(|| RegisterError::Missing { name: name.to_owned() })?;
    let mark = standing.mark.clone().unwrap_or_default();
    let deleted = Rc::new(Cell::new(false));
    let mut notes = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();

    if standing.service.status().map_err(failed)?.state != SERVICE_STOPPED {
        if !standing.service.active_dependents().unwrap_or_default().is_empty() {
            return Err(control::needed_by(name, &standing.service));
        }
        let bound = stop_bound(&standing.service);
        steps.push(Box::new(StopService { name: name.to_owned(), bound, deleted: deleted.clone() }));
    }
    let mut cleaning: Vec<Box<dyn Step>> = Vec::new();
    let (openings, told) = firewall::plan(name, &[], &mark.openings);
    notes.extend(told);
    cleaning.extend(openings.steps);
    if let Some(source) = &mark.source {
        cleaning.push(Box::new(UnregisterSource(source.clone())));
    }
    if let Some(sid) = &mark.granted {
        let account = accounts::name_of(sid);
        match others_with(&manager, name, sid) {
            Some(other) => notes.push(format!(
                "{account} keeps the right to log on as a service, for the service {other} runs as it too"
            )),
            None => cleaning.push(Box::new(TakeRight { right: Right::Service, sid: sid.clone(), account })),
        }
    }
    steps.extend(
        cleaning.into_iter().map(|step| Box::new(UnlessDeleted { step, deleted: deleted.clone() }) as Box<dyn Step>),
    );
    steps.push(Box::new(DeleteService { name: name.to_owned(), deleted }));
    folders::plan_removal(&mark, purge, &mut steps, &mut notes);
    Ok(Plan::new(steps, notes).hindered(obstacle))
}

/// The time that the service has for its stop at shutdown is the time that it needs.
fn stop_bound(service: &Service) -> Duration {
    match Value::Preshutdown(0).read_same(service) {
        Ok(Value::Preshutdown(millis)) => Duration::from_millis(millis.into()).max(SHORTEST_STOP),
        _ => SHORTEST_STOP,
    }
}
