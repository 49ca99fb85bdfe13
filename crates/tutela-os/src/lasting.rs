//! Memory that outlives the process that wrote it, as long as somebody keeps its [`Handle`] open: what a guard has in hand
//! when it is killed, its successor finds as it was.
//!
//! Called by the guard, for the trays of its log pumps. It is a shared mapping of a file that has no name, on Windows of
//! the paging file. Its size is sealed, so that no access can fail; bytes that were never written take no memory.
//!
//! Deliberately absent: a lock. One process at a time works with it; who keeps the handle only keeps it.

use crate::handle::Handle;
use crate::{Error, platform};
use std::ops::Range;

/// Whether all of it counts against what the computer can promise from the moment it is made, as on Windows, and not only
/// what was written. So what is large for reasons of room alone has to be smaller there.
pub const PAID_WHEN_MADE: bool = platform::lasting::PAID_WHEN_MADE;

/// Lasting memory. Dropping it ends the mapping; the bytes stay as long as a [`Handle`] is open anywhere.
#[derive(Debug)]
pub struct Lasting(platform::lasting::Lasting);

impl Lasting {
    /// Memory of so many bytes, all zero, and on Windows those that fill its last page. None of them takes a place in the
    /// computer's memory before it is written; see [`PAID_WHEN_MADE`].
    ///
    /// # Errors
    /// Not on this OS ([`Error::Unsupported`]), or too many files are open.
    pub fn create(size: usize) -> Result<Self, Error> {
        platform::lasting::Lasting::create(size).map(Lasting)
    }

    /// The memory behind a handle of [`Lasting::handle`] that somebody kept.
    ///
    /// # Errors
    /// It is none: not a file of this kind, or one whose size could still change.
    pub fn open(handle: Handle) -> Result<Self, Error> {
        platform::lasting::Lasting::open(handle.0).map(Lasting)
    }

    /// What keeps it, for whoever is to keep it.
    pub fn handle(&self) -> Handle {
        Handle(self.0.handle())
    }

    /// The bytes, to be read.
    pub fn look(&self) -> &[u8] {
        self.0.look()
    }

    /// The bytes. What is stored here is there for the successor from the moment of the store.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }

    /// Whether nothing was ever stored in it, told without touching it. `false` where the OS does not say.
    pub fn is_blank(&self) -> bool {
        self.0.is_blank()
    }

    /// Gives the whole pages of this part back to the computer; they are zero from here on. Where that is refused, and on
    /// Windows, which can only let them leave its memory, they stay as they are.
    pub fn release(&mut self, part: Range<usize>) {
        self.0.release(part);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::Os;

    #[test]
    fn what_was_written_is_there_for_the_next_who_opens_it() {
        let created = Lasting::create(1 << 20);
        if Os::CURRENT == Os::MacOs {
            assert!(matches!(created, Err(Error::Unsupported(_))));
            return;
        }
        let mut first = created.unwrap();
        let handle = first.handle();
        assert_eq!(first.is_blank(), Os::CURRENT == Os::Linux);
        assert!(first.bytes().iter().all(|byte| *byte == 0));
        first.bytes()[7] = 1;
        first.bytes()[700_000] = 2;
        assert!(!first.is_blank());
        drop(first);
        let mut second = Lasting::open(handle).unwrap();
        assert_eq!((second.bytes().len(), second.bytes()[7], second.bytes()[700_000]), (1 << 20, 1, 2));
        second.release(4096..1 << 20);
        let released = if Os::CURRENT == Os::Windows { 2 } else { 0 };
        assert_eq!((second.bytes()[7], second.bytes()[700_000]), (1, released));
    }

    #[test]
    fn a_handle_of_something_else_is_refused() {
        let file = Handle::from(std::fs::File::open(std::env::current_exe().unwrap()).unwrap());
        assert!(Lasting::open(file).is_err());
    }
}
