//! The moments of lines that have none of their own, by the index of their file.

use crate::index::Mark;
use crate::index::look::Index;
use crate::stamp::Wall;

/// Answers for offsets that grow, with one look at a mark where one is passed.
#[derive(Debug)]
pub(super) struct Moments {
    pub(super) index: Index,
    /// Whether the marks around the lines were looked up; else the next three say nothing.
    looked: bool,
    next: u64,
    ahead: Option<Mark>,
    at: Option<Wall>,
}

impl Moments {
    pub(super) fn over(index: Index) -> Self {
        Moments { index, looked: false, next: 0, ahead: None, at: None }
    }

    /// When what stands at this offset was written, as far as the index knows; and whether that is its last mark.
    pub(super) fn at(&mut self, offset: u64) -> Option<(Wall, bool)> {
        if !self.looked {
            self.looked = true;
            let known = self.index.at_or_before(offset);
            (self.next, self.at) = known.map_or((0, None), |(number, mark)| (number + 1, Some(mark.at)));
            self.ahead = self.index.mark(self.next);
        }
        while let Some(mark) = self.ahead
            && mark.offset <= offset
        {
            self.at = Some(mark.at);
            self.next += 1;
            self.ahead = self.index.mark(self.next);
        }
        self.at.map(|at| (at, self.ahead.is_none()))
    }

    /// Looks for marks that were written since.
    pub(super) fn look_again(&mut self) {
        if self.index.count_again().is_ok() && self.ahead.is_none() {
            self.ahead = self.index.mark(self.next);
        }
    }
}
