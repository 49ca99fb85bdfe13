//! Text of systemd units, from a [`Definition`]. Pure: the same on every OS, for `install --print` and `export`.
//!
//! A service is one unit, `NAME.service`; a task is that unit without a place in the boot and a `NAME.timer` that
//! starts it. What the version of systemd does not know is not written, so that `systemd-analyze verify` finds nothing.
//! Drop-ins of the operator stay what they are: they are read after the unit.
//!
//! Deliberately absent: looking at this computer. Its version, and which account there is, are [`Facts`].

pub mod quote;
mod sandbox;
mod text;

pub(crate) use text::marked;
pub use text::{Made, Mark, mark};

use super::{Definition, Kind, Outlive, Readiness, Reload, Scope, Start};
use std::path::Path;
use std::time::Duration;
use text::UnitText;

/// What a unit is written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// systemd's version: 257.
    pub version: u32,
    /// Whom the unit makes systemd run it as.
    pub runs: Runs,
}

/// Whom a unit makes systemd run a program as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// As the manager itself: root, or for a user unit the user.
    Root,
    /// As an account of this name that exists while the unit runs.
    Dynamic(String),
    /// As an account of the computer.
    As(String),
}

/// The version whose keys are used where nobody knows better: that of Debian 13.
pub const VERSION_ASSUMED: u32 = 257;

/// The version that brought `Type=notify-reload`.
const NOTIFY_RELOAD: u32 = 253;

/// The systemd that knows the keys of a unit's own rate limit in the journal.
const UNIT_RATE_LIMITS: u32 = 240;

/// How many records of a guard the journal takes in a second: more than it can store. Its own limit, 10,000 in 30 s,
/// drops what a `[sinks]` with `journald` brings of all programs together, and tells nobody who sent it. Zero would
/// not mean that there is no limit but that the journal's own is in force.
const LOG_BURST: u32 = 1_000_000;

/// The version that brought `RestartSteps=` and `DelegateSubgroup=`.
const STEPS_AND_SUBGROUPS: u32 = 254;

/// The systemd under which programs can outlive their guard: the first that knows `PrivateTmp=disconnected`. Before, it
/// removes the folder that is `/tmp` to the programs with each end of a guard, and they can make no file there any more.
/// Before 254 it also puts the next guard into the unit's own group, which the kernel refuses while that is divided.
const OUTLIVE: u32 = 257;

/// The longest wait before a service that keeps dying is started again, where systemd can make waits longer.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(60);

/// In how many steps it gets there.
const RESTART_STEPS: u32 = 6;

/// How long a guard that hung may take to write a core dump before it is killed.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Files that a guard of many programs has open; its programs get what the spec says.
const OPEN_FILES: u32 = 524_288;

/// How long after the boot a task is started: the first wait that leaves the boot alone.
const TASK_AFTER_BOOT: Duration = Duration::from_secs(15);

/// The same for one that is to wait until the others have settled.
const TASK_DELAYED: Duration = Duration::from_secs(120);

/// The text of `NAME.service`.
///
/// # Errors
/// What in the definition systemd cannot be told, for people.
pub fn service(definition: &Definition, facts: &Facts) -> Result<String, String> {
    service_with(definition, facts, &Made::default())
}

/// The text of `NAME.timer`, for a task.
pub fn timer(definition: &Definition) -> String {
    let mut text = UnitText::new(&edit(definition, "timer"));
    text.section("Unit");
    text.line("Description", format!("Start of {}", described(definition)));
    text.section("Timer");
    let after = if definition.start == Start::Delayed { TASK_DELAYED } else { TASK_AFTER_BOOT };
    let key = if definition.scope == Scope::User { "OnStartupSec" } else { "OnBootSec" };
    text.line(key, quote::span(after));
    text.line("Unit", format!("{}.service", definition.name));
    text.section("Install");
    text.line("WantedBy", "timers.target");
    text.finish(&Made::default())
}

/// What will be different from a run in the foreground, for people.
pub fn differences(definition: &Definition, facts: &Facts) -> Vec<String> {
    let mut told = sandbox::told(definition, facts);
    if let Some(outlive) = &definition.programs_outlive {
        told.extend(outliving_told(outlive, definition, facts));
    }
    told
}

fn outliving_told(outlive: &Outlive, definition: &Definition, facts: &Facts) -> Option<String> {
    if outliving(definition, facts) != Some(outlive) {
        return Some(format!(
            "programs end with a guard that crashes, and are started anew: systemd {} cannot keep them (version {OUTLIVE} \
             can)",
            facts.version
        ));
    }
    matches!(facts.runs, Runs::Dynamic(_)).then(|| {
        "programs outlive a guard that crashes, but systemd then removes their shared memory, semaphores and queues that \
         have names; with an account of the computer, as `account = \"new:NAME\"` makes one, it does not"
            .to_owned()
    })
}

/// The text of `NAME.service`, with what registering makes beside it.
pub(crate) fn service_with(definition: &Definition, facts: &Facts, made: &Made) -> Result<String, String> {
    let mut text = UnitText::new(&edit(definition, "service"));
    unit_section(&mut text, definition)?;
    text.section("Service");
    execution(&mut text, definition, facts)?;
    life(&mut text, definition, facts);
    account_and_folders(&mut text, definition, facts);
    sandbox::write(&mut text, definition, facts)?;
    if definition.kind != Kind::Task {
        text.section("Install");
        text.line("WantedBy", boot_target(definition.scope));
    }
    Ok(text.finish(made))
}

fn edit(definition: &Definition, kind: &str) -> String {
    let user = if definition.scope == Scope::User { " --user" } else { "" };
    format!("systemctl{user} edit {}.{kind}", definition.name)
}

fn described(definition: &Definition) -> String {
    let name = quote::prose(&definition.display_name);
    match quote::prose(&definition.description) {
        described if described.is_empty() || described == name => name,
        described if name.is_empty() => described,
        described => format!("{name}: {described}"),
    }
}

fn boot_target(scope: Scope) -> &'static str {
    match scope {
        Scope::System => "multi-user.target",
        Scope::User => "default.target",
    }
}

fn unit_section(text: &mut UnitText, definition: &Definition) -> Result<(), String> {
    text.section("Unit");
    text.line("Description", described(definition));
    let (mut needed, mut wanted) = (Vec::new(), Vec::new());
    for name in &definition.after {
        let unit = quote::unit_name(name).ok_or_else(|| format!("{name:?} cannot be the name of a systemd unit"))?;
        // A target that was not reached is no reason to stay down: the network may come later.
        if unit.ends_with(".target") { &mut wanted } else { &mut needed }.push(unit);
    }
    for (key, units) in [("Wants", &wanted), ("Requires", &needed)] {
        if !units.is_empty() {
            text.line(key, units.join(" "));
        }
    }
    let mut after: Vec<String> = wanted.into_iter().chain(needed).collect();
    if definition.start == Start::Delayed && definition.kind == Kind::Service {
        // Once everything of the boot was started. systemd sees the circle with WantedBy= and orders by this.
        after.push(boot_target(definition.scope).into());
    }
    if !after.is_empty() {
        text.line("After", after.join(" "));
    }
    if definition.start == Start::Disabled {
        text.line("RefuseManualStart", "yes");
    }
    // Giving up is never final.
    text.line("StartLimitIntervalSec", 0);
    Ok(())
}

/// What is run, and how systemd learns how it is.
fn execution(text: &mut UnitText, definition: &Definition, facts: &Facts) -> Result<(), String> {
    let cannot = |path: &Path| {
        format!("systemd takes no quotes, backslashes or control characters in the path {}", path.display())
    };
    let program = quote::program(&definition.program).ok_or_else(|| cannot(&definition.program))?;
    let line = |words: &[std::ffi::OsString]| {
        let words = words.iter().map(|word| quote::argument(word));
        std::iter::once(program.clone()).chain(words).collect::<Vec<_>>().join(" ")
    };
    let by_signal = definition.reload == Reload::Signal;
    text.line(
        "Type",
        match definition.readiness {
            Readiness::Told if by_signal && facts.version >= NOTIFY_RELOAD => "notify-reload",
            Readiness::Told => "notify",
            Readiness::Running => "exec",
        },
    );
    if definition.readiness == Readiness::Told {
        text.line("NotifyAccess", "main");
    }
    text.line("ExecStart", line(&definition.args));
    match &definition.reload {
        // As the administrator who asks for it: the guard's own account has no way of its own to find its socket.
        Reload::Command(words) if definition.scope == Scope::System && facts.runs != Runs::Root => {
            text.line("ExecReload", format!("+{}", line(words)));
        }
        Reload::Command(words) => text.line("ExecReload", line(words)),
        Reload::Signal if facts.version < NOTIFY_RELOAD || definition.readiness == Readiness::Running => {
            text.line("ExecReload", "/bin/kill -HUP $MAINPID");
        }
        Reload::Signal | Reload::None => {}
    }
    if let Some(outlive) = outliving(definition, facts) {
        // As root: a dynamic user may not ask systemd where its name is not known to the message bus.
        let root = definition.scope == Scope::System && facts.runs != Runs::Root;
        text.line("ExecStopPost", format!("{}{}", if root { "+" } else { "" }, line(&outlive.end_left)));
    }
    text.line("WorkingDirectory", quote::whole_path(&definition.folder).ok_or_else(|| cannot(&definition.folder))?);
    for (name, value) in &definition.env {
        text.line("Environment", quote::assignment(name, value));
    }
    text.line("SyslogIdentifier", &definition.name);
    Ok(())
}

/// How what is left of it is ended, if this systemd lets programs outlive it.
fn outliving<'a>(definition: &'a Definition, facts: &Facts) -> Option<&'a Outlive> {
    definition.programs_outlive.as_ref().filter(|_| definition.keeps_programs && facts.version >= OUTLIVE)
}

/// When it is started again, and how it is ended.
fn life(text: &mut UnitText, definition: &Definition, facts: &Facts) {
    text.line("TimeoutStartSec", quote::span(definition.start_timeout));
    text.line("TimeoutStopSec", quote::span(definition.stop_timeout));
    text.line("TimeoutAbortSec", quote::span(ABORT_TIMEOUT));
    if let Some(watchdog) = definition.watchdog.filter(|_| definition.readiness == Readiness::Told) {
        text.line("WatchdogSec", quote::span(watchdog));
    }
    text.line("Restart", "always");
    text.line("RestartSec", quote::span(definition.restart_delay));
    if facts.version >= STEPS_AND_SUBGROUPS && definition.restart_delay < RESTART_DELAY_MAX {
        text.line("RestartSteps", RESTART_STEPS);
        text.line("RestartMaxDelaySec", quote::span(RESTART_DELAY_MAX));
    }
    // Words or a configuration that were refused stay refused.
    text.line("RestartPreventExitStatus", 2);
    text.line("KillMode", if outliving(definition, facts).is_some() { "process" } else { "mixed" });
    text.line("SendSIGKILL", "yes");
    text.line("OOMPolicy", "continue");
    if definition.keeps_programs {
        if facts.version >= UNIT_RATE_LIMITS {
            text.line("LogRateLimitIntervalSec", "1s");
            text.line("LogRateLimitBurst", LOG_BURST);
        }
        text.line("Delegate", "yes");
        if facts.version >= STEPS_AND_SUBGROUPS {
            text.line("DelegateSubgroup", super::GUARD_GROUP);
        }
    }
    text.line("TasksMax", "infinity");
    if definition.scope == Scope::System {
        text.line("LimitNOFILE", OPEN_FILES);
    }
}

/// The folders in which systemd makes those of units, for the system.
const BASES: [(&str, &str); 3] =
    [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log"), ("RuntimeDirectory", "/run")];

fn account_and_folders(text: &mut UnitText, definition: &Definition, facts: &Facts) {
    if definition.scope == Scope::User {
        // They are the user's own already, where the user's programs look for them.
        return;
    }
    match &facts.runs {
        Runs::Root => {}
        Runs::Dynamic(name) => {
            text.line("User", name);
            text.line("DynamicUser", "yes");
            if definition.sandbox.off && outliving(definition, facts).is_some() {
                text.line("PrivateTmp", sandbox::private_tmp(definition, facts));
            }
        }
        Runs::As(name) => text.line("User", quote::prose(name)),
    }
    let folders = &definition.folders;
    for ((key, base), folder) in BASES.into_iter().zip([&folders.state, &folders.logs, &folders.runtime]) {
        let below = folder.as_ref().and_then(|folder| folder.strip_prefix(base).ok());
        if let Some(below) = below.and_then(Path::to_str) {
            text.line(key, below.replace('%', "%%"));
            if key != "RuntimeDirectory" {
                // Output of programs is for their operators, not for every account.
                text.line(&format!("{key}Mode"), "0700");
            } else if outliving(definition, facts).is_some() && !matches!(facts.runs, Runs::Dynamic(_)) {
                // Sockets that outlive a guard lie in it. Those of a dynamic user are with its state, because its runtime
                // folder would be shut to everybody but root by this.
                text.line("RuntimeDirectoryPreserve", "restart");
            }
        }
    }
}

#[cfg(test)]
mod tests;
