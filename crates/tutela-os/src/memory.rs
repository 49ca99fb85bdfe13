//! Tuning of the memory allocator. A guard is small and lives for years; its footprint is what people
//! look at. Neither function changes what the program does, so where an allocator has no such setting
//! they do nothing.

use crate::platform;

/// Keeps the allocator from giving every thread its own arena. Call it before threads start.
pub fn bound_arenas() {
    platform::memory::bound_arenas();
}

/// Gives memory that is free inside the allocator back to the OS; worth its milliseconds after a start
/// or a reload, not in a loop.
pub fn release_unused() {
    platform::memory::release_unused();
}
