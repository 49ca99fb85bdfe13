//! Messages to receivers that take them, close on them, are slow, refuse.
//!
//! Whether the messages are those of the protocol is shown elsewhere, with a receiver made of the official ones.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::messages::metrics::{ExportMetrics, ResourceMetrics};
use super::messages::{KeyValue, Resource};
use super::*;
use crate::hands::loopback::{PATIENCE, listen, run};
use crate::hands::probes::TlsContexts;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn sender(address: &str, gzip: bool) -> Sender {
    let headers = [("X-Token".to_owned(), "secret".to_owned())];
    Sender::new(Endpoint::new(address, None, headers, PATIENCE, gzip).unwrap(), Arc::new(TlsContexts::new()))
}

fn message() -> ExportMetrics {
    let resource = Resource { attributes: vec![KeyValue::new("service.name", "x".repeat(5000))] };
    ExportMetrics { resource_metrics: vec![ResourceMetrics { resource: Some(resource), scope_metrics: Vec::new() }] }
}

/// What a receiver got.
struct Got {
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    connection: usize,
}

/// Takes connections over HTTP/1.1, one after the other; closes each after `requests`.
fn http1_receiver(listener: TcpListener, requests: usize) -> mpsc::Receiver<Got> {
    let (seen, got) = mpsc::channel(16);
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (seen, left) = (seen.clone(), std::sync::atomic::AtomicUsize::new(requests));
            let service = service_fn(|request: Request<Incoming>| {
                let (seen, last) = (seen.clone(), left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes().to_vec();
                    let path = head.uri.path().to_owned();
                    seen.send(Got { path, headers: head.headers, body, connection }).await.unwrap();
                    let mut response = Response::new(Full::new(Bytes::new()));
                    if last {
                        response.headers_mut().insert("connection", "close".parse().unwrap());
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            // The other side closes when it wants to.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    got
}

#[test]
fn requests_follow_each_other_over_one_connection() {
    run(async {
        let (listener, port) = listen().await;
        let mut got = http1_receiver(listener, usize::MAX);
        let mut sender = sender(&format!("http://127.0.0.1:{port}/otlp/"), false);
        for signal in [Signal::Metrics, Signal::Logs] {
            assert_eq!(sender.send(signal, &message()).await, Ok(Accepted::default()));
        }
        let (first, second) = (got.recv().await.unwrap(), got.recv().await.unwrap());
        assert_eq!((first.path.as_str(), second.path.as_str()), ("/otlp/v1/metrics", "/otlp/v1/logs"));
        assert_eq!((first.connection, second.connection), (0, 0));
        assert_eq!(first.headers["content-type"], "application/x-protobuf");
        assert_eq!(first.headers["x-token"], "secret");
        assert_eq!(first.headers["host"], format!("127.0.0.1:{port}"));
        assert_eq!(ExportMetrics::decode(&*first.body).unwrap(), message());
    });
}

#[test]
fn a_receiver_that_closes_after_each_request_gets_each_once() {
    run(async {
        let (listener, port) = listen().await;
        let mut got = http1_receiver(listener, 1);
        let mut sender = sender(&format!("http://127.0.0.1:{port}"), true);
        for _ in 0..3 {
            sender.send(Signal::Logs, &message()).await.unwrap();
        }
        for connection in 0..3 {
            let request = got.recv().await.unwrap();
            assert_eq!(request.connection, connection);
            assert_eq!(request.headers["content-encoding"], "gzip");
            assert!(request.body.len() < 1000, "{} bytes are not compressed", request.body.len());
            let mut plain = Vec::new();
            GzDecoder::new(&*request.body).read_to_end(&mut plain).unwrap();
            assert_eq!(ExportMetrics::decode(&*plain).unwrap(), message());
        }
        assert!(got.try_recv().is_err());
    });
}

#[test]
fn a_grpc_call_is_framed_and_its_status_is_in_the_trailers() {
    run(async {
        let (listener, port) = listen().await;
        let (seen, mut got) = mpsc::channel(4);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes().to_vec();
                    seen.send((head.uri.path().to_owned(), head.headers, body)).await.unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]);
                    Ok::<_, Infallible>(Response::new(OnlyTrailers(Some(trailers))))
                }
            });
            let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        let mut sender = sender(&format!("grpc://127.0.0.1:{port}"), true);
        for _ in 0..2 {
            let refused = sender.send(Signal::Metrics, &message()).await.unwrap_err();
            assert_eq!(refused, SendError::later("the receiver answers with gRPC status 14"));
            let (path, headers, body) = got.recv().await.unwrap();
            assert_eq!(path, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(headers["te"], "trailers");
            assert_eq!(headers["grpc-encoding"], "gzip");
            assert_eq!(body[0], 1, "its first byte says that it is compressed");
            assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
            let mut plain = Vec::new();
            GzDecoder::new(&body[5..]).read_to_end(&mut plain).unwrap();
            assert_eq!(ExportMetrics::decode(&*plain).unwrap(), message());
        }
    });
}

/// A body that is empty but for its trailers.
struct OnlyTrailers(Option<HeaderMap>);

impl Body for OnlyTrailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

#[test]
fn nobody_there_and_no_answer_are_worth_another_attempt() {
    run(async {
        let (listener, port) = listen().await;
        drop(listener);
        let refused = sender(&format!("http://127.0.0.1:{port}"), false).send(Signal::Logs, &message()).await;
        let refused = refused.unwrap_err();
        assert!(refused.may_retry() && refused.to_string().contains(&port.to_string()), "{refused}");
        let (_silent, port) = listen().await;
        let soon = Duration::from_millis(50);
        let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}"), None, [], soon, false).unwrap();
        let mut sender = Sender::new(endpoint, Arc::new(TlsContexts::new()));
        let late = sender.send(Signal::Logs, &message()).await.unwrap_err();
        assert!(late.may_retry() && late.to_string().contains("still waiting for the reply"), "{late}");
    });
}

#[test]
fn an_address_says_how_it_is_spoken_to() {
    let protocol_of = |address: &str, protocol| {
        Endpoint::new(address, protocol, [], PATIENCE, false)
            .map(|endpoint| (endpoint.protocol, endpoint.target().to_string()))
    };
    let is = |protocol, target: &str| Ok((protocol, target.to_owned()));
    assert_eq!(protocol_of("http://collector:4318", None), is(Protocol::Http, "collector:4318"));
    assert_eq!(protocol_of("http://collector:4317", Some(Protocol::Grpc)), is(Protocol::Grpc, "collector:4317"));
    assert_eq!(protocol_of("grpc://collector", None), is(Protocol::Grpc, "collector:4317"));
    assert_eq!(protocol_of("grpcs://[::1]", None), is(Protocol::Grpc, "[::1]:4317"));
    for bad in ["collector:4318", "udp://collector", "grpc://collector/v1", "http://c?x=1", "http://user@c"] {
        let refused = protocol_of(bad, None).unwrap_err().to_string();
        assert!(refused.starts_with("refused: ") && refused.contains(bad), "{refused}");
    }
    assert!(protocol_of("grpc://c", Some(Protocol::Http)).is_err());
    assert!(Endpoint::new("http://c", None, [("a b".to_owned(), "c".to_owned())], PATIENCE, false).is_err());
}

#[test]
fn waits_double_up_to_a_limit_and_heed_what_the_receiver_asks_for() {
    let mut pace = Pace::default();
    let later = SendError::later("busy");
    let waits: Vec<u64> = (0..12).map(|_| pace.failed(&later, 0.0).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    pace.worked();
    let asked = SendError::Later { after: Some(Duration::from_secs(30)), reason: String::new() };
    assert_eq!(pace.failed(&asked, 0.0), Duration::from_secs(30));
    assert_eq!(pace.clone().failed(&later, 1.0), pace.failed(&later, 0.0).mul_f64(0.8));
    let for_ever = SendError::Later { after: Some(Duration::from_secs(1 << 40)), reason: String::new() };
    assert_eq!(pace.failed(&for_ever, 0.0), Duration::from_secs(300));
}
