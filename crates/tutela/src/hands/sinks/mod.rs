//! Brings output to where it is read: the journal, the Event Log, syslog, OpenTelemetry, Fluentd, any HTTP receiver.
//!
//! A [`way::Way`] makes one delivery of some records and says what became of them; it knows nothing of files, cursors
//! and retries. What comes when, and again, is the forwarder's.

mod connect;
mod event_log;
mod fields;
mod fluent;
mod journald;
mod on_thread;
mod otlp;
mod progress;
#[cfg(test)]
mod samples;
pub mod syslog;
pub mod tls;
pub mod way;
pub mod ways;
