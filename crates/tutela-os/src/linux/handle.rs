//! File descriptors that a program is given.

use std::fs::File;
use std::io::PipeReader;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One open file, pipe or socket; closed with its last clone.
#[derive(Debug, Clone)]
pub(crate) struct Handle(pub(crate) Arc<OwnedFd>);

impl Handle {
    pub(crate) fn from_file(file: File) -> Self {
        Handle(Arc::new(file.into()))
    }

    pub(crate) fn from_pipe(pipe: PipeReader) -> Self {
        Handle(Arc::new(pipe.into()))
    }

    pub(crate) fn from_tcp_listener(listener: TcpListener) -> Self {
        Handle(Arc::new(listener.into()))
    }

    pub(crate) fn from_udp_socket(socket: UdpSocket) -> Self {
        Handle(Arc::new(socket.into()))
    }
}
