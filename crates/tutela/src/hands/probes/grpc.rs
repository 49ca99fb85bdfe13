//! One `grpc.health.v1.Health/Check`.
//!
//! The two messages have one field each, so they are written and read by hand.

use super::dial::{Stage, Trouble, dial, secure};
use super::http::{broken, drive};
use super::target::{QuestionRefusal, Target, Url};
use super::tls::TlsContexts;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// The longest reply message: the answer is two bytes; more than this is another service's.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The longest name of a service that can be asked about.
const SERVICE_BYTES_MAX: usize = 1024;

/// What a gRPC message begins with: one byte that says uncompressed, four of length.
const FRAME_BYTES: usize = 5;

/// A health check, ready to be sent again and again.
#[derive(Debug, Clone)]
pub struct GrpcQuestion {
    target: Target,
    secure: Option<rustls_pki_types::ServerName<'static>>,
    uri: Uri,
    message: Bytes,
    service: Box<str>,
}

impl GrpcQuestion {
    /// Asks the server at `address` about `service`; an empty one means the server as a whole. `address` is
    /// `host:port` or `http://host:port`, spoken to without TLS, or `https://host:port`.
    ///
    /// # Errors
    /// An address that cannot be one.
    pub fn new(address: &str, service: &str) -> Result<Self, QuestionRefusal> {
        let refuse = |reason: &str| QuestionRefusal::Url { url: address.to_owned(), reason: reason.to_owned() };
        if service.len() > SERVICE_BYTES_MAX {
            return Err(refuse("the name of the service is longer than 1024 bytes"));
        }
        let (target, secure, authority) = if address.contains("://") {
            let url = Url::parse(address)?;
            (url.target, url.secure, url.authority)
        } else {
            (Target::parse(address)?, None, address.to_owned())
        };
        let scheme = if secure.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let authority: Authority = authority.parse().map_err(|_| refuse("its host is no host name or address"))?;
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/grpc.health.v1.Health/Check");
        let uri = uri.build().map_err(|error| refuse(&error.to_string()))?;
        Ok(GrpcQuestion { target, secure, uri, message: request_message(service), service: service.into() })
    }
}

pub(super) async fn ask(question: &GrpcQuestion, by: Instant, tls: &TlsContexts, stage: &Stage) -> Result<(), Trouble> {
    let stream = dial(&question.target, by, stage).await?;
    match &question.secure {
        None => exchange(question, stream, stage).await,
        Some(name) => exchange(question, secure(stream, name, tls.grpc(), stage).await?, stage).await,
    }
}

async fn exchange(
    question: &GrpcQuestion,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    stage: &Stage,
) -> Result<(), Trouble> {
    stage.reach(Stage::WAITING);
    let tasks = Tasks::default();
    let failed = |error: hyper::Error| Trouble::Failed(broken(&error));
    let shaking = http2::Builder::new(tasks.clone()).handshake(TokioIo::new(stream));
    let (mut sender, connection) = shaking.await.map_err(failed)?;
    let mut request = Request::new(Full::new(question.message.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = question.uri.clone();
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("user-agent", HeaderValue::from_static(concat!("tutela-probe/", env!("CARGO_PKG_VERSION"))));
    let talking = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        stage.reach(Stage::READING);
        judge(question, response).await
    };
    let working = async { tokio::join!(connection, tasks.run()) };
    drive(working, talking).await
}

async fn judge(question: &GrpcQuestion, response: Response<hyper::body::Incoming>) -> Result<(), Trouble> {
    let status = response.status();
    if !status.is_success() {
        return Err(Trouble::Failed(format!("status {status}: this is no gRPC server, or a proxy before it refuses")));
    }
    // A server that answers with an error alone puts it into the head.
    told(response.headers())?;
    let (mut body, mut message) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Trouble::Failed(broken(&error)))?;
        if let Some(trailers) = frame.trailers_ref() {
            told(trailers)?;
        } else if let Some(data) = frame.data_ref() {
            if message.len() + data.len() > FRAME_BYTES + MESSAGE_BYTES_MAX {
                return Err(Trouble::Failed("the reply is too long for a health check".into()));
            }
            message.extend_from_slice(data);
        }
    }
    let whom = if question.service.is_empty() { "the server" } else { &question.service };
    match reply_status(&message) {
        Some(1) => Ok(()),
        Some(0) => Err(Trouble::Failed(format!("{whom} is UNKNOWN, wanted SERVING"))),
        Some(2) => Err(Trouble::Failed(format!("{whom} is NOT_SERVING"))),
        Some(3) => Err(Trouble::Failed(format!("{whom} is SERVICE_UNKNOWN, wanted SERVING"))),
        Some(other) => Err(Trouble::Failed(format!("{whom} has health status {other}, wanted SERVING"))),
        None => Err(Trouble::Failed("the reply is no health check's".into())),
    }
}

/// The error that a head or trailers tell, if they tell one.
fn told(headers: &HeaderMap) -> Result<(), Trouble> {
    let Some(code) = headers.get("grpc-status") else { return Ok(()) };
    let code = String::from_utf8_lossy(code.as_bytes());
    if code == "0" {
        return Ok(());
    }
    let hint = match &*code {
        "5" => " (NOT_FOUND: the server does not know this service)",
        "12" => " (UNIMPLEMENTED: the server has no health service)",
        "14" => " (UNAVAILABLE)",
        "16" => " (UNAUTHENTICATED)",
        _ => "",
    };
    let message =
        headers.get("grpc-message").map(|text| format!(": {}", unescape(text.as_bytes()))).unwrap_or_default();
    Err(Trouble::Failed(format!("gRPC status {code}{hint}{message}")))
}

/// The bytes that percent signs stand for, as in a `grpc-message`; one that stands for nothing stays.
pub(in crate::hands) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// A `grpc-message` as text; control characters of it are not shown.
fn unescape(text: &[u8]) -> String {
    String::from_utf8_lossy(&percent_decoded(text)).chars().take(200).fold(String::new(), |mut out, c| {
        // Writing to a string cannot fail.
        let _ = if c.is_control() { write!(out, " ") } else { write!(out, "{c}") };
        out
    })
}

/// `HealthCheckRequest { service }`: field 1, a string.
fn request_message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // Shorter than `SERVICE_BYTES_MAX` and a few bytes.
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// `HealthCheckResponse { status }`: field 1, an enum. A message without it means 0. Unknown fields are
/// passed over. `None`: this is no such message.
fn reply_status(framed: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], mut rest) = framed.split_first_chunk::<FRAME_BYTES>()?;
    if compressed != 0 || usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()? != rest.len() {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut rest)?,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for place in 0..10 {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * place).min(63);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The tasks that an HTTP/2 connection splits itself into, kept within the question's own future: spawned
/// ones would outlive a question that is dropped.
#[derive(Clone, Default)]
pub(in crate::hands) struct Tasks(Arc<Mutex<Added>>);

/// Tasks that came since the last turn, and whom to wake for them.
#[derive(Default)]
struct Added {
    tasks: Vec<Task>,
    waker: Option<Waker>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut added = self.lock();
        added.tasks.push(Box::pin(task));
        if let Some(waker) = added.waker.take() {
            waker.wake();
        }
    }
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Added> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs them for as long as it is polled.
    pub(in crate::hands) async fn run(&self) {
        let mut running: Vec<Task> = Vec::new();
        poll_fn(|cx| {
            let mut added = self.lock();
            added.waker = Some(cx.waker().clone());
            running.append(&mut added.tasks);
            drop(added);
            running.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            Poll::<()>::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod codec_tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(&request_message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_message("shop")[..], b"\0\0\0\0\x06\x0a\x04shop");
        assert_eq!(request_message(&"s".repeat(300)).len(), 5 + 1 + 2 + 300);
        assert_eq!(reply_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(reply_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(reply_status(b"\0\0\0\0\x07\x12\x03abc\x08\x02"), Some(2));
        for bad in [&b""[..], b"\x01\0\0\0\0", b"\0\0\0\0\x02\x08", b"\0\0\0\0\x03\x12\x09a", b"\0\0\0\0\x01\xff"] {
            assert_eq!(reply_status(bad), None, "{bad:?}");
        }
        assert_eq!(unescape(b"a%20b%zz%e2%82%ac%0a"), "a b%zz\u{20ac} ");
    }
}
