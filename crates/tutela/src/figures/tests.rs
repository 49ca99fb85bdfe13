//! Figures as text and as messages.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::otlp::{POINTS_MAX, requests};
use super::*;
use crate::hands::otlp::messages::any_value;
use crate::hands::otlp::messages::metrics::{AggregationTemporality, metric, number};

const BOUNDS: [Duration; 2] = [Duration::from_micros(50), Duration::from_secs(1)];

fn families(fill: impl FnOnce(&mut Families<'static>)) -> Families<'static> {
    let mut families = Families { guard: "sh\"op", at: 9_000, since: 1_000, list: Vec::new() };
    fill(&mut families);
    families
}

fn example() -> Families<'static> {
    families(|out| {
        out.counter("a", Some(Unit::Seconds), "Time of a").add(Labels::guard(), 1.5);
        let mut b = out.gauge("b", None, "Things");
        b.count(Labels::instance("api", "0"), 2);
        b.add(Labels::instance("api", "1").and("state", "up"), 1e20);
        out.gauge("nobody", Some(Unit::Bytes), "Has no figures");
        let value = Value::histogram(&BOUNDS, &[1, 0, 3], Duration::from_millis(4500));
        out.histogram("c", "Answers").put(Labels::guard().and("probe", "ready"), value);
    })
}

#[test]
fn the_older_format_describes_a_counter_under_the_name_of_its_samples() {
    assert_eq!(
        plain(&example()),
        r#"# HELP a_seconds_total Time of a.
# TYPE a_seconds_total counter
a_seconds_total{guard="sh\"op"} 1.5
# HELP b Things.
# TYPE b gauge
b{guard="sh\"op",service="api",instance="0"} 2.0
b{guard="sh\"op",service="api",instance="1",state="up"} 100000000000000000000
# HELP c_seconds Answers.
# TYPE c_seconds histogram
c_seconds_bucket{guard="sh\"op",probe="ready",le="0.00005"} 1
c_seconds_bucket{guard="sh\"op",probe="ready",le="1.0"} 1
c_seconds_bucket{guard="sh\"op",probe="ready",le="+Inf"} 4
c_seconds_sum{guard="sh\"op",probe="ready"} 4.5
c_seconds_count{guard="sh\"op",probe="ready"} 4
"#
    );
}

#[test]
fn open_metrics_names_units_and_ends() {
    let text = open_metrics(&example());
    for line in ["# TYPE a_seconds counter", "# UNIT a_seconds seconds", "# UNIT c_seconds seconds"] {
        assert_eq!(text.lines().filter(|it| *it == line).count(), 1, "{line} in {text}");
    }
    assert!(text.contains("\na_seconds_total{guard=\"sh\\\"op\"} 1.5\n") && text.ends_with("} 4\n# EOF\n"), "{text}");
}

#[test]
fn what_is_not_finite_is_written_as_both_formats_have_it() {
    let text = plain(&families(|out| {
        let mut odd = out.gauge("odd", None, "Odd");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.25] {
            odd.add(Labels::guard(), value);
        }
    }));
    let values: Vec<_> = text.lines().skip(2).map(|line| line.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(values, ["NaN", "+Inf", "-Inf", "-0.25"]);
}

#[test]
fn otlp_has_the_same_names_labels_and_values() {
    let mut requests = requests(&example());
    let request = requests.remove(0);
    assert!(requests.is_empty());
    let [of] = request.resource_metrics.as_slice() else { panic!("{request:?}") };
    let attributes = &of.resource.as_ref().unwrap().attributes;
    let text = |value: &crate::hands::otlp::messages::KeyValue| match &value.value.as_ref().unwrap().value {
        Some(any_value::Value::Text(text)) => (value.key.clone(), text.clone()),
        other => panic!("{other:?}"),
    };
    let attributes: Vec<_> = attributes.iter().map(text).collect();
    assert!(attributes.contains(&("service.name".into(), "tutela".into())), "{attributes:?}");
    assert!(attributes.contains(&("tutela.guard".into(), "sh\"op".into())), "{attributes:?}");
    assert!(!attributes.iter().any(|(name, _)| name == "service.instance.id"), "it would take the place of instance");
    let [a, b, c] = of.scope_metrics[0].metrics.as_slice() else { panic!("{of:?}") };
    assert_eq!((&*a.name, &*a.unit, &*b.name, &*b.unit, &*c.name), ("a_seconds_total", "s", "b", "", "c_seconds"));
    let Some(metric::Data::Sum(sum)) = &a.data else { panic!("{a:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality() == AggregationTemporality::Cumulative);
    let point = &sum.data_points[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000_000, 9_000_000_000));
    assert_eq!(point.value, Some(number::Value::Double(1.5)));
    let Some(metric::Data::Gauge(gauge)) = &b.data else { panic!("{b:?}") };
    assert_eq!(gauge.data_points[1].start_time_unix_nano, 0, "a gauge has no beginning");
    let labels: Vec<_> = gauge.data_points[1].attributes.iter().map(text).collect();
    let wanted = [("guard", "sh\"op"), ("service", "api"), ("instance", "1"), ("state", "up")];
    assert_eq!(labels, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let Some(metric::Data::Histogram(histogram)) = &c.data else { panic!("{c:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (4, Some(4.5)));
    assert_eq!(
        (point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()),
        (&[1, 0, 3][..], &[0.00005, 1.0][..])
    );
}

#[test]
fn a_request_has_at_most_its_bound_of_points_and_none_is_lost_between_two() {
    let families = families(|out| {
        for name in ["a", "b"] {
            let mut gauge = out.gauge(name, None, "Many");
            for value in 0..POINTS_MAX as u64 - 1 {
                gauge.count(Labels::guard(), value);
            }
        }
    });
    let requests = requests(&families);
    let points = |request: &crate::hands::otlp::messages::metrics::ExportMetrics| -> Vec<(String, Vec<f64>)> {
        let metrics = request.resource_metrics[0].scope_metrics[0].metrics.iter();
        let values = |metric: &crate::hands::otlp::messages::metrics::Metric| {
            match &metric.data {
                Some(metric::Data::Gauge(gauge)) => gauge.data_points.iter().map(|point| match point.value {
                    Some(number::Value::Double(value)) => value,
                    other => panic!("{other:?}"),
                }),
                other => panic!("{other:?}"),
            }
            .collect()
        };
        metrics.map(|metric| (metric.name.clone(), values(metric))).collect()
    };
    let sizes: Vec<_> =
        requests.iter().map(|request| points(request).iter().map(|(_, it)| it.len()).sum::<usize>()).collect();
    assert_eq!(sizes, [POINTS_MAX, POINTS_MAX - 2]);
    let all: Vec<f64> = requests.iter().flat_map(points).flat_map(|(_, values)| values).collect();
    let once = || (0..POINTS_MAX as u64 - 1).map(whole);
    assert_eq!(all, once().chain(once()).collect::<Vec<_>>());
}
