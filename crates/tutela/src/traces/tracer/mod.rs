//! What the guard says and wants done, as spans.
//!
//! A machine like those of the guard: it is shown events, actions and moments, and asked for spans that are over
//! ([`Tracer::poll_span`]). Chance and the time of day come through its [`Edge`].
//!
//! ```text
//!   a command, guard.start or nobody          the end of a program: a trace of its own
//!     ├─ service.stop                           service.restart (or service.exit, where no start follows)
//!     │    ├─ hook before_stop                    ├─ service.stop   where the guard ended it: unhealthy, too late
//!     │    ├─ step signal TERM                    ├─ sweep, kill, hook after_exit
//!     │    ├─ sweep, kill                         ├─ backoff
//!     │    └─ hook after_exit                     └─ service.start
//!     └─ service.start                                 …
//!          ├─ needs
//!          ├─ hook before_start
//!          ├─ spawn
//!          └─ ready
//! ```
//!
//! Of an instance at most one start, one stop, one restart and one of their parts is open at a time, so what is kept is
//! bounded by the number of instances. A tracer that begins in the middle of something says nothing of it.
//!
//! Called by the conductor alone, with what happened in its order. Deliberately absent: decisions, and any knowledge of
//! where spans go.

mod causes;
mod life;
#[cfg(test)]
mod tests;

use super::context::{Context, Edge};
use super::span::Open;
use crate::hands::otlp::messages::traces::Span;
use causes::{Why, plain};
use life::Life;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard::Event;
use tutela_core::names::{InstanceId, InstanceKey};
use tutela_core::service::{Action, Cause, HookOutcome};
use tutela_core::time::Moment;

/// The span of the guard's own start ends at the latest after this long. What waits longer waits for somebody, and its
/// own span is there when it starts.
const BOOT_MAX: Duration = Duration::from_secs(600);

/// See the module's text.
pub struct Tracer {
    maker: Maker,
    lives: HashMap<InstanceKey, Life>,
    /// The command that is just being carried out.
    current: Option<Arc<Asked>>,
    /// By instance, the last command that concerned it.
    concerned: HashMap<InstanceKey, Arc<Asked>>,
    boot: Option<Boot>,
    /// Where the guard's own start stands, also once it is over: what starts later with it belongs there.
    boot_context: Option<Context>,
    shutdown: Option<Open>,
}

/// What makes spans, and those that are over.
struct Maker {
    edge: Box<dyn Edge>,
    sample: f64,
    done: VecDeque<Span>,
}

/// A command, as far as it is a cause.
#[derive(Debug)]
struct Asked {
    context: Context,
    by: String,
}

/// The guard's own start.
struct Boot {
    open: Open,
    /// Starts that belong to it and are not over.
    starting: usize,
    /// Everything that starts with it has begun to.
    begun: bool,
}

impl Maker {
    fn open(&mut self, parent: Option<&Context>, now: Moment, name: impl Into<std::borrow::Cow<'static, str>>) -> Open {
        Open::begin(&mut *self.edge, self.sample, parent, now, name)
    }

    fn end(&mut self, open: Open, now: Moment) {
        self.done.extend(open.end(now));
    }
}

impl Tracer {
    /// One that knows of nothing yet. Of traces that begin here the share `sample` is made.
    pub fn new(edge: Box<dyn Edge>, sample: f64) -> Self {
        Tracer {
            maker: Maker { edge, sample, done: VecDeque::new() },
            lives: HashMap::new(),
            current: None,
            concerned: HashMap::new(),
            boot: None,
            boot_context: None,
            shutdown: None,
        }
    }

    /// Another share, for traces that begin from here on.
    pub fn set_sample(&mut self, sample: f64) {
        self.maker.sample = sample;
    }

    /// The next span that is over.
    pub fn poll_span(&mut self) -> Option<Span> {
        self.maker.done.pop_front()
    }

    // ---- the guard itself ----

    /// The guard begins to start what it keeps.
    pub fn boot(&mut self, now: Moment, pid: u32) {
        let mut open = self.maker.open(None, now, "guard.start");
        open.say("process.pid", i64::from(pid));
        self.boot_context = Some(open.context().clone());
        self.boot = Some(Boot { open, starting: 0, begun: false });
    }

    /// Everything that starts at once has begun to.
    pub fn booted(&mut self, now: Moment) {
        if let Some(boot) = &mut self.boot {
            boot.begun = true;
        }
        self.end_boot_if_over(now, None);
    }

    /// Somebody asked the guard to end, in another way than the API. What follows belongs to that until
    /// [`Tracer::asked`].
    pub fn shutdown(&mut self, now: Moment, by: &str, hurry: bool) {
        let open = self.shutdown.get_or_insert_with(|| self.maker.open(None, now, "guard.shutdown"));
        if hurry {
            open.event(now, "hurry", Vec::new());
        }
        open.say_text("tutela.asker", by);
        let context = open.context().clone();
        self.ask(&context, by);
    }

    /// The guard has ended: whatever is open ends with it.
    pub fn finish(&mut self, now: Moment) {
        for (_, mut life) in std::mem::take(&mut self.lives) {
            life.cut_off(&mut self.maker, now);
        }
        if let Some(boot) = self.boot.take() {
            self.maker.end(boot.open, now);
        }
        if let Some(shutdown) = self.shutdown.take() {
            self.maker.end(shutdown, now);
        }
    }

    /// Ends what has been open for too long. To be called now and then.
    pub fn tend(&mut self, now: Moment) {
        if self.boot.as_ref().is_some_and(|boot| now.since(boot.open.began()) >= BOOT_MAX) {
            self.end_boot_if_over(now, Some("unsettled"));
        }
    }

    fn end_boot_if_over(&mut self, now: Moment, outcome: Option<&'static str>) {
        let is_over = |boot: &mut Boot| outcome.is_some() || boot.begun && boot.starting == 0;
        if let Some(mut boot) = self.boot.take_if(is_over) {
            if let Some(outcome) = outcome {
                boot.open.say("tutela.outcome", outcome);
            }
            self.maker.end(boot.open, now);
        }
    }

    // ---- commands ----

    /// A command of `by` is carried out: what is shown from here on until [`Tracer::asked`] is its doing, as far as
    /// causes say so.
    pub fn ask(&mut self, context: &Context, by: &str) {
        self.current = Some(Arc::new(Asked { context: context.clone(), by: by.to_owned() }));
    }

    /// It was carried out, and concerns these: what follows for them because of it is its doing too.
    pub fn asked(&mut self, concerned: &[InstanceKey]) {
        if let Some(asked) = self.current.take() {
            self.concerned.extend(concerned.iter().map(|key| (*key, asked.clone())));
        }
    }

    /// The command that brought this about, if one did.
    fn asked_for(&self, key: InstanceKey, cause: &Cause) -> Option<Context> {
        let asked = self.current.as_ref().or_else(|| self.concerned.get(&key))?;
        let is_its = match cause {
            Cause::Asked { by } => *by == asked.by,
            Cause::Because(_) | Cause::Reloaded(_) | Cause::Disabled | Cause::GuardEnding => true,
            _ => false,
        };
        is_its.then(|| asked.context.clone())
    }

    // ---- instances ----

    /// The guard says something.
    pub fn event(&mut self, now: Moment, event: &Event) {
        match event {
            Event::Instance { key, id, event } => self.instance_event(now, *key, id, event),
            Event::Removed { key, .. } => {
                self.concerned.remove(key);
                if let Some(mut life) = self.lives.remove(key) {
                    life.cut_off(&mut self.maker, now);
                    self.start_over(now, &mut life);
                }
            }
            Event::Commanded { .. } | Event::Reloaded { .. } | Event::Added { .. } => {}
        }
    }

    fn instance_event(&mut self, now: Moment, key: InstanceKey, id: &InstanceId, event: &tutela_core::service::Event) {
        use tutela_core::service::{Event as Fact, StateName};
        let Fact::State { to, cause, .. } = event else {
            if let Some(life) = self.lives.get_mut(&key) {
                life.fact(&mut self.maker, now, event);
            }
            return;
        };
        let cause = plain(cause);
        let asked = self.asked_for(key, cause);
        let mut life = self.lives.remove(&key).unwrap_or_else(|| Life::new(id.clone()));
        match to {
            StateName::Waiting | StateName::Starting => {
                let boots = matches!(cause, Cause::GuardStarted | Cause::Delayed);
                let booting = self.boot_context.as_ref().filter(|_| boots);
                let began = life.begin_start(&mut self.maker, now, cause, asked, booting);
                if let Some(boot) = self.boot.as_mut().filter(|_| began && boots) {
                    boot.starting += 1;
                    life.in_boot = true;
                }
                life.start_goes_on(&mut self.maker, now, *to == StateName::Waiting);
            }
            StateName::Running => life.runs(&mut self.maker, now),
            StateName::Stopping => life.begin_end(&mut self.maker, now, &Why::of(cause), asked),
            StateName::Backoff => life.rests(&mut self.maker, now),
            StateName::Cooldown | StateName::Failed | StateName::Done | StateName::Stopped => {
                life.is_down(&mut self.maker, now, *to, cause);
            }
        }
        self.start_over(now, &mut life);
        self.lives.insert(key, life);
    }

    /// Counts a start of the guard's own start that is over.
    fn start_over(&mut self, now: Moment, life: &mut Life) {
        if life.in_boot && !life.is_starting() {
            life.in_boot = false;
            if let Some(boot) = &mut self.boot {
                boot.starting = boot.starting.saturating_sub(1);
            }
            self.end_boot_if_over(now, None);
        }
    }

    /// The guard wants something done.
    pub fn action(&mut self, now: Moment, key: InstanceKey, action: &Action) {
        // Questions are most of what is wanted, and no part of a trace.
        if let Action::Probe { .. } = action {
            return;
        }
        if let Some(life) = self.lives.get_mut(&key) {
            life.action(&mut self.maker, now, action);
        }
    }

    /// A hook ended.
    pub fn hook_done(&mut self, now: Moment, key: InstanceKey, outcome: &HookOutcome) {
        if let Some(life) = self.lives.get_mut(&key) {
            life.hook_done(&mut self.maker, now, outcome);
        }
    }
}
