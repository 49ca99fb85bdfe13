//! Steps with the SCM.

use super::super::scm::value::Value;
use super::super::scm::{self, Base, Purpose, ScmHandle, Service};
use super::super::{accounts, control, refusals};
use super::as_error;
use crate::Error;
use crate::registration::{Account, Password, Step, Undo};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use windows_sys::Win32::Foundation::{ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_MARKED_FOR_DELETE};

fn open(name: &str, purpose: Purpose) -> io::Result<Service> {
    ScmHandle::connect()?
        .service(name, purpose)?
        .ok_or_else(|| io::Error::from_raw_os_error(ERROR_SERVICE_DOES_NOT_EXIST.cast_signed()))
}

/// The failure to `what`; one that is marked for deletion is told with those who may hold it.
fn failed(name: &str, what: String, source: io::Error) -> Error {
    if scm::code(&source) == ERROR_SERVICE_MARKED_FOR_DELETE {
        return as_error(refusals::leaving(name));
    }
    Error::io(what, source)
}

/// Makes the service, with everything that the SCM must know for it to be one.
pub(in super::super) struct CreateService {
    pub(in super::super) name: String,
    pub(in super::super) display_name: String,
    pub(in super::super) command: String,
    pub(in super::super) start: u32,
    pub(in super::super) error_control: u32,
    pub(in super::super) after: Vec<String>,
    pub(in super::super) account: String,
    pub(in super::super) password: Option<Password>,
}

impl fmt::Display for CreateService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "create the service {}", self.name)
    }
}

impl Step for CreateService {
    fn text(&self) -> Option<String> {
        let values = [
            Value::Command(self.command.clone()),
            Value::DisplayName(self.display_name.clone()),
            Value::StartType(self.start),
            Value::ErrorControl(self.error_control),
            Value::After(self.after.clone()),
            Value::Account { name: self.account.clone(), password: None },
        ];
        Some(values.iter().map(|value| format!("{} = {value}", value.what())).collect::<Vec<_>>().join("\n"))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| failed(&self.name, self.to_string(), source);
        let base = Base {
            display_name: &self.display_name,
            command: &self.command,
            start: self.start,
            error_control: self.error_control,
            after: &self.after,
            account: &self.account,
            password: self.password.as_ref().map(|password| password.0.as_str()),
        };
        let manager = ScmHandle::connect_to_create().map_err(failed)?;
        manager.create(&self.name, &base).map_err(failed)?;
        let name = self.name.clone();
        Ok(Some(Box::new(move || {
            let failed = |source| Error::io(format!("delete the service {name}"), source);
            open(&name, Purpose::Delete).and_then(|service| service.delete()).map_err(failed)
        })))
    }
}

/// Changes one value of a service.
pub(in super::super) struct SetValue {
    pub(in super::super) name: String,
    pub(in super::super) wanted: Value,
    /// What it was when this was planned, to be shown.
    pub(in super::super) former: Option<Value>,
}

impl fmt::Display for SetValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set the {} of the service {}", self.wanted.what(), self.name)
    }
}

impl Step for SetValue {
    fn text(&self) -> Option<String> {
        let former = self.former.as_ref().map(|former| format!(" (was {former})")).unwrap_or_default();
        Some(format!("{} = {}{former}", self.wanted.what(), self.wanted))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| failed(&self.name, self.to_string(), source);
        let service = open(&self.name, Purpose::Change).map_err(failed)?;
        let former = self.wanted.read_same(&service).map_err(failed)?;
        self.wanted.write(&service).map_err(failed)?;
        let name = self.name.clone();
        Ok(Some(Box::new(move || {
            let failed = |source| Error::io(format!("put back the {} of the service {name}", former.what()), source);
            let former = match &former {
                Value::Account { name: account, .. } if has_password(account) => {
                    return Err(Error::Refused(format!(
                        "the password of the former account {account} is not known, and without it {name} could not \
                         be started (1069); set both in services.msc"
                    )));
                }
                // As the SCM wants it for accounts of the OS.
                Value::Account { name: account, .. } if is_of_os(account) => {
                    Value::Account { name: account.clone(), password: Some(Password(String::new())) }
                }
                other => other.clone(),
            };
            open(&name, Purpose::Change).and_then(|service| former.write(&service)).map_err(failed)
        })))
    }
}

/// Whether the SCM knows the account by one of its own words.
fn is_of_os(account: &str) -> bool {
    let account = account.to_lowercase();
    ["localsystem", r".\localsystem"].contains(&account.as_str()) || account.starts_with(r"nt authority\")
}

/// Whether the SCM logs an account on with a password that it was given, and would ask for again. One that cannot be
/// looked up is of a domain that does not answer.
fn has_password(account: &str) -> bool {
    // The domain knows those of managed accounts; the accounts of services have none.
    if is_of_os(account) || account.ends_with('$') || account.to_lowercase().starts_with(r"nt service\") {
        return false;
    }
    let account = Account::Named { name: account.to_owned(), password: None, create: false };
    accounts::resolve(&account, "").map_or(true, |resolved| resolved.of_people)
}

/// Stops a service that runs. Taking that back starts it, unless it has been deleted since.
pub(in super::super) struct StopService {
    pub(in super::super) name: String,
    pub(in super::super) bound: Duration,
    /// Set once the service is marked for deletion.
    pub(in super::super) deleted: Rc<Cell<bool>>,
}

impl fmt::Display for StopService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop the service {}, within {:?}", self.name, self.bound)
    }
}

impl Step for StopService {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        control::stop(&self.name, self.bound).map_err(as_error)?;
        let (name, deleted) = (self.name.clone(), self.deleted.clone());
        Ok(Some(Box::new(move || {
            if deleted.get() {
                return Err(Error::Refused(format!("{name} stays stopped, for it is marked for deletion")));
            }
            let failed = |source| Error::io(format!("start the service {name}"), source);
            open(&name, Purpose::Start).and_then(|service| service.start()).map_err(failed)
        })))
    }
}

/// Deletes a service, and waits until it is really gone.
pub(in super::super) struct DeleteService {
    pub(in super::super) name: String,
    pub(in super::super) deleted: Rc<Cell<bool>>,
}

impl fmt::Display for DeleteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete the service {}", self.name)
    }
}

impl Step for DeleteService {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| failed(&self.name, self.to_string(), source);
        match open(&self.name, Purpose::Delete).and_then(|service| service.delete()) {
            Ok(()) => {}
            Err(error) if scm::code(&error) == ERROR_SERVICE_MARKED_FOR_DELETE => {}
            Err(source) => return Err(failed(source)),
        }
        self.deleted.set(true);
        control::wait_until_gone(&self.name).map_err(as_error)?;
        let name = self.name.clone();
        Ok(Some(Box::new(move || {
            Err(Error::Refused(format!("the service {name} has been deleted; install it again")))
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_people_has_a_password_however_it_is_written() {
        let computer = crate::usage::host_name();
        let user = std::env::var("USERNAME").unwrap_or_default();
        for account in [&format!(r".\{user}"), &format!(r"{computer}\{user}"), &user, r"NO-SUCH-DOMAIN\somebody"] {
            assert!(has_password(account), "{account}");
        }
    }

    #[test]
    fn accounts_that_the_os_or_a_domain_logs_on_by_itself_have_none() {
        for account in ["LocalSystem", r".\LocalSystem", r"NT AUTHORITY\LocalService", r"nt authority\networkservice"] {
            assert!(is_of_os(account) && !has_password(account), "{account}");
        }
        for account in [r"NT SERVICE\shop", r"DOMAIN\shop$"] {
            assert!(!is_of_os(account) && !has_password(account), "{account}");
        }
    }
}
