//! One instance: the spans of it that are open, and how they follow each other.

use super::Maker;
use super::causes::{Why, failure};
use crate::hands::otlp::messages::KeyValue;
use crate::traces::context::Context;
use crate::traces::span::{Open, cut};
use std::time::Duration;
use tutela_core::names::InstanceId;
use tutela_core::service::{Action, Cause, Event, Exit, HookOutcome, StateName, Survivor};
use tutela_core::time::Moment;

/// Processes that a span names; the event ledger has all of them.
const SURVIVORS_MAX: usize = 16;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Life {
    id: InstanceId,
    restart: Option<Open>,
    start: Option<Open>,
    stop: Option<Open>,
    /// What of them is under way.
    part: Option<Part>,
    /// The last start, for hooks that run after it.
    started: Option<Context>,
    /// A failure that the next trace goes on from.
    before: Option<Context>,
    /// How the program ended, until a span of that begins.
    ended: Option<(Exit, Duration)>,
    /// Its start belongs to the guard's own.
    pub in_boot: bool,
}

#[derive(Debug)]
struct Part {
    what: What,
    open: Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Needs,
    Hook,
    Spawn,
    Ready,
    /// A rung of the ladder, in words.
    Step(String),
    Sweep,
    Kill,
    Backoff,
}

impl Life {
    pub fn new(id: InstanceId) -> Self {
        Life {
            id,
            restart: None,
            start: None,
            stop: None,
            part: None,
            started: None,
            before: None,
            ended: None,
            in_boot: false,
        }
    }

    pub fn is_starting(&self) -> bool {
        self.start.is_some()
    }

    // ---- states ----

    /// It waits or starts. Answers whether a start began with this.
    pub fn begin_start(
        &mut self,
        maker: &mut Maker,
        now: Moment,
        cause: &Cause,
        asked: Option<Context>,
        boot: Option<&Context>,
    ) -> bool {
        if self.start.is_some() {
            return false;
        }
        self.end_part(maker, now);
        end(maker, now, self.stop.take());
        if asked.is_some() {
            // Somebody came before the guard's own try.
            self.end_restart(maker, now, "superseded");
        }
        let parent = asked.as_ref().or_else(|| self.restart.as_ref().map(Open::context)).or(boot);
        let mut open = maker.open(parent, now, format!("service.start {}", self.id.service));
        self.describe(&mut open, cause);
        if parent.is_none() {
            self.before.take().iter().for_each(|before| open.link(before));
        }
        self.start = Some(open);
        true
    }

    /// It waits for what it needs, or has it.
    pub fn start_goes_on(&mut self, maker: &mut Maker, now: Moment, waits: bool) {
        match (waits, self.part.as_ref().map(|part| &part.what)) {
            (true, Some(What::Needs)) => {}
            (true, _) => self.begin_part(maker, now, What::Needs, "needs"),
            (false, Some(What::Needs)) => self.end_part(maker, now),
            (false, _) => {}
        }
    }

    /// It is up.
    pub fn runs(&mut self, maker: &mut Maker, now: Moment) {
        self.end_part(maker, now);
        if let Some(start) = self.start.take() {
            self.started = Some(start.context().clone());
            maker.end(start, now);
        }
        end(maker, now, self.restart.take());
        self.before = None;
    }

    /// It begins to end.
    pub fn begin_end(&mut self, maker: &mut Maker, now: Moment, why: &Why<'_>, asked: Option<Context>) {
        // A hook or a start that is under way ends later, and tells how.
        if !self.part.as_ref().is_some_and(|part| matches!(part.what, What::Hook | What::Spawn)) {
            self.end_part(maker, now);
        }
        if let Some(mut start) = self.start.take() {
            self.started = Some(start.context().clone());
            match why.failure {
                Some(kind) => start.fail(kind, &why.cause.to_string()),
                None => start.say("tutela.outcome", if why.wished { "cancelled" } else { "ended" }),
            }
            if !why.wished {
                self.before = Some(start.context().clone());
            }
            maker.end(start, now);
        }
        self.end_restart(maker, now, if why.wished { "superseded" } else { "failed" });
        if !why.wished {
            let mut restart = maker.open(None, now, format!("service.restart {}", self.id.service));
            self.describe(&mut restart, why.cause);
            if let Some(kind) = why.failure {
                restart.fail(kind, &why.cause.to_string());
            }
            self.before.take().iter().for_each(|before| restart.link(before));
            if let Some((exit, ran)) = self.ended.take() {
                restart.event(now, "exited", exit_words(&exit, ran));
            }
            self.restart = Some(restart);
        }
        if why.wished || why.by_guard {
            let parent = asked.as_ref().or_else(|| self.restart.as_ref().map(Open::context));
            let mut stop = maker.open(parent, now, format!("service.stop {}", self.id.service));
            self.describe(&mut stop, why.cause);
            self.stop = Some(stop);
        }
        self.ended = None;
    }

    /// It waits before it is started again.
    pub fn rests(&mut self, maker: &mut Maker, now: Moment) {
        self.end_part(maker, now);
        end(maker, now, self.stop.take());
        if self.restart.is_some() {
            self.begin_part(maker, now, What::Backoff, "backoff");
        }
    }

    /// It is down and does not start by itself at once.
    pub fn is_down(&mut self, maker: &mut Maker, now: Moment, state: StateName, cause: &Cause) {
        self.end_part(maker, now);
        end(maker, now, self.stop.take());
        if let Some(mut start) = self.start.take() {
            start.say("tutela.outcome", "cancelled");
            maker.end(start, now);
        }
        let Some(mut restart) = self.restart.take() else { return };
        restart.rename(format!("service.exit {}", self.id.service));
        restart.say("tutela.state", state.word());
        match state {
            // The policy calls it a success.
            StateName::Done => restart.forgive(),
            StateName::Cooldown => {
                restart.fail(failure(cause).unwrap_or("crash_loop"), &cause.to_string());
                self.before = Some(restart.context().clone());
            }
            _ => {}
        }
        maker.end(restart, now);
    }

    /// It is gone, or the guard is.
    pub fn cut_off(&mut self, maker: &mut Maker, now: Moment) {
        self.end_part(maker, now);
        for open in [self.stop.take(), self.start.take(), self.restart.take()] {
            end(maker, now, open);
        }
    }

    // ---- facts ----

    pub fn fact(&mut self, maker: &mut Maker, now: Moment, event: &Event) {
        match event {
            Event::Started { run, pid } => {
                for open in self.part.iter_mut().filter(|part| part.what == What::Spawn).map(|part| &mut part.open) {
                    open.say("process.pid", i64::from(*pid));
                }
                self.end_part_if(maker, now, |what| *what == What::Spawn);
                if let Some(start) = &mut self.start {
                    start.say("process.pid", i64::from(*pid));
                    start.say("tutela.run", whole(run.0));
                    self.begin_part(maker, now, What::Ready, "ready");
                }
            }
            Event::StartFailed { run, reason } => {
                if let Some(start) = &mut self.start {
                    start.say("tutela.run", whole(run.0));
                }
                if let Some(part) = self.part.as_mut().filter(|part| part.what == What::Spawn) {
                    part.open.fail("not_started", reason);
                }
                self.end_part_if(maker, now, |what| *what == What::Spawn);
            }
            Event::Exited { exit, ran, .. } => {
                if let Some(part) = self.part.as_mut().filter(|part| matches!(part.what, What::Step(_))) {
                    part.open.say("tutela.outcome", "exited");
                }
                self.end_part_if(maker, now, |what| matches!(what, What::Step(_)));
                match self.ending() {
                    Some(open) => open.event(now, "exited", exit_words(exit, *ran)),
                    None => self.ended = Some((exit.clone(), *ran)),
                }
            }
            Event::Undelivered { step, reason } => {
                let step = step.to_string();
                if let Some(part) = self.part.as_mut().filter(|part| part.what == What::Step(step)) {
                    part.open.fail("undelivered", reason);
                }
            }
            Event::Resisted { survivors } => {
                let names = names(survivors);
                if let Some(open) = self.ending() {
                    open.event(now, "resisted", vec![KeyValue::new("tutela.survivors", names.as_str())]);
                    open.fail("resisted", &format!("ended by force: {names}"));
                }
            }
            Event::Probe { role, name, passes, reason } => {
                let open = match &mut self.part {
                    Some(Part { what: What::Ready, open }) => Some(open),
                    _ => self.start.as_mut(),
                };
                if let Some(open) = open {
                    let verdict = if *passes { "pass" } else { "fail" };
                    let mut said = vec![
                        KeyValue::new("tutela.probe", name.as_str()),
                        KeyValue::new("tutela.probe.role", role.word()),
                        KeyValue::new("tutela.probe.verdict", verdict),
                    ];
                    if !passes {
                        said.push(KeyValue::new("tutela.error", cut(reason)));
                    }
                    open.event(now, "probe_changed", said);
                }
            }
            Event::Cooldown { restarts, .. } => {
                if let Some(restart) = &mut self.restart {
                    restart.event(now, "cooldown", vec![KeyValue::new("tutela.restarts", i64::from(*restarts))]);
                }
            }
            Event::HalfOpenFailed { .. } => {
                if let Some(restart) = &mut self.restart {
                    restart.event(now, "half_open_failed", Vec::new());
                }
            }
            Event::State { .. }
            | Event::HookFailed { .. }
            | Event::Recovered
            | Event::Paused
            | Event::Resumed
            | Event::TakenBack { .. } => {}
        }
    }

    pub fn action(&mut self, maker: &mut Maker, now: Moment, action: &Action) {
        match action {
            Action::Spawn { run } => {
                self.begin_part(maker, now, What::Spawn, "spawn");
                self.say_of_part("tutela.run", whole(run.0));
            }
            Action::RunHook { kind, index, .. } => {
                self.begin_part(maker, now, What::Hook, format!("hook {}", kind.word()));
                self.say_of_part("tutela.hook", kind.word());
                self.say_of_part("tutela.hook.index", whole(*index as u64));
            }
            Action::CancelHook { .. } => {
                if let Some(part) = self.part.as_mut().filter(|part| part.what == What::Hook) {
                    part.open.event(now, "cancelled", Vec::new());
                }
            }
            Action::Ask { rung, step, .. } => {
                let words = step.to_string();
                self.begin_part(maker, now, What::Step(words.clone()), format!("step {words}"));
                self.say_of_part("tutela.step", words.as_str());
                self.say_of_part("tutela.step.index", whole(*rung as u64));
            }
            Action::AskTree { .. } => self.begin_part(maker, now, What::Sweep, "sweep"),
            Action::EndTree { .. } => match &mut self.part {
                Some(Part { what: What::Kill, open }) => open.event(now, "again", Vec::new()),
                _ => self.begin_part(maker, now, What::Kill, "kill"),
            },
            Action::Release { .. } => {
                self.end_part_if(maker, now, |what| matches!(what, What::Step(_) | What::Sweep | What::Kill));
            }
            Action::Sweep { .. }
            | Action::Probe { .. }
            | Action::Freeze { .. }
            | Action::Thaw { .. }
            | Action::ApplyLimits { .. } => {}
        }
    }

    pub fn hook_done(&mut self, maker: &mut Maker, now: Moment, outcome: &HookOutcome) {
        let Some(part) = self.part.as_mut().filter(|part| part.what == What::Hook) else { return };
        match outcome {
            HookOutcome::Success => {}
            HookOutcome::Failed(how) => part.open.fail("failure", how),
            HookOutcome::TimedOut => part.open.fail("timeout", &outcome.to_string()),
            HookOutcome::Cancelled => part.open.say("tutela.outcome", "cancelled"),
        }
        self.end_part(maker, now);
    }

    // ---- parts ----

    fn begin_part(
        &mut self,
        maker: &mut Maker,
        now: Moment,
        what: What,
        name: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.end_part(maker, now);
        let whole = self.stop.as_ref().or(self.start.as_ref()).or(self.restart.as_ref()).map(Open::context);
        // A tracer that began in the middle of this knows nothing that it could belong to.
        let Some(parent) = whole.or(self.started.as_ref()) else { return };
        let mut open = maker.open(Some(parent), now, name);
        self.address(&mut open);
        self.part = Some(Part { what, open });
    }

    fn say_of_part(&mut self, name: &'static str, value: impl Into<crate::hands::otlp::messages::AnyValue>) {
        if let Some(part) = &mut self.part {
            part.open.say(name, value);
        }
    }

    fn end_part(&mut self, maker: &mut Maker, now: Moment) {
        let Some(part) = self.part.take() else { return };
        // Nothing was waited for: its program has no probe.
        if part.what == What::Ready && part.open.began() == now {
            return;
        }
        maker.end(part.open, now);
    }

    fn end_part_if(&mut self, maker: &mut Maker, now: Moment, which: impl Fn(&What) -> bool) {
        if self.part.as_ref().is_some_and(|part| which(&part.what)) {
            self.end_part(maker, now);
        }
    }

    /// What is told of an end that is under way goes here.
    fn ending(&mut self) -> Option<&mut Open> {
        self.stop.as_mut().or(self.restart.as_mut().filter(|_| self.start.is_none()))
    }

    fn end_restart(&mut self, maker: &mut Maker, now: Moment, outcome: &'static str) {
        if let Some(mut restart) = self.restart.take() {
            restart.say("tutela.outcome", outcome);
            if outcome == "failed" {
                self.before = Some(restart.context().clone());
            }
            maker.end(restart, now);
        }
    }

    fn describe(&self, open: &mut Open, cause: &Cause) {
        self.address(open);
        open.say_text("tutela.cause", &cause.to_string());
    }

    fn address(&self, open: &mut Open) {
        open.say("tutela.service", self.id.service.as_str());
        open.say("tutela.instance", i64::from(self.id.index));
    }
}

fn end(maker: &mut Maker, now: Moment, open: Option<Open>) {
    if let Some(open) = open {
        maker.end(open, now);
    }
}

/// How a program ended.
fn exit_words(exit: &Exit, ran: Duration) -> Vec<KeyValue> {
    let mut said = vec![KeyValue::new("tutela.ran_ms", i64::try_from(ran.as_millis()).unwrap_or(i64::MAX))];
    match exit {
        Exit::Code(code) => said.push(KeyValue::new("process.exit.code", *code)),
        Exit::Signal { name, oom, .. } => {
            said.push(KeyValue::new("tutela.signal", name.as_str()));
            said.push(KeyValue::new("tutela.oom", *oom));
        }
        Exit::NotStarted(reason) => said.push(KeyValue::new("tutela.error", cut(reason))),
        Exit::Unknown => {}
    }
    said
}

fn names(survivors: &[Survivor]) -> String {
    let named: Vec<String> = survivors.iter().take(SURVIVORS_MAX).map(ToString::to_string).collect();
    let more = survivors.len().saturating_sub(SURVIVORS_MAX);
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
