//! Control sockets: unix stream sockets, with a lock beside each.

use super::address::Address;
use crate::Error;
use crate::accounts::AccountId;
use crate::endpoint::{BindError, Found, Peer};
use crate::files::{Lock, LockError};
use crate::paths::Paths;
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
        let lock = Lock::take(&lock_of(path)).map_err(|refusal| match refusal {
            LockError::Held { holder, .. } => BindError::InUse { path: path.to_owned(), pid: holder },
            LockError::Failed(error) => BindError::Failed(error),
        })?;
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
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok((Stream(stream), peer(credentials.uid(), credentials.gid(), pid)))
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

/// Root may control every guard.
fn peer(uid: u32, gid: u32, pid: Option<u32>) -> Peer {
    let own = uid == rustix::process::geteuid().as_raw();
    Peer { account: AccountId::Unix { uid, gid }, pid, own, trusted: uid == 0 }
}

/// Those in the folder, and in each of its folders the one that has the folder's name.
pub(crate) fn list(paths: &Paths) -> Result<Vec<Found>, Error> {
    let runtime_dir = paths.runtime_dir();
    let failed = |source| Error::io(format!("list the control sockets in {}", runtime_dir.display()), source);
    let entries = match std::fs::read_dir(runtime_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sock") {
            found.extend(found_at(path));
        } else if let Some(name) = path.file_name() {
            // A folder of somebody else's that cannot be entered holds nobody who could be spoken to.
            let inside = path.join(name).with_added_extension("sock");
            if inside.exists() {
                found.extend(found_at(inside));
            }
        }
    }
    Ok(found)
}

pub(crate) fn holder(path: &Path) -> Option<u32> {
    Lock::holder(&lock_of(path))
}

fn found_at(path: PathBuf) -> Option<Found> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    let pid = holder(&path);
    Some(Found { name, path, pid })
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
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_crash_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&path).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), connect(&path));
        connected.unwrap();
        let (_, peer) = accepted.unwrap();
        assert_eq!((peer.pid, peer.may_control()), (Some(std::process::id()), true));
    }

    #[tokio::test]
    async fn a_path_longer_than_the_kernel_takes_works_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120)).join("shop.sock");
        let listener = Listener::bind(&path).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), connect(&path));
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[tokio::test]
    async fn guards_in_folders_of_their_own_are_listed_beside_the_others() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::under(home.path());
        let beside = Listener::bind(&paths.socket("cafe")).unwrap();
        let apart = Listener::bind(paths.sockets("shop").last().unwrap()).unwrap();
        // Left by a guard that crashed; the one that runs is told in its place.
        drop(std::os::unix::net::UnixListener::bind(paths.socket("shop")).unwrap());
        std::fs::create_dir(paths.runtime_dir().join("empty")).unwrap();
        let found = crate::endpoint::list(&paths).unwrap();
        let told: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.path.as_path())).collect();
        assert_eq!(told, [("cafe", beside.path()), ("shop", apart.path())]);
        assert!(found.iter().all(|found| found.pid == Some(std::process::id())));
    }

    #[test]
    fn another_user_may_not_control() {
        assert!(!peer(64_123, 64_123, None).may_control());
        assert!(peer(0, 64_123, None).may_control());
        assert!(peer(rustix::process::geteuid().as_raw(), 64_123, None).is_own_account());
    }
}
