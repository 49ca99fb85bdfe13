//! What the kernel knows of a connection and a socket does not tell.
//!
//! Called by those who send to a receiver that never answers.

use crate::platform;
use std::net::TcpStream;

/// How many bytes this side has written that the other side's kernel has not confirmed; `None`: this OS does not say,
/// or the connection is no more. One call that does not wait.
pub fn unconfirmed(stream: &TcpStream) -> Option<u64> {
    platform::tcp::unconfirmed(stream)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_nobody_has_taken_is_counted_until_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        assert_eq!(unconfirmed(&stream), Some(0));
        stream.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = stream.write(&[0; 65536]) {
            written += count;
        }
        assert!(unconfirmed(&stream).unwrap() > 0, "both sides' buffers are full");
        let mut buffer = vec![0; written];
        other.read_exact(&mut buffer).unwrap();
        while unconfirmed(&stream) != Some(0) {
            std::thread::yield_now();
        }
    }
}
