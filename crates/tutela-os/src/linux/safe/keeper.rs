//! The safe's own process: a loop over a socket, a connection and the processes of the programs in it.
//!
//! It trusts who has the guard's account, and nobody else. One guard speaks to it at a time; a new connection takes the
//! place of the one before, which is that of a guard that died.

use super::message;
use crate::safe::Deposit;
use crate::safe::message::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a safe without a guard outlives the last program in it: as long as a host may take to start the next guard,
/// which then still gets the programs' last lines.
const WAIT_FOR_GUARD: Duration = Duration::from_secs(120);

struct Keeper {
    listener: OwnedFd,
    guard: Option<OwnedFd>,
    deposits: BTreeMap<String, Deposit>,
    /// Since when nobody needs it.
    idle_since: Option<Instant>,
}

/// Keeps until it is told to end, or until nobody can want it any more.
pub(super) fn keep(listener: OwnedFd) -> io::Result<()> {
    let mut keeper = Keeper { listener, guard: None, deposits: BTreeMap::new(), idle_since: Some(Instant::now()) };
    while keeper.turn()? {}
    Ok(())
}

impl Keeper {
    /// Answers whether it goes on.
    fn turn(&mut self) -> io::Result<bool> {
        let (heard, knocked) = self.wait()?;
        // What a guard said last is heard before another one takes its place.
        if heard {
            return Ok(self.hear());
        }
        if knocked
            && let Ok(guard) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC)
            && super::is_own(guard.as_fd())
        {
            super::bound_waits(guard.as_fd());
            self.guard = Some(guard);
            return Ok(true);
        }
        Ok(self.is_needed())
    }

    /// Waits for something to happen: a message, a guard, the end of a program while there is no guard.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let living = if self.guard.is_none() { self.living() } else { Vec::new() };
        let timeout = match (&self.guard, living.is_empty()) {
            (None, true) => Some(Timespec { tv_sec: 1, tv_nsec: 0 }),
            _ => None,
        };
        let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
        watched.extend(self.guard.iter().map(|guard| PollFd::new(guard, PollFlags::IN)));
        let own = watched.len();
        watched.extend(living.iter().map(|process| PollFd::new(*process, PollFlags::IN)));
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| watched.get(at).is_some_and(|it| !it.revents().is_empty());
        Ok((own == 2 && ready(1), ready(0)))
    }

    /// The processes of programs that have not ended.
    fn living(&self) -> Vec<&OwnedFd> {
        let programs = self.deposits.values().filter(|deposit| deposit.program().is_some());
        let processes = programs.filter_map(|deposit| deposit.handles.first()).map(|handle| &*handle.0.0);
        processes.filter(|process| !super::has_ended(process.as_fd())).collect()
    }

    /// Hears all that the guard has said by now. Answers whether the safe goes on.
    fn hear(&mut self) -> bool {
        while let Some(guard) = &self.guard {
            match message::receive_waiting(guard.as_fd()) {
                Ok(Some(Message::Deposit(deposit))) => drop(self.deposits.insert(deposit.name.clone(), deposit)),
                Ok(Some(Message::Release(name))) => drop(self.deposits.remove(&name)),
                Ok(Some(Message::Tell)) => self.tell(),
                Ok(Some(Message::End)) => return false,
                Ok(Some(Message::Told | Message::Done)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // One that is gone, or does not make sense: the next one is waited for.
                Ok(None) | Err(_) => self.guard = None,
            }
        }
        true
    }

    fn tell(&mut self) {
        let Some(guard) = &self.guard else { return };
        let all = self.deposits.values().cloned().map(Message::Deposit).chain([Message::Told]);
        for message in all {
            if message::send(guard.as_fd(), &message).is_err() {
                self.guard = None;
                return;
            }
        }
    }

    fn is_needed(&mut self) -> bool {
        if self.guard.is_some() || !self.living().is_empty() {
            self.idle_since = None;
            return true;
        }
        self.idle_since.get_or_insert_with(Instant::now).elapsed() < WAIT_FOR_GUARD
    }
}
