//! From the end of a file backwards: where do its last so many wanted lines begin?

use super::Query;
use super::entry::{head, is_wanted};
use super::source::Source;
use crate::policy::Form;
use crate::stamp::{StampReader, Wall};
use crate::writer::{HEAD_BYTES, read_up_to};
use std::io::{self, Seek, SeekFrom};

/// How much is read at once.
const BLOCK_BYTES: u64 = 64 * 1024;

/// How far the beginning of a line is looked for. What is longer is no line that anybody wrote to be read, such as what a
/// power cut left of a file, and may be as long as the disk.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of the end of a longer one is shown: in one piece, so that it stands behind its mark.
const SHOWN_BYTES: u64 = 8 * 1024;

/// Where the last wanted lines begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All of them are there, from this offset on.
    All(u64),
    /// There are fewer.
    Fewer(usize),
    /// A line's beginning is too far away, and so is what is before it: from this offset on, within that line.
    Cut(u64),
}

/// Looks for the `want`th wanted line between two starts of lines, from the end. Lines in what is broken of a compressed
/// file are none. `written` is the time of lines that have none of their own.
pub(super) fn start_of_last(
    file: &mut Source,
    (from, length): (u64, u64),
    form: Form,
    written: Wall,
    query: &Query,
    want: usize,
) -> io::Result<Found> {
    let (mut stamps, mut found) = (StampReader::default(), 0);
    let mut counts = |line: &[u8]| {
        let (at, origin) = head(line, form, &mut stamps);
        is_wanted(query, origin, at.unwrap_or(written))
    };
    // The block, and behind it the first bytes of the block after it: a line's head may lie across.
    let mut block = vec![0; BLOCK_BYTES as usize + HEAD_BYTES];
    let (mut end, mut after) = (length, Vec::new());
    // A newline at the very end closes the last line and begins none.
    let mut is_end = true;
    // Where the line ends whose beginning is looked for.
    let mut line_end = length;
    while end > from {
        if line_end - end >= LINE_BYTES_MAX {
            return Ok(Found::Cut(line_end - SHOWN_BYTES));
        }
        let start = end.saturating_sub(BLOCK_BYTES).max(from);
        let size = (end - start) as usize;
        file.seek(SeekFrom::Start(start))?;
        let size = match read_up_to(file, &mut block[..size]) {
            // A compressed file that is broken here may be whole before. Whoever reads on from there meets it, and tells.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                (after, end, is_end, line_end) = (Vec::new(), start, false, start);
                continue;
            }
            size => size?,
        };
        let filled = size + after.len();
        block[size..filled].copy_from_slice(&after);
        for newline in memchr::memrchr_iter(b'\n', &block[..size]) {
            let begins_line = !(is_end && newline + 1 == size);
            (is_end, line_end) = (false, start + newline as u64);
            if begins_line && counts(line_at(&block[..filled], newline + 1)) {
                found += 1;
                if found == want {
                    return Ok(Found::All(start + newline as u64 + 1));
                }
            }
        }
        is_end = false;
        if start == from && filled > 0 && counts(line_at(&block[..filled], 0)) {
            found += 1;
            if found == want {
                return Ok(Found::All(from));
            }
        }
        after = block[..size.min(HEAD_BYTES)].to_vec();
        end = start;
    }
    Ok(Found::Fewer(found))
}

/// The line that begins at `from`, as far as it is needed.
fn line_at(bytes: &[u8], from: usize) -> &[u8] {
    let rest = &bytes[from..bytes.len().min(from + HEAD_BYTES)];
    memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..end])
}

const _: () = assert!((HEAD_BYTES as u64) < BLOCK_BYTES && SHOWN_BYTES < LINE_BYTES_MAX);
