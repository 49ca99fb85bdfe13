//! Opens the store: as it is, anew where it is damaged, in memory where nothing can be written.

use super::writer::read_events;
use super::{ALERTS, CACHE_BYTES, CLEAN, EVENTS, EVENTS_MAX, EventFilter, FILE_NAME, INSTANCES, Kept, MARKS};
use crate::hands::spawner::chain;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use tutela_schema::events::EventRecord;
use tutela_schema::saved;

/// Opens the store at `path` and reads what an earlier guard left.
///
/// # Errors
/// Another process has it open.
pub(super) fn open(path: &Path) -> Result<(Database, Kept), redb::Error> {
    // A store that was begun is never empty again by itself; that of a first guard killed at its very beginning may be.
    let emptied = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0);
    let trouble = match take(|| builder().create(path)) {
        Ok((database, mut kept)) => {
            if emptied {
                kept.troubles.push(format!("the event ledger {} was empty: what was in it is lost", path.display()));
            }
            return Ok((database, kept));
        }
        Err(Unusable::Place(error @ redb::Error::DatabaseAlreadyOpen)) => return Err(error),
        Err(Unusable::Place(error)) => cannot_be_written(path, &error),
        Err(Unusable::Content(why)) => {
            let begun = move_aside(path).and_then(|aside| Ok((aside, take(|| builder().create(path))?)));
            match begun {
                Ok((aside, (database, mut kept))) => {
                    let aside = aside.display();
                    kept.troubles.push(format!(
                        "the event ledger could not be read ({why}); it was kept as {aside} and a new one was begun"
                    ));
                    return Ok((database, kept));
                }
                Err(error) => cannot_be_written(path, &error),
            }
        }
    };
    let created = take(|| builder().create_with_backend(InMemoryBackend::new()));
    let (database, mut kept) = created.map_err(|error| redb::Error::Corrupted(error.to_string()))?;
    kept.troubles.push(trouble);
    kept.in_memory = true;
    Ok((database, kept))
}

/// Opens the store at `path` again after it refused to go on. What is in it is known already.
pub(super) fn again(path: &Path) -> Result<Database, Unusable> {
    quietly(|| Ok(builder().create(path)?))
}

/// What can still be read of a store that is damaged, as it stands there.
#[derive(Default)]
struct Salvage {
    /// The tables of instances and of alerts.
    states: [Vec<(String, Vec<u8>)>; 2],
    events: BTreeMap<u64, Vec<u8>>,
}

/// Keeps a store that turned out to be damaged aside, and begins a new one at its place with what can still be read of it.
/// Answers with what an operator is told.
///
/// # Errors
/// The file cannot be moved, or no new one be made.
pub(super) fn anew(path: &Path, damaged: Option<Database>, why: &str) -> Result<(Database, String), Unusable> {
    let salvage = damaged.as_ref().map(salvage).unwrap_or_default();
    close(damaged);
    let aside = move_aside(path)?;
    let database = quietly(|| {
        let database = builder().create(path)?;
        put(&database, &salvage)?;
        Ok(database)
    })?;
    let (aside, events) = (aside.display(), salvage.events.len());
    let told = format!(
        "the event ledger could not be used ({why}); it was kept as {aside} and a new one was begun, with {events} events \
         and the states that could still be read"
    );
    Ok((database, told))
}

/// What every version of an event has.
#[derive(serde::Deserialize)]
struct Numbered {
    seq: u64,
}

fn salvage(database: &Database) -> Salvage {
    let mut salvage = Salvage::default();
    for (table, kept) in [INSTANCES, ALERTS].into_iter().zip(&mut salvage.states) {
        // What was read before it broke off is there.
        let _ = quietly(|| {
            for entry in database.begin_read()?.open_table(table)?.iter()? {
                let (id, bytes) = entry?;
                kept.push((id.value().to_owned(), bytes.value().to_vec()));
            }
            Ok(())
        });
    }
    // From both ends, each up to where it is damaged.
    for backwards in [true, false] {
        let _ = quietly(|| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let mut all = table.range(0..)?;
            while let Some(entry) = if backwards { all.next_back() } else { all.next() } {
                let (seq, bytes) = entry?;
                // A damaged page may give it any number; its own is within it.
                if !serde_json::from_slice::<Numbered>(bytes.value()).is_ok_and(|event| event.seq == seq.value()) {
                    continue;
                }
                let known = salvage.events.insert(seq.value(), bytes.value().to_vec());
                if known.is_some() || salvage.events.len() as u64 > EVENTS_MAX {
                    break;
                }
            }
            Ok(())
        });
    }
    salvage
}

fn put(database: &Database, salvage: &Salvage) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for (table, kept) in [INSTANCES, ALERTS].into_iter().zip(&salvage.states) {
        let mut table = transaction.open_table(table)?;
        for (id, bytes) in kept {
            table.insert(id.as_str(), bytes.as_slice())?;
        }
    }
    let mut events = transaction.open_table(EVENTS)?;
    for (seq, bytes) in &salvage.events {
        events.insert(seq, bytes.as_slice())?;
    }
    drop(events);
    transaction.commit()?;
    Ok(())
}

/// Lets go of a store. Its code goes through what it knows once more, and may find only then that it is damaged.
pub(super) fn close(database: Option<Database>) {
    // Whatever can still be said of it was said when something could not be read or written.
    let _ = quietly(|| {
        drop(database);
        Ok(())
    });
}

fn cannot_be_written(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!(
        "the event ledger {} cannot be written ({why}); until this guard ends, events, restart counts and cool-downs \
         are kept in memory only",
        path.display()
    )
}

/// Why a store cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Its place: to move it aside would help nobody.
    #[error("{0}")]
    Place(redb::Error),
    /// What is in it.
    #[error("{0}")]
    Content(String),
}

impl From<redb::Error> for Unusable {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Unusable::Place(error),
            redb::Error::Io(ref io)
                if !matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
            {
                Unusable::Place(error)
            }
            error => Unusable::Content(error.to_string()),
        }
    }
}

fn take(create: impl FnOnce() -> Result<Database, redb::DatabaseError>) -> Result<(Database, Kept), Unusable> {
    quietly(|| {
        let database = create()?;
        let kept = read_kept(&database)?;
        Ok((database, kept))
    })
}

thread_local! {
    /// Whether this thread works on the store.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// The store's code asserts what it reads; a file that breaks its assertions is a damaged file. That is told in
/// words and not by a panic's, and ends nothing.
pub(super) fn quietly<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Unusable> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            if !AT_WORK.get() {
                others(told);
            }
        }));
    });
    AT_WORK.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    AT_WORK.set(false);
    match result {
        Ok(result) => result.map_err(Unusable::from),
        Err(_) => Err(Unusable::Content("it is damaged".to_owned())),
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Gives the file at `path` a name under which nobody looks for the store. Answers with that one.
fn move_aside(path: &Path) -> Result<PathBuf, Unusable> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
    let aside = path.with_file_name(format!("{FILE_NAME}.damaged-{stamp}"));
    std::fs::rename(path, &aside).map_err(|error| Unusable::Place(redb::Error::Io(error)))?;
    Ok(aside)
}

fn read_kept(database: &Database) -> Result<Kept, redb::Error> {
    let mut kept = Kept::default();
    let transaction = database.begin_write()?;
    {
        let events = transaction.open_table(EVENTS)?;
        kept.next_seq = events.last()?.map_or(1, |(seq, _)| seq.value() + 1);
        for entry in transaction.open_table(INSTANCES)?.iter()? {
            let (id, bytes) = entry?;
            match saved::decode(bytes.value()) {
                Ok(saved) => kept.instances.push(saved),
                Err(error) => kept.troubles.push(format!("what was known of {} is lost: {error}", id.value())),
            }
        }
        for entry in transaction.open_table(ALERTS)?.iter()? {
            let (id, bytes) = entry?;
            kept.alerts.push((id.value().to_owned(), bytes.value().to_vec()));
        }
        let mut marks = transaction.open_table(MARKS)?;
        kept.ended_in_order = marks.get(CLEAN)?.is_some_and(|mark| mark.value() == [1]);
        marks.insert(CLEAN, [0].as_slice())?;
    }
    transaction.commit()?;
    Ok(kept)
}

/// The largest store of which a copy is made.
const COPY_BYTES_MAX: u64 = 256 << 20;

/// Reads events from a copy in memory, which can be mended where its disk has no room for that.
///
/// # Errors
/// It cannot be read, or is too large to be copied.
pub(super) fn read_copy(path: &Path, filter: &EventFilter) -> Result<Vec<EventRecord>, String> {
    let told = |why: &dyn std::fmt::Display| format!("failed to read the event ledger {}: {why}", path.display());
    let bytes = tutela_os::files::read_bounded(path, COPY_BYTES_MAX).map_err(|error| chain(&error))?;
    let copy = InMemoryBackend::new();
    let copied = copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes));
    copied.map_err(|error| told(&error))?;
    quietly(|| read_events(&builder().create_with_backend(copy)?, filter)).map_err(|error| told(&error))
}

/// Reads events from the store in `dir` while no guard has it open.
///
/// # Errors
/// There is none, a guard has it open, or it cannot be read.
pub fn read_offline(dir: &Path, filter: &EventFilter) -> Result<Vec<EventRecord>, String> {
    let path = dir.join(FILE_NAME);
    let told = |error: String| format!("failed to read the event ledger {}: {error}", path.display());
    if !path.exists() {
        return Err(told("it does not exist".into()));
    }
    let read = quietly(|| read_events(&builder().open(&path)?, filter));
    read.map_err(|error| told(error.to_string()))
}
