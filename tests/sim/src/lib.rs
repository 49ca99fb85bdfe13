//! Proves: the real [`tutela_core::guard::Guard`] in a fake world, thousands of lives in seconds.
//!
//! A seed is a whole story: a spec, programs that crash, hang, fork and ignore what they are told, hands that are
//! slow and overtake each other, operators who change their minds, a computer that sleeps, guards that are killed at any
//! moment and followed by others. `README.md` beside this tells what is real here and which laws hold. In reading order:
//! - [`dice`]: where every choice comes from;
//! - [`specs`]: what operators write;
//! - [`world`]: processes, hands and the queue of what happens; the truth;
//! - [`keeping`]: what outlives a guard: the real slate on memory that tears, and the disk;
//! - [`reference`]: the simple model of what has to be, and the laws;
//! - [`link`]: the door to the real guard, where a bug can be planted;
//! - [`run`]: one seed from chaos to calm to the end;
//! - [`campaign`]: many of them, on every core.
//!
//! A broken law prints the one command that tells its story again, line by line.
//!
//! Deliberately absent: the operating system, real time, threads within a run. The real hands are proved on
//! the real OS in `tests/it`.

pub mod campaign;
pub mod dice;
pub mod keeping;
pub mod link;
pub mod reference;
pub mod run;
pub mod specs;
pub mod world;
