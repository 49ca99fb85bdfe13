//! What is kept of an instance while no guard runs, so that a crash loop stays one across a restart of the guard.
//!
//! The store keeps one such text (JSON) per instance, under `service:index`. Times are times of day here, because
//! the axis of [`tutela_core::time::Moment`] ends with the computer's boot; the edge converts with one pair of
//! clock readings.
//!
//! # Versions
//! Each text says its version in `v`. [`decode`] brings an older one up with the steps in [`migrations`], one per
//! version, which are appended and never edited and know no live type. A newer one than this program writes is
//! refused, and left as it is: an older guard must not lose what a newer one knew.

pub mod estate;
pub mod handover;
pub mod migrations;
pub mod sink;
pub mod slate;

use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version that [`encode`] writes.
pub const SAVED_VERSION: u64 = 2;

/// The longest saved text that is read, in bytes: a full window of restart times and long names fit ten times.
pub const SAVED_BYTES_MAX: usize = 256 * 1024;

/// What one instance takes from one life of the guard to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedInstance {
    /// The version of this form.
    pub v: u64,
    /// Its service.
    pub service: String,
    /// Which copy.
    pub instance: u16,
    /// Restarts since the first start ever.
    pub restarts: u64,
    /// The same by cause, and those that somebody wished. A cause that is not known is passed over.
    pub restarts_by: BTreeMap<String, u64>,
    /// The last life that its program was given; the next one is larger.
    pub run: u64,
    /// When the restarts that the burst window still counts happened, oldest first.
    pub window: Vec<WallTime>,
    /// Failures in a row: the exponent of the backoff.
    pub failures: u32,
    /// Until when it waits after a crash loop; null: it does not.
    pub cooldown_until: Option<WallTime>,
    /// What the operator last asked for; null: nothing, the spec decides.
    pub wanted: Option<Wanted>,
    /// How its program last ended.
    pub last_exit: Option<SavedExit>,
}

impl SavedInstance {
    /// The state of an instance that never ran.
    pub fn new(service: &str, instance: u16) -> Self {
        SavedInstance {
            v: SAVED_VERSION,
            service: service.to_owned(),
            instance,
            restarts: 0,
            restarts_by: BTreeMap::new(),
            run: 0,
            window: Vec::new(),
            failures: 0,
            cooldown_until: None,
            wanted: None,
            last_exit: None,
        }
    }
}

/// What an operator asked for, against the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// `tutela start`.
    Up,
    /// `tutela stop`.
    Down,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedExit {
    /// Its exit code, if it gave one.
    pub code: Option<i32>,
    /// The signal that ended it, named without `SIG`.
    pub signal: Option<String>,
    /// When.
    pub at: WallTime,
}

/// Why a saved text cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedRefusal {
    /// A newer Tutela wrote it.
    #[error(
        "refused: the saved state has version {found}, this program knows up to {SAVED_VERSION}; \
         use the newer tutela that wrote it, or move the state folder away to begin anew"
    )]
    Newer {
        /// Its version.
        found: u64,
    },
    /// It is longer than [`SAVED_BYTES_MAX`].
    #[error("refused: a saved state of {bytes} bytes is larger than the {SAVED_BYTES_MAX} that one can have")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// It is damaged.
    #[error("failed to read a saved state: {0}")]
    Damaged(#[from] serde_json::Error),
    /// It has no usable version.
    #[error("failed to read a saved state: it has no version in 'v'")]
    NoVersion,
    /// A step from an older version did not work.
    #[error("failed to bring a saved state from version {from} to {to}: {reason}")]
    Migration {
        /// The version before the step.
        from: u64,
        /// The version after it.
        to: u64,
        /// What went wrong.
        reason: String,
    },
}

/// The text of `saved`.
pub fn encode(saved: &SavedInstance) -> Vec<u8> {
    // Strings, numbers and lists only: there is no value that JSON cannot hold.
    serde_json::to_vec(saved).expect("a saved instance has only what JSON can hold")
}

/// Reads what [`encode`] of this or an older version wrote.
///
/// # Errors
/// The text is damaged, too large, or of a newer version. Nothing of it was changed.
pub fn decode(bytes: &[u8]) -> Result<SavedInstance, SavedRefusal> {
    if bytes.len() > SAVED_BYTES_MAX {
        return Err(SavedRefusal::TooLarge { bytes: bytes.len() });
    }
    let mut value: Value = serde_json::from_slice(bytes)?;
    let version = value.get("v").and_then(Value::as_u64).filter(|v| *v > 0).ok_or(SavedRefusal::NoVersion)?;
    if version > SAVED_VERSION {
        return Err(SavedRefusal::Newer { found: version });
    }
    for (step, to) in migrations::STEPS.iter().zip(2..).skip_while(|(_, to)| *to <= version) {
        step(&mut value).map_err(|reason| SavedRefusal::Migration { from: to - 1, to, reason })?;
        if let Some(map) = value.as_object_mut() {
            map.insert("v".to_owned(), Value::from(to));
        }
    }
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn example() -> SavedInstance {
        SavedInstance {
            restarts: 9,
            restarts_by: BTreeMap::from([("oom".to_owned(), 4)]),
            run: 10,
            window: vec![WallTime::from_unix_millis(1_000), WallTime::from_unix_millis(2_000)],
            failures: 2,
            cooldown_until: Some(WallTime::from_unix_millis(300_000)),
            wanted: Some(Wanted::Down),
            last_exit: Some(SavedExit {
                code: None,
                signal: Some("KILL".into()),
                at: WallTime::from_unix_millis(2_000),
            }),
            ..SavedInstance::new("api", 1)
        }
    }

    #[test]
    fn a_saved_instance_survives_its_text() {
        assert_eq!(decode(&encode(&example())).unwrap(), example());
    }

    #[test]
    fn the_text_of_version_1_stays_readable() {
        let text = br#"{"v":1,"service":"api","instance":1,"restarts":9,"run":10,
            "window":["1970-01-01T00:00:01.000Z","1970-01-01T00:00:02.000Z"],"failures":2,
            "cooldown_until":"1970-01-01T00:05:00.000Z","wanted":"down",
            "last_exit":{"code":null,"signal":"KILL","at":"1970-01-01T00:00:02.000Z"}}"#;
        assert_eq!(decode(text).unwrap(), SavedInstance { restarts_by: BTreeMap::new(), ..example() });
    }

    #[test]
    fn the_text_of_version_2_stays_readable() {
        let text = br#"{"v":2,"service":"api","instance":1,"restarts":9,"restarts_by":{"oom":4},"run":10,
            "window":["1970-01-01T00:00:01.000Z","1970-01-01T00:00:02.000Z"],"failures":2,
            "cooldown_until":"1970-01-01T00:05:00.000Z","wanted":"down",
            "last_exit":{"code":null,"signal":"KILL","at":"1970-01-01T00:00:02.000Z"}}"#;
        assert_eq!(decode(text).unwrap(), example());
    }

    #[test]
    fn a_newer_version_is_refused_and_says_so() {
        let refusal = decode(br#"{"v":3,"something":"else"}"#).unwrap_err();
        assert!(matches!(refusal, SavedRefusal::Newer { found: 3 }));
        assert!(refusal.to_string().contains("version 3"));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        for bad in [&b""[..], b"{", b"[]", b"{\"v\":0}", b"{\"v\":\"1\"}", b"{\"v\":1}", b"\xff"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(decode(&vec![b' '; SAVED_BYTES_MAX + 1]), Err(SavedRefusal::TooLarge { .. })));
    }
}
