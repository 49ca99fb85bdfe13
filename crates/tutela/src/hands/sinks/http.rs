//! The way "http": a POST with JSON records, over a connection that is kept.
//!
//! # What an answer means
//!
//! | status | means |
//! |---|---|
//! | 2xx | taken |
//! | 413 | less at once |
//! | 429, 5xx, 408, 425 | later, not before `retry-after` |
//! | 3xx, 401, 403, 404, 405, 407, 421 | later: the address or the rights are wrong, and the records can wait until that is mended |
//! | any other | refused for good |
//!
//! No connection, a connection that breaks, an answer that is none: later. A connection that was kept and breaks before
//! the first byte of an answer had been closed meanwhile, which is no failure: a fresh one is tried at once.

use super::json;
use super::tls::Trust;
use super::way::{Delivery, Undelivered, Way, told};
use crate::hands::http::{gzip, retry_after, secret_header};
use crate::hands::link::{Link, Security, Version};
use crate::hands::probes::{Stage, Url, excerpt};
use crate::secrets::SecretHeaders;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tutela_core::spec::TlsSpec;
use tutela_logs::record::Record;

/// How much of an answer is read: a connection can only be kept behind an answer that was read to its end.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How much of a refusal is told.
const EXCERPT_BYTES: usize = 200;

/// A bound for each step of connecting; the forwarder's own bound for the delivery is usually shorter.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// What the receiver's log shows.
const USER_AGENT: &str = concat!("tutela-sink/", env!("CARGO_PKG_VERSION"));

/// See the module's text.
pub struct Http {
    url: Url,
    headers: HeaderMap,
    secret: SecretHeaders,
    array: bool,
    gzip: bool,
    security: Security,
    kept: Option<Link>,
}

impl Http {
    /// A way that has no connection yet.
    ///
    /// # Errors
    /// The address or a header cannot be used.
    pub fn new(
        url: &str,
        headers: &BTreeMap<String, String>,
        array: bool,
        gzip: bool,
        tls: &TlsSpec,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let (headers, secret) = self::headers(&url, headers, array, gzip)?;
        let security = Security::Own(Trust::new(tls, &[b"http/1.1"]));
        Ok(Http { url, headers, secret, array, gzip, security, kept: None })
    }

    async fn connect(&mut self) -> Result<Link, Undelivered> {
        let (by, stage) = (Instant::now() + CONNECT_WITHIN, Stage::default());
        let link = Link::make(&self.url, Version::Http1, &mut self.security, by, &stage).await;
        link.map_err(|trouble| self.later("failed to speak to", &trouble.into_reason()))
    }

    async fn post(&mut self, records: &[Record]) -> Result<(), Undelivered> {
        let body = self.body(records)?;
        // Out of its place while it is used: a delivery that is given up leaves no half of itself to the next one.
        if let Some(mut kept) = self.kept.take()
            && let Ok(answer) = kept.send(self.request(body.clone()).await?).await
        {
            return self.judge(kept, answer, records.len()).await;
        }
        let mut fresh = self.connect().await?;
        let sent = fresh.send(self.request(body).await?).await;
        let answer = sent.map_err(|error| self.later("failed to deliver to", &words(&error)))?;
        self.judge(fresh, answer, records.len()).await
    }

    fn later(&self, doing: &str, reason: &str) -> Undelivered {
        Undelivered::later(told(doing, &self.url.target, reason))
    }

    async fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Undelivered> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.path.clone();
        *request.headers_mut() = self.headers.clone();
        self.secret.put(request.headers_mut()).await.map_err(Undelivered::later)?;
        Ok(request)
    }

    fn body(&self, records: &[Record]) -> Result<Bytes, Undelivered> {
        let mut text = Vec::with_capacity(records.iter().map(|record| record.message.len() + 256).sum());
        for (at, record) in records.iter().enumerate() {
            if self.array {
                text.extend_from_slice(if at == 0 { b"[" } else { b",\n" });
            }
            json::write(record, &mut text);
            if !self.array {
                text.push(b'\n');
            }
        }
        if self.array {
            text.extend_from_slice(b"]\n");
        }
        if !self.gzip {
            return Ok(text.into());
        }
        gzip(&text).map(Bytes::from).map_err(|error| Undelivered::later(format!("failed to compress: {error}")))
    }

    /// Looks at the status, reads the answer through, and keeps the connection where that was possible.
    async fn judge(&mut self, connection: Link, answer: Response<Incoming>, records: usize) -> Result<(), Undelivered> {
        let (head, mut body) = answer.into_parts();
        let (mut beginning, mut seen, mut whole) = (Vec::new(), 0, false);
        while seen < ANSWER_BYTES_MAX {
            match body.frame().await {
                None => {
                    whole = true;
                    break;
                }
                // What was said before it broke off counts.
                Some(Err(_)) => break,
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    seen += data.len();
                    let room = EXCERPT_BYTES.saturating_sub(beginning.len()).min(data.len());
                    beginning.extend_from_slice(&data[..room]);
                }
            }
        }
        if whole {
            self.kept = Some(connection);
        }
        let status = head.status;
        if status.is_success() {
            return Ok(());
        }
        let text = excerpt(&beginning);
        let colon = if text.is_empty() { "" } else { ": " };
        let reason = format!("{} answered {status}{colon}{text}", self.url.target);
        Err(match meaning(status) {
            Meaning::Less => Undelivered::TooLarge { reason },
            Meaning::Later => Undelivered::Later { reason, after: retry_after(&head.headers, SystemTime::now()) },
            Meaning::Never => Undelivered::Refused { reason, records: records as u64 },
        })
    }
}

impl Way for Http {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(self.post(records))
    }
}

/// A hyper error with its causes, which is where it says what happened.
fn words(error: &hyper::Error) -> String {
    crate::hands::spawner::chain(error)
}

/// The spec's headers, and ours where the spec has none of the name. What frames the body is ours alone.
fn headers(
    url: &Url,
    extra: &BTreeMap<String, String>,
    array: bool,
    gzip: bool,
) -> Result<(HeaderMap, SecretHeaders), String> {
    let (mut headers, mut secret) = (HeaderMap::new(), SecretHeaders::default());
    for (name, value) in extra {
        if HeaderName::try_from(name).is_ok_and(|name| secret.take(&name, value)) {
            continue;
        }
        let (key, value) = secret_header(name, value)
            .ok_or_else(|| format!("refused: {name:?} is no HTTP header, or has a value with control characters"))?;
        headers.insert(key, value);
    }
    let host = HeaderValue::try_from(&url.authority).map_err(|error| error.to_string())?;
    headers.entry(header::HOST).or_insert(host);
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    let kind = HeaderValue::from_static(if array { "application/json" } else { "application/x-ndjson" });
    headers.entry(header::CONTENT_TYPE).or_insert(kind);
    for ours in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_ENCODING] {
        headers.remove(ours);
    }
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok((headers, secret))
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Later,
    Less,
    Never,
}

fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        413 => Meaning::Less,
        408 | 425 | 429 | 500.. | 300..=399 | 401 | 403 | 404 | 405 | 407 | 421 => Meaning::Later,
        _ => Meaning::Never,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::sinks::samples::record;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn an_answer_says_whether_again_makes_sense() {
        let of = |status| meaning(StatusCode::from_u16(status).unwrap());
        for status in [301, 401, 403, 404, 408, 421, 425, 429, 500, 502, 503, 599] {
            assert_eq!(of(status), Meaning::Later, "{status}");
        }
        assert_eq!(of(413), Meaning::Less);
        for status in [400, 409, 415, 422] {
            assert_eq!(of(status), Meaning::Never, "{status}");
        }
        let after = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, SystemTime::now())
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("soon"), None);
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None, "it is past");
        assert!(after("Wed, 21 Oct 2099 07:28:00 GMT").is_some());
    }

    /// Answers the requests of one connection after the other with these answers, and keeps what it was sent.
    async fn receiver(connections: Vec<Vec<&'static str>>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?x=1", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let heard = seen.clone();
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = Vec::new();
                    loop {
                        let text = String::from_utf8_lossy(&request).into_owned();
                        if let Some((head, body)) = text.split_once("\r\n\r\n") {
                            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                            if body.len() >= length.parse().unwrap() {
                                heard.lock().unwrap().push(text);
                                break;
                            }
                        }
                        let mut part = [0; 4096];
                        let count = stream.read(&mut part).await.unwrap();
                        assert!(count > 0, "the request broke off");
                        request.extend_from_slice(&part[..count]);
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        (url, seen)
    }

    fn way(url: &str, array: bool) -> Http {
        let headers = BTreeMap::from([("authorization".to_owned(), "Bearer x".to_owned())]);
        Http::new(url, &headers, array, false, &TlsSpec::default()).unwrap()
    }

    const YES: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    #[tokio::test]
    async fn a_connection_is_kept_and_one_that_was_closed_meanwhile_is_made_anew() {
        let (url, seen) = receiver(vec![vec![YES, YES], vec![YES]]).await;
        let mut way = way(&url, false);
        for text in ["one", "two", "three"] {
            way.deliver(&[record(text), record("more")]).await.unwrap();
        }
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 3);
        let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /in?x=1 HTTP/1.1\r\n") && head.contains("authorization: Bearer x"), "{head}");
        assert!(head.contains("content-type: application/x-ndjson"), "{head}");
        let lines: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), lines[0]["message"].as_str()), (2, Some("one")));
        assert!(seen[2].contains("three"));
    }

    #[tokio::test]
    async fn an_array_is_an_array_and_refusals_are_told_with_the_receivers_words() {
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 8\r\n\r\nno\nthing";
        let busy = "HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n";
        let large = "HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n";
        let (url, seen) = receiver(vec![vec![YES, refusal, busy, large, "garbage\r\n\r\n"]]).await;
        let mut way = way(&url, true);
        let records = [record("one"), record("two")];
        way.deliver(&records).await.unwrap();
        let body = seen.lock().unwrap()[0].split_once("\r\n\r\n").unwrap().1.to_owned();
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&body).unwrap().len(), 2);
        let refused = way.deliver(&records).await.unwrap_err();
        assert!(matches!(&refused, Undelivered::Refused { records: 2, reason } if reason.ends_with("no thing")));
        let busy = way.deliver(&records).await.unwrap_err();
        assert!(matches!(&busy, Undelivered::Later { after: Some(after), .. } if after.as_secs() == 9));
        assert!(matches!(way.deliver(&records).await.unwrap_err(), Undelivered::TooLarge { .. }));
        let broken = way.deliver(&records);
        let broken = tokio::time::timeout(Duration::from_secs(5), broken).await;
        assert!(matches!(broken, Err(_) | Ok(Err(Undelivered::Later { .. }))), "{broken:?}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_told_and_the_right_one_is_taken() {
        use crate::hands::sinks::tls::tests::{AUTHORITY, CERTIFICATE, KEY, pem};
        use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_slice(CERTIFICATE)],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY)),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut request = Vec::new();
                    while !request.ends_with(b"}\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    stream.write_all(YES.as_bytes()).await.unwrap();
                }
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, pem("CERTIFICATE", AUTHORITY)).unwrap();
        let url = format!("https://127.0.0.1:{port}/");
        for (name, fits) in [("localhost", true), ("other.example", false)] {
            let tls = TlsSpec { ca: Some(ca.clone()), identity: None, server_name: Some(name.into()) };
            let mut way = Http::new(&url, &BTreeMap::new(), false, false, &tls).unwrap();
            match way.deliver(&[record("one")]).await {
                Ok(()) => assert!(fits, "{name}"),
                Err(Undelivered::Later { reason, .. }) => {
                    assert!(!fits && reason.contains("TLS") && reason.contains("other.example"), "{reason}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_body_may_be_packed() {
        let mut way = way("http://127.0.0.1:1", false);
        way.gzip = true;
        let body = way.body(&[record("one")]).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
        assert!(text.contains("\"message\":\"one\""), "{text}");
        let refused = way.deliver(&[record("one")]).await.unwrap_err();
        assert!(matches!(&refused, Undelivered::Later { reason, .. } if reason.contains("127.0.0.1:1")), "{refused:?}");
    }
}
