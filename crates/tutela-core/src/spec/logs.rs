//! How output is written: in which form, which lines belong together, and what is masked.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The form of log files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// The program's bytes, verbatim.
    Raw,
    /// Each line with a timestamp and the name of its stream.
    Stamped,
    /// A record in JSON per line.
    Json,
}

/// Which lines belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultilineSpec {
    /// What tells it.
    pub rule: MultilineRule,
    /// How long a record waits for a further line; never nothing.
    pub wait: Duration,
    /// How many lines a record has at most; at least 2.
    pub lines: u32,
}

/// What tells whether a line belongs to the one before: a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultilineRule {
    /// A line with a match begins a record.
    Start(String),
    /// A line with a match belongs to the one before.
    Continue(String),
}

/// What is masked in all output of a guard.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redaction {
    /// Texts that the spec gives to programs and that are secrets; `None`: they are not to be masked.
    pub secrets: Option<BTreeSet<String>>,
    /// Regular expressions.
    pub patterns: Vec<String>,
}

impl fmt::Debug for Redaction {
    /// Tells no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("secrets", &self.secrets.as_ref().map(BTreeSet::len))
            .field("patterns", &self.patterns)
            .finish()
    }
}
