//! Which of the numbered lines of `bench/writer.c` are in the files, whatever a subject puts around them.

use super::files;
use crate::subject::Speech;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Where the line begins: in no timestamp of anybody.
const MARK: u8 = b'#';

/// `#0007 000000123 `: the mark, the program, the line.
const HEAD_BYTES: usize = 16;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Lines that are whole in no file.
    pub(super) missing: u64,
    /// Lines that are there more than once.
    pub(super) doubled: u64,
    /// Pieces of lines: by a rotation in their middle, or because bytes are missing.
    pub(super) cut: u64,
}

impl Tally {
    /// Reads every file below `folder`, in which `count` programs wrote what `speech` says.
    ///
    /// # Errors
    /// One cannot be read.
    pub(super) fn of(folder: &Path, count: u32, speech: Speech) -> Result<Self> {
        let lines = usize::try_from(speech.lines)?;
        let mut there = vec![false; usize::try_from(count)? * lines];
        let mut tally = Tally { missing: u64::try_from(there.len())?, ..Tally::default() };
        // A line of JSON has its own words around the text, whose length is then not known from outside.
        let text = usize::try_from(speech.bytes)? - 1;
        let mut line = Vec::new();
        for path in files(folder)? {
            if path.extension().is_some_and(|end| end == "index") {
                continue;
            }
            let place = || format!("cannot read {}", path.display());
            let mut reader = BufReader::with_capacity(1 << 18, File::open(&path).with_context(place)?);
            loop {
                line.clear();
                if reader.read_until(b'\n', &mut line).with_context(place)? == 0 {
                    break;
                }
                let found = number(&line, text).and_then(|(program, number)| {
                    there.get_mut(program.checked_mul(lines)?.checked_add(number).filter(|_| number < lines)?)
                });
                match found {
                    Some(place) if *place => tally.doubled += 1,
                    Some(place) => {
                        *place = true;
                        tally.missing -= 1;
                    }
                    None if line.contains(&MARK) || line.windows(2).any(|two| two == b"aa") => tally.cut += 1,
                    // A subject's own words.
                    None => {}
                }
            }
        }
        Ok(tally)
    }
}

/// The program and the number of a line that is whole: `text` bytes from the mark to the newline, or, in an object of
/// JSON, to the quotation mark.
fn number(line: &[u8], text: usize) -> Option<(usize, usize)> {
    let mark = line.iter().position(|byte| *byte == MARK)?;
    let from_mark = &line[mark..];
    let head = from_mark.get(..HEAD_BYTES)?;
    let end = from_mark.iter().rposition(|byte| *byte == b'a')? + 1;
    let after = &from_mark[end..];
    let is_json = line.first() == Some(&b'{');
    let is_whole = if is_json { after.first() == Some(&b'"') } else { after == b"\n" && end == text };
    let filled = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'a');
    if !is_whole || head[5] != b' ' || head[15] != b' ' || (!is_json && !filled(&from_mark[HEAD_BYTES..end])) {
        return None;
    }
    let digits = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    Some((digits(&head[1..5])?, digits(&head[6..15])?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::subject::{Form, Manner};

    const SPEECH: Speech = Speech { lines: 4, bytes: 20, manner: Manner::Bulk, form: Form::Stamped, keep: 1 };

    #[test]
    fn a_line_that_is_missing_cut_or_there_twice_is_told() {
        let folder = std::env::temp_dir().join(format!("tutela-tally-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("s0000")).unwrap();
        let whole = "@4000 #0000 000000000 aaa\n2026 out #0000 000000001 aaa\n#0000 000000001 aaa\n";
        std::fs::write(folder.join("s0000/out.log"), whole).unwrap();
        std::fs::write(folder.join("s0000/out.log.1"), "s52428800\n#0000 000000002 aa\na\n#0000 0000").unwrap();
        let tally = Tally::of(&folder, 1, SPEECH).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(tally, Tally { missing: 2, doubled: 1, cut: 2 });
    }

    #[test]
    fn a_line_within_an_object_is_found() {
        assert_eq!(number(b"{\"m\":\"#0003 000000012 aa\",\"z\":1}\n", 99), Some((3, 12)));
        assert_eq!(number(b"{\"m\":\"#0003 000000012 aa\n", 99), None);
    }
}
