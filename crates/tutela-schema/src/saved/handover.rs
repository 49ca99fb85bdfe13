//! What a guard that is about to be replaced by another program tells whoever follows it: kept in its safe, so it is
//! there whoever that is.
//!
//! Written and read by different versions: keys that are not known are passed over, and those that are missing have the
//! meaning of nothing having been said.

use serde::{Deserialize, Serialize};

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    /// Which upgrade; who asked for it was told this.
    pub id: String,
    /// The version of the guard that was to be replaced.
    pub from: String,
    /// The version of the one that was to take its place, by its own word.
    pub to: String,
    /// The file of that program.
    pub program: String,
    /// Who asked for it.
    pub by: String,
    /// When the guard that wrote this turned for the last time, in microseconds since the boot.
    pub last_turn_us: u64,
    /// For how long nobody had watched at each change before this one, in microseconds.
    pub gaps_us: Vec<u64>,
    /// How many programs ran under the guard that wrote this.
    pub programs: u64,
    /// How many of those before it were not taken over as they ran.
    pub not_kept: u64,
    /// Whether the new program has done the guard's work and said so.
    pub confirmed: bool,
    /// Why the former program was restored, in words.
    pub failed: Option<String>,
}

/// Writes it down.
pub fn encode(handover: &Handover) -> String {
    // Strings and numbers only: there is no value that JSON cannot hold.
    serde_json::to_string(handover).unwrap_or_default()
}

/// Reads it. `None`: it is damaged, and nothing is known of what it was to tell.
pub fn decode(text: &str) -> Option<Handover> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handover_survives_its_text_and_that_of_other_versions() {
        let whole = Handover {
            id: "7".into(),
            from: "1.0.0".into(),
            to: "2.0.0".into(),
            program: "/usr/bin/tutela".into(),
            by: "root".into(),
            last_turn_us: 17,
            gaps_us: vec![3, 4],
            programs: 5,
            not_kept: 1,
            confirmed: true,
            failed: Some("it hung".into()),
        };
        assert_eq!(decode(&encode(&whole)), Some(whole));
        let newer = decode(r#"{"id":"7","colour":"blue"}"#);
        assert_eq!(newer, Some(Handover { id: "7".into(), ..Handover::default() }));
        assert_eq!(decode("{\"id\":"), None);
    }
}
