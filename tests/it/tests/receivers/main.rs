//! What was sent is what was received: each way of a sink against a receiver of its field, over restarts of that.
//!
//! The ways are driven here as a guard drives them: a batch that is to come again comes again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod fluent;
mod otlp;
mod rsyslog;
mod stage;
