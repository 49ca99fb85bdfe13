//! The read end of a pipe whose reader may be killed at any moment without a doubt about what it had read.
//!
//! Called by the guard, for the output of programs that outlive it. Behind the pipe stands a second one, its *chamber*,
//! into which nobody else writes:
//!
//! ```text
//! program ──> pipe ──[ fill: the kernel moves, in one step ]──> chamber ──[ drain: the guard reads ]──> memory
//! ```
//!
//! A byte is in the pipe or in the chamber, never in neither and never in both. Into the pipe the program may write at any
//! time, so that nobody can tell from its contents how much was read; the chamber only becomes emptier, so that what was
//! read is what it lacks. Two handles keep both: [`IdleSluice::handles`].
//!
//! Deliberately absent: knowledge of what was in the chamber before; that is the tray's.

use crate::handle::Handle;
use crate::{Error, platform};
use std::io;
use std::task::{Context, Poll};

/// A sluice that a runtime watches. Dropping it ends the watch; what is in it stays while the handles are kept.
#[derive(Debug)]
pub struct Sluice(platform::sluice::Sluice);

/// A sluice that no runtime knows of yet.
#[derive(Debug)]
pub struct IdleSluice(platform::sluice::IdleSluice);

/// A pipe as [`crate::pipe::idle_output_pipe`] makes it, with a chamber behind it.
///
/// # Errors
/// Not on this OS ([`Error::Unsupported`]), or too many files are open.
pub fn sluiced_output_pipe(capacity: Option<usize>) -> Result<(IdleSluice, Handle), Error> {
    let (sluice, write) = platform::sluice::sluiced_output_pipe(capacity)?;
    Ok((IdleSluice(sluice), Handle(write)))
}

impl IdleSluice {
    /// A sluice for the read end of a pipe that is there, with a new chamber.
    ///
    /// # Errors
    /// Not on this OS ([`Error::Unsupported`]), it is no pipe, or too many files are open.
    pub fn behind(pipe: Handle) -> Result<Self, Error> {
        platform::sluice::IdleSluice::behind(pipe.0).map(IdleSluice)
    }

    /// The sluice whose handles somebody kept: those of [`IdleSluice::handles`], in that order.
    ///
    /// # Errors
    /// They are no pipes.
    pub fn from_handles(pipe: Handle, chamber: Handle) -> Result<Self, Error> {
        platform::sluice::IdleSluice::from_handles(pipe.0, chamber.0).map(IdleSluice)
    }

    /// What keeps it: the pipe and the chamber.
    pub fn handles(&self) -> [Handle; 2] {
        self.0.handles().map(Handle)
    }

    /// Gives it to the tokio runtime that is current.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn activate(self) -> Result<Sluice, Error> {
        self.0.activate().map(Sluice)
    }
}

impl Sluice {
    /// Moves what is in the pipe into the chamber, at most so many bytes, and answers how many. Ready with zero: every copy
    /// of the write end is closed, and the pipe is empty. The chamber has to be empty, else it may answer that it would block.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn poll_fill(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.0.poll_fill(context, most)
    }

    /// How many bytes are in the chamber.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn filled(&self) -> io::Result<usize> {
        self.0.filled()
    }

    /// Reads from the chamber, in the order of the pipe. Never waits: where the chamber is empty it would block.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], or the kernel refused.
    pub fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.drain(into)
    }
}
