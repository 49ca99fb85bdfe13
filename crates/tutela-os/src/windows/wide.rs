//! Text as Windows takes it, UTF-16 with a zero behind it, and answers of its calls as results.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use windows_sys::core::BOOL;

/// `text` with a zero at its end. A zero within would cut it off, so that is refused.
pub(crate) fn terminated(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = text.as_ref().encode_wide().collect();
    if units.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is a zero in the text, which would cut it off"));
    }
    units.push(0);
    Ok(units)
}

/// The text up to the first zero.
pub(crate) fn until_zero(units: &[u16]) -> OsString {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    OsString::from_wide(units.get(..end).unwrap_or_default())
}

/// The result of a call that answers zero for a failure. Must be called before anything else can fail.
pub(crate) fn done(answer: BOOL) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
