//! Settings of the system's heap, which is the allocator here.

use windows_sys::Win32::System::Memory::{GetProcessHeap, HeapCompact};

/// There is one heap for all threads already.
pub(crate) fn bound_arenas() {}

pub(crate) fn release_unused() {
    // SAFETY: takes nothing; the heap lives as long as the process.
    let heap = unsafe { GetProcessHeap() };
    // SAFETY: joins and gives back only what is free in it. It answers how much is left in one piece, which
    // changes nothing for us.
    unsafe { HeapCompact(heap, 0) };
}
