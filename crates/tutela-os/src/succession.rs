//! Another program takes the place of a guard while the guard's process stays: its number, its children, its terminal.
//!
//! Three parties speak over a [`Line`]: the guard, the *trial* (a process of the other program that shows whether it can
//! do the guard's work), and the *caretaker* (what the guard's process becomes while the trial works). What they say to
//! each other is not known here; see the guard's room of that name.

use crate::process::Signal;
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
    /// `speaker` is the process that speaks at its other end.
    ///
    /// # Errors
    /// There is none under this number, or this OS has none ([`Error::Unsupported`]).
    pub fn of_number(number: u32, speaker: u32) -> Result<Line, Error> {
        platform::succession::Line::of_number(number, speaker).map(Line)
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
    /// The line is broken; or somebody spoke on it who is not the process that was begun, by the word of the OS.
    pub fn hear(&self, within: Duration) -> Result<Heard, Error> {
        self.0.hear(within)
    }
}

/// A file that may be begun as a trial: opened, so that what is begun is what was looked at, whatever has its name by then.
#[derive(Debug)]
pub struct Candidate(platform::succession::Candidate);

impl Candidate {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be opened, is no plain file, or no program of this OS itself: a script's interpreter would be the guard's
    /// program ([`Error::Refused`]). Or this OS does not let a program take another's place ([`Error::Unsupported`]).
    pub fn open(program: &Path) -> Result<Candidate, Error> {
        platform::succession::Candidate::open(program).map(Candidate)
    }

    /// Whether the process `pid` runs it: one that was begun with it may have become another program since.
    pub fn is_run_by(&self, pid: u32) -> bool {
        self.0.is_run_by(pid)
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

/// Begins the program with `args`, in this process's folder and environment and with its output; the line is its standard
/// input. It has the limits that this process was started with, and a process group of its own, so that what a terminal
/// tells this one's is not for it. Dropping the answer closes the line and nothing else.
///
/// # Errors
/// It cannot be started, or this OS does not let a program take another's place ([`Error::Unsupported`]).
pub fn begin_trial(program: &Candidate, args: &[OsString]) -> Result<Trial, Error> {
    platform::succession::begin_trial(&program.0, args)
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

/// The file of the program that this process runs, also when another file has its name by now: the kernel's own link.
pub fn own_program() -> PathBuf {
    platform::succession::program_of(std::process::id())
}

/// The file of the program that the process `pid` runs, also when another file has its name by now: the kernel's own link,
/// good for as long as the process lives.
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

/// Sends the trial `pid`, a child of this process, a signal that is meant for the guard that it is.
///
/// # Errors
/// It is none of this process's children.
pub fn pass_on(pid: u32, signal: Signal) -> Result<(), Error> {
    platform::succession::pass_on(pid, signal)
}

/// A signal that asks this process to end and waits since [`become_program`], or since a [`crate::signals::Calm`] began;
/// the answer takes it. `None`: nobody has asked.
pub fn asked_to_end() -> Option<Signal> {
    platform::succession::asked_to_end()
}

/// Gives back what [`asked_to_end`] took: it waits again, for what this process becomes.
pub fn ask_again(signal: Signal) {
    platform::succession::ask_again(signal);
}

/// Gives this process the name that the process table is to show, where it was begun by way of a link of the kernel's and
/// is named after that. To be called first in `main`, with the program's own name.
pub fn take_name(name: &OsStr) {
    platform::succession::take_name(name);
}

/// Whether the process `pid` is a child of this one.
pub fn is_child(pid: u32) -> bool {
    platform::succession::is_child(pid)
}

/// The process that started this one.
pub fn parent() -> Option<u32> {
    platform::succession::parent()
}
