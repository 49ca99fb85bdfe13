//! What comes to the conductor from outside of its own house: signals, messages of programs, and time that passed unseen.
//! Called once a turn, before anything else is decided.

use super::{Conductor, Owner};
use crate::audit::Asker;
use std::time::Duration;
use tutela_core::guard;
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_os::process::Signal;
use tutela_os::signals::Sender;
use tutela_schema::audit::AuditResult;

/// A growth of the suspended time below this is the reading's own noise.
const SUSPENDED_NOISE: Duration = Duration::from_millis(100);

/// A deadline that is heard this much late was not heard because the guard stood still: it was stopped, its container was
/// frozen, or its computer was. A busy computer is some milliseconds late.
const STOOD_STILL: Duration = Duration::from_millis(250);

/// How many times later than in the turn before a guard is that stood still between the two, and is not only slow.
const MUCH_LATER: u32 = 4;

/// A standstill that is told. What is shorter happens to busy hosts of virtual machines, and nobody can mend it.
const STANDSTILL_TOLD: Duration = Duration::from_secs(2);

/// Messages of programs that came before their start was told; as many as a burst of starts brings. Past it
/// the oldest go: those can only be of programs that have long ended.
const EARLY_NOTICES_MAX: usize = 256;

/// The most of a status text that is kept, in characters: a line of a wide terminal.
const STATUS_TEXT_MAX: usize = 256;

impl Conductor {
    pub(super) fn handle_signal(&mut self, now: Moment, signal: Signal, sender: Option<Sender>) {
        if let Some(dismissal) = self.dismissal(signal, sender) {
            return self.leave_soon(now, dismissal);
        }
        let by = format!("signal {signal}");
        let asker = Asker::of_signal(by.clone(), sender);
        match signal {
            Signal::TERM | Signal::INT | Signal::QUIT => {
                self.interrupts += 1;
                let hurry = self.interrupts > 1 || signal == Signal::QUIT;
                let how = if hurry { format!("{by}: the shortest way") } else { by.clone() };
                self.note_other(&asker, "shutdown", AuditResult::Accepted, &how);
                self.end(now, &by, hurry);
            }
            Signal::HUP if self.reload.is_some() => self.reload.iter().for_each(|reload| reload(asker.clone())),
            Signal::WINCH if self.forward_signals => self.pass_on(signal),
            other if self.forward_signals => {
                self.note_other(&asker, "pass_on", AuditResult::Accepted, &format!("{by}, to every program"));
                self.pass_on(other);
            }
            _ => {}
        }
    }

    fn pass_on(&self, signal: Signal) {
        for live in self.live.values() {
            // One that has just ended is no error, one that may not be signalled is not ours to mend.
            let _ = live.child.signal(signal);
        }
    }

    pub(super) fn handle_notice(&mut self, now: Moment, message: &tutela_os::notify::Message) {
        if message.truncated {
            return;
        }
        let Some(token) = self.nursery.owner_of(message.pid) else { return };
        match self.owners.get(&token) {
            Some(Owner::Main { key, run }) => {
                let (key, run) = (*key, *run);
                self.take_notices(now, key, run, &message.text);
            }
            Some(Owner::Errand(_)) => {}
            // It runs, and speaks, before the spawner's news of it are here.
            None => {
                if self.early_notices.len() >= EARLY_NOTICES_MAX {
                    self.early_notices.pop_front();
                }
                self.early_notices.push_back((token, message.text.clone()));
            }
        }
    }

    pub(super) fn take_notices(&mut self, now: Moment, key: InstanceKey, run: RunId, text: &[u8]) {
        use tutela_core::service::Notice as Core;
        use tutela_os::notify::Notice;
        for notice in tutela_os::notify::parse(text) {
            let notice = match notice {
                Notice::Ready => Core::Ready,
                Notice::Status(text) => Core::Status(self.masked_status(key, &text)),
                Notice::Stopping => Core::Stopping,
                Notice::Reloading => Core::Reloading,
                Notice::Watchdog => Core::Watchdog,
                Notice::WatchdogTrigger => Core::WatchdogTrigger,
                Notice::ExtendTimeout(by) => Core::ExtendTimeout(by),
                // A barrier is answered by dropping the message, after this loop.
                Notice::Barrier
                | Notice::Errno(_)
                | Notice::MainPid(_)
                | Notice::WatchdogEvery(_)
                | Notice::Monotonic(_)
                | Notice::Other(_) => continue,
            };
            self.guard.handle(now, key, guard::Input::Notice { run, notice });
        }
    }

    /// What a program says of itself, for people: what is masked in its output is masked here too.
    fn masked_status(&self, key: InstanceKey, text: &str) -> String {
        let own =
            self.guard.instance(key).map(|(_, service)| service.spec().logs.redact.as_slice()).unwrap_or_default();
        let mask = self.surroundings.keeping.mask(own);
        plain(&String::from_utf8_lossy(&mask.text(text.as_bytes())))
    }

    pub(super) fn notice_suspension(&mut self, now: Moment) {
        let total = clock::suspended_total();
        let slept = total.saturating_sub(self.suspended);
        if slept > SUSPENDED_NOISE {
            self.suspended = total;
            self.guard.handle_suspended(now, slept);
        } else {
            self.notice_standstill(now);
        }
    }

    /// What passed while the guard could not listen is not counted against programs: one that fed its watchdog all the
    /// time is not heard before this turn, and one that stood still too had no time to end. It is no more than what
    /// passed since the last turn; and not granted twice in a row for the like, so that on a computer that is always this
    /// late everything takes longer and still happens.
    fn notice_standstill(&mut self, now: Moment) {
        let (since, due) = self.rest;
        let late = due.map_or(Duration::ZERO, |due| now.since(due));
        if is_granted(late, self.was_late) {
            self.guard.handle_suspended(now, now.since(since));
        }
        self.was_late = late;
        if late >= STANDSTILL_TOLD {
            let late = late.as_secs_f64();
            self.trouble(format!(
                "the guard stood still for {late:.1} s or more: it was stopped or frozen, or the computer was; what \
                 programs had to do in that time is not held against them"
            ));
        }
    }
}

/// Whether a guard that is this late has stood still, and was not as late in the turn before.
fn is_granted(late: Duration, before: Duration) -> bool {
    late >= STOOD_STILL && (before < STOOD_STILL || late >= before * MUCH_LATER)
}

/// What a program says of itself, fit to be shown: in one line, and with nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_granted_to_who_stood_still_and_not_to_who_is_always_late() {
        let ms = Duration::from_millis;
        assert!(!is_granted(ms(100), ms(0)));
        assert!(is_granted(ms(300), ms(0)) && is_granted(ms(300), ms(200)));
        assert!(!is_granted(ms(300), ms(300)) && !is_granted(ms(900), ms(300)));
        assert!(is_granted(ms(2500), ms(300)));
    }
}
