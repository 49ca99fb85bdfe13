//! A connection's queue of what was written.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

pub(crate) fn unconfirmed(stream: &TcpStream) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).ok()?;
    // SAFETY: the descriptor is open, as the stream is borrowed; the option is one `int`, which is ours, of the length
    // that is said.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NWRITE,
            (&raw mut bytes).cast(),
            &raw mut length,
        )
    };
    if result == 0 { u64::try_from(bytes).ok() } else { None }
}
