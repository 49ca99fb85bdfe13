//! Libraries that are loaded when they are needed, and their functions.

use super::wide::terminated;
use core::ffi::{CStr, c_void};
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};

/// A library of the OS, which stays loaded for as long as the process lives.
#[derive(Clone, Copy)]
pub(crate) struct Library(HMODULE);

impl Library {
    /// Loads it from the system's own folder; `None`: it is not there.
    pub(crate) fn load(name: &str) -> Option<Library> {
        let name = terminated(name).ok()?;
        // SAFETY: the name ends in a zero; only the system's own folder is searched.
        let library = unsafe { LoadLibraryExW(name.as_ptr(), std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        (!library.is_null()).then_some(Library(library))
    }

    /// The function `name`; `None`: it has none of this name.
    ///
    /// # Safety
    /// `F` is the type of the function: `unsafe extern "system" fn`.
    pub(crate) unsafe fn function<F: Copy>(self, name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        // SAFETY: the library stays loaded, and the name ends in a zero.
        let found = unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }?;
        // SAFETY: a pointer to a function for another one, whose type it has, as the caller says.
        Some(unsafe { std::mem::transmute_copy(&found) })
    }

    /// Whether it has a function of this name.
    pub(crate) fn has(self, name: &CStr) -> bool {
        // SAFETY: the library stays loaded, and the name ends in a zero; the address is not called.
        unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }.is_some()
    }
}
