//! The guard's side of the safe, the same wherever there is one.
//!
//! What is to be in the safe is noted here too, so that a safe that was killed can be replaced by another with the same
//! content. What was released is closed on both sides. A thread named `safe` says what nobody waits for, and sees to it
//! that there is a safe.
//!
//! Used by [`super::Safe`], through the folder of the OS, which has the rest: how the two are linked, a [`Link`], and the
//! safe's own process.

#[cfg(test)]
pub(crate) mod tests;

use super::message::{self, Message};
use super::{Deposit, OnTrouble};
use crate::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The word that makes this program a safe.
pub(crate) const WORD: &str = "--keep-open-for";

/// How long one message may wait for the other side, which does nothing but take messages.
pub(crate) const MESSAGE_WAIT: Duration = Duration::from_secs(1);

/// How long all of a safe's content may take to be told. A computer that cannot tell some ten thousand handles within
/// this has other troubles.
pub(crate) const TELL_WAIT: Duration = Duration::from_secs(10);

/// How long a new safe may take until it answers: some milliseconds, and seconds where a computer boots. Also how long
/// one may take to see that its former guard is gone.
pub(crate) const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// How long between two tries to reach it.
pub(crate) const BEGIN_PAUSE: Duration = Duration::from_millis(5);

/// The pause between two safes that are begun: where one cannot live, trying without a pause would cost the programs
/// their processor.
const BEGIN_AGAIN: Duration = Duration::from_secs(5);

/// A connection to a safe that is there.
pub(crate) trait Link: Sized + Send + Sync + 'static {
    /// What the safe keeps, for people.
    const KEEPS: &str;

    /// Whether a message that fails costs the connection at once. So it is where messages are answered: a late answer
    /// would be taken for that of the next message. Elsewhere the thread first sends it again, since what passes by
    /// itself should not cost a safe that lives.
    const LOST_WITH_A_MESSAGE: bool;

    /// What wakes a thread that waits for the safe's end.
    type Bell: Send + Sync + 'static;

    /// A bell that is silent.
    fn bell() -> io::Result<Self::Bell>;

    /// Rings it. Once rung it stays so until somebody has waited for it.
    fn ring(bell: &Self::Bell);

    /// Waits for the bell or the safe's end, and silences the bell. Answers whether the safe has ended.
    fn wait(&self, bell: &Self::Bell) -> bool;

    /// Takes over the safe that is at `place`, with what is in it. `None`: there is none, and one may begin.
    fn take_over(place: &Path, on_trouble: &OnTrouble) -> Result<Option<(Self, Vec<Deposit>)>, Error>;

    /// Begins an empty one at `place`.
    fn begin(place: &Path, guard: &str) -> io::Result<Self>;

    /// Begins another one at `place`. Where the former may still be there, finds it again.
    fn renew(place: &Path, guard: &str) -> io::Result<Self> {
        Self::begin(place, guard)
    }

    /// Refuses a deposit that no message can carry.
    fn look_at(deposit: &Deposit) -> io::Result<()> {
        message::look_at(deposit)
    }

    /// Sends a message; waits [`MESSAGE_WAIT`] at the most.
    fn send(&self, message: &Message) -> io::Result<()>;

    /// Removes what stays of a safe that has ended.
    fn remove(place: &Path);
}

/// The guard's side.
pub(crate) struct Safe<L: Link> {
    place: PathBuf,
    guard: String,
    on_trouble: OnTrouble,
    content: Mutex<Content>,
    /// Held while a message is sent. `None`: there is no safe just now.
    link: Mutex<Option<Arc<L>>>,
    /// Rung when there is something for the thread to do.
    bell: L::Bell,
}

#[derive(Default)]
struct Content {
    deposits: BTreeMap<String, Deposit>,
    /// What the safe was not told yet.
    stale: BTreeSet<String>,
    ended: bool,
}

impl Content {
    /// Everything, for a new safe, and with it what of this was not told yet. Not so what is to be released: where the
    /// same safe is found again, it still has that.
    fn all_anew(&mut self) -> Vec<Deposit> {
        self.stale.retain(|name| !self.deposits.contains_key(name));
        self.deposits.values().cloned().collect()
    }
}

impl<L: Link> std::fmt::Debug for Safe<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Safe").field("place", &self.place).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Link> Safe<L> {
    pub(crate) fn open(
        place: &Path,
        guard: &str,
        on_trouble: OnTrouble,
    ) -> Result<(Arc<Safe<L>>, Vec<Deposit>), Error> {
        let (link, deposits) = match L::take_over(place, &on_trouble)? {
            Some(taken) => taken,
            None => (L::begin(place, guard).map_err(|source| failed("begin the safe at", place, source))?, Vec::new()),
        };
        let known = deposits.iter().map(|deposit| (deposit.name.clone(), deposit.clone())).collect();
        let safe = Arc::new(Safe {
            place: place.to_owned(),
            guard: guard.to_owned(),
            on_trouble,
            content: Mutex::new(Content { deposits: known, ..Content::default() }),
            link: Mutex::new(Some(Arc::new(link))),
            bell: L::bell().map_err(|source| Error::io("make a bell for the safe's thread", source))?,
        });
        let of_thread = Arc::downgrade(&safe);
        std::thread::Builder::new()
            .name("safe".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                let mut tried = None;
                while of_thread.upgrade().is_some_and(|safe: Arc<Safe<L>>| safe.turn(&mut tried)) {}
            })
            .map_err(|source| Error::io("start the safe's thread", source))?;
        Ok((safe, deposits))
    }

    pub(crate) fn keep(&self, deposit: Deposit) -> Result<(), Error> {
        let name = deposit.name.clone();
        let failed = |source| failed(&format!("put {name} into the safe at"), &self.place, source);
        // One that can never be sent would keep every later safe from being filled.
        L::look_at(&deposit).map_err(failed)?;
        lock(&self.content).deposits.insert(name.clone(), deposit.clone());
        self.send(&Message::Deposit(deposit)).map_err(|source| {
            self.later(&name);
            failed(source)
        })
    }

    pub(crate) fn keep_soon(&self, deposit: Deposit) {
        let name = deposit.name.clone();
        if let Err(error) = L::look_at(&deposit) {
            return (self.on_trouble)(format!("{name} cannot be put into the safe: {error}"));
        }
        lock(&self.content).deposits.insert(name.clone(), deposit);
        self.later(&name);
    }

    pub(crate) fn release(&self, name: &str) {
        let released = lock(&self.content).deposits.remove(name);
        // Its handles close here, which is not for under the lock.
        if released.is_some() {
            self.later(name);
        }
    }

    pub(crate) fn end(&self) {
        let mut content = lock(&self.content);
        content.ended = true;
        let all = std::mem::take(&mut content.deposits);
        drop(content);
        drop(all);
        // One that does not hear it is alone from now on, with nothing alive in it, and ends by itself.
        let _ = self.send(&Message::End);
        L::remove(&self.place);
        L::ring(&self.bell);
    }

    fn later(&self, name: &str) {
        lock(&self.content).stale.insert(name.to_owned());
        L::ring(&self.bell);
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        let mut link = lock(&self.link);
        let sent = link.as_ref().ok_or(io::ErrorKind::NotConnected)?.send(message);
        if sent.is_err() && L::LOST_WITH_A_MESSAGE {
            *link = None;
            L::ring(&self.bell);
        }
        sent
    }

    /// One turn of the thread: waits for the bell, or for the safe's end, and brings the safe up to date. Answers whether
    /// it goes on. `tried` is when it last had to see to another safe.
    fn turn(&self, tried: &mut Option<Instant>) -> bool {
        let Some(link) = lock(&self.link).clone() else {
            return self.renew(tried);
        };
        let gone = link.wait(&self.bell);
        if lock(&self.content).ended {
            return false;
        }
        if gone || self.bring_up_to_date().is_err() {
            lock(&self.link).take_if(|now| Arc::ptr_eq(now, &link));
        }
        true
    }

    fn bring_up_to_date(&self) -> io::Result<()> {
        loop {
            let (name, message) = {
                let mut content = lock(&self.content);
                let Some(name) = content.stale.pop_first() else { return Ok(()) };
                let message = match content.deposits.get(&name) {
                    Some(deposit) => Message::Deposit(deposit.clone()),
                    None => Message::Release(name.clone()),
                };
                (name, message)
            };
            self.send(&message).inspect_err(|_| {
                // Where the same safe is found again, it still has what was to be released.
                lock(&self.content).stale.insert(name);
            })?;
        }
    }

    /// Sees to another safe with the same content. Answers whether the thread goes on.
    fn renew(&self, tried: &mut Option<Instant>) -> bool {
        if let Some(tried) = tried {
            std::thread::sleep(BEGIN_AGAIN.saturating_sub(tried.elapsed()));
        }
        if lock(&self.content).ended {
            return false;
        }
        *tried = Some(Instant::now());
        let renewed = L::renew(&self.place, &self.guard).and_then(|new| {
            // Under the lock, so that nobody's deposit overtakes these.
            let mut link = lock(&self.link);
            let all = lock(&self.content).all_anew();
            for deposit in all {
                new.send(&Message::Deposit(deposit))?;
            }
            *link = Some(Arc::new(new));
            Ok(())
        });
        let process = format!("the process that keeps {} over a crash of the guard", L::KEEPS);
        (self.on_trouble)(match renewed {
            Ok(()) => format!("{process} had ended; there is another one"),
            Err(error) => format!("{process} has ended, and no other could be begun: {error}; it is tried again"),
        });
        true
    }
}

/// The error of a step that has to do with the safe at `place`.
pub(crate) fn failed(what: &str, place: &Path, source: io::Error) -> Error {
    Error::io(format!("{what} {}", place.display()), source)
}
