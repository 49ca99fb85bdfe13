//! The log of the OS that operators look into first: the journal of systemd, the Event Log of Windows.
//!
//! Called by the guard and by programs that are services themselves, on a thread that may wait: both logs are other
//! processes. A record has a line for people, and fields by which it can be found. Deliberately absent: queues and
//! files. What programs print goes to their log files.

use crate::{Error, platform};
use std::borrow::Cow;

/// The most bytes of one text. The journal takes more, the Event Log 31,839 characters.
pub const TEXT_BYTES_MAX: usize = 31_000;

/// The longest name of a field: the journal takes no longer one.
const NAME_BYTES_MAX: usize = 64;

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

/// A line that somebody else wrote, on its way into the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Who wrote it: the journal's `SYSLOG_IDENTIFIER`.
    pub identifier: &'a str,
    /// How much it matters, from 0, the worst, to 7; `None`: it does not say.
    pub priority: Option<u8>,
    /// The text, in whatever encoding, of however many lines, as long as it is.
    pub message: &'a [u8],
    /// What we say of it. Names as for [`Record::fields`].
    pub fields: &'a [(&'a str, Cow<'a, str>)],
    /// What it says itself, at most [`FIELDS_MAX`]. A name that would pass for one of the journal's words or of ours
    /// has `FIELD_` before it.
    pub own: &'a [(&'a str, Cow<'a, str>)],
}

/// A log that an OS has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The journal of systemd.
    Journal,
    /// The Event Log of Windows.
    EventLog,
}

/// The log that this OS has, whether or not it runs on this host; `None`: none that we know.
pub const fn kind() -> Option<Kind> {
    platform::eventlog::KIND
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

    /// Passes a line on to the journal, bytes and length as they are. Waits at most a second for it.
    ///
    /// # Errors
    /// The journal did not take it, or this OS has another log ([`Error::Unsupported`]).
    pub fn relay(&self, line: &Line<'_>) -> Result<(), Error> {
        self.0.relay(line)
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
    let name: String = name.chars().map(plain).skip_while(|c| !c.is_ascii_uppercase()).take(NAME_BYTES_MAX).collect();
    (!name.is_empty()).then_some(name)
}

/// Names with a meaning: of the journal and of what reads it, and of ours. Whole ones, and beginnings.
const RESERVED: [&str; 6] = ["MESSAGE", "MESSAGE_ID", "PRIORITY", "UNIT", "USER_UNIT", "INVOCATION_ID"];
const RESERVED_BEGINNINGS: [&str; 5] = ["SYSLOG_", "TUTELA_", "OBJECT_", "COREDUMP_", "JOB_"];

/// A name for what a program says of itself: as [`field_name`] makes it, and none that others rely on.
#[allow(dead_code, reason = "only the journal has such names")]
pub(crate) fn own_field_name(name: &str) -> Option<String> {
    let name = field_name(name)?;
    let is_taken = RESERVED.contains(&&*name) || RESERVED_BEGINNINGS.iter().any(|taken| name.starts_with(taken));
    if !is_taken {
        return Some(name);
    }
    let mut name = format!("FIELD_{name}");
    name.truncate(NAME_BYTES_MAX);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_own_name_cannot_pass_for_one_that_others_rely_on() {
        let made = own_field_name;
        assert_eq!(made("request.id").as_deref(), Some("REQUEST_ID"));
        assert_eq!(made("message").as_deref(), Some("FIELD_MESSAGE"));
        assert_eq!(made("Tutela-Guard").as_deref(), Some("FIELD_TUTELA_GUARD"));
        assert_eq!(made("object_pid").as_deref(), Some("FIELD_OBJECT_PID"));
        assert_eq!(made("messages").as_deref(), Some("MESSAGES"));
        assert_eq!(made(&format!("syslog_{}", "x".repeat(90))).map(|name| name.len()), Some(64));
        assert_eq!(made("\u{fc}"), None);
    }

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
