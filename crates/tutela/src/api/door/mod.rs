//! The door on TCP: the control API for those who come over the network.
//!
//! ```text
//!   spec ──prepare──> Prepared ──adopt──> the door's thread: accept ─> address ─> TLS ─> request
//!             │ files read, address bound        (`work`)                             │ rate, credentials, role
//!             └─> refused: the old one stays                                          └─> the same answers as the socket
//! ```
//!
//! Called by `run` at the start and by a reload: [`Door::prepare`] does everything that can fail and changes nothing,
//! [`Door::adopt`] cannot fail. So a certificate that cannot be used, or an address that is taken, changes nothing. What
//! is open stays open over a change, as long as who came in by it still may: [`gate`] is asked again and again.
//!
//! It has a thread of its own, begun with the first address: neither handshakes nor floods take time from probes, from
//! alerts or from the control socket. Everything that a stranger can make grow has a limit: connections, of all and of
//! one address, the time for a handshake and for a head, requests, failed attempts, and what is told of them.
//!
//! Deliberately absent: forwarded addresses. A header that says who somebody is can be written by anybody.

mod figures;
mod gate;
mod names;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod token;
mod work;

pub(super) use gate::Guest;
pub use tls::look;

use super::serve::Context;
use gate::{Gate, Policy};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tutela_core::spec::{ApiDoor, ApiSpec};

/// How long the end of the guard waits for the door's last answers: twice what the door gives them itself.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why a door cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The key of `[api]` that it is about.
    pub key: &'static str,
    /// What and why.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// A door that can be opened.
pub struct Prepared {
    /// `None`: there is to be none.
    open: Option<Open>,
}

/// An address that is listened at, and the rules for those who come.
#[derive(Clone)]
struct Open {
    listener: Arc<TcpListener>,
    /// As the spec has it; its port may be 0.
    wanted: SocketAddr,
    policy: Arc<Policy>,
}

/// See the module's text.
pub struct Door {
    gate: Arc<Gate>,
    open: watch::Sender<Option<Open>>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Door {
    /// A closed one. `tell` is given news in words and must not wait.
    pub fn new(tell: impl Fn(News) + Send + Sync + 'static) -> Door {
        Door { gate: Arc::new(Gate::new(Box::new(tell))), open: watch::Sender::new(None), thread: Mutex::new(None) }
    }

    /// What it counts.
    pub fn figures(&self) -> Arc<figures::Figures> {
        self.gate.figures.clone()
    }

    /// Does everything that can fail: reads the files and binds the address. Blocks for a disk. Nothing changes.
    ///
    /// # Errors
    /// A file or the address cannot be used.
    pub fn prepare(&self, spec: &ApiSpec) -> Result<Prepared, Refusal> {
        let Some(door) = &spec.door else { return Ok(Prepared { open: None }) };
        let policy = Arc::new(Policy::new(door)?);
        let old = self.open.borrow().as_ref().map(|old| (old.wanted, old.listener.clone()));
        let listener = match old {
            Some((wanted, listener)) if wanted == door.listen => listener,
            _ => Arc::new(bind(door)?),
        };
        Ok(Prepared { open: Some(Open { listener, wanted: door.listen, policy }) })
    }

    /// Takes in what was prepared.
    pub fn adopt(&self, prepared: Prepared, context: &Arc<Context>) {
        let is_wanted = prepared.open.is_some();
        let new_address = prepared.open.as_ref().and_then(|new| {
            let old = self.open.borrow();
            let is_same = old.as_ref().is_some_and(|old| Arc::ptr_eq(&old.listener, &new.listener));
            new.listener.local_addr().ok().filter(|_| !is_same).map(|at| (at, new.policy.door.tls.is_some()))
        });
        self.gate.adopt(prepared.open.as_ref().map(|open| open.policy.clone()));
        self.open.send_replace(prepared.open);
        if is_wanted {
            self.begin(context);
        }
        if let Some((at, secure)) = new_address {
            (self.gate.tell)(News::Listening { at, secure });
        }
    }

    /// Its thread, once.
    fn begin(&self, context: &Arc<Context>) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return;
        }
        let (stop, stopped) = oneshot::channel();
        let (gate, open, context) = (self.gate.clone(), self.open.subscribe(), context.clone());
        let begun =
            std::thread::Builder::new().name("door".into()).spawn(move || work::work(&gate, open, &context, stopped));
        match begun {
            Ok(begun) => *thread = Some((stop, begun)),
            Err(error) => {
                (self.gate.tell)(News::Trouble(format!("failed to start the thread of the API on TCP: {error}")));
            }
        }
    }

    /// Closes it, once the last answers are sent. Waits for that no longer than a second.
    pub fn end(&self) {
        let Some((stop, thread)) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        drop(stop);
        let until = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What is told of the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It listens.
    Listening {
        /// Where.
        at: SocketAddr,
        /// Whether within TLS.
        secure: bool,
    },
    /// Somebody was refused.
    Refused {
        /// From where, the last time.
        address: std::net::IpAddr,
        /// Why, the last time.
        why: &'static str,
        /// How many there were that were not told of.
        more: u64,
    },
    /// It met trouble.
    Trouble(String),
}

fn bind(door: &ApiDoor) -> Result<TcpListener, Refusal> {
    let bound = TcpListener::bind(door.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => "end what listens there, or choose another port",
            std::io::ErrorKind::AddrNotAvailable => "it is no address of this computer; 0.0.0.0 is every one of them",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 are for root; choose a higher one",
            _ => "choose another address or port",
        };
        let message = format!("the control API cannot listen at {}: {error}", door.listen);
        Refusal { key: "listen", message, help: help.to_owned() }
    })
}
