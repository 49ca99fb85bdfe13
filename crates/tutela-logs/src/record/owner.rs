//! Whose output a record is, and on which computer that is.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Whose output it is, as a record says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The guard.
    pub guard: Arc<str>,
    /// The service.
    pub service: Arc<str>,
    /// The instance's index.
    pub instance: u16,
    /// This computer's name.
    pub host: Arc<str>,
    /// The address by which this computer reaches others; `None`: it has none.
    pub host_ip: Option<IpAddr>,
}

/// This computer, as records name it. Its address can change while programs run, so it is asked for anew with each
/// batch of records; that is one look at a number unless it has changed.
#[derive(Debug)]
pub struct Host {
    generation: AtomicU64,
    known: RwLock<(Arc<str>, Option<IpAddr>)>,
}

impl Host {
    /// A computer of this name and address.
    pub fn new(name: &str, ip: Option<IpAddr>) -> Self {
        Host { generation: AtomicU64::new(1), known: RwLock::new((Arc::from(name), ip)) }
    }

    /// It has another name or address from here on.
    pub fn set(&self, name: &str, ip: Option<IpAddr>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if &*known.0 != name || known.1 != ip {
            *known = (Arc::from(name), ip);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Its name and address.
    pub fn get(&self) -> (Arc<str>, Option<IpAddr>) {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another number: it has changed. Never zero.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Who writes the records of one label.
#[derive(Debug, Clone)]
pub struct Author {
    /// The guard.
    pub guard: Arc<str>,
    /// The service.
    pub service: Arc<str>,
    /// The instance's index.
    pub instance: u16,
    /// Where it runs.
    pub host: Arc<Host>,
}

impl Author {
    /// The owner of a record that is made at this moment.
    pub fn owner(&self) -> Owner {
        let (host, host_ip) = self.host.get();
        Owner { guard: self.guard.clone(), service: self.service.clone(), instance: self.instance, host, host_ip }
    }
}

/// Whose the records of one label are, as of the moment that each is made. Costs a look at a number for a record.
#[derive(Debug)]
pub struct Byline {
    author: Author,
    generation: u64,
    owner: Arc<Owner>,
}

impl Byline {
    /// For the records of this author.
    pub fn of(author: Author) -> Self {
        // In this order an address that changes in between is looked up once more.
        let generation = author.host.generation();
        Byline { generation, owner: Arc::new(author.owner()), author }
    }

    /// The owner of a record that is made at this moment.
    pub fn owner(&mut self) -> &Arc<Owner> {
        let generation = self.author.host.generation();
        if self.generation != generation {
            (self.generation, self.owner) = (generation, Arc::new(self.author.owner()));
        }
        &self.owner
    }
}

/// Nobody, for files that say of nobody whose they are.
impl Default for Author {
    fn default() -> Self {
        Author { guard: Arc::from(""), service: Arc::from(""), instance: 0, host: Arc::new(Host::new("", None)) }
    }
}

/// The same when they name the same computer object: what it is called is looked up anyway.
impl PartialEq for Author {
    fn eq(&self, other: &Self) -> bool {
        self.guard == other.guard
            && self.service == other.service
            && self.instance == other.instance
            && Arc::ptr_eq(&self.host, &other.host)
    }
}

impl Eq for Author {}
