//! How log files are opened: by whoever uses this crate.
//!
//! The folder of a log may belong to the account whose program writes the log, and that account may put a link or a
//! pipe where a file should be. An open that such a thing can neither lead elsewhere nor hold up is a matter of the
//! operating system, which this crate does not know. Called where a file is opened, which is rare; never per line.

use crate::policy::Access;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// What lies under the name of a log file.
#[derive(Debug)]
pub enum Found {
    /// A plain file, open.
    Plain(File),
    /// Something else, in words that go on "is": `a symbolic link`. It was not opened.
    Other(&'static str),
}

/// Opens log files, and puts them away. No function follows a link in the last part of the path, nor waits for anybody,
/// nor does anything in a folder to which somebody leads it who is not to be trusted.
#[derive(Clone, Copy)]
pub struct Doors {
    /// For reading and appending; the file is made where nothing is, and then lets nobody in whom it is not to let in.
    pub append: fn(&Path, Access) -> io::Result<Found>,
    /// For reading.
    pub read: fn(&Path) -> io::Result<Found>,
    /// Gives a file its mode and owners.
    pub give: fn(&File, Access) -> io::Result<()>,
    /// Gives the second file the mode and the owners of the first.
    pub like: fn(&File, &File) -> io::Result<()>,
    /// What tells a file from every other one that is there, whatever its name.
    pub identity: fn(&File) -> io::Result<(u64, u64)>,
    /// Gives a file another name in its folder.
    pub rename: fn(&Path, &Path) -> io::Result<()>,
    /// Removes a file, or a link in its place.
    pub remove: fn(&Path) -> io::Result<()>,
    /// Makes a folder for files of this access, and those above it.
    pub folder: fn(&Path, Access) -> io::Result<()>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

/// Those of the tests: the ones that the guard uses.
#[cfg(test)]
pub(crate) mod tests {
    use super::{Access, Doors, Found};
    use tutela_os::files::{
        Plain, append_plain, give, identity, like, make_folder, read_plain, remove_plain, rename_plain,
    };

    fn found(plain: Plain) -> Found {
        match plain {
            Plain::File(file) => Found::Plain(file),
            Plain::Other(word) => Found::Other(word),
        }
    }

    pub(crate) const DOORS: Doors = Doors {
        append: |path, access| append_plain(path, access.mode, access.owner).map(found),
        read: |path| read_plain(path).map(found),
        give: |file, access| give(file, access.mode, access.owner, access.group),
        like,
        identity,
        rename: rename_plain,
        remove: remove_plain,
        folder: |path, access| make_folder(path, access != Access::default()),
    };
}
