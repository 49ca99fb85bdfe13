//! Planning a registration: wanted against what there is, a step for each difference.

use super::super::access::{self, Want};
use super::super::accounts::{self, Resolved};
use super::super::mark::{self, Mark};
use super::super::registry::{self, Data};
use super::super::rights::{self, Right};
use super::super::scm::value::{BaseValues, Value, same_name, unknown_here};
use super::super::scm::{self, Purpose, ScmHandle, Service};
use super::super::steps::{
    CreateService, GrantRight, MakeKey, RegisterSource, RemoveData, SetData, SetValue, TakeRight,
};
use super::super::{firewall, folders, refusals};
use super::wanted::{Wanted, wanted};
use crate::Error;
use crate::registration::{Account, Definition, Plan, RegisterError, Step};
use std::io;
use windows_sys::Win32::System::Services::{SERVICE_STOPPED, SERVICE_WIN32_OWN_PROCESS};

/// The value under a service's key that the SCM adds to the environment of its program.
const ENVIRONMENT: &str = "Environment";

/// The value under a service's key that says that it goes once nobody holds it.
const DELETED: &str = "DeleteFlag";

/// What there is under the name.
pub(super) struct Standing {
    pub(super) service: Service,
    pub(super) base: BaseValues,
    /// Its mark; `None` for one that was left half made, which is known by its command line.
    pub(super) mark: Option<Mark>,
}

impl Standing {
    /// Reads what is registered under `name`; `None`: nothing. Refuses what is somebody else's.
    pub(super) fn find(
        manager: &ScmHandle,
        name: &str,
        command: Option<&str>,
    ) -> Result<Option<Standing>, RegisterError> {
        let failed = |error| refusals::refused(name, &format!("looking at the service {name}"), error);
        let Some(service) = manager.service(name, Purpose::Read).map_err(failed)? else { return Ok(None) };
        let base = service.base().map_err(failed)?;
        let mark = Mark::read(name).map_err(failed)?;
        // Between making a service and marking it a power cut may come; what runs exactly this is nobody else's.
        let ours = mark.is_some() || command.is_some_and(|command| base.command == command);
        if !ours || base.kind & SERVICE_WIN32_OWN_PROCESS == 0 {
            let place = format!("it runs {} ({})", base.command, mark::service_key(name));
            return Err(RegisterError::Foreign { name: name.to_owned(), place });
        }
        if is_leaving(name) {
            return Err(refusals::leaving(name));
        }
        Ok(Some(Standing { service, base, mark }))
    }
}

/// Whether the service is marked for deletion.
pub(super) fn is_leaving(name: &str) -> bool {
    let flag = registry::read(&mark::service_key(name), DELETED).ok().flatten();
    flag.and_then(|flag| flag.as_number()).is_some_and(|flag| flag != 0)
}

/// Plans the registration of a service.
pub(in super::super) fn plan(definition: &Definition) -> Result<Plan, RegisterError> {
    let mut notes = Vec::new();
    let wanted = wanted(definition, &mut notes)?;
    let name = &definition.name;
    let failed = |error| refusals::refused(name, &format!("looking at the service {name}"), error);
    let manager = ScmHandle::connect().map_err(failed)?;
    let obstacle = match ScmHandle::connect_to_create() {
        Ok(_) => None,
        Err(error) => Some(refusals::refused(name, &format!("registering {name}"), error)),
    };
    let standing = Standing::find(&manager, name, Some(&wanted.command))?;
    if let Some(other) = manager.name_by_display_name(&definition.display_name).map_err(failed)?
        && !same_name(&other, name)
    {
        return Err(RegisterError::Refused(format!(
            "the service {other} has the display name {:?} already; set another display_name",
            definition.display_name
        )));
    }
    for other in definition.after.iter().filter(|other| !other.starts_with('+')) {
        if manager.service(other, Purpose::Read).is_ok_and(|service| service.is_none()) {
            notes.push(format!(
                "{name} is to start after {other}, which is no service of this computer; until it is one, {name} cannot \
                 be started (1075)"
            ));
        }
    }
    let account = accounts::resolve(&definition.account, name)?;
    accounts::check(&account, &mut notes)?;

    let mut planning = Planning { definition, account: &account, steps: Vec::new(), notes };
    let mut mark = standing.as_ref().and_then(|standing| standing.mark.clone()).unwrap_or_default();
    let former_right = planning.right(&mut mark)?;
    let first = std::mem::take(&mut planning.steps);
    planning.environment(&wanted.environment, standing.is_some())?;
    planning.source(&mut mark);
    planning.folders(&mut mark)?;
    planning.readable();
    let (openings, notes) = firewall::plan(name, &definition.openings, &mark.openings);
    planning.notes.extend(notes);
    planning.steps.extend(openings.steps);
    mark.openings = openings.names;
    env!("CARGO_PKG_VERSION").clone_into(&mut mark.version);
    let last = std::mem::replace(&mut planning.steps, first);
    match &standing {
        None => planning.create(&wanted, &mark, &manager)?,
        Some(standing) => {
            planning.change(&wanted, standing)?;
            planning.mark(&mark, standing.mark.as_ref());
        }
    }
    planning.steps.extend(last);
    if let Some(sid) = former_right {
        planning.give_back(sid, &manager);
    }
    Ok(Plan::new(planning.steps, planning.notes).hindered(obstacle))
}

struct Planning<'a> {
    definition: &'a Definition,
    account: &'a Resolved,
    steps: Vec<Box<dyn Step>>,
    notes: Vec<String>,
}

impl Planning<'_> {
    fn step(&mut self, step: impl Step + 'static) {
        self.steps.push(Box::new(step));
    }

    /// The right to log on as a service, where the account lacks it. Answers the identifier of a former account that
    /// was given it for this and needs it no more.
    fn right(&mut self, mark: &mut Mark) -> Result<Option<String>, RegisterError> {
        let former = mark.granted.take();
        let account = self.account;
        if former.as_deref() == Some(&account.sid) {
            mark.granted.clone_from(&former);
        }
        let former = former.filter(|sid| *sid != account.sid);
        let own = self.definition.account == Account::Own;
        let needed = account.needs_right || (own && rights::denied_to_services());
        if !needed {
            return Ok(former);
        }
        match rights::has(&account.sid, rights::SERVICE_LOGON) {
            Ok(true) => {}
            Ok(false) => {
                mark.granted = Some(account.sid.clone());
                let (sid, account) = (account.sid.clone(), account.name.clone());
                self.step(GrantRight { right: Right::Service, sid, account });
            }
            // Who may not even ask is told so by the obstacle.
            Err(error) if scm::denied(&error) => {}
            Err(error) => self.notes.push(format!(
                "whether {} may log on as a service could not be asked, so nothing is done about it: {error}",
                account.name
            )),
        }
        Ok(former)
    }

    fn create(&mut self, wanted: &Wanted, mark: &Mark, manager: &ScmHandle) -> Result<(), RegisterError> {
        self.needs_password()?;
        let definition = self.definition;
        self.step(CreateService {
            name: definition.name.clone(),
            display_name: definition.display_name.clone(),
            command: wanted.command.clone(),
            start: wanted.start,
            error_control: wanted.error_control,
            after: definition.after.clone(),
            account: self.account.name.clone(),
            password: self.account.password.clone(),
        });
        // At once, so that what a power cut leaves is known as ours.
        self.mark(mark, None);
        // Which values this computer's SCM knows is asked of a service that there is.
        let other = manager.names().unwrap_or_default().into_iter().find_map(|name| {
            let service = manager.service(&name, Purpose::Read).ok().flatten()?;
            service.base().ok().map(|_| service)
        });
        for (value, fresh) in &wanted.further {
            let asked = other.as_ref().map(|other| value.read_same(other));
            if let Some(Err(error)) = asked
                && unknown_here(&error)
            {
                self.unknown(value, &error);
            } else if fresh.as_ref() != Some(value) {
                self.step(SetValue { name: definition.name.clone(), wanted: value.clone(), former: None });
            }
        }
        Ok(())
    }

    fn unknown(&mut self, value: &Value, error: &io::Error) {
        self.notes.push(format!(
            "this computer's SCM knows no {what}, so it is left out ({what} = {value}): {error}",
            what = value.what()
        ));
    }

    fn needs_password(&self) -> Result<(), RegisterError> {
        if !self.account.of_people || self.account.password.is_some() {
            return Ok(());
        }
        let why = "needs its password, for Windows keeps it and logs on with it; give it, or use an account without \
                   one: \"own\", or a managed one"
            .to_owned();
        Err(RegisterError::Account { account: self.account.name.clone(), why })
    }

    /// A step for every value that differs.
    fn change(&mut self, wanted: &Wanted, standing: &Standing) -> Result<(), RegisterError> {
        let definition = self.definition;
        let name = &definition.name;
        let mut differing: Vec<(Value, Value)> = Vec::new();
        let base = [
            Value::Command(wanted.command.clone()),
            Value::DisplayName(definition.display_name.clone()),
            Value::ErrorControl(wanted.error_control),
            Value::After(definition.after.clone()),
            Value::StartType(wanted.start),
        ];
        for value in base.iter().chain(wanted.further.iter().map(|(value, _)| value)) {
            match value.read_same(&standing.service) {
                Ok(there) if there == *value => {}
                Ok(there) => differing.push((value.clone(), there)),
                Err(error) if unknown_here(&error) => self.unknown(value, &error),
                Err(error) => {
                    return Err(refusals::refused(name, &format!("looking at the service {name}"), error));
                }
            }
        }
        // Last, because taking it back may need a password that nobody knows.
        let former = &standing.base.account;
        if !same_name(former, &self.account.name) {
            self.needs_password()?;
            differing.push((self.account_value(), Value::Account { name: former.clone(), password: None }));
        } else if self.account.of_people && self.account.password.is_some() {
            // Whether it is the one that Windows has cannot be known.
            differing.push((self.account_value(), Value::Account { name: former.clone(), password: None }));
        }
        let live = |value: &Value| {
            matches!(value, Value::Command(_) | Value::Account { .. } | Value::SidType(_) | Value::Privileges(_))
        };
        if differing.iter().any(|(value, _)| live(value))
            && standing.service.status().is_ok_and(|status| status.state != SERVICE_STOPPED)
        {
            self.notes.push(format!("{name} runs, and takes over the changes at its next start"));
        }
        for (value, former) in differing {
            self.step(SetValue { name: name.clone(), wanted: value, former: Some(former) });
        }
        Ok(())
    }

    fn account_value(&self) -> Value {
        Value::Account { name: self.account.name.clone(), password: self.account.password.clone() }
    }

    fn environment(&mut self, wanted: &[String], exists: bool) -> Result<(), RegisterError> {
        let place = mark::service_key(&self.definition.name);
        let there = registry::read(&place, ENVIRONMENT).map_err(|source| Error::io(format!("read {place}"), source))?;
        let there = there.and_then(|data| data.as_texts()).unwrap_or_default();
        if exists && wanted.is_empty() && !there.is_empty() {
            self.step(RemoveData { place, name: ENVIRONMENT.to_owned() });
        } else if there != wanted {
            self.step(SetData { place, name: ENVIRONMENT.to_owned(), data: Data::texts(wanted) });
        }
        Ok(())
    }

    /// The source in the Event Log, unless somebody else has one of this name.
    fn source(&mut self, mark: &mut Mark) {
        let name = &self.definition.name;
        let place = mark::service_key("EventLog").child("Application").child(name);
        let file = registry::read(&place, "EventMessageFile").ok().flatten();
        match file.and_then(|file| file.as_text()) {
            None => {
                mark.source = Some(name.clone());
                self.step(RegisterSource(name.clone()));
            }
            // What the mark says is ours; another one is the guard's own as well, or somebody else's, and stays.
            Some(_) if mark.source.is_some() => {}
            Some(file) => self.notes.push(format!(
                "the Event Log has a source {name} already, whose texts are in {file}; it stays as it is"
            )),
        }
    }

    fn folders(&mut self, mark: &mut Mark) -> Result<(), RegisterError> {
        let Resolved { sid, name, .. } = self.account;
        let steps = folders::plan_all(self.definition, sid, name, &mut mark.folders, &mut self.notes)?;
        self.steps.extend(steps);
        Ok(())
    }

    /// What the account can be seen not to get at is told, with the command that mends it.
    fn readable(&mut self) {
        let definition = self.definition;
        let mut asked = vec![(&definition.program, Want::Run)];
        asked.extend(definition.sandbox.readable.iter().map(|path| (path, Want::Read)));
        if definition.account != Account::System {
            asked.extend(definition.sandbox.writable.iter().map(|path| (path, Want::Write)));
        }
        for (path, want) in asked {
            self.notes.extend(access::missing(path, want, &self.account.sid, &self.account.name));
        }
    }

    /// The mark, as a whole where there is none.
    fn mark(&mut self, mark: &Mark, former: Option<&Mark>) {
        let place = mark::key(&self.definition.name);
        let Some(former) = former else {
            self.step(MakeKey { place, access_list: Some(mark::ACCESS_LIST), values: mark.whole() });
            return;
        };
        self.steps.extend(mark.steps(former, &place));
    }

    /// Takes the right back from a former account, unless another service of ours relies on it.
    fn give_back(&mut self, sid: String, manager: &ScmHandle) {
        let account = accounts::name_of(&sid);
        if let Some(other) = super::query::others_with(manager, &self.definition.name, &sid) {
            self.notes.push(format!("{account} keeps the right to log on as a service, for {other} runs as it too"));
            return;
        }
        self.step(TakeRight { right: Right::Service, sid, account });
    }
}
