//! An open file, pipe or socket that is given to a program at its start, whatever the OS calls it.

use crate::platform;

/// A shared, owned handle of the OS. Closed when its last clone is dropped; never inherited by a program
/// unless a [`crate::process::SpawnRequest`] names it.
#[derive(Debug, Clone)]
pub struct Handle(
    #[allow(dead_code, reason = "read where programs can be started")] pub(crate) platform::handle::Handle,
);

impl From<std::fs::File> for Handle {
    fn from(file: std::fs::File) -> Self {
        Handle(platform::handle::Handle::from_file(file))
    }
}

impl From<std::io::PipeReader> for Handle {
    fn from(pipe: std::io::PipeReader) -> Self {
        Handle(platform::handle::Handle::from_pipe(pipe))
    }
}

impl From<std::net::TcpListener> for Handle {
    fn from(listener: std::net::TcpListener) -> Self {
        Handle(platform::handle::Handle::from_tcp_listener(listener))
    }
}

impl From<std::net::UdpSocket> for Handle {
    fn from(socket: std::net::UdpSocket) -> Self {
        Handle(platform::handle::Handle::from_udp_socket(socket))
    }
}
