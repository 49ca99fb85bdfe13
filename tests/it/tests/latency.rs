//! How soon the status is true. A binary of its own: its bound is time, so nothing else runs beside it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;
use tutela_it::processes::{self, Watched, kill};
use tutela_it::standstill::{self, Metronome};
use tutela_it::{BOUND, Container, Guard, Instance};

/// How long after the kernel knows of an end the status may still say otherwise.
const TRUE_WITHIN: Duration = Duration::from_millis(50);

const ROUNDS: u32 = 20;

/// How long the guard and the one that asks have waited for a processor so far: whose turn it is, is not theirs to say.
fn queued(guard: &Guard) -> Duration {
    processes::queued_here() + processes::queued(guard.pid())
}

/// Both kinds of container in one test: two at once would measure each other.
#[test]
fn within_50_ms_of_the_kernel_knowing_the_status_does_not_call_a_killed_program_running() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            "[services.victim]\ncommand = [\"understudy\", \"hang\"]\nrestart = { delay = \"0s\", burst = 0 }\n\
             [services.watched]\ncommand = [\"understudy\", \"hang\"]\ninstances = 20\n",
        );
        let metronome = Metronome::begin();
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let pid = guard.wait_state("victim", "running").pid.unwrap();
            let watched = Watched::open(pid);
            kill(pid, "KILL");
            let ended = watched.ended(BOUND);
            let (queued_before, from) = (queued(&guard), standstill::now());
            loop {
                let instance: Instance = guard.instance("victim");
                if instance.state != "running" || instance.pid != Some(pid) {
                    let to = standstill::now();
                    told.push((from, to, queued(&guard).saturating_sub(queued_before)));
                    break;
                }
                assert!(ended.elapsed() < BOUND, "{instance:?}");
            }
        }
        let stood = metronome.end();
        let ran = told.iter().map(|(from, to, queued)| stood.without(*from, *to).saturating_sub(*queued));
        let slowest = ran.max().unwrap();
        let seen = told.iter().map(|(from, to, _)| *to - *from).max().unwrap();
        println!(
            "{container:?}: true after {seen:?} at the most, {slowest:?} without waits for a processor, {ROUNDS} rounds"
        );
        assert!(slowest <= TRUE_WITHIN, "{container:?}: {slowest:?}");
    }
}
