//! How guard and safe speak to each other: over a socket that keeps messages whole.

use crate::handle::Handle;
use crate::platform::handle::Handle as Held;
use crate::safe::message::{HEAD_BYTES, Message, Parts, damaged};
use crate::safe::{DEPOSIT_HANDLES_MAX, DEPOSIT_NAME_BYTES_MAX, DEPOSIT_NOTE_BYTES_MAX};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Sends one message, whole or not at all.
pub(super) fn send(socket: BorrowedFd<'_>, message: &Message) -> io::Result<()> {
    let Parts { head, name, note, handles } = message.parts()?;
    let parts = [IoSlice::new(&head), IoSlice::new(name.as_bytes()), IoSlice::new(note.as_bytes())];
    let fds: Vec<BorrowedFd<'_>> = handles.iter().map(|handle| handle.0.0.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DEPOSIT_HANDLES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a deposit has more descriptors than a message takes"));
    }
    loop {
        match sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// Waits for one message; `None`: the other side is gone.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    receive_with(socket, RecvFlags::empty())
}

/// The same for one that is there already; else it would block.
pub(super) fn receive_waiting(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    receive_with(socket, RecvFlags::DONTWAIT)
}

fn receive_with(socket: BorrowedFd<'_>, how: RecvFlags) -> io::Result<Option<Message>> {
    let mut bytes = vec![0_u8; HEAD_BYTES + DEPOSIT_NAME_BYTES_MAX + DEPOSIT_NOTE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DEPOSIT_HANDLES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut ancillary, how | RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    // Descriptors that did not fit would be lost without a word.
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(damaged());
    }
    let bytes = bytes.get(..received.bytes).ok_or_else(damaged)?;
    let (head, text) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let handles = fds.into_iter().map(|fd| Handle(Held(Arc::new(fd)))).collect();
    Message::of(*head, text, handles).map(Some)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::safe::Deposit;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::{Read, Seek, Write};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_deposit_arrives_with_its_descriptors_in_their_order() {
        let (ours, theirs) = pair();
        let files: Vec<std::fs::File> = (0..DEPOSIT_HANDLES_MAX).map(|_| tempfile::tempfile().unwrap()).collect();
        for (number, mut file) in files.iter().enumerate() {
            write!(file, "{number}").unwrap();
        }
        let handles = files.into_iter().map(Handle::from).collect();
        let note = "n".repeat(DEPOSIT_NOTE_BYTES_MAX);
        let name = "ü".repeat(DEPOSIT_NAME_BYTES_MAX / 2);
        let sent = Deposit { name: name.clone(), note: note.clone(), handles };
        send(ours.as_fd(), &Message::Deposit(sent)).unwrap();
        let Some(Message::Deposit(got)) = receive(theirs.as_fd()).unwrap() else { panic!("no deposit") };
        assert_eq!((got.name, got.note), (name, note));
        for (number, handle) in got.handles.iter().enumerate() {
            let mut file = std::fs::File::from(handle.0.0.try_clone().unwrap());
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_is_damaged_is_an_error() {
        let (ours, theirs) = pair();
        let large =
            |name: usize, note: usize| Deposit { name: "x".repeat(name), note: "x".repeat(note), handles: Vec::new() };
        assert!(send(ours.as_fd(), &Message::Deposit(large(DEPOSIT_NAME_BYTES_MAX + 1, 0))).is_err());
        assert!(send(ours.as_fd(), &Message::Deposit(large(0, DEPOSIT_NOTE_BYTES_MAX + 1))).is_err());
        for damaged in [&b"D"[..], b"D\xff\x00abc", b"Q\0\0", b"D\x02\x00\xff\xfe"] {
            rustix::net::send(&ours, damaged, SendFlags::empty()).unwrap();
            assert!(receive(theirs.as_fd()).is_err(), "{damaged:?}");
        }
        drop(ours);
        assert!(receive(theirs.as_fd()).unwrap().is_none());
    }
}
