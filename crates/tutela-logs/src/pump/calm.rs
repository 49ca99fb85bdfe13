//! A moment's rest for a pump that was woken for little.
//!
//! When a program ends, its pipes end microseconds before its guard hears of it; when two hundred end, the pump
//! would be woken two hundred times, on a processor that the programs need for ending and the guard for starting
//! them again. So a pump that last read little waits [`REST`] after it was woken: what belongs together is then
//! read together. One that last read much goes on at once, so a flood is not slowed.
//!
//! Its callers are the hooks of the pump's event loop and its streams.

use std::cell::Cell;
use std::time::Duration;

/// Short beside what a person or a readiness probe notices, long beside a start (0.1 ms) or the ends of a hundred
/// programs.
const REST: Duration = Duration::from_millis(1);

/// What is read in a turn that was worth waking for: a page of lines.
const MUCH_BYTES: usize = 4096;

thread_local! {
    /// Bytes since the pump was last woken. Each pump has its thread.
    static READ: Cell<usize> = const { Cell::new(0) };
}

/// So much was read.
pub(super) fn count(bytes: usize) {
    READ.set(READ.get().saturating_add(bytes));
}

/// To be called when the event loop was woken.
pub(super) fn woken() {
    if READ.replace(0) < MUCH_BYTES {
        std::thread::sleep(REST);
    }
}
