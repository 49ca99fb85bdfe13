//! Where the guard's own figures go by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often figures are sent where the spec is silent: what most scrapers do, and a third of the minute that most
/// alerts look at.
pub const PUSH_EVERY: Duration = Duration::from_secs(15);

/// How long a receiver may take where the spec is silent.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// What is done with figures, beside showing them to who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsSpec {
    /// Who is sent them; `None`: nobody.
    pub push: Option<MetricsPush>,
}

/// An OTLP receiver of figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPush {
    /// Its address: `http://`, `https://`, `grpc://` or `grpcs://`.
    pub otlp: String,
    /// Whether gRPC is spoken to an `http://` or `https://` address.
    pub grpc: bool,
    /// How often.
    pub every: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Whether requests are compressed.
    pub gzip: bool,
}
