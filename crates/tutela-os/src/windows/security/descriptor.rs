//! Security descriptors: who owns a thing, and who may do what with it.

use super::sid::{ADMINISTRATORS, SYSTEM, Sid, USERS};
use super::{Local, Token};
use crate::platform::wide::{done, terminated};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, GetSecurityInfo, SDDL_REVISION_1,
    SE_FILE_OBJECT, SE_KERNEL_OBJECT, SE_OBJECT_TYPE,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, INHERIT_ONLY_ACE,
    OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES,
};

/// `ACCESS_ALLOWED_ACE_TYPE` of the OS's headers.
const ALLOWED: u8 = 0;
/// `ACCESS_DENIED_ACE_TYPE` of the OS's headers.
const DENIED: u8 = 1;
/// `ACCESS_ALLOWED_CALLBACK_ACE_TYPE`: allowed under a condition, behind the identifier.
const ALLOWED_ON_CONDITION: u8 = 9;

/// A descriptor to make something with.
#[derive(Debug)]
pub(crate) struct Descriptor(pub(super) Local);

impl Descriptor {
    /// The one that `sddl`, the OS's own notation, describes.
    pub(crate) fn from_sddl(sddl: &str) -> io::Result<Descriptor> {
        let text = terminated(sddl)?;
        let mut made = std::ptr::null_mut();
        // SAFETY: the text ends with a zero, the answer's place is live and ours, and the size is not asked for.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Descriptor(Local(made)))
    }

    /// To make something with that no program inherits. Valid as long as this descriptor lives.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}

/// The access list of a file or folder that takes over nothing from above: full access for the system,
/// administrators and this account, and reading for all users when it is `public`.
pub(crate) fn list_for_files(folder: bool, public: bool) -> io::Result<String> {
    let own = Token::own()?.user()?;
    let handed_down = if folder { "OICI" } else { "" };
    let mut list = String::from("D:P");
    for who in [SYSTEM, ADMINISTRATORS, &own.to_string()] {
        list += &format!("(A;{handed_down};FA;;;{who})");
    }
    if public {
        // Reading and executing.
        list += &format!("(A;{handed_down};0x1200a9;;;{USERS})");
    }
    Ok(list)
}

/// One line of an access list that concerns the thing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) sid: Sid,
    /// Forbidden, not allowed.
    pub(crate) denies: bool,
    /// The rights, as the OS numbers them.
    pub(crate) rights: u32,
}

/// What is known of a thing that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) owner: Option<Sid>,
    /// `None`: there is no list, which allows everything to everybody.
    pub(crate) rules: Option<Vec<Rule>>,
}

/// Of the file or folder at `path`.
pub(crate) fn of_path(path: &OsStr) -> io::Result<Access> {
    let path = terminated(path)?;
    let (mut owner, mut list, mut whole) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the path ends with a zero; the places of the answers are live and ours; the rest is not asked for.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            std::ptr::null_mut(),
            &raw mut list,
            std::ptr::null_mut(),
            &raw mut whole,
        )
    };
    taken(code, owner, list, whole)
}

/// Of an open pipe.
#[cfg_attr(not(test), expect(dead_code, reason = "what is opened with a list is read back by the tests only"))]
pub(crate) fn of_pipe(pipe: &impl AsRawHandle) -> io::Result<Access> {
    of_handle(pipe, SE_KERNEL_OBJECT)
}

/// Of an open file or folder.
pub(crate) fn of_file(file: &File) -> io::Result<Access> {
    of_handle(file, SE_FILE_OBJECT)
}

fn of_handle(thing: &impl AsRawHandle, kind: SE_OBJECT_TYPE) -> io::Result<Access> {
    let (mut owner, mut list, mut whole) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the handle is open for as long as the borrow; the places of the answers are live and ours; the rest
    // is not asked for.
    let code = unsafe {
        GetSecurityInfo(
            thing.as_raw_handle().cast(),
            kind,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            std::ptr::null_mut(),
            &raw mut list,
            std::ptr::null_mut(),
            &raw mut whole,
        )
    };
    taken(code, owner, list, whole)
}

/// Copies an answer, whose parts lie in `whole`.
fn taken(code: u32, owner: PSID, list: *mut ACL, whole: *mut core::ffi::c_void) -> io::Result<Access> {
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let whole = Local(whole);
    let owner = if owner.is_null() {
        None
    } else {
        // SAFETY: the OS points to the owner within the descriptor, which is there until `whole` is dropped.
        Some(unsafe { Sid::at(owner) }?)
    };
    let rules = if list.is_null() { None } else { Some(rules(list)?) };
    drop(whole);
    Ok(Access { owner, rules })
}

/// The lines of a list that lies in a descriptor which the caller holds.
fn rules(list: *mut ACL) -> io::Result<Vec<Rule>> {
    // SAFETY: the caller's list is a live one that the OS made.
    let count = u32::from(unsafe { list.read() }.AceCount);
    let mut rules = Vec::new();
    for index in 0..count {
        let mut line = std::ptr::null_mut();
        // SAFETY: the list is live, the index is below its count, and the answer's place is ours.
        done(unsafe { GetAce(list, index, &raw mut line) })?;
        // SAFETY: every line begins with this head.
        let head = unsafe { line.cast::<ACE_HEADER>().read_unaligned() };
        // What is only handed down to others says nothing about the thing itself. Lines of other kinds concern
        // parts of objects that files do not have.
        let here = u32::from(head.AceFlags) & INHERIT_ONLY_ACE == 0;
        if !here || !matches!(head.AceType, ALLOWED | DENIED | ALLOWED_ON_CONDITION) {
            continue;
        }
        // SAFETY: lines of these kinds are of this shape.
        let body = unsafe { line.cast::<ACCESS_ALLOWED_ACE>().read_unaligned() };
        let sid = line.wrapping_byte_add(std::mem::offset_of!(ACCESS_ALLOWED_ACE, SidStart));
        // SAFETY: the identifier begins where the shape says, within the live list.
        let sid = unsafe { Sid::at(sid) }?;
        rules.push(Rule { sid, denies: head.AceType == DENIED, rights: body.Mask });
    }
    Ok(rules)
}
