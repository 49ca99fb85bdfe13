//! Faults of the computer that a guard lives on. After each the promises of DESIGN.md hold: the state shown is true (2),
//! nothing is left behind (3), no line is lost (4), no guard's end is a program's end (6).
//!
//! What each fault promises, and which test shows it, is in `docs/design/faults.md`. `./test --faults` has the long runs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod clients;
mod clock;
mod damage;
mod scarce;
mod slow_disk;
mod standstill;
