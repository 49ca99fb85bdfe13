//! Events become records: for the ledger, the console, those who follow, and alerts.

use super::view::{Dial, code_and_signal, wall_now};
use super::{AlertNews, Conductor, OutputNews};
use crate::api::door::News;
use crate::hands::sinks::forwarder::ForwarderEvent;
use crate::hands::sinks::hand::SinkNews;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::broadcast;
use tutela_core::guard::Event;
use tutela_core::names::{InstanceId, InstanceKey};
use tutela_core::reload::Change;
use tutela_core::service::{Cause, Event as Fact, Exit, ProbeRole, RestartCause, RestartTally, Service, StateName};
use tutela_core::spec::Occasion;
use tutela_core::time::Moment;
use tutela_os::Unsupported;
use tutela_schema::api::{DiagnosticBody, UpgradeInfo};
use tutela_schema::events::{EventKind, EventRecord};
use tutela_schema::saved::{SavedExit, SavedInstance, Wanted};
use tutela_schema::spec::Diagnostic;

/// Events that a follower may be behind. One that is further behind is told how many it missed, and can
/// read them from the ledger.
pub const FEED_EVENTS_MAX: usize = 1024;

/// Everybody who follows the events. Cheap to clone; dropping it ends nobody.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<Arc<EventRecord>>);

impl Feed {
    /// A feed that nobody follows yet.
    pub fn new() -> Feed {
        Feed(broadcast::channel(FEED_EVENTS_MAX).0)
    }

    /// Follows from here on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.0.subscribe()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Feed::new()
    }
}

/// What was last saved of an instance, in the little that tells whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shadow {
    restarts: u64,
    by_cause: RestartTally,
    in_a_row: u32,
    cooldown_until: Option<Moment>,
    half_open: bool,
    last_exit: Option<Moment>,
    kept_down: bool,
}

/// How a line of the console begins to matter: what is said of an event, and whether it is said at all.
struct Telling {
    kind: EventKind,
    message: String,
    data: Vec<(&'static str, Value)>,
    shown: bool,
    occasion: Option<Occasion>,
    /// Of which run, where it is not the one under way.
    run: Option<u64>,
}

impl Telling {
    fn new(kind: EventKind, message: impl Into<String>) -> Self {
        Telling { kind, message: message.into(), data: Vec::new(), shown: true, occasion: None, run: None }
    }

    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.data.push((key, value.into()));
        self
    }

    fn quiet(mut self) -> Self {
        self.shown = false;
        self
    }

    fn alerting(mut self, occasion: Occasion) -> Self {
        self.occasion = Some(occasion);
        self
    }
}

impl Conductor {
    pub(super) fn publish(&mut self, now: Moment, event: Event) {
        match event {
            Event::Instance { key, id, event } => {
                self.told.note();
                if let Some(mut telling) = self.tell_instance(key, &event) {
                    // The instance may be in its next run by the time that this is told.
                    if let Fact::Started { run, .. } | Fact::Exited { run, .. } = &event {
                        telling.run = Some(run.0);
                    }
                    self.tell(now, Some(&id), Some(key), telling);
                }
            }
            Event::Commanded { what, by } => {
                let telling = Telling::new(EventKind::Commanded, format!("{what}, asked by {by}"));
                self.tell(now, None, None, telling.with("command", what).with("by", by));
            }
            Event::Reloaded { changes, api } => {
                let telling = tell_reload(&changes, api);
                self.tell(now, None, None, telling);
            }
            Event::Added { .. } => self.told.note(),
            Event::Removed { key, id } => {
                self.told.note();
                self.ledger.forget(id.to_string());
                self.forget_estate(key, &id);
                let tree = self.live.remove(&key).map(|live| live.child.tree().clone());
                self.forget(key, &format!("{}-{}", id.service, id.index), tree);
                self.outputs.remove(&key);
            }
        }
    }

    fn tell_instance(&self, key: InstanceKey, fact: &Fact) -> Option<Telling> {
        let service = self.guard.instance(key).map(|(_, service)| service);
        let dial = Dial::read();
        Some(match fact {
            Fact::State { from, to, cause } => tell_state(*from, *to, cause, service, &dial),
            Fact::Started { pid, .. } => {
                Telling::new(EventKind::Started, format!("started, pid {pid}")).with("pid", *pid)
            }
            // The state that follows is shown with the same words.
            Fact::StartFailed { reason, .. } => {
                Telling::new(EventKind::StartFailed, format!("could not be started: {reason}"))
                    .with("error", reason.clone())
                    .quiet()
            }
            Fact::Exited { exit, ran, wanted, .. } => {
                let (code, signal) = code_and_signal(exit);
                let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
                let telling = Telling::new(EventKind::Exited, format!("{exit} after {}", Ran(*ran)))
                    .with("code", code.map_or(Value::Null, Value::from))
                    .with("signal", signal.map_or(Value::Null, Value::from))
                    .with("lasted_ms", ran_ms)
                    .with("wanted", *wanted)
                    .with("oom", matches!(exit, Exit::Signal { oom: true, .. }));
                let policy = service.map(|service| service.spec().restart.success_codes.clone()).unwrap_or_default();
                let good = matches!(exit, Exit::Code(code) if policy.contains(code));
                if *wanted || good { telling } else { telling.alerting(Occasion::Crashed) }
            }
            Fact::Undelivered { step, reason } => {
                Telling::new(EventKind::StopStepFailed, format!("{step} reached nobody: {reason}"))
                    .with("step", step.to_string())
                    .with("error", reason.clone())
            }
            Fact::Resisted { survivors } => {
                let names: Vec<String> = survivors.iter().map(ToString::to_string).collect();
                let list: Vec<Value> = survivors.iter().map(|it| json!({ "pid": it.pid, "name": it.name })).collect();
                Telling::new(EventKind::Resisted, format!("ended by force: {}", names.join(", ")))
                    .with("survivors", list)
                    .alerting(Occasion::Resisted)
            }
            Fact::Probe { role, name, passes, reason } => tell_probe(*role, name, *passes, reason),
            Fact::HookFailed { kind, outcome } => {
                Telling::new(EventKind::HookRan, format!("its {} hook {outcome}", kind.word()))
                    .with("hook", kind.word())
                    .with("error", outcome.to_string())
            }
            Fact::Cooldown { restarts, until } => {
                let until = dial.wall(*until).to_string();
                Telling::new(
                    EventKind::Cooldown,
                    format!("crash loop stopped after {restarts} restarts; waits until {until}"),
                )
                .with("restarts", *restarts)
                .with("until", until)
                .alerting(Occasion::Cooldown)
            }
            Fact::HalfOpenFailed { until } => {
                let until = dial.wall(*until).to_string();
                Telling::new(EventKind::HalfOpenFailed, format!("the half-open try failed; waits until {until}"))
                    .with("until", until)
                    .alerting(Occasion::HalfOpenFailed)
            }
            Fact::Recovered => Telling::new(EventKind::Recovered, "the half-open try held; all is forgiven")
                .alerting(Occasion::Recovered),
            Fact::Paused => Telling::new(EventKind::Commanded, "held still"),
            Fact::Resumed => Telling::new(EventKind::Commanded, "goes on"),
            Fact::TakenBack { pid, state, .. } => {
                let process = pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
                Telling::new(EventKind::TakenBack, format!("goes on from {}{process}", state.word()))
                    .with("pid", pid.map_or(Value::Null, Value::from))
                    .with("state", state.word())
            }
        })
    }

    fn tell(&mut self, now: Moment, id: Option<&InstanceId>, key: Option<InstanceKey>, telling: Telling) {
        let mut record = EventRecord::new(self.next_seq, wall_now(), telling.kind, telling.message);
        self.next_seq += 1;
        if let Some(id) = id {
            record.service = Some(id.service.to_string());
            record.instance = Some(id.index);
            let under_way = || key.and_then(|key| self.guard.instance(key)).map(|(_, service)| service.run().0);
            record.run = telling.run.or_else(under_way);
        }
        for (name, value) in telling.data {
            record.data.insert(name.to_owned(), value);
        }
        *self.events.entry(record.kind.clone()).or_default() += 1;
        let record = Arc::new(record);
        if telling.shown {
            match (&self.journal, id) {
                (Some(journal), _) => journal.record(record.clone()),
                (None, Some(id)) => self.console.say(&format!("{id} {}", record.message)),
                (None, None) => self.console.say(&record.message),
            }
        }
        self.ledger.record(record.clone());
        // Nobody follows: that is no error.
        let _ = self.feed.0.send(record.clone());
        if let Some(occasion) = telling.occasion {
            self.raise(now, occasion, &record);
        }
    }

    /// Writes down what changed of the instances that were touched.
    pub(super) fn save_touched(&mut self, touched: &BTreeSet<InstanceKey>) {
        let mut dial = None;
        for key in touched {
            let Some((id, service)) = self.guard.instance(*key) else { continue };
            let shadow = shadow_of(service, self.guard.is_asked_down(*key));
            if self.shadows.get(key) == Some(&shadow) {
                continue;
            }
            let unremarkable = shadow.restarts == 0 && shadow.last_exit.is_none() && !shadow.kept_down;
            if unremarkable && !self.shadows.contains_key(key) {
                continue;
            }
            let dial = dial.get_or_insert_with(Dial::read);
            let saved = saved_of(dial, id, service, shadow.kept_down);
            self.shadows.insert(*key, shadow);
            self.ledger.save(saved);
        }
    }

    // ---- facts of the guard's own ----

    pub(super) fn say_started(&mut self, now: Moment) {
        let identity = self.identity.clone();
        let count = self.guard.spec().services.len();
        let message = format!(
            "tutela {} {} {} ({count} {}), pid {}",
            identity.version,
            if self.trial.is_some() { "guards on trial for" } else { "keeps" },
            identity.name,
            if count == 1 { "service" } else { "services" },
            identity.pid
        );
        let telling = Telling::new(EventKind::GuardStarted, message)
            .with("version", identity.version)
            .with("pid", identity.pid)
            .with("spec", identity.spec);
        self.tell(now, None, None, telling);
    }

    /// How the program of this guard came to be the one that runs, or did not.
    pub(super) fn say_upgraded(&mut self, now: Moment) {
        let Some(upgrade) = self.identity.upgrade.get() else { return };
        let (gaps, fate, not_kept) = (upgrade.unwatched(), upgrade.fate(), upgrade.not_kept);
        let UpgradeInfo { from, to, program, reason, unwatched_ms, .. } = upgrade;
        let message = match &reason {
            None => format!("upgraded from {from} to {to} ({program}); {fate}, unwatched for {gaps}"),
            // Nobody has left yet: there is nothing to take back.
            Some(reason) if unwatched_ms.is_empty() => {
                format!("the upgrade from {from} to {to} ({program}) was given up: {reason}; nothing was changed")
            }
            Some(reason) => format!(
                "the upgrade from {from} to {to} ({program}) was rolled back: {reason}; {fate}, unwatched for {gaps}"
            ),
        };
        self.note_upgraded(&message, reason.is_none());
        let telling = match reason {
            None => Telling::new(EventKind::Upgraded, message),
            Some(reason) => Telling::new(EventKind::UpgradeFailed, message).with("error", reason),
        };
        let telling = telling.with("from", from).with("to", to).with("program", program);
        self.tell(now, None, None, telling.with("unwatched_ms", unwatched_ms).with("not_kept", not_kept));
    }

    pub(super) fn say_ended(&mut self) {
        self.tell(tutela_os::clock::now(), None, None, Telling::new(EventKind::GuardStopped, "everything is stopped"));
    }

    pub(super) fn say_trouble(&mut self, now: Moment, text: &str) {
        self.tell(now, None, None, Telling::new(EventKind::Trouble, text).with("error", text));
    }

    pub(super) fn say_door(&mut self, now: Moment, news: News) {
        let telling = match news {
            News::Trouble(text) => return self.trouble(text),
            News::Listening { at, secure } => {
                let how = if secure { "within TLS" } else { "without TLS" };
                Telling::new(EventKind::ApiListening, format!("the control API listens at {at} {how}"))
                    .with("address", at.to_string())
                    .with("tls", secure)
            }
            News::Refused { address, why, more } => {
                let before =
                    if more == 0 { String::new() } else { format!("; {more} more since the last one told of") };
                let message = format!("{address} was refused at the control API: {why}{before}");
                Telling::new(EventKind::ApiRefused, message)
                    .with("address", address.to_string())
                    .with("error", why)
                    .with("more", more)
            }
        };
        self.tell(now, None, None, telling);
    }

    pub(super) fn say_host_told(&mut self, now: Moment, told: &str) {
        self.tell(now, None, None, Telling::new(EventKind::HostTold, told).with("told", told));
    }

    pub(super) fn say_unsupported(&mut self, key: InstanceKey, missing: &Unsupported) {
        let Some((id, _)) = self.guard.instance(key) else { return };
        if !self.unsupported.insert((key, missing.capability)) {
            return;
        }
        let id = id.clone();
        let telling = Telling::new(EventKind::Unsupported, missing.to_string())
            .with("capability", missing.capability)
            .with("reason", missing.reason.clone());
        self.tell(tutela_os::clock::now(), Some(&id), Some(key), telling);
    }

    pub(super) fn say_alert(&mut self, now: Moment, news: &AlertNews) {
        let telling = match &news.error {
            None => Telling::new(
                EventKind::AlertDelivered,
                format!("alert {} delivered by {} at try {}", news.id, news.way, news.attempts),
            )
            .quiet(),
            Some(error) => {
                let then = if news.again { "it is tried again" } else { "it is given up" };
                let message = format!("alert {} by {} failed: {error}; {then}", news.id, news.way);
                Telling::new(EventKind::AlertFailed, message).with("error", error.clone())
            }
        };
        let telling =
            telling.with("alert", news.id.clone()).with("way", news.way.clone()).with("attempts", news.attempts);
        self.tell(now, None, None, telling);
    }

    pub(super) fn say_sink(&mut self, now: Moment, news: &SinkNews) {
        let sink = &news.sink;
        let telling = match &news.event {
            ForwarderEvent::Failing { error } => {
                Telling::new(EventKind::SinkFailing, format!("the sink {sink} does not get through: {error}"))
                    .with("error", error.clone())
                    .alerting(Occasion::SinkFailing)
            }
            ForwarderEvent::Recovered { after } => {
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                let message = format!("the sink {sink} gets through again after {}", Ran(*after));
                Telling::new(EventKind::SinkRecovered, message).with("after_ms", after_ms)
            }
            ForwarderEvent::Dropped { counts, error } => {
                let parts = [
                    (counts.overflowed, "because it is too far behind"),
                    (counts.lost, "because their files were removed"),
                    (counts.refused, "because the receiver refuses them"),
                ];
                let parts: Vec<String> =
                    parts.iter().filter(|(lines, _)| *lines > 0).map(|(lines, why)| format!("{lines} {why}")).collect();
                let said = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                let message = format!("the sink {sink} goes without lines: {}{said}", parts.join(", "));
                Telling::new(EventKind::SinkDropped, message)
                    .with("overflow", counts.overflowed)
                    .with("lost", counts.lost)
                    .with("refused", counts.refused)
                    .with("error", error.clone().map_or(Value::Null, Value::from))
            }
        };
        self.tell(now, None, None, telling.with("sink", sink.clone()));
    }

    pub(super) fn say_output(&mut self, now: Moment, label: &Arc<str>, news: OutputNews) {
        let telling = match news {
            OutputNews::Failing(error) => {
                let is_first = self.unkept.is_empty();
                self.unkept.insert(label.clone());
                let message = format!("output of {label} is being dropped: {error}");
                let telling = Telling::new(EventKind::LogsFailing, message).with("error", error);
                if is_first { telling.alerting(Occasion::LogsFailing) } else { telling }
            }
            OutputNews::Recovered { dropped_bytes, dropped_lines } => {
                self.unkept.remove(label);
                let message = format!(
                    "output of {label} is kept again; {dropped_bytes} bytes in {dropped_lines} lines are missing"
                );
                Telling::new(EventKind::LogsRecovered, message)
                    .with("dropped_bytes", dropped_bytes)
                    .with("dropped_lines", dropped_lines)
            }
        };
        let id = InstanceId::parse(&crate::logs_view::id_of(label));
        self.tell(now, id.as_ref(), None, telling);
    }

    pub(super) fn say_reload_refused(&mut self, now: Moment, diagnostics: &[Diagnostic]) {
        let bodies: Vec<DiagnosticBody> = diagnostics.iter().map(DiagnosticBody::from).collect();
        let first = diagnostics.first().map(ToString::to_string).unwrap_or_default();
        let telling = Telling::new(EventKind::ReloadRefused, format!("reload refused, nothing changed: {first}"))
            .with("diagnostics", serde_json::to_value(bodies).unwrap_or(Value::Null));
        self.tell(now, None, None, telling);
    }
}

fn tell_state(from: StateName, to: StateName, cause: &Cause, service: Option<&Service>, dial: &Dial) -> Telling {
    let at = service.and_then(Service::next).and_then(|next| next.at).map(|at| dial.wall(at).to_string());
    let message = match (to, &at) {
        (StateName::Running, _) => "running".to_owned(),
        (StateName::Backoff, Some(at)) => format!("restarts at {at}: {cause}"),
        (other, _) => format!("{}: {cause}", other.word()),
    };
    // Starts and ends of programs are told by events of their own.
    let shown = !matches!(to, StateName::Starting | StateName::Stopping) || *cause == Cause::HalfOpen;
    let kind = match to {
        StateName::Running => EventKind::Ready,
        StateName::Failed => EventKind::Failed,
        StateName::Starting if *cause == Cause::HalfOpen => EventKind::HalfOpen,
        StateName::Stopped
        | StateName::Waiting
        | StateName::Starting
        | StateName::Stopping
        | StateName::Backoff
        | StateName::Cooldown
        | StateName::Done => EventKind::StateChanged,
    };
    let mut telling =
        Telling::new(kind, message).with("from", from.word()).with("to", to.word()).with("cause", cause.to_string());
    telling.shown = shown;
    if to == StateName::Failed {
        telling = telling.alerting(Occasion::Failed);
    }
    telling
}

fn tell_probe(role: ProbeRole, name: &str, passes: bool, reason: &str) -> Telling {
    let kind = if role == ProbeRole::Live && !passes { EventKind::Unhealthy } else { EventKind::ProbeChanged };
    let what = if role == ProbeRole::Dependency { format!("dependency {name}") } else { format!("{name} probe") };
    let message = if passes { format!("{what} passes") } else { format!("{what} fails: {reason}") };
    let telling = Telling::new(kind, message)
        .with("probe", name.to_owned())
        .with("role", role.word())
        .with("verdict", if passes { "pass" } else { "fail" })
        .with("error", if passes { Value::Null } else { Value::from(reason) });
    match (role, passes) {
        (ProbeRole::Dependency, false) => telling.alerting(Occasion::Degraded),
        (ProbeRole::Live, false) => telling.alerting(Occasion::Unhealthy),
        (ProbeRole::Startup | ProbeRole::Ready, true) => telling.quiet(),
        (ProbeRole::Live | ProbeRole::Dependency, true) | (ProbeRole::Startup | ProbeRole::Ready, false) => telling,
    }
}

fn tell_reload(changes: &[(tutela_core::names::ServiceName, Change)], api: Vec<String>) -> Telling {
    if changes.is_empty() && api.is_empty() {
        return Telling::new(EventKind::Reloaded, "reloaded: nothing differs");
    }
    let of_api = (!api.is_empty()).then(|| format!("api: {}", api.join(", ")));
    let of_services = changes.iter().map(|(name, change)| format!("{name} {change}"));
    let words: Vec<String> = of_api.into_iter().chain(of_services).collect();
    let of = |wanted: fn(&Change) -> bool| -> Vec<Value> {
        changes.iter().filter(|(_, change)| wanted(change)).map(|(name, _)| Value::from(name.to_string())).collect()
    };
    Telling::new(EventKind::Reloaded, format!("reloaded: {}", words.join("; ")))
        .with("added", of(|change| *change == Change::Add))
        .with("removed", of(|change| *change == Change::Remove))
        .with("restarted", of(|change| matches!(change, Change::Restart(_))))
        .with("adjusted", of(|change| matches!(change, Change::Live(_))))
        .with("api", api)
}

fn shadow_of(service: &Service, kept_down: bool) -> Shadow {
    let history = service.history();
    Shadow {
        restarts: history.restarts,
        by_cause: history.by_cause,
        in_a_row: history.in_a_row,
        cooldown_until: history.cooldown_until,
        half_open: history.half_open,
        last_exit: service.last_exit().map(|(_, at)| *at),
        kept_down,
    }
}

fn saved_of(dial: &Dial, id: &InstanceId, service: &Service, kept_down: bool) -> SavedInstance {
    let history = service.history();
    let mut saved = SavedInstance::new(id.service.as_str(), id.index);
    saved.restarts = history.restarts;
    let by_cause = RestartCause::ALL.map(|cause| (cause.word().to_owned(), history.by_cause.of(cause)));
    saved.restarts_by = by_cause.into_iter().filter(|(_, count)| *count > 0).collect();
    saved.run = service.run().0;
    saved.window = history.recent.iter().map(|at| dial.wall(*at)).collect();
    saved.failures = history.in_a_row;
    // A guard that ends during the single try leaves a cool-down that has run out, so the next one's first
    // start is that single try.
    let half_open = history.half_open.then_some(dial.now);
    saved.cooldown_until = history.cooldown_until.or(half_open).map(|at| dial.wall(at));
    saved.wanted = kept_down.then_some(Wanted::Down);
    saved.last_exit = service.last_exit().map(|(exit, at)| {
        let (code, signal) = code_and_signal(exit);
        SavedExit { code, signal, at: dial.wall(*at) }
    });
    saved
}

struct Ran(std::time::Duration);

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(f, "{:.1}s", self.0.as_secs_f64()),
            10..120 => write!(f, "{seconds}s"),
            120..7200 => write!(f, "{}m", seconds / 60),
            7200..172_800 => write!(f, "{}h", seconds / 3600),
            _ => write!(f, "{}d", seconds / 86_400),
        }
    }
}
