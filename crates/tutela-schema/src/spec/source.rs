//! The files that a spec is read from: a door that tests and fuzzers can put their own files behind, and what is
//! known of each file that was read.

use super::diagnostic::{Code, Diagnostic, Origin};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest spec or environment file that is read, in bytes. A spec of 1,000 services has a tenth of it; more is a
/// mistake, and is refused before it costs memory.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Where files come from.
pub trait Files {
    /// The bytes of the file at `path`, but never more than `limit` + 1 of them.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
}

/// The files of this computer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        // Looked at before it is opened: a pipe without a writer would be waited for without end, and a folder opens
        // on Linux and fails only at the first read, with less to say.
        let about = std::fs::metadata(path)?;
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        file.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Files that exist only here.
impl Files for BTreeMap<PathBuf, Vec<u8>> {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let bytes = self.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes.get(..=limit).unwrap_or(bytes).to_vec())
    }
}

/// A number for a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(u16);

/// A place in a file that was read. Lines are counted only for those that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: FileId,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Every file that was read for one spec.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceMap {
    files: Vec<SourceFile>,
}

#[derive(Debug, Clone)]
struct SourceFile {
    path: PathBuf,
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<u32>,
}

impl SourceMap {
    /// Reads the text file at `real`, which is shown as `path`. The error has no place of its own file unless it is
    /// about its bytes.
    pub(crate) fn load(
        &mut self,
        files: &dyn Files,
        real: &Path,
        path: &Path,
    ) -> Result<(FileId, Arc<str>), Box<LoadFailure>> {
        let bytes = files.read(real, FILE_BYTES_MAX).map_err(LoadFailure::Unreadable).map_err(Box::new)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Box::new(LoadFailure::TooLarge));
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text: Arc<str> = Arc::from(text);
                Ok((self.add(path, Arc::clone(&text)), text))
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let utf16 = matches!(error.as_bytes(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
                let text: Arc<str> = Arc::from(String::from_utf8_lossy(error.as_bytes()));
                let file = self.add(path, text);
                let place = Place::new(file, at..at + '\u{FFFD}'.len_utf8());
                let message = format!("the file is no UTF-8: byte {at} begins no character");
                let diagnostic = Diagnostic::error(Code::NotUtf8, Some(self.origin(place)), message);
                Err(Box::new(LoadFailure::NotUtf8(diagnostic.help(if utf16 {
                    "it looks like UTF-16, as Windows PowerShell writes it; save it as UTF-8"
                } else {
                    "save it as UTF-8"
                }))))
            }
        }
    }

    fn add(&mut self, path: &Path, text: Arc<str>) -> FileId {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| offset(at + 1));
        let lines = std::iter::once(0).chain(starts).collect();
        let id = FileId(u16::try_from(self.files.len()).unwrap_or(u16::MAX));
        self.files.push(SourceFile { path: path.to_path_buf(), text, lines });
        id
    }

    /// Adds an empty file, for a spec that is in none: its places have something to lead to.
    pub(crate) fn add_empty(&mut self) {
        self.add(Path::new(""), Arc::from(""));
    }

    /// How many files were read.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The paths of the files that were read, in that order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The place in words.
    pub(crate) fn origin(&self, place: Place) -> Origin {
        let file = &self.files[usize::from(place.file.0)];
        let clamp = |at: u32| {
            let mut at = (at as usize).min(file.text.len());
            while !file.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (clamp(place.start), clamp(place.end));
        let line = file.lines.partition_point(|begin| *begin as usize <= start).max(1);
        let begin = file.lines.get(line - 1).map_or(0, |begin| *begin as usize);
        // A byte order mark shows nowhere, so it takes no column.
        let shown = file.text.get(begin..start).unwrap_or_default().trim_start_matches('\u{FEFF}');
        Origin {
            file: file.path.clone(),
            line: offset(line),
            column: offset(shown.chars().count() + 1),
            span: start..end.max(start),
            source: Arc::clone(&file.text),
        }
    }
}

/// The place of what stands in no file: the beginning of the first one.
pub(crate) fn no_place() -> Place {
    Place { file: FileId(0), start: 0, end: 0 }
}

impl Place {
    pub(crate) fn new(file: FileId, span: Range<usize>) -> Self {
        Place { file, start: offset(span.start), end: offset(span.end) }
    }
}

/// Files end long before `u32` does: [`FILE_BYTES_MAX`].
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Why a file was not loaded.
pub(crate) enum LoadFailure {
    Unreadable(io::Error),
    TooLarge,
    NotUtf8(Diagnostic),
}

impl LoadFailure {
    /// In words; `origin` is where the file was asked for, `what` it is, such as `the spec file`.
    pub(crate) fn diagnostic(self, what: &str, path: &Path, origin: Option<Origin>) -> Diagnostic {
        let path = path.display();
        match self {
            LoadFailure::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                Diagnostic::error(Code::FileNotFound, origin, format!("{what} {path} does not exist"))
            }
            LoadFailure::Unreadable(error) => {
                Diagnostic::error(Code::FileUnreadable, origin, format!("{what} {path} cannot be read: {error}"))
            }
            LoadFailure::TooLarge => Diagnostic::error(
                Code::FileTooLarge,
                origin,
                format!("{what} {path} is larger than the {} KiB that one can have", FILE_BYTES_MAX / 1024),
            )
            .help("is it the right file?"),
            LoadFailure::NotUtf8(diagnostic) => diagnostic,
        }
    }
}
