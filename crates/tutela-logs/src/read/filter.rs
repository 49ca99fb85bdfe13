//! A caller's own look at a line's text, before a line is made of it.
//!
//! [`super::LogReader::open_filtered`] takes one. It sees the program's bytes where they lie, so that a line that is
//! not wanted costs no memory. Of a very long line it sees the pieces that it is kept in, one by one; a note of the
//! writer's it sees as well.

use std::fmt;
use std::sync::Arc;

/// Answers whether a line with this text is wanted.
#[derive(Clone)]
pub struct LineFilter(Arc<dyn Fn(&[u8]) -> bool + Send + Sync>);

impl LineFilter {
    /// Of a function that is cheap: it is asked about each line.
    pub fn new(wants: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        LineFilter(Arc::new(wants))
    }

    pub(super) fn wants(&self, text: &[u8]) -> bool {
        (self.0)(text)
    }
}

impl fmt::Debug for LineFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFilter").finish_non_exhaustive()
    }
}
