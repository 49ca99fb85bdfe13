//! What the conductor shows the tracer. Without `[traces]` there is no tracer, and nothing of this costs anything.
//!
//! Events are shown before the actions that the same inputs brought, and as soon as actions are carried out; they are
//! published later, at the end of the turn. So spans begin and end when things do.

use super::Conductor;
use crate::audit::Asker;
use crate::traces::{OsEdge, Tracer};
use tutela_core::guard::Command;
use tutela_core::names::InstanceKey;
use tutela_core::service::HookOutcome;
use tutela_core::time::Moment;

impl Conductor {
    /// Shows the tracer what the guard has said since the last time; publishing it is still to come.
    pub(super) fn witness(&mut self, now: Moment) {
        let Some(tracer) = &mut self.tracer else { return };
        while let Some(event) = self.guard.poll_event() {
            tracer.event(now, &event);
            self.unpublished.push_back(event);
        }
    }

    /// The guard begins to start what it keeps.
    pub(super) fn trace_boot(&mut self, now: Moment) {
        if let Some(tracer) = &mut self.tracer {
            tracer.boot(now, self.identity.pid);
        }
    }

    /// Everything that starts at once has begun to.
    pub(super) fn trace_booted(&mut self, now: Moment) {
        self.witness(now);
        if let Some(tracer) = &mut self.tracer {
            tracer.booted(now);
        }
    }

    /// What the guard says until [`Conductor::trace_asked`] is the doing of this command.
    pub(super) fn trace_ask(&mut self, now: Moment, by: &Asker) {
        self.witness(now);
        if let (Some(tracer), Some(context)) = (&mut self.tracer, &by.trace) {
            tracer.ask(context, &by.by);
        }
    }

    /// The same for the guard's own end, where it was not asked for through the API.
    pub(super) fn trace_shutdown(&mut self, now: Moment, by: &str, hurry: bool) {
        self.witness(now);
        if let Some(tracer) = &mut self.tracer {
            tracer.shutdown(now, by, hurry);
        }
    }

    /// The command was carried out, and concerns these.
    pub(super) fn trace_asked(&mut self, now: Moment, concerned: &[InstanceKey]) {
        self.witness(now);
        if let Some(tracer) = &mut self.tracer {
            tracer.asked(concerned);
        }
    }

    /// Carries a command out that nobody gave through the API: the guard's end.
    pub(super) fn end_traced(&mut self, now: Moment, command: Command, by: &str, hurry: bool) {
        self.trace_shutdown(now, by, hurry);
        // Ending is never refused.
        let concerned = self.guard.handle_command(now, command, by).unwrap_or_default();
        self.trace_asked(now, &concerned);
    }

    pub(super) fn trace_hook(&mut self, now: Moment, key: InstanceKey, outcome: &HookOutcome) {
        self.witness(now);
        if let Some(tracer) = &mut self.tracer {
            tracer.hook_done(now, key, outcome);
        }
    }

    /// Hands on what is over.
    pub(super) fn give_spans(&mut self, now: Moment) {
        let Some(tracer) = &mut self.tracer else { return };
        tracer.tend(now);
        let mut spans = std::iter::from_fn(|| tracer.poll_span()).peekable();
        if spans.peek().is_some() {
            self.traces.put(spans);
        }
    }

    /// The guard has ended: so has whatever was open.
    pub(super) fn end_traces(&mut self, now: Moment) {
        self.witness(now);
        if let Some(tracer) = &mut self.tracer {
            tracer.finish(now);
        }
        self.give_spans(now);
    }

    /// A reload may begin traces, end them, or make another share of them.
    pub(super) fn adopt_traces(&mut self) {
        let wanted = &self.guard.spec().traces;
        self.traces.adopt(wanted);
        match (&mut self.tracer, &wanted.push) {
            (Some(tracer), Some(push)) => tracer.set_sample(push.sample),
            (None, Some(push)) => self.tracer = Some(Tracer::new(Box::new(OsEdge::new()), push.sample)),
            (_, None) => self.tracer = None,
        }
    }
}
