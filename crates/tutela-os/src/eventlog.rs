//! The log of the OS that operators look into first: the journal of systemd, the Event Log of Windows.
//!
//! Called by the guard and by programs that are services themselves, on a thread that may wait: both logs are other
//! processes. A record has a line for people, and fields by which it can be found. Deliberately absent: queues and
//! files. What programs print goes to their log files.

use crate::{Error, platform};
use std::borrow::Cow;

/// The most bytes of one text. The journal takes more, the Event Log 31,839 characters.
pub const TEXT_BYTES_MAX: usize = 31_000;

/// The most fields of one record; more are left out.
pub const FIELDS_MAX: usize = 64;

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may stop working, or was mended.
    Warning,
    /// Normal, and worth to be seen.
    Notice,
    /// Normal.
    Info,
    /// For those who look for a mistake.
    Debug,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// For people: one line, or a few.
    pub message: &'a str,
    /// What kind of thing happened, from 1 to 1000: the event's id in the Event Log.
    pub id: u16,
    /// What kind of thing happened, as a random number that no other program uses: the journal's `MESSAGE_ID`.
    pub message_id: Option<u128>,
    /// Names and values. Names are made to what the journal takes: capitals, digits and `_`.
    pub fields: &'a [(&'a str, Cow<'a, str>)],
}

/// A way into the log. Usable from any thread; dropping it closes it.
#[derive(Debug)]
pub struct EventLog(platform::eventlog::EventLog);

impl EventLog {
    /// Opens the log in the name of `source`: the name of the service.
    ///
    /// # Errors
    /// This host has no such log, or it cannot be reached ([`Error::Unsupported`]).
    pub fn open(source: &str) -> Result<EventLog, Error> {
        platform::eventlog::EventLog::open(source).map(EventLog)
    }

    /// Writes a record. Texts longer than [`TEXT_BYTES_MAX`] are cut. Waits at most a second for the journal; how long
    /// the Event Log takes is its own affair.
    ///
    /// # Errors
    /// The log did not take it.
    pub fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        self.0.write(record)
    }
}

/// Whether the journal gets what this process prints, line by line and without fields. Who then writes records
/// should not print the same.
pub fn output_is_journal() -> bool {
    platform::eventlog::output_is_journal()
}

/// Registers `source` with the log, so that its viewer can show the records' texts; `false`: nothing was to be done,
/// because it is registered or because this OS's log knows no such thing.
///
/// On Windows the texts are found through `EventCreate.exe`, which is part of every Windows and has a plain text for
/// each id from 1 to 1000; so no file of ours is held open by the viewer, and none is missed once we are gone.
///
/// # Errors
/// [`Error::Refused`]: somebody else has registered a source of this name. Else the OS refused, mostly because this
/// process is no administrator's.
pub fn register(source: &str) -> Result<bool, Error> {
    platform::eventlog::register(source)
}

/// Takes back what [`register`] did; `false`: there was nothing. A source of somebody else stays.
///
/// # Errors
/// The OS refused.
pub fn unregister(source: &str) -> Result<bool, Error> {
    platform::eventlog::unregister(source)
}

/// At most [`TEXT_BYTES_MAX`] bytes of `text`, whole characters.
#[allow(dead_code, reason = "an OS without a log cuts nothing")]
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// A name that the journal takes, or nothing where none is left: capitals, digits and `_`, beginning with a letter, at
/// most 64 bytes. Names that begin with `_` are the journal's own words about who wrote.
#[allow(dead_code, reason = "an OS without a log has no fields")]
pub(crate) fn field_name(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(plain).skip_while(|c| !c.is_ascii_uppercase()).take(64).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_a_word_of_the_journal() {
        let made = |name| field_name(name);
        assert_eq!(made("_PID").as_deref(), Some("PID"));
        assert_eq!(made("http.status code").as_deref(), Some("HTTP_STATUS_CODE"));
        assert_eq!(made("a=b\nMESSAGE").as_deref(), Some("A_B_MESSAGE"));
        assert_eq!(made("_1"), None);
        assert_eq!(made(&"x".repeat(100)).map(|name| name.len()), Some(64));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(TEXT_BYTES_MAX);
        assert!(cut(&text).len() <= TEXT_BYTES_MAX && cut(&text).ends_with('ü'));
        assert_eq!(cut("short"), "short");
    }
}
