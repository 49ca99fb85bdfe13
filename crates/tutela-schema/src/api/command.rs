//! What operators ask for, and what came of it.

use super::refusal::DiagnosticBody;
use super::status::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be asked of a service, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Start it, and what it needs.
    Start,
    /// Stop it, after what needs it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Hold every process of it still.
    Pause,
    /// Let it go on.
    Resume,
    /// Read the spec again. Not for one service.
    Reload,
    /// Stop everything and end the guard. Not for one service.
    Shutdown,
}

impl Verb {
    /// The word in paths and bodies.
    pub const fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Reload => "reload",
            Verb::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The body of a command; may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// Why, for the event ledger.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What is kept of a reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReply {
    /// What was asked for.
    pub command: Verb,
    /// The services that it changed, those drawn in by needs included.
    pub services: Vec<String>,
    /// What came of each of their instances.
    pub instances: Vec<InstanceOutcome>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl CommandReply {
    /// Whether every instance is, or is on its way to be, as was asked.
    pub fn succeeded(&self) -> bool {
        self.instances.iter().all(|it| matches!(it.outcome, Outcome::Done | Outcome::Already | Outcome::Accepted))
    }
}

/// What came of a command for one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceOutcome {
    /// Its name, such as `api:0`.
    pub id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Its state when this was answered.
    pub state: State,
    /// More for people; null when there is nothing to say.
    pub message: Option<String>,
    /// Processes that had to be ended by force, or are still there.
    pub survivors: Vec<Survivor>,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was so already.
    Already,
    /// It was begun; nobody waited for its end.
    Accepted,
    /// It was refused; the message says why.
    Refused,
    /// It did not work; the message says why.
    Failed,
}

/// A process that resisted a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Survivor {
    /// Its process number.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
}

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReply {
    /// Services that are new.
    pub added: Vec<String>,
    /// Services that are gone.
    pub removed: Vec<String>,
    /// Services that were started anew, because something changed that only a start can give them.
    pub restarted: Vec<String>,
    /// Services that were changed while they run on.
    pub adjusted: Vec<String>,
    /// Services that nothing changed for.
    pub unchanged: Vec<String>,
    /// What changed of the API over TCP (the table `[api]`), in words, a text for each key; left out where nothing did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api: Vec<String>,
    /// What is worth knowing about the spec.
    pub warnings: Vec<DiagnosticBody>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
