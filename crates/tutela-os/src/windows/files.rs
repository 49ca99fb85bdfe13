//! Files by the rights of their folder: on Windows a folder's access list is inherited.

use crate::Error;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

/// NTFS keeps the order of renames in its journal; there is no folder to flush.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn make_dir(path: &Path, _private: bool) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .create(path)
        .map_err(|source| Error::io(format!("make the folder {}", path.display()), source))
}

pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}
