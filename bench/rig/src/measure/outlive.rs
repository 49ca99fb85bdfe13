//! Programs outlive their guard: how soon the next one has all of them, and for how long nobody watches in an upgrade.
//!
//! The guard of five hundred idle programs is killed and started again; the time is from that start to its first answer,
//! which the loop that supervises gives once everything is taken back. Then another file of the same program takes its
//! place; the guard's own measure of the time without a guard is taken: of each of the two changes.
//!
//! No peer has either: what they keep ends with them, or runs on and is nobody's.

use crate::arena::now;
use crate::control;
use crate::figures::{ms, percentile};
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::{GUARD_NAME, Subject};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// Kills, and upgrades, a round.
const TIMES: u32 = 5;

/// Everything that a start leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(2);

/// Between two looks for an answer.
const LOOK: Duration = Duration::from_millis(1);

/// Who does not answer after that has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn once(options: &Options) -> Result<Value> {
    let count = options.dose.survivors;
    let cast = Cast { count, exits: false, eager: false, probed: None, speech: None };
    let mut stage = Stage::open(Subject::Tutela, cast, options)?;
    let born = stage.arena.await_all(count, Duration::from_millis(5), PATIENCE);
    born.with_context(|| stage.last_words())?;
    std::thread::sleep(SETTLE);
    let home = stage.home().context("it has no home")?;
    let mut restored = Vec::new();
    for _ in 0..TIMES {
        kernel::signal(stage.root(), Signal::KILL);
        stage.restart_root()?;
        restored.push(first_answer(&stage, &home, count)?);
        std::thread::sleep(SETTLE);
    }
    let mut gaps = Vec::new();
    for time in 0..TIMES {
        let next = stage.arena.folder().join(format!("tutela-{time}"));
        std::fs::copy(&options.tutela, &next).context("cannot copy the program")?;
        let next = next.to_str().context("a folder that is no text")?.to_owned();
        let status = stage.ask(&["upgrade", GUARD_NAME, "--to", &next])?;
        ensure!(status.success(), "the upgrade ended with {status}: {}", stage.last_words());
        let socket = control::find(&home, GUARD_NAME)?;
        let (_, body) = control::get(&socket, "/v1/info")?;
        let info: Value = serde_json::from_slice(&body)?;
        let told = info["upgrade"]["unwatched_ms"].as_array().context("it tells nothing of an upgrade")?;
        gaps.extend(told.iter().filter_map(Value::as_f64));
        std::thread::sleep(SETTLE);
    }
    // A program that was started again would make all of this something else.
    let again = stage.arena.look()?.len();
    ensure!(again == 0, "{again} programs were started again");
    Ok(json!({
        "restored_ms": percentile(&restored, 0.5),
        "restored_max_ms": percentile(&restored, 1.0),
        "unwatched_ms": percentile(&gaps, 0.5),
        "unwatched_max_ms": percentile(&gaps, 1.0),
        "kills": TIMES,
        "upgrades": TIMES,
    }))
}

/// Milliseconds from the start of the guard to the first answer that has every program running.
fn first_answer(stage: &Stage, home: &std::path::Path, count: u32) -> Result<f64> {
    let socket = control::find(home, GUARD_NAME)?;
    loop {
        if let Ok((200, body)) = control::get(&socket, "/v1/status") {
            let took = ms(now() - stage.begun);
            let running = String::from_utf8_lossy(&body).matches("\"state\":\"running\"").count();
            ensure!(running >= usize::try_from(count)?, "{running} of {count} run in its first answer");
            return Ok(took);
        }
        if u128::from(now() - stage.begun) > PATIENCE.as_nanos() {
            bail!("no answer within {PATIENCE:?}: {}", stage.last_words());
        }
        std::thread::sleep(LOOK);
    }
}
