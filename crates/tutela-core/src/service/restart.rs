//! What an end means: restart now, later, after a cool-down, or not at all.

use super::{Cause, Event, Exit, RestartCause, RestartTally, Service, State, Wanted};
use crate::chance::Chance;
use crate::spec::{RestartPolicy, RestartWhen};
use crate::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// What is remembered about an instance's ends, so that it can be judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Restarts after an end, over the instance's whole life, the single tries after a cool-down among them. Only
    /// grows.
    pub restarts: u64,
    /// The same by cause, and those that somebody wished, which are not among [`History::restarts`].
    pub by_cause: RestartTally,
    /// Restarts since the last run that was long enough.
    pub in_a_row: u32,
    /// When the restarts of the window were. At most `burst` of them are kept.
    pub recent: VecDeque<Moment>,
    /// The cool-down that holds.
    pub cooldown_until: Option<Moment>,
    /// Whether the run under way is the single try after a cool-down.
    pub half_open: bool,
}

impl History {
    /// Forgets what speaks against it; the total stays.
    pub(super) fn forgive(&mut self) {
        self.in_a_row = 0;
        self.recent.clear();
        self.cooldown_until = None;
        self.half_open = false;
    }

    pub(crate) fn begin_half_open(&mut self) {
        self.cooldown_until = None;
        self.half_open = true;
        self.restarts = self.restarts.saturating_add(1);
        self.by_cause.count(RestartCause::HalfOpen);
    }
}

/// The wait before restart number `in_a_row` (0 is the first), before chance has its part.
pub(super) fn base_delay(policy: &RestartPolicy, in_a_row: u32) -> Duration {
    if policy.delay.is_zero() {
        return Duration::ZERO;
    }
    let grown = policy.delay.as_secs_f64() * policy.factor.powi(i32::try_from(in_a_row).unwrap_or(i32::MAX));
    // A power can overflow into infinity; the ceiling holds there too.
    if grown >= policy.max_delay.as_secs_f64() { policy.max_delay } else { Duration::from_secs_f64(grown) }
}

fn delay(policy: &RestartPolicy, in_a_row: u32, chance: &mut Chance) -> Duration {
    let base = base_delay(policy, in_a_row);
    if base.is_zero() || policy.jitter == 0.0 {
        return base;
    }
    let swing = policy.jitter * (2.0 * chance.fraction() - 1.0);
    let spread = base.as_secs_f64() * (1.0 + swing).max(0.0);
    if spread >= policy.max_delay.as_secs_f64() { policy.max_delay } else { Duration::from_secs_f64(spread) }
}

impl Service {
    /// The program ended by itself (or had to be ended for being unhealthy), nothing of it is left.
    pub(super) fn judge(&mut self, now: Moment, exit: &Exit, cause: Cause) {
        if self.wanted == Wanted::Down {
            self.set_state(now, State::Stopped, cause);
            return;
        }
        let success = self.is_success(exit);
        match self.spec.restart.when {
            RestartWhen::Never | RestartWhen::OnFailure if success => {
                self.forgive_for_good_conduct();
                return self.set_state(now, State::Done, cause);
            }
            RestartWhen::Never => return self.set_state(now, State::Failed, cause),
            RestartWhen::Always | RestartWhen::OnFailure => {}
        }
        // The run lasted until its program ended; how long its remains took to go is not to its credit.
        let ran_for = self.last_exit.as_ref().map_or(Duration::ZERO, |(_, at)| at.since(self.started));
        if self.ran && ran_for >= self.spec.restart.reset_after {
            self.forgive_for_good_conduct();
        }
        let policy = &self.spec.restart;
        if self.history.half_open {
            let until = now + policy.cooldown;
            self.history.half_open = false;
            self.history.cooldown_until = Some(until);
            self.events.push_back(Event::HalfOpenFailed { until });
            self.set_state(now, State::Cooldown { until }, Cause::HalfOpenFailed(Box::new(cause)));
            return;
        }
        let window_start = now - policy.within;
        self.history.recent.retain(|at| *at > window_start);
        let restarts = u32::try_from(self.history.recent.len()).unwrap_or(u32::MAX);
        if policy.burst > 0 && restarts >= policy.burst {
            let until = now + policy.cooldown;
            let within = policy.within;
            self.history.cooldown_until = Some(until);
            self.events.push_back(Event::Cooldown { restarts, until });
            self.set_state(
                now,
                State::Cooldown { until },
                Cause::CrashLoop { restarts, within, last: Box::new(cause) },
            );
            return;
        }
        if policy.burst > 0 {
            self.history.recent.push_back(now);
        }
        let wait = delay(policy, self.history.in_a_row, &mut self.chance);
        self.history.in_a_row = self.history.in_a_row.saturating_add(1);
        self.history.restarts = self.history.restarts.saturating_add(1);
        self.history.by_cause.count(RestartCause::of_end(&cause, exit, success));
        if wait.is_zero() {
            self.try_start(now, cause);
        } else {
            self.set_state(now, State::Backoff { until: now + wait }, cause);
        }
    }

    /// It did what it should; if that was the half-open try, the crash loop is over.
    fn forgive_for_good_conduct(&mut self) {
        if self.history.half_open {
            self.events.push_back(Event::Recovered);
        }
        self.history.forgive();
    }

    fn is_success(&self, exit: &Exit) -> bool {
        match exit {
            Exit::Code(code) => self.spec.restart.success_codes.contains(code),
            Exit::Signal { .. } | Exit::NotStarted(_) | Exit::Unknown => false,
        }
    }
}
