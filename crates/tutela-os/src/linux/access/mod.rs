//! Who may change, read and listen, by modes, access lists and `/proc`.

mod ports;

pub(crate) use super::accounts::group_name;
pub(crate) use ports::port_holder;

use crate::Error;
use crate::access::modes::{Kind, List, Seen, obstacle, writers};
use crate::access::{Obstacle, Reader, Writer};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

/// The longest access list that is read. The kernel keeps them within a block of the file system.
const LIST_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn who_may_write(path: &Path) -> Result<Vec<Writer>, Error> {
    let (as_written, as_it_leads) = chains(path)?;
    let mut found = writers(&as_it_leads);
    for writer in writers(&as_written) {
        if !found.contains(&writer) {
            found.push(writer);
        }
    }
    Ok(found)
}

pub(crate) fn may_read(path: &Path, reader: Reader<'_>) -> Result<Option<Obstacle>, Error> {
    let (as_written, as_it_leads) = chains(path)?;
    let (uid, groups) = match reader {
        Reader::Identity(identity) => {
            let account = &identity.account;
            (Some(account.uid), [&[account.gid], account.groups.as_slice()].concat())
        }
        Reader::Newcomer => (None, Vec::new()),
    };
    Ok(obstacle(&as_it_leads, uid, &groups).or_else(|| obstacle(&as_written, uid, &groups)))
}

/// The file and the folders above it, twice: as it is written, with links seen as such, and where that leads.
fn chains(path: &Path) -> Result<(Vec<Seen>, Vec<Seen>), Error> {
    let failed = |source| Error::io(format!("read the rights of {}", path.display()), source);
    let leads = path.canonicalize().map_err(failed)?;
    let written = std::path::absolute(path).map_err(failed)?;
    // The folder above one that is left again by `..` is not the one in the text; the other chain has it right.
    let plain = !written.components().any(|component| component == Component::ParentDir);
    let as_written = if plain { chain(&written).map_err(failed)? } else { Vec::new() };
    Ok((as_written, chain(&leads).map_err(failed)?))
}

fn chain(path: &Path) -> io::Result<Vec<Seen>> {
    path.ancestors().map(look).collect()
}

fn look(path: &Path) -> io::Result<Seen> {
    let found = std::fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::File,
    };
    let list = if kind == Kind::Link { None } else { list(path)? };
    Ok(Seen { path: path.to_path_buf(), kind, uid: found.uid(), gid: found.gid(), mode: found.mode(), list })
}

/// The access list, where there is one and the file system knows of such.
fn list(path: &Path) -> io::Result<Option<List>> {
    let mut bytes = vec![0_u8; 1024];
    loop {
        match rustix::fs::getxattr(path, "system.posix_acl_access", &mut bytes[..]) {
            Ok(length) => return Ok(List::parse(bytes.get(..length).unwrap_or_default())),
            Err(rustix::io::Errno::RANGE) if bytes.len() < LIST_BYTES_MAX => bytes.resize(bytes.len() * 4, 0),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                return Ok(None);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::access::{Principal, Way};
    use crate::accounts;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder(mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        dir
    }

    fn told_in(dir: &Path, path: &Path) -> Vec<(Principal, Way)> {
        let found = who_may_write(path).unwrap();
        found
            .into_iter()
            .filter(|it| it.path.starts_with(dir) && it.way != Way::Owns)
            .map(|it| (it.who, it.way))
            .collect()
    }

    #[test]
    fn a_program_behind_a_link_is_judged_by_the_links_folder_too() {
        let (open, closed) = (folder(0o777), folder(0o755));
        let program = closed.path().join("program");
        std::fs::write(&program, b"").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let link = open.path().join("link");
        symlink(&program, &link).unwrap();
        assert_eq!(told_in(closed.path(), &program), []);
        assert_eq!(told_in(open.path(), &link), [(Principal::Everyone, Way::Replaces)]);
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_it() {
        let refusal = who_may_write(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(refusal.contains("/no/such/file"), "{refusal}");
    }

    #[test]
    fn a_spec_in_a_closed_folder_cannot_be_read_by_another_account() {
        let closed = folder(0o700);
        let spec = closed.path().join("shop.toml");
        std::fs::write(&spec, b"").unwrap();
        let nobody = accounts::resolve("nobody", None).unwrap();
        for reader in [Reader::Identity(&nobody), Reader::Newcomer] {
            let obstacle = may_read(&spec, reader).unwrap().unwrap();
            assert_eq!((obstacle.path.as_path(), obstacle.on_the_way), (closed.path(), true));
        }
        let own = accounts::current().unwrap();
        assert_eq!(may_read(&spec, Reader::Identity(&own)).unwrap(), None);
        std::fs::set_permissions(closed.path(), Permissions::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&spec, Permissions::from_mode(0o640)).unwrap();
        let obstacle = may_read(&spec, Reader::Newcomer).unwrap().unwrap();
        assert_eq!((obstacle.path.as_path(), obstacle.on_the_way), (spec.as_path(), false));
    }
}
