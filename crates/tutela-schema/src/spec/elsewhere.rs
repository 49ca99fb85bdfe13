//! Keys that stand in the wrong table: a key of a service at the top of the spec, a key of the guard in a service.
//!
//! Called for a key that a table does not have. The two tables named `logs` are taken for each other the most: one is
//! about all services (`[logs]`), one about each (`[services.NAME.logs]`).
//!
//! Deliberately absent: keys that are spelt wrong as well; the near key of their own table is told for those.

use super::de::{keys_of, spell};
use super::keys::{GuardLogKeys, LogKeys, ServiceKeys, SpecKeys};
use super::tree::Step;

/// Where the key `word` belongs, for people, if it stands in the wrong table. `name` is the part of the spec that is
/// read, such as `services.api`, and empty for its top; `way` is the table within it.
pub(super) fn belongs(word: &str, name: &str, way: &[Step]) -> Option<String> {
    let has = |keys: &[&str]| keys.contains(&word);
    let is_service = name.strip_prefix("services.").is_some_and(|rest| !rest.contains('.'));
    match (name, &*spell(way)) {
        ("", "") if has(keys_of::<ServiceKeys>()) => {
            Some(format!("'{word}' is a key of each service: it belongs into [services.NAME]"))
        }
        ("", "logs") if has(keys_of::<LogKeys>()) => {
            Some(format!("'{word}' is about each service's own files: it belongs into [services.NAME.logs]"))
        }
        (_, "") if is_service && has(keys_of::<SpecKeys>()) => {
            Some(format!("'{word}' is about the whole guard: it belongs to the top of the spec"))
        }
        (_, "logs") if is_service && has(keys_of::<GuardLogKeys>()) => {
            Some(format!("'{word}' is about the logs of all services: it belongs into [logs]"))
        }
        _ => None,
    }
}
