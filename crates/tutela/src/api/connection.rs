//! One connection: requests in, answers out, until it or the guard ends. The same on every stream.

use super::answer::Answer;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// The longest head of a request: that of a program has some hundred bytes, a browser's with what it was told to keep
/// some thousand.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long answers may still be on their way when the guard ends. What is under way then is the answer to
/// the shutdown itself, which is there already; a stream that somebody follows is cut off.
pub(super) const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// Talks until either side is through. `head_limit` is the time for the head of a request, which is also how long the
/// connection may be idle.
pub(super) async fn talk<S, F, A>(stream: S, head_limit: Duration, respond: F, mut ending: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answer>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let head = request.method() == hyper::Method::HEAD;
        let answer = respond(request);
        async move {
            let answer = answer.await;
            Ok::<_, Infallible>(if head { answer.map(|_| http_body_util::Empty::new().boxed_unsync()) } else { answer })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the client's business: a broken one has nobody to be told.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
