//! Speaks OTLP, the protocol of OpenTelemetry collectors, over HTTP/protobuf and over gRPC.
//!
//! Metrics, traces and logs go the same way: a message of [`messages`] goes to an [`Endpoint`] through a [`Sender`],
//! which answers with what the receiver took, or with whether and when another attempt makes sense. [`Pace`] turns
//! failures in a row into waits.
//!
//! A sender has one connection and one request under way, and keeps nothing of a request that failed: what is to be
//! sent again is its caller's business, and so is how much of it there may be.
//!
//! Deliberately absent: JSON as an encoding, streams, queues.

mod endpoint;
pub mod messages;
mod pace;
mod reply;
mod send;
#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, Protocol, Signal};
pub use pace::Pace;
pub use send::{Accepted, SendError, Sender};
