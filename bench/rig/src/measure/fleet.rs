//! A thousand services: how fast they start, what memory keeps them, what it costs that nothing happens.
//!
//! One start serves all three. Memory and idle CPU are of everything that keeps the programs, helper processes
//! included, and not of the programs. The idle window is taken in the last round only, for it takes a minute.

use crate::figures::ms;
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::Subject;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// From the last program's birth to the look at memory: what a start leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(3);

/// The slowest peer takes 8 s.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn once(subject: Subject, last: bool, options: &Options) -> Result<Value> {
    let count = options.dose.fleet;
    let cast = Cast { count, exits: false, eager: false, probed: None, speech: None };
    let mut stage = Stage::open(subject, cast, options)?;
    let born = stage.arena.await_all(count, Duration::from_millis(5), PATIENCE);
    let born = born.with_context(|| stage.last_words())?;
    let first = born.iter().map(|birth| birth.at).min().context("nobody was born")?;
    let latest = born.iter().map(|birth| birth.at).max().context("nobody was born")?;

    kernel::schedule(false);
    std::thread::sleep(SETTLE);
    let keepers = kernel::keepers();
    let memory = kernel::memory(&keepers);
    let mut values = json!({
        "first_to_last_ms": ms(latest - first),
        "command_to_first_ms": ms(first - stage.begun),
        "command_to_last_ms": ms(latest - stage.begun),
        "processes": keepers.len(),
        "pss_kib": memory.pss,
        "rss_kib": memory.rss,
    });
    if last {
        let before = kernel::toll(&keepers);
        std::thread::sleep(options.dose.idle);
        let used = before.until(&kernel::toll(&keepers));
        let seconds = options.dose.idle.as_secs_f64();
        values["idle_wakeups_per_s"] = json!(used.switches as f64 / seconds);
        values["idle_cpu_percent"] = json!(used.cpu as f64 / 1e7 / seconds);
        values["threads"] = json!(used.threads);
        // Programs that were started again meanwhile would make the window something else than idle.
        values["births_while_idle"] = json!(stage.arena.look()?.len());
    }
    Ok(values)
}
