//! Whether somebody watches, and how wide their window is.

use crate::platform;
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
