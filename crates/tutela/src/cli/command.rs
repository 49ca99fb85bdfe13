//! `start`, `stop`, `restart`, `reload`, `pause`, `resume`.
//!
//! A guard that runs is asked itself. One that does not, and is installed, is a matter of the OS's service manager:
//! `start` and `restart` have it started, `stop` has it stay down. `stop --shutdown` of an installed guard goes there
//! too, because a service manager starts a service again that ends by itself.

use super::words::{StopWords, TargetWords};
use super::{Code, DONE, FAILED, UNKNOWN, WRONG, block_on, install, report, wait_on};
use crate::client::{ClientError, Reach, running};
use crate::conductor::wall_now;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tutela_core::guard;
use tutela_core::names::Name;
use tutela_os::endpoint::Found;
use tutela_os::paths::Paths;
use tutela_schema::api::{CommandReply, CommandRequest, Outcome, REASON_CHARS_MAX, ReloadReply, Route, RouteId, Verb};

/// How long a guard may take to end once everything is stopped: its logs and its ledger have 5 s and 1 s.
const GONE_LIMIT: Duration = Duration::from_secs(15);

/// How often that is looked at.
const GONE_LOOK: Duration = Duration::from_millis(5);

/// A guard and perhaps one of its services.
pub struct Target {
    /// The guard.
    pub guard: String,
    /// `api` or `api:0`.
    pub service: Option<String>,
}

impl Target {
    /// Reads `shop`, `shop/api` or `shop/api:0`.
    ///
    /// # Errors
    /// The exit code, when it is none of them; people have been told.
    pub fn parse(text: &str) -> Result<Target, Code> {
        let (guard, service) = match text.split_once('/') {
            Some((guard, service)) => (guard, Some(service)),
            None => (text, None),
        };
        if let Err(refusal) = Name::new(guard) {
            report::error(
                &format!("refused: {guard:?} is no guard's name: {refusal}"),
                Some("write NAME or NAME/SERVICE, such as shop or shop/api"),
            );
            return Err(WRONG);
        }
        if service.is_some_and(|service| guard::Target::parse(service).is_none()) {
            report::error(
                &format!("refused: {text:?} names no service"),
                Some("write NAME/SERVICE, such as shop/api, or NAME/SERVICE:INDEX for one copy of it"),
            );
            return Err(WRONG);
        }
        Ok(Target { guard: guard.to_owned(), service: service.map(str::to_owned) })
    }
}

pub fn command(verb: Verb, words: &TargetWords, reach: &Reach) -> Code {
    let target = match Target::parse(&words.target) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let id = match &target.service {
        Some(_) => RouteId::ServiceCommand(verb),
        None => RouteId::GuardCommand(verb),
    };
    let began = wall_now();
    match ask::<CommandReply>(id, &target, words, reach) {
        Ok(Ok(reply)) => tell(&reply, words.json),
        Ok(Err(ClientError::Failed { cut_off: true, .. })) if !words.no_wait && wait_on::is_told_by_status(verb) => {
            match wait_on::wait_on(verb, &target, &reach.client(&target.guard), began) {
                Ok(Ok(reply)) => tell(&reply, words.json),
                Ok(Err(error)) => report::client_error(&error),
                Err(code) => code,
            }
        }
        Ok(Err(error)) => {
            through_service_manager(verb, &target, &error).unwrap_or_else(|| report::client_error(&error))
        }
        Err(code) => code,
    }
}

/// The command for a guard that is installed and does not run; `None`: it is not of that kind.
fn through_service_manager(verb: Verb, target: &Target, error: &ClientError) -> Option<Code> {
    let ClientError::NoGuard { .. } = error else { return None };
    let (scope, registered) = install::installed(&target.guard)?;
    let name = &target.guard;
    match (verb, &target.service) {
        (Verb::Start | Verb::Restart, None) => Some(install::start(name, scope)),
        (Verb::Stop | Verb::Shutdown, None) => Some(install::stop(name, scope, &registered)),
        (_, _) => {
            let help = format!("start it first: tutela start {name}");
            report::error(&format!("refused: the guard {name} is installed, and does not run"), Some(&help));
            Some(UNKNOWN)
        }
    }
}

pub fn stop(words: &StopWords, reach: &Reach) -> Code {
    if words.shutdown && words.common.target.contains('/') {
        report::error("refused: --shutdown ends a guard, not a service", Some("leave the service out"));
        return WRONG;
    }
    if !words.shutdown {
        return command(Verb::Stop, &words.common, reach);
    }
    if reach.is_remote() {
        return command(Verb::Shutdown, &words.common, reach);
    }
    let paths = &reach.paths;
    let who = running(paths).into_iter().find(|found| found.name == words.common.target);
    if let Some((scope, registered)) = install::installed(&words.common.target)
        && let Some(pid) = registered.pid
        && who.as_ref().and_then(|who| who.pid) == Some(pid)
    {
        // Ending by itself, it would be started again.
        return install::stop(&words.common.target, scope, &registered);
    }
    let code = command(Verb::Shutdown, &words.common, reach);
    if let (DONE, false, Some(who)) = (code, words.common.no_wait, who) {
        wait_until_gone(&who, paths);
    }
    code
}

/// The guard answers while it still has its ledger to close. Whoever starts the next one right after this
/// command must not be refused because of this one.
fn wait_until_gone(guard: &Found, paths: &Paths) {
    let until = std::time::Instant::now() + GONE_LIMIT;
    while running(paths).contains(guard) && std::time::Instant::now() < until {
        std::thread::sleep(GONE_LOOK);
    }
}

pub fn reload(words: &TargetWords, reach: &Reach) -> Code {
    let target = match Target::parse(&words.target) {
        Ok(Target { service: Some(_), .. }) => {
            let help = "leave the service out: what is not different goes on undisturbed";
            report::error("refused: a reload is of the whole spec", Some(help));
            return WRONG;
        }
        Ok(target) => target,
        Err(code) => return code,
    };
    let reply: ReloadReply = match send(RouteId::GuardCommand(Verb::Reload), &target, words, reach) {
        Ok(reply) => reply,
        Err(code) => return code,
    };
    if words.json {
        return print_json(&reply);
    }
    for (what, names) in [
        ("added", &reply.added),
        ("removed", &reply.removed),
        ("restarted", &reply.restarted),
        ("changed while running", &reply.adjusted),
        ("untouched", &reply.unchanged),
        ("api", &reply.api),
    ] {
        if !names.is_empty() {
            report::tell(&format!("{what}: {}", names.join(", ")));
        }
    }
    for warning in &reply.warnings {
        report::tell(&format!("warning[{}]: {}", warning.code, warning.message));
    }
    DONE
}

fn send<T: DeserializeOwned>(id: RouteId, target: &Target, words: &TargetWords, reach: &Reach) -> Result<T, Code> {
    ask(id, target, words, reach)?.map_err(|error| {
        let RouteId::GuardCommand(verb) = id else { return report::client_error(&error) };
        through_service_manager(verb, target, &error).unwrap_or_else(|| report::client_error(&error))
    })
}

fn ask<T: DeserializeOwned>(
    id: RouteId,
    target: &Target,
    words: &TargetWords,
    reach: &Reach,
) -> Result<Result<T, ClientError>, Code> {
    let Some(route) = Route::of(id) else { return Err(UNKNOWN) };
    let service = target.service.as_deref().unwrap_or_default();
    let path = format!("{}?wait={}", route.path_for(&encoded(service)), !words.no_wait);
    // No more of it is kept.
    let reason = words.reason.as_ref().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
    let request = CommandRequest { reason };
    // A text and nothing else: there is no value that JSON cannot hold.
    let body = serde_json::to_string(&request).unwrap_or_default();
    let client = reach.client(&target.guard);
    block_on(client.post(&path, body))
}

/// A part of a path with everything escaped that could mean something in it.
pub fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn print_json(reply: &impl Serialize) -> Code {
    let text = serde_json::to_string(reply).unwrap_or_default();
    if report::print(&format!("{text}\n")) { DONE } else { FAILED }
}

fn tell(reply: &CommandReply, json: bool) -> Code {
    let code = if reply.succeeded() { DONE } else { FAILED };
    if json {
        return print_json(reply).max(code);
    }
    for instance in &reply.instances {
        let word = match instance.outcome {
            Outcome::Done => instance.state.word().to_owned(),
            Outcome::Already => format!("{} already", instance.state),
            Outcome::Accepted => format!("accepted, {}", instance.state),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Failed => format!("failed, {}", instance.state),
        };
        let why = instance.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        report::tell(&format!("{} {word}{why}", instance.id));
        for survivor in &instance.survivors {
            report::tell(&format!("  resisted and was ended by force: {} (pid {})", survivor.name, survivor.pid));
        }
    }
    code
}
