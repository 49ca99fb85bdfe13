//! Lines of the files become records, and which of them a sink wants.
//!
//! The one place where a sink looks into a line.

use regex::bytes::Regex;
use std::sync::Arc;
use tutela_core::level::Level;
use tutela_core::spec::SinkSpec;
use tutela_logs::read::Origin;
use tutela_logs::read::trail::TrailLine;
use tutela_logs::record::{Owner, Parts, Record, RecordId};
use tutela_logs::{Form, Wall};

/// The record of a line. A note of the writer's, that something is missing in the file, is a warning: whoever reads the
/// log elsewhere sees the hole where it is.
pub fn record_of(owner: &Arc<Owner>, line: &TrailLine<'_>) -> Record {
    let (stream, is_note) = match line.origin {
        Origin::Stream(stream) => (Some(stream), false),
        Origin::Unknown => (None, false),
        Origin::Gap => (None, true),
    };
    let read = (line.form == Form::Json).then(|| Parts::of_record(line.text)).flatten();
    let Parts { time, level, message, fields } = read.unwrap_or_else(|| Parts::of(line.text, true));
    Record {
        owner: owner.clone(),
        id: RecordId { file: line.cursor.file, offset: line.cursor.offset },
        // A line without a time of its own is not older than its file.
        at: line.at.unwrap_or_else(|| Wall::from_micros(line.cursor.file)),
        time,
        stream,
        level: if is_note { Some(Level::Warn) } else { level },
        message,
        fields,
    }
}

/// Which records a sink wants.
#[derive(Debug)]
pub struct Rules {
    level: Option<Level>,
    matches: Option<Regex>,
    excludes: Option<Regex>,
}

impl Rules {
    /// The spec's.
    ///
    /// # Errors
    /// A pattern is none; the schema has refused those.
    pub fn of(spec: &SinkSpec) -> Result<Self, String> {
        let regex = |text: &Option<String>| {
            text.as_deref().map(Regex::new).transpose().map_err(|error| format!("refused: {error}"))
        };
        Ok(Rules { level: spec.level, matches: regex(&spec.matches)?, excludes: regex(&spec.excludes)? })
    }

    /// Whether it wants this one.
    pub fn take(&self, record: &Record) -> bool {
        self.level.is_none_or(|least| record.level.unwrap_or(Level::Info) >= least)
            && self.matches.as_ref().is_none_or(|regex| regex.is_match(&record.message))
            && !self.excludes.as_ref().is_some_and(|regex| regex.is_match(&record.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::sinks::samples::record;

    #[test]
    fn a_rule_takes_its_level_and_above_and_what_says_no_level_counts_as_info() {
        let rules = |level| Rules { level: Some(level), matches: None, excludes: None };
        let mut record = record("x");
        assert!(rules(Level::Info).take(&record) && !rules(Level::Warn).take(&record));
        record.level = Some(Level::Error);
        assert!(rules(Level::Error).take(&record) && !rules(Level::Fatal).take(&record));
    }

    #[test]
    fn patterns_look_at_bytes() {
        let regex = |text: &str| Some(Regex::new(text).expect("a pattern"));
        let rules = Rules { level: None, matches: regex("pay|ship"), excludes: regex("GET /health") };
        assert!(rules.take(&record("payment")) && !rules.take(&record("other")));
        assert!(!rules.take(&record("pay GET /health")));
        let mut broken = record("");
        broken.message = b"\xff pay".as_slice().into();
        assert!(rules.take(&broken));
    }
}
