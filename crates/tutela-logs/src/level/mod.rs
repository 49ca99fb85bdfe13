//! How bad a line is, found in the line itself.
//!
//! Called for each line that somebody filters by level, and by what makes records of lines. [`detect`] looks at the
//! beginning of a line only, takes no memory, and answers what the program said or nothing: a level that is not
//! there is never guessed, and a word in the middle of a sentence is no level.
//!
//! Deliberately absent: what belongs to several lines (a traceback), and exit codes or streams as a level.

mod json;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// The longest spelling of a level.
const WORD_BYTES_MAX: usize = 13;

/// How bad, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For those who look for a fault.
    Debug,
    /// What goes as it should.
    Info,
    /// What goes as it should and is worth a look.
    Notice,
    /// What may become a fault.
    Warn,
    /// What did not work.
    Error,
    /// What nothing works after: critical, alert, emergency, panic.
    Fatal,
}

impl Level {
    /// All of them, from the least to the most.
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error, Level::Fatal];

    /// Its one name here.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// Any usual spelling, in any case: a word, a letter, a severity of syslog (0 to 7), a number of pino and
    /// bunyan (10 to 60). `None`: it is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Level> {
        let text = text.trim_ascii();
        match text {
            [] => None,
            [letter] if letter.is_ascii_alphabetic() => of_letter(*letter),
            [first, ..] if first.is_ascii_digit() => of_number(text),
            _ => of_word(text),
        }
    }

    /// That of a severity of syslog, 0 to 7.
    #[must_use]
    pub const fn of_severity(severity: u8) -> Option<Level> {
        Some(match severity {
            0..=2 => Level::Fatal,
            3 => Level::Error,
            4 => Level::Warn,
            5 => Level::Notice,
            6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0:?} is no level; they are trace, debug, info, notice, warn, error, fatal")]
pub struct NoLevel(String);

impl FromStr for Level {
    type Err = NoLevel;

    fn from_str(text: &str) -> Result<Self, NoLevel> {
        Level::parse(text.as_bytes()).ok_or_else(|| NoLevel(text.to_owned()))
    }
}

/// What the line says of itself. `None`: nothing that can be relied on.
///
/// Looks at no more than [`json::HEAD_BYTES`] of a JSON object and [`text::HEAD_BYTES`] of anything else.
#[must_use]
pub fn detect(line: &[u8]) -> Option<Level> {
    let line = &line[text::blank(line)..];
    match line.first()? {
        b'{' => json::level(line),
        b'<' => text::syslog(line).or_else(|| text::level(line)),
        _ => text::glog(line).or_else(|| text::redis(line)).or_else(|| text::level(line)),
    }
}

/// The level that a word of letters says, whatever its case.
fn of_word(word: &[u8]) -> Option<Level> {
    let mut lower = [0; WORD_BYTES_MAX];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"trc" | b"trce" | b"verbose" | b"vrb" | b"silly" | b"finer" | b"finest" => Level::Trace,
        b"debug" | b"dbg" | b"dbug" | b"fine" | b"config" => Level::Debug,
        b"info" | b"inf" | b"information" | b"informational" | b"success" | b"log" => Level::Info,
        b"notice" | b"note" | b"ntc" => Level::Notice,
        b"warn" | b"warning" | b"wrn" => Level::Warn,
        b"error" | b"err" | b"eror" | b"fail" | b"severe" => Level::Error,
        b"fatal" | b"ftl" | b"critical" | b"crit" | b"crt" | b"alert" | b"emerg" | b"emergency" | b"panic"
        | b"dpanic" => Level::Fatal,
        _ => return None,
    })
}

/// Whether a level is also a word that people write in capitals for its own sake.
fn is_weak(word: &[u8]) -> bool {
    [&b"fine"[..], b"config", b"note", b"log", b"success", b"fail", b"alert", b"silly", b"critical", b"panic"]
        .iter()
        .any(|weak| word.eq_ignore_ascii_case(weak))
}

fn of_letter(letter: u8) -> Option<Level> {
    Some(match letter.to_ascii_lowercase() {
        b't' | b'v' => Level::Trace,
        b'd' => Level::Debug,
        b'i' => Level::Info,
        b'n' => Level::Notice,
        b'w' => Level::Warn,
        b'e' => Level::Error,
        b'f' | b'c' => Level::Fatal,
        _ => return None,
    })
}

fn of_number(digits: &[u8]) -> Option<Level> {
    match digits {
        [digit] => Level::of_severity(digit - b'0'),
        [tens, ones] if ones.is_ascii_digit() => Some(match tens {
            b'1' => Level::Trace,
            b'2' => Level::Debug,
            b'3' => Level::Info,
            b'4' => Level::Warn,
            b'5' => Level::Error,
            b'6' => Level::Fatal,
            _ => return None,
        }),
        _ => None,
    }
}
