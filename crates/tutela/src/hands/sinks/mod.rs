//! Brings output to where it is read: the journal, the Event Log, syslog, OpenTelemetry, Fluentd, any HTTP receiver.
//!
//! A [`way::Way`] makes one delivery of some records and says what became of them; it knows nothing of files, cursors
//! and retries. What comes when, and again, is the forwarder's.

//!
//! In reading order: [`forwarder`], the machine; [`hand`], its thread; [`desk`], all of them; [`ear`], how they are woken;
//! [`records`], what a line becomes; [`kept`], what outlives the guard; [`tls`]; then the ways.

mod connect;
pub mod desk;
pub mod ear;
mod event_log;
mod fluent;
pub mod forwarder;
pub mod hand;
mod http;
mod journald;
mod json;
pub mod kept;
mod on_thread;
mod otlp;
mod progress;
pub mod records;
#[cfg(test)]
mod samples;
pub mod syslog;
pub mod tls;
pub mod way;
pub mod ways;
