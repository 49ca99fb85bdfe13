//! Files and folders with modes. How a file is reached in a folder of others: [`super::spot`].

pub(crate) use super::spot::{Spot, Written, make_folder};
pub(crate) use super::trust::refuse_strangers;
use crate::Error;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A rename is on disk when its folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(crate) fn make_dir(path: &Path, private: bool) -> Result<(), Error> {
    let failed = |source| Error::io(format!("make the folder {}", path.display()), source);
    let build = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
    // Folders above are of others too: of guards with accounts of their own, which have to get through.
    if let Some(above) = path.parent().filter(|_| private) {
        build(above, 0o755).map_err(failed)?;
    }
    build(path, if private { 0o700 } else { 0o755 }).map_err(failed)
}

/// Readable by everybody: it says who holds the lock, and only who may write can take it.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// In place of what is there, at once.
pub(crate) fn place(beside: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(beside, path)
}

/// Whether the lock was to be had.
pub(crate) fn try_lock(file: &File, shared: bool) -> io::Result<bool> {
    match if shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

pub(crate) fn give(file: &File, mode: Option<u32>, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::fchown(file, owner, group)?;
    }
    // Behind the owner: giving a file away may take bits from its mode.
    match mode {
        Some(mode) => file.set_permissions(Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

/// Device and inode.
pub(crate) fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

pub(crate) fn like(from: &File, to: &File) -> io::Result<()> {
    let (from, to_is) = (from.metadata()?, to.metadata()?);
    let owner = (from.uid() != to_is.uid()).then_some(from.uid());
    let group = (from.gid() != to_is.gid()).then_some(from.gid());
    give(to, Some(from.mode() & 0o7777), owner, group)
}
