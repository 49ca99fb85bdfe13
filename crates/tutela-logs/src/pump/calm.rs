//! A moment's rest for a pump that was woken for little.
//!
//! When a program ends, its pipes end microseconds before its guard hears of it; when two hundred end, the pump
//! would be woken two hundred times, on a processor that the programs need for ending and the guard for starting
//! them again. And two hundred programs that write a line each now and then would wake it for every line. So the pump
//! waits a moment after it was woken: what belongs together is then read together.
//!
//! A pipe that fills meanwhile would hold up its program. So the rest becomes shorter when one stream had much to give
//! after it, and longer again when none had; after a read that may have found a full pipe there is none at all.
//!
//! Its callers are the hooks of the pump's event loop and its streams.

use std::cell::Cell;
use std::time::Duration;

/// The longest rest: short beside what a person or a readiness probe notices, long beside a start (0.1 ms) or the ends
/// of a hundred programs.
const REST_MAX: Duration = Duration::from_millis(1);

/// The shortest: what the kernel's timers make of less is not shorter.
const REST_MIN: Duration = Duration::from_micros(20);

/// Half of what a pipe usually holds: the next one may be full, and its program wait.
const MUCH_BYTES: usize = 32 * 1024;

/// A page: a pipe that has less could have waited twice as long.
const LITTLE_BYTES: usize = 4096;

thread_local! {
    /// The largest read since the pump was last woken. Each pump has its thread.
    static READ: Cell<usize> = const { Cell::new(0) };
    static REST: Cell<Duration> = const { Cell::new(REST_MAX) };
}

/// So much was read of a stream at once.
pub(super) fn count(bytes: usize) {
    READ.set(READ.get().max(bytes));
}

/// To be called when the event loop was woken.
pub(super) fn woken() {
    let read = READ.replace(0);
    REST.set(adapted(REST.get(), read));
    if read < MUCH_BYTES {
        std::thread::sleep(REST.get());
    }
}

/// The rest to be had after one that brought `read` bytes of a stream.
fn adapted(rest: Duration, read: usize) -> Duration {
    match read {
        MUCH_BYTES.. => (rest / 2).max(REST_MIN),
        LITTLE_BYTES..MUCH_BYTES => rest,
        _ => (rest * 2).min(REST_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that fills at this rate, in bytes a second, and never waits for more than one rest.
    fn settled(rate: f64) -> (Duration, f64) {
        let mut rest = REST_MAX;
        let mut read = 0.0;
        for _ in 0..64 {
            read = rest.as_secs_f64() * rate;
            rest = adapted(rest, read as usize);
        }
        (rest, read)
    }

    #[test]
    fn a_busy_stream_is_read_before_its_pipe_is_full() {
        for rate in [1e6, 30e6, 100e6, 400e6, 1e9] {
            let (rest, read) = settled(rate);
            assert!(read < 64.0 * 1024.0, "{rate}: {read} bytes after {rest:?}");
        }
    }

    #[test]
    fn streams_with_little_to_say_are_left_alone_for_the_longest_rest() {
        let (rest, _) = settled(200e3);
        assert_eq!(rest, REST_MAX);
    }

    #[test]
    fn a_stream_that_became_quiet_is_left_alone_again() {
        let (mut rest, _) = settled(400e6);
        assert!(rest < REST_MAX / 8, "{rest:?}");
        for _ in 0..8 {
            rest = adapted(rest, 100);
        }
        assert_eq!(rest, REST_MAX);
    }
}
