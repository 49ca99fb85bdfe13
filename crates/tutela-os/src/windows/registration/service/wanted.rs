//! From a definition to the values that the SCM is to have; refuses what no Windows can register.

use super::super::command_line::{command_line, names_a_variable};
use super::super::scm::value::{FailureActions, Value};
use crate::registration::{Account, Definition, Kind, Readiness, RegisterError, Scope, Start};
use std::path::Path;
use std::time::Duration;
use windows_sys::Win32::System::Services::{
    SERVICE_AUTO_START, SERVICE_DEMAND_START, SERVICE_DISABLED, SERVICE_ERROR_NORMAL, SERVICE_SID_TYPE_UNRESTRICTED,
};

/// The longest name that the SCM takes, in UTF-16 units.
const LONGEST_NAME: usize = 256;

/// Failures this far apart have nothing to do with each other.
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What every program may be left with: to pass through folders on its way to files that it may open.
const FOR_EVERYBODY: &[&str] = &["SeChangeNotifyPrivilege"];

/// What a guard needs as the OS itself: to run programs as other accounts, with their profiles and priorities. All
/// else is taken from it and its programs.
const FOR_SYSTEM: &[&str] = &[
    "SeAssignPrimaryTokenPrivilege",
    "SeBackupPrivilege",
    "SeChangeNotifyPrivilege",
    "SeCreateGlobalPrivilege",
    "SeImpersonatePrivilege",
    "SeIncreaseBasePriorityPrivilege",
    "SeIncreaseQuotaPrivilege",
    "SeRestorePrivilege",
    "SeTcbPrivilege",
];

/// What the SCM is to have; the account and its password are looked up apart.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) command: String,
    pub(super) start: u32,
    pub(super) error_control: u32,
    pub(super) environment: Vec<String>,
    /// The values beyond those that a service is made with, and what a service that was just made has of them.
    pub(super) further: Vec<(Value, Option<Value>)>,
}

/// The texts of a definition are good for Windows: what planning of every kind begins with.
pub(in super::super) fn check_texts(definition: &Definition) -> Result<(), RegisterError> {
    let refused = |why: String| Err(RegisterError::Refused(why));
    let name = &definition.name;
    if name.is_empty() || name.trim() != name {
        return refused(format!("{name:?} is no name for a service: it is empty, or begins or ends with a space"));
    }
    for (what, text) in [("the name", name), ("the display name", &definition.display_name)] {
        let length = text.encode_utf16().count();
        if length > LONGEST_NAME {
            return refused(format!("{what} is {length} characters long, and Windows takes {LONGEST_NAME}"));
        }
    }
    if name.contains(['/', '\\']) || name.contains(char::is_control) {
        return refused(format!(
            "{name:?} is no name for a service: it has a slash, a backslash or a control character"
        ));
    }
    let mut texts: Vec<&str> = vec![&definition.display_name, &definition.description];
    texts.extend(definition.after.iter().map(String::as_str));
    texts.extend(definition.env.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]));
    if let Some(text) = texts.iter().find(|text| text.contains('\0')) {
        return refused(format!("there is a NUL in {text:?}"));
    }
    if definition.display_name.contains(char::is_control) {
        return refused(format!("there is a control character in the display name {:?}", definition.display_name));
    }
    for (key, _) in &definition.env {
        if key.is_empty() || key.contains('=') {
            return refused(format!("{key:?} is no name for a variable of the environment"));
        }
    }
    Ok(())
}

/// A path as a text of Windows, without the sign of long paths where it is not needed.
pub(in super::super) fn path_text(path: &Path) -> Result<String, RegisterError> {
    let Some(text) = path.to_str() else {
        return Err(RegisterError::Refused(format!("the path {} is not Unicode", path.display())));
    };
    if !path.is_absolute() {
        return Err(RegisterError::Refused(format!("the path {text} is not absolute")));
    }
    if text.contains('\0') {
        return Err(RegisterError::Refused(format!("there is a NUL in the path {text:?}")));
    }
    let plain = text.strip_prefix(r"\\?\").filter(|rest| rest.as_bytes().get(1) == Some(&b':') && rest.len() < 260);
    Ok(plain.unwrap_or(text).to_owned())
}

/// The arguments as texts of Windows.
pub(in super::super) fn arguments(definition: &Definition) -> Result<Vec<String>, RegisterError> {
    let text = |arg: &std::ffi::OsString| match arg.to_str() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(RegisterError::Refused(format!("the argument {} is not Unicode, or has a NUL", arg.display()))),
    };
    definition.args.iter().map(text).collect()
}

/// What the SCM is to have for `definition`.
pub(super) fn wanted(definition: &Definition, notes: &mut Vec<String>) -> Result<Wanted, RegisterError> {
    let refused = |why: String| Err(RegisterError::Refused(why));
    let name = &definition.name;
    debug_assert_eq!(definition.kind, Kind::Service);
    if definition.scope == Scope::User {
        return refused(
            "Windows has no services of a single account; install it for the computer, or as a start at login"
                .to_owned(),
        );
    }
    if definition.readiness == Readiness::Running {
        return refused(format!(
            "{} does not speak to the SCM, which would end it with error 1053; let a guard keep it",
            definition.program.display()
        ));
    }
    let program = path_text(&definition.program)?;
    let command = command_line(&program, &arguments(definition)?).map_err(RegisterError::Refused)?;
    if names_a_variable(&command) {
        return refused(format!(
            "the command line {command} has a name between percent signs, in whose place the SCM would put a variable; \
             choose paths and arguments without"
        ));
    }
    if definition.after.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        return refused(format!("{name} cannot need itself"));
    }
    let start = match definition.start {
        Start::Auto | Start::Delayed => SERVICE_AUTO_START,
        Start::Manual => SERVICE_DEMAND_START,
        Start::Disabled => SERVICE_DISABLED,
    };
    let privileges: &[&str] = match (&definition.account, definition.sandbox.off) {
        (_, true) => &[],
        (Account::System, false) => FOR_SYSTEM,
        (_, false) => FOR_EVERYBODY,
    };
    let privileges = privileges.iter().map(ToString::to_string).collect();
    let seconds = u32::try_from(FAILURES_COUNT_FOR.as_secs()).unwrap_or(u32::MAX);
    let mut further = vec![
        (Value::Description(definition.description.clone()), Some(Value::Description(String::new()))),
        (Value::Failure(FailureActions::restart(millis(definition.restart_delay), seconds)), None),
        (Value::FailureToo(true), None),
        (Value::SidType(SERVICE_SID_TYPE_UNRESTRICTED), None),
        (Value::Privileges(privileges), Some(Value::Privileges(Vec::new()))),
        (Value::Preshutdown(millis(definition.stop_timeout)), None),
    ];
    // The SCM refuses the word for services that do not start by themselves.
    if start == SERVICE_AUTO_START {
        further.push((Value::Delayed(definition.start == Start::Delayed), Some(Value::Delayed(false))));
    }
    if let Some(every) = definition.watchdog {
        notes.push(format!(
            "Windows has no watchdog for services, so nobody notices when {name} hangs instead of saying every {every:?} \
             that it lives; when it dies it is started again"
        ));
    }
    // Neither can be told to the SCM.
    notes.push(format!(
        "the SCM starts {name} in System32 and not in {}; its program has to resolve relative paths itself",
        definition.folder.display()
    ));
    if !definition.sandbox.off {
        notes.push(format!(
            "of the sandbox, Windows takes privileges from {name}; what files and memory its programs get at is left to \
             its account"
        ));
    }
    Ok(Wanted {
        command,
        start,
        error_control: SERVICE_ERROR_NORMAL,
        environment: definition.env.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        further,
    })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
