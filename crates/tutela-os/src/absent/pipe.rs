//! No pipes for output.

use super::absent;
use crate::Error;
use crate::platform::handle::Handle;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// There is none.
#[derive(Debug)]
pub(crate) enum ReadEnd {}

/// There is none.
#[derive(Debug)]
pub(crate) enum IdleReadEnd {}

pub(crate) fn output_pipe(_capacity: Option<usize>) -> Result<(ReadEnd, Handle), Error> {
    Err(absent("output pipes"))
}

pub(crate) fn idle_output_pipe(_capacity: Option<usize>) -> Result<(IdleReadEnd, Handle), Error> {
    Err(absent("output pipes"))
}

impl IdleReadEnd {
    pub(crate) fn activate(self) -> Result<ReadEnd, Error> {
        match self {}
    }
}

impl AsyncRead for ReadEnd {
    fn poll_read(self: Pin<&mut Self>, _context: &mut Context<'_>, _into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
