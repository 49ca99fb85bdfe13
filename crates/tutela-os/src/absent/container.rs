//! No containers for process trees.

use crate::process::{Member, Signal, TreeUsage};
use crate::{Error, Unsupported};
use tutela_core::spec::Limits;

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum Tree {}

impl Tree {
    pub(crate) fn label(&self) -> &str {
        match *self {}
    }

    pub(crate) fn members(&self) -> Result<Vec<Member>, Error> {
        match *self {}
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        match *self {}
    }

    pub(crate) fn contains(&self, _pid: u32) -> bool {
        match *self {}
    }

    pub(crate) fn signal_all(&self, _signal: Signal) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn kill(&self) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn freeze(&self) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn thaw(&self) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn usage(&self) -> Result<TreeUsage, Error> {
        match *self {}
    }

    pub(crate) fn set_limits(&self, _limits: &Limits) -> Result<Vec<Unsupported>, Error> {
        match *self {}
    }

    pub(crate) fn oom_killed(&self) -> Result<bool, Error> {
        match *self {}
    }

    pub(crate) async fn emptied(&self) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        match *self {}
    }
}
