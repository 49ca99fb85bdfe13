//! The ledger's thread: gathers operations, commits them together, answers what is asked of the store.
//!
//! It alone writes. A commit that failed is tried again with what came meanwhile; the store is opened anew for it.

use super::open::{self, Unusable};
use super::{
    ALERTS, CLEAN, COMMIT_OPERATIONS_MAX, EVENTS, EVENTS_MAX, EventFilter, Figures, INSTANCES, MARKS, Operation,
};
use crate::hands::queue::Receiver;
use redb::{Database, ReadableDatabase, ReadableTable};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tutela_schema::events::EventRecord;
use tutela_schema::saved::{self, SavedInstance};

/// How long operations are gathered before a commit. What is younger than this is lost when the computer
/// loses power; a commit waits for the disk, and a thousand starts are three thousand events.
const GATHER: Duration = Duration::from_millis(10);

/// How long after a failed commit the next one is tried, if nothing else asks for it.
const REOPEN: Duration = Duration::from_secs(1);

/// Old events that one commit removes at the most, so that no commit takes long.
const PRUNE_MAX: usize = 2 * COMMIT_OPERATIONS_MAX;

/// See the module's text.
pub(super) struct Writer {
    /// `None` after a failed commit: the store refuses all further work until it is opened again.
    pub(super) database: Option<Database>,
    /// The file; `None`: the store is in memory and never opened again.
    pub(super) place: Option<PathBuf>,
    pub(super) inbox: Receiver<Operation>,
    pub(super) states: Arc<Mutex<BTreeMap<String, Option<SavedInstance>>>>,
    pub(super) figures: Arc<Figures>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        open::close(self.database.take());
    }
}

impl Writer {
    /// Until it is told to end.
    pub(super) fn work(mut self) {
        // A failed commit is tried again with what came meanwhile; the events of it stay in memory.
        let mut batch = Vec::new();
        loop {
            let first =
                if self.database.is_some() { self.inbox.pop() } else { self.inbox.pop_until(Instant::now() + REOPEN) };
            let Some(first) = first else {
                if self.inbox.is_closed() {
                    return;
                }
                self.commit(&mut batch, None);
                continue;
            };
            let until = Instant::now() + GATHER;
            let mut next = Some(first);
            let mut end = None;
            while let Some(operation) = next.take() {
                match operation {
                    Operation::End { in_order } => {
                        end = Some(in_order);
                        break;
                    }
                    Operation::Read { filter, reply } => {
                        self.commit(&mut batch, None);
                        // Nobody waits for it any more.
                        let _ = reply.send(self.read(&filter, &batch));
                    }
                    Operation::Flush(done) => {
                        // What is not on the disk is not confirmed: the question is dropped.
                        if self.commit(&mut batch, None) {
                            let _ = done.send(());
                        }
                    }
                    other @ (Operation::Event(_)
                    | Operation::PutAlert { .. }
                    | Operation::DropAlert(_)
                    | Operation::Sync(_)) => batch.push(other),
                }
                if batch.len() < COMMIT_OPERATIONS_MAX {
                    next = self.inbox.pop_until(until);
                }
            }
            self.commit(&mut batch, end);
            if end.is_some() {
                return;
            }
        }
    }

    /// What is in the store and, while that takes nothing, what waits for it.
    pub(super) fn read(&mut self, filter: &EventFilter, batch: &[Operation]) -> Result<Vec<EventRecord>, String> {
        let stored = match (&self.database, &self.place) {
            (Some(_), _) => self.read_stored(filter).map_err(|error| error.to_string()),
            // A full disk takes nothing, and gives what it has all the same.
            (None, Some(place)) => open::read_copy(place, filter),
            (None, None) => Ok(Vec::new()),
        };
        let waiting = batch.iter().filter_map(|operation| match operation {
            Operation::Event(event) => Some(event.as_ref()),
            _ => None,
        });
        let waiting: Vec<EventRecord> = waiting.filter(|event| filter.admits(event)).cloned().collect();
        let mut found = match stored {
            Err(why) if waiting.is_empty() => return Err(format!("the event ledger cannot be used: {why}")),
            stored => stored.unwrap_or_default(),
        };
        if filter.page.is_some_and(|page| found.len() >= page) {
            // There may be more in the store, before what waits.
            return Ok(found);
        }
        let newest = found.last().map_or(0, |event| event.seq);
        found.extend(waiting.into_iter().filter(|event| event.seq > newest));
        let surplus = found.len().saturating_sub(filter.most());
        found.drain(..surplus);
        found.truncate(filter.page.unwrap_or(usize::MAX));
        Ok(found)
    }

    /// What is in the store. One that turns out to be damaged makes room for a new one.
    fn read_stored(&mut self, filter: &EventFilter) -> Result<Vec<EventRecord>, Unusable> {
        let Some(database) = &self.database else { return Ok(Vec::new()) };
        match (open::quietly(|| read_events(database, filter)), &self.place) {
            (Err(Unusable::Content(why)), Some(place)) => {
                let place = place.clone();
                let database = self.replace(&place, &why)?;
                open::quietly(|| read_events(database, filter))
            }
            (read, _) => read,
        }
    }

    /// A new store in the place of the one that is damaged.
    fn replace(&mut self, place: &Path, why: &str) -> Result<&Database, Unusable> {
        let (database, told) = open::anew(place, self.database.take(), why)?;
        self.figures.replaced.lock().unwrap_or_else(PoisonError::into_inner).replace(told);
        Ok(self.database.insert(database))
    }

    /// Commits the batch and empties it; when that fails, keeps of it what may not be lost, and tries again with
    /// what comes, at the latest after [`REOPEN`]. Answers whether everything is on the disk.
    pub(super) fn commit(&mut self, batch: &mut Vec<Operation>, end: Option<bool>) -> bool {
        let states = std::mem::take(&mut *self.states.lock().unwrap_or_else(PoisonError::into_inner));
        let began = Instant::now();
        match self.write(batch, &states, end) {
            Ok(()) => {
                self.figures.failing.store(false, Ordering::Relaxed);
                self.figures.commits.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.figures.last_commit_micros.store(micros, Ordering::Relaxed);
                self.figures.last_error.lock().unwrap_or_else(PoisonError::into_inner).clear();
                for operation in batch.drain(..) {
                    match operation {
                        // Whoever waited may have gone.
                        Operation::PutAlert { stored: done, .. } | Operation::Sync(done) => drop(done.send(())),
                        Operation::Event(_)
                        | Operation::DropAlert(_)
                        | Operation::Read { .. }
                        | Operation::Flush(_)
                        | Operation::End { .. } => {}
                    }
                }
                true
            }
            Err(error) => {
                // The store refuses everything after a failure, also once there is room again; it is opened anew.
                if self.place.is_some() {
                    open::close(self.database.take());
                }
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
                self.figures.failing.store(true, Ordering::Relaxed);
                *self.figures.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                let mut newer = self.states.lock().unwrap_or_else(PoisonError::into_inner);
                for (id, state) in states {
                    newer.entry(id).or_insert(state);
                }
                drop(newer);
                let events = batch.iter().filter(|operation| matches!(operation, Operation::Event(_))).count();
                if batch.len() > COMMIT_OPERATIONS_MAX {
                    self.figures.dropped.fetch_add(events as u64, Ordering::Relaxed);
                    batch.retain(|operation| !matches!(operation, Operation::Event(_)));
                }
                false
            }
        }
    }
}

impl Writer {
    /// Writes it all to the store. One that refuses is opened anew; one that is damaged, also when it was just opened, makes
    /// room for a new one.
    fn write(
        &mut self,
        batch: &[Operation],
        states: &BTreeMap<String, Option<SavedInstance>>,
        end: Option<bool>,
    ) -> Result<(), Unusable> {
        let try_on = |database: &Database| open::quietly(|| try_commit(database, batch, states, end));
        if let Some(database) = &self.database {
            match (try_on(database), &self.place) {
                (Err(Unusable::Content(_)), Some(_)) => open::close(self.database.take()),
                (other, _) => return other,
            }
        }
        let Some(place) = self.place.clone() else { return Err(Unusable::Content("it is damaged".to_owned())) };
        let why = match open::again(&place) {
            Ok(database) => match try_on(self.database.insert(database)) {
                Err(Unusable::Content(why)) => why,
                other => return other,
            },
            Err(Unusable::Content(why)) => why,
            Err(error) => return Err(error),
        };
        try_on(self.replace(&place, &why)?)
    }
}

fn try_commit(
    database: &Database,
    batch: &[Operation],
    states: &BTreeMap<String, Option<SavedInstance>>,
    end: Option<bool>,
) -> Result<(), redb::Error> {
    let nothing = batch.iter().all(|operation| matches!(operation, Operation::Sync(_)));
    if nothing && states.is_empty() && end.is_none() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut events = transaction.open_table(EVENTS)?;
        let mut alerts = transaction.open_table(ALERTS)?;
        let mut newest = None;
        for operation in batch {
            match operation {
                Operation::Event(event) => {
                    // Strings and numbers only: there is no value that JSON cannot hold.
                    let bytes = serde_json::to_vec(event.as_ref()).unwrap_or_default();
                    events.insert(event.seq, bytes.as_slice())?;
                    newest = Some(event.seq);
                }
                Operation::PutAlert { id, bytes, .. } => {
                    alerts.insert(id.as_str(), bytes.as_slice())?;
                }
                Operation::DropAlert(id) => {
                    alerts.remove(id.as_str())?;
                }
                Operation::Read { .. } | Operation::Sync(_) | Operation::Flush(_) | Operation::End { .. } => {}
            }
        }
        if let Some(newest) = newest {
            let oldest = newest.saturating_sub(EVENTS_MAX);
            for _ in 0..PRUNE_MAX {
                let expired = events.first()?.is_some_and(|(seq, _)| seq.value() < oldest);
                if !expired {
                    break;
                }
                events.pop_first()?;
            }
        }
        let mut instances = transaction.open_table(INSTANCES)?;
        for (id, state) in states {
            match state {
                Some(state) => drop(instances.insert(id.as_str(), saved::encode(state).as_slice())?),
                None => drop(instances.remove(id.as_str())?),
            }
        }
        if let Some(in_order) = end {
            let mut marks = transaction.open_table(MARKS)?;
            marks.insert(CLEAN, [u8::from(in_order)].as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The events that are in the store, oldest first.
pub(super) fn read_events(database: &Database, filter: &EventFilter) -> Result<Vec<EventRecord>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(EVENTS)?;
    if let (Some(page), Some(after), None) = (filter.page, filter.after, filter.last) {
        let mut found = Vec::new();
        for entry in table.range(after.saturating_add(1)..)? {
            if found.len() >= page {
                break;
            }
            let (_, bytes) = entry?;
            let record = serde_json::from_slice::<EventRecord>(bytes.value()).ok();
            found.extend(record.filter(|record| filter.admits(record)));
        }
        return Ok(found);
    }
    let wanted = filter.most();
    let (mut found, mut count) = (VecDeque::new(), 0);
    for entry in table.range(filter.after.map_or(0, |after| after.saturating_add(1))..)?.rev() {
        if count >= wanted {
            break;
        }
        let (_, bytes) = entry?;
        // A record that cannot be read is of a newer guard; the others are still worth having.
        let Ok(record) = serde_json::from_slice::<EventRecord>(bytes.value()) else { continue };
        if filter.since.is_some_and(|since| record.at < since) {
            break;
        }
        if filter.admits(&record) {
            count += 1;
            found.push_front(record);
            // The oldest ones are the first page.
            found.truncate(filter.page.unwrap_or(usize::MAX));
        }
    }
    Ok(found.into())
}
