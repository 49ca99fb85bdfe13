//! SIGKILL of a program to the first instruction of the next one, no delay configured.
//!
//! Twenty services are started; each is killed once it is 1.3 s old, one at a time, with a pause of random-looking
//! length between so that a subject that polls is met at any phase of its cycle. The clock is read before the signal is
//! sent, and by the successor as its first act.

use crate::arena::now;
use crate::figures::{ms, percentile};
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::Subject;
use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// Services: enough that waiting for their age is shared, few enough that no list is long.
const SERVICES: u32 = 20;

/// A program of less than a second is treated as a crash by runit, s6 and others; this one is older.
const AGE: Duration = Duration::from_millis(1300);

/// A round of a subject that takes a second for each restart ends early.
const ROUND: Duration = Duration::from_secs(15);

/// No successor after that is a failure: circus by default takes 5 s, everybody is set to be faster.
const PATIENCE: Duration = Duration::from_secs(6);

pub(super) fn once(subject: Subject, options: &Options) -> Result<Value> {
    let cast = Cast { count: SERVICES, exits: false, eager: true, probed: None, speech: None };
    let mut stage = Stage::open(subject, cast, options)?;
    let born = stage.arena.await_all(SERVICES, Duration::from_millis(5), Duration::from_secs(60));
    let mut pids: Vec<u32> = born.with_context(|| stage.last_words())?.iter().map(|birth| birth.pid).collect();
    let round_begun = now();
    let mut took = Vec::new();
    let mut pause = 0_u64;
    'kills: for _ in 0..options.dose.kills {
        std::thread::sleep(AGE);
        for (index, pid) in pids.iter_mut().enumerate() {
            if now() - round_begun > u64::try_from(ROUND.as_nanos())? {
                break 'kills;
            }
            // 7 and 17 share no factor: every pause from 8 to 24 ms comes, in no order that a poller could follow.
            pause = (pause + 7) % 17;
            std::thread::sleep(Duration::from_millis(8 + pause));
            let killed = now();
            kernel::signal(*pid, Signal::KILL);
            let next = stage.arena.await_birth(u32::try_from(index)?, killed, PATIENCE);
            let next = next.with_context(|| stage.last_words())?;
            took.push(ms(next.at - killed));
            *pid = next.pid;
        }
    }
    Ok(json!({
        "p50_ms": percentile(&took, 0.5),
        "p99_ms": percentile(&took, 0.99),
        "kills": took.len(),
        "samples_ms": took,
    }))
}
