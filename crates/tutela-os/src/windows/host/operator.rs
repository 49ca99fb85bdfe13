//! What an operator's tool asks of a service, through the service control manager.

use crate::Error;
use crate::host::{Control, State};
use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, OpenSCManagerW, OpenServiceW, SC_HANDLE, SC_MANAGER_CONNECT,
    SERVICE_CONTINUE_PENDING, SERVICE_CONTROL_CONTINUE, SERVICE_CONTROL_PARAMCHANGE, SERVICE_CONTROL_PAUSE,
    SERVICE_CONTROL_STOP, SERVICE_PAUSE_CONTINUE, SERVICE_PAUSE_PENDING, SERVICE_PAUSED, SERVICE_RUNNING,
    SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STOP, SERVICE_STOP_PENDING, SERVICE_USER_DEFINED_CONTROL,
};

pub(crate) fn ask(service: &str, control: Control) -> Result<State, Error> {
    let (code, right) = match control {
        Control::Stop => (SERVICE_CONTROL_STOP, SERVICE_STOP),
        Control::Pause => (SERVICE_CONTROL_PAUSE, SERVICE_PAUSE_CONTINUE),
        Control::Continue => (SERVICE_CONTROL_CONTINUE, SERVICE_PAUSE_CONTINUE),
        Control::Reload => (SERVICE_CONTROL_PARAMCHANGE, SERVICE_PAUSE_CONTINUE),
        Control::User(code @ 128..) => (u32::from(code), SERVICE_USER_DEFINED_CONTROL),
        Control::User(_)
        | Control::Shutdown
        | Control::Power(_)
        | Control::Session { .. }
        | Control::TimeChanged { .. } => {
            return Err(Error::Refused(format!("\"{control}\" is for the OS to say, not for an operator")));
        }
    };
    let failed = || Error::io(format!("ask the service {service} for {control}"), io::Error::last_os_error());
    // SAFETY: no names mean this computer and its active services.
    let manager = unsafe { OpenSCManagerW(std::ptr::null(), std::ptr::null(), SC_MANAGER_CONNECT) };
    let manager = Opened::of(manager).ok_or_else(failed)?;
    let name: Vec<u16> = OsStr::new(service).encode_wide().filter(|unit| *unit != 0).chain([0]).collect();
    // SAFETY: the handle is open, and the name ends with a NUL.
    let opened = unsafe { OpenServiceW(manager.0, name.as_ptr(), right) };
    let opened = Opened::of(opened).ok_or_else(failed)?;
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the handle is open and has the right for this control; the status is ours.
    if unsafe { ControlService(opened.0, code, &raw mut status) } == 0 {
        return Err(failed());
    }
    Ok(match status.dwCurrentState {
        SERVICE_START_PENDING => State::Starting,
        SERVICE_RUNNING => State::Running,
        SERVICE_PAUSE_PENDING => State::Pausing,
        SERVICE_PAUSED => State::Paused,
        SERVICE_CONTINUE_PENDING => State::Resuming,
        SERVICE_STOP_PENDING => State::Stopping,
        _ => State::Stopped,
    })
}

/// A handle of the service control manager.
struct Opened(SC_HANDLE);

impl Opened {
    fn of(handle: SC_HANDLE) -> Option<Opened> {
        (!handle.is_null()).then_some(Opened(handle))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { CloseServiceHandle(self.0) };
    }
}
