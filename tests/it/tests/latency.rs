//! How soon the status is true. A binary of its own: its bound is time, so nothing else runs beside it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;
use tutela_it::processes::{Watched, kill};
use tutela_it::standstill::{self, Metronome};
use tutela_it::{BOUND, Container, Guard, Instance};

/// How long after the kernel knows of an end the status may still say otherwise.
const TRUE_WITHIN: Duration = Duration::from_millis(50);

const ROUNDS: u32 = 20;

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
            let from = standstill::now();
            loop {
                let instance: Instance = guard.instance("victim");
                if instance.state != "running" || instance.pid != Some(pid) {
                    told.push((from, standstill::now()));
                    break;
                }
                assert!(ended.elapsed() < BOUND, "{instance:?}");
            }
        }
        let stood = metronome.end();
        let slowest = told.iter().map(|(from, to)| stood.without(*from, *to)).max().unwrap();
        let seen = told.iter().map(|(from, to)| *to - *from).max().unwrap();
        println!(
            "{container:?}: true after {seen:?} at the most, {slowest:?} of which the computer ran, in {ROUNDS} rounds"
        );
        assert!(slowest <= TRUE_WITHIN, "{container:?}: {slowest:?}");
    }
}
