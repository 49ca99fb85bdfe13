//! Waits on for a command whose guard went before it had answered: another one takes its place, or it was killed, and what
//! was asked goes on under the next one. Only looked at, never asked again: somebody else may have asked for the opposite
//! meanwhile.

use super::command::Target;
use super::{Code, block_on};
use crate::client::{Client, ClientError};
use std::time::{Duration, Instant};
use tutela_schema::api::{
    CommandReply, GuardStatus, InstanceOutcome, InstanceStatus, Outcome, State, StatusReply, Verb,
};
use tutela_schema::wall::WallTime;

/// As long as a guard itself keeps somebody waiting.
const WAIT_LIMIT: Duration = Duration::from_secs(600);

/// How long the next guard may take to be there: one that is begun by hand or by a service manager.
const GUARD_WAIT: Duration = Duration::from_secs(15);

/// How long nothing may move before what there is counts as all that comes: a guard has by then gone on with what the one
/// before it had begun.
const STILL_WAIT: Duration = Duration::from_secs(2);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    AsAsked,
    Moving,
    Otherwise,
}

/// Whether the status shows what became of such a command.
pub(super) fn is_told_by_status(verb: Verb) -> bool {
    matches!(verb, Verb::Start | Verb::Stop | Verb::Restart)
}

/// `began`: when it was asked.
pub(super) fn wait_on(
    verb: Verb,
    target: &Target,
    client: &Client,
    began: WallTime,
) -> Result<Result<CommandReply, ClientError>, Code> {
    let start = Instant::now();
    let (mut heard, mut moved) = (start, start);
    loop {
        match block_on(client.get::<StatusReply>("/v1/status"))? {
            Ok(reply) => {
                heard = Instant::now();
                let seen = seen(verb, target, reply.guards, began);
                if seen.iter().any(|(_, sight)| *sight == Sight::Moving) {
                    moved = heard;
                }
                let is_done = !seen.is_empty() && seen.iter().all(|(_, sight)| *sight == Sight::AsAsked);
                if is_done || moved.elapsed() >= STILL_WAIT || start.elapsed() >= WAIT_LIMIT {
                    let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Ok(Ok(outcome(verb, seen, took_ms)));
                }
            }
            Err(ClientError::NoGuard { .. } | ClientError::Failed { .. }) if heard.elapsed() < GUARD_WAIT => {
                moved = Instant::now();
            }
            Err(error) => return Ok(Err(error)),
        }
        std::thread::sleep(LOOK);
    }
}

/// Those that were asked for. Of a whole guard not those that nobody wants up: only the guard knows them, and has not said.
fn seen(verb: Verb, target: &Target, guards: Vec<GuardStatus>, began: WallTime) -> Vec<(InstanceStatus, Sight)> {
    let is_meant = |it: &InstanceStatus| match &target.service {
        Some(wanted) if wanted.contains(':') => it.id == *wanted,
        Some(wanted) => it.id.split(':').next() == Some(wanted),
        None => verb == Verb::Stop || it.state != State::Stopped,
    };
    let all = guards.into_iter().flat_map(|guard| guard.services).flat_map(|service| service.instances);
    all.filter(is_meant).map(|it| (sight(verb, it.state, it.since, began), it)).map(|(sight, it)| (it, sight)).collect()
}

fn sight(verb: Verb, state: State, since: WallTime, began: WallTime) -> Sight {
    match (verb, state) {
        (Verb::Stop, State::Stopped | State::Done | State::Failed) => Sight::AsAsked,
        (_, State::Stopping) => Sight::Moving,
        (Verb::Stop, _) => Sight::Otherwise,
        (Verb::Restart, State::Running | State::Done) if since < began => Sight::Otherwise,
        (_, State::Running | State::Done) => Sight::AsAsked,
        (_, State::Starting | State::Waiting) => Sight::Moving,
        (_, State::Stopped | State::Failed | State::Backoff | State::Cooldown) => Sight::Otherwise,
    }
}

fn outcome(command: Verb, seen: Vec<(InstanceStatus, Sight)>, took_ms: u64) -> CommandReply {
    let mut services: Vec<String> =
        seen.iter().filter_map(|(it, _)| it.id.split(':').next().map(str::to_owned)).collect();
    services.dedup();
    let of = |(it, sight): (InstanceStatus, Sight)| {
        let (outcome, message) = match sight {
            Sight::AsAsked => (Outcome::Done, it.cause),
            Sight::Moving | Sight::Otherwise => {
                (Outcome::Failed, format!("{}; the guard that was asked went before it had answered", it.cause))
            }
        };
        InstanceOutcome { id: it.id, outcome, state: it.state, message: Some(message), survivors: Vec::new() }
    };
    CommandReply { command, services, instances: seen.into_iter().map(of).collect(), took_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_from_what_ran_before_it_and_a_stop_by_rest() {
        let (before, began, after) =
            (WallTime::from_unix_millis(1), WallTime::from_unix_millis(2), WallTime::from_unix_millis(3));
        let of = |verb, state, since| sight(verb, state, since, began);
        assert_eq!(of(Verb::Restart, State::Running, before), Sight::Otherwise);
        assert_eq!(of(Verb::Restart, State::Running, after), Sight::AsAsked);
        assert_eq!(of(Verb::Restart, State::Stopping, after), Sight::Moving);
        assert_eq!(of(Verb::Start, State::Running, before), Sight::AsAsked);
        assert_eq!(of(Verb::Start, State::Backoff, after), Sight::Otherwise);
        assert_eq!(of(Verb::Stop, State::Running, after), Sight::Otherwise);
        assert_eq!(of(Verb::Stop, State::Stopping, after), Sight::Moving);
        assert_eq!(of(Verb::Stop, State::Stopped, before), Sight::AsAsked);
    }
}
