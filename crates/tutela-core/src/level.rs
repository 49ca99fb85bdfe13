//! How much a line of output matters: the one ladder that every dialect of logging is brought to.
//!
//! Called where lines are judged (a sink's threshold, a filter of `tutela logs`) and where they are written for
//! somebody who has numbers of his own (syslog, OpenTelemetry, the Event Log). Deliberately absent: finding the level
//! in a line, which is reading and belongs to `tutela-logs`.

use std::fmt;
use std::str::FromStr;

/// The longest spelling of a level.
const WORD_BYTES_MAX: usize = 13;

/// How much a line matters; a higher one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Each step.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// Normal.
    Info,
    /// Normal, and worth to be seen.
    Notice,
    /// Something may stop working.
    Warn,
    /// Something does not work.
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error, Level::Fatal];

    /// The word in spec files, records and filters.
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

    /// The severity of syslog (RFC 5424, section 6.2.1), which the journal calls priority: 0 is the worst.
    pub const fn severity(self) -> u8 {
        match self {
            Level::Trace | Level::Debug => 7,
            Level::Info => 6,
            Level::Notice => 5,
            Level::Warn => 4,
            Level::Error => 3,
            Level::Fatal => 2,
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
            _ => Level::of_word(text),
        }
    }

    /// The level that a word of letters says, whatever its case.
    #[must_use]
    pub fn of_word(word: &[u8]) -> Option<Level> {
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
