//! A flag that is raised once, and that threads and tasks can both wait for.
//!
//! [`crate::Context::stopping`] and [`crate::Context::hurried`] hand them out. Deliberately absent: lowering it again,
//! children, reasons; why a service stops is [`crate::Context::stop_reason`].

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A flag that is raised once. Clones are the same flag; dropping one changes nothing.
///
/// ```
/// use std::time::Duration;
/// use tutela_service::StopToken;
///
/// let stop = StopToken::new();
/// assert!(!stop.wait_for(Duration::from_millis(1)));
/// stop.raise();
/// assert!(stop.is_raised());
/// stop.wait(); // returns at once
/// ```
#[derive(Clone, Default)]
pub struct StopToken(Arc<Flag>);

#[derive(Default)]
struct Flag {
    raised: Mutex<bool>,
    threads: Condvar,
    tasks: Notify,
}

impl StopToken {
    /// A flag that is down. The service makes its own; this is for tests and for parts of a program.
    pub fn new() -> StopToken {
        StopToken::default()
    }

    /// Raises it, for good, and wakes everybody who waits.
    pub fn raise(&self) {
        *self.lock() = true;
        self.0.threads.notify_all();
        self.0.tasks.notify_waiters();
    }

    /// Whether it is raised. Cheap enough for every turn of a loop.
    pub fn is_raised(&self) -> bool {
        *self.lock()
    }

    /// Blocks the thread until it is raised. In a task, await [`StopToken::raised`] instead.
    pub fn wait(&self) {
        let raised = self.0.threads.wait_while(self.lock(), |raised| !*raised);
        drop(raised.unwrap_or_else(PoisonError::into_inner));
    }

    /// Blocks the thread until it is raised, for `span` at most: a sleep that a stop cuts short. Answers whether it
    /// is raised.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn poll_the_queue() {}
    /// # fn worker(context: &tutela_service::Context) {
    /// while !context.stopping().wait_for(Duration::from_secs(5)) {
    ///     poll_the_queue();
    /// }
    /// # }
    /// ```
    pub fn wait_for(&self, span: Duration) -> bool {
        // A span beyond the clock's end is one without an end.
        let Some(deadline) = Instant::now().checked_add(span) else {
            self.wait();
            return true;
        };
        let mut raised = self.lock();
        while !*raised {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            raised = self.0.threads.wait_timeout(raised, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Is done once it is raised. The future owns its share of the flag, so it goes wherever a shutdown signal is
    /// wanted: `axum::serve(…).with_graceful_shutdown(context.stopping().raised())`. Works in every async runtime.
    pub fn raised(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let token = self.clone();
        async move {
            // Made before the look at the flag, so that a raise between the two is heard.
            let heard = token.0.tasks.notified();
            if !token.is_raised() {
                heard.await;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.0.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_raised() { "StopToken(raised)" } else { "StopToken(down)" })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_is_woken_by_a_raise() {
        let token = StopToken::new();
        let waiter = std::thread::spawn({
            let token = token.clone();
            move || token.wait()
        });
        token.raise();
        waiter.join().unwrap();
    }

    #[test]
    fn a_span_beyond_the_end_of_the_clock_is_no_panic() {
        let token = StopToken::new();
        token.raise();
        assert!(token.wait_for(Duration::MAX));
    }

    #[tokio::test]
    async fn a_task_hears_a_raise_that_came_before_and_one_that_comes_after() {
        let token = StopToken::new();
        let early = tokio::spawn(token.raised());
        token.raise();
        early.await.unwrap();
        token.raised().await;
    }
}
