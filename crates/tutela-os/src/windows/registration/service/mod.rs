//! Services of the SCM: planning, removing, asking.
//!
//! [`plan`] compares what is wanted with what the SCM, the registry, the policy and the disk have, value by value, and
//! makes a step of each difference. What this computer's SCM does not know at all becomes a note.

mod compare;
mod query;
mod removal;
mod wanted;

pub(super) use compare::plan;
pub(super) use query::{all, is_ours, query, standing};
pub(super) use removal::plan_removal;
pub(super) use wanted::{arguments, check_texts, path_text};
