//! Sinks: what is read, and each refusal with its place.

use super::*;
use std::time::Duration;
use tutela_core::level::Level;
use tutela_core::spec::{OtlpProtocol, Overflow, SinkSpec, SinkWay, SyslogTransport, TlsSpec};

/// A spec with the service `a` in the lines 2 and 3, and the sink `s` from line 4 on.
fn sink(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[sinks.s]\n{keys}\n"))
}

fn the_sink(keys: &str) -> SinkSpec {
    sink(keys).loaded().spec.sinks[&Name::new("s").unwrap()].clone()
}

fn refuses(keys: &str, code: Code, place: (u32, u32), words: &str) {
    let all = sink(keys).refused();
    assert_eq!(places(&all), [(code, place.0, place.1)], "{all:#?}");
    assert!(all[0].to_string().contains(words), "{}", all[0]);
}

#[test]
fn every_way_is_read_with_its_defaults() {
    let sink = the_sink("journald = true");
    assert_eq!((&sink.way, sink.level, sink.services), (&SinkWay::Journald, None, None));
    assert_eq!((sink.buffer, sink.batch, sink.overflow), (1 << 30, 1000, Overflow::DropOldest));
    let second = Duration::from_secs(1);
    assert_eq!((sink.linger, sink.timeout, sink.retry_max), (second, second * 10, second * 60));
    let syslog = |address: &str, transport, facility| SinkWay::Syslog { address: address.into(), transport, facility };
    assert_eq!(the_sink("syslog = \"udp://a:514\"").way, syslog("a:514", SyslogTransport::Udp, 3));
    assert_eq!(
        the_sink("syslog = \"tcp://[::1]:601\"\nfacility = \"local7\"").way,
        syslog("[::1]:601", SyslogTransport::Tcp, 23)
    );
    let tls = TlsSpec {
        ca: Some("/srv/ca.pem".into()),
        identity: Some(("/etc/c.pem".into(), "/etc/k.pem".into())),
        server_name: Some("logs.example".into()),
    };
    assert_eq!(
        the_sink("syslog = \"tls://a:6514\"\nfacility = \"16\"\ntls.ca = \"ca.pem\"\ntls.cert = \"/etc/c.pem\"\ntls.key = \"/etc/k.pem\"\ntls.server_name = \"logs.example\"").way,
        syslog("a:6514", SyslogTransport::Tls(tls), 16)
    );
    for (text, protocol, wanted) in [
        ("http://a:4318", "http", "http://a:4318/v1/logs"),
        ("https://a:4318/", "http", "https://a:4318/v1/logs"),
        ("https://a/other/v1/logs?x=1", "http", "https://a/other/v1/logs?x=1"),
        ("http://a:4317/", "grpc", "http://a:4317"),
    ] {
        let way = the_sink(&format!("otlp = \"{text}\"\nprotocol = \"{protocol}\"")).way;
        let SinkWay::Otlp { url, protocol: read, gzip: false, .. } = &way else { panic!("{way:?}") };
        assert_eq!((url.as_str(), *read == OtlpProtocol::Grpc), (wanted, protocol == "grpc"));
    }
    let way = the_sink("fluent = \"tls://a:24224\"\nshared_key = \"geheim\"").way;
    let SinkWay::Fluent { address, tag, shared_key, tls: Some(_) } = &way else { panic!("{way:?}") };
    assert_eq!((address.as_str(), tag.as_str(), shared_key.as_deref()), ("a:24224", "tutela.shop", Some("geheim")));
    let way = the_sink("http = \"https://a/x\"\ngzip = true\nformat = \"array\"\nheaders = { x-a = \"b\" }").way;
    assert!(matches!(&way, SinkWay::Http { array: true, gzip: true, headers, .. } if headers["x-a"] == "b"), "{way:?}");
}

#[test]
fn what_is_chosen_of_the_output_is_read() {
    let keys = "http = \"http://a\"\nservices = [\"a\"]\nlevel = \"error\"\nmatches = \"x+\"\nexcludes = \"y\"\nbuffer = \"64KiB\"\noverflow = \"drop_newest\"\nbatch = 1\nlinger = \"0s\"";
    let sink = the_sink(keys);
    assert_eq!(
        (sink.level, sink.matches.as_deref(), sink.excludes.as_deref()),
        (Some(Level::Error), Some("x+"), Some("y"))
    );
    assert_eq!(sink.services.unwrap().len(), 1);
    assert_eq!((sink.buffer, sink.overflow, sink.batch, sink.linger), (65536, Overflow::DropNewest, 1, Duration::ZERO));
}

#[test]
fn a_sink_has_exactly_one_way() {
    refuses("", Code::SinkWay, (4, 8), "no way to go");
    refuses("journald = true\nhttp = \"http://a\"", Code::SinkWay, (4, 8), "journald, http");
    refuses("journald = false", Code::SinkWay, (5, 12), "goes nowhere");
}

#[test]
fn an_address_that_cannot_be_one_is_refused() {
    for (keys, words) in [
        ("syslog = \"a:514\"", "udp://, tcp:// or tls://"),
        ("syslog = \"udp://a\"", "it has no port"),
        ("syslog = \"udp://a:0\"", "no port from 1"),
        ("fluent = \"http://a:1\"", "host:port"),
        ("fluent = \"a\"", "it has no port"),
        ("http = \"ftp://a\"", "begins with http://"),
        ("http = \"http://u:geheim@a\"", "go into a header"),
        ("otlp = \"a:4318\"", "begins with http://"),
        ("otlp = \"http://a:4317/x\"\nprotocol = \"grpc\"", "gRPC has no path"),
    ] {
        let column = u32::try_from(keys.find('"').unwrap() + 1).unwrap();
        refuses(keys, Code::BadAddress, (5, column), words);
    }
    assert!(!format!("{:?}", sink("http = \"http://u:geheim@a\"").refused()[0].message).contains("geheim"));
}

#[test]
fn a_key_of_another_way_is_refused() {
    for (keys, words) in [
        ("gzip = true", "'gzip' is for otlp and http, this sink is journald"),
        ("headers = {}", "'headers' is for"),
        ("format = \"array\"", "'format' is for http"),
        ("protocol = \"grpc\"", "'protocol' is for otlp"),
        ("facility = \"user\"", "'facility' is for syslog"),
        ("tag = \"x\"", "'tag' is for fluent"),
        ("shared_key = \"x\"", "'shared_key' is for fluent"),
        ("tls = {}", "'tls' is for"),
    ] {
        // A table has the place of its name.
        let column = if keys.ends_with("{}") { 1 } else { u32::try_from(keys.find('=').unwrap() + 3).unwrap() };
        refuses(&format!("journald = true\n{keys}"), Code::MisplacedKey, (6, column), words);
    }
    refuses("http = \"http://a\"\ntls.ca = \"x\"", Code::MisplacedKey, (6, 1), "an address with TLS");
}

#[test]
fn values_that_cannot_be_used_are_refused() {
    let refuses =
        |keys: &str, code, place, words: &str| refuses(&format!("http = \"https://a\"\n{keys}"), code, place, words);
    refuses("matches = \"(\"", Code::BadPattern, (6, 11), "unclosed group");
    refuses("excludes = \"[\"", Code::BadPattern, (6, 12), "cannot be used");
    refuses("level = \"eror\"", Code::BadValue, (6, 9), "did you mean 'error'?");
    refuses("buffer = \"1KiB\"", Code::NumberRange, (6, 10), "at least 64KiB");
    refuses("batch = 0", Code::NumberRange, (6, 9), "from 1 to 10000");
    refuses("timeout = \"0s\"", Code::NumberRange, (6, 11), "longer than 0s");
    refuses("overflow = \"block\"", Code::BadValue, (6, 12), "drop_oldest");
    refuses("services = []", Code::BadValue, (6, 12), "of no service");
    refuses(
        "services = [\"a\", \"aa\"]",
        Code::MissingNeed,
        (6, 18),
        "is of aa, which does not exist (did you mean 'a'?)",
    );
    refuses("headers = { \"a b\" = \"c\" }", Code::BadValue, (6, 21), "is no header");
    refuses("tls.cert = \"c\"", Code::MissingKey, (6, 12), "'cert' needs 'key'");
    refuses("tls.key = \"k\"", Code::MissingKey, (6, 11), "'key' needs 'cert'");
    refuses("tls.server_name = \"a b\"", Code::BadValue, (6, 19), "no name of a host");
    refuses("colour = 1", Code::UnknownKey, (6, 1), "sinks.s has no key 'colour'");
}

#[test]
fn a_sink_that_an_os_does_not_have_is_left_out_and_told() {
    for (keys, os) in
        [("journald = true", Os::Windows), ("journald = true", Os::Macos), ("event_log = true", Os::Linux)]
    {
        let loaded = sink(keys).os(os).loaded();
        assert!(loaded.spec.sinks.is_empty());
        assert_eq!(places(&loaded.warnings).len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].to_string().contains("left out on"), "{}", loaded.warnings[0]);
    }
    assert_eq!(sink("event_log = true").os(Os::Windows).loaded().spec.sinks.len(), 1);
}

#[test]
fn the_secrets_of_a_sink_are_masked() {
    let keys = "fluent = \"a:1\"\nshared_key = \"geheim\"\n[sinks.t]\nhttp = \"http://a\"\nheaders = { authorization = \"Bearer geheim\", x = \"y\" }";
    let resolved = sink(keys).loaded().resolved();
    let of = |key: &str| resolved.iter().find(|value| value.key == key).unwrap_or_else(|| panic!("{resolved:?}"));
    assert!(!format!("{resolved:?}").contains("geheim"));
    assert_eq!(of("sinks.s.shared_key").value, "\"******\"");
    assert_eq!((of("sinks.s.batch").value.as_str(), of("sinks.s.batch").from.as_str()), ("1000", "default"));
    assert_eq!(of("sinks.t.headers.x").from, "shop.toml:9:50");
}

#[test]
fn a_profile_may_send_a_sink_elsewhere() {
    let case =
        sink("http = \"http://a\"\nformat = \"array\"").file("/srv/shop.test.toml", "[sinks.s]\nhttp = \"http://b\"");
    let loaded = case.profile("test").loaded();
    let sink = &loaded.spec.sinks[&Name::new("s").unwrap()];
    assert!(matches!(&sink.way, SinkWay::Http { url, array: true, .. } if url == "http://b"));
}
