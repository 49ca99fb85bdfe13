//! Who somebody is and who may do what, in the terms of Windows: identifiers, tokens, descriptors.
//!
//! The endpoint, the inbox, files, accounts and the audit of access are built on it. Memory that the OS
//! allocates for an answer is freed here; what leaves this folder is owned by Rust.

pub(crate) mod descriptor;
pub(crate) mod sid;
pub(crate) mod token;
pub(crate) mod whole;

pub(crate) use descriptor::Descriptor;
pub(crate) use sid::Sid;
pub(crate) use token::Token;

use windows_sys::Win32::Foundation::LocalFree;

/// Memory that the OS allocated for us with `LocalAlloc`.
#[derive(Debug)]
struct Local(*mut core::ffi::c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the OS handed this memory over to be freed in this way, once; nobody else has it. Null is
        // allowed.
        unsafe { LocalFree(self.0) };
    }
}
