//! What the service manager is told of the services: that they are up, once, and a line for people ever after.
//!
//! It hears READY (RUNNING) when every instance that is wanted up is up, or known not to come up soon. Who fails and is
//! tried again may hold this up for half of the time that the service manager gives a start: past it one service would
//! take all the others down with it. Who comes up for the first time holds it up as long as its own bounds allow, and
//! more time is asked for.

use super::Conductor;
use std::time::Duration;
use tutela_core::guard::Tally;
use tutela_core::time::Moment;

/// How often everything is counted at most, until it is up: a start of thousands brings news all the time.
const COUNT_EVERY: Duration = Duration::from_millis(10);

/// How often the line for people changes at most, once everything is up.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How often more time is asked for, and how much: enough to miss it twice.
const EXTEND_EVERY: Duration = Duration::from_secs(20);
const EXTENSION: Duration = Duration::from_secs(60);

/// What a stop may take longer than the next deadline says: the deadline's own deeds.
const GRACE: Duration = Duration::from_secs(5);

/// What was told, and when there may be more to tell.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// That the services are up.
    pub(super) ready: bool,
    /// The last line for people.
    line: String,
    /// Something happened since the last count.
    stale: bool,
    /// Before this moment nothing is counted.
    count_from: Moment,
    /// Until then is waited for who fails; `None`: not any more.
    patient_until: Option<Moment>,
    extend_at: Moment,
}

impl Told {
    /// The guard begins; a start may take `bound`.
    pub(super) fn begin(&mut self, now: Moment, bound: Duration) {
        self.stale = true;
        self.patient_until = Some(now + bound / 2);
        self.extend_at = now + EXTEND_EVERY;
    }

    /// Something happened to an instance.
    pub(super) fn note(&mut self) {
        self.stale = true;
    }

    /// Whether it is time to say that everything is up.
    fn is_time(&self, tally: &Tally) -> bool {
        tally.is_settled() || self.patient_until.is_none() && tally.coming == 0
    }

    fn next(&self) -> Option<Moment> {
        let count = self.stale.then_some(self.count_from);
        let more = [self.patient_until, Some(self.extend_at)].into_iter().flatten().filter(|_| !self.ready);
        more.chain(count).min()
    }
}

impl Conductor {
    /// When the service manager may have to hear more without news.
    pub(super) fn next_word(&self) -> Option<Moment> {
        self.host.as_ref()?;
        if self.guard.is_ending() { None } else { self.told.next() }
    }

    /// That everything is held still is over, or a reload: whoever was told that the services are up hears it anew.
    pub(super) fn say_running(&mut self) {
        if self.told.ready && self.held.is_none() && !self.guard.is_ending() {
            self.say_ready(&self.guard.tally());
        }
    }

    pub(super) fn tell_host(&mut self, now: Moment) {
        let Some(host) = &self.host else { return };
        if self.guard.is_ending() {
            if let Some(deadline) = self.guard.poll_timeout() {
                let _ = host.extend_timeout(deadline + GRACE);
            }
            return;
        }
        if !self.told.ready {
            if now >= self.told.extend_at {
                self.told.extend_at = now + EXTEND_EVERY;
                // A service manager that has no bound for it, or hears nothing, does not matter here.
                let _ = host.extend_timeout(now + EXTENSION);
            }
            if self.told.patient_until.is_some_and(|until| now >= until) {
                self.told.patient_until = None;
                self.told.stale = true;
            }
        }
        if !self.told.stale || now < self.told.count_from {
            return;
        }
        self.told.stale = false;
        // The usual case while a thousand services come up.
        if !self.told.ready && self.told.patient_until.is_some() && self.guard.is_starting_any() {
            return;
        }
        self.told.count_from = now + if self.told.ready { LINE_EVERY } else { COUNT_EVERY };
        let tally = self.guard.tally();
        if !self.told.ready && self.told.is_time(&tally) {
            self.told.ready = true;
            self.told.count_from = now + LINE_EVERY;
            self.say_ready(&tally);
        } else if self.held.is_none() {
            self.say_line(&tally);
        }
    }

    fn say_ready(&mut self, tally: &Tally) {
        self.told.line = tally.to_string();
        if let Some(host) = &self.host {
            let _ = host.ready(&self.told.line);
        }
    }

    fn say_line(&mut self, tally: &Tally) {
        let line = tally.to_string();
        if let Some(host) = self.host.as_ref().filter(|_| line != self.told.line) {
            let _ = host.status(&line);
        }
        self.told.line = line;
    }
}
