//! The journal of systemd, in its native protocol.
//!
//! | field | holds |
//! |---|---|
//! | `MESSAGE` | the message, byte for byte |
//! | `PRIORITY` | the level, where the record has one |
//! | `SYSLOG_IDENTIFIER` | the service |
//! | `SYSLOG_TIMESTAMP` | when the line was read; the journal's own time is when it came there |
//! | `TUTELA_GUARD`, `TUTELA_SERVICE`, `TUTELA_INSTANCE`, `TUTELA_STREAM` | whose it is |
//! | `TUTELA_RECORD` | the record's id |
//! | others | the program's own fields, in capitals |
//!
//! The journal says yes to what it leaves out afterwards, by its rate limit above all.

use super::on_thread::{OnThread, Taker};
use super::way::Way;
use crate::hands::spawner::chain;
use std::borrow::Cow;
use std::time::Duration;
use tutela_logs::Stream;
use tutela_logs::record::Record;
use tutela_logs::record::fields::plain;
use tutela_os::eventlog::{EventLog, FIELDS_MAX, Kind, Line, kind};

/// The way to this host's journal. `timeout`: how long one delivery may take.
///
/// # Errors
/// This OS has no journal.
pub fn open(timeout: Duration) -> Result<Box<dyn Way>, String> {
    match kind() {
        Some(Kind::Journal) => Ok(Box::new(OnThread::new(timeout, || Journald(None)))),
        Some(Kind::EventLog) | None => Err("refused: only Linux with systemd has a journal".to_owned()),
    }
}

/// The journal; `None`: not opened, or broken.
struct Journald(Option<EventLog>);

impl Taker for Journald {
    const NAME: &'static str = "the journal";

    fn take(&mut self, record: &Record) -> Result<(), String> {
        let log = match self.0.take() {
            Some(log) => log,
            // Each line names its own service.
            None => EventLog::open("").map_err(|error| chain(&error))?,
        };
        relay(&log, record).map_err(|error| chain(&error))?;
        self.0 = Some(log);
        Ok(())
    }
}

fn relay(log: &EventLog, record: &Record) -> Result<(), tutela_os::Error> {
    let owner = &record.owner;
    let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
        ("SYSLOG_TIMESTAMP", record.at.to_string().into()),
        ("TUTELA_GUARD", (&*owner.guard).into()),
        ("TUTELA_SERVICE", (&*owner.service).into()),
        ("TUTELA_INSTANCE", owner.instance.to_string().into()),
        ("TUTELA_RECORD", format!("{}-{}", record.id.file, record.id.offset).into()),
    ];
    if let Some(stream) = record.stream {
        let word = match stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        };
        fields.push(("TUTELA_STREAM", word.into()));
    }
    let own: Vec<(&str, Cow<'_, str>)> =
        record.fields.iter().take(FIELDS_MAX).map(|(name, value)| (name.as_str(), plain(value))).collect();
    log.relay(&Line {
        identifier: &owner.service,
        priority: record.level.map(|level| level.severity()),
        message: &record.message,
        fields: &fields,
        own: &own,
    })
}
