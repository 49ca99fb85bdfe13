//! One record of what happened: in the ledger, in `tutela events --json`, and in the API's event stream.
//!
//! A record is written once and never changed. It says what happened twice: for programs in [`EventRecord::kind`]
//! and [`EventRecord::data`], for people in [`EventRecord::message`]. Readers must take kinds and data that they do
//! not know: both only ever grow. Deliberately absent: what was decided because of it; that is the next event.

use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The version of [`EventRecord`] that is written. It grows only when a field changes its meaning.
pub const EVENT_VERSION: u32 = 1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// The version of this record's form.
    pub v: u32,
    /// Its number in this guard's ledger: grows by one, never used again, not even by the guard's next life.
    pub seq: u64,
    /// When it happened.
    pub at: WallTime,
    /// What happened.
    pub kind: EventKind,
    /// The service it is about; null: the guard as a whole.
    pub service: Option<String>,
    /// Which copy of the service; null: all of them.
    pub instance: Option<u16>,
    /// Which life of the instance's program: grows with every start.
    pub run: Option<u64>,
    /// One line for people.
    pub message: String,
    /// Facts for programs; which ones depends on the kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Value>,
}

impl EventRecord {
    /// A record of the current version about the guard as a whole.
    pub fn new(seq: u64, at: WallTime, kind: EventKind, message: impl Into<String>) -> Self {
        EventRecord {
            v: EVENT_VERSION,
            seq,
            at,
            kind,
            service: None,
            instance: None,
            run: None,
            message: message.into(),
            data: BTreeMap::new(),
        }
    }

    /// The same record with one more fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

/// The kinds of events. A word once given keeps its meaning; further ones come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The guard began its work. Data: `version`, `pid`, `spec`.
    GuardStarted,
    /// The guard has stopped everything.
    GuardStopped,
    /// A changed spec is in force. Data: `added`, `removed`, `restarted`, `adjusted`.
    Reloaded,
    /// A changed spec was refused; nothing changed. Data: `diagnostics`.
    ReloadRefused,
    /// An operator asked for something. Data: `command`, `by`.
    Commanded,
    /// An instance has another state. Data: `from`, `to`, `cause`.
    StateChanged,
    /// A program was started. Data: `pid`.
    Started,
    /// A guard goes on with what an earlier one that ended without its programs left. Data: `pid`, `state`.
    TakenBack,
    /// Another program has taken the guard's place, and everything runs on. Data: `from`, `to`, `program`, `unwatched_ms`,
    /// `not_kept`.
    Upgraded,
    /// Another program was to take the guard's place and did not; the former one goes on. Data: `from`, `to`, `program`,
    /// `error`, `unwatched_ms`, `not_kept`.
    UpgradeFailed,
    /// A program could not be started. Data: `error`.
    StartFailed,
    /// A program can do its work. Data: `from`, `to`, `cause`.
    Ready,
    /// A program ended. Data: `code` or `signal`, `lasted_ms`, `wanted`.
    Exited,
    /// A crash loop was stopped. Data: `until`, `restarts`.
    Cooldown,
    /// The single try after a cool-down began. Data: `from`, `to`, `cause`.
    HalfOpen,
    /// The single try after a cool-down failed. Data: `until`.
    HalfOpenFailed,
    /// The single try after a cool-down held.
    Recovered,
    /// A service failed and will not be tried again by itself. Data: `cause`.
    Failed,
    /// A stop step reached nobody; the next one follows at once. Data: `step`, `error`.
    StopStepFailed,
    /// Processes resisted a stop. Data: `survivors`.
    Resisted,
    /// A probe changed its answer. Data: `probe`, `verdict`, `error`.
    ProbeChanged,
    /// A live probe failed; the program is restarted. Data: `probe`, `error`.
    Unhealthy,
    /// A hook did not succeed. Data: `hook`, `error`.
    HookRan,
    /// An alert arrived. Data: `alert`, `way`, `attempts`.
    AlertDelivered,
    /// An alert did not arrive yet. Data: `alert`, `way`, `attempts`, `error`.
    AlertFailed,
    /// This computer cannot do what the spec asks for. Data: `capability`, `reason`.
    Unsupported,
    /// The service manager of the OS told something: power, sessions, the clock, a code. Data: `told`.
    HostTold,
    /// The disk refuses the output of a program, which is dropped. Data: `error`.
    LogsFailing,
    /// The disk takes the output again. Data: `dropped_bytes`, `dropped_lines`.
    LogsRecovered,
    /// The receiver of a sink does not take what it is sent; it is tried again. Data: `sink`, `error`.
    SinkFailing,
    /// The receiver of a sink takes what it is sent again. Data: `sink`, `after_ms`.
    SinkRecovered,
    /// Something did not go to a sink and will not. Data: `sink`, `overflow`, `lost`, `refused`, `error`.
    SinkDropped,
    /// The control API listens on TCP. Data: `address`, `tls`.
    ApiListening,
    /// Somebody was refused who came over the network; told at most once a minute. Data: `address`, `error`, `more`: how
    /// many there were since that were not told of.
    ApiRefused,
    /// The guard met trouble of its own. Data: `error`.
    Trouble,
    /// A kind that this version does not know.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for EventKind {
    /// The word that is serialised.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(Value::String(word)) => f.pad(&word),
            _ => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_record_survives_its_text_and_an_unknown_kind_is_kept() {
        let record = EventRecord::new(7, WallTime::from_unix_millis(0), EventKind::HalfOpenFailed, "the try failed")
            .with("until", "later");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"seq":7,"at":"1970-01-01T00:00:00.000Z","kind":"half_open_failed","service":null,"instance":null,"run":null,"message":"the try failed","data":{"until":"later"}}"#
        );
        assert_eq!(serde_json::from_str::<EventRecord>(&text).unwrap(), record);
        let newer = text.replace("half_open_failed", "sang_a_song");
        assert_eq!(serde_json::from_str::<EventRecord>(&newer).unwrap().kind, EventKind::Other("sang_a_song".into()));
        assert_eq!(EventKind::StateChanged.to_string(), "state_changed");
    }
}
