//! The guard's figures: one list, from which everything that shows or sends figures is made.
//!
//! A [`Source`] gathers what is known at one moment into a [`Snapshot`]; [`Snapshot::families`] names it, once. `/metrics`
//! writes the families as text ([`text`]), [`push`] sends them as OTLP ([`otlp`]). So every figure has the same name, the
//! same labels and the same value wherever it is looked at; the names are documented in `docs/reference/metrics.md`, and
//! a test compares.
//!
//! # To add a family
//! What the conductor knows goes into its answer and into [`list`]. A hand that counts for itself implements [`Collect`]
//! and is registered once with [`Source::register`]; it counts in atomics of its own and is asked at each look. Names
//! follow Prometheus: base units, `_total` on counters, written by [`Families`]; labels have few values that stay.
//!
//! Deliberately absent: figures that are kept between two looks. What is cumulative is counted where it happens.

mod gather;
mod list;
mod otlp;
mod push;
#[cfg(test)]
mod tests;
mod text;

pub use gather::{Collect, Snapshot, Source};
pub use push::{Pushes, push};
pub use text::{open_metrics, plain};

use std::borrow::Cow;
use std::time::Duration;

/// What a figure is measured in. Without one, things are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As names end in Prometheus.
    const fn suffix(self) -> &'static str {
        match self {
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        }
    }

    /// In the words of UCUM, which OTLP uses.
    const fn ucum(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Bytes => "By",
        }
    }
}

/// What kind of figures a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They go up and down.
    Gauge,
    /// They only grow, until what counts them begins anew.
    Counter,
    /// Counts by size.
    Histogram,
}

/// Figures of one meaning.
#[derive(Debug)]
pub struct Family<'a> {
    /// Its name without unit and `_total`.
    base: &'static str,
    /// One sentence for people, without a full stop.
    help: &'static str,
    unit: Option<Unit>,
    kind: Kind,
    points: Vec<Point<'a>>,
}

/// One figure.
#[derive(Debug)]
pub struct Point<'a> {
    labels: Labels<'a>,
    value: Value,
    /// Since when a sum is one, in milliseconds since 1970; `None`: longer than anybody knows.
    since: Option<i64>,
}

/// What a figure is of. The guard's name comes by itself.
#[derive(Debug, Clone, Default)]
pub struct Labels<'a> {
    /// Service and instance.
    of: Option<(&'a str, &'a str)>,
    more: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Labels<'a> {
    /// Of the guard as a whole.
    pub fn guard() -> Self {
        Labels::default()
    }

    /// Of one instance: `api` and `0`.
    pub fn instance(service: &'a str, instance: &'a str) -> Self {
        Labels { of: Some((service, instance)), more: Vec::new() }
    }

    /// And of this. The values of a label are few, and no user's or program's words.
    #[must_use]
    pub fn and(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// Every label, the guard's first.
    fn pairs<'s>(&'s self, guard: &'s str) -> impl Iterator<Item = (&'static str, &'s str)> {
        let of = self.of.iter().flat_map(|(service, instance)| [("service", *service), ("instance", *instance)]);
        let more = self.more.iter().map(|(name, value)| (*name, &**value));
        [("guard", guard)].into_iter().chain(of).chain(more)
    }
}

/// What a figure is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// Counts by size.
    Histogram {
        /// The upper bounds of all buckets but the last, which has none.
        bounds: &'static [Duration],
        /// How many are in each bucket; not added up.
        counts: Vec<u64>,
        /// All of them together, in seconds.
        sum: f64,
    },
}

impl Value {
    /// Lengths of time, counted.
    pub fn histogram(bounds: &'static [Duration], counts: &[u64], sum: Duration) -> Self {
        Value::Histogram { bounds, counts: counts.to_vec(), sum: sum.as_secs_f64() }
    }
}

/// Families on their way to who asked.
#[derive(Debug)]
pub struct Families<'a> {
    guard: &'a str,
    /// When it was looked, in milliseconds since 1970.
    at: i64,
    /// Since when the guard counts.
    since: i64,
    list: Vec<Family<'a>>,
}

impl<'a> Families<'a> {
    /// Figures that go up and down. `base` is the name without its unit.
    pub fn gauge(&mut self, base: &'static str, unit: Option<Unit>, help: &'static str) -> Points<'_, 'a> {
        self.family(base, unit, help, Kind::Gauge)
    }

    /// Figures that only grow. `base` is the name without its unit and `_total`.
    pub fn counter(&mut self, base: &'static str, unit: Option<Unit>, help: &'static str) -> Points<'_, 'a> {
        self.family(base, unit, help, Kind::Counter)
    }

    /// Lengths of time, counted. `base` is the name without `_seconds`.
    pub fn histogram(&mut self, base: &'static str, help: &'static str) -> Points<'_, 'a> {
        self.family(base, Some(Unit::Seconds), help, Kind::Histogram)
    }

    fn family(&mut self, base: &'static str, unit: Option<Unit>, help: &'static str, kind: Kind) -> Points<'_, 'a> {
        let since = self.since;
        self.list.push(Family { base, help, unit, kind, points: Vec::new() });
        let at = self.list.len() - 1;
        Points { points: &mut self.list[at].points, since }
    }

    /// Those that have figures.
    fn each(&self) -> impl Iterator<Item = &Family<'a>> {
        self.list.iter().filter(|family| !family.points.is_empty())
    }
}

/// The figures of one family on their way.
#[derive(Debug)]
pub struct Points<'f, 'a> {
    points: &'f mut Vec<Point<'a>>,
    since: i64,
}

impl<'a> Points<'_, 'a> {
    /// One more; a sum is since the guard began.
    pub fn add(&mut self, labels: Labels<'a>, value: f64) {
        self.put(labels, Value::Number(value));
    }

    /// The same, for a whole number.
    pub fn count(&mut self, labels: Labels<'a>, value: u64) {
        self.add(labels, whole(value));
    }

    /// One more of any kind.
    pub fn put(&mut self, labels: Labels<'a>, value: Value) {
        let since = Some(self.since);
        self.points.push(Point { labels, value, since });
    }

    /// One more, which is a sum since `since` in milliseconds since 1970, or since nobody knows when.
    pub fn add_since(&mut self, labels: Labels<'a>, value: f64, since: Option<i64>) {
        self.points.push(Point { labels, value: Value::Number(value), since });
    }
}

impl Family<'_> {
    /// The name that is documented, and that its samples have.
    fn name(&self) -> String {
        let unit = self.unit.map_or("", Unit::suffix);
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.base)
    }
}

#[expect(clippy::cast_precision_loss, reason = "every format of figures has doubles; 52 bits count for centuries")]
fn whole(value: u64) -> f64 {
    value as f64
}
