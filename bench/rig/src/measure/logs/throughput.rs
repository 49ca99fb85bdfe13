//! One program that writes as fast as the pipe takes it: MB of its bytes a second, and what that costs.

use super::{Take, take};
use crate::arena::Arena;
use crate::options::Options;
use crate::subject::{Form, Manner, Speech, Subject};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The slowest peer with the largest lines takes a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// Rotated files that are kept: more than there are, so that every line can be found.
const KEEP: u32 = 2000;

/// Bytes of a line and how they are written; the word with which figures about them end.
const VARIANTS: [(u32, Manner, &str); 4] = [
    (200, Manner::Bulk, "200"),
    (40, Manner::Bulk, "40"),
    (2000, Manner::Bulk, "2000"),
    (200, Manner::Line, "200_line"),
];

/// As it is, rotated where the subject can.
pub(in crate::measure) fn raw(subject: Subject, options: &Options) -> Vec<Result<Value>> {
    VARIANTS.iter().map(|variant| one(subject, *variant, Form::Raw, options)).collect()
}

/// With a timestamp on each line.
pub(in crate::measure) fn stamped(subject: Subject, options: &Options) -> Vec<Result<Value>> {
    VARIANTS.iter().map(|variant| one(subject, *variant, Form::Stamped, options)).collect()
}

/// Objects of JSON, read and written in one form. A build that does not know the form says so.
pub(in crate::measure) fn json(subject: Subject, options: &Options) -> Vec<Result<Value>> {
    let found = knows_json(options).and_then(|()| one(subject, (200, Manner::Json, "json"), Form::Json, options));
    vec![found]
}

/// Asked first: a guard that refuses its spec would be waited for as one that is slow.
fn knows_json(options: &Options) -> Result<()> {
    let arena = Arena::new()?;
    let spec = arena.folder().join("json.toml");
    let text = "name = \"json\"\n[services.one]\ncommand = [\"/bin/true\"]\nlogs = { format = \"json\" }\n";
    std::fs::write(&spec, text)?;
    let mut check = Command::new(&options.tutela);
    check.arg("check").arg(&spec).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(check.status().context("cannot ask for a check")?.success(), "the form json is not in this build");
    Ok(())
}

fn one(subject: Subject, variant: (u32, Manner, &str), form: Form, options: &Options) -> Result<Value> {
    let (bytes, manner, word) = variant;
    let lines = options.dose.lines;
    let speech = Speech { lines, bytes, manner, form, keep: KEEP };
    let Take { seconds, cpu_seconds, tally } = take(subject, 1, speech, PATIENCE, options)?;
    let megabytes = f64::from(lines) * f64::from(bytes) / 1e6;
    let mut values = Map::new();
    let mut put = |name: &str, value: f64| values.insert(format!("{name}_{word}"), Value::from(value));
    put("mb_per_s", megabytes / seconds);
    put("lines_per_s", f64::from(lines) / seconds);
    put("lines_per_cpu_s", f64::from(lines) / cpu_seconds);
    put("cpu_s_per_gb", cpu_seconds / megabytes * 1e3);
    values.insert("missing".into(), tally.missing.into());
    values.insert("doubled".into(), tally.doubled.into());
    values.insert("cut".into(), tally.cut.into());
    Ok(Value::Object(values))
}
