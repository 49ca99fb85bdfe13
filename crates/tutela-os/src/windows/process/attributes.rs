//! What a new process inherits: exactly the named handles, and the job it is born in.

use crate::platform::wide::done;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle, RawHandle};
use windows_sys::Win32::System::Threading::{
    DeleteProcThreadAttributeList, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST, UpdateProcThreadAttribute,
};

/// An attribute list with the values that it points to.
pub(super) struct Attributes {
    /// Room for the list, aligned for pointers. Its place on the heap does not change.
    list: Vec<usize>,
    /// What the list points to.
    handles: Box<[RawHandle]>,
    jobs: Box<[RawHandle]>,
}

impl Attributes {
    /// A list of the handles to inherit, which must be inheritable and differ from each other, and of the job,
    /// where there is one to be named. All of them must stay open until the process is made.
    pub(super) fn new(handles: &[OwnedHandle], job: Option<RawHandle>) -> io::Result<Attributes> {
        let count = 1 + u32::from(job.is_some());
        let mut bytes = 0_usize;
        // SAFETY: without a list (null) the call only writes the size that one needs, to a number of ours. It
        // answers that as a failure.
        unsafe { InitializeProcThreadAttributeList(std::ptr::null_mut(), count, 0, &raw mut bytes) };
        let mut list = vec![0_usize; bytes.div_ceil(size_of::<usize>()).max(1)];
        // SAFETY: the list has as many bytes as the call has just asked for, and is ours.
        done(unsafe { InitializeProcThreadAttributeList(list.as_mut_ptr().cast(), count, 0, &raw mut bytes) })?;
        let handles = handles.iter().map(AsRawHandle::as_raw_handle).collect();
        // From here on dropping it takes the list down.
        let mut attributes = Attributes { list, handles, jobs: job.into_iter().collect() };
        let (handles, jobs) = (slice_of(&attributes.handles), slice_of(&attributes.jobs));
        attributes.put(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles)?;
        if job.is_some() {
            attributes.put(PROC_THREAD_ATTRIBUTE_JOB_LIST, jobs)?;
        }
        Ok(attributes)
    }

    fn put(&mut self, attribute: u32, (value, bytes): (*const core::ffi::c_void, usize)) -> io::Result<()> {
        let (list, attribute) = (self.raw(), usize::try_from(attribute).unwrap_or(0));
        let none = std::ptr::null_mut();
        // SAFETY: the list is initialised with room for both attributes; the value is in a box of the same
        // owner, so it stays where it is as long as the list exists.
        done(unsafe { UpdateProcThreadAttribute(list, 0, attribute, value, bytes, none, std::ptr::null()) })
    }

    /// For the start information of a process. Good as long as this exists.
    pub(super) fn raw(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.list.as_mut_ptr().cast()
    }
}

fn slice_of(handles: &[RawHandle]) -> (*const core::ffi::c_void, usize) {
    (handles.as_ptr().cast(), size_of_val(handles))
}

impl Drop for Attributes {
    fn drop(&mut self) {
        let list = self.raw();
        // SAFETY: it was initialised when this was made, and is not used after.
        unsafe { DeleteProcThreadAttributeList(list) };
    }
}
