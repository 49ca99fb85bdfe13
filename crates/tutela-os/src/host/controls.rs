//! What a service manager asks, one after the other, for those who wait in a task and those who wait in a thread.
//!
//! The queue is bounded: who asks when it is full is refused there and then. A stop always has room.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::Notify;

/// Controls that may wait. A service manager sends one at a time and seldom; more mean that nobody listens.
const CONTROLS_MAX: usize = 64;

/// One thing that a service manager asks or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stop. Comes at most once.
    Stop,
    /// The computer shuts down: stop. Comes at most once, and also after a [`Control::Stop`].
    Shutdown,
    /// Hold still; [`super::Scm::paused`] is the answer.
    Pause,
    /// Go on; [`super::Scm::running`] is the answer.
    Continue,
    /// Read the configuration again.
    Reload,
    /// The power of the computer.
    Power(PowerChange),
    /// Somebody logs on or off.
    Session {
        /// What happens.
        change: SessionChange,
        /// In which session.
        id: u32,
    },
    /// The wall clock was set.
    TimeChanged {
        /// What it said.
        from: SystemTime,
        /// What it says.
        to: SystemTime,
    },
    /// A code that an operator sent, from 128 to 255, with a meaning of the service's own.
    User(u8),
}

/// What happens to the computer's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerChange {
    /// It is about to sleep, in about two seconds.
    Suspending,
    /// It woke up. Comes after every sleep.
    Resumed,
    /// Somebody is there: comes after [`PowerChange::Resumed`] where a person woke it up.
    UserPresent,
    /// From battery to mains or back, or the battery's state changed.
    Source,
    /// Another one, by the OS's number.
    Other(u32),
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionChange {
    /// It is connected to the console.
    ConsoleConnect,
    /// It is disconnected from the console.
    ConsoleDisconnect,
    /// It is connected to from afar.
    RemoteConnect,
    /// It is no longer connected to from afar.
    RemoteDisconnect,
    /// Somebody logged on.
    Logon,
    /// Somebody logged off.
    Logoff,
    /// It was locked.
    Lock,
    /// It was unlocked.
    Unlock,
    /// Another one, by the OS's number.
    Other(u32),
}

/// The words of the events.
impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Control::Stop => f.write_str("stop"),
            Control::Shutdown => f.write_str("shutdown of the computer"),
            Control::Pause => f.write_str("pause"),
            Control::Continue => f.write_str("continue"),
            Control::Reload => f.write_str("reload"),
            Control::Power(change) => match change {
                PowerChange::Suspending => f.write_str("the computer goes to sleep"),
                PowerChange::Resumed => f.write_str("the computer woke up"),
                PowerChange::UserPresent => f.write_str("somebody is at the computer again"),
                PowerChange::Source => f.write_str("the computer's source of power or its charge changed"),
                PowerChange::Other(number) => write!(f, "power event {number}"),
            },
            Control::Session { change, id } => {
                let what = match change {
                    SessionChange::ConsoleConnect => "is at the console",
                    SessionChange::ConsoleDisconnect => "left the console",
                    SessionChange::RemoteConnect => "is connected from afar",
                    SessionChange::RemoteDisconnect => "is disconnected from afar",
                    SessionChange::Logon => "began with a logon",
                    SessionChange::Logoff => "ends with a logoff",
                    SessionChange::Lock => "was locked",
                    SessionChange::Unlock => "was unlocked",
                    SessionChange::Other(number) => return write!(f, "session {id}: event {number}"),
                };
                write!(f, "session {id} {what}")
            }
            Control::TimeChanged { from, to } => match to.duration_since(*from) {
                Ok(ahead) => write!(f, "the wall clock was set forward by {:.1} s", ahead.as_secs_f64()),
                Err(behind) => write!(f, "the wall clock was set back by {:.1} s", behind.duration().as_secs_f64()),
            },
            Control::User(code) => write!(f, "control code {code}"),
        }
    }
}

/// The ear. Clones hear the same queue: each control is heard by one of them.
#[derive(Debug, Clone)]
pub struct Controls(Arc<Queue>);

/// What the handler writes to and the ears read from.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    for_threads: Condvar,
    for_tasks: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Control>,
    stop_seen: bool,
    shutdown_seen: bool,
    ended: bool,
}

impl Queue {
    pub(crate) fn new() -> Arc<Queue> {
        Arc::default()
    }

    /// Puts one in; `false` when there is no room for it. A second stop is one with the first.
    pub(crate) fn put(&self, control: Control) -> bool {
        let mut inner = self.lock();
        let first = match control {
            Control::Stop => !std::mem::replace(&mut inner.stop_seen, true),
            Control::Shutdown => !std::mem::replace(&mut inner.shutdown_seen, true),
            _ if inner.waiting.len() >= CONTROLS_MAX => return false,
            _ => true,
        };
        if first {
            inner.waiting.push_back(control);
            drop(inner);
            self.for_threads.notify_one();
            self.for_tasks.notify_one();
        }
        true
    }

    /// Nothing will come any more. Answers whether a stop or shutdown was asked for.
    pub(crate) fn end(&self) -> bool {
        let mut inner = self.lock();
        inner.ended = true;
        let asked = inner.stop_seen || inner.shutdown_seen;
        drop(inner);
        self.for_threads.notify_all();
        self.for_tasks.notify_waiters();
        asked
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controls {
    pub(crate) fn of(queue: Arc<Queue>) -> Controls {
        Controls(queue)
    }

    /// The next control, in any async runtime; `None` once the service has stopped. May be dropped and called again
    /// without losing one.
    pub async fn next(&self) -> Option<Control> {
        loop {
            let heard = self.0.for_tasks.notified();
            tokio::pin!(heard);
            // From here on nothing that comes is missed.
            heard.as_mut().enable();
            match self.take() {
                Ok(control) => return control,
                Err(Nothing) => heard.await,
            }
        }
    }

    /// The same for a thread that waits. Not within an async runtime: it would stand still.
    pub fn next_blocking(&self) -> Option<Control> {
        let mut inner = self.0.lock();
        loop {
            if let Some(control) = inner.waiting.pop_front() {
                return Some(control);
            }
            if inner.ended {
                return None;
            }
            inner = self.0.for_threads.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next control that is there already.
    pub fn try_next(&self) -> Option<Control> {
        self.take().ok().flatten()
    }

    fn take(&self) -> Result<Option<Control>, Nothing> {
        let mut inner = self.0.lock();
        match inner.waiting.pop_front() {
            Some(control) => {
                let more = !inner.waiting.is_empty();
                drop(inner);
                if more {
                    // One ring may have been for several.
                    self.0.for_tasks.notify_one();
                }
                Ok(Some(control))
            }
            None if inner.ended => Ok(None),
            None => Err(Nothing),
        }
    }
}

/// Nothing is there yet.
struct Nothing;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pair() -> (Arc<Queue>, Controls) {
        let queue = Queue::new();
        (queue.clone(), Controls::of(queue))
    }

    #[test]
    fn a_full_queue_refuses_but_always_takes_a_stop() {
        let (queue, ear) = pair();
        let taken = (0..100).filter(|_| queue.put(Control::Reload)).count();
        assert_eq!(taken, CONTROLS_MAX);
        assert!(queue.put(Control::Stop) && queue.put(Control::Shutdown));
        queue.end();
        let heard: Vec<Control> = std::iter::from_fn(|| ear.next_blocking()).collect();
        assert_eq!(heard.len(), CONTROLS_MAX + 2);
        assert_eq!(heard[CONTROLS_MAX..], [Control::Stop, Control::Shutdown]);
    }

    #[test]
    fn a_second_stop_is_one_with_the_first() {
        let (queue, ear) = pair();
        assert!(queue.put(Control::Stop) && queue.put(Control::Stop));
        assert_eq!((ear.try_next(), ear.try_next()), (Some(Control::Stop), None));
        assert!(queue.put(Control::Stop));
        assert_eq!(ear.try_next(), None);
    }

    #[test]
    fn a_waiting_thread_and_a_waiting_task_are_woken() {
        let (queue, ear) = pair();
        let thread = std::thread::spawn({
            let ear = ear.clone();
            move || ear.next_blocking()
        });
        assert!(queue.put(Control::User(130)));
        assert_eq!(thread.join().ok().flatten(), Some(Control::User(130)));

        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        let told = runtime.block_on(async {
            let task = tokio::spawn({
                let ear = ear.clone();
                async move { (ear.next().await, ear.next().await, ear.next().await) }
            });
            tokio::task::yield_now().await;
            queue.put(Control::Pause);
            queue.put(Control::Continue);
            queue.end();
            task.await
        });
        assert_eq!(told.ok(), Some((Some(Control::Pause), Some(Control::Continue), None)));
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_with_its_direction() {
        let now = SystemTime::now();
        let later = now + Duration::from_millis(1_500);
        let told = |from, to| Control::TimeChanged { from, to }.to_string();
        assert_eq!(told(now, later), "the wall clock was set forward by 1.5 s");
        assert_eq!(told(later, now), "the wall clock was set back by 1.5 s");
    }
}
