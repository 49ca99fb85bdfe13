//! Alerts on their way: from an occasion into the outbox, from there to the hands, and the news back.
//!
//! The outbox machine decides what is tried when; the ledger keeps what has not arrived.

use super::errands::Errand;
use super::{AlertNews, Conductor, InstanceRef};
use crate::hands::alerts::outbox::{Attempt, Outbox, OutboxEvent, PendingAlert, Ticket};
use crate::hands::alerts::{Alert, DeliveryError, deliver};
use crate::hands::launch::{Job, Order, Output, Stdin};
use crate::hands::spawner::chain;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tutela_core::names::{Name, ServiceName};
use tutela_core::spec::{
    AlertWay, Command, GuardSpec, Hooks, Launch, Limits, LogPolicy, Occasion, RestartPolicy, Security, ServiceSpec,
    StartMode,
};
use tutela_core::template::Template;
use tutela_core::time::Moment;
use tutela_os::clock;
use tutela_schema::alert::{self, ALERT_VERSION, AlertBody, SavedAlert};
use tutela_schema::events::EventRecord;

/// How long an alert's command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How long an attempt waits for the ledger to have the alert. A ledger that is slower than this may lose
/// it over a crash; not to tell anybody would be worse.
const LEDGER_PATIENCE: Duration = Duration::from_secs(2);

/// The alerts of one guard.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) outbox: Outbox,
    /// Alerts that the ledger has not confirmed yet.
    storing: HashMap<String, oneshot::Receiver<()>>,
}

impl Desk {
    /// What an earlier guard had not delivered goes on.
    pub(super) fn restore(kept: Vec<(String, Vec<u8>)>, troubles: &mut Vec<String>) -> Desk {
        let mut pending = Vec::new();
        for (id, bytes) in kept {
            match alert::decode(&bytes).map_err(|error| error.to_string()).and_then(pending_of) {
                Ok(alert) => pending.push(alert),
                Err(error) => troubles.push(format!("the alert {id} is lost: {error}")),
            }
        }
        let outbox = Outbox::restore(pending, clock::now(), unix_millis());
        Desk { outbox, storing: HashMap::new() }
    }
}

impl Conductor {
    /// Hands an alert to every way that wants to hear of the occasion.
    pub(super) fn raise(&mut self, now: Moment, occasion: Occasion, record: &EventRecord) {
        let spec = self.guard.spec().clone();
        for way in spec.alerts.values().filter(|way| way.on.contains(&occasion)) {
            let alert = self.alert_of(&way.name, occasion, record);
            self.alerts.outbox.put(way.name.clone(), alert, now, unix_millis());
        }
    }

    fn alert_of(&self, way: &Name, occasion: Occasion, record: &EventRecord) -> Alert {
        let guard = &self.identity.name;
        let instance = match (&record.service, record.instance) {
            (Some(service), Some(index)) => Some(format!("{service}:{index}")),
            (service, _) => service.clone(),
        };
        let who = instance.clone().map_or(guard.clone(), |instance| format!("{guard}/{instance}"));
        let id = format!("{guard}-{}-{}-{way}", self.identity.since.unix_millis(), record.seq);
        let body = AlertBody {
            v: ALERT_VERSION,
            id: id.clone(),
            occasion: occasion.word().to_owned(),
            host: self.identity.computer.clone(),
            guard: guard.clone(),
            instance,
            at: record.at,
            message: record.message.clone(),
            event: record.clone(),
        };
        Alert {
            id,
            subject: format!("[{}] {who}: {}", occasion.word(), record.message),
            text: format!(
                "{who} on {}\n{}: {}\nat {}\n",
                self.identity.computer,
                occasion.word(),
                record.message,
                record.at
            ),
            // Strings and numbers only: there is no value that JSON cannot hold.
            json: serde_json::to_string(&body).unwrap_or_default(),
        }
    }

    /// Carries out what the outbox wants done.
    pub(super) fn tend_alerts(&mut self, now: Moment) {
        // What is new has to be on its way to the ledger before it is tried.
        self.outbox_events(now);
        while let Some(attempt) = self.alerts.outbox.poll_attempt(now) {
            self.attempt(attempt);
        }
        self.outbox_events(now);
    }

    fn attempt(&mut self, attempt: Attempt) {
        let Attempt { ticket, way, alert } = attempt;
        let spec = self.guard.spec().clone();
        let Some(way_spec) = spec.alerts.get(&way) else {
            return self.alerts.outbox.remove_way(&way);
        };
        let stored = self.alerts.storing.remove(&alert.id);
        let (reply, result) = oneshot::channel();
        let inbox = self.inbox.clone();
        if let AlertWay::Command(command) = &way_spec.way {
            let job = self.alert_job(command.clone(), &alert);
            self.send_errand(Errand::Alert { reply }, COMMAND_LIMIT, |order| Job { order, ..job });
        } else {
            let (way, tls) = (way_spec.way.clone(), self.questions.tls().clone());
            self.questions.hands().spawn(async move {
                if let Some(stored) = stored {
                    let _ = tokio::time::timeout(LEDGER_PATIENCE, stored).await;
                }
                let _ = reply.send(deliver(&way, &alert, &tls).await);
            });
        }
        self.questions.hands().spawn(async move {
            let lost = || DeliveryError::Failed { retry: true, reason: "the attempt was given up".into() };
            let result = result.await.unwrap_or_else(|_| Err(lost()));
            let _ = inbox.send(super::Input::AlertTried { ticket, result }).await;
        });
    }

    pub(super) fn alert_tried(&mut self, now: Moment, ticket: Ticket, result: Result<(), DeliveryError>) {
        self.alerts.outbox.handle_result(ticket, result, now);
    }

    fn outbox_events(&mut self, now: Moment) {
        while let Some(event) = self.alerts.outbox.poll_event() {
            match event {
                OutboxEvent::Keep(pending) => {
                    let stored = self.ledger.put_alert(pending.alert.id.clone(), alert::encode(&saved_of(&pending)));
                    match pending.last_error {
                        None => drop(self.alerts.storing.insert(pending.alert.id, stored)),
                        Some(error) => self.say_alert(
                            now,
                            &AlertNews {
                                id: pending.alert.id,
                                way: pending.way.to_string(),
                                attempts: pending.attempts,
                                error: Some(error),
                                again: true,
                            },
                        ),
                    }
                }
                OutboxEvent::Delivered { id, way, attempts } => {
                    self.ledger.drop_alert(id.clone());
                    self.say_alert(now, &AlertNews { id, way: way.to_string(), attempts, error: None, again: false });
                }
                OutboxEvent::GaveUp { pending, reason } => {
                    self.ledger.drop_alert(pending.alert.id.clone());
                    self.say_alert(
                        now,
                        &AlertNews {
                            id: pending.alert.id,
                            way: pending.way.to_string(),
                            attempts: pending.attempts,
                            error: Some(reason),
                            again: false,
                        },
                    );
                }
                OutboxEvent::Dropped { pending } => {
                    self.ledger.drop_alert(pending.alert.id.clone());
                    self.say_alert(
                        now,
                        &AlertNews {
                            id: pending.alert.id,
                            way: pending.way.to_string(),
                            attempts: pending.attempts,
                            error: Some("it made room for newer alerts".into()),
                            again: false,
                        },
                    );
                }
            }
        }
    }

    /// An alert's command belongs to no service: it runs as the guard, in the guard's own environment.
    fn alert_job(&self, command: Command, alert: &Alert) -> Job {
        let spec = spec_for_command(self.guard.spec(), command, &self.surroundings.folder);
        Job {
            order: Order::Errand { id: 0 },
            instance: InstanceRef { service: spec.name.clone(), index: 0 },
            spec: Arc::new(spec),
            surroundings: self.surroundings.clone(),
            command: None,
            extra_env: vec![
                ("TUTELA_ALERT_ID", alert.id.clone()),
                ("TUTELA_ALERT_SUBJECT", alert.subject.clone()),
                ("TUTELA_ALERT_TEXT", alert.text.clone()),
            ],
            output: Output::Dropped,
            stdin: Stdin::Bytes(alert.json.clone().into_bytes()),
        }
    }
}

/// A spec that has nothing but a command.
fn spec_for_command(guard: &GuardSpec, command: Command, folder: &std::path::Path) -> ServiceSpec {
    let (mut env, _) = tutela_schema::spec::process_env();
    env.retain(|name, _| !tutela_core::spec::HOST_VARIABLES.contains(&name.as_str()));
    let mut spec = bare_spec(guard.name.clone());
    spec.launch.command = command;
    spec.launch.cwd = folder.to_owned();
    spec.launch.env = env.into_iter().map(|(name, value)| (Arc::from(name), Template::fixed(value))).collect();
    spec
}

/// A spec in which everything is left out that can be.
pub fn bare_spec(name: ServiceName) -> ServiceSpec {
    ServiceSpec {
        name,
        description: String::new(),
        launch: Launch {
            command: Command { words: Vec::new() },
            cwd: std::path::PathBuf::new(),
            env: tutela_core::spec::Env::default(),
            secrets: std::collections::BTreeMap::new(),
            user: None,
            group: None,
            umask: None,
            security: Security::default(),
        },
        needs: Vec::new(),
        instances: 1,
        start: StartMode::Manual,
        start_timeout: None,
        restart: RestartPolicy::default(),
        stop: Vec::new(),
        startup: None,
        ready: None,
        live: None,
        dependencies: Vec::new(),
        hooks: Hooks::default(),
        limits: Limits::default(),
        logs: LogPolicy::of(tutela_core::spec::LogForm::Stamped),
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn saved_of(pending: &PendingAlert) -> SavedAlert {
    SavedAlert {
        v: ALERT_VERSION,
        id: pending.alert.id.clone(),
        way: pending.way.to_string(),
        subject: pending.alert.subject.clone(),
        text: pending.alert.text.clone(),
        json: pending.alert.json.clone(),
        raised_unix_millis: pending.raised_unix_millis,
        attempts: pending.attempts,
        last_error: pending.last_error.clone(),
    }
}

fn pending_of(saved: SavedAlert) -> Result<PendingAlert, String> {
    let way = Name::new(&saved.way).map_err(|error| chain(&error))?;
    Ok(PendingAlert {
        way,
        alert: Alert { id: saved.id, subject: saved.subject, text: saved.text, json: saved.json },
        raised_unix_millis: saved.raised_unix_millis,
        attempts: saved.attempts,
        next_at: clock::now(),
        last_error: saved.last_error,
    })
}
