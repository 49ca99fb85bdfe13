//! A file descriptor that the runtime watches.

use crate::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor, registered with the tokio runtime that was current when it was made. It may have other owners, but none
/// that has it watched by the same runtime.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<Arc<OwnedFd>>);

impl Watched {
    /// Registers `fd`, which must be non-blocking, for reading.
    pub(crate) fn reading(fd: impl Into<Arc<OwnedFd>>) -> Result<Watched, Error> {
        Watched::register(fd.into(), Interest::READABLE)
    }

    /// Registers `fd` for what the kernel calls priority: changes of a file in a virtual file system.
    pub(crate) fn changes(fd: OwnedFd) -> Result<Watched, Error> {
        Watched::register(Arc::new(fd), Interest::PRIORITY)
    }

    fn register(fd: Arc<OwnedFd>, interest: Interest) -> Result<Watched, Error> {
        let failed = |source: io::Error| Error::io("watch a file descriptor from the asynchronous runtime", source);
        // Registering panics outside of a runtime; an error is the better teacher.
        tokio::runtime::Handle::try_current().map_err(|error| failed(io::Error::other(error)))?;
        // SAFETY: an OwnedFd is open until its last owner drops it and always answers the same number, and the AsyncFd
        // is one of the owners from here to its own end; nothing here takes it out or replaces it.
        let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
        registered.map(Watched).map_err(|error| failed(error.into()))
    }

    /// Does `operation` when the descriptor is readable, as often as it would block.
    pub(crate) async fn when_readable<T>(
        &self,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, |fd| operation(fd.as_fd())).await
    }

    /// The same for a caller that polls.
    pub(crate) fn poll_readable<T>(
        &self,
        context: &mut Context<'_>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| operation(fd.get_ref().as_fd())) {
                return Poll::Ready(result);
            }
        }
    }

    /// Waits for a change since the last call. Look at the file after it, never only before.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
