//! From the keys of a service to what core knows of it: defaults, ranges, and what goes together.

use super::Os;
use super::diagnostic::{Code, near};
use super::keys::{HookKeys, LimitKeys, PriorityKey, RestartKeys, SecurityKeys, ServiceKeys, StartKey, WhenKey};
use super::logs::logs;
use super::probe::{Role, dependency, probe};
use super::scalar::{CommandText, Span};
use super::secret_refs::is_reference;
use super::section::{Section, steps};
use super::stop::ladder;
use super::union::HookList;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::names::{Name, ServiceName};
use tutela_core::spec::{
    Capability, Command, Env, Hook, Hooks, Launch, Limits, Priority, RestartPolicy, RestartWhen, Security, ServiceSpec,
    StartMode,
};
use tutela_core::template::Template;

/// The most copies of one service.
pub(super) const INSTANCES_MAX: u16 = 1000;

/// How long a start may take where the spec is silent; as systemd has it.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a hook may take where the spec is silent.
pub(super) const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The service. `env` is its environment without its own `env`.
pub(super) fn service(section: &mut Section<'_>, name: ServiceName, mut keys: ServiceKeys, env: Env) -> ServiceSpec {
    let instances = instances(section, keys.instances);
    let launch = launch(section, &mut keys, env);
    warn_of_differences(section);
    let dependencies = std::mem::take(&mut keys.dependencies).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let dependencies = dependencies
        .into_iter()
        .enumerate()
        .filter_map(|(at, keys)| dependency(section, at, keys, &mut seen, instances))
        .collect();
    ServiceSpec {
        description: keys.description.take().unwrap_or_default(),
        launch,
        needs: needs(section, &name, keys.needs.take().unwrap_or_default()),
        instances,
        start: match keys.start {
            None | Some(StartKey::Auto) => StartMode::Auto,
            Some(StartKey::Delayed) => StartMode::Delayed,
            Some(StartKey::Manual) => StartMode::Manual,
            Some(StartKey::Disabled) => StartMode::Disabled,
        },
        start_timeout: match &keys.start_timeout {
            None => Some(START_TIMEOUT),
            Some(Span(span)) => (!span.is_zero()).then_some(*span),
        },
        restart: restart(section, keys.restart.unwrap_or_default()),
        stop: ladder(section, keys.stop.unwrap_or_default()),
        startup: keys.startup.and_then(|keys| probe(section, steps!["startup"], Role::Startup, keys, instances)),
        ready: keys.ready.and_then(|keys| probe(section, steps!["ready"], Role::Ready, keys, instances)),
        live: keys.live.and_then(|keys| probe(section, steps!["live"], Role::Live, keys, instances)),
        dependencies,
        hooks: hooks(section, keys.hooks.unwrap_or_default()),
        limits: limits(section, keys.limits.unwrap_or_default()),
        logs: logs(section, keys.logs.unwrap_or_default()),
        name,
    }
}

fn instances(section: &mut Section<'_>, given: Option<i64>) -> u16 {
    match given.map(u16::try_from) {
        None => 1,
        Some(Ok(number @ 1..=INSTANCES_MAX)) => number,
        Some(_) => {
            let number = given.unwrap_or_default();
            let message = format!("'instances' must be from 1 to {INSTANCES_MAX}, not {number}");
            let help = if number == 0 { "to keep a service from running, write start = \"disabled\"" } else { "" };
            match help {
                "" => section.error(Code::NumberRange, steps!["instances"], message),
                help => section.error_with(Code::NumberRange, steps!["instances"], message, help),
            }
            1
        }
    }
}

fn launch(section: &mut Section<'_>, keys: &mut ServiceKeys, mut env: Env) -> Launch {
    let command = match &keys.command {
        Some(text) => section.command(text, steps!["command"]),
        None => {
            let message = "the service has no 'command'";
            section.error_with(Code::MissingKey, steps![], message, "write command = [\"./program\", \"argument\"]");
            None
        }
    };
    let mut secrets: BTreeMap<Arc<str>, Template> = BTreeMap::new();
    for (key, value) in keys.env.take().unwrap_or_default() {
        if key.is_empty() || key.contains(['=', '\0']) {
            let message = format!("{key:?} is no name of a variable");
            section.error(Code::BadName, steps!["env", key.as_str()], message);
            continue;
        }
        let is_secret = is_reference(&value.0);
        let value = super::interpolate::template(&value.0);
        let is_same = |other: &str| *other == *key || section.os == Os::Windows && other.eq_ignore_ascii_case(&key);
        secrets.retain(|other, _| !is_same(other));
        if is_secret {
            env.retain(|other| !is_same(other));
            secrets.insert(key.into(), value);
        } else {
            set_variable(&mut env, key, value, section.os);
        }
    }
    let umask = keys.umask.as_deref().and_then(|text| {
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777 && text.len() <= 5);
        if bits.is_none() {
            let message = format!("{text:?} is no umask");
            section.error_with(Code::BadValue, steps!["umask"], message, "write it in octal, such as \"027\"");
        }
        bits
    });
    for key in ["user", "group"] {
        let text = if key == "user" { &keys.user } else { &keys.group };
        let bad = |text: &String| text.trim().is_empty() || text.chars().any(char::is_control);
        if text.as_ref().is_some_and(bad) {
            section.error(Code::BadName, steps![key], format!("'{key}' is no name of an account"));
        }
    }
    Launch {
        command: command.unwrap_or(Command { words: vec![Template::fixed("")] }),
        cwd: match &keys.cwd {
            Some(text) => section.path(text, steps!["cwd"]),
            None => section.base.to_path_buf(),
        },
        env,
        secrets,
        user: keys.user.take(),
        group: keys.group.take(),
        umask,
        security: security(section, keys.security.take().unwrap_or_default()),
    }
}

/// Sets a variable; on Windows, where names do not differ by case, in the place of the one of that name.
pub(super) fn set_variable(env: &mut Env, key: String, value: Template, os: Os) {
    if os == Os::Windows {
        env.retain(|other| !other.eq_ignore_ascii_case(&key));
    }
    env.insert(key.into(), value);
}

fn needs(section: &mut Section<'_>, name: &ServiceName, given: Vec<String>) -> Vec<ServiceName> {
    let mut needs = Vec::new();
    for (at, need) in given.iter().enumerate() {
        match Name::new(need) {
            Ok(need) if need == *name => {
                section.error(Code::NeedCycle, steps!["needs", at], format!("the service {name} needs itself"));
            }
            Ok(need) if needs.contains(&need) => {
                section.warning(Code::DuplicateName, steps!["needs", at], format!("{need} is there twice"), None);
            }
            Ok(need) => needs.push(need),
            Err(refusal) => section.error(Code::BadName, steps!["needs", at], refusal.to_string()),
        }
    }
    needs
}

fn restart(section: &mut Section<'_>, keys: RestartKeys) -> RestartPolicy {
    let default = RestartPolicy::default();
    let fraction = |section: &mut Section<'_>, key: &str, given: Option<f64>, default: f64, least: f64, most: f64| {
        let number = given.unwrap_or(default);
        if number >= least && number <= most {
            return number;
        }
        let message = format!("'restart.{key}' must be from {least} to {most}, not {number}");
        section.error(Code::NumberRange, steps!["restart", key], message);
        default
    };
    let factor = fraction(section, "factor", keys.factor, default.factor, 1.0, 1000.0);
    let jitter = fraction(section, "jitter", keys.jitter, default.jitter, 0.0, 1.0);
    let success_codes = match keys.success_codes {
        None => default.success_codes.clone(),
        Some(codes) => {
            let mut good = Vec::new();
            for (at, code) in codes.into_iter().enumerate() {
                // Windows codes are often written unsigned.
                match i32::try_from(code).or_else(|_| u32::try_from(code).map(u32::cast_signed)) {
                    Ok(code) => good.push(code),
                    Err(_) => {
                        let message = format!("no program ends with {code}");
                        section.error(Code::NumberRange, steps!["restart", "success_codes", at], message);
                    }
                }
            }
            good
        }
    };
    let delay = keys.delay.as_ref().map_or(default.delay, |span| span.0);
    // A longest wait below the first one is a mistake when both were written, and else follows.
    let max_delay = match &keys.max_delay {
        Some(Span(max)) if *max < delay => {
            let steps = steps!["restart", "max_delay"];
            if keys.delay.is_some() {
                section.error(Code::NumberRange, steps, "'restart.max_delay' is shorter than 'restart.delay'");
            }
            *max
        }
        Some(Span(max)) => *max,
        None => default.max_delay.max(delay),
    };
    RestartPolicy {
        when: match keys.when {
            None | Some(WhenKey::Always) => RestartWhen::Always,
            Some(WhenKey::OnFailure) => RestartWhen::OnFailure,
            Some(WhenKey::Never) => RestartWhen::Never,
        },
        success_codes,
        delay: delay.min(max_delay),
        factor,
        max_delay,
        jitter,
        reset_after: section.some_time(
            keys.reset_after.as_ref(),
            default.reset_after,
            steps!["restart", "reset_after"],
        ),
        burst: keys.burst.unwrap_or(default.burst),
        within: section.some_time(keys.within.as_ref(), default.within, steps!["restart", "within"]),
        cooldown: section.some_time(keys.cooldown.as_ref(), default.cooldown, steps!["restart", "cooldown"]),
    }
}

fn hooks(section: &mut Section<'_>, keys: HookKeys) -> Hooks {
    let mut list = |key: &str, hooks: Option<HookList>| {
        let mut out = Vec::new();
        for (at, hook) in hooks.unwrap_or_default().0.into_iter().enumerate() {
            let steps = steps!["hooks", key, at];
            let timeout = section.some_time(hook.timeout.as_ref(), HOOK_TIMEOUT, steps);
            if let Some(command) = section.command(&hook.command, steps) {
                out.push(Hook { command, timeout });
            }
        }
        out
    };
    Hooks {
        before_start: list("before_start", keys.before_start),
        after_ready: list("after_ready", keys.after_ready),
        before_stop: list("before_stop", keys.before_stop),
        after_exit: list("after_exit", keys.after_exit),
    }
}

fn limits(section: &mut Section<'_>, keys: LimitKeys) -> Limits {
    let mut some = |key: &str, given: Option<u64>| {
        if given == Some(0) {
            section.error(Code::NumberRange, steps!["limits", key], format!("'limits.{key}' of 0 lets nothing run"));
        }
        given
    };
    Limits {
        memory: some("memory", keys.memory.map(|size| size.0)),
        cpu_percent: keys.cpu.map(|percent| percent.0),
        processes: some("processes", keys.processes),
        open_files: some("open_files", keys.open_files),
        core: keys.core.map(|size| size.0),
        priority: match keys.priority {
            Some(PriorityKey::Idle) => Priority::Idle,
            Some(PriorityKey::Low) => Priority::Low,
            None | Some(PriorityKey::Normal) => Priority::Normal,
            Some(PriorityKey::High) => Priority::High,
        },
    }
}

fn security(section: &mut Section<'_>, keys: SecurityKeys) -> Security {
    let capabilities = keys.capabilities.map(|names| {
        let mut capabilities = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match Capability::from_name(name) {
                Some(capability) => capabilities.push(capability),
                None => {
                    let upper = name.to_ascii_uppercase();
                    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
                    let help = near(bare, Capability::names().iter().copied());
                    let steps = steps!["security", "capabilities", at];
                    let help = help.unwrap_or_else(|| "man 7 capabilities lists them".into());
                    section.error_with(Code::BadValue, steps, format!("{name:?} is no capability"), &help);
                }
            }
        }
        capabilities.sort_unstable();
        capabilities.dedup();
        capabilities
    });
    let mut paths = |key: &str, given: Option<Vec<String>>| -> Vec<PathBuf> {
        let given = given.unwrap_or_default();
        given.iter().enumerate().map(|(at, text)| section.path(text, steps!["security", key, at])).collect()
    };
    Security {
        no_new_privileges: keys.no_new_privileges.unwrap_or_default(),
        capabilities,
        read_only_paths: paths("read_only_paths", keys.read_only_paths),
        writable_paths: paths("writable_paths", keys.writable_paths),
    }
}

/// Says which keys of the spec do nothing on its OS.
fn warn_of_differences(section: &mut Section<'_>) {
    const WINDOWS: &[Os] = &[Os::Windows];
    const NOT_LINUX: &[Os] = &[Os::Windows, Os::Macos];
    const MACOS: &[Os] = &[Os::Macos];
    section.no_effect(steps!["group"], WINDOWS, "accounts have no first group there");
    section.no_effect(steps!["umask"], WINDOWS, "access lists take its place there");
    for key in ["mode", "owner", "group"] {
        section.no_effect(steps!["logs", key], WINDOWS, "access lists take its place there");
    }
    section.no_effect(steps!["limits", "open_files"], WINDOWS, "there is no such limit there");
    section.no_effect(steps!["limits", "core"], WINDOWS, "there are no core files there");
    section.no_effect(steps!["limits", "memory"], MACOS, "trees of processes cannot be limited there");
    section.no_effect(steps!["limits", "cpu"], MACOS, "trees of processes cannot be limited there");
    section.no_effect(steps!["limits", "processes"], MACOS, "trees of processes cannot be limited there");
    for key in ["no_new_privileges", "capabilities", "read_only_paths", "writable_paths"] {
        section.no_effect(steps!["security", key], NOT_LINUX, "only Linux can do that");
    }
}

/// The service of `tutela run -- PROGRAM`: everything but the command by default.
pub(super) fn plain(section: &mut Section<'_>, name: ServiceName, words: Vec<String>, env: Env) -> ServiceSpec {
    let keys = ServiceKeys { command: Some(CommandText::Words(words)), ..ServiceKeys::default() };
    service(section, name, keys, env)
}
