//! Deliveries to receivers that refuse, stall and speak nonsense; the outbox over time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::outbox::{BACKOFF_MAX, GIVE_UP_AFTER, Outbox, OutboxEvent, PENDING_MAX};
use super::*;
use crate::hands::loopback::run;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tutela_core::names::Name;
use tutela_core::time::Moment;

fn alert(id: &str) -> Alert {
    let json = format!("{{\"id\":\"{id}\"}}");
    Alert { id: id.into(), subject: "shop: api cools down".into(), text: "api crashed.\n.\nIt waits.".into(), json }
}

fn ops() -> Name {
    Name::new("ops").unwrap()
}

/// Answers each request with the next status; hands on the heads and bodies.
async fn receiver(listener: TcpListener, statuses: Vec<&'static str>) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for status in statuses {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        seen.push((head, String::from_utf8(body).unwrap()));
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nwhy!");
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
    seen
}

#[test]
fn a_webhook_that_fails_twice_gets_the_alert_at_the_third_attempt_under_the_same_id() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let headers = BTreeMap::from([("authorization".to_owned(), "Bearer x".to_owned())]);
        let way = AlertWay::Webhook { url, headers };
        let replies = vec!["503 Service Unavailable", "429 Too Many Requests", "202 Accepted"];
        let server = tokio::spawn(receiver(listener, replies));
        let (mut outbox, mut now, tls) = (Outbox::default(), Moment::from_millis(5), TlsContexts::new());
        outbox.put(ops(), alert("a-1"), now, 0);
        let mut waits = Vec::new();
        while let Some(due) = outbox.poll_timeout() {
            waits.push(due.since(now).as_secs());
            now = due;
            let attempt = outbox.poll_attempt(now).unwrap();
            assert_eq!(outbox.poll_attempt(now), None, "one at a time");
            outbox.handle_result(attempt.ticket, deliver(&way, &attempt.alert, &tls).await, now);
        }
        assert_eq!(waits, [0, 1, 2]);
        let events: Vec<_> = std::iter::from_fn(|| outbox.poll_event()).collect();
        assert_eq!(events.len(), 4, "{events:?}");
        let OutboxEvent::Keep(kept) = &events[2] else { panic!("{events:?}") };
        assert!(kept.attempts == 2 && kept.last_error.as_ref().unwrap().contains("status 429 Too Many Requests: why!"));
        assert_eq!(events[3], OutboxEvent::Delivered { id: "a-1".into(), way: ops(), attempts: 3 });
        for (head, body) in server.await.unwrap() {
            assert!(head.starts_with("POST /hook HTTP/1.1\r\n") && head.contains("idempotency-key: a-1\r\n"), "{head}");
            assert!(
                head.contains("authorization: Bearer x\r\n") && head.contains("content-type: application/json\r\n")
            );
            assert_eq!(body, "{\"id\":\"a-1\"}");
        }
    });
}

#[test]
fn a_receiver_that_says_no_for_good_is_not_asked_again() {
    run(async {
        for (status, retry) in [
            ("404 Not Found", false),
            ("302 Found", false),
            ("408 Request Timeout", true),
            ("425 Too Early", true),
            ("500 Oops", true),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let server = tokio::spawn(receiver(listener, vec![status]));
            let way = AlertWay::Webhook { url, headers: BTreeMap::new() };
            let error = deliver(&way, &alert("a"), &TlsContexts::new()).await.unwrap_err();
            assert_eq!(error.may_retry(), retry, "{error}");
            server.await.unwrap();
        }
        let way = AlertWay::Webhook { url: "nowhere".into(), headers: BTreeMap::new() };
        assert!(!deliver(&way, &alert("a"), &TlsContexts::new()).await.unwrap_err().may_retry());
        let way = AlertWay::Command(tutela_core::spec::Command { words: vec!["x".into()] });
        assert_eq!(deliver(&way, &alert("a"), &TlsContexts::new()).await, Err(DeliveryError::IsCommand));
    });
}

/// A relay with one answer to the mail itself; hands on everything that it was told.
async fn relay(listener: TcpListener, verdict: &str) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut told, mut in_mail) = (String::new(), false);
    stream.write_all(b"220 test relay\r\n").await.unwrap();
    loop {
        let from = told.len();
        if stream.read_line(&mut told).await.unwrap_or(0) == 0 {
            return told;
        }
        let line = told[from..].trim_end();
        let answer = match line.split(' ').next().unwrap() {
            "." if in_mail => {
                in_mail = false;
                verdict
            }
            _ if in_mail => continue,
            "EHLO" => "250-test\r\n250 SMTPUTF8",
            "DATA" => {
                in_mail = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return told;
        }
    }
}

#[test]
fn a_mail_reaches_its_relay_whole_and_a_5xx_is_its_last_word() {
    run(async {
        for (verdict, expected) in [("250 taken", None), ("451 later", Some(true)), ("554 never", Some(false))] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let smtp = format!("smtp://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(relay(listener, verdict));
            let to = vec!["Ops <ops@example.org>".to_owned(), "b@example.org".to_owned()];
            let way = AlertWay::Email { smtp, from: "Tutela <tutela@example.org>".into(), to };
            let result = deliver(&way, &alert("a-7"), &TlsContexts::new()).await;
            assert_eq!(result.err().map(|error| error.may_retry()), expected, "{verdict}");
            let told = server.await.unwrap();
            for part in [
                "MAIL FROM:<tutela@example.org>",
                "RCPT TO:<ops@example.org>",
                "RCPT TO:<b@example.org>",
                "Subject: shop: api cools down\r\n",
                "Message-ID: <a-7@example.org>\r\n",
                "api crashed.\r\n..\r\nIt waits.\r\n",
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
        }
    });
}

#[test]
fn a_mail_address_or_relay_that_is_none_is_refused_for_good_without_telling_the_password() {
    run(async {
        for (smtp, from) in [
            ("http://a", "a@b.c"),
            ("smtp://", "a@b.c"),
            ("smtp://user@relay", "a@b.c"),
            ("smtp://user:hunter2@relay:port", "a@b.c"),
            ("smtp://127.0.0.1:1", "nobody"),
        ] {
            let way = AlertWay::Email { smtp: smtp.into(), from: from.into(), to: vec!["d@e.f".into()] };
            let error = deliver(&way, &alert("a"), &TlsContexts::new()).await.unwrap_err();
            assert!(!error.may_retry() && !error.to_string().contains("hunter2"), "{error}");
        }
    });
}

fn later(reason: &str) -> Result<(), DeliveryError> {
    Err(DeliveryError::later(reason))
}

#[test]
fn waits_double_up_to_five_minutes_and_after_a_day_an_alert_is_given_up_with_its_last_reason() {
    let start = Moment::from_millis(1000);
    let (mut outbox, mut now, mut waits) = (Outbox::default(), start, Vec::new());
    outbox.put(ops(), alert("a"), now, 0);
    while let Some(due) = outbox.poll_timeout() {
        waits.push(due.since(now));
        now = due;
        if let Some(attempt) = outbox.poll_attempt(now) {
            outbox.handle_result(attempt.ticket, later("no route"), now);
        }
    }
    assert_eq!(waits[..6].iter().map(Duration::as_secs).collect::<Vec<_>>(), [0, 1, 2, 4, 8, 16]);
    assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
    assert_eq!(now.since(start), GIVE_UP_AFTER);
    let last = std::iter::from_fn(|| outbox.poll_event()).last().unwrap();
    assert!(matches!(last, OutboxEvent::GaveUp { reason, .. } if reason.ends_with("no route")));
}

#[test]
fn a_full_box_drops_the_oldest_and_counts_it() {
    let mut outbox = Outbox::default();
    for number in 0..PENDING_MAX + 3 {
        outbox.put(ops(), alert(&format!("a-{number}")), Moment::ZERO, 0);
    }
    assert_eq!((outbox.pending().count(), outbox.dropped()), (PENDING_MAX, 3));
    assert_eq!(outbox.pending().next().unwrap().alert.id, "a-3");
    let dropped =
        std::iter::from_fn(|| outbox.poll_event()).filter(|event| matches!(event, OutboxEvent::Dropped { .. }));
    assert_eq!(dropped.count(), 3);
}

#[test]
fn one_slow_receiver_holds_up_nobody_else() {
    let mut outbox = Outbox::default();
    let other = Name::new("other").unwrap();
    outbox.put(ops(), alert("a"), Moment::ZERO, 0);
    outbox.put(ops(), alert("b"), Moment::ZERO, 0);
    outbox.put(other.clone(), alert("c"), Moment::ZERO, 0);
    let first = outbox.poll_attempt(Moment::ZERO).unwrap();
    assert_eq!(outbox.poll_attempt(Moment::ZERO).unwrap().way, other);
    assert_eq!(outbox.poll_attempt(Moment::ZERO), None);
    outbox.handle_result(first.ticket, Ok(()), Moment::ZERO);
    assert_eq!(outbox.poll_attempt(Moment::ZERO).unwrap().alert.id, "b");
}

#[test]
fn what_was_not_delivered_before_a_restart_is_due_after_it_with_its_age_kept() {
    let mut outbox = Outbox::default();
    outbox.put(ops(), alert("in flight"), Moment::ZERO, 1_000_000);
    outbox.put(ops(), alert("waiting"), Moment::ZERO, 1_000_000);
    outbox.poll_attempt(Moment::ZERO).unwrap();
    let saved: Vec<_> = outbox.pending().cloned().collect();
    let boot = Moment::from_millis(7);
    let almost_a_day = 1_000_000 + GIVE_UP_AFTER.as_millis() as u64 - 1000;
    let mut outbox = Outbox::restore(saved, boot, almost_a_day);
    let attempt = outbox.poll_attempt(boot).unwrap();
    assert_eq!(attempt.alert.id, "in flight");
    outbox.handle_result(attempt.ticket, later("down"), boot);
    assert_eq!(outbox.poll_attempt(boot + Duration::from_secs(1)), None);
    let gone: Vec<_> = std::iter::from_fn(|| outbox.poll_event()).collect();
    assert_eq!(gone.iter().filter(|event| matches!(event, OutboxEvent::GaveUp { .. })).count(), 2);
}

#[test]
fn alerts_of_a_way_that_left_the_spec_are_given_up() {
    let mut outbox = Outbox::default();
    outbox.put(ops(), alert("a"), Moment::ZERO, 0);
    let attempt = outbox.poll_attempt(Moment::ZERO).unwrap();
    outbox.remove_way(&ops());
    outbox.handle_result(attempt.ticket, Ok(()), Moment::ZERO);
    assert_eq!(outbox.poll_timeout(), None);
    let last = std::iter::from_fn(|| outbox.poll_event()).last();
    assert!(matches!(last, Some(OutboxEvent::GaveUp { .. })));
}
