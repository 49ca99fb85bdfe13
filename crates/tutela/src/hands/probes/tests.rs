//! Questions to servers that refuse, stall, answer late and answer nonsense.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::hands::loopback::{PATIENCE, listen, run};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tutela_core::spec::StatusRange;

/// Reads a request's head and answers with these bytes, then does what `after` does with the connection.
async fn reply(listener: TcpListener, reply: &[u8]) -> (String, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    // The other side may have seen enough.
    let _ = stream.write_all(reply).await;
    (String::from_utf8(head).unwrap(), stream)
}

fn get(url: &str) -> Question {
    Question::Http(HttpQuestion::new(url, StatusRange::default(), [], true).unwrap())
}

async fn asked(question: &Question) -> Outcome {
    ask(question, PATIENCE, &TlsContexts::new()).await.outcome
}

fn reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_status_passes_and_the_request_says_who_asks_and_that_it_asks_once() {
    run(async {
        let (listener, port) = listen().await;
        let server = tokio::spawn(reply(listener, b"HTTP/1.1 204 No Content\r\n\r\n"));
        let extra = [("X-Token".to_owned(), "secret".to_owned()), ("Host".to_owned(), "shop".to_owned())];
        let url = format!("http://127.0.0.1:{port}/health?deep=1");
        let question = HttpQuestion::new(&url, StatusRange::default(), extra, true).unwrap();
        assert_eq!(asked(&Question::Http(question)).await, Outcome::Pass);
        let (head, _) = server.await.unwrap();
        assert!(head.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{head}");
        for line in ["host: shop\r\n", "connection: close\r\n", "x-token: secret\r\n", "user-agent: tutela-probe/"] {
            assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
        }
    });
}

#[test]
fn a_bad_status_fails_and_says_what_the_program_said() {
    run(async {
        let (listener, port) = listen().await;
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\n\r\ndatabase\n is \x1b gone";
        let server = tokio::spawn(reply(listener, answer));
        let reason = reason(asked(&get(&format!("http://localhost:{port}"))).await);
        assert_eq!(reason, "status 503 Service Unavailable, wanted 200 to 399: database is gone");
        server.await.unwrap();
    });
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    run(async {
        let (listener, port) = listen().await;
        let answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let server = tokio::spawn(reply(listener, answer));
        assert_eq!(asked(&get(&format!("http://127.0.0.1:{port}/"))).await, Outcome::Pass);
        server.await.unwrap();
    });
}

#[test]
fn a_port_where_nobody_listens_is_refused_and_not_failed() {
    run(async {
        let (listener, port) = listen().await;
        drop(listener);
        for question in [
            get(&format!("http://127.0.0.1:{port}/")),
            get(&format!("http://localhost:{port}/")),
            Question::Tcp(Target::parse(&format!("127.0.0.1:{port}")).unwrap()),
            Question::Grpc(GrpcQuestion::new(&format!("127.0.0.1:{port}"), "").unwrap()),
        ] {
            let outcome = asked(&question).await;
            assert!(matches!(&outcome, Outcome::Refused(_)), "{outcome:?}");
        }
    });
}

#[test]
fn a_connection_that_is_accepted_passes_a_tcp_probe() {
    run(async {
        let (_listener, port) = listen().await;
        assert_eq!(asked(&Question::Tcp(Target::parse(&format!("localhost:{port}")).unwrap())).await, Outcome::Pass);
    });
}

#[test]
fn silence_fails_at_the_deadline_and_says_how_far_it_came() {
    run(async {
        let (_listener, port) = listen().await;
        // Long enough for a busy machine to come as far as the question.
        let deadline = Duration::from_millis(500);
        let answer = ask(&get(&format!("http://127.0.0.1:{port}/")), deadline, &TlsContexts::new()).await;
        assert!(answer.took >= deadline && answer.took < PATIENCE);
        assert_eq!(reason(answer.outcome), "no answer within 500ms: still waiting for the reply");
        let grpc = Question::Grpc(GrpcQuestion::new(&format!("127.0.0.1:{port}"), "").unwrap());
        let answer = ask(&grpc, deadline, &TlsContexts::new()).await;
        assert_eq!(reason(answer.outcome), "no answer within 500ms: still waiting for the reply");
    });
}

#[test]
fn a_reply_that_is_no_http_or_has_an_endless_head_fails() {
    run(async {
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1024 * 1024]].concat();
        for answer in [b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec(), endless, Vec::new()] {
            let (listener, port) = listen().await;
            let server = tokio::spawn(async move { drop(reply(listener, &answer).await) });
            let reason = reason(asked(&get(&format!("http://127.0.0.1:{port}/"))).await);
            assert!(reason.starts_with("failed to get a reply: "), "{reason}");
            server.await.unwrap();
        }
    });
}

#[test]
fn a_body_without_end_is_not_read_for_ever() {
    run(async {
        let (listener, port) = listen().await;
        let server = tokio::spawn(async move {
            let (_, mut stream) = reply(listener, b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'z'; 4096]).await.is_ok() {}
        });
        assert_eq!(asked(&get(&format!("http://127.0.0.1:{port}/"))).await, Outcome::Pass);
        server.await.unwrap();
    });
}

#[test]
fn a_dropped_question_leaves_no_connection() {
    run(async {
        for is_grpc in [false, true] {
            let (listener, port) = listen().await;
            let question = match is_grpc {
                false => get(&format!("http://127.0.0.1:{port}/")),
                true => Question::Grpc(GrpcQuestion::new(&format!("127.0.0.1:{port}"), "").unwrap()),
            };
            let tls = TlsContexts::new();
            let mut stream = tokio::select! {
                _ = ask(&question, PATIENCE, &tls) => panic!("nobody answered"),
                accepted = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stream.read_u8().await.unwrap();
                    stream
                } => accepted,
            };
            // Closed or reset: either way the read ends.
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
        }
    });
}

/// Serves one TLS connection with the test certificate.
async fn serve_tls(listener: TcpListener) {
    let certificate = CertificateDer::from_slice(include_bytes!("testdata/localhost.der"));
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(&include_bytes!("testdata/localhost.key.der")[..]));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[test]
fn a_certificate_is_believed_only_from_an_authority_that_is_or_where_the_spec_says_so() {
    run(async {
        let authority = CertificateDer::from_slice(include_bytes!("testdata/authority.der"));
        let trusting = TlsContexts::with_extra_roots(vec![authority]);
        for (tls, verify, passes) in
            [(&trusting, true, true), (&TlsContexts::new(), true, false), (&TlsContexts::new(), false, true)]
        {
            let (listener, port) = listen().await;
            let server = tokio::spawn(serve_tls(listener));
            let url = format!("https://localhost:{port}/");
            let question = Question::Http(HttpQuestion::new(&url, StatusRange::default(), [], verify).unwrap());
            match ask(&question, PATIENCE, tls).await.outcome {
                Outcome::Pass => assert!(passes),
                Outcome::Failed(reason) => {
                    assert!(!passes && reason.starts_with("failed to shake hands over TLS: "), "{reason}");
                }
                refused => panic!("{refused:?}"),
            }
            server.await.unwrap();
        }
    });
}

/// Serves one gRPC connection, answering each request with this message and these trailers.
async fn serve_grpc(listener: TcpListener, message: &'static [u8], trailers: &'static [(&str, &str)]) {
    let (stream, _) = listener.accept().await.unwrap();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["te"], "trailers");
        let mut map = hyper::HeaderMap::new();
        for (name, value) in trailers {
            map.insert(*name, value.parse().unwrap());
        }
        let frames = [
            Ok::<_, Infallible>(hyper::body::Frame::data(hyper::body::Bytes::from_static(message))),
            Ok(hyper::body::Frame::trailers(map)),
        ];
        Ok::<_, Infallible>(hyper::Response::new(Frames(frames.into_iter().collect())))
    });
    // Ends when the other side has gone.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A body of these frames.
struct Frames(std::collections::VecDeque<Result<hyper::body::Frame<hyper::body::Bytes>, Infallible>>);

impl hyper::body::Body for Frames {
    type Data = hyper::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

#[test]
fn only_serving_passes_a_grpc_probe_and_errors_are_told() {
    type Case = (&'static [u8], &'static [(&'static str, &'static str)], Option<&'static str>);
    let cases: [Case; 5] = [
        (b"\0\0\0\0\x02\x08\x01", &[("grpc-status", "0")], None),
        (b"\0\0\0\0\x02\x08\x02", &[("grpc-status", "0")], Some("shop.Cart is NOT_SERVING")),
        (b"\0\0\0\0\0", &[("grpc-status", "0")], Some("shop.Cart is UNKNOWN, wanted SERVING")),
        (
            b"",
            &[("grpc-status", "5"), ("grpc-message", "no%20such")],
            Some("gRPC status 5 (NOT_FOUND: the server does not know this service): no such"),
        ),
        (b"\0\0", &[("grpc-status", "0")], Some("the reply is no health check's")),
    ];
    run(async {
        for (message, trailers, failure) in cases {
            let (listener, port) = listen().await;
            let server = tokio::spawn(serve_grpc(listener, message, trailers));
            let question = Question::Grpc(GrpcQuestion::new(&format!("127.0.0.1:{port}"), "shop.Cart").unwrap());
            match (asked(&question).await, failure) {
                (Outcome::Pass, None) => {}
                (Outcome::Failed(reason), Some(failure)) => assert_eq!(reason, failure),
                (outcome, _) => panic!("{outcome:?}, wanted {failure:?}"),
            }
            tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
        }
    });
}

#[test]
fn what_cannot_be_asked_is_refused_when_the_question_is_made() {
    for url in ["ftp://a/", "http:///x", "http://u:p@a/", "no url", "http://[::1/", "/health", "http://a b/"] {
        assert!(HttpQuestion::new(url, StatusRange::default(), [], true).is_err(), "{url}");
    }
    for address in ["", "a", "a:", "a:0", "a:70000", ":80", "[::1:80", "a b:80", "http://a:80"] {
        assert!(Target::parse(address).is_err(), "{address}");
    }
    assert!(Target::parse("[::1]:80").is_ok() && Target::parse("db_1.internal:5432").is_ok());
    let bad_header = [("bad name".to_owned(), "x".to_owned())];
    assert!(HttpQuestion::new("http://a/", StatusRange::default(), bad_header, true).is_err());
}
