//! Two hundred programs that write a thousand lines a second each, one line a call: is every line there, and at what
//! cost? Ten lines come together each 10 ms: woken for each line, the writers alone would fill the machine.

use super::{Take, take};
use crate::options::Options;
use crate::subject::{Form, Manner, Speech, Subject};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// Lines a second of each program; `writer.c` keeps to it.
const LINES_A_SECOND: u32 = 1000;

/// Who takes longer than that many times the planned time has failed.
const PATIENCE_TIMES: u32 = 6;

pub(in crate::measure) fn once(subject: Subject, options: &Options) -> Result<Value> {
    let (count, load) = (options.dose.crowd, options.dose.load);
    let lines = u32::try_from(load.as_secs())? * LINES_A_SECOND;
    let speech = Speech { lines, bytes: 200, manner: Manner::Paced, form: Form::Stamped, keep: 100 };
    let patience = load * PATIENCE_TIMES + Duration::from_secs(10);
    let Take { seconds, cpu_seconds, tally } = take(subject, count, speech, patience, options)?;
    Ok(json!({
        "lines_per_s": f64::from(lines) * f64::from(count) / seconds,
        "cpu_percent": cpu_seconds / seconds * 100.0,
        "missing": tally.missing,
        "doubled": tally.doubled,
        "cut": tally.cut,
    }))
}
