//! Windows. What is here works; what is not yet here answers `Unsupported`.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod background;
pub(crate) mod capabilities;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod endpoint;
pub(crate) mod eventlog;
pub(crate) mod files;
pub(crate) mod handle;
pub(crate) mod host;
pub(crate) mod lasting;
pub(crate) mod library;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod paths;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod registration;
pub(crate) mod safe;
pub(crate) mod secret;
pub(crate) mod security;
pub(crate) mod signals;
pub(crate) mod sluice;
pub(crate) mod tcp;
pub(crate) mod terminal;
pub(crate) mod trust;
pub(crate) mod usage;
pub(crate) mod watch;
pub(crate) mod wide;

pub(crate) use crate::absent::succession;

pub(crate) const OS: crate::Os = crate::Os::Windows;
