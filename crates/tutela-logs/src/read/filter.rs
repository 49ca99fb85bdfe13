//! A caller's own look at a line's text, before a line is made of it.
//!
//! [`super::LogReader::open_filtered`] takes one. It sees the program's bytes where they lie, so that a line that is
//! not wanted costs no memory. Of a very long line it sees the pieces that it is kept in, one by one; a note of the
//! writer's it sees as well.

use std::fmt;
use std::sync::Arc;
use tutela_core::level::Level;

/// Of a text and the level that its record says: whether it is wanted.
type Wants = dyn Fn(&[u8], Option<Level>) -> bool + Send + Sync;

/// Answers whether a line with this text is wanted. The level is the one that the line's record says; in files that are
/// not of records, and where it says none, there is none.
#[derive(Clone)]
pub struct LineFilter(Arc<Wants>);

impl LineFilter {
    /// Of a function that is cheap: it is asked about each line.
    pub fn new(wants: impl Fn(&[u8], Option<Level>) -> bool + Send + Sync + 'static) -> Self {
        LineFilter(Arc::new(wants))
    }

    pub(super) fn wants(&self, text: &[u8], level: Option<Level>) -> bool {
        (self.0)(text, level)
    }
}

impl fmt::Debug for LineFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFilter").finish_non_exhaustive()
    }
}
