//! One datagram a message.

use crate::hands::probes::{Stage, Target, addresses};
use crate::hands::sinks::way::{Delivery, Undelivered, Way};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tutela_logs::record::Record;
use tutela_logs::record::syslog::Writer;

/// The longest message: what the usual receivers take unless told otherwise. A longer one is cut.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// The longest message on a path that takes no such datagram: every path of IPv6 takes this one.
const SMALL_MESSAGE_BYTES_MAX: usize = 1232;

/// How long a receiver's address is believed. Nothing tells that a name has another address now.
const ADDRESS_TRUSTED: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Udp {
    target: Target,
    timeout: Duration,
    writer: Writer,
    socket: Option<(UdpSocket, Instant)>,
}

impl Udp {
    pub(super) fn new(address: &str, facility: u8, timeout: Duration) -> Result<Self, String> {
        let target = Target::parse(address).map_err(|error| error.to_string())?;
        Ok(Udp { target, timeout, writer: Writer::new(facility), socket: None })
    }

    async fn send(&mut self, records: &[Record], stage: &Stage) -> Result<(), Undelivered> {
        let socket = match self.socket.take() {
            Some((socket, since)) if since.elapsed() < ADDRESS_TRUSTED => {
                // A refusal of what was sent before: it is over, and says nothing of what comes.
                let _ = socket.take_error();
                (socket, since)
            }
            Some(_) | None => (self.open().await.map_err(Undelivered::later)?, Instant::now()),
        };
        stage.reach(Stage::SENDING);
        let mut message = Vec::new();
        for record in records {
            message.clear();
            self.writer.write(record, MESSAGE_BYTES_MAX, &mut message);
            let mut sent = socket.0.send(&message).await;
            // The path takes no such datagram, maybe; a refusal is about another one.
            let may_be_long = |error: &io::Error| error.kind() != io::ErrorKind::ConnectionRefused;
            if message.len() > SMALL_MESSAGE_BYTES_MAX && sent.as_ref().is_err_and(may_be_long) {
                message.clear();
                self.writer.write(record, SMALL_MESSAGE_BYTES_MAX, &mut message);
                sent = socket.0.send(&message).await;
            }
            sent.map_err(|error| self.failed(&error))?;
        }
        // What the network said of the last ones meanwhile.
        match socket.0.take_error() {
            Ok(None) => {
                self.socket = Some(socket);
                Ok(())
            }
            Ok(Some(error)) | Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> Undelivered {
        Undelivered::later(format!("failed to send to syslog at {} over UDP: {error}", self.target))
    }

    /// A socket that is connected, which is how refusals are heard of.
    async fn open(&self) -> Result<UdpSocket, String> {
        let mut last = "the name has no address".to_owned();
        for address in addresses(&self.target).await.map_err(|trouble| trouble.into_reason())?.iter() {
            let own = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let opened = async {
                let socket = UdpSocket::bind(own).await?;
                socket.connect(address).await?;
                Ok::<_, io::Error>(socket)
            };
            match opened.await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("failed to send to syslog at {} over UDP: {last}", self.target))
    }
}

impl Way for Udp {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(async move {
            let (timeout, stage, target) = (self.timeout, Stage::default(), self.target.to_string());
            tokio::time::timeout(timeout, self.send(records, &stage)).await.unwrap_or_else(|_| {
                let reason = format!("failed to send to syslog at {target} over UDP: still {stage} after {timeout:?}");
                Err(Undelivered::later(reason))
            })
        })
    }
}
