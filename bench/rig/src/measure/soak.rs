//! Memory over a long life, in little time: a million restarts, and a hundred gigabytes of output.
//!
//! Looked at after each twentieth. What is told is the memory after the first tenth, the most after it, and at the end:
//! a guard that keeps a little of each restart or each megabyte shows it as the difference. Memory is the guard's own
//! process's; its figures are its own word for bytes, as only it knows what went into files that are gone by now.

use super::logs;
use crate::control;
use crate::figures::ms;
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::{Form, GUARD_NAME, Manner, Speech, Subject};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Looks at memory, in all.
const LOOKS: u64 = 20;

/// The looks that make the first tenth.
const TENTH: usize = 2;

/// Programs that flood together: more than processors, fewer than would wait for each other.
const FLOODING: u32 = 4;

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Nothing new for so long: it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Memory in KiB at each look.
struct Course(Vec<f64>);

impl Course {
    /// Looks whenever a further part of `all` is there, by `count`.
    fn run(all: u64, root: u32, mut count: impl FnMut() -> Result<u64>) -> Result<(Course, f64)> {
        let begun = Instant::now();
        let (mut looks, mut known, mut moved) = (Vec::new(), 0, Instant::now());
        while looks.len() < usize::try_from(LOOKS)? {
            std::thread::sleep(LOOK_EVERY);
            let there = count()?;
            if there > known {
                (known, moved) = (there, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                bail!("nothing new after {known} of {all}");
            }
            if there >= all * (looks.len() as u64 + 1) / LOOKS {
                looks.push(kernel::memory(&[root]).pss as f64);
            }
        }
        Ok((Course(looks), ms(u64::try_from(begun.elapsed().as_nanos())?) / 1e3))
    }

    fn values(&self, what: &str, seconds: f64, all: u64) -> Vec<(String, Value)> {
        let tenth = self.0[..TENTH].iter().copied().fold(0.0, f64::max);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        let last = self.0.last().copied().unwrap_or(f64::NAN);
        vec![
            (format!("{what}_tenth_kib"), json!(tenth)),
            (format!("{what}_most_kib"), json!(most)),
            (format!("{what}_end_kib"), json!(last)),
            (format!("{what}_growth"), json!(last / tenth)),
            (format!("{what}_s"), json!(seconds)),
            (what.to_owned(), json!(all)),
        ]
    }
}

pub(super) fn once(options: &Options) -> Result<Value> {
    let mut values = serde_json::Map::new();
    values.extend(restarts(options)?);
    values.extend(output(options)?);
    Ok(Value::Object(values))
}

fn restarts(options: &Options) -> Result<Vec<(String, Value)>> {
    let all = options.dose.restarts;
    let cast = Cast { count: options.dose.crowd, exits: true, eager: true, probed: None, speech: None };
    let mut stage = Stage::open(Subject::Tutela, cast, options)?;
    let (root, mut born) = (stage.root(), 0);
    let count = || {
        born += stage.arena.look()?.len() as u64;
        Ok(born)
    };
    let (course, seconds) = Course::run(all, root, count)?;
    Ok(course.values("restarts", seconds, all))
}

fn output(options: &Options) -> Result<Vec<(String, Value)>> {
    let all = options.dose.output;
    let speech = Speech { lines: 1, bytes: 200, manner: Manner::Flood, form: Form::Raw, keep: 1 };
    let stage = logs::open(Subject::Tutela, FLOODING, speech, options)?;
    let socket = control::find(&stage.home().context("it has no home")?, GUARD_NAME)?;
    let _gate = stage.arena.open_gate()?;
    let count = || {
        let (_, body) = control::get(&socket, "/metrics")?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let counts = text.lines().filter(|line| line.starts_with("tutela_log_bytes_total"));
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    };
    let (course, seconds) = Course::run(all, stage.root(), count)?;
    Ok(course.values("output", seconds, all))
}
