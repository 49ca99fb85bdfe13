//! A connection's queue of what was written.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

pub(crate) fn unconfirmed(stream: &TcpStream) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, as the stream is borrowed, and this request (`SIOCOUTQ` by its other name)
    // writes one `int`, which is ours.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).ok() } else { None }
}
