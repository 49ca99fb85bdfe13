//! The control socket of a guard: one per guard, found by its path, served to those who may control it.
//!
//! Everybody who can reach the socket may connect, so that they can be told why they are refused; the
//! guard decides by [`Peer::may_control`], which the OS vouches for. A lock beside the socket makes sure
//! that of two guards with one name one is refused, and that a socket left by a crash is replaced.

use crate::files::LockError;
use crate::{Error, platform};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A guard's control socket. Dropping it removes the socket and frees its name.
#[derive(Debug)]
pub struct Listener(platform::endpoint::Listener);

/// Why a control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another guard has this socket.
    #[error("refused: a guard already answers at {path} (process {})", pid.map_or("unknown".into(), |pid| pid.to_string()), path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// That guard's process, if it says so.
        pid: Option<u32>,
    },
    /// It did not work.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl BindError {
    /// The refusal of the lock beside the socket at `path`.
    #[allow(dead_code, reason = "an OS without control sockets takes no lock for one")]
    pub(crate) fn from_lock(path: &Path, refusal: LockError) -> Self {
        match refusal {
            LockError::Held { holder, .. } => BindError::InUse { path: path.to_owned(), pid: holder },
            LockError::Failed(error) => BindError::Failed(error),
        }
    }
}

/// Who is at the other end of a connection, by the word of the OS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process that connected; it may have ended since.
    pub pid: Option<u32>,
}

impl Peer {
    /// Whether it may control this guard: the guard's own user and the administrator may.
    pub fn may_control(&self) -> bool {
        platform::endpoint::may_control(self)
    }
}

/// A connection to or from a control socket. Dropping it closes it.
#[derive(Debug)]
pub struct Stream(platform::endpoint::Stream);

impl Listener {
    /// Opens the control socket at `path`, whose folder is made if it is missing. A socket that a crashed
    /// guard left is replaced. Call it within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// Another guard has it, or the folder or the socket cannot be made.
    pub fn bind(path: &Path) -> Result<Listener, BindError> {
        platform::endpoint::Listener::bind(path).map(Listener)
    }

    /// The next connection and who made it.
    ///
    /// # Errors
    /// Mostly too many open files; the listener stays usable. Wait a little before the next call.
    pub async fn accept(&self) -> Result<(Stream, Peer), Error> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream(stream), peer))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Connects to the control socket at `path`.
///
/// # Errors
/// Nobody answers there: [`Error::io_kind`] is `NotFound` or `ConnectionRefused`. Not ours to enter:
/// `PermissionDenied`.
pub async fn connect(path: &Path) -> Result<Stream, Error> {
    platform::endpoint::connect(path).await.map(Stream)
}

/// A control socket that was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The guard's name, by the file's.
    pub name: String,
    /// The socket.
    pub path: PathBuf,
    /// The guard's process; `None`: the guard is gone and left the socket.
    pub pid: Option<u32>,
}

/// The control sockets in `runtime_dir`, by name. A folder that does not exist has none.
///
/// # Errors
/// The folder cannot be read.
pub fn list(runtime_dir: &Path) -> Result<Vec<Found>, Error> {
    platform::endpoint::list(runtime_dir)
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
