//! Brings a guard up: every part in its order, each refusal before anything is started; and down again.

mod before;
mod parts;
mod plan;

pub use plan::{read_and_check, read_and_look};

use crate::api::{self, Context};
use crate::conductor::{self, AskReload, Feed, Identity, Inbox, LastUpgrade, Matches, Outcome, Parts, wall_now};
use crate::figures;
use crate::hands::console::Console;
use crate::hands::keeping::{Keeping, follow_host};
use crate::hands::launch::Surroundings;
use crate::hands::ledger::Ledger;
use crate::hands::probes::TlsContexts;
use crate::hands::questions::QuestionDesk;
use crate::hands::sinks::desk::{Around, Sinks};
use crate::hands::sinks::ear::Bell;
use crate::hands::spawner::{Spawner, chain, descriptors_of};
use crate::log_folders;
use crate::preflight;
use crate::survive::heirs::Inheritance;
use crate::traces::{self, Hub};
use crate::upgrade::trial::{Off, Trial};
use crate::upgrade::{self, Followed};
use before::{end_leftovers, end_leftovers_beside, inherit, notify_inbox, restored, stamper};
use parts::{
    new_door, new_keeper, open_door, prepare_containers, start_audit, start_console, start_journal, start_pumps,
};
use plan::{Plan, load, reloader, sorted_out};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tutela_core::spec::GuardSpec;
use tutela_logs::Pumps;
use tutela_os::endpoint::{self, BindError, Listener};
use tutela_os::host::{self, Accepts, Scm};
use tutela_os::notify::{Host, Inbox as NotifyInbox};
use tutela_os::paths::Paths;
use tutela_os::process::{Nursery, NurseryOptions};
use tutela_os::safe::Safe;
use tutela_os::signals::Signals;
use tutela_os::{accounts, capabilities, clock, files, limits, memory, notify, succession, usage};
use tutela_schema::api::CapabilityStatus;
use tutela_schema::spec::Diagnostic;

/// How long the pump may read on once everything is stopped.
const PUMP_END: Duration = Duration::from_secs(5);

/// How long sinks may take for what is left once everything is stopped. What is not delivered by then is delivered by the
/// next guard.
const SINKS_END: Duration = Duration::from_secs(5);

/// How long a service manager is told to be patient until the conductor turns: the spec is read, programs and accounts
/// are looked up, and the ledger of a guard that crashed is repaired.
const PREPARED_WITHIN: Duration = Duration::from_secs(60);

/// How long the end waits until a collector has the last spans, which are those of the end itself. It takes some
/// milliseconds; one that is away is not waited for.
const TRACES_END: Duration = Duration::from_secs(2);

/// Threads for work that blocks: followers of logs have one each, walked trees and usage the others.
const BLOCKING_THREADS_MAX: usize = 64;

/// What a guard keeps.
pub enum What {
    /// The services of a spec file.
    File {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: Option<String>,
    },
    /// One program.
    Program(Vec<String>),
}

/// How a guard is to run.
pub struct Options {
    /// What it keeps.
    pub what: What,
    /// Whether the output of services is shown.
    pub show_output: bool,
    /// With colours.
    pub colour: bool,
    /// Where everything lives.
    pub paths: Paths,
    /// Walk the process table even where control groups are to be had.
    pub force_walk: bool,
    /// The service that this process is, under Windows' service control manager.
    pub scm: Option<Scm>,
    /// This process is to show whether it can take another guard's place.
    pub trial: Option<Arc<Trial>>,
}

/// Why a guard did not come up.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The spec, or what it needs, is not right.
    #[error("the spec was refused")]
    Spec(Vec<Diagnostic>),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

impl From<tutela_os::Error> for Failure {
    fn from(error: tutela_os::Error) -> Self {
        Failure::Failed(chain(&error))
    }
}

/// Runs a guard until it ends.
///
/// # Errors
/// It did not come up; nothing was started.
pub fn run(options: Options) -> Result<Outcome, Failure> {
    memory::bound_arenas();
    limits::outlive_large_files();
    let core = limits::leave_no_core();
    if let Some(scm) = &options.scm {
        scm.starting(PREPARED_WITHIN);
    }
    let Plan { spec, loaded, mut warnings, folder, words } = load(&options.what)?;
    let name = spec.name.to_string();
    let paths = &options.paths;
    let (state_dir, log_dir) = (paths.state_dir(&name), paths.log_dir(&name));
    // Not enough files for many services is found out, and told, where it happens.
    let _ = limits::raise_open_files();
    let instances = spec.services.values().map(|it| usize::from(it.instances)).sum();
    limits::expect_open_files(descriptors_of(instances));
    if accounts::is_privileged() {
        // Programs of other accounts speak to the notify socket in it, and strangers are told why they are refused.
        files::make_public_dir(paths.runtime_dir())?;
    }
    files::make_private_dir(&state_dir)?;
    // Who can change these can have the guard believe, start and answer what they like.
    files::refuse_strangers(&state_dir, files::Look::Within)?;
    files::refuse_strangers(paths.runtime_dir(), files::Look::Folder)?;
    // What programs print is for their operators, not for every account of the computer.
    files::make_private_dir(&log_dir)?;

    let conductor = runtime()?;
    let hands = runtime()?;
    let _inside = conductor.enter();
    let stamper = stamper(&options.what, &spec);
    // Everything up to here can be done beside a guard that guards.
    if let Some(trial) = &options.trial {
        trial.wait_for_turn().map_err(off)?;
    }
    let listener = Arc::new(bind(&hands, paths, &name)?);
    let signals = Signals::open()?;
    let nursery_options =
        NurseryOptions { force_walk: options.force_walk, scope: paths.runtime_dir().display().to_string() };
    let nursery = Arc::new(Nursery::open(&name, &nursery_options)?);
    let mut troubles = Vec::new();
    let (inbox, inputs) = Inbox::new();
    let mut inheritance = inherit(&options, stamper, &name, &nursery, &inbox, &mut troubles);
    let handover = inheritance.as_ref().and_then(Inheritance::handover).cloned();
    let mut heirs = inheritance.as_mut().map(|left| left.take_programs(&nursery)).unwrap_or_default();
    let running: BTreeSet<_> =
        heirs.iter().filter(|heir| heir.child.is_some()).map(|heir| heir.id.service.clone()).collect();
    if running.is_empty() {
        troubles.extend(end_leftovers(&nursery)?);
    }
    // Not before: until here they may have been in use by a guard of this name, or by what one left running.
    let ports = preflight::ports(&spec, loaded.as_ref(), &running);
    if running.is_empty() {
        warnings.extend(sorted_out(ports).map_err(Failure::Spec)?);
    } else {
        // Programs that run and nobody guards would be worse than one more that cannot be started.
        warnings.extend(ports);
    }
    let door = Arc::new(new_door(&inbox));
    let opening = open_door(&door, &spec, loaded.as_ref())?;
    drop(loaded);
    prepare_containers(&nursery, &spec, &running);
    let (ledger, kept) = Ledger::open(&state_dir).map_err(Failure::Failed)?;
    let ledger = Arc::new(ledger);
    troubles.extend(kept.troubles.iter().cloned());
    if let (Err(error), true) = (&core, spec.services.values().any(|it| !it.launch.secrets.is_empty())) {
        troubles.push(format!("secrets may get into a dump of this guard's memory: {}", chain(error)));
    }
    troubles.extend(warnings.iter().map(ToString::to_string));

    // Ends of programs wake the conductor's thread and none of those that are started from here on.
    let calm = tutela_os::signals::calm();
    let audit = start_audit(&name, state_dir.clone(), &spec, &inbox)?;
    let bell = Arc::<Bell>::default();
    let keeper = new_keeper(&inbox);
    let pump = start_pumps(&inbox, &log_dir, bell.clone(), keeper.clone())?;
    limits::rise();
    let shared = inheritance.as_ref().and_then(Inheritance::notify);
    let notify = notify_inbox(&paths.notify_socket(&name), shared, &mut troubles);
    if let Err(error) = log_folders::write(&state_dir, &spec) {
        troubles.push(chain(&error));
    }
    let keeping = Arc::new(Keeping::new(&name, &log_dir, &spec.redaction));
    hands.spawn(follow_host(Arc::downgrade(&keeping)));
    let surroundings = Arc::new(Surroundings {
        guard: name.clone(),
        notify_address: notify.as_ref().map(NotifyInbox::address),
        keeping: keeping.clone(),
        state_dir: state_dir.clone(),
        folder,
    });
    let console = start_console(&options, &spec)?;
    let journal = start_journal(&options, &name, &mut troubles);
    let identity = identity(&name, words, &nursery);
    let figures = Arc::new(figures::Source::new(inbox.clone(), ledger.clone()));
    let traces = Arc::new(Hub::new(spec.traces.clone()));
    figures.register(traces.clone());
    figures.register(door.figures());
    let context = Arc::new(Context {
        inbox: inbox.clone(),
        traces: traces.clone(),
        feed: Feed::new(),
        ledger: ledger.clone(),
        door: door.clone(),
        audit: audit.clone(),
        figures: figures.clone(),
        identity: identity.clone(),
        reload: reloader(&options.what),
        pump: pump.clone(),
        log_dir,
        state_dir,
        profile: match &options.what {
            What::File { profile, .. } => profile.clone(),
            What::Program(_) => None,
        },
        upgrades: upgrade_desk(&options, &name, &spec, inheritance.as_ref().map(Inheritance::safe)),
        description: spec.description.clone(),
    });
    let around = Around { keeping: keeping.clone(), dir: context.state_dir.join("sinks"), inbox: inbox.clone() };
    let (sinks, sink_troubles) = Sinks::begin(around, bell, &spec).map_err(Failure::Failed)?;
    troubles.extend(sink_troubles);
    let tls = Arc::new(TlsContexts::new());
    let (metrics, metrics_spec) = watch::channel(spec.metrics.clone());
    // Ends with the conductor, which has the other end of its spec.
    hands.spawn(figures::push(figures, tls.clone(), metrics_spec, seed()));
    let way = traces::Way { guard: name.clone(), tls: tls.clone(), keeping, inbox: inbox.clone(), seed: seed() };
    // Ends with the hands.
    hands.spawn(traces::push(traces.clone(), way));
    let (mut guard, kept_down) = restored(spec, &kept);
    let (mut next_seq, alerts, mut kept) = (kept.next_seq, kept.alerts, 0);
    if let Some(left) = &mut inheritance {
        next_seq = next_seq.max(left.next_event().unwrap_or(0));
        kept = left.hand_over(clock::now(), &mut guard, &mut heirs);
        troubles.append(&mut left.troubles);
    }
    let (depositor, estates, safe) = match inheritance.map(Inheritance::into_parts) {
        Some((depositor, estates, safe)) => (Some(depositor), Some(estates), Some(safe)),
        None => (None, None, None),
    };
    if let (Some(estates), Some(notify)) = (&estates, &notify) {
        match notify.share() {
            Ok(socket) => estates.keep_notify(socket),
            // The next guard opens another one under the same name.
            Err(tutela_os::Error::Unsupported(_)) => {}
            Err(error) => troubles.push(chain(&error)),
        }
    }
    let spawner = Spawner::start(nursery.clone(), pump.clone(), inbox.clone(), depositor)
        .map_err(|error| Failure::Failed(format!("failed to start the spawner's thread: {error}")))?;
    // Nothing is ever sent: it hangs up.
    let (guards, until_it_guards) = oneshot::channel();
    if !running.is_empty() {
        end_leftovers_beside(nursery.clone(), spawner.halt(Duration::ZERO), inbox.clone(), until_it_guards)?;
    }
    let parts = Parts {
        guard,
        child_signal: nursery.child_signal()?,
        nursery,
        signals,
        notify,
        host: match &options.scm {
            Some(scm) => Some(Host::scm(scm.clone(), Accepts::ALL)),
            // The one that it knows is the process that began this trial.
            None if options.trial.is_some() => None,
            None => Host::discover(|key| std::env::var_os(key)),
        },
        controls: options.scm.as_ref().map(Scm::controls),
        spawner,
        keeper: keeper.clone(),
        pump: pump.clone(),
        sinks: sinks.clone(),
        questions: QuestionDesk::new(hands.handle().clone(), tls, inbox.clone()),
        ledger: ledger.clone(),
        audit: audit.clone(),
        console,
        journal,
        show_output: options.show_output,
        feed: context.feed.clone(),
        inbox,
        inputs,
        matches: Matches::new(),
        surroundings,
        identity,
        next_seq,
        estates,
        heirs,
        kept_down,
        alerts,
        troubles,
        metrics,
        traces: traces.clone(),
        reload: context.reload.is_some().then(|| asked_reload(&hands, &context)),
        forward_signals: matches!(options.what, What::Program(_)) || std::process::id() == 1,
        // A service that has nothing to do is one all the same; its service manager would only start it again.
        end_when_done: !host::started_by().is_service_manager() && options.trial.is_none(),
        followed: handover.zip(safe.clone()).map(|(handover, safe)| Followed { safe, handover, kept }),
        guards,
        trial: options.trial.clone(),
    };
    door.adopt(opening, &context);
    if let Some(trial) = options.trial.clone() {
        hands.spawn(trial.watch(context.inbox.clone()));
    }
    let stop_hands = serve(hands, listener.clone(), context)?;
    calm.end();
    // Reading a large spec takes more memory than keeping it.
    memory::release_unused();
    let ended = conductor.block_on(conductor::run(parts));
    // While the hands live, that send them.
    conductor.block_on(traces.drain(TRACES_END));
    drop(stop_hands);
    door.end();
    let (outcome, console) = ended?;
    if let Some(scm) = &options.scm {
        scm.stopping(PUMP_END * 3 + SINKS_END);
    }
    wind_down(&conductor, &pump, &sinks, ledger, console);
    // Everything is stopped, and what it wrote is read: there is nothing to outlive this guard.
    safe.iter().for_each(Safe::end);
    audit.end();
    keeper.stop();
    // Last: the next guard of this name may come as soon as it is gone, and opens the ledger then.
    drop(listener);
    Ok(outcome)
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(2))
        .build()
        .map_err(|error| Failure::Failed(format!("failed to start an event loop: {error}")))
}

fn bind(hands: &Runtime, paths: &Paths, name: &str) -> Result<Listener, Failure> {
    let _inside = hands.enter();
    let taken = |pid: Option<u32>| {
        let who = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
        Failure::Failed(format!(
            "refused: a guard with the name {name} runs already as {who}; stop it with `tutela stop {name} --shutdown`, or give this one another name"
        ))
    };
    let own = paths.socket(name);
    let bound = match Listener::bind(&own) {
        // This process began it to see whether it does well, and became what it is.
        Err(BindError::InUse { pid: Some(pid), .. }) if succession::is_child(pid) => {
            succession::dismiss(pid)?;
            Listener::bind(&own)
        }
        bound => bound,
    };
    let listener = bound.map_err(|error| match error {
        BindError::InUse { pid, .. } => taken(pid),
        BindError::Failed(error) => Failure::Failed(chain(&error)),
    })?;
    // A guard with an account of its own has its socket elsewhere. Looked at last: of two that begin at once at least
    // one sees the other.
    match paths.sockets(name).iter().filter(|path| **path != own).find_map(|path| endpoint::holder(path)) {
        Some(pid) => Err(taken(Some(pid))),
        None => Ok(listener),
    }
}

fn off(off: Off) -> Failure {
    Failure::Failed(match off {
        Off::NotWanted => "refused: the guard did not make room".to_owned(),
        Off::Broken(error) => error,
    })
}

/// What can have another program take this guard's place, or why nothing can.
fn upgrade_desk(options: &Options, name: &str, spec: &GuardSpec, safe: Option<&Safe>) -> upgrade::ask::Desk {
    let why_not = match (&options.what, &options.trial, spec.survive) {
        (_, Some(_), _) => "this guard is on trial itself",
        (What::Program(_), _, _) => "this guard keeps a single program, which ends with it",
        (What::File { .. }, None, false) => "programs do not outlive this guard: its spec says survive = false",
        (What::File { .. }, None, true) => "programs do not outlive this guard on this computer",
    };
    upgrade::ask::Desk::new(
        name,
        &options.paths.safe(name),
        safe.cloned().ok_or_else(|| why_not.to_owned()),
        options.trial.clone(),
    )
}

fn identity(name: &str, spec: String, nursery: &Nursery) -> Identity {
    let report = capabilities::report(Some(nursery)).into_iter();
    let account = accounts::current().ok();
    Identity {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        computer: usage::host_name(),
        account: account.map(|account| account.name).unwrap_or_default(),
        pid: std::process::id(),
        since: wall_now(),
        host: match notify::host_name() {
            "systemd" => tutela_schema::api::Host::Systemd,
            "scm" => tutela_schema::api::Host::Scm,
            "launchd" => tutela_schema::api::Host::Launchd,
            "init" => tutela_schema::api::Host::Init,
            _ => tutela_schema::api::Host::Foreground,
        },
        capabilities: report
            .map(|it| CapabilityStatus { name: it.name.to_owned(), holds: it.holds, detail: it.detail })
            .collect(),
        spec,
        upgrade: LastUpgrade::default(),
    }
}

/// Reloads without waiting for it.
fn asked_reload(hands: &Runtime, context: &Arc<Context>) -> AskReload {
    let (hands, context) = (hands.handle().clone(), context.clone());
    Box::new(move |by| {
        let context = context.clone();
        hands.spawn(async move {
            api::reload_now(&context, by).await;
        });
    })
}

/// Serves on a thread of its own until the answer is dropped.
fn serve(hands: Runtime, listener: Arc<Listener>, context: Arc<Context>) -> Result<oneshot::Sender<()>, Failure> {
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("hands".into())
        .spawn(move || {
            hands.block_on(api::serve(&listener, context, stopped));
            hands.shutdown_timeout(Duration::from_millis(200));
        })
        .map_err(|error| Failure::Failed(format!("failed to start the hands' thread: {error}")))?;
    Ok(stop)
}

fn wind_down(conductor: &Runtime, pump: &Pumps, sinks: &Sinks, ledger: Arc<Ledger>, console: Console) {
    if let Ok(ended) = pump.stop(PUMP_END) {
        conductor.block_on(async { tokio::time::timeout(PUMP_END * 2, ended).await.unwrap_or(()) });
    }
    // Everything is in the files by now.
    sinks.end(SINKS_END);
    // The hands may hold the ledger for some milliseconds more; then its last commit is made without the
    // mark, and the next guard only assumes less.
    let until = std::time::Instant::now() + Duration::from_secs(1);
    let mut ledger = ledger;
    loop {
        match Arc::try_unwrap(ledger) {
            Ok(ledger) => {
                ledger.end(true);
                break;
            }
            Err(shared) if std::time::Instant::now() < until => {
                ledger = shared;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => break,
        }
    }
    console.end();
}

/// Something that differs from guard to guard, to spread restarts by.
fn seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
