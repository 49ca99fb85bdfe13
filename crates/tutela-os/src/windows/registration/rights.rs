//! Account rights in the local policy: who has one, granting and taking back. Administrators only.

use crate::platform::security::Sid;
use crate::platform::security::sid::{ALL_SERVICES, EVERYONE};
use std::fmt;
use std::io;
use windows_sys::Win32::Foundation::{NTSTATUS, STATUS_NO_MORE_ENTRIES, STATUS_OBJECT_NAME_NOT_FOUND};
use windows_sys::Win32::Security::Authentication::Identity::{
    LSA_HANDLE, LSA_OBJECT_ATTRIBUTES, LSA_UNICODE_STRING, LsaAddAccountRights, LsaClose, LsaEnumerateAccountRights,
    LsaEnumerateAccountsWithUserRight, LsaFreeMemory, LsaNtStatusToWinError, LsaOpenPolicy, LsaRemoveAccountRights,
    POLICY_CREATE_ACCOUNT, POLICY_LOOKUP_NAMES, POLICY_VIEW_LOCAL_INFORMATION,
};
use windows_sys::Win32::Security::PSID;

/// The right that an account needs to run a service.
pub(super) const SERVICE_LOGON: &str = "SeServiceLogonRight";

/// What keeps an account from running a service, whatever else it has.
pub(super) const DENY_SERVICE_LOGON: &str = "SeDenyServiceLogonRight";

/// What keeps an account from running a task while nobody is logged in, whatever else it has.
pub(super) const DENY_BATCH_LOGON: &str = "SeDenyBatchLogonRight";

/// A right that a registration grants and remembers: to be logged on in a certain way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// By the SCM.
    Service,
    /// By the Task Scheduler, with a password or as the account alone.
    Batch,
}

impl Right {
    /// As the policy calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Right::Service => SERVICE_LOGON,
            Right::Batch => "SeBatchLogonRight",
        }
    }
}

/// As secpol.msc calls it.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Right::Service => "log on as a service",
            Right::Batch => "log on as a batch job",
        })
    }
}

/// The open policy of this computer.
struct Policy(LSA_HANDLE);

impl Drop for Policy {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by us and is closed once.
        unsafe { LsaClose(self.0) };
    }
}

/// Memory of the policy.
struct Listed(*mut core::ffi::c_void);

impl Drop for Listed {
    fn drop(&mut self) {
        // SAFETY: the policy handed this memory to us, or nothing, to be freed once in this way.
        unsafe { LsaFreeMemory(self.0) };
    }
}

fn checked(status: NTSTATUS) -> io::Result<()> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: a number for a number.
    let code = unsafe { LsaNtStatusToWinError(status) };
    Err(io::Error::from_raw_os_error(code.cast_signed()))
}

fn open(access: i32) -> io::Result<Policy> {
    let attributes =
        LSA_OBJECT_ATTRIBUTES { Length: size_of::<LSA_OBJECT_ATTRIBUTES>() as u32, ..LSA_OBJECT_ATTRIBUTES::default() };
    let mut policy = LSA_HANDLE::default();
    // SAFETY: no name means this computer; the attributes are empty; the handle is written to a local.
    checked(unsafe {
        LsaOpenPolicy(std::ptr::null(), &raw const attributes, access.cast_unsigned(), &raw mut policy)
    })?;
    Ok(Policy(policy))
}

/// The name of a right as the policy takes it; it points into `units`.
fn named(units: &mut [u16]) -> LSA_UNICODE_STRING {
    let bytes = u16::try_from(size_of_val(units)).unwrap_or(u16::MAX);
    LSA_UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_mut_ptr() }
}

/// An identifier as the OS wants it.
fn words(sid: &str) -> io::Result<Vec<u32>> {
    let sid: Sid = sid.parse().map_err(|_| io::Error::other(format!("{sid} is no security identifier")))?;
    Ok(sid.words())
}

/// Whether the account itself, not by a group, has the right.
pub(super) fn has(sid: &str, right: &str) -> io::Result<bool> {
    let policy = open(POLICY_LOOKUP_NAMES | POLICY_VIEW_LOCAL_INFORMATION)?;
    let sid = words(sid)?;
    let mut rights: *mut LSA_UNICODE_STRING = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the policy is open; the identifier is whole and aligned; results are written to locals.
    let status =
        unsafe { LsaEnumerateAccountRights(policy.0, sid.as_ptr().cast_mut().cast(), &raw mut rights, &raw mut count) };
    // An account without any right is not known to the policy.
    if status == STATUS_OBJECT_NAME_NOT_FOUND {
        return Ok(false);
    }
    checked(status)?;
    let listed = Listed(rights.cast());
    for index in 0..usize::try_from(count).unwrap_or_default() {
        // SAFETY: the policy wrote so many names there, owned by `listed`.
        let name = unsafe { listed.0.cast::<LSA_UNICODE_STRING>().add(index) };
        // SAFETY: as above.
        let name = unsafe { name.read() };
        // SAFETY: the name has so many bytes, in the same memory.
        let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
        if String::from_utf16_lossy(units).eq_ignore_ascii_case(right) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The identifiers of all that have the right themselves.
pub(super) fn accounts_with(right: &str) -> io::Result<Vec<String>> {
    let policy = open(POLICY_LOOKUP_NAMES | POLICY_VIEW_LOCAL_INFORMATION)?;
    let mut units: Vec<u16> = right.encode_utf16().collect();
    let name = named(&mut units);
    let mut found: *mut core::ffi::c_void = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the policy is open; the name and its units live through the call; results are written to locals.
    let status =
        unsafe { LsaEnumerateAccountsWithUserRight(policy.0, &raw const name, &raw mut found, &raw mut count) };
    if [STATUS_NO_MORE_ENTRIES, STATUS_OBJECT_NAME_NOT_FOUND].contains(&status) {
        return Ok(Vec::new());
    }
    checked(status)?;
    let listed = Listed(found);
    let mut sids = Vec::new();
    for index in 0..usize::try_from(count).unwrap_or_default() {
        // SAFETY: the policy wrote so many pointers to identifiers there, owned by `listed`.
        let sid = unsafe { listed.0.cast::<PSID>().add(index) };
        // SAFETY: as above.
        let sid = unsafe { sid.read() };
        // SAFETY: an identifier of the policy, in the same memory.
        sids.push(unsafe { Sid::at(sid) }?.to_string());
    }
    Ok(sids)
}

/// Whether a policy has taken the right to log on as a service from the accounts of services, who have it by a group.
pub(super) fn denied_to_services() -> bool {
    let all = accounts_with(SERVICE_LOGON).unwrap_or_default();
    // Nobody at all has it only where nobody is asked for it.
    !all.is_empty() && !all.iter().any(|sid| sid == ALL_SERVICES || sid == EVERYONE)
}

/// Gives the account the right.
pub(super) fn grant(sid: &str, right: &str) -> io::Result<()> {
    let policy = open(POLICY_LOOKUP_NAMES | POLICY_CREATE_ACCOUNT)?;
    let sid = words(sid)?;
    let mut units: Vec<u16> = right.encode_utf16().collect();
    let name = named(&mut units);
    // SAFETY: the policy is open; the identifier is whole and aligned; the name and its units live through the call.
    checked(unsafe { LsaAddAccountRights(policy.0, sid.as_ptr().cast_mut().cast(), &raw const name, 1) })
}

/// Takes the right from the account, if it has it.
pub(super) fn take(sid: &str, right: &str) -> io::Result<()> {
    let policy = open(POLICY_LOOKUP_NAMES)?;
    let sid = words(sid)?;
    let mut units: Vec<u16> = right.encode_utf16().collect();
    let name = named(&mut units);
    // SAFETY: the policy is open; the identifier is whole and aligned; the name and its units live through the call.
    match unsafe { LsaRemoveAccountRights(policy.0, sid.as_ptr().cast_mut().cast(), false, &raw const name, 1) } {
        STATUS_OBJECT_NAME_NOT_FOUND => Ok(()),
        status => checked(status),
    }
}
