//! Logs.

use super::{AnyValue, InstrumentationScope, KeyValue, Resource};

/// The body of `/v1/logs`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportLogs {
    /// Records, by whose they are.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// Records of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceLogs {
    /// Whose they are.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// They, by what brings them.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// Records that one program brings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeLogs {
    /// What brings them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// They.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// One record.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogRecord {
    /// When it was made, in nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// When it was seen first by what brings it.
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    /// How much it matters, from 1 to 24; 0: it does not say.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same in the words of its source.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What it says.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What else it says.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// The trace that it belongs to, 16 bytes; empty: none.
    #[prost(bytes = "vec", tag = "9")]
    pub trace_id: Vec<u8>,
    /// The span that it belongs to, 8 bytes; empty: none.
    #[prost(bytes = "vec", tag = "10")]
    pub span_id: Vec<u8>,
}
