//! The bytes of a log file as they were written, wherever they lie.

use crate::doors::{Doors, Found};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A log file, open for reading.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
}

impl Source {
    /// `None`: it is not there, or is no file. `path` is its name without the end of a compressed one.
    pub(super) fn open(doors: Doors, path: &Path) -> io::Result<Option<Self>> {
        match (doors.read)(path) {
            Ok(Found::Plain(file)) => Ok(Some(Source { file })),
            Ok(Found::Other(_)) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What the system says of the file on the disk.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
