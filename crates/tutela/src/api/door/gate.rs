//! Who comes in: addresses, rates, tokens and certificates, by the rules of the spec that is in force.
//!
//! Asked for each connection and each request, and again from time to time for connections that are open: a token that is
//! taken away ends what was opened with it. Deliberately absent: waiting. Every answer is there at once.

use super::figures::{Figures, Why};
use super::tls::secured;
use super::token::{hash_of, is_same};
use super::{News, Refusal};
use crate::audit::Asker;
use hyper::header::{self, HeaderMap};
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tutela_core::access::{Buckets, Rate, RatePer, Role, site_of};
use tutela_core::spec::{API_RATE, ApiDoor};
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_schema::audit::AuditPeer;

/// Connections at a time, of everybody together. A fleet's control node, a scraper and some operators are a dozen; each
/// takes some 50 KiB. Above this, others are closed at once.
pub(super) const CONNECTIONS_MAX: u64 = 512;

/// Of those, connections of one address: it cannot keep the others out.
pub(super) const CONNECTIONS_OF_ONE_MAX: u32 = 64;

/// Failed attempts of one address that are answered as such. Past it they are answered with 429, and are not looked at
/// more closely than it takes to let in whoever shares that address and has what it needs.
const FAILURES: Rate = Rate { count: 10, per: RatePer::Minute };

/// How often refusals are told of: the first at once, the others as a number.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The rules that are in force.
pub(super) struct Policy {
    pub(super) door: ApiDoor,
    /// `None`: plain HTTP.
    pub(super) acceptor: Option<TlsAcceptor>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Policy {
    /// Reads the files.
    pub(super) fn new(door: &ApiDoor) -> Result<Policy, Refusal> {
        let secured = door.tls.as_ref().map(secured).transpose()?;
        let (acceptor, verifier) = match secured {
            Some(secured) => (Some(TlsAcceptor::from(secured.config)), secured.verifier),
            None => (None, None),
        };
        Ok(Policy { door: door.clone(), acceptor, verifier })
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.door.allow.is_empty() || self.door.allow.iter().any(|range| range.contains(address))
    }

    /// Whether a client's certificates are still good: its authority may be another one since, and time goes on.
    fn believes(&self, shown: &[CertificateDer<'static>]) -> bool {
        let Some(verifier) = &self.verifier else { return true };
        shown
            .split_first()
            .is_some_and(|(own, others)| verifier.verify_client_cert(own, others, UnixTime::now()).is_ok())
    }

    fn by_token(&self, token: &[u8], now: i64) -> Option<Pass> {
        let hash = hash_of(token);
        let mut found = None;
        // To the end whatever is found, so that the time tells nothing about the order.
        for token in &self.door.tokens {
            if is_same(&token.hash, &hash) && token.expires.is_none_or(|expires| now < expires) {
                found = Some(Pass { name: token.name.to_string(), role: token.role, hash: Some(hash) });
            }
        }
        found
    }

    fn by_certificate(&self, names: &[String]) -> Option<Pass> {
        let entry = self.door.certificates.iter().find(|entry| names.contains(&entry.name))?;
        Some(Pass { name: entry.name.clone(), role: entry.role, hash: None })
    }

    /// Whether who has it would still get one that is no less.
    fn still_gives(&self, pass: &Pass, names: &[String], now: i64) -> bool {
        let again = match &pass.hash {
            Some(hash) => self.door.tokens.iter().find(|token| is_same(&token.hash, hash)).and_then(|token| {
                let holds = token.expires.is_none_or(|expires| now < expires);
                holds.then_some(token.role)
            }),
            None => self.by_certificate(names).map(|again| again.role),
        };
        again.is_some_and(|role| role.covers(pass.role))
    }
}

/// What somebody came in with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pass {
    name: String,
    role: Role,
    /// Of the token; `None`: a certificate.
    hash: Option<[u8; 32]>,
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub(in crate::api) struct Guest {
    /// What they may do.
    pub(in crate::api) role: Role,
    name: String,
    is_token: bool,
    address: SocketAddr,
}

impl Guest {
    /// For the record.
    pub(in crate::api) fn asker(&self) -> Asker {
        let what = if self.is_token { "token" } else { "certificate" };
        let by = format!("{} ({what}, {})", self.name, self.address.ip());
        let name = Some(self.name.clone());
        let (token, certificate) = if self.is_token { (name, None) } else { (None, name) };
        let address = Some(self.address.to_string());
        Asker::of_network(by, AuditPeer { token, certificate, address, ..AuditPeer::default() })
    }

    /// In words.
    pub(in crate::api) fn words(&self) -> String {
        format!("{} {}", if self.is_token { "the token" } else { "the certificate" }, self.name)
    }
}

/// One connection, once its handshake is through.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    /// The certificates that the client showed, its own first.
    shown: Vec<CertificateDer<'static>>,
    /// Their names.
    names: Vec<String>,
    /// What was come in with last.
    pass: Mutex<Option<Pass>>,
}

impl Link {
    pub(super) fn new(address: SocketAddr, shown: Vec<CertificateDer<'static>>) -> Link {
        let names = shown.first().map(super::names::names_of).unwrap_or_default();
        Link { address, shown, names, pass: Mutex::new(None) }
    }
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Nobody knows who it is.
    Unknown,
    /// Too often; so long until the next.
    TooOften(Duration),
}

#[derive(Debug, Default)]
struct Telling {
    since: Option<Moment>,
    untold: u64,
}

/// See the module's text.
pub(super) struct Gate {
    pub(super) figures: Arc<Figures>,
    pub(super) tell: Box<dyn Fn(News) + Send + Sync>,
    policy: RwLock<Option<Arc<Policy>>>,
    requests: Mutex<Buckets>,
    failures: Mutex<Buckets>,
    seats: Mutex<BTreeMap<IpAddr, u32>>,
    telling: Mutex<Telling>,
}

impl Gate {
    pub(super) fn new(tell: Box<dyn Fn(News) + Send + Sync>) -> Gate {
        Gate {
            figures: Arc::default(),
            tell,
            policy: RwLock::new(None),
            requests: Mutex::new(Buckets::new(API_RATE)),
            failures: Mutex::new(Buckets::new(FAILURES)),
            seats: Mutex::default(),
            telling: Mutex::default(),
        }
    }

    /// Other rules from here on.
    pub(super) fn adopt(&self, policy: Option<Arc<Policy>>) {
        if let Some(policy) = &policy {
            self.figures.wanted.store(true, Ordering::Relaxed);
            lock(&self.requests).adopt(policy.door.rate);
        }
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    pub(super) fn policy(&self) -> Option<Arc<Policy>> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A place for a connection. `None`: it is closed without a word.
    pub(super) fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let policy = self.policy()?;
        if !policy.allows(address) {
            self.refuse(Why::Address, address, "the address is not among those that may connect");
            return None;
        }
        let site = site_of(address);
        let mut seats = lock(&self.seats);
        let of_all: u64 = self.figures.connections.load(Ordering::Relaxed);
        let taken = seats.get(&site).copied().unwrap_or(0);
        if of_all >= CONNECTIONS_MAX || taken >= CONNECTIONS_OF_ONE_MAX {
            drop(seats);
            self.refuse(Why::Connections, address, "there are too many connections");
            return None;
        }
        seats.insert(site, taken + 1);
        self.figures.connections.fetch_add(1, Ordering::Relaxed);
        Some(Seat { gate: self.clone(), site })
    }

    /// Takes one of an address's requests.
    pub(super) fn take(&self, address: IpAddr) -> Result<(), Duration> {
        lock(&self.requests).handle_take(clock::now(), site_of(address)).inspect_err(|_| {
            self.refuse(Why::Rate, address, "there are too many requests");
        })
    }

    /// Lets a request in, or not. The same answer for no credentials, for wrong ones and for those that have expired.
    pub(super) fn admit(&self, link: &Link, headers: &HeaderMap) -> Result<Guest, Turned> {
        let address = link.address.ip();
        self.take(address).map_err(Turned::TooOften)?;
        let now = crate::conductor::wall_now().unix_millis();
        let given = credentials(headers);
        let pass = self.policy().and_then(|policy| match given {
            Given::Token(token) => policy.by_token(token, now),
            Given::Nothing => policy.by_certificate(&link.names),
            Given::Nonsense => None,
        });
        let Some(pass) = pass else {
            let why = match given {
                Given::Nothing => "there is no token and no certificate that has a role",
                Given::Token(_) | Given::Nonsense => "the token is none that holds",
            };
            self.refuse(Why::Credentials, address, why);
            let often = lock(&self.failures).handle_take(clock::now(), site_of(address));
            return Err(often.map_or_else(Turned::TooOften, |()| Turned::Unknown));
        };
        self.figures.requests.fetch_add(1, Ordering::Relaxed);
        let (role, name, is_token) = (pass.role, pass.name.clone(), pass.hash.is_some());
        *lock(&link.pass) = Some(pass);
        Ok(Guest { role, name, is_token, address: link.address })
    }

    /// Whether a connection may stay open by the rules of this moment.
    pub(super) fn still_welcomes(&self, link: &Link) -> bool {
        let Some(policy) = self.policy() else { return false };
        let now = crate::conductor::wall_now().unix_millis();
        policy.allows(link.address.ip())
            && policy.believes(&link.shown)
            && lock(&link.pass).as_ref().is_none_or(|pass| policy.still_gives(pass, &link.names, now))
    }

    /// Counts a refusal, and tells of it unless one was told of just now.
    pub(super) fn refuse(&self, why: Why, address: IpAddr, words: &'static str) {
        self.figures.refuse(why);
        let now = clock::now();
        let mut telling = lock(&self.telling);
        if telling.since.is_some_and(|since| now.since(since) < TELL_EVERY) {
            telling.untold += 1;
            return;
        }
        let more = std::mem::take(&mut telling.untold);
        telling.since = Some(now);
        drop(telling);
        (self.tell)(News::Refused { address: address.to_canonical(), why: words, more });
    }
}

/// A connection's place, until it is dropped.
pub(super) struct Seat {
    gate: Arc<Gate>,
    site: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.gate.seats);
        if let Some(taken) = seats.get_mut(&self.site) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                seats.remove(&self.site);
            }
        }
        self.gate.figures.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
enum Given<'h> {
    Nothing,
    Token(&'h [u8]),
    Nonsense,
}

/// The token of a request. Who sends one that is none means to be known by it, so a certificate does not help then.
fn credentials(headers: &HeaderMap) -> Given<'_> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Given::Nothing,
        (Some(value), None) => match value.as_bytes().split_at_checked("bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Given::Token(token.trim_ascii()),
            _ => Given::Nonsense,
        },
        (Some(_), Some(_)) => Given::Nonsense,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
