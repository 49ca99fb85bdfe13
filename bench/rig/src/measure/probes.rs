//! A thousand HTTP probes a second: a thousand services, each asked once a second, at one web server in the rig.
//!
//! Three figures besides the guard's CPU. The server's own view: how far from a second two questions about the same
//! service lie. The server's own time for an answer, which has to be small for the rest to mean something. And what the
//! guard's status says that the latest probe of each service took, from which the server's time may be taken away.

use crate::arena::now;
use crate::control;
use crate::figures::{ms, percentile};
use crate::kernel;
use crate::options::Options;
use crate::origin::Origin;
use crate::stage::{Cast, Stage};
use crate::subject::{GUARD_NAME, Subject};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// From the first probe of every service to the window: by then each has had its turn several times.
const SETTLE: Duration = Duration::from_secs(5);

/// Looks at the status: each a second after the other, so that each sees another probe of every service.
const LOOKS: u32 = 5;

pub(super) fn once(options: &Options) -> Result<Value> {
    let count = options.dose.fleet;
    let origin = Origin::open()?;
    let cast = Cast { count, exits: false, eager: true, probed: Some(origin.port()), speech: None };
    let mut stage = Stage::open(Subject::Tutela, cast, options)?;
    let born = stage.arena.await_all(count, Duration::from_millis(5), Duration::from_secs(60));
    born.with_context(|| stage.last_words())?;
    std::thread::sleep(SETTLE);
    let keepers = kernel::keepers();
    let idle_before = origin.take();
    if idle_before.asked.is_empty() {
        bail!("no probe came within {SETTLE:?}: {}", stage.last_words());
    }

    let server_before = origin.toll();
    let before = kernel::toll(&keepers);
    let begun = now();
    std::thread::sleep(options.dose.load);
    let used = before.until(&kernel::toll(&keepers));
    let seconds = ms(now() - begun) / 1e3;
    let server = server_before.until(&origin.toll());
    let seen = origin.take();

    let mut last = vec![None; usize::try_from(count)?];
    let mut late = Vec::new();
    for (index, at) in &seen.asked {
        let Some(place) = last.get_mut(usize::try_from(*index)?) else { continue };
        if let Some(previous) = place.replace(*at) {
            late.push((ms(*at - previous) - 1000.0).abs());
        }
    }
    let took = probes_took(&control::find(&stage.home().context("it has no home")?, GUARD_NAME)?)?;
    Ok(json!({
        "probes_per_s": seen.asked.len() as f64 / seconds,
        "connections_per_s": seen.connections as f64 / seconds,
        "cpu_percent": used.cpu as f64 / 1e7 / seconds,
        "wakeups_per_s": used.switches as f64 / seconds,
        "off_schedule_p50_ms": percentile(&late, 0.5),
        "off_schedule_p99_ms": percentile(&late, 0.99),
        "server_cpu_percent": server.cpu as f64 / 1e7 / seconds,
        "server_p99_us": percentile(&seen.served_us, 0.99),
        "probe_p50_ms": percentile(&took, 0.5),
        "probe_p99_ms": percentile(&took, 0.99),
        "pss_kib": kernel::memory(&keepers).pss,
        "births_meanwhile": stage.arena.look()?.len(),
    }))
}

/// What probes took by the guard's own word, in milliseconds. Asked after the window, so that it costs nothing there.
fn probes_took(socket: &Path) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..LOOKS {
        let (_, body) = control::get(socket, "/v1/status")?;
        let status: Value = serde_json::from_slice(&body).context("the status is no JSON")?;
        collect("latency_ms", &status, &mut took);
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(took)
}

/// Every number of this name, anywhere in `value`; its depth is bounded by the parser.
fn collect(name: &str, value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_f64() {
                    Some(number) if key == name => found.push(number),
                    _ => collect(name, member, found),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| collect(name, member, found)),
        _ => {}
    }
}
