//! A place between two lines of one label, as text that outlives the process.

use std::fmt;
use std::str::FromStr;

/// A place between two lines of one label. Its text form is three numbers with colons: `FILE:OFFSET:LINES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    /// The moment at which the file was begun, in microseconds since 1970: it stays when the file is rotated or compressed.
    pub file: u64,
    /// The offset of the next line in the file as it was before compression.
    pub offset: u64,
    /// How many lines (newlines in files) the label had before it.
    pub lines: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.offset, self.lines)
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0:?} is no place in a log; three numbers with colons are")]
pub struct BadCursor(String);

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut numbers = text.split(':').map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(file)), Some(Ok(offset)), Some(Ok(lines)), None) => Ok(Cursor { file, offset, lines }),
            _ => Err(BadCursor(text.chars().take(80).collect())),
        }
    }
}
