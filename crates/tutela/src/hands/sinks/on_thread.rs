//! A way whose calls may block: each batch has a thread for its time, so that a log of the OS that stands still holds
//! up nothing but its own sink. Used by the journal and the Event Log.

use super::progress::Progress;
use super::way::{Delivery, Undelivered, Way};
use std::time::{Duration, Instant};
use tokio::sync::oneshot::Receiver;
use tutela_logs::record::Record;
use tutela_os::blocking::Pool;

/// The journal and the Event Log, and one delivery to each that was given up and goes on.
const DELIVERIES_MAX: usize = 4;

/// Each delivery has a thread for its time.
static DELIVERIES: Pool = Pool::new("deliveries", DELIVERIES_MAX);

/// What takes records one by one, each within a second or so.
pub(super) trait Taker: Send + 'static {
    /// Its name, for people.
    const NAME: &'static str;

    /// Takes one, in a call that may block. After an error it begins anew with the next one.
    fn take(&mut self, record: &Record) -> Result<(), String>;
}

/// See the module's text.
pub(super) struct OnThread<T> {
    timeout: Duration,
    make: fn() -> T,
    /// `None`: a delivery has it, or was given up with it.
    taker: Option<T>,
    progress: Progress,
    /// A delivery under way. One that was given up goes on by itself until its deadline.
    busy: Option<Receiver<Taken<T>>>,
}

/// What came of a batch.
struct Taken<T> {
    taker: T,
    count: usize,
    failure: Option<String>,
}

impl<T: Taker> OnThread<T> {
    /// `timeout`: how long one delivery may take.
    pub(super) fn new(timeout: Duration, make: fn() -> T) -> Self {
        OnThread { timeout, make, taker: None, progress: Progress::default(), busy: None }
    }
}

impl<T: Taker> Way for OnThread<T> {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(async move {
            if let Some(given_up) = &mut self.busy {
                // What it wrote comes a second time; never both at once.
                let _ = given_up.await;
                self.busy = None;
            }
            let done = self.progress.count(records);
            let (rest, by) = (records[done..].to_vec(), Instant::now() + self.timeout);
            let taker = self.taker.take().unwrap_or_else(self.make);
            let busy = self.busy.insert(DELIVERIES.start(move || hand_over(taker, &rest, by)));
            let taken = busy.await;
            self.busy = None;
            let Taken { taker, count, failure } =
                taken.map_err(|error| Undelivered::later(format!("failed to write to {}: {error}", T::NAME)))?;
            self.progress.reach(records, done + count);
            self.taker = Some(taker);
            failure.map_or(Ok(()), |reason| Err(Undelivered::later(reason)))
        })
    }
}

fn hand_over<T: Taker>(mut taker: T, records: &[Record], by: Instant) -> Taken<T> {
    for (count, record) in records.iter().enumerate() {
        let failure = if Instant::now() >= by {
            let all = records.len();
            Some(format!("failed to write to {}: it took {count} of {all} records in the time it has", T::NAME))
        } else {
            taker.take(record).err()
        };
        if failure.is_some() {
            return Taken { taker, count, failure };
        }
    }
    Taken { taker, count: records.len(), failure: None }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::sinks::samples;
    use std::sync::Mutex;

    /// What was taken, and what is to be refused once.
    static SEEN: Mutex<(Vec<u64>, Option<u64>)> = Mutex::new((Vec::new(), None));

    struct Fickle;

    impl Taker for Fickle {
        const NAME: &'static str = "a log that refuses once";

        fn take(&mut self, record: &Record) -> Result<(), String> {
            let mut seen = SEEN.lock().unwrap();
            if seen.1.take_if(|refused| *refused == record.id.offset).is_some() {
                return Err("not now".to_owned());
            }
            seen.0.push(record.id.offset);
            Ok(())
        }
    }

    #[test]
    fn a_batch_that_broke_off_goes_on_where_it_did() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            SEEN.lock().unwrap().1 = Some(3);
            let mut way = OnThread::new(Duration::from_secs(60), || Fickle);
            let records = samples::numbered(6);
            let refused = way.deliver(&records).await.unwrap_err();
            assert_eq!(refused, Undelivered::Later { reason: "not now".to_owned(), after: None });
            way.deliver(&records).await.unwrap();
            assert_eq!(SEEN.lock().unwrap().0, [0, 1, 2, 3, 4, 5]);
            way.timeout = Duration::ZERO;
            let late = way.deliver(&records).await.unwrap_err();
            assert!(late.to_string().contains("took 0 of 6 records"), "{late}");
        });
    }
}
