//! Bytes to lines, in bounded memory.
//!
//! One [`Splitter`] per stream. A line that lies within one chunk is handed on where it lies; the piece of
//! a line at the end of a chunk is held until its end comes. Nothing is held between lines, so a silent
//! stream costs no memory. How the bytes were cut into chunks never changes what comes out.

/// A line longer than this comes in pieces of this length.
///
/// It bounds what one stream can make us hold. 16 KiB is what container runtimes cut at, so tools that
/// put pieces together again know the size; and 1,000 instances with both streams inside such a line
/// hold 32 MiB.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes, without the newline; a CR before it is kept. At most [`LINE_BYTES_MAX`].
    pub text: &'a [u8],
    /// Whether a newline stood behind them.
    pub ended: bool,
}

/// What comes out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Whole lines with their newlines, none longer than [`LINE_BYTES_MAX`]; at least one.
    Lines(&'a [u8]),
    /// A line, or a piece of one.
    Piece(Piece<'a>),
}

impl Part<'_> {
    /// Hands on each line of it.
    pub fn each(self, mut each: impl FnMut(Piece<'_>)) {
        match self {
            Part::Piece(piece) => each(piece),
            Part::Lines(lines) => {
                let mut start = 0;
                for newline in memchr::memchr_iter(b'\n', lines) {
                    each(Piece { text: &lines[start..newline], ended: true });
                    start = newline + 1;
                }
            }
        }
    }
}

/// Cuts one stream into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
}

impl Splitter {
    /// Takes the next bytes and hands on every line and every full piece that they complete.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Piece<'_>)) {
        self.feed_parts(chunk, |part| part.each(&mut each));
    }

    /// The same, but lines that lie whole in the chunk come together.
    pub fn feed_parts(&mut self, chunk: &[u8], mut each: impl FnMut(Part<'_>)) {
        // `rest[..short]`: lines that may be handed on.
        let (mut rest, mut short) = (chunk, 0);
        loop {
            let window = &rest[short..rest.len().min(short + LINE_BYTES_MAX + 1)];
            if self.held.is_empty()
                && let Some(newline) = memchr::memrchr(b'\n', window)
            {
                short += newline + 1;
                continue;
            }
            if short > 0 {
                each(Part::Lines(&rest[..short]));
            }
            (rest, short) = (&rest[short..], 0);
            // The end of what is held, or a line that is too long, or none.
            let Some(newline) = memchr::memchr(b'\n', rest) else { break };
            self.complete(&rest[..newline], &mut |piece: Piece<'_>| each(Part::Piece(piece)));
            rest = &rest[newline + 1..];
        }
        self.hold(rest, &mut |piece: Piece<'_>| each(Part::Piece(piece)));
        if self.held.is_empty() && self.held.capacity() > 0 {
            self.held = Vec::new();
        }
    }

    /// The stream ended: hands on what is held, if anything.
    pub fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            each(Piece { text: &held, ended: false });
        }
    }

    /// A splitter that holds the beginning of a line. `None`: it is longer than any that is held, or has an end.
    pub(crate) fn holding(held: Vec<u8>) -> Option<Self> {
        let fits = held.len() <= LINE_BYTES_MAX && memchr::memchr(b'\n', &held).is_none();
        fits.then_some(Splitter { held })
    }

    /// The bytes of the line that has no end yet.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// `rest` is the end of the line that is held.
    fn complete(&mut self, rest: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        self.hold(rest, each);
        each(Piece { text: &self.held, ended: true });
        self.held.clear();
    }

    /// `more` belongs to the line that is held. A full piece goes only when a further byte of its line
    /// comes, so that a line of exactly the limit stays whole.
    fn hold(&mut self, mut more: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while self.held.len() + more.len() > LINE_BYTES_MAX {
            let room = LINE_BYTES_MAX - self.held.len();
            let (now, later) = more.split_at(room);
            if self.held.is_empty() {
                each(Piece { text: now, ended: false });
            } else {
                self.held.extend_from_slice(now);
                each(Piece { text: &self.held, ended: false });
                self.held.clear();
            }
            more = later;
        }
        self.held.extend_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], cuts: &[usize]) -> (Vec<(Vec<u8>, bool)>, usize) {
        let (mut splitter, mut out, mut most, mut rest) = (Splitter::default(), Vec::new(), 0, bytes);
        for cut in cuts {
            let (chunk, later) = rest.split_at((*cut).min(rest.len()));
            splitter.feed(chunk, |piece| out.push((piece.text.to_vec(), piece.ended)));
            most = most.max(splitter.held().len());
            rest = later;
        }
        splitter.feed(rest, |piece| out.push((piece.text.to_vec(), piece.ended)));
        most = most.max(splitter.held().len());
        splitter.finish(|piece| out.push((piece.text.to_vec(), piece.ended)));
        (out, most)
    }

    #[test]
    fn a_line_of_exactly_the_limit_stays_whole_and_one_byte_more_makes_two_pieces() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.push(b'\n');
        assert_eq!(split(&bytes, &[]).0.len(), 1);
        assert_eq!(split(&bytes, &[LINE_BYTES_MAX]).0.len(), 1);
        bytes.insert(0, b'y');
        let pieces = split(&bytes, &[5, 17]).0;
        assert_eq!(
            pieces.iter().map(|(text, ended)| (text.len(), *ended)).collect::<Vec<_>>(),
            [(LINE_BYTES_MAX, false), (1, true)]
        );
    }

    #[test]
    fn a_hundred_megabytes_without_a_newline_hold_no_more_than_one_piece() {
        let (mut splitter, chunk, mut seen) = (Splitter::default(), vec![b'z'; 64 * 1024], 0);
        for _ in 0..1600 {
            splitter.feed(&chunk, |piece| seen += piece.text.len());
            assert!(splitter.held.capacity() <= 2 * LINE_BYTES_MAX);
        }
        splitter.finish(|piece| seen += piece.text.len());
        assert_eq!(seen, 1600 * 64 * 1024);
    }

    #[test]
    fn nothing_is_held_between_lines() {
        let mut splitter = Splitter::default();
        splitter.feed(b"par", |_| {});
        splitter.feed(b"tial\n", |_| {});
        assert_eq!(splitter.held.capacity(), 0);
    }

    proptest! {
        #[test]
        fn no_cut_changes_the_lines_and_no_byte_is_lost(
            parts in prop::collection::vec((0usize..40_000, any::<bool>()), 0..6),
            cuts in prop::collection::vec(0usize..30_000, 0..12),
        ) {
            let mut bytes = Vec::new();
            for (index, (length, newline)) in parts.iter().enumerate() {
                bytes.extend(std::iter::repeat_n(b'a' + index as u8, *length));
                if *newline {
                    bytes.push(b'\n');
                }
            }
            let (whole, _) = split(&bytes, &[]);
            let (cut, most) = split(&bytes, &cuts);
            prop_assert_eq!(&whole, &cut);
            prop_assert!(most <= LINE_BYTES_MAX);
            let mut again = Vec::new();
            for (text, ended) in cut {
                again.extend(text);
                if ended {
                    again.push(b'\n');
                }
            }
            prop_assert_eq!(again, bytes);
        }
    }
}
