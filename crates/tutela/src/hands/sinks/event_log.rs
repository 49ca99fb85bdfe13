//! The Event Log of Windows, in the name of the guard.
//!
//! | part | holds |
//! |---|---|
//! | source | the guard |
//! | type | error for `error` and `fatal`, warning for `warn`, information for everything else |
//! | event id | 1000, which no event of a guard has |
//! | first text | the message; invalid UTF-8 in it is replaced |
//! | further texts | `TUTELA_SERVICE=…` and so on, then the program's own fields, as `NAME=value` |
//!
//! A text that is too long is cut with a mark; fields for which there is no room are left out.

use super::on_thread::{OnThread, Taker};
use super::way::Way;
use crate::hands::spawner::chain;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::level::Level;
use tutela_logs::Stream;
use tutela_logs::record::Record;
use tutela_logs::record::fields::{cut, plain};
use tutela_os::Error;
use tutela_os::eventlog::{self, EventLog, FIELDS_MAX, Kind, kind};

/// The id of every record.
const ID: u16 = 1000;

/// The longest message: all texts of a record share 30,000 characters, and the fields want some.
const MESSAGE_BYTES_MAX: usize = 28_000;

/// The way to this host's Event Log. `timeout`: how long one delivery may take.
///
/// # Errors
/// This OS has no Event Log.
pub fn open(timeout: Duration) -> Result<Box<dyn Way>, String> {
    match kind() {
        Some(Kind::EventLog) => Ok(Box::new(OnThread::new(timeout, || Events(None)))),
        Some(Kind::Journal) | None => Err("refused: only Windows has an Event Log".to_owned()),
    }
}

/// The Event Log, opened in the name of a guard; `None`: not opened, or broken.
struct Events(Option<Opened>);

struct Opened {
    log: EventLog,
    guard: Arc<str>,
}

impl Taker for Events {
    const NAME: &'static str = "the Event Log";

    fn take(&mut self, record: &Record) -> Result<(), String> {
        let guard = &record.owner.guard;
        let opened = match self.0.take().filter(|opened| opened.guard == *guard) {
            Some(opened) => opened,
            None => open_for(guard).map_err(|error| chain(&error))?,
        };
        report(&opened.log, record).map_err(|error| chain(&error))?;
        self.0 = Some(opened);
        Ok(())
    }
}

/// The log in the name of this guard. Where nobody has registered it, it is now, if this process may; its texts are
/// stored in any case.
fn open_for(guard: &Arc<str>) -> Result<Opened, Error> {
    if let Err(error @ Error::Refused(_)) = eventlog::register(guard) {
        return Err(error);
    }
    Ok(Opened { log: EventLog::open(guard)?, guard: guard.clone() })
}

fn report(log: &EventLog, record: &Record) -> Result<(), Error> {
    let text = String::from_utf8_lossy(&record.message);
    let message = match cut(text.as_bytes(), MESSAGE_BYTES_MAX) {
        None => text,
        Some((kept, mark)) => format!("{}{mark}", String::from_utf8_lossy(kept)).into(),
    };
    let owner = &record.owner;
    let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
        ("TUTELA_SERVICE", (&*owner.service).into()),
        ("TUTELA_INSTANCE", owner.instance.to_string().into()),
        ("TUTELA_TIME", record.at.to_string().into()),
        ("TUTELA_RECORD", format!("{}-{}", record.id.file, record.id.offset).into()),
    ];
    if let Some(level) = record.level {
        fields.push(("TUTELA_LEVEL", level.word().into()));
    }
    if let Some(stream) = record.stream {
        let word = match stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        };
        fields.push(("TUTELA_STREAM", word.into()));
    }
    let room = FIELDS_MAX - fields.len();
    fields.extend(record.fields.iter().take(room).map(|(name, value)| (name.as_str(), plain(value))));
    let level = match record.level {
        Some(Level::Fatal | Level::Error) => eventlog::Level::Error,
        Some(Level::Warn) => eventlog::Level::Warning,
        Some(Level::Notice) => eventlog::Level::Notice,
        Some(Level::Info) | None => eventlog::Level::Info,
        Some(Level::Debug | Level::Trace) => eventlog::Level::Debug,
    };
    log.write(&eventlog::Record { level, message: &message, id: ID, message_id: None, fields: &fields })
}
