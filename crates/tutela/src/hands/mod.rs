//! Hands: they carry out what the conductor's machines decide, and tell what came of it.
//!
//! Each is a thread or a task of its own, because each may have to wait for something that the conductor
//! must not wait for: a disk, a program, a peer. Between them and the conductor stand bounded queues.
//!
//! - [`spawner`]: starts programs; [`launch`] is what it starts them with;
//! - [`keeping`]: how output is kept;
//! - [`probes`]: questions over the network; [`questions`]: which of them are asked, and where;
//! - [`alerts`]: what an operator is told, at least once;
//! - [`sinks`]: output on its way to others;
//! - [`otlp`]: figures, spans and records on their way to a collector;
//! - [`backoff`]: when something is tried again; [`count`]: how much of something is under way;
//! - [`http`]: what requests have in common; [`link`]: the connection that they go over;
//! - [`ledger`]: what outlives the guard;
//! - [`console`]: what somebody at the terminal sees;
//! - [`journal`]: what somebody sees who looks into the OS's own log.

pub mod alerts;
pub mod backoff;
pub mod console;
pub mod http;
pub mod journal;
pub mod keeping;
pub mod launch;
pub mod ledger;
pub mod link;
#[cfg(test)]
mod loopback;
pub mod otlp;
pub mod probes;
pub mod questions;
pub mod queue;
pub mod sinks;
pub mod spawner;
