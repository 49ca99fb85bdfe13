//! The machine that asks one question again and again and makes a verdict of the answers.
//!
//! ```text
//!            begin                 poll_ask                 answer
//!   [off] ----------> [resting] -------------> [asking] ------------> [resting] …
//!     ^                                            | no answer in time      |
//!     +--------------------------- end ------------+------------------------+
//! ```
//!
//! A question is never asked while an earlier one is open. A verdict changes only after `failures`
//! failures or `successes` successes in a row. A probe that is told instead of asking (log pattern,
//! notify socket) rests until it is told; a watchdog fails when it is not told in time.
//!
//! Its one caller is [`crate::service`]. Deliberately absent: what is asked, and how.

mod tally;
#[cfg(test)]
mod tests;

pub use tally::{LATENCY_BOUNDS, Tally};

use crate::spec::{ProbeKind, ProbeSpec};
use crate::time::Moment;
use std::time::Duration;

/// The first wait after a refused connection while a program starts. Each further one doubles, up to the
/// probe's own interval: a program that is up in 80 ms is known to be ready within 150 ms, and one that
/// takes minutes costs no more than its interval.
pub const REFUSED_RETRY: Duration = Duration::from_millis(25);

/// How long after a question's own timeout the machine waits for the hands before it answers for them.
pub const HANDS_GRACE: Duration = Duration::from_secs(1);

/// What the answers amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Verdict {
    /// Not enough answers yet.
    #[default]
    Unknown,
    /// Yes.
    Pass,
    /// No.
    Fail,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Pass,
    /// Nobody listens there. While a program starts that is no failure.
    Refused(String),
    /// No, and why.
    Failed(String),
}

/// What may be counted against a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Everything but a pass.
    Strict,
    /// A refused connection is only "not yet".
    Starting,
}

/// A question that has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which question this is; the answer has to bear the same number.
    pub attempt: u64,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// A change of verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is from this moment on.
    pub verdict: Verdict,
    /// The last failure's reason, or empty.
    pub reason: String,
}

/// The machine. See the module's text.
#[derive(Debug, Clone)]
pub struct Probe {
    spec: ProbeSpec,
    /// Told once or pinged: a watchdog fails in silence, other told probes only wait.
    watchdog: bool,
    phase: Phase,
    attempt: u64,
    verdict: Verdict,
    since: Moment,
    passes: u32,
    failures: u32,
    refusals: u32,
    has_passed: bool,
    last_failure: String,
    last_latency: Option<Duration>,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Resting {
        until: Option<Moment>,
    },
    /// `disturbed`: the computer slept meanwhile, so that a no says nothing.
    Asking {
        since: Moment,
        until: Moment,
        disturbed: bool,
    },
}

impl Probe {
    /// A probe that is off.
    pub fn new(spec: ProbeSpec, watchdog: bool) -> Self {
        Probe {
            watchdog: watchdog && spec.target.kind() == ProbeKind::Notify,
            spec,
            phase: Phase::Off,
            attempt: 0,
            verdict: Verdict::Unknown,
            since: Moment::ZERO,
            passes: 0,
            failures: 0,
            refusals: 0,
            has_passed: false,
            last_failure: String::new(),
            last_latency: None,
            tally: Tally::default(),
        }
    }

    /// Begins asking, with a clean slate. `spread` (0 to 1) is the part of the interval by which the first
    /// question is put off, so that a thousand probes are not asked in one instant.
    pub fn begin(&mut self, now: Moment, spread: f64) {
        let first = self.spec.delay.saturating_add(self.spec.every.mul_f64(spread.clamp(0.0, 1.0)));
        self.forget(now);
        self.phase = Phase::Resting { until: self.rest_until(now, first) };
    }

    /// What was answered so far is about a program that is there no longer.
    pub fn forget(&mut self, now: Moment) {
        self.verdict = Verdict::Unknown;
        self.since = now;
        self.passes = 0;
        self.failures = 0;
        self.refusals = 0;
        self.has_passed = false;
        self.last_failure.clear();
    }

    /// Takes over a verdict that an earlier guard came to. With `spread` it goes on asking, as after
    /// [`Probe::begin`], but does not wait for a program that has answered before to come up.
    pub fn take_back(&mut self, now: Moment, spread: Option<f64>, verdict: Verdict, since: Moment, reason: String) {
        if let Some(spread) = spread {
            self.begin(now, spread);
            if verdict != Verdict::Unknown {
                let first = self.spec.every.mul_f64(spread.clamp(0.0, 1.0));
                self.phase = Phase::Resting { until: self.rest_until(now, first) };
            }
        }
        self.verdict = verdict;
        self.since = since.min(now);
        self.has_passed = verdict == Verdict::Pass;
        self.last_failure = reason;
    }

    /// Stops asking. An answer under way is forgotten.
    pub fn end(&mut self) {
        self.phase = Phase::Off;
    }

    /// Whether it asks or waits to be told.
    pub fn is_on(&self) -> bool {
        self.phase != Phase::Off
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether there was a yes since it began, enough for a verdict or not.
    pub fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Since when the verdict holds.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// The reason of the last failure; empty when there was none since it began.
    pub fn last_failure(&self) -> &str {
        &self.last_failure
    }

    /// How long the last answer took.
    pub fn last_latency(&self) -> Option<Duration> {
        self.last_latency
    }

    /// What came of its questions, over all runs.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What it asks.
    pub fn spec(&self) -> &ProbeSpec {
        &self.spec
    }

    /// How long a watchdog stays content without a ping; `None` for other probes.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.then(|| self.spec.every.saturating_mul(self.spec.failures))
    }

    /// Takes other intervals, thresholds or another target, while it runs.
    pub fn handle_spec(&mut self, now: Moment, spec: ProbeSpec) {
        if self.spec == spec {
            return;
        }
        let was_watchdog_capable = self.watchdog;
        self.watchdog = was_watchdog_capable && spec.target.kind() == ProbeKind::Notify;
        let target_changed = self.spec.target != spec.target;
        self.spec = spec;
        if target_changed {
            if self.is_on() {
                self.begin(now, 0.0);
            }
        } else if let Phase::Resting { until: Some(until) } = self.phase {
            let latest = now + self.spec.every;
            self.phase = Phase::Resting { until: Some(until.min(latest)) };
        }
    }

    /// Takes the answer to question `attempt`. Answers `None` when the verdict stays, or when the answer is
    /// to a question that is no longer open.
    pub fn handle_answer(
        &mut self,
        now: Moment,
        attempt: u64,
        outcome: Outcome,
        took: Duration,
        strictness: Strictness,
    ) -> Option<Change> {
        let Phase::Asking { since, disturbed, .. } = self.phase else { return None };
        if attempt != self.attempt {
            return None;
        }
        if disturbed && outcome != Outcome::Pass {
            // It is asked again at once.
            self.phase = Phase::Resting { until: Some(now) };
            return None;
        }
        self.last_latency = Some(took);
        self.tally.took(took);
        match &outcome {
            Outcome::Pass => self.tally.passes += 1,
            Outcome::Refused(_) => self.tally.refusals += 1,
            Outcome::Failed(_) => self.tally.failures += 1,
        }
        self.settle(now, since, outcome, strictness)
    }

    /// Is told a yes: a log line matched, `READY=1` or `WATCHDOG=1` came.
    pub fn handle_told(&mut self, now: Moment) -> Option<Change> {
        if !self.is_on() || !self.spec.target.is_passive() {
            return None;
        }
        self.phase = Phase::Resting { until: self.rest_until(now, Duration::ZERO) };
        self.tally.passes += 1;
        // Who says so has thought about it: one word is enough, whatever `successes` asks of questions.
        self.passes = self.spec.successes.max(1) - 1;
        self.count(now, Ok(()))
    }

    /// Acts on a deadline that has passed: a question that nobody answered, a watchdog that nobody fed.
    pub fn handle_timeout(&mut self, now: Moment, strictness: Strictness) -> Option<Change> {
        match self.phase {
            Phase::Asking { since, until, .. } if until <= now => {
                let reason = format!("no answer within {}", Seconds(self.spec.timeout));
                self.tally.failures += 1;
                self.tally.took(self.spec.timeout);
                self.settle(now, since, Outcome::Failed(reason), strictness)
            }
            Phase::Resting { until: Some(until) } if until <= now && self.watchdog => {
                self.phase = Phase::Resting { until: None };
                self.failures = self.spec.failures.max(1) - 1;
                self.tally.failures += 1;
                let silent = self.watchdog_interval().unwrap_or_default();
                self.count(now, Err(format!("no WATCHDOG=1 for {}", Seconds(silent))))
            }
            Phase::Off | Phase::Resting { .. } | Phase::Asking { .. } => None,
        }
    }

    /// The computer slept for `slept`: time in which nobody could have answered. A question that was open is asked again
    /// where its answer is no: whoever waited for it has slept over its bound.
    pub fn handle_suspended(&mut self, slept: Duration) {
        self.phase = match self.phase {
            Phase::Asking { since, until, .. } => {
                Phase::Asking { since: since + slept, until: until + slept, disturbed: true }
            }
            Phase::Resting { until: Some(until) } if self.watchdog => Phase::Resting { until: Some(until + slept) },
            other @ (Phase::Off | Phase::Resting { .. }) => other,
        };
    }

    /// The question to ask now, once.
    pub fn poll_ask(&mut self, now: Moment) -> Option<Ask> {
        match self.phase {
            Phase::Resting { until: Some(until) } if until <= now && !self.watchdog => {
                self.attempt += 1;
                let until = now + self.spec.timeout + HANDS_GRACE;
                self.phase = Phase::Asking { since: now, until, disturbed: false };
                Some(Ask { attempt: self.attempt, timeout: self.spec.timeout })
            }
            Phase::Off | Phase::Resting { .. } | Phase::Asking { .. } => None,
        }
    }

    /// The next moment at which it wants to be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        match self.phase {
            Phase::Off => None,
            Phase::Resting { until } => until,
            Phase::Asking { until, .. } => Some(until),
        }
    }

    fn settle(&mut self, now: Moment, asked: Moment, outcome: Outcome, strictness: Strictness) -> Option<Change> {
        let next = asked + self.spec.every;
        self.phase = Phase::Resting { until: Some(next.max(now)) };
        match outcome {
            Outcome::Pass => {
                self.refusals = 0;
                self.count(now, Ok(()))
            }
            Outcome::Refused(reason) if strictness == Strictness::Starting => {
                let wait = REFUSED_RETRY * 2u32.saturating_pow(self.refusals.min(16));
                self.refusals += 1;
                self.last_failure = reason;
                self.phase = Phase::Resting { until: Some(now + wait.min(self.spec.every)) };
                None
            }
            Outcome::Refused(reason) | Outcome::Failed(reason) => self.count(now, Err(reason)),
        }
    }

    fn count(&mut self, now: Moment, answer: Result<(), String>) -> Option<Change> {
        let (enough, verdict) = match answer {
            Ok(()) => {
                self.failures = 0;
                self.has_passed = true;
                self.passes = self.passes.saturating_add(1);
                (self.passes >= self.spec.successes, Verdict::Pass)
            }
            Err(reason) => {
                self.passes = 0;
                self.failures = self.failures.saturating_add(1);
                self.last_failure = reason;
                (self.failures >= self.spec.failures, Verdict::Fail)
            }
        };
        if !enough || self.verdict == verdict {
            return None;
        }
        self.verdict = verdict;
        self.since = now;
        let reason = if verdict == Verdict::Fail { self.last_failure.clone() } else { String::new() };
        Some(Change { verdict, reason })
    }

    fn rest_until(&self, now: Moment, first: Duration) -> Option<Moment> {
        match self.watchdog_interval() {
            Some(interval) => Some(now + interval),
            None if self.spec.target.is_passive() => None,
            None => Some(now + first),
        }
    }
}

/// A span of time as people read it in a reason: `2s`, `1.5s`, `250ms`.
pub(crate) struct Seconds(pub Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis();
        if millis < 1000 {
            write!(f, "{millis}ms")
        } else if millis.is_multiple_of(1000) {
            let seconds = millis / 1000;
            match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
                (0, 0, s) => write!(f, "{s}s"),
                (0, m, 0) => write!(f, "{m}m"),
                (0, m, s) => write!(f, "{m}m {s}s"),
                (h, 0, 0) => write!(f, "{h}h"),
                (h, m, s) => write!(f, "{h}h {m}m {s}s"),
            }
        } else {
            write!(f, "{:.1}s", self.0.as_secs_f64())
        }
    }
}
