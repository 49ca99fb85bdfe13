//! Access lists in the OS's own notation (SDDL): made from text, read as text, put on folders.
//!
//! Beside `security::descriptor`, which reads rules as numbers: here whole lists are compared and put back, with what
//! they hand down. Invariant: what the OS allocates is owned by a type that frees it.

use super::text::{Wide, text_at};
use crate::platform::security::Sid;
use std::io;
use std::path::Path;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertStringSecurityDescriptorToSecurityDescriptorW,
    ConvertStringSidToSidW, GetNamedSecurityInfoW, SDDL_REVISION_1, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, OBJECT_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
};

/// Memory of the OS that is freed with `LocalFree`.
#[derive(Debug)]
struct Local(*mut core::ffi::c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the OS handed this memory to us, to be freed once in this way.
        unsafe { LocalFree(self.0) };
    }
}

fn failed_unless(worked: i32) -> io::Result<()> {
    if worked == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The identifier that two letters or `S-1-…` stand for.
pub(super) fn identifier(text: &str) -> io::Result<Sid> {
    let text = Wide::new(text);
    let mut sid: PSID = std::ptr::null_mut();
    // SAFETY: the text ends with a NUL; the result is written to a local.
    failed_unless(unsafe { ConvertStringSidToSidW(text.as_ptr(), &raw mut sid) })?;
    let owned = Local(sid);
    // SAFETY: the OS just made it, and it is owned here.
    unsafe { Sid::at(owned.0) }
}

/// A security descriptor.
#[derive(Debug)]
pub(super) struct Descriptor(Local);

impl Descriptor {
    /// From its text (SDDL).
    pub(super) fn parse(sddl: &str) -> io::Result<Descriptor> {
        let text = Wide::new(sddl);
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends with a NUL; the result is written to a local; the size is not wanted.
        failed_unless(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Descriptor(Local(descriptor)))
    }

    /// That of a file or folder: its owner and its access list.
    pub(super) fn of_file(path: &Path) -> io::Result<Descriptor> {
        let path = Wide::new(&path.to_string_lossy());
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the path ends with a NUL; the descriptor is written to a local, single parts are not wanted.
        let code = unsafe {
            GetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw mut descriptor,
            )
        };
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        Ok(Descriptor(Local(descriptor)))
    }

    /// For making something with this access list; valid as long as this lives.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }

    /// Its text, of the parts that `what` names.
    fn part(&self, what: OBJECT_SECURITY_INFORMATION) -> io::Result<String> {
        let mut text: *mut u16 = std::ptr::null_mut();
        // SAFETY: the descriptor is valid and owned here; the text is written to a local; its length is not wanted.
        failed_unless(unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                self.0.0,
                SDDL_REVISION_1,
                what,
                &raw mut text,
                std::ptr::null_mut(),
            )
        })?;
        let owned = Local(text.cast());
        // SAFETY: the OS made a text with a NUL there, owned here.
        Ok(unsafe { text_at(owned.0.cast()) })
    }

    /// The access list as text: `D:PAI(A;OICI;FA;;;SY)…`.
    pub(super) fn access_list(&self) -> io::Result<String> {
        self.part(DACL_SECURITY_INFORMATION)
    }

    /// Puts the access list on a file or folder; nothing is inherited from above when it is to be protected.
    pub(super) fn put_on(&self, path: &Path, protected: bool) -> io::Result<()> {
        let mut present = 0;
        let mut list: *mut ACL = std::ptr::null_mut();
        let mut defaulted = 0;
        // SAFETY: the descriptor is valid and owned here; the results are written to locals.
        failed_unless(unsafe {
            GetSecurityDescriptorDacl(self.0.0, &raw mut present, &raw mut list, &raw mut defaulted)
        })?;
        let path = Wide::new(&path.to_string_lossy());
        let what = DACL_SECURITY_INFORMATION | if protected { PROTECTED_DACL_SECURITY_INFORMATION } else { 0 };
        // SAFETY: the list points into the descriptor, which lives through the call; the path ends with a NUL.
        let code = unsafe {
            SetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                what,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                list,
                std::ptr::null(),
            )
        };
        if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
    }
}

/// One entry of an access list in its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// `A` lets, `D` denies.
    pub(super) kind: String,
    /// What it hands down.
    pub(super) flags: String,
    /// The rights, as letters or a number.
    pub(super) rights: String,
    /// Whom; two letters or `S-1-…`.
    pub(super) whom: String,
}

/// The entries of `D:…(…)(…)`, and whether the list takes nothing from above.
pub(super) fn entries(access_list: &str) -> (Vec<Entry>, bool) {
    let head = access_list.split('(').next().unwrap_or_default();
    let protected = head.trim_start_matches("D:").contains('P');
    let entries = access_list.split('(').skip(1).filter_map(|entry| {
        let mut parts = entry.trim_end_matches(')').split(';').map(str::to_owned);
        let (kind, flags, rights) = (parts.next()?, parts.next()?, parts.next()?);
        let whom = parts.nth(2)?;
        Some(Entry { kind, flags, rights, whom })
    });
    (entries.collect(), protected)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_access_list_is_read_entry_by_entry() {
        let (entries, protected) = entries("D:PAI(A;OICI;FA;;;SY)(D;;0x1301bf;;;S-1-5-80-1)");
        assert!(protected);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].whom, "S-1-5-80-1");
        assert_eq!(entries[1].kind, "D");
    }

    #[test]
    fn identifiers_and_lists_survive_the_way_through_the_os() {
        assert_eq!(identifier("SY").unwrap().to_string(), "S-1-5-18");
        let list = Descriptor::parse("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)").unwrap().access_list().unwrap();
        assert_eq!(entries(&list).0.len(), 2);
    }
}
