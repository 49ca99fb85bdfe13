//! Control sockets: unix stream sockets, with a lock beside each.

use super::address::Address;
use crate::Error;
use crate::endpoint::{BindError, Found, Peer};
use crate::files::Lock;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

/// A bound socket and the lock that makes it ours.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    // Dropped after the socket's file is removed, so that nobody who then takes it loses their own file.
    _lock: Lock,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream(UnixStream);

fn lock_of(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

impl Listener {
    pub(crate) fn bind(path: &Path) -> Result<Listener, BindError> {
        let failed = |source: io::Error| Error::io(format!("open the control socket {}", path.display()), source);
        if let Some(folder) = path.parent() {
            // Root's can be entered by everybody, so that they can be told why they are refused; another
            // account's folder is its own business.
            let made = if rustix::process::geteuid().is_root() {
                crate::files::make_public_dir(folder)
            } else {
                crate::files::make_private_dir(folder)
            };
            made?;
        }
        let lock = Lock::take(&lock_of(path)).map_err(|refusal| BindError::from_lock(path, refusal))?;
        // Ours by the lock; whoever left it is gone.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
            Ok(()) | Err(_) => {}
        }
        let address = Address::of(path).map_err(failed)?;
        let socket = UnixListener::bind(&address.path).map_err(failed)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Listener { socket, path: path.to_path_buf(), _lock: lock })
    }

    pub(crate) async fn accept(&self) -> Result<(Stream, Peer), Error> {
        let failed = |source: io::Error| Error::io(format!("accept a connection at {}", self.path.display()), source);
        let (stream, _) = self.socket.accept().await.map_err(failed)?;
        let credentials = stream.peer_cred().map_err(failed)?;
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
        };
        Ok((Stream(stream), peer))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever connects to one that stays is refused by the kernel, and the next guard replaces it.
        drop(std::fs::remove_file(&self.path));
    }
}

pub(crate) async fn connect(path: &Path) -> Result<Stream, Error> {
    let failed = |source| Error::io(format!("connect to the control socket {}", path.display()), source);
    let address = Address::of(path).map_err(failed)?;
    UnixStream::connect(&address.path).await.map(Stream).map_err(failed)
}

pub(crate) fn may_control(peer: &Peer) -> bool {
    peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw()
}

pub(crate) fn list(runtime_dir: &Path) -> Result<Vec<Found>, Error> {
    let failed = |source| Error::io(format!("list the control sockets in {}", runtime_dir.display()), source);
    let entries = match std::fs::read_dir(runtime_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sock")
            && let Some(name) = path.file_stem()
        {
            let (name, pid) = (name.to_string_lossy().into_owned(), Lock::holder(&lock_of(&path)));
            found.push(Found { name, path, pid });
        }
    }
    found.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_guard_is_refused_with_the_first_ones_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/shop.sock");
        let first = Listener::bind(&path).unwrap();
        let refusal = Listener::bind(&path).unwrap_err();
        assert!(matches!(refusal, BindError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refusal}");
        assert_eq!(list(path.parent().unwrap()).unwrap().first().and_then(|found| found.pid), Some(std::process::id()));
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_crash_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(list(dir.path()).unwrap().first().map(|found| found.pid), Some(None));
        let listener = Listener::bind(&path).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), connect(&path));
        connected.unwrap();
        let (_, peer) = accepted.unwrap();
        assert_eq!((peer.pid, may_control(&peer)), (Some(std::process::id()), true));
    }

    #[tokio::test]
    async fn a_path_longer_than_the_kernel_takes_works_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120)).join("shop.sock");
        let listener = Listener::bind(&path).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), connect(&path));
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[test]
    fn another_user_may_not_control() {
        let stranger = Peer { uid: 64_123, gid: 64_123, pid: None };
        assert!(!may_control(&stranger));
        assert!(may_control(&Peer { uid: 0, ..stranger }));
    }
}
