//! The safe on Linux: a process of this very program that holds descriptors, spoken to over a unix socket.
//!
//! - [`message`]: how a message and its descriptors get there;
//! - [`keeper`]: the safe's own side;
//! - here: what the guard's side, [`crate::safe::link`], needs to reach it.

mod keeper;
mod message;
#[cfg(test)]
pub(crate) mod tests;

use super::address::Address;
use super::bell::silence;
use crate::Error;
use crate::safe::link::{BEGIN_PAUSE, BEGIN_WAIT, Link, MESSAGE_WAIT, TELL_WAIT, WORD};
use crate::safe::message::Message;
use crate::safe::{Deposit, OnTrouble};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// The one variable that a safe has: whose it is.
const OF: &str = "TUTELA_SAFE_OF";

/// Connections that wait: there is one guard, and the one that takes its place.
const BACKLOG: i32 = 4;

/// The guard's side, which has a socket.
pub(crate) type Safe = crate::safe::link::Safe<OwnedFd>;

pub(crate) fn is_left(socket: &Path) -> bool {
    socket.exists()
}

impl Link for OwnedFd {
    const KEEPS: &str = "programs' output open";
    const LOST_WITH_A_MESSAGE: bool = false;

    type Bell = OwnedFd;

    fn bell() -> io::Result<OwnedFd> {
        Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
    }

    fn ring(bell: &OwnedFd) {
        // Full is rung.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    }

    fn wait(&self, bell: &OwnedFd) -> bool {
        let mut watched = [PollFd::new(bell, PollFlags::IN), PollFd::new(self, PollFlags::IN)];
        let _ = poll(&mut watched, None);
        // A safe says nothing by itself: what can be read is its end.
        let gone = !watched[1].revents().is_empty();
        // That it did not ring is as good.
        let _ = silence(bell.as_fd());
        gone
    }

    fn take_over(socket: &Path, _: &OnTrouble) -> Result<Option<(OwnedFd, Vec<Deposit>)>, Error> {
        Ok(take_over(socket))
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
                Err(_) => std::thread::sleep(BEGIN_PAUSE),
            }
        }
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        message::send(self.as_fd(), message)
    }

    fn remove(socket: &Path) {
        // One that stays is found to be nobody's.
        let _ = std::fs::remove_file(socket);
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
