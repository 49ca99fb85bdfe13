//! How far a delivery came that broke off: what was taken of it is not sent again.
//!
//! Used by the ways whose receiver takes records one by one, or some at a time. The forwarder sends a batch that broke
//! off again from its first record; it is known by that and by the last one that was taken.

use std::sync::Arc;
use tutela_logs::record::{Record, RecordId};

/// What the receiver has of a batch that is not through.
#[derive(Debug, Default)]
pub(super) struct Progress(Option<Reached>);

#[derive(Debug)]
struct Reached {
    first: Key,
    last: Key,
    count: usize,
}

/// One record among those of all services.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    service: Arc<str>,
    instance: u16,
    id: RecordId,
}

impl Key {
    fn of(record: &Record) -> Key {
        let owner = &record.owner;
        Key { service: owner.service.clone(), instance: owner.instance, id: record.id.clone() }
    }

    fn is_of(&self, record: &Record) -> bool {
        self.id == record.id && self.instance == record.owner.instance && self.service == record.owner.service
    }
}

impl Progress {
    /// How many of these the receiver has already.
    pub(super) fn count(&self, records: &[Record]) -> usize {
        let Some(reached) = &self.0 else { return 0 };
        let is_same = |at: usize, key: &Key| records.get(at).is_some_and(|record| key.is_of(record));
        if is_same(0, &reached.first) && is_same(reached.count - 1, &reached.last) { reached.count } else { 0 }
    }

    /// The receiver has the first `count` of these; all of them: there is nothing to be remembered.
    pub(super) fn reach(&mut self, records: &[Record], count: usize) {
        self.0 = match (records.first(), count.checked_sub(1).and_then(|last| records.get(last))) {
            (Some(first), Some(last)) if count < records.len() => {
                Some(Reached { first: Key::of(first), last: Key::of(last), count })
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::sinks::samples;

    #[test]
    fn the_same_batch_goes_on_where_it_broke_off_and_another_begins_at_its_beginning() {
        let records = samples::numbered(5);
        let mut progress = Progress::default();
        assert_eq!(progress.count(&records), 0);
        progress.reach(&records, 3);
        assert_eq!(progress.count(&records), 3);
        assert_eq!(progress.count(&records[..4]), 3);
        assert_eq!(progress.count(&records[..2]), 0);
        assert_eq!(progress.count(&records[1..]), 0);
        assert_eq!(progress.count(&[]), 0);
        progress.reach(&records, 5);
        assert_eq!(progress.count(&records), 0);
        progress.reach(&records, 0);
        assert_eq!(progress.count(&records), 0);
    }
}
