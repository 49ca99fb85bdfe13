//! The safe on Windows: a process of this very program that holds handles, spoken to over a named pipe.
//!
//! - [`message`]: what the two say to each other, and how handles go from the one to the other;
//! - [`line`]: the pipe between them;
//! - [`keeper`]: the safe's own side;
//! - here: the guard's.
//!
//! What matters most in it are jobs: the kernel ends the members of a job with its last handle, and as long as the safe has
//! one, the guard's is not the last.
//!
//! What is to be in the safe is noted in the guard too, so that a safe that was killed can be replaced by another with
//! the same content. Handles that were released are closed on both sides.

mod keeper;
mod line;
mod message;
#[cfg(test)]
mod tests;

use super::process::start_safe;
use super::watch::{event, ring};
use super::wide::{done, terminated};
use crate::Error;
use crate::safe::Deposit;
use line::{Line, is};
use message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY, WAIT_OBJECT_0};
use windows_sys::Win32::System::Pipes::WaitNamedPipeW;
use windows_sys::Win32::System::Threading::{INFINITE, TerminateProcess, WaitForMultipleObjects, WaitForSingleObject};

/// The word that makes this program a safe.
const WORD: &str = "--keep-open-for";

/// How long one message may wait for its answer from the other side, which does nothing but take messages.
const MESSAGE_WAIT: Duration = Duration::from_secs(1);

/// How long all of a safe's content may take to be told. A computer that cannot tell some ten thousand handles within
/// this has other troubles.
const TELL_WAIT: Duration = Duration::from_secs(10);

/// How long a new safe may take until it answers: some milliseconds, and seconds where a computer boots. Also how long one
/// may take to see that its former guard is gone.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// How long between two tries to reach it.
const BEGIN_PAUSE: Duration = Duration::from_millis(5);

/// The pause between two safes that are begun: where one cannot live, trying without a pause would cost the programs
/// their processor.
const BEGIN_AGAIN: Duration = Duration::from_secs(5);

pub(crate) type OnTrouble = Box<dyn Fn(String) + Send + Sync>;

/// The guard's side.
#[derive(Debug, Clone)]
pub(crate) struct Safe(Arc<Shared>);

struct Shared {
    pipe: PathBuf,
    guard: String,
    on_trouble: OnTrouble,
    content: Mutex<Content>,
    /// The connection; held while a message is sent and answered. `None`: there is no safe just now.
    link: Mutex<Link>,
    /// Rung when there is something for the thread to do.
    bell: OwnedHandle,
}

#[derive(Default)]
struct Content {
    deposits: BTreeMap<String, Deposit>,
    /// What the safe was not told yet.
    stale: BTreeSet<String>,
    ended: bool,
}

#[derive(Default)]
struct Link {
    connection: Option<Arc<Connection>>,
    tried: Option<Instant>,
}

/// A safe that is spoken to.
struct Connection {
    line: Line,
    /// Its process, whose end is waited for.
    process: OwnedHandle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Safe").field("pipe", &self.pipe).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Safe {
    pub(crate) fn is_left(pipe: &Path) -> bool {
        let Ok(name) = terminated(pipe) else { return false };
        // SAFETY: the name ends in a zero. One millisecond, since zero means a default.
        let free = unsafe { WaitNamedPipeW(name.as_ptr(), 1) } != 0;
        free || !is(&io::Error::last_os_error(), ERROR_FILE_NOT_FOUND)
    }

    pub(crate) fn open(pipe: &Path, guard: &str, on_trouble: OnTrouble) -> Result<(Safe, Vec<Deposit>), Error> {
        let failed = |what: &str, source: io::Error| Error::io(format!("{what} {}", pipe.display()), source);
        let (connection, deposits) = match dial(pipe) {
            Ok(connection) => match connection.ask_for_all() {
                Ok(deposits) => (connection, deposits),
                Err(error) => {
                    // What is in it would run on beside what this guard starts. With the safe the kernel ends it.
                    connection.put_down().map_err(|source| failed("end the safe that makes no sense at", source))?;
                    let new = begin(pipe, guard).map_err(|source| failed("begin the safe at", source))?;
                    on_trouble(format!(
                        "the process that kept programs over the end of the former guard could not be asked ({error}); \
                         it was ended, and they with it"
                    ));
                    (new, Vec::new())
                }
            },
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => {
                let connection = begin(pipe, guard).map_err(|source| failed("begin the safe at", source))?;
                (connection, Vec::new())
            }
            Err(source) => return Err(failed("reach the safe at", source)),
        };
        let bell = event().map_err(|source| Error::io("make a bell for the safe's thread", source))?;
        let known = deposits.iter().map(|deposit| (deposit.name.clone(), deposit.clone())).collect();
        let shared = Arc::new(Shared {
            pipe: pipe.to_owned(),
            guard: guard.to_owned(),
            on_trouble,
            content: Mutex::new(Content { deposits: known, ..Content::default() }),
            link: Mutex::new(Link { connection: Some(Arc::new(connection)), tried: None }),
            bell,
        });
        let of_thread = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("safe".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                while let Some(shared) = of_thread.upgrade() {
                    if !shared.turn() {
                        return;
                    }
                }
            })
            .map_err(|source| Error::io("start the safe's thread", source))?;
        Ok((Safe(shared), deposits))
    }

    pub(crate) fn keep(&self, deposit: Deposit) -> Result<(), Error> {
        let name = deposit.name.clone();
        let failed = |source| Error::io(format!("put {name} into the safe at {}", self.0.pipe.display()), source);
        // One that can never be sent would keep every later safe from being filled.
        message::look_at(&deposit).map_err(failed)?;
        lock(&self.0.content).deposits.insert(name.clone(), deposit.clone());
        self.0.send(&Message::Deposit(deposit)).map_err(|source| {
            self.0.later(&name);
            failed(source)
        })
    }

    pub(crate) fn keep_soon(&self, deposit: Deposit) {
        let name = deposit.name.clone();
        if let Err(error) = message::look_at(&deposit) {
            return (self.0.on_trouble)(format!("{name} cannot be put into the safe: {error}"));
        }
        lock(&self.0.content).deposits.insert(name.clone(), deposit);
        self.0.later(&name);
    }

    pub(crate) fn release(&self, name: &str) {
        let released = lock(&self.0.content).deposits.remove(name);
        // Its handles close here, which is not for under the lock.
        if released.is_some() {
            self.0.later(name);
        }
    }

    pub(crate) fn end(&self) {
        let mut content = lock(&self.0.content);
        content.ended = true;
        let all = std::mem::take(&mut content.deposits);
        drop(content);
        drop(all);
        // One that does not hear it is alone from now on, with nothing alive in it, and ends by itself.
        let _ = self.0.send(&Message::End);
        ring(&self.0.bell);
    }
}

impl Shared {
    fn later(&self, name: &str) {
        lock(&self.content).stale.insert(name.to_owned());
        ring(&self.bell);
    }

    /// Sends a message and waits until the safe has acted on it. A safe that does not answer in time is let go of.
    fn send(&self, message: &Message) -> io::Result<()> {
        let mut link = lock(&self.link);
        let connection = link.connection.clone().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        connection.line.tell(message).inspect_err(|_| {
            link.connection = None;
            ring(&self.bell);
        })
    }

    /// One turn of the thread: waits for the bell, or for the safe's end, and brings the safe up to date. Answers whether
    /// it goes on.
    fn turn(&self) -> bool {
        let connection = lock(&self.link).connection.clone();
        let Some(connection) = connection else {
            return self.renew();
        };
        let watched = [self.bell.as_raw_handle(), connection.process.as_raw_handle()];
        // SAFETY: both handles are open for the call, and as many as it says.
        let rung = unsafe { WaitForMultipleObjects(2, watched.as_ptr(), 0, INFINITE) };
        if lock(&self.content).ended {
            return false;
        }
        let gone = rung == WAIT_OBJECT_0 + 1;
        let up_to_date = !gone && self.bring_up_to_date().is_ok();
        if !up_to_date {
            let mut link = lock(&self.link);
            if link.connection.as_ref().is_some_and(|now| Arc::ptr_eq(now, &connection)) {
                link.connection = None;
            }
        }
        true
    }

    fn bring_up_to_date(&self) -> io::Result<()> {
        loop {
            let message = {
                let mut content = lock(&self.content);
                let Some(name) = content.stale.pop_first() else { return Ok(()) };
                match content.deposits.get(&name) {
                    Some(deposit) => Message::Deposit(deposit.clone()),
                    None => Message::Release(name),
                }
            };
            self.send(&message)?;
        }
    }

    /// Finds the safe again, or begins another, with the same content.
    fn renew(&self) -> bool {
        let tried = lock(&self.link).tried;
        if let Some(tried) = tried {
            std::thread::sleep(BEGIN_AGAIN.saturating_sub(tried.elapsed()));
        }
        if lock(&self.content).ended {
            return false;
        }
        lock(&self.link).tried = Some(Instant::now());
        let found = match dial(&self.pipe) {
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => begin(&self.pipe, &self.guard),
            found => found,
        };
        let renewed = found.and_then(|connection| {
            // Under the lock, so that nobody's deposit overtakes these.
            let mut link = lock(&self.link);
            let all: Vec<Deposit> = lock(&self.content).deposits.values().cloned().collect();
            for deposit in all {
                connection.line.tell(&Message::Deposit(deposit))?;
            }
            link.connection = Some(Arc::new(connection));
            Ok(())
        });
        (self.on_trouble)(match renewed {
            Ok(()) => "the process that keeps programs and their output over a crash of the guard had ended; there is \
                       another one"
                .to_owned(),
            Err(error) => format!(
                "the process that keeps programs and their output over a crash of the guard has ended, and no other could \
                 be begun: {error}; it is tried again"
            ),
        });
        true
    }
}

impl Connection {
    /// Everything that is in the safe.
    fn ask_for_all(&self) -> io::Result<Vec<Deposit>> {
        self.line.send(&Message::Tell.bytes()?, MESSAGE_WAIT)?;
        let mut deposits = Vec::new();
        let until = Instant::now() + TELL_WAIT;
        loop {
            let bytes = self.line.receive(Some(until.saturating_duration_since(Instant::now())))?;
            match Message::of(&bytes.ok_or(io::ErrorKind::UnexpectedEof)?, message::given)? {
                Message::Deposit(deposit) => deposits.push(deposit),
                Message::Told => return Ok(deposits),
                _ => return Err(message::damaged()),
            }
        }
    }
}

impl Connection {
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

fn begin(pipe: &Path, guard: &str) -> io::Result<Connection> {
    let program = std::env::current_exe()?;
    let words = [WORD.into(), guard.into(), pipe.as_os_str().to_owned()];
    let process = start_safe(&program, &words)?;
    let until = Instant::now() + BEGIN_WAIT;
    loop {
        match dial(pipe) {
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => {
                if super::container::members::has_ended(&process) {
                    return Err(io::Error::other("its process has ended at once; is another one's pipe of that name?"));
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

pub(crate) fn safe_main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.next()? != WORD {
        return None;
    }
    // The guard's name is for people who look at the list of processes.
    let pipe = args.nth(1).map(PathBuf::from);
    let kept = pipe.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)).and_then(|pipe| keeper::keep(&pipe));
    Some(if kept.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
