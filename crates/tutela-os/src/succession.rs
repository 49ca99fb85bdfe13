//! Another program takes the place of a guard while the guard's process stays: its number, its children, its terminal.
//!
//! Three parties speak over a [`Line`]: the guard, the *trial* (a process of the other program that shows whether it can
//! do the guard's work), and the *caretaker* (what the guard's process becomes while the trial works). What they say to
//! each other is not known here; see the guard's room of that name.

use crate::{Error, platform};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One end of a line that carries short messages, each whole. Nobody who is started inherits it. Closed when dropped.
#[derive(Debug)]
pub struct Line(pub(crate) platform::succession::Line);

/// What came of listening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The other end said this.
    Said(String),
    /// The other end is closed, mostly because its process has ended.
    Closed,
    /// Nothing, within the time.
    Nothing,
}

/// The longest message, in bytes; a longer one arrives cut. What a trial is refused for is text for people.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

impl Line {
    /// The line that this process was started with as its standard input, which is `/dev/null` from then on.
    ///
    /// # Errors
    /// Standard input is no such line, or this OS has none ([`Error::Unsupported`]).
    pub fn of_stdin() -> Result<Line, Error> {
        platform::succession::Line::of_stdin().map(Line)
    }

    /// The line that this process had before it became another program, by the number that [`become_program`] gave.
    ///
    /// # Errors
    /// There is none under this number, or this OS has none ([`Error::Unsupported`]).
    pub fn of_number(number: u32) -> Result<Line, Error> {
        platform::succession::Line::of_number(number).map(Line)
    }

    /// Says something. Never waits.
    ///
    /// # Errors
    /// The other end is closed, or has not listened for long.
    pub fn say(&self, text: &str) -> Result<(), Error> {
        self.0.say(text)
    }

    /// Waits for what the other end says, `within` at the most.
    ///
    /// # Errors
    /// The line is broken.
    pub fn hear(&self, within: Duration) -> Result<Heard, Error> {
        self.0.hear(within)
    }
}

/// A process of another program that was begun as a trial.
#[derive(Debug)]
pub struct Trial {
    /// Its number. It is a child of this process, and whoever collects those collects it.
    pub pid: u32,
    /// The line to it.
    pub line: Line,
}

/// Begins `program` with `args`, in this process's folder and environment and with its output; the line is its standard
/// input. It has the limits that this process was started with, and a process group of its own, so that what a terminal
/// tells this one's is not for it. Dropping the answer closes the line and nothing else.
///
/// # Errors
/// It cannot be started, or this OS does not let a program take another's place ([`Error::Unsupported`]).
pub fn begin_trial(program: &Path, args: &[OsString]) -> Result<Trial, Error> {
    platform::succession::begin_trial(program, args)
}

/// Has this process become `program`: same number, same children, same standard streams, every other thread gone and
/// every descriptor closed but for `line`, whose number there is given to `args`. Signals that ask a guard for something
/// wait until [`crate::signals::Signals::open`]. Limits and standing are those that this process was started with.
///
/// Returns only when it did not work; this process goes on as it was then, with its limits given back.
pub fn become_program(
    program: &Path,
    name: &OsStr,
    line: Option<&Line>,
    args: impl FnOnce(u32) -> Vec<OsString>,
) -> Error {
    platform::succession::become_program(program, name, line, args)
}

/// The file of the program that this process runs, also when another file has its name by now.
pub fn own_program() -> PathBuf {
    platform::succession::program_of(std::process::id())
}

/// The file of the program that the process `pid` runs, also when it was begun by way of a script, or another file has its
/// name by now; good for as long as the process lives.
pub fn program_of(pid: u32) -> PathBuf {
    platform::succession::program_of(pid)
}

/// Collects the children that have ended, and answers whether `pid` is among them.
pub fn collect_ended(pid: u32) -> bool {
    platform::succession::collect_ended(pid)
}

/// Asks the trial `pid`, a child of this process, to let go, and sees to it that it has ended within two seconds, by
/// force if need be.
///
/// # Errors
/// It is none of this process's children, or does not end.
pub fn dismiss(pid: u32) -> Result<(), Error> {
    platform::succession::dismiss(pid)
}

/// Whether the process `pid` is a child of this one.
pub fn is_child(pid: u32) -> bool {
    platform::succession::is_child(pid)
}

/// The process that started this one.
pub fn parent() -> Option<u32> {
    platform::succession::parent()
}
