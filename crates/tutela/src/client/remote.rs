//! A guard on another computer: where its door is, what it is believed by, and who we are.
//!
//! Made of the words before a command (`tutela --connect …`). A token is taken from a file or from the environment and
//! never from the command line, which every account of the computer can read. It is sent within TLS alone, or to this
//! computer.

use crate::hands::sinks::tls::Trust;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, Scheme, Uri};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tutela_core::spec::{TOKEN_VARIABLE, TlsSpec};
use tutela_os::files;

/// How long a connection and its handshake may take: as long as an answer may take to begin.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The largest file with a token that is read. One has 71 bytes; more is another file by mistake.
const TOKEN_BYTES_MAX: u64 = 4096;

/// What is said of where to and as whom.
#[derive(Debug, Clone, Default)]
pub struct Address<'a> {
    /// `https://host:port`.
    pub url: &'a str,
    /// The file with the token.
    pub token_file: Option<&'a Path>,
    /// The token of the environment.
    pub token: Option<String>,
    /// The authorities that are believed; `None`: those of the OS.
    pub ca: Option<&'a Path>,
    /// Our own certificate, and its key.
    pub identity: Option<(&'a Path, &'a Path)>,
}

/// See the module's text.
pub struct Remote {
    authority: Authority,
    host: String,
    port: u16,
    /// `None`: plain HTTP, to this computer.
    trust: Option<TlsSpec>,
    authorization: Option<HeaderValue>,
}

/// Without the token.
impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.authority).finish()
    }
}

impl Remote {
    /// Reads the words, and the file with the token.
    ///
    /// # Errors
    /// They cannot be used: what and how to mend it.
    pub fn new(words: &Address<'_>) -> Result<Remote, (String, String)> {
        let wrong = |why: &str| {
            let message = format!("refused: {:?} is no address of a guard: {why}", words.url);
            (message, "write https://host:port, with the port of the spec's api.listen".to_owned())
        };
        let url: Uri = words.url.parse().map_err(|_| wrong("it is no URL"))?;
        let authority = url.authority().ok_or_else(|| wrong("it has no host"))?.clone();
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(wrong("the path is ours"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it has somebody's name or password in it, which other accounts can see"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let own = |(cert, key): (&Path, &Path)| -> (PathBuf, PathBuf) { (absolute(cert), absolute(key)) };
        let (trust, port) = if url.scheme() == Some(&Scheme::HTTPS) {
            let ca = words.ca.map(absolute);
            (Some(TlsSpec { ca, identity: words.identity.map(own), server_name: None }), 443)
        } else if url.scheme() == Some(&Scheme::HTTP) {
            if !is_here(&host) {
                return Err(wrong("without TLS everybody on the way could read the token"));
            }
            if words.ca.is_some() || words.identity.is_some() {
                return Err(wrong("--ca, --cert and --key are for https"));
            }
            (None, 80)
        } else {
            return Err(wrong("it begins with https://"));
        };
        let port = authority.port_u16().unwrap_or(port);
        let authorization = token(words)?.map(|token| header(&token)).transpose()?;
        Ok(Remote { authority, host, port, trust, authorization })
    }

    /// For the header `Host`, and for people.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Who we are, if not by a certificate.
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }

    /// Connects.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn connect(&self) -> Result<Wire, String> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(|error| format!("failed to connect to {}: {error}", self.authority))?;
            // Requests are small and wait for no others.
            let _ = stream.set_nodelay(true);
            let Some(spec) = &self.trust else { return Ok(Wire::Plain(stream)) };
            let mut trust = Trust::new(spec, &[b"http/1.1"]);
            let name = trust.server_name(&self.host)?;
            let connector = TlsConnector::from(trust.config()?);
            let stream = connector.connect(name, stream).await.map_err(|error| {
                format!("failed to agree on TLS with {}: {error}; {}", self.authority, help_with(&error))
            })?;
            Ok(Wire::Secure(Box::new(stream)))
        };
        tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| Err(format!("{} did not answer within {CONNECT_LIMIT:?}", self.authority)))
    }
}

/// What to look at when no TLS comes about.
fn help_with(error: &std::io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => "--ca names the authority to believe",
        _ => "its spec may not let this address in (api.allow), or speak without TLS there",
    }
}

/// Whether a host is this computer.
fn is_here(host: &str) -> bool {
    host.parse().map_or(host.eq_ignore_ascii_case("localhost"), |address: std::net::IpAddr| address.is_loopback())
}

/// The file before the environment: it was named just now.
fn token(words: &Address<'_>) -> Result<Option<String>, (String, String)> {
    let Some(path) = words.token_file else {
        return Ok(words.token.as_ref().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()));
    };
    let refused = |why: String| {
        let message = format!("refused: there is no token in {}: {why}", path.display());
        (message, "it has the token alone, as `tutela token` prints it".to_owned())
    };
    let bytes =
        files::read_regular(path, TOKEN_BYTES_MAX).map_err(|error| refused(crate::hands::spawner::chain(&error)))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("it is no text".to_owned()))?;
    match text.trim() {
        "" => Err(refused("it is empty".to_owned())),
        token => Ok(Some(token.to_owned())),
    }
}

fn header(token: &str) -> Result<HeaderValue, (String, String)> {
    let value =
        if token.contains(char::is_whitespace) { None } else { HeaderValue::try_from(format!("Bearer {token}")).ok() };
    let mut value = value.ok_or_else(|| {
        let help = format!("--token-file and {TOKEN_VARIABLE} have the token alone, as `tutela token` prints it");
        ("refused: this is no token".to_owned(), help)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A connection to a door.
pub enum Wire {
    /// Plain HTTP.
    Plain(TcpStream),
    /// Within TLS.
    Secure(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Wire::Secure(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn to(url: &str) -> Result<Remote, (String, String)> {
        Remote::new(&Address { url, token: Some("t".into()), ..Address::default() })
    }

    #[test]
    fn an_address_has_a_host_and_tls_or_is_this_computer() {
        for (url, host, port) in [
            ("https://shop.example:7443", "shop.example", 7443),
            ("https://[::1]:7443/", "::1", 7443),
            ("https://10.0.0.7", "10.0.0.7", 443),
            ("http://localhost:80", "localhost", 80),
            ("http://127.0.0.9:81", "127.0.0.9", 81),
        ] {
            let remote = to(url).unwrap();
            assert_eq!((remote.host.as_str(), remote.port), (host, port), "{url}");
        }
        for url in [
            "shop",
            "shop:7443",
            "ftp://shop",
            "http://shop.example",
            "http://127.0.0.1.example",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
        ] {
            assert!(to(url).unwrap_err().0.contains("no address"), "{url}");
        }
    }

    #[test]
    fn a_token_comes_from_its_file_or_the_environment_and_is_shown_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "swordfish\n").unwrap();
        let words =
            Address { url: "https://a", token_file: Some(&file), token: Some("other".into()), ..Address::default() };
        let remote = Remote::new(&words).unwrap();
        assert_eq!(remote.authorization().unwrap(), "Bearer swordfish");
        assert!(!format!("{remote:?} {:?}", remote.authorization()).contains("swordfish"));
        std::fs::write(&file, "\n").unwrap();
        assert!(Remote::new(&words).unwrap_err().0.contains("it is empty"));
        let folder = Address { token_file: Some(dir.path()), ..words.clone() };
        assert!(Remote::new(&folder).unwrap_err().0.contains("is no regular file: it is a folder"));
        let words = Address { token_file: None, ..words };
        assert_eq!(Remote::new(&words).unwrap().authorization().unwrap(), "Bearer other");
        let none = Address { token: Some(" \n".into()), ..words.clone() };
        assert!(Remote::new(&none).unwrap().authorization().is_none());
        let (message, _) = Remote::new(&Address { token: Some("sword fish".into()), ..words }).unwrap_err();
        assert!(!message.contains("fish"), "{message}");
    }
}
