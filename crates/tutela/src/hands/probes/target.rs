//! Where a question goes: host and port, or a URL; taken apart once.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why something is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionRefusal {
    /// Not `host:port`.
    #[error("refused: {0:?} is no address; write host:port, such as 127.0.0.1:8080 or [::1]:8080")]
    Address(String),
    /// Not a URL that can be asked.
    #[error("refused: {url:?} is no address to ask: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a header.
    #[error("refused: {name:?} is no HTTP header, or has a value with control characters")]
    Header {
        /// Its name.
        name: String,
    },
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) host: Host,
    /// As people write it.
    text: Box<str>,
}

/// How to come by the addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// They are known: a literal address, or `localhost`, which is the loopback on every system, whatever
    /// a resolver says.
    Known(Vec<SocketAddr>),
    /// They are asked for each time.
    Name(Box<str>, u16),
}

impl Target {
    /// Takes `host:port` apart.
    ///
    /// # Errors
    /// [`QuestionRefusal::Address`].
    pub fn parse(text: &str) -> Result<Self, QuestionRefusal> {
        let refusal = || QuestionRefusal::Address(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refusal)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(refusal)?;
        Target::new(host, port).ok_or_else(refusal)
    }

    /// A host, an IPv6 address in brackets, and a port. `None`: that is no host.
    pub(in crate::hands) fn new(host: &str, port: u16) -> Option<Self> {
        let text = format!("{host}:{port}").into_boxed_str();
        let literal = match host.strip_prefix('[') {
            Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        let host = match literal {
            Some(address) => Host::Known(vec![SocketAddr::new(address, port)]),
            None if host.eq_ignore_ascii_case("localhost") => Host::Known(vec![
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
            ]),
            None if is_host_name(host) => Host::Name(host.into(), port),
            None => return None,
        };
        Some(Target { host, text })
    }
}

impl Target {
    /// The host, without the port; an IPv6 address in its brackets.
    pub(in crate::hands) fn host(&self) -> &str {
        self.text.rsplit_once(':').map_or(&*self.text, |(host, _)| host)
    }
}

/// What a resolver may be asked: letters, digits, `-`, `_` and dots, within DNS's limits.
fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// As people write it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An `http://` or `https://` URL, taken apart.
#[derive(Debug, Clone)]
pub(in crate::hands) struct Url {
    pub(in crate::hands) target: Target,
    /// The host, without brackets, that a certificate has to be for; `None`: no TLS.
    pub(in crate::hands) secure: Option<rustls_pki_types::ServerName<'static>>,
    /// What goes into the `host` header.
    pub(in crate::hands) authority: String,
    /// Path and query.
    pub(in crate::hands) path: Uri,
}

impl Url {
    /// # Errors
    /// [`QuestionRefusal::Url`].
    pub(in crate::hands) fn parse(text: &str) -> Result<Self, QuestionRefusal> {
        let refuse = |reason: &str| QuestionRefusal::Url { url: text.to_owned(), reason: reason.to_owned() };
        let uri: Uri = text.parse().map_err(|error| refuse(&format!("{error}")))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("it has to begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a user and password go into an 'authorization' header"));
        }
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let target =
            Target::new(authority.host(), port).ok_or_else(|| refuse("its host is no host name or address"))?;
        let bare = authority.host().trim_matches(['[', ']']).to_owned();
        let name = rustls_pki_types::ServerName::try_from(bare).map_err(|_| refuse("its host can have no certificate"));
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Url {
            target,
            secure: if is_secure { Some(name?) } else { None },
            authority: authority.as_str().to_owned(),
            path: Uri::from(path),
        })
    }
}
