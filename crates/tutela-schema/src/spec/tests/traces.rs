//! `[traces]`: what is read, what is refused and where.

use super::*;
use std::time::Duration;
use tutela_core::spec::{TracesPush, TracesSpec};

fn traces(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[traces]\n{keys}\n"))
}

#[test]
fn every_key_of_traces_is_read_and_a_secret_header_is_masked() {
    let loaded = traces(
        r#"
        otlp = "https://collector:4318/otlp"
        protocol = "http"
        timeout = "3s"
        headers = { x-token = "swordfish", x-team = "shop" }
        compress = "gzip"
        sample = 0.25
        "#,
    )
    .loaded();
    let headers = [("x-team", "shop"), ("x-token", "swordfish")];
    let push = TracesPush {
        otlp: "https://collector:4318/otlp".into(),
        grpc: false,
        timeout: Duration::from_secs(3),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        gzip: true,
        sample: 0.25,
    };
    assert_eq!(loaded.spec.traces, TracesSpec { push: Some(push) });
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, (it.value, it.from))).collect();
    assert_eq!(resolved["traces.sample"], ("0.25".to_owned(), "shop.toml:11:18".to_owned()));
    assert!(!resolved["traces.headers.x-token"].0.contains("swordfish"));
    assert_eq!(resolved["traces.headers.x-team"].0, "\"shop\"");
}

#[test]
fn without_a_receiver_there_are_no_traces() {
    assert_eq!(service("").loaded().spec.traces, TracesSpec::default());
    assert_eq!(traces("").loaded().spec.traces, TracesSpec::default());
}

#[test]
fn an_address_alone_is_enough_for_all_traces() {
    let push = |keys: &str| traces(keys).loaded().spec.traces.push.unwrap();
    let plain = push("otlp = \"http://collector:4318\"");
    assert_eq!((plain.grpc, plain.timeout, plain.sample), (false, Duration::from_secs(10), 1.0));
    assert!(push("otlp = \"grpc://collector\"").grpc);
    assert!(push("otlp = \"http://collector:4317\"\nprotocol = \"grpc\"").grpc);
}

#[test]
fn what_cannot_be_a_receiver_of_traces_is_refused_where_it_stands() {
    for (keys, place) in [
        ("otlp = \"collector:4318\"", (5, 8)),
        ("otlp = \"http://collector/?x=1\"", (5, 8)),
        ("otlp = \"grpc://collector/v1\"", (5, 8)),
        ("protocol = \"http\"\notlp = \"grpc://collector\"", (5, 12)),
        ("timeout = \"0s\"\notlp = \"http://collector\"", (5, 11)),
        ("headers = { \"a b\" = \"c\" }\notlp = \"http://collector\"", (5, 21)),
        ("sample = 1.5\notlp = \"http://collector\"", (5, 10)),
        ("sample = -0.1\notlp = \"http://collector\"", (5, 10)),
        ("sample = 0.5", (5, 10)),
        ("every = \"1s\"\notlp = \"http://collector\"", (5, 1)),
    ] {
        let found = places(&traces(keys).refused());
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert_eq!((found[0].1, found[0].2), place, "{keys}: {found:?}");
    }
    let refused = Case::new("name = \"shop\"\ntraces = 3\n[services.a]\ncommand = \"a\"\n").refused();
    assert!(refused[0].to_string().contains("'traces' must be a table"), "{refused:?}");
}
