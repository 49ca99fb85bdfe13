//! The control socket of a guard: one per guard, found by its path, served to those who may control it.
//!
//! The guard decides by [`Peer::may_control`], which the OS vouches for. Of two guards with one name one is
//! refused, and a socket left by a crash is in nobody's way.
//!
//! On Linux it is a unix socket with a lock beside it, which everybody who can reach it may connect to, so
//! that they can be told why they are refused. On Windows it is a named pipe, which the OS opens only to
//! the system, administrators, the guard's own account and the local group `Tutela Operators`, if there
//! is one; it is never reachable from another computer.

use crate::accounts::AccountId;
use crate::paths::Paths;
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

/// Who is at the other end of a connection, by the word of the OS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The account.
    pub account: AccountId,
    /// The process that connected; it may have ended since.
    pub pid: Option<u32>,
    /// Whether the account is the guard's own.
    pub(crate) own: bool,
    /// Whether it may control the guard for another reason: an administrator's or operator's rights, which
    /// are those that it connected with.
    pub(crate) trusted: bool,
}

impl Peer {
    /// Whether it may control this guard: its own account and administrators may; on Windows also the
    /// operators' group.
    pub fn may_control(&self) -> bool {
        self.own || self.trusted
    }

    /// Whether it has the guard's own account.
    pub fn is_own_account(&self) -> bool {
        self.own
    }
}

/// A connection to or from a control socket. Dropping it closes it.
#[derive(Debug)]
pub struct Stream(platform::endpoint::Stream);

impl Listener {
    /// Opens the control socket at `path`, whose folder is made if it is missing. A socket that a crashed
    /// guard left is replaced. Call it within a tokio runtime with IO and time enabled. On Windows the name of a
    /// dropped listener is free once the runtime has turned, or is gone.
    ///
    /// # Errors
    /// Another guard has it, or the folder or the socket cannot be made.
    pub fn bind(path: &Path) -> Result<Listener, BindError> {
        platform::endpoint::Listener::bind(path).map(Listener)
    }

    /// The next connection and who made it. May be dropped and called again without losing one; one call
    /// at a time.
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

/// Connects to the control socket at `path`. The guard learns who we are, and cannot act in our name.
///
/// # Errors
/// Nobody answers there: [`Error::io_kind`] is `NotFound` or `ConnectionRefused`. Not ours to enter:
/// `PermissionDenied`. On Windows also that the guard had no place free for some seconds.
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

/// The control sockets of this account's guards, by name: those beside each other, and those in folders of
/// their own. Where there is no folder there are none. Of two with one name the one that answers is told.
///
/// # Errors
/// A folder cannot be read.
pub fn list(paths: &Paths) -> Result<Vec<Found>, Error> {
    let mut found = platform::endpoint::list(paths)?;
    found.sort_by(|left, right| left.name.cmp(&right.name).then(right.pid.is_some().cmp(&left.pid.is_some())));
    found.dedup_by(|later, former| later.name == former.name);
    Ok(found)
}

/// The process of the guard that has the control socket at `path`, as far as this account may know. On Windows a guard
/// has one place for its pipe, and to bind it is the way to find out.
pub fn holder(path: &Path) -> Option<u32> {
    platform::endpoint::holder(path)
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
