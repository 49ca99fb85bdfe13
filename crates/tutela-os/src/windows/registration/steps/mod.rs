//! The single steps of a registration, each with what takes it back.
//!
//! Invariant: a step reads what it is about to change when it is carried out, not when it is planned, so that taking
//! it back puts back what was really there.

mod registry;
mod service;

pub(super) use registry::{MakeKey, RemoveData, RemoveKey, SetData};
pub(super) use service::{CreateService, DeleteService, SetValue, StopService};

use super::rights::{self, Right};
use crate::registration::{RegisterError, Step, Undo};
use crate::{Error, eventlog};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// A refusal as the failure of a step.
pub(super) fn as_error(error: RegisterError) -> Error {
    match error {
        RegisterError::Failed(error) => error,
        refused => Error::Refused(refused.to_string().trim_start_matches("refused: ").to_owned()),
    }
}

/// Gives an account the right to be logged on for a service or a task.
pub(super) struct GrantRight {
    pub(super) right: Right,
    pub(super) sid: String,
    pub(super) account: String,
}

impl fmt::Display for GrantRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "give {} the right to {}", self.account, self.right)
    }
}

impl Step for GrantRight {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let (what, right, sid) = (self.to_string(), self.right, self.sid.clone());
        rights::grant(&sid, right.name()).map_err(|source| Error::io(what, source))?;
        Ok(Some(Box::new(move || {
            rights::take(&sid, right.name())
                .map_err(|source| Error::io(format!("take the right to {right} back"), source))
        })))
    }
}

/// Takes from an account a right that a registration gave it.
pub(super) struct TakeRight {
    pub(super) right: Right,
    pub(super) sid: String,
    pub(super) account: String,
}

impl fmt::Display for TakeRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take from {} the right to {}, which it was given for this", self.account, self.right)
    }
}

impl Step for TakeRight {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let (what, right, sid) = (self.to_string(), self.right, self.sid.clone());
        rights::take(&sid, right.name()).map_err(|source| Error::io(what, source))?;
        Ok(Some(Box::new(move || {
            rights::grant(&sid, right.name())
                .map_err(|source| Error::io(format!("give the right to {right} back"), source))
        })))
    }
}

/// Makes the Event Log know the service, so that its viewer shows texts.
pub(super) struct RegisterSource(pub(super) String);

impl fmt::Display for RegisterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register {} as a source of the Event Log", self.0)
    }
}

impl Step for RegisterSource {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let name = self.0.clone();
        let made = eventlog::register(&name)?;
        Ok(made.then(|| Box::new(move || eventlog::unregister(&name).map(drop)) as Undo))
    }
}

/// Makes the Event Log forget the service. Its records stay.
pub(super) struct UnregisterSource(pub(super) String);

impl fmt::Display for UnregisterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take {} out of the sources of the Event Log", self.0)
    }
}

impl Step for UnregisterSource {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let name = self.0.clone();
        let removed = eventlog::unregister(&name)?;
        Ok(removed.then(|| Box::new(move || eventlog::register(&name).map(drop)) as Undo))
    }
}

/// A step of a removal that is not taken back once the service is marked for deletion: nothing would ever need it.
pub(super) struct UnlessDeleted {
    pub(super) step: Box<dyn Step>,
    pub(super) deleted: Rc<Cell<bool>>,
}

impl fmt::Display for UnlessDeleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)
    }
}

impl Step for UnlessDeleted {
    fn text(&self) -> Option<String> {
        self.step.text()
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let deleted = self.deleted.clone();
        Ok(self.step.carry_out()?.map(|undo| Box::new(move || if deleted.get() { Ok(()) } else { undo() }) as Undo))
    }
}
