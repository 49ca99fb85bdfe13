//! One request after the other, over a connection that is kept.

use super::endpoint::{Endpoint, Protocol, Signal};
use super::reply;
use crate::hands::http::gzip;
use crate::hands::link::{Link, Security};
use crate::hands::probes::{Stage, TlsContexts};
use crate::hands::sinks::tls::Trust;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response};
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;
use tutela_core::spec::TlsSpec;

/// How much of a reply is read. One that took everything is empty; a longer one than this says nothing more.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// How many data points or records were not, and never will be.
    pub rejected: u64,
    /// What the receiver says of it, for people.
    pub warning: Option<String>,
}

/// Why nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may work later.
    #[error("{reason}")]
    Later {
        /// Not before this long, says the receiver.
        after: Option<std::time::Duration>,
        /// What happened.
        reason: String,
    },
    /// It may work once somebody has mended an address or a right: nothing is wrong with what was sent.
    #[error("{reason}")]
    Barred {
        /// What happened.
        reason: String,
    },
    /// It is too much for one request: less of it may work.
    #[error("{reason}")]
    TooLarge {
        /// What happened.
        reason: String,
    },
    /// The receiver will say so again.
    #[error("{reason}")]
    Never {
        /// What happened.
        reason: String,
    },
}

impl SendError {
    pub(super) fn later(reason: impl Into<String>) -> Self {
        SendError::Later { after: None, reason: reason.into() }
    }

    /// Whether the same request may be taken another time.
    pub fn may_retry(&self) -> bool {
        matches!(self, SendError::Later { .. })
    }

    /// How long the receiver wants to be left alone, where it says so.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            SendError::Later { after, .. } => *after,
            SendError::Barred { .. } | SendError::TooLarge { .. } | SendError::Never { .. } => None,
        }
    }
}

/// Sends. Dropping it closes its connection; a request under way may have been taken all the same.
#[derive(Debug)]
pub struct Sender {
    endpoint: Endpoint,
    security: Security,
    link: Option<Link>,
}

impl Sender {
    /// A sender that has not connected yet.
    pub fn new(endpoint: Endpoint, tls: Arc<TlsContexts>) -> Self {
        Sender { endpoint, security: Security::Common(tls), link: None }
    }

    /// The same, for a receiver that is trusted in its own way.
    pub fn with_trust(endpoint: Endpoint, spec: &TlsSpec) -> Self {
        let protocol: &[u8] = match endpoint.protocol {
            Protocol::Http => b"http/1.1",
            Protocol::Grpc => b"h2",
        };
        Sender { endpoint, security: Security::Own(Trust::new(spec, &[protocol])), link: None }
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one message and waits for the answer, at most for the endpoint's timeout. The caller has seen to it that
    /// the message is of a size that receivers take: those of gRPC refuse more than 4 MiB unless told otherwise.
    ///
    /// To be called within a runtime. Dropping the future gives the request up.
    ///
    /// # Errors
    /// [`SendError`]. The next call connects anew where that is needed.
    pub async fn send(&mut self, signal: Signal, message: &impl Message) -> Result<Accepted, SendError> {
        let body = self.body(message)?;
        let (by, stage) = (Instant::now() + self.endpoint.timeout, Stage::default());
        let sent = tokio::time::timeout_at(by, self.attempt(signal, body, by, &stage)).await;
        let result = sent.unwrap_or_else(|_| {
            let (target, timeout) = (self.endpoint.target(), self.endpoint.timeout);
            // What the connection is in the middle of is not known.
            Err((false, SendError::later(format!("no answer from {target} within {timeout:?}: still {stage}"))))
        });
        match result {
            Ok(accepted) => Ok(accepted),
            Err((link_holds, error)) => {
                if !link_holds {
                    self.link = None;
                }
                Err(error)
            }
        }
    }

    /// One request. A failure comes with whether the connection can be used again.
    async fn attempt(
        &mut self,
        signal: Signal,
        body: Bytes,
        by: Instant,
        stage: &Stage,
    ) -> Result<Accepted, (bool, SendError)> {
        let uri = self.endpoint.uri(signal).map_err(|reason| (true, SendError::Never { reason }))?;
        loop {
            let (mut link, kept) = match self.link.take().filter(|link| !link.is_closed()) {
                Some(link) => (link, true),
                None => {
                    let made =
                        Link::make(&self.endpoint.url, self.endpoint.protocol.version(), &mut self.security, by, stage)
                            .await;
                    (made.map_err(|trouble| (false, SendError::later(trouble.into_reason())))?, false)
                }
            };
            stage.reach(Stage::WAITING);
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.endpoint.headers.clone();
            let put = self.endpoint.secret.put(request.headers_mut()).await;
            put.map_err(|reason| (kept, SendError::later(reason)))?;
            match link.send(request).await {
                Ok(response) => {
                    stage.reach(Stage::READING);
                    let (whole, answer) = self.answer(signal, response).await;
                    if whole {
                        self.link = Some(link);
                    }
                    return answer.map_err(|error| (whole, error));
                }
                // A receiver may close a connection that lay idle in the moment in which it is used again.
                Err(_) if kept => {}
                Err(error) => {
                    let target = self.endpoint.target();
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                    return Err((false, SendError::later(format!("failed to send to {target}: {error}{cause}"))));
                }
            }
        }
    }

    /// Reads a reply; also whether it was read to its end, so that another request can follow it.
    async fn answer(&self, signal: Signal, response: Response<Incoming>) -> (bool, Result<Accepted, SendError>) {
        let (head, body) = response.into_parts();
        let (whole, bytes, trailers) = read(body).await;
        let answer = match self.endpoint.protocol {
            Protocol::Http => reply::of_http(head.status, &head.headers, &bytes, signal),
            // A proxy between, or no gRPC at all.
            Protocol::Grpc if !head.status.is_success() => reply::of_http(head.status, &head.headers, &bytes, signal),
            Protocol::Grpc => reply::of_grpc(trailers.as_ref().unwrap_or(&head.headers), &bytes, signal),
        };
        (whole, answer)
    }

    fn body(&self, message: &impl Message) -> Result<Bytes, SendError> {
        let plain = message.encode_to_vec();
        let bytes = if self.endpoint.gzip {
            gzip(&plain)
                .map_err(|error| SendError::Never { reason: format!("failed to compress a request: {error}") })?
        } else {
            plain
        };
        if self.endpoint.protocol == Protocol::Http {
            return Ok(bytes.into());
        }
        let length = u32::try_from(bytes.len())
            .map_err(|_| SendError::Never { reason: "refused: a gRPC message has at most 4 GiB".to_owned() })?;
        let mut framed = Vec::with_capacity(bytes.len() + 5);
        framed.push(u8::from(self.endpoint.gzip));
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&bytes);
        Ok(framed.into())
    }
}

/// The body as far as it is wanted, and the trailers.
async fn read(mut body: Incoming) -> (bool, Vec<u8>, Option<HeaderMap>) {
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (false, bytes, trailers) };
        match frame.into_data() {
            Ok(data) if bytes.len() + data.len() > REPLY_BYTES_MAX => return (false, bytes, trailers),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    (true, bytes, trailers)
}
