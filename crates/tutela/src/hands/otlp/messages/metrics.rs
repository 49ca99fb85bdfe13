//! Metrics.

use super::{InstrumentationScope, KeyValue, Resource};

/// The body of `/v1/metrics`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportMetrics {
    /// Figures, by what they are of.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// Figures of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceMetrics {
    /// What they are of.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// They, by what made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

/// Figures that one program made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeMetrics {
    /// What made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// They.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// A family of figures.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its unit, in the words of UCUM: `s`, `By`; empty: things are counted.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// Its figures.
    #[prost(oneof = "metric::Data", tags = "5, 7, 9")]
    pub data: Option<metric::Data>,
}

/// Kinds of families.
pub mod metric {
    /// One of them.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Data {
        /// Values that go up and down.
        #[prost(message, tag = "5")]
        Gauge(super::Gauge),
        /// Sums.
        #[prost(message, tag = "7")]
        Sum(super::Sum),
        /// Counts by size.
        #[prost(message, tag = "9")]
        Histogram(super::Histogram),
    }
}

/// Values that go up and down.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gauge {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

/// Sums.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sum {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    /// Since when they are.
    #[prost(enumeration = "AggregationTemporality", tag = "2")]
    pub aggregation_temporality: i32,
    /// Whether they only grow.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// Counts by size.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    /// Since when they are.
    #[prost(enumeration = "AggregationTemporality", tag = "2")]
    pub aggregation_temporality: i32,
}

/// Since when a sum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum AggregationTemporality {
    /// Not said.
    Unspecified = 0,
    /// Since the last report.
    Delta = 1,
    /// Since the point's start.
    Cumulative = 2,
}

/// One number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NumberDataPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
    /// Since when it is a sum, in nanoseconds since 1970; 0: not known.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was measured.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// It.
    #[prost(oneof = "number::Value", tags = "4, 6")]
    pub value: Option<number::Value>,
}

/// Kinds of numbers.
pub mod number {
    /// One of them.
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Value {
        /// Any number.
        #[prost(double, tag = "4")]
        Double(f64),
        /// A whole one.
        #[prost(sfixed64, tag = "6")]
        Int(i64),
    }
}

/// One histogram.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistogramDataPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// Since when it counts, in nanoseconds since 1970; 0: not known.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was measured.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// How many values.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// How many are in each bucket; one more than there are bounds.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// The upper bounds of the buckets, each within its bucket.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
}
