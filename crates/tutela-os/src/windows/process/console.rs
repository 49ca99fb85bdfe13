//! The other side of a request to stop: what the messenger does. It attaches itself to the console of each
//! process it is sent to, sends the event to everybody on it, and lets go; or it posts a close to every
//! window that the processes have. Its exit code tells how it went.
//!
//! Invariant: it runs before anything else of the program, prints nothing, and lives for milliseconds.

use crate::platform::library::Library;
use crate::platform::wide::done;
use crate::process::StopRequest;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_GEN_FAILURE, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER,
};
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleProcessList,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

/// The first argument of a messenger.
pub(super) const CUE: &str = "__console-event";

// How a messenger ends. Numbers that no crash and no other use of the program has.
pub(super) const SENT: u8 = 0;
pub(super) const GONE: u8 = 20;
pub(super) const NO_CONSOLE: u8 = 21;
pub(super) const NO_WINDOW: u8 = 22;
pub(super) const DENIED: u8 = 23;
pub(super) const FAILED: u8 = 24;
pub(super) const BAD_WORDS: u8 = 25;

/// How often, and how long apart, a program is given the time to get its console: it does so itself, early in
/// its life.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(25);

/// More processes on one console than anybody has; the others get the event all the same.
const LISTED_MAX: usize = 4_096;

pub(super) const fn word_of(request: StopRequest) -> &'static str {
    match request {
        StopRequest::CtrlC => "ctrl-c",
        StopRequest::CtrlBreak => "ctrl-break",
        StopRequest::CloseWindow => "close-window",
    }
}

/// The whole life of a messenger, if the arguments, without the program's name, make this process one.
pub(crate) fn console_event_main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.next()? != CUE {
        return None;
    }
    let words: Vec<String> = args.take(3).filter_map(|word| word.into_string().ok()).collect();
    let [pids, word] = words.as_slice() else { return Some(ExitCode::from(BAD_WORDS)) };
    let requests = [StopRequest::CtrlC, StopRequest::CtrlBreak, StopRequest::CloseWindow];
    let request = requests.into_iter().find(|request| word_of(*request) == word);
    let pids: Result<Vec<u32>, _> = pids.split(',').map(str::parse).collect();
    Some(ExitCode::from(match (request, pids) {
        (Some(StopRequest::CloseWindow), Ok(pids)) => close_windows(&pids),
        (Some(StopRequest::CtrlC), Ok(pids)) => send_all(&pids, CTRL_C_EVENT),
        (Some(StopRequest::CtrlBreak), Ok(pids)) => send_all(&pids, CTRL_BREAK_EVENT),
        (None, _) | (_, Err(_)) => BAD_WORDS,
    }))
}

fn send_all(pids: &[u32], event: u32) -> u8 {
    let mut reached: Vec<u32> = Vec::new();
    let mut outcome = GONE;
    for pid in pids {
        if reached.contains(pid) {
            continue;
        }
        match send(*pid, event) {
            Ok(on_it) => {
                reached.extend(on_it);
                outcome = SENT;
            }
            Err(code) if outcome != SENT => outcome = if outcome == GONE { code } else { outcome },
            Err(_) => {}
        }
    }
    outcome
}

/// Sends the event to everybody on the console of a process. Answers who they are.
fn send(pid: u32, event: u32) -> Result<Vec<u32>, u8> {
    attach(pid)?;
    // With every console that a process gets, its list of functions begins anew.
    // SAFETY: the function is of this program and touches nothing.
    if done(unsafe { SetConsoleCtrlHandler(Some(unmoved), 1) }).is_err() {
        return Err(FAILED);
    }
    let mut listed = vec![0_u32; LISTED_MAX];
    let room = u32::try_from(listed.len()).unwrap_or(0);
    // SAFETY: the call writes at most `room` numbers to the list, which is ours.
    let count = unsafe { GetConsoleProcessList(listed.as_mut_ptr(), room) };
    listed.truncate(usize::try_from(count).unwrap_or(0).min(LISTED_MAX));
    // SAFETY: takes numbers, touches no memory of ours. The group 0 is everybody on this console.
    let sent = done(unsafe { GenerateConsoleCtrlEvent(event, 0) });
    // SAFETY: takes nothing; this process uses no console.
    unsafe { FreeConsole() };
    sent.map(|()| listed).map_err(|error| code_for(&error))
}

fn attach(pid: u32) -> Result<(), u8> {
    let mut tries = 0;
    loop {
        // SAFETY: takes a number, touches no memory of ours.
        let Err(error) = done(unsafe { AttachConsole(pid) }) else { return Ok(()) };
        let code = code_for(&error);
        tries += 1;
        if code != NO_CONSOLE || tries >= TRIES {
            return Err(code);
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

fn code_for(error: &io::Error) -> u8 {
    match error.raw_os_error().map_or(0, i32::cast_unsigned) {
        ERROR_INVALID_HANDLE | ERROR_GEN_FAILURE => NO_CONSOLE,
        ERROR_INVALID_PARAMETER => GONE,
        ERROR_ACCESS_DENIED => DENIED,
        _ => FAILED,
    }
}

/// The messenger is on the console too when it sends.
unsafe extern "system" fn unmoved(_event: u32) -> BOOL {
    1
}

type EachWindow = unsafe extern "system" fn(window: *mut core::ffi::c_void, about: isize) -> BOOL;
type EnumWindows = unsafe extern "system" fn(each: EachWindow, about: isize) -> BOOL;
type GetWindowThreadProcessId = unsafe extern "system" fn(window: *mut core::ffi::c_void, pid: *mut u32) -> u32;
type PostMessageW = unsafe extern "system" fn(*mut core::ffi::c_void, u32, usize, isize) -> BOOL;

const WM_CLOSE: u32 = 0x0010;

/// What the walk over the windows is about.
struct Closing<'a> {
    pids: &'a [u32],
    process_of: GetWindowThreadProcessId,
    post: PostMessageW,
    posted: u32,
    refused: u32,
}

/// Posts a close to every window on the desktop that belongs to one of the processes.
///
/// The library of windows is loaded here and not with the program: of all processes of this program only
/// this one needs it, and loading it would make every start slower.
fn close_windows(pids: &[u32]) -> u8 {
    let Some(library) = Library::load("user32.dll") else { return NO_WINDOW };
    // SAFETY: the function of this name has this signature.
    let walk = unsafe { library.function::<EnumWindows>(c"EnumWindows") };
    // SAFETY: as above.
    let process_of = unsafe { library.function::<GetWindowThreadProcessId>(c"GetWindowThreadProcessId") };
    // SAFETY: as above.
    let post = unsafe { library.function::<PostMessageW>(c"PostMessageW") };
    let (Some(walk), Some(process_of), Some(post)) = (walk, process_of, post) else { return NO_WINDOW };
    let mut closing = Closing { pids, process_of, post, posted: 0, refused: 0 };
    let about = (&raw mut closing).expose_provenance().cast_signed();
    // SAFETY: the function gets back what is given here, which lives through the walk.
    unsafe { walk(close_one, about) };
    match (closing.posted, closing.refused) {
        (0, 0) => NO_WINDOW,
        (0, _) => DENIED,
        _ => SENT,
    }
}

unsafe extern "system" fn close_one(window: *mut core::ffi::c_void, about: isize) -> BOOL {
    let closing: *mut Closing<'_> = std::ptr::with_exposed_provenance_mut(about.cast_unsigned());
    // SAFETY: it is what the walk was begun with, which nobody else uses meanwhile.
    let closing = unsafe { &mut *closing };
    let mut pid = 0;
    // SAFETY: the function of the library; the pointer is to a number of ours.
    unsafe { (closing.process_of)(window, &raw mut pid) };
    if closing.pids.contains(&pid) {
        // SAFETY: the function of the library; the message carries no memory.
        match unsafe { (closing.post)(window, WM_CLOSE, 0, 0) } {
            0 => closing.refused += 1,
            _ => closing.posted += 1,
        }
    }
    1
}
