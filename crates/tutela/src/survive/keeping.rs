//! What is noted down and deposited while the guard lives, for the next one.

use super::slate::Slate;
use crate::conductor::InstanceRef;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::Estate;
use tutela_core::spec::{GuardSpec, ServiceSpec};
use tutela_core::stamp::Stamps;
use tutela_os::handle::Handle;
use tutela_os::process::Child;
use tutela_os::safe::{Deposit, Safe};
use tutela_schema::saved::estate::{encode_estate, encode_stamps, estate_key, stamps_key};

/// The name of the slate's own deposit.
pub(super) const SLATE: &str = "slate";

/// The name of the deposit of the socket on which programs speak.
pub(super) const NOTIFY: &str = "notify";

/// The key under which the number of the next event is noted.
pub(super) const NEXT_EVENT: &str = "next event";

/// What a program's deposit is called: whose it is, and which run of it.
pub(super) fn program_id(service: &str, index: u16, run: RunId) -> String {
    format!("{service} {index} {}", run.0)
}

/// Deposits programs, for the spawner, and gives them up, for the conductor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Depositor(pub(super) Safe);

impl Depositor {
    /// Deposits a program that was just started, with the read ends of its streams, and returns when that is done: from
    /// then on it outlives the guard.
    ///
    /// # Errors
    /// It does not, in words. It runs all the same.
    pub fn deposit(
        &self,
        instance: &InstanceRef,
        run: RunId,
        child: &Child,
        streams: Vec<Handle>,
    ) -> Result<(), String> {
        // Its first process had ended before anybody could look at it: there is nobody who could outlive anything.
        let Some((remains, process)) = child.remains() else { return Ok(()) };
        let handles = std::iter::once(process).chain(streams).collect();
        let id = program_id(instance.service.as_str(), instance.index, run);
        self.0
            .keep(Deposit::of_program(&id, remains, handles))
            .map_err(|error| format!("{}-{} would not outlive this guard: {error}", instance.service, instance.index))
    }

    /// The program of this run is gone, and all that it wrote is in the files. Never waits.
    pub fn release(&self, id: &InstanceId, run: RunId) {
        self.0.release(&Deposit::name_of_program(&program_id(id.service.as_str(), id.index, run)));
    }
}

/// What programs are started with, told apart from what they inherit.
#[derive(Debug, Default)]
pub struct Stamper {
    /// The guard's own environment.
    environment: HashMap<String, String>,
    /// What was reckoned beforehand, by the spec that it is of, until it is asked for.
    ready: HashMap<InstanceId, (Arc<ServiceSpec>, Vec<u8>)>,
}

impl Stamper {
    /// Reckons the stamps of every instance, which takes some 30 µs each: to be called while nobody waits for it.
    pub fn of(spec: &GuardSpec) -> Stamper {
        let environment = tutela_schema::spec::process_env().0.into_iter().collect();
        let mut stamper = Stamper { environment, ready: HashMap::new() };
        for service in spec.services.values() {
            for index in 0..service.instances {
                let stamps = encode_stamps(&stamper.stamps(service, index));
                let id = InstanceId { service: service.name.clone(), index };
                stamper.ready.insert(id, (service.clone(), stamps));
            }
        }
        stamper
    }

    /// What an instance of this service is started with, as it is noted down.
    pub(super) fn encoded(&mut self, spec: &ServiceSpec, id: &InstanceId) -> Vec<u8> {
        match self.ready.remove(id) {
            Some((of, stamps)) if std::ptr::eq(&*of, spec) => stamps,
            _ => encode_stamps(&self.stamps(spec, id.index)),
        }
    }

    /// What an instance of this service is started with.
    pub(super) fn stamps(&self, spec: &ServiceSpec, index: u16) -> Stamps {
        Stamps::of(spec, index, |name, value| self.environment.get(name).is_some_and(|own| own == value))
    }
}

/// The conductor's part: notes estates down.
#[derive(Debug)]
pub struct Estates {
    safe: Safe,
    slate: Slate,
    stamper: Stamper,
    /// Which spec the last noted stamps are of.
    stamped: HashMap<InstanceKey, Arc<ServiceSpec>>,
    /// What of this turn is to be noted down; `None`: a note that is to go.
    turn: BTreeMap<String, Option<Vec<u8>>>,
    /// Whether the last note was taken.
    complete: bool,
}

impl Estates {
    /// `stamped`: whose stamps are on the slate already, and of which spec.
    pub(super) fn new(
        safe: Safe,
        slate: Slate,
        stamper: Stamper,
        stamped: HashMap<InstanceKey, Arc<ServiceSpec>>,
    ) -> Estates {
        Estates { safe, slate, stamper, stamped, turn: BTreeMap::new(), complete: true }
    }

    /// Has noted down how an instance stands, and what its program was started with, at the end of the turn.
    pub fn note(&mut self, key: InstanceKey, id: &InstanceId, estate: &Estate, spec: &Arc<ServiceSpec>) {
        if !self.stamped.get(&key).is_some_and(|known| Arc::ptr_eq(known, spec)) {
            let stamps = self.stamper.encoded(spec, id);
            self.turn.insert(stamps_key(id), Some(stamps));
            self.stamped.insert(key, Arc::clone(spec));
        }
        self.turn.insert(estate_key(id), Some(encode_estate(estate)));
    }

    /// An instance is gone for good.
    pub fn forget(&mut self, key: InstanceKey, id: &InstanceId) {
        self.stamped.remove(&key);
        self.turn.insert(estate_key(id), None);
        self.turn.insert(stamps_key(id), None);
    }

    /// The turn is over: notes all of it down, so that the next guard knows the whole turn or nothing of it. Beside it the
    /// number of the next event, so that none is given twice.
    pub fn end_turn(&mut self, next_event: u64) {
        // Who was not noted down in the first turn may never be.
        self.stamper.ready = HashMap::new();
        self.turn.insert(NEXT_EVENT.to_owned(), Some(next_event.to_le_bytes().to_vec()));
        self.complete &= self.slate.note_all(std::mem::take(&mut self.turn));
    }

    /// Keeps the socket on which programs speak: what they say while no guard is there waits in it.
    pub fn keep_notify(&self, socket: Handle) {
        self.safe.keep_soon(Deposit { name: NOTIFY.to_owned(), note: String::new(), handles: vec![socket] });
    }

    /// Whether anything could not be noted down since the last question.
    pub fn take_incomplete(&mut self) -> bool {
        !std::mem::replace(&mut self.complete, true)
    }

    /// What gives deposits up.
    pub fn depositor(&self) -> Depositor {
        Depositor(self.safe.clone())
    }
}
