//! Memory of the paging file without a name, mapped.
//!
//! The kernel keeps it while anybody has a handle of it open. All of it counts against what the computer can promise
//! from the moment it is made; a place in memory is taken only by what is written.

use super::handle::Handle;
use super::wide::done;
use crate::Error;
use std::io;
use std::ops::Range;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::NonNull;
use std::sync::Arc;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_BASIC_INFORMATION, MEMORY_MAPPED_VIEW_ADDRESS,
    MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery, VirtualUnlock,
};

pub(crate) const PAID_WHEN_MADE: bool = true;

/// The pages in which Windows counts on each processor that we are built for.
const PAGE_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Lasting {
    section: Arc<OwnedHandle>,
    begin: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value alone leads to it.
unsafe impl Send for Lasting {}

impl Lasting {
    pub(crate) fn create(size: usize) -> Result<Self, Error> {
        // So that who opens it sees the same size: a mapping knows no parts of pages.
        let size = size.next_multiple_of(PAGE_BYTES);
        let (high, low) = ((size as u64 >> 32) as u32, (size as u64 & 0xffff_ffff) as u32);
        let (nobody, none, no_name) = (INVALID_HANDLE_VALUE, std::ptr::null(), std::ptr::null());
        // SAFETY: without a file, attributes and a name no memory of ours is read.
        let section = unsafe { CreateFileMappingW(nobody, none, PAGE_READWRITE, high, low, no_name) };
        if section.is_null() {
            let source = io::Error::last_os_error();
            return Err(Error::io(format!("make {size} bytes of memory that outlive this process"), source));
        }
        // SAFETY: the call has just made it, and nobody else knows of it.
        Self::map(Arc::new(unsafe { OwnedHandle::from_raw_handle(section) }))
    }

    pub(crate) fn open(handle: Handle) -> Result<Self, Error> {
        match handle {
            Handle::File(section) => Self::map(section),
            other => Err(Error::Refused(format!("what was kept is no lasting memory: {other:?}"))),
        }
    }

    fn map(section: Arc<OwnedHandle>) -> Result<Self, Error> {
        let failed = |source| Error::io("map memory that outlives this process", source);
        // SAFETY: the handle is open; the kernel chooses the place, so nothing that is there is mapped over. What is no
        // section is answered with an error.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0) };
        let begin = NonNull::new(view.Value.cast::<u8>()).ok_or_else(|| failed(io::Error::last_os_error()))?;
        // From here on dropping it takes the mapping down.
        let mut lasting = Lasting { section, begin, size: 0 };
        let mut about = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the place is mapped; the answer is ours and as long as the length says.
        let told = unsafe { VirtualQuery(view.Value, &raw mut about, size_of_val(&about)) };
        if told == 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        // All of its pages are alike, so that they are one region.
        lasting.size = about.RegionSize;
        Ok(lasting)
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::File(self.section.clone())
    }

    pub(crate) fn look(&self) -> &[u8] {
        // SAFETY: as below; nobody changes them while this value is borrowed.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.size) }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this size, readable and writable, until the drop; a section cannot become shorter. This
        // value is borrowed as a whole meanwhile. By the contract of this type no other process maps it at the same time:
        // a former one is dead, and those who keep the handle only keep it.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr(), self.size) }
    }

    /// Windows tells the pages of a section by reading its table, which costs more than touching one.
    pub(crate) fn is_blank(&self) -> bool {
        false
    }

    /// Windows takes no promised page back before the end. That they leave the memory is all there is to wish for.
    pub(crate) fn release(&mut self, part: Range<usize>) {
        let (start, end) = (part.start.next_multiple_of(PAGE_BYTES), part.end.min(self.size) / PAGE_BYTES * PAGE_BYTES);
        if start < end {
            // SAFETY: the start is within the mapping.
            let place = unsafe { self.begin.as_ptr().add(start) };
            // SAFETY: the range is within the mapping. Unlocking what was never locked only makes it leave the working set,
            // which it answers as a failure; what is in it stays as it is.
            unsafe { VirtualUnlock(place.cast(), end - start) };
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.begin.as_ptr().cast() };
        // SAFETY: it was mapped at this place, and what was borrowed of it is gone. It cannot fail for a whole mapping.
        let _ = done(unsafe { UnmapViewOfFile(view) });
    }
}
