//! The conductor: the one task that owns the machine and is the only writer of state.
//!
//! ```text
//!   ends of programs ─┐
//!   signals, controls ┤                    ┌─> hands (spawner, pump, probes, trees)
//!   deadlines ────────┼─> guard machine ───┤
//!   notify socket ────┤   (tutela-core)    └─> events (ledger, console, subscribers, alerts)
//!   inbox ────────────┘
//! ```
//!
//! One turn: wait for any of the five, stamp it with a moment, feed the machine, carry out its actions,
//! publish its events, arm the alarm for its next deadline. No turn waits for anything: starts, probes,
//! walks over the process table, files and peers are the hands' business.
//!
//! Ends of programs come before everything else, so that a flood of requests cannot delay a restart; the
//! inbox is emptied in portions, so that a flood of ends cannot delay an answer.

mod act;
mod alerts;
mod audit;
mod errands;
mod figures;
mod heirs;
mod host;
mod input;
mod leaving;
mod news;
mod programs;
mod publish;
mod requests;
mod told;
mod traces;
mod view;

pub use alerts::bare_spec;
pub use errands::ErrandEnd;
pub use figures::{FiguresAnswer, InstanceFigures, ProbeFigures, TURN_BOUNDS, Turns};
pub use input::{AlertNews, Ended, Inbox, Input, InstanceRef, Matches, OutputNews, Request, StatusAnswer};
pub use publish::{FEED_EVENTS_MAX, Feed};
pub use view::{Identity, LastUpgrade, wall_now};

use crate::audit::{Asker, Auditor};
use crate::hands::console::Console;
use crate::hands::journal::Journal;
use crate::hands::launch::{Order, Surroundings};
use crate::hands::ledger::Ledger;
use crate::hands::questions::QuestionDesk;
use crate::hands::sinks::desk::Sinks;
use crate::hands::spawner::{Spawner, chain};
use crate::survive::heirs::Heir;
use crate::survive::keeping::Estates;
use crate::traces::{Hub, OsEdge, Tracer};
use crate::upgrade::Followed;
use crate::upgrade::trial::Trial;
use publish::Shadow;
use requests::Ticket;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tutela_core::guard::{self, Guard};
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::spec::MetricsSpec;
use tutela_core::time::Moment;
use tutela_logs::count::Count;
use tutela_logs::keeper::KeeperHandle;
use tutela_logs::{CaptureCounters, CaptureHandle, Pumps};
use tutela_os::blocking::{FILES, TREES};
use tutela_os::clock::{self, Alarm};
use tutela_os::host::{Control, Controls};
use tutela_os::notify::{Host, Inbox as NotifyInbox};
use tutela_os::process::{Child, ChildSignal, ChildToken, ContainerKind, Exit, Nursery, Signal};
use tutela_os::signals::{Sender, Signals};
use tutela_schema::events::EventKind;

/// Inputs that one turn takes before it looks at the ends of programs again.
const INPUTS_A_TURN: usize = 256;

/// Programs asked to end in one turn that are many.
const MANY: u32 = 16;

/// What the end of a small program takes of a processor, and as much again.
const REST_FOR_EACH: Duration = Duration::from_micros(20);

/// No rest is longer: it delays what is told of an end, and of a restart.
const REST_MAX: Duration = Duration::from_millis(5);

/// Has the spec read again, off this thread. Called with who asks.
pub type AskReload = Box<dyn Fn(Asker) + Send>;

/// Everything that the conductor needs and somebody else has made.
pub struct Parts {
    /// The machine, with what an earlier guard left.
    pub guard: Guard,
    /// Where programs are started and reaped.
    pub nursery: Arc<Nursery>,
    /// What becomes ready when a program ended.
    pub child_signal: ChildSignal,
    /// What is asked of the guard itself.
    pub signals: Signals,
    /// Where programs speak, on hosts that have it.
    pub notify: Option<NotifyInbox>,
    /// The service manager that started the guard, where it wants to hear from it.
    pub host: Option<Host>,
    /// What it asks, where it does not do so by signals.
    pub controls: Option<Controls>,
    /// Starts programs.
    pub spawner: Spawner,
    /// Keeps their output.
    pub pump: Pumps,
    /// Bring it elsewhere.
    pub sinks: Arc<Sinks>,
    /// What keeps old log files.
    pub keeper: KeeperHandle,
    /// Asks questions.
    pub questions: QuestionDesk,
    /// Keeps what outlives the guard.
    pub ledger: Arc<Ledger>,
    /// Notes down who did what.
    pub audit: Arc<Auditor>,
    /// Shows what happens.
    pub console: Console,
    /// Shows it instead, where operators look into the OS's own log.
    pub journal: Option<Journal>,
    /// Whether it shows what programs write too.
    pub show_output: bool,
    /// Everybody who follows the events.
    pub feed: Feed,
    /// The way in.
    pub inbox: Inbox,
    /// Its other end.
    pub inputs: mpsc::Receiver<Input>,
    /// Lines that matched.
    pub matches: Arc<Matches>,
    /// What is the same for every program.
    pub surroundings: Arc<Surroundings>,
    /// Who this guard is.
    pub identity: Identity,
    /// The number of the next event.
    pub next_seq: u64,
    /// What is noted down for the next guard, where programs outlive this one.
    pub estates: Option<Estates>,
    /// What an earlier guard left that goes on.
    pub heirs: Vec<Heir>,
    /// Instances that an operator stopped under an earlier guard.
    pub kept_down: std::collections::BTreeSet<tutela_core::names::InstanceId>,
    /// Alerts that an earlier guard had not delivered.
    pub alerts: Vec<(String, Vec<u8>)>,
    /// What came up while the parts were made.
    pub troubles: Vec<String>,
    /// Where figures are to be sent, for who sends them; it changes with the spec.
    pub metrics: watch::Sender<MetricsSpec>,
    /// Where traces go.
    pub traces: Arc<Hub>,
    /// Reads the spec again, for a reload by signal or control; it is told who asks. `None`: there is no file, and a
    /// signal is passed on.
    pub reload: Option<AskReload>,
    /// Whether signals that mean nothing to the guard are passed on to the programs.
    pub forward_signals: bool,
    /// Whether the guard ends when nothing is left that could run by itself.
    pub end_when_done: bool,
    /// The guard before this one has made room for it.
    pub followed: Option<Followed>,
    /// Dropped once this guard guards what it has taken over.
    pub guards: oneshot::Sender<Infallible>,
    /// This guard is a trial, and has to say that it guards.
    pub trial: Option<Arc<Trial>>,
}

/// How a guard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to, and stopped everything.
    Asked,
    /// Everything was done; whether all of it well.
    AllDone {
        /// Whether no service failed.
        well: bool,
    },
}

/// See the module's text.
pub struct Conductor {
    guard: Guard,
    nursery: Arc<Nursery>,
    host: Option<Host>,
    spawner: Spawner,
    pump: Pumps,
    sinks: Arc<Sinks>,
    keeper: KeeperHandle,
    questions: QuestionDesk,
    ledger: Arc<Ledger>,
    audit: Arc<Auditor>,
    console: Console,
    journal: Option<Journal>,
    show_output: bool,
    feed: Feed,
    inbox: Inbox,
    matches: Arc<Matches>,
    surroundings: Arc<Surroundings>,
    identity: Identity,
    next_seq: u64,
    estates: Option<Estates>,
    /// Whether it was told that not all could be noted down.
    estates_incomplete: bool,
    reload: Option<AskReload>,
    forward_signals: bool,
    end_when_done: bool,
    /// Trees cost a walk over the process table, so they are looked at off this thread.
    walked: bool,
    live: HashMap<InstanceKey, Live>,
    owners: HashMap<ChildToken, Owner>,
    early: HashMap<ChildToken, Exit>,
    early_notices: VecDeque<(ChildToken, Vec<u8>)>,
    errands: HashMap<u64, errands::Out>,
    /// Ended errands that have written what is not in the files yet.
    unread: Count,
    next_errand: u64,
    tickets: Vec<Ticket>,
    alerts: alerts::Desk,
    shadows: HashMap<InstanceKey, Shadow>,
    /// What became of each instance's output, also while it does not run.
    outputs: HashMap<InstanceKey, CaptureCounters>,
    /// Events so far, by kind.
    events: BTreeMap<EventKind, u64>,
    turns: figures::Turns,
    /// Where figures are to be sent; the hands listen.
    metrics: watch::Sender<MetricsSpec>,
    /// Makes traces of what is done, where they are wanted.
    tracer: Option<Tracer>,
    /// Where they go.
    traces: Arc<Hub>,
    /// What the guard said and the tracer was shown already.
    unpublished: VecDeque<guard::Event>,
    /// What this computer cannot do for an instance, told once and not at every start.
    unsupported: HashSet<(InstanceKey, &'static str)>,
    /// Labels whose output the disk refuses. A full disk refuses that of everybody, and one alert says so.
    unkept: HashSet<Arc<str>>,
    suspended: Duration,
    /// Since when nothing was heard, and until when at the latest something should have been.
    rest: (Moment, Option<Moment>),
    /// How late the last deadline was heard.
    was_late: Duration,
    told: told::Told,
    ledger_failing: bool,
    /// Programs that were asked to end in this turn.
    asked: u32,
    /// Ends are not collected before: many programs are just ending.
    rest_until: Option<tokio::time::Instant>,
    interrupts: u32,
    /// Everything is held still, because the service manager asked for it.
    held: Option<host::Held>,
    /// Room is to be made for another guard.
    leaving: Option<leaving::Leaving>,
    trial: Option<Arc<Trial>>,
}

/// A program that was started and is not released yet.
struct Live {
    /// Whose it is, also when a reload has taken the instance away.
    id: InstanceId,
    run: RunId,
    child: Child,
    capture: Option<CaptureHandle>,
    /// Somebody waits for its tree to be empty already.
    watched: bool,
}

enum Owner {
    Main { key: InstanceKey, run: RunId },
    Errand(oneshot::Sender<Exit>),
}

/// What a turn waited for.
enum Woken {
    Children,
    Input(Option<Input>),
    Alarm,
    Signal(Signal, Option<Sender>),
    Control(Control),
    Notice(tutela_os::notify::Message),
    Matches(Vec<(InstanceKey, guard::Input)>),
    HostWatchdog,
    Nothing,
}

/// Runs a guard until it has ended. Everything is stopped then; the caller closes ledger, pump and console.
///
/// # Errors
/// The OS gave no alarm or no threads; nothing was started.
pub async fn run(parts: Parts) -> Result<(Outcome, Console), tutela_os::Error> {
    let Parts { mut child_signal, mut signals, controls, notify, mut inputs, kept_down, mut troubles, .. } = parts;
    // While there are threads to be had.
    for pool in [&TREES, &FILES] {
        pool.begin().map_err(|source| tutela_os::Error::io("start a thread", source))?;
    }
    let mut alarm = Alarm::new()?;
    let walked = matches!(parts.nursery.container(), ContainerKind::Walk { .. });
    let sampled = parts.guard.spec().traces.push.as_ref().map(|push| push.sample);
    let tracer = sampled.map(|sample| Tracer::new(Box::new(OsEdge::new()), sample));
    let mut conductor = Conductor {
        guard: parts.guard,
        nursery: parts.nursery,
        host: parts.host,
        spawner: parts.spawner,
        pump: parts.pump,
        sinks: parts.sinks,
        keeper: parts.keeper,
        questions: parts.questions,
        ledger: parts.ledger,
        audit: parts.audit,
        console: parts.console,
        journal: parts.journal,
        show_output: parts.show_output,
        feed: parts.feed,
        inbox: parts.inbox,
        matches: parts.matches,
        surroundings: parts.surroundings,
        identity: parts.identity,
        next_seq: parts.next_seq,
        estates: parts.estates,
        estates_incomplete: false,
        reload: parts.reload,
        forward_signals: parts.forward_signals,
        end_when_done: parts.end_when_done,
        walked,
        live: HashMap::new(),
        owners: HashMap::new(),
        early: HashMap::new(),
        early_notices: VecDeque::new(),
        errands: HashMap::new(),
        unread: Count::default(),
        next_errand: 0,
        tickets: Vec::new(),
        alerts: alerts::Desk::restore(parts.alerts, &mut troubles),
        shadows: HashMap::new(),
        outputs: HashMap::new(),
        events: BTreeMap::new(),
        turns: figures::Turns::default(),
        metrics: parts.metrics,
        tracer,
        traces: parts.traces,
        unpublished: VecDeque::new(),
        unsupported: HashSet::new(),
        unkept: HashSet::new(),
        suspended: clock::suspended_total(),
        rest: (clock::now(), None),
        was_late: Duration::ZERO,
        told: told::Told::default(),
        ledger_failing: false,
        asked: 0,
        rest_until: None,
        interrupts: 0,
        held: None,
        leaving: None,
        trial: parts.trial,
    };
    conductor.begin(kept_down, troubles, parts.heirs, parts.followed);
    let (mut until_it_guards, mut ends) = (Some(parts.guards), false);
    let mut host_alive = host::Alive::default();
    let mut turn_began = std::time::Instant::now();
    loop {
        conductor.after_turn();
        conductor.turns.took(turn_began.elapsed());
        if let Some(outcome) = conductor.outcome() {
            conductor.say_ended();
            conductor.note_ended(outcome);
            conductor.end_traces(clock::now());
            if let Some(journal) = conductor.journal {
                journal.end();
            }
            return Ok((outcome, conductor.console));
        }
        if until_it_guards.take().is_some() {
            conductor.trial.iter().for_each(|trial| trial.say_that_it_guards());
        }
        if conductor.guard.is_ending() && !std::mem::replace(&mut ends, true) {
            conductor.trial.iter().for_each(|trial| trial.say_that_it_ends());
        }
        if let Some(leave) = conductor.time_to_leave(clock::now()) {
            conductor.leave(leave).await;
        }
        // An alarm that cannot be armed would leave deadlines unheard; the next input's turn tries again.
        let deadline = conductor.next_deadline();
        let _ = alarm.arm(deadline);
        conductor.rest = (clock::now(), deadline);
        let notices = async {
            match &notify {
                Some(inbox) => inbox.recv().await.map_or(Woken::Nothing, Woken::Notice),
                None => std::future::pending().await,
            }
        };
        let asked = async {
            match &controls {
                Some(controls) => host::next_control(controls).await,
                None => std::future::pending().await,
            }
        };
        let watchdog = host_alive.due(conductor.host.as_ref());
        let rest_until = conductor.rest_until;
        let children = async {
            if let Some(until) = rest_until {
                tokio::time::sleep_until(until).await;
            }
            child_signal.ready().await
        };
        let woken = tokio::select! {
            biased;
            _ = children => Woken::Children,
            signal = signals.next() => signal.map_or(Woken::Nothing, |signal| Woken::Signal(signal, signals.sender(signal))),
            control = asked => Woken::Control(control),
            _ = alarm.fired() => Woken::Alarm,
            notice = notices => notice,
            () = watchdog => Woken::HostWatchdog,
            matches = conductor.matches.take() => Woken::Matches(matches),
            input = inputs.recv() => Woken::Input(input),
        };
        turn_began = std::time::Instant::now();
        conductor.turn(woken, &mut inputs);
    }
}

impl Conductor {
    fn begin(
        &mut self,
        kept_down: std::collections::BTreeSet<tutela_core::names::InstanceId>,
        troubles: Vec<String>,
        heirs: Vec<Heir>,
        followed: Option<Followed>,
    ) {
        let now = clock::now();
        self.say_started(now);
        self.note_started();
        for trouble in troubles {
            self.trouble(trouble);
        }
        self.spread_log_rules();
        self.told.begin(now, self.guard.spec().install.start_timeout);
        self.trace_boot(now);
        // Before the machine acts on any of them.
        self.take_heirs(heirs);
        self.guard.begin(now, &kept_down);
        self.trace_booted(now);
        if let Some(followed) = followed {
            self.follow(followed);
        }
    }

    fn turn(&mut self, woken: Woken, inputs: &mut mpsc::Receiver<Input>) {
        let now = clock::now();
        self.notice_suspension(now);
        match woken {
            Woken::Children => {
                self.rest_until = None;
                self.reap(now);
                // Ends may come faster than they are collected, and they are looked at first.
                self.handle_waiting(now, inputs);
            }
            Woken::Alarm => {}
            Woken::Signal(signal, sender) => self.handle_signal(now, signal, sender),
            Woken::Control(control) => self.handle_control(now, control),
            Woken::Notice(message) => self.handle_notice(now, &message),
            Woken::Matches(matches) => {
                for (key, input) in matches {
                    self.guard.handle(now, key, input);
                }
            }
            Woken::HostWatchdog => {
                if let Some(host) = &self.host {
                    // A host that does not listen will end us for it; there is nothing else to do about it.
                    let _ = host.alive();
                }
            }
            Woken::Input(Some(input)) => {
                self.handle_input(now, input);
                self.handle_waiting(now, inputs);
            }
            Woken::Input(None) | Woken::Nothing => {}
        }
        self.guard.handle_timeout(now);
    }

    /// Handles what waits in the inbox, up to a turn's worth.
    fn handle_waiting(&mut self, now: Moment, inputs: &mut mpsc::Receiver<Input>) {
        for _ in 1..INPUTS_A_TURN {
            let Ok(input) = inputs.try_recv() else { break };
            self.handle_input(now, input);
        }
    }

    fn handle_input(&mut self, now: Moment, input: Input) {
        match input {
            Input::Instance { key, input } => self.guard.handle(now, key, input),
            Input::Started { order: Order::Main { key, run }, result } => self.main_started(now, key, run, *result),
            Input::Started { order: Order::Errand { id }, result } => self.errand_started(id, *result),
            Input::ErrandEnded(end) => self.errand_ended(now, end),
            Input::EndedElsewhere { token, exit } => self.ended_elsewhere(now, token, exit),
            Input::Request(request) => self.handle_request(now, request),
            Input::AlertTried { ticket, result } => self.alert_tried(now, ticket, result),
            Input::Sink(news) => self.say_sink(now, &news),
            Input::Output { label, news } => self.say_output(now, &label, news),
            Input::Door(news) => self.say_door(now, news),
            Input::Trouble(text) => self.trouble(text),
            Input::Leave(leave) => self.leave_soon(now, leave),
        }
    }

    fn after_turn(&mut self) {
        let now = clock::now();
        self.act(now);
        self.publish_all(now);
        self.give_spans(now);
        self.tend_alerts(now);
        // Who is answered may rely on what was asked being kept.
        let touched = self.guard.take_touched();
        self.note_estates(&touched);
        self.save_touched(&touched);
        self.watch_ledger();
        self.rest_after_many();
        self.answer_tickets(now);
        self.keep_still(now);
        self.tell_host(now);
    }

    /// Many programs that were asked at once end at once. To take note of each end costs more than the end, so
    /// they have the processors for a moment, and are then collected together.
    fn rest_after_many(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if asked >= MANY {
            let rest = (REST_FOR_EACH * asked).min(REST_MAX);
            self.rest_until = Some(tokio::time::Instant::now() + rest);
        }
    }

    /// Says once when the ledger begins to fail, and once when it works again.
    fn watch_ledger(&mut self) {
        let figures = self.ledger.figures();
        let replaced = figures.replaced.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let failing = figures.failing.load(std::sync::atomic::Ordering::Relaxed);
        if let Some(told) = replaced {
            self.trouble(told);
        }
        if std::mem::replace(&mut self.ledger_failing, failing) == failing {
            return;
        }
        let why = figures.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        self.trouble(if failing {
            format!("events and states cannot be written down: {why}; it is tried again")
        } else {
            "events and states are written down again".to_owned()
        });
    }

    fn next_deadline(&self) -> Option<Moment> {
        let tickets = self.tickets.iter().map(Ticket::deadline).min();
        let others = tickets.into_iter().chain(self.alerts.outbox.poll_timeout()).chain(self.next_word());
        let others = others.chain(self.leaves_at());
        self.guard.poll_timeout().into_iter().chain(others).min()
    }

    fn outcome(&self) -> Option<Outcome> {
        use tutela_core::service::StateName;
        if self.guard.is_finished() && self.errands.is_empty() {
            return Some(Outcome::Asked);
        }
        if !self.end_when_done || !self.errands.is_empty() {
            return None;
        }
        let mut states = self.guard.instances().map(|(_, _, service)| service.state_name()).peekable();
        states.peek()?;
        let mut well = true;
        for state in states {
            match state {
                StateName::Done => {}
                StateName::Failed => well = false,
                StateName::Stopped
                | StateName::Waiting
                | StateName::Starting
                | StateName::Running
                | StateName::Stopping
                | StateName::Backoff
                | StateName::Cooldown => return None,
            }
        }
        Some(Outcome::AllDone { well })
    }

    /// Something that an operator should know and that is nobody's fault in particular.
    fn trouble(&mut self, text: String) {
        self.say_trouble(clock::now(), &text);
    }
}

/// The text of an OS error, for events.
fn os_words(error: &tutela_os::Error) -> String {
    chain(error)
}
