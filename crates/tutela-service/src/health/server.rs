//! The server: a thread with a runtime of its own, bounded in connections, times and sizes.

use super::checks::{Finding, Verdict};
use super::{Health, figures};
use crate::wall;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, oneshot};

/// Connections at a time. Those who ask are a handful of load balancers and scrapers; above this, a new connection is
/// closed at once.
const CONNECTIONS_MAX: usize = 64;

/// The time for the head of a request, which is also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long the accept loop rests when the OS has no more descriptors to give.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Threads for checks that wait. More checks than this at a time wait for each other.
const CHECK_THREADS_MAX: usize = 16;

type Answer = Response<Full<Bytes>>;

/// The server while it serves. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Serving(#[allow(dead_code, reason = "what matters is its drop")] oneshot::Sender<()>);

impl Serving {
    pub(super) fn begin(listener: TcpListener, health: Health) -> std::io::Result<Serving> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(CHECK_THREADS_MAX)
            .build()?;
        let (serving, ended) = oneshot::channel();
        std::thread::Builder::new().name("health".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, health, ended));
            // A check that hangs must not hold the end up.
            runtime.shutdown_background();
        })?;
        Ok(Serving(serving))
    }
}

async fn serve(listener: TcpListener, health: Health, mut ended: oneshot::Receiver<()>) {
    // It was made non-blocking, and this is a runtime with IO, so it is taken.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut ended => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let health = health.clone();
                async move { Ok::<_, Infallible>(answer(&request, &health).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // How a connection ends is the client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn answer(request: &Request<Incoming>, health: &Health) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "refused: only GET and HEAD\n".to_owned());
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/livez" => body_of(vec![alive(health)], false),
        "/readyz" => body_of(everything(health, true).await, true),
        "/health" => body_of(everything(health, false).await, false),
        "/metrics" => metrics(request, health),
        _ => {
            let paths = "refused: here are /health, /livez, /readyz and /metrics\n";
            text(StatusCode::NOT_FOUND, "text/plain", paths.to_owned())
        }
    }
}

/// One entry of the body.
struct Entry {
    name: String,
    verdict: Verdict,
    latency: Option<Duration>,
}

/// Whether the program lives.
fn alive(health: &Health) -> Entry {
    let silent = health.0.service.upgrade().map(|service| service.silent_for());
    let verdict = match (silent, health.0.patience) {
        (Some(silent), Some(patience)) if silent > patience => {
            Verdict::Unhealthy(format!("no sign of life for {silent:.1?}"))
        }
        (Some(_), _) => Verdict::Healthy,
        (None, _) => Verdict::Unhealthy("the service has ended".to_owned()),
    };
    Entry { name: "heartbeat".to_owned(), verdict, latency: None }
}

async fn everything(health: &Health, strictly: bool) -> Vec<Entry> {
    let mut entries = vec![alive(health)];
    let service = health.0.service.upgrade();
    let verdict = if health.0.serving.load(Ordering::Acquire) {
        Verdict::Healthy
    } else {
        let reason = service.as_ref().and_then(|service| service.stopping().reason.clone());
        Verdict::Unhealthy(reason.map_or("not ready for work".to_owned(), |reason| format!("stopping: {reason}")))
    };
    entries.push(Entry { name: "service".to_owned(), verdict, latency: None });
    // What takes no work any more is not asked what it needs for its work.
    if strictly && !matches!(entries.last(), Some(Entry { verdict: Verdict::Healthy, .. })) {
        return entries;
    }
    #[cfg(feature = "tokio")]
    let runtime = service.as_ref().and_then(|service| service.runtime.get());
    #[cfg(not(feature = "tokio"))]
    let runtime = None;
    let findings = health.0.checks.all(runtime).await;
    entries.extend(findings.into_iter().map(|Finding { name, verdict, latency }| Entry {
        name: name.to_string(),
        verdict,
        latency: Some(latency),
    }));
    entries
}

/// The body, with the status of its worst entry.
fn body_of(entries: Vec<Entry>, _strictly: bool) -> Answer {
    let rank = |entry: &Entry| match entry.verdict {
        Verdict::Healthy => 0,
        Verdict::Warning(_) => 1,
        Verdict::Unhealthy(_) => 2,
    };
    let worst = entries.iter().map(rank).max().unwrap_or(0);
    let words = ["healthy", "warning", "unhealthy"];
    let mut body = format!("{{\"status\":\"{}\",\"checks\":[", words[worst]);
    for (index, entry) in entries.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(body, "{comma}{{\"name\":{},\"status\":\"{}\"", quoted(&entry.name), words[rank(entry)]);
        if let Some(latency) = entry.latency {
            let _ = write!(body, ",\"latency_ms\":{:.3}", latency.as_secs_f64() * 1000.0);
        }
        if let Verdict::Warning(text) | Verdict::Unhealthy(text) = &entry.verdict {
            let _ = write!(body, ",\"message\":{}", quoted(text));
        }
        body.push('}');
    }
    let _ = write!(body, "],\"timestamp\":\"{}\"}}", wall::rfc3339(SystemTime::now()));
    let status = if worst == 2 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    text(status, "application/json", body)
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            character if character < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

fn metrics(request: &Request<Incoming>, health: &Health) -> Answer {
    let mut body = String::new();
    let encoded = health.figures(|registry| prometheus_client::encoding::text::encode(&mut body, registry));
    if encoded.is_err() {
        let what = "failed to write the figures\n";
        return text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", what.to_owned());
    }
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        return text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body);
    }
    text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", figures::older_format(&body))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_as_json_reads_it() {
        let text = "a \"b\" \\ \n \u{1} ü";
        assert_eq!(serde_json::from_str::<String>(&quoted(text)).ok().as_deref(), Some(text));
    }

    #[test]
    fn the_worst_entry_decides_and_a_warning_still_serves() {
        let entry = |verdict| Entry { name: "x".into(), verdict, latency: Some(Duration::from_millis(2)) };
        let status = |entries| body_of(entries, false).status();
        assert_eq!(status(vec![entry(Verdict::Healthy), entry(Verdict::Warning("w".into()))]), StatusCode::OK);
        assert_eq!(status(vec![entry(Verdict::Unhealthy("u".into()))]), StatusCode::SERVICE_UNAVAILABLE);
    }
}
