//! A file in memory without a name, mapped.

use super::handle::Handle;
use crate::Error;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;

/// Nobody can make it shorter or longer, nor take these two back.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

pub(crate) const PAID_WHEN_MADE: bool = false;

#[derive(Debug)]
pub(crate) struct Lasting {
    file: Arc<OwnedFd>,
    begin: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value alone leads to it.
unsafe impl Send for Lasting {}

impl Lasting {
    pub(crate) fn create(size: usize) -> Result<Self, Error> {
        let failed = |errno| Error::io("make memory that outlives this process", errno);
        let file = rustix::fs::memfd_create("tutela-lasting", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(failed)?;
        rustix::fs::ftruncate(&file, size as u64).map_err(failed)?;
        rustix::fs::fcntl_add_seals(&file, SEALS).map_err(failed)?;
        Self::map(Arc::new(file), size)
    }

    pub(crate) fn open(handle: Handle) -> Result<Self, Error> {
        // Only a file in memory has seals; with these an access within its size never fails.
        let seals = rustix::fs::fcntl_get_seals(&handle.0)
            .map_err(|errno| Error::io("take over what is no lasting memory", errno))?;
        if !seals.contains(SEALS) {
            return Err(Error::Refused("what was kept is no lasting memory: its size can change".to_owned()));
        }
        let stat = rustix::fs::fstat(&handle.0).map_err(|errno| Error::io("look at lasting memory", errno))?;
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        Self::map(handle.0, size)
    }

    fn map(file: Arc<OwnedFd>, size: usize) -> Result<Self, Error> {
        let failed = |errno| Error::io("map memory that outlives this process", errno);
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place, so nothing that is there is mapped over.
        let begin = unsafe { rustix::mm::mmap(std::ptr::null_mut(), size, rights, flags, &*file, 0) };
        let begin = NonNull::new(begin.map_err(failed)?.cast()).ok_or_else(|| failed(rustix::io::Errno::FAULT))?;
        Ok(Lasting { file, begin, size })
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.file.clone())
    }

    pub(crate) fn look(&self) -> &[u8] {
        // SAFETY: as below; nobody changes them while this value is borrowed.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.size) }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this size, readable and writable, until the drop; the file is as long, for good, by its
        // seals. This value is borrowed as a whole meanwhile. By the contract of this type no other process maps it at
        // the same time: a former one is dead, and those who keep the handle only keep it.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr(), self.size) }
    }

    pub(crate) fn is_blank(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_blocks == 0)
    }

    pub(crate) fn release(&mut self, part: Range<usize>) {
        let page = rustix::param::page_size();
        let (start, end) = (part.start.next_multiple_of(page), part.end.min(self.size) / page * page);
        if start < end {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A wish: what is not given back is there for the next use.
            let _ = rustix::fs::fallocate(&self.file, how, start as u64, (end - start) as u64);
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and what was borrowed of it is gone. It cannot fail for a whole mapping.
        let _ = unsafe { rustix::mm::munmap(self.begin.as_ptr().cast(), self.size) };
    }
}
