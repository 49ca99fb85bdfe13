//! All probes of one instance, by their roles.

use super::{Cause, Event, Exit, Service, State};
use crate::chance::Chance;
use crate::probe::{Ask, Change, Outcome, Probe, Strictness, Verdict};
use crate::service::ending::After;
use crate::spec::{ProbeKind, ProbeSpec, ServiceSpec};
use crate::time::Moment;
use std::time::Duration;

/// Which of an instance's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeSlot(pub u16);

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeRole {
    /// Until it passes, the others wait.
    Startup,
    /// Whether it can do its work.
    Ready,
    /// Whether it still lives.
    Live,
    /// Whether something else is there.
    Dependency,
}

impl ProbeRole {
    /// The word in spec files and status.
    pub const fn word(self) -> &'static str {
        match self {
            ProbeRole::Startup => "startup",
            ProbeRole::Ready => "ready",
            ProbeRole::Live => "live",
            ProbeRole::Dependency => "dependency",
        }
    }
}

/// Boxed, because most instances have no probe and a thousand of them should cost no memory for it.
#[derive(Debug, Default)]
pub(super) struct Questions {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    role: ProbeRole,
    name: String,
    probe: Probe,
    ever_passed: bool,
}

fn wanted(spec: &ServiceSpec) -> impl Iterator<Item = (ProbeRole, &str, &ProbeSpec)> {
    let role = |role: ProbeRole, probe: &'_ Option<ProbeSpec>| probe.as_ref().map(|_| role);
    let fixed = [
        (role(ProbeRole::Startup, &spec.startup), spec.startup.as_ref()),
        (role(ProbeRole::Ready, &spec.ready), spec.ready.as_ref()),
        (role(ProbeRole::Live, &spec.live), spec.live.as_ref()),
    ];
    let fixed = fixed.into_iter().filter_map(|(role, probe)| Some((role?, role?.word(), probe?)));
    let checks = spec.dependencies.iter().map(|check| (ProbeRole::Dependency, check.name.as_str(), &check.probe));
    fixed.chain(checks)
}

impl Questions {
    pub fn new(spec: &ServiceSpec) -> Self {
        let slots = wanted(spec).map(|(role, name, probe)| Slot {
            role,
            name: name.to_owned(),
            probe: Probe::new(probe.clone(), role == ProbeRole::Live),
            ever_passed: false,
        });
        Questions { slots: slots.collect() }
    }

    pub fn handle_spec(&mut self, now: Moment, chance: &mut Chance, spec: &ServiceSpec, running: bool) {
        let mut old = std::mem::take(&mut self.slots);
        for (role, name, probe) in wanted(spec) {
            let kept = old.iter().position(|slot| slot.role == role && slot.name == name);
            if let Some(kept) = kept {
                let mut slot = old.swap_remove(kept);
                slot.probe.handle_spec(now, probe.clone());
                self.slots.push(slot);
            } else {
                let mut fresh = Probe::new(probe.clone(), role == ProbeRole::Live);
                if running && role != ProbeRole::Startup {
                    fresh.begin(now, chance.fraction());
                }
                self.slots.push(Slot { role, name: name.to_owned(), probe: fresh, ever_passed: false });
            }
        }
    }

    pub fn slots(&self) -> impl Iterator<Item = ProbeSlot> + use<> {
        (0..u16::try_from(self.slots.len()).unwrap_or(u16::MAX)).map(ProbeSlot)
    }

    fn slot(&self, slot: ProbeSlot) -> Option<&Slot> {
        self.slots.get(usize::from(slot.0))
    }

    fn slot_mut(&mut self, slot: ProbeSlot) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot.0))
    }

    pub fn role(&self, slot: ProbeSlot) -> Option<ProbeRole> {
        self.slot(slot).map(|slot| slot.role)
    }

    pub fn name(&self, slot: ProbeSlot) -> &str {
        self.slot(slot).map_or("", |slot| &slot.name)
    }

    pub fn probe(&self, slot: ProbeSlot) -> Option<&Probe> {
        self.slot(slot).map(|slot| &slot.probe)
    }

    pub fn ever_passed(&self, slot: ProbeSlot) -> bool {
        self.slot(slot).is_some_and(|slot| slot.ever_passed)
    }

    pub fn has(&self, role: ProbeRole) -> bool {
        self.slots.iter().any(|slot| slot.role == role)
    }

    /// Of a role that occurs at most once; `Unknown` where there is no such probe.
    pub fn verdict(&self, role: ProbeRole) -> Verdict {
        self.slots.iter().find(|slot| slot.role == role).map_or(Verdict::Unknown, |slot| slot.probe.verdict())
    }

    pub fn failing_dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.slots
            .iter()
            .filter(|slot| slot.role == ProbeRole::Dependency && slot.probe.verdict() == Verdict::Fail)
            .map(|slot| (slot.name.as_str(), slot.probe.last_failure()))
    }

    pub fn notify_slots(&self, roles: [ProbeRole; 2]) -> Vec<ProbeSlot> {
        self.slots()
            .filter(|slot| self.role(*slot).is_some_and(|role| roles.contains(&role)))
            .filter(|slot| self.probe(*slot).is_some_and(|probe| probe.spec().target.kind() == ProbeKind::Notify))
            .collect()
    }

    pub fn begin_role(&mut self, now: Moment, role: ProbeRole, spread: f64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.role == role) {
            slot.ever_passed = false;
            slot.probe.begin(now, spread);
        }
    }

    /// What is asked of a running program, without touching what is asked already.
    pub fn begin_running(&mut self, now: Moment, chance: &mut Chance) {
        for slot in &mut self.slots {
            if slot.role != ProbeRole::Startup && !slot.probe.is_on() {
                slot.ever_passed = false;
                slot.probe.begin(now, chance.fraction());
            }
        }
    }

    pub fn end_role(&mut self, role: ProbeRole) {
        self.slots.iter_mut().filter(|slot| slot.role == role).for_each(|slot| slot.probe.end());
    }

    pub fn end_all(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.probe.end());
    }

    pub fn handle_answer(
        &mut self,
        now: Moment,
        slot: ProbeSlot,
        attempt: u64,
        outcome: Outcome,
        took: Duration,
        strictness: Strictness,
    ) -> Option<Change> {
        let slot = self.slot_mut(slot)?;
        slot.ever_passed |= outcome == Outcome::Pass;
        slot.probe.handle_answer(now, attempt, outcome, took, strictness)
    }

    pub fn handle_told(&mut self, now: Moment, slot: ProbeSlot) -> Option<Change> {
        let slot = self.slot_mut(slot)?;
        slot.ever_passed = true;
        slot.probe.handle_told(now)
    }

    pub fn handle_timeout(&mut self, now: Moment, slot: ProbeSlot, strictness: Strictness) -> Option<Change> {
        self.slot_mut(slot)?.probe.handle_timeout(now, strictness)
    }

    pub fn handle_suspended(&mut self, slept: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.probe.handle_suspended(slept));
    }

    pub fn poll_ask(&mut self, now: Moment) -> Option<(ProbeSlot, Ask)> {
        let slots = self.slots();
        slots.into_iter().find_map(|slot| Some((slot, self.slot_mut(slot)?.probe.poll_ask(now)?)))
    }

    pub fn poll_timeout(&self) -> Option<Moment> {
        self.slots.iter().filter_map(|slot| slot.probe.poll_timeout()).min()
    }
}

impl Service {
    pub(super) fn verdict_changed(&mut self, now: Moment, slot: ProbeSlot, change: Option<Change>) {
        let (Some(change), Some(role)) = (change, self.questions.role(slot)) else {
            return self.ask_questions(now);
        };
        let name = self.questions.name(slot).to_owned();
        let passes = change.verdict == Verdict::Pass;
        self.events.push_back(Event::Probe { role, name, passes, reason: change.reason.clone() });
        match (role, passes) {
            (ProbeRole::Startup | ProbeRole::Ready, true) => self.starting_answered(now, role),
            (ProbeRole::Startup, false) => {
                if let State::Starting(_) = self.state {
                    self.end_for(now, Cause::StartupFailed(change.reason));
                }
            }
            (ProbeRole::Live, false) => self.unhealthy(now, change.reason),
            (ProbeRole::Live | ProbeRole::Dependency, true) | (ProbeRole::Ready | ProbeRole::Dependency, false) => {}
        }
        self.ask_questions(now);
    }

    /// The running program is not alive in any useful sense: it is ended, then judged as a failure.
    pub(super) fn unhealthy(&mut self, now: Moment, reason: String) {
        if let State::Running { .. } | State::Starting(_) = self.state {
            self.end_for(now, Cause::Unhealthy(reason));
        }
    }

    pub(super) fn end_for(&mut self, now: Moment, cause: Cause) {
        self.begin_ending(now, After::Policy(Exit::Unknown), cause);
    }
}
