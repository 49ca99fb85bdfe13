//! The plan that turns two specs into the smallest set of changes.
//!
//! Called by [`crate::guard`] on a reload and by `tutela check` to show what a reload would do. A program is
//! started anew only for what it gets at its start; everything else is changed while it runs.

mod api;

pub use api::api;

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
        ("env", was.env != is.env || was.secrets != is.secrets),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::spec;
    use crate::spec::{LadderStep, ProbeTarget, StartMode, StopStep};

    fn probe(target: ProbeTarget, every: u64) -> Option<ProbeSpec> {
        let second = Duration::from_secs(1);
        let every = second * u32::try_from(every).expect("small");
        Some(ProbeSpec { target, delay: Duration::ZERO, every, timeout: second, failures: 3, successes: 1 })
    }

    fn tcp() -> ProbeTarget {
        ProbeTarget::Tcp("127.0.0.1:1".into())
    }

    fn guard(services: &[ServiceSpec]) -> GuardSpec {
        let services = services.iter().map(|service| (service.name.clone(), std::sync::Arc::new(service.clone())));
        GuardSpec::of(Name::new("shop").expect("a name"), services.collect())
    }

    fn change(edit: impl FnOnce(&mut ServiceSpec)) -> Option<Change> {
        let mut new = spec();
        edit(&mut new);
        let changes = plan(&guard(&[spec()]), &guard(&[new])).expect("one guard");
        changes.into_iter().next().map(|(_, change)| change)
    }

    #[test]
    fn what_a_program_gets_at_its_start_starts_it_anew() {
        let restart = |key| Some(Change::Restart(vec![key]));
        assert_eq!(change(|s| s.launch.command.words.push("-v".into())), restart("command"));
        assert_eq!(change(|s| s.launch.cwd = "/tmp".into()), restart("cwd"));
        assert_eq!(change(|s| drop(s.launch.env.insert("A".into(), "1".into()))), restart("env"));
        let reference = || "secret://systemd/a".into();
        assert_eq!(change(|s| drop(s.launch.secrets.insert("A".into(), reference()))), restart("env"));
        assert_eq!(change(|s| s.launch.user = Some("shop".into())), restart("user"));
        assert_eq!(change(|s| s.launch.group = Some("shop".into())), restart("group"));
        assert_eq!(change(|s| s.launch.umask = Some(0o77)), restart("umask"));
        assert_eq!(change(|s| s.launch.security.no_new_privileges = true), restart("security"));
    }

    #[test]
    fn everything_else_changes_while_it_runs() {
        let live = |key| Some(Change::Live(vec![key]));
        assert_eq!(change(|s| s.description = "other".into()), live("description"));
        assert_eq!(change(|s| s.needs.push(spec().name)), live("needs"));
        assert_eq!(change(|s| s.instances = 2), live("instances"));
        assert_eq!(change(|s| s.start = StartMode::Manual), live("start"));
        assert_eq!(change(|s| s.start_timeout = Some(Duration::ZERO)), live("start_timeout"));
        assert_eq!(change(|s| s.restart.burst = 9), live("restart"));
        let kill = LadderStep { step: StopStep::Kill, wait: Duration::ZERO };
        assert_eq!(change(|s| s.stop = vec![kill]), live("stop"));
        assert_eq!(change(|s| s.startup = probe(tcp(), 5)), live("startup"));
        assert_eq!(change(|s| s.ready = probe(tcp(), 5)), live("ready"));
        assert_eq!(change(|s| s.live = probe(tcp(), 5)), live("live"));
        assert_eq!(change(|s| s.limits.processes = Some(9)), live("limits"));
        assert_eq!(change(|s| s.logs.keep = 99), live("logs"));
        assert_eq!(change(|_| {}), None);
    }

    #[test]
    fn a_watchdog_interval_is_told_at_the_start_so_another_one_needs_a_start() {
        let notify = |every| probe(ProbeTarget::Notify, every);
        assert_eq!(change(|s| s.live = notify(5)), Some(Change::Restart(vec!["live"])));
        let mut old = spec();
        old.live = notify(5);
        let mut new = old.clone();
        new.live = notify(6);
        assert_eq!(compare(&old, &new), Some(Change::Restart(vec!["live"])));
        // A third of the interval, three times as often: the program is told the same.
        new.live = notify(15).map(|live| ProbeSpec { failures: 1, ..live });
        assert_eq!(compare(&old, &new), Some(Change::Live(vec!["live"])));
    }

    #[test]
    fn several_keys_are_named_and_a_start_covers_the_live_ones() {
        let both = change(|s| {
            s.launch.cwd = "/tmp".into();
            s.launch.umask = Some(0);
            s.instances = 2;
        });
        assert_eq!(both, Some(Change::Restart(vec!["cwd", "umask"])));
        assert_eq!(both.map(|change| change.to_string()), Some("restarted for cwd, umask".into()));
    }

    #[test]
    fn services_come_and_go_by_name() {
        let named = |word: &str| ServiceSpec { name: Name::new(word).expect("a name"), ..spec() };
        let changes = plan(&guard(&[named("a"), named("b")]), &guard(&[named("b"), named("c")])).expect("one guard");
        let text: Vec<String> = changes.iter().map(|(name, change)| format!("{name} {change}")).collect();
        assert_eq!(text, ["a removed", "c added"]);
    }

    #[test]
    fn absurd_intervals_do_not_overflow() {
        let mut absurd = spec();
        absurd.live =
            probe(ProbeTarget::Notify, 1).map(|live| ProbeSpec { every: Duration::MAX, failures: u32::MAX, ..live });
        assert_eq!(watchdog_interval(&absurd), Some(Duration::MAX));
    }
}
