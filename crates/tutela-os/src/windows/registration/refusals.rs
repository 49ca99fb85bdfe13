//! What the SCM says no with, in words that tell how to mend it.

use super::scm::{self, Status};
use crate::Error;
use crate::registration::RegisterError;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_EXE_FORMAT, ERROR_CIRCULAR_DEPENDENCY, ERROR_DATABASE_DOES_NOT_EXIST,
    ERROR_DUPLICATE_SERVICE_NAME, ERROR_EXCEPTION_IN_SERVICE, ERROR_FILE_NOT_FOUND,
    ERROR_INCOMPATIBLE_SERVICE_PRIVILEGE, ERROR_INVALID_NAME, ERROR_PATH_NOT_FOUND, ERROR_PROCESS_ABORTED,
    ERROR_SERVICE_DATABASE_LOCKED, ERROR_SERVICE_DEPENDENCY_DELETED, ERROR_SERVICE_DEPENDENCY_FAIL,
    ERROR_SERVICE_DISABLED, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_LOGON_FAILED, ERROR_SERVICE_MARKED_FOR_DELETE,
    ERROR_SERVICE_NEVER_STARTED, ERROR_SERVICE_REQUEST_TIMEOUT, ERROR_SERVICE_SPECIFIC_ERROR,
    ERROR_SHUTDOWN_IN_PROGRESS, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};

/// The SCM's process does not answer.
const RPC_S_SERVER_UNAVAILABLE: u32 = 1722;

/// How to come by the rights of an administrator.
pub(super) const NEEDS: &str =
    "an administrator's rights: open the prompt again with \"Run as administrator\" and repeat the command there";

/// Programs that keep services open while their windows are: what people know them by, and their files.
const HOLDERS: &[(&str, &str)] = &[
    ("services.msc or the Event Viewer", "mmc.exe"),
    ("Task Manager", "taskmgr.exe"),
    ("Process Explorer", "procexp64.exe"),
    ("Process Explorer", "procexp.exe"),
    ("Process Hacker", "processhacker.exe"),
    ("System Informer", "systeminformer.exe"),
    ("Server Manager", "servermanager.exe"),
];

/// Where the reasons of a failed start are.
pub(super) fn where_to_look(name: &str) -> String {
    format!(
        "look into the Event Log: Windows Logs, System (source Service Control Manager) and Application (source {name})"
    )
}

/// The exit of a service that stopped, when it was none of its own will.
pub(super) fn code_text(status: &Status) -> Option<String> {
    match status.exit_code {
        0 | ERROR_SERVICE_NEVER_STARTED => None,
        ERROR_SERVICE_SPECIFIC_ERROR => {
            let code = status.own_exit_code;
            Some(format!("with its own exit code {code} ({code:#x})"))
        }
        code => Some(format!("with {}", io::Error::from_raw_os_error(code.cast_signed()))),
    }
}

/// What the SCM refused, as an error that says how to mend it.
pub(super) fn refused(name: &str, what: &str, error: io::Error) -> RegisterError {
    let text = |why: &str| RegisterError::Refused(format!("{what} does not work: {why}"));
    match scm::code(&error) {
        ERROR_ACCESS_DENIED => RegisterError::NotAllowed { what: what.to_owned(), needs: NEEDS.to_owned() },
        ERROR_SERVICE_DOES_NOT_EXIST | ERROR_INVALID_NAME => RegisterError::Missing { name: name.to_owned() },
        ERROR_SERVICE_MARKED_FOR_DELETE => leaving(name),
        RPC_S_SERVER_UNAVAILABLE | ERROR_DATABASE_DOES_NOT_EXIST => {
            RegisterError::NoServiceManager(format!("the Service Control Manager does not answer: {error}"))
        }
        ERROR_SERVICE_DISABLED => text("it is disabled; install it again with the start \"auto\" or \"manual\" (1058)"),
        ERROR_SERVICE_LOGON_FAILED => text(
            "its account cannot log on: the password has changed, or the account has lost the right to log on as a \
             service; install it again with the password (1069)",
        ),
        ERROR_SERVICE_DEPENDENCY_FAIL => {
            text("a service that it needs could not be started; start that one first (1068)")
        }
        ERROR_SERVICE_DEPENDENCY_DELETED => {
            text("a service that it needs is not installed; install it, or take it out of `after` (1075)")
        }
        ERROR_CIRCULAR_DEPENDENCY => text("services need each other in a circle (1059)"),
        ERROR_SERVICE_REQUEST_TIMEOUT => {
            let look = where_to_look(name);
            text(&format!("its program did not speak to the SCM in time; is it a service at all? {look} (1053)"))
        }
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => {
            text("its program is gone, or its account may not read it; install it again")
        }
        ERROR_BAD_EXE_FORMAT => text("its program is not one for this computer (193)"),
        ERROR_INCOMPATIBLE_SERVICE_PRIVILEGE => text(
            "its account lacks a privilege that the service requires; see sc qprivs, or set sandbox = false (1297)",
        ),
        ERROR_PROCESS_ABORTED | ERROR_EXCEPTION_IN_SERVICE => {
            let look = where_to_look(name);
            text(&format!("its program died; {look}"))
        }
        ERROR_SHUTDOWN_IN_PROGRESS => text("Windows is being shut down (1115)"),
        ERROR_SERVICE_DATABASE_LOCKED => text("the SCM is locked by an installation; wait for it and try again (1055)"),
        ERROR_DUPLICATE_SERVICE_NAME => text("another service has this display name; choose another one (1078)"),
        _ => RegisterError::Failed(Error::io(format!("get on with {what}"), error)),
    }
}

/// The refusal of a service that is marked for deletion, with those that may keep it.
pub(super) fn leaving(name: &str) -> RegisterError {
    RegisterError::Leaving { name: name.to_owned(), holders: holders() }
}

fn holders() -> String {
    let found: Vec<String> = running()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(pid, file)| {
            let (people, _) = HOLDERS.iter().find(|(_, holder)| file.eq_ignore_ascii_case(holder))?;
            Some(format!("{people} ({file}, process {pid})"))
        })
        .collect();
    if found.is_empty() {
        return "a program that looks at services, such as services.msc, Task Manager or Process Explorer, or its own \
                process that has not ended"
            .to_owned();
    }
    format!("{}, it seems", found.join(" or "))
}

/// The programs that run, by number and file.
fn running() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: a number for a handle.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the OS handed this handle to us.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = PROCESSENTRY32W { dwSize: size_of::<PROCESSENTRY32W>() as u32, ..PROCESSENTRY32W::default() };
    let mut running = Vec::new();
    // SAFETY: the snapshot is open; the entry says its size.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        running.push((entry.th32ProcessID, super::text::text(&entry.szExeFile)));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u32) -> String {
        refused("shop", "starting shop", io::Error::from_raw_os_error(code.cast_signed())).to_string()
    }

    #[test]
    fn a_refusal_of_the_scm_says_how_to_mend_it() {
        assert!(said(ERROR_ACCESS_DENIED).contains("Run as administrator"));
        assert!(said(ERROR_SERVICE_MARKED_FOR_DELETE).contains("marked for deletion"));
        assert!(said(ERROR_SERVICE_DEPENDENCY_DELETED).contains("after"));
        assert!(said(ERROR_SERVICE_LOGON_FAILED).contains("password"));
        for code in [ERROR_SERVICE_DISABLED, ERROR_SHUTDOWN_IN_PROGRESS, ERROR_BAD_EXE_FORMAT] {
            assert!(said(code).starts_with("refused: starting shop does not work"), "{}", said(code));
        }
    }

    #[test]
    fn an_exit_code_of_its_own_is_told_as_such() {
        let status = |exit_code, own_exit_code| Status {
            state: 1,
            pid: None,
            exit_code,
            own_exit_code,
            checkpoint: 0,
            wait_hint: 0,
            accepts: 0,
        };
        assert_eq!(code_text(&status(0, 0)), None);
        assert_eq!(code_text(&status(ERROR_SERVICE_NEVER_STARTED, 0)), None);
        assert!(code_text(&status(ERROR_SERVICE_SPECIFIC_ERROR, 42)).is_some_and(|text| text.contains("42 (0x2a)")));
    }

    #[test]
    fn this_process_is_among_those_that_run() {
        assert!(running().is_ok_and(|running| running.iter().any(|(pid, _)| *pid == std::process::id())));
    }
}
