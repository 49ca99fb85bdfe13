//! One connection to a receiver that speaks HTTP, kept from request to request. Used by OTLP and by the sink `http`.
//!
//! What drives it is a task of the link's own, ended with it: a link that is dropped leaves nothing behind.

use super::probes::{Stage, Tasks, TlsContexts, Trouble, Url, dial, secure};
use super::sinks::tls::Trust;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The longest head of a reply.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC wants it.
    Http2,
}

/// How a receiver is trusted.
#[derive(Debug)]
pub(super) enum Security {
    /// As the system trusts.
    Common(Arc<TlsContexts>),
    /// As a spec says.
    Own(Trust),
}

type Config = Result<Arc<rustls::ClientConfig>, String>;

impl Security {
    /// Which name the receiver's certificate must have, and how its handshake goes.
    fn of(&mut self, version: Version, name: &ServerName<'static>) -> Result<(ServerName<'static>, Config), Trouble> {
        match (self, version) {
            (Security::Common(contexts), Version::Http1) => Ok((name.clone(), contexts.http(true))),
            (Security::Common(contexts), Version::Http2) => Ok((name.clone(), contexts.grpc())),
            (Security::Own(trust), _) => {
                let name = trust.server_name(&name.to_str()).map_err(Trouble::Failed)?;
                Ok((name, trust.config()))
            }
        }
    }
}

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
    /// Connects, within TLS where the address says so.
    pub(super) async fn make(
        url: &Url,
        version: Version,
        security: &mut Security,
        by: Instant,
        stage: &Stage,
    ) -> Result<Link, Trouble> {
        let stream = dial(&url.target, by, stage).await?;
        let Some(name) = &url.secure else { return Link::over(stream, version).await };
        let (name, config) = security.of(version, name)?;
        Link::over(secure(stream, &name, config, stage).await?, version).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        version: Version,
    ) -> Result<Link, Trouble> {
        let failed = |error: hyper::Error| Trouble::Failed(format!("failed to begin the talk: {error}"));
        Ok(match version {
            Version::Http1 => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(HEAD_BYTES_MAX);
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
                // Its error, if it has one, reaches who sends.
                let driving = tokio::spawn(async move { drop(connection.await) });
                Link { mouth: Mouth::Http1(sender), driving }
            }
            Version::Http2 => {
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

    /// Sends a request, once the connection takes one.
    ///
    /// # Errors
    /// The connection broke, or was over already.
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
