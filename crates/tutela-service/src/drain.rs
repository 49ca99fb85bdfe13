//! Work that must be finished before the service ends: requests, jobs, tasks, threads.
//!
//! [`crate::Context::track`] counts a piece of work under a name until its [`Tracked`] is dropped. When the service
//! stops, whatever is still counted is waited for, within the stop timeout, and what is left then is named.

use crate::token::StopToken;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How many names of work are told apart. Names are for people who read what is left; more of them than this are made
/// from data, and the rest is counted as `others`.
const NAMES_MAX: usize = 64;

/// How a drain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is left behind should be told or counted"]
pub enum Drained {
    /// Everything was finished, after this long.
    Clean(Duration),
    /// The time was over first; this was left.
    Late(Left),
    /// Somebody was in a hurry (a second Ctrl-C) before everything was finished; this was left.
    Hurried(Left),
}

impl Drained {
    /// Whether everything was finished.
    pub fn is_clean(&self) -> bool {
        matches!(self, Drained::Clean(_))
    }
}

/// `everything finished within 1.2s`, or what was left.
impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Drained::Clean(took) => write!(f, "everything finished within {took:.1?}"),
            Drained::Late(left) => write!(f, "out of time with {left} left"),
            Drained::Hurried(left) => write!(f, "hurried with {left} left"),
        }
    }
}

/// Unfinished work by name, with how many of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left(BTreeMap<String, usize>);

impl Left {
    /// Each name, with how many there are.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// How many pieces of work in all.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `import, 3 x request`.
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            match count {
                1 => write!(f, "{comma}{name}")?,
                count => write!(f, "{comma}{count} x {name}")?,
            }
        }
        if self.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

/// One piece of work that is counted until this is dropped.
#[derive(Debug)]
#[must_use = "the work counts as finished when this is dropped"]
pub struct Tracked {
    work: Work,
    name: String,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.work.finish(&self.name);
    }
}

/// The count of everything under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    under_way: Mutex<BTreeMap<String, usize>>,
    threads: Condvar,
    tasks: Notify,
}

impl Work {
    pub(crate) fn track(&self, name: &str) -> Tracked {
        let mut under_way = self.lock();
        let name = if under_way.len() >= NAMES_MAX && !under_way.contains_key(name) { "others" } else { name };
        *under_way.entry(name.to_owned()).or_default() += 1;
        Tracked { work: self.clone(), name: name.to_owned() }
    }

    pub(crate) fn left(&self) -> Left {
        Left(self.lock().clone())
    }

    /// Blocks until nothing is under way, `within` is over, or `hurry` is raised.
    pub(crate) fn drain(&self, within: Duration, hurry: &StopToken) -> Drained {
        /// How often a blocked drain looks whether somebody is in a hurry; people notice from a tenth of a second on.
        const LOOK: Duration = Duration::from_millis(50);
        let began = Instant::now();
        let mut under_way = self.lock();
        loop {
            if under_way.is_empty() {
                return Drained::Clean(began.elapsed());
            }
            if hurry.is_raised() {
                return Drained::Hurried(Left(under_way.clone()));
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Drained::Late(Left(under_way.clone()));
            }
            under_way =
                self.0.threads.wait_timeout(under_way, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Blocks until nothing is under way.
    pub(crate) fn wait(&self) {
        let empty = self.0.threads.wait_while(self.lock(), |under_way| !under_way.is_empty());
        drop(empty.unwrap_or_else(PoisonError::into_inner));
    }

    /// Is done once nothing is under way.
    #[cfg(any(feature = "tokio", test))]
    pub(crate) fn finished(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let work = self.clone();
        async move {
            loop {
                let heard = work.0.tasks.notified();
                if work.lock().is_empty() {
                    return;
                }
                heard.await;
            }
        }
    }

    /// [`Work::drain`] for tasks. `over` is done when the time is over, on the clock of whoever asks.
    #[cfg(any(feature = "tokio", test))]
    pub(crate) async fn drain_until(&self, over: impl Future<Output = ()>, hurry: &StopToken) -> Drained {
        let began = Instant::now();
        tokio::select! {
            biased;
            () = self.finished() => Drained::Clean(began.elapsed()),
            () = hurry.raised() => Drained::Hurried(self.left()),
            () = over => Drained::Late(self.left()),
        }
    }

    fn finish(&self, name: &str) {
        let mut under_way = self.lock();
        if let Some(count) = under_way.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(name);
            }
        }
        if under_way.is_empty() {
            self.0.threads.notify_all();
            self.0.tasks.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_clean_once_the_last_piece_is_dropped() {
        let work = Work::default();
        let piece = work.track("request");
        let thread = std::thread::spawn(move || drop(piece));
        assert!(work.drain(Duration::from_secs(60), &StopToken::new()).is_clean());
        assert!(thread.join().is_ok());
    }

    #[test]
    fn what_is_left_is_named_and_counted() {
        let work = Work::default();
        let _pieces = [work.track("request"), work.track("request"), work.track("import")];
        let late = work.drain(Duration::ZERO, &StopToken::new());
        assert_eq!(late.to_string(), "out of time with import, 2 x request left");
        let hurry = StopToken::new();
        hurry.raise();
        let Drained::Hurried(left) = work.drain(Duration::MAX, &hurry) else { panic!("nobody hurried it") };
        assert_eq!(left.count(), 3);
    }

    #[test]
    fn names_made_from_data_do_not_grow_without_bound() {
        let work = Work::default();
        let _pieces: Vec<Tracked> = (0..1_000).map(|number| work.track(&number.to_string())).collect();
        let left = work.left();
        assert!(left.iter().count() <= NAMES_MAX + 1);
        assert_eq!(left.count(), 1_000);
    }

    #[tokio::test]
    async fn a_task_waits_for_work_as_a_thread_does() {
        let work = Work::default();
        let piece = work.track("request");
        let late = work.drain_until(std::future::ready(()), &StopToken::new()).await;
        assert!(matches!(late, Drained::Late(_)), "{late:?}");
        let draining = tokio::spawn({
            let work = work.clone();
            async move { work.drain_until(std::future::pending(), &StopToken::new()).await }
        });
        drop(piece);
        assert!(draining.await.is_ok_and(|drained| drained.is_clean()));
    }
}
