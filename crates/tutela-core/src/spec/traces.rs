//! Where the traces of the guard's own doings go.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is done with traces. Without a receiver there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TracesSpec {
    /// Who is sent them; `None`: nobody.
    pub push: Option<TracesPush>,
}

/// An OTLP receiver of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesPush {
    /// Its address: `http://`, `https://`, `grpc://` or `grpcs://`.
    pub otlp: String,
    /// Whether gRPC is spoken to an `http://` or `https://` address.
    pub grpc: bool,
    /// How long one request may take.
    pub timeout: Duration,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// The share of traces that are made, 0 to 1. One that somebody else began is made if they make it.
    pub sample: f64,
}
