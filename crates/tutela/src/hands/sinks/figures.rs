//! What sinks count, in the guard's figures.

use super::desk::Sinks;
use crate::figures::{Collect, Families, Labels, Unit};
use tutela_schema::api::{SinkDrops, SinkState, SinkStatus};

impl Collect for Sinks {
    fn collect<'a>(&'a self, out: &mut Families<'a>) {
        let sinks = self.status();
        let of = |sink: &SinkStatus| Labels::guard().and("sink", sink.name.clone());
        let mut up = out.gauge("tutela_sink_up", None, "Whether the receiver takes what it is sent");
        for sink in &sinks {
            up.count(of(sink), u64::from(sink.state == SinkState::Up));
        }
        type Read = fn(&SinkStatus) -> u64;
        let counters: [(&'static str, Option<Unit>, &'static str, Read); 3] = [
            ("tutela_sink_records", None, "Records that the receiver took", |sink| sink.records),
            ("tutela_sink_sent", Some(Unit::Bytes), "Messages and fields of those records", |sink| sink.bytes),
            ("tutela_sink_left_out", None, "Records that the sink's rules left out", |sink| sink.left_out),
        ];
        for (name, unit, help, read) in counters {
            let mut counter = out.counter(name, unit, help);
            for sink in &sinks {
                // Kept over the guard's own restarts: nobody knows since when.
                counter.add_since(of(sink), crate::figures::whole(read(sink)), None);
            }
        }
        let mut dropped = out.counter("tutela_sink_dropped", None, "Lines that did not arrive and should have");
        for sink in &sinks {
            let SinkDrops { overflow, lost, refused } = sink.dropped;
            for (reason, lines) in [("overflow", overflow), ("lost", lost), ("refused", refused)] {
                dropped.add_since(of(sink).and("reason", reason), crate::figures::whole(lines), None);
            }
        }
        let mut backlog = out.gauge("tutela_sink_backlog", Some(Unit::Bytes), "How far the sink is behind");
        for sink in &sinks {
            backlog.count(of(sink), sink.backlog_bytes);
        }
    }
}
