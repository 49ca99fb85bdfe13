//! The guard's ear: a unix datagram socket whose senders the kernel vouches for.

use super::address::Address;
use super::handle::Handle;
use super::watch::Watched;
use crate::Error;
use crate::notify::{MESSAGE_BYTES_MAX, Message};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags,
    SocketType, recvmsg,
};
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A descriptor that came with a message.
pub(crate) type Attached = OwnedFd;

/// How many descriptors one message can bring before the kernel drops the rest; as many as it allows.
const ATTACHED_MAX: usize = 253;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Inbox {
    socket: Watched,
    path: PathBuf,
}

impl Inbox {
    pub(crate) fn bind(path: &Path) -> Result<Inbox, Error> {
        let failed = |source: io::Error| Error::io(format!("open the notify socket {}", path.display()), source);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let address = Address::of(path).map_err(failed)?;
        let socket = open(&address).map_err(|errno| failed(errno.into()))?;
        // The file is there from here on, and goes with the value.
        let inbox = Inbox { socket: Watched::reading(socket)?, path: path.to_path_buf() };
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(inbox)
    }

    pub(crate) fn from_shared(handle: &Handle, path: &Path) -> Result<Inbox, Error> {
        let failed = |source: io::Error| Error::io(format!("take over the notify socket {}", path.display()), source);
        if !path.exists() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let socket = handle.0.try_clone().map_err(failed)?;
        Ok(Inbox { socket: Watched::reading(socket)?, path: path.to_path_buf() })
    }

    pub(crate) fn share(&self) -> Result<Handle, Error> {
        let copy = self.socket.fd().try_clone_to_owned();
        copy.map(|copy| Handle(Arc::new(copy))).map_err(|source| Error::io("share the notify socket", source))
    }

    pub(crate) fn address(&self) -> OsString {
        self.path.clone().into_os_string()
    }

    pub(crate) async fn recv(&self) -> Result<Message, Error> {
        loop {
            let received = self.socket.when_readable(receive).await;
            let failed = |source| Error::io(format!("receive at {}", self.path.display()), source);
            // Without a sender that the kernel names, a message is nobody's.
            if let Some(message) = received.map_err(failed)? {
                return Ok(message);
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn open(address: &Address) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&address.path)?)?;
    Ok(socket)
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut text = vec![0_u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ATTACHED_MAX), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, flags)?;
    let (mut sender, mut attached) = (None, Vec::new());
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(descriptors) => attached.extend(descriptors),
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials),
            _ => {}
        }
    }
    text.truncate(received.bytes);
    let truncated = received.flags.contains(ReturnFlags::TRUNC);
    Ok(sender.map(|sender| Message {
        pid: sender.pid.as_raw_nonzero().get().unsigned_abs(),
        text,
        truncated,
        _attached: attached,
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    #[tokio::test]
    async fn a_message_comes_with_the_senders_process() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::bind(&dir.path().join("shop.notify")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", inbox.address()).unwrap();
        let message = inbox.recv().await.unwrap();
        assert_eq!((message.pid, message.text.as_slice()), (std::process::id(), &b"READY=1"[..]));
        assert!(!message.truncated);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::bind(&dir.path().join("shop.notify")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(&vec![b'x'; MESSAGE_BYTES_MAX + 1], inbox.address()).unwrap();
        assert!(inbox.recv().await.unwrap().truncated);
    }

    #[tokio::test]
    async fn dropping_a_message_answers_its_barrier() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::bind(&dir.path().join("shop.notify")).unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        send_with(&inbox.address(), b"BARRIER=1", theirs.into());
        let message = inbox.recv().await.unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(message);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }

    fn send_with(address: &OsString, text: &[u8], attached: OwnedFd) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr};
        use std::os::fd::AsFd;
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        let descriptors = [attached.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let to = SocketAddrUnix::new(Path::new(address)).unwrap();
        sendmsg_addr(&socket, &to, &[io::IoSlice::new(text)], &mut ancillary, SendFlags::empty()).unwrap();
    }
}
