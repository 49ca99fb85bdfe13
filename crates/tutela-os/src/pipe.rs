//! Pipes for the output of programs: the read end is asynchronous, the write end goes to the program.

use crate::handle::Handle;
use crate::{Error, platform};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// The end that the guard reads. Ends (reads 0 bytes) when every copy of the write end is closed. Has no
/// buffer of its own; reads go straight to the OS. (On Windows a read of a few KiB is always under way.)
#[derive(Debug)]
pub struct ReadEnd(platform::pipe::ReadEnd);

/// A pipe: what is written to the [`Handle`] is read from the [`ReadEnd`].
///
/// The write end blocks its writer while the pipe is full, as programs expect. `capacity` asks for
/// that many bytes of room in the kernel; it is a wish, and `None` takes the OS's own size. Call it
/// within a tokio runtime with IO enabled; the runtime that is current is the one that reads.
///
/// # Errors
/// The OS gave no pipe, mostly because too many files are open.
pub fn output_pipe(capacity: Option<usize>) -> Result<(ReadEnd, Handle), Error> {
    let (read, write) = platform::pipe::output_pipe(capacity)?;
    Ok((ReadEnd(read), Handle(write)))
}

/// The same, to be given to a runtime later through [`IdleReadEnd::activate`]: for a pipe that is made
/// on one thread and read on another.
///
/// # Errors
/// As [`output_pipe`].
pub fn idle_output_pipe(capacity: Option<usize>) -> Result<(IdleReadEnd, Handle), Error> {
    let (read, write) = platform::pipe::idle_output_pipe(capacity)?;
    Ok((IdleReadEnd(read), Handle(write)))
}

/// A [`ReadEnd`] that no runtime knows of yet. Dropping it closes it.
#[derive(Debug)]
pub struct IdleReadEnd(platform::pipe::IdleReadEnd);

impl IdleReadEnd {
    /// Gives it to the tokio runtime that is current.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn activate(self) -> Result<ReadEnd, Error> {
        self.0.activate().map(ReadEnd)
    }
}

impl AsyncRead for ReadEnd {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}
