//! Speaks to a guard: at its control socket, or at the door of one on another computer ([`Remote`]). The command line has
//! no other way in.

mod remote;

pub use remote::{Address, Remote};

use crate::hands::spawner::chain;
use crate::traces::parse_traceparent;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tutela_os::endpoint::{self, Found, Stream};
use tutela_os::paths::Paths;
use tutela_os::safe::Safe;
use tutela_schema::api::{ErrorReply, GUARD_HEADER};

/// The longest answer that is read whole: the status of 10,000 instances has about 8 MB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a guard may take to begin an answer to what it should know at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long is looked for the guard that takes another one's place, where one has left what waits for it. In an upgrade
/// nobody is there for some ten milliseconds, twice; with thousands of programs, for some hundred.
const GAP_WAIT: Duration = Duration::from_secs(1);

/// How often.
const GAP_LOOK: Duration = Duration::from_millis(20);

/// Why a guard did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no such guard.
    #[error("refused: no guard named {name} runs here{}", if *.is_left { ", but what it kept runs on" } else { "" })]
    NoGuard {
        /// Its name.
        name: String,
        /// Whether one has left what waits for the next one.
        is_left: bool,
        /// Those that do run.
        others: Vec<String>,
    },
    /// The socket may not be used.
    #[error("refused: this account may not control the guard {name}")]
    NotAllowed {
        /// Its name.
        name: String,
    },
    /// The guard refused or failed.
    #[error("{}", .0.error.message)]
    Refused(Box<ErrorReply>),
    /// It did not answer, or not in a way that can be understood.
    #[error("failed to speak to the guard {name}: {reason}")]
    Failed {
        /// Its name.
        name: String,
        /// What went wrong.
        reason: String,
        /// It may have heard what was asked, and went before it had answered.
        cut_off: bool,
    },
}

/// What becomes of what a guard has left.
pub const TAKEN_BACK: &str = "`tutela run SPEC`, or its service manager, begins the next guard, which takes it back";

impl ClientError {
    /// The exit code of a command line that met it.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::NoGuard { .. } => 4,
            ClientError::NotAllowed { .. } => 5,
            ClientError::Refused(reply) => reply.error.code.exit_code(),
            ClientError::Failed { .. } => 1,
        }
    }

    /// How to mend it.
    pub fn help(&self) -> Option<String> {
        match self {
            ClientError::NoGuard { is_left: true, .. } => Some(TAKEN_BACK.into()),
            ClientError::NoGuard { others, .. } if others.is_empty() => {
                Some("no guard runs here at all; `tutela run SPEC` starts one".into())
            }
            ClientError::NoGuard { others, .. } => Some(format!("there are: {}", others.join(", "))),
            ClientError::NotAllowed { .. } => {
                Some("run this as the account of the guard, or as an administrator".into())
            }
            ClientError::Refused(reply) => reply.error.help.clone(),
            ClientError::Failed { .. } => None,
        }
    }
}

/// One guard that can be spoken to.
#[derive(Debug, Clone)]
pub struct Client {
    name: String,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Here(Paths),
    There(Arc<Remote>),
}

/// Where the guards are that the command line speaks to: on this computer, or one on another.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The folders of this computer.
    pub paths: Paths,
    remote: Option<Arc<Remote>>,
}

impl Reach {
    /// `remote`: the guard on another computer; `None`: those of this one.
    pub fn new(paths: Paths, remote: Option<Remote>) -> Reach {
        Reach { paths, remote: remote.map(Arc::new) }
    }

    /// Whether it is another computer, of which nothing but its guard can be asked.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The guard `name`. On another computer an empty name is whichever is there.
    pub fn client(&self, name: &str) -> Client {
        match &self.remote {
            Some(remote) => Client { name: name.to_owned(), way: Way::There(remote.clone()) },
            None => Client::new(&self.paths, name),
        }
    }

    /// The names of the guards that are there to be asked.
    pub fn guards(&self) -> Vec<String> {
        match &self.remote {
            Some(_) => vec![String::new()],
            None => running(&self.paths).into_iter().map(|found| found.name).collect(),
        }
    }
}

impl Client {
    /// The guard `name`, wherever its socket is.
    pub fn new(paths: &Paths, name: &str) -> Client {
        Client { name: name.to_owned(), way: Way::Here(paths.clone()) }
    }

    /// The guard's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for something that is answered at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let (status, bytes) = self.fetch(path).await?;
        self.read(status, &bytes)
    }

    /// Asks for a text that is answered at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let (status, bytes) = self.fetch(path).await?;
        if status != StatusCode::OK {
            return Err(self.refusal_of(status, &bytes));
        }
        String::from_utf8(bytes.into()).map_err(|error| self.failed(error.to_string()))
    }

    /// A whole answer. Whoever is cut off before it asks the guard that follows: nothing was changed by asking.
    async fn fetch(&self, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        let asked = || async { self.whole(self.send(Method::GET, path, Bytes::new(), None).await?).await };
        match tokio::time::timeout(ANSWER_LIMIT, self.persist(asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.failed(format!("it did not answer within {ANSWER_LIMIT:?}"))),
        }
    }

    /// Asks until nobody cuts it off, while a guard is to be expected.
    async fn persist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let until = Instant::now() + GAP_WAIT;
        loop {
            let answer = ask().await;
            let is_cut_off = matches!(answer, Err(ClientError::Failed { cut_off: true, .. }));
            if !is_cut_off || Instant::now() >= until || !self.is_left() {
                return answer;
            }
            tokio::time::sleep(GAP_LOOK).await;
        }
    }

    /// Whether a guard of this name has left what waits for the next one, or still has it.
    pub fn is_left(&self) -> bool {
        let Way::Here(paths) = &self.way else { return false };
        // A guard with an account of its own has everything in a folder of its own.
        let beside = paths.sockets(&self.name).into_iter().map(|socket| socket.with_extension("safe"));
        beside.chain([paths.safe(&self.name)]).any(|safe| Safe::is_left(&safe))
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes), ClientError> {
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| self.cut_off(error.to_string()))?.to_bytes()))
    }

    /// Asks for something to be done, and waits until it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, ClientError> {
        let (status, bytes) = self.whole(self.send(Method::POST, path, body.into(), None).await?).await?;
        self.read(status, &bytes)
    }

    /// Asks for a stream. Dropping it ends it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open(&self, path: &str) -> Result<Pieces, ClientError> {
        self.open_after(path, None).await
    }

    /// The same, of events: behind the one of this number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_after(&self, path: &str, last: Option<u64>) -> Result<Pieces, ClientError> {
        let response = self.persist(|| self.send(Method::GET, path, Bytes::new(), last)).await?;
        if response.status() != StatusCode::OK {
            // Whatever is said in place of a stream, it is not the stream.
            return Err(self.refusal(response).await);
        }
        Ok(Pieces(response))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        last: Option<u64>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(&method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut sender = match &self.way {
            Way::Here(paths) => {
                request = request.header(header::HOST, "tutela");
                self.begin(self.connect(paths).await?).await?
            }
            Way::There(remote) => {
                request = request.header(header::HOST, remote.authority());
                if let Some(token) = remote.authorization() {
                    request = request.header(header::AUTHORIZATION, token);
                }
                if !self.name.is_empty() {
                    request = request.header(GUARD_HEADER, &self.name);
                }
                let stream = remote.connect().await.map_err(|reason| self.failed(reason))?;
                self.begin(stream).await?
            }
        };
        if method == Method::POST {
            for (name, value) in trace_headers(|key| std::env::var(key).ok()) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| self.failed(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| self.cut_off(chain(&error)))
    }

    async fn begin(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<http1::SendRequest<Full<Bytes>>, ClientError> {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.failed(chain(&error)))?;
        // Ends with the answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// To the guard. Between two of them, to the one that comes: nothing has been sent to anybody by then.
    async fn connect(&self, paths: &Paths) -> Result<Stream, ClientError> {
        let until = Instant::now() + GAP_WAIT;
        loop {
            if let Some(stream) = self.dial(paths).await? {
                return Ok(stream);
            }
            let is_left = self.is_left();
            if !is_left || Instant::now() >= until {
                let others = running(paths).into_iter().map(|found| found.name).collect();
                return Err(ClientError::NoGuard { name: self.name.clone(), is_left, others });
            }
            tokio::time::sleep(GAP_LOOK).await;
        }
    }

    /// To the first of the places where the guard may be that somebody answers at.
    async fn dial(&self, paths: &Paths) -> Result<Option<Stream>, ClientError> {
        for socket in paths.sockets(&self.name) {
            return match endpoint::connect(&socket).await {
                Ok(stream) => Ok(Some(stream)),
                Err(error) => match error.io_kind() {
                    Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => continue,
                    Some(ErrorKind::PermissionDenied) => Err(ClientError::NotAllowed { name: self.name.clone() }),
                    _ => Err(self.failed(chain(&error))),
                },
            };
        }
        Ok(None)
    }

    fn read<T: DeserializeOwned>(&self, status: StatusCode, bytes: &[u8]) -> Result<T, ClientError> {
        // `/health` answers 503 with the body that was asked for.
        if (status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE)
            && let Ok(answer) = serde_json::from_slice(bytes)
        {
            return Ok(answer);
        }
        Err(self.refusal_of(status, bytes))
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        match self.whole(response).await {
            Ok((status, bytes)) => self.refusal_of(status, &bytes),
            Err(error) => error,
        }
    }

    fn refusal_of(&self, status: StatusCode, bytes: &[u8]) -> ClientError {
        match serde_json::from_slice::<ErrorReply>(bytes) {
            Ok(reply) => ClientError::Refused(Box::new(reply)),
            Err(error) => self.failed(format!("it answered {status} with something else: {error}")),
        }
    }

    fn failed(&self, reason: String) -> ClientError {
        let name = match &self.way {
            Way::Here(_) => self.name.clone(),
            Way::There(remote) if self.name.is_empty() => format!("at {}", remote.authority()),
            Way::There(remote) => format!("{} at {}", self.name, remote.authority()),
        };
        ClientError::Failed { name, reason, cut_off: false }
    }

    fn cut_off(&self, reason: String) -> ClientError {
        match self.failed(reason) {
            ClientError::Failed { name, reason, .. } => ClientError::Failed { name, reason, cut_off: true },
            other => other,
        }
    }
}

/// The trace that this command belongs to, where the environment tells it, as pipelines do: what it causes goes on
/// with it. What is no trace context is left out, for it would make the request one.
fn trace_headers(environment: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let parent = environment("TRACEPARENT").filter(|parent| parse_traceparent(parent).is_some());
    let Some(parent) = parent else { return Vec::new() };
    let is_plain = |state: &String| state.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let state = environment("TRACESTATE").filter(is_plain).map(|state| ("tracestate", state));
    [("traceparent", parent)].into_iter().chain(state).collect()
}

/// A stream of a guard, piece by piece.
#[derive(Debug)]
pub struct Pieces(Response<Incoming>);

impl Pieces {
    /// A number that the answer's head has under this name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.headers().get(name)?.to_str().ok()?.parse().ok()
    }

    /// The next piece; `None`: it has ended. A stream that is cut off has come to its end with its guard.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Ok(data) = self.0.body_mut().frame().await?.ok()?.into_data() {
                return Some(data);
            }
        }
    }
}

/// The guards whose sockets are answered.
pub fn running(paths: &Paths) -> Vec<Found> {
    let mut found = endpoint::list(paths).unwrap_or_default();
    found.retain(|found| found.pid.is_some());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_on_with_the_trace_of_its_environment() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |parent: &str, state: Option<&str>| {
            trace_headers(|key| if key == "TRACEPARENT" { Some(parent.to_owned()) } else { state.map(str::to_owned) })
        };
        assert_eq!(of(parent, None), [("traceparent", parent.to_owned())]);
        assert_eq!(of(parent, Some("a=b"))[1], ("tracestate", "a=b".to_owned()));
        assert_eq!(of(parent, Some("a=b\r\nx: y")).len(), 1);
        assert!(of("nonsense", Some("a=b")).is_empty());
        assert!(trace_headers(|_| None).is_empty());
    }
}
