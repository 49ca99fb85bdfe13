//! Decides. Everything Tutela knows about keeping programs alive, and nothing that can touch one.
//!
//! Two shapes of logic live here. A *machine* lives over time: it is fed inputs and a [`time::Moment`],
//! and asked for actions, events and its next deadline. A *plan* is one call: wanted and observed go in,
//! a list of steps comes out.
//!
//! In reading order:
//! - [`time`], [`names`], [`chance`], [`template`]: the words every machine is written in;
//! - [`spec`]: what the operator wants, validated and total;
//! - [`service`]: the machine that keeps one instance alive;
//! - [`probe`]: the machine that asks one question again and again;
//! - [`order`]: the plan that turns needs into start and stop waves;
//! - [`reload`]: the plan that turns two specs into the smallest set of changes;
//! - [`stamp`]: what a running program was started with, for the next guard to compare;
//! - [`health`]: how many answers become one word;
//! - [`level`]: how much a line of output matters;
//! - [`access`]: who may come in over the network, and how often;
//! - [`guard`]: the machine that owns all of the above for one spec file.
//!
//! Deliberately absent: IO, clocks, randomness, tasks, threads, serialisation, OS conditions. A clippy
//! configuration of its own, `forbid(unsafe_code)` and a dependency allow-list keep it so.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod access;
pub mod chance;
pub mod guard;
pub mod health;
pub mod level;
pub mod names;
pub mod order;
pub mod probe;
pub mod reload;
pub mod service;
pub mod spec;
pub mod stamp;
pub mod template;
pub mod time;
