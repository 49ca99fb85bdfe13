//! Actions become deeds: each is handed to the hand that can do it without making the conductor wait.

use super::errands::Errand;
use super::{Conductor, Live, chain, os_words};
use crate::hands::launch::{Job, Order, Output};
use std::sync::Arc;
use std::time::Duration;
use tutela_core::guard;
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::probe::Outcome;
use tutela_core::service::{Action, Exit, HookKind, HookOutcome, ProbeSlot, Service, Survivor};
use tutela_core::spec::{Command, ProbeTarget, ServiceSpec, StopStep};
use tutela_core::time::Moment;
use tutela_logs::keeper::Rules;
use tutela_logs::tap::{Pattern, Taps};
use tutela_os::blocking::TREES;
use tutela_os::process::{Delivery, Member, Signal, StopRequest, Tree};

/// How long the output of a run is still read once its tree is gone. The pipes are empty by then, but for
/// what a slow disk holds up.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// How long after a tree could not be looked at or ended that is tried again. Mostly there are no descriptors left;
/// those that are in use come back.
const AGAIN: Duration = Duration::from_secs(1);

/// A rung of a ladder that a program is to be asked with.
#[derive(Debug)]
pub struct Rung {
    pub(super) key: InstanceKey,
    run: RunId,
    number: usize,
    step: StopStep,
}

impl Rung {
    /// What the machine is told when nobody heard it.
    pub(super) fn undelivered(self, reason: String) -> guard::Input {
        guard::Input::Undelivered { run: self.run, rung: self.number, step: self.step, reason }
    }
}

impl Conductor {
    /// Carries out every action, until there are none: some bring inputs at once, such as an empty tree, and
    /// those bring further actions. What is only tidying waits until what a program waits for is under way.
    pub(super) fn act(&mut self, now: Moment) {
        let mut tidying = Vec::new();
        self.witness(now);
        while let Some((key, action)) = self.guard.poll_action() {
            if let Some(tracer) = &mut self.tracer {
                tracer.action(now, key, &action);
            }
            match action {
                Action::Release { run } => tidying.push((key, run)),
                other => self.carry_out(now, key, other),
            }
            self.witness(now);
        }
        for (key, run) in tidying {
            self.release(key, run);
        }
    }

    /// Publishes every event. At the end of a turn: telling of an end takes longer than reacting to it.
    pub(super) fn publish_all(&mut self, now: Moment) {
        while let Some(event) = self.unpublished.pop_front().or_else(|| self.guard.poll_event()) {
            self.publish(now, event);
        }
    }

    fn carry_out(&mut self, now: Moment, key: InstanceKey, action: Action) {
        match action {
            Action::Spawn { run } => self.spawn(now, key, run),
            Action::Ask { run, rung, step } => self.ask(now, Rung { key, run, number: rung, step }),
            Action::Sweep { run } => self.sweep(now, key, run),
            // Each of possibly thousands of members is looked at, in a control group too.
            Action::AskTree { run } => self.with_tree(key, run, true, |tree| tree.signal_all(Signal::TERM)),
            Action::EndTree { run } => self.end_tree(now, key, run),
            Action::RunHook { run, kind, index, timeout } => self.run_hook(now, key, run, kind, index, timeout),
            Action::CancelHook { run } => self.cancel_hook(key, run),
            Action::Probe { run, slot, attempt, timeout } => self.ask_question(now, key, run, slot, attempt, timeout),
            Action::Freeze { run } => self.with_tree(key, run, self.walked, Tree::freeze),
            Action::Thaw { run } => self.with_tree(key, run, self.walked, Tree::thaw),
            Action::ApplyLimits { run } => self.apply_limits(key, run),
            Action::Release { run } => self.release(key, run),
        }
    }

    fn live(&self, key: InstanceKey, run: RunId) -> Option<&Live> {
        self.live.get(&key).filter(|live| live.run == run)
    }

    fn spawn(&mut self, now: Moment, key: InstanceKey, run: RunId) {
        let Some((_, service)) = self.guard.instance(key) else { return };
        let patterns = self.patterns(key, run, service.spec());
        let taps = Taps { console: self.show_output.then(|| self.console.tap()), patterns };
        let Some(job) = self.job(key, Order::Main { key, run }, Output::Logged(taps)) else { return };
        if self.spawner.order(job).is_err() {
            let reason = "too many programs wait to be started".to_owned();
            self.guard.handle(now, key, guard::Input::SpawnFailed { run, reason });
        }
    }

    /// What sees the output of an errand: the console, where it shows output at all.
    pub(super) fn console_taps(&self) -> Taps {
        Taps { console: self.show_output.then(|| self.console.tap()), patterns: Vec::new() }
    }

    /// What waits in the output for lines that probes want to see.
    pub(super) fn patterns(&self, key: InstanceKey, run: RunId, spec: &ServiceSpec) -> Vec<Pattern> {
        let Some((_, service)) = self.guard.instance(key) else { return Vec::new() };
        if spec.startup.is_none() && spec.ready.is_none() {
            return Vec::new();
        }
        let pattern = |slot: ProbeSlot, text: &str| {
            // The schema has compiled it once already; one that does not compile is never seen to match.
            let regex = regex::bytes::Regex::new(text).ok()?;
            let matches = self.matches.clone();
            Some(Pattern::new(
                move |line| regex.is_match(line),
                move |_, _| matches.put(key, guard::Input::LogMatch { run, slot }),
            ))
        };
        service
            .probes()
            .filter_map(|(slot, _, _, probe)| match &probe.spec().target {
                ProbeTarget::Log(text) => pattern(slot, text),
                ProbeTarget::Http { .. }
                | ProbeTarget::Tcp(_)
                | ProbeTarget::Exec(_)
                | ProbeTarget::Grpc { .. }
                | ProbeTarget::Notify => None,
            })
            .collect()
    }

    /// Asks a program to end. Where that is not possible the machine hears so, and takes the next step.
    fn ask(&mut self, now: Moment, rung: Rung) {
        match &rung.step {
            StopStep::Signal(name) => match Signal::from_name(name) {
                Some(signal) => self.signal(now, rung, signal),
                None => {
                    let reason = format!("there is no signal {name} on this computer");
                    self.undelivered(now, rung, reason);
                }
            },
            StopStep::CtrlC => self.request(now, rung, StopRequest::CtrlC),
            StopStep::CtrlBreak => self.request(now, rung, StopRequest::CtrlBreak),
            StopStep::CloseWindow => self.request(now, rung, StopRequest::CloseWindow),
            StopStep::Command(command) => {
                let (key, command) = (rung.key, command.clone());
                let its_wait = |service: &Service| service.spec().stop.get(rung.number).map(|rung| rung.wait);
                let wait = self.guard.instance(key).and_then(|(_, service)| its_wait(service)).unwrap_or_default();
                let pid = self.live(key, rung.run).map(|live| live.child.pid().to_string()).unwrap_or_default();
                self.send_command(key, Errand::StopCommand(rung), wait, command, vec![("TUTELA_PID", pid)]);
            }
            StopStep::Kill => self.end_tree(now, rung.key, rung.run),
        }
    }

    fn undelivered(&mut self, now: Moment, rung: Rung, reason: String) {
        self.guard.handle(now, rung.key, rung.undelivered(reason));
    }

    fn signal(&mut self, now: Moment, rung: Rung, signal: Signal) {
        // What has no process any more has told, or is about to tell, how it ended.
        let Some(live) = self.live(rung.key, rung.run) else { return };
        let sent = live.child.signal(signal);
        self.asked += 1;
        if let Err(error) = sent {
            self.undelivered(now, rung, why_unheard(&error));
        }
    }

    /// Asks in one of the ways that Windows has. Where somebody has to carry it over, how it came out is told later.
    fn request(&mut self, now: Moment, rung: Rung, way: StopRequest) {
        let Some(live) = self.live(rung.key, rung.run) else { return };
        let asked = live.child.request(way);
        self.asked += 1;
        match asked.now() {
            Ok(Ok(Delivery::Made)) => {}
            Ok(Ok(Delivery::Unsure(error))) => self.trouble(os_words(&error)),
            Ok(Err(error)) => self.undelivered(now, rung, why_unheard(&error)),
            Err(on_its_way) => {
                let inbox = self.inbox.clone();
                // The messenger's own bound ends this.
                tokio::spawn(async move {
                    let input = match on_its_way.await {
                        Ok(Delivery::Made) => return,
                        // The program may have heard it, so it gets the time of this step.
                        Ok(Delivery::Unsure(error)) => super::Input::Trouble(os_words(&error)),
                        Err(error) => {
                            let key = rung.key;
                            super::Input::Instance { key, input: rung.undelivered(why_unheard(&error)) }
                        }
                    };
                    let _ = inbox.send(input).await;
                });
            }
        }
    }

    /// Runs another command of the spec on an instance's behalf, into its log.
    fn send_command(
        &mut self,
        key: InstanceKey,
        errand: Errand,
        limit: Duration,
        command: Command,
        extra_env: Vec<(&'static str, String)>,
    ) {
        let Some(job) = self.job(key, Order::Errand { id: 0 }, Output::Logged(self.console_taps())) else { return };
        self.send_errand(errand, limit, |order| Job { order, command: Some(command), extra_env, ..job });
    }

    fn run_hook(&mut self, now: Moment, key: InstanceKey, run: RunId, kind: HookKind, index: usize, timeout: Duration) {
        let hook = self.guard.instance(key).and_then(|(_, service)| {
            let hooks = &service.spec().hooks;
            let of_kind = match kind {
                HookKind::BeforeStart => &hooks.before_start,
                HookKind::AfterReady => &hooks.after_ready,
                HookKind::BeforeStop => &hooks.before_stop,
                HookKind::AfterExit => &hooks.after_exit,
            };
            Some((of_kind.get(index)?.command.clone(), hook_env(service, kind)))
        });
        match hook {
            Some((command, env)) => self.send_command(key, Errand::Hook { kind, key, run }, timeout, command, env),
            // A reload took it away between the decision and the deed.
            None => {
                self.trace_hook(now, key, &HookOutcome::Success);
                self.guard.handle(now, key, guard::Input::HookDone { run, outcome: HookOutcome::Success });
            }
        }
    }

    fn ask_question(
        &mut self,
        now: Moment,
        key: InstanceKey,
        run: RunId,
        slot: ProbeSlot,
        attempt: u64,
        timeout: Duration,
    ) {
        let Some((id, service)) = self.guard.instance(key) else { return };
        let Some((_, _, _, probe)) = service.probes().find(|(its, _, _, _)| *its == slot) else { return };
        if let ProbeTarget::Exec(command) = &probe.spec().target {
            let command = command.clone();
            let errand = Errand::Probe { key, run, slot, attempt, asked: now };
            let Some(job) = self.job(key, Order::Errand { id: 0 }, Output::Dropped) else { return };
            self.send_errand(errand, timeout, |order| Job { order, command: Some(command), ..job });
            return;
        }
        let target = probe.spec().target.clone();
        let index = id.index;
        if let Err(reason) = self.questions.ask((key, run, slot, attempt), &target, index, timeout) {
            let (outcome, took) = (Outcome::Failed(reason), Duration::ZERO);
            self.guard.handle(now, key, guard::Input::Answer { run, slot, attempt, outcome, took });
        }
    }

    // ---- trees ----

    /// Does something to a run's tree: at once where that is a write to a control group, off this thread
    /// where it `walks` from process to process.
    fn with_tree(
        &mut self,
        key: InstanceKey,
        run: RunId,
        walks: bool,
        deed: impl FnOnce(&Tree) -> Result<(), tutela_os::Error> + Send + 'static,
    ) {
        let Some(live) = self.live(key, run) else { return };
        let tree = live.child.tree().clone();
        if walks {
            let inbox = self.inbox.clone();
            TREES.start(move || {
                if let Err(error) = deed(&tree) {
                    let _ = inbox.send_blocking(super::Input::Trouble(chain(&error)));
                }
            });
        } else if let Err(error) = deed(&tree) {
            self.trouble(os_words(&error));
        }
    }

    /// Looks whether anything of the tree is left; if so, says who, and goes on looking until nobody is.
    fn sweep(&mut self, now: Moment, key: InstanceKey, run: RunId) {
        let Some(live) = self.live.get_mut(&key).filter(|live| live.run == run) else {
            // Never started, or released already.
            return self.guard.handle(now, key, guard::Input::TreeEmpty { run });
        };
        let tree = live.child.tree().clone();
        if !self.walked && tree.is_empty().unwrap_or(false) {
            return self.guard.handle(now, key, guard::Input::TreeEmpty { run });
        }
        if std::mem::replace(&mut live.watched, true) {
            return;
        }
        let inbox = self.inbox.clone();
        // Ends when the tree is empty, which the machine sees to.
        tokio::spawn(async move {
            let looked = tree.clone();
            let seen = TREES.start(move || looked.members().map(named)).await;
            // What cannot be looked at is not empty for that.
            let left = seen.ok().and_then(Result::ok);
            if left.as_ref().is_none_or(|left| !left.is_empty()) {
                if let Some(left) = left {
                    let input = guard::Input::TreeLeft { run, left };
                    let _ = inbox.send(super::Input::Instance { key, input }).await;
                }
                let mut told = false;
                while let Err(error) = tree.emptied().await {
                    if !std::mem::replace(&mut told, true) {
                        let _ = inbox.send(super::Input::Trouble(chain(&error))).await;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
            let input = guard::Input::TreeEmpty { run };
            let _ = inbox.send(super::Input::Instance { key, input }).await;
        });
    }

    fn end_tree(&mut self, now: Moment, key: InstanceKey, run: RunId) {
        let Some(live) = self.live(key, run) else { return };
        let tree = live.child.tree().clone();
        if self.walked {
            let inbox = self.inbox.clone();
            tokio::spawn(async move {
                let seen = tree.clone();
                let survivors = TREES.start(move || survivors(&seen)).await.unwrap_or_default();
                let killed = guard::Input::TreeKilled { run, survivors };
                let _ = inbox.send(super::Input::Instance { key, input: killed }).await;
                kill_until_done(tree, Some(inbox)).await;
            });
            return;
        }
        let survivors = survivors(&tree);
        if let Err(error) = tree.kill() {
            // The first process can be ended without another descriptor.
            let first = live.child.signal(Signal::KILL);
            self.trouble(os_words(&error));
            if let Err(error) = first {
                self.trouble(os_words(&error));
            }
            tokio::spawn(kill_until_done(tree, None));
        }
        self.guard.handle(now, key, guard::Input::TreeKilled { run, survivors });
    }

    fn apply_limits(&mut self, key: InstanceKey, run: RunId) {
        let Some(live) = self.live(key, run) else { return };
        let Some((_, service)) = self.guard.instance(key) else { return };
        match live.child.tree().set_limits(&service.spec().limits) {
            Ok(missing) => missing.iter().for_each(|missing| self.say_unsupported(key, missing)),
            Err(error) => self.trouble(os_words(&error)),
        }
    }

    fn release(&mut self, key: InstanceKey, run: RunId) {
        if self.live(key, run).is_none() {
            return;
        }
        let Some(live) = self.live.remove(&key) else { return };
        self.nursery.forget(live.child.token());
        self.drain(&live.id, run, live.capture);
    }

    /// An instance is gone for good: so are its container, its counters and its questions.
    pub(super) fn forget(&mut self, key: InstanceKey, label: &str, tree: Option<Tree>) {
        self.questions.forget(key);
        self.shadows.remove(&key);
        self.unsupported.retain(|(of, _)| *of != key);
        self.unkept.remove(label);
        // The pump refuses only when it ends, and then it forgets everything.
        let _ = self.pump.forget(label);
        if let Some(tree) = tree {
            let _ = tree.remove();
        }
    }

    /// Tells the pump and the question desk what a reload changed.
    pub(super) fn spread_spec(&mut self) {
        self.questions.forget_all();
        self.adopt_traces();
        self.surroundings.keeping.adopt(&self.guard.spec().redaction);
        self.surroundings.keeping.forget_others(self.guard.spec());
        self.audit.keep_for(self.guard.spec().audit.keep_for);
        self.metrics.send_if_modified(|known| {
            let wanted = &self.guard.spec().metrics;
            *known != *wanted && {
                *known = wanted.clone();
                true
            }
        });
        let policies: Vec<(String, Arc<tutela_logs::Policy>)> = self
            .guard
            .instances()
            .map(|(_, id, service)| {
                let policy = self.surroundings.keeping.policy(service.spec(), id.index);
                (format!("{}-{}", id.service, id.index), Arc::new(policy))
            })
            .collect();
        for (label, policy) in policies {
            // The others have theirs all the same: only one of several disks may be hanging.
            if let Err(refusal) = self.pump.set_policy(&label, policy) {
                self.trouble(format!("how the output of {label} is kept stays as it was: {refusal}"));
            }
        }
        self.spread_log_rules();
    }

    /// Tells the keeper which log files there are and how they are kept.
    pub(super) fn spread_log_rules(&mut self) {
        let keeping = &self.surroundings.keeping;
        let mut labels = Vec::new();
        let mut troubles = Vec::new();
        for (_, id, service) in self.guard.instances() {
            let label = Arc::from(format!("{}-{}", id.service, id.index));
            labels.push((label, Arc::new(keeping.policy(service.spec(), id.index))));
            if id.index == 0 {
                troubles.extend(keeping.access(service.spec()).err());
            }
        }
        let rules = Rules { labels, own: keeping.log_dir().to_owned(), budget: self.guard.spec().log_budget };
        if let Err(error) = self.keeper.set_rules(rules) {
            troubles.push(format!("failed to start the thread that keeps old log files: {error}"));
        }
        for trouble in troubles {
            self.trouble(trouble);
        }
    }
}

/// Why nobody heard a request. What this host lacks is told by the reason alone: the event names the step.
fn why_unheard(error: &tutela_os::Error) -> String {
    match error {
        tutela_os::Error::Unsupported(missing) => missing.reason.clone().into_owned(),
        other => os_words(other),
    }
}

/// Ends a tree, again and again until that is done; says once why it is not.
pub(super) async fn kill_until_done(tree: Tree, inbox: Option<super::Inbox>) {
    let mut tell = inbox;
    loop {
        let its = tree.clone();
        match TREES.start(move || its.kill()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                if let Some(inbox) = tell.take() {
                    let _ = inbox.send(super::Input::Trouble(chain(&error))).await;
                }
            }
            // Too much waits for the threads that look at trees.
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Who is left, as far as that can be seen.
fn survivors(tree: &Tree) -> Vec<Survivor> {
    tree.members().map(named).unwrap_or_default()
}

fn named(members: Vec<Member>) -> Vec<Survivor> {
    members.into_iter().map(|member| Survivor { pid: member.pid, name: member.name }).collect()
}

/// What a hook is told beside the program's own environment.
fn hook_env(service: &tutela_core::service::Service, kind: HookKind) -> Vec<(&'static str, String)> {
    let mut env = vec![("TUTELA_HOOK", kind.word().to_owned())];
    if let Some(pid) = service.pid() {
        env.push(("TUTELA_PID", pid.to_string()));
    }
    env.push(("TUTELA_RESTARTS", service.history().restarts.to_string()));
    if let (HookKind::AfterExit, Some((exit, _))) = (kind, service.last_exit()) {
        env.push(("TUTELA_EXIT", exit.to_string()));
        match exit {
            Exit::Code(code) => env.push(("TUTELA_EXIT_CODE", code.to_string())),
            Exit::Signal { name, .. } => env.push(("TUTELA_EXIT_SIGNAL", name.clone())),
            Exit::NotStarted(_) | Exit::Unknown => {}
        }
    }
    env
}
