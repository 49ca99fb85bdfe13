//! Families as messages of OTLP.
//!
//! A metric has the name that is documented, unit and `_total` included, and every label as an attribute: whoever
//! turns OTLP into Prometheus adds what a name lacks, and this one lacks nothing, so it is the same everywhere.

use super::{Families, Family, Kind, Point, Unit, Value};
use crate::hands::otlp::messages::metrics::{
    AggregationTemporality, ExportMetrics, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number,
};
use crate::hands::otlp::messages::{InstrumentationScope, KeyValue, Resource};

/// Points in one request. Some two hundred bytes each, they are well below the 4 MiB that receivers of gRPC take.
pub(super) const POINTS_MAX: usize = 5000;

/// The families as requests of at most [`POINTS_MAX`] points.
pub(super) fn requests(families: &Families<'_>) -> Vec<ExportMetrics> {
    let (mut requests, mut metrics, mut room) = (Vec::new(), Vec::new(), POINTS_MAX);
    for family in families.each() {
        let mut rest = family.points.as_slice();
        while !rest.is_empty() {
            let (these, others) = rest.split_at(rest.len().min(room));
            metrics.push(metric(families, family, these));
            rest = others;
            room -= these.len();
            if room == 0 {
                requests.push(request(families, std::mem::take(&mut metrics)));
                room = POINTS_MAX;
            }
        }
    }
    if !metrics.is_empty() {
        requests.push(request(families, metrics));
    }
    requests
}

fn request(families: &Families<'_>, metrics: Vec<Metric>) -> ExportMetrics {
    let scope_metrics = vec![ScopeMetrics { scope: Some(InstrumentationScope::tutela()), metrics }];
    ExportMetrics {
        resource_metrics: vec![ResourceMetrics { resource: Some(Resource::guard(families.guard)), scope_metrics }],
    }
}

fn metric(families: &Families<'_>, family: &Family<'_>, points: &[Point<'_>]) -> Metric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers(families, points, false) }),
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: numbers(families, points, true),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Histogram => metric::Data::Histogram(Histogram {
            data_points: histograms(families, points),
            aggregation_temporality: cumulative,
        }),
    };
    Metric {
        name: family.name(),
        description: family.help.to_owned(),
        unit: family.unit.map_or("", Unit::ucum).to_owned(),
        data: Some(data),
    }
}

fn numbers(families: &Families<'_>, points: &[Point<'_>], is_sum: bool) -> Vec<NumberDataPoint> {
    let of = |point: &Point<'_>| {
        let Value::Number(value) = point.value else { return None };
        Some(NumberDataPoint {
            attributes: attributes(families, point),
            start_time_unix_nano: if is_sum { nanos(point.since) } else { 0 },
            time_unix_nano: nanos(Some(families.at)),
            value: Some(number::Value::Double(value)),
        })
    };
    points.iter().filter_map(of).collect()
}

fn histograms(families: &Families<'_>, points: &[Point<'_>]) -> Vec<HistogramDataPoint> {
    let of = |point: &Point<'_>| {
        let Value::Histogram { bounds, counts, sum } = &point.value else { return None };
        Some(HistogramDataPoint {
            attributes: attributes(families, point),
            start_time_unix_nano: nanos(point.since),
            time_unix_nano: nanos(Some(families.at)),
            count: counts.iter().sum(),
            sum: Some(*sum),
            bucket_counts: counts.clone(),
            explicit_bounds: bounds.iter().map(std::time::Duration::as_secs_f64).collect(),
        })
    };
    points.iter().filter_map(of).collect()
}

fn attributes(families: &Families<'_>, point: &Point<'_>) -> Vec<KeyValue> {
    point.labels.pairs(families.guard).map(|(name, value)| KeyValue::new(name, value)).collect()
}

/// Nanoseconds since 1970; 0 where nobody knows, or it was before that.
fn nanos(unix_millis: Option<i64>) -> u64 {
    unix_millis.and_then(|millis| u64::try_from(millis).ok()).map_or(0, |millis| millis.saturating_mul(1_000_000))
}
