//! `tutela status`.

use super::command::Target;
use super::words::StatusWords;
use super::{Code, DONE, FAILED, NOT_RUNNING, UNKNOWN, block_on, install, report};
use crate::client::{ClientError, Reach, TAKEN_BACK};
use std::time::Duration;
use tutela_os::endpoint;
use tutela_os::registration::{Registered, RegisteredState, Start};
use tutela_schema::api::{
    GuardStatus, InstanceStatus, ServiceStatus, SinkDrops, SinkState, SinkStatus, State, StatusReply,
};
use tutela_schema::wall::WallTime;

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long after its last drop a sink has a line of its own. What it dropped at all is in `--json` and the metrics.
const DROPS_SHOWN: Duration = Duration::from_secs(3600);

pub fn status(words: &StatusWords, reach: &Reach) -> Code {
    let target = match words.target.as_deref().map(Target::parse).transpose() {
        Ok(target) => target,
        Err(code) => return code,
    };
    loop {
        let (Heard { reply, whole, left }, down) = match block_on(ask(target.as_ref(), reach)) {
            Ok(Ok(heard)) => {
                let down = if target.is_none() && !reach.is_remote() { all_down(&heard.reply) } else { Vec::new() };
                (heard, down)
            }
            Ok(Err(error @ ClientError::NoGuard { .. })) => match target.as_ref().and_then(down) {
                Some(registered) => (Heard::of_one(StatusReply::default()), vec![registered]),
                None => return report::client_error(&error),
            },
            Ok(Err(error)) => return report::client_error(&error),
            Err(code) => return code,
        };
        let code = if down.is_empty() {
            match select(reply, target.as_ref()) {
                Ok(reply) => show(&reply, whole, &down, &left, words),
                Err(code) => return code,
            }
        } else {
            show(&reply, whole, &down, &left, words)
        };
        if !words.watch || code == FAILED {
            return code;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// A guard that is installed, and that nobody answers for.
fn down(target: &Target) -> Option<Registered> {
    install::installed(&target.guard).map(|(_, registered)| registered)
}

/// Every guard that is installed and not among those that answered.
fn all_down(reply: &StatusReply) -> Vec<Registered> {
    let mut all = install::all_installed();
    all.retain(|registered| !reply.guards.iter().any(|guard| guard.name == registered.name));
    all
}

/// What guards answered.
struct Heard {
    reply: StatusReply,
    /// Whether everybody who was asked answered.
    whole: bool,
    /// Guards that are not there and have left what runs on.
    left: Vec<String>,
}

impl Heard {
    fn of_one(reply: StatusReply) -> Heard {
        Heard { reply, whole: true, left: Vec::new() }
    }
}

async fn ask(target: Option<&Target>, reach: &Reach) -> Result<Heard, ClientError> {
    let path = "/v1/status?usage=true";
    if let Some(target) = target {
        return reach.client(&target.guard).get(path).await.map(Heard::of_one);
    }
    if reach.is_remote() {
        return reach.client("").get(path).await.map(Heard::of_one);
    }
    let mut heard = Heard::of_one(StatusReply::default());
    let guards = endpoint::list(&reach.paths).unwrap_or_else(|error| {
        report::error(&crate::hands::spawner::chain(&error), None);
        heard.whole = false;
        Vec::new()
    });
    for found in guards {
        let guard = reach.client(&found.name);
        if found.pid.is_none() && !guard.is_left() {
            continue;
        }
        match guard.get::<StatusReply>(path).await {
            Ok(reply) => heard.reply.guards.extend(reply.guards),
            Err(ClientError::NoGuard { name, is_left: true, .. }) => heard.left.push(name),
            // One that ended meanwhile, or is another account's, is none of those that can be shown.
            Err(ClientError::NoGuard { .. } | ClientError::NotAllowed { .. }) => {}
            Err(error) => {
                report::error(&error.to_string(), error.help().as_deref());
                heard.whole = false;
            }
        }
    }
    Ok(heard)
}

/// Keeps what was asked for.
fn select(mut reply: StatusReply, target: Option<&Target>) -> Result<StatusReply, Code> {
    let Some(wanted) = target.and_then(|target| target.service.as_deref()) else { return Ok(reply) };
    let (service, instance) = match wanted.split_once(':') {
        Some((service, _)) => (service, Some(wanted)),
        None => (wanted, None),
    };
    let mut names = Vec::new();
    for guard in &mut reply.guards {
        names.extend(guard.services.iter().map(|service| service.name.clone()));
        guard.services.retain(|it| it.name == service);
        if let Some(instance) = instance {
            guard.services.iter_mut().for_each(|it| it.instances.retain(|it| it.id == instance));
        }
    }
    if reply.guards.iter().flat_map(|guard| &guard.services).all(|service| service.instances.is_empty()) {
        report::error(
            &format!("refused: there is no {wanted} here"),
            Some(&format!("there are: {}", names.join(", "))),
        );
        return Err(UNKNOWN);
    }
    Ok(reply)
}

fn show(reply: &StatusReply, whole: bool, down: &[Registered], left: &[String], words: &StatusWords) -> Code {
    let named = words.target.is_some();
    let text = if words.json {
        format!("{}\n", with_installed(reply, down))
    } else {
        let clear = if words.watch { "\x1b[2J\x1b[H" } else { "" };
        format!("{clear}{}{}", render(reply), render_down(down, !reply.guards.is_empty()))
    };
    if !report::print(&text) {
        return FAILED;
    }
    if !whole {
        return FAILED;
    }
    if let Some(text) = absent(left, reply.guards.is_empty() && down.is_empty()).filter(|_| !words.json) {
        report::tell(&text);
    }
    let runs = |state: State| matches!(state, State::Running | State::Done);
    let mut instances = reply.guards.iter().flat_map(|guard| &guard.services).flat_map(|it| &it.instances);
    let all = words.target.as_deref().is_some_and(|target| target.contains('/'));
    let up = if all { instances.all(|it| runs(it.state)) } else { instances.any(|it| runs(it.state)) };
    if named && !up { NOT_RUNNING } else { DONE }
}

/// What is said of guards that are not there, but have left something; or of none at all.
fn absent(left: &[String], is_empty: bool) -> Option<String> {
    match left {
        [] => is_empty.then(|| "no guard runs here; `tutela run SPEC` starts one".to_owned()),
        [name] => Some(format!("the guard {name} does not run, but what it kept runs on; {TAKEN_BACK}")),
        names => {
            Some(format!("guards that do not run, but what they kept runs on: {}; {TAKEN_BACK}", names.join(", ")))
        }
    }
}

fn render(reply: &StatusReply) -> String {
    let now = crate::conductor::wall_now();
    let mut out = String::new();
    for guard in &reply.guards {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&head(guard, now));
        let rows: Vec<Vec<String>> = guard
            .services
            .iter()
            .flat_map(|service| service.instances.iter().map(move |instance| row(service, instance, now)))
            .collect();
        let head = ["SERVICE", "STATE", "HEALTH", "PID", "SINCE", "RESTARTS", "CPU", "MEMORY", "WHY"];
        out.push_str(&report::table(&head, &rows));
        for sink in &guard.sinks {
            out.push_str(&unwell(sink, now).unwrap_or_default());
        }
    }
    out
}

/// A line about a sink that does not get through, or has dropped something within the last hour.
fn unwell(sink: &SinkStatus, now: WallTime) -> Option<String> {
    let SinkDrops { overflow, lost, refused } = sink.dropped;
    let mut words = Vec::new();
    if sink.state == SinkState::Failing {
        let error = sink.last_error.as_deref().unwrap_or_default();
        words.push(format!("failing for {}: {error}", span(sink.since, now)));
        if sink.backlog_bytes > 0 {
            words.push(format!("{} behind", size(sink.backlog_bytes)));
        }
    }
    if let Some(last) = sink.last_drop.filter(|last| now.minus(DROPS_SHOWN) < *last) {
        let parts = [(overflow, "too far behind"), (lost, "files gone unread"), (refused, "refused by the receiver")];
        let parts = parts.iter().filter(|(lines, _)| *lines > 0).map(|(lines, why)| format!("{lines} {why}"));
        let parts = parts.collect::<Vec<_>>().join(", ");
        words.push(format!("lines dropped so far: {parts}; the last {} ago", span(last, now)));
    }
    (!words.is_empty()).then(|| format!("sink {} ({})  {}\n", sink.name, sink.way, words.join("; ")))
}

/// Guards that are installed and do not run, as their service manager has them.
fn render_down(down: &[Registered], after_others: bool) -> String {
    let mut out = String::new();
    for (at, guard) in down.iter().enumerate() {
        if at > 0 || after_others {
            out.push('\n');
        }
        let code = guard.exit_code.map(|code| format!(", last exit code {code}")).unwrap_or_default();
        let next = match guard.state {
            RegisteredState::Running => {
                "its service manager says that it runs, and it does not answer this account".into()
            }
            RegisteredState::Starting | RegisteredState::Stopping | RegisteredState::Paused => {
                "it does not answer".into()
            }
            RegisteredState::Leaving => "it is marked for deletion".to_owned(),
            RegisteredState::Stopped | RegisteredState::Failed => match guard.start {
                Start::Auto | Start::Delayed => "it starts with the computer; `tutela start` starts it now".into(),
                Start::Manual => "`tutela start` starts it".into(),
                Start::Disabled => "it is disabled".into(),
            },
        };
        out.push_str(&format!("{}  installed, {}{code}; {next}\n", guard.name, state_word(guard.state)));
    }
    out
}

fn state_word(state: RegisteredState) -> &'static str {
    match state {
        RegisteredState::Stopped => "stopped",
        RegisteredState::Starting => "starting",
        RegisteredState::Running => "running",
        RegisteredState::Stopping => "stopping",
        RegisteredState::Paused => "paused",
        RegisteredState::Failed => "failed",
        RegisteredState::Leaving => "leaving",
    }
}

/// What guards say of themselves, and beside it what the service manager says of those that do not run.
fn with_installed(reply: &StatusReply, down: &[Registered]) -> serde_json::Value {
    let mut value = serde_json::to_value(reply).unwrap_or_default();
    let start = |start| match start {
        Start::Auto => "auto",
        Start::Delayed => "delayed",
        Start::Manual => "manual",
        Start::Disabled => "disabled",
    };
    let installed: Vec<_> = down
        .iter()
        .map(|it| {
            serde_json::json!({
                "name": it.name, "state": state_word(it.state), "start": start(it.start), "account": it.account,
                "place": it.place, "exit_code": it.exit_code,
            })
        })
        .collect();
    if let (Some(fields), false) = (value.as_object_mut(), installed.is_empty()) {
        fields.insert("installed".into(), installed.into());
    }
    value
}

fn head(guard: &GuardStatus, now: WallTime) -> String {
    let host = serde_json::to_value(guard.host).ok().and_then(|host| host.as_str().map(str::to_owned));
    format!(
        "{}  tutela {}, pid {}, up {}, {}\n",
        guard.name,
        guard.version,
        guard.pid,
        span(guard.since, now),
        host.unwrap_or_default()
    )
}

fn row(service: &ServiceStatus, instance: &InstanceStatus, now: WallTime) -> Vec<String> {
    let name = if service.instances.len() == 1 { service.name.clone() } else { instance.id.clone() };
    let dash = || "-".to_owned();
    let usage = instance.usage;
    let mut why = instance.cause.clone();
    if let Some(text) = &instance.status_text {
        why.push_str(&format!(" ({text})"));
    }
    if let Some(next) = &instance.next {
        match next.at {
            Some(at) if at > now => why.push_str(&format!("; {} in {}", next.what, span(now, at))),
            Some(_) => why.push_str(&format!("; {} now", next.what)),
            None => why.push_str(&format!("; {}", next.what)),
        }
    }
    for probe in instance.probes.iter().filter(|probe| probe.last_error.is_some()) {
        if probe.verdict != tutela_schema::api::Verdict::Pass {
            let error = probe.last_error.as_deref().unwrap_or_default();
            why.push_str(&format!("; {}: {error}", probe.name));
        }
    }
    vec![
        name,
        instance.state.word().to_owned(),
        instance.health.word().to_owned(),
        instance.pid.map_or_else(dash, |pid| pid.to_string()),
        span(instance.since, now),
        instance.restarts.to_string(),
        usage.and_then(|usage| usage.cpu_seconds).map_or_else(dash, |cpu| format!("{cpu:.1}s")),
        usage.and_then(|usage| usage.memory_bytes).map_or_else(dash, size),
        why,
    ]
}

/// How long it is from `from` to `to`, in one unit.
pub(super) fn span(from: WallTime, to: WallTime) -> String {
    let seconds = to.unix_millis().saturating_sub(from.unix_millis()).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number of bytes, in the unit that leaves one to four digits before the point.
pub(super) fn size(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{kib:.1} KiB"),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", kib / 1024.0),
        _ => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    fn at(millis: i64) -> WallTime {
        WallTime::from_unix_millis(1_795_209_825_000 + millis)
    }

    fn sink(state: SinkState) -> SinkStatus {
        SinkStatus {
            name: "central".to_owned(),
            way: "syslog".to_owned(),
            state,
            since: at(0),
            records: 7,
            bytes: 700,
            left_out: 0,
            dropped: SinkDrops::default(),
            last_drop: None,
            backlog_bytes: 0,
            last_error: None,
            last_delivery: None,
        }
    }

    #[test]
    fn a_sink_is_shown_while_it_fails_and_for_an_hour_after_it_dropped_something() {
        let mut failing = sink(SinkState::Failing);
        failing.last_error = Some("failed to connect to 192.0.2.1:601: connection refused".to_owned());
        let wanted = "sink central (syslog)  failing for 5s: failed to connect to 192.0.2.1:601: connection refused";
        assert_eq!(unwell(&failing, at(5 * SECOND)), Some(format!("{wanted}\n")));
        failing.backlog_bytes = 300;
        assert_eq!(unwell(&failing, at(5 * SECOND)), Some(format!("{wanted}; 300 B behind\n")));
        let mut dropping = sink(SinkState::Up);
        assert_eq!(unwell(&dropping, at(0)), None);
        dropping.dropped = SinkDrops { overflow: 12, lost: 0, refused: 3 };
        assert_eq!(unwell(&dropping, at(0)), None, "an earlier guard's drops are history");
        dropping.last_drop = Some(at(0));
        let wanted = "sink central (syslog)  lines dropped so far: 12 too far behind, 3 refused by the receiver; \
                      the last 60s ago\n";
        assert_eq!(unwell(&dropping, at(60 * SECOND)).as_deref(), Some(wanted));
        assert_eq!(unwell(&dropping, at(3601 * SECOND)), None);
    }

    #[test]
    fn a_size_is_never_shown_as_nothing() {
        let sizes = [0, 1023, 1024, 1_048_575, 1_048_576, 5 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1024.0 KiB", "1.0 MiB", "5.0 GiB"]);
    }
}
