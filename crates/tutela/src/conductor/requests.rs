//! What operators ask, and the tickets of those who wait until it is done.

use super::audit::{self, Noted};
use super::view::{self, state};
use super::{Conductor, Request};
use crate::audit::Asker;
use std::time::Duration;
use tokio::sync::oneshot;
use tutela_core::guard::{Command, Refusal, Target};
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::reload::{self, Change};
use tutela_core::service::{Service, StateName};
use tutela_core::time::Moment;
use tutela_schema::api::{
    CommandReply, DiagnosticBody, ErrorCode, ErrorReply, InstanceOutcome, Outcome, ReloadReply, Survivor, Verb,
};
use tutela_schema::spec::Diagnostic;

/// Commands whose senders wait. Each is a connection of an operator.
const TICKETS_MAX: usize = 1024;

/// The longest a sender is kept waiting. A start that waits for a need, or a stop of a process that the
/// kernel does not let go, can take for ever; the answer then says how far it came.
const TICKET_LIMIT: Duration = Duration::from_secs(600);

/// What somebody waits for.
pub(super) struct Ticket {
    goal: Goal,
    verb: Verb,
    began: Moment,
    keys: Vec<Watched>,
    reply: Reply,
    /// What is to be noted down of its outcome.
    noted: Option<Noted>,
}

struct Watched {
    key: InstanceKey,
    id: String,
    service: String,
    before: RunId,
    already: bool,
}

enum Reply {
    Command(oneshot::Sender<Result<CommandReply, ErrorReply>>),
    Reload(oneshot::Sender<Result<ReloadReply, ErrorReply>>, Box<ReloadReply>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Up, or known not to come up soon.
    Up,
    /// Up in a newer run than before.
    Anew,
    /// Nothing of it lives.
    Down,
    /// Neither starting nor stopping.
    Settled,
}

impl Ticket {
    pub(super) fn deadline(&self) -> Moment {
        self.began + TICKET_LIMIT
    }
}

impl Conductor {
    pub(super) fn handle_request(&mut self, now: Moment, request: Request) {
        match request {
            Request::Status { target, reply } => {
                let answer = self.status_of(&target).ok_or_else(|| refused(&Refusal::Unknown(target)));
                // Who asked may have gone; so in every answer below.
                let _ = reply.send(answer);
            }
            Request::LogDir { target, reply } => {
                let service = match &target {
                    Target::All => None,
                    Target::Service(name) => Some(name),
                    Target::Instance(id) => Some(&id.service),
                };
                let spec = service.and_then(|name| self.guard.spec().services.get(name));
                let dir = spec.map(|spec| self.surroundings.keeping.dir(spec));
                let _ = reply.send(dir.ok_or_else(|| refused(&Refusal::Unknown(target))));
            }
            Request::Command { verb, command, by, wait, reply } => {
                self.command(now, verb, command, by, wait, reply);
            }
            Request::Reload { spec, warnings, by, wait, reply } => {
                let answer = self.reload(now, *spec, &warnings, &by);
                let noted = answer.as_ref().map(|(_, reply)| reply.clone()).map_err(Clone::clone);
                self.note_reload(&by, &noted);
                match answer {
                    Ok((keys, answer)) if wait && self.tickets.len() < TICKETS_MAX => {
                        let keys = keys.into_iter().filter_map(|key| self.watched(key)).collect();
                        let reply = Reply::Reload(reply, Box::new(answer));
                        let (goal, verb) = (Goal::Settled, Verb::Reload);
                        self.tickets.push(Ticket { goal, verb, began: now, keys, reply, noted: None });
                    }
                    other => drop(reply.send(other.map(|(_, answer)| answer))),
                }
            }
            Request::ReloadRefused { diagnostics, refusal, by } => {
                self.note_reload(&by, &Err(*refusal));
                self.say_reload_refused(now, &diagnostics);
            }
            Request::Figures(reply) => drop(reply.send(Ok(self.figures()))),
            Request::Ping(reply) => drop(reply.send(())),
        }
    }

    fn command(
        &mut self,
        now: Moment,
        verb: Verb,
        command: Command,
        by: Asker,
        wait: bool,
        reply: oneshot::Sender<Result<CommandReply, ErrorReply>>,
    ) {
        let goal = match verb {
            Verb::Start => Goal::Up,
            Verb::Restart => Goal::Anew,
            Verb::Stop | Verb::Shutdown => Goal::Down,
            Verb::Pause | Verb::Resume | Verb::Reload => Goal::Settled,
        };
        let all: Vec<InstanceKey> = self.guard.instances().map(|(key, _, _)| key).collect();
        let before: Vec<Watched> = all.into_iter().filter_map(|key| self.watched(key)).collect();
        let target = audit::target_of(&command);
        self.trace_ask(now, &by);
        let asked = self.guard.handle_command(now, command, &by.by);
        self.trace_asked(now, asked.as_deref().unwrap_or_default());
        let keys = match asked {
            Ok(keys) => keys,
            Err(refusal) => {
                let refusal = refused(&refusal);
                self.note_refused(&by, verb, &target, &refusal);
                return drop(reply.send(Err(refusal)));
            }
        };
        let noted = self.note_begun(by, verb, &target, wait && self.tickets.len() < TICKETS_MAX);
        if wait && self.tickets.len() >= TICKETS_MAX {
            let message = format!("accepted, but {TICKETS_MAX} commands are being waited for already");
            let busy = ErrorReply::new(ErrorCode::Busy, message, Some("ask for the status".into()));
            return drop(reply.send(Err(busy)));
        }
        let mut watched: Vec<Watched> = before.into_iter().filter(|watched| keys.contains(&watched.key)).collect();
        for watched in &mut watched {
            watched.already = self.guard.instance(watched.key).is_some_and(|(_, service)| match goal {
                Goal::Up => service.run() == watched.before && service.state_name() == StateName::Running,
                Goal::Down => watched.already && service.state_name() == StateName::Stopped,
                Goal::Anew | Goal::Settled => false,
            });
        }
        let ticket = Ticket { goal, verb, began: now, keys: watched, reply: Reply::Command(reply), noted };
        if wait {
            self.tickets.push(ticket);
        } else {
            self.answer(now, ticket, false);
        }
    }

    fn watched(&self, key: InstanceKey) -> Option<Watched> {
        let (id, service) = self.guard.instance(key)?;
        Some(Watched {
            key,
            id: id.to_string(),
            service: id.service.to_string(),
            before: service.run(),
            already: service.state_name() == StateName::Stopped,
        })
    }

    /// Answers everybody whose wait is over.
    pub(super) fn answer_tickets(&mut self, now: Moment) {
        if self.tickets.is_empty() {
            return;
        }
        let mut open = std::mem::take(&mut self.tickets);
        open.retain(|ticket| !ticket.is_abandoned());
        for ticket in open {
            let reached = ticket.keys.iter().all(|watched| self.reached(ticket.goal, watched));
            if reached || now >= ticket.deadline() {
                self.answer(now, ticket, true);
            } else {
                self.tickets.push(ticket);
            }
        }
    }

    /// Whether somebody waits for what was asked.
    pub(super) fn has_open_tickets(&self) -> bool {
        self.tickets.iter().any(|ticket| !ticket.is_abandoned())
    }

    fn reached(&self, goal: Goal, watched: &Watched) -> bool {
        let Some((_, service)) = self.guard.instance(watched.key) else { return true };
        if self.is_overtaken(goal, watched.key, service) {
            return true;
        }
        match goal {
            Goal::Up => service.has_settled() || self.waits_in_vain(service),
            Goal::Anew => {
                let newer = service.run() > watched.before || service.state_name() != StateName::Running;
                newer && (service.has_settled() && service.is_wanted_up() || self.waits_in_vain(service))
            }
            Goal::Down => service.is_at_rest() && !service.is_wanted_up(),
            Goal::Settled => service.has_settled() || self.waits_in_vain(service),
        }
    }

    /// Whether somebody has asked for the opposite since.
    fn is_overtaken(&self, goal: Goal, key: InstanceKey, service: &Service) -> bool {
        match goal {
            Goal::Down => service.is_wanted_up(),
            Goal::Up | Goal::Anew => !service.is_wanted_up() && !self.guard.awaits_restart(key),
            Goal::Settled => false,
        }
    }

    /// Whether it waits for something that will not come up by itself soon.
    fn waits_in_vain(&self, service: &Service) -> bool {
        service.state_name() == StateName::Waiting
            && service.spec().needs.iter().any(|need| {
                self.guard.instances_of(need).any(|(_, _, other)| match other.state_name() {
                    StateName::Stopped | StateName::Backoff | StateName::Cooldown | StateName::Failed => true,
                    StateName::Waiting
                    | StateName::Starting
                    | StateName::Running
                    | StateName::Stopping
                    | StateName::Done => false,
                })
            })
    }

    fn answer(&mut self, now: Moment, ticket: Ticket, waited: bool) {
        let took_ms = u64::try_from(now.since(ticket.began).as_millis()).unwrap_or(u64::MAX);
        match ticket.reply {
            Reply::Reload(reply, mut answer) => {
                answer.took_ms = took_ms;
                let _ = reply.send(Ok(*answer));
            }
            Reply::Command(reply) => {
                let instances: Vec<InstanceOutcome> =
                    ticket.keys.iter().map(|watched| self.outcome_of(ticket.goal, watched, waited)).collect();
                let mut services: Vec<String> = ticket.keys.iter().map(|watched| watched.service.clone()).collect();
                services.dedup();
                let answer = CommandReply { command: ticket.verb, services, instances, took_ms };
                if let Some(noted) = &ticket.noted {
                    self.note_outcome(noted, &answer);
                }
                let _ = reply.send(Ok(answer));
            }
        }
    }

    fn outcome_of(&self, goal: Goal, watched: &Watched, waited: bool) -> InstanceOutcome {
        let Some((_, service)) = self.guard.instance(watched.key) else {
            let wanted_gone = matches!(goal, Goal::Down | Goal::Settled);
            return InstanceOutcome {
                id: watched.id.clone(),
                outcome: if wanted_gone { Outcome::Done } else { Outcome::Failed },
                state: tutela_schema::api::State::Stopped,
                message: Some("removed by a reload".into()),
                survivors: Vec::new(),
            };
        };
        let name = service.state_name();
        let overtaken = self.is_overtaken(goal, watched.key, service) && name != StateName::Done;
        let good = match goal {
            _ if overtaken => false,
            Goal::Up | Goal::Anew => matches!(name, StateName::Running | StateName::Done),
            Goal::Down => service.is_at_rest(),
            Goal::Settled => !matches!(name, StateName::Failed | StateName::Backoff | StateName::Cooldown),
        };
        let outcome = match (waited, watched.already, good) {
            (_, true, true) => Outcome::Already,
            (_, _, true) => Outcome::Done,
            (false, _, false) => Outcome::Accepted,
            (true, _, false) => Outcome::Failed,
        };
        let survivors = if goal == Goal::Down { service.survivors() } else { &[] };
        InstanceOutcome {
            id: watched.id.clone(),
            outcome,
            state: state(name),
            message: if overtaken {
                Some(format!("overtaken by another command: {}", service.cause()))
            } else {
                (outcome != Outcome::Already).then(|| view::cause(service))
            },
            survivors: survivors.iter().map(|it| Survivor { pid: it.pid, name: it.name.clone() }).collect(),
        }
    }

    fn reload(
        &mut self,
        now: Moment,
        spec: tutela_core::spec::GuardSpec,
        warnings: &[Diagnostic],
        by: &Asker,
    ) -> Result<(Vec<InstanceKey>, ReloadReply), ErrorReply> {
        let changes = reload::plan(self.guard.spec(), &spec).map_err(|error| refused(&Refusal::OtherName(error)))?;
        let names: Vec<String> = spec.services.keys().map(ToString::to_string).collect();
        if let Some(host) = &self.host {
            // A host that does not listen is not told again afterwards either.
            let _ = host.reloading();
        }
        let old = self.guard.spec().clone();
        self.trace_ask(now, by);
        let asked = self.guard.handle_command(now, Command::Reload(Box::new(spec)), &by.by);
        self.trace_asked(now, asked.as_deref().unwrap_or_default());
        let keys = asked.map_err(|error| refused(&error))?;
        let new = self.guard.spec().clone();
        if let Err(error) = self.sinks.reload(&old, &new) {
            self.trouble(error);
        }
        self.spread_spec();
        self.say_running();
        let mut reply = ReloadReply {
            added: Vec::new(),
            removed: Vec::new(),
            restarted: Vec::new(),
            adjusted: Vec::new(),
            unchanged: Vec::new(),
            api: reload::api(&old.api, &new.api),
            warnings: warnings.iter().map(DiagnosticBody::from).collect(),
            took_ms: 0,
        };
        for (name, change) in &changes {
            let list = match change {
                Change::Add => &mut reply.added,
                Change::Remove => &mut reply.removed,
                Change::Restart(_) => &mut reply.restarted,
                Change::Live(_) => &mut reply.adjusted,
            };
            list.push(name.to_string());
        }
        let changed = |name: &String| changes.iter().any(|(of, _)| of.as_str() == name);
        reply.unchanged = names.into_iter().filter(|name| !changed(name)).collect();
        Ok((keys, reply))
    }
}

impl Ticket {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool {
        match &self.reply {
            Reply::Command(reply) => reply.is_closed(),
            Reply::Reload(reply, _) => reply.is_closed(),
        }
    }
}

/// A refusal as the API tells it.
fn refused(refusal: &Refusal) -> ErrorReply {
    let (code, help) = match refusal {
        Refusal::Unknown(_) => (ErrorCode::NoSuchService, Some("tutela status NAME lists the services".to_owned())),
        Refusal::OtherName(_) => (ErrorCode::SpecRefused, None),
        Refusal::Disabled(_) | Refusal::Ending | Refusal::NotRunning(_) => (ErrorCode::Conflict, None),
    };
    ErrorReply::new(code, refusal.to_string(), help)
}
