//! What was before this guard: what an earlier one of its name left in its safe, in the process table and in its ledger.

use super::{Failure, Options, What, seed};
use crate::conductor::{Inbox, Input};
use crate::hands::ledger::Kept;
use crate::hands::spawner::{Halted, chain};
use crate::survive::heirs::Inheritance;
use crate::survive::keeping::Stamper;
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tutela_core::guard::Guard;
use tutela_core::names::{InstanceId, Name, RunId};
use tutela_core::service::{Exit, History, RestartCause, RestartTally};
use tutela_core::spec::GuardSpec;
use tutela_os::clock;
use tutela_os::handle::Handle;
use tutela_os::notify::Inbox as NotifyInbox;
use tutela_os::process::Nursery;
use tutela_os::safe::Safe;
use tutela_schema::saved::{SavedInstance, Wanted};

/// The longest address that a program can put into a socket's name; the kernel's 108 with the end of the text.
const NOTIFY_ADDRESS_BYTES_MAX: usize = 107;

/// How soon it is tried again to end what an earlier guard left, where it did not work.
const LEFTOVERS_AGAIN: Duration = Duration::from_secs(1);

/// What programs are started with, if they are to outlive this guard.
pub(super) fn stamper(what: &What, spec: &GuardSpec) -> Option<Stamper> {
    // With process 1 everything ends, whoever holds on to it; but another program can take its place.
    (spec.survive && matches!(what, What::File { .. })).then(|| Stamper::of(spec))
}

/// What an earlier guard left for this one, and the means to leave something for the next. `None`: programs do not
/// outlive this guard, by the spec or because this host has no such means; what outlived an earlier one is ended then.
pub(super) fn inherit(
    options: &Options,
    stamper: Option<Stamper>,
    name: &str,
    nursery: &Nursery,
    inbox: &Inbox,
    troubles: &mut Vec<String>,
) -> Option<Inheritance> {
    let socket = options.paths.safe(name);
    let inbox = inbox.clone();
    // A full inbox drops the remark.
    let tell = move |text| drop(inbox.try_send(Input::Trouble(text)));
    let wanted = stamper.is_some();
    if !wanted && !Safe::is_left(&socket) {
        return None;
    }
    match Inheritance::open(&socket, name, stamper.unwrap_or_default(), tell) {
        Ok(inheritance) if wanted => Some(inheritance),
        Ok(unwanted) => {
            unwanted.give_up(nursery);
            None
        }
        // The report of capabilities says so.
        Err(tutela_os::Error::Unsupported(_)) => None,
        Err(error) => {
            troubles.push(format!("programs do not outlive this guard: {}", chain(&error)));
            None
        }
    }
}

/// Ends what a guard that crashed left running: a start beside it would be a second living tree.
pub(super) fn end_leftovers(nursery: &Nursery) -> Result<Vec<String>, Failure> {
    let mut troubles = Vec::new();
    for leftover in nursery.leftovers()? {
        nursery.end_leftover(&leftover)?;
        if !leftover.pids.is_empty() {
            let pids: Vec<String> = leftover.pids.iter().map(ToString::to_string).collect();
            troubles.push(format!(
                "the guard before this one (pid {}) ended without stopping {}; its processes were ended: {}",
                leftover.guard_pid,
                leftover.label,
                pids.join(", ")
            ));
        }
    }
    Ok(troubles)
}

/// The same once this guard guards what outlived the one before, which is when `guards` hangs up: only starts wait for
/// it, and they need not be the first to have the processors.
pub(super) fn end_leftovers_beside(
    nursery: Arc<Nursery>,
    halted: Halted,
    inbox: Inbox,
    guards: oneshot::Receiver<Infallible>,
) -> Result<(), Failure> {
    // A guard that has ended hears of nothing any more.
    let tell = move |text| {
        let _ = inbox.send_blocking(Input::Trouble(text));
    };
    let end = move || {
        let _ = guards.blocking_recv();
        let mut told = false;
        loop {
            match end_leftovers(&nursery) {
                Ok(troubles) => {
                    drop(halted);
                    return troubles.into_iter().for_each(&tell);
                }
                Err(failure) if !std::mem::replace(&mut told, true) => {
                    tell(format!("nothing is started before what an earlier guard left has ended: {failure}"));
                }
                Err(_) => {}
            }
            std::thread::sleep(LEFTOVERS_AGAIN);
        }
    };
    // Ends with its work, or with the process.
    std::thread::Builder::new()
        .name("leftovers".into())
        .spawn(end)
        .map(drop)
        .map_err(|error| Failure::Failed(format!("failed to start a thread: {error}")))
}

/// The socket on which programs speak: the one that an earlier guard had, with what waits in it, or a new one.
pub(super) fn notify_inbox(path: &Path, shared: Option<&Handle>, troubles: &mut Vec<String>) -> Option<NotifyInbox> {
    let taken = shared.and_then(|shared| NotifyInbox::from_shared(shared, path).ok());
    match taken.map_or_else(|| NotifyInbox::bind(path), Ok) {
        Ok(inbox) if inbox.address().len() <= NOTIFY_ADDRESS_BYTES_MAX => Some(inbox),
        Ok(inbox) => {
            let address = inbox.address();
            troubles.push(format!(
                "programs get no NOTIFY_SOCKET: {} has more than the {NOTIFY_ADDRESS_BYTES_MAX} bytes that they can use; \
                 set TUTELA_HOME to a shorter folder",
                address.display()
            ));
            None
        }
        Err(error) => {
            troubles.push(chain(&error));
            None
        }
    }
}

/// A machine with what an earlier guard knew, and the instances that an operator had stopped under it. One
/// that ended in order has stopped everything, so what was asked of it is over with it.
pub(super) fn restored(spec: GuardSpec, kept: &Kept) -> (Guard, BTreeSet<InstanceId>) {
    let mut guard = Guard::new(clock::now(), spec, seed());
    let mut kept_down = BTreeSet::new();
    for saved in &kept.instances {
        let Ok(service) = Name::new(&saved.service) else { continue };
        let id = InstanceId { service, index: saved.instance };
        let (history, last_exit) = history_of(saved);
        // The start after the last end that was written down may have been made and not been written.
        let run = RunId(saved.run + u64::from(!kept.ended_in_order));
        guard.restore(&id, run, history, last_exit);
        if saved.wanted == Some(Wanted::Down) && !kept.ended_in_order {
            kept_down.insert(id);
        }
    }
    (guard, kept_down)
}

fn history_of(saved: &SavedInstance) -> (History, Option<(Exit, tutela_core::time::Moment)>) {
    let moment = |at: tutela_schema::wall::WallTime| clock::moment_of(SystemTime::from(at.0));
    let mut by_cause = RestartTally::default();
    for cause in RestartCause::ALL {
        by_cause.restore(cause, saved.restarts_by.get(cause.word()).copied().unwrap_or(0));
    }
    let history = History {
        restarts: saved.restarts,
        by_cause,
        in_a_row: saved.failures,
        recent: saved.window.iter().map(|at| moment(*at)).collect::<VecDeque<_>>(),
        cooldown_until: saved.cooldown_until.map(moment),
        half_open: false,
    };
    let last_exit = saved.last_exit.as_ref().map(|exit| {
        let how = match (exit.code, &exit.signal) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(name)) => {
                let signal = tutela_os::process::Signal::from_name(name);
                let number = signal.map_or(0, tutela_os::process::Signal::number);
                Exit::Signal { number, name: format!("SIG{name}"), core_dumped: false, oom: false }
            }
            (None, None) => Exit::Unknown,
        };
        (how, moment(exit.at))
    });
    (history, last_exit)
}
