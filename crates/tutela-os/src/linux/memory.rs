//! The system allocator has no settings that matter here.

pub(crate) fn bound_arenas() {}

pub(crate) fn release_unused() {}
