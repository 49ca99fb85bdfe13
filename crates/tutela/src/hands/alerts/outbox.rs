//! The machine that brings every alert to its receiver at least once, or says that it could not.
//!
//! Fed with alerts, results and moments; asked for attempts, events and its next deadline. It does no IO
//! and reads no clock.
//!
//! ```text
//!   put ──▶ waiting ──due──▶ in flight ──delivered──▶ gone, Delivered
//!              ▲                │
//!              └──── backoff ◀──┤ failed, may be tried again
//!                               └ said no for good, or older than GIVE_UP_AFTER ──▶ gone, GaveUp
//! ```
//!
//! Invariants: at most [`PENDING_MAX`] alerts; at most one of a way in flight, so that a receiver sees them
//! in order as long as nothing fails and a slow one holds up nobody else; an alert leaves with exactly one
//! event. What has to survive a restart is [`Outbox::pending`]; an attempt that was in flight then is made
//! again.

use super::{Alert, DeliveryError};
use crate::hands::backoff;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tutela_core::names::Name;
use tutela_core::time::Moment;

/// How many alerts wait at most. A person reads no thousand; the newest say what is wrong, so the oldest
/// go. It also bounds what the ledger keeps: some MB.
pub const PENDING_MAX: usize = 1000;

/// No wait is longer: a receiver that is back gets its alerts within minutes.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// An alert older than this helps nobody.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An alert that has not arrived, as plain data to be kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAlert {
    /// Which way of the spec it goes.
    pub way: Name,
    /// What is sent.
    pub alert: Alert,
    /// When it was raised: milliseconds since 1970, on the wall clock.
    pub raised_unix_millis: u64,
    /// How many attempts failed.
    pub attempts: u32,
    /// When the next attempt is due. Of no meaning after a restart of the computer, so
    /// [`Outbox::restore`] does not use it.
    pub next_at: Moment,
    /// What happened at the last attempt.
    pub last_error: Option<String>,
}

/// What somebody should know, or the ledger should keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxEvent {
    /// To be kept, or kept anew: it was put in, or an attempt failed.
    Keep(PendingAlert),
    /// It arrived; to be forgotten.
    Delivered {
        /// Its id.
        id: String,
        /// Which way it went.
        way: Name,
        /// How many attempts it took.
        attempts: u32,
    },
    /// It will not be tried again; to be forgotten.
    GaveUp {
        /// What did not arrive.
        pending: PendingAlert,
        /// Why.
        reason: String,
    },
    /// It made room for a newer one; to be forgotten. [`Outbox::dropped`] counts these.
    Dropped {
        /// What did not arrive.
        pending: PendingAlert,
    },
}

/// One attempt to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Goes back in with the result.
    pub ticket: Ticket,
    /// Which way.
    pub way: Name,
    /// What.
    pub alert: Alert,
}

/// Names an alert in the box. Given once, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The box.
#[derive(Debug, Default)]
pub struct Outbox {
    /// By age: tickets grow.
    entries: BTreeMap<Ticket, Entry>,
    next_ticket: u64,
    dropped: u64,
    events: VecDeque<OutboxEvent>,
}

#[derive(Debug)]
struct Entry {
    pending: PendingAlert,
    give_up_at: Moment,
    in_flight: bool,
}

impl Outbox {
    /// What an earlier guard had not delivered, oldest first. All of it is due at once: the guard, or the
    /// computer, has just been away.
    pub fn restore(saved: impl IntoIterator<Item = PendingAlert>, now: Moment, now_unix_millis: u64) -> Self {
        let mut outbox = Outbox::default();
        for mut pending in saved {
            pending.next_at = now;
            // A wall clock that was set back makes it young, not immortal: it lives a day from here.
            let age = Duration::from_millis(now_unix_millis.saturating_sub(pending.raised_unix_millis));
            let give_up_at = now + GIVE_UP_AFTER.saturating_sub(age);
            outbox.insert(pending, give_up_at);
        }
        outbox
    }

    /// A new alert, due at once.
    pub fn put(&mut self, way: Name, alert: Alert, now: Moment, now_unix_millis: u64) {
        let raised_unix_millis = now_unix_millis;
        let pending = PendingAlert { way, alert, raised_unix_millis, attempts: 0, next_at: now, last_error: None };
        self.events.push_back(OutboxEvent::Keep(pending.clone()));
        self.insert(pending, now + GIVE_UP_AFTER);
    }

    /// How an attempt ended. Of an alert that is gone meanwhile: nothing happens.
    pub fn handle_result(&mut self, ticket: Ticket, result: Result<(), DeliveryError>, now: Moment) {
        let Some(mut entry) = self.entries.remove(&ticket) else { return };
        entry.in_flight = false;
        entry.pending.attempts = entry.pending.attempts.saturating_add(1);
        let Err(error) = result else {
            let PendingAlert { way, alert, attempts, .. } = entry.pending;
            self.events.push_back(OutboxEvent::Delivered { id: alert.id, way, attempts });
            return;
        };
        let reason = error.to_string();
        entry.pending.last_error = Some(reason.clone());
        if !error.may_retry() {
            self.events.push_back(OutboxEvent::GaveUp { pending: entry.pending, reason });
            return;
        }
        // Without chance: a guard has few ways, and one attempt of each at a time.
        entry.pending.next_at = now + backoff::wait(entry.pending.attempts, BACKOFF_MAX);
        self.events.push_back(OutboxEvent::Keep(entry.pending.clone()));
        self.entries.insert(ticket, entry);
    }

    /// A way that the spec does not have any more: nobody is left to tell.
    pub fn remove_way(&mut self, way: &Name) {
        let gone: Vec<_> =
            self.entries.iter().filter(|(_, entry)| entry.pending.way == *way).map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            let reason = "the spec has this way no longer".to_owned();
            self.give_up(ticket, reason);
        }
    }

    /// The next attempt that is due, if any; to be asked until there is none. Gives up what is too old.
    pub fn poll_attempt(&mut self, now: Moment) -> Option<Attempt> {
        let old: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.in_flight && entry.give_up_at <= now)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in old {
            let hours = GIVE_UP_AFTER.as_secs() / 3600;
            let last = self.entries[&ticket].pending.last_error.as_deref().unwrap_or("it was never tried");
            self.give_up(ticket, format!("not delivered within {hours} hours; at last: {last}"));
        }
        let ticket = self.next_due().filter(|(at, _)| *at <= now)?.1;
        let entry = self.entries.get_mut(&ticket)?;
        entry.in_flight = true;
        Some(Attempt { ticket, way: entry.pending.way.clone(), alert: entry.pending.alert.clone() })
    }

    /// When to ask for an attempt again, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let expiry = self.entries.values().filter(|entry| !entry.in_flight).map(|entry| entry.give_up_at).min();
        self.next_due().map(|(at, _)| at).into_iter().chain(expiry).min()
    }

    /// What happened; to be asked until there is none.
    pub fn poll_event(&mut self) -> Option<OutboxEvent> {
        self.events.pop_front()
    }

    /// Everything that has not arrived, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &PendingAlert> {
        self.entries.values().map(|entry| &entry.pending)
    }

    /// How many alerts had to make room for newer ones.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The earliest waiting alert of a way that has none in flight.
    fn next_due(&self) -> Option<(Moment, Ticket)> {
        let in_flight = self.entries.values().filter(|entry| entry.in_flight);
        let busy: BTreeSet<&Name> = in_flight.map(|entry| &entry.pending.way).collect();
        let waiting = self.entries.iter().filter(|(_, entry)| !entry.in_flight && !busy.contains(&entry.pending.way));
        waiting.map(|(ticket, entry)| (entry.pending.next_at, *ticket)).min()
    }

    fn insert(&mut self, pending: PendingAlert, give_up_at: Moment) {
        if self.entries.len() >= PENDING_MAX
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.dropped += 1;
            self.events.push_back(OutboxEvent::Dropped { pending: oldest.pending });
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.entries.insert(ticket, Entry { pending, give_up_at, in_flight: false });
    }

    fn give_up(&mut self, ticket: Ticket, reason: String) {
        if let Some(entry) = self.entries.remove(&ticket) {
            self.events.push_back(OutboxEvent::GaveUp { pending: entry.pending, reason });
        }
    }
}
