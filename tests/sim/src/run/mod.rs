//! One run: a seed becomes a spec, a world and an operator; they live through some virtual minutes of chaos; then
//! everybody behaves, and everything has to come to where it belongs.

mod lives;

use crate::dice::Dice;
use crate::keeping::Keeping;
use crate::link::{Link, Mutation};
use crate::reference::{Order, Reference, Told};
use crate::specs::{Author, name};
use crate::world::{Happening, World};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use tutela_core::guard::{Command, Event, Input, Target};
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::{Exit, History};
use tutela_core::time::Moment;

/// How long after the world calmed down everything may take to come to rest: the longest cool-down, the longest
/// delayed start and then some for every service in a chain of needs.
const CALM_AT_MOST: Duration = Duration::from_secs(600);

/// How long everything then has to stay where it is.
const CALM_HOLDS: Duration = Duration::from_secs(30);

/// How long the end of the guard may take in a calm world.
const END_AT_MOST: Duration = Duration::from_secs(120);

/// A guard may want to be called again at once, for what the first call brought about. Not for ever.
const CALLS_AT_ONE_MOMENT: u32 = 200;

/// The latest that a due deadline may be acted on: stalls of the conductor are shorter.
const STALL_AT_MOST: Duration = Duration::from_secs(20);

/// What a run was about, in figures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Virtual time.
    pub lived: Duration,
    /// Times that the guard was told something.
    pub steps: u64,
    /// Programs started.
    pub starts: u64,
    /// Commands given.
    pub commands: u64,
    /// Guards that were killed.
    pub deaths: u64,
    /// Of these: with everything that was noted, as when a computer boots.
    pub boots: u64,
    /// Programs that the next guard went on with.
    pub heirs: u64,
}

/// A law was broken.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// The bug that was planted in it.
    pub mutation: Option<Mutation>,
    /// Virtual time since the run began.
    pub after: Duration,
    /// The law.
    pub law: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} broke a law after {:?}: {}", self.seed, self.after, self.law)?;
        write!(f, "cargo run -p tutela-sim --release -- --seed {}", self.seed)?;
        match self.mutation {
            Some(mutation) => write!(f, " --bug {}", mutation.word()),
            None => Ok(()),
        }
    }
}

/// Runs one seed. `trace` gets a line for everything that happens.
///
/// # Errors
/// The first law that is broken.
pub fn run(
    seed: u64,
    mutation: Option<Mutation>,
    trace: Option<&mut dyn FnMut(String)>,
) -> Result<Figures, Box<Failure>> {
    let mut run = Run::new(seed, mutation, trace);
    let begun = run.begun;
    let lived = run.live();
    let after = run.world.now.since(begun);
    match lived {
        Ok(()) => Ok(Figures { lived: after, ..run.figures }),
        Err(law) => {
            run.say(|| format!("BROKEN: {law}"));
            Err(Box::new(Failure { seed, mutation, after, law }))
        }
    }
}

struct Run<'a> {
    seed: u64,
    mutation: Option<Mutation>,
    begun: Moment,
    world: World,
    keeping: Keeping,
    link: Link,
    reference: Reference,
    author: Author,
    operator: Dice,
    trace: Option<&'a mut dyn FnMut(String)>,
    figures: Figures,
    calm_since: Option<Moment>,
    /// Since when everything is where it belongs.
    settled_since: Option<Moment>,
    ended_at: Option<Moment>,
    over: bool,
    calls: (Moment, u32),
    /// Since when some deadline of the guard has passed.
    due_since: Option<Moment>,
    /// Where in its next step the guard is killed.
    dies: Option<Dies>,
}

/// A moment within a step.
#[derive(Debug, Clone, Copy)]
enum Dies {
    /// After so many actions were carried out; nothing is noted.
    Acting(u64),
    /// After so many bytes of notes, or when all are there and nothing is saved.
    Noting(usize),
}

impl<'a> Run<'a> {
    fn new(seed: u64, mutation: Option<Mutation>, trace: Option<&'a mut dyn FnMut(String)>) -> Self {
        let mut author = Author::new(Dice::new(seed, 1));
        let spec = author.first();
        // Far from boot, so that an earlier guard has had a time.
        let begun = Moment::ZERO + Duration::from_secs(3_600);
        Run {
            seed,
            mutation,
            begun,
            keeping: Keeping::new(Dice::new(seed, 5)),
            world: World::new(begun, Dice::new(seed, 2)),
            link: Link::new(begun, spec.clone(), Dice::new(seed, 3), mutation),
            reference: Reference::new(begun, spec),
            author,
            operator: Dice::new(seed, 4),
            trace,
            figures: Figures::default(),
            calm_since: None,
            settled_since: None,
            ended_at: None,
            over: false,
            calls: (begun, 0),
            due_since: None,
            dies: None,
        }
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        let at = self.world.now.since(self.begun);
        if let Some(trace) = &mut self.trace {
            trace(format!("{:>12.6}s  {}", at.as_secs_f64(), line()));
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.begin()?;
        while !self.over {
            let timer = self.link.poll_timeout();
            let happening = self.world.next_at();
            let Some(next) = happening.into_iter().chain(timer).min() else {
                return Err("nothing is ever going to happen again".to_owned());
            };
            self.world.now = self.world.now.max(next);
            let timer_due = timer.is_some_and(|at| at <= self.world.now);
            let happening_due = happening.is_some_and(|at| at <= self.world.now);
            // What is due in one moment comes in either order.
            if timer_due && !(happening_due && self.operator.percent(50)) {
                self.time()?;
            } else if let Some(what) = self.world.take_next() {
                self.happen(what)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), String> {
        let chaos = self.operator.millis(20_000, 600_000);
        if self.trace.is_some() {
            let spec = self.reference.spec().clone();
            self.say(|| format!("spec: {}", sketch(&spec)));
        }
        let mut kept_down = BTreeSet::new();
        for id in self.reference.ids() {
            if self.operator.percent(10) {
                kept_down.insert(id.clone());
            }
            if self.operator.percent(15) {
                let history = self.former_history();
                self.say(|| format!("an earlier guard knew of {id}: {history:?}"));
                let run = RunId(history.restarts + self.operator.below(100));
                self.reference.restore(&id, run, &history);
                self.link.restore(&id, run, history);
            }
        }
        self.reference.begin(self.world.now, &kept_down);
        self.link.begin(self.world.now, &kept_down);
        self.settle(Told::Words)?;
        self.world.plan(chaos, Happening::Calm);
        self.world.plan(Duration::ZERO, Happening::Operator);
        for _ in 0..self.operator.below(4) {
            let after = self.operator.millis(0, 600_000);
            self.world.plan(after, Happening::Suspend);
            let after = self.operator.millis(0, 600_000);
            self.world.plan(after, Happening::Stall);
        }
        for _ in 0..self.operator.below(5) {
            let after = Duration::from_micros(self.operator.below(300_000_000));
            self.world.plan(after, Happening::Kill);
        }
        Ok(())
    }

    fn former_history(&mut self) -> History {
        let now = self.world.now;
        let dice = &mut self.operator;
        let ago: BTreeSet<Duration> = (0..dice.below(4)).map(|_| dice.millis(1, 60_000)).collect();
        let cooldown_until = match dice.below(4) {
            0 => Some(now + dice.millis(1, 60_000)),
            1 => Some(now - dice.millis(0, 60_000)),
            _ => None,
        };
        History {
            restarts: dice.below(1_000),
            by_cause: tutela_core::service::RestartTally::default(),
            in_a_row: u32::try_from(dice.below(5)).unwrap_or(0),
            recent: ago.into_iter().rev().map(|ago| now - ago).collect(),
            cooldown_until,
            half_open: cooldown_until.is_none() && dice.percent(20),
        }
    }

    // ---- steps ----

    fn time(&mut self) -> Result<(), String> {
        let now = self.world.now;
        self.calls = if self.calls.0 == now { (now, self.calls.1 + 1) } else { (now, 1) };
        if self.calls.1 > CALLS_AT_ONE_MOMENT {
            return Err("the guard asks for the past for ever".to_owned());
        }
        self.reference.hear(now, Told::Time);
        self.link.handle_timeout(now);
        self.settle(Told::Time).map(drop)
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::News(key, input) => self.news(key, input),
            Happening::World(deed) => {
                self.say(|| format!("        world: {deed:?}"));
                self.world.act(deed, self.link.guard())
            }
            Happening::Operator => self.operate(),
            Happening::Suspend if self.calm_since.is_none() => self.suspend(),
            Happening::Stall if self.calm_since.is_none() => {
                let span = self.operator.millis(100, 10_000);
                self.say(|| format!("the conductor stalls for {span:?}"));
                self.world.now = self.world.now + span;
                Ok(())
            }
            Happening::Kill if self.calm_since.is_none() => self.kill(),
            Happening::Suspend | Happening::Stall | Happening::Kill => Ok(()),
            Happening::Calm => self.calm_down(),
            Happening::Look => self.look(),
        }
    }

    fn news(&mut self, key: InstanceKey, input: Input) -> Result<(), String> {
        let now = self.world.now;
        self.say(|| format!("    news: {key:?} {input:?}"));
        self.world.told(key, &input);
        let stale = self.operator.percent(1).then(|| stale(&input)).flatten();
        self.reference.hear(now, Told::News(key, &input));
        self.link.handle(now, key, input.clone());
        if self.settle(Told::News(key, &input))?.is_none() {
            return Ok(());
        }
        self.world.heard(key, &input);
        match stale {
            Some(stale) => {
                self.say(|| format!("    stale news: {key:?} {stale:?}"));
                self.reference.hear(now, Told::News(key, &stale));
                self.link.handle(now, key, stale.clone());
                self.settle(Told::News(key, &stale)).map(drop)
            }
            None => Ok(()),
        }
    }

    fn suspend(&mut self) -> Result<(), String> {
        let slept = self.operator.millis(1_000, 3_600_000);
        self.say(|| format!("the computer sleeps for {slept:?}"));
        self.world.sleep(slept);
        self.due_since = self.due_since.map(|since| since + slept);
        let now = self.world.now;
        self.reference.hear(now, Told::Sleep(slept));
        self.link.handle_suspended(now, slept);
        self.settle(Told::Sleep(slept)).map(drop)
    }

    /// Carries out what a step brought about, notes it down and judges it. `None`: the guard was killed meanwhile.
    fn settle(&mut self, told: Told<'_>) -> Result<Option<()>, String> {
        self.figures.steps += 1;
        let mut gone = Vec::new();
        while let Some(event) = self.link.poll_event() {
            self.say(|| format!("  guard: {event:?}"));
            self.reference.event(&event, self.link.guard())?;
            if let Event::Removed { key, id } = event {
                gone.push((key, id));
            }
        }
        let mut acted = 0;
        loop {
            if let Some(Dies::Acting(most)) = self.dies
                && acted >= most
            {
                return self.die(told).map(|()| None);
            }
            let Some((key, action)) = self.link.poll_action() else { break };
            acted += 1;
            self.say(|| format!("    does: {key:?} {action:?}"));
            self.figures.starts += u64::from(matches!(action, tutela_core::service::Action::Spawn { .. }));
            self.reference.action(key, &action)?;
            self.world.take(key, action, self.link.guard())?;
        }
        let noted = self.note(told, &gone)?;
        self.reference.step_over(told, &self.world, self.link.guard())?;
        if let Some(noted) = noted {
            self.reference.note(&noted.estates, &noted.stamps, self.link.guard());
        }
        if let Some(Dies::Acting(_) | Dies::Noting(_)) = self.dies {
            return self.die(told).map(|()| None);
        }
        let now = self.world.now;
        let is_due = self.link.guard().poll_timeout().is_some_and(|due| due <= now);
        self.due_since = is_due.then(|| self.due_since.unwrap_or(now));
        match self.due_since.filter(|since| now.since(*since) > STALL_AT_MOST && !matches!(told, Told::Sleep(_))) {
            Some(since) => Err(format!("a deadline that passed {:?} ago is not acted on", now.since(since))),
            None => Ok(Some(())),
        }
    }

    // ---- the operator ----

    fn operate(&mut self) -> Result<(), String> {
        if self.calm_since.is_some() {
            return Ok(());
        }
        let pause = match self.operator.below(4) {
            // People type one command after the other, then nothing for a while.
            0..=1 => self.operator.millis(0, 500),
            2 => self.operator.millis(0, 10_000),
            _ => self.operator.millis(0, 60_000),
        };
        self.world.plan(pause, Happening::Operator);
        let command = self.choose();
        self.command(command)
    }

    fn choose(&mut self) -> Command {
        let target = self.target();
        match self.operator.below(100) {
            0..=19 => Command::Start(target),
            20..=39 => Command::Stop(target),
            40..=54 => Command::Restart(target),
            55..=62 => Command::Pause(target),
            63..=72 => Command::Resume(target),
            73..=91 => Command::Reload(Box::new(self.author.next(self.reference.spec()))),
            92 if self.operator.percent(30) => Command::End,
            _ => Command::Hurry,
        }
    }

    fn target(&mut self) -> Target {
        let ids = self.reference.ids();
        let dice = &mut self.operator;
        let id = if ids.is_empty() { InstanceId { service: name("nobody"), index: 0 } } else { dice.pick(&ids) };
        match dice.below(20) {
            0..=3 => Target::All,
            4..=5 => Target::Instance(id),
            6 => Target::Service(name("nobody")),
            _ => Target::Service(id.service),
        }
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let now = self.world.now;
        self.figures.commands += 1;
        if self.trace.is_some() {
            let text = match &command {
                Command::Reload(spec) => format!("reload {}", sketch(spec)),
                other @ (Command::Start(_)
                | Command::Stop(_)
                | Command::Restart(_)
                | Command::Pause(_)
                | Command::Resume(_)
                | Command::End
                | Command::Hurry) => format!("{other:?}"),
            };
            self.say(|| format!("operator: {text}"));
        }
        self.reference.hear(now, Told::Words);
        let order = self.reference.command(now, &command);
        let told = self.link.command(now, command);
        match (&told, order) {
            (Ok(_), Order::Accepted) => {}
            (Err(refusal), Order::Refused) => {
                let text = refusal.to_string();
                self.say(|| format!("  guard: {text}"));
                // A refused command changes nothing, and acts on no deadline.
                return self.settle(Told::Sleep(Duration::ZERO)).map(drop);
            }
            (Ok(_), Order::Refused) => return Err("the guard takes a command that it has to refuse".to_owned()),
            (Err(refusal), Order::Accepted) => return Err(format!("the guard says {refusal:?} to a good command")),
        }
        self.settle(Told::Words).map(drop)
    }

    // ---- the calm after it ----

    fn calm_down(&mut self) -> Result<(), String> {
        self.say(|| "everybody behaves from here on".to_owned());
        self.calm_since = Some(self.world.now);
        self.dies = None;
        self.world.calm_down(self.link.guard());
        if !self.reference.is_ending() {
            self.command(Command::Resume(Target::All))?;
        }
        self.world.plan(Duration::from_secs(1), Happening::Look);
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        let now = self.world.now;
        self.world.plan(Duration::from_secs(1), Happening::Look);
        if self.reference.is_ending() {
            let since = *self.ended_at.get_or_insert(now);
            if self.link.guard().is_finished() {
                self.over = true;
                let quiet = self.link.guard().poll_timeout().is_none();
                return if quiet && self.world.is_empty() {
                    Ok(())
                } else {
                    Err("the guard is finished and something is left".to_owned())
                };
            }
            return if now.since(since) > END_AT_MOST {
                Err("the guard does not come to its end".to_owned())
            } else {
                Ok(())
            };
        }
        match self.reference.unsettled(self.link.guard()) {
            None => {
                self.reference.are_alive(&self.world)?;
                let since = *self.settled_since.get_or_insert(now);
                if now.since(since) >= CALM_HOLDS {
                    self.ended_at = Some(now);
                    return self.command(Command::End);
                }
            }
            Some(who) => {
                self.settled_since = None;
                if self.calm_since.is_some_and(|since| now.since(since) > CALM_AT_MOST) {
                    return Err(format!("the world is calm for long and {who}"));
                }
            }
        }
        Ok(())
    }
}

/// The same news once more, of the run before; or of one that never was.
fn stale(input: &Input) -> Option<Input> {
    let earlier = |run: &RunId| RunId(run.0.wrapping_sub(1));
    Some(match input {
        Input::Exited { run, exit } => Input::Exited { run: earlier(run), exit: exit.clone() },
        Input::TreeEmpty { run } => Input::TreeEmpty { run: earlier(run) },
        Input::Spawned { run, .. } => Input::Exited { run: earlier(run), exit: Exit::Unknown },
        Input::HookDone { run, outcome } => Input::HookDone { run: earlier(run), outcome: outcome.clone() },
        Input::TreeKilled { run, survivors } => Input::TreeKilled { run: earlier(run), survivors: survivors.clone() },
        Input::Undelivered { run, rung, step, reason } => {
            Input::Undelivered { run: earlier(run), rung: *rung, step: step.clone(), reason: reason.clone() }
        }
        Input::TreeLeft { run, left } => Input::TreeLeft { run: earlier(run), left: left.clone() },
        Input::SpawnFailed { run, .. } => Input::TreeEmpty { run: earlier(run) },
        Input::Answer { .. } | Input::LogMatch { .. } | Input::Notice { .. } => return None,
    })
}

/// A spec in one line.
fn sketch(spec: &tutela_core::spec::GuardSpec) -> String {
    let services = spec.services.values().map(|service| {
        let needs: Vec<String> = service.needs.iter().map(ToString::to_string).collect();
        let policy = &service.restart;
        format!(
            "{} x{} {:?} {:?} needs [{}] delay {:?} x{} <= {:?} jitter {} burst {} in {:?} cool {:?} reset {:?} limit {:?} ({})",
            service.name,
            service.instances,
            service.start,
            policy.when,
            needs.join(" "),
            policy.delay,
            policy.factor,
            policy.max_delay,
            policy.jitter,
            policy.burst,
            policy.within,
            policy.cooldown,
            policy.reset_after,
            service.start_timeout,
            service.launch.command.words.first().map(ToString::to_string).unwrap_or_default(),
        )
    });
    services.collect::<Vec<_>>().join("; ")
}
