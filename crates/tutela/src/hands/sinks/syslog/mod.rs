//! Syslog, RFC 5424, over UDP (RFC 5426), TCP with counted octets (RFC 6587) and TLS (RFC 5425).
//!
//! Syslog has no answer, so nobody can know what a receiver has done with a message. What can be known is used:
//!
//! - over TCP and TLS a batch is through when the receiver's kernel has confirmed every byte of it and has not closed;
//! - a connection that turns out to have ended takes with it what the receiver's program had not read yet. So the
//!   messages that were sent shortly before are sent again over the next one ([`stream`]); their `id` tells those that
//!   arrived twice;
//! - over UDP a port where nobody listens is noticed where the network says so; nothing else is.
//!
//! A message is made by [`tutela_logs::record::syslog`].
//!
//! Deliberately absent: RFC 3164, and octet stuffing, with which a message of several lines is several messages.

mod datagram;
mod stream;
#[cfg(test)]
mod tests;

use super::way::Way;
use std::time::Duration;
use tutela_core::spec::SyslogTransport;

/// The way to the receiver at `host:port`. `timeout`: how long one delivery may take.
///
/// # Errors
/// The address, or the name for its certificate, cannot be one.
pub fn open(
    address: &str,
    transport: &SyslogTransport,
    facility: u8,
    timeout: Duration,
) -> Result<Box<dyn Way>, String> {
    Ok(match transport {
        SyslogTransport::Udp => Box::new(datagram::Udp::new(address, facility, timeout)?),
        SyslogTransport::Tcp => Box::new(stream::Tcp::new(address, None, facility, timeout)?),
        SyslogTransport::Tls(spec) => Box::new(stream::Tcp::new(address, Some(spec), facility, timeout)?),
    })
}
