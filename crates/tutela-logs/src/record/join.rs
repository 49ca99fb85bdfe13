//! Lines to records: which lines belong together, as those of a stack trace do.
//!
//! One [`Joiner`] per stream. Called by the pump, which joins what goes into JSON files as it comes, and by whoever
//! makes records from files, which hold lines. It is a machine without a clock: it is fed pieces of lines with the
//! moment of each, and says by when it wants to be asked again.
//!
//! ```text
//!            a line that begins a record            the same: the record that is held is given
//!   empty ───────────────────────────────▶ holding ◀──┐ a line that belongs to it: it grows
//!     ▲                                       │  └────┘
//!     └───────────────────────────────────────┘ the wait is over, a bound is reached, the stream ended: it is given
//! ```
//!
//! Without a rule each line is a record of its own and nothing is held. The pieces of a line that is longer than the
//! splitter holds never wait for their end: without a rule they are given one by one.
//!
//! Deliberately absent: rules that look at more than one line, knowledge of programming languages.

use crate::lines::Piece;
use crate::stamp::Wall;
use regex::bytes::Regex;
use std::time::Duration;

/// The longest text of a record: four of the longest lines, which is a stack trace of some five hundred frames. It
/// bounds what a program can make us hold.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// How lines are joined.
#[derive(Debug, Clone)]
pub struct Multiline {
    rule: Rule,
    /// How long a record waits for a further line.
    pub wait: Duration,
    /// How many lines a record has at most; at least 1.
    pub lines: u32,
}

/// What tells whether a line belongs to the one before.
#[derive(Debug, Clone)]
pub enum Rule {
    /// A line with a match begins a record; others belong to the one before.
    Start(Regex),
    /// A line with a match belongs to the one before; others begin a record.
    Continue(Regex),
}

impl Multiline {
    /// Joins by `rule`.
    pub fn new(rule: Rule, wait: Duration, lines: u32) -> Self {
        Multiline { rule, wait, lines: lines.max(1) }
    }

    fn begins(&self, line: &[u8]) -> bool {
        match &self.rule {
            Rule::Start(regex) => regex.is_match(line),
            Rule::Continue(regex) => !regex.is_match(line),
        }
    }
}

/// Patterns are the same when their texts are.
impl PartialEq for Multiline {
    fn eq(&self, other: &Self) -> bool {
        let rules = match (&self.rule, &other.rule) {
            (Rule::Start(one), Rule::Start(two)) | (Rule::Continue(one), Rule::Continue(two)) => {
                one.as_str() == two.as_str()
            }
            (Rule::Start(_), Rule::Continue(_)) | (Rule::Continue(_), Rule::Start(_)) => false,
        };
        rules && self.wait == other.wait && self.lines == other.lines
    }
}

impl Eq for Multiline {}

/// Lines that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined<'a, M> {
    /// What was fed with its first line.
    pub mark: M,
    /// The moment of its first line.
    pub at: Wall,
    /// The lines, with a newline between two, none behind the last. At most [`RECORD_BYTES_MAX`].
    pub text: &'a [u8],
    /// How many lines end in it.
    pub lines: u32,
    /// Whether it begins where a line begins; else it goes on with a line that was too long.
    pub begins: bool,
    /// Whether it ends where a line ends.
    pub ended: bool,
}

/// Joins the lines of one stream. `M` is what the caller wants to know again of a record's first line, such as where it
/// stands. Dropping it drops what it holds.
#[derive(Debug)]
pub struct Joiner<M = ()> {
    held: Option<Box<Held<M>>>,
    /// The last piece had no end: the next one goes on with its line.
    within_line: bool,
}

/// A record that is not whole yet.
#[derive(Debug)]
pub(crate) struct Held<M> {
    pub(crate) mark: M,
    pub(crate) at: Wall,
    /// The moment of its last piece.
    pub(crate) last: Wall,
    pub(crate) text: Vec<u8>,
    pub(crate) lines: u32,
    pub(crate) begins: bool,
    pub(crate) ended: bool,
}

impl<M> Default for Joiner<M> {
    fn default() -> Self {
        Joiner { held: None, within_line: false }
    }
}

impl<M> Joiner<M> {
    /// What is held, and whether the last piece had no end.
    pub(crate) fn held(&self) -> (Option<&Held<M>>, bool) {
        (self.held.as_deref(), self.within_line)
    }

    /// A joiner as it was.
    pub(crate) fn holding(held: Option<Held<M>>, within_line: bool) -> Self {
        Joiner { held: held.map(Box::new), within_line }
    }
}

impl<M: Clone> Joiner<M> {
    /// Takes the next piece, and hands on the records that are whole by it. A line that comes later than the wait after
    /// the one before begins a record, however late it is fed: so the same lines make the same records when they are
    /// read again.
    pub fn feed(
        &mut self,
        how: Option<&Multiline>,
        mark: M,
        at: Wall,
        piece: Piece<'_>,
        mut each: impl FnMut(Joined<'_, M>),
    ) {
        let begins = !std::mem::replace(&mut self.within_line, !piece.ended);
        let lines = u32::from(piece.ended);
        let Some(how) = how else {
            self.give(&mut each);
            each(Joined { mark, at, text: piece.text, lines, begins, ended: piece.ended });
            return;
        };
        let goes_on = self.held.as_ref().is_some_and(|held| {
            let fits = held.text.len() + 1 + piece.text.len() <= RECORD_BYTES_MAX;
            let follows = || held.lines < how.lines && at.since(held.last) < how.wait && !how.begins(piece.text);
            fits && (!begins || follows())
        });
        if !goes_on {
            self.give(&mut each);
            let text = piece.text.to_vec();
            self.held = Some(Box::new(Held { mark, at, last: at, text, lines, begins, ended: piece.ended }));
        } else if let Some(held) = &mut self.held {
            if begins {
                held.text.push(b'\n');
            }
            held.text.extend_from_slice(piece.text);
            held.lines += lines;
            (held.ended, held.last) = (piece.ended, at);
        }
    }

    /// Hands on what is held: the wait is over, or the stream.
    pub fn give(&mut self, each: &mut impl FnMut(Joined<'_, M>)) {
        if let Some(held) = self.held.take() {
            let Held { mark, at, text, lines, begins, ended, .. } = *held;
            each(Joined { mark, at, text: &text, lines, begins, ended });
        }
    }

    /// Whether something is held.
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Where what is held begins, for a reader that has to come back to it.
    pub fn mark(&self) -> Option<&M> {
        self.held.as_ref().map(|held| &held.mark)
    }

    /// By when [`Joiner::give`] is due, if no further line comes. `None`: nothing is held.
    pub fn deadline(&self, how: &Multiline) -> Option<Wall> {
        let held = self.held.as_ref()?;
        let wait = u64::try_from(how.wait.as_micros()).unwrap_or(u64::MAX);
        Some(Wall::from_micros(held.last.as_micros().saturating_add(wait)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    fn start(pattern: &str) -> Multiline {
        Multiline::new(Rule::Start(Regex::new(pattern).unwrap()), Duration::from_millis(500), 500)
    }

    fn indented() -> Multiline {
        Multiline::new(Rule::Continue(Regex::new(r"^[ \t]").unwrap()), Duration::from_millis(500), 500)
    }

    /// Feeds lines of these milliseconds: the texts of the records, and what is held at the end.
    fn join(how: &Multiline, lines: &[(u64, &str)]) -> (Vec<String>, bool) {
        let (mut joiner, mut out) = (Joiner::default(), Vec::new());
        for (index, (at, line)) in lines.iter().enumerate() {
            let piece = Piece { text: line.as_bytes(), ended: true };
            joiner.feed(Some(how), index, Wall::from_micros(at * 1000), piece, |joined| {
                assert!(joined.begins && joined.ended);
                assert!(lines[joined.mark].1.as_bytes() == joined.text.split(|b| *b == b'\n').next().unwrap());
                out.push(String::from_utf8(joined.text.to_vec()).unwrap());
            });
        }
        (out, joiner.is_holding())
    }

    #[test]
    fn a_stack_trace_is_one_record_whether_its_begin_or_its_rest_is_told() {
        let lines = [(0, "2026 error: boom"), (1, "  at a"), (2, "  at b"), (3, "2026 went on"), (4, "2026 last")];
        for how in [start("^2026"), indented()] {
            let (records, holding) = join(&how, &lines);
            assert_eq!(records, ["2026 error: boom\n  at a\n  at b", "2026 went on"]);
            assert!(holding);
        }
    }

    #[test]
    fn a_rest_without_a_begin_is_a_record_of_its_own() {
        assert_eq!(join(&start("^2026"), &[(0, "  at x"), (0, "2026")]).0, ["  at x"]);
    }

    #[test]
    fn a_line_that_comes_after_the_wait_begins_a_record_whatever_it_looks_like() {
        let (records, _) = join(&indented(), &[(0, "a"), (400, " b"), (899, " c"), (1399, " d")]);
        assert_eq!(records, ["a\n b\n c"]);
    }

    #[test]
    fn what_is_held_is_due_a_wait_after_its_last_line() {
        let (how, mut joiner) = (indented(), Joiner::default());
        assert_eq!(joiner.deadline(&how), None);
        for at in [10, 20] {
            joiner.feed(Some(&how), (), Wall::from_micros(at), Piece { text: b" x", ended: true }, |_| panic!());
        }
        assert_eq!(joiner.deadline(&how), Some(Wall::from_micros(500_020)));
        let mut given = Vec::new();
        joiner.give(&mut |joined| given.push((joined.at, joined.lines)));
        assert_eq!(given, [(Wall::from_micros(10), 2)]);
        assert_eq!(joiner.deadline(&how), None);
    }

    #[test]
    fn a_record_has_no_more_lines_than_it_may() {
        let mut how = indented();
        how.lines = 2;
        assert_eq!(join(&how, &[(0, "a"), (0, " b"), (0, " c"), (0, " d"), (0, "e")]).0, ["a\n b", " c\n d"]);
    }

    #[test]
    fn the_pieces_of_a_long_line_stay_together_and_are_told_where_they_cannot() {
        let (how, mut joiner, mut out) = (start("^x"), Joiner::default(), Vec::new());
        let long = vec![b'x'; 16 * 1024];
        for ended in [false, false, false, false, true] {
            joiner.feed(Some(&how), (), Wall::default(), Piece { text: &long, ended }, |joined| {
                out.push((joined.text.len(), joined.begins, joined.ended));
            });
        }
        joiner.give(&mut |joined| out.push((joined.text.len(), joined.begins, joined.ended)));
        assert_eq!(out, [(3 * long.len(), true, false), (2 * long.len(), false, true)]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_made_whatever_the_rule(
            pieces in prop::collection::vec(("[ a]{0,6}", any::<bool>(), 0u64..2_000_000), 0..40),
            by_start: bool,
            has_rule: bool,
            most in 1u32..5,
        ) {
            let mut how = if by_start { start("^a") } else { indented() };
            how.lines = most;
            let (mut joiner, mut fed, mut got, mut at) = (Joiner::default(), Vec::new(), Vec::new(), 0);
            let mut take = |joined: Joined<'_, ()>| {
                got.extend_from_slice(joined.text);
                if joined.ended {
                    got.push(b'\n');
                }
            };
            for (text, ended, gap) in &pieces {
                at += gap;
                fed.extend_from_slice(text.as_bytes());
                if *ended {
                    fed.push(b'\n');
                }
                let piece = Piece { text: text.as_bytes(), ended: *ended };
                joiner.feed(has_rule.then_some(&how), (), Wall::from_micros(at), piece, &mut take);
            }
            joiner.give(&mut take);
            prop_assert_eq!(got, fed);
        }
    }
}
