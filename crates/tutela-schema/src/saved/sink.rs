//! What is kept of a sink while no guard runs: where its receiver last said yes, and what became of everything before.
//!
//! One file per sink. Positions and counts are written together, so that a guard that is killed forgets both at once and
//! no line is counted twice.

use serde::{Deserialize, Serialize};

/// The version that is written.
pub const SAVED_SINK_VERSION: u64 = 1;

/// The longest such text that is read: 10,000 labels in folders with long names.
pub const SAVED_SINK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedSink {
    /// The version of this form.
    pub v: u64,
    /// Records that the receiver took.
    pub records: u64,
    /// Bytes of their messages and fields.
    pub bytes: u64,
    /// Records that the sink's rules left out.
    pub left_out: u64,
    /// Lines that were dropped because the sink was too far behind.
    pub overflowed: u64,
    /// Lines that were removed before they could be read.
    pub lost: u64,
    /// Records that the receiver refused.
    pub refused: u64,
    /// Where it is in each label's files.
    pub labels: Vec<SavedPosition>,
}

/// A place in a label's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPosition {
    /// The folder.
    pub dir: String,
    /// The label.
    pub label: String,
    /// The place, as the reader of the files writes it.
    pub at: String,
}

/// Writes it down.
pub fn encode(saved: &SavedSink) -> Vec<u8> {
    // Strings and numbers only: there is no value that JSON cannot hold.
    serde_json::to_vec(saved).unwrap_or_default()
}

/// Reads it.
///
/// # Errors
/// It is damaged, or a newer Tutela wrote it.
pub fn decode(text: &[u8]) -> Result<SavedSink, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("it is damaged: {error}"))?;
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(SAVED_SINK_VERSION) => serde_json::from_value(value).map_err(|error| format!("it is damaged: {error}")),
        Some(newer) => Err(format!("it has version {newer}, this program knows up to {SAVED_SINK_VERSION}")),
        None => Err("it has no version in 'v'".to_owned()),
    }
}
