//! Many seeds, on every core.

use crate::link::Mutation;
use crate::run::{Failure, Figures, run};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What many runs amount to.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Runs that were done.
    pub runs: u64,
    /// Their figures, summed up.
    pub figures: Figures,
    /// The failure of the lowest seed that was run and failed.
    pub failure: Option<Box<Failure>>,
}

/// Runs seeds until one fails.
pub fn campaign(seeds: Range<u64>, mutation: Option<Mutation>, threads: usize) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run_caught(seed, mutation);
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.runs += 1;
                    match outcome {
                        Ok(figures) => sum.figures.add(&figures),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            if sum.failure.as_ref().is_none_or(|other| failure.seed < other.seed) {
                                sum.failure = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A panic in a machine is a broken law too.
fn run_caught(seed: u64, mutation: Option<Mutation>) -> Result<Figures, Box<Failure>> {
    catch_unwind(AssertUnwindSafe(|| run(seed, mutation, None))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let law = format!("it panicked: {}", text.unwrap_or_default());
        Err(Box::new(Failure { seed, mutation, after: Duration::ZERO, law }))
    })
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.lived += other.lived;
        self.steps += other.steps;
        self.starts += other.starts;
        self.commands += other.commands;
        self.deaths += other.deaths;
        self.boots += other.boots;
        self.heirs += other.heirs;
    }
}
