//! Whether somebody watches, how wide their window is, and the whole of it for a program that draws.

use crate::{Error, platform};
use std::io::IsTerminal;

/// Whether standard output goes to a terminal.
pub fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard output goes to a terminal that shows colours. A console of Windows is told to.
pub fn stdout_takes_colours() -> bool {
    stdout_is_terminal() && platform::terminal::enable_colours()
}

/// Whether standard error goes to a terminal.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// The columns of the terminal at standard output, or else at standard error; `None` without one.
pub fn width() -> Option<u16> {
    platform::terminal::width()
}

/// Whether standard input comes from a terminal.
pub fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Columns and rows of the terminal at standard output; `None` without one.
pub fn size() -> Option<(u16, u16)> {
    platform::terminal::size()
}

/// While it lives, keys come to standard input one by one, as the bytes that terminals send, and nothing is echoed:
/// Ctrl-C is a byte too. Dropping it gives the terminal back as it was.
#[derive(Debug)]
pub struct RawMode(platform::terminal::RawMode);

impl RawMode {
    /// Takes the terminal at standard input and output.
    ///
    /// # Errors
    /// There is none, or it does not let itself be taken.
    pub fn begin() -> Result<Self, Error> {
        platform::terminal::RawMode::begin().map(RawMode)
    }

    /// Gives the terminal back before the drop, such as from a panic's hook. May be called more than once.
    pub fn restore(&self) {
        self.0.restore();
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.restore();
    }
}
