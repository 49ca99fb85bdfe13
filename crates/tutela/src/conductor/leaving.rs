//! Room is made for another guard: nothing is stopped, nothing new is begun, and what was decided is written down.
//!
//! What the next guard would begin a second time is waited for. If that takes too long the guard stays, and says why. What
//! only waits for an answer is waited for too, and then left: what was asked for goes on under the next guard.

use super::Conductor;
use super::errands::Out;
use crate::upgrade::Followed;
use crate::upgrade::ask::Leave;
use std::time::Duration;
use tutela_core::service::StateName;
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_os::process::Signal;
use tutela_os::signals::Sender;
use tutela_schema::api::{UpgradeInfo, UpgradeOutcome, UpgradeReply};

/// How long is waited for a moment in which nothing would be begun twice: no hook runs, none has run whose program is not
/// there yet, and what they wrote is read. And for commands that somebody waits for.
const HOOKS_WAIT: Duration = Duration::from_secs(10);

/// The same on trial. Whoever dismisses a trial ends it by force after 2 s; what it does then has to fit in as well.
const DISMISSED_WAIT: Duration = Duration::from_millis(200);

/// How often is looked whether that moment is there: output is read by others, who do not say when they have.
const LOOK: Duration = Duration::from_millis(5);

/// How long starts that are just being made may take: one takes a millisecond.
const STARTS_WAIT: Duration = Duration::from_millis(500);

/// How long the ledger may take to write down what happened. A disk that hangs does not keep a guard that hangs.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// How long what is being read may take to be with the console and in the files. A disk that hangs does not keep a guard.
const PUMPS_WAIT: Duration = Duration::from_millis(200);

/// How long the console may take to show what it has: longer than any but one that stands still.
const CONSOLE_WAIT: Duration = Duration::from_millis(500);

/// Somebody waits for this guard to let go.
pub(super) struct Leaving {
    leave: Leave,
    until: Moment,
}

/// Why it does not let go at once.
#[derive(Debug, PartialEq, Eq)]
enum Hold {
    /// The next guard would begin this again.
    Twice(String),
    /// Somebody waits for the end of what goes on in any case.
    Wait,
}

/// What becomes of a guard that is to let go.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
    GiveUp(String),
}

/// `must`: who waits for it does not wait for long.
fn next(hold: Option<Hold>, is_late: bool, must: bool) -> Next {
    match hold {
        None => Next::Leave,
        Some(_) if !is_late => Next::Stay,
        Some(Hold::Twice(why)) if !must => Next::GiveUp(why),
        Some(Hold::Twice(_) | Hold::Wait) => Next::Leave,
    }
}

impl Conductor {
    /// This guard has taken over from one that made room for it.
    pub(super) fn follow(&mut self, followed: Followed) {
        let now = clock::now();
        match &self.trial {
            Some(trial) => trial.takes_over(followed, now),
            None => {
                self.identity.upgrade.set(followed.end(now));
                self.say_upgraded(now);
            }
        }
    }

    /// Lets go as soon as nothing would be begun twice for it.
    pub(super) fn leave_soon(&mut self, now: Moment, leave: Leave) {
        // A guard that ends has nothing to hand over; whoever waits for it is told by its silence.
        if !self.guard.is_ending() {
            let wait = if self.trial.is_some() { DISMISSED_WAIT } else { HOOKS_WAIT };
            self.leaving = Some(Leaving { leave, until: now + wait });
        }
    }

    /// What a signal to a trial means when it comes from the process that began it: not what it means to a guard.
    pub(super) fn dismissal(&self, signal: Signal, sender: Option<Sender>) -> Option<Leave> {
        let trial = self.trial.as_ref().filter(|trial| trial.is_parent(sender.map(|sender| sender.pid)))?;
        (signal == Signal::TERM).then(|| trial.dismissal())
    }

    /// When is looked again whether it is time.
    pub(super) fn leaves_at(&self) -> Option<Moment> {
        self.leaving.as_ref().map(|_| clock::now() + LOOK)
    }

    /// What to do now, if it is time.
    pub(super) fn time_to_leave(&mut self, now: Moment) -> Option<Leave> {
        let until = self.leaving.as_ref()?.until;
        if self.guard.is_ending() {
            self.leaving = None;
            return None;
        }
        let is_late = now >= until;
        match next(self.what_holds(), is_late, self.trial.is_some()) {
            Next::Stay => None,
            Next::Leave => self.leaving.take().map(|leaving| leaving.leave),
            Next::GiveUp(why) => {
                // What was on trial ends when nobody is at the other end of its line any more.
                let reply = self.leaving.take().and_then(|leaving| leaving.leave.reply.clone());
                self.stay(now, reply, format!("after {} s {why}", HOOKS_WAIT.as_secs()));
                None
            }
        }
    }

    fn what_holds(&self) -> Option<Hold> {
        if let Some((key, kind)) = self.errands.values().find_map(Out::hook) {
            let name = self.guard.instance(key).map_or_else(String::new, |(id, _)| id.to_string());
            return Some(Hold::Twice(format!("a {} hook of {name} still runs", kind.word())));
        }
        // Its hooks have run, and would run again; one without hooks is only started a moment later.
        let starts = self.guard.instances().find(|(_, _, service)| {
            let begins = service.state_name() == StateName::Starting && service.pid().is_none();
            begins && !service.spec().hooks.before_start.is_empty()
        });
        if let Some((_, id, _)) = starts {
            return Some(Hold::Twice(format!("{id} is still being started, and its hooks have run")));
        }
        if self.unread.now() > 0 {
            return Some(Hold::Twice("the output of a hook is not in its log file yet".to_owned()));
        }
        self.has_open_tickets().then_some(Hold::Wait)
    }

    /// It guards on. Whoever asked for another program is told.
    fn stay(&mut self, now: Moment, reply: Option<UpgradeReply>, why: String) {
        let Some(UpgradeReply { id, from, to, program }) = reply else {
            return self.trouble(format!("this guard was to make room for another one and did not: {why}"));
        };
        let (outcome, reason, unwatched_ms, not_kept) = (UpgradeOutcome::RolledBack, Some(why), Vec::new(), 0);
        self.identity.upgrade.set(UpgradeInfo { id, from, to, program, outcome, reason, unwatched_ms, not_kept });
        self.say_upgraded(now);
    }

    /// Returns only when it did not work; this guard goes on then.
    pub(super) async fn leave(&mut self, leave: Leave) {
        let halted = self.spawner.halt(STARTS_WAIT);
        let _ = tokio::time::timeout(LEDGER_WAIT, self.ledger.flush()).await;
        // From here on the next guard reads, so that what is shown goes on where it was.
        let (paused, are_paused) = self.pump.pause();
        let _ = tokio::time::timeout(PUMPS_WAIT, are_paused).await;
        // What a terminal that stands still does not show is in the files.
        let _ = self.console.settle(CONSOLE_WAIT);
        let reply = leave.reply.clone();
        let programs = self.guard.instances().filter(|(_, _, service)| service.pid().is_some()).count();
        let why = leave.go(u64::try_from(programs).unwrap_or(u64::MAX));
        drop((halted, paused));
        self.stay(clock::now(), reply, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_stays_rather_than_have_something_begun_twice_and_a_trial_leaves() {
        let twice = || Some(Hold::Twice("a hook runs".to_owned()));
        assert_eq!(next(None, false, false), Next::Leave);
        assert_eq!(next(twice(), false, false), Next::Stay);
        assert_eq!(next(twice(), true, false), Next::GiveUp("a hook runs".to_owned()));
        assert_eq!(next(twice(), true, true), Next::Leave);
        assert_eq!(next(Some(Hold::Wait), false, true), Next::Stay);
        assert_eq!(next(Some(Hold::Wait), true, false), Next::Leave);
    }
}
