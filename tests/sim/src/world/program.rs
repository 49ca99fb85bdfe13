//! How programs behave, drawn anew for each life: most of them well, each of them wrong in its own way.

use crate::dice::Dice;
use std::time::Duration;
use tutela_core::reload::watchdog_interval;
use tutela_core::service::{Exit, Notice};
use tutela_core::spec::{RestartWhen, ServiceSpec, StopStep};

/// What one life of a program is going to do.
#[derive(Debug, Clone)]
pub struct Program {
    /// When it begins to listen, says `READY=1` and prints the line that log probes wait for.
    pub listens: Option<Duration>,
    /// When it begins to answer probes with failures.
    pub sickens: Option<Duration>,
    /// In how many of a hundred cases a healthy one answers with a failure.
    pub flaky: u64,
    /// When and how it ends by itself.
    pub ends: Option<(Duration, Exit)>,
    /// How often it feeds its watchdog.
    pub pings: Option<Duration>,
    /// What it says once, and when.
    pub says: Option<(Duration, Notice)>,
    /// How long after a request it ends; `None`: it ignores requests.
    pub obeys: Option<Duration>,
    /// Whether it obeys only the last kind of request of a ladder.
    pub deaf_to_first: bool,
    /// Its descendants.
    pub children: Vec<Child>,
}

/// A descendant of the main process.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its number.
    pub pid: u32,
    /// How long after a request it ends; `None`: it ignores requests.
    pub obeys: Option<Duration>,
    /// How long it outlives a kill: stuck in the kernel.
    pub stuck: Duration,
    /// Whether it ends with the main process by itself.
    pub follows: bool,
}

/// A signal's end, as the hands report it.
pub fn killed(number: i32, name: &str) -> Exit {
    Exit::Signal { number, name: name.to_owned(), core_dumped: false, oom: false }
}

impl Program {
    /// One of a bad day.
    pub fn wild(dice: &mut Dice, spec: &ServiceSpec, pid: u32) -> Self {
        let listens = match dice.below(20) {
            0..=1 => None,
            2..=4 => Some(dice.millis(1_000, 25_000)),
            _ => Some(dice.millis(0, 400)),
        };
        let ends = match dice.below(10) {
            0..=1 => Some((dice.millis(0, 50), exit(dice))),
            2..=3 => Some((dice.millis(50, 5_000), exit(dice))),
            4..=6 => Some((dice.millis(5_000, 120_000), exit(dice))),
            _ => None,
        };
        let says = dice.percent(10).then(|| {
            let what = match dice.below(6) {
                0 => Notice::WatchdogTrigger,
                1 => Notice::Stopping,
                2 => Notice::Reloading,
                3 => Notice::Status("busy".to_owned()),
                _ => Notice::ExtendTimeout(dice.millis(0, 30_000)),
            };
            (dice.millis(0, 20_000), what)
        });
        let children = (0..if dice.percent(25) { dice.between(1, 3) } else { 0 }).map(|number| Child {
            pid: pid + 1 + u32::try_from(number).unwrap_or(0),
            obeys: dice.percent(60).then(|| dice.millis(0, 3_000)),
            stuck: if dice.percent(5) { dice.millis(0, 20_000) } else { Duration::ZERO },
            follows: dice.percent(40),
        });
        let children = children.collect();
        Program {
            listens,
            sickens: dice.percent(15).then(|| dice.millis(1_000, 60_000)),
            flaky: if dice.percent(20) { dice.between(1, 50) } else { 0 },
            ends,
            pings: pings(spec).filter(|_| !dice.percent(20)),
            says,
            obeys: match dice.below(10) {
                0..=1 => None,
                2..=3 => Some(dice.millis(100, 8_000)),
                _ => Some(dice.millis(0, 100)),
            },
            deaf_to_first: dice.percent(15),
            children,
        }
    }

    /// One that does what it should. A job that may end well does so; everything else serves for ever.
    pub fn tame(dice: &mut Dice, spec: &ServiceSpec) -> Self {
        let is_job = spec.restart.when != RestartWhen::Always && spec.restart.success_codes.contains(&0);
        Program {
            listens: Some(dice.millis(0, 100)),
            sickens: None,
            flaky: 0,
            // Longer than any ready probe takes to notice: a job whose readiness is asked for says so first.
            ends: (is_job && dice.percent(20)).then(|| (dice.millis(40_000, 60_000), Exit::Code(0))),
            pings: pings(spec),
            says: None,
            obeys: Some(dice.millis(0, 100)),
            deaf_to_first: false,
            children: Vec::new(),
        }
    }

    /// Whether it ends for this request.
    pub fn hears(&self, step: &StopStep) -> bool {
        match step {
            StopStep::Signal(name) => !(self.deaf_to_first && name == "TERM"),
            StopStep::CtrlC | StopStep::CtrlBreak | StopStep::CloseWindow => !self.deaf_to_first,
            StopStep::Command(_) | StopStep::Kill => true,
        }
    }
}

fn pings(spec: &ServiceSpec) -> Option<Duration> {
    watchdog_interval(spec).map(|interval| interval / 3)
}

fn exit(dice: &mut Dice) -> Exit {
    match dice.below(6) {
        0 => Exit::Code(0),
        1 => Exit::Code(3),
        2 => killed(9, "SIGKILL"),
        3 => Exit::Unknown,
        _ => Exit::Code(1),
    }
}
