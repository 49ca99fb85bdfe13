//! Where the chain lies: a folder with a file for each day that has entries, and the head beside it.
//!
//! `audit/2026-11-21-000000000042.jsonl` begins with entry 42. The number gives the order, whatever the clock did. Files
//! are only appended to, and removed as a whole; the head, `audit.head`, is replaced after entries are on the disk, and
//! lies outside of the folder, so that whoever removes the folder does not remove what tells of it.
//!
//! Deliberately absent: what entries say; threads.

use super::chain::{Hash, LINE_BYTES_MAX, Link, Sealed, open};
use super::verify::{Head, Line, Report, Verifier};
use crate::hands::spawner::chain as words;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use tutela_os::files::{self, Plain};
use tutela_schema::audit::AUDIT_VERSION;

/// The folder of the files, in the guard's state folder.
pub const FOLDER: &str = "audit";

/// The file's name that says how far the chain goes, in the guard's state folder.
pub const HEAD: &str = "audit.head";

/// What files of entries end with.
const EXTENSION: &str = "jsonl";

/// The length of a day: `2026-11-21`.
pub const DAY_CHARS: usize = 10;

/// The longest head. A number and a hash have 100 bytes.
const HEAD_BYTES_MAX: u64 = 4096;

/// How often a look at the files is begun anew because retention removed one of them meanwhile. It does so once a day.
const LOOKS: u32 = 3;

/// One file of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The number of the entry that it was made for.
    pub first: u64,
    /// The day that it was made for.
    pub day: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Volume {
    /// The name that people are told.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where a file of this day goes that begins with entry `first`.
    pub fn at(state_dir: &Path, day: &str, first: u64) -> Volume {
        let path = state_dir.join(FOLDER).join(format!("{day}-{first:012}.{EXTENSION}"));
        Volume { first, day: day.to_owned(), path }
    }
}

/// The files, in the order of their entries. None where there is no folder.
///
/// # Errors
/// The folder cannot be read.
pub fn volumes(state_dir: &Path) -> io::Result<Vec<Volume>> {
    let entries = match std::fs::read_dir(state_dir.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let parts = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
            let (day, first) = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.split_at_checked(DAY_CHARS)?;
            Some((day.to_owned(), first.strip_prefix('-')?.parse().ok()?))
        });
        if let Some((day, first)) = parts {
            found.push(Volume { first, day, path });
        }
    }
    found.sort_by(|a, b| (a.first, &a.path).cmp(&(b.first, &b.path)));
    Ok(found)
}

#[derive(Serialize, Deserialize)]
struct HeadForm {
    v: u64,
    seq: u64,
    hash: String,
}

/// Reads the head.
///
/// # Errors
/// It may not be read.
pub fn read_head(state_dir: &Path) -> io::Result<Head> {
    let path = state_dir.join(HEAD);
    let bytes = match files::read_plain(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Head::None),
        Err(error) => return Err(error),
        Ok(Plain::Other(what)) => return Ok(Head::Damaged(format!("{} is {what}", path.display()))),
        Ok(Plain::File(file)) => {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, HEAD_BYTES_MAX), &mut bytes)?;
            bytes
        }
    };
    let form: Result<HeadForm, _> = serde_json::from_slice(&bytes);
    Ok(match form.map(|form| (form.seq, Hash::parse(form.hash.as_bytes()))) {
        Ok((seq, Some(hash))) => Head::At(Link { seq, hash }),
        Ok((_, None)) => Head::Damaged(format!("{} has no hash", path.display())),
        Err(error) => Head::Damaged(format!("{}: {error}", path.display())),
    })
}

/// Replaces the head; it is on the disk afterwards.
///
/// # Errors
/// It cannot be written; the former one is untouched.
pub fn write_head(state_dir: &Path, link: Link) -> Result<(), String> {
    let form = HeadForm { v: AUDIT_VERSION, seq: link.seq, hash: link.hash.to_string() };
    // Two numbers and a text: there is no value that JSON cannot hold.
    let mut text = serde_json::to_vec(&form).expect("a head has only what JSON can hold");
    text.push(b'\n');
    files::replace(&state_dir.join(HEAD), &text).map_err(|error| words(&error))
}

/// Hands each line of a file to `each`, until it says no.
///
/// # Errors
/// The file cannot be read.
pub fn each_line(path: &Path, mut each: impl FnMut(Line<'_>) -> bool) -> io::Result<()> {
    let file = match files::read_plain(path)? {
        Plain::File(file) => file,
        Plain::Other(what) => return Err(io::Error::other(format!("it is {what}"))),
    };
    let mut lines = Lines { reader: BufReader::with_capacity(64 * 1024, file), text: Vec::new(), offset: 0 };
    while let Some((bytes, ended)) = lines.next()? {
        let offset = lines.offset - bytes;
        if !each(Line { text: &lines.text, offset, bytes, ended }) {
            break;
        }
    }
    Ok(())
}

struct Lines {
    reader: BufReader<File>,
    /// The line, or as much of it as is worth keeping.
    text: Vec<u8>,
    /// Where the next one begins.
    offset: u64,
}

impl Lines {
    /// Reads the next line into `text`; how long it is, and whether it has an end.
    fn next(&mut self) -> io::Result<Option<(u64, bool)>> {
        self.text.clear();
        let mut bytes = 0;
        let ended = loop {
            let piece = self.reader.fill_buf()?;
            if piece.is_empty() {
                break false;
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(piece, |end| &piece[..end]);
            // One byte more than a line may have tells that it has more.
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.text.len());
            self.text.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            bytes += used as u64;
            self.reader.consume(used);
            if end.is_some() {
                break true;
            }
        };
        self.offset += bytes;
        Ok((bytes > 0).then_some((bytes, ended)))
    }
}

/// The end of a file of entries.
#[derive(Debug, Default)]
pub struct Tail {
    /// The last entry that follows the one before it. Behind zeros, which a power cut may leave, there may be whole
    /// lines that follow nothing.
    pub last: Option<Sealed>,
    /// Where its line ends.
    pub whole: u64,
    /// How long the file is.
    pub bytes: u64,
    /// Whether its last line has an end.
    pub ended: bool,
}

/// Looks for the last whole entry of a file.
///
/// # Errors
/// It cannot be read.
pub fn tail_of(path: &Path) -> io::Result<Tail> {
    let mut tail = Tail { ended: true, ..Tail::default() };
    each_line(path, |line| {
        tail.bytes = line.offset + line.bytes;
        tail.ended = line.ended;
        // One that only lacks its end is whole; who goes on behind it gives it one.
        if let Ok(sealed) = open(line.text)
            && tail.last.as_ref().is_none_or(|last| sealed.follows(last.link) || sealed.broken.is_some())
        {
            (tail.last, tail.whole) = (Some(sealed), tail.bytes);
        }
        true
    })?;
    Ok(tail)
}

/// Looks at the whole chain in a guard's state folder, whether the guard runs or not.
///
/// # Errors
/// Folder or head may not be read.
pub fn verify(state_dir: &Path, anchors: &[Link]) -> io::Result<Report> {
    for _ in 1..LOOKS {
        if let Some(report) = look(state_dir, anchors, false)? {
            return Ok(report);
        }
    }
    Ok(look(state_dir, anchors, true)?.unwrap_or_default())
}

/// `None`: a file went away meanwhile; `last`: then it is a fault.
fn look(state_dir: &Path, anchors: &[Link], last: bool) -> io::Result<Option<Report>> {
    // The head first: what is written meanwhile is younger than it, and nothing is missing.
    let mut verifier = Verifier::new(read_head(state_dir)?, anchors);
    for volume in volumes(state_dir)? {
        verifier.file(&volume.name());
        let read = each_line(&volume.path, |line| {
            verifier.line(line);
            true
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !last => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(error) => verifier.unreadable(&error.to_string()),
            Ok(()) => {}
        }
    }
    Ok(Some(verifier.finish()))
}
