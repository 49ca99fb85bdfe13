//! Sinks: where output goes beside the files, and which of it.

use crate::level::Level;
use crate::names::{Name, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Where output goes beside the files. It reads the files, so nothing here can hold up a program or lose a line that
/// is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// Its name.
    pub name: Name,
    /// Where to, and in which dialect.
    pub way: SinkWay,
    /// Whose output; `None`: that of every service.
    pub services: Option<BTreeSet<ServiceName>>,
    /// Records of this level and above; one without a level counts as [`Level::Info`]. `None`: every record.
    pub level: Option<Level>,
    /// A regular expression: only records with a match in their message.
    pub matches: Option<String>,
    /// A regular expression: no record with a match in its message.
    pub excludes: Option<String>,
    /// How many bytes of the files it may be behind; at least 64 KiB.
    pub buffer: u64,
    /// What is left out of it when it is further behind.
    pub overflow: Overflow,
    /// How many records it gets at once at most; at least 1.
    pub batch: u32,
    /// How long a record may wait for others that go with it.
    pub linger: Duration,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// The longest wait between two tries while the receiver is away; the first is a second.
    pub retry_max: Duration,
}

/// What is left out of a sink that is too far behind. Either way it is counted and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// What was written first: the receiver gets what is new.
    DropOldest,
    /// What is written while it is too far behind: the receiver gets how it began.
    DropNewest,
}

/// Where a sink sends to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkWay {
    /// The journal of systemd, in its native protocol.
    Journald,
    /// The Event Log of Windows.
    EventLog,
    /// Syslog, RFC 5424.
    Syslog {
        /// `host:port`.
        address: String,
        /// How it travels.
        transport: SyslogTransport,
        /// The facility, 0 to 23.
        facility: u8,
    },
    /// OpenTelemetry logs.
    Otlp {
        /// `http://` or `https://` with host and port; for HTTP with the path, `/v1/logs` where none was written.
        url: String,
        /// How it travels.
        protocol: OtlpProtocol,
        /// Further headers.
        headers: BTreeMap<String, String>,
        /// Whether bodies are compressed with gzip.
        gzip: bool,
        /// How the receiver is trusted, for `https`.
        tls: TlsSpec,
    },
    /// The forward protocol of Fluentd and Fluent Bit.
    Fluent {
        /// `host:port`.
        address: String,
        /// The tag of every record.
        tag: String,
        /// The secret of the handshake; `None`: there is none.
        shared_key: Option<String>,
        /// `None`: in the clear.
        tls: Option<TlsSpec>,
    },
    /// A POST with one JSON record a line.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// Further headers.
        headers: BTreeMap<String, String>,
        /// Whether the body is an array instead of lines.
        array: bool,
        /// Whether bodies are compressed with gzip.
        gzip: bool,
        /// How the receiver is trusted, for `https`.
        tls: TlsSpec,
    },
}

impl SinkWay {
    /// How its receiver is trusted; `None`: it goes without TLS.
    pub fn tls(&self) -> Option<&TlsSpec> {
        let is_https = |url: &str| url.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"));
        match self {
            SinkWay::Syslog { transport: SyslogTransport::Tls(tls), .. } => Some(tls),
            SinkWay::Otlp { url, tls, .. } | SinkWay::Http { url, tls, .. } => is_https(url).then_some(tls),
            SinkWay::Fluent { tls, .. } => tls.as_ref(),
            SinkWay::Journald | SinkWay::EventLog | SinkWay::Syslog { .. } => None,
        }
    }

    /// `host:port` of its receiver; `None`: it is on this computer and has none.
    pub fn address(&self) -> Option<String> {
        match self {
            SinkWay::Journald | SinkWay::EventLog => None,
            SinkWay::Syslog { address, .. } | SinkWay::Fluent { address, .. } => Some(address.clone()),
            SinkWay::Otlp { url, .. } | SinkWay::Http { url, .. } => {
                let (scheme, rest) = url.split_once("://")?;
                let authority = rest.split(['/', '?', '#']).next()?;
                let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
                let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
                Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
            }
        }
    }
}

/// How syslog travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTransport {
    /// One datagram a record (RFC 5426). What gets lost on the way is nobody's knowledge.
    Udp,
    /// A connection, each record with its length before it (RFC 6587).
    Tcp,
    /// The same within TLS (RFC 5425).
    Tls(TlsSpec),
}

/// How OpenTelemetry travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// A POST with a protobuf body.
    Http,
    /// gRPC.
    Grpc,
}

/// Whom to trust, and who we are, within TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSpec {
    /// Certificates of authorities in PEM; `None`: those that the OS trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, both in PEM; `None`: we show none.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the receiver's certificate must have; `None`: the host of the address.
    pub server_name: Option<String>,
}
