//! Steps with the Task Scheduler.

use super::super::steps::as_error;
use super::right;
use super::scheduler::{Logon, Scheduler, Taken};
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
        // How it is taken is as it was.
        Some(xml) => scheduler.register(&path(name), xml, None, logon_of(xml)).map(drop),
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
    /// The account's name, for people.
    pub(super) runs_as: String,
}

impl RegisterTask {
    /// Why a task that the scheduler has taken is of no use, and how to mend it.
    fn useless(&self, taken: Taken) -> Option<String> {
        let (path, account) = (path(&self.name), &self.runs_as);
        match taken {
            Taken::Well => None,
            Taken::WithoutRight => Some(format!(
                "the Task Scheduler would take {path} and never run it, because {account} may not log on as a batch \
                 job; {}",
                right::BY_HAND
            )),
            Taken::WithoutTrigger => Some(format!(
                "the Task Scheduler would take {path} and never start it, because {account} may not have it started by \
                 itself; install it as an administrator, or with the start \"manual\""
            )),
        }
    }
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
        let taken = scheduler.register(&path(&self.name), &self.xml, account, self.logon).map_err(failed)?;
        if let Some(why) = self.useless(taken) {
            return Err(Error::Refused(match put_back(&self.name, former.as_deref()) {
                Ok(()) => why,
                Err(stuck) => {
                    format!("{why}; it stays registered, because putting back what was there failed: {stuck}")
                }
            }));
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_would_never_run_is_told_with_the_account_and_the_right_that_it_lacks() {
        let step = RegisterTask {
            name: "shop".into(),
            xml: String::new(),
            account: None,
            logon: Logon::WithoutPassword,
            runs_as: r".\shop".into(),
        };
        assert_eq!(step.useless(Taken::Well), None);
        let why = step.useless(Taken::WithoutRight).unwrap();
        assert!(why.contains(r".\shop may not") && why.contains("SeBatchLogonRight"), "{why}");
        assert!(step.useless(Taken::WithoutTrigger).is_some());
    }
}
