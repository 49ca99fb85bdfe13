//! Files and folders with access lists of their own, and files put in place of others.
//!
//! A folder that is there already is looked at before it is trusted, as [`super::trust`] says.

use super::security::{Descriptor, Sid, Token, descriptor};
use super::trust;
use super::wide::{done, terminated};
use crate::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, GENERIC_READ,
    GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandle, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
    MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

/// How often a file is put in place of another one that somebody has open. Virus scanners and backups have
/// files open for moments, readers for as long as a read takes.
const PLACE_TRIES: u32 = 40;

/// How long it rests in between: a second in all.
const PLACE_REST: Duration = Duration::from_millis(25);

/// From this length on, in UTF-16 units, a path needs the spelling for long ones. Windows takes 260, and
/// 12 less for a folder.
const SHORT_PATH_UNITS: usize = 240;

/// Which byte of a lock's file is locked: one that no file has, because what is locked cannot be read, and
/// the file says who holds the lock.
const LOCKED_BYTE_HIGH: u32 = 0x4000_0000;

pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        // The list of a file that is there would stay as it is.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => create(path, false),
    }
}

fn create(path: &Path, public: bool) -> io::Result<File> {
    let descriptor = Descriptor::from_sddl(&descriptor::list_for_files(false, public)?)?;
    let attributes = descriptor.attributes();
    let name = terminated(for_the_os(path)?)?;
    // SAFETY: the name ends with a zero; the attributes and their descriptor live until the end of the function.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            std::ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it for us.
    Ok(File::from(unsafe { OwnedHandle::from_raw_handle(handle.cast()) }))
}

/// The move below is on disk when it returns; there is no folder to flush.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// In place of what is there, at once. Somebody who has that open for a moment is waited for.
pub(crate) fn place(beside: &Path, path: &Path) -> io::Result<()> {
    again_while_in_use(|| place_once(beside, path))
}

fn again_while_in_use(mut once: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let in_use = [ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_ACCESS_DENIED];
    for _ in 1..PLACE_TRIES {
        match once() {
            Err(error) if in_use.iter().any(|code| is(&error, *code)) => std::thread::sleep(PLACE_REST),
            other => return other,
        }
    }
    once()
}

fn place_once(beside: &Path, path: &Path) -> io::Result<()> {
    let (from, to) = (terminated(for_the_os(beside)?)?, terminated(for_the_os(path)?)?);
    let how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    // SAFETY: both names end with a zero and live during the call.
    match done(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), how) }) {
        // Somebody reads the former file. The library knows the way in which NTFS lets them finish.
        Err(error) if is(&error, ERROR_ACCESS_DENIED) => {
            std::fs::rename(beside, path)?;
            OpenOptions::new().write(true).open(path)?.sync_all()
        }
        other => other,
    }
}

pub(crate) fn make_dir(path: &Path, private: bool) -> Result<(), Error> {
    let failed = |source| Error::io(format!("make the folder {}", path.display()), source);
    let path = std::path::absolute(path).map_err(failed)?;
    make_under(&path, private, &trust::root())
}

/// Access lists go from a folder to what is in it, so that its own says who may have put something there.
pub(crate) fn refuse_strangers(folder: &Path, _: crate::files::Look) -> Result<(), Error> {
    if folder.is_dir() { make_dir(folder, true) } else { Ok(()) }
}

/// Makes the folder and those above it. Those under `root` are shared with guards of other accounts; each is looked at
/// before anything is made in it.
fn make_under(path: &Path, private: bool, root: &Path) -> Result<(), Error> {
    let failed = |source| Error::io(format!("make the folder {}", path.display()), source);
    let own = Token::own().and_then(|token| token.user()).map_err(failed)?;
    let accounts = std::slice::from_ref(&own);
    let shared = Descriptor::from_sddl(&trust::list_for_shared(&own)).map_err(failed)?;
    for folder in trust::above(path, root) {
        make_trusted(&folder, &shared, accounts)?;
    }
    let list = descriptor::list_for_files(true, !private).map_err(failed)?;
    let list = Descriptor::from_sddl(&list).map_err(failed)?;
    if trust::is_within(path, root) {
        return make_trusted(path, &list, accounts);
    }
    // Elsewhere it is where its account put it, which may be behind a link.
    make_all(path, &list).map_err(failed)?;
    let access = for_the_os(path).and_then(|path| descriptor::of_path(&path)).map_err(failed)?;
    trust::stranger(path, access.owner.as_ref(), accounts).map_or(Ok(()), |refusal| Err(Error::Refused(refusal)))
}

/// Makes a folder and looks at what is there then: somebody may have been faster.
fn make_trusted(folder: &Path, list: &Descriptor, accounts: &[Sid]) -> Result<(), Error> {
    if trust::look(folder, accounts)?.is_none() {
        make_all(folder, list).map_err(|source| Error::io(format!("make the folder {}", folder.display()), source))?;
        trust::look(folder, accounts)?;
    }
    Ok(())
}

fn make_all(path: &Path, descriptor: &Descriptor) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_all(parent, descriptor)?;
    }
    match make_one(path, descriptor) {
        // Somebody was faster, or there is a file in the way.
        Err(error) if is(&error, ERROR_ALREADY_EXISTS) && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes a folder in one that is there; what is there already in its place is a failure.
pub(crate) fn make_one(path: &Path, descriptor: &Descriptor) -> io::Result<()> {
    let attributes = descriptor.attributes();
    let name = terminated(for_the_os(path)?)?;
    // SAFETY: the name ends with a zero; the attributes and their descriptor live during the call.
    done(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) })
}

/// Readable by everybody: it says who holds the lock, and only who may write can take it.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    match create(path, true) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        other => other,
    }
}

/// Whether the lock was to be had.
pub(crate) fn try_lock(file: &File, shared: bool) -> io::Result<bool> {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.OffsetHigh = LOCKED_BYTE_HIGH;
    let how = LOCKFILE_FAIL_IMMEDIATELY | if shared { 0 } else { LOCKFILE_EXCLUSIVE_LOCK };
    // SAFETY: the file is open for as long as the borrow, and was opened for calls that wait, so nobody writes to
    // the place, which is live and ours, after the call.
    match done(unsafe { LockFileEx(file.as_raw_handle().cast(), how, 0, 1, 0, &raw mut place) }) {
        Ok(()) => Ok(true),
        Err(error) if is(&error, ERROR_LOCK_VIOLATION) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// A path as the calls of Windows take it whatever its length.
pub(crate) fn for_the_os(path: &Path) -> io::Result<OsString> {
    let text = path.as_os_str();
    if text.len() < SHORT_PATH_UNITS || text.to_string_lossy().starts_with(r"\\?\") {
        return Ok(text.to_owned());
    }
    // That spelling is taken as it stands: whole, without dots.
    let whole = std::path::absolute(path)?.into_os_string();
    let lossy = whole.to_string_lossy();
    let (head, skipped) = match lossy.strip_prefix(r"\\") {
        Some(_) => (r"\\?\UNC\", 2),
        None => (r"\\?\", 0),
    };
    let mut long = OsString::from(head);
    long.push(whole.to_string_lossy().get(skipped..).unwrap_or_default());
    Ok(long)
}

/// A name in a folder that others may write to.
#[derive(Debug)]
pub(crate) struct Spot(PathBuf);

impl Spot {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Spot(path.to_owned()))
    }

    /// A new file, for reading and appending.
    pub(crate) fn make(&self, _mode: Option<u32>) -> io::Result<File> {
        without_detour(&self.0, OpenOptions::new().read(true).append(true).create_new(true))
    }

    /// A new, empty file of this account alone.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        create(&self.0, false).map(drop)
    }

    /// What is there, for reading and appending.
    pub(crate) fn append(&self) -> io::Result<File> {
        without_detour(&self.0, OpenOptions::new().read(true).append(true))
    }

    /// What is there, for reading.
    pub(crate) fn read(&self) -> io::Result<File> {
        without_detour(&self.0, OpenOptions::new().read(true))
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.0)
    }

    pub(crate) fn rename(&self, to: &Spot) -> io::Result<()> {
        std::fs::rename(&self.0, &to.0)
    }

    /// Whether the file has a name that may be one in a folder of ours. Whose it is does not count: files belong to
    /// whoever made them, and all administrators make them as one.
    pub(crate) fn foreign(&self, file: &File, _: &std::fs::Metadata, _: Written) -> io::Result<Option<&'static str>> {
        Ok((information(file)?.nNumberOfLinks > 1).then_some("a file with another name elsewhere"))
    }
}

/// Whether a file is to be written, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written {
    /// It is only read.
    Not,
    /// It is; accounts have no numbers here.
    For(#[expect(dead_code, reason = "accounts have no numbers here")] Option<u32>),
}

/// Those that are made have the list of the folder above.
pub(crate) fn make_folder(path: &Path, _open: bool) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// A file's list comes from its folder; modes and numbers of accounts have no meaning here.
pub(crate) fn give(_file: &File, _mode: Option<u32>, _owner: Option<u32>, _group: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Both lie in one folder and have its list.
/// Only what outlives a guard asks, and on Windows nothing does.
pub(crate) fn identity(_file: &File) -> io::Result<(u64, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn like(_from: &File, _to: &File) -> io::Result<()> {
    Ok(())
}

/// Opens what has this name, and not what it leads to. Of the marks that a file can carry, those that give it another
/// place stay unopened; behind the others, such as that of a deduplicated file, lie its own bytes.
fn without_detour(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
    let file = options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    let found = file.metadata()?;
    if found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT == 0 || !found.is_file() {
        return Ok(file);
    }
    let marked = information(&file)?;
    let through = options.create_new(false).custom_flags(0).open(path)?;
    let reached = information(&through)?;
    let identity = |it: &BY_HANDLE_FILE_INFORMATION| (it.dwVolumeSerialNumber, it.nFileIndexHigh, it.nFileIndexLow);
    if identity(&marked) != identity(&reached) {
        return Err(io::Error::other("another file was put in its place while it was opened"));
    }
    Ok(through)
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the file is open for as long as the borrow; the place is live, ours, and of the type that is filled.
    done(unsafe { GetFileInformationByHandle(file.as_raw_handle().cast(), &raw mut found) })?;
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::platform::security::descriptor::of_path;
    use crate::platform::security::sid::{ADMINISTRATORS, SYSTEM};

    /// What those get who are none of the system, administrators and this account. A host that keeps access
    /// lists as file modes leaves some of these out, and calls the others by names of its own.
    fn rights_of_strangers(path: &Path) -> u32 {
        let own = Token::own().unwrap().user().unwrap();
        let access = of_path(path.as_os_str()).unwrap();
        let mut rights = 0;
        for rule in access.rules.unwrap() {
            let trusted = rule.sid == own || rule.sid.is(SYSTEM) || rule.sid.is(ADMINISTRATORS);
            assert!(!rule.denies, "{rule:?}");
            rights |= if trusted { 0 } else { rule.rights };
        }
        rights
    }

    /// Adding files, or writing to one.
    const WRITE: u32 = 0x2;

    #[test]
    fn a_private_folder_lets_no_stranger_in_and_neither_does_what_is_made_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").join("b");
        make_dir(&path, true).unwrap();
        make_dir(&path, true).unwrap();
        let inside = path.join("file");
        drop(create_private(&inside).unwrap());
        for path in [dir.path().join("a"), path, inside] {
            assert_eq!(rights_of_strangers(&path), 0, "{}", path.display());
        }
    }

    #[test]
    fn what_is_made_above_a_guards_folder_is_shared_and_the_folder_itself_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Tutela");
        let path = root.join("state").join("shop");
        make_under(&path, true, &root).unwrap();
        make_under(&path, true, &root).unwrap();
        assert_eq!(rights_of_strangers(&path), 0);
        let own = Token::own().unwrap().user().unwrap();
        for shared in [root.clone(), root.join("state")] {
            let whole = Descriptor::of_file(&shared).unwrap();
            println!("{}: {}", shared.display(), whole.access_list().unwrap());
            assert_eq!(rights_of_strangers(&shared) & WRITE, 0);
            let access = of_path(shared.as_os_str()).unwrap();
            // Where lists are kept as they are given, nobody is named in it but who is to be.
            if whole.access_list().unwrap().contains("BU") && crate::accounts::is_privileged() {
                assert!(!trust::is_to_be_mended(&access), "{access:?}");
                assert!(!access.rules.unwrap().iter().any(|rule| rule.sid == own));
            }
        }
    }

    #[test]
    fn nothing_is_made_behind_a_link_that_somebody_put_where_folders_are_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let (root, target) = (dir.path().join("Tutela"), dir.path().join("target"));
        std::fs::create_dir(&target).unwrap();
        if !trust::tests::junction(&root, &target) {
            return;
        }
        let refused = make_under(&root.join("state").join("shop"), true, &root).unwrap_err().to_string();
        assert!(refused.contains("junction") && !target.join("state").exists(), "{refused}");
    }

    #[test]
    fn a_public_folder_can_be_written_to_by_no_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public");
        make_dir(&path, false).unwrap();
        assert_eq!(rights_of_strangers(&path) & WRITE, 0);
    }

    #[test]
    fn the_list_that_is_asked_for_is_whole_and_takes_nothing_over() {
        let own = Token::own().unwrap().user().unwrap();
        let list = descriptor::list_for_files(true, true).unwrap();
        let wanted = format!(
            "D:P(A;OICI;FA;;;{SYSTEM})(A;OICI;FA;;;{ADMINISTRATORS})(A;OICI;FA;;;{own})(A;OICI;0x1200a9;;;S-1-5-32-545)"
        );
        assert_eq!(list, wanted);
        Descriptor::from_sddl(&list).unwrap();
    }

    #[test]
    fn a_replaced_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(&path, b"one").unwrap();
        crate::files::replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(rights_of_strangers(&path), 0);
    }

    #[test]
    fn a_file_in_use_is_tried_again_and_other_failures_are_told_at_once() {
        let mut tries = 0;
        let busy = |code: u32| Err(io::Error::from_raw_os_error(code.cast_signed()));
        again_while_in_use(|| {
            tries += 1;
            if tries < 4 { busy(ERROR_SHARING_VIOLATION) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(tries, 4);
        tries = 0;
        let told = again_while_in_use(|| {
            tries += 1;
            busy(ERROR_ALREADY_EXISTS)
        });
        assert_eq!((tries, told.is_err()), (1, true));
    }

    #[test]
    fn a_log_file_is_never_reached_through_a_second_name_or_a_link() {
        use crate::files::{Plain, append_plain, read_plain};
        let dir = tempfile::tempdir().unwrap();
        let (first, second, link) = (dir.path().join("first"), dir.path().join("second"), dir.path().join("link"));
        std::fs::write(&first, "kept").unwrap();
        assert!(matches!(append_plain(&first, None, None).unwrap(), Plain::File(_)));
        std::fs::hard_link(&first, &second).unwrap();
        assert!(matches!(
            append_plain(&second, None, None).unwrap(),
            Plain::Other("a file with another name elsewhere")
        ));
        assert!(matches!(read_plain(&second).unwrap(), Plain::Other(_)));
        // Making links takes a right that not every account has. Not every host can, and Wine says that it did.
        let made = std::os::windows::fs::symlink_file(&first, &link).and_then(|()| std::fs::symlink_metadata(&link));
        if let Err(error) = made {
            println!("no symbolic links here: {error}");
            return;
        }
        // A host that keeps them as links of a system below it shows nobody that they are some.
        if !std::fs::symlink_metadata(&link).unwrap().is_symlink() {
            println!("symbolic links are not to be seen here");
            return;
        }
        assert!(matches!(append_plain(&link, None, None).unwrap(), Plain::Other(_)));
        assert!(matches!(read_plain(&link).unwrap(), Plain::Other(_)));
    }

    #[test]
    fn a_path_longer_than_windows_takes_works_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120)).join("y".repeat(120)).join("z".repeat(60));
        make_dir(&path, true).unwrap();
        crate::files::replace(&path.join("state"), b"one").unwrap();
        assert!(path.join("state").exists());
    }
}
