//! Everything that was measured, subject by subject.

use crate::figures::{median, percentile, short};
use crate::record::{Line, Record};
use anyhow::Result;
use std::fmt::Write;

/// A figure of a subject in each round; rounds without it are left out.
pub(super) fn figures(record: &Record, measure: &str, subject: &str, name: &str) -> Vec<f64> {
    lines(record, measure, subject).map(|line| line.figure(name)).filter(|figure| !figure.is_nan()).collect()
}

/// A percentile over the samples of all rounds together.
pub(super) fn pooled(record: &Record, measure: &str, subject: &str, name: &str, share: f64) -> f64 {
    let samples: Vec<f64> = lines(record, measure, subject).flat_map(|line| line.list(name)).collect();
    percentile(&samples, share)
}

fn lines<'a>(record: &'a Record, measure: &'a str, subject: &'a str) -> impl Iterator<Item = &'a Line> {
    record.lines.iter().filter(move |line| line.measure == measure && line.subject == subject)
}

/// A table: the measurement, its title with facts to fill in, its columns (figure and heading), and the figure whose ratio to the floor's is
/// shown.
struct Table {
    measure: &'static str,
    title: &'static str,
    columns: &'static [(&'static str, &'static str)],
    ratio: Option<&'static str>,
}

const TABLES: [Table; 15] = [
    Table {
        measure: "cold",
        title: "The binary: first words, size, readiness of a guard",
        columns: &[
            ("p50_ms", "`--version` p50 ms"),
            ("p99_ms", "p99 ms"),
            ("size_mib", "size MiB"),
            ("ready_ms", "start to READY=1, ms"),
            ("ready_alone_ms", "of its program alone, ms"),
        ],
        ratio: Some("p50_ms"),
    },
    Table {
        measure: "restart",
        title: "SIGKILL of a program to the first instruction of the next one",
        columns: &[("p50_ms", "p50 ms"), ("p99_ms", "p99 ms, of a round"), ("kills", "kills a round")],
        ratio: Some("p50_ms"),
    },
    Table {
        measure: "fleet",
        title: "Start of {fleet} services",
        columns: &[
            ("first_to_last_ms", "first to last alive, ms"),
            ("command_to_first_ms", "command to first, ms"),
            ("command_to_last_ms", "command to last, ms"),
        ],
        ratio: Some("first_to_last_ms"),
    },
    Table {
        measure: "fleet",
        title: "Memory and idle CPU at {fleet} services, idle for {idle_s} s",
        columns: &[
            ("pss_kib", "PSS KiB"),
            ("rss_kib", "RSS KiB"),
            ("processes", "processes"),
            ("threads", "threads"),
            ("idle_wakeups_per_s", "wake-ups /s"),
            ("idle_cpu_percent", "CPU % of a core"),
        ],
        ratio: None,
    },
    Table {
        measure: "stop",
        title: "Stop of {crowd} programs",
        columns: &[("last_dead_ms", "command to last dead, ms"), ("returned_ms", "command to its return, ms")],
        ratio: Some("last_dead_ms"),
    },
    Table {
        measure: "storm",
        title: "Crash storm of {crowd} programs for {load_s} s, no delay, no limit",
        columns: &[
            ("restarts_per_s", "restarts /s"),
            ("least_restarts", "fewest of a service"),
            ("most_restarts", "most of a service"),
            ("cpu_percent", "CPU % of a core"),
            ("pss_kib", "PSS KiB"),
            ("status_p50_ms", "status p50 ms"),
            ("status_p99_ms", "status p99 ms"),
            ("status_max_ms", "status max ms"),
            ("command_p50_ms", "`tutela status` p50 ms"),
            ("command_max_ms", "max ms"),
            ("refused", "refused"),
        ],
        ratio: None,
    },
    Table {
        measure: "probes",
        title: "{fleet} services, each with an HTTP probe a second, for {load_s} s",
        columns: &[
            ("probes_per_s", "probes /s"),
            ("connections_per_s", "connections /s"),
            ("cpu_percent", "CPU % of a core"),
            ("wakeups_per_s", "wake-ups /s"),
            ("probe_p50_ms", "probe p50 ms, by the guard"),
            ("probe_p99_ms", "probe p99 ms, by the guard"),
            ("server_p99_us", "server p99 us"),
            ("off_schedule_p50_ms", "off schedule p50 ms"),
            ("off_schedule_p99_ms", "off schedule p99 ms"),
            ("server_cpu_percent", "server CPU %"),
        ],
        ratio: None,
    },
    Table {
        measure: "outlive",
        title: "A guard of {survivors} programs that is killed, or upgraded",
        columns: &[
            ("restored_ms", "start of the next one to its first answer, p50 ms"),
            ("restored_max_ms", "max ms"),
            ("unwatched_ms", "upgrade: without a guard, p50 ms"),
            ("unwatched_max_ms", "max ms"),
            ("kills", "kills a round"),
            ("upgrades", "upgrades a round"),
        ],
        ratio: None,
    },
    Table {
        measure: "soak",
        title: "Memory of the guard over a long life",
        columns: &[
            ("restarts", "restarts"),
            ("restarts_s", "in s"),
            ("restarts_tenth_kib", "after a tenth, KiB"),
            ("restarts_most_kib", "most, KiB"),
            ("restarts_end_kib", "at the end, KiB"),
            ("output", "bytes of output"),
            ("output_s", "in s"),
            ("output_tenth_kib", "after a tenth, KiB"),
            ("output_most_kib", "most, KiB"),
            ("output_end_kib", "at the end, KiB"),
        ],
        ratio: None,
    },
    Table {
        measure: "logs-raw",
        title: "Logs as they are: {lines} lines of one program, rotated at 50 MiB",
        columns: &THROUGHPUT,
        ratio: Some("mb_per_s_200"),
    },
    Table {
        measure: "logs-stamped",
        title: "Logs with a timestamp on each line: {lines} lines of one program, rotated at 50 MiB",
        columns: &THROUGHPUT,
        ratio: Some("mb_per_s_200"),
    },
    Table {
        measure: "logs-json",
        title: "Logs as JSON records: {lines} objects of 200 bytes, read and written in one form",
        columns: &[
            ("lines_per_cpu_s_json", "lines a second of CPU"),
            ("lines_per_s_json", "lines /s"),
            ("mb_per_s_json", "MB/s"),
            ("cpu_s_per_gb_json", "CPU s/GB"),
            ("missing", "missing"),
            ("doubled", "twice"),
            ("cut", "pieces"),
        ],
        ratio: None,
    },
    Table {
        measure: "logs-crowd",
        title: "Logs of {crowd} programs, 1000 lines a second each for {load_s} s, with timestamps where there are any",
        columns: &[
            ("lines_per_s", "lines /s"),
            ("missing", "missing"),
            ("doubled", "twice"),
            ("cut", "pieces"),
            ("cpu_percent", "CPU % of a core"),
        ],
        ratio: None,
    },
    Table {
        measure: "logs-memory",
        title: "Memory of capture, of an instance",
        columns: &[
            ("idle_each_kib", "idle, with its supervision: PSS KiB"),
            ("flood_one_kib", "more under flood, one: KiB"),
            ("flood_each_kib", "more under flood, each of 20: KiB"),
        ],
        ratio: None,
    },
    Table {
        measure: "logs-since",
        title: "`tutela logs --since`: one minute out of many gigabytes, guard down",
        columns: &[
            ("gigabytes", "GB"),
            ("files", "files"),
            ("lines_found", "lines found"),
            ("cold_p50_ms", "cold p50 ms"),
            ("cold_max_ms", "cold max ms"),
            ("warm_p50_ms", "warm p50 ms"),
            ("warm_max_ms", "warm max ms"),
        ],
        ratio: None,
    },
];

/// The figures of `measure/logs/throughput.rs`.
const THROUGHPUT: [(&str, &str); 9] = [
    ("mb_per_s_200", "200 B, MB/s"),
    ("mb_per_s_40", "40 B, MB/s"),
    ("mb_per_s_2000", "2000 B, MB/s"),
    ("mb_per_s_200_line", "200 B, one a call, MB/s"),
    ("cpu_s_per_gb_200", "200 B, CPU s/GB"),
    ("cpu_s_per_gb_200_line", "one a call, CPU s/GB"),
    ("missing", "missing"),
    ("doubled", "twice"),
    ("cut", "pieces"),
];

pub(super) fn write(record: &Record, text: &mut String) -> Result<()> {
    for table in &TABLES {
        let mut subjects: Vec<&str> = Vec::new();
        for line in record.lines.iter().filter(|line| line.measure == table.measure) {
            if !subjects.contains(&line.subject.as_str()) {
                subjects.push(&line.subject);
            }
        }
        if subjects.is_empty() {
            continue;
        }
        writeln!(text, "\n## {}\n", super::fill(table.title, record))?;
        let headings: Vec<&str> = table.columns.iter().map(|(_, heading)| *heading).collect();
        let ratio_heading = if table.ratio.is_some() { " x floor |" } else { "" };
        writeln!(text, "| subject | {} |{ratio_heading}", headings.join(" | "))?;
        writeln!(text, "|---|{}", "---|".repeat(headings.len() + usize::from(table.ratio.is_some())))?;
        for subject in &subjects {
            row(record, table, subject, text)?;
        }
        failures(record, table.measure, text)?;
    }
    Ok(())
}

fn row(record: &Record, table: &Table, subject: &str, text: &mut String) -> Result<()> {
    write!(text, "| {subject} |")?;
    for (name, _) in table.columns {
        write!(text, " {} |", cell(&figures(record, table.measure, subject, name)))?;
    }
    if let Some(name) = table.ratio {
        let floor = if subject.ends_with(" (asked directly)") { "floor (asked directly)" } else { "floor" };
        let ratios: Vec<f64> = lines(record, table.measure, subject)
            .filter_map(|line| {
                // A round may be several lines, each with its figures.
                let mut beside = lines(record, table.measure, floor).filter(|other| other.round == line.round);
                let beside = beside.find(|other| !other.figure(name).is_nan())?;
                Some(line.figure(name) / beside.figure(name))
            })
            .filter(|ratio| !ratio.is_nan())
            .collect();
        write!(text, " {} |", short(median(&ratios)))?;
    }
    writeln!(text)?;
    Ok(())
}

fn cell(figures: &[f64]) -> String {
    let (least, most) = (percentile(figures, 0.0), percentile(figures, 1.0));
    let middle = short(median(figures));
    if figures.len() < 2 || short(least) == short(most) {
        return middle;
    }
    format!("{middle} [{} {}]", short(least), short(most))
}

fn failures(record: &Record, measure: &str, text: &mut String) -> Result<()> {
    let failed = record.lines.iter().filter(|line| line.measure == measure);
    for line in failed {
        if let Some(error) = &line.error {
            write!(text, "\n- {} failed in round {}: {error}", line.subject, line.round)?;
        }
    }
    if text.ends_with('|') || text.ends_with('\n') {
        return Ok(());
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    fn line(subject: &str, round: u64, p50: f64) -> Line {
        let values = json!({ "p50_ms": p50 }).as_object().cloned().unwrap();
        Line { measure: "restart".into(), subject: subject.into(), round, values, error: None }
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let lines = vec![
            line("floor", 1, 1.0),
            line("runit", 1, 2.0),
            line("floor", 2, 10.0),
            line("runit", 2, 20.0),
            line("floor", 3, 1.0),
            line("runit", 3, 3.0),
        ];
        let mut text = String::new();
        write(&Record { lines, ..Record::default() }, &mut text).unwrap();
        assert!(text.contains("| runit | 3 [2 20] | - | - | 2 |"), "{text}");
    }
}
