//! The environment of a program as the block of text that Windows wants: sorted by name without regard to
//! case, each name once, UTF-16, a zero behind every entry and one behind all.

use super::profile::PLACES;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStrExt;
use windows_sys::Win32::Globalization::{CSTR_EQUAL, CSTR_LESS_THAN, CompareStringOrdinal};

/// The one variable that a program gets even where nobody gave it: without it not even a socket can be made.
const SYSTEM_ROOT: &str = "SystemRoot";

const EQUALS: u16 = b'=' as u16;

/// The block for `variables`, the last of which wins where names differ only in case.
pub(super) fn block(variables: &[(OsString, OsString)]) -> io::Result<Vec<u16>> {
    let mut entries: Vec<(Vec<u16>, Vec<u16>)> = Vec::with_capacity(variables.len() + 1);
    for (name, value) in variables {
        entries.push((units_of_name(name)?, units_of_value(name, value)?));
    }
    let system_root: Vec<u16> = SYSTEM_ROOT.encode_utf16().collect();
    if !entries.iter().any(|(name, _)| compare(name, &system_root) == Ordering::Equal)
        && let Some(value) = std::env::var_os(SYSTEM_ROOT)
    {
        entries.push((system_root, value.encode_wide().collect()));
    }
    // Stable, so that of equal names the last given stays the last.
    entries.sort_by(|(left, _), (right, _)| compare(left, right));
    let mut block = Vec::new();
    for (at, (name, value)) in entries.iter().enumerate() {
        if entries.get(at + 1).is_some_and(|(next, _)| compare(name, next) == Ordering::Equal) {
            continue;
        }
        block.extend(name);
        block.push(EQUALS);
        block.extend(value);
        block.push(0);
    }
    // An empty block still has the zero of one entry.
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    Ok(block)
}

/// The variables `given` to a program of another account, with that account's own `places`. What a spec says stays. What
/// has come along from the guard goes, as it would lead the program to somebody else's folders: a variable that the
/// guard's `own` environment has with the same value.
pub(super) fn with_places(
    mut given: Vec<(OsString, OsString)>,
    places: Vec<(OsString, OsString)>,
    own: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    given.retain(|(name, value)| {
        let place = PLACES.iter().find(|place| same_variable(name, place));
        place.and_then(|place| own(place)).is_none_or(|own| own != *value)
    });
    for (name, value) in places {
        let is_given = |(given, _): &(OsString, OsString)| name.to_str().is_some_and(|name| same_variable(given, name));
        if !given.iter().any(is_given) {
            given.push((name, value));
        }
    }
    given
}

/// Whether a program that looks for `name` finds the variable `given`.
pub(crate) fn same_variable(given: &OsStr, name: &str) -> bool {
    let units = |text: &OsStr| text.encode_wide().collect::<Vec<u16>>();
    compare(&units(given), &units(OsStr::new(name))) == Ordering::Equal
}

fn units_of_name(name: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = name.encode_wide().collect();
    // The working folders of drives are kept in names such as `=C:`.
    let within = units.get(1..).unwrap_or_default();
    if units.is_empty() || units.contains(&0) || within.contains(&EQUALS) {
        let message = format!("{name:?} cannot be the name of a variable");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(units)
}

fn units_of_value(name: &OsStr, value: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = value.encode_wide().collect();
    if units.contains(&0) {
        let message = format!("the variable {} has a zero character in it, which would cut it off", name.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(units)
}

/// The order in which the OS looks for names.
fn compare(left: &[u16], right: &[u16]) -> Ordering {
    let length = |units: &[u16]| i32::try_from(units.len()).unwrap_or(i32::MAX);
    // SAFETY: each pointer is to as many units as the length beside it says, and nothing is written.
    let answer = unsafe { CompareStringOrdinal(left.as_ptr(), length(left), right.as_ptr(), length(right), 1) };
    match answer {
        CSTR_LESS_THAN => Ordering::Less,
        CSTR_EQUAL => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn entries(variables: &[(&str, &str)]) -> Vec<String> {
        let variables: Vec<(OsString, OsString)> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let block = String::from_utf16(&block(&variables).unwrap()).unwrap();
        let text = block.strip_suffix("\0\0").unwrap();
        text.split('\0').filter(|entry| !entry.starts_with("SystemRoot=")).map(str::to_owned).collect()
    }

    #[test]
    fn names_are_sorted_without_regard_to_case_and_the_last_of_one_name_wins() {
        let told = entries(&[("b", "1"), ("_", "2"), ("Path", "old"), ("A", "3"), ("PATH", "new"), ("=C:", r"C:\x")]);
        assert_eq!(told, [r"=C:=C:\x", "A=3", "b=1", "PATH=new", "_=2"]);
    }

    #[test]
    fn another_account_gets_its_own_places_but_for_those_that_the_spec_names() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        let own = |name: &str| match name {
            "TEMP" | "TMP" => Some(r"C:\Windows\Temp".into()),
            "HOMEDRIVE" => Some("C:".into()),
            _ => None,
        };
        let given = pairs(&[("temp", r"D:\scratch"), ("Tmp", r"C:\Windows\Temp"), ("HomeDrive", "C:"), ("A", "C:")]);
        let places = pairs(&[("TEMP", r"C:\Users\x\Temp"), ("TMP", r"C:\Users\x\Temp"), ("APPDATA", r"C:\Users\x")]);
        let told = with_places(given, places, own);
        let wanted =
            pairs(&[("temp", r"D:\scratch"), ("A", "C:"), ("TMP", r"C:\Users\x\Temp"), ("APPDATA", r"C:\Users\x")]);
        assert_eq!(told, wanted);
    }

    #[test]
    fn names_and_values_that_would_break_the_block_are_refused() {
        for (name, value) in [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\0y")] {
            assert!(block(&[(name.into(), value.into())]).is_err(), "{name:?}={value:?}");
        }
    }

    #[test]
    fn a_program_gets_the_root_of_the_system_and_may_have_another() {
        let text = |variables: &[(OsString, OsString)]| String::from_utf16(&block(variables).unwrap()).unwrap();
        assert!(text(&[]).starts_with("SystemRoot="));
        let own = text(&[("SYSTEMROOT".into(), "X:".into())]);
        assert_eq!(own, "SYSTEMROOT=X:\0\0");
    }
}
