//! Files with secrets: opened so that nothing can hold the reader up, and looked at for who else may read them.

use super::way::Reader;
use crate::secret::SealFor;
use crate::{Error, Os, Unsupported};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// For reading. A pipe without a writer is opened at once, and then found to be no file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The mode, and what everybody may do, if anything.
pub(crate) fn exposed(about: &Metadata) -> Option<(u32, &'static str)> {
    let mode = about.mode() & 0o777;
    match mode & 0o006 {
        0 => None,
        0o002 => Some((mode, "change")),
        _ => Some((mode, "read")),
    }
}

/// Where on the way to this file, which was found there, another account could lead elsewhere.
pub(crate) fn lured(path: &Path, about: &Metadata) -> io::Result<Option<PathBuf>> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Reader { uid, gid, owner: about.uid() }.place_of_strangers(path)
}

pub(crate) fn open(_: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    Err(no_seal())
}

pub(crate) fn seal(_: &[u8], _: SealFor) -> Result<Vec<u8>, Error> {
    Err(no_seal())
}

fn no_seal() -> Error {
    let reason = format!("DPAPI is a part of Windows; {} keeps secrets in files and credentials", Os::CURRENT.name());
    Error::Unsupported(Unsupported::new("sealing with DPAPI", reason))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::files::read_regular;
    use crate::secret::{SecretError, exposure, read};
    use std::os::unix::fs::PermissionsExt;
    use tutela_core::spec::SecretSource;

    #[test]
    fn a_file_that_everybody_may_read_or_change_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2").unwrap();
        for (mode, word) in [(0o644, "read"), (0o604, "read"), (0o642, "change"), (0o666, "read")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&SecretSource::File(path.clone())).unwrap_err();
            assert!(matches!(&error, SecretError::Exposed { what, .. } if *what == word), "{mode:o}: {error}");
            assert!(error.to_string().contains(&format!("{mode:o}")), "{error}");
            assert_eq!(error.help(), format!("take that right away: chmod o= {}", path.display()));
            assert_eq!(exposure(&path).unwrap().to_string(), error.to_string());
        }
        for mode in [0o600, 0o640, 0o660, 0o440, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&SecretSource::File(path.clone())).is_ok(), "{mode:o}");
            assert!(exposure(&path).is_none(), "{mode:o}");
        }
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&pipe).status().unwrap().success());
        assert!(matches!(read(&SecretSource::File(pipe.clone())).unwrap_err(), SecretError::NoFile(_)));
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [pipe, socket, "/dev/zero".into()] {
            let error = read_regular(&path, 3).unwrap_err().to_string();
            assert!(error.contains("no regular file: it is a pipe, a socket or a device"), "{error}");
        }
    }

    #[test]
    fn a_seal_of_windows_is_refused_by_name() {
        let error = crate::secret::seal(b"x", crate::secret::SealFor::Machine).unwrap_err().to_string();
        assert!(error.contains("DPAPI") && error.contains(crate::Os::CURRENT.name()), "{error}");
    }
}
