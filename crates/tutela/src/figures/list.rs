//! Every family that the guard has by itself, in the order in which they are shown.

use super::{Families, Labels, Snapshot, Unit, Value, whole};
use crate::conductor::{InstanceFigures, TURN_BOUNDS};
use tutela_core::probe::LATENCY_BOUNDS;
use tutela_core::service::RestartCause;
use tutela_schema::api::{Health, InstanceStatus, SinkDrops, SinkState, SinkStatus, State, Verdict};

/// An instance with everything that is known of it.
type Each<'a> = (Labels<'a>, &'a InstanceStatus, &'a InstanceFigures);

impl Snapshot {
    /// Every family, those of other parts last.
    pub fn families(&self) -> Families<'_> {
        let status = &self.answer.status.status;
        let since = status.since.unix_millis();
        let mut out = Families { guard: &status.name, at: self.at, since, list: Vec::new() };
        self.guard(&mut out);
        let each = self.each();
        states(&mut out, &each);
        usage(&mut out, &each);
        probes(&mut out, &each);
        output(&mut out, &each);
        sinks(&mut out, &status.sinks);
        for part in &self.more {
            part.collect(&mut out);
        }
        out
    }

    fn each(&self) -> Vec<Each<'_>> {
        let services = self.answer.status.status.services.iter();
        let instances = services.flat_map(|service| service.instances.iter().map(move |it| (service, it)));
        instances
            .zip(&self.answer.instances)
            .map(|((service, it), figures)| {
                let index = it.id.rsplit_once(':').map_or("0", |(_, index)| index);
                (Labels::instance(&service.name, index), it, figures)
            })
            .collect()
    }

    fn guard<'a>(&'a self, out: &mut Families<'a>) {
        let status = &self.answer.status.status;
        let (own, of) = (&self.own, Labels::guard);
        out.gauge("tutela_guard_info", None, "The guard's version").add(of().and("version", &*status.version), 1.0);
        let since = seconds(status.since.unix_millis());
        out.gauge("tutela_guard_start_time", Some(Unit::Seconds), "When the guard started, since 1970")
            .add(of(), since);
        out.gauge("tutela_guard_memory", Some(Unit::Bytes), "Resident memory of the guard")
            .count(of(), own.memory_bytes);
        out.gauge("tutela_guard_open_files", None, "Open files of the guard").count(of(), own.open_files);
        out.gauge("tutela_guard_threads", None, "Threads of the guard").count(of(), own.threads);
        let cpu = own.cpu.as_secs_f64();
        out.counter("tutela_guard_cpu", Some(Unit::Seconds), "Processor time of the guard").add(of(), cpu);
        let turns = &self.answer.turns;
        out.histogram("tutela_guard_turn", "How long the guard's turns took, each of which handles what has happened")
            .put(of(), Value::histogram(&TURN_BOUNDS, &turns.buckets, turns.took));
        let mut events = out.counter("tutela_guard_events", None, "Events since the guard started, by kind");
        for (kind, count) in &self.answer.events {
            events.count(of().and("kind", &**kind), *count);
        }
        out.counter("tutela_ledger_commits", None, "Commits of the event ledger").count(of(), self.commits);
        out.counter("tutela_ledger_commits_failed", None, "Failed commits of the event ledger")
            .count(of(), self.commits_failed);
        out.gauge(
            "tutela_ledger_last_commit",
            Some(Unit::Seconds),
            "How long the last commit of the event ledger took",
        )
        .add(of(), whole(self.commit_micros) / 1e6);
        let lost = "Events that were not written down because the disk was too slow";
        out.counter("tutela_ledger_events_dropped", None, lost).count(of(), self.events_dropped);
        let pending = u64::try_from(self.answer.alerts_pending).unwrap_or(u64::MAX);
        out.gauge("tutela_alerts_pending", None, "Alerts that have not arrived yet").count(of(), pending);
        out.counter("tutela_alerts_dropped", None, "Alerts that made room for newer ones")
            .count(of(), self.answer.alerts_dropped);
        self.pushes.collect(out);
    }
}

fn states<'a>(out: &mut Families<'a>, each: &[Each<'a>]) {
    let mut states = out.gauge("tutela_service_state", None, "1 for the state that the instance is in");
    for (of, it, _) in each {
        for state in State::ALL {
            states.count(of.clone().and("state", state.word()), u64::from(it.state == state));
        }
    }
    let mut healths = out.gauge("tutela_service_health", None, "1 for the health that the instance has");
    for (of, it, _) in each {
        for health in [Health::Up, Health::Down, Health::Degraded, Health::OutOfService, Health::Unknown] {
            healths.count(of.clone().and("health", health.word()), u64::from(it.health == health));
        }
    }
    let mut since = out.gauge("tutela_service_state_since", Some(Unit::Seconds), "When the state began, since 1970");
    for (of, it, _) in each {
        since.add(of.clone(), seconds(it.since.unix_millis()));
    }
    let mut restarts =
        out.counter("tutela_service_restarts", None, "Restarts after an end, since the first start ever");
    for (of, it, _) in each {
        restarts.add_since(of.clone(), whole(it.restarts), None);
    }
    let by_cause = "Restarts by cause, those that somebody asked for among them, since the first start ever";
    let mut by_cause = out.counter("tutela_service_restarts_by_cause", None, by_cause);
    for (of, _, figures) in each {
        for cause in RestartCause::ALL {
            by_cause.add_since(of.clone().and("cause", cause.word()), whole(figures.restarts.of(cause)), None);
        }
    }
    let started = "When the program that runs was started, since 1970";
    let mut started = out.gauge("tutela_service_start_time", Some(Unit::Seconds), started);
    for (of, _, figures) in each {
        if let Some(at) = figures.started {
            started.add(of.clone(), seconds(at.unix_millis()));
        }
    }
    let now = out.at;
    let mut uptime = out.gauge("tutela_service_uptime", Some(Unit::Seconds), "How long the program has been running");
    for (of, _, figures) in each {
        if let Some(at) = figures.started {
            // Two readings of a clock that may be set back between them.
            uptime.add(of.clone(), seconds(now.saturating_sub(at.unix_millis()).max(0)));
        }
    }
}

fn usage<'a>(out: &mut Families<'a>, each: &[Each<'a>]) {
    let mut cpu = out.counter("tutela_service_cpu", Some(Unit::Seconds), "Processor time of the tree of this run");
    for (of, it, figures) in each {
        if let Some(seconds) = it.usage.and_then(|usage| usage.cpu_seconds) {
            cpu.add_since(of.clone(), seconds, figures.started.map(|at| at.unix_millis()));
        }
    }
    type Read = fn(&tutela_schema::api::Usage) -> Option<u64>;
    let gauges: [(&'static str, Option<Unit>, &'static str, Read); 4] = [
        ("tutela_service_memory", Some(Unit::Bytes), "Memory of the tree", |usage| usage.memory_bytes),
        ("tutela_service_processes", None, "Processes of the tree", |usage| usage.processes),
        ("tutela_service_threads", None, "Threads of the tree", |usage| usage.threads),
        ("tutela_service_open_files", None, "Open files of the tree", |usage| usage.open_files),
    ];
    for (name, unit, help, read) in gauges {
        let mut gauge = out.gauge(name, unit, help);
        for (of, it, _) in each {
            if let Some(value) = it.usage.as_ref().and_then(read) {
                gauge.count(of.clone(), value);
            }
        }
    }
}

fn probes<'a>(out: &mut Families<'a>, each: &[Each<'a>]) {
    let of_probes = || {
        each.iter().flat_map(|(of, it, figures)| {
            let probes = it.probes.iter().zip(&figures.probes);
            probes.map(move |(probe, figures)| (of.clone().and("probe", &*probe.name), probe, figures))
        })
    };
    let mut passes = out.gauge("tutela_probe_passes", None, "Whether the probe passes");
    for (of, probe, _) in of_probes() {
        passes.count(of, u64::from(probe.verdict == Verdict::Pass));
    }
    let mut results = out.counter("tutela_probe_results", None, "Answers of the probe");
    for (of, _, figures) in of_probes() {
        let tally = &figures.tally;
        for (result, count) in [("pass", tally.passes), ("fail", tally.failures), ("refused", tally.refusals)] {
            results.count(of.clone().and("result", result), count);
        }
    }
    let mut latency = out.gauge("tutela_probe_latency", Some(Unit::Seconds), "How long the last answer took");
    for (of, probe, _) in of_probes() {
        if let Some(millis) = probe.latency_ms {
            latency.add(of, millis / 1000.0);
        }
    }
    let mut durations = out.histogram("tutela_probe_duration", "How long the answers of the probe took");
    for (of, _, figures) in of_probes().filter(|(_, _, figures)| !figures.is_told) {
        durations.put(of, Value::histogram(&LATENCY_BOUNDS, &figures.tally.buckets, figures.tally.took));
    }
}

fn output<'a>(out: &mut Families<'a>, each: &[Each<'a>]) {
    type Read = fn(&tutela_logs::CaptureStatus) -> u64;
    let counters: [(&'static str, Option<Unit>, &'static str, Read); 4] = [
        ("tutela_log", Some(Unit::Bytes), "Bytes of output that are in log files", |it| it.bytes),
        ("tutela_log_lines", None, "Lines of output that are in log files", |it| it.lines),
        ("tutela_log_dropped", Some(Unit::Bytes), "Bytes of output that the disk refused", |it| it.dropped_bytes),
        ("tutela_log_dropped_lines", None, "Lines of output that the disk refused", |it| it.dropped_lines),
    ];
    for (name, unit, help, read) in counters {
        let mut counter = out.counter(name, unit, help);
        for (of, _, figures) in each {
            if let Some(output) = &figures.output {
                counter.count(of.clone(), read(output));
            }
        }
    }
}

fn sinks<'a>(out: &mut Families<'a>, sinks: &'a [SinkStatus]) {
    let of = |sink: &'a SinkStatus| Labels::guard().and("sink", sink.name.as_str());
    let mut up = out.gauge("tutela_sink_up", None, "Whether the receiver takes what it is sent");
    for sink in sinks {
        up.count(of(sink), u64::from(sink.state == SinkState::Up));
    }
    type Read = fn(&SinkStatus) -> u64;
    let counters: [(&'static str, Option<Unit>, &'static str, Read); 3] = [
        ("tutela_sink_records", None, "Records that the receiver took", |it| it.records),
        ("tutela_sink_sent", Some(Unit::Bytes), "Messages and fields of those records", |it| it.bytes),
        ("tutela_sink_left_out", None, "Records that the sink's rules left out", |it| it.left_out),
    ];
    for (name, unit, help, read) in counters {
        let mut counter = out.counter(name, unit, help);
        for sink in sinks {
            counter.count(of(sink), read(sink));
        }
    }
    let mut dropped = out.counter("tutela_sink_dropped", None, "Lines that did not arrive and should have");
    for sink in sinks {
        let SinkDrops { overflow, lost, refused } = sink.dropped;
        for (reason, lines) in [("overflow", overflow), ("lost", lost), ("refused", refused)] {
            dropped.count(of(sink).and("reason", reason), lines);
        }
    }
    let mut backlog = out.gauge("tutela_sink_backlog", Some(Unit::Bytes), "How far the sink is behind");
    for sink in sinks {
        backlog.count(of(sink), sink.backlog_bytes);
    }
}

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
fn seconds(unix_millis: i64) -> f64 {
    unix_millis as f64 / 1000.0
}
