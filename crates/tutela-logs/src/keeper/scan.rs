//! What lies in the folders: rotated files, what those that are being written take, and what was left over.

use super::Rules;
use super::plan::Old;
use crate::files;
use crate::policy::{Compression, Policy};
use crate::writer::moment_of;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the name of a file that is being compressed has more. No log file has such a name.
const UNFINISHED: &str = ".new";

pub(super) struct Seen {
    pub(super) old: Vec<Old>,
    pub(super) current_bytes: u64,
    pub(super) astray: Astray,
}

/// What belongs to nothing.
#[derive(Default)]
pub(super) struct Astray {
    /// Indexes of rotated files that are not there.
    pub(super) indexes: Vec<PathBuf>,
    /// Begun by a keeper that did not end in order, or by one that is at it.
    pub(super) unfinished: Vec<PathBuf>,
}

/// Where a file is while it is being compressed.
pub(super) fn unfinished(packed: &Path) -> PathBuf {
    let mut name = packed.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Looks into every folder. One that cannot be read is a trouble; the others count all the same.
pub(super) fn scan(rules: &Rules, troubles: &mut Vec<String>) -> Seen {
    let mut seen = Seen { old: Vec::new(), current_bytes: 0, astray: Astray::default() };
    let known: BTreeMap<(&Path, &str), &Policy> =
        rules.labels.iter().map(|(label, policy)| ((policy.dir.as_path(), &**label), &**policy)).collect();
    // A label that is in no spec is kept as long as the longest of those that are.
    let longest =
        rules.labels.iter().map(|(_, policy)| policy.keep_for).max_by_key(|span| span.unwrap_or(Duration::MAX));
    let mut folders: BTreeSet<&Path> = rules.labels.iter().map(|(_, policy)| policy.dir.as_path()).collect();
    folders.insert(&rules.own);
    for folder in folders {
        let is_own = folder == rules.own;
        let rule = |label: &str| match known.get(&(folder, label)) {
            Some(policy) => Some((policy.keep_for, policy.compress)),
            None => is_own.then_some((longest.flatten(), Compression::None)),
        };
        if let Err(error) = scan_folder(folder, rule, &mut seen) {
            troubles.push(format!("failed to look through {}: {error}", folder.display()));
        }
    }
    seen
}

fn scan_folder(
    folder: &Path,
    rule: impl Fn(&str) -> Option<(Option<Duration>, Compression)>,
    seen: &mut Seen,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut old: BTreeMap<String, Old> = BTreeMap::new();
    let mut indexes = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str() else { continue };
        let (base, is_index) = name.strip_suffix(files::INDEX_SUFFIX).map_or((name, false), |base| (base, true));
        let (base, is_unfinished) = base.strip_suffix(UNFINISHED).map_or((base, false), |base| (base, true));
        let plain_name = files::unpacked_name(base);
        let Some((label, stamp)) = files::label_and_stamp(plain_name) else {
            let label = base.strip_suffix(files::SUFFIX).filter(|label| files::is_label(label));
            if label.and_then(&rule).is_some() {
                seen.current_bytes = seen.current_bytes.saturating_add(bytes_of(&entry).unwrap_or(0));
            }
            continue;
        };
        let (Some((keep_for, compress)), Some(at), Some(bytes)) = (rule(label), moment_of(stamp), bytes_of(&entry))
        else {
            continue;
        };
        match (is_index, is_unfinished) {
            (_, true) => seen.astray.unfinished.push(entry.path()),
            (true, false) => indexes.push((plain_name.to_owned(), bytes)),
            (false, false) => {
                let packed = Compression::ALL.into_iter().find(|compression| base.ends_with(compression.suffix()));
                let old = old.entry(plain_name.to_owned()).or_insert_with(|| {
                    let path = folder.join(plain_name);
                    Old { path, at, bytes: 0, plain: false, packed: None, keep_for, compress }
                });
                old.bytes = old.bytes.saturating_add(bytes);
                old.plain |= packed.is_none();
                old.packed = old.packed.or(packed);
            }
        }
    }
    for (name, bytes) in indexes {
        match old.get_mut(&name) {
            Some(old) => old.bytes = old.bytes.saturating_add(bytes),
            None => {
                // It may have been rotated while the folder was read.
                let path = folder.join(name);
                let forms = Compression::ALL.map(|compression| files::packed(&path, compression));
                if std::iter::once(&path).chain(&forms).all(|path| is_gone(path)) {
                    seen.astray.indexes.push(files::index_of(&path));
                }
            }
        }
    }
    seen.old.extend(old.into_values());
    Ok(())
}

fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// `None`: it is no file, or was just removed.
fn bytes_of(entry: &DirEntry) -> Option<u64> {
    // Of the entry itself, also where it is a link.
    entry.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
}
