//! Traces.

use super::{InstrumentationScope, KeyValue, Resource};

/// The body of `/v1/traces`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportTraces {
    /// Spans, by what they are of.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Spans of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceSpans {
    /// What they are of.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// They, by what made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// Spans that one program made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeSpans {
    /// What made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// They.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// Something that took its time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    /// The trace it is part of: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// It: 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// What others wrote into the trace for themselves; handed on as it came.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// The span it is part of: 8 bytes; empty: none.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// Its name.
    #[prost(string, tag = "5")]
    pub name: String,
    /// Which side of a call it is.
    #[prost(enumeration = "SpanKind", tag = "6")]
    pub kind: i32,
    /// When it began, in nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// When it ended.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What is known of it.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// What happened within it.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    /// How much more did.
    #[prost(uint32, tag = "12")]
    pub dropped_events_count: u32,
    /// What else it belongs to.
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    /// How it came out.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// The flags of W3C's trace context in the lowest byte, [`FLAG_KNOWS_REMOTE`] and [`FLAG_REMOTE`] of the parent.
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// It is known whether the parent is of another process.
pub const FLAG_KNOWS_REMOTE: u32 = 0x100;

/// The parent is of another process.
pub const FLAG_REMOTE: u32 = 0x200;

/// Something that happened within a span.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// What.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What is known of it.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// Another span that a span has to do with.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Link {
    /// Its trace: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// It: 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// What others wrote into its trace.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// As those of a span, of what is linked.
    #[prost(fixed32, tag = "6")]
    pub flags: u32,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum SpanKind {
    /// Not said.
    Unspecified = 0,
    /// None: it is within a program.
    Internal = 1,
    /// The one that answers.
    Server = 2,
}

/// How a span came out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Why it failed, for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Whether it did.
    #[prost(enumeration = "StatusCode", tag = "3")]
    pub code: i32,
}

/// Whether a span failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum StatusCode {
    /// Nobody said.
    Unset = 0,
    /// It did not, says somebody who knows.
    Ok = 1,
    /// It did.
    Error = 2,
}
