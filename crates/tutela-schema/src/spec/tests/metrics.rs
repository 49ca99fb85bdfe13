//! `[metrics]`: what is read, what is refused and where.

use super::*;
use std::time::Duration;
use tutela_core::spec::{MetricsPush, MetricsSpec};

fn metrics(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[metrics]\n{keys}\n"))
}

#[test]
fn every_key_of_metrics_is_read_and_a_secret_header_is_masked() {
    let loaded = metrics(
        r#"
        otlp = "https://collector:4318/otlp"
        protocol = "http"
        every = "30s"
        timeout = "3s"
        headers = { x-token = "swordfish", x-team = "shop" }
        compress = "gzip"
        "#,
    )
    .loaded();
    let headers = [("x-team", "shop"), ("x-token", "swordfish")];
    let push = MetricsPush {
        otlp: "https://collector:4318/otlp".into(),
        grpc: false,
        every: Duration::from_secs(30),
        timeout: Duration::from_secs(3),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        gzip: true,
    };
    assert_eq!(loaded.spec.metrics, MetricsSpec { push: Some(push) });
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, (it.value, it.from))).collect();
    assert_eq!(resolved["metrics.every"], ("\"30s\"".to_owned(), "shop.toml:8:17".to_owned()));
    assert!(!resolved["metrics.headers.x-token"].0.contains("swordfish"));
    assert_eq!(resolved["metrics.headers.x-team"].0, "\"shop\"");
}

#[test]
fn without_the_table_figures_are_sent_to_nobody() {
    assert_eq!(service("").loaded().spec.metrics, MetricsSpec::default());
    assert_eq!(metrics("").loaded().spec.metrics, MetricsSpec::default());
}

#[test]
fn an_address_alone_is_enough_and_says_how_it_is_spoken_to() {
    let push = |keys: &str| metrics(keys).loaded().spec.metrics.push.unwrap();
    let plain = push("otlp = \"http://collector:4318\"");
    assert_eq!((plain.grpc, plain.every, plain.timeout), (false, Duration::from_secs(15), Duration::from_secs(10)));
    assert!(push("otlp = \"grpc://collector\"").grpc);
    assert!(push("otlp = \"http://collector:4317\"\nprotocol = \"grpc\"").grpc);
}

#[test]
fn what_cannot_be_a_receiver_is_refused_where_it_stands() {
    for (keys, place) in [
        ("otlp = \"collector:4318\"", (5, 8)),
        ("otlp = \"http://user@collector\"", (5, 8)),
        ("otlp = \"http://collector/?x=1\"", (5, 8)),
        ("otlp = \"grpc://collector/v1\"", (5, 8)),
        ("protocol = \"http\"\notlp = \"grpc://collector\"", (5, 12)),
        ("every = \"10ms\"\notlp = \"http://collector\"", (5, 9)),
        ("timeout = \"0s\"\notlp = \"http://collector\"", (5, 11)),
        ("headers = { \"a b\" = \"c\" }\notlp = \"http://collector\"", (5, 21)),
        ("every = \"30s\"", (5, 9)),
    ] {
        let found = places(&metrics(keys).refused());
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert_eq!((found[0].1, found[0].2), place, "{keys}: {found:?}");
    }
}
