//! Two hundred programs that exit at once, with no delay and no limit: how the guard answers meanwhile.
//!
//! Status is asked over a fresh connection each 20 ms, and now and then by the command. The floor runs the same storm
//! with nobody asking, for its restarts a second.

use crate::arena::now;
use crate::control;
use crate::figures::{ms, percentile};
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::{GUARD_NAME, Subject};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two questions over the socket.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// One question in that many is asked by the command as well.
const COMMAND_EACH: usize = 20;

pub(super) fn once(subject: Subject, options: &Options) -> Result<Value> {
    let count = options.dose.crowd;
    let cast = Cast { count, exits: true, eager: true, probed: None, speech: None };
    let mut stage = Stage::open(subject, cast, options)?;
    let born = stage.arena.await_all(count, Duration::from_millis(5), Duration::from_secs(30));
    born.with_context(|| stage.last_words())?;
    let socket = match stage.home() {
        Some(home) => Some(control::find(&home, GUARD_NAME)?),
        None => None,
    };
    let root = [stage.root()];

    let over = AtomicBool::new(false);
    let mut births = vec![0_u64; usize::try_from(count)?];
    let (mut by_socket, mut by_command, mut refused) = (Vec::new(), Vec::new(), 0_u32);
    stage.arena.look()?;
    let before = kernel::toll(&root);
    let begun = now();
    let mut arena = stage.arena.second_reader()?;
    let counted = std::thread::scope(|scope| {
        let counter = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                for birth in arena.look()? {
                    if let Some(place) = births.get_mut(usize::try_from(birth.index)?) {
                        *place += 1;
                    }
                }
            }
            Ok(())
        });
        while now() - begun < u64::try_from(options.dose.load.as_nanos()).unwrap_or(u64::MAX) {
            std::thread::sleep(ASK_EVERY);
            let Some(socket) = &socket else { continue };
            let asked = now();
            match control::get(socket, "/v1/status") {
                Ok((200, _)) => by_socket.push(ms(now() - asked)),
                _ => refused += 1,
            }
            if by_socket.len() % COMMAND_EACH == 0 {
                let asked = now();
                match stage.ask(&["status", GUARD_NAME, "--json"]) {
                    // 3: nothing of it runs at this very moment, which is an answer too.
                    Ok(status) if matches!(status.code(), Some(0 | 3)) => by_command.push(ms(now() - asked)),
                    _ => refused += 1,
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        counter.join()
    });
    let seconds = ms(now() - begun) / 1e3;
    counted.ok().context("the counter of births panicked")??;
    let used = before.until(&kernel::toll(&root));
    let all: u64 = births.iter().sum();
    let per_service: Vec<f64> = births.iter().map(|births| *births as f64).collect();
    let mut values = json!({
        "restarts_per_s": all as f64 / seconds,
        "least_restarts": percentile(&per_service, 0.0),
        "most_restarts": percentile(&per_service, 1.0),
        "cpu_percent": used.cpu as f64 / 1e7 / seconds,
        "pss_kib": kernel::memory(&root).pss,
    });
    if socket.is_some() {
        values["status_p50_ms"] = json!(percentile(&by_socket, 0.5));
        values["status_p99_ms"] = json!(percentile(&by_socket, 0.99));
        values["status_max_ms"] = json!(percentile(&by_socket, 1.0));
        values["status_asked"] = json!(by_socket.len());
        values["command_p50_ms"] = json!(percentile(&by_command, 0.5));
        values["command_max_ms"] = json!(percentile(&by_command, 1.0));
        values["command_asked"] = json!(by_command.len());
        values["refused"] = json!(refused);
    }
    Ok(values)
}
