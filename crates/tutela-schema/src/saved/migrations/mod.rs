//! The steps from each version of the saved state to the next one.
//!
//! [`STEPS`]`[0]` goes from version 1 to 2, and so on. To change the form: raise
//! [`SAVED_VERSION`](super::SAVED_VERSION), add a file `v2.rs` here with one function, append it to [`STEPS`], and
//! keep an example text of the old version as a test beside it. Steps are never edited and work on bare JSON: a step
//! that used today's types would change its meaning with them.

mod v2;

use serde_json::Value;

/// Changes a text of one version into one of the next; the error says what it stumbled over. `v` is set by the caller.
pub type Step = fn(&mut Value) -> Result<(), String>;

/// All steps, oldest first: always one less than [`SAVED_VERSION`](super::SAVED_VERSION).
pub const STEPS: &[Step] = &[v2::add_restarts_by];

const _: () = assert!(STEPS.len() as u64 + 1 == super::SAVED_VERSION, "one step for every version after the first");
