//! The console: its width, and whether it shows colours.

use super::wide::done;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
    SetConsoleMode,
};

/// Makes the console at standard output understand colours. One that is older than Windows 10 does not.
pub(crate) fn enable_colours() -> bool {
    // The other stream is a console too, mostly the same one; if it is not, there is nothing to be done with it.
    let _ = enable_at(&std::io::stderr());
    enable_at(&std::io::stdout())
}

fn enable_at(stream: &impl AsRawHandle) -> bool {
    let handle = stream.as_raw_handle().cast();
    let mut mode = 0;
    // SAFETY: the stream lives as long as the process, and the answer's place is live and ours. What is no
    // console makes the call fail.
    if done(unsafe { GetConsoleMode(handle, &raw mut mode) }).is_err() {
        return false;
    }
    let wanted = mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING;
    // SAFETY: the stream is a console, as the call before found.
    wanted == mode || done(unsafe { SetConsoleMode(handle, wanted) }).is_ok()
}

pub(crate) fn width() -> Option<u16> {
    columns(&std::io::stdout()).or_else(|| columns(&std::io::stderr()))
}

fn columns(stream: &impl AsRawHandle) -> Option<u16> {
    let mut seen = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the stream lives as long as the process, and the answer's place is live and ours. What is no
    // console makes the call fail.
    done(unsafe { GetConsoleScreenBufferInfo(stream.as_raw_handle().cast(), &raw mut seen) }).ok()?;
    // The window, not the buffer behind it, which is often wider.
    let columns = i32::from(seen.srWindow.Right) - i32::from(seen.srWindow.Left) + 1;
    u16::try_from(columns).ok().filter(|columns| *columns > 0)
}
