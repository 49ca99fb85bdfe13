//! The goals about logs, in which more is mostly better.

use super::{Goal, plain};
use crate::figures::median;
use crate::record::Record;
use crate::report::tables::figures;
use crate::subject::Subject;

/// What an instance may cost: silent, and under flood.
const IDLE_KIB: f64 = 64.0;
const FLOOD_KIB: f64 = 1024.0;

pub(super) fn goals(record: &Record) -> Vec<Goal> {
    let of = |measure: &str, subject: &str, name: &str| median(&figures(record, measure, subject, name));
    let worst = |measure: &str| -> f64 {
        let all = ["missing", "doubled", "cut"].map(|name| figures(record, measure, "tutela", name)).concat();
        all.into_iter().fold(0.0, f64::max)
    };
    // A capture that lost a line held nothing.
    let whole = |measure: &str| worst(measure) < 0.5;
    let mut goals = Vec::new();
    for (name, what) in [
        ("mb_per_s_200", "raw capture, 200 B a line, rotated at 50 MiB"),
        ("mb_per_s_40", "the same, 40 B"),
        ("mb_per_s_2000", "the same, 2000 B"),
        ("mb_per_s_200_line", "the same, 200 B, one line a call"),
    ] {
        let figure = |subject: &str| of("logs-raw", subject, name);
        let (floor, ours, peer) = (figure("floor"), figure("tutela"), best(figure, f64::total_cmp));
        let held = ours >= 0.9 * floor && peer.is_none_or(|(_, theirs)| ours > theirs) && whole("logs-raw");
        let wanted = "at least 0.9 x floor, ahead of every peer".to_owned();
        goals.push(Goal { measure: "logs-raw", what, wanted, floor, ours, unit: " MB/s", ahead: true, peer, held });
    }
    for (name, what) in [
        ("mb_per_s_200", "timestamps per line, 200 B a line"),
        ("mb_per_s_40", "the same, 40 B"),
        ("mb_per_s_2000", "the same, 2000 B"),
        ("mb_per_s_200_line", "the same, 200 B, one line a call"),
    ] {
        let figure = |subject: &str| of("logs-stamped", subject, name);
        let (floor, ours, peer) = (figure("floor"), figure("tutela"), best(figure, f64::total_cmp));
        let held = ours >= 0.5 * floor && peer.is_none_or(|(_, theirs)| ours >= 1.5 * theirs) && whole("logs-stamped");
        let wanted = "at least 0.5 x floor, 1.5 x the best that stamps".to_owned();
        goals.push(Goal { measure: "logs-stamped", what, wanted, floor, ours, unit: " MB/s", ahead: true, peer, held });
    }
    let json = of("logs-json", "tutela", "lines_per_cpu_s_json");
    let held = json >= 300_000.0 && whole("logs-json");
    goals.push(plain("logs-json", "JSON records, on one core", "at least 300,000 lines/s", json, " lines/s", held));
    for (measure, what) in [("logs-raw", "CPU a GB, raw"), ("logs-stamped", "CPU a GB, stamped")] {
        let figure = |subject: &str| of(measure, subject, "cpu_s_per_gb_200");
        let (floor, ours, peer) = (figure("floor"), figure("tutela"), best(figure, |a, b| b.total_cmp(a)));
        let held = peer.is_none_or(|(_, theirs)| ours < theirs) && ours.is_finite();
        let wanted = "lowest of all peers".to_owned();
        goals.push(Goal { measure, what, wanted, floor, ours, unit: " s", ahead: true, peer, held });
    }
    let crowd = of("logs-crowd", "tutela", "cpu_percent");
    let what = "{crowd} programs, 1000 lines a second each: CPU";
    let held = crowd < 60.0 && whole("logs-crowd");
    goals.push(plain("logs-crowd", what, "nothing lost, under 60 % of a core", crowd, " %", held));
    for (name, what) in [
        ("warm_p50_ms", "`logs --since`, a minute out of many GB, warm"),
        ("cold_p50_ms", "the same, pages of the files forgotten"),
    ] {
        let since = of("logs-since", "tutela", name);
        goals.push(plain("logs-since", what, "under 50 ms", since, " ms", since < 50.0));
    }
    let idle = of("logs-memory", "tutela", "idle_each_kib");
    let what = "memory of an idle instance, its supervision included";
    goals.push(plain("logs-memory", what, "at most 64 KiB", idle, " KiB", idle <= IDLE_KIB));
    let flood = ["flood_one_kib", "flood_each_kib"].map(|name| of("logs-memory", "tutela", name));
    let flood = flood[0].max(flood[1]);
    let what = "memory of an instance under flood, more than idle";
    goals.push(plain("logs-memory", what, "at most 1 MiB", flood, " KiB", flood <= FLOOD_KIB));
    goals
}

/// The peer with the greatest figure by `order`.
fn best(figure: impl Fn(&str) -> f64, order: impl Fn(&f64, &f64) -> std::cmp::Ordering) -> Option<(&'static str, f64)> {
    let peers = Subject::ALL.iter().filter(|one| one.is_peer()).map(|one| (one.word(), figure(one.word())));
    peers.filter(|(_, value)| !value.is_nan()).max_by(|a, b| order(&a.1, &b.1))
}
