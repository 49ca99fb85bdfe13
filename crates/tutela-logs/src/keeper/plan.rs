//! Which old files go, which are compressed, and when to look again. One call, no clock, no disk.

use crate::policy::Compression;
use crate::stamp::Wall;
use std::path::PathBuf;
use std::time::Duration;

/// A rotated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Old {
    /// Its name without the end of a compressed one.
    pub(super) path: PathBuf,
    /// The moment of its rotation.
    pub(super) at: Wall,
    /// What it takes with its index, in whatever form.
    pub(super) bytes: u64,
    /// Whether it is there as it was written, and compressed.
    pub(super) plain: bool,
    pub(super) packed: Option<Compression>,
    /// How long it is kept; `None`: for ever.
    pub(super) keep_for: Option<Duration>,
    pub(super) compress: Compression,
}

/// What to do with them, by their numbers, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) remove: Vec<usize>,
    pub(super) pack: Vec<usize>,
    /// When the next one is too old.
    pub(super) next: Option<Wall>,
}

/// Those that are too old go; then, while all files take more than the budget, the oldest of all labels. Files that are
/// being written take their part of the budget and never go.
pub(super) fn plan(old: &[Old], current_bytes: u64, budget: Option<u64>, now: Wall) -> Plan {
    let mut order: Vec<usize> = (0..old.len()).collect();
    order.sort_by(|a, b| (old[*a].at, &old[*a].path).cmp(&(old[*b].at, &old[*b].path)));
    let mut plan = Plan::default();
    let mut left = Vec::new();
    for number in order {
        let file = &old[number];
        match file.keep_for {
            Some(keep_for) if now.since(file.at) >= keep_for => plan.remove.push(number),
            Some(keep_for) => {
                let micros = u64::try_from(keep_for.as_micros()).unwrap_or(u64::MAX);
                let due = Wall::from_micros(file.at.as_micros().saturating_add(micros));
                plan.next = Some(plan.next.map_or(due, |next| next.min(due)));
                left.push(number);
            }
            None => left.push(number),
        }
    }
    let mut total = left.iter().fold(current_bytes, |sum, number| sum.saturating_add(old[*number].bytes));
    for number in left {
        if budget.is_some_and(|budget| total > budget) {
            total -= old[number].bytes;
            plan.remove.push(number);
        } else if old[number].plain && (old[number].packed.is_some() || old[number].compress != Compression::None) {
            plan.pack.push(number);
        }
    }
    plan
}
