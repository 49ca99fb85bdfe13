//! Files that must be whole or not there at all, private, bounded, and locked; and plain files in folders that others
//! may write to.
//!
//! What is private is so by modes on Linux, and on Windows by an access list of its own, that takes nothing
//! over from the folder above: the system, administrators and this account.

use crate::platform::files::{Spot, Written};
use crate::{Error, platform};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Replaces `path` by a file with these bytes, readable by this account only: after a crash or a power
/// cut there is either the former file or this one. Writes beside it first, so it needs the space twice.
///
/// # Errors
/// The folder is missing or not writable, or the disk is full; the former file is then untouched.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |what: &str, source| Error::io(format!("{what} {}", path.display()), source);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(Error::Refused(format!("{} names no file", path.display())));
    };
    let beside = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written = platform::files::create_private(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| platform::files::place(&beside, path));
    if let Err(source) = placed {
        // What lies beside is our own and useless; that it stays is the lesser evil to hiding the cause.
        drop(std::fs::remove_file(&beside));
        return Err(failed("replace", source));
    }
    platform::files::sync_folder(folder).map_err(|source| failed("make sure of", source))
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is longer ([`Error::Refused`], with both sizes told).
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::io(format!("read {}", path.display()), source);
    let file = File::open(path).map_err(failed)?;
    whole(path, file, limit)
}

/// The same for a file that somebody named, such as a certificate: what is no regular file is refused at once, so that
/// no pipe without a writer and no device holds the reader up.
///
/// # Errors
/// As [`read_bounded`]; and it is no regular file ([`Error::Refused`], with what it is instead).
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::io(format!("read {}", path.display()), source);
    let other = |found: &std::fs::Metadata| {
        Error::Refused(format!("{} is no regular file: it is {}", path.display(), word_of(found)))
    };
    let file = platform::secret::open_file(path).map_err(|source| match std::fs::metadata(path) {
        // A socket, and on Windows a folder, cannot even be opened.
        Ok(found) if !found.is_file() => other(&found),
        Ok(_) | Err(_) => failed(source),
    })?;
    let found = file.metadata().map_err(failed)?;
    if found.is_file() { whole(path, file, limit) } else { Err(other(&found)) }
}

fn whole(path: &Path, file: File, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::io(format!("read {}", path.display()), source);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::Refused(format!(
            "{} is longer than {limit} bytes, which is the most it may have",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Whether two paths lead to one file or folder, which has to be there.
pub fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// What lies under a name where a plain file is expected, in a folder that somebody else may write to.
#[derive(Debug)]
pub enum Plain {
    /// The file.
    File(File),
    /// Something that was put there in its place, in words that go on "is": `a symbolic link`.
    Other(&'static str),
}

/// Opens the plain file at `path` for reading and appending, and makes it where nothing is. Never through a link as
/// the last part of the path, never waiting for whoever is at the other end of a pipe. Where others may write to the
/// folder, a file counts as theirs and not as plain if it has a second name, which may be one in a folder of ours, or
/// belongs to neither this account nor an administrator nor the owner of the folder nor `owner`, whom it is written for.
///
/// A file that is made and is to have a `mode` is this account's alone until [`give`] gives it that.
///
/// # Errors
/// It is missing and cannot be made, or cannot be opened; or a link that a stranger made is on the way to its folder.
pub fn append_plain(path: &Path, mode: Option<u32>, owner: Option<u32>) -> io::Result<Plain> {
    let spot = Spot::of(path)?;
    match spot.make(mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            examined(path, &spot, spot.append(), Written::For(owner))
        }
        made => made.map(Plain::File),
    }
}

/// The same for a file that this account alone may read: where nothing is, it is made so. One that is there keeps the
/// rights that it has.
///
/// # Errors
/// As [`append_plain`].
pub fn append_private(path: &Path) -> io::Result<Plain> {
    let spot = Spot::of(path)?;
    match spot.make_private() {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => examined(path, &spot, spot.append(), Written::For(None)),
    }
}

/// Takes a name out of a folder that others may write to: a file, or a link that lies in its place, never what it leads
/// to, and nothing in a folder to which a stranger's link leads.
///
/// # Errors
/// It is missing, is a folder, or cannot be removed.
pub fn remove_plain(path: &Path) -> io::Result<()> {
    Spot::of(path)?.remove()
}

/// Gives what has the name `from` the name `to`, which is taken from whatever has it; with the care of [`remove_plain`].
///
/// # Errors
/// It is missing, or cannot be renamed.
pub fn rename_plain(from: &Path, to: &Path) -> io::Result<()> {
    Spot::of(from)?.rename(&Spot::of(to)?)
}

/// Makes a folder for such files and those above it, as far as they are missing, none of them behind a stranger's link.
/// They can be entered and listed by everybody as far as the umask lets them, and with `open` whatever it is. On Windows
/// they have the list of the folder above.
///
/// # Errors
/// It cannot be made, or is no folder.
pub fn make_folder(path: &Path, open: bool) -> io::Result<()> {
    platform::files::make_folder(path, open)
}

/// Waits until the names in a folder are on the disk: a file that was made or removed in it stays so after a power cut.
///
/// # Errors
/// The folder is gone, or the disk refuses.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    platform::files::sync_folder(folder)
        .map_err(|source| Error::io(format!("make sure of the folder {}", folder.display()), source))
}

/// Opens the plain file at `path` for reading, with the care of [`append_plain`], but whoever owns it.
///
/// # Errors
/// It is missing or cannot be opened.
pub fn read_plain(path: &Path) -> io::Result<Plain> {
    let spot = Spot::of(path)?;
    examined(path, &spot, spot.read(), Written::Not)
}

/// Gives a file a mode and owners, as far as they are said. On Windows, where files have access lists, it does nothing.
///
/// # Errors
/// It is another account's, or only root may give it away.
pub fn give(file: &File, mode: Option<u32>, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    platform::files::give(file, mode, owner, group)
}

/// What tells this file from every other one that is there at the same time, whatever its name.
///
/// # Errors
/// It cannot be asked, or this OS is not asked for it ([`io::ErrorKind::Unsupported`]).
pub fn identity(file: &File) -> io::Result<(u64, u64)> {
    platform::files::identity(file)
}

/// Gives `to` the mode and owners of `from`. On Windows, where both have the list of their folder, it does nothing.
///
/// # Errors
/// As [`give`].
pub fn like(from: &File, to: &File) -> io::Result<()> {
    platform::files::like(from, to)
}

/// Whether what was opened is what it should be. What cannot be opened and is no file is told as what it is.
fn examined(path: &Path, spot: &Spot, opened: io::Result<File>, written: Written) -> io::Result<Plain> {
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match std::fs::symlink_metadata(path) {
                Ok(found) if !found.is_file() => Ok(Plain::Other(word_of(&found))),
                Ok(_) | Err(_) => Err(error),
            };
        }
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(Plain::Other(word_of(&found)));
    }
    Ok(match spot.foreign(&file, &found, written)? {
        Some(word) => Plain::Other(word),
        None => Plain::File(file),
    })
}

fn word_of(found: &std::fs::Metadata) -> &'static str {
    match found.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a folder",
        _ => "a pipe, a socket or a device",
    }
}

/// Makes `path`, accessible by this account only, and the folders above it; on Windows all that is made is the
/// system's and the administrators'.
///
/// # Errors
/// It cannot be made, or is no folder. On Windows also that it is there already and another account's, which
/// could read and replace whatever is put in it: everybody may make folders in `ProgramData`.
pub fn make_private_dir(path: &Path) -> Result<(), Error> {
    platform::files::make_dir(path, true)
}

/// Makes `path` and the folders above it; those that are made can be entered and listed by everybody.
///
/// # Errors
/// As [`make_private_dir`].
pub fn make_public_dir(path: &Path) -> Result<(), Error> {
    platform::files::make_dir(path, false)
}

/// How much of a folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The folder itself.
    Folder,
    /// The folder as one that leads to something: what matters is who may put another thing in the place of what is in it.
    /// Where only owners may (a sticky folder, as for temporary files), nobody else can.
    Way,
    /// The folder, and what is in it.
    Within,
}

/// Refuses a folder that is not this account's alone: that somebody else owns, or may change, or has put something into.
/// One that is not there is no stranger's. Whoever has to be trusted anyway (root; on Windows the system and the
/// administrators) is no stranger.
///
/// # Errors
/// A stranger's, with the owner, the mode and the command that mends it; or it cannot be looked at.
pub fn refuse_strangers(folder: &Path, look: Look) -> Result<(), Error> {
    platform::files::refuse_strangers(folder, look)
}

/// A lock that one process at a time can hold, by way of a file that says who does. Released when it is
/// dropped or its process ends, however that ends; the file stays.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _held: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("refused: {path} is held by process {}", holder.map_or("unknown".into(), |pid| pid.to_string()), path = path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who, if the file says so.
        holder: Option<u32>,
    },
    /// The file could not be opened, locked or written.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Lock {
    /// Takes the lock at `path` without waiting and writes this process's number into the file.
    ///
    /// # Errors
    /// Somebody else holds it, or the file cannot be used.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let failed = |what: &str, source| Error::io(format!("{what} {}", path.display()), source);
        let mut file = platform::files::open_lock(path).map_err(|source| failed("open the lock", source))?;
        if !platform::files::try_lock(&file, false).map_err(|source| failed("lock", source))? {
            return Err(LockError::Held { path: path.to_owned(), holder: holder_in(&file) });
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|source| failed("write the holder into", source))?;
        Ok(Lock { path: path.to_owned(), _held: file })
    }

    /// Who holds the lock at `path`: `None` when nobody does.
    pub fn holder(path: &Path) -> Option<u32> {
        let file = File::open(path).ok()?;
        match platform::files::try_lock(&file, true) {
            Ok(false) => holder_in(&file),
            Ok(true) | Err(_) => None,
        }
    }

    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The process number in a lock's file. At most twenty digits, so a small read is the whole of it.
fn holder_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        replace(&path, b"four").unwrap();
        assert!(matches!(read_bounded(&path, 3), Err(Error::Refused(_))));
        assert!(matches!(read_regular(&path, 3), Err(Error::Refused(_))));
        assert_eq!(read_regular(&path, 4).unwrap(), b"four");
    }

    #[test]
    fn a_folder_in_the_place_of_a_named_file_is_told_and_so_is_a_file_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = read_regular(dir.path(), 3).unwrap_err().to_string();
        assert!(error.ends_with("is no regular file: it is a folder"), "{error}");
        let missing = read_regular(&dir.path().join("none"), 3).unwrap_err();
        assert_eq!(missing.io_kind(), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_plain_file_is_made_appended_to_and_read_and_a_folder_in_its_place_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        assert_eq!(read_plain(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        for word in ["one ", "two"] {
            let Plain::File(mut file) = append_plain(&path, None, None).unwrap() else { panic!("it is a file") };
            file.write_all(word.as_bytes()).unwrap();
        }
        let Plain::File(mut file) = read_plain(&path).unwrap() else { panic!("it is a file") };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        let folder = dir.path().join("b.log");
        std::fs::create_dir(&folder).unwrap();
        assert!(matches!(append_plain(&folder, None, None).unwrap(), Plain::Other("a folder")));
        assert!(matches!(read_plain(&folder).unwrap(), Plain::Other("a folder")));
        assert_eq!(
            append_plain(&dir.path().join("none/a.log"), None, None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_held_lock_names_its_holder_and_is_free_after_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let lock = Lock::take(&path).unwrap();
        let refused = Lock::take(&path).unwrap_err();
        assert!(matches!(refused, LockError::Held { holder: Some(pid), .. } if pid == std::process::id()));
        assert_eq!(Lock::holder(&path), Some(std::process::id()));
        drop(lock);
        assert_eq!(Lock::holder(&path), None);
        Lock::take(&path).unwrap();
    }
}
