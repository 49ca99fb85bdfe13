//! What goes when a sink is further behind than its `buffer`.

use super::{Forwarder, LabelKey};
use tutela_core::spec::Overflow;
use tutela_core::time::Moment;

/// The part of the buffer that is made free when it overflows, so that not every line that is written then costs a jump.
const ROOM_PART: u64 = 16;

/// What is to be left out of a label: from where its files ended when the sink was too far behind, to where they end
/// once everything before was delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hole {
    /// In bytes passed.
    pub(super) begins: u64,
}

impl<C: Clone> Forwarder<C> {
    /// How many bytes a label has to read.
    pub fn handle_backlog(&mut self, label: LabelKey, bytes: u64) {
        if let Some(label) = self.labels.get_mut(label.0) {
            label.backlog = bytes;
        }
    }

    /// Every label that is behind was measured.
    pub fn handle_looked(&mut self, now: Moment) {
        self.looked = now;
        let kept = |label: &super::Label<C>| match label.hole {
            Some(hole) => hole.begins.saturating_sub(label.passed).min(label.backlog),
            None => label.backlog,
        };
        let total: u64 = self.labels.iter().map(kept).sum();
        if total <= self.pace.buffer {
            return;
        }
        match self.pace.overflow {
            Overflow::DropNewest => {
                for label in &mut self.labels {
                    label.hole.get_or_insert(Hole { begins: label.passed + label.backlog });
                }
            }
            Overflow::DropOldest => {
                let room = self.pace.buffer - self.pace.buffer / ROOM_PART;
                let backlogs: Vec<u64> = self.labels.iter().map(|label| label.backlog).collect();
                let level = level(backlogs, room);
                let over = self.labels.iter().enumerate().filter(|(_, label)| label.backlog > level);
                self.skips = over.map(|(at, _)| (LabelKey(at), level)).collect();
            }
        }
    }
}

/// The most that each may keep so that all together keep at most `room`: who is less behind loses nothing to one that
/// floods.
fn level(mut backlogs: Vec<u64>, mut room: u64) -> u64 {
    backlogs.sort_unstable();
    let mut left = backlogs.len() as u64;
    for backlog in backlogs {
        let share = room / left.max(1);
        if backlog > share {
            return share;
        }
        room -= backlog;
        left -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn who_floods_pays_and_the_quiet_keep_everything() {
        assert_eq!(level(vec![10, 1000, 20], 130), 100);
        assert_eq!(level(vec![1000, 1000], 100), 50);
        assert_eq!(level(vec![10, 20], 100), u64::MAX);
        assert_eq!(level(vec![0, 7], 0), 0);
        assert_eq!(level(Vec::new(), 0), u64::MAX);
    }
}
