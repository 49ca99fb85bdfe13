//! Pipes with a non-blocking read end.

use super::handle::Handle;
use super::watch::Watched;
use crate::Error;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// A read end that a runtime watches.
#[derive(Debug)]
pub(crate) struct ReadEnd(Watched);

/// A read end without a runtime.
#[derive(Debug)]
pub(crate) struct IdleReadEnd(pub(super) OwnedFd);

pub(crate) fn output_pipe(capacity: Option<usize>) -> Result<(ReadEnd, Handle), Error> {
    let (read, write) = idle_output_pipe(capacity)?;
    Ok((read.activate()?, write))
}

pub(crate) fn idle_output_pipe(capacity: Option<usize>) -> Result<(IdleReadEnd, Handle), Error> {
    let failed = |errno| Error::io("make a pipe for a program's output", errno);
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    // Of the two ends, each of which has its own status flags, only ours must not block.
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).map_err(failed)?;
    if let Some(bytes) = capacity {
        // A wish: the kernel bounds what a user's pipes may hold in all, and a smaller pipe works too.
        let _ = rustix::pipe::fcntl_setpipe_size(&read, bytes);
    }
    Ok((IdleReadEnd(read), Handle(Arc::new(write))))
}

impl IdleReadEnd {
    pub(crate) fn activate(self) -> Result<ReadEnd, Error> {
        Watched::reading(self.0).map(ReadEnd)
    }
}

impl AsyncRead for ReadEnd {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = into.initialize_unfilled();
        let read = ready!(
            self.0.poll_readable(context, |pipe| { rustix::io::read(pipe, &mut *room).map_err(io::Error::from) })
        )?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}
