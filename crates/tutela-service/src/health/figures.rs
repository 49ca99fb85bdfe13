//! Figures of the service itself, and the two text formats of `/metrics`.

use crate::context::Shared;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// What every service of this crate tells.
#[derive(Debug)]
pub(super) struct Own(pub(super) Weak<Shared>);

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let out = &mut encoder;
        let serving = shared.health.get().is_some_and(|health| health.0.serving.load(Ordering::Acquire));
        let stopping = shared.stop.is_raised();
        let began =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(shared.began.elapsed());
        gauge(out, "service_ready", "1 while the service takes work", None, f64::from(u8::from(serving)))?;
        gauge(out, "service_stopping", "1 once the program was told to stop", None, f64::from(u8::from(stopping)))?;
        gauge(
            out,
            "service_start_time",
            "When the service started, since 1970",
            Some(Unit::Seconds),
            began.as_secs_f64(),
        )?;
        let help = "Tracked pieces of work under way";
        let mut by_name =
            out.encode_descriptor("service_work", help, None, prometheus_client::metrics::MetricType::Gauge)?;
        for (name, count) in shared.work.left().iter() {
            let labels = [("work", name)];
            ConstGauge::new(count as f64).encode(by_name.encode_family(&labels)?)?;
        }
        // Not every OS tells all of it; what it does not tell is left out.
        if let Ok(usage) = tutela_os::usage::own() {
            let memory = usage.memory_bytes as f64;
            gauge(out, "process_resident_memory", "Resident memory", Some(Unit::Bytes), memory)?;
            gauge(out, "process_open_fds", "Open files", None, usage.open_files as f64)?;
            gauge(out, "process_threads", "Threads", None, usage.threads as f64)?;
            let cpu = ConstCounter::new(usage.cpu.as_secs_f64());
            let described = out.encode_descriptor(
                "process_cpu",
                "Processor time",
                Some(&Unit::Seconds),
                prometheus_client::metrics::MetricType::Counter,
            )?;
            cpu.encode(described)?;
        }
        Ok(())
    }
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<Unit>, value: f64) -> std::fmt::Result {
    let described = out.encode_descriptor(name, help, unit.as_ref(), prometheus_client::metrics::MetricType::Gauge)?;
    ConstGauge::new(value).encode(described)
}

/// OpenMetrics text as the older format of Prometheus, for those who do not ask for the newer one: no units, no end
/// mark, and a counter is described under the name of its samples.
pub(super) fn older_format(open: &str) -> String {
    let mut older = String::with_capacity(open.len());
    // The help of a family comes before its type, so a counter is only known a line too late.
    let is_counter = |family: &str| open.contains(&format!("# TYPE {family} counter\n"));
    for line in open.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(keyword), Some(family), rest) if is_counter(family) => {
                older.push_str(&format!("# {keyword} {family}_total {}", rest.unwrap_or_default()));
            }
            _ => older.push_str(line),
        }
        older.push('\n');
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_under_the_name_of_its_samples() {
        let open = "# HELP orders Orders taken.\n# TYPE orders counter\norders_total 3\n\
                    # HELP t_seconds Time.\n# TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds 1.0\n# EOF\n";
        let older = "# HELP orders_total Orders taken.\n# TYPE orders_total counter\norders_total 3\n\
                     # HELP t_seconds Time.\n# TYPE t_seconds gauge\nt_seconds 1.0\n";
        assert_eq!(older_format(open), older);
    }
}
