//! A pipe, and behind it lasting memory in the place of a second pipe.
//!
//! - [`chamber`]: the memory, and how bytes get into it so that none is lost or doubled;
//! - [`bell`]: what tells when there is something in the pipe.

mod bell;
mod chamber;
#[cfg(test)]
mod tests;

use super::handle::Handle;
use crate::Error;
use bell::Bell;
use chamber::{Chamber, Word};
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::Arc;
use std::task::{Context, Poll};
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_PIPE_NOT_CONNECTED};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};

#[derive(Debug)]
pub(crate) struct IdleSluice {
    pipe: Arc<OwnedHandle>,
    chamber: Chamber,
}

#[derive(Debug)]
pub(crate) struct Sluice {
    /// Before the pipe that it waits for, so that it is dropped first.
    bell: Bell,
    pipe: Arc<OwnedHandle>,
    chamber: Chamber,
}

pub(crate) fn sluiced_output_pipe(capacity: Option<usize>) -> Result<(IdleSluice, Handle), Error> {
    let (read, write) = super::pipe::idle_output_pipe(capacity)?;
    Ok((IdleSluice::behind(Handle::File(Arc::new(read.into())))?, write))
}

/// The handle of a pipe.
fn pipe_of(handle: Handle) -> Result<Arc<OwnedHandle>, Error> {
    match handle {
        // SAFETY: the handle is open for the call, which touches no memory of ours.
        Handle::File(pipe) if unsafe { GetFileType(pipe.as_raw_handle()) } == FILE_TYPE_PIPE => Ok(pipe),
        other => Err(Error::Refused(format!("what was kept for a program's output is no pipe: {other:?}"))),
    }
}

impl IdleSluice {
    pub(crate) fn behind(pipe: Handle) -> Result<Self, Error> {
        Ok(IdleSluice { pipe: pipe_of(pipe)?, chamber: Chamber::new()? })
    }

    pub(crate) fn from_handles(pipe: Handle, chamber: Handle) -> Result<Self, Error> {
        let pipe = pipe_of(pipe)?;
        let mut chamber = Chamber::open(chamber)?;
        chamber.decide(&pipe);
        Ok(IdleSluice { pipe, chamber })
    }

    pub(crate) fn handles(&self) -> [Handle; 2] {
        [Handle::File(self.pipe.clone()), self.chamber.memory.handle()]
    }

    pub(crate) fn activate(self) -> Result<Sluice, Error> {
        let bell = Bell::new().map_err(|source| Error::io("watch the pipe of a program's output", source))?;
        Ok(Sluice { bell, pipe: self.pipe, chamber: self.chamber })
    }
}

impl Sluice {
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        loop {
            if !self.bell.has_rung(&self.pipe, context) {
                return Poll::Pending;
            }
            match self.chamber.fill(&self.pipe, most) {
                Ok(0) => {}
                Err(error) if is_end(&error) => return Poll::Ready(Ok(0)),
                filled => return Poll::Ready(filled),
            }
            match self.bell.hang(&self.pipe) {
                Ok(()) => {}
                // What was written before the end is shown by one more look.
                Err(error) if is_end(&error) => {
                    return Poll::Ready(self.chamber.fill(&self.pipe, most).or_else(|error| match is_end(&error) {
                        true => Ok(0),
                        false => Err(error),
                    }));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(crate) fn filled(&self) -> io::Result<usize> {
        Ok(match self.chamber.word() {
            Word::Holding { length, drained } => length - drained,
            Word::Empty | Word::Taking { .. } => 0,
        })
    }

    pub(crate) fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.chamber.drain(into)
    }
}

impl Drop for Sluice {
    fn drop(&mut self) {
        self.bell.take_down(&self.pipe);
    }
}

/// Every copy of the write end is closed.
fn is_end(error: &io::Error) -> bool {
    let ends = [ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED, ERROR_HANDLE_EOF];
    error.kind() == io::ErrorKind::BrokenPipe
        || ends.iter().any(|code| error.raw_os_error() == Some(code.cast_signed()))
}
