//! No readiness messages.

use super::handle::Handle;
use crate::Error;
use crate::absent::absent;
use crate::notify::Message;
use std::ffi::OsString;
use std::path::Path;

/// There is none.
#[derive(Debug)]
pub(crate) enum Inbox {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Attached {}

impl Inbox {
    pub(crate) fn bind(_path: &Path) -> Result<Inbox, Error> {
        Err(absent("readiness messages"))
    }

    pub(crate) fn from_shared(_handle: &Handle, _path: &Path) -> Result<Inbox, Error> {
        Err(absent("readiness messages"))
    }

    pub(crate) fn share(&self) -> Result<Handle, Error> {
        match *self {}
    }

    pub(crate) fn address(&self) -> OsString {
        match *self {}
    }

    pub(crate) async fn recv(&self) -> Result<Message, Error> {
        match *self {}
    }
}
