//! A bounded queue from those who may not wait to a thread that may.
//!
//! Unlike the standard library's it takes memory only for what is in it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

struct Shared<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
    limit: usize,
}

struct Inner<T> {
    items: VecDeque<T>,
    /// Whether the receiver sleeps until something comes, and not only for a while.
    sleeps: bool,
    closed: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in. When it is dropped the other end gets what is left, and then `None`.
pub struct Sender<T>(Arc<Shared<T>>);

/// The way out.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A queue of at most `limit` items.
pub fn queue<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let inner = Mutex::new(Inner { items: VecDeque::new(), sleeps: false, closed: false });
    let shared = Arc::new(Shared { inner, filled: Condvar::new(), limit });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts an item in. Never waits.
    ///
    /// # Errors
    /// The item, when the queue is full.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut inner = self.0.lock();
        if inner.items.len() >= self.0.limit {
            return Err(item);
        }
        inner.items.push_back(item);
        let wake = std::mem::take(&mut inner.sleeps);
        drop(inner);
        if wake {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// Puts an item in that a gathering receiver is not to wait with. Never waits.
    ///
    /// # Errors
    /// The item, when the queue is full.
    pub fn push_urgent(&self, item: T) -> Result<(), T> {
        self.push(item)?;
        self.0.filled.notify_one();
        Ok(())
    }

    /// Puts a last item in, whatever the limit.
    pub fn push_last(&self, item: T) {
        self.0.lock().items.push_back(item);
        self.0.filled.notify_one();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_all();
    }
}

impl<T> Receiver<T> {
    /// The next item; waits for it. `None`: there will be none.
    pub fn pop(&self) -> Option<T> {
        let mut inner = self.0.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                return Some(item);
            }
            if inner.closed {
                return None;
            }
            // What a flood had needed is given back once it is over.
            inner.items.shrink_to(64);
            inner.sleeps = true;
            inner = self.0.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next item, if one is there, else what has gathered at `until`: only an urgent item ends that wait, so
    /// that a flood of small ones does not wake the receiver for each.
    pub fn pop_until(&self, until: Instant) -> Option<T> {
        let mut inner = self.0.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                return Some(item);
            }
            let left = until.saturating_duration_since(Instant::now());
            if inner.closed || left == Duration::ZERO {
                return None;
            }
            (inner, _) = self.0.filled.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Receiver<T> {
    /// Whether nothing is in it and nothing will come.
    pub fn is_closed(&self) -> bool {
        let inner = self.0.lock();
        inner.closed && inner.items.is_empty()
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.0.lock().items.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_a_closed_one_gives_what_is_left() {
        let (sender, receiver) = queue(2);
        assert_eq!((sender.push(1), sender.push(2), sender.push(3)), (Ok(()), Ok(()), Err(3)));
        sender.push_last(4);
        drop(sender);
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), Some(4), None));
        assert_eq!(receiver.pop_until(Instant::now() + Duration::from_secs(60)), None);
    }
}
