//! How a life comes to its end: from the first wish to stop to the last word.

use super::{Action, Life, Phase, Weight, Word};
use crate::event::StopReason;
use crate::exit::{Ending, NOT_READY, NOT_STOPPED};
use std::time::Duration;
use tutela_core::time::Moment;

/// What a program gets after a second Ctrl-C: enough to write a file to its end, short enough for somebody who waits.
const HURRY: Duration = Duration::from_secs(2);

impl Life {
    /// The wish to stop. The first one counts.
    pub(super) fn stop(&mut self, reason: StopReason, now: Moment) {
        if self.reason.is_some() {
            return;
        }
        let was_serving = !matches!(self.phase, Phase::Starting { .. });
        self.actions.push_back(Action::Leave(reason.clone()));
        // Nobody sends work to what was never ready, what has ended, or what fails; and a computer that goes down
        // does not wait.
        let delay = matches!(reason, StopReason::Asked(_)) && was_serving && !self.program_ended;
        let (weight, line) = match &reason {
            StopReason::Failed(_) | StopReason::NotReady => (Weight::Error, format!("stopping: {reason}")),
            _ => (Weight::Info, format!("stopping: {reason}")),
        };
        self.say(weight, line);
        self.reason = Some(reason);
        self.waiting.clear();
        let delay = if delay { self.bounds.drain_delay } else { Duration::ZERO };
        self.tell(Word::Stopping(delay + self.bounds.stop));
        if delay.is_zero() {
            self.raise(now);
        } else {
            self.say(Weight::Info, format!("not ready for new work, draining in {delay:?}"));
            self.phase = Phase::Leaving { until: now + delay };
        }
    }

    /// Ctrl-C.
    pub(super) fn interrupt(&mut self, now: Moment) {
        self.interrupts += 1;
        match self.interrupts {
            1 => self.stop(StopReason::Asked("Ctrl-C".to_owned()), now),
            2 => self.hurry(now),
            _ => {
                self.say(Weight::Warning, "interrupted three times: not waiting any longer".to_owned());
                self.out_of_time();
            }
        }
    }

    fn hurry(&mut self, now: Moment) {
        if self.reason.is_none() {
            self.stop(StopReason::Asked("Ctrl-C".to_owned()), now);
        }
        if matches!(self.phase, Phase::Leaving { .. }) {
            self.raise(now);
        }
        let Phase::Stopping { deadline } = &mut self.phase else { return };
        *deadline = (*deadline).min(now + HURRY);
        let deadline = *deadline;
        self.actions.push_back(Action::Deadline(deadline));
        self.actions.push_back(Action::Hurry);
        self.say(Weight::Warning, format!("hurrying: {HURRY:?} left; once more to end at once"));
    }

    /// Tells the program to stop.
    pub(super) fn raise(&mut self, now: Moment) {
        let deadline = now + self.bounds.stop;
        self.phase = Phase::Stopping { deadline };
        let reason = self.reason.clone().unwrap_or(StopReason::Ended);
        self.actions.push_back(Action::Stop(reason, deadline));
        self.end_when_done();
    }

    /// The start took too long.
    pub(super) fn not_ready(&mut self, took: Duration, now: Moment) {
        let last = match self.status.as_str() {
            "" => "it never said what it was doing".to_owned(),
            status => format!("its last status was {status:?}"),
        };
        let message = format!(
            "failed to become ready within {took:.1?}: {last}; call Context::ready() once the work can begin, \
             Context::checkpoint() to ask for more time, or raise Service::start_timeout()"
        );
        self.ending = Ending::with(NOT_READY, message.clone());
        self.say(Weight::Error, message);
        self.tell(Word::Status(format!("not ready within {took:.1?}: {last}")));
        self.stop(StopReason::NotReady, now);
    }

    /// Something failed while the program goes on.
    pub(super) fn failed(&mut self, ending: Ending, now: Moment) {
        let message = ending.message.clone().unwrap_or_default();
        self.keep(ending);
        if self.reason.is_some() {
            self.say(Weight::Error, format!("failed while stopping: {message}"));
        }
        self.stop(StopReason::Failed(message), now);
    }

    /// The program's main path is over.
    pub(super) fn ended(&mut self, outcome: Result<(), Ending>, now: Moment) {
        self.program_ended = true;
        match outcome {
            Ok(()) => self.stop(StopReason::Ended, now),
            Err(ending) => self.failed(ending, now),
        }
        // It needs no notice before the token is raised when it is gone already.
        if matches!(self.phase, Phase::Leaving { .. }) {
            self.raise(now);
        }
        self.end_when_done();
    }

    pub(super) fn end_when_done(&mut self) {
        if self.program_ended && self.drained && matches!(self.phase, Phase::Stopping { .. }) {
            self.end();
        }
    }

    /// The stop took too long. What is left is not waited for; whoever carries out the end names it.
    pub(super) fn out_of_time(&mut self) {
        let what = if self.program_ended {
            "failed to finish all tracked work in time"
        } else {
            "failed to stop in time: the program has not returned"
        };
        self.say(Weight::Error, what.to_owned());
        self.keep(Ending::with(NOT_STOPPED, what));
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.actions.push_back(Action::End(self.ending.clone()));
    }

    /// The first failure is the cause of the others.
    fn keep(&mut self, ending: Ending) {
        if self.ending.code == 0 {
            self.ending = ending;
        }
    }
}
