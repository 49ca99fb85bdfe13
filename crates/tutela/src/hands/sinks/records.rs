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
use tutela_logs::record::{Author, Byline, Owner, Parts, Record, RecordId};
use tutela_logs::{Form, Stream, Wall};

/// Makes the records of one label. Dropping it drops what it holds: whoever keeps positions keeps [`Maker::held`].
#[derive(Debug)]
pub struct Maker {
    byline: Byline,
    how: Option<Arc<Multiline>>,
    /// Of standard output, of standard error, of files that do not tell.
    joiners: [Joiner<Mark>; 3],
    /// When it was first asked by when the last line without a time of its own is due.
    untimed: Option<Wall>,
}

/// The joiner of files that tell neither stream nor time.
const UNTIMED: usize = 2;

/// Where and when a record begins.
#[derive(Debug, Clone, Copy)]
struct Mark {
    cursor: Cursor,
    stream: Option<Stream>,
    at: Wall,
}

impl Maker {
    /// For this label's lines, joined by this rule.
    pub fn new(author: Author, how: Option<Arc<Multiline>>) -> Self {
        Maker { byline: Byline::of(author), how, joiners: Default::default(), untimed: None }
    }

    /// Joins by another rule from here on. What is held is due by that one: without a rule, at once.
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
            Origin::Unknown | Origin::Gap => (None, UNTIMED),
        };
        let mark = Mark { cursor: line.cursor, stream, at };
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
            return each(record(self.byline.owner(), mark, parts));
        }
        let piece = Piece { text: line.text, ended: line.ended };
        if self.how.is_some() && slot != UNTIMED {
            // Another stream may be silent for ever: what of it waits is over by the time of this one's line.
            self.give_due(at, &mut each);
        }
        let (owner, how) = (self.byline.owner(), self.how.as_deref());
        // The index tells times to a second only, which would tear apart what was written at once.
        let told = if slot == UNTIMED { Wall::default() } else { at };
        if slot == UNTIMED {
            self.untimed = None;
        }
        self.joiners[slot].feed(how, mark, told, piece, |joined| each(of_joined(owner, &joined)));
    }

    /// Hands on what waits for further lines.
    pub fn give(&mut self, each: &mut impl FnMut(Record)) {
        let owner = self.byline.owner();
        for joiner in &mut self.joiners {
            joiner.give(&mut |joined| each(of_joined(owner, &joined)));
        }
    }

    /// Hands on what has waited long enough.
    pub fn give_due(&mut self, now: Wall, each: &mut impl FnMut(Record)) {
        for slot in 0..self.joiners.len() {
            if self.due_of(slot, now).is_some_and(|due| due <= now) {
                let owner = self.byline.owner();
                self.joiners[slot].give(&mut |joined| each(of_joined(owner, &joined)));
            }
        }
    }

    /// Where the first record begins that waits for further lines.
    pub fn held(&self) -> Option<Cursor> {
        self.joiners.iter().filter_map(|joiner| joiner.mark().map(|mark| mark.cursor)).min()
    }

    /// By when [`Maker::give_due`] is to be called, if no further line comes.
    pub fn due(&mut self, now: Wall) -> Option<Wall> {
        (0..self.joiners.len()).filter_map(|slot| self.due_of(slot, now)).min()
    }

    fn due_of(&mut self, slot: usize, now: Wall) -> Option<Wall> {
        let joiner = self.joiners.get(slot).filter(|joiner| joiner.is_holding())?;
        let Some(how) = self.how.as_deref() else { return Some(now) };
        if slot != UNTIMED {
            return joiner.deadline(how);
        }
        let wait = u64::try_from(how.wait.as_micros()).unwrap_or(u64::MAX);
        Some(Wall::from_micros(self.untimed.get_or_insert(now).as_micros().saturating_add(wait)))
    }
}

fn of_joined(owner: &Arc<Owner>, joined: &Joined<'_, Mark>) -> Record {
    record(owner, joined.mark, Parts::of(joined.text, joined.begins))
}

fn record(owner: &Arc<Owner>, Mark { cursor, stream, at }: Mark, parts: Parts) -> Record {
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
    use crate::hands::sinks::samples::{self, record};
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

    /// A maker that joins what is indented, with a wait of a second.
    fn joining() -> Maker {
        let rule = Rule::Continue(Regex::new("^ ").expect("a pattern"));
        let how = Arc::new(Multiline::new(rule, Duration::from_secs(1), 100));
        Maker::new(samples::author(), Some(how))
    }

    /// Lines of a file, each with its time in milliseconds and its offset: the texts of the records.
    fn feed(maker: &mut Maker, lines: &[(u64, Origin, &str, u64)]) -> Vec<Record> {
        let mut out = Vec::new();
        for (at, origin, text, offset) in lines {
            let line = TrailLine {
                at: Some(millis(*at)),
                origin: *origin,
                text: text.trim_end_matches('…').as_bytes(),
                ended: !text.ends_with('…'),
                form: if *origin == Origin::Unknown { Form::Raw } else { Form::Stamped },
                cursor: Cursor { file: 7, offset: *offset, lines: *offset },
            };
            maker.line(&line, |record| out.push(record));
        }
        out
    }

    fn millis(at: u64) -> Wall {
        Wall::from_micros(at * 1000)
    }

    fn texts(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| String::from_utf8_lossy(&record.message).into_owned()).collect()
    }

    fn due(maker: &mut Maker, now: u64) -> Vec<Record> {
        let mut out = Vec::new();
        maker.give_due(millis(now), &mut |record| out.push(record));
        out
    }

    const OUT: Origin = Origin::Stream(Stream::Out);
    const ERR: Origin = Origin::Stream(Stream::Err);

    #[test]
    fn lines_are_joined_by_their_stream_and_what_waits_is_known_by_its_place() {
        let mut maker = joining();
        let mut out =
            feed(&mut maker, &[(0, ERR, "ERROR one", 0), (1, OUT, r#"{"msg":"x","n":1}"#, 1), (2, ERR, " at a", 2)]);
        assert!(out.is_empty());
        assert_eq!(maker.due(millis(5)), Some(millis(1001)));
        assert_eq!(maker.held().map(|at| at.offset), Some(0));
        maker.give(&mut |record| out.push(record));
        assert_eq!(maker.held(), None);
        assert_eq!(texts(&out), ["x", "ERROR one\n at a"]);
        assert_eq!((out[1].level, out[1].id.offset, out[1].at), (Some(Level::Error), 0, millis(0)));
        assert_eq!(out[0].fields, [("n".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_record_that_is_held_when_the_guard_dies_is_whole_with_the_next_one() {
        let lines = [
            (0, OUT, "one", 0),
            (1, OUT, "ERROR", 10),
            (2, OUT, " at a", 20),
            (3, OUT, " at b", 30),
            (4, OUT, "two", 40),
        ];
        let mut maker = joining();
        let mut out = feed(&mut maker, &lines[..3]);
        let saved = maker.held().expect("something is held");
        drop(maker);
        let mut maker = joining();
        let rest: Vec<_> = lines.into_iter().filter(|(.., offset)| *offset >= saved.offset).collect();
        out.extend(feed(&mut maker, &rest));
        out.extend(due(&mut maker, 2000));
        assert_eq!(texts(&out), ["one", "ERROR\n at a\n at b", "two"]);
    }

    #[test]
    fn what_one_stream_holds_does_not_wait_for_the_other_to_fall_silent() {
        let mut maker = joining();
        feed(&mut maker, &[(0, ERR, "ERROR", 0), (1, ERR, " at a", 1)]);
        assert!(feed(&mut maker, &[(900, OUT, "x", 2)]).is_empty());
        assert_eq!(texts(&feed(&mut maker, &[(1500, OUT, "y", 3)])), ["ERROR\n at a", "x"]);
        assert!(due(&mut maker, 2499).is_empty());
        assert_eq!(texts(&due(&mut maker, 2500)), ["y"]);
        assert_eq!(maker.due(millis(9999)), None);
    }

    #[test]
    fn lines_without_a_time_wait_from_when_they_were_read() {
        let mut maker = joining();
        // The index has them in different seconds.
        assert!(feed(&mut maker, &[(0, Origin::Unknown, "ERROR", 0), (2000, Origin::Unknown, " at a", 1)]).is_empty());
        assert_eq!(maker.due(millis(60_000)), Some(millis(61_000)));
        assert_eq!(maker.due(millis(60_500)), Some(millis(61_000)));
        assert!(due(&mut maker, 60_999).is_empty());
        assert_eq!(texts(&due(&mut maker, 61_000)), ["ERROR\n at a"]);
    }

    #[test]
    fn what_is_held_when_the_rule_is_taken_away_is_due_at_once() {
        let mut maker = joining();
        feed(&mut maker, &[(0, OUT, "ERROR", 0), (1, OUT, " at a", 1)]);
        maker.set(None);
        assert_eq!(texts(&due(&mut maker, 2)), ["ERROR\n at a"]);
        assert_eq!(texts(&feed(&mut maker, &[(3, OUT, " at b", 2)])), [" at b"]);
    }

    #[test]
    fn a_record_has_the_address_that_the_computer_has_when_it_is_made() {
        let author = samples::author();
        let mut maker = Maker::new(author.clone(), None);
        let first = feed(&mut maker, &[(0, OUT, "x", 0), (0, OUT, "y", 1)]);
        assert!(Arc::ptr_eq(&first[0].owner, &first[1].owner), "nothing is made anew for a line");
        let moved = Some([198, 51, 100, 7].into());
        author.host.set("elsewhere", moved);
        let second = feed(&mut maker, &[(0, OUT, "z", 2)]);
        assert_ne!(first[1].owner.host_ip, moved);
        assert_eq!((&*second[0].owner.host, second[0].owner.host_ip), ("elsewhere", moved));
    }

    #[test]
    fn what_goes_on_with_a_long_line_is_no_json() {
        let mut maker = Maker::new(samples::author(), None);
        let out = feed(&mut maker, &[(0, OUT, "x…", 0), (0, OUT, r#"{"msg":"y"}"#, 1), (0, OUT, r#"{"msg":"z"}"#, 2)]);
        assert_eq!(texts(&out), ["x", r#"{"msg":"y"}"#, "z"]);
    }
}
