//! The guard's side of a request to stop: a short-lived process of this very program carries it over, because
//! a console event can be sent only by who is attached to the console, and to attach the guard would mean to
//! let go of the console and the streams that it has. See [`super::console`] for the other side.
//!
//! Requests wait in a queue for a few threads, which live only as long as there is something to do. Nothing
//! here makes the conductor wait, and a messenger that does not come back is ended.

use super::console::{BAD_WORDS, DENIED, FAILED, GONE, NO_CONSOLE, NO_WINDOW, SENT, word_of};
use super::{console, launch};
use crate::platform::container::members;
use crate::process::{Asked, Delivery, StopRequest};
use crate::{Error, Unsupported};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{GetExitCodeProcess, TerminateProcess, WaitForSingleObject};

/// How long a messenger may take: it works for milliseconds, and half a second where a program has only just
/// begun; the rest is for a computer that swaps.
const MESSENGER_MILLIS_MAX: u32 = 5_000;

/// Messengers at a time. They mostly wait for the OS to make their process, and there are seldom more
/// processors than this to spare.
const THREADS_MAX: usize = 4;

/// Requests that may wait. Every instance has at most one under way; the schema allows 10,000 instances.
const WAITING_MAX: usize = 16_384;

/// The most processes that one messenger is sent to: their numbers have to fit on its command line.
const PIDS_MAX: usize = 1_024;

/// What a messenger ends with that the event itself has ended, on Windows and on Wine: it was sent, then. A messenger
/// does not end with these by itself.
const ENDED_BY_THE_EVENT: [u32; 2] = [0xc000_013a, 1];

/// A request on its way.
pub(crate) struct Messenger {
    /// Whose consoles or windows.
    pub(super) pids: Vec<u32>,
    pub(super) request: StopRequest,
    /// The process whose console it is about. Open, its number is not given to another one before the messenger
    /// is there.
    pub(super) process: Option<Arc<OwnedHandle>>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { waiting: VecDeque::new(), threads: 0 });

struct Queue {
    waiting: VecDeque<(Messenger, oneshot::Sender<Result<Delivery, Error>>)>,
    threads: usize,
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the windows of another account's programs are not asked to close: a messenger sees those of its own window
/// station alone, and the OS makes one for every login.
pub(crate) fn windows_out_of_reach() -> Unsupported {
    let reason = "a program with a user of its own has its windows on a window station of their own, which the guard \
                  does not see; take this step out of its ladder, or give the whole guard the account";
    Unsupported::new(word_of(StopRequest::CloseWindow), reason)
}

/// Sends a messenger. Never waits.
pub(super) fn deliver(messenger: Messenger) -> Asked {
    let (tell, told) = oneshot::channel();
    let mut queue = queue();
    if queue.waiting.len() >= WAITING_MAX {
        let refusal = format!("{WAITING_MAX} requests to stop wait to be carried over already");
        return Asked::done(Err(Error::Refused(refusal)));
    }
    queue.waiting.push_back((messenger, tell));
    if queue.threads < THREADS_MAX {
        let thread = std::thread::Builder::new().name("messenger".into()).stack_size(128 * 1024).spawn(work);
        match thread {
            Ok(_) => queue.threads += 1,
            // With another thread at work the request only waits longer.
            Err(error) if queue.threads == 0 => {
                queue.waiting.pop_back();
                return Asked::done(Err(Error::io("start a thread for a request to stop", error)));
            }
            Err(_) => {}
        }
    }
    Asked::later(told)
}

fn work() {
    loop {
        let mut open = queue();
        let Some((messenger, tell)) = open.waiting.pop_front() else {
            open.threads -= 1;
            return;
        };
        drop(open);
        // Whoever asked may have lost interest.
        let told = deliver_and_wait(&messenger.pids, messenger.request);
        // To a process that has ended meanwhile there was nothing to carry.
        let over = messenger.process.is_some_and(|process| members::has_ended(&process));
        let _ = tell.send(if over { Ok(Delivery::Made) } else { told });
    }
}

/// Sends a messenger and waits until it is back. An error: nobody heard it.
pub(crate) fn deliver_and_wait(pids: &[u32], request: StopRequest) -> Result<Delivery, Error> {
    let word = word_of(request);
    let failed = |source| Error::io(format!("carry a {word} over"), source);
    let program = std::env::current_exe().map_err(failed)?;
    let numbers: Vec<String> = pids.iter().take(PIDS_MAX).map(u32::to_string).collect();
    let words: [OsString; 4] = [program.clone().into(), console::CUE.into(), numbers.join(",").into(), word.into()];
    let process = launch::start_messenger(&program, &words).map_err(failed)?;
    let code = match code_of(&process) {
        Ok(code) => code,
        // It was on its way, and how far it came is not known.
        Err(error) => return Ok(Delivery::Unsure(failed(error))),
    };
    match code {
        // A process that has ended needs no request.
        SENT | GONE => Ok(Delivery::Made),
        NO_CONSOLE => {
            let reason = "the program has no console; it may have windows (close-window) or need a command";
            Err(Error::Unsupported(Unsupported::new(word, reason)))
        }
        NO_WINDOW => Err(Error::Unsupported(Unsupported::new(word, "no process of the program has a window"))),
        DENIED => Err(failed(io::Error::from(io::ErrorKind::PermissionDenied))),
        FAILED | BAD_WORDS => Err(failed(io::Error::other(format!("the messenger ended with {code}")))),
        // No end of its own: somebody else ended it, before or after it was there.
        code => Ok(Delivery::Unsure(failed(io::Error::other(format!("the messenger ended with {code}"))))),
    }
}

/// How the messenger ended, in its own words.
fn code_of(process: &OwnedHandle) -> io::Result<u8> {
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    if unsafe { WaitForSingleObject(process.as_raw_handle(), MESSENGER_MILLIS_MAX) } != WAIT_OBJECT_0 {
        // SAFETY: as above. It is ours and does nothing for the guard any more.
        unsafe { TerminateProcess(process.as_raw_handle(), u32::MAX) };
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    let mut code = 0;
    // SAFETY: the handle is open for the call, which writes one number that is ours.
    crate::platform::wide::done(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) })?;
    if ENDED_BY_THE_EVENT.contains(&code) {
        return Ok(SENT);
    }
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
