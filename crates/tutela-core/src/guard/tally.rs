//! How far everything has come that is wanted up: what the service manager of the OS may be told.
//!
//! The conductor asks after news. One that waits has the prospects of what it waits for, so services are looked at in
//! the order in which they start.

use super::{Guard, Slot};
use crate::names::{InstanceId, ServiceName};
use crate::order;
use crate::service::StateName;
use std::collections::BTreeMap;
use std::fmt;

/// Instances that a tally names; the others it counts. A service manager shows one line.
const NAMED_MAX: usize = 3;

/// How many of the instances that are wanted up have come up, and who has not. Its text is a line for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Instances that are wanted up.
    pub wanted: usize,
    /// Of these: they serve, or are done.
    pub up: usize,
    /// Of these: they run, and their ready probe says no, or they are held still.
    pub unready: usize,
    /// Of these: they are on their way, and nothing has failed.
    pub coming: usize,
    /// Of these: they failed, and are tried again soon.
    pub retrying: usize,
    /// The first few of those that are not up.
    pub missing: Vec<(InstanceId, StateName)>,
}

/// What to expect of an instance, the worst last: a service is as good as its worst instance, and who waits is as good
/// as the worst that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Prospect {
    Up,
    Unready,
    Coming,
    Retrying,
    /// It will not come up soon: it cools down, gave up, is not wanted, or waits for such a one.
    Never,
}

impl Guard {
    /// Whether an instance that is wanted up is being started or restarted at this moment. Cheaper than a tally, which
    /// would say so too.
    pub fn is_starting_any(&self) -> bool {
        self.wanted().any(|slot| matches!(slot.service.state_name(), StateName::Starting | StateName::Stopping))
    }

    /// Counts. Looks at every instance.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut prospects: BTreeMap<&ServiceName, Prospect> = BTreeMap::new();
        for service in order::start_waves(&self.needs).unwrap_or_default().iter().flatten() {
            let slots = self.keys_of(service).iter().filter_map(|key| self.slots.get(key));
            let mut worst = None;
            for slot in slots.filter(|slot| !slot.retired && slot.service.is_wanted_up()) {
                let prospect = self.prospect(slot, &prospects);
                tally.add(slot, prospect);
                worst = worst.max(Some(prospect));
            }
            if let Some((name, _)) = self.needs.get_key_value(service) {
                prospects.insert(name, worst.unwrap_or(Prospect::Never));
            }
        }
        tally
    }

    fn wanted(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values().filter(|slot| !slot.retired && slot.service.is_wanted_up())
    }

    fn prospect(&self, slot: &Slot, before: &BTreeMap<&ServiceName, Prospect>) -> Prospect {
        let service = &slot.service;
        match service.state_name() {
            StateName::Running if service.serves() => Prospect::Up,
            StateName::Running => Prospect::Unready,
            StateName::Done => Prospect::Up,
            StateName::Starting | StateName::Stopping if service.history().in_a_row > 0 => Prospect::Retrying,
            StateName::Starting | StateName::Stopping => Prospect::Coming,
            StateName::Backoff => Prospect::Retrying,
            StateName::Cooldown | StateName::Failed | StateName::Stopped => Prospect::Never,
            StateName::Waiting => {
                let needs = self.needs.get(&slot.id.service).map(Vec::as_slice).unwrap_or_default();
                let unserved = needs.iter().filter(|need| !self.is_served(need));
                let worst = unserved.map(|need| before.get(need).copied().unwrap_or(Prospect::Never)).max();
                // With nothing unserved it starts in this very moment.
                worst.map_or(Prospect::Coming, |worst| worst.max(Prospect::Coming))
            }
        }
    }
}

impl Tally {
    /// Whether nobody is on the way up any more: all are up, or known not to come up soon.
    pub fn is_settled(&self) -> bool {
        self.coming == 0 && self.retrying == 0
    }

    fn add(&mut self, slot: &Slot, prospect: Prospect) {
        self.wanted += 1;
        match prospect {
            Prospect::Up => self.up += 1,
            Prospect::Unready => self.unready += 1,
            Prospect::Coming => self.coming += 1,
            Prospect::Retrying => self.retrying += 1,
            Prospect::Never => {}
        }
        if prospect != Prospect::Up && self.missing.len() < NAMED_MAX {
            self.missing.push((slot.id.clone(), slot.service.state_name()));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} up", self.up, self.wanted)?;
        for (nth, (id, state)) in self.missing.iter().enumerate() {
            // What runs and is missing all the same does not serve.
            let word = if *state == StateName::Running { "not ready" } else { state.word() };
            write!(f, "{} {id} {word}", if nth == 0 { ":" } else { "," })?;
        }
        match (self.wanted - self.up).saturating_sub(self.missing.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
