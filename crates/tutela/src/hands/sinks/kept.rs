//! What is kept of a sink, on the disk.

use super::forwarder::Counts;
use std::io::ErrorKind;
use std::path::Path;
use tutela_logs::read::Place;
use tutela_logs::read::trail::{Cursor, Start};
use tutela_os::files;
use tutela_schema::saved::sink::{SAVED_SINK_BYTES_MAX, SAVED_SINK_VERSION, SavedPosition, SavedSink, decode, encode};

/// Where a sink was, and what became of everything before.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// What became of everything.
    pub counts: Counts,
    /// Where it was in each label's files.
    pub positions: Vec<(Place, Cursor)>,
    /// It cannot be read: nobody knows where the sink was.
    pub damaged: bool,
}

impl Kept {
    /// Where a label begins that is kept. After damage that is the oldest line there is: to send some again is less harm
    /// than to leave out some.
    pub fn start_of(&self, place: &Place) -> Option<Start> {
        let known = self.positions.iter().find(|(known, _)| known == place);
        let damaged = self.damaged.then_some(Start::Beginning);
        known.map(|(_, cursor)| Start::At(*cursor)).or(damaged)
    }
}

/// Reads what is kept, and says what is wrong with it.
pub fn read(path: &Path) -> (Kept, Option<String>) {
    if std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return (Kept::default(), None);
    }
    let text = files::read_bounded(path, SAVED_SINK_BYTES_MAX).map_err(|error| crate::hands::spawner::chain(&error));
    let read = text.and_then(|text| decode(&text)).and_then(kept_of);
    read.map(|kept| (kept, None)).unwrap_or_else(|error| {
        let trouble = format!(
            "where a sink was cannot be read from {}: {error}; it begins with the oldest lines that are kept",
            path.display()
        );
        (Kept { damaged: true, ..Kept::default() }, Some(trouble))
    })
}

fn kept_of(saved: SavedSink) -> Result<Kept, String> {
    let counts = Counts {
        records: saved.records,
        bytes: saved.bytes,
        left_out: saved.left_out,
        overflowed: saved.overflowed,
        lost: saved.lost,
        refused: saved.refused,
    };
    let mut positions = Vec::with_capacity(saved.labels.len());
    for SavedPosition { dir, label, at } in saved.labels {
        let cursor = at.parse::<Cursor>().map_err(|error| error.to_string())?;
        positions.push((Place { dir: dir.into(), label }, cursor));
    }
    Ok(Kept { counts, positions, damaged: false })
}

/// Writes it down.
///
/// # Errors
/// The disk refuses; what was kept before is still there.
pub fn write<'a>(
    path: &Path,
    counts: &Counts,
    positions: impl Iterator<Item = (&'a Place, Cursor)>,
) -> Result<(), String> {
    let labels = positions.map(|(place, cursor)| SavedPosition {
        dir: place.dir.to_string_lossy().into_owned(),
        label: place.label.clone(),
        at: cursor.to_string(),
    });
    let saved = SavedSink {
        v: SAVED_SINK_VERSION,
        records: counts.records,
        bytes: counts.bytes,
        left_out: counts.left_out,
        overflowed: counts.overflowed,
        lost: counts.lost,
        refused: counts.refused,
        labels: labels.collect(),
    };
    let bytes = encode(&saved);
    let written = files::replace(path, &bytes).or_else(|error| match path.parent() {
        // Somebody removed the folder under the guard.
        Some(folder) if !folder.exists() => {
            files::make_private_dir(folder)?;
            files::replace(path, &bytes)
        }
        _ => Err(error),
    });
    written.map_err(|error| crate::hands::spawner::chain(&error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_folder_that_was_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sinks").join("a.json");
        let counts = Counts { records: 7, ..Counts::default() };
        for _ in 0..2 {
            write(&path, &counts, std::iter::empty()).unwrap();
            assert_eq!(read(&path).0.counts.records, 7);
            std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        }
    }
}
