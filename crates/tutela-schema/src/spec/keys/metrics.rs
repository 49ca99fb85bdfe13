//! The keys of `[metrics]`: where the guard's own figures go.

use crate::spec::scalar::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where the guard's figures go by themselves. Whoever asks for `/metrics` gets them without any of this.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsKeys {
    /// An OpenTelemetry collector that is sent them: `http://` or `https://` with or without a path, to which `/v1/metrics` is added; `grpc://` without TLS or `grpcs://` with it. Left out: nobody is.
    #[schemars(extend("examples" = ["http://collector:4318"]))]
    pub otlp: Option<String>,
    /// How it is spoken to; left out: as the address says, and `http` for `http://` and `https://`.
    pub protocol: Option<OtlpProtocolKey>,
    /// How often.
    #[schemars(extend("default" = "15s"))]
    pub every: Option<Span>,
    /// How long one request may take.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<Span>,
    /// Further headers; a value may be a secret, such as `secret://file/PATH`.
    #[schemars(extend("default" = {}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether requests are compressed.
    #[schemars(extend("default" = "none"))]
    pub compress: Option<OtlpCompressKey>,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocolKey {
    /// HTTP/1.1 with protobuf.
    Http,
    /// gRPC.
    Grpc,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpCompressKey {
    /// Not.
    None,
    /// With gzip.
    Gzip,
}
