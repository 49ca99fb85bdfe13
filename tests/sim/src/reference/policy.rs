//! What has to follow an end, computed from the policy's text: by repeated multiplication and a list of moments.

use super::{End, Model};
use std::time::Duration;
use tutela_core::service::{Exit, StateName};
use tutela_core::spec::{RestartPolicy, RestartWhen};
use tutela_core::time::Moment;

/// What has to follow an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// This state, which has no deadline.
    Final(StateName),
    /// A start in the same moment, or the wait for needs.
    Start,
    /// A wait that ends between these.
    Backoff(Moment, Moment),
    /// A cool-down that ends then.
    Cooldown(Moment),
}

/// Float arithmetic of two roads to one number may differ by this much.
const ROUNDING: Duration = Duration::from_micros(1);

impl Model {
    pub(super) fn forgive(&mut self) {
        self.in_a_row = 0;
        self.recent.clear();
        self.cooldown_until = None;
        self.half_open = false;
    }

    /// What has to follow the end of this run, and takes note of it.
    pub(super) fn judge(&mut self, now: Moment) -> Follows {
        if !self.wanted {
            return Follows::Final(StateName::Stopped);
        }
        if self.again {
            return Follows::Start;
        }
        let policy = self.spec.restart.clone();
        let well = match &self.end {
            Some(End::Exited(Exit::Code(code))) => policy.success_codes.contains(code),
            Some(End::Exited(Exit::Signal { .. } | Exit::NotStarted(_) | Exit::Unknown) | End::Failed) | None => false,
        };
        if well && policy.when != RestartWhen::Always {
            self.forgive();
            return Follows::Final(StateName::Done);
        }
        if policy.when == RestartWhen::Never {
            return Follows::Final(StateName::Failed);
        }
        if self.ran && self.ended.since(self.started) >= policy.reset_after {
            self.forgive();
        }
        if self.half_open {
            return self.cool_down(now, &policy);
        }
        self.recent.retain(|at| now.since(*at) < policy.within);
        if policy.burst > 0 && self.recent.len() >= policy.burst as usize {
            return self.cool_down(now, &policy);
        }
        if policy.burst > 0 {
            self.recent.push(now);
        }
        let mut wait = policy.delay.as_secs_f64();
        let ceiling = policy.max_delay.as_secs_f64();
        for _ in 0..self.in_a_row.min(10_000) {
            wait = (wait * policy.factor).min(ceiling);
        }
        let wait = wait.min(ceiling);
        self.in_a_row += 1;
        self.restarts += 1;
        if policy.delay.is_zero() {
            return Follows::Start;
        }
        let shortest = Duration::from_secs_f64(wait * (1.0 - policy.jitter).max(0.0));
        let longest = Duration::from_secs_f64((wait * (1.0 + policy.jitter)).min(ceiling));
        Follows::Backoff(now + shortest.saturating_sub(ROUNDING), now + longest + ROUNDING)
    }

    fn cool_down(&mut self, now: Moment, policy: &RestartPolicy) -> Follows {
        self.half_open = false;
        let until = now + policy.cooldown;
        self.cooldown_until = Some(until);
        Follows::Cooldown(until)
    }
}
