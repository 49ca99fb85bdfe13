//! The messages of OTLP 1, as far as they are sent: what every signal shares. Field numbers are the protocol's.
//!
//! A field that is never sent is not here. What a receiver answers is the same for every signal but for the name of
//! what it counts, so one [`ExportResponse`] reads them all.

pub mod logs;
pub mod metrics;
pub mod traces;

/// What the figures, spans or records of a request are of.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// What it is: `service.name`, `host.name`, …
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

impl Resource {
    /// A guard itself, as what it tells of its own doings is of.
    ///
    /// There is no `service.instance.id`: Prometheus would make a label `instance` of it, and lose ours.
    pub fn guard(name: &str) -> Self {
        Resource {
            attributes: vec![
                KeyValue::new("service.name", "tutela"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("host.name", tutela_os::usage::host_name()),
                KeyValue::new("tutela.guard", name),
            ],
        }
    }
}

/// What made the figures, spans or records.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InstrumentationScope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

impl InstrumentationScope {
    /// This program.
    pub fn tutela() -> Self {
        InstrumentationScope { name: "tutela".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A named value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

impl KeyValue {
    /// A named value.
    pub fn new(key: impl Into<String>, value: impl Into<AnyValue>) -> Self {
        KeyValue { key: key.into(), value: Some(value.into()) }
    }
}

/// A value of any kind.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnyValue {
    /// The value; `None`: there is none, as JSON's null.
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<any_value::Value>,
}

/// What a value can be.
pub mod any_value {
    /// One of them.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// A text.
        #[prost(string, tag = "1")]
        Text(String),
        /// Yes or no.
        #[prost(bool, tag = "2")]
        Bool(bool),
        /// A whole number.
        #[prost(int64, tag = "3")]
        Int(i64),
        /// Any other number.
        #[prost(double, tag = "4")]
        Double(f64),
        /// A list.
        #[prost(message, tag = "5")]
        Array(super::ArrayValue),
        /// Named values.
        #[prost(message, tag = "6")]
        Map(super::KeyValueList),
        /// Bytes that are no text.
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
}

/// A list of values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArrayValue {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// A list of named values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValueList {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

macro_rules! any_value_from {
    ($($from:ty => $kind:ident),* $(,)?) => {$(
        impl From<$from> for AnyValue {
            fn from(value: $from) -> Self {
                AnyValue { value: Some(any_value::Value::$kind(value.into())) }
            }
        }
    )*};
}

any_value_from!(String => Text, &str => Text, bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Double, Vec<u8> => Bytes);

/// What a receiver answers when it took a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportResponse {
    /// What it did not take of it; `None`: it took all.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// What a receiver did not take.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// How many data points, spans or records; 0 with a message is a warning.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status`: how a receiver says no, in the body of an HTTP reply or in the trailers of gRPC.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What else programs may want to know.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Packed>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Packed {
    /// What it is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Its bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`: when to come again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RetryInfo {
    /// After this long.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Span {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
