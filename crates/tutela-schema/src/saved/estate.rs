//! What a guard leaves in memory for the one after it: the estate of each instance, and what its program was started
//! with. As text (JSON), one for each instance and kind.
//!
//! Such text lives no longer than the computer's boot, so moments are nanoseconds of [`tutela_core::time::Moment`]'s own
//! axis. It crosses versions, though, in both directions, when a guard's program is exchanged under running programs: keys
//! that are not known are passed over, keys that are missing have the value that changes least, and words that are not
//! known refuse the one text, whose program is then ended and started anew.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tutela_core::names::{InstanceId, RunId, ServiceName};
use tutela_core::probe::Verdict;
use tutela_core::service::{
    Afterwards, Estate, Exit, History, KeptVerdict, Phase, ProbeRole, RestartCause, RestartTally, StartStep, Then,
};
use tutela_core::stamp::Stamps;
use tutela_core::time::Moment;

/// The text of an estate.
pub fn encode_estate(estate: &Estate) -> Vec<u8> {
    text(&SavedEstate::from(estate))
}

/// Reads it.
///
/// # Errors
/// It is damaged, or says something that this version does not know; in words.
pub fn decode_estate(text: &[u8]) -> Result<Estate, String> {
    serde_json::from_slice::<SavedEstate>(text).map(Estate::from).map_err(|error| error.to_string())
}

/// The text of what a program was started with.
pub fn encode_stamps(stamps: &Stamps) -> Vec<u8> {
    text(&SavedStamps { keys: stamps.keys.clone(), env: stamps.env.clone() })
}

fn text(saved: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists only: there is no value that JSON cannot hold.
    let mut text = serde_json::to_vec(saved).unwrap_or_default();
    // It is kept for as long as its program lives, a thousand times in a large guard.
    text.shrink_to_fit();
    text
}

/// Reads it.
///
/// # Errors
/// It is damaged; in words.
pub fn decode_stamps(text: &[u8]) -> Result<Stamps, String> {
    serde_json::from_slice::<SavedStamps>(text)
        .map(|SavedStamps { keys, env }| Stamps { keys, env })
        .map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
struct SavedStamps {
    #[serde(default)]
    keys: BTreeMap<String, u64>,
    #[serde(default)]
    env: BTreeMap<String, (u64, bool)>,
}

#[derive(Serialize, Deserialize)]
struct SavedEstate {
    run: u64,
    wanted_up: bool,
    #[serde(default)]
    asked_down: bool,
    phase: SavedPhase,
    since: u64,
    #[serde(default)]
    cause: String,
    pid: Option<u32>,
    started: u64,
    ran: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    restarts: u64,
    #[serde(default)]
    restarts_by: BTreeMap<String, u64>,
    #[serde(default)]
    in_a_row: u32,
    #[serde(default)]
    recent: Vec<u64>,
    cooldown_until: Option<u64>,
    #[serde(default)]
    half_open: bool,
    last_exit: Option<(SavedEnd, u64)>,
    #[serde(default)]
    status_text: String,
    #[serde(default)]
    verdicts: Vec<SavedVerdict>,
    #[serde(default)]
    then: SavedThen,
    #[serde(default)]
    then_because: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedPhase {
    Stopped,
    Waiting,
    Starting { until: Option<u64>, step: SavedStep },
    Running { half_open_until: Option<u64> },
    Stopping { after: SavedAfter, rung: Option<(usize, u64)> },
    Backoff { until: u64 },
    Cooldown { until: u64 },
    Failed,
    Done,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedStep {
    Hooks,
    Spawning,
    Startup,
    Ready,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedAfter {
    Stop,
    Restart,
    Judge(SavedEnd),
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum SavedThen {
    #[default]
    Keep,
    Begin,
    Restart,
    Remove,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedEnd {
    Code(i32),
    Signal { number: i32, name: String, core_dumped: bool, oom: bool },
    NotStarted(String),
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct SavedVerdict {
    role: String,
    name: String,
    verdict: SavedWord,
    #[serde(default)]
    since: u64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    told_early: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedWord {
    Unknown,
    Pass,
    Fail,
}

fn nanos(moment: Option<Moment>) -> Option<u64> {
    moment.map(Moment::as_nanos)
}

fn moment(nanos: Option<u64>) -> Option<Moment> {
    nanos.map(Moment::from_nanos)
}

impl From<&Estate> for SavedEstate {
    fn from(estate: &Estate) -> Self {
        let Estate {
            run,
            wanted_up,
            asked_down,
            phase,
            since,
            cause,
            pid,
            started,
            ran,
            paused,
            history,
            last_exit,
            status_text,
            verdicts,
            then,
            then_because,
        } = estate;
        let History { restarts, by_cause, in_a_row, recent, cooldown_until, half_open } = history;
        SavedEstate {
            run: run.0,
            wanted_up: *wanted_up,
            asked_down: *asked_down,
            phase: phase.into(),
            since: since.as_nanos(),
            cause: cause.clone(),
            pid: *pid,
            started: started.as_nanos(),
            ran: *ran,
            paused: *paused,
            restarts: *restarts,
            restarts_by: RestartCause::ALL
                .iter()
                .map(|cause| (cause.word().to_owned(), by_cause.of(*cause)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            in_a_row: *in_a_row,
            recent: recent.iter().map(|at| at.as_nanos()).collect(),
            cooldown_until: nanos(*cooldown_until),
            half_open: *half_open,
            last_exit: last_exit.as_ref().map(|(exit, at)| (exit.into(), at.as_nanos())),
            status_text: status_text.clone(),
            verdicts: verdicts.iter().map(SavedVerdict::from).collect(),
            then: match then {
                Then::Keep => SavedThen::Keep,
                Then::Begin => SavedThen::Begin,
                Then::Restart => SavedThen::Restart,
                Then::Remove => SavedThen::Remove,
            },
            then_because: then_because.clone(),
        }
    }
}

impl From<SavedEstate> for Estate {
    fn from(saved: SavedEstate) -> Self {
        let mut by_cause = RestartTally::default();
        for cause in RestartCause::ALL {
            by_cause.restore(cause, saved.restarts_by.get(cause.word()).copied().unwrap_or(0));
        }
        Estate {
            run: RunId(saved.run),
            wanted_up: saved.wanted_up,
            asked_down: saved.asked_down,
            phase: saved.phase.into(),
            since: Moment::from_nanos(saved.since),
            cause: saved.cause,
            pid: saved.pid,
            started: Moment::from_nanos(saved.started),
            ran: saved.ran,
            paused: saved.paused,
            history: History {
                restarts: saved.restarts,
                by_cause,
                in_a_row: saved.in_a_row,
                recent: saved.recent.into_iter().map(Moment::from_nanos).collect(),
                cooldown_until: moment(saved.cooldown_until),
                half_open: saved.half_open,
            },
            last_exit: saved.last_exit.map(|(exit, at)| (exit.into(), Moment::from_nanos(at))),
            status_text: saved.status_text,
            // A role that is not known is of a probe that this version cannot ask.
            verdicts: saved.verdicts.into_iter().filter_map(SavedVerdict::known).collect(),
            then: match saved.then {
                SavedThen::Keep => Then::Keep,
                SavedThen::Begin => Then::Begin,
                SavedThen::Restart => Then::Restart,
                SavedThen::Remove => Then::Remove,
            },
            then_because: saved.then_because,
        }
    }
}

impl From<&Phase> for SavedPhase {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Stopped => SavedPhase::Stopped,
            Phase::Waiting => SavedPhase::Waiting,
            Phase::Starting { until, step } => SavedPhase::Starting {
                until: nanos(*until),
                step: match step {
                    StartStep::Hooks => SavedStep::Hooks,
                    StartStep::Spawning => SavedStep::Spawning,
                    StartStep::Startup => SavedStep::Startup,
                    StartStep::Ready => SavedStep::Ready,
                },
            },
            Phase::Running { half_open_until } => SavedPhase::Running { half_open_until: nanos(*half_open_until) },
            Phase::Stopping { after, rung } => SavedPhase::Stopping {
                after: match after {
                    Afterwards::Stop => SavedAfter::Stop,
                    Afterwards::Restart => SavedAfter::Restart,
                    Afterwards::Judge(exit) => SavedAfter::Judge(exit.into()),
                },
                rung: rung.map(|(number, until)| (number, until.as_nanos())),
            },
            Phase::Backoff { until } => SavedPhase::Backoff { until: until.as_nanos() },
            Phase::Cooldown { until } => SavedPhase::Cooldown { until: until.as_nanos() },
            Phase::Failed => SavedPhase::Failed,
            Phase::Done => SavedPhase::Done,
        }
    }
}

impl From<SavedPhase> for Phase {
    fn from(saved: SavedPhase) -> Self {
        match saved {
            SavedPhase::Stopped => Phase::Stopped,
            SavedPhase::Waiting => Phase::Waiting,
            SavedPhase::Starting { until, step } => Phase::Starting {
                until: moment(until),
                step: match step {
                    SavedStep::Hooks => StartStep::Hooks,
                    SavedStep::Spawning => StartStep::Spawning,
                    SavedStep::Startup => StartStep::Startup,
                    SavedStep::Ready => StartStep::Ready,
                },
            },
            SavedPhase::Running { half_open_until } => Phase::Running { half_open_until: moment(half_open_until) },
            SavedPhase::Stopping { after, rung } => Phase::Stopping {
                after: match after {
                    SavedAfter::Stop => Afterwards::Stop,
                    SavedAfter::Restart => Afterwards::Restart,
                    SavedAfter::Judge(exit) => Afterwards::Judge(exit.into()),
                },
                rung: rung.map(|(number, until)| (number, Moment::from_nanos(until))),
            },
            SavedPhase::Backoff { until } => Phase::Backoff { until: Moment::from_nanos(until) },
            SavedPhase::Cooldown { until } => Phase::Cooldown { until: Moment::from_nanos(until) },
            SavedPhase::Failed => Phase::Failed,
            SavedPhase::Done => Phase::Done,
        }
    }
}

impl From<&Exit> for SavedEnd {
    fn from(exit: &Exit) -> Self {
        match exit {
            Exit::Code(code) => SavedEnd::Code(*code),
            Exit::Signal { number, name, core_dumped, oom } => {
                SavedEnd::Signal { number: *number, name: name.clone(), core_dumped: *core_dumped, oom: *oom }
            }
            Exit::NotStarted(reason) => SavedEnd::NotStarted(reason.clone()),
            Exit::Unknown => SavedEnd::Unknown,
        }
    }
}

impl From<SavedEnd> for Exit {
    fn from(saved: SavedEnd) -> Self {
        match saved {
            SavedEnd::Code(code) => Exit::Code(code),
            SavedEnd::Signal { number, name, core_dumped, oom } => Exit::Signal { number, name, core_dumped, oom },
            SavedEnd::NotStarted(reason) => Exit::NotStarted(reason),
            SavedEnd::Unknown => Exit::Unknown,
        }
    }
}

const ROLES: [ProbeRole; 4] = [ProbeRole::Startup, ProbeRole::Ready, ProbeRole::Live, ProbeRole::Dependency];

impl From<&KeptVerdict> for SavedVerdict {
    fn from(kept: &KeptVerdict) -> Self {
        let KeptVerdict { role, name, verdict, since, reason, told_early } = kept;
        SavedVerdict {
            role: role.word().to_owned(),
            name: name.clone(),
            verdict: match verdict {
                Verdict::Unknown => SavedWord::Unknown,
                Verdict::Pass => SavedWord::Pass,
                Verdict::Fail => SavedWord::Fail,
            },
            since: since.as_nanos(),
            reason: reason.clone(),
            told_early: *told_early,
        }
    }
}

impl SavedVerdict {
    fn known(self) -> Option<KeptVerdict> {
        Some(KeptVerdict {
            role: ROLES.into_iter().find(|role| role.word() == self.role)?,
            name: self.name,
            verdict: match self.verdict {
                SavedWord::Unknown => Verdict::Unknown,
                SavedWord::Pass => Verdict::Pass,
                SavedWord::Fail => Verdict::Fail,
            },
            since: Moment::from_nanos(self.since),
            reason: self.reason,
            told_early: self.told_early,
        })
    }
}

/// The key under which an instance's estate is noted.
pub fn estate_key(id: &InstanceId) -> String {
    format!("estate {} {}", id.service, id.index)
}

/// The key under which it is noted what an instance's program was started with.
pub fn stamps_key(id: &InstanceId) -> String {
    format!("stamps {} {}", id.service, id.index)
}

/// Every estate that can be read, and of each of the others why not, in words.
pub fn estates<'a>(
    notes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> (BTreeMap<InstanceId, Estate>, Vec<(InstanceId, String)>) {
    let (mut found, mut unread) = (BTreeMap::new(), Vec::new());
    for (key, text) in notes {
        let mut words = key.split(' ');
        let (Some("estate"), Some(service), Some(index)) = (words.next(), words.next(), words.next()) else { continue };
        let (Ok(service), Ok(index)) = (ServiceName::new(service), index.parse()) else { continue };
        let id = InstanceId { service, index };
        match decode_estate(text) {
            Ok(estate) => drop(found.insert(id, estate)),
            Err(error) => unread.push((id, error)),
        }
    }
    (found, unread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::collections::VecDeque;

    fn estate(phase: Phase) -> Estate {
        let at = Moment::from_millis;
        let mut by_cause = RestartTally::default();
        by_cause.restore(RestartCause::Oom, 4);
        let exit = Exit::Signal { number: 9, name: "SIGKILL".into(), core_dumped: true, oom: false };
        Estate {
            run: RunId(7),
            wanted_up: true,
            asked_down: true,
            phase,
            since: at(1),
            cause: "its ready probe passed".into(),
            pid: Some(17),
            started: at(2),
            ran: true,
            paused: true,
            history: History {
                restarts: 9,
                by_cause,
                in_a_row: 3,
                recent: VecDeque::from([at(3), at(4)]),
                cooldown_until: Some(at(5)),
                half_open: true,
            },
            last_exit: Some((exit, at(6))),
            status_text: "serving".into(),
            verdicts: vec![KeptVerdict {
                role: ProbeRole::Dependency,
                name: "database".into(),
                verdict: Verdict::Fail,
                since: at(7),
                reason: "refused".into(),
                told_early: true,
            }],
            then: Then::Restart,
            then_because: "reload".into(),
        }
    }

    #[test]
    fn an_estate_survives_its_text_in_every_phase() {
        let at = Moment::from_millis;
        let step = |step| Phase::Starting { until: Some(at(9)), step };
        let stopping = |after, rung| Phase::Stopping { after, rung };
        let phases = [
            Phase::Stopped,
            Phase::Waiting,
            step(StartStep::Hooks),
            step(StartStep::Spawning),
            step(StartStep::Startup),
            step(StartStep::Ready),
            Phase::Running { half_open_until: None },
            Phase::Running { half_open_until: Some(at(9)) },
            stopping(Afterwards::Stop, None),
            stopping(Afterwards::Restart, Some((1, at(9)))),
            stopping(Afterwards::Judge(Exit::Code(3)), None),
            stopping(Afterwards::Judge(Exit::NotStarted("why".into())), None),
            stopping(Afterwards::Judge(Exit::Unknown), None),
            Phase::Backoff { until: at(9) },
            Phase::Cooldown { until: at(9) },
            Phase::Failed,
            Phase::Done,
        ];
        for phase in phases {
            let estate = estate(phase);
            assert_eq!(decode_estate(&encode_estate(&estate)).unwrap(), estate);
        }
    }

    #[test]
    fn the_least_and_the_most_that_another_version_may_say_is_read() {
        let least = br#"{"run":1,"wanted_up":true,"phase":"stopped","since":0,"pid":null,"started":0,"ran":false,
            "cooldown_until":null,"last_exit":null}"#;
        let read = decode_estate(least).unwrap();
        assert_eq!((read.run, read.phase, read.then), (RunId(1), Phase::Stopped, Then::Keep));
        let more = br#"{"run":1,"wanted_up":true,"phase":{"running":{"half_open_until":null,"mood":"good"}},"since":0,
            "pid":5,"started":0,"ran":true,"cooldown_until":null,"last_exit":null,"colour":"blue",
            "verdicts":[{"role":"oracle","name":"x","verdict":"pass","told_early":false}]}"#;
        let read = decode_estate(more).unwrap();
        assert_eq!((read.pid, read.verdicts.len()), (Some(5), 0));
    }

    #[test]
    fn damage_and_unknown_words_are_errors_and_never_a_panic() {
        for bad in [&b""[..], b"{", b"[]", b"{}", b"\xff", br#"{"run":1,"phase":"dancing"}"#] {
            assert!(decode_estate(bad).is_err(), "{bad:?}");
            assert!(decode_stamps(b"[").is_err());
        }
    }

    #[test]
    fn stamps_survive_their_text() {
        let stamps = Stamps {
            keys: BTreeMap::from([("command".into(), u64::MAX)]),
            env: BTreeMap::from([("A".into(), (5, true))]),
        };
        assert_eq!(decode_stamps(&encode_stamps(&stamps)).unwrap(), stamps);
    }
}
