//! The form of an entry in a file with timestamps, and the batch in which entries go to the disk.

use super::status::Count;
use crate::lines::{LINE_BYTES_MAX, Piece};
use crate::policy::Stream;
use crate::stamp::{STAMP_BYTES, StampReader, Stamper, Wall};

/// Entries go to the disk when this many bytes of them are waiting, and at the end of every chunk. A
/// write call this large costs next to nothing per byte.
const BATCH_BYTES: usize = 64 * 1024;

/// The word of a note of ours in a file.
pub(crate) const GAP: &str = "gap";

/// The length of everything before the text of an ended entry: stamp, blank, word, blank.
pub(crate) const PREFIX_BYTES: usize = STAMP_BYTES + 5;

/// The longest entry: a prefix with a `+`, a full piece, the newline.
pub(crate) const ENTRY_BYTES_MAX: usize = PREFIX_BYTES + 1 + LINE_BYTES_MAX + 1;

/// Entries on their way to a file. One for all writers of a thread: it is empty between two chunks.
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) count: Count,
    /// How many newlines are in `bytes`.
    pub(super) entries: u64,
    stamper: Stamper,
}

impl Default for Batch {
    fn default() -> Self {
        let bytes = Vec::with_capacity(BATCH_BYTES + ENTRY_BYTES_MAX);
        Batch { bytes, count: Count::default(), entries: 0, stamper: Stamper::default() }
    }
}

impl Batch {
    /// Whether it has to go to the disk before it takes more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// Adds a line or a piece of one.
    pub(super) fn push(&mut self, at: Wall, stream: Stream, piece: Piece<'_>) {
        self.bytes.extend_from_slice(self.stamper.text(at));
        self.bytes.extend_from_slice(match (stream, piece.ended) {
            (Stream::Out, true) => b" out ",
            (Stream::Err, true) => b" err ",
            (Stream::Out, false) => b" out+ ",
            (Stream::Err, false) => b" err+ ",
        });
        self.bytes.extend_from_slice(piece.text);
        self.bytes.push(b'\n');
        self.entries += 1;
        self.count.add(count_of(piece.text.len(), piece.ended));
    }

    /// A note that something is missing here.
    pub(super) fn gap(&mut self, at: Wall, missing: Count, why: &str) -> Vec<u8> {
        let stamp = String::from_utf8_lossy(self.stamper.text(at)).into_owned();
        let Count { bytes, lines } = missing;
        format!("{stamp} {GAP} {bytes} bytes in {lines} lines were not stored: {why}\n").into_bytes()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = Count::default();
        self.entries = 0;
    }
}

/// What the program wrote for an entry with this text.
fn count_of(text_bytes: usize, ended: bool) -> Count {
    Count { bytes: text_bytes as u64 + u64::from(ended), lines: u64::from(ended) }
}

/// What the program wrote for these whole entries.
pub(super) fn count_of_entries(entries: &[u8]) -> Count {
    let (mut count, mut start) = (Count::default(), 0);
    for newline in memchr::memchr_iter(b'\n', entries) {
        let entry = &entries[start..newline];
        let ended = entry.get(PREFIX_BYTES - 1) == Some(&b' ');
        count.add(count_of(entry.len() - PREFIX_BYTES - usize::from(!ended), ended));
        start = newline + 1;
    }
    count
}

/// An entry, taken apart.
pub(crate) struct Parsed<'a> {
    pub(crate) at: Wall,
    /// `None`: a note of ours.
    pub(crate) stream: Option<Stream>,
    pub(crate) piece: Piece<'a>,
}

/// Takes an entry apart, without its newline. `None`: it is none.
pub(crate) fn parse<'a>(entry: &'a [u8], reader: &mut StampReader) -> Option<Parsed<'a>> {
    let at = reader.read(entry)?;
    let rest = entry[STAMP_BYTES..].strip_prefix(b" ")?;
    let (word, rest) = rest.split_at_checked(3)?;
    let stream = match word {
        b"out" => Some(Stream::Out),
        b"err" => Some(Stream::Err),
        word if word == GAP.as_bytes() => None,
        _ => return None,
    };
    let (ended, rest) = match rest.strip_prefix(b"+") {
        Some(rest) => (false, rest),
        None => (true, rest),
    };
    let text = rest.strip_prefix(b" ")?;
    Some(Parsed { at, stream, piece: Piece { text, ended } })
}
