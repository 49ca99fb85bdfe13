//! Files with secrets, and the seal of Windows (DPAPI), which opens on the computer, or for the account, that it was
//! made on.

use crate::Error;
use crate::secret::SealFor;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

/// For reading.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Files have access lists here instead of a mode; they are not looked at.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn lured(_: &Path, _: &Metadata) -> io::Result<Option<PathBuf>> {
    Ok(None)
}

/// As [`lured`].
pub(crate) fn exposed(_: &Metadata) -> Option<(u32, &'static str)> {
    None
}

pub(crate) fn open(sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |source| Error::io("open what DPAPI sealed", source);
    let input = blob(sealed).map_err(failed)?;
    let mut output = Output::empty();
    // SAFETY: the input says its own length and is only read; the output is a blob of ours, which is given memory that
    // its drop frees; the other pointers may be null.
    let done = unsafe {
        CryptUnprotectData(
            &raw const input,
            null_mut(),
            null(),
            null(),
            null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut output.0,
        )
    };
    if done == 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(Zeroizing::new(output.bytes().to_vec()))
}

pub(crate) fn seal(value: &[u8], whom: SealFor) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::io("seal with DPAPI", source);
    let input = blob(value).map_err(failed)?;
    let mut output = Output::empty();
    let flags = match whom {
        SealFor::Machine => CRYPTPROTECT_UI_FORBIDDEN | CRYPTPROTECT_LOCAL_MACHINE,
        SealFor::Account => CRYPTPROTECT_UI_FORBIDDEN,
    };
    // SAFETY: as above.
    let done = unsafe { CryptProtectData(&raw const input, null(), null(), null(), null(), flags, &raw mut output.0) };
    if done == 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(output.bytes().to_vec())
}

/// Only ever read from, though the type does not say so.
fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() })
}

/// What DPAPI answers: memory of the OS, overwritten and given back when it is dropped.
struct Output(CRYPT_INTEGER_BLOB);

impl Output {
    fn empty() -> Self {
        Output(CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() })
    }

    fn bytes(&mut self) -> &mut [u8] {
        let length = usize::try_from(self.0.cbData).unwrap_or(0);
        if self.0.pbData.is_null() {
            return &mut [];
        }
        // SAFETY: DPAPI gave so many bytes there, and nobody else knows of them.
        unsafe { std::slice::from_raw_parts_mut(self.0.pbData, length) }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.bytes().zeroize();
        // SAFETY: the memory is the OS's, given to us to free this way; null is let pass.
        unsafe { LocalFree(self.0.pbData.cast()) };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::secret::{SealFor, SecretError, read, seal};
    use tutela_core::spec::SecretSource;

    #[test]
    fn what_is_sealed_for_the_machine_or_the_account_is_opened_and_shows_nothing_before() {
        let dir = tempfile::tempdir().unwrap();
        for whom in [SealFor::Machine, SealFor::Account] {
            let path = dir.path().join(format!("{whom:?}"));
            let sealed = seal(b"correct horse battery\r\n", whom).unwrap();
            assert!(!sealed.windows(7).any(|part| part == b"correct"));
            std::fs::write(&path, &sealed).unwrap();
            let secret = read(&SecretSource::Dpapi(path)).unwrap();
            assert_eq!(secret.reveal(), "correct horse battery");
        }
    }

    #[test]
    fn what_was_not_sealed_or_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        let mut sealed = seal(b"correct horse battery", SealFor::Machine).unwrap();
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        for content in [&sealed[..], b"plain text"] {
            std::fs::write(&path, content).unwrap();
            let error = read(&SecretSource::Dpapi(path.clone())).unwrap_err();
            assert!(matches!(error, SecretError::Sealed { .. }), "{error}");
        }
    }
}
