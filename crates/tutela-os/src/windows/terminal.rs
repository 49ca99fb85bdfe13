//! The console: its size, whether it shows colours, and its raw mode.

use super::wide::done;
use crate::Error;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, CONSOLE_SCREEN_BUFFER_INFO, ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, ENABLE_PROCESSED_INPUT,
    ENABLE_VIRTUAL_TERMINAL_INPUT, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
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
    window(stream).map(|(columns, _)| columns)
}

pub(crate) fn size() -> Option<(u16, u16)> {
    window(&std::io::stdout())
}

fn window(stream: &impl AsRawHandle) -> Option<(u16, u16)> {
    let mut seen = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the stream lives as long as the process, and the answer's place is live and ours. What is no
    // console makes the call fail.
    done(unsafe { GetConsoleScreenBufferInfo(stream.as_raw_handle().cast(), &raw mut seen) }).ok()?;
    // The window, not the buffer behind it, which is often wider.
    let length = |from: i16, to: i16| u16::try_from(i32::from(to) - i32::from(from) + 1).ok().filter(|it| *it > 0);
    Some((length(seen.srWindow.Left, seen.srWindow.Right)?, length(seen.srWindow.Top, seen.srWindow.Bottom)?))
}

/// How the console was.
#[derive(Debug)]
pub(crate) struct RawMode {
    input: CONSOLE_MODE,
    output: CONSOLE_MODE,
}

impl RawMode {
    pub(crate) fn begin() -> Result<Self, Error> {
        let before = RawMode { input: mode(&std::io::stdin())?, output: mode(&std::io::stdout())? };
        let raw = before.input & !(ENABLE_ECHO_INPUT | ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT)
            | ENABLE_VIRTUAL_TERMINAL_INPUT;
        set_mode(&std::io::stdout(), before.output | ENABLE_VIRTUAL_TERMINAL_PROCESSING)?;
        if let Err(error) = set_mode(&std::io::stdin(), raw) {
            before.restore();
            return Err(error);
        }
        Ok(before)
    }

    pub(crate) fn restore(&self) {
        // A console that went away needs nothing back.
        let _ = set_mode(&std::io::stdin(), self.input);
        let _ = set_mode(&std::io::stdout(), self.output);
    }
}

fn mode(stream: &impl AsRawHandle) -> Result<CONSOLE_MODE, Error> {
    let mut mode = 0;
    // SAFETY: the stream lives as long as the process, and the answer's place is live and ours. What is no
    // console makes the call fail.
    done(unsafe { GetConsoleMode(stream.as_raw_handle().cast(), &raw mut mode) })
        .map_err(|error| Error::io("read the console's mode", error))?;
    Ok(mode)
}

fn set_mode(stream: &impl AsRawHandle, mode: CONSOLE_MODE) -> Result<(), Error> {
    // SAFETY: the stream lives as long as the process. What is no console makes the call fail.
    done(unsafe { SetConsoleMode(stream.as_raw_handle().cast(), mode) })
        .map_err(|error| Error::io("set the console's mode", error))
}
