//! Log files as people and programs see them: how they are opened, which files belong to an instance, and a line's
//! record. Used by the guard, by the API and, while no guard runs, by the command line.

use regex::bytes::RegexBuilder;
use std::path::Path;
use tutela_logs::read::{Entry, LineFilter, LogReader, Origin, PassedOver, Place, Query};
use tutela_logs::{Access, Doors, Found, Stream, level};
use tutela_os::files::{
    Plain, append_plain, give, identity, like, make_folder, read_plain, remove_plain, rename_plain,
};
use tutela_schema::api::{LogLine, LogNote, LogQuery, LogStream};
use tutela_schema::wall::WallTime;

/// The most memory that a pattern may become: no word that people type needs a tenth of it.
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How log files are opened: never through what somebody who may write to their folder put in their place.
pub const DOORS: Doors = Doors {
    append: |path, access| append_plain(path, access.mode, access.owner).map(found),
    read: |path| read_plain(path).map(found),
    give: |file, access| give(file, access.mode, access.owner, access.group),
    like,
    identity,
    rename: rename_plain,
    remove: remove_plain,
    folder: |path, access| make_folder(path, access != Access::default()),
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
    let (service, instance) = entry.label.rsplit_once('-').unwrap_or((&entry.label, ""));
    let level = entry.parts.as_ref().and_then(|parts| parts.level);
    let message = entry.parts.as_ref().map_or(&*entry.text, |parts| &*parts.message);
    LogLine {
        timestamp: entry
            .at
            .map(|at| WallTime::from_unix_millis(i64::try_from(at.as_micros() / 1000).unwrap_or(i64::MAX))),
        guard: None,
        service_name: service.to_owned(),
        instance: instance.to_owned(),
        level: level.or_else(|| level::detect(&entry.text)).map(|level| level.word().to_owned()),
        stream: match entry.origin {
            Origin::Stream(Stream::Out) => Some(LogStream::Stdout),
            Origin::Stream(Stream::Err) => Some(LogStream::Stderr),
            Origin::Unknown | Origin::Gap => None,
        },
        message: String::from_utf8_lossy(message).into_owned(),
        fields: fields_of(entry),
        partial: !entry.ended,
        tutela: (entry.origin == Origin::Gap).then_some(LogNote::Gap),
    }
}

/// That a file was passed over, as a record among those of its lines.
pub fn record_of_passed_over(passed: &PassedOver) -> LogLine {
    note(&id_of(&passed.label), LogNote::PassedOver, passed_over(passed))
}

/// That the files of a service or an instance cannot be read on, as a record.
pub fn record_of_failure(of: &str, error: &std::io::Error) -> LogLine {
    note(of, LogNote::Failed, failure(error))
}

/// That a file was passed over, for people.
pub fn passed_over(passed: &PassedOver) -> String {
    format!("passed over: {}", passed.why)
}

/// That files cannot be read on, for people.
pub fn failure(error: &std::io::Error) -> String {
    format!("failed to read a log file: {error}")
}

/// `of` is `api` or `api:0`.
fn note(of: &str, note: LogNote, message: String) -> LogLine {
    let (service, instance) = of.split_once(':').unwrap_or((of, ""));
    LogLine {
        timestamp: None,
        guard: None,
        service_name: service.to_owned(),
        instance: instance.to_owned(),
        level: Some(level::Level::Warn.word().to_owned()),
        stream: None,
        message,
        fields: serde_json::Map::new(),
        partial: false,
        tutela: Some(note),
    }
}

/// A value that is not what it was written as stays a text.
fn fields_of(entry: &Entry) -> serde_json::Map<String, serde_json::Value> {
    let fields = entry.parts.iter().flat_map(|parts| &parts.fields);
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
    fields.map(|(name, text)| (name.clone(), value(text))).collect()
}

/// Opens the files of these places, with the filter of the query if it has one.
///
/// # Errors
/// A file cannot be read.
pub fn open(places: &[Place], query: Query, filter: Option<LineFilter>) -> std::io::Result<LogReader> {
    match filter {
        Some(filter) => LogReader::open_filtered(DOORS, places, query, filter),
        None => LogReader::open(DOORS, places, query),
    }
}

/// What a query asks of a line's text; `None`: nothing.
///
/// # Errors
/// What is wrong with the level or the pattern, for people.
pub fn filter_of(query: &LogQuery) -> Result<Option<LineFilter>, String> {
    let least = query.level.as_deref().map(str::parse::<level::Level>).transpose().map_err(|none| none.to_string())?;
    let pattern = match query.grep.as_deref() {
        Some(pattern) => Some(
            RegexBuilder::new(pattern)
                .case_insensitive(query.ignore_case)
                .size_limit(PATTERN_BYTES_MAX)
                .build()
                .map_err(|error| format!("refused: {pattern:?} is no regular expression: {error}"))?,
        ),
        None => None,
    };
    if least.is_none() && pattern.is_none() {
        return Ok(None);
    }
    // A plain word is looked for without the machinery.
    let word = query.grep.as_deref().filter(|word| !query.ignore_case && regex::escape(word) == *word);
    let finder = word.map(|word| memchr::memmem::Finder::new(word).into_owned());
    let invert = query.invert;
    Ok(Some(LineFilter::new(move |text, level| {
        let matches = match (&finder, &pattern) {
            (Some(finder), _) => finder.find(text).is_some() != invert,
            (None, Some(pattern)) => pattern.is_match(text) != invert,
            (None, None) => true,
        };
        matches && least.is_none_or(|least| level.or_else(|| level::detect(text)).is_some_and(|level| level >= least))
    })))
}

/// `api:0` of `api-0`. A label's last dash stands before the number.
pub fn id_of(label: &str) -> String {
    match label.rsplit_once('-') {
        Some((service, index)) => format!("{service}:{index}"),
        None => label.to_owned(),
    }
}
