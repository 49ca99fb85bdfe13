//! The names of the files of one label.
//!
//! Called by the writer (rotation, retention) and by the readers (which file comes after which).

use crate::doors::Doors;
use crate::policy::Compression;
use std::io;
use std::path::{Path, PathBuf};

/// The end of every name.
pub(crate) const SUFFIX: &str = ".log";

/// What the name of a file's index has more than the file's. No name of a log file ends so.
pub(crate) const INDEX_SUFFIX: &str = ".index";

/// The shape of the stamp in the name of a rotated file.
const NAME_SHAPE: &[u8] = b"00000000T000000.000000Z";

/// The last moment that a stamp can have: where [`crate::Wall`] ends.
const LAST_MOMENT: &[u8] = b"99991230T215959.999999Z";

/// The longest label, in bytes: with a stamp and the suffix it stays below the 255 bytes of a file name.
const LABEL_BYTES_MAX: usize = 200;

/// Whether `label` can be the first part of a file name on every system: letters, digits, `.`, `_`, `-`;
/// first a letter or digit.
pub fn is_label(label: &str) -> bool {
    label.len() <= LABEL_BYTES_MAX
        && label.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The file that is written to.
pub(crate) fn current(dir: &Path, label: &str) -> PathBuf {
    dir.join(format!("{label}{SUFFIX}"))
}

/// The rotated file of this stamp.
pub(crate) fn rotated(dir: &Path, label: &str, stamp: &str) -> PathBuf {
    dir.join(format!("{label}.{stamp}{SUFFIX}"))
}

/// The index of a log file, whose name has no end of a compressed one.
pub(crate) fn index_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(INDEX_SUFFIX);
    PathBuf::from(name)
}

/// A compressed log file. `file` is its name before.
pub(crate) fn packed(file: &Path, compression: Compression) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(compression.suffix());
    PathBuf::from(name)
}

/// Removes a rotated file in whatever forms it is there, and its index.
pub(crate) fn remove(doors: Doors, file: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for path in Compression::ALL.map(|compression| packed(file, compression)).iter().map(PathBuf::as_path).chain([file])
    {
        match (doors.remove)(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    if result.is_ok() {
        // A shortcut to nothing; the keeper finds one that stays.
        drop((doors.remove)(&index_of(file)));
    }
    result
}

/// Whether a rotated file is there, in whatever form; what cannot be found out counts as there.
pub(crate) fn is_taken(file: &Path) -> bool {
    let is_there =
        |path: &Path| !std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_there(file) || Compression::ALL.iter().any(|compression| is_there(&packed(file, *compression)))
}

/// Where something that took the place of the current file is put. No name of a log file.
pub(crate) fn aside(dir: &Path, label: &str, stamp: &str) -> PathBuf {
    dir.join(format!("{label}{SUFFIX}.aside-{stamp}"))
}

/// Something with the name of a rotated file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rotated {
    pub(crate) stamp: String,
    /// Whether it is a file; else it is nothing of ours.
    pub(crate) plain: bool,
}

/// What has the name of a rotated file, oldest first. A folder that does not exist has none.
pub(crate) fn rotated_names(dir: &Path, label: &str) -> io::Result<Vec<Rotated>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(stamp) = name.to_str().and_then(|name| stamp_of(name, label)) {
            // Where the kind is not to be had the file was just removed.
            let is_other = entry.file_type().is_ok_and(|kind| !kind.is_file());
            names.push(Rotated { stamp: stamp.to_owned(), plain: !is_other });
        }
    }
    // One that is being compressed is there in two forms; one that is a file counts.
    names.sort_unstable_by(|a, b| a.stamp.cmp(&b.stamp).then(b.plain.cmp(&a.plain)));
    names.dedup_by(|later, kept| later.stamp == kept.stamp);
    Ok(names)
}

/// The stamps of the rotated files, oldest first.
pub(crate) fn rotated_stamps(dir: &Path, label: &str) -> io::Result<Vec<String>> {
    Ok(rotated_names(dir, label)?.into_iter().filter(|name| name.plain).map(|name| name.stamp).collect())
}

/// The stamp in `name` if it is the name of a rotated file of `label`.
fn stamp_of<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let stamp = unpacked_name(name).strip_prefix(label)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    is_stamp(stamp).then_some(stamp)
}

/// The name without the end of a compressed file.
pub(crate) fn unpacked_name(name: &str) -> &str {
    Compression::ALL.iter().find_map(|compression| name.strip_suffix(compression.suffix())).unwrap_or(name)
}

/// The label and the stamp in the name of a rotated file, without the end of a compressed one.
pub(crate) fn label_and_stamp(name: &str) -> Option<(&str, &str)> {
    let (label, stamp) =
        name.strip_suffix(SUFFIX)?.split_at_checked(name.len().checked_sub(SUFFIX.len() + NAME_SHAPE.len())?)?;
    let label = label.strip_suffix('.')?;
    (is_stamp(stamp) && is_label(label)).then_some((label, stamp))
}

fn is_stamp(stamp: &str) -> bool {
    stamp.len() == NAME_SHAPE.len()
        && stamp.bytes().zip(NAME_SHAPE).all(|(have, want)| match want {
            b'0' => have.is_ascii_digit(),
            mark => have == *mark,
        })
        && is_moment(stamp.as_bytes())
}

/// Whether the digits of a stamp are a moment that a file can be rotated at. What is none would be behind all that are,
/// and keep its place for ever. Asked for every name of a folder, so the calendar is left alone.
fn is_moment(stamp: &[u8]) -> bool {
    let number =
        |from: usize, to: usize| stamp[from..to].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap),
        _ => 0,
    };
    let is_time = number(9, 11) < 24 && number(11, 13) < 60 && number(13, 15) < 60;
    year >= 1970 && (1..=days).contains(&day) && is_time && stamp <= LAST_MOMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::moment_of;
    use proptest::prelude::*;

    #[test]
    fn only_the_labels_own_rotated_files_are_taken_for_such() {
        assert_eq!(stamp_of("api-0.20261120T212345.123456Z.log", "api-0"), Some("20261120T212345.123456Z"));
        assert_eq!(stamp_of("api-0.20261120T212345.123456Z.log.zst", "api-0"), Some("20261120T212345.123456Z"));
        assert_eq!(label_and_stamp("a.b-0.20261120T212345.123456Z.log"), Some(("a.b-0", "20261120T212345.123456Z")));
        for other in [
            "api-0.log",
            "api-01.20261120T212345.123456Z.log",
            "api-0.20261120T212345.123456Z.log.index",
            "api-0.20261120T212345.123456Z.log.zst.new",
        ] {
            assert_eq!(label_and_stamp(other).map(|(label, _)| label), other.strip_prefix("api-01").map(|_| "api-01"));
            assert_eq!(stamp_of(other, "api-0"), None, "{other}");
        }
        assert_eq!(stamp_of("api-0.x.20261120T212345.123456Z.log", "api-0"), None);
        for no_moment in ["20261320T212345.123456Z", "20260230T212345.123456Z", "99999999T999999.999999Z"] {
            assert_eq!(stamp_of(&format!("api-0.{no_moment}.log"), "api-0"), None);
            assert_eq!(label_and_stamp(&format!("api-0.{no_moment}.log")), None);
        }
    }

    proptest! {
        #[test]
        fn what_has_the_shape_of_a_stamp_is_one_if_it_is_a_moment(
            year in prop_oneof![0u32..10_000, Just(1970), Just(2000), Just(2100), Just(9999)],
            month in 0u32..14, day in 0u32..34, hour in 0u32..26, minute in 0u32..62, second in 0u32..60, micros in 0u32..1_000_000,
        ) {
            let stamp = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{micros:06}Z");
            prop_assert_eq!(is_stamp(&stamp), moment_of(&stamp).is_some(), "{}", stamp);
        }
    }

    #[test]
    fn a_label_that_could_leave_its_folder_is_none() {
        for bad in ["", ".", "..", "a/b", "a\\b", "-a", "a b", "a:0", "a\0", &"a".repeat(201)] {
            assert!(!is_label(bad), "{bad:?}");
        }
        assert!(is_label("api-0") && is_label("a.b_c"));
    }
}
