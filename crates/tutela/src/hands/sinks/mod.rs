//! Brings output to where it is read: the journal, the Event Log, syslog, OpenTelemetry, Fluentd, any HTTP receiver.
//!
//! A [`way::Way`] makes one delivery of some records and says what became of them; it knows nothing of files, cursors
//! and retries. What comes when, and again, is the forwarder's.

//!
//! In reading order: [`forwarder`], the machine; [`hand`], its thread; [`desk`], all of them; [`ear`], how they are woken;
//! [`records`], what a line becomes; [`kept`], what outlives the guard; [`tls`]; then the ways.

pub mod desk;
pub mod ear;
mod figures;
pub mod forwarder;
pub mod hand;
mod http;
mod json;
pub mod kept;
pub mod records;
pub mod tls;
pub mod way;

use tutela_core::spec::SinkWay;
use way::Way;

/// The way of the sink `name`, without touching the network: a receiver that is away is found out by the first
/// delivery.
///
/// # Errors
/// This computer cannot do it, or the spec's values cannot be used after all.
pub fn open(name: &str, way: &SinkWay) -> Result<Box<dyn Way>, String> {
    let _ = name;
    match way {
        SinkWay::Http { url, headers, array, gzip, tls } => {
            Ok(Box::new(http::Http::new(url, headers, *array, *gzip, tls)?))
        }
        SinkWay::Journald
        | SinkWay::EventLog
        | SinkWay::Syslog { .. }
        | SinkWay::Otlp { .. }
        | SinkWay::Fluent { .. } => Err("refused: this version cannot send there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use tutela_logs::record::{Owner, Record, RecordId};
    use tutela_logs::{Stream, Wall};

    /// A record with this message.
    pub(in crate::hands::sinks) fn record(message: &str) -> Record {
        let owner = Owner {
            guard: "shop".into(),
            service: "api".into(),
            instance: 2,
            host: "here".into(),
            host_ip: Some([192, 0, 2, 7].into()),
        };
        Record {
            owner: Arc::new(owner),
            id: RecordId { file: 11, offset: 22 },
            at: Wall::from_micros(1_795_209_825_123_456),
            time: None,
            stream: Some(Stream::Err),
            level: None,
            message: message.as_bytes().into(),
            fields: Vec::new(),
        }
    }
}
