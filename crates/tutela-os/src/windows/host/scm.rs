//! The calls of the service control manager's protocol.
//!
//! The dispatcher takes the main thread; it calls [`service_main`] on a thread of its own and [`handler`] on the main
//! thread. Neither has a place for data of ours, and a process is at most one service, so what they need is in
//! [`SERVED`]. No panic leaves either of them: across the OS's frames it would end the process without a word.

use super::meaning::{self, Attached};
use crate::Error;
use crate::host::{Accepts, Given, NotServed, Report, Scm, ServiceExit, State, Tell};
use std::ffi::{OsStr, OsString, c_void};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use windows_sys::Win32::Foundation::{
    ERROR_BUSY, ERROR_CALL_NOT_IMPLEMENTED, ERROR_EXCEPTION_IN_SERVICE, ERROR_FAILED_SERVICE_CONTROLLER_CONNECT,
    ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR,
};
use windows_sys::Win32::System::RemoteDesktop::WTSSESSION_NOTIFICATION;
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PARAMCHANGE, SERVICE_ACCEPT_PAUSE_CONTINUE,
    SERVICE_ACCEPT_POWEREVENT, SERVICE_ACCEPT_PRESHUTDOWN, SERVICE_ACCEPT_SESSIONCHANGE, SERVICE_ACCEPT_SHUTDOWN,
    SERVICE_ACCEPT_STOP, SERVICE_ACCEPT_TIMECHANGE, SERVICE_CONTINUE_PENDING, SERVICE_CONTROL_INTERROGATE,
    SERVICE_CONTROL_SESSIONCHANGE, SERVICE_CONTROL_TIMECHANGE, SERVICE_PAUSE_PENDING, SERVICE_PAUSED, SERVICE_RUNNING,
    SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING, SERVICE_STOPPED,
    SERVICE_TABLE_ENTRYW, SERVICE_TIMECHANGE_INFO, SERVICE_WIN32_OWN_PROCESS, SetServiceStatus,
    StartServiceCtrlDispatcherW,
};

type Run = Box<dyn FnOnce(Scm) -> ServiceExit + Send>;

/// The one service that this process can be.
struct Served {
    /// What is to be run; taken when the service starts.
    run: Mutex<Option<Run>>,
    /// The name to go by where none is told.
    name: String,
    /// How it ended.
    exit: Mutex<Option<ServiceExit>>,
    /// What the handler speaks to.
    scm: OnceLock<Scm>,
}

static SERVED: OnceLock<Served> = OnceLock::new();

/// Whether the service control manager has started the service: its dispatcher has called us.
static STARTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_served() -> bool {
    STARTED.load(Ordering::Acquire)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn serve_scm<R>(name: &str, run: R) -> Result<ServiceExit, NotServed<R>>
where
    R: FnOnce(Scm) -> ServiceExit + Send + 'static,
{
    // The service's thread takes it out; if there never is one, it goes back to whom it came from.
    let given = Arc::new(Mutex::new(Some(run)));
    let boxed: Run = {
        let given = given.clone();
        Box::new(move |scm| {
            let run = lock(&given).take();
            run.map_or(ServiceExit::os(ERROR_EXCEPTION_IN_SERVICE), |run| run(scm))
        })
    };
    let back = |error: Error| -> Result<ServiceExit, NotServed<R>> {
        match lock(&given).take() {
            Some(run) => Err(NotServed { run, error }),
            // The service has run, and the OS complains about its own end.
            None => Ok(ServiceExit::os(ERROR_EXCEPTION_IN_SERVICE)),
        }
    };
    let served =
        Served { run: Mutex::new(Some(boxed)), name: name.to_owned(), exit: Mutex::new(None), scm: OnceLock::new() };
    if SERVED.set(served).is_err() {
        return back(Error::Refused("a process can be one service, and this one is or was one already".into()));
    }
    let mut name = wide(OsStr::new(name));
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW { lpServiceName: std::ptr::null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table ends with an empty entry, its name with a NUL, and both live until the call returns, which is
    // when the service has stopped.
    let dispatched = unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) };
    let error = std::io::Error::last_os_error();
    let exit = SERVED.get().and_then(|served| lock(&served.exit).take());
    match exit {
        Some(exit) => Ok(exit),
        None if dispatched == 0
            && error.raw_os_error() == Some(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT.cast_signed()) =>
        {
            back(Error::Refused("the service control manager says that it did not start this process (1063)".into()))
        }
        None => back(Error::io("become a service of the service control manager", error)),
    }
}

/// Text as the OS wants it, with the NUL at its end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().filter(|unit| *unit != 0).chain([0]).collect()
}

/// The service's thread.
unsafe extern "system" fn service_main(count: u32, words: *mut *mut u16) {
    // What is broken by a panic is not looked at again: the service ends with it.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        STARTED.store(true, Ordering::Release);
        // SAFETY: the dispatcher calls with its own array of that many texts.
        let words = unsafe { read_words(count, words) };
        serve(words);
    }));
    if outcome.is_err() {
        end(ServiceExit::os(ERROR_EXCEPTION_IN_SERVICE));
    }
}

fn serve(words: Vec<OsString>) {
    let Some(served) = SERVED.get() else { return };
    let mut words = words.into_iter();
    // The first word is the name under which the service is registered.
    let name = words.next().map_or_else(|| served.name.clone(), |word| word.to_string_lossy().into_owned());
    let registered = wide(OsStr::new(&name));
    // SAFETY: the name ends with a NUL; the handler needs no context and is there as long as the process.
    let handle = unsafe { RegisterServiceCtrlHandlerExW(registered.as_ptr(), Some(handler), std::ptr::null()) };
    if handle.is_null() {
        // Without it nobody can be told anything: the manager would wait 30 seconds and then end us.
        let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(1);
        std::process::exit(error);
    }
    let given = Given { name, arguments: words.collect() };
    let exit = match Scm::begin(given, Box::new(Registered(handle as usize))) {
        Ok(scm) => {
            let _ = served.scm.set(scm.clone());
            let run = lock(&served.run).take();
            let ended = catch_unwind(AssertUnwindSafe(|| run.map(|run| run(scm))));
            ended.ok().flatten().unwrap_or(ServiceExit::os(ERROR_EXCEPTION_IN_SERVICE))
        }
        Err(_) => std::process::exit(ERROR_EXCEPTION_IN_SERVICE.cast_signed()),
    };
    end(exit);
}

fn end(exit: ServiceExit) {
    let Some(served) = SERVED.get() else { return };
    *lock(&served.exit) = Some(exit);
    if let Some(scm) = served.scm.get() {
        scm.end(exit);
    }
}

/// # Safety
/// `words` points to `count` pointers to texts that end with a NUL, or is null.
unsafe fn read_words(count: u32, words: *mut *mut u16) -> Vec<OsString> {
    if words.is_null() {
        return Vec::new();
    }
    (0..count as usize)
        .map_while(|index| {
            // SAFETY: the index is within the array.
            let place = unsafe { words.add(index) };
            // SAFETY: the array has a pointer there.
            let text = unsafe { place.read() };
            // SAFETY: it is a text that ends with a NUL, or null.
            unsafe { read_text(text) }
        })
        .collect()
}

/// # Safety
/// `text` ends with a NUL, or is null.
unsafe fn read_text(text: *const u16) -> Option<OsString> {
    if text.is_null() {
        return None;
    }
    let mut length = 0;
    loop {
        // SAFETY: not past the NUL.
        let place = unsafe { text.add(length) };
        // SAFETY: not past the NUL.
        if unsafe { place.read() } == 0 {
            break;
        }
        length += 1;
    }
    // SAFETY: that many units were just read.
    let units = unsafe { std::slice::from_raw_parts(text, length) };
    Some(OsString::from_wide(units))
}

/// The manager waits for this to return, and all controls of this process with it.
unsafe extern "system" fn handler(number: u32, event: u32, data: *mut c_void, _context: *mut c_void) -> u32 {
    let heard = catch_unwind(|| {
        if number == SERVICE_CONTROL_INTERROGATE {
            return NO_ERROR;
        }
        let mut attached = Attached::default();
        if !data.is_null() {
            match number {
                // SAFETY: with this control comes such a struct.
                SERVICE_CONTROL_SESSIONCHANGE => unsafe {
                    attached.session = Some(data.cast::<WTSSESSION_NOTIFICATION>().read_unaligned());
                },
                // SAFETY: with this control comes such a struct.
                SERVICE_CONTROL_TIMECHANGE => unsafe {
                    attached.time = Some(data.cast::<SERVICE_TIMECHANGE_INFO>().read_unaligned());
                },
                _ => {}
            }
        }
        let Some(control) = meaning::control(number, event, attached) else { return ERROR_CALL_NOT_IMPLEMENTED };
        match SERVED.get().and_then(|served| served.scm.get()) {
            Some(scm) if scm.ask(control) => NO_ERROR,
            _ => ERROR_BUSY,
        }
    });
    heard.unwrap_or(ERROR_EXCEPTION_IN_SERVICE)
}

/// The number by which the manager knows the service. It needs no closing.
#[derive(Debug)]
struct Registered(usize);

impl Tell for Registered {
    fn tell(&self, report: Report) -> Result<(), Error> {
        let (code, specific) = match report.exit {
            ServiceExit::Done => (NO_ERROR, 0),
            ServiceExit::Os(code) => (code.get(), 0),
            ServiceExit::Specific(code) => (ERROR_SERVICE_SPECIFIC_ERROR, code.get()),
        };
        let status = SERVICE_STATUS {
            dwServiceType: SERVICE_WIN32_OWN_PROCESS,
            dwCurrentState: match report.state {
                State::Starting => SERVICE_START_PENDING,
                State::Running => SERVICE_RUNNING,
                State::Pausing => SERVICE_PAUSE_PENDING,
                State::Paused => SERVICE_PAUSED,
                State::Resuming => SERVICE_CONTINUE_PENDING,
                State::Stopping => SERVICE_STOP_PENDING,
                State::Stopped => SERVICE_STOPPED,
            },
            dwControlsAccepted: report.accepts.map_or(0, mask),
            dwWin32ExitCode: code,
            dwServiceSpecificExitCode: specific,
            dwCheckPoint: report.checkpoint,
            dwWaitHint: u32::try_from(report.hint.as_millis()).unwrap_or(u32::MAX),
        };
        // SAFETY: the number is the one that the registration gave, and the struct is a whole one of this frame.
        let told = unsafe { SetServiceStatus(self.0 as SERVICE_STATUS_HANDLE, &raw const status) };
        if told == 0 {
            let error = std::io::Error::last_os_error();
            return Err(Error::io("tell the service control manager how the service stands", error));
        }
        Ok(())
    }
}

fn mask(accepts: Accepts) -> u32 {
    let Accepts { pause, reload, shutdown, power, session, time } = accepts;
    let wanted = [
        (true, SERVICE_ACCEPT_STOP),
        (pause, SERVICE_ACCEPT_PAUSE_CONTINUE),
        (reload, SERVICE_ACCEPT_PARAMCHANGE),
        (shutdown, SERVICE_ACCEPT_PRESHUTDOWN | SERVICE_ACCEPT_SHUTDOWN),
        (power, SERVICE_ACCEPT_POWEREVENT),
        (session, SERVICE_ACCEPT_SESSIONCHANGE),
        (time, SERVICE_ACCEPT_TIMECHANGE),
    ];
    wanted.into_iter().filter(|(is, _)| *is).fold(0, |mask, (_, bit)| mask | bit)
}
