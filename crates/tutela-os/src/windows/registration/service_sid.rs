//! The identifier of a service's own account, before there is the service: planning needs it for access lists.
//!
//! The OS works it out where it can. Elsewhere (Wine) it is done here in the same way: the SHA-1 of the name in
//! capitals, which are those of the OS's own table, unit by unit. Rust's would make two letters of some (ß).

use crate::platform::library::Library;
use crate::platform::security::Sid;
use std::io;
use windows_sys::Win32::Foundation::{NTSTATUS, RtlNtStatusToDosError, UNICODE_STRING};
use windows_sys::Win32::Security::Cryptography::{BCRYPT_SHA1_ALG_HANDLE, BCryptHash};
use windows_sys::Win32::Security::PSID;

#[link(name = "ntdll")]
unsafe extern "system" {
    /// The capital of one unit. Exported by every version of Windows that there is, and by Wine.
    fn RtlUpcaseUnicodeChar(unit: u16) -> u16;
}

/// `RtlCreateServiceSid`, which Wine lacks.
type CreateServiceSid = unsafe extern "system" fn(*const UNICODE_STRING, PSID, *mut u32) -> NTSTATUS;

/// The longest identifier there is (`SECURITY_MAX_SID_SIZE`), in words, because it has to lie on a multiple of four.
const SID_WORDS_MAX: usize = 17;

/// The identifier that Windows gives the service `name`: `S-1-5-80-` and five numbers.
pub(super) fn service_sid(name: &str) -> io::Result<Sid> {
    match asked(name)? {
        Some(sid) => Ok(sid),
        None => computed(name),
    }
}

/// As the OS says; `None`: it has no function for that.
fn asked(name: &str) -> io::Result<Option<Sid>> {
    let Some(library) = Library::load("ntdll.dll") else { return Ok(None) };
    // SAFETY: the function of this name has this signature.
    let Some(create) = (unsafe { library.function::<CreateServiceSid>(c"RtlCreateServiceSid") }) else {
        return Ok(None);
    };
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let bytes = u16::try_from(size_of_val(units.as_slice())).map_err(io::Error::other)?;
    let text = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_mut_ptr() };
    let mut sid = [0_u32; SID_WORDS_MAX];
    let mut length = u32::try_from(size_of_val(&sid)).unwrap_or(0);
    // SAFETY: the text says its own length; the identifier has the length given; both and the length are ours.
    let status = unsafe { create(&raw const text, sid.as_mut_ptr().cast(), &raw mut length) };
    if status < 0 {
        // SAFETY: takes a number, touches no memory of ours.
        let code = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    // SAFETY: the call has just made a whole one there.
    unsafe { Sid::at(sid.as_mut_ptr().cast()) }.map(Some)
}

fn computed(name: &str) -> io::Result<Sid> {
    // SAFETY: takes and gives a number, touches no memory of ours.
    let capital = |unit: u16| unsafe { RtlUpcaseUnicodeChar(unit) };
    let bytes: Vec<u8> = name.encode_utf16().flat_map(|unit| capital(unit).to_le_bytes()).collect();
    let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut hash = [0_u8; 20];
    // SAFETY: input and output have the sizes given; the algorithm is a constant of the OS; there is no secret.
    let status =
        unsafe { BCryptHash(BCRYPT_SHA1_ALG_HANDLE, std::ptr::null(), 0, bytes.as_ptr(), size, hash.as_mut_ptr(), 20) };
    if status != 0 {
        return Err(io::Error::other(format!("SHA-1 of the OS failed with status {status:#x}")));
    }
    let words = hash.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]).to_string());
    let text = format!("S-1-5-80-{}", words.collect::<Vec<_>>().join("-"));
    text.parse().map_err(|_| io::Error::other(format!("{text} is no security identifier")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::platform::security::sid::TRUSTED_INSTALLER;

    #[test]
    fn the_identifier_of_a_service_is_that_of_windows() {
        for name in ["TrustedInstaller", "trustedinstaller"] {
            assert!(service_sid(name).unwrap().is(TRUSTED_INSTALLER), "{name}");
            assert!(computed(name).unwrap().is(TRUSTED_INSTALLER), "{name}");
        }
    }

    #[test]
    fn what_is_computed_is_what_the_os_says_in_every_alphabet() {
        for name in ["tutela test", "Straße", "ärger", "ﬁn", "ŉ", "магазин", "ııı", "世界", "🌍"] {
            let computed = computed(name).unwrap();
            assert_eq!(service_sid(name).unwrap(), computed, "{name}");
        }
    }

    #[test]
    fn a_letter_has_one_capital_and_one_without_stays() {
        assert_eq!(computed("ärger").unwrap(), computed("ÄRGER").unwrap());
        assert_ne!(computed("straße").unwrap(), computed("STRASSE").unwrap());
        assert_eq!(computed("straße").unwrap(), computed("STRAßE").unwrap());
    }
}
