//! The door's thread: connections in, handshakes, and requests to where the control socket's go too.

use super::figures::Why;
use super::gate::{Gate, Guest, Link, Policy, Seat, Turned};
use super::{News, Open};
use crate::api::answer::{Answer, refusal};
use crate::api::caller::Caller;
use crate::api::connection::{LAST_ANSWERS, talk};
use crate::api::serve::{ACCEPT_TOLD_EVERY, Context, answer, note_turned_away};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tutela_os::blocking::Pool;
use tutela_schema::api::{ErrorCode, ErrorReply};

/// The time for a handshake. It takes two ways there and back, and the slowest network has those within a second.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// The time for the head of a request, which is also how long a connection may be idle.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How often a connection that is open is looked at by the rules of the moment: for tokens that expire. A reload looks
/// at all of them at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long the accept loop rests when the OS has no more descriptors to give.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Threads for work that blocks: reading logs and walking over the process table for those who ask.
const BLOCKING_THREADS_MAX: usize = 16;

/// Apart from those of the control socket, so that nobody from the network keeps its users waiting.
static FILES: Pool = Pool::new("door files", BLOCKING_THREADS_MAX);

/// Pieces that are read of somebody who speaks plain HTTP where TLS is spoken: the head of a request.
const PLAIN_READS_MAX: usize = 16;

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Serves until `stopped`.
pub(super) fn work(
    gate: &Arc<Gate>,
    open: watch::Receiver<Option<Open>>,
    context: &Arc<Context>,
    stopped: oneshot::Receiver<()>,
) {
    FILES.adopt();
    let runtime = Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(serve(gate, open, context, stopped));
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
        Err(error) => {
            (gate.tell)(News::Trouble(format!("failed to start an event loop for the API on TCP: {error}")));
        }
    }
}

async fn serve(
    gate: &Arc<Gate>,
    mut open: watch::Receiver<Option<Open>>,
    context: &Arc<Context>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (end, ending) = watch::channel(());
    let (review, reviewed) = watch::channel(());
    let mut listening: Option<(Arc<std::net::TcpListener>, TcpListener)> = None;
    let mut told: Option<tokio::time::Instant> = None;
    open.mark_changed();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => break,
            changed = open.changed() => {
                if changed.is_err() {
                    break;
                }
                let wanted = open.borrow_and_update().as_ref().map(|open| open.listener.clone());
                listening = listen(gate, listening, wanted);
                // Nobody may be connected.
                let _ = review.send(());
                continue;
            }
            accepted = next(listening.as_ref()) => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some((seat, policy)) = gate.seat(address.ip()).zip(gate.policy()) else { continue };
                let visit = Visit { gate: gate.clone(), context: context.clone(), policy, address };
                tokio::spawn(visit.receive(stream, seat, ending.clone(), reviewed.clone()));
            }
            Err(error) => {
                // Mostly no descriptors left; those that are in use come back.
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_TOLD_EVERY) {
                    told = Some(tokio::time::Instant::now());
                    (gate.tell)(News::Trouble(format!("the API on TCP cannot take connections: {error}")));
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    drop((ending, listening));
    // Every connection may have gone already.
    let _ = end.send(());
    let _ = tokio::time::timeout(LAST_ANSWERS, end.closed()).await;
}

type Listening = Option<(Arc<std::net::TcpListener>, TcpListener)>;

/// What is listened at from here on; the same as before where it is the same address.
fn listen(gate: &Gate, before: Listening, wanted: Option<Arc<std::net::TcpListener>>) -> Listening {
    let wanted = wanted?;
    match before {
        Some((known, listener)) if Arc::ptr_eq(&known, &wanted) => Some((known, listener)),
        _ => match wanted.try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => Some((wanted, listener)),
            Err(error) => {
                (gate.tell)(News::Trouble(format!("the API on TCP cannot listen: {error}")));
                None
            }
        },
    }
}

async fn next(
    listening: Option<&(Arc<std::net::TcpListener>, TcpListener)>,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listening {
        Some((_, listener)) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// One connection.
struct Visit {
    gate: Arc<Gate>,
    context: Arc<Context>,
    policy: Arc<Policy>,
    address: SocketAddr,
}

impl Visit {
    async fn receive(self, stream: TcpStream, seat: Seat, ending: watch::Receiver<()>, reviewed: watch::Receiver<()>) {
        // Answers are small and wait for no others.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.policy.acceptor.clone() else {
            return self.stay(stream, Vec::new(), ending, reviewed).await;
        };
        let shaking = async {
            let mut first = [0];
            // Who speaks HTTP here is told so in HTTP.
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                return Ok(Err(stream));
            }
            acceptor.accept(stream).await.map(Ok)
        };
        match tokio::time::timeout(HANDSHAKE_LIMIT, shaking).await {
            Ok(Ok(Ok(stream))) => {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let shown = shown.iter().map(|it| it.clone().into_owned()).collect();
                self.stay(stream, shown, ending, reviewed).await;
            }
            Ok(Ok(Err(plain))) => {
                self.gate.refuse(Why::Handshake, self.address.ip(), "it spoke no TLS");
                let _ = tokio::time::timeout(HANDSHAKE_LIMIT, say_tls(plain)).await;
            }
            Ok(Err(_)) => self.gate.refuse(Why::Handshake, self.address.ip(), "the TLS handshake failed"),
            Err(_) => self.gate.refuse(Why::Handshake, self.address.ip(), "the TLS handshake took too long"),
        }
        drop(seat);
    }

    async fn stay<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        shown: Vec<rustls_pki_types::CertificateDer<'static>>,
        ending: watch::Receiver<()>,
        mut reviewed: watch::Receiver<()>,
    ) {
        let link = Arc::new(Link::new(self.address, shown));
        let respond = |request| {
            let (gate, context, link) = (self.gate.clone(), self.context.clone(), link.clone());
            async move { respond(request, &gate, &link, &context).await }
        };
        let leave = async {
            loop {
                if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, reviewed.changed()).await {
                    // The guard ends, and the last answers are on their way.
                    std::future::pending::<()>().await;
                }
                if !self.gate.still_welcomes(&link) {
                    return;
                }
            }
        };
        tokio::select! {
            () = talk(stream, HEAD_LIMIT, respond, ending) => {}
            () = leave => {}
        }
    }
}

async fn respond(request: Request<Incoming>, gate: &Gate, link: &Link, context: &Arc<Context>) -> Answer {
    let guest = match gate.admit(link, request.headers()) {
        Ok(guest) => guest,
        Err(turned) => {
            let (method, path) = (request.method().as_str(), request.uri().path());
            note_turned_away(context, method, path, link.address);
            return turn_away(turned);
        }
    };
    if let Some(refused) = of_a_page(&request, &guest) {
        return refusal(&refused);
    }
    let answer = answer(request, Caller::Guest(&guest), context).await;
    if answer.status() == hyper::StatusCode::FORBIDDEN {
        gate.refuse(Why::Role, link.address.ip(), "the role does not reach");
    }
    answer
}

/// A browser says in `Origin` which page a command comes from, and sends a client certificate along unasked: any page
/// could stop services by it. No page has a reason to.
fn of_a_page(request: &Request<Incoming>, guest: &Guest) -> Option<ErrorReply> {
    let is_command = !matches!(*request.method(), Method::GET | Method::HEAD);
    (is_command && request.headers().contains_key(header::ORIGIN)).then(|| {
        let message = format!("refused: {} commands through a page in a browser", guest.words());
        ErrorReply::new(ErrorCode::NotAllowed, message, Some("leave the header Origin out".into()))
    })
}

fn turn_away(turned: Turned) -> Answer {
    let (mut answer, name, value) = match turned {
        Turned::Unknown => {
            let message = "refused: there is no token and no certificate with it, or none that holds";
            let help = "send the header `Authorization: Bearer TOKEN` (--token-file or TUTELA_TOKEN of the command line); `tutela \
                        token` makes one"
                .to_owned();
            let reply = ErrorReply::new(ErrorCode::NotAuthenticated, message, Some(help));
            (refusal(&reply), header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tutela\""))
        }
        Turned::TooOften(wait) => {
            // The first whole second at which there is one again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let message = "refused: too many requests from this address, or too many of nobody who is known";
            let help = format!(
                "try again in {seconds} s; the spec's api.rate says how many there may be of who is known, and of others \
                 there may always be few"
            );
            let reply = ErrorReply::new(ErrorCode::TooManyRequests, message, Some(help));
            (refusal(&reply), header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        }
    };
    answer.headers_mut().insert(name, value);
    // A stranger keeps no place.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// For who speaks plain HTTP where TLS is spoken.
async fn say_tls(mut stream: TcpStream) -> std::io::Result<()> {
    let body = "{\"error\":{\"code\":\"bad_request\",\"message\":\"refused: TLS is spoken here\",\"help\":\"write https://\"}}";
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    // What is not read makes the system tear the answer up.
    let mut rest = [0; 1024];
    for _ in 0..PLAIN_READS_MAX {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}
