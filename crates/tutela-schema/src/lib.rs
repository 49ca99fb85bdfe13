//! Speaks. Everything that Tutela writes down or that somebody else reads: the spec file, the bodies of the
//! control API, events, and the state that outlives a guard.
//!
//! - [`spec`]: from the text of a spec file to a [`tutela_core::spec::GuardSpec`], with the place of every mistake;
//! - [`api`]: bodies and routes of the control API, and the OpenAPI document made from them;
//! - [`audit`]: one entry of the record of who did what;
//! - [`alert`]: what is sent of an alert, and kept of one that has not arrived;
//! - [`events`]: one record of what happened;
//! - [`saved`]: what is kept of an instance while no guard runs;
//! - [`wall`]: how a time of day is written.
//!
//! Every serialised form has a version or lives under a versioned path, and its schema is generated. Core types
//! derive no serde: the translation is here, in one direction each. Deliberately absent: sockets, files other
//! than the spec's own (behind [`spec::Files`]), clocks, and drawing of diagnostics.
#![forbid(unsafe_code)]

pub mod alert;
pub mod api;
pub mod audit;
pub mod events;
pub mod saved;
pub mod spec;
pub mod wall;
