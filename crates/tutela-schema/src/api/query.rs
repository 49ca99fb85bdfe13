//! What can be asked of the logs and the ledger, and the records that answer.

use crate::events::EventRecord;
use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn yes() -> bool {
    true
}

/// The query of `/v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// Whether the answer tells what each instance uses. It then takes some 0.1 ms longer for each.
    #[serde(default)]
    pub usage: bool,
}

/// The query of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandQuery {
    /// Whether the answer waits until the command is carried out.
    #[serde(default = "yes")]
    pub wait: bool,
}

impl Default for CommandQuery {
    fn default() -> Self {
        CommandQuery { wait: true }
    }
}

/// The query of `/v1/logs/{service}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Only the last so many lines; left out: 100, or all when `since` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Only lines from then on: an RFC 3339 time, or how long ago, such as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only lines until then: an RFC 3339 time, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether further lines follow as they are written.
    #[serde(default)]
    pub follow: bool,
    /// Only one stream; left out: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
    /// Only lines that say a level of at least this: `trace`, `debug`, `info`, `notice`, `warn`, `error`, `fatal`, or
    /// another usual spelling. Lines that say none are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Only lines that this regular expression matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// Whether `grep` does not tell capitals from small letters.
    #[serde(default)]
    pub ignore_case: bool,
    /// Whether only lines are wanted that `grep` does not match.
    #[serde(default)]
    pub invert: bool,
}

/// The query of `/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only the last so many events; left out: 100, or all when `since` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Only events from then on: an RFC 3339 time, or how long ago, such as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only events of this service, or of one instance, such as `api:0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whether the answer is a stream of server-sent events that goes on. A `Last-Event-ID` header continues one.
    #[serde(default)]
    pub follow: bool,
}

/// A program's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LogStream {
    /// Standard output.
    #[serde(rename = "out", alias = "stdout")]
    Stdout,
    /// Standard error.
    #[serde(rename = "err", alias = "stderr")]
    Stderr,
}

/// The header of an answer of `/v1/logs/{service}` that says how many milliseconds a line may come later than younger
/// ones of other services, because its record waits for further lines. Left out where it does not.
pub const LOG_HOLD_HEADER: &str = "tutela-hold-ms";

/// What a record that is no output tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogNote {
    /// Output is missing here, because it could not be stored.
    Gap,
    /// Output is missing, because the file that it is in cannot be read. The others are.
    PassedOver,
    /// The files cannot be read on. Without `follow` the answer ends here, and is not whole; with it, this is tried on.
    Failed,
}

/// One line of output: one line of JSON in the answer of `/v1/logs/{service}` and of `tutela logs --json`. An empty
/// line there is no record: it shows that the stream lives, and the first one that what was written before the
/// question was asked has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When it was written; null where the files keep no timestamps.
    pub timestamp: Option<WallTime>,
    /// The guard. Only `tutela logs --json` tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The service that wrote it, such as `api`.
    pub service_name: String,
    /// Which copy of the service, such as `0`.
    pub instance: String,
    /// The level that the line says; left out when it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Where it was written to; null where the files keep no streams.
    pub stream: Option<LogStream>,
    /// The line, without its end. Bytes that are no UTF-8 are shown as U+FFFD.
    pub message: String,
    /// The fields that the program gave it beside its message; of files with `format = "json"`. Left out when there are none.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Whether the line goes on in the next record, because it is very long.
    #[serde(default)]
    pub partial: bool,
    /// The record is no output but a note of the guard's, and `message` says what and why. Left out of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tutela: Option<LogNote>,
}

/// The answer of `/v1/events` without `follow`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EventsReply {
    /// The events, oldest first.
    pub events: Vec<EventRecord>,
}
