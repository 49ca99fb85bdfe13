//! Log files as people and programs see them: how they are opened, which files belong to an instance, and a line's
//! record. Used by the guard, by the API and, while no guard runs, by the command line.

use std::path::Path;
use tutela_logs::read::{Entry, Origin, Place};
use tutela_logs::{Doors, Found, Stream};
use tutela_os::files::{Plain, append_plain, give, like, read_plain};
use tutela_schema::api::{LogLine, LogStream};
use tutela_schema::wall::WallTime;

/// How log files are opened: never through what somebody who may write to their folder put in their place.
pub const DOORS: Doors = Doors {
    append: |path| append_plain(path).map(found),
    read: |path| read_plain(path).map(found),
    give: |file, access| give(file, access.mode, access.owner, access.group),
    like,
};

fn found(plain: Plain) -> Found {
    match plain {
        Plain::File(file) => Found::Plain(file),
        Plain::Other(word) => Found::Other(word),
    }
}

/// The files of these instances, named `api:0`.
pub fn places_of(dir: &Path, instances: &[String]) -> Vec<Place> {
    instances.iter().map(|id| Place { dir: dir.to_owned(), label: id.replace(':', "-") }).collect()
}

/// One line as the API tells it.
pub fn record_of(entry: &Entry) -> LogLine {
    LogLine {
        at: entry.at.map(|at| WallTime::from_unix_millis(i64::try_from(at.as_micros() / 1000).unwrap_or(i64::MAX))),
        id: id_of(&entry.label),
        stream: match entry.origin {
            Origin::Stream(Stream::Out) => Some(LogStream::Stdout),
            Origin::Stream(Stream::Err) => Some(LogStream::Stderr),
            Origin::Unknown | Origin::Gap => None,
        },
        line: String::from_utf8_lossy(&entry.text).into_owned(),
        partial: !entry.ended,
    }
}

/// `api:0` of `api-0`. A label's last dash stands before the number.
pub fn id_of(label: &str) -> String {
    match label.rsplit_once('-') {
        Some((service, index)) => format!("{service}:{index}"),
        None => label.to_owned(),
    }
}
