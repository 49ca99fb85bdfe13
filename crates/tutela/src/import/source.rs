//! The files that are imported: their bytes, their encoding, and why they cannot be read.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest file that is read, in bytes. A registry export of every service of a busy server has about 10 MiB in
/// UTF-16; all other formats have a thousandth of it. What is longer is something else.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the files beside a source come from: what it includes, and `.env`.
pub trait Surroundings {
    /// The bytes of the file, but never more than [`FILE_BYTES_MAX`] + 1 of them.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
}

/// The files of this computer.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnDisk;

impl Surroundings for OnDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Looked at before it is opened: a pipe without a writer would be waited for without end.
        let about = std::fs::metadata(path)?;
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// One file that is imported.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is, for what stands beside it.
    pub path: PathBuf,
    /// What it is called in messages and in the report.
    pub shown: Arc<str>,
    /// Its folder, absolute, in the notation of the OS that its programs run on.
    pub here: String,
    /// Whether the spec will be written into the same folder, so that relative paths stay what they are.
    pub beside: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Source {
    /// What relative paths of the source begin with in the spec.
    pub(super) fn folder(&self) -> &str {
        if self.beside { "." } else { &self.here }
    }

    /// A path of the source as the spec writes it: a relative one starts at the folder of the source.
    pub(super) fn path(&self, path: &str) -> String {
        let rest = path.trim_start_matches("./");
        match () {
            () if path.starts_with('/') || path.starts_with("~") => path.to_owned(),
            () if matches!(path.as_bytes(), [_, b':', ..]) || path.starts_with('\\') => path.to_owned(),
            () if rest.is_empty() || rest == "." => self.folder().to_owned(),
            () if self.beside => path.to_owned(),
            () => format!("{}/{rest}", self.here.trim_end_matches('/')),
        }
    }

    /// Its text: UTF-8, or UTF-16 where a mark says so.
    pub(super) fn text(&self) -> Result<String, Box<ImportError>> {
        let text = decode(&self.bytes, &self.shown)?;
        if text.trim().is_empty() {
            return Err(ImportError::at(&self.shown, 1, 1, "the file is empty").help("is it the right file?"));
        }
        Ok(text)
    }
}

/// The text of a file, without the mark at its beginning.
pub(super) fn decode(bytes: &[u8], shown: &str) -> Result<String, Box<ImportError>> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than the {} MiB that one can have", FILE_BYTES_MAX / 1024 / 1024);
        return Err(ImportError::at(shown, 1, 1, message).help("is it the right file?"));
    }
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes, shown)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes, shown)?,
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, shown)?,
        bytes => utf8(bytes, shown)?,
    };
    if let Some(at) = text.find('\0') {
        let (line, column) = place(&text, at);
        let message = "the file has the character NUL, which no configuration has";
        return Err(
            ImportError::at(shown, line, column, message).help("is it a binary file, or UTF-16 without its mark?")
        );
    }
    Ok(text)
}

fn utf8(bytes: &[u8], shown: &str) -> Result<String, Box<ImportError>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let before = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
            let (line, column) = place(&before, before.len());
            let message = format!("the file is no UTF-8: byte {} begins no character", error.valid_up_to());
            Err(ImportError::at(shown, line, column, message).help("save it as UTF-8, or as UTF-16 with its mark"))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, shown: &str) -> Result<String, Box<ImportError>> {
    let bad = |text: &str, message: &str| {
        let (line, column) = place(text, text.len());
        Err(ImportError::at(shown, line, column, message).help("export it again"))
    };
    let mut text = String::with_capacity(bytes.len() / 2);
    let pairs = bytes.chunks_exact(2);
    let odd = !pairs.remainder().is_empty();
    for unit in char::decode_utf16(pairs.filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(unit)) {
        match unit {
            Ok(character) => text.push(character),
            Err(_) => return bad(&text, "the file is no UTF-16: half of a character stands alone"),
        }
    }
    if odd { bad(&text, "the file is no UTF-16: it ends within a character") } else { Ok(text) }
}

/// Line and column, from 1, of a byte of the text.
pub(super) fn place(text: &str, at: usize) -> (u32, u32) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// Why a source cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What and why.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl ImportError {
    pub(super) fn at(file: &str, line: u32, column: u32, message: impl Into<String>) -> Box<Self> {
        Box::new(ImportError { file: file.to_owned(), line, column, message: message.into(), help: None })
    }

    pub(super) fn help(mut self: Box<Self>, help: impl Into<String>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }
}

/// `refused: FILE:LINE:COLUMN: what`.
impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}
