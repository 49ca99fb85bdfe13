//! What the conductor knows that is counted rather than told: for `/metrics` and for who is sent figures.

use super::view::Dial;
use super::{Conductor, StatusAnswer};
use std::time::Duration;
use tutela_core::guard::Target;
use tutela_core::probe::Tally;
use tutela_core::service::{RestartTally, Service};
use tutela_logs::CaptureStatus;
use tutela_schema::wall::WallTime;

/// The upper bounds of the buckets that turns are counted in; one more is without bound. A turn takes some ten
/// microseconds; one of many milliseconds delays the restart of everything else.
pub const TURN_BOUNDS: [Duration; 9] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// How long the conductor's turns took, counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    /// Turns by how long they took; not added up.
    pub buckets: [u64; TURN_BOUNDS.len() + 1],
    /// How long all of them took together.
    pub took: Duration,
}

impl Turns {
    pub(super) fn took(&mut self, took: Duration) {
        let bucket = TURN_BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(TURN_BOUNDS.len());
        self.buckets[bucket] += 1;
        self.took = self.took.saturating_add(took);
    }
}

/// Everything that figures are made of and that the conductor has.
#[derive(Debug)]
pub struct FiguresAnswer {
    /// The status, and the trees to measure.
    pub status: StatusAnswer,
    /// What is counted of each instance, in the status's order.
    pub instances: Vec<InstanceFigures>,
    /// How long turns took.
    pub turns: Turns,
    /// Events so far, by the word of their kind.
    pub events: Vec<(String, u64)>,
    /// Alerts that have not arrived.
    pub alerts_pending: usize,
    /// Alerts that had to make room for newer ones.
    pub alerts_dropped: u64,
}

/// What is counted of an instance.
#[derive(Debug)]
pub struct InstanceFigures {
    /// When the program that runs was started; `None`: none runs.
    pub started: Option<WallTime>,
    /// Restarts by their cause.
    pub restarts: RestartTally,
    /// Each probe, in the status's order.
    pub probes: Vec<ProbeFigures>,
    /// What became of its output; `None`: it never ran under this guard.
    pub output: Option<CaptureStatus>,
}

/// What is counted of a probe.
#[derive(Debug)]
pub struct ProbeFigures {
    /// Whether it is told rather than asked, so that its answers take no time.
    pub is_told: bool,
    /// Its answers.
    pub tally: Tally,
}

impl Conductor {
    pub(super) fn figures(&self) -> FiguresAnswer {
        let status = self.status_of_any(&Target::All);
        let dial = Dial::read();
        let instances = self
            .guard
            .spec()
            .services
            .keys()
            .flat_map(|service| self.guard.instances_of(service))
            .map(|(key, _, service)| InstanceFigures {
                started: service.pid().map(|_| dial.wall(service.started())),
                restarts: service.history().by_cause,
                probes: probes(service),
                output: self.outputs.get(&key).map(tutela_logs::CaptureCounters::read),
            })
            .collect();
        FiguresAnswer {
            status,
            instances,
            turns: self.turns,
            events: self.events.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            alerts_pending: self.alerts.outbox.pending().count(),
            alerts_dropped: self.alerts.outbox.dropped(),
        }
    }
}

fn probes(service: &Service) -> Vec<ProbeFigures> {
    let figures = |probe: &tutela_core::probe::Probe| ProbeFigures {
        is_told: probe.spec().target.is_passive(),
        tally: probe.tally().clone(),
    };
    service.probes().map(|(_, _, _, probe)| figures(probe)).collect()
}
