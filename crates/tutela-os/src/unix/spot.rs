//! A name in a folder, reached so that nobody who may write on the way to it can lead somewhere else.
//!
//! A log folder may belong to the account whose program writes the log, or lie in one that does. That account may put a
//! link or a pipe where a file should be, and a link where a folder should be, and change its mind between two calls. So
//! the way to the folder is gone step by step, each step is held before it is looked at, and everything is done in the
//! folder that is held.
//!
//! Whoever made a link says where it leads. One of an account that nobody has to trust may lead to a folder of that
//! account and to no other: to its own it could have put everything anyway.

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, readlinkat, renameat, unlinkat,
};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

/// No link as the last part, no wait for the other end of a pipe or for a holder of a lease, no terminal that becomes
/// this process's.
const NO_DETOUR: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// How many links one way may have, as many as the kernel itself follows.
pub(super) const LINKS_MAX: usize = 40;

/// What a folder is made with; the umask takes from it.
const FOLDER_MODE: u32 = 0o755;

/// A name in a folder that is held. Dropping it lets go of the folder.
#[derive(Debug)]
pub(crate) struct Spot {
    folder: OwnedFd,
    name: OsString,
    /// Whose the folder is, and its mode.
    owner: u32,
    mode: u32,
}

impl Spot {
    /// The spot of this path. Nothing has to be there, but its folder has.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let folder = walk(path.parent().unwrap_or(Path::new("")), None)?;
        let found = fstat(&folder)?;
        Ok(Spot { folder, name: name.to_owned(), owner: found.st_uid, mode: mode_of(&found) })
    }

    /// A new file, for reading and appending. With a mode it is this account's alone until it is given that mode, so that
    /// nobody is let in before.
    pub(crate) fn make(&self, mode: Option<u32>) -> io::Result<File> {
        let bits = mode.map_or(0o666, |mode| mode & 0o600);
        self.open(OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL, bits)
    }

    /// A new, empty file of this account alone.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        self.make(Some(0o600)).map(drop)
    }

    /// What is there, for reading and appending.
    pub(crate) fn append(&self) -> io::Result<File> {
        self.open(OFlags::RDWR | OFlags::APPEND, 0)
    }

    /// What is there, for reading.
    pub(crate) fn read(&self) -> io::Result<File> {
        self.open(OFlags::RDONLY, 0)
    }

    fn open(&self, how: OFlags, bits: u32) -> io::Result<File> {
        let file = openat(&self.folder, &*self.name, how | NO_DETOUR, Mode::from_raw_mode(bits as _))?;
        Ok(File::from(file))
    }

    /// Takes the name away, whatever has it but a folder.
    pub(crate) fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, &*self.name, AtFlags::empty())?)
    }

    /// Gives what has this name another one, which is taken from whatever has it.
    pub(crate) fn rename(&self, to: &Spot) -> io::Result<()> {
        Ok(renameat(&self.folder, &*self.name, &to.folder, &*to.name)?)
    }

    /// Whether somebody whom nobody has to trust can have put this file there, which is to be written for `owner` where
    /// that is said. Where only this account or root can add names to the folder, nobody can, whatever the file is: copies
    /// of backups have second names too.
    pub(crate) fn foreign(&self, _: &File, found: &Metadata, written: Written) -> io::Result<Option<&'static str>> {
        let own = rustix::process::geteuid().as_raw();
        let trusted = |uid: u32| uid == own || uid == 0;
        // An access list shows itself as the rights of the group.
        if trusted(self.owner) && self.mode & 0o022 == 0 {
            return Ok(None);
        }
        let is_theirs = |owner: Option<u32>| {
            !trusted(found.uid()) && found.uid() != self.owner && owner.is_none_or(|owner| owner != found.uid())
        };
        Ok(match written {
            _ if found.nlink() > 1 => Some("a file with another name elsewhere"),
            Written::For(owner) if is_theirs(owner) => Some("a file of another account"),
            Written::For(_) | Written::Not => None,
        })
    }
}

/// Whether a file is to be written, and whose it may be besides those who are trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written {
    /// It is only read.
    Not,
    /// It is, and belongs to this account where one is named.
    For(Option<u32>),
}

/// Makes a folder and those above it, as far as they are missing. `open`: whatever the umask is, everybody may enter.
pub(crate) fn make_folder(path: &Path, open: bool) -> io::Result<()> {
    walk(path, Some(open)).map(drop)
}

/// Goes to a folder, step by step, and holds it. `make`: as [`make_folder`].
fn walk(path: &Path, make: Option<bool>) -> io::Result<OwnedFd> {
    let own = rustix::process::geteuid().as_raw();
    let mut at = begin(path)?;
    let mut steps = steps(path);
    let (mut links, mut strangers) = (0, Vec::new());
    while let Some(name) = steps.pop() {
        let step = match (step(&at, &name), make) {
            (Err(error), Some(open)) if error.kind() == io::ErrorKind::NotFound => {
                refuse_led_astray(&at, &strangers)?;
                make_one(&at, &name, open)?;
                step(&at, &name)?
            }
            (step, _) => step?,
        };
        match step {
            Step::Thing(folder) => at = folder,
            Step::Link { owner, target } => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                if owner != own && owner != 0 {
                    strangers.push((name, owner));
                }
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    at = begin(target)?;
                }
                steps.extend(self::steps(target));
            }
        }
    }
    refuse_led_astray(&at, &strangers)?;
    Ok(at)
}

fn begin(path: &Path) -> io::Result<OwnedFd> {
    let from = if path.is_absolute() { "/" } else { "." };
    Ok(openat(CWD, from, HELD | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The names on a way, the last one first.
pub(super) fn steps(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// What a name on the way stands for.
enum Step {
    /// A folder, if the next step finds it to be one.
    Thing(OwnedFd),
    Link {
        owner: u32,
        target: CString,
    },
}

/// What Linux can hold without opening it, so that a folder needs no right but to be entered.
#[cfg(target_os = "linux")]
const HELD: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const HELD: OFlags = OFlags::RDONLY;

#[cfg(target_os = "linux")]
fn step(at: &OwnedFd, name: &OsStr) -> io::Result<Step> {
    let held = openat(at, name, HELD | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let found = fstat(&held)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        return Ok(Step::Thing(held));
    }
    // Of what is held: under the name there may be another link by now.
    Ok(Step::Link { owner: found.st_uid, target: readlinkat(&held, "", Vec::new())? })
}

/// Elsewhere a link is looked at by its name; who puts another one there in the same moment is not seen.
#[cfg(not(target_os = "linux"))]
fn step(at: &OwnedFd, name: &OsStr) -> io::Result<Step> {
    let found = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        let how = HELD | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return Ok(Step::Thing(openat(at, name, how, Mode::empty())?));
    }
    Ok(Step::Link { owner: found.st_uid, target: readlinkat(at, name, Vec::new())? })
}

fn refuse_led_astray(folder: &OwnedFd, strangers: &[(OsString, u32)]) -> io::Result<()> {
    if strangers.is_empty() {
        return Ok(());
    }
    let owner = fstat(folder)?.st_uid;
    let Some((name, account)) = strangers.iter().find(|(_, account)| *account != owner) else { return Ok(()) };
    let name = name.display();
    let text = format!("refused: {name} is a link that the account {account} made, to a folder that is not its own");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn make_one(at: &OwnedFd, name: &OsStr, open: bool) -> io::Result<()> {
    match mkdirat(at, name, Mode::from_raw_mode(FOLDER_MODE as _)) {
        // Somebody was faster; what it is is looked at like everything on the way.
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        made => made?,
    }
    if open {
        let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(at, name, how, Mode::empty())?;
        if fstat(&folder)?.st_uid == rustix::process::geteuid().as_raw() {
            fchmod(&folder, Mode::from_raw_mode(FOLDER_MODE as _))?;
        }
    }
    Ok(())
}

// Their types differ between systems.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "16 bits on macOS, 32 on Linux")]
fn mode_of(found: &rustix::fs::Stat) -> u32 {
    found.st_mode as u32
}
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::files::{Plain, make_folder, read_plain, remove_plain, rename_plain};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    fn word(opened: std::io::Result<Plain>) -> &'static str {
        match opened.unwrap() {
            Plain::File(_) => "a file",
            Plain::Other(word) => word,
        }
    }

    fn append_plain(path: &Path) -> std::io::Result<Plain> {
        crate::files::append_plain(path, None, None)
    }

    fn open_to_all(folder: &Path) {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
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
        assert_eq!(mode(&file), 0o600);
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
        lchown(&link, Some(65534), None).unwrap();
        let refused = append_plain(&through).unwrap_err().to_string();
        assert!(refused.contains("65534") && !through.exists(), "{refused}");
        chown(target.join("deep"), Some(65534), None).unwrap();
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
        chown(&path, Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&path)), "a file");
        open_to_all(dir.path());
        assert_eq!((word(append_plain(&path)), word(read_plain(&path))), ("a file of another account", "a file"));
        chown(dir.path(), Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&path)), "a file");
    }
    #[test]
    fn a_file_that_is_to_have_a_mode_lets_nobody_in_before_it_has_it() {
        let dir = tempfile::tempdir().unwrap();
        for (wanted, made) in [(0o644, 0o600), (0o600, 0o600)] {
            let path = dir.path().join(format!("{wanted:o}.log"));
            let Plain::File(file) = crate::files::append_plain(&path, Some(wanted), None).unwrap() else { panic!() };
            assert_eq!(mode(&path), made);
            crate::files::give(&file, Some(wanted), None, None).unwrap();
            assert_eq!(mode(&path), wanted);
        }
    }

    #[test]
    fn a_file_of_the_account_that_it_is_written_for_is_written_to_wherever_it_lies() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "").unwrap();
        chown(&path, Some(65533), None).unwrap();
        chown(dir.path(), Some(65534), None).unwrap();
        assert_eq!(word(append_plain(&path)), "a file of another account");
        assert_eq!(word(crate::files::append_plain(&path, None, Some(65532))), "a file of another account");
        assert_eq!(word(crate::files::append_plain(&path, None, Some(65533))), "a file");
    }

    #[test]
    fn nothing_is_removed_or_renamed_or_made_behind_a_strangers_link_but_in_a_folder_of_theirs() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give links away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("a.log"), "kept").unwrap();
        symlink("target", &link).unwrap();
        lchown(&link, Some(65534), None).unwrap();
        let names = [link.join("a.log"), link.join("b.log")];
        for refused in
            [remove_plain(&names[0]), rename_plain(&names[0], &names[1]), make_folder(&link.join("new/deep"), true)]
        {
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        }
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
        chown(&target, Some(65534), None).unwrap();
        rename_plain(&names[0], &names[1]).unwrap();
        remove_plain(&names[1]).unwrap();
        make_folder(&link, true).unwrap();
    }

    #[test]
    fn a_link_is_removed_and_renamed_itself_and_not_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link, other) = (dir.path().join("victim"), dir.path().join("link"), dir.path().join("other"));
        std::fs::write(&victim, "kept").unwrap();
        symlink(&victim, &link).unwrap();
        rename_plain(&link, &other).unwrap();
        remove_plain(&other).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
        assert_eq!(remove_plain(&other).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn folders_are_made_through_links_of_ours_and_can_be_entered_whatever_the_umask_where_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink("./real/../real", dir.path().join("link")).unwrap();
        let made = dir.path().join("link/a/b");
        make_folder(&made, true).unwrap();
        make_folder(&made, false).unwrap();
        assert_eq!((mode(&dir.path().join("real/a")), mode(&made)), (0o755, 0o755));
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(make_folder(&dir.path().join("loop/a"), false).is_err());
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_folder(&dir.path().join("file/a"), false).is_err());
    }
}
