//! Receivers that read, that leave, that stand still.
//!
//! What a receiver of the field makes of the messages, and TLS, is shown elsewhere, with rsyslog.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::hands::loopback::{PATIENCE, listen, run};
use crate::hands::sinks::samples;
use crate::hands::sinks::way::Undelivered;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tutela_logs::record::Record;

fn way(port: u16, transport: SyslogTransport, timeout: Duration) -> Box<dyn Way> {
    open(&format!("127.0.0.1:{port}"), &transport, 16, timeout).unwrap()
}

/// The numbers of the messages in a stream, each of which must be whole.
fn numbers(mut stream: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while !stream.is_empty() {
        let space = stream.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&stream[..space]).unwrap().parse().unwrap();
        let message = std::str::from_utf8(&stream[space + 1..space + 1 + length]).unwrap();
        numbers.push(message.rsplit_once("] record ").unwrap().1.parse().unwrap());
        stream = &stream[space + 1 + length..];
    }
    numbers
}

async fn read_until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn batches_go_over_one_connection_each_message_with_its_length() {
    run(async {
        let (listener, port) = listen().await;
        let reading = tokio::spawn(async move { read_until_closed(listener.accept().await.unwrap().0).await });
        let mut way = way(port, SyslogTransport::Tcp, PATIENCE);
        let records = samples::numbered(5000);
        for batch in records.chunks(1700) {
            way.deliver(batch).await.unwrap();
        }
        drop(way);
        assert_eq!(numbers(&reading.await.unwrap()), (0..5000).collect::<Vec<_>>());
    });
}

#[test]
fn what_a_receiver_did_not_read_before_it_left_comes_again() {
    run(async {
        let (listener, port) = listen().await;
        let mut way = way(port, SyslogTransport::Tcp, PATIENCE);
        let records = samples::numbered(30);
        let (first, second) = tokio::join!(listener.accept(), way.deliver(&records[..10]));
        second.unwrap();
        // It leaves with everything unread, which its kernel has confirmed.
        drop(first);
        let reading = tokio::spawn(async move { read_until_closed(listener.accept().await.unwrap().0).await });
        while let Err(error) = way.deliver(&records[10..20]).await {
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        }
        way.deliver(&records[20..]).await.unwrap();
        drop(way);
        let got = numbers(&reading.await.unwrap());
        assert_eq!(got.iter().copied().collect::<BTreeSet<_>>(), (0..30).collect());
        assert!(got.len() <= 40 && got.ends_with(&(20..30).collect::<Vec<_>>()), "{got:?}");
    });
}

#[test]
fn a_receiver_that_talks_and_says_goodbye_is_left_for_a_new_connection() {
    run(async {
        let (listener, port) = listen().await;
        let mut way = way(port, SyslogTransport::Tcp, PATIENCE);
        let records = samples::numbered(20);
        let (accepted, sent) = tokio::join!(listener.accept(), way.deliver(&records[..10]));
        sent.unwrap();
        let (mut stream, _) = accepted.unwrap();
        stream.write_all(&[b'x'; 5000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let reading = tokio::spawn(async move { read_until_closed(listener.accept().await.unwrap().0).await });
        while way.deliver(&records[10..]).await.is_err() {}
        drop(way);
        assert!(numbers(&reading.await.unwrap()).ends_with(&(10..20).collect::<Vec<_>>()));
        drop(stream);
    });
}

#[test]
fn a_receiver_that_stands_still_costs_the_timeout_and_is_named() {
    run(async {
        let (listener, port) = listen().await;
        let mut way = way(port, SyslogTransport::Tcp, Duration::from_millis(300));
        let big: Vec<Record> = (0..400).map(|_| samples::saying([b'x'; 60_000])).collect();
        let (accepted, sent) = tokio::join!(listener.accept(), way.deliver(&big));
        let error = sent.unwrap_err().to_string();
        let stood =
            ["still sending after 300ms", "still waiting for the other side to confirm what it got after 300ms"];
        assert!(
            error.contains(&format!("127.0.0.1:{port}")) && stood.iter().any(|text| error.contains(text)),
            "{error}"
        );
        drop(accepted);
    });
}

#[test]
fn nobody_there_is_told_with_the_address() {
    run(async {
        let (listener, port) = listen().await;
        drop(listener);
        let records = samples::numbered(1);
        let mut way = way(port, SyslogTransport::Tcp, PATIENCE);
        let Err(Undelivered::Later { reason, after: None }) = way.deliver(&records).await else { panic!("it went") };
        assert!(reason.starts_with(&format!("failed to connect to 127.0.0.1:{port}: ")), "{reason}");
        assert_eq!(reason.matches("127.0.0.1").count(), 1, "{reason}");
    });
    for bad in ["nowhere", "host:0", "a b:514"] {
        assert!(open(bad, &SyslogTransport::Tcp, 1, PATIENCE).is_err_and(|error| error.contains(bad)), "{bad}");
        assert!(open(bad, &SyslogTransport::Udp, 1, PATIENCE).is_err(), "{bad}");
    }
}

#[test]
fn each_message_is_a_datagram_and_a_long_one_is_cut() {
    run(async {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = receiver.local_addr().unwrap().port();
        let mut way = way(port, SyslogTransport::Udp, PATIENCE);
        way.deliver(&samples::numbered(3)).await.unwrap();
        way.deliver(&[samples::saying([b'x'; 10_000])]).await.unwrap();
        let mut buffer = vec![0; 70_000];
        for number in 0..3 {
            let length = receiver.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]);
            assert!(text.starts_with("<132>1 ") && text.ends_with(&format!("] record {number}")), "{text}");
        }
        let length = receiver.recv(&mut buffer).await.unwrap();
        assert!((8180..=8192).contains(&length), "{length}");
        assert!(buffer[..length].ends_with(b" bytes more]"));
    });
}

#[test]
fn a_port_where_nobody_listens_for_datagrams_is_noticed_and_one_that_is_back_gets_them() {
    run(async {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = receiver.local_addr().unwrap();
        drop(receiver);
        let mut way = way(address.port(), SyslogTransport::Udp, PATIENCE);
        let records = samples::numbered(50);
        let error = way.deliver(&records).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        let receiver = UdpSocket::bind(address).await.unwrap();
        way.deliver(&records).await.unwrap();
        let mut buffer = [0; 2000];
        for _ in 0..50 {
            receiver.recv(&mut buffer).await.unwrap();
        }
    });
}
