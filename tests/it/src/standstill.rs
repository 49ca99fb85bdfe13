//! When the computer itself stood still, so that a bound in time judges the guard and not a busy host of virtual
//! machines. See the program `metronome`.

use crate::program;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A moment of `CLOCK_MONOTONIC`.
pub fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Watches the computer.
#[derive(Debug)]
pub struct Metronome {
    process: Child,
}

/// When it stood still.
#[derive(Debug, Clone, Default)]
pub struct Standstills(Vec<(Duration, Duration)>);

impl Metronome {
    /// Begins to watch.
    pub fn begin() -> Metronome {
        let process = Command::new(program::folder().join("metronome"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Metronome { process }
    }

    /// Stops watching.
    pub fn end(self) -> Standstills {
        // Waiting closes its input, which ends it.
        let told = self.process.wait_with_output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let moment = |word: &str| Duration::from_nanos(word.parse().unwrap());
        let lines = String::from_utf8(told.stdout).unwrap();
        Standstills(
            lines.lines().map(|line| line.split_once(' ').unwrap()).map(|(a, b)| (moment(a), moment(b))).collect(),
        )
    }
}

impl Standstills {
    /// What is left of the time from `from` to `to` when every time at which a processor stood still is taken out.
    pub fn without(&self, from: Duration, to: Duration) -> Duration {
        let mut stood: Vec<_> = self.0.iter().filter(|(begin, end)| *begin < to && *end > from).copied().collect();
        stood.sort_unstable();
        let (mut at, mut went) = (from, Duration::ZERO);
        for (begin, end) in stood {
            went += begin.saturating_sub(at);
            at = at.max(end);
        }
        went + to.saturating_sub(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_taken_out_once() {
        let ms = Duration::from_millis;
        let stood = Standstills(vec![(ms(5), ms(15)), (ms(12), ms(20)), (ms(30), ms(40)), (ms(90), ms(95))]);
        assert_eq!(stood.without(ms(10), ms(50)), ms(20));
        assert_eq!(stood.without(ms(41), ms(50)), ms(9));
        assert_eq!(stood.without(ms(12), ms(20)), ms(0));
    }
}
