//! Steps with the Task Scheduler.

use super::super::steps::as_error;
use super::scheduler::{Logon, Scheduler};
use super::{FOLDER, path};
use crate::Error;
use crate::registration::{Password, Step, Undo};
use std::fmt;
use std::io;
use std::time::Duration;

/// How long a task may take to be ended by force.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// The text of the task as the scheduler has it; `None`: there is none, or none that can be read, which nobody wants
/// back.
fn former(scheduler: &Scheduler, name: &str) -> Option<String> {
    scheduler.task(&path(name)).ok()??.xml().ok()
}

fn put_back(name: &str, former: Option<&str>) -> io::Result<()> {
    let scheduler = Scheduler::connect()?;
    match former {
        // A password of its account is not in the text, so a task that needs one is refused here, and told.
        Some(xml) => scheduler.register(&path(name), xml, None, logon_of(xml)),
        None => {
            scheduler.delete(&path(name))?;
            // Others of ours may be in it.
            drop(scheduler.delete_folder(FOLDER));
            Ok(())
        }
    }
}

fn logon_of(xml: &str) -> Logon {
    match () {
        () if xml.contains("<LogonType>Password<") => Logon::Password,
        () if xml.contains("<LogonType>S4U<") => Logon::WithoutPassword,
        () if xml.contains("<LogonType>InteractiveToken<") => Logon::Session,
        () => Logon::OfOs,
    }
}

/// Makes or changes a task.
pub(super) struct RegisterTask {
    pub(super) name: String,
    pub(super) xml: String,
    /// The account and its password, where there is one.
    pub(super) account: Option<(String, Password)>,
    pub(super) logon: Logon,
}

impl fmt::Display for RegisterTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register the task {}", path(&self.name))
    }
}

impl Step for RegisterTask {
    fn text(&self) -> Option<String> {
        Some(self.xml.clone())
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let scheduler = Scheduler::connect().map_err(failed)?;
        let former = former(&scheduler, &self.name);
        let account = self.account.as_ref().map(|(user, password)| (user.as_str(), Some(password.0.as_str())));
        scheduler.register(&path(&self.name), &self.xml, account, self.logon).map_err(failed)?;
        let name = self.name.clone();
        Ok(Some(Box::new(move || {
            put_back(&name, former.as_deref())
                .map_err(|source| Error::io(format!("put back the task {}", path(&name)), source))
        })))
    }
}

/// Deletes a task, and the folder of ours when it was the last in it.
pub(super) struct DeleteTask(pub(super) String);

impl fmt::Display for DeleteTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete the task {}", path(&self.0))
    }
}

impl Step for DeleteTask {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let scheduler = Scheduler::connect().map_err(failed)?;
        let former = former(&scheduler, &self.0);
        scheduler.delete(&path(&self.0)).map_err(failed)?;
        drop(scheduler.delete_folder(FOLDER));
        let name = self.0.clone();
        Ok(Some(Box::new(move || {
            put_back(&name, former.as_deref())
                .map_err(|source| Error::io(format!("put back the task {}", path(&name)), source))
        })))
    }
}

/// Stops a task that runs. Taking that back starts it.
pub(super) struct StopTask(pub(super) String);

impl fmt::Display for StopTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop the task {}", path(&self.0))
    }
}

impl Step for StopTask {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        super::stop(&self.0, ENDED_WITHIN).map_err(as_error)?;
        let name = self.0.clone();
        Ok(Some(Box::new(move || super::start(&name, ENDED_WITHIN).map_err(as_error))))
    }
}
