//! An alert: what a receiver gets, and what is kept of one that has not arrived.

use crate::events::EventRecord;
use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of both forms.
pub const ALERT_VERSION: u32 = 1;

/// The longest kept alert that is read, in bytes: an event with a long reason fits ten times.
pub const ALERT_BYTES_MAX: usize = 256 * 1024;

/// What a webhook is posted, a command reads from its standard input, and a mail has in its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertBody {
    /// The version of this form.
    pub v: u32,
    /// Unique for ever: an alert that arrives twice has the same.
    pub id: String,
    /// What it is about: `cooldown`, `failed`, …; the words of `on` in a spec.
    pub occasion: String,
    /// The computer.
    pub host: String,
    /// The guard.
    pub guard: String,
    /// The instance, such as `api:0`; null: the guard as a whole.
    pub instance: Option<String>,
    /// When it happened.
    pub at: WallTime,
    /// One line for people.
    pub message: String,
    /// The event behind it.
    pub event: EventRecord,
}

/// An alert that has not arrived, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAlert {
    /// The version of this form.
    pub v: u32,
    /// Unique for ever.
    pub id: String,
    /// Which way of the spec it goes.
    pub way: String,
    /// One line.
    pub subject: String,
    /// A few lines.
    pub text: String,
    /// The [`AlertBody`], as it is sent.
    pub json: String,
    /// When it was raised: milliseconds since 1970.
    pub raised_unix_millis: u64,
    /// How many attempts failed.
    pub attempts: u32,
    /// What happened at the last one.
    pub last_error: Option<String>,
}

/// Why a kept alert cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AlertRefusal {
    /// A newer Tutela wrote it.
    #[error("refused: a kept alert has version {found}, this program knows {ALERT_VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is damaged or too large.
    #[error("failed to read a kept alert: {0}")]
    Damaged(String),
}

/// The text of a kept alert.
pub fn encode(alert: &SavedAlert) -> Vec<u8> {
    // Strings and numbers only: there is no value that JSON cannot hold.
    serde_json::to_vec(alert).expect("an alert has only what JSON can hold")
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// It is damaged, too large, or of a newer version.
pub fn decode(bytes: &[u8]) -> Result<SavedAlert, AlertRefusal> {
    if bytes.len() > ALERT_BYTES_MAX {
        return Err(AlertRefusal::Damaged(format!("{} bytes are more than {ALERT_BYTES_MAX}", bytes.len())));
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| AlertRefusal::Damaged(error.to_string()))?;
    match value.get("v").and_then(serde_json::Value::as_u64).and_then(|v| u32::try_from(v).ok()) {
        Some(ALERT_VERSION) => serde_json::from_value(value).map_err(|error| AlertRefusal::Damaged(error.to_string())),
        Some(found) => Err(AlertRefusal::Newer { found }),
        None => Err(AlertRefusal::Damaged("it has no version in 'v'".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_kept_alert_survives_its_text_and_a_newer_one_is_refused() {
        let alert = SavedAlert {
            v: ALERT_VERSION,
            id: "shop-1".into(),
            way: "ops".into(),
            subject: "s".into(),
            text: "t".into(),
            json: "{}".into(),
            raised_unix_millis: 5,
            attempts: 2,
            last_error: Some("refused".into()),
        };
        assert_eq!(decode(&encode(&alert)).unwrap(), alert);
        assert!(matches!(decode(b"{\"v\":2}"), Err(AlertRefusal::Newer { found: 2 })));
        for bad in [&b""[..], b"{}", b"[1]", b"\xff", b"{\"v\":1}"] {
            assert!(matches!(decode(bad), Err(AlertRefusal::Damaged(_))), "{bad:?}");
        }
    }
}
