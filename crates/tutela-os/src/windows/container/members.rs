//! Processes by number: opening them, what they use, halting them and letting them go on.

use crate::platform::wide::{done, until_zero};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{FILETIME, INVALID_HANDLE_VALUE, NTSTATUS, RtlNtStatusToDosError, WAIT_OBJECT_0};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::Threading::{
    GetProcessHandleCount, GetProcessTimes, OpenProcess, PROCESS_ACCESS_RIGHTS, QueryFullProcessImageNameW,
    WaitForSingleObject,
};

#[link(name = "ntdll")]
unsafe extern "system" {
    /// Halts every thread of a process. Exported by every version of Windows that there is, and by Wine; the
    /// documented way, a halt of each thread by a list of all threads of the computer, misses those that are
    /// made meanwhile.
    fn NtSuspendProcess(process: *mut core::ffi::c_void) -> NTSTATUS;
    /// Takes one halt back.
    fn NtResumeProcess(process: *mut core::ffi::c_void) -> NTSTATUS;
}

/// How long a look at all processes of the computer is good for. It takes a few milliseconds, and the figures
/// of many trees are asked for at a time.
const LOOK_GOOD_FOR: Duration = Duration::from_millis(200);

/// Opens a process. A number can be another process's by now, so whoever asks looks whether it is a member.
pub(crate) fn open(pid: u32, rights: PROCESS_ACCESS_RIGHTS) -> io::Result<OwnedHandle> {
    // SAFETY: takes numbers, touches no memory of ours.
    let handle = unsafe { OpenProcess(rights, 0, pid) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Whether the process has ended, as long as it is open.
pub(crate) fn has_ended(process: &OwnedHandle) -> bool {
    // SAFETY: the handle is open for the call, which does not wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

/// The program's file.
pub(crate) fn image(process: &OwnedHandle) -> Option<PathBuf> {
    let mut units = [0_u16; 1024];
    let mut length = u32::try_from(units.len()).unwrap_or(0);
    // SAFETY: the call writes at most `length` units to the array, and the length; both are ours.
    let told = unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), 0, units.as_mut_ptr(), &raw mut length) };
    done(told).ok()?;
    Some(PathBuf::from(until_zero(&units)))
}

/// Whether the file is that of the OS's own host of consoles. Every program with a console has one, as a child and so
/// in its job; it ends by itself when nobody is on the console any more.
pub(crate) fn is_console_host(image: &Path) -> bool {
    let is = |part: Option<&OsStr>, wanted: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(wanted));
    let folder = image.parent();
    let root = std::env::var_os("SystemRoot").unwrap_or_default();
    is(image.file_name(), "conhost.exe")
        && is(folder.and_then(Path::file_name), "system32")
        && folder.and_then(Path::parent).is_some_and(|above| above.as_os_str().eq_ignore_ascii_case(&root))
}

/// Processor time of a process, its threads' that have ended included.
pub(crate) fn cpu(process: &OwnedHandle) -> io::Result<Duration> {
    let [mut made, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the pointers are to four times of ours, which is all that is written.
    done(unsafe {
        GetProcessTimes(process.as_raw_handle(), &raw mut made, &raw mut ended, &raw mut kernel, &raw mut user)
    })?;
    Ok(span(kernel) + span(user))
}

fn span(time: FILETIME) -> Duration {
    let hundred_nanoseconds = (u64::from(time.dwHighDateTime) << 32) | u64::from(time.dwLowDateTime);
    Duration::from_nanos(hundred_nanoseconds.saturating_mul(100))
}

/// Memory of one process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) resident: u64,
    /// The most that ever was resident.
    pub(crate) resident_peak: u64,
    /// Committed for it alone, which is what a limit counts.
    pub(crate) committed: u64,
}

pub(crate) fn memory(process: &OwnedHandle) -> io::Result<Memory> {
    let mut told = PROCESS_MEMORY_COUNTERS_EX::default();
    let bytes = u32::try_from(size_of_val(&told)).unwrap_or(0);
    told.cb = bytes;
    let into = (&raw mut told).cast::<PROCESS_MEMORY_COUNTERS>();
    // SAFETY: the longer structure begins with the shorter one; it is ours and as long as the length says.
    done(unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), into, bytes) })?;
    let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Memory {
        resident: bytes(told.WorkingSetSize),
        resident_peak: bytes(told.PeakWorkingSetSize),
        committed: bytes(told.PrivateUsage),
    })
}

/// The handles that a process has open: files, sockets, and everything else of the kernel's.
pub(crate) fn handles(process: &OwnedHandle) -> Option<u64> {
    let mut count = 0;
    // SAFETY: the pointer is to a number of ours, which is all that is written.
    done(unsafe { GetProcessHandleCount(process.as_raw_handle(), &raw mut count) }).ok()?;
    Some(count.into())
}

/// Halts every thread of a process, once more if it is halted already.
pub(crate) fn halt(process: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    status(unsafe { NtSuspendProcess(process.as_raw_handle()) })
}

/// Takes one halt back.
pub(crate) fn go_on(process: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    status(unsafe { NtResumeProcess(process.as_raw_handle()) })
}

/// A process that is ending has nothing left to halt.
fn status(status: NTSTATUS) -> io::Result<()> {
    const PROCESS_IS_TERMINATING: u32 = 0xc000_010a;
    if matches!(status.cast_unsigned(), 0 | PROCESS_IS_TERMINATING) {
        return Ok(());
    }
    // SAFETY: takes a number, touches no memory of ours.
    let code = unsafe { RtlNtStatusToDosError(status) };
    Err(io::Error::from_raw_os_error(code.cast_signed()))
}

/// How many threads each process of the computer has, and its name; a little old where somebody has just asked.
pub(crate) fn table() -> Arc<HashMap<u32, (u32, String)>> {
    type Table = Arc<HashMap<u32, (u32, String)>>;
    static LAST: Mutex<Option<(Instant, Table)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((when, table)) = &*last
        && when.elapsed() < LOOK_GOOD_FOR
    {
        return Arc::clone(table);
    }
    let table = Arc::new(look().unwrap_or_default());
    *last = Some((Instant::now(), Arc::clone(&table)));
    table
}

fn look() -> io::Result<HashMap<u32, (u32, String)>> {
    // SAFETY: takes numbers, touches no memory of ours.
    let handle = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else knows of it.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(handle) };
    let mut entry = PROCESSENTRY32W::default();
    entry.dwSize = u32::try_from(size_of_val(&entry)).unwrap_or(0);
    let mut table = HashMap::new();
    // SAFETY: the entry is ours and says its own length.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        let name = until_zero(&entry.szExeFile).to_string_lossy().into_owned();
        table.insert(entry.th32ProcessID, (entry.cntThreads, name));
        // SAFETY: as for the first one.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(table)
}
