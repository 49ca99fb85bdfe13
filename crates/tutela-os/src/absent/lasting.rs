//! No lasting memory, and no pipes with a chamber.

use super::absent;
use crate::Error;
use crate::platform::handle::Handle;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

pub(crate) const PAID_WHEN_MADE: bool = false;

/// There is none.
#[derive(Debug)]
pub(crate) enum Lasting {}

impl Lasting {
    pub(crate) fn create(_size: usize) -> Result<Self, Error> {
        Err(absent("lasting memory"))
    }

    pub(crate) fn open(_handle: Handle) -> Result<Self, Error> {
        Err(absent("lasting memory"))
    }

    pub(crate) fn handle(&self) -> Handle {
        match *self {}
    }

    pub(crate) fn look(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match *self {}
    }

    pub(crate) fn is_blank(&self) -> bool {
        match *self {}
    }

    pub(crate) fn release(&mut self, _part: Range<usize>) {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Sluice {}

/// There is none.
#[derive(Debug)]
pub(crate) enum IdleSluice {}

pub(crate) fn sluiced_output_pipe(_capacity: Option<usize>) -> Result<(IdleSluice, Handle), Error> {
    Err(absent("pipes that outlive a guard"))
}

impl IdleSluice {
    pub(crate) fn behind(_pipe: Handle) -> Result<Self, Error> {
        Err(absent("pipes that outlive a guard"))
    }

    pub(crate) fn from_handles(_pipe: Handle, _chamber: Handle) -> Result<Self, Error> {
        Err(absent("pipes that outlive a guard"))
    }

    pub(crate) fn handles(&self) -> [Handle; 2] {
        match *self {}
    }

    pub(crate) fn activate(self) -> Result<Sluice, Error> {
        match self {}
    }
}

impl Sluice {
    pub(crate) fn poll_fill(&mut self, _context: &mut Context<'_>, _most: usize) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn filled(&self) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn drain(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}
