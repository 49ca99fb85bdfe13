//! Another program takes the guard's place, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The file of the new program, as a path that does not depend on a folder.
    pub program: String,
    /// What this upgrade is to be called, so that whoever asks finds what became of it also when the answer is lost: up to
    /// 64 letters, digits and `-`. Left out: the guard gives a name.
    #[serde(default)]
    pub id: Option<String>,
    /// Why, for the event ledger.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The answer to an upgrade that was begun: the new program has read the spec and the state, and takes the guard's place
/// now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeReply {
    /// Its name; `/v1/info` tells what became of it.
    pub id: String,
    /// The version that runs.
    pub from: String,
    /// The version of the new program.
    pub to: String,
    /// Its file.
    pub program: String,
}

/// What became of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeInfo {
    /// Its name.
    pub id: String,
    /// The version that was to be replaced.
    pub from: String,
    /// The version that was to take its place.
    pub to: String,
    /// The file of the new program.
    pub program: String,
    /// How it ended.
    pub outcome: UpgradeOutcome,
    /// Why the former program was restored; null: it was not.
    pub reason: Option<String>,
    /// For how long no guard watched, at each change from one process to another, in whole milliseconds, rounded up: what ended in such a
    /// time was noticed at its end.
    pub unwatched_ms: Vec<u64>,
    /// How many programs were not taken over as they ran: the spec on the disk had changed for them, they had ended, or
    /// what keeps them was gone. Nearly always 0.
    #[serde(default)]
    pub not_kept: u64,
}

impl UpgradeInfo {
    /// For how long nobody watched, as people read it: `92 ms and 88 ms`.
    pub fn unwatched(&self) -> String {
        let gaps: Vec<String> = self.unwatched_ms.iter().map(|gap| format!("{gap} ms")).collect();
        if gaps.is_empty() { "an unknown time".to_owned() } else { gaps.join(" and ") }
    }

    /// What became of the programs.
    pub fn fate(&self) -> String {
        match self.not_kept {
            0 => "nothing was restarted".to_owned(),
            1 => "one program was not taken over as it ran; see the events".to_owned(),
            more => format!("{more} programs were not taken over as they ran; see the events"),
        }
    }
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeOutcome {
    /// The new program is the guard.
    Done,
    /// It is not, and the former one is again.
    RolledBack,
}
