//! Errands: programs that run for a moment on an instance's behalf, with a deadline.
//!
//! Hooks, stop commands, exec probes and alert commands differ only in who is told of their end. An errand
//! has a tree of its own, which is ended with it: nothing that a hook started outlives it.

use super::Conductor;
use super::act::{DRAIN, Rung, kill_until_done};
use crate::hands::alerts::DeliveryError;
use crate::hands::launch::{Job, Order, Output, Stdin};
use crate::hands::spawner::Started;
use std::time::Duration;
use tokio::sync::oneshot;
use tutela_core::guard;
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::probe::Outcome;
use tutela_core::service::{HookKind, HookOutcome, ProbeSlot};
use tutela_core::time::Moment;
use tutela_logs::CaptureHandle;
use tutela_os::blocking::TREES;
use tutela_os::process::{Child, Exit};

/// Why an errand was sent.
#[derive(Debug)]
pub enum Errand {
    /// A hook.
    Hook {
        /// When in a life.
        kind: HookKind,
        /// Of whom.
        key: InstanceKey,
        /// Of which run.
        run: RunId,
    },
    /// A stop step that is a command. Nobody waits for its end: the ladder has its own clock.
    StopCommand(Rung),
    /// An exec probe.
    Probe {
        /// Of whom.
        key: InstanceKey,
        /// Of which run.
        run: RunId,
        /// Which probe.
        slot: ProbeSlot,
        /// Which question.
        attempt: u64,
        /// When it was asked.
        asked: Moment,
    },
    /// An alert's command.
    Alert {
        /// What came of it.
        reply: oneshot::Sender<Result<(), DeliveryError>>,
    },
}

/// An errand that is out.
#[derive(Debug)]
pub(super) struct Out {
    errand: Errand,
    stop: Option<oneshot::Sender<Stop>>,
    exit: Option<oneshot::Sender<Exit>>,
    started: Option<oneshot::Sender<Result<Started, String>>>,
}

impl Out {
    /// Of whom and of what kind, where it is a hook.
    pub(super) fn hook(&self) -> Option<(InstanceKey, HookKind)> {
        match self.errand {
            Errand::Hook { kind, key, .. } => Some((key, kind)),
            Errand::StopCommand(_) | Errand::Probe { .. } | Errand::Alert { .. } => None,
        }
    }
}

/// Why an errand is called back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
}

/// An errand that came to its end.
#[derive(Debug)]
pub struct ErrandEnd {
    pub(super) id: u64,
    pub(super) how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    Exited(Exit),
    NotStarted(String),
    TimedOut,
    Cancelled,
}

impl Conductor {
    /// Sends an errand. Its end is told by [`super::Input::ErrandEnded`], whatever happens.
    pub(super) fn send_errand(&mut self, errand: Errand, limit: Duration, job: impl FnOnce(Order) -> Job) {
        self.next_errand += 1;
        let id = self.next_errand;
        let (started, starts) = oneshot::channel();
        let (exit, exits) = oneshot::channel();
        let (stop, stops) = oneshot::channel();
        self.errands.insert(id, Out { errand, stop: Some(stop), exit: Some(exit), started: Some(started) });
        let (inbox, unread) = (self.inbox.clone(), self.unread.clone());
        // Ends by itself: with the program, at the limit, or when it is called back.
        tokio::spawn(async move {
            let (how, capture) = follow(starts, exits, stops, limit).await;
            // Whoever hears of the end knows that there is something to be read, until it is.
            let unread = capture.map(|capture| (capture, unread.begin()));
            let _ = inbox.send(super::Input::ErrandEnded(ErrandEnd { id, how })).await;
            let Some((capture, _reading)) = unread else { return };
            // Nobody writes to it any more: its tree is gone. A log thread that takes no word reads it all the same.
            if let Ok(end) = capture.finish(DRAIN) {
                end.await;
            }
        });
        if let Err(job) = self.spawner.order(job(Order::Errand { id })) {
            self.errand_started(id, Err(format!("too many programs wait to be started ({:?})", job.order)));
        }
    }

    pub(super) fn errand_started(&mut self, id: u64, result: Result<Started, String>) {
        let Some(out) = self.errands.get_mut(&id) else {
            // It was forgotten because the guard is ending: then its program ends with it.
            if let Ok(started) = result {
                let _ = started.child.tree().kill();
            }
            return;
        };
        if let Ok(started) = &result {
            let token = started.child.token();
            if let Some(exit) = out.exit.take() {
                match self.early.remove(&token) {
                    Some(ended) => drop(exit.send(ended)),
                    None => drop(self.owners.insert(token, super::Owner::Errand(exit))),
                }
            }
        }
        if let Some(started) = out.started.take() {
            let _ = started.send(result);
        }
    }

    /// Calls the hook of an instance back.
    pub(super) fn cancel_hook(&mut self, key: InstanceKey, run: RunId) {
        for out in self.errands.values_mut() {
            let hers = matches!(&out.errand, Errand::Hook { key: of, run: its, .. } if *of == key && *its == run);
            if let Some(stop) = out.stop.take_if(|_| hers) {
                let _ = stop.send(Stop::Cancelled);
            }
        }
    }

    pub(super) fn errand_ended(&mut self, now: Moment, end: ErrandEnd) {
        let Some(out) = self.errands.remove(&end.id) else { return };
        let how = end.how;
        match out.errand {
            Errand::Hook { key, run, .. } => {
                let outcome = match how {
                    How::Exited(Exit::Code(0)) => HookOutcome::Success,
                    How::Exited(exit) => HookOutcome::Failed(format!("ended with {exit}")),
                    How::NotStarted(reason) => HookOutcome::Failed(format!("could not be started: {reason}")),
                    How::TimedOut => HookOutcome::TimedOut,
                    How::Cancelled => HookOutcome::Cancelled,
                };
                self.trace_hook(now, key, &outcome);
                self.guard.handle(now, key, guard::Input::HookDone { run, outcome });
            }
            Errand::StopCommand(rung) => match how {
                How::Exited(Exit::Code(0)) => {}
                // Nobody was asked. One that ran and failed may have asked all the same.
                How::NotStarted(reason) => {
                    let reason = format!("it could not be started: {reason}");
                    self.guard.handle(now, rung.key, rung.undelivered(reason));
                }
                how @ (How::Exited(_) | How::TimedOut | How::Cancelled) => {
                    let name = self.guard.instance(rung.key).map_or_else(String::new, |(id, _)| id.to_string());
                    self.trouble(format!("the stop command of {name} {}", words(&how)));
                }
            },
            Errand::Probe { key, run, slot, attempt, asked } => {
                let took = now.since(asked);
                let outcome = match &how {
                    How::Exited(Exit::Code(0)) => Outcome::Pass,
                    other => Outcome::Failed(format!("its command {}", words(other))),
                };
                self.guard.handle(now, key, guard::Input::Answer { run, slot, attempt, outcome, took });
            }
            Errand::Alert { reply } => {
                let result = match &how {
                    How::Exited(Exit::Code(0)) => Ok(()),
                    other => {
                        let reason = format!("its command {}", words(other));
                        Err(DeliveryError::Failed { retry: true, reason })
                    }
                };
                // The outbox has ended, and with it the wish to know.
                let _ = reply.send(result);
            }
        }
    }

    /// A job on behalf of an instance; `None` when it is gone.
    pub(super) fn job(&self, key: InstanceKey, order: Order, output: Output) -> Option<Job> {
        let (id, service) = self.guard.instance(key)?;
        Some(Job {
            order,
            instance: super::InstanceRef { service: id.service.clone(), index: id.index },
            spec: service.spec().clone(),
            surroundings: self.surroundings.clone(),
            command: None,
            extra_env: Vec::new(),
            output,
            stdin: Stdin::Nothing,
        })
    }
}

fn words(how: &How) -> String {
    match how {
        How::Exited(exit) => format!("ended with {exit}"),
        How::NotStarted(reason) => format!("could not be started: {reason}"),
        How::TimedOut => "took too long and was ended".to_owned(),
        How::Cancelled => "was called back".to_owned(),
    }
}

/// How an errand ended, and what it wrote, as far as that is captured.
async fn follow(
    starts: oneshot::Receiver<Result<Started, String>>,
    exits: oneshot::Receiver<Exit>,
    mut stops: oneshot::Receiver<Stop>,
    limit: Duration,
) -> (How, Option<CaptureHandle>) {
    let gone = || How::NotStarted("the guard is ending".to_owned());
    // A start that hangs is not waited for longer than the errand may take; its program, should it come to
    // life later, is ended by `errand_started`.
    let deadline = tokio::time::Instant::now() + limit;
    let started = tokio::select! {
        started = starts => started,
        () = tokio::time::sleep_until(deadline) => return (How::TimedOut, None),
        _ = &mut stops => return (How::Cancelled, None),
    };
    let (child, capture) = match started {
        Ok(Ok(Started { child, capture, .. })) => (child, capture),
        Ok(Err(reason)) => return (How::NotStarted(reason), None),
        Err(_) => return (gone(), None),
    };
    let how = tokio::select! {
        exit = exits => exit.map_or_else(|_| gone(), How::Exited),
        () = tokio::time::sleep_until(deadline) => How::TimedOut,
        _ = &mut stops => How::Cancelled,
    };
    end_tree(child).await;
    (how, capture)
}

/// Ends whatever is left of an errand's tree. A walked tree may take seconds, so not on this thread.
async fn end_tree(child: Child) {
    let tree = child.tree().clone();
    let ended = tree.clone();
    let killed = TREES.start(move || if ended.is_empty().unwrap_or(false) { Ok(()) } else { ended.kill() }).await;
    if !matches!(killed, Ok(Ok(()))) {
        // Nobody waits for it: whose errand it was goes on.
        tokio::spawn(async move {
            kill_until_done(tree.clone(), None).await;
            let _ = tree.remove();
        });
        return;
    }
    // What cannot be ended in this time is stuck in the kernel; its container stays behind, named.
    let _ = tokio::time::timeout(Duration::from_secs(2), tree.emptied()).await;
    let _ = tree.remove();
}
