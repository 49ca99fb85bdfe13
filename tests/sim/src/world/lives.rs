//! What of the world outlives a guard, and what dies with it: programs and what they said live on, hands do not.

use super::{Deed, Happening, Life, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tutela_core::guard::{Guard, Input};
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::probe::Verdict;
use tutela_core::service::Exit;
use tutela_core::spec::ProbeKind;

/// A program that the next guard finds in the safe.
#[derive(Debug, Clone)]
pub struct Program {
    /// Whose it is.
    pub id: InstanceId,
    /// Its run.
    pub run: RunId,
    /// Its first process.
    pub pid: u32,
}

/// Of a hundred starts that the hands had before them when the guard was killed, so many were made.
const STARTED_LAST: u64 = 60;

/// Of a hundred of these, so many were deposited.
const DEPOSITED_LAST: u64 = 75;

impl World {
    /// The guard is killed, and its hands with it. `unheard` is what it had before it and did not get to note.
    ///
    /// # Errors
    /// The law that is broken by what it did last.
    pub fn guard_dies(&mut self, unheard: Option<(InstanceKey, Input)>, guard: &Guard) -> Result<(), String> {
        self.unguarded = true;
        let mut starts = Vec::new();
        if let Some((key, Input::Notice { run, notice })) = unheard {
            self.said.push(((key, run), notice));
        }
        for (at, what) in std::mem::take(&mut self.queue) {
            match what {
                Happening::News(key, Input::Notice { run, notice }) => self.said.push(((key, run), notice)),
                Happening::News(..) => {}
                Happening::World(Deed::Spawn(life)) => starts.push(life),
                Happening::World(deed) if !deed.is_of_the_programs() => {}
                other => drop(self.queue.insert(at, other)),
            }
        }
        for life in starts {
            if self.dice.percent(STARTED_LAST) {
                self.act(Deed::Spawn(life), guard)?;
                if let Some(tree) = self.trees.get_mut(&life) {
                    tree.deposited = self.dice.percent(DEPOSITED_LAST);
                }
            }
        }
        for tree in self.trees.values_mut() {
            tree.watched = false;
        }
        self.spawning.clear();
        self.hooks.clear();
        self.questions.clear();
        self.released.clear();
        self.earlier.clear();
        Ok(())
    }

    /// The computer boots: no program lives any more.
    pub fn boot(&mut self) {
        self.trees.clear();
        self.said.clear();
    }

    /// What is in the safe. A tree whose control group is gone is not to be had any more.
    pub fn programs(&self) -> Vec<Program> {
        let there = self.trees.iter().filter(|(_, tree)| tree.deposited && (tree.lives() || !self.groups));
        there.map(|((_, run), tree)| Program { id: tree.id.clone(), run: *run, pid: tree.pid }).collect()
    }

    /// The next guard takes these back; everything else is ended before it begins, unless it `spares` it.
    pub fn go_on_with(&mut self, heirs: &BTreeMap<InstanceId, (RunId, InstanceKey)>, spares: bool) {
        let mut keys: BTreeMap<Life, InstanceKey> = BTreeMap::new();
        let mut spared = 0;
        for (life, mut tree) in std::mem::take(&mut self.trees) {
            let heir = heirs.get(&tree.id).filter(|(run, _)| *run == life.1);
            if let Some((run, key)) = heir {
                (tree.taken, tree.start_told) = (true, self.now);
                let own = |held: &Life| (*held == life).then_some((*key, *run));
                tree.held = std::mem::take(&mut tree.held).into_iter().filter_map(|deed| deed.of(&own)).collect();
                keys.insert(life, *key);
                self.trees.insert((*key, *run), tree);
            } else if spares {
                spared += 1;
                self.trees.insert((InstanceKey(u32::MAX - spared), life.1), tree);
            }
        }
        let re_keyed = |life: &Life| keys.get(life).map(|key| (*key, life.1));
        for (at, what) in std::mem::take(&mut self.queue) {
            let what = match what {
                Happening::World(deed) => match deed.of(&re_keyed) {
                    Some(deed) => Happening::World(deed),
                    None => continue,
                },
                other => other,
            };
            self.queue.insert(at, what);
        }
        let said = std::mem::take(&mut self.said);
        self.said = said.into_iter().filter_map(|(life, notice)| Some((re_keyed(&life)?, notice))).collect();
    }

    /// These were known before this guard, whatever is left of them.
    pub fn knew(&mut self, key: InstanceKey, run: RunId) {
        self.earlier.insert(key, run);
    }

    /// The next guard has begun: it watches what it has taken back, and hears what was said meanwhile.
    /// Where it `loses_ends`, not how they ended.
    pub fn is_guarded(&mut self, guard: &Guard, loses_ends: bool) {
        self.unguarded = false;
        for ((key, run), notice) in std::mem::take(&mut self.said) {
            self.news(key, Input::Notice { run, notice });
        }
        let ended: Vec<(Life, Exit)> =
            self.trees.iter().filter_map(|(life, tree)| Some((*life, tree.ended.clone()?))).collect();
        for ((key, run), exit) in ended.into_iter().filter(|_| !loses_ends) {
            let exit = if self.tells_ends { exit } else { Exit::Unknown };
            self.news(key, Input::Exited { run, exit });
        }
        let unseen = self.trees.iter().filter(|(_, tree)| tree.listening && !tree.line_seen);
        let unseen: Vec<Life> = unseen.map(|(life, _)| *life).collect();
        for (key, run) in unseen {
            let probes = guard.instance(key).into_iter().flat_map(|(_, service)| service.probes());
            let waits = probes
                .filter(|(.., probe)| probe.spec().target.kind() == ProbeKind::Log && probe.verdict() != Verdict::Pass);
            for slot in waits.map(|(slot, ..)| slot).collect::<Vec<_>>() {
                self.news(key, Input::LogMatch { run, slot });
            }
        }
    }

    /// Whether somebody is shown as held still who is not, or the other way round.
    pub fn wrongly_held(&self, guard: &Guard) -> Option<InstanceId> {
        let wrong = self.trees.iter().find(|((key, run), tree)| {
            let service = guard.instance(*key).map(|(_, service)| service).filter(|service| service.run() == *run);
            service.is_some_and(|service| tree.lives() && tree.frozen != service.is_paused())
        });
        wrong.map(|(_, tree)| tree.id.clone())
    }

    /// Instances whose programs the guard believes to live and that have none.
    pub fn is_alive(&self, key: InstanceKey, run: RunId) -> bool {
        self.trees.get(&(key, run)).is_some_and(|tree| tree.main_lives)
    }

    /// Everything that is to happen, put off until a guard is there again.
    pub fn put_off(&mut self, span: Duration, deferred: Vec<Happening>) {
        for what in deferred {
            self.plan(span, what);
        }
    }

    /// Every living program, for the judge of it all.
    pub fn alive(&self) -> BTreeSet<(InstanceId, RunId)> {
        self.trees.iter().filter(|(_, tree)| tree.lives()).map(|((_, run), tree)| (tree.id.clone(), *run)).collect()
    }
}

impl Deed {
    /// Whether it goes on without a guard.
    fn is_of_the_programs(&self) -> bool {
        match self {
            Deed::Plan(..) | Deed::Exit(..) | Deed::ChildEnds(..) => true,
            Deed::Spawn(_)
            | Deed::Ask(..)
            | Deed::AskTree(_)
            | Deed::Sweep(_)
            | Deed::Kill(_)
            | Deed::HookEnds(..)
            | Deed::Answer(..) => false,
        }
    }

    /// The same, of whoever this life is from here on; `None` when it is over.
    fn of(self, whose: &impl Fn(&Life) -> Option<Life>) -> Option<Deed> {
        Some(match self {
            Deed::Plan(life, plan, step) => Deed::Plan(whose(&life)?, plan, step),
            Deed::Exit(life, exit) => Deed::Exit(whose(&life)?, exit),
            Deed::ChildEnds(life, pid) => Deed::ChildEnds(whose(&life)?, pid),
            other => other,
        })
    }
}
