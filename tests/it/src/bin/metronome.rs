//! Tells when the computer itself stood still.
//!
//! One thread on each processor, above every ordinary program, ticks all the time and writes to standard output when a
//! tick came late: `FROM TO`, in nanoseconds of `CLOCK_MONOTONIC`. Ordinary load cannot delay it; what does is a
//! virtual machine that was not given its processor. Ends when its standard input does.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a program of the tests, which sets its own priority")]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(2);

/// A tick that is this late is told: what is shorter does not matter to a bound of 50 ms.
const LATE: Duration = Duration::from_millis(3);

static OVER: AtomicBool = AtomicBool::new(false);

fn main() {
    let processors = std::thread::available_parallelism().unwrap().get();
    let threads: Vec<_> = (0..processors).map(|processor| std::thread::spawn(move || tick_on(processor))).collect();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    OVER.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn tick_on(processor: usize) {
    rise_above_everybody(processor);
    let mut before = now();
    while !OVER.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let after = now();
        if after - before > TICK + LATE {
            // One write a line, so that lines of two threads do not mix.
            let line = format!("{} {}\n", (before + TICK).as_nanos(), after.as_nanos());
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
        before = after;
    }
}

fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

fn rise_above_everybody(processor: usize) {
    // SAFETY: a set of processors is plain bits, and all zero is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is a whole one, and the number is that of a processor.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the set is of this frame, and its size is told. Where it is refused the thread ticks elsewhere.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    let wanted = libc::sched_param { sched_priority: 50 };
    // SAFETY: the parameter is of this frame. Where it is refused, load can delay it, and a test is milder.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const wanted) } != 0 {
        // SAFETY: changes this thread's own standing.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    }
}
