//! Files and folders with modes.

use crate::Error;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// No link as the last part, no wait for the other end of a pipe or for a holder of a lease, no terminal that becomes
/// this process's.
const NO_DETOUR: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

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

/// For reading and appending; `make`: only if nothing is there.
pub(crate) fn append_plain(path: &Path, make: bool) -> io::Result<File> {
    refuse_led_astray(path)?;
    let file = OpenOptions::new().read(true).append(true).create_new(make).custom_flags(NO_DETOUR).open(path)?;
    // Again, for a link that was put there meanwhile.
    refuse_led_astray(path)?;
    Ok(file)
}

/// A new, empty file of this account alone.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    refuse_led_astray(path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(NO_DETOUR).open(path).map(drop)
}

/// A link on the way that somebody made whom nobody has to trust may lead to a folder of theirs, and to no other.
/// Whoever owns a folder above can put such a link there.
fn refuse_led_astray(path: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    for step in path.ancestors().skip(1).filter(|step| *step != Path::new("")) {
        let Ok(link) = std::fs::symlink_metadata(step) else { continue };
        if link.is_symlink() && link.uid() != own && link.uid() != 0 {
            let folder = path.parent().map(std::fs::metadata).transpose()?;
            if folder.is_some_and(|folder| folder.uid() != link.uid()) {
                let text = format!(
                    "refused: {} is a link that the account {} made, to a folder that is not its own",
                    step.display(),
                    link.uid()
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
    }
    Ok(())
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

pub(crate) fn like(from: &File, to: &File) -> io::Result<()> {
    let (from, to_is) = (from.metadata()?, to.metadata()?);
    let owner = (from.uid() != to_is.uid()).then_some(from.uid());
    let group = (from.gid() != to_is.gid()).then_some(from.gid());
    give(to, Some(from.mode() & 0o7777), owner, group)
}

pub(crate) fn read_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(NO_DETOUR).open(path)
}

/// Whether somebody whom nobody has to trust can have put this file there. Where only this account or root can add
/// names to the folder, nobody can, whatever the file is: copies of backups have second names too.
pub(crate) fn foreign(path: &Path, _file: &File, found: &Metadata, written: bool) -> io::Result<Option<&'static str>> {
    let own = rustix::process::geteuid().as_raw();
    let trusted = |uid: u32| uid == own || uid == 0;
    let folder = std::fs::metadata(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    // An access list shows itself as the rights of the group.
    if trusted(folder.uid()) && folder.mode() & 0o022 == 0 {
        return Ok(None);
    }
    Ok(match found {
        found if found.nlink() > 1 => Some("a file with another name elsewhere"),
        found if written && !trusted(found.uid()) && found.uid() != folder.uid() => Some("a file of another account"),
        _ => None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::files::{Plain, append_plain, read_plain};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    fn word(opened: std::io::Result<Plain>) -> &'static str {
        match opened.unwrap() {
            Plain::File(_) => "a file",
            Plain::Other(word) => word,
        }
    }

    fn open_to_all(folder: &Path) {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    }

    #[test]
    fn no_link_is_followed_whether_there_is_something_behind_it_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("a.log"));
        symlink(&victim, &link).unwrap();
        assert_eq!(word(append_plain(&link)), "a symbolic link");
        assert!(!victim.exists());
        std::fs::write(&victim, "secret").unwrap();
        assert_eq!(word(append_plain(&link)), "a symbolic link");
        assert_eq!(word(read_plain(&link)), "a symbolic link");
    }

    #[test]
    fn a_private_file_is_made_for_this_account_alone_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        for _ in 0..2 {
            assert_eq!(word(crate::files::append_private(&file)), "a file");
        }
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap()) & 0o777, 0o600);
        symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert_eq!(word(crate::files::append_private(&link)), "a symbolic link");
        assert!(!dir.path().join("elsewhere").exists());
        crate::files::sync_folder(dir.path()).unwrap();
    }

    #[test]
    fn neither_a_pipe_nor_a_socket_holds_anybody_up() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listening = UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket] {
            assert_eq!(word(append_plain(path)), "a pipe, a socket or a device");
            assert_eq!(word(read_plain(path)), "a pipe, a socket or a device");
        }
    }

    #[test]
    fn a_second_name_counts_where_others_could_have_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::fs::write(&first, "").unwrap();
        std::fs::hard_link(&first, &second).unwrap();
        assert_eq!((word(append_plain(&second)), word(read_plain(&second))), ("a file", "a file"));
        open_to_all(dir.path());
        let told = "a file with another name elsewhere";
        assert_eq!((word(append_plain(&second)), word(read_plain(&second))), (told, told));
    }

    #[test]
    fn a_strangers_link_on_the_way_leads_to_no_folder_but_theirs() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give links away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::create_dir_all(target.join("deep")).unwrap();
        symlink(&target, &link).unwrap();
        let through = link.join("deep/a.log");
        assert_eq!(word(append_plain(&through)), "a file");
        std::fs::remove_file(&through).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        let refused = append_plain(&through).unwrap_err().to_string();
        assert!(refused.contains("65534") && !through.exists(), "{refused}");
        std::os::unix::fs::chown(target.join("deep"), Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&through)), "a file");
    }

    #[test]
    fn a_strangers_file_is_not_written_to_where_strangers_can_put_it() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&path)), "a file");
        open_to_all(dir.path());
        assert_eq!((word(append_plain(&path)), word(read_plain(&path))), ("a file of another account", "a file"));
        std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&path)), "a file");
    }
}
