//! Paths of unix sockets, of any length.
//!
//! The kernel takes 108 bytes. A longer path is reached through a descriptor of its folder, whose name
//! under `/proc/self/fd` is short.

use rustix::fs::{CWD, Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the kernel takes, less the byte that ends it.
const PATH_BYTES_MAX: usize = 107;

/// A path that fits, and what keeps it valid.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl Address {
    pub(crate) fn of(path: &Path) -> io::Result<Address> {
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Address { path: path.to_path_buf(), _folder: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let folder =
            rustix::fs::openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Address { path, _folder: Some(folder) })
    }
}
