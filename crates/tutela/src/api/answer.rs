//! Answers: bodies whole or as a stream, errors always in one form.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tutela_schema::api::{ErrorCode, ErrorReply};

/// The body of every answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub type Answer = Response<AnswerBody>;

/// Pieces of a stream that may wait for a slow client. It is small, because what waits here is memory; a
/// client that does not keep up slows its own reader down, nobody else.
const PIECES_MAX: usize = 16;

/// A body that is there.
pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

/// A JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(bytes) => whole(status, "application/json", bytes),
        Err(error) => {
            refusal(&ErrorReply::new(ErrorCode::Internal, format!("failed to write the answer: {error}"), None))
        }
    }
}

/// An error, with its status.
pub fn refusal(reply: &ErrorReply) -> Answer {
    let status = StatusCode::from_u16(reply.error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, reply)
}

/// What a stream's writer has. When the client is gone, [`Pieces::send`] says so.
#[derive(Debug, Clone)]
pub struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    /// Sends the next piece; waits while the client is behind.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), ()> {
        self.0.send(piece.into()).await.map_err(|_| ())
    }

    /// Waits until the client is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A body that comes in pieces. It ends when the writer is dropped.
pub fn stream(content_type: &'static str) -> (Pieces, Answer) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let mut answer = Response::new(Stream(receiver).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    (Pieces(sender), answer)
}

struct Stream(mpsc::Receiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
