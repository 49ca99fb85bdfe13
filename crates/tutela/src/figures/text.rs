//! Families as text: OpenMetrics 1.0, and the format that Prometheus had before it.
//!
//! The two differ in little: the older one describes a counter under the name of its samples, has no units beside the
//! names, and nothing marks its end.

use super::{Families, Family, Kind, Point, Unit, Value};
use std::fmt::{self, Write};

/// The families in OpenMetrics 1.0.
pub fn open_metrics(families: &Families<'_>) -> String {
    written(families, Format::Open)
}

/// The families in the text format 0.0.4 of Prometheus, which is what the textfile collector reads.
pub fn plain(families: &Families<'_>) -> String {
    written(families, Format::Plain)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Open,
    Plain,
}

fn written(families: &Families<'_>, format: Format) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, families, format);
    out
}

fn write(out: &mut String, families: &Families<'_>, format: Format) -> fmt::Result {
    for family in families.each() {
        let (unit, name) = (family.unit.map_or("", Unit::suffix), family.name());
        let described = match format {
            Format::Open => &name[..family.base.len() + unit.len()],
            Format::Plain => &name,
        };
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        out.write_str("# HELP ")?;
        out.write_str(described)?;
        out.write_char(' ')?;
        escaped(out, family.help)?;
        write!(out, ".\n# TYPE {described} {kind}\n")?;
        if format == Format::Open && !unit.is_empty() {
            writeln!(out, "# UNIT {described} {}", &unit[1..])?;
        }
        for point in &family.points {
            sample(out, families.guard, family, &name, point)?;
        }
    }
    if format == Format::Open {
        out.write_str("# EOF\n")?;
    }
    Ok(())
}

fn sample(out: &mut String, guard: &str, family: &Family<'_>, name: &str, point: &Point<'_>) -> fmt::Result {
    match &point.value {
        Value::Number(value) => {
            debug_assert!(family.kind != Kind::Histogram, "{name} is a histogram");
            labelled(out, name, "", guard, point, None)?;
            number(out, *value)?;
            out.write_char('\n')
        }
        Value::Histogram { bounds, counts, sum } => {
            let mut below = 0;
            for (place, count) in counts.iter().enumerate() {
                below += count;
                let bound = bounds.get(place).map_or(f64::INFINITY, |bound| bound.as_secs_f64());
                labelled(out, name, "_bucket", guard, point, Some(bound))?;
                writeln!(out, "{below}")?;
            }
            labelled(out, name, "_sum", guard, point, None)?;
            number(out, *sum)?;
            out.write_char('\n')?;
            labelled(out, name, "_count", guard, point, None)?;
            writeln!(out, "{below}")
        }
    }
}

/// A name with its labels, and the blank before the value.
fn labelled(
    out: &mut String,
    name: &str,
    suffix: &str,
    guard: &str,
    point: &Point<'_>,
    bound: Option<f64>,
) -> fmt::Result {
    out.write_str(name)?;
    out.write_str(suffix)?;
    for (place, (label, value)) in point.labels.pairs(guard).enumerate() {
        out.write_char(if place == 0 { '{' } else { ',' })?;
        out.write_str(label)?;
        out.write_str("=\"")?;
        escaped(out, value)?;
        out.write_char('"')?;
    }
    if let Some(bound) = bound {
        out.write_str(",le=\"")?;
        number(out, bound)?;
        out.write_char('"')?;
    }
    out.write_str("} ")
}

fn escaped(out: &mut String, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '"' => out.write_str("\\\"")?,
            '\n' => out.write_str("\\n")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

/// A number as both formats have it; a whole one ends in `.0`, which is how OpenMetrics wants bounds.
fn number(out: &mut String, value: f64) -> fmt::Result {
    /// Past it the digits after the point say nothing.
    const WHOLE_MAX: f64 = 1e15;
    if value.is_nan() {
        out.write_str("NaN")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else if value.trunc() == value && value.abs() < WHOLE_MAX {
        write!(out, "{value:.1}")
    } else {
        write!(out, "{value}")
    }
}
