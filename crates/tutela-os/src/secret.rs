//! Secrets: read from where a spec says they are, at the moment they are needed, and wiped when they are dropped.
//!
//! Called by the hands before each start and each delivery, and by the preflight, which drops what it gets. Reading may
//! wait for a disk. Deliberately absent: keeping a value, and every message with a value in it.
//!
//! The memory of a [`Secret`] is overwritten when it is dropped, so are the environments that starts are made with. What
//! others made of it (a header on its way, what the mask of a log looks for) is not; for all of it the guard leaves no
//! core file, see [`crate::limits::leave_no_core`].

use crate::{Error, Unsupported, platform};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tutela_core::spec::SecretSource;
use zeroize::{Zeroize, Zeroizing};

/// The longest secret, in bytes. A bundle of certificates has a tenth of it, and Linux takes no variable that is more
/// than twice as long.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// What sealing adds to a secret at the most, in bytes: descriptions and keys of the seal.
const SEAL_BYTES_MAX: usize = 16 * 1024;

/// The variable in which systemd says where it put the credentials of a unit.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The value of a secret. Shown as `***`, overwritten when it is dropped.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// What was found elsewhere than where a reference leads.
    pub(crate) fn of(value: String) -> Secret {
        Secret(Zeroizing::new(value))
    }

    /// The value.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Overwrites a text that was a secret.
pub(crate) fn wipe(text: std::ffi::OsString) {
    text.into_encoded_bytes().zeroize();
}

/// For whom a secret is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealFor {
    /// Every account of this computer can open it, and no other computer.
    Machine,
    /// The account that seals it, on this computer.
    Account,
}

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// The OS did not let us read it.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the OS said.
        source: io::Error,
    },
    /// It is a folder, a pipe, a device.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// Every account of the computer may read or change it.
    #[error("{} has the mode {mode:03o}: every account may {what} it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// `read` or `change`.
        what: &'static str,
    },
    /// Another account could put another file in its place, and it is not that account's own.
    #[error("another account could lead {} elsewhere, through {}", path.display(), place.display())]
    Lured {
        /// The file, as it was named.
        path: PathBuf,
        /// The folder or link that is theirs to change.
        place: PathBuf,
    },
    /// There is nothing in it.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    /// It is longer than a secret may be.
    #[error("{} is longer than {} KiB", .0.display(), SECRET_BYTES_MAX / 1024)]
    TooLong(PathBuf),
    /// It cannot be a variable or a header.
    #[error("{} is no text: it has {what}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// systemd gave this process no credentials.
    #[error("systemd gave this process no credentials: {CREDENTIALS_VARIABLE} is not set")]
    NoCredentials,
    /// It could not be opened on this computer, or by this account.
    #[error("{} cannot be opened: {source}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What the OS said.
        source: io::Error,
    },
    /// This OS has nothing to open it with.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl SecretError {
    /// How it can be mended, for people.
    pub fn help(&self) -> String {
        match self {
            SecretError::Missing(path) => format!("write the value into {}, for its owner alone", path.display()),
            SecretError::Unreadable { .. } => "let the account that the guard runs as read it".into(),
            SecretError::NoFile(_) => "name a file that has the value in it".into(),
            SecretError::Exposed { path, .. } => format!("take that right away: chmod o= {}", path.display()),
            SecretError::Lured { place, .. } => format!(
                "keep it where nobody but root or the guard's account can change the folders that lead to it, or give the \
                 file to the account that {} belongs to",
                place.display()
            ),
            SecretError::Empty(_) => "write the value into it, or leave the key out".into(),
            SecretError::TooLong(_) => "is it the right file?".into(),
            SecretError::NoText { .. } => "write it as text, for instance in base64".into(),
            SecretError::NoCredentials => {
                "add LoadCredential=NAME:PATH to the guard's unit: systemctl edit; elsewhere use secret://file/PATH"
                    .into()
            }
            SecretError::Sealed { .. } => {
                "seal it on this computer, for the machine or as the guard's account: tutela secret seal".into()
            }
            SecretError::Unsupported(_) => "use secret://file/PATH here".into(),
        }
    }

    /// Whether it is only that this process is not the one that systemd gave its credentials to.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, SecretError::NoCredentials)
    }

    /// Whether others may read or change it.
    pub fn is_exposed(&self) -> bool {
        matches!(self, SecretError::Exposed { .. } | SecretError::Lured { .. })
    }
}

/// Reads a secret: the text of its file, without a newline at its end.
///
/// # Errors
/// [`SecretError`]; none of them has anything of the value in it.
pub fn read(source: &SecretSource) -> Result<Secret, SecretError> {
    match source {
        SecretSource::File(path) => text(path, bytes(path, SECRET_BYTES_MAX, Guarded::ByMode)?),
        SecretSource::Systemd(name) => {
            let folder = std::env::var_os(CREDENTIALS_VARIABLE).filter(|folder| !folder.is_empty());
            credential(folder.as_deref(), name)
        }
        SecretSource::Dpapi(path) => {
            let sealed = bytes(path, SECRET_BYTES_MAX + SEAL_BYTES_MAX, Guarded::BySeal)?;
            let opened = platform::secret::open(&sealed).map_err(|error| match error {
                Error::Unsupported(unsupported) => SecretError::Unsupported(unsupported),
                Error::Io { source, .. } => SecretError::Sealed { path: path.clone(), source },
                Error::Refused(reason) => SecretError::Sealed { path: path.clone(), source: io::Error::other(reason) },
            })?;
            text(path, opened)
        }
    }
}

/// Whether every account may read or change a file, as [`SecretError::Exposed`]: for one that is no secret of a
/// reference, such as the key of a certificate. `None` also for a file that cannot be looked at, and on Windows, where
/// files have access lists instead of a mode.
pub fn exposure(path: &Path) -> Option<SecretError> {
    let (mode, what) = platform::secret::exposed(&std::fs::metadata(path).ok()?)?;
    Some(SecretError::Exposed { path: path.to_owned(), mode, what })
}

/// Seals a value, so that only this computer, or this account on it, can open it again: what `secret://dpapi/` reads.
///
/// # Errors
/// The OS failed, or has no such seal ([`Error::Unsupported`]).
pub fn seal(value: &[u8], whom: SealFor) -> Result<Vec<u8>, Error> {
    platform::secret::seal(value, whom)
}

/// Reads a value that is to be sealed, to its end.
///
/// # Errors
/// It cannot be read, is empty, or is longer than [`SECRET_BYTES_MAX`].
pub fn take(from: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut value = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let limit = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(&mut value).map_err(|source| Error::io("read the value", source))?;
    if value.is_empty() {
        return Err(Error::Refused("the value is empty".into()));
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(Error::Refused(format!("the value is longer than {} KiB", SECRET_BYTES_MAX / 1024)));
    }
    Ok(value)
}

/// systemd itself sees to it that only the unit can read them.
fn credential(folder: Option<&OsStr>, name: &str) -> Result<Secret, SecretError> {
    let path = Path::new(folder.ok_or(SecretError::NoCredentials)?).join(name);
    text(&path, bytes(&path, SECRET_BYTES_MAX, Guarded::Otherwise)?)
}

/// What keeps others from a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guarded {
    /// Its mode.
    ByMode,
    /// That they cannot open what is in it; who may change it is not asked.
    BySeal,
    /// Whoever put it there.
    Otherwise,
}

fn bytes(path: &Path, limit: usize, guarded: Guarded) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SecretError::Missing(path.to_owned()),
        _ => SecretError::Unreadable { path: path.to_owned(), source },
    };
    let file = platform::secret::open_file(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(SecretError::NoFile(path.to_owned()));
    }
    if let (Guarded::ByMode, Some((mode, what))) = (guarded, platform::secret::exposed(&about)) {
        return Err(SecretError::Exposed { path: path.to_owned(), mode, what });
    }
    if guarded == Guarded::ByMode
        && let Some(place) = platform::secret::lured(path, &about).map_err(failed)?
    {
        return Err(SecretError::Lured { path: path.to_owned(), place });
    }
    // As long as it can get, so that no half of it stays behind where it was before it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit { Err(SecretError::TooLong(path.to_owned())) } else { Ok(bytes) }
}

fn text(path: &Path, bytes: Zeroizing<Vec<u8>>) -> Result<Secret, SecretError> {
    let no_text = |what| SecretError::NoText { path: path.to_owned(), what };
    let text = std::str::from_utf8(&bytes).map_err(|_| no_text("bytes that are no UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    match text {
        "" => Err(SecretError::Empty(path.to_owned())),
        text if text.len() > SECRET_BYTES_MAX => Err(SecretError::TooLong(path.to_owned())),
        text if text.contains('\0') => Err(no_text("the character NUL")),
        text => Ok(Secret(Zeroizing::new(text.to_owned()))),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        drop(crate::files::append_private(&path).unwrap());
        std::fs::write(&path, content).unwrap();
        (dir, SecretSource::File(path))
    }

    fn value(content: &[u8]) -> Result<String, SecretError> {
        let (_dir, source) = file(content);
        read(&source).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn one_newline_at_the_end_is_cut_and_nothing_else_changed() {
        for (content, wanted) in
            [("pass", "pass"), ("pass\n", "pass"), ("pass\r\n", "pass"), (" a b \n\n", " a b \n"), ("a\nb", "a\nb")]
        {
            assert_eq!(value(content.as_bytes()).unwrap(), wanted, "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_value_is_told_without_a_byte_of_it() {
        for (content, words) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"hunter\xff2", "no UTF-8"),
            (b"hunter\x002", "NUL"),
            (&[b'h'; SECRET_BYTES_MAX + 2], "longer than 64 KiB"),
        ] {
            let error = value(content).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!format!("{error} {error:?} {}", error.help()).contains("hunter"), "{error}");
        }
        let mut longest = vec![b'h'; SECRET_BYTES_MAX];
        assert_eq!(value(&longest).unwrap().len(), SECRET_BYTES_MAX);
        longest[0] = b'\n';
        assert!(value(&longest).is_ok());
    }

    #[test]
    fn what_is_no_file_or_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| read(&SecretSource::File(dir.path().join(name))).unwrap_err();
        assert!(matches!(at("none"), SecretError::Missing(_)));
        assert!(matches!(at(""), SecretError::NoFile(_) | SecretError::Unreadable { .. }));
    }

    #[test]
    fn a_credential_is_read_from_its_folder_and_without_one_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("db"), "value\n").unwrap();
        let read = |name| credential(Some(dir.path().as_os_str()), name);
        assert_eq!(read("db").unwrap().reveal(), "value");
        assert!(matches!(read("other").unwrap_err(), SecretError::Missing(_)));
        assert!(credential(None, "db").unwrap_err().is_elsewhere());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let (_dir, source) = file(b"hunter2");
        assert_eq!(format!("{:?}", read(&source).unwrap()), "***");
    }
}
