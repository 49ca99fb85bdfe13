//! What capture costs in memory: of an instance that has said one line and is silent, and of one that floods.
//!
//! Idle is what a further instance adds, between one and `crowd` of them, so it holds its supervision as well: an upper
//! bound of its pipeline. Under flood is what the subject grows by at most while one instance floods, and while
//! [`FLOODING`] do, by each. Memory of the kernel (a pipe's 64 KiB) is nobody's process.

use super::open;
use crate::kernel;
use crate::options::Options;
use crate::subject::{Form, Manner, Speech, Subject};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// Instances that flood together.
const FLOODING: u32 = 20;

/// Looks at memory under flood, and the wait before each.
const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From the gate to the look at silent ones: their one line is in its file by then.
const SETTLE: Duration = Duration::from_secs(2);

pub(in crate::measure) fn once(subject: Subject, options: &Options) -> Result<Value> {
    let many = options.dose.crowd;
    let (one, all) = (silent(subject, 1, options)?, silent(subject, many, options)?);
    Ok(json!({
        "idle_each_kib": (all - one) / f64::from(many - 1),
        "flood_one_kib": flooded(subject, 1, options)?,
        "flood_each_kib": flooded(subject, FLOODING, options)?,
    }))
}

/// KiB with `count` silent instances.
fn silent(subject: Subject, count: u32, options: &Options) -> Result<f64> {
    let speech = Speech { lines: 1, bytes: 200, manner: Manner::Silent, form: Form::Stamped, keep: 2 };
    let stage = open(subject, count, speech, options)?;
    let _gate = stage.arena.open_gate()?;
    std::thread::sleep(SETTLE);
    Ok(kernel::memory(&kernel::keepers()).pss as f64)
}

/// KiB by which the subject grows at most for each of `count` instances that flood.
fn flooded(subject: Subject, count: u32, options: &Options) -> Result<f64> {
    let speech = Speech { lines: 1, bytes: 200, manner: Manner::Flood, form: Form::Stamped, keep: 2 };
    let stage = open(subject, count, speech, options)?;
    let keepers = kernel::keepers();
    let before = kernel::memory(&keepers).pss;
    let _gate = stage.arena.open_gate()?;
    let mut most = before;
    for _ in 0..LOOKS {
        std::thread::sleep(LOOK_EVERY);
        most = most.max(kernel::memory(&keepers).pss);
    }
    Ok((most - before) as f64 / f64::from(count))
}
