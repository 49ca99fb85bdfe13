//! Who may change and read, by modes. Access lists of macOS are not looked at, and who has a port is not told.

use crate::Error;
use crate::access::modes::{Kind, Seen, obstacle, writers};
use crate::access::{Holder, Obstacle, Protocol, Reader, Writer};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) fn who_may_write(path: &Path) -> Result<Vec<Writer>, Error> {
    Ok(writers(&chain(path)?))
}

pub(crate) fn may_read(path: &Path, reader: Reader<'_>) -> Result<Option<Obstacle>, Error> {
    let (uid, groups) = match reader {
        Reader::Identity(identity) => (identity.id().uid(), identity.groups().to_vec()),
        Reader::Newcomer => (None, Vec::new()),
    };
    Ok(obstacle(&chain(path)?, uid, &groups))
}

pub(crate) fn port_holder(_protocol: Protocol, _address: SocketAddr) -> Option<Holder> {
    None
}

pub(crate) fn group_name(gid: u32) -> String {
    gid.to_string()
}

/// The file and the folders above it, where its links lead.
fn chain(path: &Path) -> Result<Vec<Seen>, Error> {
    let failed = |source| Error::io(format!("read the rights of {}", path.display()), source);
    path.canonicalize().map_err(failed)?.ancestors().map(look).collect::<io::Result<_>>().map_err(failed)
}

fn look(path: &Path) -> io::Result<Seen> {
    let found = std::fs::symlink_metadata(path)?;
    let kind = if found.is_dir() { Kind::Folder } else { Kind::File };
    Ok(Seen { path: path.to_path_buf(), kind, uid: found.uid(), gid: found.gid(), mode: found.mode(), list: None })
}
