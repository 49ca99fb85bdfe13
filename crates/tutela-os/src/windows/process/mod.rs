//! Starting programs and hearing of their end on Windows.
//!
//! - [`nursery`]: the registry that connects starts and ends;
//! - [`launch`]: a start, from the request to the process that runs;
//! - [`attributes`]: what exactly a new process inherits, and its job;
//! - [`account`]: whom a program can run as besides the guard's own account;
//! - [`profile`]: that account's part of the registry and its folders, for as long as the program runs;
//! - [`taken`]: programs of an earlier guard that run on;
//! - [`command_line`], [`environment`]: the two texts that a program gets;
//! - [`explain`]: an error number turned into advice;
//! - [`find`]: the program's file;
//! - [`messenger`]: the guard's side of a request to stop;
//! - [`console`]: the side of the short-lived process that carries the request over.

mod account;
mod attributes;
mod command_line;
mod console;
mod environment;
mod explain;
mod find;
mod launch;
pub(crate) mod messenger;
mod nursery;
pub(crate) mod profile;
mod taken;

pub(crate) use console::console_event_main;
pub(crate) use environment::same_variable;
pub(crate) use explain::{crash_words, is_passing};
pub(crate) use find::find_program;
pub(crate) use launch::start_safe;
pub(crate) use nursery::{Child, ChildSignal, Nursery};

use crate::process::{Signal, StopRequest};
use crate::{Error, Unsupported};

/// The names that the C runtime of Windows has, with its numbers, and those that specs use besides.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 22),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("BREAK", 21),
    ("WINCH", 28),
];

pub(crate) const REAL_TIME_SIGNALS: Option<(i32, i32)> = None;

pub(crate) const fn number_of(name: &str) -> i32 {
    crate::process::number_in(SIGNALS, name)
}

/// Whether this process runs as the OS itself.
pub(crate) fn runs_as_system() -> bool {
    account::is_system()
}

/// What Windows has for a signal.
pub(crate) enum Meaning {
    /// An end without a word.
    Kill,
    /// Every thread halted.
    Halt,
    /// Every thread going on.
    GoOn,
    /// A request that the program can hear.
    Ask(StopRequest),
}

pub(crate) fn meaning_of(signal: Signal) -> Option<Meaning> {
    const BREAK: i32 = number_of("BREAK");
    match signal {
        Signal::KILL => Some(Meaning::Kill),
        Signal::STOP => Some(Meaning::Halt),
        Signal::CONT => Some(Meaning::GoOn),
        // What a console program is asked with for either wish.
        Signal::INT | Signal::TERM => Some(Meaning::Ask(StopRequest::CtrlC)),
        Signal::QUIT => Some(Meaning::Ask(StopRequest::CtrlBreak)),
        other if other.number() == BREAK => Some(Meaning::Ask(StopRequest::CtrlBreak)),
        _ => None,
    }
}

pub(crate) fn no_such(signal: Signal) -> Error {
    let reason = format!("{signal} means nothing here; INT, QUIT, TERM, KILL, STOP and CONT have a counterpart");
    Error::Unsupported(Unsupported::new("signal", reason))
}
