//! One GET over a connection of its own.

use super::dial::{Stage, Trouble, dial, secure};
use super::target::{QuestionRefusal, Url};
use super::tls::TlsContexts;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tutela_core::spec::StatusRange;

/// The longest head of a reply. A health check with more is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How much of a reply's body is read. It is read at all so that the program sees its answer taken; a body
/// without end is not waited for.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How much of a bad reply's body is told.
const EXCERPT_BYTES: usize = 200;

/// What the program's access log shows.
const USER_AGENT: &str = concat!("tutela-probe/", env!("CARGO_PKG_VERSION"));

/// A GET, ready to be sent again and again.
#[derive(Debug, Clone)]
pub struct HttpQuestion {
    url: Url,
    status: StatusRange,
    headers: HeaderMap,
    tls_verify: bool,
}

impl HttpQuestion {
    /// A GET of `url`, with these headers, that wants this status. A header of the same name as one of ours
    /// replaces it.
    ///
    /// # Errors
    /// A URL or a header that cannot be one.
    pub fn new(
        url: &str,
        status: StatusRange,
        extra: impl IntoIterator<Item = (String, String)>,
        tls_verify: bool,
    ) -> Result<Self, QuestionRefusal> {
        let refused = |name: &str| QuestionRefusal::Header { name: name.to_owned() };
        let url = Url::parse(url)?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::HOST, HeaderValue::from_str(&url.authority).map_err(|_| refused("host"))?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let mut own = HeaderMap::new();
        for (name, value) in extra {
            let parsed = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(&value).ok());
            let (key, value) = parsed.ok_or_else(|| refused(&name))?;
            own.append(key, value);
        }
        for name in own.keys() {
            headers.remove(name);
        }
        for (name, value) in &own {
            headers.append(name, value.clone());
        }
        // Not to be replaced: every question is a connection of its own.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(HttpQuestion { url, status, headers, tls_verify })
    }
}

pub(super) async fn ask(question: &HttpQuestion, by: Instant, tls: &TlsContexts, stage: &Stage) -> Result<(), Trouble> {
    let stream = dial(&question.url.target, by, stage).await?;
    match &question.url.secure {
        None => {
            // The module's head says why. A system that cannot do it gets an ordinary close.
            let _ = stream.set_zero_linger();
            exchange(question, stream, stage, Parting::Reset).await
        }
        Some(name) => {
            let stream = secure(stream, name, tls.http(question.tls_verify), stage).await?;
            exchange(question, stream, stage, Parting::InOrder).await
        }
    }
}

async fn exchange(
    question: &HttpQuestion,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    stage: &Stage,
    parting: Parting,
) -> Result<(), Trouble> {
    stage.reach(Stage::WAITING);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, mut connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::Failed(broken(&error)))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = question.url.path.clone();
    *request.headers_mut() = question.headers.clone();
    let talking = async {
        let response = sender.send_request(request).await.map_err(|error| Trouble::Failed(broken(&error)))?;
        stage.reach(Stage::READING);
        judge(question.status, response).await
    };
    match parting {
        Parting::InOrder => drive(connection, talking).await,
        Parting::Reset => drive(poll_fn(|cx| connection.poll_without_shutdown(cx)), talking).await,
    }
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum Parting {
    /// With a goodbye, as far as the time allows it.
    InOrder,
    /// By closing it, which resets it; a goodbye before that would be one more packet each way.
    Reset,
}

/// Reads the reply through and looks at its status.
async fn judge(wanted: StatusRange, response: Response<hyper::body::Incoming>) -> Result<(), Trouble> {
    let status = response.status();
    let is_good = (wanted.first..=wanted.last).contains(&status.as_u16());
    let text = match read_body(response.into_body(), if is_good { 0 } else { EXCERPT_BYTES }).await {
        Err(error) if is_good => {
            return Err(Trouble::Failed(format!("status {status}, but the reply broke off: {error}")));
        }
        Err(_) => String::new(),
        Ok(beginning) => excerpt(&beginning),
    };
    if is_good {
        return Ok(());
    }
    let StatusRange { first, last } = wanted;
    let colon = if text.is_empty() { "" } else { ": " };
    Err(Trouble::Failed(format!("status {status}, wanted {first} to {last}{colon}{text}")))
}

/// Reads at most [`BODY_BYTES_MAX`] and keeps the first `keep` bytes.
async fn read_body(mut body: hyper::body::Incoming, keep: usize) -> Result<Vec<u8>, hyper::Error> {
    let (mut beginning, mut seen) = (Vec::new(), 0);
    while seen < BODY_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        if let Some(data) = frame?.data_ref() {
            seen += data.len();
            let room = keep - beginning.len();
            beginning.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(beginning)
}

/// The beginning of a body as one line of text.
pub(in crate::hands) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES)]);
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A hyper error with its cause, which is where it says what happened.
pub(super) fn broken(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("failed to get a reply: {error}: {cause}"),
        None => format!("failed to get a reply: {error}"),
    }
}

/// Runs an exchange and the connection under it until the exchange is over. Both live in the caller's
/// future, so that dropping it drops them.
pub(in crate::hands) async fn drive<E: Future>(connection: impl Future, exchange: E) -> E::Output {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut is_over = false;
    poll_fn(move |cx| {
        if let Poll::Ready(output) = exchange.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if is_over {
            return Poll::Pending;
        }
        // Its own error, if it has one, reaches the exchange too.
        is_over = connection.as_mut().poll(cx).is_ready();
        exchange.as_mut().poll(cx)
    })
    .await
}
