//! One POST.

use super::{Alert, DeliveryError};
use crate::hands::http::secret_header;
use crate::hands::probes::{QuestionRefusal, Stage, TlsContexts, Trouble, Url, dial, drive, excerpt, secure};
use crate::secrets::{self, Revealed, SecretHeaders};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// How long one attempt may take. Receivers behind a chat service take seconds; one that takes longer gets
/// the alert again.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of a refusal is read to be told.
const EXCERPT_BYTES: usize = 200;

/// What the receiver's log shows.
const USER_AGENT: &str = concat!("tutela-alert/", env!("CARGO_PKG_VERSION"));

/// The header with the alert's id, which stays the same over all attempts.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) async fn post(
    url: &str,
    extra: &BTreeMap<String, String>,
    alert: &Alert,
    tls: &TlsContexts,
) -> Result<(), DeliveryError> {
    // A secret that cannot be read may be there at the next attempt.
    let address = secrets::reveal(url).await;
    let address = address
        .map_err(|why| DeliveryError::later(format!("the secret of the webhook's address cannot be read: {why}")))?;
    let url = Url::parse(address.text()).map_err(|error| match (&address, &error) {
        // What is wrong with it tells nothing of it.
        (Revealed::Secret(_), QuestionRefusal::Url { reason, .. }) => {
            DeliveryError::never(format!("refused: the secret of the webhook's address cannot be asked: {reason}"))
        }
        (Revealed::Secret(_), _) => DeliveryError::never("refused: the secret of the webhook's address is no address"),
        (Revealed::Plain(_), _) => DeliveryError::never(error.to_string()),
    })?;
    drop(address);
    let headers = headers(&url, extra, alert).await?;
    let (by, stage) = (Instant::now() + TIMEOUT, Stage::default());
    let attempt = async {
        let failed = |trouble: Trouble| DeliveryError::later(trouble.into_reason());
        let stream = dial(&url.target, by, &stage).await.map_err(failed)?;
        match &url.secure {
            None => exchange(&url, headers, alert, stream, &stage).await,
            Some(name) => {
                let stream = secure(stream, name, tls.http(true), &stage).await.map_err(failed)?;
                exchange(&url, headers, alert, stream, &stage).await
            }
        }
    };
    tokio::time::timeout_at(by, attempt).await.unwrap_or_else(|_| {
        Err(DeliveryError::later(format!("failed to deliver to {}: still {stage} after {TIMEOUT:?}", url.target)))
    })
}

/// The spec's headers, and ours where the spec has none of the name. The length and the id are ours alone.
async fn headers(url: &Url, extra: &BTreeMap<String, String>, alert: &Alert) -> Result<HeaderMap, DeliveryError> {
    let mut headers = HeaderMap::new();
    let mut secret = SecretHeaders::default();
    for (name, value) in extra {
        if HeaderName::try_from(name).is_ok_and(|name| secret.take(&name, value)) {
            continue;
        }
        let (key, value) = secret_header(name, value).ok_or_else(|| {
            DeliveryError::never(format!("refused: {name:?} is no HTTP header, or has a value with control characters"))
        })?;
        headers.insert(key, value);
    }
    secret.put(&mut headers).await.map_err(DeliveryError::later)?;
    let host = HeaderValue::try_from(&url.authority).map_err(|error| DeliveryError::never(error.to_string()))?;
    headers.entry(header::HOST).or_insert(host);
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    let id = HeaderValue::try_from(&alert.id).map_err(|error| DeliveryError::never(error.to_string()))?;
    headers.insert(IDEMPOTENCY_KEY, id);
    Ok(headers)
}

async fn exchange(
    url: &Url,
    headers: HeaderMap,
    alert: &Alert,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    stage: &Stage,
) -> Result<(), DeliveryError> {
    stage.reach(Stage::WAITING);
    let whom = &url.target;
    let failed = |error: hyper::Error| DeliveryError::later(format!("failed to deliver to {whom}: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut request = Request::new(Full::new(Bytes::from(alert.json.clone())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.path.clone();
    *request.headers_mut() = headers;
    let talking = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        stage.reach(Stage::READING);
        let (mut body, mut beginning) = (response.into_body(), Vec::new());
        while beginning.len() < EXCERPT_BYTES {
            // A refusal that breaks off is a refusal.
            let Some(Ok(frame)) = body.frame().await else { break };
            beginning.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
        let text = excerpt(&beginning);
        let colon = if text.is_empty() { "" } else { ": " };
        let reason = format!("failed to deliver to {whom}: status {status}{colon}{text}");
        Err(DeliveryError::Failed { retry: may_retry(status), reason })
    };
    drive(connection, talking).await
}

/// A receiver that says 4xx will say it again, but for those that speak of time or load. A redirect is not
/// followed, as a POST might become a GET on the way: the spec has the wrong address.
fn may_retry(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}
