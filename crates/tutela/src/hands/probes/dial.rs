//! From a target to a connection: look up, try every address, secure.

use super::target::{Host, Target};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tutela_os::blocking::Pool;

/// How many names are looked up at once. Each holds a thread until the system's resolver answers, long
/// after the question's own deadline, and the system's answers are cached: a few threads serve thousands.
const LOOKUPS_MAX: usize = 16;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// Why there was no good answer.
#[derive(Debug)]
pub(in crate::hands) enum Trouble {
    /// Nobody listens.
    Refused(String),
    /// Anything else.
    Failed(String),
}

impl Trouble {
    /// The reason.
    pub(in crate::hands) fn into_reason(self) -> String {
        match self {
            Trouble::Refused(reason) | Trouble::Failed(reason) => reason,
        }
    }
}

/// How far a question has come, for when its deadline passes.
#[derive(Debug, Default)]
pub(in crate::hands) struct Stage(AtomicU8);

impl Stage {
    pub(in crate::hands) const CONNECTING: u8 = 1;
    pub(in crate::hands) const SECURING: u8 = 2;
    pub(in crate::hands) const WAITING: u8 = 3;
    pub(in crate::hands) const READING: u8 = 4;
    pub(in crate::hands) const SENDING: u8 = 5;
    pub(in crate::hands) const SETTLING: u8 = 6;

    pub(in crate::hands) fn reach(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.load(Ordering::Relaxed) {
            Stage::CONNECTING => "connecting",
            Stage::SECURING => "shaking hands over TLS",
            Stage::WAITING => "waiting for the reply",
            Stage::READING => "reading the reply",
            Stage::SENDING => "sending",
            Stage::SETTLING => "waiting for the other side to confirm what it got",
            _ => "looking up the name",
        })
    }
}

/// Connects to the first address of the target that accepts, trying each within its share of the time.
pub(in crate::hands) async fn dial(target: &Target, by: Instant, stage: &Stage) -> Result<TcpStream, Trouble> {
    let addresses = &*addresses(target).await?;
    stage.reach(Stage::CONNECTING);
    let (mut refused, mut failed) = (None, None);
    for (index, address) in addresses.iter().enumerate() {
        let left = by.saturating_duration_since(Instant::now());
        // The last one needs no timer of its own: the question's deadline is as near.
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let connecting = TcpStream::connect(*address);
        let result = if index + 1 == addresses.len() {
            connecting.await
        } else {
            tokio::time::timeout(share, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match result {
            Ok(stream) => {
                // Requests go out in one write; waiting for more would only delay them. A socket that
                // does not know the option works all the same.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => {
                let reason = format!("failed to connect to {}: {error}", Whence { target, address });
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => refused = Some(reason),
                    // One of the two families is missing on many computers; that says nothing.
                    io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkUnreachable => {
                        failed.get_or_insert((false, reason));
                    }
                    _ => failed = Some((true, reason)),
                }
            }
        }
    }
    Err(match (refused, failed) {
        (_, Some((true, reason))) => Trouble::Failed(reason),
        (Some(reason), _) => Trouble::Refused(reason),
        (None, Some((false, reason))) => Trouble::Failed(reason),
        (None, None) => Trouble::Failed(format!("failed to connect to {target}: the name has no address")),
    })
}

/// The addresses of a target; none, where its name has none.
pub(in crate::hands) async fn addresses(target: &Target) -> Result<Cow<'_, [SocketAddr]>, Trouble> {
    match &target.host {
        Host::Known(addresses) => Ok(Cow::Borrowed(addresses)),
        Host::Name(name, port) => look_up(name, *port).await.map(Cow::Owned).map_err(Trouble::Failed),
    }
}

/// A target and, where it says more, the address that was tried.
struct Whence<'a> {
    target: &'a Target,
    address: &'a SocketAddr,
}

impl fmt::Display for Whence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, address) = (self.target.to_string(), self.address.to_string());
        if target == address { f.write_str(&target) } else { write!(f, "{target} ({address})") }
    }
}

/// Threads that ask the system's resolver, as many as [`LOOKUPS`] lets ask.
static NAMES: Pool = Pool::new("names", LOOKUPS_MAX);

/// Asks the system's resolver, on a thread that may outlive the question.
async fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    // The semaphore is never closed.
    let permit = LOOKUPS.acquire().await.map_err(|error| error.to_string())?;
    let host = name.to_owned();
    let looking = NAMES.start(move || {
        let _permit = permit;
        (host, port).to_socket_addrs().map(Vec::from_iter)
    });
    match looking.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(format!("failed to look up {name}: {error}")),
        Err(error) => Err(format!("failed to look up {name}: {error}")),
    }
}

/// Shakes hands over TLS.
pub(in crate::hands) async fn secure(
    stream: TcpStream,
    name: &rustls_pki_types::ServerName<'static>,
    config: Result<Arc<rustls::ClientConfig>, String>,
    stage: &Stage,
) -> Result<TlsStream<TcpStream>, Trouble> {
    stage.reach(Stage::SECURING);
    let config = config.map_err(|error| Trouble::Failed(format!("failed to set up TLS: {error}")))?;
    let shaking = TlsConnector::from(config).connect(name.clone(), stream);
    shaking.await.map_err(|error| Trouble::Failed(format!("failed to shake hands over TLS: {error}")))
}
