//! The Service Control Manager: owned handles, what it says of services, and the words to it.
//!
//! Thin on purpose: every function is one question or one word, and fails with what the SCM said. What the values of
//! a service are, and how they are written, is in [`value`].

pub(super) mod value;

use super::text::{Wide, text, text_at};
use std::io;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_MORE_DATA, ERROR_SERVICE_DOES_NOT_EXIST, WIN32_ERROR};
use windows_sys::Win32::Storage::FileSystem::DELETE;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, CreateServiceW, DeleteService, ENUM_SERVICE_STATUS_PROCESSW,
    ENUM_SERVICE_STATUSW, EnumDependentServicesW, EnumServicesStatusExW, GetServiceKeyNameW, OpenSCManagerW,
    OpenServiceW, QueryServiceStatusEx, SC_ENUM_PROCESS_INFO, SC_HANDLE, SC_MANAGER_CONNECT, SC_MANAGER_CREATE_SERVICE,
    SC_MANAGER_ENUMERATE_SERVICE, SC_STATUS_PROCESS_INFO, SERVICE_ACTIVE, SERVICE_CHANGE_CONFIG, SERVICE_CONTROL_STOP,
    SERVICE_ENUMERATE_DEPENDENTS, SERVICE_QUERY_CONFIG, SERVICE_QUERY_STATUS, SERVICE_START, SERVICE_STATE_ALL,
    SERVICE_STATUS, SERVICE_STATUS_PROCESS, SERVICE_STOP, SERVICE_WIN32, SERVICE_WIN32_OWN_PROCESS, StartServiceW,
};

/// How often a list that grows while it is read is read again, before that is told.
const ATTEMPTS: usize = 4;

/// The code of the OS in an error; nought for one that is not of the OS.
pub(super) fn code(error: &io::Error) -> WIN32_ERROR {
    error.raw_os_error().map_or(0, i32::cast_unsigned)
}

struct Handle(SC_HANDLE);

impl Handle {
    fn new(handle: SC_HANDLE) -> io::Result<Handle> {
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Handle(handle)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by us and is closed once.
        unsafe { CloseServiceHandle(self.0) };
    }
}

fn checked(worked: i32) -> io::Result<()> {
    if worked == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a handle on a service is for; the SCM gives no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read what it is and does. Every account may.
    Read,
    /// To change what it is. The right to start it is among it, because the SCM asks for that when it is told to
    /// restart a service that failed.
    Change,
    /// To start it.
    Start,
    /// To stop it.
    Stop,
    /// To delete it.
    Delete,
}

impl Purpose {
    fn access(self) -> u32 {
        const READ: u32 = SERVICE_QUERY_CONFIG | SERVICE_QUERY_STATUS | SERVICE_ENUMERATE_DEPENDENTS;
        match self {
            Purpose::Read => READ,
            Purpose::Change => READ | SERVICE_CHANGE_CONFIG | SERVICE_START,
            Purpose::Start => READ | SERVICE_START,
            Purpose::Stop => READ | SERVICE_STOP,
            Purpose::Delete => READ | DELETE,
        }
    }
}

/// A connection to the SCM of this computer.
pub(super) struct ScmHandle(Handle);

impl ScmHandle {
    /// For questions, and for words to services.
    pub(super) fn connect() -> io::Result<ScmHandle> {
        ScmHandle::open(SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE)
    }

    /// For making services too; administrators only.
    pub(super) fn connect_to_create() -> io::Result<ScmHandle> {
        ScmHandle::open(SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE | SC_MANAGER_CREATE_SERVICE)
    }

    fn open(access: u32) -> io::Result<ScmHandle> {
        // SAFETY: null names mean this computer and its active database.
        Handle::new(unsafe { OpenSCManagerW(std::ptr::null(), std::ptr::null(), access) }).map(ScmHandle)
    }

    /// The service `name`; `None` when there is none.
    pub(super) fn service(&self, name: &str, purpose: Purpose) -> io::Result<Option<Service>> {
        let wide = Wide::new(name);
        // SAFETY: the manager is open; the name ends with a NUL and lives through the call.
        match Handle::new(unsafe { OpenServiceW(self.0.0, wide.as_ptr(), purpose.access()) }) {
            Ok(handle) => Ok(Some(Service { handle, name: name.to_owned() })),
            Err(error) if code(&error) == ERROR_SERVICE_DOES_NOT_EXIST => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a service with these values, which the SCM must have for it to be one.
    pub(super) fn create(&self, name: &str, base: &Base<'_>) -> io::Result<()> {
        let name = Wide::new(name);
        let display_name = Wide::new(base.display_name);
        let command = Wide::new(base.command);
        let after = Wide::list(base.after);
        let account = Wide::new(base.account);
        let password = base.password.map(Wide::new);
        // SAFETY: the manager is open with the right to create; every text ends with a NUL, the list with two, and all
        // live through the call; no tag is wanted.
        let handle = unsafe {
            CreateServiceW(
                self.0.0,
                name.as_ptr(),
                display_name.as_ptr(),
                Purpose::Change.access() | Purpose::Delete.access(),
                SERVICE_WIN32_OWN_PROCESS,
                base.start,
                base.error_control,
                command.as_ptr(),
                std::ptr::null(),
                std::ptr::null_mut(),
                after.as_ptr(),
                account.as_ptr(),
                password.as_ref().map_or(std::ptr::null(), Wide::as_ptr),
            )
        };
        Handle::new(handle).map(drop)
    }

    /// The name of the service that has this display name, which no two services can share.
    pub(super) fn name_by_display_name(&self, display_name: &str) -> io::Result<Option<String>> {
        let display_name = Wide::new(display_name);
        // Names have at most 256 units.
        let mut name = [0_u16; 300];
        let mut size = 300;
        // SAFETY: the manager is open; the name ends with a NUL; the buffer has `size` units.
        let worked = unsafe { GetServiceKeyNameW(self.0.0, display_name.as_ptr(), name.as_mut_ptr(), &raw mut size) };
        if worked != 0 {
            return Ok(Some(text(&name)));
        }
        let error = io::Error::last_os_error();
        if code(&error) == ERROR_SERVICE_DOES_NOT_EXIST { Ok(None) } else { Err(error) }
    }

    /// The names of all services.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut room = Vec::<ENUM_SERVICE_STATUS_PROCESSW>::new();
        for _ in 0..ATTEMPTS {
            let (mut needed, mut count, mut resume) = (0, 0, 0);
            let size = room.len() * size_of::<ENUM_SERVICE_STATUS_PROCESSW>();
            // SAFETY: the room has `size` bytes, aligned for its entries; results are written to locals.
            let worked = unsafe {
                EnumServicesStatusExW(
                    self.0.0,
                    SC_ENUM_PROCESS_INFO,
                    SERVICE_WIN32,
                    SERVICE_STATE_ALL,
                    room.as_mut_ptr().cast(),
                    u32::try_from(size).unwrap_or(u32::MAX),
                    &raw mut needed,
                    &raw mut count,
                    &raw mut resume,
                    std::ptr::null(),
                )
            };
            if worked != 0 {
                let count = usize::try_from(count).unwrap_or_default();
                // SAFETY: the SCM wrote so many entries, whose names are texts in the room behind them.
                return Ok(room.iter().take(count).map(|entry| unsafe { text_at(entry.lpServiceName) }).collect());
            }
            let error = io::Error::last_os_error();
            if code(&error) != ERROR_MORE_DATA {
                return Err(error);
            }
            // What is needed is for the rest only.
            let more = usize::try_from(needed).unwrap_or_default() / size_of::<ENUM_SERVICE_STATUS_PROCESSW>() + 1;
            let length = room.len() + more;
            room.resize_with(length, Default::default);
        }
        Err(io::Error::from_raw_os_error(ERROR_MORE_DATA.cast_signed()))
    }
}

/// What a service cannot be made without.
pub(super) struct Base<'a> {
    pub(super) display_name: &'a str,
    pub(super) command: &'a str,
    pub(super) start: u32,
    pub(super) error_control: u32,
    pub(super) after: &'a [String],
    pub(super) account: &'a str,
    pub(super) password: Option<&'a str>,
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// One of `SERVICE_STOPPED` and the like.
    pub(super) state: u32,
    /// Its process; `None` when it has none.
    pub(super) pid: Option<u32>,
    /// Its exit code: a code of the OS.
    pub(super) exit_code: u32,
    /// Its own exit code; it counts when the one of the OS is `ERROR_SERVICE_SPECIFIC_ERROR`.
    pub(super) own_exit_code: u32,
    /// How often it said that it goes on.
    pub(super) checkpoint: u32,
    /// How long it said that takes, in milliseconds.
    pub(super) wait_hint: u32,
    /// The controls that it takes.
    pub(super) accepts: u32,
}

/// An open service.
pub(super) struct Service {
    handle: Handle,
    name: String,
}

impl Service {
    pub(super) fn status(&self) -> io::Result<Status> {
        let mut status = SERVICE_STATUS_PROCESS::default();
        let mut needed = 0;
        // SAFETY: the buffer is a status of this level and has its size.
        checked(unsafe {
            QueryServiceStatusEx(
                self.handle.0,
                SC_STATUS_PROCESS_INFO,
                (&raw mut status).cast(),
                size_of::<SERVICE_STATUS_PROCESS>() as u32,
                &raw mut needed,
            )
        })?;
        Ok(Status {
            state: status.dwCurrentState,
            pid: (status.dwProcessId != 0).then_some(status.dwProcessId),
            exit_code: status.dwWin32ExitCode,
            own_exit_code: status.dwServiceSpecificExitCode,
            checkpoint: status.dwCheckPoint,
            wait_hint: status.dwWaitHint,
            accepts: status.dwControlsAccepted,
        })
    }

    pub(super) fn start(&self) -> io::Result<()> {
        // SAFETY: the service is open with this right; there are no arguments.
        checked(unsafe { StartServiceW(self.handle.0, 0, std::ptr::null()) })
    }

    /// Asks it to stop; it says so by its status.
    pub(super) fn stop(&self) -> io::Result<()> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the service is open with this right; the status is written to a local.
        checked(unsafe { ControlService(self.handle.0, SERVICE_CONTROL_STOP, &raw mut status) })
    }

    /// Marks it for deletion; it goes when it has stopped and every handle on it is closed.
    pub(super) fn delete(&self) -> io::Result<()> {
        // SAFETY: the service is open with this right.
        checked(unsafe { DeleteService(self.handle.0) })
    }

    /// The names of the services that need it and do not stand still.
    pub(super) fn active_dependents(&self) -> io::Result<Vec<String>> {
        let mut room = Vec::<ENUM_SERVICE_STATUSW>::new();
        for _ in 0..ATTEMPTS {
            let (mut needed, mut count) = (0, 0);
            let size = room.len() * size_of::<ENUM_SERVICE_STATUSW>();
            // SAFETY: the room has `size` bytes, aligned for its entries; results are written to locals.
            let worked = unsafe {
                EnumDependentServicesW(
                    self.handle.0,
                    SERVICE_ACTIVE,
                    room.as_mut_ptr(),
                    u32::try_from(size).unwrap_or(u32::MAX),
                    &raw mut needed,
                    &raw mut count,
                )
            };
            if worked != 0 {
                let count = usize::try_from(count).unwrap_or_default();
                // SAFETY: the SCM wrote so many entries, whose names are texts in the room behind them.
                return Ok(room.iter().take(count).map(|entry| unsafe { text_at(entry.lpServiceName) }).collect());
            }
            let error = io::Error::last_os_error();
            if code(&error) != ERROR_MORE_DATA {
                return Err(error);
            }
            let length = usize::try_from(needed).unwrap_or_default() / size_of::<ENUM_SERVICE_STATUSW>() + 1;
            room.resize_with(length, Default::default);
        }
        Err(io::Error::from_raw_os_error(ERROR_MORE_DATA.cast_signed()))
    }
}

/// Whether an account may not.
pub(super) fn denied(error: &io::Error) -> bool {
    code(error) == ERROR_ACCESS_DENIED
}
