//! All probes of one instance, by their roles.

use super::{Cause, Event, Exit, KeptVerdict, Service, State};
use crate::chance::Chance;
use crate::probe::{Ask, Change, Outcome, Probe, Strictness, Verdict};
use crate::service::ending::After;
use crate::spec::{ProbeKind, ProbeSpec, ServiceSpec};
use crate::time::Moment;
use std::time::Duration;

/// Which of an instance's probes. A number stays with its probe through changes of the spec and is not given
/// to another one of the same run, so that an answer under way cannot reach the wrong probe.
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

#[derive(Debug)]
pub(super) struct Questions {
    slots: Vec<Slot>,
    /// The number of the next slot.
    next: u16,
}

#[derive(Debug)]
struct Slot {
    number: ProbeSlot,
    role: ProbeRole,
    name: String,
    probe: Probe,
    /// The run told its yes while nobody listened yet: `READY=1` comes once, and can come early.
    told_early: bool,
}

impl Slot {
    /// Begins asking; answers with a verdict that was told before.
    fn begin(&mut self, now: Moment, spread: f64) -> Option<(ProbeSlot, Change)> {
        self.probe.begin(now, spread);
        let told = std::mem::take(&mut self.told_early);
        let change = if told { self.probe.handle_told(now) } else { None };
        change.map(|change| (self.number, change))
    }
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
        let mut questions = Questions { slots: Vec::new(), next: 0 };
        for (role, name, probe) in wanted(spec) {
            questions.add(role, name, Probe::new(probe.clone(), role == ProbeRole::Live));
        }
        questions
    }

    fn add(&mut self, role: ProbeRole, name: &str, probe: Probe) {
        let number = ProbeSlot(self.next);
        // Comes round after 65,536 probes added to one instance by reloads: by then no answer is under way.
        self.next = self.next.wrapping_add(1);
        self.slots.push(Slot { number, role, name: name.to_owned(), probe, told_early: false });
    }

    pub fn handle_spec(&mut self, now: Moment, chance: &mut Chance, spec: &ServiceSpec, running: bool) {
        let mut old = std::mem::take(&mut self.slots);
        for (role, name, probe) in wanted(spec) {
            let kept = old.iter().position(|slot| slot.role == role && slot.name == name);
            if let Some(kept) = kept {
                let mut slot = old.swap_remove(kept);
                // What was told early was the answer to the former question.
                slot.told_early &= slot.probe.spec().target == probe.target;
                slot.probe.handle_spec(now, probe.clone());
                self.slots.push(slot);
            } else {
                let mut fresh = Probe::new(probe.clone(), role == ProbeRole::Live);
                if running && role != ProbeRole::Startup {
                    fresh.begin(now, chance.fraction());
                }
                self.add(role, name, fresh);
            }
        }
    }

    /// The slots there are, apart from them, so that they can be changed meanwhile.
    pub fn slots(&self) -> Vec<ProbeSlot> {
        self.slots.iter().map(|slot| slot.number).collect()
    }

    fn slot(&self, number: ProbeSlot) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.number == number)
    }

    fn slot_mut(&mut self, number: ProbeSlot) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.number == number)
    }

    /// Every probe: its slot, role, name and state.
    pub fn all(&self) -> impl Iterator<Item = (ProbeSlot, ProbeRole, &str, &Probe)> {
        self.slots.iter().map(|slot| (slot.number, slot.role, slot.name.as_str(), &slot.probe))
    }

    pub fn role(&self, slot: ProbeSlot) -> Option<ProbeRole> {
        self.slot(slot).map(|slot| slot.role)
    }

    pub fn name(&self, slot: ProbeSlot) -> &str {
        self.slot(slot).map_or("", |slot| &slot.name)
    }

    pub fn kind(&self, slot: ProbeSlot) -> Option<ProbeKind> {
        self.slot(slot).map(|slot| slot.probe.spec().target.kind())
    }

    pub fn has_passed(&self, slot: ProbeSlot) -> bool {
        self.slot(slot).is_some_and(|slot| slot.probe.has_passed())
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

    pub fn notify_slots(&self, roles: &[ProbeRole]) -> Vec<ProbeSlot> {
        let told = |slot: &&Slot| roles.contains(&slot.role) && slot.probe.spec().target.kind() == ProbeKind::Notify;
        self.slots.iter().filter(told).map(|slot| slot.number).collect()
    }

    /// A new run: what the last one told or answered is not about it.
    pub fn begin_run(&mut self, now: Moment) {
        for slot in &mut self.slots {
            slot.told_early = false;
            slot.probe.forget(now);
        }
    }

    pub fn begin_role(&mut self, now: Moment, role: ProbeRole, spread: f64) -> Vec<(ProbeSlot, Change)> {
        let slots = self.slots.iter_mut().filter(|slot| slot.role == role);
        slots.filter_map(|slot| slot.begin(now, spread)).collect()
    }

    /// What is asked of a running program, without touching what is asked already.
    pub fn begin_running(&mut self, now: Moment, chance: &mut Chance) -> Vec<(ProbeSlot, Change)> {
        let slots = self.slots.iter_mut().filter(|slot| slot.role != ProbeRole::Startup && !slot.probe.is_on());
        slots.filter_map(|slot| slot.begin(now, chance.fraction())).collect()
    }

    pub fn end_role(&mut self, role: ProbeRole) {
        self.slots.iter_mut().filter(|slot| slot.role == role).for_each(|slot| slot.probe.end());
    }

    pub fn end_all(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.probe.end());
    }

    /// What the next guard is to know of them.
    pub fn kept(&self) -> Vec<KeptVerdict> {
        let kept = |slot: &Slot| KeptVerdict {
            role: slot.role,
            name: slot.name.clone(),
            verdict: slot.probe.verdict(),
            since: slot.probe.since(),
            reason: slot.probe.last_failure().to_owned(),
            told_early: slot.told_early,
        };
        self.slots.iter().map(kept).collect()
    }

    /// Takes over what an earlier guard knew, and goes on asking those that are to be `asked`.
    pub fn take_back(
        &mut self,
        now: Moment,
        kept: &[KeptVerdict],
        asked: impl Fn(ProbeRole) -> bool,
        mut spread: impl FnMut() -> f64,
    ) {
        for slot in &mut self.slots {
            let asked = asked(slot.role);
            let known = kept.iter().find(|kept| kept.role == slot.role && kept.name == slot.name);
            let told = known.is_some_and(|kept| kept.told_early);
            slot.told_early = told && !asked;
            let verdict = known.map_or(Verdict::Unknown, |kept| kept.verdict);
            let verdict = match (slot.role, verdict) {
                _ if told && asked => Verdict::Pass,
                // Such a no ends the program; the one that is still there has to be asked again.
                (ProbeRole::Startup | ProbeRole::Live, Verdict::Fail) if asked => Verdict::Unknown,
                (_, verdict) => verdict,
            };
            let since = known.map_or(now, |kept| kept.since);
            let reason = known.map(|kept| kept.reason.clone()).unwrap_or_default();
            slot.probe.take_back(now, asked.then(&mut spread), verdict, since, reason);
        }
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
        self.slot_mut(slot)?.probe.handle_answer(now, attempt, outcome, took, strictness)
    }

    pub fn handle_told(&mut self, now: Moment, slot: ProbeSlot) -> Option<Change> {
        let slot = self.slot_mut(slot)?;
        slot.told_early |= !slot.probe.is_on();
        slot.probe.handle_told(now)
    }

    pub fn handle_timeout(&mut self, now: Moment, slot: ProbeSlot, strictness: Strictness) -> Option<Change> {
        self.slot_mut(slot)?.probe.handle_timeout(now, strictness)
    }

    pub fn handle_suspended(&mut self, slept: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.probe.handle_suspended(slept));
    }

    pub fn poll_ask(&mut self, now: Moment) -> Option<(ProbeSlot, Ask)> {
        self.slots.iter_mut().find_map(|slot| Some((slot.number, slot.probe.poll_ask(now)?)))
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
