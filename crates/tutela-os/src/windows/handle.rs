//! Handles and sockets that a program is given.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::windows::io::{OwnedHandle, OwnedSocket};
use std::sync::Arc;

/// Of the two kinds that Windows has.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "held open for programs, which cannot be started yet")]
pub(crate) enum Handle {
    /// A file, pipe or the like.
    File(Arc<OwnedHandle>),
    /// A socket.
    Socket(Arc<OwnedSocket>),
}

impl Handle {
    pub(crate) fn from_file(file: File) -> Self {
        Handle::File(Arc::new(file.into()))
    }

    pub(crate) fn from_tcp_listener(listener: TcpListener) -> Self {
        Handle::Socket(Arc::new(listener.into()))
    }

    pub(crate) fn from_udp_socket(socket: UdpSocket) -> Self {
        Handle::Socket(Arc::new(socket.into()))
    }
}
