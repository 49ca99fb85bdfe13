//! macOS. What is here works; what is not yet here answers `Unsupported`.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod background;
pub(crate) mod capabilities;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod endpoint;
pub(crate) mod eventlog;
pub(crate) mod handle;
pub(crate) mod host;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod registration;
pub(crate) mod signals;
pub(crate) mod tcp;
pub(crate) mod terminal;
pub(crate) mod usage;

pub(crate) use crate::absent::{safe, succession};
pub(crate) use crate::unix::{files, paths, secret};

pub(crate) use crate::absent::lasting::{self, self as sluice};

pub(crate) const OS: crate::Os = crate::Os::MacOs;
