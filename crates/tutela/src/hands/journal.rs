//! What somebody sees who looks into the OS's own log: `journalctl -u NAME`, the Event Viewer.
//!
//! It gets the events that a console would show, each as a record with fields, so that those of one service or of
//! one kind can be asked for. The log is another process, which may stand still: then records wait, and past
//! [`RECORDS_MAX`] they are dropped and counted, while the guard goes on. The ledger has everything.
//!
//! | field | says |
//! |---|---|
//! | `TUTELA_GUARD` | the guard's name |
//! | `TUTELA_EVENT` | the kind of event, as in `tutela events --json` |
//! | `TUTELA_SERVICE`, `TUTELA_INSTANCE`, `TUTELA_RUN` | what it is about, where it is about one |
//! | `TUTELA_SEQ` | its number in the ledger |
//! | `PRIORITY`, `MESSAGE_ID` | how much it matters; the kind again, in the journal's own way |
//!
//! In the Event Log the kind is the event's id (see [`id_of`]), and the fields follow the message.

use super::queue::{Sender, queue};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tutela_os::eventlog::{EventLog, Level, Record};
use tutela_schema::events::{EventKind, EventRecord};

/// Records that may wait: what a start of some hundred services brings at once.
const RECORDS_MAX: usize = 4096;

/// How long the end of the guard waits for the log.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// All message ids of ours begin with it; the event's id is the end. Drawn once at random.
const MESSAGE_IDS: u128 = 0x8f3a_61d2_57c9_4e1b_9d04_b6e2_73a5_0000;

/// A log on a thread of its own.
#[derive(Debug)]
pub struct Journal {
    records: Sender<Arc<EventRecord>>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Opens the log for the guard of this name. `source`: under which name operators look for it.
    ///
    /// # Errors
    /// This host has no such log, or gave no thread.
    pub fn start(guard: &str, source: &str) -> Result<Journal, tutela_os::Error> {
        let log = EventLog::open(source)?;
        let (sender, receiver) = queue::<Arc<EventRecord>>(RECORDS_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let (guard, lost) = (guard.to_owned(), dropped.clone());
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                while let Some(record) = receiver.pop() {
                    // A log that refuses has nobody to be told; the next record may be taken again.
                    let _ = write(&log, &guard, &record);
                    let count = lost.swap(0, Ordering::Relaxed);
                    if count > 0 {
                        let _ = log.write(&Record {
                            level: Level::Warning,
                            message: &format!("{count} events are not here, because this log was too slow; `tutela events {guard}` has them"),
                            id: id_of(&EventKind::Trouble),
                            message_id: Some(message_id(&EventKind::Trouble)),
                            fields: &[("TUTELA_GUARD", Cow::from(guard.as_str()))],
                        });
                    }
                }
            })
            .map_err(|error| tutela_os::Error::io("start the thread that writes to the OS's log", error))?;
        Ok(Journal { records: sender, dropped, thread })
    }

    /// Writes a record. Never waits.
    pub fn record(&self, record: Arc<EventRecord>) {
        if self.records.push(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is left and ends. Waits at most a second: a log that stands still must not keep the guard.
    pub fn end(self) {
        let Journal { records, thread, .. } = self;
        drop(records);
        let until = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write(log: &EventLog, guard: &str, record: &EventRecord) -> Result<(), tutela_os::Error> {
    let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
        ("TUTELA_GUARD", guard.into()),
        ("TUTELA_EVENT", record.kind.to_string().into()),
        ("TUTELA_SEQ", record.seq.to_string().into()),
    ];
    if let Some(service) = &record.service {
        fields.push(("TUTELA_SERVICE", service.into()));
    }
    if let Some(instance) = record.instance {
        fields.push(("TUTELA_INSTANCE", instance.to_string().into()));
    }
    if let Some(run) = record.run {
        fields.push(("TUTELA_RUN", run.to_string().into()));
    }
    let message = match (&record.service, record.instance) {
        (Some(service), Some(instance)) => format!("{service}:{instance} {}", record.message),
        _ => record.message.clone(),
    };
    let (level, id) = (level_of(record), id_of(&record.kind));
    log.write(&Record { level, message: &message, id, message_id: Some(message_id(&record.kind)), fields: &fields })
}

/// How much an event matters to somebody who was not looking.
fn level_of(record: &EventRecord) -> Level {
    let is = |key: &str, value: &str| record.data.get(key).and_then(|data| data.as_str()) == Some(value);
    match &record.kind {
        EventKind::Failed
        | EventKind::Cooldown
        | EventKind::HalfOpenFailed
        | EventKind::LogsFailing
        | EventKind::ReloadRefused
        | EventKind::UpgradeFailed => Level::Error,
        EventKind::StartFailed
        | EventKind::Unhealthy
        | EventKind::StopStepFailed
        | EventKind::Resisted
        | EventKind::HookRan
        | EventKind::AlertFailed
        | EventKind::SinkFailing
        | EventKind::SinkDropped
        | EventKind::Unsupported
        | EventKind::ApiRefused
        | EventKind::Trouble => Level::Warning,
        EventKind::Exited if record.data.get("wanted").and_then(|data| data.as_bool()) != Some(true) => Level::Warning,
        EventKind::ProbeChanged if is("verdict", "fail") => Level::Warning,
        EventKind::GuardStarted
        | EventKind::GuardStopped
        | EventKind::Reloaded
        | EventKind::Recovered
        | EventKind::TakenBack
        | EventKind::Upgraded
        | EventKind::ApiListening => Level::Notice,
        EventKind::Commanded
        | EventKind::StateChanged
        | EventKind::Started
        | EventKind::Ready
        | EventKind::Exited
        | EventKind::HalfOpen
        | EventKind::ProbeChanged
        | EventKind::AlertDelivered
        | EventKind::LogsRecovered
        | EventKind::SinkRecovered
        | EventKind::HostTold
        | EventKind::Other(_) => Level::Info,
    }
}

/// The number of a kind in the Event Log, from 1 to 1000. A number once given keeps its meaning.
pub fn id_of(kind: &EventKind) -> u16 {
    match kind {
        EventKind::GuardStarted => 1,
        EventKind::GuardStopped => 2,
        EventKind::Reloaded => 3,
        EventKind::ReloadRefused => 4,
        EventKind::Commanded => 5,
        EventKind::HostTold => 6,
        EventKind::Trouble => 7,
        EventKind::Unsupported => 8,
        EventKind::StateChanged => 10,
        EventKind::Started => 11,
        EventKind::StartFailed => 12,
        EventKind::Ready => 13,
        EventKind::Exited => 14,
        EventKind::Cooldown => 15,
        EventKind::HalfOpen => 16,
        EventKind::HalfOpenFailed => 17,
        EventKind::Recovered => 18,
        EventKind::Failed => 19,
        EventKind::Resisted => 20,
        EventKind::ProbeChanged => 21,
        EventKind::Unhealthy => 22,
        EventKind::HookRan => 23,
        EventKind::StopStepFailed => 24,
        EventKind::TakenBack => 25,
        EventKind::Upgraded => 26,
        EventKind::UpgradeFailed => 27,
        EventKind::AlertDelivered => 30,
        EventKind::AlertFailed => 31,
        EventKind::LogsFailing => 32,
        EventKind::LogsRecovered => 33,
        EventKind::SinkFailing => 40,
        EventKind::SinkRecovered => 41,
        EventKind::SinkDropped => 42,
        EventKind::ApiListening => 50,
        EventKind::ApiRefused => 51,
        EventKind::Other(_) => 99,
    }
}

/// The number of a guard that did not come up: there is no event of it, as nothing was started.
pub const REFUSED_ID: u16 = 100;

fn message_id(kind: &EventKind) -> u128 {
    MESSAGE_IDS | u128::from(id_of(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tutela_schema::wall::WallTime;

    #[test]
    fn an_end_that_nobody_asked_for_is_a_warning_and_one_that_was_is_not() {
        let record = |wanted| {
            EventRecord::new(1, WallTime::from_unix_millis(0), EventKind::Exited, "exited").with("wanted", wanted)
        };
        assert_eq!(level_of(&record(false)), Level::Warning);
        assert_eq!(level_of(&record(true)), Level::Info);
    }
}
