//! Starting and stopping services, and waiting until they are where they should be.
//!
//! The SCM has a word for waiting that needs a thread in an alertable wait and goes wrong when a service is deleted
//! meanwhile; asking several times a second costs a message each and is always right. Every wait has a bound.

use super::refusals::{code_text, refused, where_to_look};
use super::scm::{self, Purpose, ScmHandle, Service, Status};
use crate::Error;
use crate::registration::RegisterError;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{
    ERROR_DEPENDENT_SERVICES_RUNNING, ERROR_INVALID_SERVICE_CONTROL, ERROR_SERVICE_ALREADY_RUNNING,
    ERROR_SERVICE_CANNOT_ACCEPT_CTRL, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
    ERROR_SERVICE_REQUEST_TIMEOUT,
};
use windows_sys::Win32::System::Services::{
    SERVICE_CONTINUE_PENDING, SERVICE_PAUSE_PENDING, SERVICE_PAUSED, SERVICE_RUNNING, SERVICE_START_PENDING,
    SERVICE_STOP_PENDING, SERVICE_STOPPED,
};
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

/// Between two questions: soon enough to be prompt, seldom enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a deleted service may take until it is gone. Who holds it open does so for as long as a window is open, so
/// a longer wait would not help.
const GONE_WITHIN: Duration = Duration::from_secs(10);

fn opened(name: &str, purpose: Purpose, what: &str) -> Result<Service, RegisterError> {
    let failed = |error| refused(name, what, error);
    ScmHandle::connect()
        .map_err(failed)?
        .service(name, purpose)
        .map_err(failed)?
        .ok_or_else(|| RegisterError::Missing { name: name.to_owned() })
}

/// Starts the service and waits until it says that it runs.
pub(super) fn start(name: &str, bound: Duration) -> Result<(), RegisterError> {
    let what = format!("starting {name}");
    let began = Instant::now();
    let service = opened(name, Purpose::Start, &what)?;
    let status = |service: &Service| service.status().map_err(|error| refused(name, &what, error));
    let before = status(&service)?;
    // It may still be on its way out, and would not be started before it is.
    if before.state == SERVICE_STOP_PENDING {
        wait(&service, name, "stopped", began, bound, |status| status.state == SERVICE_STOPPED)?;
    }
    match service.start() {
        Ok(()) => {}
        Err(error) if scm::code(&error) == ERROR_SERVICE_ALREADY_RUNNING => {}
        Err(error) => return Err(refused(name, &what, error)),
    }
    let reached = wait(&service, name, "running", began, bound, |status| {
        matches!(status.state, SERVICE_RUNNING | SERVICE_PAUSED | SERVICE_STOPPED)
    })?;
    if reached.state != SERVICE_STOPPED {
        return Ok(());
    }
    let why = code_text(&reached).unwrap_or_else(|| "with no error".to_owned());
    let source = std::io::Error::from_raw_os_error(reached.exit_code.cast_signed());
    Err(Error::io(format!("start {name}: it ended during its start, {why}; {}", where_to_look(name)), source).into())
}

/// Stops the service and waits until it has ended and its process is gone, so that its files can be replaced.
pub(super) fn stop(name: &str, bound: Duration) -> Result<(), RegisterError> {
    let what = format!("stopping {name}");
    let began = Instant::now();
    let service = opened(name, Purpose::Stop, &what)?;
    let failed = |error| refused(name, &what, error);
    let process = service.status().map_err(failed)?.pid.and_then(process);
    loop {
        let error = match service.stop() {
            Ok(()) => break,
            Err(error) => error,
        };
        match scm::code(&error) {
            ERROR_SERVICE_NOT_ACTIVE => return Ok(()),
            ERROR_DEPENDENT_SERVICES_RUNNING => return Err(needed_by(name, &service)),
            // It is on its way in one direction or the other, or too busy to answer; it is asked again once it listens.
            ERROR_SERVICE_CANNOT_ACCEPT_CTRL | ERROR_INVALID_SERVICE_CONTROL | ERROR_SERVICE_REQUEST_TIMEOUT => {
                let status = service.status().map_err(failed)?;
                match status.state {
                    SERVICE_STOPPED => return Ok(()),
                    SERVICE_STOP_PENDING => break,
                    SERVICE_RUNNING | SERVICE_PAUSED if scm::code(&error) == ERROR_INVALID_SERVICE_CONTROL => {
                        return Err(RegisterError::Refused(format!("{name} cannot be stopped: it takes no such word")));
                    }
                    _ if began.elapsed() >= bound => return Err(late(name, "stopped", bound, &status, began)),
                    _ => std::thread::sleep(PAUSE),
                }
            }
            _ => return Err(failed(error)),
        }
    }
    wait(&service, name, "stopped", began, bound, |status| status.state == SERVICE_STOPPED)?;
    // The SCM says stopped when the service does; the process goes a moment later.
    if let Some(process) = process {
        let left = bound.saturating_sub(began.elapsed()).max(PAUSE);
        let millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the process is open for waiting.
        unsafe { WaitForSingleObject(process.as_raw_handle(), millis) };
    }
    Ok(())
}

/// A process to be waited for; nothing when this account may not, or it is gone.
fn process(pid: u32) -> Option<OwnedHandle> {
    // SAFETY: a number for a handle.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
    // SAFETY: the OS handed this handle to us.
    (!handle.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The refusal of a stop that others stand in the way of.
pub(super) fn needed_by(name: &str, service: &Service) -> RegisterError {
    let others = service.active_dependents().unwrap_or_default();
    let others = if others.is_empty() { "services that run".to_owned() } else { others.join(", ") };
    RegisterError::Refused(format!("{name} is needed by {others}; stop these first"))
}

fn wait(
    service: &Service,
    name: &str,
    wanted: &'static str,
    began: Instant,
    bound: Duration,
    reached: impl Fn(&Status) -> bool,
) -> Result<Status, RegisterError> {
    let mut seen = (0, Instant::now());
    loop {
        let status = service.status().map_err(|error| refused(name, &format!("waiting for {name}"), error))?;
        if reached(&status) {
            return Ok(status);
        }
        if status.checkpoint != seen.0 {
            seen = (status.checkpoint, Instant::now());
        }
        if began.elapsed() >= bound {
            return Err(late(name, wanted, bound, &status, seen.1));
        }
        std::thread::sleep(PAUSE);
    }
}

fn late(name: &str, wanted: &'static str, bound: Duration, status: &Status, moved: Instant) -> RegisterError {
    let hint = Duration::from_millis(status.wait_hint.into());
    let still = moved.elapsed();
    // A service says by rising checkpoints that it goes on, and by its hint how long one takes.
    let sign = if still > hint.max(PAUSE) {
        format!("it has given no sign of life for {still:.1?}, though it asked for {hint:?}")
    } else {
        format!("it goes on, at its step {}, and asks for {hint:?} for each; wait longer", status.checkpoint)
    };
    let seen = format!("it is {}; {sign}; {}", state_text(status.state), where_to_look(name));
    RegisterError::Late { name: name.to_owned(), wanted, bound, seen }
}

fn state_text(state: u32) -> &'static str {
    match state {
        SERVICE_STOPPED => "stopped",
        SERVICE_START_PENDING => "starting",
        SERVICE_STOP_PENDING => "stopping",
        SERVICE_RUNNING => "running",
        SERVICE_CONTINUE_PENDING => "continuing",
        SERVICE_PAUSE_PENDING => "pausing",
        SERVICE_PAUSED => "paused",
        _ => "in a state that the SCM has no word for",
    }
}

/// Waits until the SCM knows the service no more.
pub(super) fn wait_until_gone(name: &str) -> Result<(), RegisterError> {
    let failed = |error| refused(name, &format!("deleting {name}"), error);
    let began = Instant::now();
    let manager = ScmHandle::connect().map_err(failed)?;
    loop {
        match manager.service(name, Purpose::Read) {
            Ok(None) => return Ok(()),
            // A handle of our own would keep it; it is closed before the next question.
            Ok(Some(service)) => drop(service),
            Err(error) if scm::code(&error) == ERROR_SERVICE_MARKED_FOR_DELETE => {}
            Err(error) => return Err(failed(error)),
        }
        if began.elapsed() >= GONE_WITHIN {
            return Err(super::refusals::leaving(name));
        }
        std::thread::sleep(PAUSE);
    }
}
