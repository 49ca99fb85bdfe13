//! Receivers that answer wrongly, or not at all.
//!
//! What a receiver of the field makes of the records, and the handshake with it, is shown elsewhere.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::hands::loopback::{PATIENCE, run};
use crate::hands::sinks::samples;
use std::net::Ipv4Addr;
use tokio::net::{TcpListener, TcpStream};

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A receiver that greets, reads once, and answers.
async fn receiver(listener: &TcpListener, greeting: &[u8], answer: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(greeting).await.unwrap();
    let mut buffer = [0; 4096];
    // Some greetings make the way leave without a word.
    let _said = stream.read(&mut buffer).await.unwrap();
    stream.write_all(answer).await.unwrap();
    stream
}

async fn answered(greeting: &[u8], answer: &[u8], closes: bool, key: Option<&str>) -> String {
    let (listener, address) = listen().await;
    let timeout = if closes { PATIENCE } else { Duration::from_millis(300) };
    let mut way = open(&address, "app", key, None, timeout).unwrap();
    let records = samples::numbered(3);
    let receiving = async {
        let stream = receiver(&listener, greeting, answer).await;
        if closes { None } else { Some(stream) }
    };
    let (_kept, sent) = tokio::join!(receiving, way.deliver(&records));
    let Err(Undelivered::Later { reason, after: None }) = sent else { panic!("it went: {sent:?}") };
    let rest = reason.strip_prefix(&format!("failed to forward to {address}: ")).unwrap();
    rest.to_owned()
}

#[test]
fn every_wrong_answer_is_told_for_what_it_is() {
    let helo = |options: &[u8]| [b"\x92\xa4HELO", options].concat();
    let nonce = helo(b"\x82\xa5nonce\xc4\x02ab\xa4auth\xa0");
    let pong = |welcome: u8, reason: &[u8]| [b"\x95\xa4PONG", &[welcome][..], reason, b"\xa1s\xa1d"].concat();
    run(async {
        let told = answered(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", true, None).await;
        assert_eq!(told, "the receiver says something else than which chunk it took");
        let told = answered(b"", b"\xc1", true, None).await;
        assert_eq!(told, "the receiver does not speak the forward protocol");
        let told = answered(b"", b"\x81\xa3ack\xa5other", true, None).await;
        assert_eq!(told, "the receiver says something else than which chunk it took");
        let told = answered(&nonce, b"", true, None).await;
        assert_eq!(told, "the receiver wants a shared key, and the spec has none");
        let told = answered(b"", b"\xda\x3f\xff", false, None).await;
        assert_eq!(told, "still waiting for the reply after 300ms");
        let told = answered(b"", b"", false, Some("key")).await;
        assert_eq!(told, "still waiting for the reply after 300ms");
        let told = answered(b"\x01", b"", true, Some("key")).await;
        assert_eq!(told, "the receiver does not ask for a shared key, and the spec has one");
        let told = answered(&helo(b"\x82\xa5nonce\xa1a\xa4auth\xa1s"), b"", true, Some("key")).await;
        assert_eq!(told, "the receiver wants a user and a password, which this sink has not");
        let told = answered(&nonce, &pong(0xc2, b"\xa8mismatch"), true, Some("key")).await;
        assert_eq!(told, "the receiver refuses the shared key: mismatch");
        let told = answered(&nonce, &pong(0xc3, b"\xa0"), true, Some("key")).await;
        assert_eq!(told, "the receiver does not have the shared key itself");
        let told = answered(&nonce, b"\x93\x01\x02\x03", true, Some("key")).await;
        assert_eq!(told, "the receiver does not answer as the handshake of the forward protocol has it");
    });
}

#[test]
fn a_receiver_that_closes_without_an_answer_gets_the_batch_again() {
    run(async {
        let (listener, address) = listen().await;
        let mut way = open(&address, "app", None, None, PATIENCE).unwrap();
        let records = samples::numbered(3);
        let (stream, sent) = tokio::join!(async { drop(listener.accept().await) }, way.deliver(&records));
        let () = stream;
        assert!(sent.unwrap_err().to_string().contains(&address));
        let acknowledging = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\xa4size\x03") {
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).await.unwrap();
                bytes.extend_from_slice(&buffer[..count]);
            }
            let at = bytes.windows(6).position(|six| six == b"\xa5chunk").unwrap();
            let name = &bytes[at + 6..bytes.len() - 6];
            assert_eq!((name[0], name[1], name.len()), (0xd9, 32, 34));
            stream.write_all(&[b"\x81\xa3ack", name].concat()).await.unwrap();
            stream
        };
        let (_stream, sent) = tokio::join!(acknowledging, way.deliver(&records));
        sent.unwrap();
    });
}

#[test]
fn an_endless_answer_is_not_kept() {
    run(async {
        let (listener, address) = listen().await;
        let mut way = open(&address, "app", None, None, PATIENCE).unwrap();
        let flood = [&b"\xdc\xff\xff"[..], &[0xc0; 40_000]].concat();
        let records = samples::numbered(1);
        let (_, sent) = tokio::join!(receiver(&listener, b"", &flood), way.deliver(&records));
        assert!(sent.unwrap_err().to_string().contains("says more than 16384 bytes at once"));
    });
}
