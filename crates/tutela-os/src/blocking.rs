//! Work that may wait for a disk, the process table or a directory of accounts, on threads of its own.
//!
//! Called by whoever serves many at once on one thread, above all the conductor. A pool keeps one thread from the
//! moment it begins until the process ends, and makes further ones as they are needed. So where the OS has no thread to
//! give (`RLIMIT_NPROC`, `pids.max`) work is done later and one piece after the other, instead of ending whoever ordered
//! it, as tokio's own pool does.
//!
//! Deliberately absent: order, priorities, and a way to call work back. What is ordered is done, also when nobody waits
//! for the answer any more.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Looks at trees of processes, and ends them: what stops and restarts wait for.
pub static TREES: Pool = Pool::new("trees", THREADS_MAX);

/// Reads and writes files, for requests and for what they show. A disk that hangs may take all of its threads.
pub static FILES: Pool = Pool::new("files", THREADS_MAX);

thread_local! {
    static OF_THIS_THREAD: Cell<&'static Pool> = const { Cell::new(&FILES) };
}

/// The pool that the calling thread uses for files: [`FILES`], unless it has one of its own ([`Pool::adopt`]).
pub fn files() -> &'static Pool {
    OF_THIS_THREAD.get()
}

/// Threads of a large pool at the most. Each beyond the number of processors stands for work that hangs; more than these mean
/// that a whole disk hangs, and then further ones would hang too.
const THREADS_MAX: usize = 64;

/// Pieces of work that may wait: one for each of the 10,000 instances that the schema allows, and as many requests.
const WAITING_MAX: usize = 20_000;

/// How long a thread beyond the first stays without work.
const IDLE: Duration = Duration::from_secs(10);

/// What a walk over the process table needs, many times over.
const STACK_BYTES: usize = 512 * 1024;

type Work = Box<dyn FnOnce() + Send>;

/// Threads for one kind of work.
pub struct Pool {
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pool {
    /// One without threads, of this name for people, that will have `threads_max` at the most.
    pub const fn new(name: &'static str, threads_max: usize) -> Pool {
        let state = State { waiting: VecDeque::new(), threads: 0, idle: 0 };
        Pool { name, threads_max, state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Makes the thread that stays. Without it the first piece of work does; call it while there are threads to be had.
    ///
    /// # Errors
    /// The OS has no thread to give.
    pub fn begin(&'static self) -> io::Result<()> {
        let mut state = self.lock();
        if state.threads == 0 { self.add(&mut state) } else { Ok(()) }
    }

    /// Has the calling thread use this one for files, so that whom it serves takes no threads from others.
    pub fn adopt(&'static self) {
        OF_THIS_THREAD.set(self);
    }

    /// Has `work` done, soon. Never waits. The answer is an error where the work panicked, or where too much waits
    /// already; work whose answer is dropped is done all the same.
    pub fn start<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (tell, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return answer;
        }
        // Whoever asked may have gone.
        state.waiting.push_back(Box::new(move || drop(tell.send(work()))));
        if state.waiting.len() > state.idle && state.threads < self.threads_max {
            // Where there is none to be had the work waits for those that there are.
            let _ = self.add(&mut state);
        }
        drop(state);
        self.filled.notify_one();
        answer
    }

    fn add(&'static self, state: &mut State) -> io::Result<()> {
        // The end of a program is the conductor's to hear.
        let _calm = crate::signals::calm();
        let stays = state.threads == 0;
        let thread = std::thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES);
        thread.spawn(move || self.work(stays))?;
        state.threads += 1;
        Ok(())
    }

    fn work(&'static self, stays: bool) {
        let mut state = self.lock();
        loop {
            while let Some(work) = state.waiting.pop_front() {
                drop(state);
                // Who waits for the answer hears of it by its absence.
                let _ = catch_unwind(AssertUnwindSafe(work));
                state = self.lock();
            }
            state.idle += 1;
            let (woken, waited) = if stays {
                (self.filled.wait(state).unwrap_or_else(PoisonError::into_inner), false)
            } else {
                let woken = self.filled.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                (woken.0, woken.1.timed_out())
            };
            state = woken;
            state.idle -= 1;
            if waited && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn work_that_hangs_holds_up_no_other() {
        static POOL: Pool = Pool::new("test", THREADS_MAX);
        POOL.begin().unwrap();
        let (go, hanging) = sync_channel::<()>(0);
        let first = POOL.start(move || hanging.recv().is_ok());
        let others: Vec<_> = (0..10).map(|number| POOL.start(move || number)).collect();
        for (number, other) in others.into_iter().enumerate() {
            assert_eq!(other.blocking_recv().unwrap(), number);
        }
        go.send(()).unwrap();
        assert!(first.blocking_recv().unwrap());
    }

    #[test]
    fn work_that_panics_is_answered_by_an_error_and_ends_no_thread() {
        static POOL: Pool = Pool::new("test", 1);
        POOL.begin().unwrap();
        let failed = POOL.start(|| std::panic::resume_unwind(Box::new(())));
        assert!(failed.blocking_recv().is_err());
        assert_eq!(POOL.lock().threads, 1);
        assert_eq!(POOL.start(|| 7).blocking_recv().unwrap(), 7);
    }

    #[test]
    fn past_the_bound_work_is_refused_and_nothing_that_waits_is_lost() {
        static POOL: Pool = Pool::new("test", THREADS_MAX);
        // No thread begins: as where there is none to be had.
        POOL.lock().threads = THREADS_MAX;
        let waiting: Vec<_> = (0..WAITING_MAX).map(|number| POOL.start(move || number)).collect();
        assert!(POOL.start(|| 0).blocking_recv().is_err());
        POOL.lock().threads = 0;
        POOL.begin().unwrap();
        for (number, answer) in waiting.into_iter().enumerate() {
            assert_eq!(answer.blocking_recv().unwrap(), number);
        }
    }
}
