//! How programs outlive their guard, and how the next guard goes on with them.
//!
//! ```text
//!  guard ──deposits──> safe (a process of its own)          guard dies          next guard
//!    │   process, pipes of each program                          │    <──takes──────┤
//!    └──notes───────> slate (memory, kept by the safe)           │    <──reads──────┘
//! ```
//!
//! While a guard lives, its spawner deposits each program that it started in the safe, and its conductor notes down the
//! estate of each instance that a turn has touched. Neither waits for a disk. When the guard is gone, however it went, the
//! programs run on: their pipes are open, and what they write waits there. The next guard of that name takes everything out
//! of the safe, and
//!
//! - goes on with the programs whose estates say that they live, in the state in which they were;
//! - ends what the former guard was just starting and had not noted down;
//! - reads the pipes of runs that ended to their end.
//!
//! A guard that ends in order stops everything first, and then its safe.
//!
//! - [`slate`]: the notes, in memory;
//! - [`keeping`]: what is noted and deposited while the guard lives;
//! - [`output`]: pipes and trays of programs' output;
//! - [`heirs`]: what an earlier guard left, and to whom it goes;
//! - [`left`]: the end of it where no other guard comes.
//!
//! Called by [`crate::run`], the conductor and the spawner. Deliberately absent: what an instance does next, which is the
//! machine's ([`tutela_core::service::Estate`]), and how an OS keeps a descriptor ([`tutela_os::safe`]).

pub mod heirs;
pub mod keeping;
pub mod left;
pub mod output;
pub mod slate;
