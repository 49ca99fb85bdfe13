//! The plan that turns two specs into the smallest set of changes.
//!
//! Called by [`crate::guard`] on a reload and by `tutela check` to show what a reload would do. A program is
//! started anew only for what it gets at its start; everything else is changed while it runs.

use crate::names::{Name, ServiceName};
use crate::spec::{GuardSpec, ProbeKind, ProbeSpec, ServiceSpec};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a reload does to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there from this reload on.
    Add,
    /// It is stopped and forgotten.
    Remove,
    /// Its programs are ended and started anew, because of these keys.
    Restart(Vec<&'static str>),
    /// These keys change while its programs run.
    Live(Vec<&'static str>),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Add => f.write_str("added"),
            Change::Remove => f.write_str("removed"),
            Change::Restart(keys) => write!(f, "restarted for {}", keys.join(", ")),
            Change::Live(keys) => write!(f, "changed while running: {}", keys.join(", ")),
        }
    }
}

/// The guard's name is that of its OS service, socket and folders: it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: this guard is {old}, the spec says {new}; a guard keeps its name, start another one for {new}")]
pub struct OtherName {
    /// The guard's.
    pub old: Name,
    /// The spec's.
    pub new: Name,
}

/// Compares two specs of one guard. Services that stay as they are do not occur.
///
/// # Errors
/// When they are not of one guard.
pub fn plan(old: &GuardSpec, new: &GuardSpec) -> Result<Vec<(ServiceName, Change)>, OtherName> {
    if old.name != new.name {
        return Err(OtherName { old: old.name.clone(), new: new.name.clone() });
    }
    let names: BTreeSet<&ServiceName> = old.services.keys().chain(new.services.keys()).collect();
    let change = |name: &ServiceName| match (old.services.get(name), new.services.get(name)) {
        (None, Some(_)) => Some(Change::Add),
        (Some(_), None) => Some(Change::Remove),
        (Some(old), Some(new)) => compare(old, new),
        (None, None) => None,
    };
    Ok(names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect())
}

/// How long a program may be silent towards its watchdog: it is told so in its environment.
pub fn watchdog_interval(spec: &ServiceSpec) -> Option<Duration> {
    let told = |live: &&ProbeSpec| live.target.kind() == ProbeKind::Notify;
    spec.live.as_ref().filter(told).map(|live| live.every.saturating_mul(live.failures))
}

pub(crate) fn compare(old: &ServiceSpec, new: &ServiceSpec) -> Option<Change> {
    let keys = |pairs: &[(&'static str, bool)]| -> Vec<&'static str> {
        pairs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
    };
    let (was, is) = (&old.launch, &new.launch);
    let at_start = keys(&[
        ("command", was.command != is.command),
        ("cwd", was.cwd != is.cwd),
        ("env", was.env != is.env),
        ("user", was.user != is.user),
        ("group", was.group != is.group),
        ("umask", was.umask != is.umask),
        ("security", was.security != is.security),
        ("live", watchdog_interval(old) != watchdog_interval(new)),
    ]);
    if !at_start.is_empty() {
        return Some(Change::Restart(at_start));
    }
    let live = keys(&[
        ("description", old.description != new.description),
        ("needs", old.needs != new.needs),
        ("instances", old.instances != new.instances),
        ("start", old.start != new.start),
        ("start_timeout", old.start_timeout != new.start_timeout),
        ("restart", old.restart != new.restart),
        ("stop", old.stop != new.stop),
        ("startup", old.startup != new.startup),
        ("ready", old.ready != new.ready),
        ("live", old.live != new.live),
        ("dependencies", old.dependencies != new.dependencies),
        ("hooks", old.hooks != new.hooks),
        ("limits", old.limits != new.limits),
        ("logs", old.logs != new.logs),
    ]);
    (!live.is_empty()).then_some(Change::Live(live))
}
