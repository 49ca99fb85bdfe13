//! Makes the parts of a guard that have threads of their own, each with its way to tell the conductor of trouble.

use super::{Failure, Options};
use crate::api;
use crate::api::door::Door;
use crate::audit::Auditor;
use crate::conductor::{self, Inbox, Input, InstanceRef, OutputNews};
use crate::hands::console::{Console, Look};
use crate::hands::journal::Journal;
use crate::hands::sinks::ear::Bell;
use crate::hands::spawner::chain;
use crate::logs_view::DOORS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela_core::names::Name;
use tutela_core::spec::{GuardSpec, StartMode};
use tutela_logs::Pumps;
use tutela_logs::keeper::KeeperHandle;
use tutela_logs::pump::{PumpEvent, WriterEvent};
use tutela_os::process::Nursery;
use tutela_os::{background, eventlog};
use tutela_schema::spec::{Diagnostic, Loaded};

pub(super) fn new_door(inbox: &Inbox) -> Door {
    let inbox = inbox.clone();
    // A full inbox drops the remark; the figures have the fact.
    Door::new(move |news| drop(inbox.try_send(Input::Door(news))))
}

/// The way in from the network, ready to be opened.
pub(super) fn open_door(
    door: &Door,
    spec: &GuardSpec,
    loaded: Option<&Loaded>,
) -> Result<api::door::Prepared, Failure> {
    door.prepare(&spec.api).map_err(|refused| {
        let origin = loaded.map(|loaded| loaded.origin_in_root(&["api", refused.key]));
        let code = tutela_schema::spec::Code::BadAddress;
        Failure::Spec(vec![Diagnostic::error(code, origin, refused.message).help(refused.help)])
    })
}

/// Makes the containers of what starts at once, so that a thousand programs follow each other closely.
pub(super) fn prepare_containers(nursery: &Nursery, spec: &GuardSpec, running: &BTreeSet<Name>) {
    let starts = |service: &&Arc<tutela_core::spec::ServiceSpec>| {
        service.start == StartMode::Auto && !running.contains(&service.name)
    };
    for service in spec.services.values().filter(starts) {
        for index in 0..service.instances {
            let tree = InstanceRef { service: service.name.clone(), index }.tree();
            // One that cannot be made is told where it hurts: at the start.
            let _ = nursery.prepare(&tree);
        }
    }
}

/// Its thread begins with the first rule that asks for anything.
pub(super) fn new_keeper(inbox: &Inbox) -> KeeperHandle {
    let inbox = inbox.clone();
    // A full inbox drops the remark; what was refused is tried again, and told again when it is refused otherwise.
    let on_event = move |text| drop(inbox.try_send(conductor::Input::Trouble(text)));
    KeeperHandle::new(DOORS, background::become_background, on_event)
}

pub(super) fn start_pumps(
    inbox: &Inbox,
    log_dir: &Path,
    bell: Arc<Bell>,
    keeper: KeeperHandle,
) -> Result<Pumps, Failure> {
    let inbox = inbox.clone();
    let on_event = move |event| {
        let input = match event {
            PumpEvent::Writer { event: WriterEvent::Rotated, .. } => return keeper.ring(),
            PumpEvent::Writer { label, event: WriterEvent::Failing { error } } => {
                Input::Output { label, news: OutputNews::Failing(error) }
            }
            PumpEvent::Writer { label, event: WriterEvent::Recovered { dropped_bytes, dropped_lines } } => {
                Input::Output { label, news: OutputNews::Recovered { dropped_bytes, dropped_lines } }
            }
            PumpEvent::Writer { label, event: WriterEvent::Blemish { text } } => {
                Input::Trouble(format!("log files of {label}: {text}"))
            }
            PumpEvent::Stream { label, error, .. } => Input::Trouble(format!("output of {label}: {error}")),
            PumpEvent::Damage { label, text, .. } => Input::Trouble(format!("output of {label}: {text}")),
        };
        // A full inbox drops the remark; the counters of the capture have the fact.
        let _ = inbox.try_send(input);
    };
    Pumps::start(DOORS, log_dir, on_event, move |label| bell.ring(label))
        .map_err(|error| Failure::Failed(format!("failed to start the log thread: {error}")))
}

pub(super) fn start_audit(
    name: &str,
    state_dir: PathBuf,
    spec: &GuardSpec,
    inbox: &Inbox,
) -> Result<Arc<Auditor>, Failure> {
    let inbox = inbox.clone();
    let tell = move |text| {
        // A full inbox drops the remark; the figures have the fact.
        let _ = inbox.try_send(conductor::Input::Trouble(text));
    };
    Auditor::start(name, state_dir, spec.audit.keep_for, tell)
        .map(Arc::new)
        .map_err(|error| Failure::Failed(format!("failed to start the audit thread: {error}")))
}

pub(super) fn start_console(options: &Options, spec: &GuardSpec) -> Result<Console, Failure> {
    let longest = spec.services.keys().map(|name| name.as_str().len() + 2).max().unwrap_or(0);
    let look = Look { colour: options.colour, width: longest.clamp("tutela".len(), 24) };
    Console::start(look).map_err(|error| Failure::Failed(format!("failed to start the console's thread: {error}")))
}

/// The OS's own log, where operators look into it: it then shows what the console would.
pub(super) fn start_journal(options: &Options, name: &str, troubles: &mut Vec<String>) -> Option<Journal> {
    let source = match &options.scm {
        Some(scm) => scm.name(),
        // As what its unit writes in other ways, so that `journalctl -t` finds all of it.
        None if eventlog::output_is_journal() => name,
        None => return None,
    };
    Journal::start(name, source).map_err(|error| troubles.push(chain(&error))).ok()
}
