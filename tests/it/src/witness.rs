//! Somebody who asks for the status all the time, and looks at the guard's memory.

use crate::standstill::{self, Metronome};
use crate::{Stage, http, processes};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long between an answer and the next question: often enough to see a stall of the bound that is tested.
const PAUSE: Duration = Duration::from_millis(5);

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// How often it asked.
    pub asked: u32,
    /// How long the slowest answer took, as it was.
    pub slowest_seen: Duration,
    /// How long the slowest answer took, without the time in which the computer itself stood still, and without that in
    /// which somebody waited for a processor: whose turn it is on a computer that a thousand programs want at once is not
    /// the guard's to say.
    pub slowest: Duration,
    /// By how many bytes the guard's memory was larger at the most than at the beginning.
    pub growth: u64,
}

/// Asks until it is told to stop.
#[derive(Debug)]
pub struct Witness {
    over: Arc<AtomicBool>,
    asking: JoinHandle<(Seen, Vec<Slow>)>,
    metronome: Metronome,
}

/// An answer that took long.
struct Slow {
    from: Duration,
    to: Duration,
    /// For how long meanwhile those whom it went through waited for a processor.
    queued: Duration,
}

/// How long those whom an answer goes through have waited for a processor so far.
fn queued(guard: u32) -> Duration {
    processes::queued_here() + processes::queued(guard)
}

/// Answers that took less need no second look.
const SLOW: Duration = Duration::from_millis(20);

impl Witness {
    /// Begins to ask.
    pub fn begin(stage: &Stage, guard: u32) -> Witness {
        let over = Arc::new(AtomicBool::new(false));
        let (socket, ended) = (stage.socket(), over.clone());
        let asking = std::thread::spawn(move || ask_until(&socket, guard, &ended));
        Witness { over, asking, metronome: Metronome::begin() }
    }

    /// Stops asking.
    ///
    /// # Panics
    /// The guard did not answer.
    pub fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        let (mut seen, slow) = self.asking.join().unwrap();
        let stood = self.metronome.end();
        let without = slow.iter().map(|it| stood.without(it.from, it.to).saturating_sub(it.queued)).max();
        seen.slowest = without.unwrap_or(seen.slowest_seen);
        seen
    }
}

fn ask_until(socket: &Path, guard: u32, over: &AtomicBool) -> (Seen, Vec<Slow>) {
    let mut slow = Vec::new();
    let mut seen = Seen::default();
    let began_with = processes::memory(guard);
    while !over.load(Ordering::Relaxed) {
        let (queued_before, from) = (queued(guard), standstill::now());
        let answer = http::ask(socket, "GET", "/v1/status").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.asked += 1;
        seen.slowest_seen = seen.slowest_seen.max(answer.took);
        if answer.took > SLOW {
            // Until the answer was there: what its reader waited for a processor behind it is not the guard's.
            let queued = queued(guard).saturating_sub(queued_before);
            slow.push(Slow { from, to: from + answer.took, queued });
        }
        seen.growth = seen.growth.max(processes::memory(guard).saturating_sub(began_with));
        std::thread::park_timeout(PAUSE);
    }
    (seen, slow)
}
