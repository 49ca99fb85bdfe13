//! What the hands make of the guard's actions: each one takes its time, and each one that owes an answer gives it.

use super::program::killed;
use super::{Deed, Happening, HookRun, Life, Question, World};
use std::time::Duration;
use tutela_core::guard::{Guard, Input};
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::probe::{HANDS_GRACE, Outcome};
use tutela_core::service::{Action, Exit, HookKind, HookOutcome, ProbeRole, ProbeSlot};
use tutela_core::spec::{ProbeKind, StopStep};

impl World {
    /// The guard wants something done.
    ///
    /// # Errors
    /// The law that is broken by wanting it.
    pub fn take(&mut self, key: InstanceKey, action: Action, guard: &Guard) -> Result<(), String> {
        let after = self.latency();
        match action {
            Action::Spawn { run } => {
                if !self.spawning.insert((key, run)) || self.trees.contains_key(&(key, run)) {
                    return Err(format!("{key:?} {run:?} is started twice"));
                }
                let slow = !self.calm && self.dice.percent(3);
                let after = if slow { self.dice.millis(100, 8_000) } else { after };
                self.deed(after, Deed::Spawn((key, run)));
            }
            Action::Ask { run, rung, step } => {
                if step == StopStep::Kill {
                    return Err(format!("{key:?} {run:?} is asked with a kill"));
                }
                if !self.calm && self.dice.percent(10) {
                    // Now and then so late that the next rung was taken already.
                    let after = if self.dice.percent(20) { self.dice.millis(0, 20_000) } else { after };
                    let input = Input::Undelivered { run, rung, step, reason: "nobody there".to_owned() };
                    self.plan(after, Happening::News(key, input));
                } else {
                    self.deed(after, Deed::Ask((key, run), step));
                }
            }
            Action::Sweep { run } => self.deed(after, Deed::Sweep((key, run))),
            Action::AskTree { run } => self.deed(after, Deed::AskTree((key, run))),
            Action::EndTree { run } => self.deed(after, Deed::Kill((key, run))),
            Action::RunHook { run, kind, index, timeout } => {
                return self.run_hook(key, run, kind, index, timeout, guard);
            }
            Action::CancelHook { run } => {
                let open = self.hooks.get(&key).filter(|hook| hook.run == run);
                let Some(number) = open.map(|hook| hook.number) else {
                    return Err(format!("{key:?} {run:?} has no hook that could be cancelled"));
                };
                self.deed(after, Deed::HookEnds(key, number, HookOutcome::Cancelled));
            }
            Action::Probe { run, slot, attempt, timeout } => {
                return self.question((key, run), slot, attempt, timeout, guard);
            }
            // The conductor does these itself, in the order in which it is told.
            Action::Freeze { run } => self.freeze((key, run)),
            Action::Thaw { run } => self.thaw((key, run)),
            Action::ApplyLimits { run } => {
                if self.released.contains(&(key, run)) {
                    return Err(format!("{key:?} {run:?} gets limits after its end"));
                }
            }
            Action::Release { run } => return self.release((key, run)),
        }
        Ok(())
    }

    fn release(&mut self, life: Life) -> Result<(), String> {
        if self.trees.get(&life).is_some_and(|tree| tree.lives()) {
            return Err(format!("{life:?} is released while something of it lives"));
        }
        self.trees.remove(&life);
        if !self.released.insert(life) {
            return Err(format!("{life:?} is released twice"));
        }
        Ok(())
    }

    fn freeze(&mut self, life: Life) {
        if let Some(tree) = self.trees.get_mut(&life) {
            tree.frozen = true;
        }
    }

    fn thaw(&mut self, life: Life) {
        let Some(tree) = self.trees.get_mut(&life) else { return };
        tree.frozen = false;
        for deed in std::mem::take(&mut tree.held) {
            self.deed(Duration::from_millis(1), deed);
        }
    }

    // ---- hooks ----

    fn run_hook(
        &mut self,
        key: InstanceKey,
        run: RunId,
        kind: HookKind,
        index: usize,
        timeout: Duration,
        guard: &Guard,
    ) -> Result<(), String> {
        if self.hooks.contains_key(&key) {
            return Err(format!("{key:?} has two hooks at once"));
        }
        let Some((id, service)) = guard.instance(key) else { return Err(format!("{key:?} is gone and has a hook")) };
        let hooks = &service.spec().hooks;
        let list = match kind {
            HookKind::BeforeStart => &hooks.before_start,
            HookKind::AfterReady => &hooks.after_ready,
            HookKind::BeforeStop => &hooks.before_stop,
            HookKind::AfterExit => &hooks.after_exit,
        };
        if list.get(index).is_none() {
            return Err(format!("{id} has no {} hook {index}", kind.word()));
        }
        self.next_hook += 1;
        let number = self.next_hook;
        self.hooks.insert(key, HookRun { number, run, ended: false });
        let after = self.dice.millis(0, 600).min(timeout);
        let (after, outcome) = match self.dice.below(20) {
            _ if self.calm => (after, HookOutcome::Success),
            0..=1 => (after, HookOutcome::Failed("exited with code 1".to_owned())),
            2 => (timeout, HookOutcome::TimedOut),
            _ => (after, HookOutcome::Success),
        };
        self.deed(after, Deed::HookEnds(key, number, outcome));
        if kind == HookKind::BeforeStop && self.dice.percent(10) {
            self.deed(after / 2, Deed::Exit((key, run), Exit::Code(0)));
        }
        Ok(())
    }

    pub(super) fn hook_ends(&mut self, key: InstanceKey, number: u64, outcome: HookOutcome) {
        let Some(hook) = self.hooks.get_mut(&key).filter(|hook| hook.number == number && !hook.ended) else { return };
        hook.ended = true;
        let run = hook.run;
        self.news(key, Input::HookDone { run, outcome });
    }

    // ---- probes ----

    fn question(
        &mut self,
        (key, run): Life,
        slot: ProbeSlot,
        attempt: u64,
        timeout: Duration,
        guard: &Guard,
    ) -> Result<(), String> {
        let Some((id, service)) = guard.instance(key) else { return Err(format!("{key:?} is gone and is probed")) };
        let Some((_, _, name, probe)) = service.probes().find(|(number, ..)| *number == slot) else {
            // A reload in the same call took the probe away again.
            return Ok(());
        };
        if probe.spec().target.is_passive() {
            return Err(format!("{id} is asked by its probe {name}, which waits to be told"));
        }
        let question = Question { run, attempt, asked: self.now, expires: self.now + timeout + HANDS_GRACE };
        if let Some(open) = self.questions.insert((key, slot), question)
            && open.run == run
            && open.expires > self.now
            // A probe that began anew since (a pause ended, its target changed) has forgotten the question.
            && probe.since() < open.asked
        {
            return Err(format!("{id} is asked by its probe {name} while an earlier question is open"));
        }
        if !self.calm && self.dice.percent(3) {
            // Nobody ever answers.
            return Ok(());
        }
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let after =
            if self.dice.percent(90) { self.dice.millis(0, millis.min(20)) } else { self.dice.millis(0, millis) };
        self.deed(after, Deed::Answer((key, run), slot, attempt));
        Ok(())
    }

    pub(super) fn answer(&mut self, (key, run): Life, slot: ProbeSlot, attempt: u64, guard: &Guard) {
        let service = guard.instance(key).map(|(_, service)| service);
        let probe = service.into_iter().flat_map(|service| service.probes()).find(|(number, ..)| *number == slot);
        let Some((_, role, _, probe)) = probe else { return };
        if probe.spec().target.kind() != ProbeKind::Tcp {
            return;
        }
        let tree = self.trees.get(&(key, run));
        let outcome = if role == ProbeRole::Dependency {
            match self.dice.below(10) {
                _ if self.calm => Outcome::Pass,
                0..=2 => Outcome::Refused("connection refused".to_owned()),
                3 => Outcome::Failed("reset".to_owned()),
                _ => Outcome::Pass,
            }
        } else {
            match tree {
                Some(tree) if tree.frozen => Outcome::Failed("no answer".to_owned()),
                Some(tree) if tree.listening && tree.sick => Outcome::Failed("status 500".to_owned()),
                Some(tree) if tree.listening => {
                    let flaky = tree.program.flaky;
                    if self.dice.percent(flaky) { Outcome::Failed("status 503".to_owned()) } else { Outcome::Pass }
                }
                Some(_) | None => Outcome::Refused("connection refused".to_owned()),
            }
        };
        self.news(key, Input::Answer { run, slot, attempt, outcome, took: Duration::from_millis(1) });
    }

    // ---- ends ----

    pub(super) fn ask(&mut self, life: Life, step: StopStep) {
        let Some(tree) = self.trees.get_mut(&life) else { return };
        if !tree.main_lives {
            return;
        }
        if tree.frozen {
            tree.held.push(Deed::Ask(life, step));
            return;
        }
        if let Some(after) = tree.program.obeys.filter(|_| tree.program.hears(&step)) {
            self.deed(after, Deed::Exit(life, Exit::Code(0)));
        }
    }

    pub(super) fn ask_tree(&mut self, life: Life) {
        let Some(tree) = self.trees.get(&life) else { return };
        let obeying: Vec<(u32, Duration)> =
            tree.children.iter().filter_map(|child| Some((child.pid, child.obeys?))).collect();
        for (pid, after) in obeying {
            self.deed(after, Deed::ChildEnds(life, pid));
        }
    }

    pub(super) fn sweep(&mut self, (key, run): Life) -> Result<(), String> {
        let Some(tree) = self.trees.get_mut(&(key, run)) else {
            if self.earlier.get(&key) == Some(&run) && !self.released.contains(&(key, run)) {
                // Nothing of it outlived its guard.
                self.news(key, Input::TreeEmpty { run });
                return Ok(());
            }
            // Looked for once more than was needed: by then the run is released.
            let known = self.released.contains(&(key, run));
            return if known { Ok(()) } else { Err(format!("{key:?} {run:?} is looked for and never was")) };
        };
        if tree.lives() {
            tree.watched = true;
            let left = tree.processes();
            self.news(key, Input::TreeLeft { run, left });
        } else {
            self.news(key, Input::TreeEmpty { run });
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, life: Life) -> Result<(), String> {
        let (key, run) = life;
        let Some(tree) = self.trees.get_mut(&life) else {
            let known = self.released.contains(&life) || self.earlier.get(&key) == Some(&run);
            return if known { Ok(()) } else { Err(format!("{life:?} is killed and never was")) };
        };
        let survivors = tree.processes();
        tree.watched = true;
        let children: Vec<(u32, Duration)> = tree.children.iter().map(|child| (child.pid, child.stuck)).collect();
        self.news(key, Input::TreeKilled { run, survivors });
        for (pid, stuck) in children {
            if stuck.is_zero() {
                self.child_ends(life, pid);
            } else {
                self.deed(stuck, Deed::ChildEnds(life, pid));
            }
        }
        self.exit(life, killed(9, "SIGKILL"));
        self.tell_if_empty(life);
        Ok(())
    }
}
