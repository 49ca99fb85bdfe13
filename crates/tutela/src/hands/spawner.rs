//! Starts programs on threads of its own, because `execve` waits for the disk that the program lies on.
//!
//! A start suspends its thread until the new program has been loaded. So where several starts wait, further
//! threads take part, as many as there are processors; and where starts hang, because a program lies on a
//! dead network share, still further ones, up to [`THREADS_MAX`]: one dead share does not keep the other
//! services from being started. Threads that are not needed wait without a cost.
//!
//! What came of an order is told to the conductor through its inbox. Deliberately absent: retries, and any
//! knowledge of why something is started.

use super::launch::{Job, Order, Prepared, PreparedOutput, Streams};
use crate::conductor::{Inbox, Input, InstanceRef};
use crate::survive::keeping::Depositor;
use crate::survive::output::KeptOutput;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tutela_logs::count::{Count, Counted};
use tutela_logs::{CaptureHandle, Pumps};
use tutela_os::process::{Child, Nursery};

/// Threads at the most. Each stands for a program that hangs in its start; more of them at a time mean that
/// the whole disk hangs, and then more threads would not help.
const THREADS_MAX: usize = 8;

/// An order that has waited this long behind a start means that the start hangs: it takes 0.1 ms otherwise.
const HANGS_AFTER: Duration = Duration::from_millis(250);

/// Descriptors that are left for the guard's own work (answers, probes, log files, looks at trees) when programs are
/// started: some dozens of connections, and two for each thread that looks at something.
const KEPT_DESCRIPTORS: u64 = 64;

/// Of a small limit no more than this part is left.
const KEPT_PART: u64 = 4;

/// What a start takes: the pipes with their chambers, the tray, the process, the log, and what is open only meanwhile.
const START_DESCRIPTORS: u64 = 16;

/// How many files a guard of so many instances may come to have open.
pub fn descriptors_of(instances: usize) -> usize {
    instances.saturating_mul(START_DESCRIPTORS as usize).saturating_add(KEPT_DESCRIPTORS as usize)
}

/// Orders that may wait. Every instance has at most one start and one errand of each probe under way;
/// the schema allows 10,000 instances.
const ORDERS_MAX: usize = 65_536;

/// How often it is looked whether starts that were begun are made, before the guard makes room for another.
const HALT_LOOK: Duration = Duration::from_micros(200);

/// Runs that are over and whose output is still read, beyond one for each instance. Each holds a dozen descriptors and some
/// ten kilobytes, so a start waits while there are more: programs that crash without a pause would otherwise crowd out the
/// very thread that reads what they wrote.
const DRAINS_SPARE: usize = 64;

/// How long a start waits for that at the most. A disk that hangs keeps no program from being started.
const DRAINS_PATIENCE: Duration = Duration::from_millis(250);

/// How often it is looked whether there are fewer.
const DRAINS_LOOK: Duration = Duration::from_millis(1);

/// How many runs are over and not yet read to their end.
#[derive(Debug, Default)]
struct Drains {
    now: Count,
    instances: AtomicUsize,
}

impl Drains {
    fn are_many(&self) -> bool {
        self.now.now() > self.instances.load(Ordering::Relaxed).saturating_add(DRAINS_SPARE)
    }

    fn wait_for_fewer(&self) {
        let until = Instant::now() + DRAINS_PATIENCE;
        while self.are_many() && Instant::now() < until {
            std::thread::sleep(DRAINS_LOOK);
        }
    }
}

/// A program that was started.
pub struct Started {
    /// Whose it is, or on whose behalf it runs.
    pub instance: InstanceRef,
    /// The program.
    pub child: Child,
    /// Its output on the way to the log, where it is captured.
    pub capture: Option<CaptureHandle>,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("child", &self.child).finish_non_exhaustive()
    }
}

/// The conductor's side. Dropping it ends the threads once their orders are carried out.
#[derive(Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    processors: usize,
    nursery: Arc<Nursery>,
    pump: Pumps,
    inbox: Inbox,
    depositor: Option<Depositor>,
    drains: Drains,
    /// What is being started, from before it is looked for descriptors.
    starting: Count,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    orders: VecDeque<(Job, Instant)>,
    idle: usize,
    threads: usize,
    /// How many want nothing to be begun.
    halted: usize,
    closed: bool,
}

impl Spawner {
    /// A spawner with one thread. With a `depositor`, the programs of instances outlive the guard.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(
        nursery: Arc<Nursery>,
        pump: Pumps,
        inbox: Inbox,
        depositor: Option<Depositor>,
    ) -> std::io::Result<Spawner> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (queue, filled) = (Mutex::default(), Condvar::new());
        let (drains, starting) = (Drains::default(), Count::default());
        let shared = Arc::new(Shared { queue, filled, processors, nursery, pump, inbox, depositor, drains, starting });
        let spawner = Spawner { shared };
        spawner.add_thread(&mut spawner.shared.lock())?;
        Ok(spawner)
    }

    /// Orders a start. Never waits. What came of it arrives as [`Input::Started`].
    ///
    /// # Errors
    /// The job, when [`ORDERS_MAX`] wait already.
    pub fn order(&self, job: Job) -> Result<(), Box<Job>> {
        let mut queue = self.shared.lock();
        if queue.orders.len() >= ORDERS_MAX {
            return Err(Box::new(job));
        }
        queue.orders.push_back((job, Instant::now()));
        let hangs = queue.orders.front().is_some_and(|(_, since)| since.elapsed() > HANGS_AFTER);
        let crowded = queue.orders.len() > 1 && queue.threads < self.shared.processors;
        if queue.idle == 0 && (crowded || hangs) && queue.threads < THREADS_MAX {
            // That the system has no thread to give leaves the order waiting, which it would do anyway.
            let _ = self.add_thread(&mut queue);
        }
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// A run is over, one of this many instances that have output. Further starts wait while there are many of these.
    /// Until the answer is dropped, which is when all of its output is read.
    pub fn drain(&self, instances: usize) -> Counted {
        self.shared.drains.instances.store(instances, Ordering::Relaxed);
        self.shared.drains.now.begin()
    }

    /// Begins nothing until the answer is dropped, and returns when what was begun is made, `within` at the most. Orders
    /// wait meanwhile.
    pub fn halt(&self, within: Duration) -> Halted {
        self.shared.lock().halted += 1;
        let until = Instant::now() + within;
        let is_at_work = || {
            let queue = self.shared.lock();
            queue.idle < queue.threads
        };
        while is_at_work() && Instant::now() < until {
            std::thread::sleep(HALT_LOOK);
        }
        Halted(self.shared.clone())
    }

    fn add_thread(&self, queue: &mut Queue) -> std::io::Result<()> {
        let shared = self.shared.clone();
        // The end of a program is the conductor's to hear.
        let _calm = tutela_os::signals::calm();
        std::thread::Builder::new().name("spawner".into()).stack_size(256 * 1024).spawn(move || shared.work())?;
        queue.threads += 1;
        Ok(())
    }
}

/// While it lives, nothing is begun.
pub struct Halted(Arc<Shared>);

impl Drop for Halted {
    fn drop(&mut self) {
        self.0.lock().halted -= 1;
        self.0.filled.notify_all();
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let instance = job.instance.clone();
            if let Order::Main { .. } = job.order {
                self.drains.wait_for_fewer();
            }
            let _starting = self.starting.begin();
            let (order, prepared) = match self.short_of_descriptors() {
                Some(refusal) => (job.order, Err(refusal)),
                None => job.prepare(self.depositor.is_some()),
            };
            let result = prepared.and_then(|prepared| self.start(instance, order, prepared));
            if self.inbox.send_blocking(Input::Started { order, result: Box::new(result) }).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        queue.idle += 1;
        loop {
            let job = if queue.halted > 0 { None } else { queue.orders.pop_front() };
            if let Some((job, _)) = job {
                queue.idle -= 1;
                return Some(job);
            }
            if queue.closed {
                queue.idle -= 1;
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(&self, instance: InstanceRef, order: Order, prepared: Prepared) -> Result<Started, String> {
        let Prepared { request, output } = prepared;
        let child = self.nursery.spawn(&request).map_err(|error| chain(&error))?;
        // The request holds the write ends of the pipes; with them open no reader would ever see the end.
        drop(request);
        let capture = output.map(|PreparedOutput { label, policy, streams, taps }| match streams {
            Streams::Plain(sources) => self.pump.attach(&label, policy, sources, taps),
            Streams::Kept { output, deposit } => {
                let KeptOutput { tray, sluices } = *output;
                if let (Some(depositor), Order::Main { run, .. }) = (&self.depositor, order)
                    && let Err(trouble) = depositor.deposit(&instance, run, &child, deposit)
                {
                    let _ = self.inbox.send_blocking(Input::Trouble(trouble));
                }
                self.pump.attach_kept(&label, policy, tray, sluices, taps)
            }
        });
        let capture = capture.transpose().unwrap_or_else(|refusal| {
            let _ = self.inbox.send_blocking(Input::Trouble(refusal.to_string()));
            None
        });
        Ok(Started { instance, child, capture })
    }

    /// Why no program can be started: without this the last of them would leave the guard none to answer by, and none to
    /// look by whether a tree is empty.
    fn short_of_descriptors(&self) -> Option<String> {
        let tutela_os::limits::Descriptors { used, most } = tutela_os::limits::descriptors()?;
        let kept = KEPT_DESCRIPTORS.min(most / KEPT_PART);
        let (starting, logs) = (self.starting.now() as u64, self.pump.unopened() as u64);
        (used + starting * START_DESCRIPTORS + logs + kept > most).then(|| {
            format!(
                "refused: {used} of the {most} files that this guard may have open are open, {logs} more are for the logs \
                 of programs that run, and {kept} are left for its own work; raise the limit (LimitNOFILE= of its unit, \
                 ulimit -n), or give the services to two guards"
            )
        })
    }
}

/// An error with its sources, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_waits_while_much_is_left_to_be_read_and_not_for_ever() {
        let drains = Drains::default();
        drains.instances.store(10, Ordering::Relaxed);
        let _many: Vec<Counted> = (0..10 + DRAINS_SPARE).map(|_| drains.now.begin()).collect();
        assert!(!drains.are_many());
        let one_more = drains.now.begin();
        assert!(drains.are_many());
        let begun = Instant::now();
        drains.wait_for_fewer();
        assert!(begun.elapsed() >= DRAINS_PATIENCE);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drains.wait_for_fewer());
            drop(one_more);
            waits.join().expect("it waited");
        });
    }
}
