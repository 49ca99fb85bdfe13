//! Being called when a handle is signalled, from a thread of the OS's pool; and events, which are handles to signal.

use super::wide::done;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, RegisterWaitForSingleObject, SetEvent, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
    WT_EXECUTEONLYONCE,
};

/// An event that is silent again once somebody has waited for it.
pub(crate) fn event() -> io::Result<OwnedHandle> {
    // SAFETY: without attributes and name no memory of ours is read.
    let event = unsafe { CreateEventW(std::ptr::null(), 0, 0, std::ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

/// Rings an event.
pub(crate) fn ring(event: &OwnedHandle) {
    // SAFETY: the event is open for the call, which touches no memory of ours. It fails for no event.
    unsafe { SetEvent(event.as_raw_handle()) };
}

type Call = Box<dyn Fn() + Send + Sync>;

/// A wait for a handle. Dropping it waits until nobody is being called any more.
#[derive(Debug)]
pub(crate) struct Watch {
    wait: HANDLE,
    /// Whom the pool calls. On the heap twice, so that one pointer leads to it.
    call: *mut Call,
}

// SAFETY: the wait is a number of the pool's, which any thread may use; what is called may be called from any thread.
unsafe impl Send for Watch {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for Watch {}

impl Watch {
    /// Calls `call` whenever the handle is signalled: each time, where a wait silences it, or `once`. What is called must
    /// be quick, since other waits stand behind it. The handle has to stay open as long as this lives.
    pub(crate) fn begin(handle: &OwnedHandle, once: bool, call: Call) -> io::Result<Watch> {
        let call = Box::into_raw(Box::new(call));
        let mut wait = std::ptr::null_mut();
        let flags = WT_EXECUTEINWAITTHREAD | if once { WT_EXECUTEONLYONCE } else { 0 };
        let (handle, context) = (handle.as_raw_handle(), call.cast());
        // SAFETY: the handle stays open as long as the wait, by the contract; the context is given back in the drop alone,
        // when no call is under way.
        let told =
            unsafe { RegisterWaitForSingleObject(&raw mut wait, handle, Some(called), context, INFINITE, flags) };
        if let Err(error) = done(told) {
            // SAFETY: nobody was given it.
            drop(unsafe { Box::from_raw(call) });
            return Err(error);
        }
        Ok(Watch { wait, call })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: the wait was begun and is ended once, here. With that value it returns when nobody is called any more.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
        // SAFETY: it is the box that the wait was begun with, and the pool has forgotten it.
        drop(unsafe { Box::from_raw(self.call) });
    }
}

/// Called by the pool.
unsafe extern "system" fn called(context: *mut core::ffi::c_void, _timed_out: bool) {
    // SAFETY: it is the box that the wait was begun with, which lives as long as the wait.
    let call = unsafe { &*context.cast::<Call>() };
    call();
}
