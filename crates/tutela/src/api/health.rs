//! `/health`, `/livez` and `/readyz`.

use super::answer::{Answer, json};
use super::serve::{Context, ended, status_of};
use crate::conductor::{Input, Request as Ask, wall_now};
use hyper::StatusCode;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tutela_core::guard::Target;
use tutela_core::health::Overall;
use tutela_os::blocking;
use tutela_os::usage;
use tutela_schema::api::{CheckStatus, ErrorReply, Health, HealthCheck, HealthReply, SinkState, State};

/// A conductor that has not turned within this is told to be unhealthy.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// The same for the thread that writes the logs. It hangs with its disk, and then programs wait at their full pipes.
const PUMP_LIMIT: Duration = Duration::from_secs(2);

/// From here on a disk is worth a warning, and from here on it is about to be full.
const DISK_PERCENT: (f64, f64) = (90.0, 98.0);

/// The same for the computer's memory.
const MEMORY_PERCENT: (f64, f64) = (90.0, 98.0);

fn reply(checks: Vec<HealthCheck>) -> Answer {
    let reply = HealthReply::of(checks, wall_now());
    json(StatusCode::from_u16(reply.http_status()).unwrap_or(StatusCode::OK), &reply)
}

/// Everything: the guard, its ledger, its logs, its disks, every service.
pub(super) async fn health(context: &Context) -> Result<Answer, ErrorReply> {
    let (turn, pump) = tokio::join!(turn(context), pump(context));
    let mut checks = vec![turn, ledger(context), audit(context), pump];
    let (logs, state) = (context.log_dir.clone(), context.state_dir.clone());
    let disks = blocking::files().start(move || {
        let mut checks = vec![disk("disk_state", &state), disk("disk_logs", &logs)];
        checks.push(memory());
        checks
    });
    checks.extend(disks.await.map_err(|_| ended())?.into_iter().flatten());
    checks.extend(services(context, false).await?);
    Ok(reply(checks))
}

/// The guard alone.
pub(super) async fn live(context: &Context) -> Result<Answer, ErrorReply> {
    Ok(reply(vec![turn(context).await]))
}

/// Whether everything that should run is ready. A service that is not is unhealthy here, so that the answer
/// is 503 until all are.
pub(super) async fn ready(context: &Context) -> Result<Answer, ErrorReply> {
    let mut checks = vec![turn(context).await];
    checks.extend(services(context, true).await?);
    Ok(reply(checks))
}

async fn turn(context: &Context) -> HealthCheck {
    let began = Instant::now();
    let (pong, answer) = oneshot::channel();
    let turned = async {
        context.inbox.send(Input::Request(Ask::Ping(pong))).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    };
    let mut check = HealthCheck::new("guard", CheckStatus::Healthy);
    match tokio::time::timeout(TURN_LIMIT, turned).await {
        Ok(Ok(())) => check.latency_ms = Some(began.elapsed().as_secs_f64() * 1000.0),
        Ok(Err(error)) => (check.status, check.message) = (CheckStatus::Unhealthy, Some(error.to_string())),
        Err(_) => {
            check.status = CheckStatus::Unhealthy;
            check.message = Some(format!("the conductor has not turned within {TURN_LIMIT:?}"));
        }
    }
    check
}

fn ledger(context: &Context) -> HealthCheck {
    use std::sync::atomic::Ordering;
    let figures = context.ledger.figures();
    let mut check = HealthCheck::new("ledger", CheckStatus::Healthy);
    let micros = figures.last_commit_micros.load(Ordering::Relaxed);
    check.latency_ms = Some(micros as f64 / 1000.0);
    let error = figures.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if !error.is_empty() {
        check.status = CheckStatus::Warning;
        check.message = Some(format!("events cannot be written down: {error}"));
    }
    check
}

/// A guard that cannot write down who did what still does it.
fn audit(context: &Context) -> HealthCheck {
    let mut check = HealthCheck::new("audit", CheckStatus::Healthy);
    if let Some(error) = context.audit.figures().failure() {
        check.status = CheckStatus::Warning;
        check.message = Some(format!("the audit record cannot be written: {error}"));
    }
    check
}

async fn pump(context: &Context) -> HealthCheck {
    let began = Instant::now();
    let mut check = HealthCheck::new("logs", CheckStatus::Healthy);
    match context.pump.stall(PUMP_LIMIT).await {
        None => check.latency_ms = Some(began.elapsed().as_secs_f64() * 1000.0),
        Some(stall) => {
            check.status = CheckStatus::Warning;
            let at = match (stall.file, stall.label) {
                (Some(file), _) => format!(", at {}", file.display()),
                (None, Some(label)) => format!(", at the output of {label}"),
                (None, None) => String::new(),
            };
            let since = stall.since.as_secs();
            check.message = Some(format!(
                "the log thread has not answered for {since} s{at}; programs wait when their pipes are full"
            ));
        }
    }
    check
}

fn disk(name: &str, path: &Path) -> Option<HealthCheck> {
    // A log folder is made with its first line; until then its parent says how full its disk will be.
    let there = path.ancestors().find(|folder| folder.exists())?;
    let used = usage::disk(there).ok()?.used_percent();
    Some(percent(name, used, DISK_PERCENT))
}

fn memory() -> Option<HealthCheck> {
    Some(percent("memory", usage::host().ok()?.memory_used_percent(), MEMORY_PERCENT))
}

fn percent(name: &str, used: f64, (warning, unhealthy): (f64, f64)) -> HealthCheck {
    let status = match used {
        used if used >= unhealthy => CheckStatus::Unhealthy,
        used if used >= warning => CheckStatus::Warning,
        _ => CheckStatus::Healthy,
    };
    let mut check = HealthCheck::new(name, status);
    check.used_percent = Some((used * 10.0).round() / 10.0);
    check
}

async fn services(context: &Context, strictly: bool) -> Result<Vec<HealthCheck>, ErrorReply> {
    let status = status_of(context, Target::All, false).await?.status;
    let mut checks = Vec::new();
    // A service is ready without its sinks: what they do not bring now waits in the files.
    for sink in status.sinks.iter().filter(|_| !strictly) {
        let mut check = HealthCheck::new(format!("sink:{}", sink.name), CheckStatus::Healthy);
        if sink.state == SinkState::Failing {
            check.status = CheckStatus::Warning;
            check.message = sink.last_error.clone();
        }
        checks.push(check);
    }
    for service in status.services {
        // What is down because somebody wants it down is no trouble.
        if service.state == State::Stopped {
            continue;
        }
        let overall = Overall::of(match service.health {
            Health::Up => tutela_core::health::Health::Up,
            Health::Unknown => tutela_core::health::Health::Unknown,
            Health::OutOfService => tutela_core::health::Health::OutOfService,
            Health::Degraded => tutela_core::health::Health::Degraded,
            Health::Down => tutela_core::health::Health::Down,
        });
        let status = match (overall, strictly, service.health) {
            (Overall::Healthy, _, _) => CheckStatus::Healthy,
            (Overall::Warning, true, Health::Unknown | Health::OutOfService) => CheckStatus::Unhealthy,
            (Overall::Warning, _, _) => CheckStatus::Warning,
            (Overall::Unhealthy, _, _) => CheckStatus::Unhealthy,
        };
        let mut check = HealthCheck::new(format!("service:{}", service.name), status);
        if status != CheckStatus::Healthy {
            let worst = service.instances.iter().find(|instance| instance.health != Health::Up);
            check.message = worst.map(|instance| format!("{} {}: {}", instance.id, instance.state, instance.cause));
        }
        let latencies = service.instances.iter().flat_map(|it| &it.probes).filter_map(|probe| probe.latency_ms);
        check.latency_ms = latencies.fold(None, |worst, next| Some(worst.map_or(next, |worst: f64| worst.max(next))));
        checks.push(check);
    }
    Ok(checks)
}
