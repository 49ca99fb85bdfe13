//! Lines of the files become records, and which of them a sink wants.
//!
//! The one place where a sink looks into a line. What it says of a line is what a file of JSON records would: lines are
//! joined by the service's own rule, levels and fields are found in the same way. Records of a file in JSON are joined and
//! taken apart already, and are only read again.

use regex::bytes::Regex;
use std::sync::Arc;
use tutela_core::level::Level;
use tutela_core::spec::SinkSpec;
use tutela_logs::lines::Piece;
use tutela_logs::read::Origin;
use tutela_logs::read::trail::{Cursor, TrailLine};
use tutela_logs::record::join::{Joined, Joiner, Multiline};
use tutela_logs::record::{Owner, Parts, Record, RecordId};
use tutela_logs::{Form, Stream, Wall};

/// Makes the records of one label. Dropping it drops what it holds: whoever keeps positions keeps [`Maker::held`].
#[derive(Debug)]
pub struct Maker {
    owner: Arc<Owner>,
    how: Option<Arc<Multiline>>,
    /// Of standard output, of standard error, of files that do not tell.
    joiners: [Joiner<Mark>; 3],
}

/// Where a record begins.
#[derive(Debug, Clone, Copy)]
struct Mark {
    cursor: Cursor,
    stream: Option<Stream>,
}

impl Maker {
    /// For this label's lines, joined by this rule.
    pub fn new(owner: Arc<Owner>, how: Option<Arc<Multiline>>) -> Self {
        Maker { owner, how, joiners: Default::default() }
    }

    /// Joins by another rule from here on.
    pub fn set(&mut self, how: Option<Arc<Multiline>>) {
        self.how = how;
    }

    /// Takes a line, and hands on the records that are whole by it.
    pub fn line(&mut self, line: &TrailLine<'_>, mut each: impl FnMut(Record)) {
        // A line without a time of its own is not older than its file.
        let at = line.at.unwrap_or_else(|| Wall::from_micros(line.cursor.file));
        let (stream, slot) = match line.origin {
            Origin::Stream(Stream::Out) => (Some(Stream::Out), 0),
            Origin::Stream(Stream::Err) => (Some(Stream::Err), 1),
            Origin::Unknown | Origin::Gap => (None, 2),
        };
        let mark = Mark { cursor: line.cursor, stream };
        // A note of the writer's, that something is missing in the file, is a warning: whoever reads the log elsewhere
        // sees the hole where it is.
        let ready = match (line.origin, line.form) {
            (Origin::Gap, form) => {
                let message = match form {
                    Form::Json => Parts::of_record(line.text).map(|parts| parts.message),
                    Form::Raw | Form::Stamped => None,
                };
                let message = message.unwrap_or_else(|| line.text.into());
                Some(Parts { time: None, level: Some(Level::Warn), message, fields: Vec::new() })
            }
            (_, Form::Json) => Some(Parts::of_record(line.text).unwrap_or_else(|| Parts::of(line.text, false))),
            (_, Form::Raw | Form::Stamped) => None,
        };
        if let Some(parts) = ready {
            self.give(&mut each);
            return each(record(&self.owner, mark, at, parts));
        }
        let piece = Piece { text: line.text, ended: line.ended };
        let (owner, how) = (&self.owner, self.how.as_deref());
        self.joiners[slot].feed(how, mark, at, piece, |joined| each(of_joined(owner, &joined)));
    }

    /// Hands on what waits for further lines.
    pub fn give(&mut self, each: &mut impl FnMut(Record)) {
        let owner = &self.owner;
        for joiner in &mut self.joiners {
            joiner.give(&mut |joined| each(of_joined(owner, &joined)));
        }
    }

    /// Where the first record begins that waits for further lines.
    pub fn held(&self) -> Option<Cursor> {
        self.joiners.iter().filter_map(|joiner| joiner.mark().map(|mark| mark.cursor)).min()
    }

    /// By when what waits is to be given, if no further line comes.
    pub fn due(&self) -> Option<Wall> {
        let how = self.how.as_deref()?;
        self.joiners.iter().filter_map(|joiner| joiner.deadline(how)).max()
    }
}

fn of_joined(owner: &Arc<Owner>, joined: &Joined<'_, Mark>) -> Record {
    record(owner, joined.mark, joined.at, Parts::of(joined.text, joined.begins))
}

fn record(owner: &Arc<Owner>, Mark { cursor, stream }: Mark, at: Wall, parts: Parts) -> Record {
    let Parts { time, level, message, fields } = parts;
    let id = RecordId { file: cursor.file, offset: cursor.offset };
    Record { owner: owner.clone(), id, at, time, stream, level, message, fields }
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
    use std::time::Duration;
    use tutela_logs::record::join::Rule;

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

    #[test]
    fn lines_are_joined_by_their_stream_and_what_waits_is_known_by_its_place() {
        let rule = Rule::Continue(Regex::new("^ ").expect("a pattern"));
        let how = Arc::new(Multiline::new(rule, Duration::from_secs(1), 100));
        let mut maker = Maker::new(record("").owner, Some(how));
        let mut out = Vec::new();
        let lines = [(Stream::Err, "ERROR one"), (Stream::Out, "{\"msg\":\"x\",\"n\":1}"), (Stream::Err, " at a")];
        for (offset, (stream, text)) in lines.into_iter().enumerate() {
            let offset = offset as u64;
            let line = TrailLine {
                at: Some(Wall::from_micros(offset)),
                origin: Origin::Stream(stream),
                text: text.as_bytes(),
                ended: true,
                form: Form::Stamped,
                cursor: Cursor { file: 7, offset, lines: offset },
            };
            maker.line(&line, |record| out.push(record));
        }
        assert!(out.is_empty() && maker.due().is_some());
        assert_eq!(maker.held().map(|at| at.offset), Some(0));
        maker.give(&mut |record| out.push(record));
        assert_eq!(maker.held(), None);
        let texts: Vec<_> = out.iter().map(|record| String::from_utf8_lossy(&record.message).into_owned()).collect();
        assert_eq!(texts, ["x", "ERROR one\n at a"]);
        assert_eq!((out[1].level, out[1].id.offset), (Some(Level::Error), 0));
        assert_eq!(out[0].fields, [("n".to_owned(), "1".to_owned())]);
    }
}
