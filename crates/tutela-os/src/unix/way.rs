//! Where on the way to a file another account could lead whoever reads it elsewhere.
//!
//! A guard of root's reads files that its programs may not. Whoever can put a link, or another folder, on the way to one of
//! them could have it read what they like: `/etc/shadow` in the place of a secret of their own.

use super::spot::{LINKS_MAX, steps};
use super::trust;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whom a reader trusts: root, their own account, and the account that what they read belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Who owns what was found there. What is theirs they may lay there.
    pub(super) owner: u32,
}

impl Reader {
    /// The first folder or link on the way to `path` that somebody else could change; `None`: nobody can.
    ///
    /// # Errors
    /// Something on the way cannot be looked at.
    pub(super) fn place_of_strangers(self, path: &Path) -> io::Result<Option<PathBuf>> {
        let whole = std::path::absolute(path)?;
        let mut ahead = steps(&whole);
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        while let Some(step) = ahead.pop() {
            if step == ".." {
                at.pop();
                continue;
            }
            let folder = std::fs::metadata(&at)?;
            // In a sticky one only owners put another thing in the place of what is there.
            let by = if folder.mode() & 0o1000 != 0 { 0 } else { 0o022 };
            if self.is_stranger(folder.uid()) || trust::who_writes(&folder, by, self.gid).is_some() {
                return Ok(Some(at));
            }
            let next = at.join(&step);
            let about = std::fs::symlink_metadata(&next)?;
            if !about.is_symlink() {
                at = next;
                continue;
            }
            if self.is_stranger(about.uid()) {
                return Ok(Some(next));
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let to = std::fs::read_link(&next)?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            ahead.extend(steps(&to));
        }
        Ok(None)
    }

    fn is_stranger(self, uid: u32) -> bool {
        ![0, self.uid, self.owner].contains(&uid)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn whoever_owns_a_folder_or_a_link_on_the_way_could_lead_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let about = std::fs::metadata(&base).unwrap();
        let (inner, file) = (base.join("inner"), base.join("inner/file"));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "x").unwrap();
        let link = base.join("link");
        symlink("inner/../inner/file", &link).unwrap();
        let own = Reader { uid: about.uid(), gid: about.gid(), owner: about.uid() };
        for path in [&file, &link] {
            assert_eq!(own.place_of_strangers(path).unwrap(), None, "{}", path.display());
        }
        // A folder in which others may write is nobody's.
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o757)).unwrap();
        for path in [&file, &link] {
            assert_eq!(own.place_of_strangers(path).unwrap(), Some(inner.clone()));
        }
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(own.place_of_strangers(&file).unwrap(), None);
        let group = Reader { gid: about.gid() + 1, ..own };
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o775)).unwrap();
        let other_group = (about.gid() != 0).then(|| inner.clone());
        assert_eq!(group.place_of_strangers(&file).unwrap(), other_group);
        let round = base.join("round");
        symlink("round", &round).unwrap();
        assert_eq!(own.place_of_strangers(&round).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn what_is_theirs_they_may_lay_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let theirs = base.join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("file"), "x").unwrap();
        symlink("/etc/passwd", theirs.join("lure")).unwrap();
        // Root gives the folder away; to the guard of another account whatever is this account's is a stranger's.
        let own = rustix::process::geteuid().as_raw();
        let stranger = if own == 0 { 4711 } else { own };
        std::os::unix::fs::chown(&theirs, Some(stranger), None).unwrap();
        let reads =
            |owner, name: &str| Reader { uid: 0, gid: 0, owner }.place_of_strangers(&theirs.join(name)).unwrap();
        assert_eq!(reads(stranger, "file"), None);
        for name in ["file", "lure"] {
            let place = reads(0, name).unwrap();
            assert!(place == theirs || (own != 0 && place == base), "{name}: {}", place.display());
        }
    }
}
