//! Tasks of the Task Scheduler: for programs that need no service. A task is known as ours by its mark, and compared by
//! the text that the mark remembers, because the scheduler writes texts in its own way.

mod right;
mod scheduler;
mod steps;
mod xml;

use super::accounts::{self, Resolved};
use super::com::{NO_CLASS, NOT_IMPLEMENTED, result};
use super::command_line;
use super::kept::{self, Of};
use super::mark::Mark;
use super::service::{arguments, path_text};
use super::{firewall, folders, login};
use crate::Error;
use crate::registration::{
    Account, Definition, Password, Plan, RegisterError, Registered, RegisteredState, Scope, Start, Step,
};
use scheduler::{Logon, Scheduler, State, Task};
use std::io;
use std::time::{Duration, Instant};
use steps::{DeleteTask, RegisterTask, StopTask};
use xml::{TaskText, Trigger};

/// Where ours are.
const FOLDER: &str = r"\Tutela";

/// How often the scheduler starts one again that failed: the most that it takes.
const RESTARTS: u32 = 255;

/// The shortest wait before that, and the longest, that the scheduler takes.
const RESTART_BETWEEN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(31 * 24 * 60 * 60));

/// The wait of a delayed start, as that of delayed services is.
const DELAY: Duration = Duration::from_secs(120);

/// Between two questions to the scheduler.
const PAUSE: Duration = Duration::from_millis(50);

fn path(name: &str) -> String {
    format!("{FOLDER}\\{name}")
}

/// Connects, or says that there is no scheduler.
fn connect() -> Result<Scheduler, RegisterError> {
    Scheduler::connect().map_err(|error| {
        if [NO_CLASS, NOT_IMPLEMENTED].contains(&result(&error)) {
            return RegisterError::NoServiceManager(format!("this computer has no Task Scheduler: {error}"));
        }
        Error::io("reach the Task Scheduler", error).into()
    })
}

fn find(scheduler: &Scheduler, name: &str) -> Result<Option<Task>, RegisterError> {
    scheduler.task(&path(name)).map_err(|error| Error::io(format!("look at the task {}", path(name)), error).into())
}

/// Whom a task runs as.
struct Principal {
    account: Resolved,
    logon: Logon,
    password: Option<Password>,
}

fn principal(definition: &Definition, notes: &mut Vec<String>) -> Result<Principal, RegisterError> {
    let name = &definition.name;
    if definition.scope == Scope::User {
        let own = crate::accounts::current()?;
        let account = Resolved {
            name: own.name.clone(),
            password: None,
            sid: own.id().to_string(),
            of_people: true,
            needs_right: false,
        };
        return Ok(Principal { account, logon: Logon::Session, password: None });
    }
    let resolved = |account: &Account| accounts::resolve(account, name);
    let (account, logon) = match &definition.account {
        Account::Own => {
            notes.push(format!("tasks have no accounts of their own, so {name} runs as LocalService"));
            (resolved(&Account::LocalService)?, Logon::OfOs)
        }
        Account::System | Account::LocalService | Account::NetworkService => {
            (resolved(&definition.account)?, Logon::OfOs)
        }
        Account::Managed(_) => (resolved(&definition.account)?, Logon::Password),
        Account::Named { .. } => {
            let account = resolved(&definition.account)?;
            accounts::check(&Resolved { needs_right: false, ..account.clone() }, notes)?;
            let logon = match (&account.password, account.of_people) {
                (_, false) => Logon::OfOs,
                (Some(_), true) => Logon::Password,
                (None, true) => {
                    notes.push(format!(
                        "{name} runs as {} without its password, so it gets at nothing on other computers",
                        account.name
                    ));
                    Logon::WithoutPassword
                }
            };
            (account, logon)
        }
    };
    let password = account.password.clone().filter(|_| logon == Logon::Password && account.of_people);
    Ok(Principal { account, logon, password })
}

/// Plans the registration of a task.
pub(super) fn plan(definition: &Definition, former: Option<&Mark>) -> Result<Plan, RegisterError> {
    let (name, scope) = (&definition.name, definition.scope);
    if name.contains([':', '*', '?', '"', '<', '>', '|']) {
        return Err(RegisterError::Refused(format!("{name:?} is no name for a task: it has one of : * ? \" < > |")));
    }
    let mut notes = vec![
        format!(
            "the Task Scheduler starts {name} again at most {RESTARTS} times when it dies, and asks it for nothing"
        ),
        "a task is ended by force".to_owned(),
    ];
    notes.extend(login::without_environment(definition));
    if !definition.after.is_empty() {
        notes.push(format!("tasks wait for nobody, so {name} is not started after {}", definition.after.join(", ")));
    }
    let restart = definition.restart_delay.clamp(RESTART_BETWEEN.0, RESTART_BETWEEN.1);
    if restart != definition.restart_delay {
        notes.push(format!("the Task Scheduler waits {restart:?} before it starts {name} again"));
    }
    let principal = principal(definition, &mut notes)?;
    let delay = if definition.start == Start::Delayed { DELAY } else { Duration::ZERO };
    let trigger = match (definition.start, scope) {
        (Start::Manual | Start::Disabled, _) => Trigger::Never,
        (_, Scope::System) => Trigger::Boot(delay),
        (_, Scope::User) => Trigger::Login(delay),
    };
    let (program, folder) = (path_text(&definition.program)?, path_text(&definition.folder)?);
    let arguments = arguments(definition)?;
    command_line::command_line(&program, &arguments).map_err(RegisterError::Refused)?;
    let text = xml::xml(&TaskText {
        description: &definition.description,
        program: &program,
        arguments: &command_line::arguments(&arguments),
        folder: &folder,
        sid: &principal.account.sid,
        logon: principal.logon,
        trigger,
        enabled: definition.start != Start::Disabled,
        restart,
    })
    .map_err(RegisterError::Refused)?;

    let there = match find(&connect()?, name) {
        // One of ours that cannot even be read is put right.
        Err(_) if former.is_some() => None,
        there => there?,
    };
    if there.is_some() && former.is_none() {
        let place = format!("the task {}", path(name));
        return Err(RegisterError::Foreign { name: name.clone(), place });
    }
    let mut mark = Mark {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: Some(Of::Task.word().to_owned()),
        definition: Some(text.clone()),
        ..Mark::default()
    };
    let account = &principal.account;
    let mut steps = folders::plan_all(definition, &account.sid, &account.name, &mut mark.folders, &mut notes)?;
    let remembered = former.map(|former| former.openings.as_slice()).unwrap_or_default();
    let (openings, told) = firewall::plan(name, &definition.openings, remembered);
    notes.extend(told);
    mark.openings = openings.names;
    steps.extend(openings.steps);
    let granting = right::plan(account, principal.logon, former, &mut mark, &mut notes)?;
    let former_right = former.and_then(|former| former.granted_batch.as_deref());
    if let Some(sid) = former_right.filter(|sid| mark.granted_batch.as_deref() != Some(sid)) {
        right::give_back(name, sid, &mut steps, &mut notes);
    }
    let same = there.is_some() && former.and_then(|former| former.definition.as_ref()) == Some(&text);
    // Whether a password is the one that the scheduler has cannot be known.
    if !same || principal.password.is_some() {
        steps.insert(
            0,
            Box::new(RegisterTask {
                name: name.clone(),
                xml: text,
                account: principal.password.map(|password| (account.name.clone(), password)),
                logon: principal.logon,
                runs_as: account.name.clone(),
            }),
        );
    }
    // After the mark, so that a power cut between leaves nothing that is not known, and before the scheduler asks.
    steps.splice(0..0, granting);
    steps.splice(0..0, kept::write(name, scope, &mark, former));
    Ok(Plan::new(steps, notes).hindered(kept::obstacle(name, scope)))
}

/// Plans the removal of a task.
pub(super) fn plan_removal(name: &str, scope: Scope, mark: &Mark, purge: bool) -> Result<Plan, RegisterError> {
    let mut notes = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    match find(&connect()?, name) {
        Ok(None) => {}
        Ok(Some(task)) => {
            if task.state().is_ok_and(|state| state == State::Running) {
                steps.push(Box::new(StopTask(name.to_owned())));
            }
            steps.push(Box::new(DeleteTask(name.to_owned())));
        }
        // One that cannot be read can still be deleted.
        Err(_) => steps.push(Box::new(DeleteTask(name.to_owned()))),
    }
    let (openings, told) = firewall::plan(name, &[], &mark.openings);
    notes.extend(told);
    steps.extend(openings.steps);
    if let Some(sid) = &mark.granted_batch {
        right::give_back(name, sid, &mut steps, &mut notes);
    }
    steps.push(kept::remove(name, scope));
    folders::plan_removal(mark, purge, &mut steps, &mut notes);
    Ok(Plan::new(steps, notes).hindered(kept::obstacle(name, scope)))
}

/// Starts a task and waits until it runs, or has run.
pub(super) fn start(name: &str, bound: Duration) -> Result<(), RegisterError> {
    let failed = |error: io::Error| RegisterError::from(Error::io(format!("start the task {}", path(name)), error));
    let scheduler = connect()?;
    let task = find(&scheduler, name)?.ok_or_else(|| RegisterError::Missing { name: name.to_owned() })?;
    if task.state().map_err(failed)? == State::Running {
        return Ok(());
    }
    if task.state().map_err(failed)? == State::Disabled {
        return Err(RegisterError::Refused(format!(
            "the task {name} is disabled; install it again with the start \"auto\" or \"manual\""
        )));
    }
    task.run().map_err(failed)?;
    let began = Instant::now();
    loop {
        let (state, last) = (task.state().map_err(failed)?, task.last_result().map_err(failed)?);
        match (state, last) {
            (State::Running, _) | (State::Ready, Some(0)) => return Ok(()),
            (State::Ready, Some(last)) => {
                let source = io::Error::from_raw_os_error(last.cast_signed());
                return Err(failed(source));
            }
            _ if began.elapsed() >= bound => {
                return Err(late(name, "running", bound, state));
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// Stops a task, by force, and waits until it has ended.
pub(super) fn stop(name: &str, bound: Duration) -> Result<(), RegisterError> {
    let failed = |error: io::Error| RegisterError::from(Error::io(format!("stop the task {}", path(name)), error));
    let scheduler = connect()?;
    let task = find(&scheduler, name)?.ok_or_else(|| RegisterError::Missing { name: name.to_owned() })?;
    if task.state().map_err(failed)? != State::Running {
        return Ok(());
    }
    task.stop().map_err(failed)?;
    let began = Instant::now();
    loop {
        let state = task.state().map_err(failed)?;
        if state != State::Running {
            return Ok(());
        }
        if began.elapsed() >= bound {
            return Err(late(name, "stopped", bound, state));
        }
        std::thread::sleep(PAUSE);
    }
}

fn late(name: &str, wanted: &'static str, bound: Duration, state: State) -> RegisterError {
    let seen = format!("the Task Scheduler says that it is {state:?}; look into its history in taskschd.msc");
    RegisterError::Late { name: name.to_owned(), wanted, bound, seen }
}

/// What the scheduler says of a task.
pub(super) fn query(name: &str, mark: &Mark) -> Result<Registered, RegisterError> {
    let failed = |error: io::Error| RegisterError::from(Error::io(format!("ask for the task {}", path(name)), error));
    let text = mark.definition.clone().unwrap_or_default();
    let between = |tag: &str| {
        let inner = text.split_once(&format!("<{tag}>"))?.1.split_once(&format!("</{tag}>"))?.0;
        Some(inner.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    };
    let mut registered = Registered {
        name: name.to_owned(),
        ours: true,
        state: RegisteredState::Stopped,
        pid: None,
        start: match () {
            () if text.contains("<Enabled>false</Enabled>") => Start::Disabled,
            () if text.contains(&format!("<Delay>PT{}S</Delay>", DELAY.as_secs())) => Start::Delayed,
            () if text.contains("Trigger>") => Start::Auto,
            () => Start::Manual,
        },
        command: [between("Command"), between("Arguments")].into_iter().flatten().collect::<Vec<_>>().join(" "),
        account: between("UserId").map(|sid| accounts::name_of(&sid)).unwrap_or_default(),
        place: format!("the task {}", path(name)),
        exit_code: None,
    };
    let scheduler = connect()?;
    let task = match find(&scheduler, name) {
        Ok(Some(task)) => task,
        Ok(None) => return Ok(registered),
        // The scheduler has it and cannot read it, so it cannot run.
        Err(_) => return Ok(Registered { state: RegisteredState::Failed, ..registered }),
    };
    registered.exit_code = task.last_result().map_err(failed)?;
    registered.state = match task.state().map_err(failed)? {
        State::Running => RegisteredState::Running,
        State::Queued => RegisteredState::Starting,
        _ if registered.exit_code.is_some_and(|code| code != 0) => RegisteredState::Failed,
        State::Disabled | State::Ready | State::Unknown => RegisteredState::Stopped,
    };
    Ok(registered)
}
