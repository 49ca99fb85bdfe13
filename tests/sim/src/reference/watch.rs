//! Hears what the guard hears and judges what it says and does, event by event and action by action.

use super::policy::Follows;
use super::{End, Model, Reference, StopWay};
use std::time::Duration;
use tutela_core::guard::{Event, Guard, Input};
use tutela_core::names::{InstanceId, InstanceKey};
use tutela_core::probe::Outcome;
use tutela_core::service::{self, Action, Cause, HookKind, Notice, ProbeRole, Service, StateName};
use tutela_core::spec::{LadderStep, ProbeKind, StartMode, StopStep};
use tutela_core::time::Moment;

/// What the guard is told in a step.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// An operator's words.
    Words,
    /// News of an instance.
    News(InstanceKey, &'a Input),
    /// That time has passed.
    Time,
    /// That the computer slept.
    Sleep(Duration),
}

/// A sentence about a law that was broken.
pub(super) type Law = Result<(), String>;

pub(super) fn law(holds: bool, broken: impl FnOnce() -> String) -> Law {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Reference {
    /// Hears what the guard is about to be told.
    pub fn hear(&mut self, now: Moment, told: Told<'_>) {
        self.now = now;
        match told {
            Told::Words | Told::Time => {}
            Told::Sleep(span) => {
                for model in self.models.values_mut() {
                    if let Some((_, _, slept)) = &mut model.asked {
                        *slept += span;
                    }
                    model.recovers_at = model.recovers_at.map(|at| at + span);
                }
            }
            Told::News(key, input) => self.hear_news(key, input),
        }
    }

    fn hear_news(&mut self, key: InstanceKey, input: &Input) {
        let Some(model) = self.models.values_mut().find(|model| model.key == Some(key)) else { return };
        match input {
            Input::Exited { run, exit } if *run == model.run && model.program => {
                if !matches!(model.state, StateName::Stopping) {
                    model.end = Some(End::Exited(exit.clone()));
                }
            }
            Input::Answer { run, slot, outcome: Outcome::Pass, .. } | Input::LogMatch { run, slot }
                if *run == model.run =>
            {
                model.yes.insert(*slot);
            }
            Input::Notice { run, notice: Notice::Ready } if *run == model.run => model.said_ready = true,
            Input::Notice { run, notice: Notice::ExtendTimeout(_) } if *run == model.run => {
                // The ladder is as long as the program wants from here on.
                model.ladder_holds = false;
            }
            Input::Undelivered { run, rung, .. } if *run == model.run => {
                let asked = model.asked.map(|(_, rung, _)| rung) == Some(*rung);
                let stopping = model.state == StateName::Stopping && model.program && !model.killed;
                model.unheard = asked && stopping;
            }
            Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::TreeEmpty { .. }
            | Input::TreeLeft { .. }
            | Input::Undelivered { .. }
            | Input::TreeKilled { .. }
            | Input::HookDone { .. }
            | Input::Answer { .. }
            | Input::LogMatch { .. }
            | Input::Notice { .. } => {}
        }
    }

    // ---- events ----

    /// Judges a fact that the guard published.
    ///
    /// # Errors
    /// The law that it breaks.
    pub fn event(&mut self, event: &Event, guard: &Guard) -> Law {
        match event {
            Event::Commanded { .. } | Event::Reloaded { .. } => Ok(()),
            Event::Added { key, id } => {
                let model = self.models.get_mut(id).ok_or_else(|| format!("{id} was added and nobody wanted it"))?;
                law(model.key.is_none(), || format!("{id} was added twice"))?;
                model.key = Some(*key);
                Ok(())
            }
            Event::Removed { id, .. } => {
                let gone = self.models.remove(id).ok_or_else(|| format!("{id} was removed and was not there"))?;
                self.group.remove(id);
                if let Some(delayed) = &mut self.delayed {
                    delayed.kept_down.remove(id);
                }
                law(gone.retired, || format!("{id} was removed and is in the spec"))?;
                law(gone.is_at_rest(), || format!("{id} was removed while {}", gone.state.word()))
            }
            Event::Instance { id, event, .. } => self.instance_event(id, event, guard),
        }
    }

    fn instance_event(&mut self, id: &InstanceId, event: &service::Event, guard: &Guard) -> Law {
        let now = self.now;
        if let service::Event::State { from, to, cause } = event {
            return self.transition(id, *from, *to, cause, guard);
        }
        let Some(model) = self.models.get_mut(id) else { return Err(format!("{id} speaks and is not there")) };
        match event {
            service::Event::Started { run, .. } => {
                law(*run == model.run && !model.program, || format!("{id} says that it started twice"))?;
                (model.program, model.ran, model.started) = (true, true, now);
                Ok(())
            }
            service::Event::Exited { run, ran, .. } => {
                law(*run == model.run && model.program, || format!("{id} says that it ended twice"))?;
                (model.program, model.ended) = (false, now);
                let expected = now.since(model.started);
                law(*ran == expected, || format!("{id} ran for {expected:?}, not {ran:?}"))
            }
            service::Event::Recovered => {
                if model.state == StateName::Running {
                    let due = model.recovers_at.take().is_some_and(|at| at <= now);
                    law(due, || format!("{id} recovered before its time"))?;
                    model.forgive();
                } else {
                    law(model.half_open, || format!("{id} recovered from nothing"))?;
                }
                Ok(())
            }
            service::Event::Cooldown { until, .. } | service::Event::HalfOpenFailed { until } => {
                model.cooldown_told = Some(*until);
                Ok(())
            }
            service::Event::Paused => {
                model.paused = true;
                law(model.state == StateName::Running, || format!("{id} was paused while {}", model.state.word()))
            }
            service::Event::Resumed => {
                model.paused = false;
                Ok(())
            }
            service::Event::TakenBack { run, pid, state } => {
                let fits = *state == model.state && *run == model.run && pid.is_some() == model.program;
                law(fits, || {
                    let lives = if model.program { "with its program" } else { "without a program" };
                    let (word, told) = (model.state.word(), state.word());
                    format!("{id} goes on {told} as {run:?} of {pid:?}, not {word} as {:?} {lives}", model.run)
                })
            }
            service::Event::Resisted { survivors } => {
                law(!survivors.is_empty() && model.state == StateName::Stopping, || format!("nobody of {id} resisted"))
            }
            service::Event::Undelivered { .. } => law(model.state == StateName::Stopping, || {
                format!("{id} was asked to end while {}", model.state.word())
            }),
            service::Event::Probe { role: ProbeRole::Ready, passes, .. } => {
                model.not_ready = !passes;
                Ok(())
            }
            service::Event::State { .. }
            | service::Event::StartFailed { .. }
            | service::Event::Probe { .. }
            | service::Event::HookFailed { .. } => Ok(()),
        }
    }

    fn transition(&mut self, id: &InstanceId, from: StateName, to: StateName, cause: &Cause, guard: &Guard) -> Law {
        let jump = || format!("{id} went from {} to {}", from.word(), to.word());
        let key = self.models.get(id).and_then(|model| model.key);
        let Some((_, service)) = key.and_then(|key| guard.instance(key)) else {
            // It goes in this very step: `Removed` tells whether it was at rest by then.
            let Some(model) = self.models.get_mut(id) else { return Err(jump()) };
            model.state = to;
            return law(!model.wanted && to != StateName::Starting, jump);
        };
        law(self.models[id].state == from, || format!("{}, but was {}", jump(), self.models[id].state.word()))?;
        if matches!(to, StateName::Starting | StateName::Waiting | StateName::Cooldown) && from == StateName::Stopped {
            self.may_wake(id)?;
        }
        if to == StateName::Starting {
            self.needs_serve(id, guard)?;
        }
        if to == StateName::Stopping {
            self.may_end(id, cause)?;
        }
        let now = self.now;
        let Some(model) = self.models.get_mut(id) else { return Err(jump()) };
        let until = service.next().and_then(|next| next.at);
        match (from, to) {
            (StateName::Stopping, _) => model.follows(now, id, to, until)?,
            (StateName::Stopped, StateName::Cooldown) => {
                let kept = model.cooldown_until;
                law(until == kept && kept > Some(now), || {
                    format!("{id} keeps a cool-down until {until:?}, not {kept:?}")
                })?;
            }
            (StateName::Stopped, StateName::Starting | StateName::Waiting) => {
                // A cool-down that ran out before this guard; a start by hand has forgiven it.
                if let Some(kept) = model.cooldown_until.take() {
                    law(kept <= now, || format!("{id} starts within its cool-down"))?;
                    model.half_open = true;
                    model.restarts += 1;
                }
            }
            (StateName::Backoff | StateName::Cooldown, StateName::Starting | StateName::Waiting) => {
                let over = model.until.is_some_and(|until| until <= now);
                law(over || model.kicked, || format!("{id} left its {} too early", from.word()))?;
                if from == StateName::Cooldown && !model.kicked {
                    model.half_open = true;
                    model.restarts += 1;
                    model.cooldown_until = None;
                }
            }
            (StateName::Failed | StateName::Done, StateName::Starting | StateName::Waiting) => {
                law(model.kicked, || format!("{}: nobody asked", jump()))?;
            }
            (StateName::Waiting, StateName::Starting) => {}
            (StateName::Starting, StateName::Running) => {
                law(model.program, || format!("{id} runs without a program"))?;
                model.is_ready(id, service)?;
                // One that is to stop, but not yet, is forgiven when it does: until then it may still recover.
                let recovers_at = model.half_open.then(|| now + service.spec().restart.within);
                // Nor is one judged that is ended in the same step, for a spec that has come meanwhile.
                let goes_on = model.wanted && service.state_name() == StateName::Running;
                law(until == recovers_at || !goes_on, || format!("{id} recovers at {until:?}, not {recovers_at:?}"))?;
                model.recovers_at = until.filter(|_| service.state_name() == StateName::Running);
            }
            (StateName::Starting | StateName::Running, StateName::Stopping) => {
                model.end.get_or_insert(End::Failed);
                model.must_end = false;
                model.again |= model.torn;
                model.asked = None;
                model.ladder_holds = !model.outdated;
                model.recovers_at = None;
            }
            (
                StateName::Waiting | StateName::Backoff | StateName::Cooldown | StateName::Failed | StateName::Done,
                StateName::Stopped,
            ) => law(!model.wanted || model.torn, || format!("{} and is wanted up", jump()))?,
            _ => return Err(jump()),
        }
        (model.state, model.until) = (to, until);
        if model.is_at_rest() {
            model.outdated = false;
        }
        if to == StateName::Starting {
            model.begin_run(id, service)?;
        }
        Ok(())
    }

    /// Whether something asked for an instance that was stopped: an operator, the spec, a common restart or the
    /// start of delayed services.
    fn may_wake(&mut self, id: &InstanceId) -> Law {
        if self.is_wanted(id) {
            return Ok(());
        }
        if self.group.contains(id) {
            let open = self.group.iter().find(|other| self.models[*other].state != StateName::Stopped);
            law(open.is_none(), || format!("{id} starts again before {open:?} is stopped"))?;
            for other in std::mem::take(&mut self.group) {
                self.want_up(&other);
            }
            return Ok(());
        }
        if let Some(delayed) = &self.delayed {
            let due = delayed.until <= self.now || self.all_settled();
            law(due, || format!("{id} starts before the others settled"))?;
            self.start_delayed();
        }
        law(self.is_wanted(id), || format!("{id} starts and nobody wants it"))
    }

    /// The turn of delayed services has come.
    pub(super) fn start_delayed(&mut self) {
        let starts = self.delayed_to_start();
        self.delayed = None;
        for id in starts {
            if let Some(model) = self.models.get_mut(&id) {
                model.wanted = true;
                model.again = model.state == StateName::Stopping;
            }
        }
    }

    /// Who starts with delayed services: they, what they need, but for those that an operator stopped.
    pub(super) fn delayed_to_start(&self) -> Vec<InstanceId> {
        let Some(delayed) = &self.delayed else { return Vec::new() };
        let wanted = self.starting_with(StartMode::Delayed, &delayed.kept_down);
        let starts = |id: &InstanceId, model: &Model| {
            wanted.contains(&id.service)
                && !self.is_disabled(&id.service)
                && !model.retired
                && !model.wanted
                && !self.group.contains(id)
                && !delayed.kept_down.contains(id)
        };
        self.models.iter().filter(|(id, model)| starts(id, model)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn all_settled(&self) -> bool {
        self.models.iter().all(|(id, model)| {
            let auto = self.spec.services.get(&id.service).is_some_and(|service| service.start == StartMode::Auto);
            let on_its_way = matches!(model.state, StateName::Waiting | StateName::Starting | StateName::Stopping);
            model.retired || !auto || !on_its_way
        })
    }

    fn needs_serve(&self, id: &InstanceId, guard: &Guard) -> Law {
        let needs = self.spec.services.get(&id.service).map_or(&[][..], |service| &service.needs);
        for need in needs {
            let served = self.is_served(need, guard, true) || self.is_served(need, guard, false);
            law(served, || format!("{id} starts while {need} does not serve"))?;
        }
        Ok(())
    }

    /// Whether a program may begin to end at this moment.
    fn may_end(&self, id: &InstanceId, cause: &Cause) -> Law {
        let model = &self.models[id];
        let by_word = match cause {
            Cause::Asked { .. }
            | Cause::Because(_)
            | Cause::GuardEnding
            | Cause::Reloaded(_)
            | Cause::Disabled
            | Cause::Kept(_) => true,
            Cause::GuardStarted
            | Cause::Manual
            | Cause::Delayed
            | Cause::Needs { .. }
            | Cause::Ended(_)
            | Cause::Hook { .. }
            | Cause::StartTimeout(_)
            | Cause::StartupFailed(_)
            | Cause::Unhealthy(_)
            | Cause::Ready(_)
            | Cause::BackoffOver
            | Cause::CrashLoop { .. }
            | Cause::HalfOpen
            | Cause::HalfOpenFailed(_)
            | Cause::KeptCooldown
            | Cause::Unkillable(_) => false,
        };
        if !by_word {
            return Ok(());
        }
        law(!model.wanted || model.must_end || model.torn, || format!("{id} is ended and is wanted up"))?;
        law(!model.begun, || format!("{id} is ended in the moment of its start"))?;
        let in_order = !model.wanted && model.program && model.stop_way == StopWay::InOrder;
        law(!in_order || !self.has_living_dependents(&id.service), || {
            format!("{id} is stopped while something that needs it lives")
        })
    }

    // ---- actions ----

    /// Judges what the guard wants done.
    ///
    /// # Errors
    /// The law that it breaks.
    pub fn action(&mut self, key: InstanceKey, action: &Action) -> Law {
        let now = self.now;
        let Some((id, model)) = self.models.iter_mut().find(|(_, model)| model.key == Some(key)) else {
            return law(matches!(action, Action::Release { .. }), || format!("{key:?} is gone and is to {action:?}"));
        };
        match action {
            Action::Spawn { run } => {
                law(model.wanted, || format!("{id} is spawned and is wanted down"))?;
                let fits = model.state == StateName::Starting && *run == model.run && !model.program;
                law(fits, || format!("{id} is spawned as {run:?} while {}", model.state.word()))
            }
            Action::RunHook { kind: HookKind::BeforeStart, .. } => {
                law(model.wanted, || format!("{id} is made ready for a start and is wanted down"))
            }
            Action::Ask { step, .. } => model.asked_with(now, id, step),
            Action::EndTree { .. } => model.ended_by_force(now, id),
            Action::RunHook { .. }
            | Action::Sweep { .. }
            | Action::AskTree { .. }
            | Action::CancelHook { .. }
            | Action::Probe { .. }
            | Action::Freeze { .. }
            | Action::Thaw { .. }
            | Action::ApplyLimits { .. }
            | Action::Release { .. } => Ok(()),
        }
    }
}

impl Model {
    fn begin_run(&mut self, id: &InstanceId, service: &Service) -> Law {
        law(!self.program, || format!("{id} begins a run while its program lives"))?;
        let run = service.run();
        law(run.0 == self.run.0 + 1, || format!("{id} begins {run:?} after {:?}", self.run))?;
        self.run = run;
        self.begun = true;
        self.ran = false;
        self.outdated = false;
        self.hurried = false;
        self.killed = false;
        self.end = None;
        self.yes.clear();
        (self.said_ready, self.said_before) = (false, false);
        Ok(())
    }

    fn follows(&mut self, now: Moment, id: &InstanceId, to: StateName, until: Option<Moment>) -> Law {
        let follows = self.judge(now);
        self.again = false;
        let told = self.cooldown_told.take();
        let fits = match follows {
            Follows::Final(state) => to == state,
            Follows::Start => matches!(to, StateName::Starting | StateName::Waiting),
            Follows::Backoff(earliest, latest) => {
                to == StateName::Backoff && until.is_some_and(|until| (earliest..=latest).contains(&until))
            }
            Follows::Cooldown(exact) => to == StateName::Cooldown && until == Some(exact) && told == Some(exact),
        };
        law(fits, || format!("{id} ended ({:?}); {} until {until:?} follows, not {follows:?}", self.end, to.word()))
    }

    /// Running means that the program answered where it is asked.
    fn is_ready(&self, id: &InstanceId, service: &Service) -> Law {
        for (slot, role, name, probe) in service.probes() {
            if role != ProbeRole::Ready {
                continue;
            }
            let said = match probe.spec().target.kind() {
                ProbeKind::Notify => self.said_ready,
                ProbeKind::Http | ProbeKind::Tcp | ProbeKind::Exec | ProbeKind::Grpc | ProbeKind::Log => {
                    self.yes.contains(&slot)
                }
            };
            law(said || self.said_before, || format!("{id} runs before its {name} probe said so"))?;
        }
        Ok(())
    }

    fn asked_with(&mut self, now: Moment, id: &InstanceId, step: &StopStep) -> Law {
        let rung = self.asked.map_or(0, |(_, rung, _)| rung + 1);
        if self.ladder_holds {
            let expected = self.spec.stop.get(rung).map(|rung| &rung.step);
            law(expected == Some(step), || format!("{id} is asked with {step:?}, rung {rung} is {expected:?}"))?;
            self.rung_is_over(now, id)?;
        }
        self.asked = Some((now, rung, Duration::ZERO));
        self.unheard = false;
        Ok(())
    }

    fn ended_by_force(&mut self, now: Moment, id: &InstanceId) -> Law {
        let first = !std::mem::replace(&mut self.killed, true);
        let unheard = std::mem::take(&mut self.unheard);
        if !first || !self.program || self.hurried || !self.ladder_holds {
            return Ok(());
        }
        let next = self.asked.map_or(0, |(_, rung, _)| rung + 1);
        let rung: Option<&LadderStep> = self.spec.stop.get(next);
        law(rung.is_none_or(|rung| rung.step == StopStep::Kill), || format!("{id} is killed before rung {next}"))?;
        if unheard { Ok(()) } else { self.rung_is_over(now, id) }
    }

    fn rung_is_over(&self, now: Moment, id: &InstanceId) -> Law {
        let Some((asked, rung, slept)) = self.asked else { return Ok(()) };
        if self.unheard {
            return Ok(());
        }
        let awake = now.since(asked).saturating_sub(slept);
        let wait = self.spec.stop.get(rung).map_or(Duration::ZERO, |rung| rung.wait);
        law(awake >= wait, || format!("{id} had {awake:?} for rung {rung}, not {wait:?}"))
    }
}
