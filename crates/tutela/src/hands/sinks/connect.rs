//! A connection to a receiver, within TLS or not. Used by syslog and by the forward protocol.

use super::tls::Trust;
use crate::hands::probes::{Stage, Target, dial, secure};
use std::fmt;
use std::net::TcpStream as Plain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tutela_core::spec::TlsSpec;

/// Bytes both ways, whatever they travel in.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Where to, and how it is trusted.
#[derive(Debug)]
pub(super) struct Receiver {
    target: Target,
    trust: Option<Trust>,
}

/// A connection that was made.
pub(super) struct Connected {
    /// What is sent and received through.
    pub(super) stream: Box<dyn Stream>,
    /// The socket below, for questions about it; never to be read or written.
    pub(super) socket: Plain,
}

impl Receiver {
    /// The receiver at `host:port`; without `tls` in the clear.
    ///
    /// # Errors
    /// The address, or the name for its certificate, cannot be one.
    pub(super) fn new(address: &str, tls: Option<&TlsSpec>) -> Result<Self, String> {
        let target = Target::parse(address).map_err(|error| error.to_string())?;
        let trust = tls.map(|spec| Trust::new(spec, &[]));
        if let Some(trust) = &trust {
            trust.server_name(target.host())?;
        }
        Ok(Receiver { target, trust })
    }

    /// Connects. The error says what did not work, with the address.
    pub(super) async fn connect(&mut self, by: Instant, stage: &Stage) -> Result<Connected, String> {
        let stream = dial(&self.target, by, stage).await.map_err(|trouble| trouble.into_reason())?;
        let (stream, socket) = doubled(stream).map_err(|error| format!("failed to keep {}: {error}", self.target))?;
        let Some(trust) = &mut self.trust else { return Ok(Connected { stream: Box::new(stream), socket }) };
        let name = trust.server_name(self.target.host())?;
        let secured = secure(stream, &name, trust.config(), stage).await;
        let stream = secured.map_err(|trouble| format!("{}, with {}", trouble.into_reason(), self.target))?;
        Ok(Connected { stream: Box::new(stream), socket })
    }
}

/// As people write it.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Whether the other side has closed the connection, as far as this kernel knows. What the other side has said and
/// nobody has read hides it.
pub(super) fn is_over(socket: &Plain) -> bool {
    match socket.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A second handle of the same socket, which does not block either.
fn doubled(stream: TcpStream) -> std::io::Result<(TcpStream, Plain)> {
    let plain = stream.into_std()?;
    let second = plain.try_clone()?;
    Ok((TcpStream::from_std(plain)?, second))
}
