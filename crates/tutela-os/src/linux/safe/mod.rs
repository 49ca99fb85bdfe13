//! The safe on Linux: a process of this very program that holds descriptors, spoken to over a unix socket.
//!
//! - [`message`]: what the two say to each other;
//! - [`keeper`]: the safe's own side;
//! - here: the guard's.
//!
//! What is to be in the safe is noted in the guard too, so that a safe that was killed can be replaced by another with
//! the same content. Descriptors that were released are closed on both sides.

mod keeper;
mod message;
#[cfg(test)]
mod tests;

use super::address::Address;
use crate::Error;
use crate::safe::Deposit;
use message::Message;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The word that makes this program a safe.
const WORD: &str = "--keep-open-for";

/// The one variable that a safe has: whose it is.
const OF: &str = "TUTELA_SAFE_OF";

/// How long one message may wait for the other side, which does nothing but take messages.
const MESSAGE_WAIT: Duration = Duration::from_secs(1);

/// How long all of a safe's content may take to be told. A computer that cannot tell some ten thousand descriptors
/// within this has other troubles.
const TELL_WAIT: Duration = Duration::from_secs(10);

/// How long a new safe may take until it answers: some milliseconds, and seconds where a computer boots.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// The pause between two safes that are begun: where one cannot live, trying without a pause would cost the programs
/// their processor.
const BEGIN_AGAIN: Duration = Duration::from_secs(5);

/// Connections that wait: there is one guard, and the one that takes its place.
const BACKLOG: i32 = 4;

pub(crate) type OnTrouble = Box<dyn Fn(String) + Send + Sync>;

/// The guard's side.
#[derive(Debug, Clone)]
pub(crate) struct Safe(Arc<Shared>);

struct Shared {
    socket: PathBuf,
    guard: String,
    on_trouble: OnTrouble,
    content: Mutex<Content>,
    /// The connection; held while a message is sent. `None`: there is no safe just now.
    line: Mutex<Line>,
    /// Rung when there is something for the thread to do.
    bell: OwnedFd,
}

#[derive(Default)]
struct Content {
    deposits: BTreeMap<String, Deposit>,
    /// What the safe was not told yet.
    stale: BTreeSet<String>,
    ended: bool,
}

#[derive(Default)]
struct Line {
    connection: Option<Arc<OwnedFd>>,
    tried: Option<Instant>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Safe").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Safe {
    pub(crate) fn is_left(socket: &Path) -> bool {
        socket.exists()
    }

    pub(crate) fn open(socket: &Path, guard: &str, on_trouble: OnTrouble) -> Result<(Safe, Vec<Deposit>), Error> {
        let failed = |what: &str, source: io::Error| Error::io(format!("{what} {}", socket.display()), source);
        let (connection, deposits) = match take_over(socket) {
            Some(taken) => taken,
            None => {
                let connection = begin(socket, guard).map_err(|source| failed("begin the safe at", source))?;
                (connection, Vec::new())
            }
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("make a bell for the safe's thread", errno))?;
        let known = deposits.iter().map(|deposit| (deposit.name.clone(), deposit.clone())).collect();
        let shared = Arc::new(Shared {
            socket: socket.to_owned(),
            guard: guard.to_owned(),
            on_trouble,
            content: Mutex::new(Content { deposits: known, ..Content::default() }),
            line: Mutex::new(Line { connection: Some(Arc::new(connection)), tried: None }),
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
        let failed = |source| Error::io(format!("put {name} into the safe at {}", self.0.socket.display()), source);
        // One that can never be sent would keep every later safe from being filled.
        message::look_at(&deposit).map_err(failed)?;
        let message = Message::Deposit(deposit.clone());
        lock(&self.0.content).deposits.insert(name.clone(), deposit);
        self.0.send(&message).map_err(|source| {
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
        if lock(&self.0.content).deposits.remove(name).is_some() {
            self.0.later(name);
        }
    }

    pub(crate) fn end(&self) {
        let mut content = lock(&self.0.content);
        content.ended = true;
        content.deposits.clear();
        drop(content);
        // One that does not hear it is alone from now on, with nothing alive in it, and ends by itself.
        let _ = self.0.send(&Message::End);
        let _ = std::fs::remove_file(&self.0.socket);
        self.0.ring();
    }
}

impl Shared {
    fn later(&self, name: &str) {
        lock(&self.content).stale.insert(name.to_owned());
        self.ring();
    }

    fn ring(&self) {
        // Full is rung.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        let line = lock(&self.line);
        let connection = line.connection.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        message::send(connection.as_fd(), message)
    }

    /// One turn of the thread: waits for the bell, or for the safe's end, and brings the safe up to date. Answers whether
    /// it goes on.
    fn turn(&self) -> bool {
        let connection = lock(&self.line).connection.clone();
        let Some(connection) = connection else {
            return self.renew();
        };
        let mut watched = [PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&*connection, PollFlags::IN)];
        let _ = poll(&mut watched, None);
        let gone = !watched[1].revents().is_empty();
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        if lock(&self.content).ended {
            return false;
        }
        // It says nothing by itself: what can be read is its end.
        let up_to_date = !gone && self.bring_up_to_date().is_ok();
        if !up_to_date {
            lock(&self.line).connection = None;
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

    /// Begins another safe with the same content.
    fn renew(&self) -> bool {
        let tried = lock(&self.line).tried;
        if let Some(tried) = tried {
            std::thread::sleep(BEGIN_AGAIN.saturating_sub(tried.elapsed()));
        }
        if lock(&self.content).ended {
            return false;
        }
        lock(&self.line).tried = Some(Instant::now());
        let renewed = begin(&self.socket, &self.guard).and_then(|connection| {
            // Under the lock, so that nobody's deposit overtakes these.
            let mut line = lock(&self.line);
            let all: Vec<Deposit> = lock(&self.content).deposits.values().cloned().collect();
            for deposit in all {
                message::send(connection.as_fd(), &Message::Deposit(deposit))?;
            }
            line.connection = Some(Arc::new(connection));
            Ok(())
        });
        (self.on_trouble)(match renewed {
            Ok(()) => {
                "the process that keeps programs' output open over a crash of the guard had ended; there is another one"
                    .to_owned()
            }
            Err(error) => format!(
                "the process that keeps programs' output open over a crash of the guard has ended, and no other could be \
                 begun: {error}; it is tried again"
            ),
        });
        true
    }
}

/// The safe that an earlier guard left, and what is in it.
fn take_over(socket: &Path) -> Option<(OwnedFd, Vec<Deposit>)> {
    let connection = dial(socket).ok()?;
    // A stranger's would hand us descriptors of its own making.
    if !is_own(connection.as_fd()) {
        return None;
    }
    message::send(connection.as_fd(), &Message::Tell).ok()?;
    let mut deposits = Vec::new();
    let until = Instant::now() + TELL_WAIT;
    loop {
        match message::receive(connection.as_fd()) {
            Ok(Some(Message::Deposit(deposit))) => deposits.push(deposit),
            Ok(Some(Message::Told)) => return Some((connection, deposits)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
        if Instant::now() > until {
            return None;
        }
    }
}

/// A socket on which a safe can listen, in place of one that nobody listens on any more.
fn listen_at(socket: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let address = Address::of(socket)?;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&listener, &SocketAddrUnix::new(&address.path)?)?;
    // Before it listens. Who connects is looked at all the same.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn begin(socket: &Path, guard: &str) -> io::Result<OwnedFd> {
    let listener = listen_at(socket)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tutela").args([WORD, guard]).env_clear().current_dir("/");
    // Nothing of it is read. A process without any looks like one that is only being made.
    command.env(OF, guard);
    command.stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    // Whoever reaps this guard's children collects it.
    drop(command.spawn()?);
    let until = Instant::now() + BEGIN_WAIT;
    loop {
        match dial(socket) {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn dial(socket: &Path) -> io::Result<OwnedFd> {
    let address = Address::of(socket)?;
    let connection = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bound_waits(connection.as_fd());
    connect(&connection, &SocketAddrUnix::new(&address.path)?)?;
    Ok(connection)
}

/// Nobody waits for the other side for ever.
fn bound_waits(connection: BorrowedFd<'_>) {
    // Without them a side that hangs would hold up a thread that has nothing else to do.
    let _ = set_socket_timeout(connection, Timeout::Send, Some(MESSAGE_WAIT));
    let _ = set_socket_timeout(connection, Timeout::Recv, Some(TELL_WAIT));
}

/// Whether who is at the other end has this process's account, or is root.
fn is_own(connection: BorrowedFd<'_>) -> bool {
    socket_peercred(connection).is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Whether the process behind this descriptor has ended.
pub(crate) fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(&process, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok() && !watched[0].revents().is_empty()
}

pub(crate) fn safe_main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.next()? != WORD {
        return None;
    }
    // Its own session: what a terminal tells the guard's group is not for it. That it leads one already is as good.
    let _ = rustix::process::setsid();
    let listener = std::io::stdin().as_fd().try_clone_to_owned();
    Some(match listener.and_then(keeper::keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
