//! The safe on Windows: a process of this very program that holds handles, spoken to over a named pipe.
//!
//! - [`message`]: how a message is said, and how handles go from the one to the other;
//! - [`line`]: the pipe between them;
//! - [`keeper`]: the safe's own side;
//! - here: what the guard's side, [`crate::safe::link`], needs to reach it.
//!
//! What matters most in it are jobs: the kernel ends the members of a job with its last handle, and as long as the safe has
//! one, the guard's is not the last.

mod keeper;
mod line;
mod message;
#[cfg(test)]
pub(crate) mod tests;

use super::handle::Handle;
use super::process::start_safe;
use super::watch;
use super::wide::{done, terminated};
use crate::Error;
use crate::safe::link::{BEGIN_PAUSE, BEGIN_WAIT, Link, MESSAGE_WAIT, TELL_WAIT, WORD, failed};
use crate::safe::message::{Message, damaged, look_at};
use crate::safe::{Deposit, OnTrouble};
use line::{Line, is};
use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY, WAIT_OBJECT_0};
use windows_sys::Win32::System::Pipes::WaitNamedPipeW;
use windows_sys::Win32::System::Threading::{INFINITE, TerminateProcess, WaitForMultipleObjects, WaitForSingleObject};

/// The guard's side.
pub(crate) type Safe = crate::safe::link::Safe<Connection>;

/// A safe that is spoken to.
pub(crate) struct Connection {
    line: Line,
    /// Its process, whose end is waited for.
    process: OwnedHandle,
}

pub(crate) fn is_left(pipe: &Path) -> bool {
    let Ok(name) = terminated(pipe) else { return false };
    // SAFETY: the name ends in a zero. One millisecond, since zero means a default.
    let free = unsafe { WaitNamedPipeW(name.as_ptr(), 1) } != 0;
    free || !is(&io::Error::last_os_error(), ERROR_FILE_NOT_FOUND)
}

impl Link for Connection {
    const KEEPS: &str = "programs and their output";
    const LOST_WITH_A_MESSAGE: bool = true;

    type Bell = OwnedHandle;

    fn bell() -> io::Result<OwnedHandle> {
        watch::event()
    }

    fn ring(bell: &OwnedHandle) {
        watch::ring(bell);
    }

    fn wait(&self, bell: &OwnedHandle) -> bool {
        let watched = [bell.as_raw_handle(), self.process.as_raw_handle()];
        // SAFETY: both handles are open for the call, and as many as it says.
        let rung = unsafe { WaitForMultipleObjects(2, watched.as_ptr(), 0, INFINITE) };
        rung == WAIT_OBJECT_0 + 1
    }

    fn take_over(pipe: &Path, on_trouble: &OnTrouble) -> Result<Option<(Connection, Vec<Deposit>)>, Error> {
        let connection = match dial(pipe) {
            Ok(connection) => connection,
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => return Ok(None),
            Err(source) => return Err(failed("reach the safe at", pipe, source)),
        };
        match connection.ask_for_all() {
            Ok(deposits) => Ok(Some((connection, deposits))),
            Err(error) => {
                // What is in it would run on beside what this guard starts. With the safe the kernel ends it.
                connection.put_down().map_err(|source| failed("end the safe that makes no sense at", pipe, source))?;
                on_trouble(format!(
                    "the process that kept programs over the end of the former guard could not be asked ({error}); it was \
                     ended, and they with it"
                ));
                Ok(None)
            }
        }
    }

    fn begin(pipe: &Path, guard: &str) -> io::Result<Connection> {
        let program = std::env::current_exe()?;
        let words = [WORD.into(), guard.into(), pipe.as_os_str().to_owned()];
        let process = start_safe(&program, &words)?;
        let until = Instant::now() + BEGIN_WAIT;
        loop {
            match dial(pipe) {
                Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => {
                    if super::container::members::has_ended(&process) {
                        return Err(io::Error::other(
                            "its process has ended at once; is another one's pipe of that name?",
                        ));
                    }
                    if Instant::now() > until {
                        return Err(error);
                    }
                    std::thread::sleep(BEGIN_PAUSE);
                }
                dialled => return dialled,
            }
        }
    }

    fn renew(pipe: &Path, guard: &str) -> io::Result<Connection> {
        match dial(pipe) {
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => Connection::begin(pipe, guard),
            found => found,
        }
    }

    fn look_at(deposit: &Deposit) -> io::Result<()> {
        look_at(deposit)?;
        if deposit.handles.iter().any(|handle| matches!(handle.0, Handle::Socket(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a safe takes no sockets here"));
        }
        Ok(())
    }

    /// Returns when the safe has acted on it.
    fn send(&self, message: &Message) -> io::Result<()> {
        self.line.tell(message)
    }

    fn remove(_: &Path) {
        // A pipe goes with its process.
    }
}

impl Connection {
    /// Everything that is in the safe.
    fn ask_for_all(&self) -> io::Result<Vec<Deposit>> {
        self.line.send(&message::bytes(&Message::Tell)?, MESSAGE_WAIT)?;
        let mut deposits = Vec::new();
        let until = Instant::now() + TELL_WAIT;
        loop {
            let bytes = self.line.receive(Some(until.saturating_duration_since(Instant::now())))?;
            match message::read(&bytes.ok_or(io::ErrorKind::UnexpectedEof)?, message::given)? {
                Message::Deposit(deposit) => deposits.push(deposit),
                Message::Told => return Ok(deposits),
                _ => return Err(damaged()),
            }
        }
    }

    /// Ends the safe with everything in it, and waits until it is gone.
    fn put_down(&self) -> io::Result<()> {
        let process = self.process.as_raw_handle();
        // SAFETY: the handle is open for the call; no memory of ours is read or written.
        let ended = done(unsafe { TerminateProcess(process, 1) });
        let millis = u32::try_from(BEGIN_WAIT.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: the handle is open for the call.
        match unsafe { WaitForSingleObject(process, millis) } {
            WAIT_OBJECT_0 => Ok(()),
            _ => ended.and(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Reaches the safe of this pipe. Of one that has a guard it is waited until it sees that the guard is gone.
fn dial(pipe: &Path) -> io::Result<Connection> {
    let until = Instant::now() + BEGIN_WAIT;
    loop {
        match Line::dial(pipe) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) && Instant::now() < until => std::thread::sleep(BEGIN_PAUSE),
            dialled => {
                let (line, process) = dialled?;
                return Ok(Connection { line, process });
            }
        }
    }
}

pub(crate) fn safe_main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.next()? != WORD {
        return None;
    }
    // The guard's name is for people who look at the list of processes.
    let pipe = args.nth(1).map(PathBuf::from);
    let kept = pipe.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)).and_then(|pipe| keeper::keep(&pipe));
    Some(if kept.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
