//! What an OS folder uses for the parts it does not have: types that cannot exist, and functions that say so.
//!
//! A type here has no value, so its methods need no body; the only way to one is a constructor, which
//! answers [`crate::Unsupported`]. An OS folder replaces its re-exports by its own code one by one.

#[cfg(target_os = "macos")]
pub(crate) mod container;
#[cfg(target_os = "macos")]
pub(crate) mod lasting;
#[cfg(target_os = "macos")]
pub(crate) mod pipe;
#[cfg(target_os = "macos")]
pub(crate) mod process;
#[cfg(target_os = "macos")]
pub(crate) mod safe;
pub(crate) mod succession;
#[cfg(target_os = "macos")]
pub(crate) mod usage;

#[cfg(target_os = "macos")]
use crate::{Error, Os, Unsupported};

/// The refusal of everything in this folder that has no better words.
#[cfg(target_os = "macos")]
pub(crate) fn absent(capability: &'static str) -> Error {
    let reason = format!("this version of Tutela does not know how on {}; use it on Linux", Os::CURRENT.name());
    Error::Unsupported(Unsupported::new(capability, reason))
}
