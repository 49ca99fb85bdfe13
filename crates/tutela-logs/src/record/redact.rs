//! Masks what must not be written: secrets that are known, and what looks like one.
//!
//! One [`Redactor`] for many streams; what it has to remember of one of them is that stream's [`Tail`]. Called by the
//! pump with every piece of a line, before anybody but the guard's own log patterns sees it, and by whoever quotes
//! output elsewhere. Where there is nothing to mask it is not called at all.
//!
//! # What is masked
//!
//! Each place becomes `***`.
//! - *Secrets*: texts of at least [`SECRET_BYTES_MIN`] bytes, a secret of several lines line by line. Also as they
//!   stand in JSON, in a URL (percent-encoded) and within base64, at each of its three alignments: a password is told
//!   in a header `Authorization: Basic` too.
//! - *Patterns*: regular expressions; of one with groups, what its groups matched, else the whole match.
//!
//! Both are sought in the line as it was, so that no mask hides another.
//!
//! # Long lines
//!
//! The splitter cuts long lines; a secret that lies across the cut is found all the same, since the end of a piece is
//! held until the next one comes. A pattern's match is found across a cut where it is at most
//! [`PATTERN_REACH`] bytes long; `^` and `$` also stand at a cut.
//!
//! Deliberately absent: other encodings, secrets across newlines, finding secrets by how random they look.

use crate::lines::{LINE_BYTES_MAX, Piece};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder, RegexSet};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";

/// A shorter secret is not masked: it would be found in half of all lines, and is none.
pub const SECRET_BYTES_MIN: usize = 6;

/// A match of a pattern that is no longer than this is found across the cuts of a long line.
pub const PATTERN_REACH: usize = 256;

/// A longer secret is sought in parts of this length, so that what is held at a cut stays small.
const PART_BYTES: usize = 512;

/// The shortest piece of base64 that is sought: six bytes of a secret, at any alignment.
const BASE64_CHARS_MIN: usize = 7;

/// How large a compiled pattern may be; as that of a log probe.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It is no regular expression.
    #[error("{0}")]
    Syntax(String),
    /// It would mask every place of every line.
    #[error("it matches the empty text")]
    Empty,
}

/// Masks. Two are equal when they mask the same.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every form of every secret.
    literals: BTreeSet<Vec<u8>>,
    search: Option<AhoCorasick>,
    patterns: Vec<Regex>,
    /// Whether any pattern has a match, in one go.
    any: RegexSet,
    /// How much of a cut line's end is held.
    reach: usize,
}

/// What a redactor has to remember of one stream: the end of a line that was cut, as it was.
#[derive(Debug, Default)]
pub struct Tail {
    held: Vec<u8>,
    /// The first so many bytes of it are masked and handed on already.
    done: usize,
}

impl Tail {
    /// Whether it holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What it holds, and how much of that is handed on already.
    pub(crate) fn parts(&self) -> (&[u8], usize) {
        (&self.held, self.done)
    }

    /// As it was taken apart.
    pub(crate) fn of_parts(held: Vec<u8>, done: usize) -> Self {
        Tail { held, done }
    }
}

impl std::fmt::Debug for Redactor {
    /// Tells no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let patterns: Vec<_> = self.patterns.iter().map(Regex::as_str).collect();
        f.debug_struct("Redactor")
            .field("literals", &self.literals.len())
            .field("patterns", &patterns)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Redactor {
    fn eq(&self, other: &Self) -> bool {
        self.literals == other.literals
            && self.patterns.len() == other.patterns.len()
            && self.patterns.iter().zip(&other.patterns).all(|(one, two)| one.as_str() == two.as_str())
    }
}

impl Eq for Redactor {}

/// Reads a pattern.
///
/// # Errors
/// [`BadPattern`].
pub fn pattern(text: &str) -> Result<Regex, BadPattern> {
    let regex = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        let why = error.to_string();
        BadPattern::Syntax(why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })?;
    // Not every pattern that can match nothing does so in an empty text: \b wants a word beside it.
    let matches_nothing =
        ["", "a b\n-", "0"].iter().any(|sample| regex.find_iter(sample.as_bytes()).any(|it| it.is_empty()));
    if matches_nothing { Err(BadPattern::Empty) } else { Ok(regex) }
}

impl Redactor {
    /// Masks these secrets and what these patterns match. Secrets that are too short are left out.
    ///
    /// # Errors
    /// The first pattern that cannot be used, by its index.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        patterns: &[String],
    ) -> Result<Self, (usize, BadPattern)> {
        let mut literals = BTreeSet::new();
        secrets.into_iter().for_each(|secret| add_forms(secret, &mut literals));
        let compiled = patterns.iter().enumerate().map(|(at, text)| pattern(text).map_err(|bad| (at, bad)));
        let compiled: Vec<Regex> = compiled.collect::<Result<_, _>>()?;
        let too_much = |what: &str| (0, BadPattern::Syntax(format!("{what} are too many")));
        let any = regex::bytes::RegexSetBuilder::new(patterns)
            .size_limit(PATTERN_BYTES_MAX * patterns.len().max(1))
            .build()
            .map_err(|_| too_much("the patterns"))?;
        let search = match literals.is_empty() {
            true => None,
            false => {
                let mut builder = AhoCorasick::builder();
                let built = builder.match_kind(MatchKind::LeftmostLongest).build(&literals);
                Some(built.map_err(|_| too_much("the secrets"))?)
            }
        };
        let longest = literals.iter().map(|it| it.len().saturating_sub(1)).max().unwrap_or(0);
        let reach = longest.max(if compiled.is_empty() { 0 } else { PATTERN_REACH });
        Ok(Redactor { literals, search, patterns: compiled, any, reach })
    }

    /// Whether there is nothing to mask.
    pub fn is_idle(&self) -> bool {
        self.search.is_none() && self.patterns.is_empty()
    }

    /// The text, masked. For texts that are whole.
    pub fn text<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match self.find(text) {
            None => Cow::Borrowed(text),
            Some(places) => {
                let mut out = Vec::with_capacity(text.len());
                mask(text, 0..text.len(), &places, &mut out);
                Cow::Owned(out)
            }
        }
    }

    /// Takes the next piece of a stream and hands on what of it is masked: pieces that put together are the stream,
    /// and none is longer than the splitter's.
    pub fn piece(&self, tail: &mut Tail, piece: Piece<'_>, mut each: impl FnMut(Piece<'_>)) {
        if tail.is_empty() && piece.ended {
            match self.text(piece.text) {
                Cow::Borrowed(_) => each(piece),
                Cow::Owned(masked) => hand_on(&masked, true, &mut each),
            }
            return;
        }
        let Tail { held: mut text, done } = std::mem::take(tail);
        text.extend_from_slice(piece.text);
        let until = if piece.ended { text.len() } else { text.len().saturating_sub(self.reach).max(done) };
        let places = self.find(&text).unwrap_or_default();
        // A place that begins before the cut is handed on as a whole; what lies in it may yet be a part of another one.
        let until = places.iter().find(|it| it.start < until && it.end > until).map_or(until, |it| it.end);
        let mut out = Vec::with_capacity(text.len());
        mask(&text, done..until, &places, &mut out);
        if piece.ended {
            hand_on(&out, true, &mut each);
            return;
        }
        if !out.is_empty() {
            hand_on(&out, false, &mut each);
        }
        let from = text.len().saturating_sub(self.reach).min(until);
        *tail = Tail { held: text.split_off(from), done: until - from };
    }

    /// The stream ended: hands on what is held, if anything.
    pub fn finish(&self, tail: &mut Tail, mut each: impl FnMut(Piece<'_>)) {
        let Tail { held, done } = std::mem::take(tail);
        if held.len() > done {
            let mut out = Vec::with_capacity(held.len());
            mask(&held, done..held.len(), &self.find(&held).unwrap_or_default(), &mut out);
            hand_on(&out, false, &mut each);
        }
    }

    /// What has to be masked, in order and apart from each other. `None`: nothing.
    fn find(&self, text: &[u8]) -> Option<Vec<Range<usize>>> {
        let literal = self.search.as_ref().is_some_and(|search| search.is_match(text));
        let pattern = !self.patterns.is_empty() && self.any.is_match(text);
        if !literal && !pattern {
            return None;
        }
        let mut places: Vec<Range<usize>> = Vec::new();
        if literal {
            // Each on its own, since one may begin within another.
            for literal in &self.literals {
                let mut from = 0;
                while let Some(at) = memchr::memmem::find(&text[from..], literal) {
                    places.push(from + at..from + at + literal.len());
                    from += at + 1;
                }
            }
        }
        for regex in self.patterns.iter().filter(|_| pattern) {
            if regex.captures_len() == 1 {
                places.extend(regex.find_iter(text).map(|it| it.range()));
            } else {
                let groups = regex.captures_iter(text).flat_map(|it| {
                    let mut groups: Vec<_> = it.iter().skip(1).flatten().map(|group| group.range()).collect();
                    if groups.is_empty() {
                        groups.extend(it.get(0).map(|whole| whole.range()));
                    }
                    groups
                });
                places.extend(groups);
            }
        }
        places.retain(|it| !it.is_empty());
        places.sort_unstable_by_key(|it| it.start);
        places.dedup_by(|next, last| {
            let touches = next.start <= last.end;
            if touches {
                last.end = last.end.max(next.end);
            }
            touches
        });
        Some(places)
    }
}

/// Writes `part` of the text with a mask for each place.
fn mask(text: &[u8], part: Range<usize>, places: &[Range<usize>], out: &mut Vec<u8>) {
    let mut from = part.start;
    for place in places {
        let (start, end) = (place.start.max(from), place.end.min(part.end));
        if start < end {
            out.extend_from_slice(&text[from..start]);
            out.extend_from_slice(MASK);
            from = end;
        }
    }
    out.extend_from_slice(&text[from..part.end]);
}

/// Masks can make a text longer; the pieces stay as long as the splitter's.
fn hand_on(text: &[u8], ended: bool, each: &mut impl FnMut(Piece<'_>)) {
    let mut rest = text;
    while rest.len() > LINE_BYTES_MAX {
        let (now, later) = rest.split_at(LINE_BYTES_MAX);
        each(Piece { text: now, ended: false });
        rest = later;
    }
    each(Piece { text: rest, ended });
}

/// Adds every form in which a secret may stand in a line.
fn add_forms(secret: &str, out: &mut BTreeSet<Vec<u8>>) {
    // The frame of a key in PEM is known to everybody.
    let lines = secret.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.starts_with("-----"));
    for line in lines {
        let mut rest = line.as_bytes();
        while rest.len() >= SECRET_BYTES_MIN {
            // A part that would be too short belongs to the one before.
            let length = if rest.len() >= PART_BYTES + SECRET_BYTES_MIN { PART_BYTES } else { rest.len() };
            let (part, later) = rest.split_at(length);
            add_part(part, out);
            rest = later;
        }
    }
}

fn add_part(part: &[u8], out: &mut BTreeSet<Vec<u8>>) {
    out.insert(part.to_vec());
    let mut json = Vec::new();
    super::json::put_escaped(part, &mut json);
    out.insert(json);
    for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        let (mut url, mut form) = (Vec::new(), Vec::new());
        for byte in part {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                url.push(*byte);
                form.push(*byte);
            } else {
                let escaped = [b'%', hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]];
                url.extend_from_slice(&escaped);
                if *byte == b' ' { form.push(b'+') } else { form.extend_from_slice(&escaped) }
            }
        }
        out.insert(url);
        out.insert(form);
    }
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(part);
        // The first characters and the last one also have bits of what stands beside it.
        let (skip, whole) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let inner = &text.as_bytes()[skip..whole];
            if inner.len() >= BASE64_CHARS_MIN {
                out.insert(inner.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::lines::Splitter;
    use proptest::prelude::*;

    fn redactor(secrets: &[&str], patterns: &[&str]) -> Redactor {
        let patterns: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
        Redactor::new(secrets.iter().copied(), &patterns).unwrap()
    }

    fn masked(redactor: &Redactor, text: &str) -> String {
        String::from_utf8(redactor.text(text.as_bytes()).into_owned()).unwrap()
    }

    /// Through a splitter, cut at these places: what comes out, put together again.
    fn through(redactor: &Redactor, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut splitter, mut tail, mut out, mut rest) = (Splitter::default(), Tail::default(), Vec::new(), bytes);
        let mut take = |piece: Piece<'_>| {
            assert!(piece.text.len() <= LINE_BYTES_MAX);
            out.extend_from_slice(piece.text);
            if piece.ended {
                out.push(b'\n');
            }
        };
        for cut in cuts {
            let (chunk, later) = rest.split_at((*cut).min(rest.len()));
            splitter.feed(chunk, |piece| redactor.piece(&mut tail, piece, &mut take));
            rest = later;
        }
        splitter.feed(rest, |piece| redactor.piece(&mut tail, piece, &mut take));
        splitter.finish(|piece| redactor.piece(&mut tail, piece, &mut take));
        redactor.finish(&mut tail, &mut take);
        out
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands_and_short_ones_are_left() {
        let redactor = redactor(&["hunter2!", "abc"], &[]);
        assert_eq!(masked(&redactor, "login hunter2! abc hunter2!hunter2!"), "login *** abc ***");
        assert!(matches!(redactor.text(b"nothing here"), Cow::Borrowed(_)));
        assert!(super::tests::redactor(&["abc"], &[]).is_idle());
    }

    #[test]
    fn secrets_that_overlap_leave_no_half_of_either() {
        assert_eq!(masked(&redactor(&["abcdef", "defghi"], &[]), "xabcdefghix"), "x***x");
        assert_eq!(masked(&redactor(&["abcdef", "abcdefgh"], &[]), "abcdefghi"), "***i");
        assert_eq!(masked(&redactor(&["aaaaaa"], &[]), "aaaaaaaaab"), "***b");
    }

    #[test]
    fn a_secret_is_masked_in_json_in_a_url_and_in_base64_at_every_alignment() {
        let secret = "p\"ss w/rd&äöü";
        let redactor = redactor(&[secret], &[]);
        assert_eq!(masked(&redactor, r#"{"a":"p\"ss w/rd&äöü"}"#), r#"{"a":"***"}"#);
        for url in [
            "p%22ss%20w%2Frd%26%C3%A4%C3%B6%C3%BC",
            "p%22ss%20w%2frd%26%c3%a4%c3%b6%c3%bc",
            "p%22ss+w%2Frd%26%C3%A4%C3%B6%C3%BC",
        ] {
            assert_eq!(masked(&redactor, url), "***");
        }
        for user in ["", "u", "us", "use"] {
            let coded = STANDARD_NO_PAD.encode(format!("{user}:{secret}:x"));
            let shown = masked(&redactor, &coded);
            assert!(shown.contains("***") && shown.len() < user.len() * 2 + 14, "{shown}");
        }
    }

    #[test]
    fn each_line_of_a_secret_of_several_lines_is_masked_but_for_its_frame() {
        let redactor = redactor(&["-----BEGIN KEY-----\r\nMIIEvQIBADAN\r\nBgkqhkiG9w0B\r\n-----END KEY-----\n"], &[]);
        assert_eq!(masked(&redactor, "-----BEGIN KEY-----"), "-----BEGIN KEY-----");
        assert_eq!(masked(&redactor, "MIIEvQIBADAN\r"), "***\r");
        assert_eq!(masked(&redactor, "> BgkqhkiG9w0B"), "> ***");
    }

    #[test]
    fn a_pattern_masks_its_groups_or_its_match() {
        let redactor = redactor(&[], &[r"token=(\w+)", r"\b\d{4}-\d{4}\b", "(?i)bearer ([a-z]+)|secret"]);
        let text = "token=abc 1234-5678 Bearer xyz and a secret, token=";
        assert_eq!(masked(&redactor, text), "token=*** *** Bearer *** and a ***, token=");
    }

    #[test]
    fn a_pattern_is_sought_in_the_line_as_it_was_even_where_a_secret_is_masked() {
        let redactor = redactor(&["deadbeef"], &["key-[a-f0-9]{12}"]);
        assert_eq!(masked(&redactor, "key-deadbeef1234."), "***.");
    }

    #[test]
    fn a_pattern_that_is_none_or_matches_nothing_is_refused() {
        let bad = |text: &str| Redactor::new([], &["ok".to_owned(), text.to_owned()]).unwrap_err();
        assert!(matches!(bad("("), (1, BadPattern::Syntax(_))));
        for empty in ["", "a*", r"\b", "^", "$", "(x|)", "(?:)"] {
            assert_eq!(bad(empty), (1, BadPattern::Empty), "{empty}");
        }
    }

    #[test]
    fn a_match_across_the_cut_of_a_long_line_is_masked() {
        let redactor = redactor(&["hunter2!"], &[r"tok_[a-z]{20}"]);
        for back in 0..30 {
            let mut line = vec![b'x'; LINE_BYTES_MAX - back];
            line.extend_from_slice(b"hunter2! tok_abcdefghijklmnopqrst!");
            line.extend(vec![b'y'; LINE_BYTES_MAX]);
            line.push(b'\n');
            let out = through(&redactor, &line, &[100]);
            assert!(memchr::memmem::find(&out, b"x*** ***!y").is_some(), "{back}");
            assert_eq!(out.len(), line.len() - 5 - 21);
        }
    }

    #[test]
    fn masks_that_make_a_line_longer_make_more_pieces_of_it() {
        let redactor = redactor(&[], &["a"]);
        let mut line = [b'a', b'b'].repeat(LINE_BYTES_MAX / 2);
        line.push(b'\n');
        assert_eq!(through(&redactor, &line, &[]).len(), LINE_BYTES_MAX * 2 + 1);
    }

    #[test]
    fn what_it_says_of_itself_has_no_secret() {
        assert!(!format!("{:?}", redactor(&["hunter2!"], &[])).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_secret_survives_however_the_bytes_come(
            parts in prop::collection::vec((0usize..6, 1usize..9000), 1..12),
            cuts in prop::collection::vec(0usize..9000, 0..12),
        ) {
            // Overlapping each other and themselves on purpose.
            let secrets = ["abcdefgh", "efghabcd", "ghabab", "ababab"];
            let redactor = redactor(&secrets, &[]);
            let mut bytes = Vec::new();
            for (kind, length) in parts {
                match kind {
                    0 => bytes.extend(std::iter::repeat_n(b'-', length)),
                    1 => bytes.push(b'\n'),
                    2 => bytes.extend(b"abcdefgh".iter().cycle().take(length)),
                    3 => bytes.extend(b"ab".iter().cycle().take(length % 40)),
                    4 => bytes.extend_from_slice(b"efghabcdefghab"),
                    _ => bytes.extend(std::iter::repeat_n(b'c', LINE_BYTES_MAX - length % 30)),
                }
            }
            let out = through(&redactor, &bytes, &cuts);
            for secret in secrets {
                prop_assert!(memchr::memmem::find(&out, secret.as_bytes()).is_none());
            }
            // What is left is what no secret covers, in its order.
            let kept = |text: &[u8]| text.iter().copied().filter(|byte| b"-\n".contains(byte)).collect::<Vec<_>>();
            prop_assert_eq!(kept(&out), kept(&bytes));
            prop_assert!(through(&redactor, &bytes, &[]) == out);
        }

        #[test]
        fn without_a_secret_in_them_bytes_stay_as_they_are(bytes: Vec<u8>, cuts in prop::collection::vec(0usize..100, 0..5)) {
            prop_assert_eq!(through(&redactor(&["a secret that nobody writes"], &["nor%this"]), &bytes, &cuts), bytes);
        }
    }
}
