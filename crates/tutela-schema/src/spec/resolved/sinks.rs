//! The values of sinks. Secrets are masked: headers by their name, and the key of a handshake always.

use super::super::section::steps;
use super::super::sink::facility_name;
use super::super::tree::Step;
use super::{List, MASK, array, bytes, is_secret, mask_addresses, quoted};
use std::collections::BTreeMap;
use tutela_core::spec::{OtlpProtocol, Overflow, SinkSpec, SinkWay, SyslogTransport, TlsSpec};

impl List<'_> {
    pub(super) fn sink(&mut self, sink: &SinkSpec) {
        let at = |key: &str| vec![Step::from("sinks"), Step::from(sink.name.as_str()), Step::from(key)];
        match &sink.way {
            SinkWay::Journald => self.put(&at("journald"), "true".into()),
            SinkWay::EventLog => self.put(&at("event_log"), "true".into()),
            SinkWay::Syslog { address, transport, facility } => {
                let (scheme, tls) = match transport {
                    SyslogTransport::Udp => ("udp", None),
                    SyslogTransport::Tcp => ("tcp", None),
                    SyslogTransport::Tls(tls) => ("tls", Some(tls)),
                };
                self.text(&at("syslog"), &format!("{scheme}://{address}"));
                self.text(&at("facility"), facility_name(*facility));
                self.sink_tls(sink, tls);
            }
            SinkWay::Otlp { url, protocol, headers, gzip, tls } => {
                self.text(&at("otlp"), url);
                let word = match protocol {
                    OtlpProtocol::Http => "http",
                    OtlpProtocol::Grpc => "grpc",
                };
                self.text(&at("protocol"), word);
                self.sink_headers(sink, headers);
                self.put(&at("gzip"), gzip.to_string());
                self.sink_tls(sink, Some(tls));
            }
            SinkWay::Fluent { address, tag, shared_key, tls } => {
                let scheme = if tls.is_some() { "tls://" } else { "" };
                self.text(&at("fluent"), &format!("{scheme}{address}"));
                self.text(&at("tag"), tag);
                if shared_key.is_some() {
                    self.put(&at("shared_key"), quoted(MASK));
                }
                self.sink_tls(sink, tls.as_ref());
            }
            SinkWay::Http { url, headers, array, gzip, tls } => {
                self.text(&at("http"), url);
                self.sink_headers(sink, headers);
                self.text(&at("format"), if *array { "array" } else { "lines" });
                self.put(&at("gzip"), gzip.to_string());
                self.sink_tls(sink, Some(tls));
            }
        }
        if let Some(services) = &sink.services {
            let names: Vec<_> = services.iter().collect();
            self.put(&at("services"), array(&names));
        }
        if let Some(level) = sink.level {
            self.text(&at("level"), level.word());
        }
        for (key, pattern) in [("matches", &sink.matches), ("excludes", &sink.excludes)] {
            if let Some(pattern) = pattern {
                self.text(&at(key), pattern);
            }
        }
        self.text(&at("buffer"), &bytes(sink.buffer));
        let overflow = match sink.overflow {
            Overflow::DropOldest => "drop_oldest",
            Overflow::DropNewest => "drop_newest",
        };
        self.text(&at("overflow"), overflow);
        self.put(&at("batch"), sink.batch.to_string());
        self.span(&at("linger"), sink.linger);
        self.span(&at("timeout"), sink.timeout);
        self.span(&at("retry_max"), sink.retry_max);
    }

    fn sink_headers(&mut self, sink: &SinkSpec, headers: &BTreeMap<String, String>) {
        for (name, value) in headers {
            let shown = if is_secret(name) { MASK.to_owned() } else { mask_addresses(value) };
            self.put(steps!["sinks", sink.name.as_str(), "headers", name.as_str()], quoted(&shown));
        }
    }

    fn sink_tls(&mut self, sink: &SinkSpec, tls: Option<&TlsSpec>) {
        let Some(tls) = tls else { return };
        let (cert, key) = tls.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
        for (word, path) in [("ca", tls.ca.as_ref()), ("cert", cert), ("key", key)] {
            if let Some(path) = path {
                self.text(steps!["sinks", sink.name.as_str(), "tls", word], &path.to_string_lossy());
            }
        }
        if let Some(name) = &tls.server_name {
            self.text(steps!["sinks", sink.name.as_str(), "tls", "server_name"], name);
        }
    }
}
