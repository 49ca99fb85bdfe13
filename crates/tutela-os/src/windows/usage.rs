//! Figures of this process, the computer and its disks.

use super::container::members;
use super::wide::{done, terminated, until_zero};
use crate::Error;
use crate::usage::{DiskUsage, HostUsage, OwnUsage};
use std::io;
use std::os::windows::io::OwnedHandle;
use std::path::Path;
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::System::SystemInformation::{
    COMPUTER_NAME_FORMAT, ComputerNameNetBIOS, ComputerNamePhysicalDnsHostname, GetComputerNameExW,
    GlobalMemoryStatusEx, MEMORYSTATUSEX,
};
use windows_sys::Win32::System::Threading::PROCESS_QUERY_INFORMATION;

pub(crate) fn own() -> Result<OwnUsage, Error> {
    let asked = |source| Error::io("ask for what this process uses", source);
    let pid = std::process::id();
    let this: OwnedHandle = members::open(pid, PROCESS_QUERY_INFORMATION).map_err(asked)?;
    Ok(OwnUsage {
        memory_bytes: members::memory(&this).map_err(asked)?.resident,
        open_files: members::handles(&this).unwrap_or(0),
        threads: members::table().get(&pid).map_or(0, |(threads, _)| u64::from(*threads)),
        cpu: members::cpu(&this).map_err(asked)?,
    })
}

pub(crate) fn host() -> Result<HostUsage, Error> {
    let mut told = MEMORYSTATUSEX::default();
    told.dwLength = u32::try_from(size_of_val(&told)).unwrap_or(0);
    // SAFETY: the structure is ours and says its own length.
    done(unsafe { GlobalMemoryStatusEx(&raw mut told) })
        .map_err(|source| Error::io("ask for the memory of the computer", source))?;
    Ok(HostUsage {
        cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_total: told.ullTotalPhys,
        memory_available: told.ullAvailPhys,
        // Windows counts no runnable programs.
        load: None,
    })
}

pub(crate) fn disk(path: &Path) -> Result<DiskUsage, Error> {
    let asked = |source: io::Error| Error::io(format!("ask for the free space at {}", path.display()), source);
    // A folder is what the OS wants; a file lies on the disk of its folder, unless its path is not there at all.
    let meta = std::fs::metadata(path).map_err(asked)?;
    let folder = if meta.is_dir() { Some(path) } else { path.parent() };
    let folder = std::path::absolute(folder.unwrap_or(path)).map_err(asked)?;
    let units = terminated(&folder).map_err(asked)?;
    let (mut available, mut total) = (0_u64, 0_u64);
    // SAFETY: the path ends in a zero and lives through the call; the pointers are to numbers of ours, and the
    // last one may be null.
    done(unsafe { GetDiskFreeSpaceExW(units.as_ptr(), &raw mut available, &raw mut total, std::ptr::null_mut()) })
        .map_err(asked)?;
    Ok(DiskUsage { total, available })
}

/// The name that people and other computers know this one by.
pub(crate) fn host_name() -> String {
    computer_name(ComputerNamePhysicalDnsHostname)
}

/// The domain that this computer's own accounts and groups are in. It is the first 15 characters of the host's name in
/// capitals, or another name altogether.
pub(crate) fn account_domain() -> String {
    computer_name(ComputerNameNetBIOS)
}

fn computer_name(kind: COMPUTER_NAME_FORMAT) -> String {
    let mut units = [0_u16; 256];
    let mut length = u32::try_from(units.len()).unwrap_or(0);
    // SAFETY: the call writes at most `length` units to the array, and the length; both are ours.
    let told = unsafe { GetComputerNameExW(kind, units.as_mut_ptr(), &raw mut length) };
    match done(told) {
        Ok(()) => until_zero(&units).to_string_lossy().into_owned(),
        Err(_) => std::env::var("COMPUTERNAME").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::security::sid;
    use windows_sys::Win32::Security::SidTypeDomain;

    #[test]
    fn accounts_are_looked_up_in_a_domain_of_a_length_that_it_can_have() {
        /// The longest name in NetBIOS.
        const UNITS_MAX: usize = 15;
        let (domain, host) = (account_domain(), host_name());
        assert!((1..=UNITS_MAX).contains(&domain.encode_utf16().count()), "{domain}");
        assert!(!host.is_empty());
        let found = sid::find(&domain);
        assert!(
            found.as_ref().is_ok_and(|found| found.as_ref().is_some_and(|it| it.usage == SidTypeDomain)),
            "{found:?}"
        );
    }
}
