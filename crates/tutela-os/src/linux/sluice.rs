//! Two pipes behind each other; the kernel moves what is in the one to the other.

use super::handle::Handle;
use super::pipe::idle_output_pipe;
use super::watch::Watched;
use crate::Error;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

#[derive(Debug)]
pub(crate) struct Sluice {
    pipe: Watched,
    chamber: Arc<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct IdleSluice {
    pipe: Arc<OwnedFd>,
    /// Both ends of it in one.
    chamber: Arc<OwnedFd>,
}

pub(crate) fn sluiced_output_pipe(capacity: Option<usize>) -> Result<(IdleSluice, Handle), Error> {
    let (read, write) = idle_output_pipe(capacity)?;
    Ok((IdleSluice { pipe: Arc::new(read.0), chamber: Arc::new(new_chamber()?) }, write))
}

impl IdleSluice {
    pub(crate) fn behind(pipe: Handle) -> Result<Self, Error> {
        Self::from_handles(pipe, Handle(Arc::new(new_chamber()?)))
    }

    pub(crate) fn from_handles(pipe: Handle, chamber: Handle) -> Result<Self, Error> {
        for handle in [&pipe, &chamber] {
            let failed = |errno| Error::io("look at a pipe that was kept", errno);
            let stat = rustix::fs::fstat(&handle.0).map_err(failed)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
                return Err(Error::Refused("what was kept for a program's output is no pipe".to_owned()));
            }
            let flags = rustix::fs::fcntl_getfl(&handle.0).map_err(failed)?;
            if !flags.contains(OFlags::NONBLOCK) {
                rustix::fs::fcntl_setfl(&handle.0, flags | OFlags::NONBLOCK).map_err(failed)?;
            }
        }
        Ok(IdleSluice { pipe: pipe.0, chamber: chamber.0 })
    }

    pub(crate) fn handles(&self) -> [Handle; 2] {
        [Handle(self.pipe.clone()), Handle(self.chamber.clone())]
    }

    pub(crate) fn activate(self) -> Result<Sluice, Error> {
        Ok(Sluice { pipe: Watched::reading(self.pipe)?, chamber: self.chamber })
    }
}

/// A pipe with both ends in one descriptor, which is half of what has to be kept.
fn new_chamber() -> Result<OwnedFd, Error> {
    let failed = |errno| Error::io("make a pipe behind a program's output", errno);
    let (inner, _outer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let name = format!("/proc/self/fd/{}", inner.as_raw_fd());
    rustix::fs::open(name, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|errno| Error::io("open both ends of a pipe through /proc", errno))
}

impl Sluice {
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let chamber = self.chamber.as_fd();
        let filled = ready!(self.pipe.poll_readable(context, |pipe| {
            rustix::pipe::splice(pipe, None, chamber, None, most, SpliceFlags::NONBLOCK).map_err(io::Error::from)
        }));
        Poll::Ready(filled)
    }

    pub(crate) fn filled(&self) -> io::Result<usize> {
        let bytes = rustix::io::ioctl_fionread(&self.chamber)?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    pub(crate) fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.chamber, into)?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::io::Write;

    fn pipe() -> (IdleSluice, std::fs::File) {
        let (idle, write) = sluiced_output_pipe(None).unwrap();
        (idle, Arc::into_inner(write.0).unwrap().into())
    }

    #[tokio::test]
    async fn what_is_in_pipe_and_chamber_outlives_the_sluice_and_is_known_to_the_byte() {
        let (idle, mut program) = pipe();
        let [pipe, chamber] = idle.handles();
        let mut sluice = idle.activate().unwrap();
        program.write_all(b"first").unwrap();
        assert_eq!(std::future::poll_fn(|cx| sluice.poll_fill(cx, 65536)).await.unwrap(), 5);
        assert_eq!(sluice.filled().unwrap(), 5);
        let mut two = [0; 2];
        assert_eq!((sluice.drain(&mut two).unwrap(), &two), (2, b"fi"));
        program.write_all(b" second").unwrap();
        drop(sluice);

        let mut sluice = IdleSluice::from_handles(pipe, chamber).unwrap().activate().unwrap();
        let mut rest = [0; 64];
        assert_eq!((sluice.filled().unwrap(), sluice.drain(&mut rest).unwrap(), &rest[..3]), (3, 3, &b"rst"[..]));
        assert_eq!(sluice.drain(&mut rest).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(std::future::poll_fn(|cx| sluice.poll_fill(cx, 4)).await.unwrap(), 4);
        assert_eq!((sluice.filled().unwrap(), sluice.drain(&mut rest).unwrap(), &rest[..4]), (4, 4, &b" sec"[..]));
    }

    #[tokio::test]
    async fn the_end_of_the_pipe_is_told_once_it_is_empty() {
        let (idle, mut program) = pipe();
        program.write_all(b"last").unwrap();
        drop(program);
        let mut sluice = idle.activate().unwrap();
        assert_eq!(std::future::poll_fn(|cx| sluice.poll_fill(cx, 65536)).await.unwrap(), 4);
        assert_eq!(sluice.drain(&mut [0; 64]).unwrap(), 4);
        assert_eq!(std::future::poll_fn(|cx| sluice.poll_fill(cx, 65536)).await.unwrap(), 0);
    }

    #[test]
    fn what_is_no_pipe_is_refused() {
        let (idle, _program) = pipe();
        let [pipe, _] = idle.handles();
        let file = Handle::from_file(std::fs::File::open("/dev/null").unwrap());
        assert!(matches!(IdleSluice::from_handles(pipe, file), Err(Error::Refused(_))));
    }
}
