//! Room is made for another guard: nothing is stopped, nothing new is begun, and what was decided is written down.

use super::Conductor;
use super::errands::Out;
use crate::upgrade::Followed;
use crate::upgrade::ask::Leave;
use std::time::Duration;
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_os::process::Signal;
use tutela_os::signals::Sender;

/// How long hooks that run are waited for. The next guard would begin them again.
const HOOKS_WAIT: Duration = Duration::from_secs(10);

/// How long starts that are just being made may take: one takes a millisecond.
const STARTS_WAIT: Duration = Duration::from_millis(500);

/// How long the ledger may take to write down what happened. A disk that hangs does not keep a guard that hangs.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// Somebody waits for this guard to let go.
pub(super) struct Leaving {
    leave: Leave,
    until: Moment,
}

impl Conductor {
    /// This guard has taken over from one that made room for it.
    pub(super) fn follow(&mut self, followed: Followed) {
        let now = clock::now();
        match &self.trial {
            Some(trial) => trial.takes_over(followed, now),
            None => {
                drop(self.identity.upgrade.set(followed.end(now)));
                self.say_upgraded(now);
            }
        }
    }

    /// Lets go as soon as no hook runs.
    pub(super) fn leave_soon(&mut self, now: Moment, leave: Leave) {
        // A guard that ends has nothing to hand over; whoever waits for it is told by its silence.
        if !self.guard.is_ending() {
            self.leaving = Some(Leaving { leave, until: now + HOOKS_WAIT });
        }
    }

    /// What a signal to a trial means when it comes from the process that began it: not what it means to a guard.
    pub(super) fn dismissal(&self, signal: Signal, sender: Option<Sender>) -> Option<Leave> {
        let trial = self.trial.as_ref().filter(|trial| trial.is_parent(sender.map(|sender| sender.pid)))?;
        (signal == Signal::TERM).then(|| trial.dismissal())
    }

    pub(super) fn leaves_at_latest(&self) -> Option<Moment> {
        self.leaving.as_ref().map(|leaving| leaving.until)
    }

    /// What to do now, if it is time.
    pub(super) fn time_to_leave(&mut self, now: Moment) -> Option<Leave> {
        let until = self.leaves_at_latest()?;
        let a_hook_runs = self.errands.values().any(Out::is_hook);
        if self.guard.is_ending() || (a_hook_runs && now < until) {
            return None;
        }
        self.leaving.take().map(|leaving| leaving.leave)
    }

    /// Returns only when it did not work; this guard goes on then.
    pub(super) async fn leave(&mut self, leave: Leave) {
        let halted = self.spawner.halt(STARTS_WAIT);
        let _ = tokio::time::timeout(LEDGER_WAIT, self.ledger.flush()).await;
        let programs = self.guard.instances().filter(|(_, _, service)| service.pid().is_some()).count();
        let why = leave.go(u64::try_from(programs).unwrap_or(u64::MAX));
        drop(halted);
        self.trouble(format!("this guard was to make room for another program and did not: {why}"));
    }
}
