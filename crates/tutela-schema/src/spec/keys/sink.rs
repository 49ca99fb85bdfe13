//! The keys of sinks.

use super::super::scalar::{Size, Span};
use super::OtlpProtocolKey;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where output goes beside the files; exactly one of `journald`, `event_log`, `syslog`, `otlp`, `fluent`, `http` says
/// where. It reads the files, so a receiver that is away loses nothing as long as they are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkKeys {
    /// The journal of systemd. Linux only; elsewhere the sink is left out.
    pub journald: Option<bool>,
    /// The Event Log of Windows. Windows only; elsewhere the sink is left out.
    pub event_log: Option<bool>,
    /// Syslog (RFC 5424): `udp://host:514`, `tcp://host:601` or `tls://host:6514`.
    #[schemars(extend("examples" = ["tls://logs.example:6514"]))]
    pub syslog: Option<String>,
    /// OpenTelemetry logs: `http://host:4318` or `https://…`. Over HTTP the path is `/v1/logs` where none is written.
    #[schemars(extend("examples" = ["http://127.0.0.1:4318"]))]
    pub otlp: Option<String>,
    /// The forward protocol of Fluentd and Fluent Bit: `host:24224`, or `tls://host:24224`.
    #[schemars(extend("examples" = ["127.0.0.1:24224"]))]
    pub fluent: Option<String>,
    /// The address of an HTTP POST with JSON records: `http://` or `https://`.
    #[schemars(extend("examples" = ["https://logs.example/ingest"]))]
    pub http: Option<String>,
    /// Whose output; left out: that of every service.
    #[schemars(extend("examples" = [["api", "worker"]]))]
    pub services: Option<Vec<String>>,
    /// Only records of this level and above; one that does not say counts as `info`. Left out: every record.
    pub level: Option<SinkLevelKey>,
    /// A regular expression: only records with a match in their message.
    #[schemars(extend("examples" = ["(?i)payment"]))]
    pub matches: Option<String>,
    /// A regular expression: no record with a match in its message.
    #[schemars(extend("examples" = ["GET /health"]))]
    pub excludes: Option<String>,
    /// How many bytes of the files it may be behind; at least 64 KiB.
    #[schemars(extend("default" = "1GiB"))]
    pub buffer: Option<Size>,
    /// What is left out of it when it is further behind. Either way it is counted and told.
    #[schemars(extend("default" = "drop_oldest"))]
    pub overflow: Option<OverflowKey>,
    /// How many records it gets at once at most.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 1000))]
    pub batch: Option<i64>,
    /// How long a record may wait for others that go with it.
    #[schemars(extend("default" = "1s"))]
    pub linger: Option<Span>,
    /// How long one delivery may take.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<Span>,
    /// The longest wait between two tries while the receiver is away; the first is a second, each further one is twice
    /// as long.
    #[schemars(extend("default" = "1m"))]
    pub retry_max: Option<Span>,
    /// For `otlp`: how it travels.
    #[schemars(extend("default" = "http"))]
    pub protocol: Option<OtlpProtocolKey>,
    /// For `otlp` and `http`: further headers; a value may be a secret, such as `secret://file/PATH`.
    #[schemars(extend("default" = {}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// For `otlp` and `http`: whether bodies are compressed.
    #[schemars(extend("default" = false))]
    pub gzip: Option<bool>,
    /// For `http`: how records stand in a body.
    #[schemars(extend("default" = "lines"))]
    pub format: Option<SinkFormatKey>,
    /// For `syslog`: the facility, by name or number.
    #[schemars(extend("default" = "daemon"))]
    pub facility: Option<String>,
    /// For `fluent`: the tag of every record; left out: `tutela.` and the guard's name.
    #[schemars(extend("examples" = ["shop.logs"]))]
    pub tag: Option<String>,
    /// For `fluent`: the secret of the handshake, or where it is: `secret://file/PATH`.
    pub shared_key: Option<String>,
    /// For `https://` and `tls://`: how the receiver is trusted.
    pub tls: Option<SinkTlsKeys>,
}

/// How a receiver is trusted within TLS. Files are PEM; they are read again when they change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkTlsKeys {
    /// Certificates of the authorities that are believed, instead of those that the OS trusts; relative to the spec's
    /// folder.
    #[schemars(extend("examples" = ["ca.pem"]))]
    pub ca: Option<String>,
    /// Our own certificate, for receivers that want one; with `key`.
    pub cert: Option<String>,
    /// The private key of `cert`.
    pub key: Option<String>,
    /// The name that the receiver's certificate must have; left out: the host of the address.
    pub server_name: Option<String>,
}

/// How much a record matters.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkLevelKey {
    /// Each step.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// Normal.
    Info,
    /// Normal, and worth to be seen.
    Notice,
    /// Something may stop working.
    Warn,
    /// Something does not work.
    Error,
    /// The program cannot go on.
    Fatal,
}

/// What is left out of a sink that is too far behind.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverflowKey {
    /// What was written first.
    DropOldest,
    /// What is written while it is too far behind.
    DropNewest,
}

/// How records stand in a body.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkFormatKey {
    /// One JSON object a line.
    Lines,
    /// One JSON array of objects.
    Array,
}
