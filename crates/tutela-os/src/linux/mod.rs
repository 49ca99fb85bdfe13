//! Linux.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod address;
pub(crate) mod background;
pub(crate) mod bell;
pub(crate) mod capabilities;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod endpoint;
pub(crate) mod eventlog;
pub(crate) mod handle;
pub(crate) mod host;
pub(crate) mod journal;
pub(crate) mod lasting;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod pipe;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod registration;
pub(crate) mod safe;
pub(crate) mod signals;
pub(crate) mod sluice;
pub(crate) mod succession;
pub(crate) mod tcp;
pub(crate) mod terminal;
pub(crate) mod usage;
pub(crate) mod watch;

pub(crate) use crate::unix::{files, paths, secret};

pub(crate) const OS: crate::Os = crate::Os::Linux;
