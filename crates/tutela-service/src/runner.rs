//! Carries a life out: hears the host and the program, feeds [`crate::life::Life`], does what it says.
//!
//! Called by [`crate::Service`], on the thread that the host gave us: `main`, or the SCM's. The program has a thread of
//! its own ([`crate::body`]), so nothing it does delays an answer to the host. Waits for the program in one place only,
//! bounded by the machine's deadline.

use crate::body::{Answers, Body, ORDERS_MAX, Order};
use crate::context::{Context, Shared};
use crate::event::Controls;
use crate::exit::{Ending, FAILED, remember_panics};
use crate::heartbeat::Heartbeat;
use crate::journal::Journal;
use crate::life::{Action, Bounds, Input, Life, Weight, Word};
use crate::voice::{Ear, Voice};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tutela_os::host::{Scm, StartedBy};

/// After the last word a program's thread gets that long to unwind its stack, so that what it owns is dropped.
const UNWIND: Duration = Duration::from_millis(500);

/// Everything that one life needs.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) bounds: Bounds,
    pub(crate) controls: Controls,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) quiet: bool,
    pub(crate) answers: Answers,
    pub(crate) body: Body,
    #[cfg(feature = "health")]
    pub(crate) health: Option<crate::health::Config>,
    #[cfg(feature = "tracing")]
    pub(crate) tracing: Option<tracing_core::LevelFilter>,
}

/// Lives `job` from start to end. `scm`: the SCM has started this process and hears this.
pub(crate) fn live(job: Job, started_by: StartedBy, scm: Option<Scm>) -> Ending {
    remember_panics();
    let name = scm.as_ref().map_or(job.name.as_str(), Scm::name).to_owned();
    let journal = Journal::open(started_by, &name, job.quiet);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ending = match runtime {
        Ok(runtime) => runtime.block_on(turn(job, name, started_by, scm, &journal)),
        Err(error) => Ending::with(FAILED, format!("failed to make the loop that hears the host: {error}")),
    };
    match &ending.message {
        Some(message) => journal.write(Weight::Error, &format!("ended with exit code {}: {message}", ending.code)),
        None => journal.write(Weight::Info, "stopped"),
    }
    journal.flush();
    ending
}

async fn turn(job: Job, name: String, started_by: StartedBy, scm: Option<Scm>, journal: &Journal) -> Ending {
    let arguments = scm.as_ref().map(|scm| scm.arguments().to_vec()).unwrap_or_default();
    let shared = Arc::new(Shared::new(name, started_by, arguments));
    let context = Context(shared.clone());
    let mut voice = Voice::new(scm.clone(), |key: &str| std::env::var_os(key), job.controls);
    let mut life = Life::new(job.bounds, job.controls, shared.now());
    let (mut ear, trouble) = Ear::open(scm, started_by);
    if let Some(trouble) = trouble {
        journal.write(Weight::Warning, &trouble);
    }
    #[cfg(feature = "tracing")]
    if let Some(level) = job.tracing
        && let Err(error) = crate::tracing::install(journal, level)
    {
        journal.write(Weight::Warning, &error);
    }
    let patience = job.heartbeat.patience(voice.watchdog());
    #[cfg(feature = "health")]
    let _serving = match crate::health::begin(job.health, &context, patience) {
        Ok(serving) => serving,
        Err(ending) => return ending,
    };
    let (orders, taken) = mpsc::channel(ORDERS_MAX);
    let (body, answers, of_program) = (job.body, job.answers, context.clone());
    let program = std::thread::Builder::new().name("program".to_owned());
    let thread = match program.spawn(move || body(of_program, taken, answers)) {
        Ok(thread) => thread,
        Err(error) => return Ending::with(FAILED, format!("failed to start the program's thread: {error}")),
    };
    let mut looks = job.heartbeat.look_every(voice.watchdog()).map(tokio::time::interval);
    let ending = loop {
        if let Some(ending) = carry_out(&mut life, &mut voice, &context, &orders, journal) {
            break ending;
        }
        let deadline = life.poll_timeout().map(|at| at.since(shared.now()));
        let asleep = async {
            match deadline {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            match &mut looks {
                Some(looks) => looks.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ask = ear.next() => life.handle(Input::Asked(ask), shared.now()),
            () = shared.bell.notified() => hear_program(&shared, &mut life),
            () = asleep => {}
            _ = look => look_after(&context, job.heartbeat, patience, &mut voice, journal),
        }
        life.handle_timeout(shared.now());
    };
    drop(orders);
    let ending = with_what_is_left(ending, &context);
    #[cfg(feature = "health")]
    drop(_serving);
    // Everything has been told but the last word. What the program owns is dropped by its own thread.
    let ended = shared.words().drained || ending.code != crate::exit::NOT_STOPPED;
    let unwound = Instant::now() + UNWIND;
    while ended && !thread.is_finished() && Instant::now() < unwound {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ending
}

/// Does what the machine wants; answers its last word.
fn carry_out(
    life: &mut Life,
    voice: &mut Voice,
    context: &Context,
    orders: &mpsc::Sender<Order>,
    journal: &Journal,
) -> Option<Ending> {
    let shared = &context.0;
    while let Some(action) = life.poll_action() {
        match action {
            Action::Host(word) => {
                if let Word::Status(status) = &word {
                    journal.show_status(status);
                }
                if let Some(trouble) = voice.tell(&word) {
                    journal.write(Weight::Warning, &trouble);
                }
            }
            Action::Say(weight, text) => journal.write(weight, &text),
            Action::Serve(serving) => serve(shared, serving),
            Action::Leave(reason) => {
                shared.stopping().reason = Some(reason);
                serve(shared, false);
            }
            // There is room: one request at a time, and one stop.
            Action::Request(request) => drop(orders.try_send(Order::Request(request))),
            Action::Stop(reason, deadline) => {
                shared.stopping().deadline = Some(deadline);
                shared.stop.raise();
                drop(orders.try_send(Order::Stop(reason)));
            }
            Action::Deadline(deadline) => shared.stopping().deadline = Some(deadline),
            Action::Hurry => shared.hurry.raise(),
            Action::End(ending) => return Some(ending),
        }
    }
    None
}

/// Answers readiness probes that way from here on.
#[cfg(feature = "health")]
fn serve(shared: &Shared, serving: bool) {
    if let Some(health) = shared.health.get() {
        health.serve(serving);
    }
}

/// Nobody asks.
#[cfg(not(feature = "health"))]
fn serve(_: &Shared, _: bool) {}

/// Feeds what the program has said, in the order in which it makes sense: what it does before what it is done with.
fn hear_program(shared: &Shared, life: &mut Life) {
    let now = shared.now();
    let mut words = shared.words();
    let drained = words.drained;
    let said = std::mem::take(&mut *words);
    // Looked at again when the life is over.
    words.drained = drained;
    drop(words);
    let inputs = [
        said.status.map(Input::Status),
        said.checkpoint.map(Input::Checkpoint),
        said.ready.then_some(Input::Ready),
        said.answer.map(Input::Answered),
    ];
    for input in inputs.into_iter().flatten() {
        life.handle(input, now);
    }
    for fault in said.faults {
        life.handle(Input::Failed(fault), now);
    }
    let last = [
        said.end_wanted.then_some(Input::EndWanted),
        said.ended.map(Input::Ended),
        said.drained.then_some(Input::Drained),
    ];
    for input in last.into_iter().flatten() {
        life.handle(input, now);
    }
}

/// Looks whether the program lives, and tells the host so while it does.
fn look_after(
    context: &Context,
    heartbeat: Heartbeat,
    patience: Option<Duration>,
    voice: &mut Voice,
    journal: &Journal,
) {
    #[cfg(feature = "tokio")]
    if heartbeat == Heartbeat::Runtime {
        match context.0.runtime.get() {
            Some(runtime) => {
                let context = context.clone();
                runtime.spawn(async move { context.alive() });
            }
            // Not made yet: nothing hangs in it.
            None => context.alive(),
        }
    }
    #[cfg(not(feature = "tokio"))]
    let _ = heartbeat;
    if patience.is_some_and(|patience| context.0.silent_for() > patience) {
        return;
    }
    if let Some(trouble) = voice.alive() {
        journal.write(Weight::Warning, &trouble);
    }
}

/// A stop that was out of time names what it did not wait for.
fn with_what_is_left(mut ending: Ending, context: &Context) -> Ending {
    let left = context.under_way();
    if !left.is_empty()
        && let Some(message) = &mut ending.message
    {
        message.push_str(&format!(" (unfinished: {left})"));
    }
    ending
}
