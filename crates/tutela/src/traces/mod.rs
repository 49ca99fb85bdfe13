//! Traces of what the guard does: starts, stops, restarts and commands as spans of OpenTelemetry.
//!
//! ```text
//!   API ──────── Request ───────────────┐
//!     └─ context, with the command      ├─> Hub: a bounded queue ──> push ──> an OTLP receiver
//!   conductor ── events, actions ─> Tracer ┘
//! ```
//!
//! A [`Tracer`] is a machine beside the guard's: the conductor shows it what the guard says and wants done, and it
//! makes spans of that; it decides nothing, and without `[traces]` there is none. A [`Request`] is the span of a
//! command through the API. Both give their spans to the [`Hub`], from which [`push`] sends them.
//!
//! A span says of what it knows alone that it was caused by a command: what the command itself brings about, and what
//! follows of it for the instances that it concerns. The end of a program begins a trace of its own.
//!
//! Which spans there are, and what they carry: `docs/operate/traces.md`.
//!
//! Deliberately absent: spans for answers of probes, of which there are thousands an hour, and spans for what is only
//! asked, such as a status. Programs are given no trace: whose work they continue is not the guard's to say.

mod context;
mod hub;
mod push;
mod request;
mod span;
mod tracer;

pub use context::{Anchor, Context, Edge, OsEdge, parse_traceparent};
pub use hub::Hub;
pub use push::{Way, push};
pub use request::Request;
pub use tracer::Tracer;
