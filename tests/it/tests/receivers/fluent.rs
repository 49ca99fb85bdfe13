//! The forward protocol, read by the Fluent project's own library.

use crate::certificates::Certificates;
use crate::stage::{deliver, full, numbered, open, run, why};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tutela_core::spec::{SinkWay, TlsSpec};
use tutela_it::BOUND;
use tutela_it::processes::free_port;
use tutela_it::receiver::{Fluent, got};

fn way(port: u16, key: Option<&str>, tls: Option<TlsSpec>) -> SinkWay {
    let (address, tag) = (format!("127.0.0.1:{port}"), "tutela.shop".to_owned());
    SinkWay::Fluent { address, tag, shared_key: key.map(str::to_owned), tls }
}

/// The numbers of the records that are there.
fn numbers(out: &Path) -> Vec<u64> {
    let number = |entry: Value| entry["record"]["message"].as_str()?.strip_prefix("record ")?.parse().ok();
    got(out).into_iter().filter_map(number).collect()
}

#[test]
fn everything_that_a_record_has_arrives_with_its_type() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("got");
    let receiver = Fluent::start(&out, 0, &[]);
    run(async {
        let mut way = open(&way(receiver.port, None, None), BOUND);
        way.deliver(&[full("two\nlines, gr\u{fc}n".as_bytes()), full(b"caf\xe9")]).await.unwrap();
    });
    let got = tutela_it::wait_until(BOUND, "both are there", || Some(got(&out)).filter(|got| got.len() == 2));
    assert_eq!(
        got[0],
        json!({
            "tag": "tutela.shop",
            "seconds": 1_795_209_825,
            "nanos": 123_456_000,
            "record": {
                "level": "warn", "guard": "shop", "service_name": "api", "instance": 2, "host": "box.example",
                "host_ip": "192.0.2.7", "stream": "stderr", "id": "7-0", "message": "two\nlines, gr\u{fc}n",
                "user": "a]b\"c\\", "n": -3, "deep": { "a": [1.5, null] },
            },
        })
    );
    assert_eq!(got[1]["record"]["message"], json!({ "bytes": "Y2Fm6Q==" }));
}

#[test]
fn every_record_arrives_over_restarts_of_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let (out, port) = (dir.path().join("got"), free_port());
    let mut receiver = Some(Fluent::start(&out, port, &[]));
    let records = numbered(20_000);
    run(async {
        let mut way = open(&way(port, None, None), BOUND);
        deliver(&mut *way, &records, |batch| {
            if batch % 10 == 5 {
                drop(receiver.take());
                receiver = Some(Fluent::start(&out, port, &[]));
            }
        })
        .await;
    });
    // What was acknowledged is there: the library writes before it takes the next message, and has said yes.
    let numbers = tutela_it::wait_until(BOUND, "every record is there", || {
        Some(numbers(&out)).filter(|numbers| numbers.iter().collect::<BTreeSet<_>>().len() == 20_000)
    });
    println!("{} of 20000 records came twice over 4 restarts", numbers.len() - 20_000);
}

#[test]
fn a_shared_key_and_tls_let_in_who_has_both() {
    let dir = tempfile::tempdir().unwrap();
    let (out, made) = (dir.path().join("got"), Certificates::make(dir.path()));
    let [cert, key] = ["server.pem", "server.key"].map(|file| made.path(file).display().to_string());
    let receiver = Fluent::start(&out, 0, &["--key", "open sesame", "--cert", &cert, "--certkey", &key]);
    let tls = TlsSpec { ca: Some(made.path("ca.pem")), identity: None, server_name: Some("logs.example".to_owned()) };
    let records = numbered(1200);
    let soon = Duration::from_secs(10);
    run(async {
        let reason = why(&mut *open(&way(receiver.port, Some("wrong"), Some(tls.clone())), soon), &records).await;
        assert!(reason.contains("refuses the shared key") && !reason.contains("wrong"), "{reason}");
        let reason = why(&mut *open(&way(receiver.port, None, Some(tls.clone())), soon), &records).await;
        assert!(reason.contains("wants a shared key"), "{reason}");
        let unnamed = TlsSpec { server_name: None, ..tls.clone() };
        let reason = why(&mut *open(&way(receiver.port, Some("open sesame"), Some(unnamed)), soon), &records).await;
        assert!(reason.contains("not valid for") && reason.contains(&receiver.port.to_string()), "{reason}");
        assert_eq!(numbers(&out), Vec::<u64>::new());
        let mut way = open(&way(receiver.port, Some("open sesame"), Some(tls)), BOUND);
        deliver(&mut *way, &records, |_| ()).await;
    });
    let wanted: Vec<u64> = (0..1200).collect();
    tutela_it::wait_until(BOUND, "every record is there once", || (numbers(&out) == wanted).then_some(()));
}
