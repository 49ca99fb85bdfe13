//! `/metrics`: figures for Prometheus, in OpenMetrics text for those who ask for it, and in the older text
//! format for everybody else.
//!
//! Made anew for each request from one status; nothing is kept between two. The names are documented in
//! `docs/reference/metrics.md`.

use super::answer::Answer;
use super::serve::{Context, ended, status_of, text};
use hyper::{HeaderMap, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use tutela_core::guard::Target;
use tutela_schema::api::{
    ErrorReply, GuardStatus, Health, InstanceStatus, SinkDrops, SinkState, SinkStatus, State, Verdict,
};

/// Figures of one moment.
#[derive(Debug)]
struct Snapshot {
    status: GuardStatus,
    own: tutela_os::usage::OwnUsage,
    events_dropped: u64,
    commits: u64,
    commits_failed: u64,
}

/// What a scraper that reads OpenMetrics has in its `Accept` header.
const OPEN_METRICS: &str = "application/openmetrics-text";

pub(super) async fn metrics(context: &Context, headers: &HeaderMap) -> Result<Answer, ErrorReply> {
    let status = status_of(context, Target::All, true).await?.status;
    let figures = context.ledger.figures();
    let snapshot = Snapshot {
        status,
        own: tutela_os::usage::own().unwrap_or_default(),
        events_dropped: figures.dropped.load(Ordering::Relaxed),
        commits: figures.commits.load(Ordering::Relaxed),
        commits_failed: figures.failed.load(Ordering::Relaxed),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut body = String::new();
    encode(&mut body, &registry).map_err(|_| ended())?;
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accept| accept.contains(OPEN_METRICS)) {
        return Ok(text("application/openmetrics-text; version=1.0.0; charset=utf-8", body));
    }
    Ok(text("text/plain; version=0.0.4; charset=utf-8", plain(&body)))
}

/// The same figures in the older text format: there a counter is described under the name that its samples
/// have, a unit is not told apart from the name, and nothing marks the end.
fn plain(open: &str) -> String {
    let counters: HashSet<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(open.len());
    for line in open.lines() {
        let (keyword, rest) = match line.strip_prefix("# ").and_then(|line| line.split_once(' ')) {
            Some((keyword @ ("HELP" | "TYPE"), rest)) => (keyword, rest),
            Some(("UNIT", _)) => continue,
            _ if line == "# EOF" => continue,
            _ => {
                out.push_str(line);
                out.push('\n');
                continue;
            }
        };
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let suffix = if counters.contains(name) { "_total" } else { "" };
        out.push_str(&format!("# {keyword} {name}{suffix} {rest}\n"));
    }
    out
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let out = &mut encoder;
        let guard = self.status.name.as_str();
        let own = [("guard", guard)];
        gauge(
            out,
            "tutela_guard_info",
            "The guard's version",
            None,
            &[(vec![("guard", guard), ("version", self.status.version.as_str())], 1.0)],
        )?;
        let since = self.status.since.unix_millis() as f64 / 1000.0;
        let one = |value: f64| [(own.to_vec(), value)];
        gauge(out, "tutela_guard_start_time", "When the guard started, since 1970", Some(Unit::Seconds), &one(since))?;
        gauge(
            out,
            "tutela_guard_memory",
            "Resident memory of the guard",
            Some(Unit::Bytes),
            &one(self.own.memory_bytes as f64),
        )?;
        gauge(out, "tutela_guard_open_files", "Open files of the guard", None, &one(self.own.open_files as f64))?;
        gauge(out, "tutela_guard_threads", "Threads of the guard", None, &one(self.own.threads as f64))?;
        counter(
            out,
            "tutela_guard_cpu",
            "Processor time of the guard",
            Some(Unit::Seconds),
            &one(self.own.cpu.as_secs_f64()),
        )?;
        counter(out, "tutela_ledger_commits", "Commits of the event ledger", None, &one(self.commits as f64))?;
        counter(
            out,
            "tutela_ledger_commits_failed",
            "Failed commits of the event ledger",
            None,
            &one(self.commits_failed as f64),
        )?;
        counter(
            out,
            "tutela_ledger_events_dropped",
            "Events that were not written down because the disk was too slow",
            None,
            &one(self.events_dropped as f64),
        )?;
        self.services(out)?;
        self.sinks(out)
    }
}

impl Snapshot {
    fn sinks(&self, out: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let each = |value: &dyn Fn(&SinkStatus) -> f64| -> Vec<(Labels<'_>, f64)> {
            let base = |sink| vec![("guard", self.status.name.as_str()), ("sink", sink)];
            self.status.sinks.iter().map(|sink| (base(sink.name.as_str()), value(sink))).collect()
        };
        let mut dropped = Vec::new();
        for sink in &self.status.sinks {
            let SinkDrops { overflow, lost, refused } = sink.dropped;
            for (reason, lines) in [("overflow", overflow), ("lost", lost), ("refused", refused)] {
                let labels =
                    vec![("guard", self.status.name.as_str()), ("sink", sink.name.as_str()), ("reason", reason)];
                dropped.push((labels, lines as f64));
            }
        }
        let up = each(&|sink| f64::from(u8::from(sink.state == SinkState::Up)));
        gauge(out, "tutela_sink_up", "Whether the receiver takes what it is sent", None, &up)?;
        let records = each(&|sink| sink.records as f64);
        counter(out, "tutela_sink_records", "Records that the receiver took", None, &records)?;
        let bytes = each(&|sink| sink.bytes as f64);
        counter(out, "tutela_sink_sent", "Messages and fields of those records", Some(Unit::Bytes), &bytes)?;
        let left_out = each(&|sink| sink.left_out as f64);
        counter(out, "tutela_sink_left_out", "Records that the sink's rules left out", None, &left_out)?;
        counter(out, "tutela_sink_dropped", "Lines that did not arrive and should have", None, &dropped)?;
        let backlog = each(&|sink| sink.backlog_bytes as f64);
        gauge(out, "tutela_sink_backlog", "How far the sink is behind", Some(Unit::Bytes), &backlog)
    }

    fn each<'a>(&'a self, value: impl Fn(&'a InstanceStatus) -> Option<f64>) -> Vec<(Labels<'a>, f64)> {
        let guard = self.status.name.as_str();
        let mut out = Vec::new();
        for service in &self.status.services {
            for instance in &service.instances {
                if let Some(value) = value(instance) {
                    out.push((labels(guard, &service.name, &instance.id), value));
                }
            }
        }
        out
    }

    fn services(&self, out: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut states = Vec::new();
        let mut healths = Vec::new();
        let mut probes = Vec::new();
        let mut latencies = Vec::new();
        for service in &self.status.services {
            for instance in &service.instances {
                let base = labels(&self.status.name, &service.name, &instance.id);
                for state in State::ALL {
                    let mut with = base.clone();
                    with.push(("state", state.word()));
                    states.push((with, f64::from(u8::from(instance.state == state))));
                }
                for health in [Health::Up, Health::Down, Health::Degraded, Health::OutOfService, Health::Unknown] {
                    let mut with = base.clone();
                    with.push(("health", health.word()));
                    healths.push((with, f64::from(u8::from(instance.health == health))));
                }
                for probe in &instance.probes {
                    let mut with = base.clone();
                    with.push(("probe", probe.name.as_str()));
                    if let Some(latency) = probe.latency_ms {
                        latencies.push((with.clone(), latency / 1000.0));
                    }
                    probes.push((with, f64::from(u8::from(probe.verdict == Verdict::Pass))));
                }
            }
        }
        gauge(out, "tutela_service_state", "1 for the state that the instance is in", None, &states)?;
        gauge(out, "tutela_service_health", "1 for the health that the instance has", None, &healths)?;
        counter(
            out,
            "tutela_service_restarts",
            "Restarts after an end",
            None,
            &self.each(|it| Some(it.restarts as f64)),
        )?;
        let since = self.each(|it| Some(it.since.unix_millis() as f64 / 1000.0));
        gauge(out, "tutela_service_state_since", "When the state began, since 1970", Some(Unit::Seconds), &since)?;
        let cpu = self.each(|it| it.usage.and_then(|usage| usage.cpu_seconds));
        counter(out, "tutela_service_cpu", "Processor time of the tree of this run", Some(Unit::Seconds), &cpu)?;
        let memory = self.each(|it| it.usage.and_then(|usage| usage.memory_bytes).map(|bytes| bytes as f64));
        gauge(out, "tutela_service_memory", "Memory of the tree", Some(Unit::Bytes), &memory)?;
        let processes = self.each(|it| it.usage.and_then(|usage| usage.processes).map(|count| count as f64));
        gauge(out, "tutela_service_processes", "Processes of the tree", None, &processes)?;
        let files = self.each(|it| it.usage.and_then(|usage| usage.open_files).map(|count| count as f64));
        gauge(out, "tutela_service_open_files", "Open files of the tree", None, &files)?;
        gauge(out, "tutela_probe_passes", "Whether the probe passes", None, &probes)?;
        gauge(out, "tutela_probe_latency", "How long the last answer took", Some(Unit::Seconds), &latencies)
    }
}

fn labels<'a>(guard: &'a str, service: &'a str, id: &'a str) -> Labels<'a> {
    let instance = id.rsplit_once(':').map_or("0", |(_, index)| index);
    vec![("guard", guard), ("service", service), ("instance", instance)]
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    values: &[(Labels<'_>, f64)],
) -> std::fmt::Result {
    family(out, name, help, unit, values, ConstGauge::<f64>::TYPE, |value| Box::new(ConstGauge::new(value)))
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    values: &[(Labels<'_>, f64)],
) -> std::fmt::Result {
    family(out, name, help, unit, values, ConstCounter::<f64>::TYPE, |value| Box::new(ConstCounter::new(value)))
}

fn family(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    values: &[(Labels<'_>, f64)],
    kind: MetricType,
    metric: impl Fn(f64) -> Box<dyn EncodeMetric>,
) -> std::fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = out.encode_descriptor(name, help, unit.as_ref(), kind)?;
    for (labels, value) in values {
        metric(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_describes_a_counter_under_the_name_of_its_samples() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{g=\"# EOF\"} 1.5\n\
                    # HELP b Things of b.\n# TYPE b gauge\nb{g=\"x\"} 2\n# EOF\n";
        assert_eq!(
            plain(open),
            "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total{g=\"# EOF\"} 1.5\n\
             # HELP b Things of b.\n# TYPE b gauge\nb{g=\"x\"} 2\n"
        );
    }
}
