//! The values that the SCM keeps for a service: each can be read, compared, shown and written alone.
//!
//! Used by planning to find what differs, and by steps to write one value and to put the former one back.

use super::super::text::{Wide, text_at, texts_at};
use super::super::{mark, registry};
use super::{Handle, Service, checked, code};
use std::fmt;
use std::io;
use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_LEVEL, ERROR_NOT_SUPPORTED,
};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, ChangeServiceConfigW, QUERY_SERVICE_CONFIGW, QueryServiceConfig2W, QueryServiceConfigW,
    SC_ACTION, SC_ACTION_RESTART, SERVICE_AUTO_START, SERVICE_CONFIG, SERVICE_CONFIG_DELAYED_AUTO_START_INFO,
    SERVICE_CONFIG_DESCRIPTION, SERVICE_CONFIG_FAILURE_ACTIONS, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG,
    SERVICE_CONFIG_PRESHUTDOWN_INFO, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, SERVICE_CONFIG_SERVICE_SID_INFO,
    SERVICE_DELAYED_AUTO_START_INFO, SERVICE_DEMAND_START, SERVICE_DESCRIPTIONW, SERVICE_DISABLED,
    SERVICE_ERROR_CRITICAL, SERVICE_ERROR_IGNORE, SERVICE_ERROR_NORMAL, SERVICE_ERROR_SEVERE,
    SERVICE_FAILURE_ACTIONS_FLAG, SERVICE_FAILURE_ACTIONSW, SERVICE_NO_CHANGE, SERVICE_PRESHUTDOWN_INFO,
    SERVICE_REQUIRED_PRIVILEGES_INFOW, SERVICE_SID_INFO, SERVICE_SID_TYPE_NONE, SERVICE_SID_TYPE_UNRESTRICTED,
};

use crate::registration::Password;

/// What the SCM does when a service failed: the actions, one after the other, the last one for every failure after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct FailureActions {
    /// After so many seconds without a failure they are counted from the start.
    pub(in super::super) reset_seconds: u32,
    /// Kind and delay in milliseconds.
    pub(in super::super) actions: Vec<(i32, u32)>,
}

impl FailureActions {
    /// Start it again, always.
    pub(in super::super) fn restart(delay_millis: u32, reset_seconds: u32) -> FailureActions {
        // Three, because services.msc shows three and would show the others as "take no action".
        FailureActions { reset_seconds, actions: vec![(SC_ACTION_RESTART, delay_millis); 3] }
    }
}

/// One value of a service.
#[derive(Debug, Clone)]
pub(in super::super) enum Value {
    Command(String),
    DisplayName(String),
    StartType(u32),
    ErrorControl(u32),
    After(Vec<String>),
    Account { name: String, password: Option<Password> },
    Description(String),
    Delayed(bool),
    Failure(FailureActions),
    FailureToo(bool),
    SidType(u32),
    Privileges(Vec<String>),
    Preshutdown(u32),
}

impl PartialEq for Value {
    /// Whether both say the same to the SCM. Passwords are not compared, for no one can read the one that is kept.
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Command(a), Value::Command(b))
            | (Value::DisplayName(a), Value::DisplayName(b))
            | (Value::Description(a), Value::Description(b)) => a == b,
            (Value::StartType(a), Value::StartType(b))
            | (Value::ErrorControl(a), Value::ErrorControl(b))
            | (Value::SidType(a), Value::SidType(b))
            | (Value::Preshutdown(a), Value::Preshutdown(b)) => a == b,
            (Value::Delayed(a), Value::Delayed(b)) | (Value::FailureToo(a), Value::FailureToo(b)) => a == b,
            (Value::Failure(a), Value::Failure(b)) => a == b,
            (Value::After(a), Value::After(b)) | (Value::Privileges(a), Value::Privileges(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_name(a, b))
            }
            (Value::Account { name: a, .. }, Value::Account { name: b, .. }) => same_name(a, b),
            _ => false,
        }
    }
}

/// Names of services, accounts and privileges have no capitals of their own.
pub(in super::super) fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

impl Value {
    /// What it is, for people.
    pub(in super::super) fn what(&self) -> &'static str {
        match self {
            Value::Command(_) => "command line",
            Value::DisplayName(_) => "display name",
            Value::StartType(_) => "start type",
            Value::ErrorControl(_) => "error control",
            Value::After(_) => "dependencies",
            Value::Account { .. } => "account",
            Value::Description(_) => "description",
            Value::Delayed(_) => "delayed start",
            Value::Failure(_) => "failure actions",
            Value::FailureToo(_) => "failure actions on an exit with an error",
            Value::SidType(_) => "type of its security identifier",
            Value::Privileges(_) => "required privileges",
            Value::Preshutdown(_) => "time for its stop at shutdown",
        }
    }

    /// The value of this kind that the SCM has.
    pub(in super::super) fn read_same(&self, service: &Service) -> io::Result<Value> {
        Ok(match self {
            Value::Command(_) => Value::Command(service.base()?.command),
            Value::DisplayName(_) => Value::DisplayName(service.base()?.display_name),
            Value::StartType(_) => Value::StartType(service.base()?.start),
            Value::ErrorControl(_) => Value::ErrorControl(service.base()?.error_control),
            Value::After(_) => Value::After(service.base()?.after),
            Value::Account { .. } => Value::Account { name: service.base()?.account, password: None },
            Value::Description(_) => {
                let room = service.ask(SERVICE_CONFIG_DESCRIPTION)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_DESCRIPTIONW>().read() };
                // SAFETY: its text is null or lies in the room behind it, which lives.
                Value::Description(unsafe { text_at(info.lpDescription) })
            }
            Value::Delayed(_) => {
                let room = service.ask(SERVICE_CONFIG_DELAYED_AUTO_START_INFO)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_DELAYED_AUTO_START_INFO>().read() };
                Value::Delayed(info.fDelayedAutostart != 0)
            }
            Value::Failure(_) => Value::Failure(service.failure_actions()?),
            Value::FailureToo(_) => {
                let room = service.ask(SERVICE_CONFIG_FAILURE_ACTIONS_FLAG)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_FAILURE_ACTIONS_FLAG>().read() };
                Value::FailureToo(info.fFailureActionsOnNonCrashFailures != 0)
            }
            Value::SidType(_) => {
                let room = service.ask(SERVICE_CONFIG_SERVICE_SID_INFO)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_SID_INFO>().read() };
                Value::SidType(info.dwServiceSidType)
            }
            Value::Privileges(_) => {
                let room = service.ask(SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_REQUIRED_PRIVILEGES_INFOW>().read() };
                // SAFETY: its list is null or lies in the room behind it, which lives.
                Value::Privileges(unsafe { texts_at(info.pmszRequiredPrivileges) })
            }
            Value::Preshutdown(_) => {
                let room = service.ask(SERVICE_CONFIG_PRESHUTDOWN_INFO)?;
                // SAFETY: the SCM wrote this structure at the start of the room.
                let info = unsafe { room.as_ptr().cast::<SERVICE_PRESHUTDOWN_INFO>().read() };
                Value::Preshutdown(info.dwPreshutdownTimeout)
            }
        })
    }

    /// Tells it to the SCM.
    pub(in super::super) fn write(&self, service: &Service) -> io::Result<()> {
        let handle = &service.handle;
        let number = |value: bool| i32::from(value);
        match self {
            Value::Command(command) => Change { command: Some(command), ..Change::default() }.write(service),
            Value::DisplayName(name) => Change { display_name: Some(name), ..Change::default() }.write(service),
            Value::StartType(start) => Change { start: Some(*start), ..Change::default() }.write(service),
            Value::ErrorControl(level) => Change { error_control: Some(*level), ..Change::default() }.write(service),
            Value::After(after) => Change { after: Some(after), ..Change::default() }.write(service),
            Value::Account { name, password } => {
                let password = password.as_ref().map(|password| password.0.as_str());
                Change { account: Some(name), password, ..Change::default() }.write(service)
            }
            Value::Description(description) => {
                let text = Wide::new(description);
                let info = SERVICE_DESCRIPTIONW { lpDescription: text.as_ptr().cast_mut() };
                change(handle, SERVICE_CONFIG_DESCRIPTION, &info)
            }
            Value::Delayed(delayed) => {
                let info = SERVICE_DELAYED_AUTO_START_INFO { fDelayedAutostart: number(*delayed) };
                change(handle, SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &info)
            }
            Value::Failure(failure) => {
                let mut actions: Vec<SC_ACTION> =
                    failure.actions.iter().map(|(kind, delay)| SC_ACTION { Type: *kind, Delay: *delay }).collect();
                // No actions are told by a count of nought with a pointer: a null pointer would leave what there is.
                let count = u32::try_from(actions.len()).unwrap_or(u32::MAX);
                if actions.is_empty() {
                    actions.push(SC_ACTION { Type: 0, Delay: 0 });
                }
                let info = SERVICE_FAILURE_ACTIONSW {
                    dwResetPeriod: failure.reset_seconds,
                    lpRebootMsg: std::ptr::null_mut(),
                    lpCommand: std::ptr::null_mut(),
                    cActions: count,
                    lpsaActions: actions.as_mut_ptr(),
                };
                change(handle, SERVICE_CONFIG_FAILURE_ACTIONS, &info)
            }
            Value::FailureToo(too) => {
                let info = SERVICE_FAILURE_ACTIONS_FLAG { fFailureActionsOnNonCrashFailures: number(*too) };
                change(handle, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &info)
            }
            Value::SidType(kind) => {
                change(handle, SERVICE_CONFIG_SERVICE_SID_INFO, &SERVICE_SID_INFO { dwServiceSidType: *kind })
            }
            Value::Privileges(privileges) => {
                let list = Wide::list(privileges);
                let info = SERVICE_REQUIRED_PRIVILEGES_INFOW { pmszRequiredPrivileges: list.as_ptr().cast_mut() };
                change(handle, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, &info)
            }
            Value::Preshutdown(millis) => {
                let info = SERVICE_PRESHUTDOWN_INFO { dwPreshutdownTimeout: *millis };
                change(handle, SERVICE_CONFIG_PRESHUTDOWN_INFO, &info)
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Command(text) | Value::DisplayName(text) | Value::Description(text) => f.write_str(text),
            Value::Account { name, password } => {
                write!(f, "{name}{}", if password.is_some() { " with the password given" } else { "" })
            }
            Value::StartType(SERVICE_AUTO_START) => f.write_str("automatic"),
            Value::StartType(SERVICE_DEMAND_START) => f.write_str("manual"),
            Value::StartType(SERVICE_DISABLED) => f.write_str("disabled"),
            Value::ErrorControl(SERVICE_ERROR_IGNORE) => f.write_str("ignore"),
            Value::ErrorControl(SERVICE_ERROR_NORMAL) => f.write_str("normal"),
            Value::ErrorControl(SERVICE_ERROR_SEVERE) => f.write_str("severe"),
            Value::ErrorControl(SERVICE_ERROR_CRITICAL) => f.write_str("critical"),
            Value::SidType(SERVICE_SID_TYPE_NONE) => f.write_str("none"),
            Value::SidType(SERVICE_SID_TYPE_UNRESTRICTED) => f.write_str("unrestricted"),
            // 3 is restricted.
            Value::StartType(number) | Value::ErrorControl(number) | Value::SidType(number) => write!(f, "{number}"),
            Value::After(names) | Value::Privileges(names) if names.is_empty() => f.write_str("none"),
            Value::After(names) | Value::Privileges(names) => f.write_str(&names.join(", ")),
            Value::Delayed(yes) | Value::FailureToo(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::Preshutdown(millis) => write!(f, "{millis} ms"),
            Value::Failure(failure) => {
                for (kind, delay) in &failure.actions {
                    match *kind {
                        SC_ACTION_RESTART => write!(f, "restart after {delay} ms, ")?,
                        kind => write!(f, "action {kind} after {delay} ms, ")?,
                    }
                }
                write!(f, "counted anew after {} s", failure.reset_seconds)
            }
        }
    }
}

/// Whether the SCM of this computer has no such value at all: an old Windows, or Wine.
pub(in super::super) fn unknown_here(error: &io::Error) -> bool {
    [ERROR_INVALID_LEVEL, ERROR_CALL_NOT_IMPLEMENTED, ERROR_NOT_SUPPORTED].contains(&code(error))
}

/// What `ChangeServiceConfigW` takes; what is `None` stays.
#[derive(Default)]
struct Change<'a> {
    command: Option<&'a str>,
    display_name: Option<&'a str>,
    start: Option<u32>,
    error_control: Option<u32>,
    after: Option<&'a [String]>,
    account: Option<&'a str>,
    password: Option<&'a str>,
}

impl Change<'_> {
    fn write(&self, service: &Service) -> io::Result<()> {
        // Named in every change, for there are SCMs (Wine's) that forget them otherwise.
        let after = match self.after {
            Some(after) => after.to_vec(),
            None => service.base()?.after,
        };
        let command = self.command.map(Wide::new);
        let display_name = self.display_name.map(Wide::new);
        let after = Wide::list(&after);
        let account = self.account.map(Wide::new);
        let password = self.password.map(Wide::new);
        let pointer = |text: &Option<Wide>| text.as_ref().map_or(std::ptr::null(), Wide::as_ptr);
        // SAFETY: the service is open with the right to change it; every text ends with a NUL, the list with two, and
        // all live through the call; null leaves what there is.
        checked(unsafe {
            ChangeServiceConfigW(
                service.handle.0,
                SERVICE_NO_CHANGE,
                self.start.unwrap_or(SERVICE_NO_CHANGE),
                self.error_control.unwrap_or(SERVICE_NO_CHANGE),
                pointer(&command),
                std::ptr::null(),
                std::ptr::null_mut(),
                after.as_ptr(),
                pointer(&account),
                pointer(&password),
                pointer(&display_name),
            )
        })
    }
}

/// Tells the SCM what `info` holds, whose type goes with `level`.
fn change<T>(handle: &Handle, level: SERVICE_CONFIG, info: &T) -> io::Result<()> {
    // SAFETY: the service is open with the right to change it; the structure goes with the level and lives, with
    // everything that it points to, through the call.
    checked(unsafe { ChangeServiceConfig2W(handle.0, level, std::ptr::from_ref(info).cast()) })
}

/// The values that the SCM gives together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct BaseValues {
    pub(in super::super) kind: u32,
    pub(in super::super) start: u32,
    pub(in super::super) error_control: u32,
    pub(in super::super) command: String,
    pub(in super::super) after: Vec<String>,
    pub(in super::super) account: String,
    pub(in super::super) display_name: String,
}

impl Service {
    /// What it was made with.
    pub(in super::super) fn base(&self) -> io::Result<BaseValues> {
        let room = grown(|buffer, size, needed| {
            // SAFETY: the buffer has `size` bytes and is aligned for the structure; the service is open for questions.
            unsafe { QueryServiceConfigW(self.handle.0, buffer.cast(), size, needed) }
        })?;
        // SAFETY: the SCM wrote this structure at the start of the room.
        let config = unsafe { room.as_ptr().cast::<QUERY_SERVICE_CONFIGW>().read() };
        // SAFETY: its texts lie in the room behind it, which lives until the end of this function.
        let own = |text: *const u16| unsafe { text_at(text) };
        // SAFETY: as for the texts.
        let mut after = unsafe { texts_at(config.lpDependencies) };
        if after.is_empty() {
            after = self.kept_dependencies()?;
        }
        Ok(BaseValues {
            kind: config.dwServiceType,
            start: config.dwStartType,
            error_control: config.dwErrorControl,
            command: own(config.lpBinaryPathName),
            after,
            account: own(config.lpServiceStartName),
            display_name: own(config.lpDisplayName),
        })
    }

    /// The dependencies where the SCM keeps them: there are SCMs (Wine's) that have them and do not tell them.
    fn kept_dependencies(&self) -> io::Result<Vec<String>> {
        let place = mark::service_key(&self.name);
        let texts = |name| Ok::<_, io::Error>(registry::read(&place, name)?.and_then(|data| data.as_texts()));
        let mut after = texts("DependOnService")?.unwrap_or_default();
        after.extend(texts("DependOnGroup")?.unwrap_or_default().into_iter().map(|group| format!("+{group}")));
        Ok(after)
    }

    fn failure_actions(&self) -> io::Result<FailureActions> {
        let room = self.ask(SERVICE_CONFIG_FAILURE_ACTIONS)?;
        // SAFETY: the SCM wrote this structure at the start of the room.
        let info = unsafe { room.as_ptr().cast::<SERVICE_FAILURE_ACTIONSW>().read() };
        let count = usize::try_from(info.cActions).unwrap_or_default();
        let mut actions = Vec::new();
        for index in 0..if info.lpsaActions.is_null() { 0 } else { count } {
            // SAFETY: the SCM wrote so many actions there, in the room behind the structure.
            let action = unsafe { info.lpsaActions.add(index) };
            // SAFETY: as above.
            let action = unsafe { action.read() };
            actions.push((action.Type, action.Delay));
        }
        Ok(FailureActions { reset_seconds: info.dwResetPeriod, actions })
    }

    fn ask(&self, level: SERVICE_CONFIG) -> io::Result<Vec<u64>> {
        grown(|buffer, size, needed| {
            // SAFETY: the buffer has `size` bytes and is aligned for every structure; the service is open for questions.
            unsafe { QueryServiceConfig2W(self.handle.0, level, buffer, size, needed) }
        })
    }
}

/// Room that is large enough for what `ask` answers. In words of eight bytes, so that every structure of the SCM may
/// begin in it.
fn grown(ask: impl Fn(*mut u8, u32, *mut u32) -> i32) -> io::Result<Vec<u64>> {
    // The SCM says itself that no answer is longer than 8 KiB; what is beyond has to be asked for.
    let mut room = vec![0_u64; 64];
    for _ in 0..super::ATTEMPTS {
        let mut needed = 0;
        let size = u32::try_from(room.len() * size_of::<u64>()).unwrap_or(u32::MAX);
        if ask(room.as_mut_ptr().cast(), size, &raw mut needed) != 0 {
            return Ok(room);
        }
        let error = io::Error::last_os_error();
        if code(&error) != ERROR_INSUFFICIENT_BUFFER {
            return Err(error);
        }
        room.resize(usize::try_from(needed).unwrap_or_default() / size_of::<u64>() + 1, 0);
    }
    Err(io::Error::from_raw_os_error(ERROR_INSUFFICIENT_BUFFER.cast_signed()))
}
