//! The bytes of a log file as they were written, wherever they lie: in the file, or in a compressed one.

use crate::doors::{Doors, Found};
use crate::files;
use crate::pack::Unpacked;
use crate::policy::Compression;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A log file, open for reading.
#[derive(Debug)]
pub(super) enum Source {
    /// As it was written.
    Plain(File),
    /// Compressed since.
    Packed(Box<Unpacked>),
}

impl Source {
    /// `None`: it is not there, or is no file. `path` is its name without the end of a compressed one.
    ///
    /// # Errors
    /// It cannot be opened, or it is compressed and broken ([`io::ErrorKind::InvalidData`]).
    pub(super) fn open(doors: Doors, path: &Path) -> io::Result<Option<Self>> {
        // It is compressed before it is removed, so in this order it is not missed.
        if let Some(file) = found(doors, path)? {
            return Ok(Some(Source::Plain(file)));
        }
        for compression in Compression::ALL {
            let packed = files::packed(path, compression);
            if let Some(file) = found(doors, &packed)? {
                let unpacked = Unpacked::over(file, compression)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", packed.display())))?;
                return Ok(Some(Source::Packed(Box::new(unpacked))));
            }
        }
        Ok(None)
    }

    /// How many bytes it has, or had before it was compressed.
    pub(super) fn length(&self) -> io::Result<u64> {
        match self {
            Source::Plain(file) => Ok(file.metadata()?.len()),
            Source::Packed(unpacked) => Ok(unpacked.length()),
        }
    }

    /// What the system says of the file on the disk.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Source::Plain(file) => file.metadata(),
            Source::Packed(unpacked) => unpacked.file().metadata(),
        }
    }
}

/// `None`: it is not there, or is no file.
fn found(doors: Doors, path: &Path) -> io::Result<Option<File>> {
    match (doors.read)(path) {
        Ok(Found::Plain(file)) => Ok(Some(file)),
        Ok(Found::Other(_)) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(file) => file.read(buffer),
            Source::Packed(unpacked) => unpacked.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Source::Plain(file) => file.seek(to),
            Source::Packed(unpacked) => unpacked.seek(to),
        }
    }
}
