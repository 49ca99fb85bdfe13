//! Whole descriptors of files and folders: read, shown in the OS's own notation (SDDL), put on, put back.
//!
//! Beside [`super::descriptor`], which reads rules as numbers: here it counts as well what a list hands down, and
//! whether it takes anything over from above. For the steps of registrations, which take back what they did.

use super::{Descriptor, Local, Sid};
use crate::platform::files::for_the_os;
use crate::platform::wide::{done, terminated, until_zero};
use std::io;
use std::path::Path;
use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertStringSidToSidW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorControl, GetSecurityDescriptorDacl,
    GetSecurityDescriptorOwner, OBJECT_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSID, SE_DACL_PROTECTED, UNPROTECTED_DACL_SECURITY_INFORMATION,
};

/// The identifier that two letters or `S-1-…` stand for.
pub(crate) fn identifier(text: &str) -> io::Result<Sid> {
    let text = terminated(text)?;
    let mut sid: PSID = std::ptr::null_mut();
    // SAFETY: the text ends with a zero; the answer's place is live and ours.
    done(unsafe { ConvertStringSidToSidW(text.as_ptr(), &raw mut sid) })?;
    let owned = Local(sid);
    // SAFETY: the OS just made it, and it is there until `owned` is dropped.
    unsafe { Sid::at(owned.0) }
}

impl Descriptor {
    /// That of a file or folder: its owner and its access list.
    pub(crate) fn of_file(path: &Path) -> io::Result<Descriptor> {
        let path = terminated(for_the_os(path)?)?;
        let mut whole = std::ptr::null_mut();
        // SAFETY: the path ends with a zero; the answer's place is live and ours; single parts are not asked for.
        let code = unsafe {
            GetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw mut whole,
            )
        };
        answered(code)?;
        Ok(Descriptor(Local(whole)))
    }

    /// Whose the thing is.
    pub(crate) fn owner(&self) -> io::Result<Option<Sid>> {
        let owner = self.owner_within()?;
        // SAFETY: the OS points to the owner within the descriptor, which lives.
        if owner.is_null() { Ok(None) } else { unsafe { Sid::at(owner) }.map(Some) }
    }

    /// The access list as text: `D:PAI(A;OICI;FA;;;SY)…`.
    pub(crate) fn access_list(&self) -> io::Result<String> {
        let (mut text, mut units) = (std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a whole one and lives; the places of both answers are live and ours.
        done(unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                self.0.0,
                SDDL_REVISION_1,
                DACL_SECURITY_INFORMATION,
                &raw mut text,
                &raw mut units,
            )
        })?;
        let owned = Local(text.cast());
        let units = usize::try_from(units).unwrap_or(0);
        // SAFETY: the OS made a text of so many units there, which is there until `owned` is dropped.
        let units = unsafe { std::slice::from_raw_parts(owned.0.cast::<u16>(), units) };
        Ok(until_zero(units).to_string_lossy().into_owned())
    }

    /// Puts its access list on a file or folder. Whether that takes anything over from above is as this says (`D:P`
    /// does not), whatever it was before.
    pub(crate) fn put_list_on(&self, path: &Path) -> io::Result<()> {
        let (mut present, mut defaulted) = (0, 0);
        let mut list: *mut ACL = std::ptr::null_mut();
        // SAFETY: the descriptor is a whole one and lives; the places of the answers are live and ours.
        done(unsafe { GetSecurityDescriptorDacl(self.0.0, &raw mut present, &raw mut list, &raw mut defaulted) })?;
        let (mut control, mut revision) = (0, 0);
        // SAFETY: as above.
        done(unsafe { GetSecurityDescriptorControl(self.0.0, &raw mut control, &raw mut revision) })?;
        let protection = if control & SE_DACL_PROTECTED == 0 {
            UNPROTECTED_DACL_SECURITY_INFORMATION
        } else {
            PROTECTED_DACL_SECURITY_INFORMATION
        };
        put(path, DACL_SECURITY_INFORMATION | protection, std::ptr::null_mut(), list)
    }

    /// Gives a file or folder to the owner that this names.
    pub(crate) fn put_owner_on(&self, path: &Path) -> io::Result<()> {
        put(path, OWNER_SECURITY_INFORMATION, self.owner_within()?, std::ptr::null_mut())
    }

    /// Where the owner lies within; null for none.
    fn owner_within(&self) -> io::Result<PSID> {
        let (mut owner, mut defaulted) = (std::ptr::null_mut(), 0);
        // SAFETY: the descriptor is a whole one and lives; the places of both answers are live and ours.
        done(unsafe { GetSecurityDescriptorOwner(self.0.0, &raw mut owner, &raw mut defaulted) })?;
        Ok(owner)
    }
}

/// The owner and the list lie in a descriptor that the caller holds, or are null and not named in `what`.
fn put(path: &Path, what: OBJECT_SECURITY_INFORMATION, owner: PSID, list: *mut ACL) -> io::Result<()> {
    let path = terminated(for_the_os(path)?)?;
    // SAFETY: the path ends with a zero; what is pointed to lives during the call, as the caller says; a null list
    // that is named means none, as the descriptor had it.
    let code = unsafe {
        SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, owner, std::ptr::null_mut(), list, std::ptr::null())
    };
    answered(code)
}

fn answered(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_lists_survive_the_way_through_the_os() {
        assert_eq!(identifier("SY").unwrap().to_string(), "S-1-5-18");
        let descriptor = Descriptor::from_sddl("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)").unwrap();
        let list = descriptor.access_list().unwrap();
        assert!(list.starts_with("D:P") && list.matches('(').count() == 2, "{list}");
        assert!(descriptor.owner().unwrap().unwrap().is("S-1-5-32-544"));
        assert_eq!(Descriptor::from_sddl("D:P").unwrap().owner().unwrap(), None);
    }

    #[test]
    fn a_list_is_read_and_put_on_however_long_the_path_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120)).join("y".repeat(120)).join("z".repeat(60));
        std::fs::create_dir_all(&path).unwrap();
        let former = Descriptor::of_file(&path).unwrap();
        former.put_list_on(&path).unwrap();
        assert!(former.owner().unwrap().is_some());
    }
}
