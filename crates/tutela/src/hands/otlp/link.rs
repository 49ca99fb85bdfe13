//! One connection to a receiver, kept from request to request.
//!
//! What drives it is a task of the link's own, ended with it: a link that is dropped leaves nothing behind.

use super::endpoint::{Endpoint, Protocol};
use crate::hands::probes::{Stage, Tasks, TlsContexts, Trouble, dial, secure};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The longest head of a reply.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Link {
    mouth: Mouth,
    driving: JoinHandle<()>,
}

#[derive(Debug)]
enum Mouth {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Link {
    pub(super) async fn make(
        endpoint: &Endpoint,
        tls: &TlsContexts,
        by: Instant,
        stage: &Stage,
    ) -> Result<Link, Trouble> {
        let stream = dial(&endpoint.url.target, by, stage).await?;
        match (&endpoint.url.secure, endpoint.protocol) {
            (None, protocol) => Link::over(stream, protocol).await,
            (Some(name), Protocol::Http) => {
                Link::over(secure(stream, name, tls.http(true), stage).await?, Protocol::Http).await
            }
            (Some(name), Protocol::Grpc) => {
                Link::over(secure(stream, name, tls.grpc(), stage).await?, Protocol::Grpc).await
            }
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> Result<Link, Trouble> {
        let failed = |error: hyper::Error| Trouble::Failed(format!("failed to begin the talk: {error}"));
        Ok(match protocol {
            Protocol::Http => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(HEAD_BYTES_MAX);
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
                // Its error, if it has one, reaches who sends.
                let driving = tokio::spawn(async move { drop(connection.await) });
                Link { mouth: Mouth::Http1(sender), driving }
            }
            Protocol::Grpc => {
                let tasks = Tasks::default();
                let shaking = http2::Builder::new(tasks.clone()).handshake(TokioIo::new(stream));
                let (sender, connection) = shaking.await.map_err(failed)?;
                let driving = tokio::spawn(async move {
                    let _ = tokio::join!(connection, tasks.run());
                });
                Link { mouth: Mouth::Http2(sender), driving }
            }
        })
    }

    /// Whether it is known to be over.
    pub(super) fn is_closed(&self) -> bool {
        match &self.mouth {
            Mouth::Http1(sender) => sender.is_closed(),
            Mouth::Http2(sender) => sender.is_closed(),
        }
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.mouth {
            Mouth::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Mouth::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
