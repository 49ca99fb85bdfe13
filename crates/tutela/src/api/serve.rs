//! The server: connections in, requests to their routes.

use super::answer::{Answer, json, refusal, whole};
use super::caller::Caller;
use super::connection::{LAST_ANSWERS, talk};
use super::door::Door;
use super::{events, health, logs, metrics, upgrade};
use crate::audit::{Asker, Auditor, UPGRADE};
use crate::conductor::{Feed, Identity, Inbox, Input, Request as Ask, StatusAnswer, wall_now};
use crate::figures::Source;
use crate::hands::ledger::Ledger;
use crate::log_folders;
use crate::traces::{self, Hub};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, StatusCode};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};
use tutela_core::guard::{Command, Target};
use tutela_core::spec::GuardSpec;
use tutela_logs::Pumps;
use tutela_os::blocking;
use tutela_os::endpoint::{Listener, Peer};
use tutela_schema::api::{
    CommandQuery, CommandRequest, ErrorCode, ErrorReply, GUARD_HEADER, GuardInfo, REASON_CHARS_MAX, RouteId,
    RouteMatch, StatusQuery, StatusReply, Verb, find_route,
};
use tutela_schema::audit::{AuditEntry, AuditPeer, AuditResult};
use tutela_schema::spec::{Code, Diagnostic};

/// Connections at a time. A fleet agent, a scraper and some operators are a dozen; a thousand idle ones are
/// somebody's mistake that must hurt nobody. Above this, new ones are closed at once.
const CONNECTIONS_MAX: usize = 2048;

/// Of those, connections of accounts that may not control the guard. They are let in only to be told so; a
/// stranger that holds all of these keeps out other strangers, never the guard's own account.
const STRANGERS_MAX: usize = 16;

/// The time for the head of a request, which is also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest body of a request. Commands have a reason in them, nothing more.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the accept loop rests when the OS has no more descriptors to give.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How often it is told that connections cannot be taken: for as long as that lasts it happens at every try.
pub(super) const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(60);

/// How long the answer to a command waits for the ledger to have what was asked. It takes a millisecond; a disk
/// that hangs must not keep operators from stopping things.
const KEPT_LIMIT: Duration = Duration::from_millis(500);

/// What a reload by the API reads.
pub type Reload = dyn Fn() -> Result<(GuardSpec, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync;

/// What every request may need.
pub struct Context {
    /// The way to the conductor.
    pub inbox: Inbox,
    /// The events as they happen.
    pub feed: Feed,
    /// The events that happened.
    pub ledger: Arc<Ledger>,
    /// The way in from the network.
    pub door: Arc<Door>,
    /// Who did what.
    pub audit: Arc<Auditor>,
    /// Where traces go.
    pub traces: Arc<Hub>,
    /// What `/metrics` is made of.
    pub figures: Arc<Source>,
    /// Who the guard is.
    pub identity: Identity,
    /// Reads and checks the spec again; `None`: this guard has no spec file.
    pub reload: Option<Box<Reload>>,
    /// What writes the logs; asked whether it makes progress.
    pub pump: Pumps,
    /// Where logs go unless the spec says otherwise.
    pub log_dir: PathBuf,
    /// Where the guard keeps its state.
    pub state_dir: PathBuf,
    /// The profile the spec is read with.
    pub profile: Option<String>,
    /// Has another program take this guard's place.
    pub upgrades: crate::upgrade::ask::Desk,
    /// For people.
    pub description: String,
}

/// Serves until `stopped`, and then until the answers that are on their way have been sent.
pub async fn serve(listener: &Listener, context: Arc<Context>, mut stopped: oneshot::Receiver<()>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let (end, ending) = watch::channel(());
    let mut told: Option<tokio::time::Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly no descriptors left; those that are in use come back.
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_TOLD_EVERY) {
                    told = Some(tokio::time::Instant::now());
                    let _ = context.inbox.try_send(Input::Trouble(crate::hands::spawner::chain(&error)));
                }
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let room = if peer.may_control() { &room } else { &strangers };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (context, ending) = (context.clone(), ending.clone());
        tokio::spawn(async move {
            let respond = |request| {
                let (context, peer) = (context.clone(), peer.clone());
                async move { respond(request, &peer, &context).await }
            };
            talk(stream, HEAD_TIMEOUT, respond, ending).await;
            drop(place);
        });
    }
    drop(ending);
    // Every connection may have gone already.
    let _ = end.send(());
    let _ = tokio::time::timeout(LAST_ANSWERS, end.closed()).await;
}

async fn respond(request: Request<Incoming>, peer: &Peer, context: &Arc<Context>) -> Answer {
    if !peer.may_control() {
        let who = peer.account.name();
        if let Some((verb, service)) = commanded(request.method().as_str(), request.uri().path()) {
            let asker = Asker::of_socket(String::new(), who.clone(), peer);
            let text = format!("{who} may not control this guard");
            context.audit.note_stranger(refusal_entry(context, &asker, verb, service.as_deref(), &text));
        }
        let message = format!("refused: {who} may not control the guard {}", context.identity.name);
        let help = format!("run this as {} or as an administrator", context.identity.account);
        return refusal(&ErrorReply::new(ErrorCode::NotAllowed, message, Some(help)));
    }
    answer(request, Caller::Peer(peer), context).await
}

/// The answer to somebody who was let in.
pub(super) async fn answer(request: Request<Incoming>, caller: Caller<'_>, context: &Arc<Context>) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let found = match find_route(parts.method.as_str(), path) {
        Ok(found) => found,
        Err(none) => return refusal(&none.reply(parts.method.as_str(), path)),
    };
    if !caller.role().covers(found.route.role) {
        return role_too_low(&found, caller, context);
    }
    if let Some(refused) = of_another_guard(&parts.headers, context) {
        return refusal(&refused);
    }
    let query = parts.uri.query().unwrap_or_default();
    let by = || caller.asker(context);
    let mut trace = match found.route.id {
        RouteId::ServiceCommand(_) | RouteId::GuardCommand(_) => {
            traces::Request::of_api(&context.traces, found.route.path, path, &parts.headers)
        }
        _ => None,
    };
    let outcome = match (found.route.id, found.service.as_deref()) {
        (RouteId::Status, _) => status(context, query).await,
        (RouteId::Service, service) => service_status(context, service).await,
        (RouteId::ServiceCommand(verb), service) => {
            carry_out(context, verb, service, query, body, by(), &mut trace).await
        }
        (RouteId::GuardCommand(verb), _) => carry_out(context, verb, None, query, body, by(), &mut trace).await,
        (RouteId::Upgrade, _) => upgrade::upgrade(context, caller, body, by()).await,
        (RouteId::Logs, service) => logs::logs(context, service.unwrap_or_default(), query).await,
        (RouteId::Events, _) => events::events(context, query, &parts.headers).await,
        (RouteId::Info, _) => info(context).await,
        (RouteId::OpenApi, _) => Ok(json(StatusCode::OK, &tutela_schema::api::openapi())),
        (RouteId::Health, _) => health::health(context).await,
        (RouteId::Live, _) => health::live(context).await,
        (RouteId::Ready, _) => health::ready(context).await,
        (RouteId::Metrics, _) => metrics::metrics(context, &parts.headers).await,
    };
    let answer = outcome.unwrap_or_else(|reply| refusal(&reply));
    if let Some(trace) = trace {
        trace.answered(answer.status().as_u16());
    }
    answer
}

/// Whoever mistakes an address stops nobody else's services.
fn of_another_guard(headers: &HeaderMap, context: &Context) -> Option<ErrorReply> {
    let meant = headers.get(GUARD_HEADER)?;
    let name = &context.identity.name;
    (meant.as_bytes() != name.as_bytes()).then(|| {
        let message = format!("refused: the guard here is {name}, and not the one that this is for");
        ErrorReply::new(ErrorCode::NoSuchGuard, message, Some(format!("write {name}, or another address")))
    })
}

fn role_too_low(found: &RouteMatch, caller: Caller<'_>, context: &Context) -> Answer {
    let asker = caller.asker(context);
    let (needed, route) = (found.route.role, found.route);
    let message = format!(
        "refused: {} {} is for the role {needed}, and {} has the role {}",
        route.method,
        route.path,
        asker.by,
        caller.role()
    );
    let command = match route.id {
        RouteId::ServiceCommand(verb) | RouteId::GuardCommand(verb) => Some(verb.word()),
        RouteId::Upgrade => Some(UPGRADE),
        _ => None,
    };
    if let Some(command) = command {
        context.audit.note_stranger(refusal_entry(context, &asker, command, found.service.as_deref(), &message));
    }
    let help = format!("ask with credentials that have the role {needed} in the spec's [api]");
    refusal(&ErrorReply::new(ErrorCode::NotAllowed, message, Some(help)))
}

/// Notes down that somebody from the network wanted to command something and was not known.
pub(super) fn note_turned_away(context: &Context, method: &str, path: &str, address: SocketAddr) {
    if let Some((verb, service)) = commanded(method, path) {
        let by = format!("somebody at {}", address.ip());
        let peer = AuditPeer { address: Some(address.to_string()), ..AuditPeer::default() };
        let entry = refusal_entry(context, &Asker::of_network(by, peer), verb, service.as_deref(), "not authenticated");
        context.audit.note_stranger(entry);
    }
}

/// The command that a request is, and for which service.
fn commanded(method: &str, path: &str) -> Option<(&'static str, Option<String>)> {
    let found = find_route(method, path).ok()?;
    match found.route.id {
        RouteId::ServiceCommand(verb) | RouteId::GuardCommand(verb) => Some((verb.word(), found.service)),
        RouteId::Upgrade => Some((UPGRADE, None)),
        _ => None,
    }
}

/// What is noted down of a command that is refused before the conductor hears of it.
fn refusal_entry(context: &Context, asker: &Asker, command: &str, service: Option<&str>, why: &str) -> AuditEntry {
    let name = &context.identity.name;
    let target = service.map_or_else(|| name.clone(), |service| format!("{name}/{service}"));
    asker.entry(wall_now(), command, &target, AuditResult::Refused).saying(why)
}

/// Reads a query into its type; the names and values that it may have are those of the API's description.
pub(super) fn query_of<T: DeserializeOwned>(query: &str) -> Result<T, ErrorReply> {
    serde_urlencoded::from_str(query).map_err(|error| {
        let help = "GET /v1/openapi.json lists the parameters of every path".to_owned();
        ErrorReply::new(ErrorCode::BadRequest, format!("refused: the query is wrong: {error}"), Some(help))
    })
}

/// The target that `text` names: `api` or `api:0`.
pub(super) fn target_of(text: Option<&str>) -> Result<Target, ErrorReply> {
    let Some(text) = text else { return Ok(Target::All) };
    let unknown = || {
        let help = "a service is written api, one instance of it api:0".to_owned();
        ErrorReply::new(ErrorCode::NoSuchService, format!("refused: there is no {text} here"), Some(help))
    };
    Target::parse(text).ok_or_else(unknown)
}

pub(crate) fn ended() -> ErrorReply {
    ErrorReply::new(ErrorCode::Failed, "refused: this guard is ending", None)
}

/// Asks the conductor.
pub(super) async fn ask<T>(
    context: &Context,
    request: impl FnOnce(oneshot::Sender<Result<T, ErrorReply>>) -> Ask,
) -> Result<T, ErrorReply> {
    let (reply, answer) = oneshot::channel();
    context.inbox.send(Input::Request(request(reply))).await.map_err(|_| ended())?;
    answer.await.map_err(|_| ended())?
}

/// A command that was refused, and whether the conductor has noted that down.
struct Refused {
    reply: ErrorReply,
    noted: bool,
}

impl From<ErrorReply> for Refused {
    fn from(reply: ErrorReply) -> Self {
        Refused { reply, noted: false }
    }
}

/// Asks the conductor to carry something out, which it notes down, or to refuse it, which it notes down too.
async fn order<T>(
    context: &Context,
    request: impl FnOnce(oneshot::Sender<Result<T, ErrorReply>>) -> Ask,
) -> Result<T, Refused> {
    let (reply, answer) = oneshot::channel();
    context.inbox.send(Input::Request(request(reply))).await.map_err(|_| ended())?;
    // It takes every request that it lives to see; one that it does not answer was begun.
    let answer = answer.await.map_err(|_| Refused { reply: ended(), noted: true })?;
    answer.map_err(|reply| Refused { reply, noted: true })
}

/// Carries a command out and sees to it that it is noted down, whatever becomes of it.
async fn carry_out(
    context: &Arc<Context>,
    verb: Verb,
    service: Option<&str>,
    query: &str,
    body: Incoming,
    mut by: Asker,
    trace: &mut Option<traces::Request>,
) -> Result<Answer, ErrorReply> {
    by.trace = trace.as_ref().and_then(traces::Request::context).map(Box::new);
    let outcome = match verb {
        // It reads a file.
        Verb::Reload => reload(context, query, body, &mut by, trace).await,
        _ => command(context, verb, service, query, body, &mut by, trace).await,
    };
    if let Some(trace) = trace {
        let name = &context.identity.name;
        let target = service.map_or_else(|| name.clone(), |service| format!("{name}/{service}"));
        trace.describe(&by, verb.word(), &target);
        if let Err(Refused { reply, .. }) = &outcome {
            trace.came_to("refused", Some(&reply.error.message));
        }
    }
    if let Err(Refused { reply, noted: false }) = &outcome {
        context.audit.note(refusal_entry(context, &by, verb.word(), service, &reply.error.message));
    }
    // Who is answered may rely on what was asked being written down.
    context.audit.settled().await;
    outcome.map_err(|refused| refused.reply)
}

/// The status, with what each tree uses when it is wanted. Reading that takes a while, so it is done off the loop.
pub(super) async fn status_of(context: &Context, target: Target, usage: bool) -> Result<StatusAnswer, ErrorReply> {
    let mut answer = ask(context, |reply| Ask::Status { target, reply }).await?;
    if !usage {
        return Ok(answer);
    }
    let measured = blocking::files().start(move || {
        measure(&mut answer);
        answer
    });
    measured.await.map_err(|_| ended())
}

/// Reads what each tree uses. Blocks: a dozen small files for each tree, or a walk over the process table.
pub(crate) fn measure(answer: &mut StatusAnswer) {
    for (service, instance, tree) in &answer.trees {
        let place = answer.status.services.get_mut(*service).and_then(|it| it.instances.get_mut(*instance));
        if let (Some(place), Ok(usage)) = (place, tree.usage()) {
            place.usage = Some(tutela_schema::api::Usage {
                cpu_seconds: Some(usage.cpu.as_secs_f64()),
                memory_bytes: Some(usage.memory_bytes),
                processes: Some(u64::from(usage.processes)),
                threads: Some(u64::from(usage.threads)),
                open_files: usage.open_files,
            });
        }
    }
}

async fn status(context: &Context, query: &str) -> Result<Answer, ErrorReply> {
    let query: StatusQuery = query_of(query)?;
    let answer = status_of(context, Target::All, query.usage).await?;
    Ok(json(StatusCode::OK, &StatusReply { guards: vec![answer.status] }))
}

async fn service_status(context: &Context, service: Option<&str>) -> Result<Answer, ErrorReply> {
    let answer = status_of(context, target_of(service)?, true).await?;
    let service = answer.into_service().ok_or_else(ended)?;
    Ok(json(StatusCode::OK, &service))
}

/// The body of a request, which may be left out where every part of it may.
pub(super) async fn read_body<T: DeserializeOwned + Default>(body: Incoming) -> Result<T, ErrorReply> {
    let too_slow = |_| ErrorReply::new(ErrorCode::Timeout, "refused: the body did not come in time", None);
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let bytes = match read.map_err(too_slow)? {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("refused: a body has at most {BODY_BYTES_MAX} bytes");
            return Err(ErrorReply::new(ErrorCode::TooLarge, message, None));
        }
        Err(error) => {
            return Err(ErrorReply::new(ErrorCode::BadRequest, format!("refused: the body broke off: {error}"), None));
        }
    };
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| ErrorReply::new(ErrorCode::BadRequest, format!("refused: the body is wrong: {error}"), None))
}

pub(super) fn add_reason(by: &mut Asker, reason: Option<String>) {
    if let Some(reason) = reason {
        // It is shown in terminals and is one line of several logs.
        let plain = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        let reason: String = plain.take(REASON_CHARS_MAX).collect();
        by.by = format!("{}: {reason}", by.by);
        by.reason = Some(reason);
    }
}

async fn command(
    context: &Context,
    verb: Verb,
    service: Option<&str>,
    query: &str,
    body: Incoming,
    by: &mut Asker,
    trace: &mut Option<traces::Request>,
) -> Result<Answer, Refused> {
    let query: CommandQuery = query_of(query)?;
    add_reason(by, read_body::<CommandRequest>(body).await?.reason);
    let target = target_of(service)?;
    let command = match verb {
        Verb::Start => Command::Start(target),
        Verb::Stop => Command::Stop(target),
        Verb::Restart => Command::Restart(target),
        Verb::Pause => Command::Pause(target),
        Verb::Resume => Command::Resume(target),
        Verb::Shutdown => Command::End,
        // It has a way of its own.
        Verb::Reload => return Err(ended().into()),
    };
    let (wait, by) = (query.wait, by.clone());
    let reply = order(context, |reply| Ask::Command { verb, command, by, wait, reply }).await?;
    if let Some(trace) = trace {
        trace.replied(&reply);
    }
    if wait && matches!(verb, Verb::Start | Verb::Stop) {
        // A wish that was answered outlives the guard, whatever ends it.
        let _ = tokio::time::timeout(KEPT_LIMIT, context.ledger.flush()).await;
    }
    Ok(json(if wait { StatusCode::OK } else { StatusCode::ACCEPTED }, &reply))
}

async fn reload(
    context: &Arc<Context>,
    query: &str,
    body: Incoming,
    by: &mut Asker,
    trace: &mut Option<traces::Request>,
) -> Result<Answer, Refused> {
    let query: CommandQuery = query_of(query)?;
    add_reason(by, read_body::<CommandRequest>(body).await?.reason);
    let reply = read_again(context, query.wait, by.clone()).await?;
    if let Some(trace) = trace {
        trace.came_to("done", None);
    }
    Ok(json(if query.wait { StatusCode::OK } else { StatusCode::ACCEPTED }, &reply))
}

/// Reads the spec again, as a HUP does: nobody waits for it, and what came of it is an event either way.
pub async fn reload_now(context: &Arc<Context>, mut by: Asker) {
    let mut trace = traces::Request::of_guard(&context.traces, "guard.reload");
    by.trace = trace.as_ref().and_then(traces::Request::context).map(Box::new);
    let outcome = read_again(context, false, by.clone()).await;
    if let Some(trace) = &mut trace {
        trace.describe(&by, Verb::Reload.word(), &context.identity.name);
        match &outcome {
            Ok(_) => trace.came_to("done", None),
            Err(refused) => trace.came_to("refused", Some(&refused.reply.error.message)),
        }
    }
    if let Err(Refused { reply, noted: false }) = outcome {
        context.audit.note(refusal_entry(context, &by, Verb::Reload.word(), None, &reply.error.message));
    }
}

/// Reads the spec and hands it to the conductor.
async fn read_again(context: &Arc<Context>, wait: bool, by: Asker) -> Result<tutela_schema::api::ReloadReply, Refused> {
    if context.reload.is_none() {
        let message = "refused: this guard keeps a single program and has no spec to read again";
        let help = Some("restart it with another command".into());
        return Err(ErrorReply::new(ErrorCode::Conflict, message, help).into());
    }
    let reader = context.clone();
    let read = blocking::files()
        .start(move || {
            reader.reload.as_ref().map(|reload| {
                let (spec, warnings) = reload()?;
                // Everything that can fail of the way in from the network, before anything changes.
                let prepared = reader.door.prepare(&spec.api).map_err(|refused| {
                    vec![Diagnostic::error(Code::BadAddress, None, refused.message).help(refused.help)]
                })?;
                Ok::<_, Vec<Diagnostic>>((spec, warnings, prepared))
            })
        })
        .await;
    match read {
        Ok(Some(Ok((spec, warnings, prepared)))) => {
            let of_it = spec.clone();
            let spec = Box::new(spec);
            let reply = order(context, |reply| Ask::Reload { spec, warnings, by, wait, reply }).await?;
            context.door.adopt(prepared, context);
            let noted = context.clone();
            // Whoever reads logs without the guard misses a folder; the reload has been carried out all the same.
            let written = blocking::files().start(move || log_folders::write(&noted.state_dir, &of_it)).await;
            if let Ok(Err(error)) = written {
                let _ = context.inbox.try_send(Input::Trouble(crate::hands::spawner::chain(&error)));
            }
            Ok(reply)
        }
        Ok(Some(Err(diagnostics))) => {
            let first = diagnostics.first().map(ToString::to_string).unwrap_or_default();
            let mut reply = ErrorReply::new(
                ErrorCode::SpecRefused,
                format!("refused: the spec is wrong, nothing was changed: {first}"),
                Some("tutela check shows everything that is wrong with it, but an address that cannot be had".into()),
            );
            reply.error.diagnostics = diagnostics.iter().map(Into::into).collect();
            let refusal = Box::new(reply.clone());
            let refused = Ask::ReloadRefused { diagnostics, refusal, by };
            context.inbox.send(Input::Request(refused)).await.map_err(|_| ended())?;
            Err(Refused { reply, noted: true })
        }
        Ok(None) | Err(_) => Err(ended().into()),
    }
}

async fn info(context: &Context) -> Result<Answer, ErrorReply> {
    let status = status_of(context, Target::All, false).await?.status;
    let identity = &context.identity;
    let info = GuardInfo {
        name: identity.name.clone(),
        description: context.description.clone(),
        version: identity.version.to_owned(),
        api: 1,
        pid: identity.pid,
        since: identity.since,
        host: identity.host,
        os: tutela_os::Os::CURRENT.name().to_owned(),
        spec: Some(identity.spec.clone()),
        profile: context.profile.clone(),
        logs_dir: context.log_dir.display().to_string(),
        state_dir: context.state_dir.display().to_string(),
        services: status.services.into_iter().map(|service| service.name).collect(),
        capabilities: identity.capabilities.clone(),
        upgrade: identity.upgrade.get(),
    };
    Ok(json(StatusCode::OK, &info))
}

/// A text body, for metrics.
pub(super) fn text(content_type: &'static str, body: String) -> Answer {
    whole(StatusCode::OK, content_type, body)
}
