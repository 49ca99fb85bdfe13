//! The form of an entry in a file with timestamps, and the batch in which entries go to the disk.

use super::status::Count;
use crate::lines::{LINE_BYTES_MAX, Piece};
use crate::policy::{Form, Stream};
use crate::record::join::Joined;
use crate::record::json;
use crate::record::normal::{normalise, plain};
use crate::stamp::{STAMP_BYTES, StampReader, Stamper, Wall};

/// Entries go to the disk when this many bytes of them are waiting, and at the end of every chunk. A
/// write call this large costs next to nothing per byte.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// The word of a note of ours in a file.
pub(crate) const GAP: &str = "gap";

/// The length of everything before the text of an ended entry: stamp, blank, word, blank.
pub(crate) const PREFIX_BYTES: usize = STAMP_BYTES + 5;

/// The longest entry: a prefix with a `+`, a full piece, the newline.
const ENTRY_BYTES_MAX: usize = PREFIX_BYTES + 1 + LINE_BYTES_MAX + 1;

/// The longest line in a file of this form, as far as nobody else wrote it.
pub(crate) const fn entry_bytes_max(form: Form) -> usize {
    match form {
        Form::Raw => LINE_BYTES_MAX,
        Form::Stamped => ENTRY_BYTES_MAX,
        Form::Json => json::RECORD_LINE_BYTES_MAX,
    }
}

/// How much of a file's beginning tells its form, and how much of a line tells its moment and stream, in every form.
pub(crate) const HEAD_BYTES: usize = 64;

/// The form of a file that begins like this; [`HEAD_BYTES`] of it are enough.
pub(crate) fn form_of(head: &[u8]) -> Form {
    let line = memchr::memchr(b'\n', head).map_or(head, |end| &head[..end]);
    let mut stamps = StampReader::default();
    if parse(line, &mut stamps).is_some() {
        Form::Stamped
    } else if json::read_head(line, &mut stamps).is_some() {
        Form::Json
    } else {
        Form::Raw
    }
}

/// Entries on their way to a file. One for all writers of a thread: it is empty between two chunks.
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: Count,
    /// Of records: where each ends, and what the program wrote for it, which they do not tell.
    pub(crate) records: Vec<(usize, Count)>,
    /// How many newlines are in `bytes`.
    pub(crate) entries: u64,
    /// The earliest and the latest moment of an entry in `bytes`.
    pub(crate) span: Option<(Wall, Wall)>,
    /// It is for a tray: everything of a turn is gathered here, whatever it is, and nothing goes to a file.
    pub(crate) staged: bool,
    /// What was gathered is the chunk as it is, which is not copied here.
    pub(crate) verbatim: bool,
    stamper: Stamper,
    /// What stands before the text of each ended entry of this moment and stream: those of a chunk are one.
    prefix: (Wall, Stream, [u8; PREFIX_BYTES]),
    /// For the times that programs say themselves.
    times: Stamper,
}

impl Default for Batch {
    fn default() -> Self {
        let bytes = Vec::with_capacity(BATCH_BYTES + ENTRY_BYTES_MAX);
        Batch {
            bytes,
            count: Count::default(),
            entries: 0,
            span: None,
            staged: false,
            verbatim: false,
            records: Vec::new(),
            prefix: (Wall::default(), Stream::Out, *b"1970-01-01T00:00:00.000000Z out "),
            stamper: Stamper::default(),
            times: Stamper::default(),
        }
    }
}

impl Batch {
    /// Adds a line or a piece of one.
    pub(super) fn push(&mut self, at: Wall, stream: Stream, piece: Piece<'_>) {
        let prefix = self.prefix(at, stream);
        if piece.ended {
            self.bytes.extend_from_slice(&prefix);
        } else {
            self.bytes.extend_from_slice(&prefix[..PREFIX_BYTES - 1]);
            self.bytes.extend_from_slice(b"+ ");
        }
        self.bytes.extend_from_slice(piece.text);
        self.bytes.push(b'\n');
        self.entries += 1;
        self.count.add(count_of(piece.text.len(), piece.ended));
    }

    /// Adds whole lines until there are so many bytes in it, or all, at least one; answers how much of them that is.
    pub(super) fn push_lines(&mut self, at: Wall, stream: Stream, lines: &[u8], until: usize) -> usize {
        let prefix = self.prefix(at, stream);
        let (mut taken, mut entries) = (0, 0);
        for newline in memchr::memchr_iter(b'\n', lines) {
            self.bytes.extend_from_slice(&prefix);
            self.bytes.extend_from_slice(&lines[taken..=newline]);
            taken = newline + 1;
            entries += 1;
            if self.bytes.len() >= until {
                break;
            }
        }
        self.entries += entries;
        self.count.add(Count { bytes: taken as u64, lines: entries });
        taken
    }

    /// What stands before the text of an ended entry, which is about to be added.
    fn prefix(&mut self, at: Wall, stream: Stream) -> [u8; PREFIX_BYTES] {
        self.cover(at);
        let (known_at, known_stream, text) = &mut self.prefix;
        if (*known_at, *known_stream) != (at, stream) {
            text[..STAMP_BYTES].copy_from_slice(self.stamper.text(at));
            text[STAMP_BYTES + 1..PREFIX_BYTES - 1].copy_from_slice(stream.word().as_bytes());
            (*known_at, *known_stream) = (at, stream);
        }
        *text
    }

    /// An entry of this moment is about to be added.
    fn cover(&mut self, at: Wall) {
        self.span = Some(self.span.map_or((at, at), |(earliest, latest)| (earliest.min(at), latest.max(at))));
    }

    /// Adds a record. `owner` is what [`json::put_owner`] wrote.
    pub(super) fn push_record(&mut self, stream: Stream, joined: &Joined<'_, ()>, owner: &[u8]) {
        let normal = if joined.begins { normalise(joined.text) } else { plain(joined.text) };
        self.cover(joined.at);
        let stamp = self.stamper.text(joined.at);
        json::put_record(stamp, Some(stream), owner, &normal, !joined.ended, &mut self.times, &mut self.bytes);
        let count = count_of_record(joined);
        self.records.push((self.bytes.len(), count));
        self.entries += 1;
        self.count.add(count);
    }

    /// What the program wrote for the whole entries in the first so many bytes.
    pub(super) fn count_of(&self, bytes: usize, form: Form) -> Count {
        match form {
            Form::Raw => Count::of_raw(&self.bytes[..bytes]),
            Form::Stamped => count_of_entries(&self.bytes[..bytes]),
            Form::Json => {
                let mut count = Count::default();
                self.records.iter().take_while(|(end, _)| *end <= bytes).for_each(|(_, of)| count.add(*of));
                count
            }
        }
    }

    /// A note that something is missing here; for records with their owner.
    pub(super) fn gap(&mut self, at: Wall, missing: Count, why: &str, owner: Option<&[u8]>) -> Vec<u8> {
        if let Some(owner) = owner {
            let mut note = Vec::new();
            json::put_gap(self.stamper.text(at), owner, missing.bytes, missing.lines, why, &mut note);
            return note;
        }
        let stamp = String::from_utf8_lossy(self.stamper.text(at)).into_owned();
        let Count { bytes, lines } = missing;
        format!("{stamp} {GAP} {bytes} bytes in {lines} lines were not stored: {why}\n").into_bytes()
    }

    pub(crate) fn clear(&mut self) {
        (self.staged, self.verbatim) = (false, false);
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES + ENTRY_BYTES_MAX);
        self.records.clear();
        self.count = Count::default();
        self.entries = 0;
        self.span = None;
    }
}

/// What the program wrote for an entry with this text.
pub(super) fn count_of(text_bytes: usize, ended: bool) -> Count {
    Count { bytes: text_bytes as u64 + u64::from(ended), lines: u64::from(ended) }
}

/// What the program wrote for a record.
pub(super) fn count_of_record(joined: &Joined<'_, ()>) -> Count {
    Count { bytes: joined.text.len() as u64 + u64::from(joined.ended), lines: u64::from(joined.lines) }
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
