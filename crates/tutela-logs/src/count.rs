//! A count of what is under way, which each counted thing leaves by being dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are under way. All clones are one count.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl Count {
    /// One more.
    pub fn begin(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(self.0.clone())
    }

    /// How many there are just now.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_dropped_is_counted_no_more_and_clones_are_one() {
        let count = Count::default();
        let (first, second) = (count.begin(), count.clone().begin());
        assert_eq!(count.now(), 2);
        drop(first);
        assert_eq!(count.now(), 1);
        drop(second);
        assert_eq!(count.now(), 0);
    }
}
