//! What outlives a guard here: a slate in memory, and a ledger on a disk.
//!
//! The slate is the real one, [`tutela_schema::saved::slate`], on [`Paper`] that can be torn: its writer is killed at any
//! byte. Its notes are the real texts. The ledger is a disk on which a commit is there whole or not at all, some time
//! after it was asked for (that the real store keeps to this, also when power goes, is proved beside it); the texts on it
//! are the real ones too.
//!
//! Called by [`crate::run`]. Deliberately absent: who goes on as what, which is the guard's.

use crate::dice::Dice;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::Guard;
use tutela_core::names::{InstanceId, InstanceKey, Name, RunId};
use tutela_core::service::{Estate, History, RestartCause, RestartTally, Service};
use tutela_core::spec::ServiceSpec;
use tutela_core::stamp::Stamps;
use tutela_core::time::Moment;
use tutela_schema::saved::estate::{decode_stamps, encode_estate, encode_stamps, estate_key, estates, stamps_key};
use tutela_schema::saved::slate::{Memory, Slate};
use tutela_schema::saved::{self, SavedInstance, Wanted};
use tutela_schema::wall::WallTime;

/// All notes of a run fit into a half, and fill one soon, so that it is tidied often.
const PAPER_BYTES: usize = 256 * 1024;

/// Room for what a slate begins with.
const MAGIC_ROOM: usize = 64;

/// What the time of day was when the axis of moments began, in milliseconds.
const BOOT_MILLIS: i64 = 1_700_000_000_000;

/// When the writer is killed.
#[derive(Debug)]
struct Killing {
    /// Bytes until then.
    left: Cell<usize>,
    /// What was to be stored last is not there, or not whole.
    torn: Cell<bool>,
}

/// Memory whose writer can be killed at any byte.
#[derive(Debug)]
pub struct Paper {
    bytes: Vec<u8>,
    killing: Rc<Killing>,
    /// Of what is torn the end is there and not the beginning.
    from_end: bool,
    /// Pages are not given back.
    keeps: bool,
}

impl Memory for Paper {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        let stored = bytes.len().min(self.killing.left.get());
        let skipped = bytes.len() - stored;
        let from = if self.from_end { skipped } else { 0 };
        self.bytes[at + from..at + from + stored].copy_from_slice(&bytes[from..from + stored]);
        self.killing.torn.set(self.killing.torn.get() || skipped > 0);
        self.killing.left.set(self.killing.left.get() - stored);
    }

    fn release(&mut self, part: Range<usize>) {
        if !self.killing.torn.get() && !self.keeps {
            self.bytes[part].fill(0);
        }
    }
}

/// What a step has noted.
#[derive(Debug, Default)]
pub struct Whole {
    /// Whose estates.
    pub estates: BTreeSet<InstanceId>,
    /// Of whom it is noted what their programs are started with.
    pub stamps: BTreeSet<InstanceId>,
}

/// What was noted down of everybody, as the next guard reads it.
#[derive(Debug)]
pub struct Left {
    /// How they stood.
    pub estates: BTreeMap<InstanceId, Estate>,
    /// What their programs were started with.
    pub stamps: BTreeMap<InstanceId, Stamps>,
}

/// What was last saved of an instance, in the little that tells whether it changed.
#[derive(Debug, PartialEq)]
struct Shadow {
    restarts: u64,
    in_a_row: u32,
    cooldown_until: Option<Moment>,
    half_open: bool,
    last_exit: Option<Moment>,
    kept_down: bool,
}

/// What the ledger knew of an instance.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Its run.
    pub run: RunId,
    /// Its ends.
    pub history: History,
    /// An operator stopped it.
    pub kept_down: bool,
}

/// See the module's text.
#[derive(Debug)]
pub struct Keeping {
    slate: Slate<Paper>,
    killing: Rc<Killing>,
    stamped: BTreeMap<InstanceKey, Arc<ServiceSpec>>,
    /// What was last noted of each.
    noted: BTreeMap<InstanceKey, Estate>,
    shadows: BTreeMap<InstanceKey, Shadow>,
    disk: BTreeMap<InstanceId, Vec<u8>>,
    /// On its way to the disk, in order, and when it is there.
    commits: VecDeque<(Moment, InstanceId, Option<Vec<u8>>)>,
    /// How long a commit takes.
    lag: Duration,
    dice: Dice,
}

impl Keeping {
    /// Nothing is kept yet.
    pub fn new(mut dice: Dice) -> Self {
        let lag = dice.millis(10, 60);
        let killing = Rc::new(Killing::never());
        Keeping {
            slate: Slate::create(Paper::blank(PAPER_BYTES, &killing, &mut dice)),
            killing,
            stamped: BTreeMap::new(),
            noted: BTreeMap::new(),
            shadows: BTreeMap::new(),
            disk: BTreeMap::new(),
            commits: VecDeque::new(),
            lag,
            dice,
        }
    }

    // ---- while a guard lives ----

    /// Notes down how these stand and that others are gone, as the conductor does after a turn. Answers whether that is
    /// there: all of it is, unless the guard is killed meanwhile.
    pub fn note(
        &mut self,
        guard: &Guard,
        estate_of: impl Fn(InstanceKey) -> Option<Estate>,
        touched: &BTreeSet<InstanceKey>,
        gone: &[(InstanceKey, InstanceId)],
    ) -> Option<Whole> {
        let mut whole = Whole::default();
        let mut turn = BTreeMap::new();
        for (key, id) in gone {
            self.stamped.remove(key);
            self.noted.remove(key);
            self.shadows.remove(key);
            turn.insert(estate_key(id), None);
            turn.insert(stamps_key(id), None);
        }
        for key in touched {
            let Some((id, service)) = guard.instance(*key) else { continue };
            let Some(estate) = estate_of(*key) else { continue };
            whole.estates.insert(id.clone());
            let stamped = self.stamped.get(key).is_some_and(|known| Arc::ptr_eq(known, service.spec()));
            if stamped && self.noted.get(key) == Some(&estate) {
                // The text would be the one that is there.
                continue;
            }
            if !stamped {
                turn.insert(stamps_key(id), Some(encode_stamps(&stamps(service.spec(), id.index))));
                self.stamped.insert(*key, Arc::clone(service.spec()));
                whole.stamps.insert(id.clone());
            }
            turn.insert(estate_key(id), Some(encode_estate(&estate)));
            self.noted.insert(*key, estate);
        }
        self.slate.note_all(turn);
        (!self.killing.torn.get()).then_some(whole)
    }

    /// How an instance stands and what is noted of it, where the two differ.
    pub fn difference(&self, guard: &Guard, key: InstanceKey) -> Option<String> {
        let (stands, noted) = (guard.estate(key), self.noted.get(&key));
        let same = match (&stands, noted) {
            (Some(stands), Some(noted)) => is_same(stands, noted),
            (stands, noted) => stands.as_ref() == noted,
        };
        (!same).then(|| format!("it stands as {stands:?}, and it is noted as {noted:?}"))
    }

    /// From here on the guard is killed after so many bytes.
    pub fn tear_after(&mut self, left: Option<usize>) {
        self.killing.left.set(left.unwrap_or(usize::MAX));
    }

    /// Saves what the ledger is to know of these. Answers of whom that was something, and when it is on the disk.
    pub fn save(
        &mut self,
        now: Moment,
        guard: &Guard,
        is_asked_down: impl Fn(InstanceKey) -> bool,
        touched: &BTreeSet<InstanceKey>,
    ) -> (Moment, Vec<InstanceId>) {
        let mut ids = Vec::new();
        for key in touched {
            let Some((id, service)) = guard.instance(*key) else { continue };
            let history = service.history();
            let kept_down = is_asked_down(*key);
            let last_exit = service.last_exit().map(|(_, at)| *at);
            let shadow = Shadow {
                restarts: history.restarts,
                in_a_row: history.in_a_row,
                cooldown_until: history.cooldown_until,
                half_open: history.half_open,
                last_exit,
                kept_down,
            };
            let unremarkable = history.restarts == 0 && last_exit.is_none() && !kept_down;
            let former = self.shadows.get(key);
            if former == Some(&shadow) || (unremarkable && former.is_none()) {
                continue;
            }
            self.shadows.insert(*key, shadow);
            let text = saved::encode(&saved_of(now, id, service, kept_down));
            self.commit(now, id.clone(), Some(text));
            ids.push(id.clone());
        }
        (now + self.lag, ids)
    }

    /// When what the ledger is told of at this moment is on the disk.
    pub fn arrives(&self, now: Moment) -> Moment {
        now + self.lag
    }

    /// The ledger is to forget an instance.
    pub fn save_gone(&mut self, now: Moment, id: &InstanceId) {
        self.commit(now, id.clone(), None);
    }

    fn commit(&mut self, now: Moment, id: InstanceId, text: Option<Vec<u8>>) {
        self.reach_disk(now);
        self.commits.push_back((now + self.lag, id, text));
    }

    fn reach_disk(&mut self, now: Moment) {
        while let Some((_, id, text)) = self.commits.pop_front_if(|(at, ..)| *at <= now) {
            match text {
                Some(text) => drop(self.disk.insert(id, text)),
                None => drop(self.disk.remove(&id)),
            }
        }
    }

    // ---- between two guards ----

    /// The guard is gone: what is on its way to the disk does not arrive.
    pub fn guard_dies(&mut self, now: Moment) {
        self.reach_disk(now);
        self.commits.clear();
        self.stamped.clear();
        self.noted.clear();
        self.shadows.clear();
    }

    /// What was noted is lost too: the computer booted, or whoever kept it is gone.
    pub fn lose_slate(&mut self) {
        self.killing = Rc::new(Killing::never());
        self.slate = Slate::create(Paper::blank(PAPER_BYTES, &self.killing, &mut self.dice));
    }

    /// The next guard takes the slate and reads it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_slate(&mut self) -> Result<Left, String> {
        self.killing = Rc::new(Killing::never());
        let next = Paper::blank(0, &self.killing, &mut self.dice);
        let empty = Slate::create(Paper::blank(MAGIC_ROOM, &self.killing, &mut self.dice));
        let former = std::mem::replace(&mut self.slate, empty).into_memory();
        let paper = Paper { bytes: former.bytes, ..next };
        self.slate = Slate::open(paper).map_err(|error| error.to_string())?;
        let (estates, unread) = estates(self.slate.notes());
        if let Some((id, why)) = unread.first() {
            return Err(format!("the estate of {id} cannot be read: {why}"));
        }
        let of = |id: &InstanceId| {
            let text = self.slate.get(&stamps_key(id))?;
            Some((id.clone(), decode_stamps(text).ok()?))
        };
        Ok(Left { stamps: estates.keys().filter_map(of).collect(), estates })
    }

    /// What is left of an instance is nobody's.
    pub fn give_up(&mut self, id: &InstanceId) {
        self.slate.erase(&estate_key(id));
        self.slate.erase(&stamps_key(id));
    }

    /// What is on the disk, as a guard reads it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_disk(&self) -> Result<BTreeMap<InstanceId, Remembered>, String> {
        self.disk.iter().map(|(id, text)| Ok((id.clone(), remembered(id, text)?))).collect()
    }
}

impl Killing {
    fn never() -> Killing {
        Killing { left: Cell::new(usize::MAX), torn: Cell::new(false) }
    }
}

impl Paper {
    fn blank(bytes: usize, killing: &Rc<Killing>, dice: &mut Dice) -> Paper {
        let (keeps, from_end) = (dice.percent(20), dice.percent(30));
        Paper { bytes: vec![0; bytes], killing: Rc::clone(killing), from_end, keeps }
    }
}

/// Whether two estates are the same to the next guard, but for the words of the last failure.
fn is_same(one: &Estate, other: &Estate) -> bool {
    if one == other {
        return true;
    }
    let silent = |estate: &Estate| {
        let mut estate = estate.clone();
        estate.verdicts.iter_mut().for_each(|kept| kept.reason.clear());
        estate
    };
    silent(one) == silent(other)
}

/// What a program is started with; nothing of it comes from the guard's own environment here.
pub fn stamps(spec: &ServiceSpec, index: u16) -> Stamps {
    Stamps::of(spec, index, |_, _| false)
}

fn wall(moment: Moment) -> WallTime {
    WallTime::from_unix_millis(BOOT_MILLIS).plus(Duration::from_nanos(moment.as_nanos()))
}

fn moment(wall: WallTime) -> Moment {
    Moment::from_millis(u64::try_from(wall.unix_millis() - BOOT_MILLIS).unwrap_or(0))
}

/// As the conductor writes it.
fn saved_of(now: Moment, id: &InstanceId, service: &Service, kept_down: bool) -> SavedInstance {
    let history = service.history();
    let by_cause = RestartCause::ALL.map(|cause| (cause.word().to_owned(), history.by_cause.of(cause)));
    let half_open = history.half_open.then_some(now);
    SavedInstance {
        restarts: history.restarts,
        restarts_by: by_cause.into_iter().filter(|(_, count)| *count > 0).collect(),
        run: service.run().0,
        window: history.recent.iter().map(|at| wall(*at)).collect(),
        failures: history.in_a_row,
        cooldown_until: history.cooldown_until.or(half_open).map(wall),
        wanted: kept_down.then_some(Wanted::Down),
        ..SavedInstance::new(id.service.as_str(), id.index)
    }
}

/// As a guard reads it.
fn remembered(id: &InstanceId, text: &[u8]) -> Result<Remembered, String> {
    let saved = saved::decode(text).map_err(|error| error.to_string())?;
    if Name::new(&saved.service).ok().as_ref() != Some(&id.service) || saved.instance != id.index {
        return Err(format!("what was saved of {id} is of {}:{}", saved.service, saved.instance));
    }
    let mut by_cause = RestartTally::default();
    for cause in RestartCause::ALL {
        by_cause.restore(cause, saved.restarts_by.get(cause.word()).copied().unwrap_or(0));
    }
    let history = History {
        restarts: saved.restarts,
        by_cause,
        in_a_row: saved.failures,
        recent: saved.window.iter().map(|at| moment(*at)).collect(),
        cooldown_until: saved.cooldown_until.map(moment),
        half_open: false,
    };
    // The start after the last end that was written down may have been made and not been written.
    Ok(Remembered { run: RunId(saved.run + 1), history, kept_down: saved.wanted == Some(Wanted::Down) })
}
