//! What an earlier guard left, and to whom it goes.

use super::keeping::{Depositor, Estates, NEXT_EVENT, NOTIFY, SLATE, Stamper, program_id};
use super::output::{KeptOutput, NewDeposit};
use super::slate::{self, Slate};
use crate::hands::spawner::chain;
use crate::upgrade::HANDOVER;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::{Guard, is_heir};
use tutela_core::names::{InstanceId, InstanceKey, RunId, ServiceName};
use tutela_core::service::Estate;
use tutela_core::spec::{LadderStep, ServiceSpec, StopStep};
use tutela_core::time::Moment;
use tutela_os::handle::Handle;
use tutela_os::process::{Child, Nursery};
use tutela_os::safe::{Deposit, Safe};
use tutela_schema::saved::estate::{decode_stamps, estate_key, estates, stamps_key};
use tutela_schema::saved::handover::{self, Handover};

/// How a program is stopped whose service is not in the spec any more, when nobody is left who knows how it would have
/// been: as a spec that is silent has it.
const LADDER: [(&str, Duration); 1] = [("TERM", Duration::from_secs(10))];

/// What an earlier guard left, and what this one keeps for the next.
#[derive(Debug)]
pub struct Inheritance {
    safe: Safe,
    slate: Slate,
    stamper: Stamper,
    /// Whose stamps are noted down as they would be now, and of which spec they are.
    stamped: HashMap<InstanceKey, Arc<ServiceSpec>>,
    /// What it noted down of instances.
    estates: BTreeMap<InstanceId, Estate>,
    programs: Vec<Program>,
    notify: Option<Handle>,
    /// What one that made room for another had to tell.
    handover: Option<Handover>,
    /// What could not be taken over, in words.
    pub troubles: Vec<String>,
}

/// A program in the safe.
#[derive(Debug)]
struct Program {
    id: InstanceId,
    run: RunId,
    remains: String,
    process: Option<Handle>,
    output: Vec<Handle>,
}

/// A run whose output goes on with this guard, and whose program too if it lives.
#[derive(Debug)]
pub struct Heir {
    /// Whose it is.
    pub id: InstanceId,
    /// Which run.
    pub run: RunId,
    /// The program; `None`: the run is over, what it wrote is still to be read.
    pub child: Option<Child>,
    /// What is read of it.
    pub output: Option<KeptOutput>,
    /// The instance it goes on as.
    pub key: Option<InstanceKey>,
}

impl Inheritance {
    /// Opens the safe of the guard `name` at `socket`, with what an earlier guard left in it. `stamper` tells what its
    /// programs would be started with now.
    ///
    /// # Errors
    /// This host has none ([`tutela_os::Error::Unsupported`]), or it could not be begun: programs will not outlive this guard.
    pub fn open(
        socket: &Path,
        name: &str,
        stamper: Stamper,
        on_trouble: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Inheritance, tutela_os::Error> {
        let (safe, deposits) = Safe::open(socket, name, on_trouble)?;
        let mut troubles = Vec::new();
        let mut left = None;
        let (mut programs, mut notify, mut handover) = (Vec::new(), None, None);
        for deposit in deposits {
            if deposit.name == NOTIFY {
                notify = deposit.handles.into_iter().next();
                continue;
            }
            if deposit.name == HANDOVER {
                handover = handover::decode(&deposit.note);
                continue;
            }
            if deposit.name == SLATE {
                left = deposit.handles.into_iter().next();
                continue;
            }
            let name = deposit.name.clone();
            match Program::of(deposit) {
                Some(program) => programs.push(program),
                // Of another version: nobody will ask for it.
                None => safe.release(&name),
            }
        }
        let found = left.map(slate::open).transpose().unwrap_or_else(|error| {
            troubles.push(chain(&error));
            None
        });
        let slate = match found {
            Some(slate) => slate,
            None => {
                let slate = slate::create()?;
                let deposit =
                    Deposit { name: SLATE.to_owned(), note: String::new(), handles: vec![slate.memory().handle()] };
                safe.keep(deposit)?;
                slate
            }
        };
        let (estates, unread) = estates(slate.notes());
        let told = |(id, error)| format!("what an earlier guard noted of {id} cannot be used: {error}");
        troubles.extend(unread.into_iter().map(told));
        let stamped = HashMap::new();
        Ok(Inheritance { safe, slate, stamper, stamped, estates, programs, notify, handover, troubles })
    }

    /// The number from which events are counted on, if one was noted down.
    pub fn next_event(&self) -> Option<u64> {
        let text = self.slate.get(NEXT_EVENT)?;
        Some(u64::from_le_bytes(*text.first_chunk::<8>()?))
    }

    /// The socket on which the programs of an earlier guard speak.
    pub fn notify(&self) -> Option<&Handle> {
        self.notify.as_ref()
    }

    /// What this guard leaves things in.
    pub fn safe(&self) -> &Safe {
        &self.safe
    }

    /// What a guard that made room for another had to tell.
    pub fn handover(&self) -> Option<&Handover> {
        self.handover.as_ref()
    }

    /// Takes back the programs that live by their estates; of the others what they wrote is left. To be called before
    /// leftovers are looked for, which are all the rest.
    pub fn take_programs(&mut self, nursery: &Nursery) -> Vec<Heir> {
        let mut heirs = Vec::new();
        for program in std::mem::take(&mut self.programs) {
            let Program { id, run, remains, process, output } = program;
            let output = self.open_output(&id, run, &remains, process.as_ref(), output);
            let lives = self.estates.get(&id).is_some_and(|estate| is_heir(estate, run));
            let held = process.clone();
            let child = process.filter(|_| lives).and_then(|process| {
                let taken = nursery.take_back(&remains, &process);
                taken
                    .map_err(|error| self.troubles.push(format!("{id} could not be taken back: {}", chain(&error))))
                    .ok()
            });
            if let (None, Some(process)) = (&child, &held) {
                nursery.give_up(&remains, process);
            }
            heirs.push(Heir { id, run, child, output, key: None });
        }
        // Of two runs of one instance the later one is it.
        let latest: BTreeMap<InstanceId, RunId> = heirs.iter().fold(BTreeMap::new(), |mut latest, heir| {
            if heir.child.is_some() {
                let run = latest.entry(heir.id.clone()).or_insert(heir.run);
                *run = heir.run.max(*run);
            }
            latest
        });
        for heir in heirs.iter_mut().filter(|heir| latest.get(&heir.id).is_some_and(|run| *run != heir.run)) {
            if let Some(child) = heir.child.take() {
                nursery.forget(child.token());
                if let Some((remains, process)) = child.remains() {
                    nursery.give_up(&remains, &process);
                }
            }
        }
        heirs
    }

    /// Nothing of it is for this guard, nor for a later one: what runs is left to be ended as a leftover.
    pub fn give_up(self, nursery: &Nursery) {
        for Program { remains, process, .. } in &self.programs {
            process.iter().for_each(|process| nursery.give_up(remains, process));
        }
        self.safe.end();
    }

    /// What is read of a program. Where its tray is of no use, there is another one in the safe from now on.
    fn open_output(
        &mut self,
        id: &InstanceId,
        run: RunId,
        remains: &str,
        process: Option<&Handle>,
        handles: Vec<Handle>,
    ) -> Option<KeptOutput> {
        if handles.is_empty() {
            return None;
        }
        match KeptOutput::open(&handles) {
            Ok((output, None)) => Some(output),
            Ok((output, Some(NewDeposit { handles, why }))) => {
                self.troubles.push(format!("output of {id}: {why}"));
                let handles = process.cloned().into_iter().chain(handles).collect();
                let name = program_id(id.service.as_str(), id.index, run);
                self.safe.keep_soon(Deposit::of_program(&name, remains.to_owned(), handles));
                Some(output)
            }
            Err(why) => {
                self.troubles.push(format!("output of {id} cannot be read on: {why}"));
                None
            }
        }
    }

    /// Lets the machine go on with every instance that was noted down, and tells the heirs as what they go on. Answers how
    /// many programs stay as they run.
    pub fn hand_over(&mut self, now: Moment, guard: &mut Guard, heirs: &mut [Heir]) -> u64 {
        let mut stay = 0;
        let living = heirs.iter().enumerate().filter(|(_, heir)| heir.child.is_some());
        let living: BTreeMap<InstanceId, usize> = living.map(|(at, heir)| (heir.id.clone(), at)).collect();
        for (id, estate) in std::mem::take(&mut self.estates) {
            let heir = living.get(&id).and_then(|at| heirs.get_mut(*at));
            let program = heir.as_ref().and_then(|heir| Some((heir.run, heir.child.as_ref()?.pid())));
            let (mut changed, mut same) = (false, false);
            let differing = |spec: &ServiceSpec| {
                let noted = self.slate.get(&stamps_key(&id));
                // As they mostly are: then nothing has to be taken apart.
                same = noted.is_some_and(|text| *text == self.stamper.encoded(spec, &id));
                if same {
                    return Vec::new();
                }
                let started_with = noted.and_then(|text| decode_stamps(text).ok()).unwrap_or_default();
                let differing = started_with.differing(&self.stamper.stamps(spec, id.index));
                changed = !differing.is_empty();
                differing
            };
            let key = guard.inherit(now, &id, estate, program, differing, || gone(&id.service));
            if key.is_none() {
                self.slate.erase(&estate_key(&id));
                self.slate.erase(&stamps_key(&id));
            }
            if let (Some(heir), Some(key)) = (heir, key) {
                heir.key = Some(key);
                stay += u64::from(!changed);
                if let (true, Some((_, service))) = (same, guard.instance(key)) {
                    self.stamped.insert(key, service.spec().clone());
                }
            }
        }
        stay
    }

    /// The parts by which this guard keeps for the next what it got itself.
    pub fn into_parts(self) -> (Depositor, Estates, Safe) {
        let estates = Estates::new(self.safe.clone(), self.slate, self.stamper, self.stamped);
        (Depositor(self.safe.clone()), estates, self.safe)
    }
}

impl Program {
    fn of(deposit: Deposit) -> Option<Program> {
        let mut words = deposit.program()?.split(' ');
        let service = ServiceName::new(words.next()?).ok()?;
        let (index, run) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mut handles = deposit.handles.into_iter();
        let process = handles.next();
        let (id, run) = (InstanceId { service, index }, RunId(run));
        Some(Program { id, run, remains: deposit.note, process, output: handles.collect() })
    }
}

/// What a service is whose spec nobody has any more: something to stop.
fn gone(service: &ServiceName) -> ServiceSpec {
    let mut spec = crate::conductor::bare_spec(service.clone());
    let step = |(signal, wait): (&str, Duration)| LadderStep { step: StopStep::Signal(signal.to_owned()), wait };
    spec.stop = LADDER.into_iter().map(step).collect();
    spec.stop.push(LadderStep { step: StopStep::Kill, wait: Duration::ZERO });
    spec
}
