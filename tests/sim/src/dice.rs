//! Where every choice of a run comes from: one seed, so that a run can be run again.

use std::time::Duration;
use tutela_core::chance::Chance;

/// Choices in the order in which they are asked for.
#[derive(Debug)]
pub struct Dice(Chance);

impl Dice {
    /// Dice for one purpose of a run. Purposes have dice of their own, so that a change of how one of them
    /// chooses leaves the others as they were.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut chance = Chance::from_seed(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        Dice(Chance::from_seed(chance.next_u64()))
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    /// A span from `low` to `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.0.below(items.len() as u64)).unwrap_or(0)].clone()
    }

    /// 64 bits, as a seed for somebody else.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }
}
