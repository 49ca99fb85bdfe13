//! Programs that start when somebody logs in: a value under the Run key, of the computer or of an account.
//!
//! Windows starts them and forgets them: there is nobody to ask what they are doing.

use super::command_line::command_line_at_login;
use super::kept::{self, Of};
use super::mark::Mark;
use super::registry::{self, Data, Place};
use super::service::{arguments, path_text};
use super::steps::{RemoveData, SetData};
use super::{firewall, folders};
use crate::Error;
use crate::registration::{Account, Definition, Plan, RegisterError, Registered, RegisteredState, Scope, Start, Step};

/// What Windows starts at login.
const RUN: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";

fn run_key(scope: Scope) -> Place {
    Place { root: kept::root(scope), path: RUN.to_owned() }
}

fn read(name: &str, scope: Scope) -> Result<Option<String>, RegisterError> {
    let place = run_key(scope);
    let data = registry::read(&place, name).map_err(|source| Error::io(format!("read {place}"), source))?;
    Ok(data.map(|data| data.as_text().unwrap_or_else(|| data.to_string())))
}

/// Plans the registration.
pub(super) fn plan(definition: &Definition, former: Option<&Mark>) -> Result<Plan, RegisterError> {
    let (name, scope) = (&definition.name, definition.scope);
    if matches!(definition.start, Start::Manual | Start::Disabled) {
        return Err(RegisterError::Refused(format!(
            "{name} is not to be started by itself, and being started at login is all that --as login does"
        )));
    }
    let program = path_text(&definition.program)?;
    let command = command_line_at_login(&program, &arguments(definition)?).map_err(RegisterError::Refused)?;
    let there = read(name, scope)?;
    if let Some(there) = &there
        && former.is_none()
    {
        let place = format!("{} starts {there}", run_key(scope));
        return Err(RegisterError::Foreign { name: name.clone(), place });
    }
    let whom = match scope {
        Scope::System => "everybody who logs in to this computer, as themselves",
        Scope::User => "you, when you log in",
    };
    let mut notes = vec![
        format!("it is started for {whom}, and by nobody again when it dies"),
        "nothing is taken from its programs".to_owned(),
    ];
    if !matches!(definition.account, Account::Own) {
        notes.push("it runs as whoever logs in, and not as another account".to_owned());
    }
    notes.extend(without_environment(definition));
    let mut mark = Mark {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: Some(Of::Login.word().to_owned()),
        definition: Some(command.clone()),
        ..Mark::default()
    };
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let remembered = former.map(|former| former.openings.as_slice()).unwrap_or_default();
    let (openings, told) = firewall::plan(name, &definition.openings, remembered);
    notes.extend(told);
    mark.openings = openings.names;
    let own = crate::accounts::current().map(|own| own.id().to_string()).ok();
    match own.filter(|_| scope == Scope::User) {
        Some(own) => steps.extend(folders::plan_all(definition, &own, "you", &mut mark.folders, &mut notes)?),
        None if definition.folders == Default::default() => {}
        None => notes.push("its folders are made by those who log in, each for themselves".to_owned()),
    }
    steps.extend(openings.steps);
    steps.splice(0..0, kept::write(name, scope, &mark, former));
    if there.as_deref() != Some(command.as_str()) {
        steps.push(Box::new(SetData { place: run_key(scope), name: name.clone(), data: Data::text(&command) }));
    }
    Ok(Plan::new(steps, notes).hindered(kept::obstacle(name, scope)))
}

/// A note when variables of the environment get lost.
pub(super) fn without_environment(definition: &Definition) -> Option<String> {
    let names: Vec<&str> = definition.env.iter().map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Windows gives an environment of their own only to services, so {} is without {}",
            definition.name,
            names.join(", ")
        )
    })
}

/// Plans the removal.
pub(super) fn plan_removal(name: &str, scope: Scope, mark: &Mark, purge: bool) -> Result<Plan, RegisterError> {
    let mut notes = vec![format!("{name} goes on, if it runs, until its session ends")];
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if read(name, scope)?.is_some() {
        steps.push(Box::new(RemoveData { place: run_key(scope), name: name.to_owned() }));
    }
    let (openings, told) = firewall::plan(name, &[], &mark.openings);
    notes.extend(told);
    steps.extend(openings.steps);
    steps.push(kept::remove(name, scope));
    folders::plan_removal(mark, purge, &mut steps, &mut notes);
    Ok(Plan::new(steps, notes).hindered(kept::obstacle(name, scope)))
}

/// What there is to be said of it.
pub(super) fn query(name: &str, scope: Scope) -> Result<Registered, RegisterError> {
    let command = read(name, scope)?;
    Ok(Registered {
        name: name.to_owned(),
        ours: true,
        // Nobody knows; it is not running as far as Windows is concerned.
        state: RegisteredState::Stopped,
        pid: None,
        start: if command.is_some() { Start::Auto } else { Start::Disabled },
        command: command.unwrap_or_default(),
        account: "whoever logs in".to_owned(),
        place: run_key(scope).to_string(),
        exit_code: None,
    })
}
