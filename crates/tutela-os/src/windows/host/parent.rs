//! Whether our parent process is the service control manager.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

/// Whether a process with the service control manager's name started us. It is older than all services and never
/// ends, so its number was not given to somebody else since. Somebody may have named another program so; the
/// dispatcher's answer is what counts in the end.
pub(super) fn is_service_manager() -> bool {
    let table = processes();
    let own = std::process::id();
    let parent = table.iter().find(|(pid, _, _)| *pid == own).map(|(_, parent, _)| *parent);
    parent.is_some_and(|parent| {
        let named = |name: &str| name.eq_ignore_ascii_case("services.exe");
        table.iter().any(|(pid, _, name)| *pid == parent && named(name))
    })
}

/// The session of a process; `None` where the OS does not say.
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    let mut session = 0;
    // SAFETY: the pointer is to a live u32 of ours, which is all that the call writes to.
    let told = unsafe { ProcessIdToSessionId(pid, &raw mut session) };
    (told != 0).then_some(session)
}

/// Every process: its number, its parent's, its file's name.
fn processes() -> Vec<(u32, u32, String)> {
    // SAFETY: takes two numbers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Vec::new();
    }
    // SAFETY: the handle was just made and is nobody else's.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot.cast()) };
    let mut entry = PROCESSENTRY32W { dwSize: SIZE, ..Default::default() };
    let mut found = Vec::new();
    // SAFETY: the handle is a snapshot and open, and the entry says its size.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle().cast(), &raw mut entry) };
    while more != 0 {
        let end = entry.szExeFile.iter().position(|unit| *unit == 0).unwrap_or(entry.szExeFile.len());
        let name = String::from_utf16_lossy(&entry.szExeFile[..end]);
        found.push((entry.th32ProcessID, entry.th32ParentProcessID, name));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle().cast(), &raw mut entry) };
    }
    found
}

#[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
const SIZE: u32 = size_of::<PROCESSENTRY32W>() as u32;
