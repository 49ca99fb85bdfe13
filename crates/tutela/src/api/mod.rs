//! The control API: HTTP/1.1 with JSON over the control socket and, where the spec has it, over TCP ([`door`]).
//!
//! [`tutela_schema::api::ROUTES`] is the table it dispatches over. A request is decoded, sent to the
//! conductor or answered from files, and encoded; nothing is decided here. It runs on the hands' runtime,
//! so that a thousand clients cost the conductor nothing but the questions they put.
//!
//! Limits: connections, the time for a head, the size of a body and the time for an answer all have one,
//! because a stranger may open the socket and send half a request for ever.

mod answer;
mod caller;
mod connection;
pub(crate) mod door;
mod events;
mod health;
mod logs;
mod metrics;
mod serve;
mod upgrade;

pub(crate) use logs::wall_of as logs_wall;
pub use serve::{Context, Reload, reload_now, serve};
pub(crate) use serve::{ended, measure};
