//! The slate's memory: it has no name, and the safe keeps it when the guard is gone.
//!
//! Deliberately absent: how notes are written on it, which is [`tutela_schema::saved::slate`]'s.

use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};
use tutela_os::handle::Handle;
use tutela_os::lasting::{self, Lasting};
use tutela_schema::saved::slate::{self, Memory, SLATE_BYTES, SLATE_BYTES_PAID, UnknownForm};

/// A slate that outlives the guard.
pub type Slate = slate::Slate<Kept>;

/// See the module's text.
#[derive(Debug)]
pub struct Kept(Lasting);

impl Kept {
    /// What keeps it, for the safe.
    pub fn handle(&self) -> Handle {
        self.0.handle()
    }
}

impl Memory for Kept {
    fn bytes(&self) -> &[u8] {
        self.0.look()
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.0.bytes()[at..at + bytes.len()].copy_from_slice(bytes);
        // Whoever is killed between two stores has made the first.
        compiler_fence(Ordering::SeqCst);
    }

    fn release(&mut self, part: Range<usize>) {
        self.0.release(part);
    }
}

/// Why what is on a slate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlateError {
    /// It is no such memory.
    #[error(transparent)]
    Os(#[from] tutela_os::Error),
    /// It was written by a version that notes down in another form.
    #[error(transparent)]
    Form(#[from] UnknownForm),
}

/// An empty slate.
///
/// # Errors
/// There is no memory that outlives the guard on this host.
pub fn create() -> Result<Slate, tutela_os::Error> {
    Ok(Slate::create(Kept(Lasting::create(if lasting::PAID_WHEN_MADE { SLATE_BYTES_PAID } else { SLATE_BYTES })?)))
}

/// The slate of an earlier guard, with what is on it.
///
/// # Errors
/// It is none, or in a form that is not known.
pub fn open(handle: Handle) -> Result<Slate, SlateError> {
    Ok(Slate::open(Kept(Lasting::open(handle)?))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tutela_os::Os;

    #[test]
    fn the_next_guard_reads_what_was_noted_in_memory_that_was_kept() {
        if Os::CURRENT != Os::Linux {
            assert!(matches!(create(), Err(tutela_os::Error::Unsupported(_))));
            return;
        }
        let mut slate = create().unwrap();
        assert!(slate.note("a", b"1") && slate.note("a", b"2"));
        let handle = slate.memory().handle();
        drop(slate);
        assert_eq!(open(handle).unwrap().get("a"), Some(&b"2"[..]));
        let other = Lasting::create(SLATE_BYTES).unwrap();
        assert!(matches!(open(other.handle()), Err(SlateError::Form(_))));
    }
}
