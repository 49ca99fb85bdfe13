//! Raw mode by termios, and the window's size.

use crate::Error;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// How the terminal was.
#[derive(Debug)]
pub(crate) struct RawMode(Termios);

impl RawMode {
    pub(crate) fn begin() -> Result<Self, Error> {
        let taken = |error: rustix::io::Errno| Error::io("take the terminal", error);
        let before = tcgetattr(std::io::stdin()).map_err(taken)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw).map_err(taken)?;
        Ok(RawMode(before))
    }

    pub(crate) fn restore(&self) {
        // A terminal that went away needs nothing back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
