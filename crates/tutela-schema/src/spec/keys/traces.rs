//! The keys of `[traces]`: where traces of the guard's doings go.

use super::{OtlpCompressKey, OtlpProtocolKey};
use crate::spec::scalar::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where traces of what the guard does go: starts, stops, restarts and commands, as spans of OpenTelemetry.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracesKeys {
    /// An OpenTelemetry collector that is sent them: `http://` or `https://` with or without a path, to which `/v1/traces` is added; `grpc://` without TLS or `grpcs://` with it. Left out: there are none.
    #[schemars(extend("examples" = ["http://collector:4318"]))]
    pub otlp: Option<String>,
    /// How it is spoken to; left out: as the address says, and `http` for `http://` and `https://`.
    pub protocol: Option<OtlpProtocolKey>,
    /// How long one request may take.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<Span>,
    /// Further headers; a value may be a secret, such as `secret://file/PATH`.
    #[schemars(extend("default" = {}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether requests are compressed.
    #[schemars(extend("default" = "none"))]
    pub compress: Option<OtlpCompressKey>,
    /// The share of traces that are made, 0 to 1. Of a trace that began elsewhere (`traceparent`) that side decides.
    #[schemars(range(min = 0, max = 1), extend("default" = 1.0))]
    pub sample: Option<f64>,
}
