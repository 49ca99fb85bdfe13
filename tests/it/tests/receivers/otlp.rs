//! OpenTelemetry logs, read with the official protobufs.

use crate::stage::{deliver, full, numbered, open, run};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tutela::hands::sinks::way::Undelivered;
use tutela_core::spec::{OtlpProtocol, SinkWay, TlsSpec};
use tutela_it::BOUND;
use tutela_it::processes::free_port;
use tutela_it::receiver::{Otlp, got};

fn way(protocol: OtlpProtocol, port: u16, gzip: bool) -> SinkWay {
    let headers = BTreeMap::from([("x-token".to_owned(), "secret".to_owned())]);
    SinkWay::Otlp { url: format!("http://127.0.0.1:{port}"), protocol, headers, gzip, tls: TlsSpec::default() }
}

/// Every record that is there.
fn records(out: &Path) -> Vec<Value> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut records = Vec::new();
    for request in got(out) {
        for resource in list(&request["message"], "resource_logs") {
            for scope in list(&resource, "scope_logs") {
                records.extend(list(&scope, "log_records"));
            }
        }
    }
    records
}

fn number(record: &Value) -> Option<u64> {
    record["body"]["string_value"].as_str()?.strip_prefix("record ")?.parse().ok()
}

#[test]
fn the_official_messages_have_everything_that_a_record_has() {
    let dir = tempfile::tempdir().unwrap();
    for (protocol, gzip) in [(OtlpProtocol::Http, true), (OtlpProtocol::Grpc, false)] {
        let out = dir.path().join(format!("{protocol:?}"));
        let receiver = Otlp::start(&out);
        let port = if protocol == OtlpProtocol::Http { receiver.http } else { receiver.grpc };
        run(async {
            let mut way = open(&way(protocol, port, gzip), BOUND);
            way.deliver(&[full("gr\u{fc}n".as_bytes()), full(b"caf\xe9")]).await.unwrap();
        });
        let request = receiver.wait("the request is there", |request| request["signal"] == "logs");
        assert_eq!(request["headers"]["x-token"], "secret", "{request}");
        let resource = &request["message"]["resource_logs"][0]["resource"]["attributes"];
        let has = |list: &Value, key: &str, value: Value| {
            assert!(list.as_array().unwrap().contains(&json!({ "key": key, "value": value })), "{key} in {list}");
        };
        has(resource, "service.name", json!({ "string_value": "api" }));
        has(resource, "service.instance.id", json!({ "string_value": "box.example/shop/api:2" }));
        has(resource, "host.name", json!({ "string_value": "box.example" }));
        has(resource, "tutela.guard", json!({ "string_value": "shop" }));
        let got = records(&out);
        assert_eq!(got.len(), 2);
        assert_eq!(got[0]["time_unix_nano"], "1795209825123456000");
        assert_eq!(got[0]["severity_text"], "warn");
        assert_eq!(got[0]["severity_number"], "SEVERITY_NUMBER_WARN");
        assert_eq!(got[0]["body"], json!({ "string_value": "gr\u{fc}n" }));
        assert_eq!(got[1]["body"], json!({ "bytes_value": "Y2Fm6Q==" }));
        let attributes = &got[0]["attributes"];
        has(attributes, "log.iostream", json!({ "string_value": "stderr" }));
        has(attributes, "log.record.uid", json!({ "string_value": "7-0" }));
        has(attributes, "n", json!({ "int_value": "-3" }));
    }
}

#[test]
fn every_record_arrives_over_restarts_of_the_receiver_and_while_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    for protocol in [OtlpProtocol::Http, OtlpProtocol::Grpc] {
        let out = dir.path().join(format!("{protocol:?}"));
        let (http, grpc) = (free_port(), free_port());
        let mut receiver = Some(Otlp::start_at(&out, http, grpc));
        let port = if protocol == OtlpProtocol::Http { http } else { grpc };
        let sent = numbered(10_000);
        run(async {
            let mut way = open(&way(protocol, port, true), Duration::from_secs(20));
            deliver(&mut *way, &sent, |batch| match batch % 10 {
                4 => {
                    drop(receiver.take());
                    receiver = Some(Otlp::start_at(&out, http, grpc));
                }
                8 => receiver.iter().for_each(|receiver| receiver.behave(&json!({ "refuse": 2, "status": 503 }))),
                _ => {}
            })
            .await;
        });
        let numbers: Vec<u64> = records(&out).iter().filter_map(number).collect();
        assert_eq!(numbers.iter().copied().collect::<BTreeSet<_>>(), (0..10_000).collect());
        println!("{protocol:?}: {} of 10000 records came twice", numbers.len() - 10_000);
    }
}

#[test]
fn what_a_receiver_refuses_is_counted_and_what_it_puts_off_says_until_when() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Otlp::start(&dir.path().join("got"));
    let records = numbered(10);
    run(async {
        for (protocol, port) in [(OtlpProtocol::Http, receiver.http), (OtlpProtocol::Grpc, receiver.grpc)] {
            let mut way = open(&way(protocol, port, false), BOUND);
            receiver.behave(&json!({ "reject": 3, "text": "too old" }));
            let Err(Undelivered::Refused { reason, records: refused }) = way.deliver(&records).await else { panic!() };
            assert_eq!(refused, 3);
            assert!(reason.contains("too old") && reason.contains(&port.to_string()), "{reason}");
            receiver.behave(&json!({ "refuse": 1, "status": 503, "retry_after": 7 }));
            let Err(Undelivered::Later { reason, after }) = way.deliver(&records).await else { panic!() };
            // Over gRPC the stand-in does not say.
            let wanted = (protocol == OtlpProtocol::Http).then_some(Duration::from_secs(7));
            assert_eq!(after, wanted, "{reason}");
            receiver.behave(&json!({}));
            way.deliver(&records).await.unwrap();
        }
        let mut way = open(&way(OtlpProtocol::Http, receiver.http, false), BOUND);
        receiver.behave(&json!({ "refuse": 1, "status": 401 }));
        let Err(Undelivered::Later { reason, after: None }) = way.deliver(&records).await else { panic!() };
        assert!(reason.contains("401"), "{reason}");
    });
}
