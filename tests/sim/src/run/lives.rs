//! The end of a guard at any moment, the time after it, and the beginning of the next one.

use super::{Dies, Run, Told, sketch};
use crate::dice::Dice;
use crate::keeping::{Whole, stamps};
use crate::link::Link;
use crate::reference::Legacy;
use crate::specs;
use crate::world::{Happening, Kept};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::Estate;
use tutela_core::spec::GuardSpec;

/// Of a hundred deaths, so many take what was noted with them: the computer boots, or the notes' keeper dies too.
const BOOTS: u64 = 12;

/// Of a hundred guards, so many begin with another spec than the last one had.
const OTHER_SPECS: u64 = 25;

/// Actions of one step, and a reserve: a common stop has one for each instance.
const ACTIONS: u64 = 4;

/// Bytes of notes that a step writes, and a reserve: some kilobytes.
const BYTES: u64 = 6_000;

/// The purpose of the first guard's own dice; each later guard has the next.
const DICE: u64 = 100;

impl Run<'_> {
    /// The guard is killed: between two steps, or in the next one.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.dies = match self.operator.below(10) {
            0..=3 => return self.die(Told::Time),
            4..=6 => Some(Dies::Acting(self.operator.below(ACTIONS))),
            _ => Some(Dies::Noting(usize::try_from(self.operator.below(BYTES)).unwrap_or(0))),
        };
        Ok(())
    }

    /// Notes down what a step has brought. Answers what that is, when it is there whole.
    pub(super) fn note(&mut self, told: Told<'_>, gone: &[(InstanceKey, InstanceId)]) -> Result<Option<Whole>, String> {
        let now = self.world.now;
        let left = match self.dies {
            Some(Dies::Noting(left)) => Some(left),
            Some(Dies::Acting(_)) | None => None,
        };
        for (_, id) in gone {
            self.keeping.save_gone(now, id);
            self.reference.save_gone(self.keeping.arrives(now), id);
        }
        self.keeping.tear_after(left);
        let touched = self.link.take_touched();
        let link = &self.link;
        let whole = self.keeping.note(link.guard(), |key| link.estate(key), &touched, gone);
        if whole.is_some() {
            gone.iter().for_each(|(_, id)| self.reference.note_gone(id));
        }
        if left.is_none() {
            let (by, ids) = self.keeping.save(now, link.guard(), |key| link.is_asked_down(key), &touched);
            self.reference.save(by, &ids);
            let told_of = match told {
                Told::News(key, _) => Some(key).filter(|key| link.guard().instance(*key).is_some()),
                Told::Words | Told::Time | Told::Sleep(_) => None,
            };
            for key in told_of.into_iter().chain(touched) {
                if let Some(difference) = self.keeping.difference(link.guard(), key) {
                    return Err(format!("what is noted of {key:?} is not how it stands: {difference}"));
                }
            }
        }
        Ok(whole)
    }

    /// The guard is killed at this very moment; some time later there is another one.
    pub(super) fn die(&mut self, told: Told<'_>) -> Result<(), String> {
        let when = self.dies.take();
        self.figures.deaths += 1;
        let boots = self.operator.percent(BOOTS);
        self.say(|| {
            format!("the guard is killed ({when:?}){}", if boots { ", and all that was noted is lost" } else { "" })
        });
        let unheard = match told {
            Told::News(key, input) if when.is_some() => Some((key, input.clone())),
            Told::News(..) | Told::Words | Told::Time | Told::Sleep(_) => None,
        };
        self.world.guard_dies(unheard, self.link.guard())?;
        self.keeping.guard_dies(self.world.now);
        self.reference.guard_dies(self.world.now);
        if boots {
            self.figures.boots += 1;
            self.keeping.lose_slate();
            self.reference.lose_notes();
            self.world.boot();
        }
        let deferred = self.wait_for_guard()?;
        let spec = self.next_spec();
        self.begin_again(spec)?;
        self.world.put_off(Duration::ZERO, deferred);
        Ok(())
    }

    /// Nobody is there for a while. Answers with what waits for a guard.
    fn wait_for_guard(&mut self) -> Result<Vec<Happening>, String> {
        let gap = match self.operator.below(10) {
            0..=4 => Duration::from_micros(self.operator.below(50_000)),
            5..=8 => self.operator.millis(0, 3_000),
            _ => self.operator.millis(0, 90_000),
        };
        let until = self.world.now + gap;
        let mut deferred = Vec::new();
        while self.world.next_at().is_some_and(|at| at <= until) {
            self.world.now = self.world.now.max(self.world.next_at().unwrap_or(until));
            match self.world.take_next() {
                Some(Happening::World(deed)) => {
                    self.say(|| format!("        world: {deed:?}"));
                    self.world.act(deed, self.link.guard())?;
                }
                Some(other) => deferred.push(other),
                None => {}
            }
        }
        self.world.now = self.world.now.max(until);
        Ok(deferred)
    }

    fn next_spec(&mut self) -> GuardSpec {
        let spec = self.reference.spec().clone();
        if !self.operator.percent(OTHER_SPECS) {
            return spec;
        }
        let next = self.author.next(&spec);
        if next.name == spec.name { next } else { spec }
    }

    fn begin_again(&mut self, spec: GuardSpec) -> Result<(), String> {
        let now = self.world.now;
        self.say(|| format!("another guard begins: {}", sketch(&spec)));
        let dice = Dice::new(self.seed, DICE + self.figures.deaths);
        self.link = Link::new(now, spec.clone(), dice, self.mutation);
        let (mut ledger, mut kept_down) = (BTreeMap::new(), BTreeSet::new());
        for (id, remembered) in self.keeping.read_disk()? {
            if remembered.kept_down {
                kept_down.insert(id.clone());
            }
            self.link.restore(&id, remembered.run, remembered.history.clone());
            ledger.insert(id, (remembered.run, remembered.history));
        }
        let left = self.keeping.read_slate()?;
        let (read, noted) = (left.estates.keys().cloned().collect::<BTreeSet<_>>(), self.reference.noted_ids());
        if read != noted {
            return Err(format!("of {noted:?} something was noted, and of {read:?} it is read"));
        }
        let programs = self.world.programs();
        let found: Vec<(InstanceId, RunId)> = programs.iter().map(|it| (it.id.clone(), it.run)).collect();
        self.reference.lives_are_remembered(&ledger, &kept_down)?;
        let gone = specs::gone;
        let legacy = Legacy { spec, programs: &found, ledger: &ledger, kept_down: &kept_down, gone };
        let expected = self.reference.live_again(now, &legacy);
        let heirs = self.inherit(&left.estates, &left.stamps, programs);
        if let Some((id, run)) = expected.iter().find(|(id, run)| heirs.get(*id).map(|(run, _)| run) != Some(*run)) {
            return Err(format!("{id} lives on as {run:?} and is not taken back"));
        }
        self.figures.heirs += heirs.len() as u64;
        self.world.go_on_with(&heirs, self.link.spares_leftovers());
        self.link.begin(now, &kept_down);
        self.due_since = None;
        self.calls = (now, 0);
        self.dies = match self.operator.below(100) {
            0..=3 => Some(Dies::Acting(self.operator.below(ACTIONS))),
            4..=9 => Some(Dies::Noting(usize::try_from(self.operator.below(BYTES)).unwrap_or(0))),
            _ => None,
        };
        if self.settle(Told::Words)?.is_none() {
            return Ok(());
        }
        self.reference.ladders_go_on(self.link.guard())?;
        if let Some(id) = self.world.wrongly_held(self.link.guard()) {
            return Err(format!("{id} is not held still as it is shown"));
        }
        self.world.is_guarded(self.link.guard(), self.link.loses_ends());
        Ok(())
    }

    /// As the real guard does it: programs by their estates, and of two runs of one instance the later one.
    fn inherit(
        &mut self,
        estates: &BTreeMap<InstanceId, Estate>,
        started_with: &BTreeMap<InstanceId, tutela_core::stamp::Stamps>,
        programs: Vec<Kept>,
    ) -> BTreeMap<InstanceId, (RunId, InstanceKey)> {
        let now = self.world.now;
        let mut living: BTreeMap<InstanceId, Kept> = BTreeMap::new();
        for program in programs {
            let lives = estates.get(&program.id).is_some_and(|estate| self.link.is_heir(estate, program.run));
            let later = living.get(&program.id).is_none_or(|other| other.run < program.run);
            if lives && later {
                living.insert(program.id.clone(), program);
            }
        }
        let mut heirs = BTreeMap::new();
        for (id, estate) in estates {
            let heir = living.get(id).map(|program| (program.run, program.pid));
            let differing = |spec: &tutela_core::spec::ServiceSpec| {
                let was = started_with.get(id).cloned().unwrap_or_default();
                was.differing(&stamps(spec, id.index))
            };
            let run = estate.run;
            let key = self.link.inherit(now, id, estate.clone(), heir, differing, || specs::gone(&id.service));
            match (key, heir) {
                (Some(key), heir) => {
                    self.world.knew(key, heir.map_or(run, |(run, _)| run));
                    heirs.extend(heir.map(|(run, _)| (id.clone(), (run, key))));
                }
                (None, _) => {
                    self.keeping.give_up(id);
                    self.reference.note_gone(id);
                }
            }
        }
        heirs
    }
}
