//! What was promised, and whether it held in this run.

mod logs;

use super::tables::{figures, pooled};
use crate::figures::{median, short};
use crate::record::Record;
use crate::subject::Subject;
use anyhow::Result;
use std::fmt::Write;

struct Goal {
    measure: &'static str,
    what: &'static str,
    wanted: String,
    floor: f64,
    ours: f64,
    unit: &'static str,
    /// Whether the goal is to be ahead of every peer too.
    ahead: bool,
    /// The best peer.
    peer: Option<(&'static str, f64)>,
    held: bool,
}

pub(super) fn write(record: &Record, text: &mut String) -> Result<()> {
    // What was left out of the run is left out here; what failed in it is shown, as not held.
    let tried = |measure: &str| record.lines.iter().any(|line| line.measure == measure && line.subject == "tutela");
    let goals: Vec<Goal> = all(record).into_iter().filter(|goal| tried(goal.measure)).collect();
    if goals.is_empty() {
        return Ok(());
    }
    writeln!(text, "| what | goal | floor | tutela | best peer | held |\n|---|---|---|---|---|---|")?;
    for goal in goals {
        let ratio = goal.ours / goal.floor;
        let ratio = if ratio.is_nan() { String::new() } else { format!(" ({}x)", short(ratio)) };
        let peer = goal.peer.map_or_else(|| "-".into(), |(name, value)| format!("{} {name}", short(value)));
        writeln!(
            text,
            "| {} | {} | {} | {}{}{ratio} | {peer} | {} |",
            super::fill(goal.what, record),
            goal.wanted,
            short(goal.floor),
            short(goal.ours),
            goal.unit,
            match goal.held {
                _ if goal.ours.is_nan() => "**no**, failed",
                true if goal.ahead && goal.peer.is_none() => "yes, but no peer ran",
                true => "yes",
                false => "**no**",
            },
        )?;
    }
    text.push('\n');
    Ok(())
}

fn all(record: &Record) -> Vec<Goal> {
    let fact = |name: &str| record.facts.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let mut goals = Vec::new();

    let of = |subject: &str| median(&figures(record, "cold", subject, "p50_ms"));
    goals.push(against_floor("cold", "`tutela --version`, beside a C program", "3 x floor", " ms", 3.0, false, of));
    let size = median(&figures(record, "cold", "tutela", "size_mib"));
    goals.push(plain("cold", "size of the binary", "at most 12 MiB", size, " MiB", size <= 12.0));
    let over = median(&figures(record, "cold", "tutela", "ready_over_ms"));
    let what = "guard start to READY=1, over the program's own readiness";
    goals.push(plain("cold", what, "at most 30 ms", over, " ms", over <= 30.0));

    for (what, share, times, wanted) in [
        ("SIGKILL to the next one's first instruction, p50", 0.5, 1.3, "1.3 x floor, ahead of every peer"),
        ("the same, p99", 0.99, 2.0, "2 x floor, ahead of every peer"),
    ] {
        let of = |subject: &str| pooled(record, "restart", subject, "samples_ms", share);
        goals.push(against_floor("restart", what, wanted, " ms", times, true, of));
    }
    let of = |subject: &str| median(&figures(record, "fleet", subject, "first_to_last_ms"));
    let what = "start of {fleet}: first to last program alive";
    goals.push(against_floor("fleet", what, "1.5 x floor, ahead of every peer", " ms", 1.5, true, of));

    let pss = median(&figures(record, "fleet", "tutela", "pss_kib"));
    let most = 12.0 * 1024.0 + 16.0 * fact("fleet");
    goals.push(plain(
        "fleet",
        "memory at {fleet} idle services",
        "12 MiB + 16 KiB each",
        pss / 1024.0,
        " MiB",
        pss <= most,
    ));
    let wakeups = median(&figures(record, "fleet", "tutela", "idle_wakeups_per_s"));
    goals.push(plain("fleet", "idle at {fleet} services: wake-ups", "5 a second", wakeups, " /s", wakeups <= 5.0));
    let idle = median(&figures(record, "fleet", "tutela", "idle_cpu_percent"));
    goals.push(plain("fleet", "idle at {fleet} services: CPU", "under 0.05 % of a core", idle, " %", idle < 0.05));
    let probes = median(&figures(record, "probes", "tutela", "cpu_percent"));
    let rate = median(&figures(record, "probes", "tutela", "probes_per_s"));
    let held = probes <= 10.0 && rate >= 0.97 * fact("fleet");
    goals.push(plain("probes", "{fleet} HTTP probes a second: CPU", "10 % of a core", probes, " %", held));

    let of = |subject: &str| median(&figures(record, "stop", subject, "last_dead_ms"));
    let what = "stop of {crowd}: command to last dead";
    goals.push(against_floor("stop", what, "1.5 x floor", " ms", 1.5, false, of));
    let direct = |subject: &str| match subject {
        "floor" | "tutela" => of(&format!("{subject} (asked directly)")),
        _ => f64::NAN,
    };
    let what = "stop of {crowd}, asked directly: signal or request to last dead";
    goals.push(against_floor("stop", what, "1.5 x floor", " ms", 1.5, false, direct));

    let storm = median(&figures(record, "storm", "tutela", "status_p99_ms"));
    let refused = median(&figures(record, "storm", "tutela", "refused"));
    let held = storm < 50.0 && refused < 0.5;
    goals.push(plain("storm", "crash storm of {crowd}: status, p99", "under 50 ms", storm, " ms", held));
    let of = |subject: &str| median(&figures(record, "storm", subject, "restarts_per_s"));
    let (floor, ours) = (of("floor"), of("tutela"));
    goals.push(Goal { floor, ..plain("storm", "crash storm of {crowd}: restarts", "reported", ours, " /s", true) });
    let restored = median(&figures(record, "outlive", "tutela", "restored_ms"));
    let what = "guard of {survivors} killed: its next one's start to its first answer, with all of them";
    goals.push(plain("outlive", what, "at most 200 ms", restored, " ms", restored <= 200.0));
    let gap = median(&figures(record, "outlive", "tutela", "unwatched_ms"));
    let what = "upgrade under {survivors}: no guard watches, at each of two changes";
    goals.push(plain("outlive", what, "at most 100 ms", gap, " ms", gap <= 100.0));
    for (name, what) in [("restarts", "memory after a million restarts"), ("output", "memory after 100 GB of output")] {
        let growth = median(&figures(record, "soak", "tutela", &format!("{name}_growth")));
        goals.push(plain("soak", what, "that of the first tenth, 5 % for noise", growth, " x", growth <= 1.05));
    }
    goals.extend(logs::goals(record));
    goals
}

fn against_floor(
    measure: &'static str,
    what: &'static str,
    wanted: &str,
    unit: &'static str,
    times: f64,
    ahead: bool,
    of: impl Fn(&str) -> f64,
) -> Goal {
    let (floor, ours) = (of("floor"), of("tutela"));
    let peers = Subject::ALL.iter().filter(|one| one.is_peer()).map(|one| (one.word(), of(one.word())));
    let peer = peers.filter(|(_, value)| !value.is_nan()).min_by(|a, b| a.1.total_cmp(&b.1));
    let is_ahead = !ahead || peer.is_none_or(|(_, value)| ours < value);
    let held = ours <= times * floor && is_ahead;
    Goal { measure, what, wanted: format!("at most {wanted}"), floor, ours, unit, ahead, peer, held }
}

fn plain(measure: &'static str, what: &'static str, wanted: &str, ours: f64, unit: &'static str, held: bool) -> Goal {
    Goal { measure, what, wanted: wanted.to_owned(), floor: f64::NAN, ours, unit, ahead: false, peer: None, held }
}
