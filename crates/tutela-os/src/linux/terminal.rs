//! The width of the terminal.

pub(crate) use crate::unix::terminal::{RawMode, size};

/// Terminals understand them without being told.
pub(crate) fn enable_colours() -> bool {
    true
}

pub(crate) fn width() -> Option<u16> {
    [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().find_map(columns)
}

fn columns(stream: libc::c_int) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize, and the pointer is to a live one of ours. A stream that is
    // closed or no terminal makes the call fail and writes nothing.
    let answer = unsafe { libc::ioctl(stream, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(size.ws_col)
}
