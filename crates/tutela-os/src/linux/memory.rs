//! Settings of the allocator of the GNU C library; other C libraries have none.

/// How many arenas there may be. Two keep the spawner and the rest out of each other's way.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: libc::c_int = 2;

#[cfg(target_env = "gnu")]
pub(crate) fn bound_arenas() {
    // SAFETY: takes two numbers and changes a setting that holds from the next allocation on. Its answer,
    // that it knows no such setting, would leave everything as it was.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX) };
}

#[cfg(target_env = "gnu")]
pub(crate) fn release_unused() {
    // SAFETY: takes a number and gives back only pages in which nothing is allocated. It answers whether
    // there were any, which changes nothing for us.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound_arenas() {}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn release_unused() {}
