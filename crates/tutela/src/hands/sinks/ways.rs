//! From a spec's words to a way.

use super::way::Way;
use super::{event_log, fluent, http, journald, otlp, syslog};
use std::time::Duration;
use tutela_core::spec::SinkWay;

/// The way of the sink `name`, without touching the network: a receiver that is away is found out by the first
/// delivery. `timeout`: how long one delivery may take; a way ends it by itself, and says how far it came.
///
/// # Errors
/// This computer cannot do it, or the spec's values cannot be used after all.
pub fn open(name: &str, way: &SinkWay, timeout: Duration) -> Result<Box<dyn Way>, String> {
    let opened = match way {
        SinkWay::Journald => journald::open(timeout),
        SinkWay::EventLog => event_log::open(timeout),
        SinkWay::Syslog { address, transport, facility } => syslog::open(address, transport, *facility, timeout),
        SinkWay::Fluent { address, tag, shared_key, tls } => {
            fluent::open(address, tag, shared_key.as_deref(), tls.as_ref(), timeout)
        }
        SinkWay::Otlp { url, protocol, headers, gzip, tls } => otlp::open(url, *protocol, headers, *gzip, tls, timeout),
        SinkWay::Http { url, headers, array, gzip, tls } => {
            http::Http::new(url, headers, *array, *gzip, tls).map(|way| Box::new(way) as Box<dyn Way>)
        }
    };
    opened.map_err(|reason| format!("sink {name}: {reason}"))
}

/// The name of a way in the spec, for a status.
pub(super) fn word(way: &SinkWay) -> &'static str {
    match way {
        SinkWay::Journald => "journald",
        SinkWay::EventLog => "event_log",
        SinkWay::Syslog { .. } => "syslog",
        SinkWay::Otlp { .. } => "otlp",
        SinkWay::Fluent { .. } => "fluent",
        SinkWay::Http { .. } => "http",
    }
}
