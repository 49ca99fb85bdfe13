//! No signals to the guard.

use crate::Error;
use crate::absent::absent;
use crate::process::Signal;

/// There is none.
#[derive(Debug)]
pub(crate) enum Signals {}

impl Signals {
    pub(crate) fn open() -> Result<Signals, Error> {
        Err(absent("signals to the guard"))
    }

    pub(crate) async fn next(&mut self) -> Result<Signal, Error> {
        match *self {}
    }

    pub(crate) fn sender(&self, _signal: Signal) -> Option<crate::signals::Sender> {
        match *self {}
    }
}

/// Nothing: this OS interrupts no threads with signals, or we take none over.
#[derive(Debug)]
pub(crate) struct Calm;

impl Calm {
    pub(crate) fn begin() -> Calm {
        Calm
    }
}
