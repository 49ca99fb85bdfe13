//! Security identifiers: what Windows knows accounts and groups by.

use crate::platform::wide::{terminated, until_zero};
use std::fmt;
use std::io;
use std::str::FromStr;
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_SID, ERROR_NONE_MAPPED};
use windows_sys::Win32::Security::{
    GetLengthSid, IsValidSid, LookupAccountNameW, LookupAccountSidW, PSID, SID_NAME_USE,
};

/// The OS itself.
pub(crate) const SYSTEM: &str = "S-1-5-18";
/// The account of services that need no rights and have no network identity.
pub(crate) const LOCAL_SERVICE: &str = "S-1-5-19";
/// The account of services that need no rights and are the computer to the network.
pub(crate) const NETWORK_SERVICE: &str = "S-1-5-20";
/// The group of administrators.
pub(crate) const ADMINISTRATORS: &str = "S-1-5-32-544";
/// The group of users.
pub(crate) const USERS: &str = "S-1-5-32-545";
/// Everybody.
pub(crate) const EVERYONE: &str = "S-1-1-0";
/// Everybody who gave a name.
pub(crate) const AUTHENTICATED: &str = "S-1-5-11";
/// Everything that runs as a service.
pub(crate) const SERVICE: &str = "S-1-5-6";
/// Every virtual account of a service.
pub(crate) const ALL_SERVICES: &str = "S-1-5-80-0";
/// Owns the files of the OS.
pub(crate) const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
/// In an access list that folders hand down: whoever makes the thing.
pub(crate) const CREATOR_OWNER: &str = "S-1-3-0";
/// In an access list: what the owner may, in place of what owners may by default.
pub(crate) const OWNER_RIGHTS: &str = "S-1-3-4";

/// The most words that an identifier has behind its authority.
const PARTS_MAX: usize = 15;

/// The longest name of an account or domain, in UTF-16 units. The OS's own bound is 256 and its zero.
const NAME_UNITS_MAX: usize = 4096;

/// A security identifier. It prints as `S-1-5-18`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sid {
    /// 48 bits.
    authority: u64,
    parts: Vec<u32>,
}

impl Sid {
    /// The one at `pointer`.
    ///
    /// # Safety
    /// `pointer` is to an identifier that the OS made, which stays as it is during the call.
    pub(crate) unsafe fn at(pointer: PSID) -> io::Result<Sid> {
        // SAFETY: the caller's pointer is to a whole identifier.
        if unsafe { IsValidSid(pointer) } == 0 {
            return Err(io::Error::from_raw_os_error(ERROR_INVALID_SID.cast_signed()));
        }
        // SAFETY: it is a valid one.
        let length = unsafe { GetLengthSid(pointer) };
        let length = usize::try_from(length).unwrap_or(0);
        // SAFETY: a valid identifier has that many bytes, and nobody changes them meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length) };
        Sid::from_bytes(bytes).ok_or_else(|| io::Error::from_raw_os_error(ERROR_INVALID_SID.cast_signed()))
    }

    /// From its binary form, which may be followed by something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Sid> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let count = usize::from(head[1]);
        if head[0] != 1 || count > PARTS_MAX {
            return None;
        }
        let authority = head.iter().skip(2).fold(0_u64, |so_far, byte| so_far << 8 | u64::from(*byte));
        let mut parts = Vec::with_capacity(count);
        for part in rest.chunks_exact(4).take(count) {
            parts.push(u32::from_le_bytes(part.try_into().ok()?));
        }
        (parts.len() == count).then_some(Sid { authority, parts })
    }

    /// Its binary form, in words because it has to lie on a multiple of four.
    pub(crate) fn words(&self) -> Vec<u32> {
        let authority = self.authority.to_be_bytes();
        let count = u8::try_from(self.parts.len()).unwrap_or(u8::MAX);
        let mut words = vec![
            u32::from_le_bytes([1, count, authority[2], authority[3]]),
            u32::from_le_bytes([authority[4], authority[5], authority[6], authority[7]]),
        ];
        words.extend(&self.parts);
        words
    }

    /// Whether it is the one that `text` writes.
    pub(crate) fn is(&self, text: &str) -> bool {
        text.parse().is_ok_and(|other: Sid| *self == other)
    }

    /// Whether `text` and a dash begin it.
    pub(crate) fn is_under(&self, text: &str) -> bool {
        self.to_string().strip_prefix(text).is_some_and(|rest| rest.starts_with('-'))
    }

    /// `DOMAIN\name`, or the identifier as text where nobody has it.
    pub(crate) fn name(&self) -> String {
        match self.look_up() {
            Ok(Some(named)) if named.domain.is_empty() => named.name,
            Ok(Some(named)) => format!(r"{}\{}", named.domain, named.name),
            Ok(None) | Err(_) => self.to_string(),
        }
    }

    /// Who has it; `None`: nobody.
    pub(crate) fn look_up(&self) -> io::Result<Option<Named>> {
        let words = self.words();
        let (mut name, mut domain) = (vec![0_u16; 256], vec![0_u16; 256]);
        loop {
            let (mut name_length, mut domain_length) = (units(&name), units(&domain));
            let mut usage: SID_NAME_USE = 0;
            // SAFETY: the identifier is whole and aligned; both buffers are live and exclusive, with their lengths
            // given, and so are the places of the three answers. No computer's name means this one.
            let answer = unsafe {
                LookupAccountSidW(
                    std::ptr::null(),
                    words.as_ptr().cast_mut().cast(),
                    name.as_mut_ptr(),
                    &raw mut name_length,
                    domain.as_mut_ptr(),
                    &raw mut domain_length,
                    &raw mut usage,
                )
            };
            match failure(answer) {
                None => {
                    let text = |units: &[u16]| until_zero(units).to_string_lossy().into_owned();
                    let named = Named { sid: self.clone(), domain: text(&domain), name: text(&name), usage };
                    return Ok(Some(named));
                }
                Some(error) if is(&error, ERROR_NONE_MAPPED) => return Ok(None),
                Some(error) if is(&error, ERROR_INSUFFICIENT_BUFFER) => {
                    grow(&mut name, name_length, error)?;
                    domain.resize(name.len().max(usize::try_from(domain_length).unwrap_or(0)).min(NAME_UNITS_MAX), 0);
                }
                Some(error) => return Err(error),
            }
        }
    }
}

/// An account or group that is there.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) sid: Sid,
    pub(crate) domain: String,
    pub(crate) name: String,
    /// `SidTypeUser` and the like.
    pub(crate) usage: SID_NAME_USE,
}

/// The account or group `name`, with or without its domain; `None`: there is none. It may ask a domain.
pub(crate) fn find(name: &str) -> io::Result<Option<Named>> {
    let wanted = terminated(name)?;
    // The longest identifier there is.
    let (mut words, mut domain) = (vec![0_u32; 2 + PARTS_MAX], vec![0_u16; 256]);
    loop {
        let mut bytes = u32::try_from(words.len() * 4).unwrap_or(u32::MAX);
        let mut domain_length = units(&domain);
        let mut usage: SID_NAME_USE = 0;
        // SAFETY: the name ends with a zero; both buffers are live and exclusive, with their lengths given, and so
        // are the places of the three answers. No computer's name means this one.
        let answer = unsafe {
            LookupAccountNameW(
                std::ptr::null(),
                wanted.as_ptr(),
                words.as_mut_ptr().cast(),
                &raw mut bytes,
                domain.as_mut_ptr(),
                &raw mut domain_length,
                &raw mut usage,
            )
        };
        match failure(answer) {
            None => {
                let raw: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                let domain = until_zero(&domain).to_string_lossy().into_owned();
                let bare = name.rsplit('\\').next().unwrap_or(name).to_owned();
                return Ok(Sid::from_bytes(&raw).map(|sid| Named { sid, domain, name: bare, usage }));
            }
            Some(error) if is(&error, ERROR_NONE_MAPPED) => return Ok(None),
            Some(error) if is(&error, ERROR_INSUFFICIENT_BUFFER) => grow(&mut domain, domain_length, error)?,
            Some(error) => return Err(error),
        }
    }
}

fn units(buffer: &[u16]) -> u32 {
    u32::try_from(buffer.len()).unwrap_or(u32::MAX)
}

fn failure(answer: windows_sys::core::BOOL) -> Option<io::Error> {
    (answer == 0).then(io::Error::last_os_error)
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// Room for what the OS wants to say, or its error when that is not reasonable.
fn grow(buffer: &mut Vec<u16>, wanted: u32, error: io::Error) -> io::Result<()> {
    if buffer.len() >= NAME_UNITS_MAX {
        return Err(error);
    }
    let wanted = usize::try_from(wanted).unwrap_or(NAME_UNITS_MAX);
    buffer.resize(wanted.clamp(buffer.len() * 2, NAME_UNITS_MAX), 0);
    Ok(())
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-1-{}", self.authority)?;
        self.parts.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

/// A text that is no security identifier.
#[derive(Debug)]
pub(crate) struct NoSid;

impl FromStr for Sid {
    type Err = NoSid;

    fn from_str(text: &str) -> Result<Sid, NoSid> {
        let rest = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-")).ok_or(NoSid)?;
        let mut words = rest.split('-');
        let authority = words.next().and_then(|word| word.parse().ok()).ok_or(NoSid)?;
        let parts: Vec<u32> = words.map(|word| word.parse().map_err(|_| NoSid)).collect::<Result<_, _>>()?;
        if authority >= 1 << 48 || parts.len() > PARTS_MAX {
            return Err(NoSid);
        }
        Ok(Sid { authority, parts })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_the_same_after_being_written_in_both_ways() {
        for text in [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, "S-1-5-21-1-2-3-1001"] {
            let sid: Sid = text.parse().unwrap();
            let bytes: Vec<u8> = sid.words().iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(Sid::from_bytes(&bytes), Some(sid.clone()));
            assert_eq!(sid.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        for text in ["", "S-1-", "S-2-5-18", "S-1-5-x", "S-1-5-18 ", "S-1-281474976710656"] {
            assert!(text.parse::<Sid>().is_err(), "{text}");
        }
        assert_eq!(Sid::from_bytes(&[1, 2, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), None);
    }

    #[test]
    fn the_accounts_of_the_os_are_found_by_name_and_by_identifier() {
        let system = SYSTEM.parse::<Sid>().unwrap();
        let named = system.look_up().unwrap().unwrap();
        let found = find(&format!(r"{}\{}", named.domain, named.name)).unwrap().unwrap();
        assert_eq!(found.sid, system);
        assert!(find("no such account here").unwrap().is_none());
    }
}
